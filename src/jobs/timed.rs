//! The loop that does what is to be done at a moment, as the rows of a table say.
//!
//! A server locks some rows of the table, does what they say, and deletes the rows, all in one transaction. If it dies,
//! the rows are free again at once. What is done is therefore such that it can be repeated.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Environment, Failure};
use crate::store::timed::{self, Due, Locked};
use crate::store::{Database, StoreError, begin, in_time};
use domain::Timestamp;

/// How many commands are under way together. A batch of the engine takes fewer, so that the next one is never empty.
const PAGE: i64 = 1_000;
/// How often to look for what is due.
const POLL: Duration = Duration::from_secs(1);
/// The pause after the database has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often what waits is counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);
/// The pauses after commands that failed double from the first to the longest.
const FIRST_PAUSE_SECONDS: i64 = 5;
const LONGEST_PAUSE_SECONDS: i64 = 3_600;

/// How long the rows of a server that hangs stay locked.
const READY: &str = "select set_config('idle_in_transaction_session_timeout', '20s', true), \
     set_config('synchronous_commit', 'off', true)";

/// What a loop is called, and what its metrics say.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// What the names of its metrics begin with; also how its commands come in.
    pub prefix: &'static str,
    /// What was done.
    pub done: &'static str,
    /// What failed.
    pub failed: &'static str,
    /// What waits.
    pub waiting: &'static str,
    /// Since when.
    pub late: &'static str,
}

/// Something that is to be done at a moment.
pub trait Timed: Due + fmt::Debug + Send + Sync + 'static {
    /// What the loop is called.
    const NAMES: Names;

    /// Does it. It may have been done already.
    fn carry_out(
        &self,
        engine: &Engine,
        database: &Database,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The metrics of a loop. Cheap to clone; clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct TimedMetrics {
    /// What this server has done.
    done: Counter,
    /// What failed on this server.
    failed: Counter,
    /// What is due.
    waiting: Gauge,
    /// How long the first of that has been due.
    late_seconds: Gauge<f64, AtomicU64>,
}

impl TimedMetrics {
    /// Creates the metrics, and registers them.
    pub(crate) fn register<T: Timed>(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Self { done, failed, waiting, late_seconds } = metrics.clone();
        let Names { prefix, done: is_done, failed: has_failed, waiting: waits, late } = T::NAMES;
        registry.register(format!("{prefix}_ended"), is_done, done);
        registry.register(format!("{prefix}_failed"), has_failed, failed);
        registry.register(format!("{prefix}_waiting"), waits, waiting);
        registry.register_with_unit(format!("{prefix}_late"), late, Unit::Seconds, late_seconds);
        metrics
    }
}

/// The loop of one kind.
pub struct Loop<T> {
    database: Database,
    engine: Engine,
    environment: Environment,
    metrics: TimedMetrics,
    counted_at: Option<Instant>,
    kind: PhantomData<fn() -> T>,
}

/// What became of a row.
enum Outcome {
    /// It is done.
    Done,
    /// It failed, and may succeed later.
    Failed,
    /// The database or the server is away.
    Away(Failure),
}

impl<T: Timed> Loop<T> {
    /// Creates the loop.
    #[must_use]
    pub fn new(
        database: Database,
        engine: Engine,
        environment: Environment,
        metrics: TimedMetrics,
    ) -> Self {
        Self { database, engine, environment, metrics, counted_at: None, kind: PhantomData }
    }

    /// Does what is due until `stop` is cancelled.
    ///
    /// # Errors
    /// None: failures are retried.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        let work = async {
            loop {
                let pause = match self.round().await {
                    Ok(is_full) if is_full => continue,
                    Ok(_) => POLL,
                    Err(error) => {
                        let kind = T::NAMES.prefix;
                        tracing::warn!(%error, kind, "what is due cannot be done; trying again");
                        PAUSE
                    }
                };
                sleep(pause).await;
            }
        };
        // What is under way is carried out; its rows are found again, and nothing is left to be done.
        stop.run_until_cancelled(work).await.map_or(Ok(()), |never: Infallible| match never {})
    }

    /// Does some of what is due. Returns whether there may be more.
    async fn round(&mut self) -> Result<bool, StoreError> {
        if self.counted_at.is_none_or(|at| at.elapsed() >= COUNT_INTERVAL) {
            self.count().await?;
            self.counted_at = Some(Instant::now());
        }
        let mut transaction = in_time(async { Ok(begin(self.database.pool()).await?) }).await?;
        let now = (self.environment.now)();
        let due = in_time(async {
            sqlx::query(READY).execute(&mut *transaction).await?;
            timed::lock_due::<T>(&mut transaction, now, PAGE).await
        })
        .await?;
        if due.is_empty() {
            return Ok(false);
        }
        let is_full = i64::try_from(due.len()).is_ok_and(|count| count >= PAGE);
        let outcomes = self.carry_out(due).await;
        let mut away = None;
        in_time(async {
            away = self.note(&mut transaction, outcomes).await?;
            Ok(transaction.commit().await?)
        })
        .await?;
        if let Some(failure) = away {
            let kind = T::NAMES.prefix;
            tracing::warn!(%failure, kind, "some of what is due could not be done; trying again");
            return Ok(false);
        }
        Ok(is_full)
    }

    async fn count(&self) -> Result<(), StoreError> {
        let now = (self.environment.now)();
        let waiting = in_time(timed::count_waiting::<T>(self.database.pool(), now)).await?;
        self.metrics.waiting.set(waiting.due);
        let late = waiting.since.map_or(0, |since| now.0.saturating_sub(since.0).max(0));
        #[expect(clippy::cast_precision_loss, reason = "a delay is small")]
        self.metrics.late_seconds.set(late as f64 / 1e6);
        Ok(())
    }

    /// Does what the rows say, all at once. The engine decides how many commands go into a batch.
    async fn carry_out(&self, due: Vec<Locked<T>>) -> Vec<(Locked<T>, Outcome)> {
        let mut under_way = JoinSet::new();
        for locked in due {
            let (engine, database) = (self.engine.clone(), self.database.clone());
            under_way.spawn(async move {
                let outcome = outcome_of(&locked.due, &engine, &database).await;
                (locked, outcome)
            });
        }
        under_way.join_all().await
    }

    /// Notes what became of the rows. Returns why some could not be tried.
    async fn note(
        &self,
        transaction: &mut PgConnection,
        outcomes: Vec<(Locked<T>, Outcome)>,
    ) -> Result<Option<Failure>, StoreError> {
        let (mut done, mut away) = (Vec::new(), None);
        let now = (self.environment.now)();
        for (locked, outcome) in &outcomes {
            match outcome {
                Outcome::Done => done.push(&*locked.row),
                Outcome::Failed => {
                    self.metrics.failed.inc();
                    let again = next_attempt(now, locked.attempts);
                    timed::put_off::<T>(transaction, &locked.row, again).await?;
                }
                Outcome::Away(failure) => away = Some(failure.clone()),
            }
        }
        self.metrics.done.inc_by(u64::try_from(done.len()).unwrap_or_default());
        timed::delete::<T>(transaction, &done).await?;
        Ok(away)
    }
}

async fn outcome_of<T: Timed>(due: &T, engine: &Engine, database: &Database) -> Outcome {
    match due.carry_out(engine, database).await {
        Ok(()) => Outcome::Done,
        Err(failure @ (Failure::DatabaseUnavailable | Failure::ShuttingDown)) => {
            Outcome::Away(failure)
        }
        Err(failure) => {
            tracing::error!(%failure, kind = T::NAMES.prefix, ?due, "what is due could not be done");
            Outcome::Failed
        }
    }
}

fn next_attempt(now: Timestamp, failed: i32) -> Timestamp {
    let doublings = u32::try_from(failed).unwrap_or_default().min(20);
    now.plus_seconds((FIRST_PAUSE_SECONDS << doublings).min(LONGEST_PAUSE_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let pauses = [0, 1, 2, 9, 10, i32::MAX, -1]
            .map(|failed| next_attempt(Timestamp(0), failed).0 / 1_000_000);
        assert_eq!(pauses, [5, 10, 20, 2_560, 3_600, 3_600, 5]);
    }
}
