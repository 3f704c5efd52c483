//! Folding the log into copies of read models, a run of events at a time.

use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, PgConnection, Row};

use super::models::ModelCopy;
use crate::store::StoreError;

/// Locks copies until the end of the transaction.
const LOCK: &str =
    "select from read_model_copies where copy = any($1) order by copy for no key update";
/// Records that copies move from one position to another. The primary key prevents the same step from being
/// made twice. If a copy is not at the start of the step, or the visible log does not contain its end, the
/// position is null, which the table refuses.
const STEP: &str = "insert into checkpoints (copy, position, folded_at) \
     select copy.copy, \
         case when reached.position = $2 then (select position from events where position = $3) end, \
         clock_timestamp() \
     from unnest($1) as copy (copy) \
     left join lateral (\
         select position from checkpoints where checkpoints.copy = copy.copy \
         order by position desc limit 1\
     ) as reached on true";
/// The positions of copies, and the head of the log at the same moment.
const PROGRESS: &str = "select copy, is_complete, reached.position, \
         coalesce((select position from events order by position desc limit 1), 0) as head \
     from read_model_copies \
     cross join lateral (\
         select position from checkpoints where checkpoints.copy = read_model_copies.copy \
         order by position desc limit 1\
     ) as reached \
     where copy = any($1) order by copy";

/// The position of a copy.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) table: String,
    pub(super) position: i64,
    pub(super) is_complete: bool,
}

/// Prepares a connection for folding into some copies. Its transactions need not wait for the disk, because
/// rows and checkpoint are lost or kept together. Plans must suit runs of any size, and tables that may have
/// been empty when they were planned. The folds are prepared by name, so that all folds of a run go to the
/// database in one message.
pub(super) async fn ready<'a>(
    connection: &mut PgConnection,
    copies: impl IntoIterator<Item = &'a ModelCopy>,
) -> Result<(), StoreError> {
    let ready = format!(
        "set synchronous_commit = off; \
         set enable_hashjoin = off; \
         set enable_mergejoin = off; \
         set work_mem = '64MB'; \
         prepare lock_copies (text[]) as {LOCK}; \
         prepare step (text[], bigint, bigint) as {STEP}; \
         prepare progress (text[]) as {PROGRESS}"
    );
    connection.execute(sqlx::raw_sql(&ready)).await?;
    for copy in copies {
        let prepare = format!("prepare fold_{} (bigint, bigint) as {}", copy.table, copy.fold);
        let prepared = connection.execute(sqlx::raw_sql(&prepare)).await;
        match prepared.map_err(StoreError::from) {
            Ok(_) => {}
            // This copy must not block the others; its fold will be refused again.
            Err(StoreError::Refused(error)) => {
                tracing::error!(%error, table = copy.table, "a read model cannot be folded");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a step was refused because a copy was no longer at the start of it: a rebuilt one has replaced it in
/// the meantime.
pub(super) fn was_moved(error: &sqlx::Error) -> bool {
    let not_null = "23502";
    error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| code == not_null) && error.table() == Some("checkpoints")
    })
}

/// Names of tables as a list of SQL strings. The names are generated here, so they need no quoting.
fn list(tables: &[&str]) -> String {
    let quoted: Vec<String> = tables.iter().map(|table| format!("'{table}'")).collect();
    format!("array[{}]::text[]", quoted.join(", "))
}

/// Locks copies until the end of the transaction, so that no other connection folds into them. Copies that do
/// not exist are ignored.
pub(super) async fn lock(
    transaction: &mut PgConnection,
    tables: &[&str],
) -> Result<(), StoreError> {
    sqlx::query(LOCK).bind(tables).execute(transaction).await?;
    Ok(())
}

/// Locks copies on a prepared connection. Returns the positions of `tables`, which include the locked ones,
/// and the head of the log.
pub(super) async fn lock_and_progress(
    transaction: &mut PgConnection,
    locked: &[&str],
    tables: &[&str],
) -> Result<(Vec<Progress>, i64), StoreError> {
    // Two statements, because the second sees what was committed while the first waited.
    let script =
        format!("execute lock_copies ({}); execute progress ({})", list(locked), list(tables));
    let rows = transaction.fetch_all(sqlx::raw_sql(&script)).await?;
    // The rows of the lock statement have no columns.
    read_progress(rows.into_iter().filter(|row| !row.is_empty()))
}

/// The position of each copy, and the head of the log at the same moment.
pub(super) async fn progress(
    connection: &mut PgConnection,
    tables: &[&str],
) -> Result<(Vec<Progress>, i64), StoreError> {
    let rows = sqlx::query(PROGRESS).bind(tables).fetch_all(connection).await?;
    read_progress(rows)
}

fn read_progress(
    rows: impl IntoIterator<Item = PgRow>,
) -> Result<(Vec<Progress>, i64), StoreError> {
    let mut head = 0;
    let mut copies = Vec::new();
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

/// Operations on copies, as statements that go to the database in one message. Outside of a transaction the
/// message is a transaction; within one, the statements are part of it.
#[derive(Default)]
pub(super) struct Script(String);

impl Script {
    /// Begins with locking copies, on a prepared connection.
    pub(super) fn locking(tables: &[&str]) -> Self {
        Self(format!("execute lock_copies ({}); ", list(tables)))
    }

    /// Folds the events of `from < position <= to` into locked copies, on a connection that was prepared for
    /// them. The database refuses this unless all of them are at `from` and the log contains `to`.
    pub(super) fn fold(&mut self, copies: &[&ModelCopy], from: i64, to: i64) {
        let tables: Vec<&str> = copies.iter().map(|copy| &*copy.table).collect();
        self.add(&format!("execute step ({}, {from}, {to}); ", list(&tables)));
        for table in tables {
            self.add(&format!("execute fold_{table} ({from}, {to}); "));
        }
    }

    /// Marks copies as complete: they have applied the whole log.
    pub(super) fn complete(&mut self, tables: &[&str]) {
        self.add(&format!(
            "update read_model_copies set is_complete = true where copy = any({}); ",
            list(tables)
        ));
    }

    /// Deletes checkpoints of copies below a position that the copies have reached.
    pub(super) fn sweep(&mut self, tables: &[&str], below: i64) {
        self.add(&format!(
            "delete from checkpoints where copy = any({}) and position < {below}; ",
            list(tables)
        ));
    }

    pub(super) async fn run(self, connection: &mut PgConnection) -> Result<(), StoreError> {
        connection.execute(sqlx::raw_sql(&self.0)).await?;
        Ok(())
    }

    fn add(&mut self, statement: &str) {
        self.0.push_str(statement);
    }
}

/// Folds one run into those of some copies that are furthest behind: at most `run_events`, and not past the
/// next copy or `limit`. Returns the lowest position afterwards.
pub(super) async fn advance(
    connection: &mut PgConnection,
    copies: &[ModelCopy],
    run_events: i64,
    limit: i64,
) -> Result<i64, StoreError> {
    let mut transaction = connection.begin().await?;
    let tables: Vec<&str> = copies.iter().map(|copy| &*copy.table).collect();
    let (progress, _) = lock_and_progress(&mut transaction, &tables, &tables).await?;
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
        let mut script = Script::default();
        script.fold(&last, from, to);
        script.sweep(&tables, from);
        script.run(&mut transaction).await.map_err(|error| missing_event(error, to))?;
    }
    transaction.commit().await?;
    let reached = progress
        .iter()
        .map(|copy| if copy.position == from { to.max(from) } else { copy.position });
    Ok(reached.min().unwrap_or(limit))
}

/// The error of a step of locked copies that the database refused because the log does not contain the step's end.
fn missing_event(error: StoreError, position: i64) -> StoreError {
    match error {
        StoreError::Refused(refused) if was_moved(&refused) => {
            StoreError::Nonsense(format!("the log lacks the event of position {position}"))
        }
        error => error,
    }
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
