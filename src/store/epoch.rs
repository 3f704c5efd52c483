//! Epochs: an epoch is one life of a database.
//!
//! A database that was restored from a backup, failed over to a standby or copied may hold less than what its
//! clients were told. Positions of an earlier epoch are valid up to the end of that epoch; beyond it, the
//! same number may mean another event.

use sqlx::{PgConnection, Row};

use super::{StoreError, functions, snapshots};
use crate::hang;

/// The present epoch of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Increases from epoch to epoch, also between databases that were restored from one backup.
    pub number: i32,
    /// The head of the log when the epoch began.
    pub start_position: i64,
    identity: Identity,
}

/// The cluster, its timeline, the database in it, and the table of events with its file.
type Identity = (i64, i64, i64, i64, i64);

/// The present epoch. Begins a new epoch at the head of the log if the cluster, its timeline, the database or
/// the log's table differs from that of the last epoch.
///
/// # Errors
/// [`StoreError`] if the database cannot be read or written.
pub async fn enter(connection: &mut PgConnection) -> Result<Epoch, StoreError> {
    forget_snapshots_of_another_epoch(connection).await?;
    let identity = identity(connection).await?;
    let call = functions::statement("select * from {enter_epoch}($1, $2, $3, $4, $5)");
    let entering = sqlx::query(&call)
        .bind(identity.0)
        .bind(identity.1)
        .bind(identity.2)
        .bind(identity.3)
        .bind(identity.4)
        .fetch_one(&mut *connection);
    let row = hang::during("epoch.entering", entering).await?;
    let epoch = Epoch { number: row.try_get(0)?, start_position: row.try_get(1)?, identity };
    forget_writers(connection).await?;
    Ok(epoch)
}

/// Deletes snapshots that lie ahead of the log, if the log may have lost its end. Once the log has grown past
/// them, they could no longer be told from others. This happens before a server appends in the new epoch, and
/// without the lock of the log, because it can take long.
async fn forget_snapshots_of_another_epoch(
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    let identity = identity(&mut *connection).await?;
    let last: Option<Identity> = sqlx::query_as(
        "select system_identifier, timeline, database_oid, events_oid, events_filenode \
         from epochs order by epoch desc limit 1",
    )
    .fetch_optional(&mut *connection)
    .await?;
    if last.is_some_and(|last| last != identity) {
        snapshots::forget_ahead_of_log(connection).await?;
    }
    Ok(())
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

/// Whether a connection that has led to the epoch `epoch` still finds the same log there, or none. In one
/// database the table of the log can be replaced without any connection being lost.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn has_same_log(connection: &mut PgConnection, epoch: Epoch) -> Result<bool, StoreError> {
    let log: Option<(i64, i64)> = sqlx::query_as(
        "select oid::bigint, pg_relation_filenode(oid)::bigint from pg_class \
         where oid = to_regclass('events')",
    )
    .fetch_optional(connection)
    .await?;
    let (.., oid, filenode) = epoch.identity;
    Ok(log.is_none_or(|log| log == (oid, filenode)))
}

async fn identity(connection: &mut PgConnection) -> Result<Identity, StoreError> {
    let identity = sqlx::query_as(include_str!("identity.sql")).fetch_optional(connection).await?;
    // It may be about to be restored, so this is worth another attempt.
    let missing = || sqlx::Error::InvalidArgument("the table 'events' is missing".into());
    identity.ok_or_else(|| StoreError::Unavailable(missing()))
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
        "select next.start_position from epochs, lateral ( \
             select start_position from epochs as later where later.epoch > epochs.epoch \
             order by later.epoch limit 1) as next \
         where epochs.epoch = $1",
    )
    .bind(epoch)
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
