//! Notices between servers that the log has grown.
//!
//! A notice is a hint: it makes the others look sooner. It is sent outside of the append, because
//! Postgres sends notices one transaction at a time, and at most one is on its way at once.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;

use crate::store::{Database, StoreError};

/// The pause before a lost listener is made again.
const PAUSE: Duration = Duration::from_millis(500);

async fn channel(database: &Database) -> Result<String, StoreError> {
    let row: (String,) = sqlx::query_as("select 'tributary_' || current_schema()")
        .fetch_one(database.pool())
        .await?;
    Ok(row.0)
}

/// Tells the other servers whenever `appended` is notified; many notifications become one.
pub(super) async fn send(database: Database, appended: Arc<Notify>) {
    loop {
        appended.notified().await;
        let sent = async {
            let channel = channel(&database).await?;
            sqlx::query("select pg_notify($1, '')").bind(channel).execute(database.pool()).await?;
            Ok::<_, StoreError>(())
        };
        if let Err(error) = sent.await {
            tracing::debug!(%error, "a notice could not be sent; the others will look by themselves");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Notifies `grown` whenever a notice comes, and after every gap in listening.
pub(super) async fn listen(database: Database, grown: Arc<Notify>) {
    loop {
        let listening = async {
            let channel = channel(&database).await?;
            let mut listener = PgListener::connect_with(database.listening()).await?;
            listener.listen(&channel).await?;
            loop {
                grown.notify_one();
                // `None` means that the connection was lost and made again: notices may be missing.
                listener.try_recv().await?;
            }
            #[expect(unreachable_code, reason = "gives the block its type")]
            Ok::<(), StoreError>(())
        };
        if let Err(error) = listening.await {
            tracing::debug!(%error, "listening for notices failed; trying again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
