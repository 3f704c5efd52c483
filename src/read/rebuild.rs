//! Building new copies of read models, and replacing the copies that serve with them.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection, Row};

use super::compare::{Comparison, Pair, Watcher, connect};
use super::fold;
use super::models::{self, ModelCopy, Purpose};
use crate::hang;
use crate::store::{Database, StoreError, with_missing_rights};

/// The maximum number of events that are left for the transaction that switches.
const LAST_EVENTS: i64 = 5_000;
/// The number of attempts to switch, and the pause between them.
const SWITCH_ATTEMPTS: u32 = 300;
const SWITCH_PAUSE: Duration = Duration::from_millis(200);
/// Lock not available; deadlock detected.
const RETRIED_CODES: [&str; 2] = ["55P03", "40P01"];

/// Why read models were not rebuilt or verified.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No read model of that name.
    #[error("there is no read model '{0}'; there are {1}")]
    Unknown(String, String),
    /// The log has lost its end: read models know events that it lacks.
    #[error(
        "the log ends at position {head}, but the read model '{model}' has applied events up to {applied}: the end of \
         the log is lost; restore it from a backup that has it, or accept the loss by starting a server, which builds \
         the read models again"
    )]
    Shortened {
        /// The head of the log.
        head: i64,
        /// The read model that is furthest ahead.
        model: &'static str,
        /// The position that it has reached.
        applied: i64,
    },
    /// Another rebuild or verification is running.
    #[error("another rebuild, or a verification, is running on this database")]
    Running,
}

impl From<sqlx::Error> for MaintenanceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Rebuilds one read model, or all: builds copies from the log, compares them with those that serve, and
/// replaces those at the head of the log. Reads are answered throughout. An interrupted rebuild is continued
/// by the next one.
///
/// # Errors
/// [`MaintenanceError`] with the obstacle; the copies that serve are unchanged.
pub async fn rebuild(
    database: &Database,
    name: &str,
    watcher: &mut dyn Watcher,
) -> Result<Comparison, MaintenanceError> {
    let known = models::names();
    let names = match name {
        "all" => known,
        name if known.contains(&name) => vec![name],
        name => return Err(MaintenanceError::Unknown(name.into(), known.join(", "))),
    };
    let mut connection = connect(database).await?;
    if !lock_maintenance(&mut connection).await? {
        return Err(MaintenanceError::Running);
    }
    let pair = Pair::of(&names, Purpose::Rebuild);
    pair.check_log(&mut connection).await?;
    pair.create(&mut connection).await?;
    fold::ready(&mut connection, &pair.fresh).await?;
    let what = format!("building {name}");
    pair.catch_up(database, &what, watcher).await?;
    let comparison = if pair.is_served(&mut connection).await? {
        match pair.compare(database, watcher).await {
            Ok((comparison, looker)) => {
                looker.close().await?;
                comparison
            }
            // A fault in the copies that serve may prevent them from being folded any further.
            Err(StoreError::Refused(error)) => {
                tracing::warn!(%error, "the read models that serve cannot be compared");
                Comparison::default()
            }
            Err(error) => return Err(error.into()),
        }
    } else {
        Comparison::default()
    };
    for (old, new) in pair.serving.iter().zip(&pair.fresh) {
        if let Err(error) = switch_patiently(&mut connection, old, new).await {
            return Err(with_missing_rights(&mut connection, error).await.into());
        }
    }
    Ok(comparison)
}

/// Switches as soon as current reads allow it.
async fn switch_patiently(
    connection: &mut PgConnection,
    old: &ModelCopy,
    new: &ModelCopy,
) -> Result<(), StoreError> {
    for attempt in 1.. {
        match switch(connection, old, new).await {
            Err(StoreError::Unavailable(sqlx::Error::Database(error)))
                if attempt < SWITCH_ATTEMPTS
                    && error.code().is_some_and(|code| RETRIED_CODES.contains(&&*code)) =>
            {
                tokio::time::sleep(SWITCH_PAUSE).await;
            }
            switched => return switched,
        }
    }
    Ok(())
}

/// Takes the lock that allows one rebuild or verification at a time, because they use the same tables. It
/// lasts as long as the connection.
pub(super) async fn lock_maintenance(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "select pg_try_advisory_lock(\
             hashtextextended('tributary maintenance ' || current_schema(), 0))",
    )
    .fetch_one(connection)
    .await?;
    Ok(row.try_get(0)?)
}

/// Folds a new copy up to the head of the log and replaces the old one with it, in one transaction.
async fn switch(
    connection: &mut PgConnection,
    old: &ModelCopy,
    new: &ModelCopy,
) -> Result<(), StoreError> {
    let only = std::slice::from_ref(new);
    loop {
        let (_, head) = fold::progress(connection, &[&new.table]).await?;
        if fold::advance(connection, only, LAST_EVENTS, head).await? + LAST_EVENTS >= head {
            break;
        }
    }
    let script = include_str!("switch.sql")
        .replace("{old}", &old.table)
        .replace("{new}", &new.table)
        .replace("{fold}", &new.fold);
    hang::during("rebuild.switching", connection.execute(sqlx::raw_sql(&script))).await?;
    Ok(())
}

/// A copy of a read model, for the maintainers of the database.
#[derive(Clone, Debug)]
pub struct CopyStatus {
    /// The read model.
    pub model: String,
    /// The table.
    pub table: String,
    /// Its purpose; `None` for a copy of another release.
    pub purpose: Option<Purpose>,
    /// The position that the copy has reached.
    pub position: i64,
    /// The number of events that it has yet to apply.
    pub lag_events: i64,
    /// How long ago the oldest of those events was recorded, in microseconds.
    pub lag_us: i64,
    /// Whether it has ever reached the head.
    pub is_complete: bool,
    /// Its size on disk with its indexes, in bytes.
    pub size_bytes: i64,
}

/// All copies, including those of other releases.
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
