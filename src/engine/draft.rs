//! A batch in preparation: jobs are decided one after the other, each on the streams as the earlier ones left
//! them.

use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::Failure;
use super::job::Job;
use super::patience::Patience;
use super::pending::{Pending, Room};
use super::session::Session;
use super::unit::{FinishedStreams, UnitOfWork};
use crate::store::append::Appended;
use crate::store::{Batch, StoreError};
use crate::traces::{Traces, Work};
use domain::{Halt, OwnEvent, Refusal};

/// How long loading may take while the previous batch is being appended.
const AHEAD_PATIENCE: Duration = Duration::from_millis(250);

/// A batch that has this many events takes no more commands: a purchase can have hundreds of events, and a
/// batch must not take longer than its callers wait.
const MAX_EVENTS: usize = 20_000;

pub(super) struct Draft<'a> {
    unit: UnitOfWork<'a>,
    /// For each command of the batch: the job and the decision.
    outcomes: Vec<(Job, Outcome)>,
    /// Jobs that cannot be decided with what could be loaded.
    undecided: Vec<Job>,
    /// Jobs that are to be decided on streams that are loaded under the log's lock.
    put_off: Vec<Job>,
    /// Whether streams that should be new are assumed to be new, without loading them.
    trusts_new: bool,
    /// Whether the outcome of the previous batch is still unknown.
    is_ahead: bool,
    /// Whether commands of callers are to be expected.
    expects_callers: bool,
}

/// A batch whose commands have been decided.
pub(super) struct Decided {
    pub(super) commands: Commands,
    /// The streams in their state after the batch.
    pub(super) streams: FinishedStreams,
    /// Jobs that could not be decided with what could be loaded, or are to be decided under the log's lock.
    pub(super) delayed: Vec<Job>,
}

/// The commands of a batch.
pub(super) struct Commands {
    pub(super) batch: Batch,
    /// For each command: the job and the decision.
    pub(super) outcomes: Vec<(Job, Outcome)>,
}

/// The decision about a command. It is valid if the append finds everything that was read unchanged.
pub(super) enum Outcome {
    /// The command is carried out.
    Done,
    /// The command is refused.
    Refused(Refusal),
    /// The command was carried out before, by the command that wrote this event.
    Recorded(OwnEvent),
    /// The request is carried out by this earlier command of the batch.
    Repeats(usize),
    /// An earlier command of the batch has the same request id and another content.
    RequestIdReused,
}

/// All jobs of a draft for which something could not be loaded, and why not.
pub(super) type LoadFailure = (Vec<Job>, StoreError);

impl<'a> Draft<'a> {
    pub(super) fn new(unit: UnitOfWork<'a>) -> Self {
        Self {
            unit,
            outcomes: Vec::new(),
            undecided: Vec::new(),
            put_off: Vec::new(),
            trusts_new: true,
            is_ahead: false,
            expects_callers: false,
        }
    }

    /// Decides jobs on the streams in memory, and loads those that are missing.
    pub(super) async fn decide(
        mut self,
        session: &mut Session,
        jobs: Vec<Job>,
        patience: Patience,
    ) -> Result<Decided, LoadFailure> {
        match self.add(session, jobs, patience).await {
            Ok(()) => Ok(self.finish()),
            Err(error) => Err((self.finish().into_jobs(), error)),
        }
    }

    /// Decides new jobs while the previous batch is being appended, until its append has ended (`landed`).
    /// Gives the jobs back if something cannot be loaded soon, because that must not delay the answers of the
    /// previous batch.
    pub(super) async fn decide_ahead(
        mut self,
        session: &mut Session,
        pending: &mut Pending,
        most: usize,
        expects_callers: bool,
        landed: &Notify,
    ) -> Result<Decided, Vec<Job>> {
        self.is_ahead = true;
        self.expects_callers = expects_callers;
        let landed = landed.notified();
        tokio::pin!(landed);
        loop {
            let is_filled = tokio::select! {
                biased;
                () = &mut landed => break,
                is_filled = pending.filled(self.room(most)) => is_filled,
            };
            let takes_more = is_filled && !self.is_full();
            let jobs = if takes_more { pending.take_batch(self.room(most)) } else { Vec::new() };
            if jobs.is_empty() {
                landed.await;
                break;
            }
            let patience = Patience::since(Instant::now(), AHEAD_PATIENCE).without_retries();
            match timeout(AHEAD_PATIENCE, self.add(session, jobs, patience)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "nothing can be loaded ahead");
                    return Err(self.finish().into_jobs());
                }
                Err(_) => {
                    session.forget_connection();
                    return Err(self.finish().into_jobs());
                }
            }
        }
        Ok(self.finish())
    }

    /// How many more commands a batch of at most `most` takes.
    fn room(&self, most: usize) -> Room {
        let decided = self.outcomes.iter().map(|(job, _)| job);
        let room = Room::left(most, decided.chain(&self.undecided).chain(&self.put_off));
        room.expecting(self.expects_callers)
    }

    /// Decides more jobs. Afterwards every job is in `outcomes`, `undecided` or `put_off`, even after an error.
    async fn add(
        &mut self,
        session: &mut Session,
        jobs: Vec<Job>,
        patience: Patience,
    ) -> Result<(), StoreError> {
        // Streams that should be new are assumed to be new until a job has conflicted. A stream that such a
        // job must load must not have been assumed new by another job of the batch.
        self.trusts_new &= jobs.iter().all(|job| job.conflicts == 0);
        self.unit.look_anew();
        self.undecided.extend(jobs);
        loop {
            // Another job of the round may bring what a job lacks: a stream that is assumed to be new.
            let known = self.unit.known_facts();
            for job in std::mem::take(&mut self.undecided) {
                let lacking = if self.is_full() { Some(job) } else { self.try_deciding(job).await };
                self.undecided.extend(lacking);
            }
            if self.undecided.is_empty() || self.is_full() {
                return Ok(());
            }
            let missing = self.unit.take_missing();
            session.fetch(&mut self.unit, missing, patience).await?;
            if self.unit.known_facts() == known {
                self.end_undecided();
                return Ok(());
            }
        }
    }

    /// Whether the batch takes no more commands.
    fn is_full(&self) -> bool {
        self.unit.event_count() >= MAX_EVENTS
    }

    /// Ends jobs that nothing which can be loaded brings further. If that may be due to a state that is not
    /// committed yet, they are decided again on a committed one.
    fn end_undecided(&mut self) {
        if self.is_ahead {
            self.undecided.iter_mut().for_each(|job| job.needs_outcome = true);
        } else {
            for job in std::mem::take(&mut self.undecided) {
                fail(job, "lacks something that cannot be loaded");
            }
        }
    }

    /// Gives the job back if something is not in memory. Puts it off if it is to be decided under the log's lock.
    async fn try_deciding(&mut self, mut job: Job) -> Option<Job> {
        let request = job.request.as_ref();
        // A receipt is written once. With two of one key the database would refuse the batch as a whole.
        if let Some(earlier) = request.and_then(|request| self.unit.earlier_request(request)) {
            self.unit.keep_answered(earlier.command, request);
            let outcome = if earlier.is_same {
                Outcome::Repeats(earlier.command)
            } else {
                Outcome::RequestIdReused
            };
            self.outcomes.push((job, outcome));
            return None;
        }
        self.unit.go_into_background(job.is_in_background);
        match self.unit.run(self.trusts_new, |work| job.command.decide(work)).await {
            Ok(()) => {
                self.unit.keep(&job.envelope, job.request.as_ref());
                self.outcomes.push((job, Outcome::Done));
            }
            Err(Halt::Refused(refusal)) => {
                self.unit.keep_reads(job.request.as_ref());
                self.outcomes.push((job, Outcome::Refused(refusal)));
            }
            Err(Halt::AlreadyRecorded(own)) => {
                self.unit.keep_reads(job.request.as_ref());
                self.outcomes.push((job, Outcome::Recorded(own)));
            }
            Err(Halt::Missing) => return Some(job),
            // Others are carried out meanwhile.
            Err(Halt::Behind(lag)) => job.answer(&Err(Failure::Behind(lag))),
            // The state on which the job was decided may never be committed.
            Err(Halt::Broken(_)) if self.is_ahead => return Some(job),
            // What is in memory may be older than a stream that was loaded for this decision.
            Err(Halt::Broken(_)) if !job.is_in_doubt => {
                job.is_in_doubt = true;
                self.put_off.push(job);
            }
            Err(Halt::Broken(what)) => fail(job, what),
        }
        None
    }

    fn finish(self) -> Decided {
        let (batch, streams) = self.unit.finish();
        let commands = Commands { batch, outcomes: self.outcomes };
        let delayed = self.undecided.into_iter().chain(self.put_off).collect();
        Decided { commands, streams, delayed }
    }
}

/// Answers a job whose decision has failed because of a bug.
fn fail(job: Job, what: &'static str) {
    tracing::error!(command = job.command.name(), what, "a decision failed because of a bug");
    job.answer(&Err(Failure::Internal));
}

/// Since when the oldest of these jobs has waited.
pub(super) fn oldest<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Instant {
    jobs.into_iter().map(|job| job.queued_at).min().unwrap_or_else(Instant::now)
}

impl Decided {
    /// All its jobs, as if none had been decided.
    pub(super) fn into_jobs(self) -> Vec<Job> {
        self.commands.into_jobs().chain(self.delayed).collect()
    }
}

impl Commands {
    /// Whether any of them is of a caller.
    pub(super) fn has_callers(&self) -> bool {
        self.outcomes.iter().any(|(job, _)| !job.is_in_background)
    }

    /// Since when the oldest of them has waited.
    pub(super) fn waiting_since(&self) -> Instant {
        oldest(self.outcomes.iter().map(|(job, _)| job))
    }

    /// The jobs, as if none had been decided.
    pub(super) fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.outcomes.into_iter().map(|(job, _)| job)
    }

    /// Begins the span of their append.
    pub(super) fn trace(&self, traces: &Traces) -> Work {
        let callers = self.outcomes.iter().flat_map(|(job, _)| job.callers());
        traces.batch(self.outcomes.len(), callers)
    }

    /// Ends the span of their append.
    pub(super) fn trace_end(&self, work: Work, appended: &Appended) {
        work.done(|| {
            let events = self.batch.events_in(appended);
            (events, appended.head + events)
        });
    }
}
