//! Notices between servers: the log has grown, up to this position.
//!
//! A notice is a hint that makes the other servers poll sooner. It is sent outside of the append, because
//! Postgres serializes transactions that send notices, and at most one is in flight at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::store::{Database, Epoch, StoreError, epoch, in_time};

/// The shortest time between two notices. A notice costs a commit, like a batch.
const INTERVAL: Duration = Duration::from_millis(10);
/// The pause before a lost listener is opened again.
const PAUSE: Duration = Duration::from_millis(500);

async fn channel(database: &Database) -> Result<String, StoreError> {
    let row: (String,) = sqlx::query_as("select 'tributary_' || current_schema()")
        .fetch_one(database.pool())
        .await?;
    Ok(row.0)
}

/// Notifies the other servers of the position `reached` here whenever `appended` is notified; many
/// notifications become one.
pub(super) async fn send(
    database: Database,
    appended: Arc<Notify>,
    reached: watch::Receiver<i64>,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let sending = async {
        loop {
            appended.notified().await;
            tokio::time::sleep(send_one(&database, &reached).await).await;
        }
    };
    stop.run_until_cancelled(sending).await;
    Ok(())
}

/// Sends one notice. Returns the pause after it.
async fn send_one(database: &Database, reached: &watch::Receiver<i64>) -> Duration {
    let position = reached.borrow().to_string();
    let notice = sqlx::query("select pg_notify('tributary_' || current_schema(), $1)");
    let notice = notice.bind(position);
    match notice.execute(database.pool()).await {
        Ok(_) => INTERVAL,
        Err(error) => {
            tracing::debug!(%error, "a notice could not be sent; the others will look by themselves");
            PAUSE
        }
    }
}

/// Notifies `grown` after every notice of a position that has not been `reached` here, and after every gap in
/// listening. Fails if the database after a gap is no longer in `epoch`, because positions of the log are then
/// meaningless.
pub(super) async fn listen(
    database: Database,
    epoch: Epoch,
    grown: Arc<Notify>,
    reached: watch::Receiver<i64>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let listening = async {
        loop {
            match listen_without_gap(&database, epoch, &grown, &reached).await {
                Ok(()) => {}
                Err(StoreError::Elsewhere) => return StoreError::Elsewhere,
                Err(error) => tracing::debug!(%error, "listening for notices failed; trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    stop.run_until_cancelled(listening).await.map_or(Ok(()), Err)
}

async fn listen_without_gap(
    database: &Database,
    epoch: Epoch,
    grown: &Notify,
    reached: &watch::Receiver<i64>,
) -> Result<(), StoreError> {
    let mut connection = database.pool().acquire().await?;
    if !in_time(epoch::is_present(&mut connection, epoch)).await? {
        return Err(StoreError::Elsewhere);
    }
    drop(connection);
    let channel = channel(database).await?;
    let mut listener = PgListener::connect_with(database.listening()).await?;
    listener.listen(&channel).await?;
    grown.notify_one();
    // `None` means that the connection was lost: notices may be missing, and the next connection may lead to
    // another database.
    while let Some(notice) = listener.try_recv().await? {
        let position: Option<i64> = notice.payload().parse().ok();
        // Most notices are this server's own.
        if position.is_none_or(|position| position > *reached.borrow()) {
            grown.notify_one();
        }
    }
    Ok(())
}
