//! The projector: keeps the copies that serve at the head of the log.
//!
//! There is one per database and release: the server that holds the advisory lock. The lock ends with the
//! connection, so that another server takes over as soon as a process dies, or within seconds when it hangs, because
//! the database ends a connection that is silent. Each copy also has a lock of its own, because another release may
//! keep the same copy up to date.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fold::{self, Progress, Script};
use super::models::ModelCopy;
use crate::hang;
use crate::store::{Database, Epoch, StoreError, epoch, holders, in_time};
use crate::traces::Traces;

/// The maximum number of events that are folded in one transaction, and the lower limit of that number when
/// transactions take too long.
pub(super) const RUN_EVENTS: i64 = 5_000;
const LEAST_RUN_EVENTS: i64 = 50;
/// How often a server that is not the projector tries to become it.
const ELECTION_INTERVAL: Duration = Duration::from_millis(500);
/// How often the log is polled when nothing signals that it has grown.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The pause of the projector after a run that reached the head. It leaves the processor to others and makes
/// the next run longer, which costs less per event. A waiting read ends the pause.
const REST: Duration = Duration::from_millis(40);
/// How often a stalled read model is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);
/// The number of runs between two sweeps of old checkpoints.
const RUNS_PER_SWEEP: u32 = 16;

pub(super) struct Projector {
    pub(super) database: Database,
    pub(super) epoch: Epoch,
    pub(super) copies: Arc<[ModelCopy]>,
    /// The head of the log, as far as this process knows it.
    pub(super) grown: watch::Receiver<i64>,
    /// The position that all copies have reached.
    pub(super) projected: watch::Sender<i64>,
    /// Whether this process folds all copies, so that `projected` is current as long as it moves.
    pub(super) leading: Arc<AtomicBool>,
    /// Notified when a read of this process waits for a position.
    pub(super) wanted: Arc<Notify>,
    pub(super) traces: Traces,
    /// How many events the next run may have.
    pub(super) run_events: i64,
    /// When a stalled read model was last logged.
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
        holders::limit_silence(&mut connection).await?;
        let copies = self.copies.clone();
        fold::ready(&mut connection, &*copies).await?;
        let all: Vec<&str> = copies.iter().map(|copy| &*copy.table).collect();
        let release = all.join(" ");
        while !try_lock(&mut connection, &release).await? {
            tokio::time::sleep(ELECTION_INTERVAL).await;
        }
        tracing::info!("this server keeps the read models up to date from now on");
        hang::point("projector.elected");
        let mut folded = BTreeSet::new();
        let mut elected_at: Option<Instant> = None;
        let mut runs = 0_u32;
        // The position of all copies, if no other server can have folded them since.
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
                // A rebuilt copy may have replaced one of them, at another position.
                Err(StoreError::Refused(_)) if known.is_some() => continue,
                // A copy that cannot be folded must not block the others.
                Err(StoreError::Refused(_)) => {
                    self.fold_each(&mut connection, &folded).await?;
                    continue;
                }
                Err(error) => {
                    // The run may have been too long for the time limit of a step.
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
            if step.reached >= step.head {
                let _ = tokio::time::timeout(REST, self.wanted.notified()).await;
                let _ = tokio::time::timeout(POLL_INTERVAL, self.grown.changed()).await;
            }
        }
    }
}

impl Projector {
    /// Folds a run into each copy separately, and logs those that cannot be folded.
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
                // A rebuild exchanges one copy after the other, so this is no fault of the copy.
                Err(StoreError::Refused(error)) if fold::was_moved(&error) => is_moving = true,
                Err(StoreError::Refused(error)) if is_time => {
                    let help = "run 'tributary verify', and 'tributary projections rebuild'";
                    tracing::error!(%error, table, help, "this read model is stalled");
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

/// Whether a server of any release keeps a copy up to date.
///
/// # Errors
/// [`StoreError`] if the database fails.
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

/// The parameters of a step.
#[derive(Clone, Copy)]
struct Run<'a> {
    /// The positions, if they are known without asking the database.
    known: Option<Known>,
    /// The maximum number of events.
    events: i64,
    /// Whether to sweep old checkpoints.
    sweep: bool,
    traces: &'a Traces,
}

/// The common position of all copies, all of which this server folds, and the head of the log.
#[derive(Clone, Copy)]
struct Known {
    position: i64,
    head: i64,
}

/// The result of a step.
struct Step {
    /// The lowest position of the copies that this server folds.
    reached: i64,
    /// The lowest position of all copies.
    all_reached: i64,
    /// The head of the log.
    head: i64,
    /// The common position of all copies, if all of them have reached it, are complete, and are folded by
    /// this server alone.
    together: Option<i64>,
}

/// Folds one run into the copies that are furthest ahead, and one into those that are furthest behind, so
/// that a new copy does not delay the others. All of it is one message to the database, after a query for the
/// positions unless they are known. If the positions have changed by the time the copies are locked, nothing
/// is done.
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
        hang::during("projector.folding", script.run(connection)).await?;
    }
    if let Some(work) = work {
        work.done(|| (events, last));
    }
    let is_together = progress.len() == copies.len()
        && last == first
        && progress.iter().all(|copy| copy.is_complete);
    // Copies that another server folds count for reads, too.
    let (others, _) = ends(&others);
    let all_reached = last.min(others);
    Ok(Step { reached: last, all_reached, head, together: is_together.then_some(last) })
}
