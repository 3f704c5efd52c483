//! Callers that give up.

use std::future::poll_fn;
use std::task::Poll;

use sqlx::postgres::PgPoolOptions;
use tributary::store::begin;

use testing::TestDatabase;

#[tokio::test]
async fn whoever_gives_up_while_a_transaction_begins_leaves_none_behind() {
    let database = TestDatabase::new().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
    for polls in 1..=20 {
        let mut beginning = Box::pin(begin(&pool));
        for _ in 0..polls {
            let has_begun =
                poll_fn(|context| Poll::Ready(beginning.as_mut().poll(context).is_ready())).await;
            if has_begun {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(beginning);
        // The next one who gets the connection is in nobody's transaction.
        sqlx::query("select").execute(&pool).await.unwrap();
        let open = "select count(*) from pg_stat_activity
            where datname = current_database() and state like 'idle in transaction%'";
        assert_eq!(database.count(open).await, 0, "given up after {polls} polls");
    }
}
