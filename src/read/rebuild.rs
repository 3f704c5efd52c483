//! Building read models anew beside those that serve, and putting them in their place.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection, Row};

use super::compare::{Comparison, Pair, Watcher, tables};
use super::fold;
use super::models::{self, ModelCopy, Purpose};
use crate::store::{Database, StoreError};

/// The most events that are left for the transaction that switches.
const LAST_EVENTS: i64 = 5_000;
/// How long the switch waits for those who read at the moment before it lets them pass and tries again.
const SWITCH_PATIENCE: &str = "set local lock_timeout = '2s'";
/// How often it tries, and the pause in between.
const SWITCH_ATTEMPTS: u32 = 30;
const SWITCH_PAUSE: Duration = Duration::from_millis(200);

/// Why read models were not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No read model of that name.
    #[error("there is no read model '{0}'; there are {1}")]
    Unknown(String, String),
    /// Somebody else is at it.
    #[error("another rebuild is running on this database")]
    Running,
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Rebuilds one read model, or all: builds copies from the log, compares them with those that serve, and
/// lets them take their place at the head of the log. Reads are answered all the while. If it is cut off,
/// the next one goes on from there.
///
/// # Errors
/// [`RebuildError`] says what was in the way; those that serve are as they were.
pub async fn rebuild(
    database: &Database,
    name: &str,
    watcher: &mut dyn Watcher,
) -> Result<Comparison, RebuildError> {
    let known = models::names();
    let names = match name {
        "all" => known,
        name if known.contains(&name) => vec![name],
        name => return Err(RebuildError::Unknown(name.into(), known.join(", "))),
    };
    let mut connection = database.connect().await?;
    fold::ready(&mut connection).await?;
    if !lock_rebuilds(&mut connection).await? {
        return Err(RebuildError::Running);
    }
    let pair = Pair::of(&names, Purpose::Rebuild);
    pair.create(&mut connection).await?;
    let what = format!("building {name}");
    pair.catch_up(&mut connection, &what, watcher).await?;
    let comparison = if pair.is_served(&mut connection).await? {
        let (comparison, looker) = pair.compare(database, watcher).await?;
        looker.close().await?;
        comparison
    } else {
        Comparison::default()
    };
    for attempt in 1.. {
        match switch(&mut connection, &pair).await {
            Ok(()) => break,
            Err(StoreError::Unavailable(sqlx::Error::Database(error)))
                if error.code().as_deref() == Some("55P03") && attempt < SWITCH_ATTEMPTS =>
            {
                tokio::time::sleep(SWITCH_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(comparison)
}

async fn lock_rebuilds(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "select pg_try_advisory_lock(\
             hashtextextended('tributary rebuild ' || current_schema(), 0))",
    )
    .fetch_one(connection)
    .await?;
    Ok(row.try_get(0)?)
}

/// Folds the new copies up to the head of the log and puts them in the place of the old ones, in one
/// transaction.
async fn switch(connection: &mut PgConnection, pair: &Pair) -> Result<(), StoreError> {
    let fresh = tables(&pair.fresh);
    loop {
        let (_, head) = fold::progress(connection, &fresh).await?;
        if fold::advance(connection, &pair.fresh, LAST_EVENTS, head).await? + LAST_EVENTS >= head {
            break;
        }
    }
    let mut transaction = connection.begin().await?;
    transaction.execute(SWITCH_PATIENCE).await?;
    // Whoever folds takes these locks before it touches a table.
    let serving = tables(&pair.serving);
    fold::lock(&mut transaction, &[serving.clone(), fresh.clone()].concat()).await?;
    let (progress, head) = fold::progress(&mut transaction, &fresh).await?;
    for (old, new) in pair.serving.iter().zip(&pair.fresh) {
        let at = progress.iter().find(|copy| copy.table == new.table);
        let from = at.map_or(head, |copy| copy.position);
        if from < head {
            fold::fold(&mut transaction, &[new], from, head).await?;
        }
        replace(&mut transaction, old, new).await?;
    }
    sqlx::query("delete from checkpoints where copy = any($1)")
        .bind(&serving)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "insert into checkpoints (copy, position, folded_at) \
         select copy, $2, clock_timestamp() from unnest($1::text[]) as copy",
    )
    .bind(&serving)
    .bind(head)
    .execute(&mut *transaction)
    .await?;
    fold::complete(&mut transaction, &serving).await?;
    sqlx::query("delete from read_model_copies where copy = any($1)")
        .bind(&fresh)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

async fn replace(
    transaction: &mut PgConnection,
    old: &ModelCopy,
    new: &ModelCopy,
) -> Result<(), StoreError> {
    sqlx::query(&format!("drop table {}", old.table)).execute(&mut *transaction).await?;
    sqlx::query(&format!("alter table {} rename to {}", new.table, old.table))
        .execute(&mut *transaction)
        .await?;
    Ok(())
}

/// A copy of a read model, for those who look after the database.
#[derive(Clone, Debug)]
pub struct CopyStatus {
    /// The read model.
    pub model: String,
    /// The table.
    pub table: String,
    /// What it is there for; `None` for a copy of another release.
    pub purpose: Option<Purpose>,
    /// Everything up to here is in it.
    pub position: i64,
    /// How many events it lacks.
    pub lag_events: i64,
    /// How long ago the oldest event that it lacks was recorded, in microseconds.
    pub lag_us: i64,
    /// Whether it has ever been at the head.
    pub is_complete: bool,
    /// Its size on disk with its indexes, in bytes.
    pub size_bytes: i64,
}

/// Every copy there is, those of other releases too.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn status(connection: &mut PgConnection) -> Result<Vec<CopyStatus>, StoreError> {
    let rows = sqlx::query(
        "select copies.name, copies.copy, copies.is_complete, reached.position, \
             head.position - reached.position as lag_events, \
             coalesce(extract(epoch from clock_timestamp() - missing.recorded_at) * 1000000, 0)::bigint \
                 as lag_us, \
             coalesce(pg_total_relation_size(to_regclass(copies.copy)), 0) as size_bytes \
         from read_model_copies as copies \
         cross join lateral (\
             select coalesce(max(position), 0) as position from checkpoints \
             where checkpoints.copy = copies.copy\
         ) as reached \
         cross join (select coalesce(max(position), 0) as position from events) as head \
         left join events as missing on missing.position = reached.position + 1 \
         order by copies.name, copies.copy",
    )
    .fetch_all(connection)
    .await?;
    let known: Vec<(Purpose, ModelCopy)> = [Purpose::Serve, Purpose::Rebuild, Purpose::Verify]
        .into_iter()
        .flat_map(|purpose| models::copies(purpose).into_iter().map(move |copy| (purpose, copy)))
        .collect();
    let mut copies = Vec::with_capacity(rows.len());
    for row in rows {
        let table: String = row.try_get("copy")?;
        let purpose = known.iter().find(|(_, copy)| copy.table == table);
        copies.push(CopyStatus {
            model: row.try_get("name")?,
            purpose: purpose.map(|(purpose, _)| *purpose),
            table,
            position: row.try_get("position")?,
            lag_events: row.try_get("lag_events")?,
            lag_us: row.try_get("lag_us")?,
            is_complete: row.try_get("is_complete")?,
            size_bytes: row.try_get("size_bytes")?,
        });
    }
    Ok(copies)
}
