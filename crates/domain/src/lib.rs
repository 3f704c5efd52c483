//! The rule book: aggregates, decisions, rules and money.
//!
//! Everything here is a plain function of its arguments. There is no I/O, no clock and no source of
//! randomness: the current time and fresh identifiers come in through [`Work`]. Nothing here knows Postgres
//! or gRPC, so that someone who runs referral programs can follow it with the rules of a program beside it.
//!
//! - [`User`], [`Program`], [`Participant`], [`Purchase`], [`StoreItem`], [`Redemption`], [`Payout`], [`PayoutLine`],
//!   [`FraudFlag`], [`Approval`], [`ApiKey`] and [`Job`] are among the aggregates. Their state stays the same size
//!   however long their history grows. The `registry` lists them.
//! - [`ledger`] defines how money moves: events that move money carry a [`Posting`].
//! - [`decide`] holds one function per command. A decision reads aggregates and gives each one its commands;
//!   its events are appended all together or not at all.
//! - [`fraud`] compares addresses and judges what was found out about a referral.
//! - [`rules`] defines what a program may contain, and what makes a program invalid.

mod api_key;
mod approval;
pub mod code;
pub mod currency;
pub mod decide;
mod decided;
pub mod email;
mod events;
pub mod fraud;
mod fraud_flag;
mod ids;
mod item;
mod job;
pub mod ledger;
pub mod link;
mod lots;
mod mail;
pub mod money;
pub mod months;
mod note;
mod participant;
mod payout;
mod payout_desk;
mod payout_line;
mod profile;
mod program;
mod purchase;
mod redemption;
mod refusal;
mod rehearsal;
#[macro_use]
mod registry;
mod evidence;
pub mod reward;
pub mod rules;
mod session;
mod side_row;
mod sign_up_origin;
pub mod similarity;
pub mod text;
mod time;
pub mod upcast;
mod user;
mod work;

#[cfg(test)]
mod tests;

pub use api_key::*;
pub use approval::*;
pub use decided::DecidedAs;
pub use events::{DecodeError, EventCodec, decode};
pub use evidence::{FraudEvidence, FraudNote, SignUpClient};
pub use fraud_flag::*;
pub use ids::{InvalidId, ParticipantId, ProgramId, UserId};
pub use item::*;
pub use job::*;
pub use ledger::{Bucket, Buckets, EntryKind, Posting};
pub use lots::{Lot, LotPart, Lots, RewardLots};
pub use mail::{Mail, MailKind, Recipient};
pub use note::{MAX_NOTE_CHARS, MAX_REASON_CODE_CHARS, Note, NoteSubject, is_reason_code};
pub use participant::*;
pub use payout::*;
pub use payout_desk::*;
pub use payout_line::*;
pub use profile::*;
pub use program::*;
pub use purchase::*;
pub use redemption::*;
pub use refusal::{Refusal, SelfApprovalWhy};
pub use registry::{
    AnyAggregate, AnyEvent, CachePolicy, EncodedEvent, Kind, OtherKind, Posts, State, Stream,
    StreamKey, event_types,
};
pub use session::{SessionId, SessionsEnded};
pub use side_row::{
    MAX_METHOD_REFERENCE_CHARS, MailedToken, NewApiKey, PasswordHash, PayoutMethod, Profile,
    ProfileChange, SealedSecret, SecondFactor, SecondFactorRow, SideRow, TokenPurpose,
};
pub use sign_up_origin::*;
pub use time::{DATING_TOLERANCE_SECONDS, Timestamp};
pub use user::*;
pub use work::{
    Claim, ClaimKind, Halt, Lag, LatestReferee, OwnEvent, PurchaseCursor, PurchasePage,
    PurchaseSearch, UplineWalk, Work, each, handle_now, has_earning_purchase, load, peek_new, tell,
};
