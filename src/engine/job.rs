//! A command on its way through the engine.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::trace::SpanContext;
use tokio::sync::oneshot;

use super::{Committed, Failure, RequestKey, Submission};
use crate::store::Envelope;
use domain::StreamKey;
use domain::decide::Command;

type Answer = oneshot::Sender<Result<Committed, Failure>>;

/// A command, and the callers who wait for its outcome.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub(super) struct Job {
    pub(super) command: Arc<Command>,
    /// Who caused it and how it came in.
    pub(super) envelope: Arc<Envelope>,
    pub(super) request: Option<RequestKey>,
    /// The stream that is the command's receipt.
    receipt: Option<StreamKey>,
    /// Whether it waits behind the commands of callers.
    pub(super) is_in_background: bool,
    /// When it was queued first; for one in the background, when it left its queue.
    pub(super) queued_at: Instant,
    /// How often it was decided on an outdated state.
    pub(super) conflicts: u32,
    /// How often its decision chose a value that turned out to be taken.
    pub(super) choices: u32,
    /// Whether it could not be decided on a state that was not committed yet.
    pub(super) needs_outcome: bool,
    /// Whether its decision has failed on what was in memory, as only a bug should make it fail. It is decided once
    /// more, on streams that are loaded under the lock.
    pub(super) is_in_doubt: bool,
    /// Whether it must be alone in its batch, because a batch that it was in was refused.
    pub(super) alone: bool,
    answers: Vec<Answer>,
    /// The traced calls among those that wait for the command.
    callers: Vec<SpanContext>,
}

impl Job {
    pub(super) fn new(submission: Submission, answer: Answer, caller: Option<SpanContext>) -> Self {
        let Submission { command, envelope, request, is_in_background } = submission;
        Self {
            receipt: command.receipt(),
            command: Arc::new(command),
            envelope: Arc::new(envelope),
            request,
            is_in_background,
            queued_at: Instant::now(),
            conflicts: 0,
            choices: 0,
            needs_outcome: false,
            is_in_doubt: false,
            alone: false,
            answers: vec![answer],
            callers: caller.into_iter().collect(),
        }
    }

    pub(super) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    pub(super) fn answer(self, result: &Result<Committed, Failure>) {
        for answer in self.answers {
            // The caller no longer waits; the outcome is the same.
            let _ = answer.send(result.clone());
        }
    }

    /// Whether another job, which has an identity in common with this one, is the same request again.
    pub(super) fn is_repeated_by(&self, other: &Self) -> bool {
        match (&self.request, &other.request) {
            // The commands may differ in values that the server chose.
            (Some(own), Some(others)) => own == others,
            (None, None) => self.command == other.command,
            _ => false,
        }
    }

    /// Makes the callers of a repetition wait for this job.
    pub(super) fn join(&mut self, repetition: Self) {
        self.answers.extend(repetition.answers);
        self.conflicts = self.conflicts.max(repetition.conflicts);
        self.is_in_doubt |= repetition.is_in_doubt;
        self.is_in_background &= repetition.is_in_background;
        self.callers.extend(repetition.callers);
    }

    /// The traced calls among those that wait for the job.
    pub(super) fn callers(&self) -> &[SpanContext] {
        &self.callers
    }

    /// What identifies the request.
    pub(super) fn identities(&self) -> impl Iterator<Item = Identity> {
        let request = self.request.as_ref().map(|request| Identity::Request(request.key));
        request.into_iter().chain(self.receipt.clone().map(Identity::Receipt))
    }
}

/// What identifies a request: only one command of an identity can be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    Request(uuid::Uuid),
    Receipt(StreamKey),
}
