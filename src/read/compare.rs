//! Fresh copies of read models: folded from the log, brought to the position of the copies that serve, and
//! compared with them.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};

use super::fold::{self, Progress};
use super::models::{self, ModelCopy, Purpose};
use super::rebuild::MaintenanceError;
use crate::hang;
use crate::store::{Database, StoreError, holders};

/// The maximum number of events that are folded in one transaction.
const RUN_EVENTS: i64 = 20_000;
/// How many differing rows are named; all are counted.
const MAX_NAMED: i64 = 100;

/// Receives the progress of long work.
pub trait Watcher: Send {
    /// A step begins that is over at `end`.
    fn begin(&mut self, what: &str, end: i64);
    /// How far the step has come.
    fn reach(&mut self, position: i64);
    /// The step is over.
    fn end(&mut self);
}

/// A row that disagrees with the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The read model.
    pub model: &'static str,
    /// The row, as `column=value` of its key.
    pub key: String,
    /// The column that differs.
    pub column: String,
    /// The value in the table; `null` for a missing row.
    pub found: String,
    /// The value according to the log.
    pub expected: String,
    /// The last event that concerns the row.
    pub position: i64,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, key, column, found, expected, position } = self;
        write!(
            formatter,
            "{model} {key}: {column} is {found}, but should be {expected} (by event {position})"
        )
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The position of both copies.
    pub position: i64,
    /// Models that were compared, with their number of rows.
    pub compared: Vec<(&'static str, i64)>,
    /// How many rows differ.
    pub differing_rows: i64,
    /// The first differences, column by column.
    pub differences: Vec<Difference>,
}

/// The rest of the work of catching up.
struct Work<'a> {
    unfinished: Vec<Unfinished<'a>>,
    watcher: &'a mut dyn Watcher,
}

/// A copy that has yet to catch up.
struct Unfinished<'a> {
    copy: &'a ModelCopy,
    position: i64,
    /// Whether the copy is being folded.
    is_taken: bool,
}

impl<'a> Work<'a> {
    fn take(&mut self) -> Option<&'a ModelCopy> {
        let free = self.unfinished.iter_mut().filter(|unfinished| !unfinished.is_taken);
        let last = free.min_by_key(|unfinished| unfinished.position)?;
        last.is_taken = true;
        Some(last.copy)
    }

    fn put_back(&mut self, copy: &ModelCopy, reached: i64, limit: i64) {
        for unfinished in &mut self.unfinished {
            if unfinished.copy.table == copy.table {
                (unfinished.position, unfinished.is_taken) = (reached, false);
            }
        }
        let positions = self.unfinished.iter().map(|unfinished| unfinished.position);
        self.watcher.reach(positions.min().unwrap_or(reached));
        self.unfinished.retain(|unfinished| unfinished.is_taken || unfinished.position < limit);
    }
}

/// A connection for a command of an operator, which may wait for the projector.
pub(super) async fn connect(database: &Database) -> Result<PgConnection, StoreError> {
    let mut connection = database.connect().await?;
    holders::be_patient(&mut connection).await?;
    Ok(connection)
}

/// The copies that serve, and fresh copies of the same models.
pub(super) struct Pair {
    pub(super) serving: Vec<ModelCopy>,
    pub(super) fresh: Vec<ModelCopy>,
}

impl Pair {
    /// The copies of some models, by name.
    pub(super) fn of(names: &[&str], purpose: Purpose) -> Self {
        let only = |purpose| {
            let mut copies = models::copies(purpose);
            copies.retain(|copy| names.contains(&copy.model));
            copies
        };
        Self { serving: only(Purpose::Serve), fresh: only(purpose) }
    }

    /// Creates the tables that do not exist.
    pub(super) async fn create(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        for copy in self.serving.iter().chain(&self.fresh) {
            copy.create(connection).await?;
        }
        Ok(())
    }

    /// Checks that the log holds all events that the copies that serve have applied.
    pub(super) async fn check_log(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), MaintenanceError> {
        let (progress, head) = fold::progress(connection, &tables(&self.serving)).await?;
        let Some(ahead) =
            progress.iter().filter(|copy| copy.position > head).max_by_key(|copy| copy.position)
        else {
            return Ok(());
        };
        let model = self.serving.iter().find(|copy| copy.table == ahead.table);
        let model = model.map_or("", |copy| copy.model);
        Err(MaintenanceError::Shortened { head, model, applied: ahead.position })
    }

    /// Whether the copies that serve have ever been complete, so that there is something to compare.
    pub(super) async fn is_served(
        &self,
        connection: &mut PgConnection,
    ) -> Result<bool, StoreError> {
        let (progress, _) = fold::progress(connection, &tables(&self.serving)).await?;
        Ok(progress.iter().all(|copy| copy.is_complete))
    }

    /// Folds the fresh copies up to the position of the others, or to the head if those are not complete. Two
    /// connections are used, which takes half the time if Postgres has two idle cores.
    pub(super) async fn catch_up(
        &self,
        database: &Database,
        what: &str,
        watcher: &mut dyn Watcher,
    ) -> Result<(), StoreError> {
        let (mut one, mut other) = (connect(database).await?, connect(database).await?);
        let is_served = self.is_served(&mut one).await?;
        let (progress, head) = fold::progress(&mut one, &tables(&self.fresh)).await?;
        watcher.begin(what, head);
        let unfinished = progress
            .iter()
            .filter_map(|at| {
                let copy = self.fresh.iter().find(|copy| copy.table == at.table)?;
                Some(Unfinished { copy, position: at.position, is_taken: false })
            })
            .collect();
        let work = Mutex::new(Work { unfinished, watcher });
        tokio::try_join!(
            self.fold_some(&mut one, is_served, &work),
            self.fold_some(&mut other, is_served, &work),
        )?;
        work.into_inner().unwrap_or_else(PoisonError::into_inner).watcher.end();
        Ok(())
    }

    /// Repeatedly folds a run into the fresh copy that is furthest behind and not being folded, until none is
    /// left.
    async fn fold_some(
        &self,
        connection: &mut PgConnection,
        is_served: bool,
        work: &Mutex<Work<'_>>,
    ) -> Result<(), StoreError> {
        let work = || work.lock().unwrap_or_else(PoisonError::into_inner);
        fold::ready(connection, &self.fresh).await?;
        loop {
            let Some(copy) = work().take() else { return Ok(()) };
            let (serving, head) = fold::progress(connection, &tables(&self.serving)).await?;
            let limit = if is_served { least(&serving) } else { head };
            let only = std::slice::from_ref(copy);
            let reached = fold::advance(connection, only, RUN_EVENTS, limit).await?;
            work().put_back(copy, reached, limit);
        }
    }

    /// Brings all copies to one position and opens a transaction that sees them at that position for as long
    /// as it lasts. The copies that serve are blocked only until it is open.
    async fn freeze(&self, database: &Database) -> Result<(PgConnection, i64), StoreError> {
        let (mut holder, mut folder) = (connect(database).await?, connect(database).await?);
        let mut looker = database.connect().await?;
        fold::ready(&mut folder, self.serving.iter().chain(&self.fresh)).await?;
        let serving = tables(&self.serving);
        loop {
            // An interrupted run, or a server that builds a new copy, may have left them at different
            // positions.
            let everything = [serving.clone(), tables(&self.fresh)].concat();
            let (progress, _) = fold::progress(&mut folder, &everything).await?;
            let furthest = greatest(&progress);
            fold::advance_to(&mut folder, &self.serving, RUN_EVENTS, furthest).await?;
            // Most of the rest is folded while nothing is blocked.
            fold::advance_to(&mut folder, &self.fresh, RUN_EVENTS, furthest).await?;

            let mut held = holder.begin().await?;
            fold::lock(&mut held, &serving).await?;
            hang::point("rebuild.holding");
            let (progress, _) = fold::progress(&mut held, &serving).await?;
            let position = greatest(&progress);
            if least(&progress) < position {
                held.rollback().await?;
                continue;
            }
            fold::advance_to(&mut folder, &self.fresh, RUN_EVENTS, position).await?;
            looker
                .execute(
                    "set enable_seqscan = on; set work_mem = '64MB'; \
                     set idle_in_transaction_session_timeout = '1min'; \
                     begin isolation level repeatable read, read only",
                )
                .await?;
            // The transaction sees the state at its first query.
            fold::progress(&mut looker, &serving).await?;
            held.rollback().await?;
            return Ok((looker, position));
        }
    }

    /// Compares all rows. Also returns the transaction in which that was done.
    pub(super) async fn compare(
        &self,
        database: &Database,
        watcher: &mut dyn Watcher,
    ) -> Result<(Comparison, PgConnection), StoreError> {
        let (mut looker, position) = self.freeze(database).await?;
        let mut comparison = Comparison { position, ..Comparison::default() };
        watcher.begin("comparing", i64::try_from(self.fresh.len()).unwrap_or_default());
        for (index, (serving, fresh)) in self.serving.iter().zip(&self.fresh).enumerate() {
            compare_rows(&mut looker, serving, fresh, &mut comparison).await?;
            watcher.reach(i64::try_from(index).unwrap_or_default() + 1);
        }
        watcher.end();
        Ok((comparison, looker))
    }
}

pub(super) fn tables(copies: &[ModelCopy]) -> Vec<&str> {
    copies.iter().map(|copy| &*copy.table).collect()
}

fn least(progress: &[Progress]) -> i64 {
    progress.iter().map(|copy| copy.position).min().unwrap_or_default()
}

fn greatest(progress: &[Progress]) -> i64 {
    progress.iter().map(|copy| copy.position).max().unwrap_or_default()
}

async fn compare_rows(
    connection: &mut PgConnection,
    serving: &ModelCopy,
    fresh: &ModelCopy,
    comparison: &mut Comparison,
) -> Result<(), StoreError> {
    let key = key_columns(connection, &fresh.table).await?;
    let rows: i64 = sqlx::query(&format!("select count(*) from {}", fresh.table))
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    comparison.compared.push((fresh.model, rows));
    let query = format!(
        "select to_jsonb(serving)::text as serving, to_jsonb(fresh)::text as fresh, \
             count(*) over () as differing \
         from {} as serving full join {} as fresh using ({}) \
         where serving is distinct from fresh \
         order by coalesce(fresh.last_position, serving.last_position) limit {MAX_NAMED}",
        serving.table,
        fresh.table,
        key.join(", "),
    );
    let differing = sqlx::query(&query).fetch_all(connection).await?;
    if let Some(first) = differing.first() {
        comparison.differing_rows += first.try_get::<i64, _>("differing")?;
    }
    for row in &differing {
        let read = |column: &str| -> Result<Option<Map<String, Value>>, StoreError> {
            let Some(json) = row.try_get::<Option<&str>, _>(column)? else { return Ok(None) };
            let parsed = serde_json::from_str(json);
            parsed.map(Some).map_err(|error| StoreError::Nonsense(error.to_string()))
        };
        name_differences(fresh.model, &key, read("serving")?, read("fresh")?, comparison);
    }
    Ok(())
}

/// Names the columns in which two rows differ, or reports that one of them is missing.
fn name_differences(
    model: &'static str,
    key: &[String],
    serving: Option<Map<String, Value>>,
    fresh: Option<Map<String, Value>>,
    comparison: &mut Comparison,
) {
    let (missing, unknown) = (serving.is_none(), fresh.is_none());
    let (serving, fresh) = (serving.unwrap_or_default(), fresh.unwrap_or_default());
    let row = if unknown { &serving } else { &fresh };
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "null".into(),
    };
    let named: Vec<String> =
        key.iter().map(|column| format!("{column}={}", text(row.get(column)))).collect();
    let difference = |column: &str, found: String, expected: String| Difference {
        model,
        key: named.join(" "),
        column: column.into(),
        found,
        expected,
        position: row.get("last_position").and_then(Value::as_i64).unwrap_or_default(),
    };
    if missing || unknown {
        let said = |is_gone| if is_gone { "missing" } else { "there" };
        comparison.differences.push(difference(
            "the row",
            said(missing).into(),
            said(unknown).into(),
        ));
        return;
    }
    for (column, expected) in &fresh {
        let found = serving.get(column);
        if found != Some(expected) {
            comparison.differences.push(difference(column, text(found), text(Some(expected))));
        }
    }
}

async fn key_columns(
    connection: &mut PgConnection,
    table: &str,
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "select attribute.attname::text as name \
         from pg_index as index \
         cross join lateral unnest(index.indkey) with ordinality as key(number, ordinal) \
         join pg_attribute as attribute \
             on attribute.attrelid = index.indrelid and attribute.attnum = key.number \
         where index.indrelid = $1::regclass and index.indisprimary \
         order by key.ordinal",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    let names = rows.iter().map(|row| row.try_get("name"));
    Ok(names.collect::<Result<_, _>>()?)
}
