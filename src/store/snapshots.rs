//! Snapshots that are of no use: they are deleted, because nothing is lost with a cache.

use sqlx::PgConnection;

use super::StoreError;
use domain::StreamKey;

/// Deletes the snapshots of streams, which were found to be of no use, and logs that.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub(super) async fn forget(
    connection: &mut PgConnection,
    streams: &[StreamKey],
) -> Result<(), StoreError> {
    let kinds: Vec<&str> = streams.iter().map(|key| key.kind.as_str()).collect();
    let ids: Vec<&str> = streams.iter().map(|key| &*key.id).collect();
    let versions: Vec<i32> = streams.iter().map(|key| key.kind.state_version()).collect();
    // Other releases may have use for theirs.
    let deleted = sqlx::query(
        "delete from snapshots using unnest($1::text[], $2::text[], $3::integer[]) \
             as useless(aggregate_type, aggregate_id, state_version) \
         where snapshots.aggregate_type = useless.aggregate_type \
             and snapshots.aggregate_id = useless.aggregate_id \
             and snapshots.state_version = useless.state_version",
    )
    .bind(kinds)
    .bind(ids)
    .bind(versions)
    .execute(connection)
    .await?;
    if deleted.rows_affected() > 0 {
        let streams: Vec<String> = streams.iter().map(ToString::to_string).collect();
        tracing::warn!(?streams, "snapshots that do not fit the log were deleted");
    }
    Ok(())
}

/// Deletes the snapshots whose last events the log does not have.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub(super) async fn forget_ahead_of_log(connection: &mut PgConnection) -> Result<(), StoreError> {
    let deleted = sqlx::query(
        "delete from snapshots where not exists ( \
             select from events \
             where events.aggregate_type = snapshots.aggregate_type \
                 and events.aggregate_id = snapshots.aggregate_id \
                 and events.sequence = snapshots.last_sequence)",
    )
    .execute(connection)
    .await?;
    let snapshots = deleted.rows_affected();
    if snapshots > 0 {
        tracing::warn!(snapshots, "snapshots ahead of the log were deleted");
    }
    Ok(())
}
