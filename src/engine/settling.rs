//! What comes of a batch that the database has answered: callers are told, and memory is brought up to date.

use std::collections::HashSet;
use std::sync::Arc;

use super::draft::{Decided, Outcome};
use super::job::Job;
use super::unit::{FinishedStream, FinishedStreams, Seen};
use super::worker::Worker;
use super::{Committed, Failure};
use crate::domain::{ClaimKind, Kind, Refusal, StreamKey};
use crate::store::append::Appended;
use crate::store::{Loaded, RecordedEvent, StoreError, Verdict, in_time, load, log};

/// For how many batches after a conflict the lock is taken first.
const CONTENDED_BATCHES: u32 = 8;
/// How often a command may fall before its caller is told. With the lock held nothing can change
/// under a decision, so a second fall is already a fault.
const MAX_CONFLICTS: u32 = 4;

impl Worker {
    /// Tells every caller what came of a batch that the database has answered.
    pub(super) fn settle(&mut self, decided: Decided, appended: &Appended) {
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
                (Some(Verdict::Conflict) | None, _) => self.tray.put(job),
            }
        }
        for (job, answer) in answers {
            job.answer(&answer);
        }
        self.tray.delay(delayed);
    }

    /// Keeps the streams of a batch in memory where they are what the database has.
    fn remember(
        &mut self,
        streams: FinishedStreams,
        appended: &Appended,
        moved: &HashSet<i32>,
        seen_at: i64,
    ) {
        let appended_by =
            |command: usize| appended.verdicts.get(command) == Some(&Verdict::Appended);
        for (key, stream) in streams {
            let FinishedStream { place, last_writer, mut loaded, .. } = stream;
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
        self.tray.put(job);
    }
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
