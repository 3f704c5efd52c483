//! The projector: keeps the copies that serve at the head of the log.
//!
//! There is one per database and release. Whoever holds the advisory lock is it; the lock goes with the
//! connection, so that another server takes over as soon as a process dies. Copies that another release
//! keeps as well have a lock each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fold::{self, Progress, Script};
use super::models::ModelCopy;
use crate::metrics::Metrics;
use crate::store::{Database, Epoch, StoreError, epoch, in_time};
use crate::traces::Traces;

/// The most events that are folded in one transaction, and the most where that takes too long.
pub(super) const RUN_EVENTS: i64 = 5_000;
const LEAST_RUN_EVENTS: i64 = 50;
/// How often a server that is not the projector tries to become it.
const ELECTION_INTERVAL: Duration = Duration::from_millis(500);
/// How often the log is looked at when nobody says that it has grown.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long the projector rests after a run that reached the head, so that others have the processor and
/// the next run is longer, which costs less for each event. A read that waits ends it.
const REST: Duration = Duration::from_millis(40);
/// How often it is said that a read model stands still.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);
/// How many runs there are between two sweeps of old checkpoints.
const RUNS_PER_SWEEP: u32 = 16;

pub(super) struct Projector {
    pub(super) database: Database,
    pub(super) epoch: Epoch,
    pub(super) copies: Arc<[ModelCopy]>,
    /// The head of the log, as far as this process knows it.
    pub(super) grown: watch::Receiver<i64>,
    /// The position that all copies have reached.
    pub(super) projected: watch::Sender<i64>,
    /// Whether this process folds all copies, so that `projected` is always the newest there is.
    pub(super) leading: Arc<AtomicBool>,
    /// Told when a read of this process waits for a position.
    pub(super) wanted: Arc<Notify>,
    pub(super) metrics: Metrics,
    pub(super) traces: Traces,
    /// How many events the next run may have.
    pub(super) run_events: i64,
    /// When it was last said that a read model stands still.
    pub(super) complained_at: Option<Instant>,
}

impl Projector {
    /// Keeps the read models up to date until `stop` is cancelled.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        loop {
            let Some(Err(error)) = stop.run_until_cancelled(self.serve()).await else {
                return Ok(());
            };
            self.leading.store(false, Ordering::Relaxed);
            if matches!(error, StoreError::Elsewhere) {
                return Err(error);
            }
            tracing::warn!(%error, "read models cannot be kept up to date; trying again");
            let pause = tokio::time::sleep(ELECTION_INTERVAL);
            if stop.run_until_cancelled(pause).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Does the projector's work on one connection until it fails.
    async fn serve(&mut self) -> Result<std::convert::Infallible, StoreError> {
        let mut connection = self.database.connect().await?;
        if !in_time(epoch::is_present(&mut connection, self.epoch)).await? {
            return Err(StoreError::Elsewhere);
        }
        let copies = self.copies.clone();
        fold::ready(&mut connection, &*copies).await?;
        let all: Vec<&str> = copies.iter().map(|copy| &*copy.table).collect();
        let release = all.join(" ");
        while !try_lock(&mut connection, &release).await? {
            tokio::time::sleep(ELECTION_INTERVAL).await;
        }
        tracing::debug!("this server keeps the read models up to date");
        let mut folded = BTreeSet::new();
        let mut elected_at: Option<Instant> = None;
        let mut runs = 0_u32;
        // Where all copies stand, if nobody else can have folded them since.
        let mut together: Option<i64> = None;
        loop {
            let is_time = elected_at.is_none_or(|at| at.elapsed() >= ELECTION_INTERVAL);
            if folded.len() < all.len() && is_time {
                for table in &all {
                    if !folded.contains(table) && try_lock(&mut connection, table).await? {
                        folded.insert(*table);
                    }
                }
                elected_at = Some(Instant::now());
            }
            let head = *self.grown.borrow_and_update();
            let known = together.take().filter(|position| *position < head);
            let known = known.map(|position| Known { position, head });
            runs = runs.wrapping_add(1);
            let sweep = runs.is_multiple_of(RUNS_PER_SWEEP);
            let run = Run { known, events: self.run_events, sweep, traces: &self.traces };
            let step = step(&mut connection, &copies, &folded, run);
            let step = match in_time(step).await {
                Ok(step) => step,
                // Perhaps a rebuilt one has taken its place, and stands elsewhere.
                Err(StoreError::Refused(_)) if known.is_some() => continue,
                // One that cannot be folded must not hold up the others.
                Err(StoreError::Refused(_)) => {
                    self.fold_each(&mut connection, &folded).await?;
                    continue;
                }
                Err(error) => {
                    // Perhaps it was too much for the time that a step may take.
                    self.run_events = (self.run_events / 2).max(LEAST_RUN_EVENTS);
                    return Err(error);
                }
            };
            self.run_events = (self.run_events * 2).min(RUN_EVENTS);
            self.projected.send_if_modified(|known| {
                let is_news = step.all_reached > *known;
                *known = step.all_reached.max(*known);
                is_news
            });
            self.leading.store(folded.len() == all.len(), Ordering::Relaxed);
            together = step.together;
            self.metrics.projected_position.set(step.all_reached);
            self.metrics.projection_lag_events.set(step.head - step.all_reached);
            if step.reached >= step.head {
                let _ = tokio::time::timeout(REST, self.wanted.notified()).await;
                let _ = tokio::time::timeout(POLL_INTERVAL, self.grown.changed()).await;
            }
        }
    }
}

impl Projector {
    /// Folds a run into each copy by itself, and says which of them cannot be.
    async fn fold_each(
        &mut self,
        connection: &mut PgConnection,
        folded: &BTreeSet<&str>,
    ) -> Result<(), StoreError> {
        let mut is_moving = false;
        let is_time = self.complained_at.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL);
        for table in folded {
            let alone = BTreeSet::from([*table]);
            let events = self.run_events;
            let run = Run { known: None, events, sweep: false, traces: &self.traces };
            match in_time(step(connection, &self.copies, &alone, run)).await {
                Ok(step) => is_moving |= step.reached < step.head,
                Err(StoreError::Refused(error)) if is_time => {
                    let help = "run 'tributary verify', and 'tributary projections rebuild'";
                    tracing::error!(%error, table, help, "this read model stands still");
                    self.complained_at = Some(Instant::now());
                }
                Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if !is_moving {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

/// Whether a server, of whatever release, keeps a copy up to date.
///
/// # Errors
/// [`StoreError`] if the database cannot be asked.
pub async fn is_followed(connection: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    if !try_lock(connection, table).await? {
        return Ok(true);
    }
    sqlx::query(
        "select pg_advisory_unlock(\
             hashtextextended('tributary projector ' || current_schema() || ' ' || $1, 0))",
    )
    .bind(table)
    .execute(connection)
    .await?;
    Ok(false)
}

/// Tries to take a lock that lasts as long as the connection.
async fn try_lock(connection: &mut PgConnection, what: &str) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "select pg_try_advisory_lock(\
             hashtextextended('tributary projector ' || current_schema() || ' ' || $1, 0))",
    )
    .bind(what)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get(0)?)
}

/// What a step is to do.
#[derive(Clone, Copy)]
struct Run<'a> {
    /// What the database need not be asked.
    known: Option<Known>,
    /// How many events it may have.
    events: i64,
    /// Whether old checkpoints are swept.
    sweep: bool,
    traces: &'a Traces,
}

/// Where all copies stand, which this server folds, and the head of the log.
#[derive(Clone, Copy)]
struct Known {
    position: i64,
    head: i64,
}

/// How far a step has brought the read models.
struct Step {
    /// The least position of those that this server folds.
    reached: i64,
    /// The least position of all.
    all_reached: i64,
    /// The head of the log.
    head: i64,
    /// Where all copies stand, if all are there, complete, and folded by this server alone.
    together: Option<i64>,
}

/// Folds a run into the copies that have come furthest, and one into those that have come least far, so
/// that a new copy does not hold up the others. All of it is one message to the database, after a question
/// where the copies stand unless that is known. What is known or heard may have changed by the time that
/// the copies are locked; then nothing is done.
async fn step(
    connection: &mut PgConnection,
    copies: &[ModelCopy],
    folded: &BTreeSet<&str>,
    run: Run<'_>,
) -> Result<Step, StoreError> {
    let tables: Vec<&str> = folded.iter().copied().collect();
    let all: Vec<&str> = copies.iter().map(|copy| &*copy.table).collect();
    let (mut others, head) = match run.known {
        Some(Known { position, head }) => {
            let at =
                |table: &&str| Progress { table: (*table).into(), position, is_complete: true };
            (all.iter().map(at).collect(), head)
        }
        None => fold::progress(connection, &all).await?,
    };
    let mut progress: Vec<_> =
        others.extract_if(.., |copy| folded.contains(&*copy.table)).collect();
    let ends = |of: &[Progress]| {
        let positions = || of.iter().map(|copy| copy.position);
        (positions().min().unwrap_or(head), positions().max().unwrap_or(head))
    };
    let (last, first) = ends(&progress);
    let work = (last < head).then(|| run.traces.fold());
    let mut events = 0;
    let mut script = Script::locking(&tables);
    for from in BTreeSet::from([last, first]) {
        let to = head.min(from + run.events);
        if from >= to {
            continue;
        }
        let group: Vec<&ModelCopy> = copies
            .iter()
            .filter(|copy| progress.iter().any(|at| at.table == copy.table && at.position == from))
            .collect();
        script.fold(&group, from, to);
        if run.sweep {
            let tables: Vec<&str> = group.iter().map(|copy| &*copy.table).collect();
            script.sweep(&tables, from);
        }
        events += to - from;
        for at in progress.iter_mut().filter(|at| at.position == from) {
            at.position = to;
        }
    }
    let news: Vec<&str> = progress
        .iter()
        .filter(|copy| !copy.is_complete && copy.position >= head)
        .map(|copy| &*copy.table)
        .collect();
    if !news.is_empty() {
        script.complete(&news);
    }
    let (last, first) = ends(&progress);
    if events > 0 || !news.is_empty() {
        script.run(connection).await?;
    }
    if let Some(work) = work {
        work.done(|| (events, last));
    }
    let is_together = progress.len() == copies.len()
        && last == first
        && progress.iter().all(|copy| copy.is_complete);
    // What somebody else folds counts for those who read.
    let (others, _) = ends(&others);
    let all_reached = last.min(others);
    Ok(Step { reached: last, all_reached, head, together: is_together.then_some(last) })
}
