//! Handles the database's answer to a batch: callers are answered, and memory is brought up to date.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::cache::Seen;
use super::draft::{Commands, Outcome};
use super::job::Job;
use super::patience::Patience;
use super::unit::{FinishedStream, FinishedStreams};
use super::worker::Worker;
use super::{Committed, Failure, Handover};
use crate::metrics::{Metrics, OfFlagKind};
use crate::store::append::Appended;
use crate::store::{Database, RecordedEvent, StoreError, Verdict, in_time, load, log};
use domain::{CachePolicy, ClaimKind, FraudFlag, FraudFlagEvent, Kind, Refusal, Stream};

/// The number of batches after a conflict for which the lock is taken before loading.
const CONTENDED_BATCHES: u32 = 8;
/// How often a command may conflict before its caller gets an error. While the lock is held nothing can
/// change under a decision, so a second conflict is already a fault.
const MAX_CONFLICTS: u32 = 4;

/// How often a decision may choose values that turn out to be taken. Even if nine of ten codes are taken, fewer
/// than three of 100,000 sign-ups need more.
const MAX_CHOICES: u32 = 100;

/// Answers callers, and hands new events to the tail of the log.
pub(super) struct Responder {
    pub(super) database: Database,
    pub(super) handover: mpsc::Sender<Handover>,
    pub(super) metrics: Metrics,
}

/// What is left to do for a batch whose callers have been answered.
pub(super) struct Rest {
    /// The position of its last event.
    last_event: Option<i64>,
    /// Whether streams that the batch had read have grown meanwhile.
    is_contended: bool,
    conflicted: Vec<Conflicted>,
}

/// A command that conflicted and must be decided again.
struct Conflicted {
    job: Job,
    why: Why,
}

/// Why a command conflicted.
enum Why {
    /// What the command itself has read was outdated.
    Outdated,
    /// A value that the decision had chosen, such as a code, is taken, or one that can be shared has an owner.
    ChoseTaken,
    /// Another command of the batch, on which it builds, was not appended.
    BuiltOn,
}

impl Responder {
    /// Counts a flag that was raised, for the metrics.
    fn count_flag(&self, event: &RecordedEvent) {
        let Ok(event) = event.read() else { return };
        if let Some(FraudFlagEvent::FraudFlagRaised(raised)) = FraudFlag::event(event) {
            let kind = raised.kind.as_str();
            self.metrics.fraud.raised.get_or_create(&OfFlagKind { kind }).inc();
        }
    }

    /// Answers the caller of every command of a batch whose outcome is final.
    pub(super) fn respond(
        &self,
        commands: Commands,
        appended: &Appended,
        patience: Patience,
    ) -> Rest {
        let Commands { batch, outcomes } = commands;
        #[allow(clippy::cast_precision_loss, reason = "a batch is small")]
        self.metrics.batch_commands.observe(outcomes.len() as f64);
        let moved: HashSet<i32> = appended.moved.iter().copied().collect();
        let has_grown = |place: &i32| batch.stream_version(*place).is_some_and(|seen| seen > 0);
        let is_contended = moved.iter().any(has_grown);
        let fell_itself: Vec<bool> = (0..outcomes.len())
            .map(|command| batch.has_read(command, &moved) || appended.changed.contains(&command))
            .collect();

        let mut events: Vec<Vec<RecordedEvent>> = outcomes.iter().map(|_| Vec::new()).collect();
        let numbered = batch.into_recorded(appended);
        let last_event = numbered.last().map(|(_, event)| event.position);
        for (command, event) in &numbered {
            if event.stream.kind == Kind::FraudFlag {
                self.count_flag(event);
            }
            events[*command].push(event.clone());
        }
        if !numbered.is_empty() {
            let all = numbered.into_iter().map(|(_, event)| event).collect();
            // A full or closed channel is harmless: the tail reads from the log what it is not handed.
            let _ = self.handover.try_send(Arc::new(all));
        }

        // Sent together at the end, so that answers on one connection leave together.
        let mut answers = Vec::with_capacity(outcomes.len());
        let mut conflicted = Vec::new();
        // A command without events saw everything before it in the batch.
        let mut position = appended.head;
        let committed: Vec<Committed> = events
            .into_iter()
            .map(|events| {
                position = events.last().map_or(position, |event| event.position);
                Committed { events: events.into(), position }
            })
            .collect();
        for (number, (job, outcome)) in outcomes.into_iter().enumerate() {
            match (appended.verdicts.get(number), outcome) {
                (Some(Verdict::Appended), Outcome::Refused(refusal)) => {
                    answers.push((job, Err(refusal.into())));
                }
                (Some(Verdict::Appended), Outcome::Recorded(own)) => {
                    let pool = self.database.pool().clone();
                    let read = async move { log::read_command(&pool, &own).await };
                    tokio::spawn(answer_repeated(job, patience, read));
                }
                (Some(Verdict::Appended), Outcome::Done) => {
                    answers.push((job, Ok(committed[number].clone())));
                }
                (Some(Verdict::Appended), Outcome::Repeats(earlier)) => {
                    answers.push((job, Ok(committed[earlier].clone())));
                }
                (Some(Verdict::Appended), Outcome::RequestIdReused) => {
                    answers.push((job, Err(Failure::RequestIdReused)));
                }
                (Some(Verdict::Duplicate), _) => {
                    self.answer_duplicate(job, number, appended, patience);
                }
                (Some(Verdict::Taken), _) => {
                    // The decision can choose another code, and go on with a value that it shares.
                    let stands =
                        |kind: &ClaimKind| !kind.is_chosen_by_decision() && !kind.is_shared();
                    let kinds = taken_kinds(appended, number).into_iter().filter(stands);
                    let kinds: Vec<_> = kinds.map(ClaimKind::as_str).collect();
                    if kinds.is_empty() {
                        conflicted.push(Conflicted { job, why: Why::ChoseTaken });
                    } else {
                        answers.push((job, Err(Refusal::Taken(kinds).into())));
                    }
                }
                (Some(Verdict::Conflict) | None, _) => {
                    let why = if fell_itself[number] { Why::Outdated } else { Why::BuiltOn };
                    conflicted.push(Conflicted { job, why });
                }
            }
        }
        for (job, answer) in answers {
            job.answer(&answer);
        }
        Rest { last_event, is_contended, conflicted }
    }

    fn answer_duplicate(&self, job: Job, number: usize, appended: &Appended, patience: Patience) {
        let known = appended.duplicates.iter().find(|duplicate| duplicate.command == number);
        let (Some(known), Some(request)) = (known, &job.request) else {
            tracing::error!(command = job.command.name(), "a duplicate without an earlier command");
            return job.answer(&Err(Failure::Internal));
        };
        if known.fingerprint != request.fingerprint {
            return job.answer(&Err(Failure::RequestIdReused));
        }
        let (first, last) = (known.first_position, known.last_position);
        if last < first {
            let nothing = Committed { events: Arc::default(), position: last };
            return job.answer(&Ok(nothing));
        }
        let pool = self.database.pool().clone();
        let read = async move { log::read_range(&pool, first, last).await };
        tokio::spawn(answer_repeated(job, patience, read));
    }
}

/// The kinds of the values that a command claimed but that belong to others.
fn taken_kinds(appended: &Appended, command: usize) -> Vec<ClaimKind> {
    let taken = appended.taken.iter().filter(|taken| taken.command == command);
    taken.map(|taken| taken.claim.kind).collect()
}

impl Worker {
    /// Brings memory up to date after the database's answer to a batch, and queues the conflicted commands
    /// again.
    pub(super) fn apply_outcome(
        &mut self,
        streams: FinishedStreams,
        delayed: Vec<Job>,
        appended: &Appended,
        rest: Rest,
    ) {
        self.away = false;
        if rest.is_contended {
            self.contended = CONTENDED_BATCHES;
        }
        for taken in &appended.taken {
            let key = (taken.claim.kind, taken.claim.value.clone());
            self.known_taken.insert(key, taken.owner.clone());
        }
        let (horizon, seen_at) = self.horizon.after(appended, rest.last_event);
        self.horizon = horizon;
        self.recent.landed(&streams, appended, seen_at);
        self.remember(streams, appended, seen_at);
        for Conflicted { job, why } in rest.conflicted {
            match why {
                Why::Outdated => self.decide_again(job),
                Why::ChoseTaken => self.choose_again(job),
                // This command has not had a try of its own yet. It goes into the next batch before new
                // commands, so it cannot conflict because of one of them.
                Why::BuiltOn => self.pending.put(job),
            }
        }
        self.pending.put_all(delayed);
    }

    /// Keeps the streams of a batch in memory if they agree with the database.
    fn remember(&mut self, streams: FinishedStreams, appended: &Appended, seen_at: i64) {
        let moved: HashSet<i32> = appended.moved.iter().copied().collect();
        let appended_by =
            |command: usize| appended.verdicts.get(command) == Some(&Verdict::Appended);
        // One write at a time: if one is in progress, these streams are written after a later batch that
        // touches them.
        let turn = self.snapshots.clone().try_acquire_owned().ok();
        let mut due = Vec::new();
        for (key, stream) in streams {
            let FinishedStream { place, last_writer, took_long, in_background, mut loaded, .. } =
                stream;
            let stands = !moved.contains(&place) && last_writer.is_none_or(appended_by);
            if !stands || key.kind.cache() == CachePolicy::Never {
                self.cache.remove(&key);
                continue;
            }
            let grown = loaded.version - loaded.snapshot_version;
            let is_due = took_long || grown >= self.limits.snapshot_events;
            if is_due && turn.is_some() {
                loaded.snapshot_version = loaded.version;
                due.push((key.clone(), loaded.clone()));
            }
            let seen = Seen { loaded, at: seen_at };
            if in_background {
                self.cache.refresh(&key, seen);
            } else {
                self.cache.put(key, seen);
            }
        }
        if !due.is_empty() {
            // All servers use the same order, so that they cannot deadlock.
            due.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            let pool = self.responder.database.pool().clone();
            tokio::spawn(async move {
                if let Err(error) = in_time(load::write_snapshots(&pool, &due)).await {
                    tracing::warn!(%error, streams = due.len(), "snapshots could not be written");
                }
                drop(turn);
            });
        }
    }

    fn choose_again(&mut self, mut job: Job) {
        job.choices += 1;
        if job.choices > MAX_CHOICES {
            tracing::error!(
                command = job.command.name(),
                choices = MAX_CHOICES,
                "every value that was chosen is taken; if it is codes, publish the program with longer ones"
            );
            return job.answer(&Err(Failure::Internal));
        }
        self.pending.put(job);
    }

    fn decide_again(&mut self, mut job: Job) {
        job.conflicts += 1;
        self.responder.metrics.conflicts.inc();
        if job.conflicts > MAX_CONFLICTS {
            tracing::error!(command = job.command.name(), "a command kept conflicting");
            return job.answer(&Err(Failure::Conflict));
        }
        self.pending.put(job);
    }
}

/// Answers a request that was carried out before with its first outcome.
async fn answer_repeated(
    job: Job,
    patience: Patience,
    read: impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send,
) {
    match patience.bound(in_time(read)).await {
        Ok(events) => {
            let position = events.last().map_or(0, |event| event.position);
            job.answer(&Ok(Committed { events: events.into(), position }));
        }
        Err(error) => {
            tracing::error!(%error, "an earlier answer could not be read");
            job.answer(&Err(match error {
                error if error.may_pass() => Failure::DatabaseUnavailable,
                _ => Failure::Internal,
            }));
        }
    }
}
