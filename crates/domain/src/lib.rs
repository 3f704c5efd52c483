//! The rule book: aggregates, decisions, rules and money.
//!
//! Everything here is a plain function of its arguments. There is no I/O, no clock and no source of
//! randomness: the moment and fresh identifiers come in through [`Work`]. Nothing here knows
//! Postgres or gRPC, so that someone who runs referral programs can follow it with the rules of a
//! program beside it.
//!
//! - [`User`], [`Program`], [`Participant`] and [`Purchase`] are the aggregates. Their state stays
//!   the same size however long their history grows.
//! - [`decide`] holds one function per command. A decision reads aggregates and tells each one what
//!   to do; it lands whole or not at all.
//! - [`rules`] is what a program may say, and what makes a program wrong.

mod aggregate;
pub mod code;
pub mod currency;
pub mod decide;
mod ids;
pub mod money;
mod participant;
mod program;
mod purchase;
mod refusal;
pub mod reward;
pub mod rules;
mod side_row;
pub mod similarity;
mod time;
pub mod upcast;
mod user;

#[cfg(test)]
mod tests;

pub use aggregate::{
    AnyAggregate, Claim, ClaimKind, DecodeError, EncodedEvent, EventCodec, Halt, Kind, Stream,
    StreamKey, UplineWalk, Work, decode, event_types, handle_now, load, peek_new, tell,
};
pub use ids::{InvalidId, ParticipantId, ProgramId, PurchaseId, UserId};
pub use participant::{
    Participant, ParticipantCommand, ParticipantDeactivated, ParticipantEnrolled, ParticipantEvent,
    ParticipantReactivated, PurchaseCredited, Referral, ReferralApplied, ReferralConverted,
    ReferralMade, ReferralStatus, RewardGranted, TierChanged, existing_participant,
};
pub use program::{Program, ProgramCommand, ProgramEvent, ProgramPublished, ProgramVersion};
pub use purchase::{Purchase, PurchaseCommand, PurchaseEvent, PurchaseRecorded, RewardWithheld};
pub use refusal::Refusal;
pub use side_row::{Profile, SideRow};
pub use time::Timestamp;
pub use user::{User, UserCommand, UserEvent, UserStatus};
