//! One attempt at a job, and the transaction in which the job is completed.

use sqlx::{Connection, Executor, PgConnection};

use super::TakenJob;
use crate::hang;
use crate::store::{Database, StoreError, jobs};

/// The database ends the connection of an attempt whose transaction is idle for this long.
const BEGIN: &str = "begin; set local idle_in_transaction_session_timeout = '60s'";

/// What an attempt can use.
pub struct Attempt {
    database: Database,
    /// A separate connection, so that an interrupted attempt leaves no open transaction in the pool.
    connection: Option<PgConnection>,
    is_begun: bool,
    /// Whether the handler has completed the job itself, and was the last attempt then.
    is_completed: Option<bool>,
}

impl Attempt {
    pub(super) fn new(database: Database, connection: Option<PgConnection>) -> Self {
        Self { database, connection, is_begun: false, is_completed: None }
    }

    /// The database, for work that need not be in the transaction.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The transaction in which the job is completed; the first call begins it. What is written in it is committed
    /// if and only if this attempt completes the job. Do not wait for anything slow once it has begun.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be begun.
    pub async fn transaction(&mut self) -> Result<&mut PgConnection, StoreError> {
        if !self.is_begun {
            self.connection = Some(self.begin().await?);
            self.is_begun = true;
        }
        let lost = || StoreError::Unavailable(sqlx::Error::PoolClosed);
        self.connection.as_mut().ok_or_else(lost)
    }

    /// A connection in a new transaction. The connection of an earlier attempt may have been lost meanwhile.
    async fn begin(&mut self) -> Result<PgConnection, StoreError> {
        if let Some(mut connection) = self.connection.take()
            && connection.execute(sqlx::raw_sql(BEGIN)).await.is_ok()
        {
            return Ok(connection);
        }
        let mut connection = self.database.connect().await?;
        connection.execute(sqlx::raw_sql(BEGIN)).await?;
        Ok(connection)
    }

    /// Tells that the handler has completed the job by a statement of its own, which wrote what it had to write too.
    /// `is_last` is what [`jobs::complete`] would have returned.
    pub fn completed(&mut self, is_last: bool) {
        self.is_completed = Some(is_last);
    }

    /// Completes the job, unless the handler has done it. False if another attempt has begun meanwhile; then nothing of
    /// this one is committed.
    pub(super) async fn complete(&mut self, job: &TakenJob) -> Result<bool, StoreError> {
        if let Some(is_last) = self.is_completed {
            return Ok(is_last);
        }
        let Some(connection) = self.connection.as_mut().filter(|_| self.is_begun) else {
            let completing = jobs::complete(self.database.pool(), job.id, job.attempt);
            return hang::during("job.completing", completing).await;
        };
        let is_last = jobs::complete(&mut *connection, job.id, job.attempt).await?;
        hang::point("job.completing");
        let end = if is_last { "commit" } else { "rollback" };
        sqlx::query(end).execute(connection).await?;
        self.is_begun = false;
        Ok(is_last)
    }

    /// Rolls the transaction back.
    pub(super) async fn undo(&mut self) {
        if !self.is_begun {
            return;
        }
        if let Some(mut connection) = self.connection.take()
            && sqlx::query("rollback").execute(&mut connection).await.is_ok()
        {
            self.connection = Some(connection);
        }
        self.is_begun = false;
    }

    /// The connection, for the next attempt.
    pub(super) async fn into_connection(self) -> Option<PgConnection> {
        match self.connection {
            Some(connection) if self.is_begun => {
                let _ = connection.close_hard().await;
                None
            }
            connection => connection,
        }
    }
}
