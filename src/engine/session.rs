//! A connection of the worker: reopened when it is lost, and never shared. The worker has two, one to append
//! and one to load ahead.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::patience::Patience;
use super::query::fetch;
use super::unit::{Missing, UnitOfWork};
use crate::hang;
use crate::metrics::Metrics;
use crate::store::append::{Appended, append, is_appended};
use crate::store::{Batch, Database, Epoch, StoreError, epoch, functions, in_time};

/// The pause before another attempt to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Identifies a batch among all batches of all server processes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchNumber {
    pub(super) writer: Uuid,
    pub(super) number: i64,
}

pub(super) struct Session {
    database: Database,
    epoch: Epoch,
    connection: Option<PgConnection>,
    /// Whether a new connection led to another epoch of the database.
    is_elsewhere: bool,
    metrics: Metrics,
}

impl Session {
    pub(super) fn new(database: Database, epoch: Epoch, metrics: Metrics) -> Self {
        Self { database, epoch, connection: None, is_elsewhere: false, metrics }
    }

    /// Whether the state in memory is of an earlier epoch of the database, and therefore useless.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// Drops a connection that was interrupted in the middle of something.
    pub(super) fn forget_connection(&mut self) {
        self.connection = None;
    }

    /// Loads what decisions lack, on a new connection if the old one is lost.
    pub(super) async fn fetch(
        &mut self,
        unit: &mut UnitOfWork<'_>,
        missing: Missing,
        patience: Patience,
    ) -> Result<(), StoreError> {
        loop {
            let attempt = async {
                let connection = self.connection().await?;
                in_time(fetch(connection, unit, missing.clone())).await
            };
            match patience.bound(attempt).await {
                Ok(()) => return Ok(()),
                Err(error) => self.retry_or(error, patience).await?,
            }
        }
    }

    /// Appends a batch, and repeats it under the same number while its outcome is unknown.
    pub(super) async fn append(
        &mut self,
        BatchNumber { writer, number }: BatchNumber,
        batch: &Batch,
        patience: Patience,
    ) -> Result<Appended, StoreError> {
        loop {
            let attempt = async {
                let connection = self.connection().await?;
                append_in_time(connection, writer, number, batch).await
            };
            match patience.bound(attempt).await {
                Ok(appended) => return Ok(appended),
                Err(error) => self.retry_or(error, patience).await?,
            }
        }
    }

    /// Begins a transaction and takes the log's lock in it.
    pub(super) async fn begin_locked(&mut self, patience: Patience) -> Result<(), StoreError> {
        loop {
            let attempt = async {
                let connection = self.connection().await?;
                in_time(begin_locked(connection)).await
            };
            match patience.bound(attempt).await {
                Ok(()) => return Ok(()),
                Err(error) => self.retry_or(error, patience).await?,
            }
        }
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        if self.connection.is_none() {
            let mut connection = self.database.connect().await?;
            if !in_time(epoch::is_present(&mut connection, self.epoch)).await? {
                self.is_elsewhere = true;
                return Err(StoreError::Elsewhere);
            }
            self.connection = Some(connection);
        }
        let lost = || StoreError::Unavailable(sqlx::Error::PoolClosed);
        self.connection.as_mut().ok_or_else(lost)
    }

    /// Waits before another attempt, or returns the error if there is to be none.
    async fn retry_or(&mut self, error: StoreError, patience: Patience) -> Result<(), StoreError> {
        let is_refusal = !matches!(error, StoreError::Unavailable(_));
        if is_refusal || !patience.allows_retry() {
            // The connection may be in the middle of something, so it must not be reused.
            self.connection = None;
            return Err(error);
        }
        tracing::warn!(%error, "the connection to the database is lost, or a lock was not free in time; trying again");
        self.connection = None;
        self.metrics.retries.inc();
        tokio::time::sleep(RECONNECT_PAUSE).await;
        Ok(())
    }

    /// Appends within the transaction that [`Session::begin_locked`] began, and commits.
    pub(super) async fn append_locked(
        &mut self,
        number: BatchNumber,
        batch: &Batch,
        patience: Patience,
    ) -> Result<Appended, StoreError> {
        let connection = self.connection().await?;
        let work = in_time(async {
            let appended = append(connection, number.writer, number.number, batch).await?;
            hang::point("engine.locked.appended");
            sqlx::query("commit").execute(connection).await?;
            Ok(appended)
        });
        let appended = patience.bound(work).await;
        if appended.is_err() {
            self.connection = None;
        }
        appended
    }

    /// Takes the lock again after the connection was lost while a batch was being appended under it. Whatever the
    /// first transaction did has ended then. Returns what the batch came to if it was appended; the lock is free
    /// again in either case.
    pub(super) async fn find_appended(
        &mut self,
        number: BatchNumber,
        batch: &Batch,
        patience: Patience,
    ) -> Result<Option<Appended>, StoreError> {
        self.begin_locked(patience).await?;
        let connection = self.connection().await?;
        let known = patience
            .bound(in_time(is_appended(connection, number.writer, number.number)))
            .await
            .inspect_err(|_| self.connection = None)?;
        if known {
            return self.append_locked(number, batch, patience).await.map(Some);
        }
        self.leave_locked(patience).await;
        Ok(None)
    }

    /// Ends the transaction that [`Session::begin_locked`] began without an append.
    pub(super) async fn leave_locked(&mut self, patience: Patience) {
        let left = match &mut self.connection {
            Some(connection) => {
                let work = async { Ok(sqlx::query("rollback").execute(connection).await?) };
                patience.bound(work).await
            }
            None => return,
        };
        if left.is_err() {
            self.connection = None;
        }
    }

    pub(super) async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }
}

/// Begins a transaction that the database ends by itself if this process stops responding, and takes the
/// lock.
async fn begin_locked(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("begin").execute(&mut *connection).await?;
    let lock = functions::statement(
        "select set_config('idle_in_transaction_session_timeout', '1s', true), {lock_log}()",
    );
    sqlx::query(&lock).execute(connection).await?;
    hang::point("engine.locked");
    Ok(())
}

/// Appends a batch, within the time that an answer may take.
async fn append_in_time(
    connection: &mut PgConnection,
    writer: Uuid,
    number: i64,
    batch: &Batch,
) -> Result<Appended, StoreError> {
    in_time(hang::during("engine.appending", append(connection, writer, number, batch))).await
}
