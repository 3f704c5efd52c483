//! The loop that takes due jobs and runs their handlers, a few at a time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::metrics::OfKind;
use super::{Attempt, Handler, Handlers, JobError, JobMetrics, Limits, Pace, Pauses, TakenJob};
use crate::engine::Environment;
use crate::store::jobs::{self, Capability};
use crate::store::{Database, StoreError, functions, in_time, sign_ups};

/// How often to check that today's daily jobs exist.
const DAILY_INTERVAL: Duration = Duration::from_mins(10);
/// The pause after the database has failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the jobs in the table are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);
/// How long attempts in progress may take once the server stops. Other jobs are taken again when their lease is
/// over.
const LAST_ATTEMPTS: Duration = Duration::from_secs(8);

/// Takes of jobs with a pace in one second at most, so that a take is worth its statement.
const PACED_TAKES_PER_SECOND: usize = 8;

/// Kinds of jobs that share slots.
struct Group {
    capabilities: Vec<Capability>,
    /// A permit for each job that may be under way.
    slots: Arc<Semaphore>,
    /// How many of the jobs may begin in a second.
    pace: Option<Arc<Pace>>,
    /// Whether the table may have due jobs that were not taken.
    may_have_more: bool,
    /// How many jobs the pace must allow before the next are taken: more than one while many are waiting.
    least: usize,
}

impl Group {
    /// How many jobs may begin now.
    fn room(&self) -> usize {
        let slots = self.slots.available_permits();
        self.pace.as_ref().map_or(slots, |pace| {
            let available = pace.available(Instant::now());
            if available < self.least.min(slots) { 0 } else { available.min(slots) }
        })
    }

    /// How long it takes until the pace allows further jobs; `None` if something else must happen first.
    fn pause(&self) -> Option<Duration> {
        let slots = self.slots.available_permits();
        if !self.may_have_more || slots == 0 {
            return None;
        }
        Some(
            self.pace
                .as_ref()
                .map_or(Duration::ZERO, |pace| pace.until(Instant::now(), self.least.min(slots))),
        )
    }
}

/// Does jobs of the kinds for which it has handlers.
pub struct Worker {
    database: Database,
    handlers: HashMap<&'static str, Arc<dyn Handler>>,
    groups: Vec<Group>,
    environment: Environment,
    limits: Limits,
    metrics: JobMetrics,
    under_way: JoinSet<Option<PgConnection>>,
    /// Connections of earlier attempts.
    idle: Vec<PgConnection>,
    /// When all groups looked for jobs, whether or not there was a notice.
    polled_at: Option<Instant>,
    daily_at: Option<Instant>,
    counted_at: Option<Instant>,
    /// Whether the last count found waiting jobs of unknown kinds.
    has_unknown: bool,
}

impl Worker {
    /// Creates a worker with these handlers, each for a different kind.
    #[must_use]
    pub fn new(
        database: Database,
        handlers: &Handlers,
        environment: Environment,
        limits: Limits,
        metrics: JobMetrics,
    ) -> Self {
        let capability = |handler: &Arc<dyn Handler>| Capability {
            kind: handler.kind(),
            lease: handler.time_limit() + limits.grace,
            max_attempts: i32::try_from(handler.max_attempts()).unwrap_or(i32::MAX),
        };
        let (own, shared): (Vec<_>, Vec<_>) =
            handlers.iter().partition(|handler| handler.own_slots().is_some());
        let group = |of: &[&Arc<dyn Handler>], slots: usize, pace: Option<Arc<Pace>>| Group {
            capabilities: of.iter().map(|handler| capability(handler)).collect(),
            slots: Arc::new(Semaphore::new(slots)),
            pace,
            may_have_more: true,
            least: 1,
        };
        let own = own
            .iter()
            .map(|handler| group(&[*handler], handler.own_slots().unwrap_or(1), handler.pace()));
        let groups = std::iter::once(group(&shared, limits.concurrency, None)).chain(own).collect();
        Self {
            groups,
            handlers: handlers.iter().map(|handler| (handler.kind(), handler.clone())).collect(),
            database,
            environment,
            limits,
            metrics,
            under_way: JoinSet::new(),
            idle: Vec::new(),
            polled_at: None,
            daily_at: None,
            counted_at: None,
            has_unknown: false,
        }
    }

    /// Does jobs until `stop` is cancelled.
    ///
    /// # Errors
    /// None: failures are retried.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        loop {
            let failed = tokio::select! {
                () = stop.cancelled() => break,
                Err(error) = self.serve() => error,
            };
            tracing::warn!(error = %failed, "jobs cannot be taken; trying again");
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(PAUSE) => {}
            }
        }
        let rest = async { while self.under_way.join_next().await.is_some() {} };
        if timeout(LAST_ATTEMPTS, rest).await.is_err() {
            tracing::warn!(
                jobs = self.under_way.len(),
                "some jobs were interrupted; they are taken again"
            );
        }
        Ok(())
    }

    /// Takes and does jobs until the database fails. Nothing is lost if this future is dropped: a job that was
    /// taken but not begun is taken again when its lease is over.
    async fn serve(&mut self) -> Result<Infallible, StoreError> {
        let mut listener = self.database.listener().await?;
        // The connection lasts as long as the server, so it marks the functions of this release as in use.
        functions::hold(&mut listener).await?;
        // The functions may have been dropped before they were marked.
        let mut connection = self.database.pool().acquire().await?;
        in_time(functions::create_missing(&mut connection, functions::all())).await?;
        drop(connection);
        let channel: String = sqlx::query_scalar("select 'tributary_jobs_' || current_schema()")
            .fetch_one(&mut listener)
            .await?;
        listener.listen(&channel).await?;
        loop {
            self.insert_daily().await?;
            self.count().await?;
            self.poll();
            for group in 0..self.groups.len() {
                self.take(group).await?;
            }
            let pause = self.groups.iter().filter_map(Group::pause).min();
            if pause != Some(Duration::ZERO) {
                self.wait(&mut listener, pause).await?;
            }
        }
    }

    /// All groups look for jobs from time to time: a notice can be lost, and a job that failed is due without one.
    fn poll(&mut self) {
        if self.polled_at.is_none_or(|at| at.elapsed() >= self.limits.poll_interval) {
            self.polled_at = Some(Instant::now());
            self.look();
        }
    }

    /// All groups look for jobs.
    fn look(&mut self) {
        for group in &mut self.groups {
            group.may_have_more = true;
        }
    }

    /// Waits until there may be something to do: at most for a pause, if one is given.
    async fn wait(
        &mut self,
        listener: &mut PgListener,
        pause: Option<Duration>,
    ) -> Result<(), StoreError> {
        let since_poll = self.polled_at.map(|at| at.elapsed()).unwrap_or_default();
        let until_poll = self.limits.poll_interval.saturating_sub(since_poll);
        let pause = pause.map_or(until_poll, |pause| pause.min(until_poll));
        tokio::select! {
            Some(ended) = self.under_way.join_next() => match ended {
                Ok(connection) => self.idle.extend(connection),
                Err(error) => tracing::error!(%error, "the completion of a job could not be recorded"),
            },
            notice = listener.try_recv() => {
                // The connection was lost.
                if notice?.is_none() {
                    return Err(StoreError::Unavailable(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())));
                }
                self.look();
            }
            () = sleep(pause) => {}
        }
        Ok(())
    }

    async fn insert_daily(&mut self) -> Result<(), StoreError> {
        if self.daily_at.is_some_and(|at| at.elapsed() < DAILY_INTERVAL) {
            return Ok(());
        }
        for handler in self.handlers.values().filter(|handler| handler.is_daily()) {
            in_time(jobs::insert_daily(self.database.pool(), handler.kind())).await?;
        }
        self.daily_at = Some(Instant::now());
        Ok(())
    }

    /// Counts the jobs in the table, and the sign-ups that wait, for the metrics.
    async fn count(&mut self) -> Result<(), StoreError> {
        if self.counted_at.is_some_and(|at| at.elapsed() < COUNT_INTERVAL) {
            return Ok(());
        }
        let kinds: Vec<&str> = self.handlers.keys().copied().collect();
        let counts = in_time(jobs::count(self.database.pool(), &kinds)).await?;
        if counts.unknown_kind > 0 && !self.has_unknown {
            let jobs = counts.unknown_kind;
            tracing::warn!(
                jobs,
                "jobs wait that this server cannot do: their kinds are unknown to its release"
            );
        }
        self.has_unknown = counts.unknown_kind > 0;
        let sign_ups = in_time(sign_ups::count_waiting(self.database.pool())).await?;
        self.metrics.set(counts, sign_ups);
        self.counted_at = Some(Instant::now());
        Ok(())
    }

    /// Takes jobs of a group and begins them, as many as it has free slots and its pace allows.
    async fn take(&mut self, group: usize) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(group) else { return Ok(()) };
        if group.capabilities.is_empty() {
            group.may_have_more = false;
        }
        let room = group.room();
        if room == 0 || !group.may_have_more {
            return Ok(());
        }
        // The kinds take turns at being first.
        group.capabilities.rotate_left(1);
        let most = i64::try_from(room).unwrap_or(i64::MAX);
        let taken = in_time(jobs::take(self.database.pool(), &group.capabilities, most)).await?;
        group.may_have_more = taken.len() >= room;
        if let Some(pace) = &group.pace {
            pace.spend(Instant::now(), taken.len());
            let many = pace.per_second().div_ceil(PACED_TAKES_PER_SECOND);
            group.least = if group.may_have_more { many } else { 1 };
        }
        for job in taken {
            let Some(handler) = self.handlers.get(&*job.kind).cloned() else { continue };
            let Ok(slot) = group.slots.clone().try_acquire_owned() else { continue };
            let attempt = Attempt::new(self.database.clone(), self.idle.pop());
            let mut random = [0; 8];
            (self.environment.random)(&mut random);
            let surroundings = Surroundings {
                database: self.database.clone(),
                pauses: self.limits.pauses,
                metrics: self.metrics.clone(),
                share: share(random),
            };
            self.under_way.spawn(async move {
                let _slot = slot;
                surroundings.carry_out(handler, job, attempt).await
            });
        }
        Ok(())
    }
}

/// What an attempt needs besides the job.
struct Surroundings {
    database: Database,
    pauses: Pauses,
    metrics: JobMetrics,
    /// The factor of the pause after a failure.
    share: f64,
}

impl Surroundings {
    /// Makes one attempt and records the outcome. Returns the connection if it can be used again.
    async fn carry_out(
        self,
        handler: Arc<dyn Handler>,
        job: TakenJob,
        mut attempt: Attempt,
    ) -> Option<PgConnection> {
        let max_attempts = handler.max_attempts();
        let time_limit = handler.time_limit();
        let pauses = handler.pauses().unwrap_or(self.pauses);
        let (own, id, number) = (job.own_attempt, job.id, job.attempt);
        let kind = handler.kind();
        let done = self.metrics.done.clone();
        // A separate task, so that a panic in a handler only fails the job.
        let mut doing = tokio::spawn(async move {
            let mut ended = handler.attempt(&job, &mut attempt).await;
            if ended.is_ok() {
                match attempt.complete(&job).await {
                    Ok(true) => {
                        done.get_or_create(&OfKind { kind }).inc();
                    }
                    Ok(false) => {
                        tracing::warn!(
                            id,
                            kind,
                            number,
                            "a job was taken by another worker before it was completed"
                        );
                    }
                    Err(error) => ended = Err(error.into()),
                }
            }
            if ended.is_err() {
                attempt.undo().await;
            }
            (ended, attempt.into_connection().await)
        });
        let (error, connection) = match timeout(time_limit, &mut doing).await {
            Ok(Ok((Ok(()), connection))) => return connection,
            Ok(Ok((Err(error), connection))) => (error, connection),
            Ok(Err(_)) => (JobError::Again("the attempt panicked".into()), None),
            Err(_) => {
                doing.abort();
                // Ensures that nothing of this attempt still runs when the next one begins.
                let _ = doing.await;
                (JobError::Again(format!("the attempt took longer than {time_limit:?}")), None)
            }
        };
        let is_hopeless = matches!(error, JobError::Hopeless(_));
        let is_last = u32::try_from(own).unwrap_or(0) >= max_attempts;
        let again = (!is_hopeless && !is_last).then(|| pause(pauses, own, self.share));
        self.failed(kind, id, number, &error.to_string(), again).await;
        connection
    }

    /// Records that an attempt has failed, and when the job is tried again, if it is.
    async fn failed(
        &self,
        kind: &'static str,
        id: i64,
        number: i32,
        error: &str,
        again: Option<Duration>,
    ) {
        self.metrics.failed_attempts.get_or_create(&OfKind { kind }).inc();
        if again.is_some() {
            tracing::warn!(id, kind, number, error, "a job failed; it is tried again");
        } else {
            tracing::error!(id, kind, number, error, "a job failed, and is parked");
            self.metrics.given_up.get_or_create(&OfKind { kind }).inc();
        }
        let noted = in_time(jobs::fail(self.database.pool(), id, number, error, again)).await;
        if let Err(error) = noted {
            tracing::warn!(%error, id, kind, "the failure of a job could not be recorded; it is taken again later");
        }
    }
}

/// A uniformly distributed factor from one half to one.
fn share(random: [u8; 8]) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a share need not be exact")]
    let share = u64::from_le_bytes(random) as f64 / u64::MAX as f64;
    0.5 + share / 2.0
}

/// The pause after an attempt: twice the previous one, up to a limit, times a random factor, so that jobs that
/// failed together are not retried together.
fn pause(pauses: Pauses, attempt: i32, share: f64) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(31);
    let pause = pauses.first.saturating_mul(1 << doublings).min(pauses.longest);
    pause.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_the_first_to_the_longest_and_are_shortened_by_up_to_a_half() {
        let of_all = Limits::default().pauses;
        let pauses: Vec<u64> =
            (1..=12).map(|attempt| pause(of_all, attempt, 1.0).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]);
        assert_eq!(pause(of_all, i32::MAX, 1.0), of_all.longest);
        assert_eq!(pause(of_all, 1, share([0; 8])).as_millis(), 2_500);
        assert_eq!(pause(of_all, 1, share([0xff; 8])).as_millis(), 5_000);
    }
}
