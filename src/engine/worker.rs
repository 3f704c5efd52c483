//! The loop: take pending commands, decide them, append the batch, answer.
//!
//! What can go wrong, and what happens then:
//! - *Another server changed a stream first.* Conflicted commands are decided again on the state in the
//!   database, and for a few batches the log's lock is taken before loading, so that they cannot conflict
//!   again. Two servers that write one stream would otherwise starve each other.
//! - *The connection is lost during an append.* Whether the batch is in the log is unknown, so the
//!   same batch is sent again: its number tells the database whether it has seen it.
//! - *The database refuses a batch as a whole.* Each of its commands is tried by itself.
//! - *The database is unavailable.* Callers wait for a limited time, then get an error; the next batch tries
//!   again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::cache::{Cache, Seen};
use super::draft::{Commands, Decided, Draft, oldest};
use super::horizon::Horizon;
use super::job::Job;
use super::outcome::Responder;
use super::patience::Patience;
use super::pending::{Pending, Room};
use super::recent::RecentPurchases;
use super::session::{BatchNumber, Session};
use super::unit::{FinishedStreams, KnownTaken, UnitOfWork};
use super::{Environment, Failure, Handover, Limits, fresh_uuid};
use crate::metrics::Metrics;
use crate::store::{Database, Epoch, StoreError};
use crate::traces::Traces;
use domain::CachePolicy;

/// For how long after commands of callers the background gets a part of each batch only: longer than callers take from
/// an answer to their next command.
const CALLERS_REMEMBERED: Duration = Duration::from_secs(1);
/// How long no batch is decided ahead after loading for one has failed.
const AHEAD_PAUSE: Duration = Duration::from_secs(1);

/// Decides and appends the commands of an [`Engine`](super::Engine).
pub struct Worker {
    pub(super) session: Session,
    /// Loads for one batch while `session` appends the previous one.
    ahead: Session,
    environment: Environment,
    pub(super) limits: Limits,
    pub(super) responder: Responder,
    traces: Traces,
    pub(super) pending: Pending,
    pub(super) cache: Cache,
    pub(super) horizon: Horizon,
    pub(super) recent: RecentPurchases,
    writer: Uuid,
    batch_number: i64,
    /// When the last batch that had commands of callers was sent.
    callers_seen: Option<Instant>,
    /// How many more batches take the lock before loading.
    pub(super) contended: u32,
    /// The values that the last batch found to be taken.
    pub(super) known_taken: KnownTaken,
    /// The time from which batches may be decided ahead again.
    ahead_again_at: Instant,
    /// Whether the database was unavailable at the last attempt.
    pub(super) away: bool,
    /// Snapshots are written one at a time, in the background.
    pub(super) snapshots: Arc<Semaphore>,
}

impl Worker {
    pub(super) fn new(
        database: Database,
        epoch: Epoch,
        environment: Environment,
        limits: Limits,
        pending: Pending,
        handover: mpsc::Sender<Handover>,
        metrics: Metrics,
    ) -> Self {
        Self {
            writer: fresh_uuid(&environment),
            session: Session::new(database.clone(), epoch, metrics.clone()),
            ahead: Session::new(database.clone(), epoch, metrics.clone()),
            environment,
            cache: Cache::new(limits.cached_streams),
            limits,
            pending,
            responder: Responder { database, handover, metrics },
            traces: Traces::default(),
            horizon: Horizon::default(),
            recent: RecentPurchases::default(),
            batch_number: 0,
            callers_seen: None,
            contended: 0,
            known_taken: KnownTaken::new(),
            ahead_again_at: Instant::now(),
            away: false,
            snapshots: Arc::new(Semaphore::new(1)),
        }
    }

    /// Lets the worker trace its batches.
    pub(super) fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Carries out commands until the last clone of the engine is gone, or until `stop` is cancelled and every
    /// pending command has its answer.
    ///
    /// # Errors
    /// [`StoreError::Elsewhere`] if the database turns out to be in another epoch.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut is_closed = false;
        loop {
            let is_filled = tokio::select! {
                is_filled = self.pending.filled(Room::of(1)) => is_filled,
                () = stop.cancelled(), if !is_closed => {
                    is_closed = true;
                    self.pending.close();
                    continue;
                }
            };
            if !is_filled {
                break;
            }
            Box::pin(self.carry_out(&stop)).await;
            if self.session.is_elsewhere() || self.ahead.is_elsewhere() {
                // Everything in memory is of another epoch of the database. Pending commands are answered
                // with an error when the queue is dropped.
                return Err(StoreError::Elsewhere);
            }
        }
        self.session.close().await;
        self.ahead.close().await;
        Ok(())
    }

    /// Carries out pending jobs, and further ones for as long as each batch is appended whole. Every job is
    /// answered or queued again.
    async fn carry_out(&mut self, stop: &CancellationToken) {
        let most = self.limits.batch_commands.max(1);
        let is_in_doubt = self.pending.is_in_doubt();
        let jobs = self.pending.take_batch(Room::of(most).expecting(self.expects_callers()));
        if self.contended > 0 || is_in_doubt {
            let is_contended = self.contended > 0;
            self.contended = self.contended.saturating_sub(1);
            return self.carry_out_locked(jobs, is_contended).await;
        }
        let patience = self.patience(oldest(&jobs));
        let before = FinishedStreams::new();
        let taken = std::mem::take(&mut self.known_taken);
        let unit =
            UnitOfWork::new(&self.environment, &mut self.cache, &before, taken, self.horizon);
        let unit = unit.remembering(&self.recent);
        let decided = Draft::new(unit).decide(&mut self.session, jobs, patience).await;
        let mut decided = match decided {
            Ok(decided) => decided,
            Err((jobs, error)) => return self.fail_together(jobs, &error, "loading streams"),
        };
        loop {
            decided.commands.batch.expect_end(self.horizon.end());
            let Decided { commands, streams, delayed } = decided;
            if commands.batch.is_empty() {
                return self.put_off(streams, delayed);
            }
            let (number, patience) = (self.next_number(), self.patience(commands.waiting_since()));
            self.see(&commands);
            let expects_callers = self.expects_callers();
            // If no other server appends, this batch will probably be appended whole.
            let goes_ahead = self.horizon.is_alone()
                && self.pending.is_plain()
                && Instant::now() >= self.ahead_again_at
                && !stop.is_cancelled();
            let landed = Notify::new();
            let work = commands.trace(&self.traces);
            let append = async {
                let began = Instant::now();
                let appended = self.session.append(number, &commands.batch, patience).await;
                landed.notify_one();
                match appended {
                    Ok(appended) => {
                        let took = began.elapsed().as_secs_f64();
                        self.responder.metrics.commit_seconds.observe(took);
                        (self.environment.observe)(began, appended.recorded_at);
                        commands.trace_end(work, &appended);
                        // Answers need not wait until the next batch is loaded.
                        let rest = self.responder.respond(commands, &appended, patience);
                        Ok((appended, rest))
                    }
                    Err(error) => Err((commands, error)),
                }
            };
            let ahead = async {
                if !goes_ahead {
                    return None;
                }
                let taken = std::mem::take(&mut self.known_taken);
                let (cache, horizon) = (&mut self.cache, self.horizon);
                let unit = UnitOfWork::new(&self.environment, cache, &streams, taken, horizon);
                let draft = Draft::new(unit.remembering(&self.recent));
                let (ahead, pending) = (&mut self.ahead, &mut self.pending);
                Some(draft.decide_ahead(ahead, pending, most, expects_callers, &landed).await)
            };
            let (appended, ahead) = tokio::join!(append, ahead);
            let landed_whole = match appended {
                Ok((appended, rest)) => {
                    self.apply_outcome(streams, delayed, &appended, rest);
                    appended.is_whole()
                }
                Err((commands, error)) => {
                    self.give_up(commands, &streams, delayed, &error);
                    false
                }
            };
            decided = match ahead {
                Some(Ok(next)) if landed_whole => next,
                // Behind those that have conflicted.
                Some(Ok(next)) => return self.pending.put_all(next.into_jobs()),
                Some(Err(jobs)) => {
                    self.ahead_again_at = Instant::now() + AHEAD_PAUSE;
                    return self.pending.put_all(jobs);
                }
                None => return,
            };
        }
    }

    /// Takes the log's lock, then loads, decides and appends under it: nothing can change meanwhile.
    async fn carry_out_locked(&mut self, jobs: Vec<Job>, is_contended: bool) {
        let patience = self.patience(oldest(&jobs));
        let began = Instant::now();
        if let Err(error) = self.session.begin_locked(patience).await {
            return self.fail(jobs, &error, "taking the lock of the log");
        }
        if jobs.iter().any(|job| job.is_in_doubt) {
            self.cache.clear();
        }
        let (mut fresh, before) = (Cache::new(1), FinishedStreams::new());
        // The cached state may have caused the conflict.
        let cache = if is_contended { &mut fresh } else { &mut self.cache };
        // The transaction ends with its connection, so nothing is tried again within it.
        let at_once = patience.without_retries();
        let taken = std::mem::take(&mut self.known_taken);
        let unit = UnitOfWork::new(&self.environment, cache, &before, taken, self.horizon);
        let decided = Draft::new(unit).decide(&mut self.session, jobs, at_once).await;
        let Decided { mut commands, streams, delayed } = match decided {
            Ok(decided) => decided,
            Err((mut jobs, error)) => {
                tracing::warn!(%error, "the lock of the log was lost; continuing without it");
                self.session.leave_locked(patience).await;
                self.contended = 0;
                for job in &mut jobs {
                    job.is_in_doubt = false;
                }
                return self.pending.put_back(jobs);
            }
        };
        if commands.batch.is_empty() {
            self.session.leave_locked(patience).await;
            return self.put_off(streams, delayed);
        }
        commands.batch.expect_end(self.horizon.end());
        self.see(&commands);
        let number = self.next_number();
        let work = commands.trace(&self.traces);
        let mut appended = self.session.append_locked(number, &commands.batch, patience).await;
        if matches!(appended, Err(StoreError::Unavailable(_))) {
            // The commit may have been carried out. If not, the lock was lost, and others may have appended.
            appended = match self.session.find_appended(number, &commands.batch, patience).await {
                Ok(Some(appended)) => Ok(appended),
                Ok(None) => {
                    self.pending.put_back(delayed);
                    return self.pending.put_back(commands.into_jobs().collect());
                }
                Err(error) => Err(error),
            };
        }
        match appended {
            Ok(appended) => {
                (self.environment.observe)(began, appended.recorded_at);
                commands.trace_end(work, &appended);
                let rest = self.responder.respond(commands, &appended, patience);
                self.apply_outcome(streams, delayed, &appended, rest);
            }
            Err(error) => self.give_up(commands, &streams, delayed, &error),
        }
    }

    /// Remembers whether callers use the server.
    fn see(&mut self, commands: &Commands) {
        if commands.has_callers() {
            self.callers_seen = Some(Instant::now());
        }
    }

    /// Whether a batch that begins now has to expect commands of callers.
    fn expects_callers(&self) -> bool {
        self.callers_seen.is_some_and(|at| at.elapsed() < CALLERS_REMEMBERED)
    }

    fn next_number(&mut self) -> BatchNumber {
        self.batch_number += 1;
        BatchNumber { writer: self.writer, number: self.batch_number }
    }

    /// How long commands of which the oldest has waited since `since` wait for the database.
    fn patience(&self, since: Instant) -> Patience {
        if self.away {
            Patience::while_away(self.limits.database_patience)
        } else {
            Patience::since(since, self.limits.database_patience)
        }
    }

    fn fail(&mut self, jobs: Vec<Job>, error: &StoreError, doing: &'static str) {
        let failure = self.failure(error, doing);
        for job in jobs {
            job.answer(&Err(failure.clone()));
        }
    }

    /// Jobs that failed together: possibly only one of them is at fault.
    fn fail_together(&mut self, jobs: Vec<Job>, error: &StoreError, doing: &'static str) {
        if error.may_pass() || matches!(error, StoreError::Elsewhere) || jobs.len() < 2 {
            return self.fail(jobs, error, doing);
        }
        tracing::warn!(%error, doing, commands = jobs.len(), "a batch failed; trying one by one");
        for job in jobs {
            self.pending.put(job.alone());
        }
    }

    /// A batch in which nothing was decided. The loaded streams stay in memory for the next attempt.
    fn put_off(&mut self, streams: FinishedStreams, delayed: Vec<Job>) {
        for (key, stream) in streams {
            if stream.in_background {
                continue;
            }
            if key.kind.cache() != CachePolicy::Never {
                self.cache.put(key, Seen { loaded: stream.loaded, at: stream.seen_at });
            }
        }
        self.pending.put_all(delayed);
    }

    /// Logs an error of the store, and returns the failure for callers.
    fn failure(&mut self, error: &StoreError, doing: &'static str) -> Failure {
        tracing::error!(%error, doing, "the database failed");
        if matches!(error, StoreError::Unavailable(_) | StoreError::Elsewhere) {
            self.away = true;
            Failure::DatabaseUnavailable
        } else if error.may_pass() {
            Failure::DatabaseUnavailable
        } else {
            Failure::Internal
        }
    }

    /// A batch that could not be appended as a whole.
    fn give_up(
        &mut self,
        commands: Commands,
        streams: &FinishedStreams,
        delayed: Vec<Job>,
        error: &StoreError,
    ) {
        // The state after the batch was not committed, or that is unknown.
        for key in streams.keys() {
            self.cache.remove(key);
        }
        self.pending.put_back(delayed);
        self.fail_together(commands.into_jobs().collect(), error, "appending");
    }
}
