//! The projector: keeps the copies that serve at the head of the log.
//!
//! There is one per database and release. Whoever holds the advisory lock is it; the lock goes with the
//! connection, so that another server takes over as soon as a process dies. Copies that another release
//! keeps as well have a lock each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};
use tokio::sync::watch;

use super::fold;
use super::models::ModelCopy;
use crate::live::turned_true;
use crate::store::{Database, Epoch, StoreError, epoch, in_time};

/// The most events that are folded in one transaction.
const RUN_EVENTS: i64 = 5_000;
/// How often a server that is not the projector tries to become it.
const ELECTION_INTERVAL: Duration = Duration::from_millis(500);
/// How often the log is looked at when nobody says that it has grown.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How many runs there are between two sweeps of old checkpoints.
const RUNS_PER_SWEEP: u32 = 64;

pub(super) struct Projector {
    pub(super) database: Database,
    pub(super) epoch: Epoch,
    pub(super) copies: Arc<[ModelCopy]>,
    /// The head of the log, as far as this process knows it.
    pub(super) grown: watch::Receiver<i64>,
    /// The position that all copies have reached.
    pub(super) projected: watch::Sender<i64>,
}

impl Projector {
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let failed = tokio::select! {
                () = turned_true(&mut stop) => return,
                Err(error) = self.serve() => error,
            };
            tracing::warn!(error = %failed, "read models cannot be kept up to date; trying again");
            tokio::select! {
                () = turned_true(&mut stop) => return,
                () = tokio::time::sleep(ELECTION_INTERVAL) => {}
            }
        }
    }

    /// Does the projector's work on one connection until it fails.
    async fn serve(&mut self) -> Result<std::convert::Infallible, StoreError> {
        let mut connection = self.database.connect().await?;
        if !in_time(epoch::is_present(&mut connection, self.epoch)).await? {
            return Err(StoreError::Elsewhere);
        }
        fold::ready(&mut connection).await?;
        let all: Vec<&str> = self.copies.iter().map(|copy| &*copy.table).collect();
        let release = all.join(" ");
        while !try_lock(&mut connection, &release).await? {
            tokio::time::sleep(ELECTION_INTERVAL).await;
        }
        tracing::debug!("this server keeps the read models up to date");
        let mut folded = BTreeSet::new();
        let mut elected_at: Option<tokio::time::Instant> = None;
        let mut runs = 0_u32;
        loop {
            let is_time = elected_at.is_none_or(|at| at.elapsed() >= ELECTION_INTERVAL);
            if folded.len() < all.len() && is_time {
                for table in &all {
                    if !folded.contains(table) && try_lock(&mut connection, table).await? {
                        folded.insert(*table);
                    }
                }
                elected_at = Some(tokio::time::Instant::now());
            }
            self.grown.mark_unchanged();
            runs = runs.wrapping_add(1);
            let sweep = runs.is_multiple_of(RUNS_PER_SWEEP);
            let step = step(&mut connection, &self.copies, &folded, sweep);
            let (reached, head) = in_time(step).await?;
            self.projected.send_if_modified(|known| {
                let is_news = reached > *known;
                *known = reached.max(*known);
                is_news
            });
            if reached >= head {
                let _ = tokio::time::timeout(POLL_INTERVAL, self.grown.changed()).await;
            }
        }
    }
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

/// Folds a run into the copies that have come furthest, and one into those that have come least far, so
/// that a new copy does not hold up the others. Answers the least position of all, and the head.
async fn step(
    connection: &mut PgConnection,
    copies: &[ModelCopy],
    folded: &BTreeSet<&str>,
    sweep: bool,
) -> Result<(i64, i64), StoreError> {
    let mut transaction = connection.begin().await?;
    let tables: Vec<&str> = folded.iter().copied().collect();
    fold::lock(&mut transaction, &tables).await?;
    let (mut progress, head) = fold::progress(&mut transaction, &tables).await?;
    let ends = |of: &[fold::Progress]| {
        let positions = || of.iter().map(|copy| copy.position);
        (positions().min().unwrap_or(head), positions().max().unwrap_or(head))
    };
    let (last, first) = ends(&progress);
    for from in BTreeSet::from([last, first]) {
        let to = head.min(from + RUN_EVENTS);
        if from >= to {
            continue;
        }
        let group: Vec<&ModelCopy> = copies
            .iter()
            .filter(|copy| progress.iter().any(|at| at.table == copy.table && at.position == from))
            .collect();
        fold::fold(&mut transaction, &group, from, to).await?;
        for at in progress.iter_mut().filter(|at| at.position == from) {
            at.position = to;
        }
        // What has just been moved on must not be taken for the next group.
        if to == first {
            break;
        }
    }
    let news: Vec<&str> = progress
        .iter()
        .filter(|copy| !copy.is_complete && copy.position >= head)
        .map(|copy| &*copy.table)
        .collect();
    if !news.is_empty() {
        fold::complete(&mut transaction, &news).await?;
    }
    let (last, _) = ends(&progress);
    if sweep {
        fold::sweep(&mut transaction, &tables, last).await?;
    }
    transaction.commit().await?;
    Ok((last, head))
}
