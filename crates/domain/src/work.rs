//! How decisions meet aggregates: the unit of work that a decision runs in.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use cqrs_es::event_sink::EventSink;

use super::registry::{AnyAggregate, AnyEvent, Stream, StreamKey};
use super::{ParticipantId, ProgramId, Refusal, SideRow, Timestamp, UserId};

/// Why a decision stopped before its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Halt {
    /// It needs streams or look-ups that are not in memory; the unit of work knows which. It is run
    /// again when they are.
    Missing,
    /// The rules forbid it.
    Refused(Refusal),
    /// It has been done before; the answer is what the command that wrote this event came to.
    AlreadyRecorded(OwnEvent),
    /// The program is wrong: an aggregate waited for something, or a stream is of another kind.
    Broken(&'static str),
}

/// The event by which a command that was carried out is recognised: the first of its type on the stream that
/// is the command's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEvent {
    /// The stream.
    pub stream: StreamKey,
    /// The type of the event.
    pub event_type: &'static str,
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a value can be unique as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimKind {
    /// A referral code, owned by a participant.
    Code,
    /// A username in lower case, owned by a user.
    Username,
    /// An e-mail address in lower case, owned by a user.
    Email,
    /// A program, owned by itself: makes programs listable.
    Program,
    /// A program in which users are enrolled by default, owned by itself.
    DefaultProgram,
}

impl ClaimKind {
    /// The name that stands in the `claims` table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Username => "username",
            Self::Email => "email",
            Self::Program => "program",
            Self::DefaultProgram => "default_program",
        }
    }

    /// Whether an owner can give up a value of this kind. A code is for good: whose it is is looked up without
    /// a check that it still is.
    #[must_use]
    pub const fn can_be_released(self) -> bool {
        match self {
            Self::Username | Self::Email | Self::Program | Self::DefaultProgram => true,
            Self::Code => false,
        }
    }
}

/// A value that belongs to one owner, until the owner gives it up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// What the value is.
    pub kind: ClaimKind,
    /// The value, in the form in which it is compared.
    pub value: String,
    /// Whose it is.
    pub owner: String,
}

/// Where a walk up a line ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplineWalk {
    /// The participant without a recorded referrer.
    pub root: UserId,
    /// Whether the walk met the user it was looking for.
    pub met: bool,
}

/// A unit of work: the streams that a decision may read and write, as they stand after everything
/// that was decided before it.
///
/// Whatever is read is part of the concurrency check, also when the decision ends in a refusal.
pub trait Work {
    /// The moment of the decision.
    fn now(&self) -> Timestamp;

    /// Fills `bytes` with randomness.
    fn random(&mut self, bytes: &mut [u8]);

    /// The state of a stream. With `expect_new`, a stream that nobody has read yet is taken to be
    /// empty without looking: if it is not, the append says so and the decision is run again on the
    /// real state.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it is not in memory.
    fn state(&mut self, key: &StreamKey, expect_new: bool) -> Result<AnyAggregate, Halt>;

    /// Replaces the state of a stream by what `events`, which are of its kind, made of it.
    ///
    /// # Errors
    /// [`Halt::Broken`] if an event cannot be written.
    fn record(
        &mut self,
        key: &StreamKey,
        state: AnyAggregate,
        events: Vec<AnyEvent>,
    ) -> Result<(), Halt>;

    /// Whose the referral code is. The code is in its normal form.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it was not looked up yet.
    fn code_owner(&mut self, code: &str) -> Result<Option<ParticipantId>, Halt>;

    /// The programs in which users are enrolled by default, and perhaps some that no longer are.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it was not looked up yet.
    fn default_programs(&mut self) -> Result<Vec<ProgramId>, Halt>;

    /// Follows recorded referrals from `from` upwards until `target` or a participant without one.
    ///
    /// # Errors
    /// [`Halt::Missing`] if the walk was not made yet.
    fn walk_upline(&mut self, from: &ParticipantId, target: &UserId) -> Result<UplineWalk, Halt>;

    /// Makes a value the owner's own.
    ///
    /// # Errors
    /// [`Refusal::Taken`] if an earlier command of the batch gave it to another; if it belongs to
    /// another in the database, the append says so.
    fn claim(&mut self, claim: Claim) -> Result<(), Halt>;

    /// Gives up a value, so that others can claim it. Nothing happens if it is not the owner's.
    ///
    /// # Errors
    /// [`Halt::Broken`] for a kind that is owned for good.
    fn release_claim(&mut self, claim: Claim) -> Result<(), Halt>;

    /// Writes a row beside the log.
    fn write_row(&mut self, row: SideRow);
}

fn state_of<A: Stream>(
    work: &mut dyn Work,
    key: &StreamKey,
    expect_new: bool,
) -> Result<Arc<A>, Halt> {
    A::from_any(work.state(key, expect_new)?).ok_or(Halt::Broken("a stream of another kind"))
}

/// The state of an aggregate; the default state if it does not exist.
///
/// # Errors
/// [`Halt::Missing`] if it is not in memory.
pub fn load<A: Stream>(work: &mut dyn Work, id: &A::Id) -> Result<Arc<A>, Halt> {
    state_of(work, &StreamKey::of::<A>(id), false)
}

/// The state of an aggregate that most probably does not exist; see [`Work::state`].
///
/// # Errors
/// [`Halt::Missing`] if it turned out to exist and is not in memory.
pub fn peek_new<A: Stream>(work: &mut dyn Work, id: &A::Id) -> Result<Arc<A>, Halt> {
    state_of(work, &StreamKey::of::<A>(id), true)
}

/// Has an aggregate that was loaded before handle a command, records what came of it, and returns how many
/// events that was.
///
/// # Errors
/// [`Halt::Refused`] if the aggregate refuses, [`Halt::Missing`] if it is not in memory.
pub fn tell<A: Stream>(
    work: &mut dyn Work,
    id: &A::Id,
    command: A::Command,
) -> Result<usize, Halt> {
    let key = StreamKey::of::<A>(id);
    let mut state = Arc::unwrap_or_clone(state_of::<A>(work, &key, false)?);
    let events = handle_now(&mut state, command)?;
    let count = events.len();
    let events = events.into_iter().map(A::any_event).collect();
    work.record(&key, A::into_any(Arc::new(state)), events)?;
    Ok(count)
}

/// Runs `handle`, which never waits for anything, in place.
///
/// # Errors
/// What the aggregate refuses; [`Halt::Broken`] if it waited after all.
pub fn handle_now<A: Stream>(state: &mut A, command: A::Command) -> Result<Vec<A::Event>, Halt> {
    let waited = Halt::Broken("an aggregate waited for something");
    let sink = EventSink::default();
    match poll_once(state.handle(command, &(), &sink)) {
        Some(Ok(())) => poll_once(sink.collect()).ok_or(waited),
        Some(Err(refusal)) => Err(refusal.into()),
        None => Err(waited),
    }
}

/// The event sink of cqrs-es is a lock that nobody else holds, so one poll is enough. It is a lock of
/// tokio's: within a task of tokio, which asks a task to yield after some hundred locks, decisions must
/// run as `tokio::task::unconstrained`.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
