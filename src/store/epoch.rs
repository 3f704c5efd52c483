//! Epochs: an epoch is one life of a database.
//!
//! A database that was restored from a backup, failed over to a standby or copied may hold less than what its
//! clients were told. Positions of an earlier epoch are valid up to the end of that epoch; beyond it, the
//! same number may mean another event.

use sqlx::{PgConnection, Row};

use super::{StoreError, functions};
use crate::hang;

/// The present epoch of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// 1, 2, 3, ...
    pub number: i32,
    /// The head of the log when the epoch began.
    pub start_position: i64,
    /// The cluster, its timeline and the database in it.
    identity: (i64, i64, i64),
}

/// The present epoch. Begins a new epoch at the head of the log if the cluster, its timeline or the database
/// differs from that of the last epoch.
///
/// # Errors
/// [`StoreError`] if the database cannot be read or written.
pub async fn enter(connection: &mut PgConnection) -> Result<Epoch, StoreError> {
    let identity = identity(connection).await?;
    let call = functions::statement("select * from {enter_epoch}($1, $2, $3)");
    let entering = sqlx::query(&call)
        .bind(identity.0)
        .bind(identity.1)
        .bind(identity.2)
        .fetch_one(&mut *connection);
    let row = hang::during("epoch.entering", entering).await?;
    let epoch = Epoch { number: row.try_get(0)?, start_position: row.try_get(1)?, identity };
    forget_writers(connection).await?;
    Ok(epoch)
}

/// Deletes the last batches of server processes that are long gone, because those are never sent again.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn forget_writers(executor: impl sqlx::PgExecutor<'_>) -> Result<(), StoreError> {
    sqlx::query("delete from writers where recorded_at < now() - interval '1 day'")
        .execute(executor)
        .await?;
    Ok(())
}

/// Whether a connection leads to the database in the epoch `epoch`.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn is_present(connection: &mut PgConnection, epoch: Epoch) -> Result<bool, StoreError> {
    Ok(identity(connection).await? == epoch.identity)
}

async fn identity(connection: &mut PgConnection) -> Result<(i64, i64, i64), StoreError> {
    Ok(sqlx::query_as(include_str!("identity.sql")).fetch_one(connection).await?)
}

/// The position at which an earlier epoch ended; `None` if there was no such epoch or it has not
/// ended.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn end_of(
    executor: impl sqlx::PgExecutor<'_>,
    epoch: i32,
) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query(
        "select next.start_position from epochs join epochs as next \
         on next.epoch = epochs.epoch + 1 where epochs.epoch = $1",
    )
    .bind(epoch)
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
