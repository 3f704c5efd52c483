//! Epochs: one life of a database each.
//!
//! A database that was restored from a backup, failed over to a standby or copied may hold less than
//! what its clients were told. Positions of its former life are good up to where that life ended;
//! beyond, the same number may mean another event.

use sqlx::{Connection, PgConnection, Row};

use super::StoreError;

/// The present life of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// 1, 2, 3, ...
    pub number: i32,
    /// The head of the log when it began.
    pub start_position: i64,
}

/// The present epoch. Opens a new one at the head of the log if the cluster, its timeline or the
/// database is not the one of the last epoch.
///
/// # Errors
/// [`StoreError`] if the database cannot be read or written.
pub async fn enter(connection: &mut PgConnection) -> Result<Epoch, StoreError> {
    let mut transaction = connection.begin().await?;
    // Also keeps two servers from opening the same epoch, and appends from moving the head.
    sqlx::query("select lock_log()").execute(&mut *transaction).await?;
    sqlx::query(include_str!("epoch.sql")).execute(&mut *transaction).await?;
    let row = sqlx::query("select epoch, start_position from epochs order by epoch desc limit 1")
        .fetch_one(&mut *transaction)
        .await?;
    let epoch = Epoch { number: row.try_get(0)?, start_position: row.try_get(1)? };
    transaction.commit().await?;
    Ok(epoch)
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
