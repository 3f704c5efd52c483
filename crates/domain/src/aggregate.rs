//! How decisions meet aggregates: what a stream is, and the unit of work that a decision runs in.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};

use super::{
    Participant, ParticipantId, Program, ProgramId, Purchase, PurchaseId, Refusal, SideRow,
    Timestamp, User, UserId,
};

/// The kinds of aggregate, each with its own streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An account.
    User,
    /// A set of rules and its versions.
    Program,
    /// A user in a program.
    Participant,
    /// A purchase.
    Purchase,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::User, Self::Program, Self::Participant, Self::Purchase];

    /// The name that stands in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => User::TYPE,
            Self::Program => Program::TYPE,
            Self::Participant => Participant::TYPE,
            Self::Purchase => Purchase::TYPE,
        }
    }

    /// The kind that the log calls `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The name of one stream of events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The kind of aggregate.
    pub kind: Kind,
    /// Its identifier within the kind.
    pub id: Arc<str>,
}

impl StreamKey {
    /// The stream of a participant.
    #[must_use]
    pub fn participant(id: &super::ParticipantId) -> Self {
        Self { kind: Kind::Participant, id: id.to_string().into() }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} '{}'", self.kind.as_str(), self.id)
    }
}

/// An aggregate of any kind. Cheap to clone: the state is shared until somebody changes it.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the variants are the kinds")]
pub enum AnyAggregate {
    User(Arc<User>),
    Program(Arc<Program>),
    Participant(Arc<Participant>),
    Purchase(Arc<Purchase>),
}

/// An aggregate that decisions can load and tell.
pub trait Stream: Aggregate<Services = (), Error = Refusal, Event: EventCodec> + Clone {
    /// What identifies it.
    type Id: fmt::Display;
    /// Its kind.
    const KIND: Kind;
    /// Changes when a stored snapshot of an older state can no longer be read.
    const STATE_VERSION: i32;
    /// The state, if `any` is of this kind.
    fn from_any(any: AnyAggregate) -> Option<Arc<Self>>;
    /// The state, of any kind.
    fn into_any(state: Arc<Self>) -> AnyAggregate;
}

macro_rules! stream {
    ($kind:ident, $id:ty, $state_version:literal) => {
        impl Stream for $kind {
            type Id = $id;
            const KIND: Kind = Kind::$kind;
            const STATE_VERSION: i32 = $state_version;

            fn from_any(any: AnyAggregate) -> Option<Arc<Self>> {
                match any {
                    AnyAggregate::$kind(state) => Some(state),
                    _ => None,
                }
            }

            fn into_any(state: Arc<Self>) -> AnyAggregate {
                AnyAggregate::$kind(state)
            }
        }
    };
}
stream!(User, UserId, 1);
stream!(Program, ProgramId, 1);
stream!(Participant, ParticipantId, 1);
stream!(Purchase, PurchaseId, 1);

/// Why a stored event could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The log holds a type of event that this release does not know.
    #[error("unknown event type '{0}'")]
    UnknownType(String),
    /// The log holds a version of an event that this release cannot read; a newer one wrote it.
    #[error("version {event_version} of event type '{event_type}' is unknown to this release")]
    UnknownVersion {
        /// The type of the event.
        event_type: String,
        /// The version that is in the log.
        event_version: String,
    },
    /// The payload does not have the fields that its type promises.
    #[error("event of type '{event_type}' does not have the shape of its version: {source}")]
    Shape {
        /// The type of the event.
        event_type: String,
        /// What was wrong.
        source: serde_json::Error,
    },
}

/// How events of one aggregate are named, versioned and read back.
pub trait EventCodec: DomainEvent {
    /// The names of all types.
    const TYPES: &'static [&'static str];

    /// The version in which `event_type` is written today, if there is such a type.
    fn current_version(event_type: &str) -> Option<&'static str>;
    /// Reads a payload of the current version.
    ///
    /// # Errors
    /// [`DecodeError`] if the type is unknown or the payload does not fit it.
    fn decode(event_type: &str, payload: &str) -> Result<Self, DecodeError>;
}

/// Declares the events of one aggregate: an enum of structs of the same names, each with the version
/// in which it is written.
macro_rules! events {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $version:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(tag = "type")]
        #[allow(missing_docs, reason = "each struct says what its event means")]
        pub enum $name {
            $($variant($variant)),+
        }

        impl cqrs_es::DomainEvent for $name {
            fn event_type(&self) -> String {
                match self {
                    $(Self::$variant(_) => stringify!($variant).into()),+
                }
            }

            fn event_version(&self) -> String {
                match self {
                    $(Self::$variant(_) => $version.into()),+
                }
            }
        }

        impl $crate::aggregate::EventCodec for $name {
            const TYPES: &'static [&'static str] = &[$(stringify!($variant)),+];

            fn current_version(event_type: &str) -> Option<&'static str> {
                match event_type {
                    $(stringify!($variant) => Some($version),)+
                    _ => None,
                }
            }

            fn decode(
                event_type: &str,
                payload: &str,
            ) -> Result<Self, $crate::DecodeError> {
                match event_type {
                    $(stringify!($variant) => serde_json::from_str(payload)
                        .map(Self::$variant)
                        .map_err(|source| $crate::DecodeError::Shape {
                            event_type: event_type.into(),
                            source,
                        }),)+
                    _ => Err($crate::DecodeError::UnknownType(event_type.into())),
                }
            }
        }

        $(impl From<$variant> for $name {
            fn from(event: $variant) -> Self {
                Self::$variant(event)
            }
        })+
    };
}
pub(super) use events;

/// The names of all types of events, of every kind of aggregate, in alphabetical order.
#[must_use]
pub fn event_types() -> Vec<&'static str> {
    let of_kinds = [
        <User as Aggregate>::Event::TYPES,
        <Program as Aggregate>::Event::TYPES,
        <Participant as Aggregate>::Event::TYPES,
        <Purchase as Aggregate>::Event::TYPES,
    ];
    let mut types = of_kinds.concat();
    types.sort_unstable();
    types.dedup();
    types
}

/// Reads one stored event of any version.
///
/// # Errors
/// [`DecodeError`] if no version of this release can read it.
pub fn decode<A: Stream>(
    event_type: &str,
    event_version: &str,
    payload: &str,
) -> Result<A::Event, DecodeError> {
    if A::Event::current_version(event_type) == Some(event_version) {
        return A::Event::decode(event_type, payload);
    }
    let current = super::upcast::upcast(A::TYPE, event_type, event_version, payload)?;
    if A::Event::current_version(&current.event_type) != Some(current.event_version.as_str()) {
        return Err(DecodeError::UnknownVersion {
            event_type: event_type.into(),
            event_version: event_version.into(),
        });
    }
    A::Event::decode(&current.event_type, &current.payload.to_string())
}

/// Why a decision stopped before its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Halt {
    /// It needs streams or look-ups that are not in memory; the unit of work knows which. It is run
    /// again when they are.
    Missing,
    /// The rules forbid it.
    Refused(Refusal),
    /// It has been done before; the answer is what this stream's first command recorded.
    AlreadyRecorded(StreamKey),
    /// The program is wrong: an aggregate waited for something, or a stream is of another kind.
    Broken(&'static str),
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

    /// A fresh identifier that sorts by time (a UUID of version 7).
    fn fresh_id(&mut self) -> String;

    /// The state of a stream. With `expect_new`, a stream that nobody has read yet is taken to be
    /// empty without looking: if it is not, the append says so and the decision is run again on the
    /// real state.
    ///
    /// # Errors
    /// [`Halt::Missing`] if it is not in memory.
    fn state(&mut self, key: &StreamKey, expect_new: bool) -> Result<AnyAggregate, Halt>;

    /// Replaces the state of a stream by what `events` made of it.
    fn record(&mut self, key: &StreamKey, state: AnyAggregate, events: Vec<EncodedEvent>);

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

/// An event as it will stand in the log.
#[derive(Clone, Debug)]
pub struct EncodedEvent {
    /// The name of its type.
    pub event_type: String,
    /// The version of its shape.
    pub event_version: String,
    /// Its fields as JSON.
    pub payload: String,
}

fn key_of<A: Stream>(id: &A::Id) -> StreamKey {
    StreamKey { kind: A::KIND, id: id.to_string().into() }
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
    state_of(work, &key_of::<A>(id), false)
}

/// The state of an aggregate that most probably does not exist; see [`Work::state`].
///
/// # Errors
/// [`Halt::Missing`] if it turned out to exist and is not in memory.
pub fn peek_new<A: Stream>(work: &mut dyn Work, id: &A::Id) -> Result<Arc<A>, Halt> {
    state_of(work, &key_of::<A>(id), true)
}

/// Has an aggregate that was loaded before handle a command, records what came of it and returns it.
///
/// # Errors
/// [`Halt::Refused`] if the aggregate refuses, [`Halt::Missing`] if it is not in memory.
pub fn tell<A: Stream>(
    work: &mut dyn Work,
    id: &A::Id,
    command: A::Command,
) -> Result<Vec<A::Event>, Halt> {
    let key = key_of::<A>(id);
    let mut state = Arc::unwrap_or_clone(state_of::<A>(work, &key, false)?);
    let events = handle_now(&mut state, command)?;
    let mut encoded = Vec::with_capacity(events.len());
    for event in &events {
        encoded.push(EncodedEvent {
            event_type: event.event_type(),
            event_version: event.event_version(),
            payload: serde_json::to_string(event).map_err(|_| Halt::Broken("unencodable event"))?,
        });
    }
    work.record(&key, A::into_any(Arc::new(state)), encoded);
    Ok(events)
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
