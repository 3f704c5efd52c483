//! Folding the log into copies of read models, a run of events at a time.

use sqlx::{Connection, Executor, PgConnection, Row};

use super::models::ModelCopy;
use crate::store::StoreError;

/// How far a copy has come.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) table: String,
    pub(super) position: i64,
    pub(super) is_complete: bool,
}

/// Readies a connection for folding: its transactions need not wait for the disk, because rows and
/// checkpoint are lost or kept together; and plans are made for runs of any size, for tables that may
/// have been empty when they were made.
pub(super) async fn ready(connection: &mut PgConnection) -> Result<(), StoreError> {
    connection
        .execute(
            "set synchronous_commit = off; \
             set enable_hashjoin = off; \
             set enable_mergejoin = off; \
             set work_mem = '64MB'",
        )
        .await?;
    Ok(())
}

/// Locks copies until the end of the transaction, so that nobody else folds into them. Those that do not
/// exist are left out.
pub(super) async fn lock(
    transaction: &mut PgConnection,
    tables: &[&str],
) -> Result<(), StoreError> {
    sqlx::query(
        "select from read_model_copies where copy = any($1) order by copy for no key update",
    )
    .bind(tables)
    .execute(transaction)
    .await?;
    Ok(())
}

/// How far each copy has come, and the head of the log at the same moment.
pub(super) async fn progress(
    connection: &mut PgConnection,
    tables: &[&str],
) -> Result<(Vec<Progress>, i64), StoreError> {
    let rows = sqlx::query(
        "select copy, is_complete, reached.position, \
             coalesce((select position from events order by position desc limit 1), 0) as head \
         from read_model_copies \
         cross join lateral (\
             select position from checkpoints where checkpoints.copy = read_model_copies.copy \
             order by position desc limit 1\
         ) as reached \
         where copy = any($1) order by copy",
    )
    .bind(tables)
    .fetch_all(connection)
    .await?;
    let mut head = 0;
    let mut copies = Vec::with_capacity(rows.len());
    for row in rows {
        head = row.try_get("head")?;
        copies.push(Progress {
            table: row.try_get("copy")?,
            position: row.try_get("position")?,
            is_complete: row.try_get("is_complete")?,
        });
    }
    Ok((copies, head))
}

/// Folds the events of `from < position <= to` into copies that all stand at `from`, within a transaction
/// that holds their locks.
pub(super) async fn fold(
    transaction: &mut PgConnection,
    copies: &[&ModelCopy],
    from: i64,
    to: i64,
) -> Result<(), StoreError> {
    for copy in copies {
        sqlx::query(&copy.fold).bind(from).bind(to).execute(&mut *transaction).await?;
    }
    let tables: Vec<&str> = copies.iter().map(|copy| &*copy.table).collect();
    // The primary key forbids the same step to be made twice.
    sqlx::query(
        "insert into checkpoints (copy, position, folded_at) \
         select copy, $2, clock_timestamp() from unnest($1::text[]) as copy",
    )
    .bind(&tables)
    .bind(to)
    .execute(&mut *transaction)
    .await?;
    Ok(())
}

/// Notes that copies hold all that the log held.
pub(super) async fn complete(
    transaction: &mut PgConnection,
    tables: &[&str],
) -> Result<(), StoreError> {
    sqlx::query("update read_model_copies set is_complete = true where copy = any($1)")
        .bind(tables)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Forgets checkpoints that later ones have replaced.
pub(super) async fn sweep(
    transaction: &mut PgConnection,
    tables: &[&str],
    below: i64,
) -> Result<(), StoreError> {
    sqlx::query("delete from checkpoints where copy = any($1) and position < $2")
        .bind(tables)
        .bind(below)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Folds those of some copies that have come least far by one run: at most `run_events`, and not past the
/// next of the others or `limit`. Answers where the last of them stands afterwards.
pub(super) async fn advance(
    connection: &mut PgConnection,
    copies: &[ModelCopy],
    run_events: i64,
    limit: i64,
) -> Result<i64, StoreError> {
    let mut transaction = connection.begin().await?;
    let tables: Vec<&str> = copies.iter().map(|copy| &*copy.table).collect();
    lock(&mut transaction, &tables).await?;
    let (progress, _) = progress(&mut transaction, &tables).await?;
    if progress.len() < copies.len() {
        return Err(StoreError::Nonsense("a copy of a read model is gone".into()));
    }
    let from = progress.iter().map(|copy| copy.position).min().unwrap_or(limit);
    let others = progress.iter().map(|copy| copy.position).filter(|position| *position > from);
    let to = others.min().unwrap_or(i64::MAX).min(limit).min(from.saturating_add(run_events));
    if to > from {
        let is_last = |copy: &&ModelCopy| {
            progress.iter().any(|at| at.table == copy.table && at.position == from)
        };
        let last: Vec<&ModelCopy> = copies.iter().filter(is_last).collect();
        fold(&mut transaction, &last, from, to).await?;
        sweep(&mut transaction, &tables, from).await?;
    }
    transaction.commit().await?;
    let reached = progress
        .iter()
        .map(|copy| if copy.position == from { to.max(from) } else { copy.position });
    Ok(reached.min().unwrap_or(limit))
}

/// Folds copies until all of them have reached a position.
pub(super) async fn advance_to(
    connection: &mut PgConnection,
    copies: &[ModelCopy],
    run_events: i64,
    position: i64,
) -> Result<(), StoreError> {
    loop {
        if advance(connection, copies, run_events, position).await? >= position {
            return Ok(());
        }
    }
}
