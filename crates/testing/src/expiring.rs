//! Lots whose months have passed.

use sqlx::Executor;

use crate::TestDatabase;

/// How many rows of lots wait, announcements included.
const WAITING: &str = "select count(*) from expirations";

impl TestDatabase {
    /// Waits until so many rows of lots wait: two for each lot that has not been announced.
    ///
    /// # Panics
    /// If they do not come.
    pub async fn lots_wait(&self, rows: i64) {
        for _ in 0..1_200 {
            if self.count(WAITING).await == rows {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{} rows of lots wait instead of {rows}", self.count(WAITING).await);
    }

    /// Makes it so that every lot was over a minute ago. No server may run, because servers remember lots.
    ///
    /// # Panics
    /// If the database fails.
    #[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    pub async fn let_lots_end(&self) {
        let past = "(extract(epoch from now() - interval '1 minute') * 1e6)::bigint";
        self.pool
            .execute(sqlx::raw_sql(&format!(
                "begin;
                 update events set payload = regexp_replace(
                     payload::text, '\"expire_time_us\": [0-9]+', '\"expire_time_us\": ' || {past}, 'g'
                 )::jsonb
                 where aggregate_type = 'Participant' and payload::text like '%\"expire_time_us\": %';
                 delete from snapshots;
                 delete from expirations where is_announcement;
                 update expirations set expire_time_us = {past}, due_time_us = {past};
                 commit"
            )))
            .await
            .unwrap();
    }
}
