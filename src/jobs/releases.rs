//! Ends hold periods when their time has come: one command for each purchase or referral.
//!
//! A server locks some rows of the table, carries out their commands, and deletes the rows, all in one transaction. If
//! it dies, the rows are free again at once. A command that is repeated finds nothing to end.

use std::convert::Infallible;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Environment, Failure, Submission};
use crate::store::releases::{self, Due};
use crate::store::{Actor, Database, Door, StoreError, in_time};
use domain::Timestamp;
use domain::decide::{Command, EndHoldPeriod};

/// How many commands are under way together. A batch of the engine takes fewer, so that the next one is never empty.
const PAGE: i64 = 1_000;
/// How often to look for hold periods that are over.
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

/// The metrics of releases. Cheap to clone; clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct ReleaseMetrics {
    /// Hold periods that this server has ended.
    ended: Counter,
    /// Commands of this server that failed.
    failed: Counter,
    /// Hold periods that are over and not ended yet.
    waiting: Gauge,
    /// How long the first of them has been over.
    late_seconds: Gauge<f64, AtomicU64>,
}

impl ReleaseMetrics {
    /// Creates the metrics, and registers them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Self { ended, failed, waiting, late_seconds } = metrics.clone();
        registry.register("releases_ended", "Hold periods that this server has ended", ended);
        registry.register(
            "releases_failed",
            "Hold periods that this server could not end, and that are tried again",
            failed,
        );
        registry.register(
            "releases_waiting",
            "Hold periods in the database that are over and not ended, counted up to 10000",
            waiting,
        );
        registry.register_with_unit(
            "releases_late",
            "How long the first of those hold periods has been over",
            Unit::Seconds,
            late_seconds,
        );
        metrics
    }
}

/// Ends hold periods.
pub struct Releases {
    database: Database,
    engine: Engine,
    environment: Environment,
    metrics: ReleaseMetrics,
    counted_at: Option<Instant>,
}

/// What became of a command.
enum Outcome {
    /// The hold period is ended.
    Ended,
    /// The command failed, and may succeed later.
    Failed,
    /// The database or the server is away.
    Away(Failure),
}

impl Releases {
    /// Creates the loop.
    #[must_use]
    pub fn new(
        database: Database,
        engine: Engine,
        environment: Environment,
        metrics: ReleaseMetrics,
    ) -> Self {
        Self { database, engine, environment, metrics, counted_at: None }
    }

    /// Ends hold periods until `stop` is cancelled.
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
                        tracing::warn!(%error, "hold periods cannot be ended; trying again");
                        PAUSE
                    }
                };
                sleep(pause).await;
            }
        };
        // Commands that are under way are carried out; their rows are found again, and nothing is left to be done.
        stop.run_until_cancelled(work).await.map_or(Ok(()), |never: Infallible| match never {})
    }

    /// Ends some hold periods. Returns whether there may be more.
    async fn round(&mut self) -> Result<bool, StoreError> {
        if self.counted_at.is_none_or(|at| at.elapsed() >= COUNT_INTERVAL) {
            self.count().await?;
            self.counted_at = Some(Instant::now());
        }
        let mut transaction = in_time(async { Ok(self.database.pool().begin().await?) }).await?;
        let now = (self.environment.now)();
        let due = in_time(async {
            sqlx::query(READY).execute(&mut *transaction).await?;
            releases::lock_due(&mut transaction, now, PAGE).await
        })
        .await?;
        if due.is_empty() {
            return Ok(false);
        }
        let is_full = i64::try_from(due.len()).is_ok_and(|count| count >= PAGE);
        let outcomes = self.end(due).await;
        let mut away = None;
        in_time(async {
            away = self.note(&mut transaction, outcomes).await?;
            Ok(transaction.commit().await?)
        })
        .await?;
        if let Some(failure) = away {
            tracing::warn!(%failure, "some hold periods could not be ended; trying again");
            return Ok(false);
        }
        Ok(is_full)
    }

    async fn count(&self) -> Result<(), StoreError> {
        let now = (self.environment.now)();
        let waiting = in_time(releases::count_waiting(self.database.pool(), now)).await?;
        self.metrics.waiting.set(waiting.due);
        let late = waiting.since.map_or(0, |since| now.0.saturating_sub(since.0).max(0));
        #[expect(clippy::cast_precision_loss, reason = "a delay is small")]
        self.metrics.late_seconds.set(late as f64 / 1e6);
        Ok(())
    }

    /// Carries out the commands, all at once. The engine decides how many go into a batch.
    async fn end(&self, due: Vec<Due>) -> Vec<(Due, Outcome)> {
        let mut under_way = JoinSet::new();
        for due in due {
            let engine = self.engine.clone();
            under_way.spawn(async move {
                let outcome = end(&engine, &due).await;
                (due, outcome)
            });
        }
        under_way.join_all().await
    }

    /// Notes what became of the commands. Returns why some could not be tried.
    async fn note(
        &self,
        transaction: &mut PgConnection,
        outcomes: Vec<(Due, Outcome)>,
    ) -> Result<Option<Failure>, StoreError> {
        let (mut ended, mut away) = (Vec::new(), None);
        let now = (self.environment.now)();
        for (due, outcome) in &outcomes {
            match outcome {
                Outcome::Ended => ended.push(&*due.row),
                Outcome::Failed => {
                    self.metrics.failed.inc();
                    releases::put_off(transaction, &due.row, next_attempt(now, due.attempts))
                        .await?;
                }
                Outcome::Away(failure) => away = Some(failure.clone()),
            }
        }
        self.metrics.ended.inc_by(u64::try_from(ended.len()).unwrap_or_default());
        releases::delete(transaction, &ended).await?;
        Ok(away)
    }
}

async fn end(engine: &Engine, due: &Due) -> Outcome {
    let command = Command::EndHoldPeriod(EndHoldPeriod {
        program_id: due.program_id.clone(),
        source_user_id: due.source_user_id.clone(),
        purchase_id: due.purchase_id.clone(),
    });
    let submission = Submission::new(command, Actor::SYSTEM, Door::job("releases"));
    match engine.execute(submission.in_the_background()).await {
        Ok(_) => Outcome::Ended,
        Err(failure @ (Failure::DatabaseUnavailable | Failure::ShuttingDown)) => {
            Outcome::Away(failure)
        }
        Err(failure) => {
            let Due { program_id, purchase_id, .. } = due;
            tracing::error!(%failure, %program_id, ?purchase_id, "a hold period could not be ended");
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
