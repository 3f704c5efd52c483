//! The loop: take what waits, decide it, append it, answer.
//!
//! What can be in its way, and what then happens:
//! - *Another server was faster.* Fallen commands are decided again on what is in the database, and
//!   for a few batches the log's lock is taken before loading, so that nobody can be faster again.
//!   Two servers that write one stream would otherwise starve each other.
//! - *The connection is lost during an append.* Whether the batch is in the log is unknown, so the
//!   same batch is sent again: its number tells the database whether it has seen it.
//! - *The database refuses a batch as a whole.* Each of its commands is tried by itself.
//! - *The database is away.* Callers wait a little, then are told; the next batch tries again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::sync::{Semaphore, mpsc, watch};
use uuid::Uuid;

use super::job::{Identity, Job, Kinship};
use super::query::MAX_ROUNDS;
use super::session::{BatchNumber, Session};
use super::unit::{Cache, FinishedStream, Horizon, KnownTaken, Seen, UnitOfWork};
use super::{Committed, Failure, Handover, Limits, Surroundings, fresh_uuid};
use crate::domain::{ClaimKind, Halt, Kind, Refusal, StreamKey};
use crate::metrics::Metrics;
use crate::store::append::Appended;
use crate::store::{
    Batch, Database, Epoch, Loaded, RecordedEvent, StoreError, Verdict, in_time, load, log,
};

/// For how many batches after a conflict the lock is taken first.
const CONTENDED_BATCHES: u32 = 8;
/// How often a command may fall before its caller is told. With the lock held nothing can change
/// under a decision, so a second fall is already a fault.
const MAX_CONFLICTS: u32 = 4;
/// How often a command may be put off because each look shows that more must be loaded.
const MAX_DELAYS: u32 = 8;
/// How long a batch waits for the database if the one before waited in vain.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// What happens to a batch whose commands have been decided.
struct Decided {
    batch: Batch,
    streams: Vec<FinishedStream>,
    /// Per command of the batch: the job, and what was decided.
    outcomes: Vec<(Job, Outcome)>,
    /// Jobs that could not be decided with what could be loaded.
    delayed: Vec<Job>,
}

/// What was decided about a command. It stands if the append finds what was read unchanged.
enum Outcome {
    /// It is carried out.
    Done,
    /// It is refused.
    Refused(Refusal),
    /// It was carried out before; its answer begins with this stream.
    Recorded(StreamKey),
}

pub(super) struct Worker {
    session: Session,
    surroundings: Surroundings,
    limits: Limits,
    handover: mpsc::Sender<Handover>,
    metrics: Metrics,
    cache: Cache,
    horizon: Horizon,
    writer: Uuid,
    batch_number: i64,
    /// Jobs that go into the next batch before new ones.
    next: VecDeque<Job>,
    /// How many more batches take the lock first.
    contended: u32,
    /// What the last batch found out to belong to somebody.
    known_taken: KnownTaken,
    /// Whether the last attempt found the database away.
    away: bool,
    /// Snapshots are written one at a time, beside the work.
    snapshots: Arc<Semaphore>,
}

impl Worker {
    pub(super) fn new(
        database: Database,
        epoch: Epoch,
        surroundings: Surroundings,
        limits: Limits,
        handover: mpsc::Sender<Handover>,
        metrics: Metrics,
    ) -> Self {
        let cached = NonZeroUsize::new(limits.cached_streams).unwrap_or(NonZeroUsize::MIN);
        Self {
            writer: fresh_uuid(&surroundings),
            session: Session::new(database, epoch, metrics.clone()),
            surroundings,
            limits,
            handover,
            metrics,
            cache: LruCache::new(cached),
            horizon: Horizon::default(),
            batch_number: 0,
            next: VecDeque::new(),
            contended: 0,
            known_taken: HashMap::new(),
            away: false,
            snapshots: Arc::new(Semaphore::new(1)),
        }
    }

    pub(super) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Job>,
        mut closing: watch::Receiver<bool>,
    ) {
        let mut is_closing = false;
        loop {
            if self.next.is_empty() {
                let job = tokio::select! {
                    job = queue.recv() => job,
                    _ = closing.wait_for(|closing| *closing), if !is_closing => {
                        is_closing = true;
                        queue.close();
                        continue;
                    }
                };
                match job {
                    Some(job) => self.next.push_back(job),
                    None => break,
                }
            }
            let jobs = self.gather(&mut queue);
            self.carry_out(jobs).await;
            if self.session.is_elsewhere() {
                // Everything in memory is of another life of the database. Whoever waits is told.
                tracing::error!("the database is not the one that this process began with");
                return;
            }
        }
        self.session.close().await;
    }

    /// Takes what waits, joining repetitions and putting off rivals.
    fn gather(&mut self, queue: &mut mpsc::Receiver<Job>) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut known: HashMap<Identity, usize> = HashMap::new();
        let mut rivals = VecDeque::new();
        // Those that fell are decided by themselves: a new command could be decided before them, as
        // it needs less to be loaded, and they would fall with it again.
        let only_fallen = self.next.iter().any(|job| job.conflicts > 0);
        while jobs.len() < self.limits.batch_commands.max(1) && rivals.len() < jobs.len() + 1 {
            if self.next.front().is_some_and(|job| job.alone) && !jobs.is_empty() {
                break;
            }
            let waiting = || if only_fallen { None } else { queue.try_recv().ok() };
            let Some(job) = self.next.pop_front().or_else(waiting) else { break };
            if job.alone {
                return vec![job];
            }
            let relative = job.identities().find_map(|identity| known.get(&identity).copied());
            match relative.map(|index| (index, jobs[index].compare(&job))) {
                Some((index, Kinship::Repetition)) => jobs[index].join(job),
                Some((_, Kinship::Rivals | Kinship::Strangers)) => rivals.push_back(job),
                None => {
                    known.extend(job.identities().map(|identity| (identity, jobs.len())));
                    jobs.push(job);
                }
            }
        }
        rivals.append(&mut self.next);
        self.next = rivals;
        let waiting = i64::try_from(queue.len()).unwrap_or(i64::MAX);
        self.metrics.queue_commands.set(waiting);
        jobs
    }

    /// Carries out a batch and answers all its jobs, or puts them into the next one.
    async fn carry_out(&mut self, jobs: Vec<Job>) {
        let patience = if self.away { IMPATIENCE } else { self.limits.database_patience };
        let deadline = Instant::now() + patience;
        if self.contended > 0 {
            self.contended -= 1;
            return self.carry_out_locked(jobs, deadline).await;
        }
        let taken = std::mem::take(&mut self.known_taken);
        let unit = UnitOfWork::new(&self.surroundings, &mut self.cache, taken, self.horizon);
        match decide(&mut self.session, unit, jobs, deadline).await {
            Err((jobs, error)) => self.fail_together(jobs, &error, "loading streams"),
            Ok(decided) if decided.batch.is_empty() => self.put_off(decided),
            Ok(decided) => {
                let number = self.next_number();
                let began = Instant::now();
                match self.session.append(number, &decided.batch, deadline).await {
                    Ok(appended) => {
                        self.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
                        self.settle(decided, &appended);
                    }
                    Err(error) => self.give_up(decided, &error),
                }
            }
        }
    }

    /// Takes the log's lock, then loads, decides and appends under it: nothing can change meanwhile.
    async fn carry_out_locked(&mut self, jobs: Vec<Job>, deadline: Instant) {
        if let Err(error) = self.session.begin_locked(deadline).await {
            return self.fail(jobs, &error, "taking the lock of the log");
        }
        // What is cached may be what led to the conflict.
        let mut fresh = LruCache::new(NonZeroUsize::MIN);
        // The transaction ends with its connection, so nothing is tried again within it.
        let at_once = Instant::now();
        let taken = std::mem::take(&mut self.known_taken);
        let unit = UnitOfWork::new(&self.surroundings, &mut fresh, taken, self.horizon);
        let decided = match decide(&mut self.session, unit, jobs, at_once).await {
            Ok(decided) => decided,
            Err((jobs, error)) => {
                tracing::warn!(%error, "the lock of the log was lost; going on without");
                self.session.leave_locked().await;
                self.contended = 0;
                self.next.extend(jobs);
                return;
            }
        };
        if decided.batch.is_empty() {
            self.session.leave_locked().await;
            return self.put_off(decided);
        }
        let number = self.next_number();
        let mut appended = self.session.append_locked(number, &decided.batch).await;
        if matches!(appended, Err(StoreError::Unavailable(_))) {
            // Perhaps the commit was carried out. Sent once more, outside of a transaction, the
            // batch is recognised, or appended if it still can be.
            appended = self.session.append(number, &decided.batch, deadline).await;
        }
        match appended {
            Ok(appended) => self.settle(decided, &appended),
            Err(error) => self.give_up(decided, &error),
        }
    }

    fn next_number(&mut self) -> BatchNumber {
        self.batch_number += 1;
        BatchNumber { writer: self.writer, number: self.batch_number }
    }

    fn fail(&mut self, jobs: Vec<Job>, error: &StoreError, doing: &'static str) {
        let failure = self.failure(error, doing);
        for job in jobs {
            job.answer(&Err(failure.clone()));
        }
    }

    /// Jobs that failed together: perhaps only one of them is at fault.
    fn fail_together(&mut self, jobs: Vec<Job>, error: &StoreError, doing: &'static str) {
        if matches!(error, StoreError::Unavailable(_) | StoreError::Elsewhere) || jobs.len() < 2 {
            return self.fail(jobs, error, doing);
        }
        tracing::warn!(%error, doing, commands = jobs.len(), "a batch failed; trying one by one");
        self.next.extend(jobs.into_iter().map(Job::alone));
    }

    /// A batch in which nothing was decided: what was loaded stays for the next try.
    fn put_off(&mut self, decided: Decided) {
        for stream in decided.streams {
            if stream.key.kind != Kind::Purchase {
                self.cache.put(stream.key, Seen { loaded: stream.loaded, at: stream.seen_at });
            }
        }
        self.delay(decided.delayed);
    }

    /// What to tell callers of an error of the store; logs it.
    fn failure(&mut self, error: &StoreError, doing: &'static str) -> Failure {
        tracing::error!(%error, doing, "the database failed");
        if matches!(error, StoreError::Unavailable(_) | StoreError::Elsewhere) {
            self.away = true;
            Failure::DatabaseUnavailable
        } else {
            Failure::Internal
        }
    }

    /// A batch that could not be appended as a whole.
    fn give_up(&mut self, decided: Decided, error: &StoreError) {
        // What the batch would have left in memory never came to be, or nobody knows.
        for stream in &decided.streams {
            self.cache.pop(&stream.key);
        }
        let jobs: Vec<Job> = decided.outcomes.into_iter().map(|(job, _)| job).collect();
        self.next.extend(decided.delayed);
        self.fail_together(jobs, error, "appending");
    }

    /// Tells every caller what came of a batch that the database has answered.
    fn settle(&mut self, decided: Decided, appended: &Appended) {
        self.away = false;
        #[allow(clippy::cast_precision_loss, reason = "a batch is small")]
        self.metrics.batch_commands.observe(decided.outcomes.len() as f64);
        let Decided { batch, streams, outcomes, delayed } = decided;
        let moved: HashSet<i32> = appended.moved.iter().copied().collect();
        let has_grown = |place: &i32| batch.stream_version(*place).is_some_and(|seen| seen > 0);
        if moved.iter().any(has_grown) {
            self.contended = CONTENDED_BATCHES;
        }
        for taken in &appended.taken {
            let key = (taken.claim.kind, taken.claim.value.clone());
            self.known_taken.insert(key, taken.owner.clone());
        }
        let fell_itself: Vec<bool> =
            (0..outcomes.len()).map(|command| batch.has_read(command, &moved)).collect();

        let mut events: Vec<Vec<RecordedEvent>> = outcomes.iter().map(|_| Vec::new()).collect();
        let numbered = batch.into_recorded(appended);
        let last_event = numbered.last().map(|(_, event)| event.position);
        let (horizon, seen_at) = self.horizon.after(appended, last_event);
        self.horizon = horizon;
        self.remember(streams, appended, &moved, seen_at);
        for (command, event) in &numbered {
            events[*command].push(event.clone());
        }
        if !numbered.is_empty() {
            let all = numbered.into_iter().map(|(_, event)| event).collect();
            // A full or closed channel is no harm: the tail reads what it is not handed.
            let _ = self.handover.try_send(Arc::new(all));
        }

        // Told together at the end, so that answers on one connection leave together.
        let mut answers = Vec::with_capacity(outcomes.len());
        // A command without events saw everything up to its place in the batch.
        let mut position = appended.head;
        for (number, ((job, outcome), events)) in outcomes.into_iter().zip(events).enumerate() {
            position = events.last().map_or(position, |event| event.position);
            match (appended.verdicts.get(number), outcome) {
                (Some(Verdict::Appended), Outcome::Refused(refusal)) => {
                    answers.push((job, Err(refusal.into())));
                }
                (Some(Verdict::Appended), Outcome::Recorded(stream)) => {
                    let pool = self.session.database().pool().clone();
                    let read = async move { log::read_first_command(&pool, &stream).await };
                    tokio::spawn(answer_repeated(job, read));
                }
                (Some(Verdict::Appended), Outcome::Done) => {
                    let events = events.into();
                    answers.push((job, Ok(Committed { events, position, repeated: false })));
                }
                (Some(Verdict::Duplicate), _) => self.answer_duplicate(job, number, appended),
                (Some(Verdict::Taken), _) => self.answer_taken(job, number, appended),
                (Some(Verdict::Conflict) | None, _) if fell_itself[number] => {
                    self.decide_again(job);
                }
                // It fell with another command, so it has not had its own try yet. It comes before
                // new commands in the next batch, so it cannot fall with one of them.
                (Some(Verdict::Conflict) | None, _) => self.next.push_back(job),
            }
        }
        for (job, answer) in answers {
            job.answer(&answer);
        }
        self.delay(delayed);
    }

    /// Puts jobs that lack something into the next batch, but not for ever.
    fn delay(&mut self, delayed: Vec<Job>) {
        for mut job in delayed {
            job.delays += 1;
            if job.delays > MAX_DELAYS {
                tracing::error!(command = job.command.name(), "a decision never has what it needs");
                job.answer(&Err(Failure::Internal));
            } else {
                self.next.push_back(job);
            }
        }
    }

    /// Keeps the streams of a batch in memory where they are what the database has.
    fn remember(
        &mut self,
        streams: Vec<FinishedStream>,
        appended: &Appended,
        moved: &HashSet<i32>,
        seen_at: i64,
    ) {
        let appended_by =
            |command: usize| appended.verdicts.get(command) == Some(&Verdict::Appended);
        for FinishedStream { key, place, last_writer, mut loaded, .. } in streams {
            let stands = !moved.contains(&place) && last_writer.is_none_or(appended_by);
            // A purchase is recorded once and hardly ever read again.
            if !stands || key.kind == Kind::Purchase {
                self.cache.pop(&key);
                continue;
            }
            if loaded.version - loaded.snapshot_version >= self.limits.snapshot_events {
                loaded.snapshot_version = loaded.version;
                self.write_snapshot(key.clone(), loaded.clone());
            }
            self.cache.put(key, Seen { loaded, at: seen_at });
        }
    }

    /// Writes a snapshot beside the work, unless one is being written already: the next will do.
    fn write_snapshot(&self, key: StreamKey, loaded: Loaded) {
        let Ok(turn) = self.snapshots.clone().try_acquire_owned() else { return };
        let pool = self.session.database().pool().clone();
        tokio::spawn(async move {
            if let Err(error) =
                load::write_snapshot(&pool, &key, &loaded.state, loaded.version).await
            {
                tracing::warn!(%error, stream = %key, "a snapshot could not be written");
            }
            drop(turn);
        });
    }

    fn answer_duplicate(&self, job: Job, number: usize, appended: &Appended) {
        let known = appended.duplicates.iter().find(|duplicate| duplicate.command == number);
        let (Some(known), Some(request)) = (known, &job.request) else {
            tracing::error!(command = job.command.name(), "a duplicate of nothing");
            return job.answer(&Err(Failure::Internal));
        };
        if known.fingerprint != request.fingerprint {
            return job.answer(&Err(Failure::RequestIdReused));
        }
        let (first, last) = (known.first_position, known.last_position);
        if last < first {
            let nothing = Committed { events: Arc::default(), position: last, repeated: true };
            return job.answer(&Ok(nothing));
        }
        let pool = self.session.database().pool().clone();
        let read = async move { log::read_range(&pool, first, last).await };
        tokio::spawn(answer_repeated(job, read));
    }

    fn answer_taken(&mut self, job: Job, number: usize, appended: &Appended) {
        let taken: Vec<_> = appended
            .taken
            .iter()
            .filter(|taken| taken.command == number)
            .map(|taken| taken.claim.kind)
            .collect();
        // A code is drawn by us: draw another.
        if taken.contains(&ClaimKind::Code) {
            return self.decide_again(job);
        }
        let taken = taken.into_iter().map(ClaimKind::as_str).collect();
        job.answer(&Err(Refusal::Taken(taken).into()));
    }

    fn decide_again(&mut self, mut job: Job) {
        job.conflicts += 1;
        self.metrics.conflicts.inc();
        if job.conflicts > MAX_CONFLICTS {
            tracing::error!(command = job.command.name(), "conflicts would not end");
            return job.answer(&Err(Failure::Conflict));
        }
        self.next.push_back(job);
    }
}

/// Decides a batch against what is in memory, loading what is not.
async fn decide(
    session: &mut Session,
    mut unit: UnitOfWork<'_>,
    jobs: Vec<Job>,
    deadline: Instant,
) -> Result<Decided, (Vec<Job>, StoreError)> {
    let mut outcomes = Vec::with_capacity(jobs.len());
    let mut undecided = jobs;
    for _ in 0..MAX_ROUNDS {
        let mut waiting = Vec::new();
        for job in undecided {
            // What should be new is taken to be, until the database has said otherwise.
            let trusts_new = job.conflicts == 0;
            match unit.run(trusts_new, |work| job.command.decide(work)) {
                Ok(()) => {
                    unit.keep(job.request.as_ref());
                    outcomes.push((job, Outcome::Done));
                }
                Err(Halt::Refused(refusal)) => {
                    unit.keep_reads(job.request.as_ref());
                    outcomes.push((job, Outcome::Refused(refusal)));
                }
                Err(Halt::AlreadyRecorded(stream)) => {
                    unit.keep_reads(job.request.as_ref());
                    outcomes.push((job, Outcome::Recorded(stream)));
                }
                Err(Halt::Missing) => waiting.push(job),
                Err(Halt::Broken(what)) => {
                    tracing::error!(command = job.command.name(), what, "a decision broke");
                    job.answer(&Err(Failure::Internal));
                }
            }
        }
        undecided = waiting;
        let missing = unit.take_missing();
        if undecided.is_empty() || missing.is_empty() {
            break;
        }
        if let Err(error) = session.fetch(&mut unit, missing, deadline).await {
            let decided = outcomes.into_iter().map(|(job, _)| job);
            return Err((decided.chain(undecided).collect(), error));
        }
    }
    let (batch, streams) = unit.finish();
    Ok(Decided { batch, streams, outcomes, delayed: undecided })
}

/// Answers a request that was carried out before with what it came to then.
async fn answer_repeated(
    job: Job,
    read: impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send,
) {
    match in_time(read).await {
        Ok(events) => {
            let position = events.last().map_or(0, |event| event.position);
            job.answer(&Ok(Committed { events: events.into(), position, repeated: true }));
        }
        Err(error) => {
            tracing::error!(%error, "an earlier answer could not be read");
            job.answer(&Err(match error {
                StoreError::Unavailable(_) => Failure::DatabaseUnavailable,
                _ => Failure::Internal,
            }));
        }
    }
}
