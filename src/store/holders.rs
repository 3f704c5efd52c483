//! What holds a lock of the database must make progress. A process of ours that is stopped, hung or cut off from the
//! database must not block the others for longer than seconds.
//!
//! - Postgres itself ends what a process has left behind: every connection has limits (see
//!   `connection/settings.rs`), and [`limit_silence`] adds one where a lock is held for as long as the connection
//!   lasts.
//! - Some sessions escape those limits: one that waits for its client to read a large answer, or for the end of a
//!   message. Every server therefore runs a [`Watch`], which ends sessions that block others and make no progress.
//!
//! A session that is ended loses its locks and its transaction at the same moment, so that a process that comes back
//! cannot write anything late. Only the clock of the database is used.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use sqlx::{Executor, FromRow, PgConnection};
use tokio_util::sync::CancellationToken;

use super::{Database, StoreError};
use crate::metrics::Metrics;

/// The name under which our sessions are known to the database. Sessions under other names are never ended.
pub const APPLICATION: &str = "tributary";

/// The limit of a connection whose process is never silent for longer than a second.
const SILENCE: &str = "set idle_session_timeout = '3s'";
/// The limits of a connection for the command of an operator, which may have to wait for the long work of a server, or
/// to work between two statements of a transaction.
const PATIENCE: &str = "set lock_timeout = '1min'; set idle_in_transaction_session_timeout = '10s'";

/// How often a server looks for sessions that make no progress.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// A process that was not run for longer than this stood still: it was stopped, or its machine was.
const STANDSTILL: Duration = Duration::from_secs(2);
/// How long a look may take before the connection is presumed dead.
const WATCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Lets Postgres end a connection that is silent for 3 seconds. For connections that hold a lock as long as they
/// last, and that their process uses at least once a second.
///
/// # Errors
/// [`StoreError`] if the database refuses or is unavailable.
pub async fn limit_silence(connection: &mut PgConnection) -> Result<(), StoreError> {
    connection.execute(SILENCE).await?;
    Ok(())
}

/// Allows a connection more time. For commands of operators, which nobody waits for.
///
/// # Errors
/// [`StoreError`] if the database refuses or is unavailable.
pub async fn be_patient(connection: &mut PgConnection) -> Result<(), StoreError> {
    connection.execute(PATIENCE).await?;
    Ok(())
}

/// A session that was ended.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Ended {
    /// The process of Postgres.
    pub pid: i32,
    /// The process of ours, by address and port; empty on a Unix socket.
    pub client: String,
    /// What the session was doing, as in `idle in transaction`.
    pub state: String,
    /// What it waited for, as in `ClientWrite`.
    pub wait_event: String,
    /// For how long, in milliseconds.
    pub silent_ms: i64,
    /// The beginning of its last statement.
    pub statement: String,
}

/// Ends our sessions that block others, or hold a lock of a leader, and have made no progress for 2 seconds.
///
/// # Errors
/// [`StoreError`] if the database cannot be asked.
pub async fn end_stalled(connection: &mut PgConnection) -> Result<Vec<Ended>, StoreError> {
    Ok(sqlx::query_as(include_str!("stalled.sql")).bind(APPLICATION).fetch_all(connection).await?)
}

/// The task of a server that ends sessions of hung processes, on a connection of its own: the pool may be exhausted by
/// those who wait.
pub struct Watch {
    database: Database,
    metrics: Metrics,
}

impl Watch {
    /// Creates the task.
    #[must_use]
    pub fn new(database: Database, metrics: Metrics) -> Self {
        Self { database, metrics }
    }

    /// Runs until `stop` is cancelled.
    ///
    /// # Errors
    /// None: failures are retried.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let watching = async {
            loop {
                let Err(error) = self.watch().await;
                // Every other task also reports that the database is unavailable.
                tracing::debug!(%error, "cannot look for sessions that make no progress; trying again");
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
        };
        let watching = async {
            tokio::join!(watching, notice_standstills());
        };
        stop.run_until_cancelled(watching).await;
        Ok(())
    }

    async fn watch(&self) -> Result<Infallible, StoreError> {
        let mut connection = self.database.connect().await?;
        loop {
            let looking = tokio::time::timeout(WATCH_TIMEOUT, end_stalled(&mut connection));
            let unanswered = |_| StoreError::Unavailable(sqlx::Error::PoolTimedOut);
            for ended in looking.await.map_err(unanswered)?? {
                self.metrics.sessions_ended.inc();
                let Ended { pid, client, state, wait_event, silent_ms, statement } = ended;
                tracing::warn!(
                    pid,
                    client,
                    state,
                    wait_event,
                    silent_ms,
                    statement,
                    "ended a session that held a lock and made no progress: its process is stopped, hung or cut off"
                );
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }
}

/// Says so when this process has stood still: what the others did meanwhile is the reason of the errors around that
/// line. Runs without end.
async fn notice_standstills() {
    loop {
        let before = Instant::now();
        tokio::time::sleep(WATCH_INTERVAL).await;
        let stood_still = before.elapsed().saturating_sub(WATCH_INTERVAL);
        if stood_still > STANDSTILL {
            tracing::warn!(
                stood_still_ms = stood_still.as_millis(),
                "this process stood still: it was stopped, or its machine was; the other servers, or Postgres, may \
                 have ended its sessions, and it opens others"
            );
        }
    }
}
