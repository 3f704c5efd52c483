//! The registry of aggregates: one entry for each. All code that must know every aggregate is generated from
//! it.
//!
//! A new kind of aggregate is a module with its events, its state and an `impl State`, and one entry here. Code
//! that distinguishes kinds, states or events matches without a wildcard, so it does not compile until it
//! handles the new one.

use std::fmt;
use std::sync::Arc;

use cqrs_es::{Aggregate, DomainEvent};

use super::events::{DecodeError, EventCodec, decode};
use super::ledger::Posting;
use super::{
    ApiKey, ApiKeyId, Approval, ApprovalId, Catalog, FraudFlag, FraudFlagId, Job, JobId,
    Participant, ParticipantId, Payout, PayoutDesk, PayoutKey, PayoutLine, PayoutLineId, Program,
    ProgramId, ProgramRedemptionId, Purchase, PurchaseId, Redemption, Refusal, SignUpOrigin,
    SignUpOriginId, StoreItem, StoreItemId, User, UserId,
};

/// How the engine keeps the states of a kind in memory between batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePolicy {
    /// Not cached: a stream is hardly ever used twice.
    Never,
    /// Recently used states only, unpacked: there are few of them.
    Recent,
    /// Recently used states unpacked, and many others packed.
    Packed,
}

/// The state of one kind of aggregate. Its size is bounded by the rules, never by its history. The state does
/// not hold the stream's id, because its holder knows the id.
pub trait State:
    Aggregate<Services = (), Error = Refusal, Event: EventCodec + Posts> + Clone
{
    /// The id of the user to whom the stream with this id belongs; `None` if it is nobody's own.
    fn user_of(id: &str) -> Option<&str>;

    /// Applies an event that a command wrote to another stream, if the same command also wrote to this
    /// stream, whose id is `own_id`. Called only for kinds that remember their commands.
    fn remember(&mut self, own_id: &str, other: &StreamKey, sequence: i64, event: &AnyEvent) {
        let _ = (own_id, other, sequence, event);
    }
}

/// The posting rule of the events of one kind: which of them move money.
pub trait Posts {
    /// How the event moves money; `None` if it moves none.
    fn posting(&self) -> Option<&Posting>;
}

/// An aggregate that decisions can load and send commands to.
pub trait Stream: State {
    /// What identifies it.
    type Id: fmt::Display;
    /// Its kind.
    const KIND: Kind;
    /// The state, if `any` is of this kind.
    fn from_any(any: AnyAggregate) -> Option<Arc<Self>>;
    /// Wraps the state.
    fn into_any(state: Arc<Self>) -> AnyAggregate;
    /// Wraps the event.
    fn any_event(event: Self::Event) -> AnyEvent;
    /// The event, if `any` is of this kind. For what is about one kind only and reads all its events; what must
    /// know every kind matches on [`AnyEvent`], without a wildcard.
    fn event(any: AnyEvent) -> Option<Self::Event>;
    /// As [`Stream::event`], borrowed.
    fn event_ref(any: &AnyEvent) -> Option<&Self::Event>;
}

/// Generates all code that must know every kind. `$` is the dollar sign, for the macros that this macro
/// defines.
macro_rules! registry {
    ($d:tt $(
        $(#[$doc:meta])+
        $kind:ident {
            id: $id:ty,
            state_version: $state_version:literal,
            cache: $cache:ident,
            is_receipt: $is_receipt:literal,
            remembers_commands: $remembers:literal,
        }
    )+) => {
        /// The kinds of aggregate, each with its own streams.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])+ $kind,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The name used in the log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => <$kind as Aggregate>::TYPE,)+
                }
            }

            /// The version of the shape of its state. Snapshots of another version are ignored. It is
            /// incremented whenever the state changes, or the way in which events change the state.
            #[must_use]
            pub const fn state_version(self) -> i32 {
                match self {
                    $(Self::$kind => $state_version,)+
                }
            }

            /// How its states are kept in memory.
            #[must_use]
            pub const fn cache(self) -> CachePolicy {
                match self {
                    $(Self::$kind => CachePolicy::$cache,)+
                }
            }

            /// Whether the stream is the receipt of the command that creates it: the caller chooses the id,
            /// and a repetition of the command with that id gets the first answer.
            #[must_use]
            pub const fn is_receipt(self) -> bool {
                match self {
                    $(Self::$kind => $is_receipt,)+
                }
            }

            /// The id of the user to whom the stream with this id belongs; `None` if it is nobody's own.
            #[must_use]
            pub fn user_of(self, id: &str) -> Option<&str> {
                match self {
                    $(Self::$kind => <$kind as State>::user_of(id),)+
                }
            }

            /// Whether its state also holds what its commands wrote to other streams; see
            /// [`State::remember`].
            #[must_use]
            pub const fn remembers_commands(self) -> bool {
                match self {
                    $(Self::$kind => $remembers,)+
                }
            }
        }

        /// An aggregate of any kind. Cheap to clone: the state is shared until somebody changes it.
        #[derive(Clone, Debug)]
        pub enum AnyAggregate {
            $($(#[$doc])+ $kind(Arc<$kind>),)+
        }

        impl AnyAggregate {
            /// Its kind.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            /// The state of a stream that has no events.
            #[must_use]
            pub fn empty(kind: Kind) -> Self {
                match kind {
                    $(Kind::$kind => Self::$kind(Arc::default()),)+
                }
            }

            /// Applies an event that a command, which also wrote to this stream, wrote to another stream.
            pub fn remember(
                &mut self,
                own_id: &str,
                other: &StreamKey,
                sequence: i64,
                event: &AnyEvent,
            ) {
                match self {
                    $(Self::$kind(state) => {
                        Arc::make_mut(state).remember(own_id, other, sequence, event);
                    })+
                }
            }

            /// Applies an event, which must be of the same kind.
            ///
            /// # Errors
            /// [`OtherKind`] if it is not.
            pub fn apply(&mut self, event: AnyEvent) -> Result<(), OtherKind> {
                match (self, event) {
                    $((Self::$kind(state), AnyEvent::$kind(event)) => {
                        Arc::make_mut(state).apply(event);
                        Ok(())
                    })+
                    _ => Err(OtherKind),
                }
            }

            /// The state as JSON, for a snapshot.
            ///
            /// # Errors
            /// If it cannot be serialized.
            pub fn to_json(&self) -> serde_json::Result<String> {
                match self {
                    $(Self::$kind(state) => serde_json::to_string(state.as_ref()),)+
                }
            }

            /// The state in a snapshot.
            ///
            /// # Errors
            /// If the snapshot is not a state of this kind.
            pub fn from_json(kind: Kind, json: serde_json::Value) -> serde_json::Result<Self> {
                match kind {
                    $(Kind::$kind => serde_json::from_value(json).map(Self::$kind),)+
                }
            }
        }

        /// An event of any kind of aggregate.
        #[derive(Clone, Debug, PartialEq)]
        pub enum AnyEvent {
            $($(#[$doc])+ $kind(<$kind as Aggregate>::Event),)+
        }

        impl AnyEvent {
            /// Reads a stored event of any version.
            ///
            /// # Errors
            /// [`DecodeError`] if no version of this release can read it.
            pub fn decode(
                kind: Kind,
                event_type: &str,
                event_version: &str,
                payload: &str,
            ) -> Result<Self, DecodeError> {
                match kind {
                    $(Kind::$kind => decode::<$kind>(event_type, event_version, payload).map(Self::$kind),)+
                }
            }

            /// The event in the form in which the log stores it.
            ///
            /// # Errors
            /// If it cannot be serialized.
            pub fn encode(&self) -> serde_json::Result<EncodedEvent> {
                match self {
                    $(Self::$kind(event) => EncodedEvent::of(event),)+
                }
            }

            /// How the event moves money; `None` if it moves none.
            #[must_use]
            pub fn posting(&self) -> Option<&Posting> {
                match self {
                    $(Self::$kind(event) => event.posting(),)+
                }
            }
        }

        /// The names of all types of events, of every kind of aggregate, in alphabetical order.
        #[must_use]
        pub fn event_types() -> Vec<&'static str> {
            let mut types = [$(<<$kind as Aggregate>::Event as EventCodec>::TYPES,)+].concat();
            types.sort_unstable();
            types.dedup();
            types
        }

        $(
            impl Stream for $kind {
                type Id = $id;
                const KIND: Kind = Kind::$kind;

                fn from_any(any: AnyAggregate) -> Option<Arc<Self>> {
                    match any {
                        AnyAggregate::$kind(state) => Some(state),
                        _ => None,
                    }
                }

                fn into_any(state: Arc<Self>) -> AnyAggregate {
                    AnyAggregate::$kind(state)
                }

                fn any_event(event: Self::Event) -> AnyEvent {
                    AnyEvent::$kind(event)
                }

                fn event(any: AnyEvent) -> Option<Self::Event> {
                    match any {
                        AnyEvent::$kind(event) => Some(event),
                        _ => None,
                    }
                }

                fn event_ref(any: &AnyEvent) -> Option<&Self::Event> {
                    match any {
                        AnyEvent::$kind(event) => Some(event),
                        _ => None,
                    }
                }
            }
        )+

        /// `with_kind!(kind, A => expression)`: the expression for the kind, whose aggregate is called `A` in it.
        #[macro_export]
        macro_rules! with_kind {
            ($d kind:expr, $d aggregate:ident => $d body:expr) => {
                match $d kind {
                    $($crate::Kind::$kind => {
                        type $d aggregate = $crate::$kind;
                        $d body
                    })+
                }
            };
        }

        /// `with_state!(any, state => expression)`: the expression for a state of any kind.
        #[macro_export]
        macro_rules! with_state {
            ($d any:expr, $d state:ident => $d body:expr) => {
                match $d any {
                    $($crate::AnyAggregate::$kind($d state) => $d body,)+
                }
            };
        }
    };
}

registry! { $
    /// An account.
    User {
        id: UserId,
        state_version: 13,
        cache: Packed,
        is_receipt: false,
        remembers_commands: false,
    }
    /// A set of rules and its versions.
    Program {
        id: ProgramId,
        state_version: 6,
        cache: Recent,
        is_receipt: false,
        remembers_commands: false,
    }
    /// A user in a program.
    Participant {
        id: ParticipantId,
        state_version: 8,
        cache: Packed,
        is_receipt: false,
        remembers_commands: false,
    }
    /// A purchase.
    Purchase {
        id: PurchaseId,
        state_version: 7,
        cache: Never,
        is_receipt: true,
        remembers_commands: true,
    }
    /// An address on the network, as one from which people sign up for a program.
    SignUpOrigin {
        id: SignUpOriginId,
        state_version: 1,
        cache: Packed,
        is_receipt: false,
        remembers_commands: false,
    }
    /// A key for callers.
    ApiKey {
        id: ApiKeyId,
        state_version: 3,
        cache: Never,
        is_receipt: false,
        remembers_commands: false,
    }
    /// A job that was done again.
    Job {
        id: JobId,
        state_version: 1,
        cache: Never,
        is_receipt: false,
        remembers_commands: false,
    }
    /// A fraud flag.
    FraudFlag {
        id: FraudFlagId,
        state_version: 2,
        cache: Never,
        is_receipt: false,
        remembers_commands: false,
    }
    /// Something that operators ask for, and perhaps somebody else has to approve.
    Approval {
        id: ApprovalId,
        state_version: 2,
        cache: Never,
        is_receipt: true,
        remembers_commands: false,
    }
    /// A payout.
    Payout {
        id: PayoutKey,
        state_version: 2,
        cache: Recent,
        is_receipt: true,
        remembers_commands: false,
    }
    /// Where the payouts of a program take turns.
    PayoutDesk {
        id: ProgramId,
        state_version: 1,
        cache: Never,
        is_receipt: false,
        remembers_commands: false,
    }
    /// A line of a payout.
    PayoutLine {
        id: PayoutLineId,
        state_version: 1,
        cache: Never,
        is_receipt: false,
        remembers_commands: false,
    }
    /// How many items are in the store of a program.
    Catalog {
        id: ProgramId,
        state_version: 1,
        cache: Never,
        is_receipt: false,
        remembers_commands: false,
    }
    /// An item of the store of a program.
    StoreItem {
        id: StoreItemId,
        state_version: 1,
        cache: Recent,
        is_receipt: false,
        remembers_commands: false,
    }
    /// A redemption of an item.
    Redemption {
        id: ProgramRedemptionId,
        state_version: 2,
        cache: Never,
        is_receipt: true,
        remembers_commands: true,
    }
}

impl Kind {
    /// The kind that the log calls `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

/// An event was applied to an aggregate of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of another kind of aggregate")]
pub struct OtherKind;

/// The name of one stream of events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The kind of aggregate.
    pub kind: Kind,
    /// Its identifier within the kind.
    pub id: Arc<str>,
}

impl StreamKey {
    /// The stream of an aggregate.
    #[must_use]
    pub fn of<A: Stream>(id: &A::Id) -> Self {
        Self { kind: A::KIND, id: id.to_string().into() }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} '{}'", self.kind.as_str(), self.id)
    }
}

/// An event in the form in which the log stores it.
#[derive(Clone, Debug)]
pub struct EncodedEvent {
    /// The name of its type.
    pub event_type: String,
    /// The version of its shape.
    pub event_version: String,
    /// Its fields as JSON.
    pub payload: String,
}

impl EncodedEvent {
    fn of(event: &impl DomainEvent) -> serde_json::Result<Self> {
        Ok(Self {
            event_type: event.event_type(),
            event_version: event.event_version(),
            payload: serde_json::to_string(event)?,
        })
    }
}
