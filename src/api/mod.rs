//! The gRPC API: one folder per service, and what they share. Nothing is decided here: requests are validated
//! and turned into commands and queries, and answers are built from events.
//!
//! - [`authentication`] is the layer that every call passes; it identifies the caller by means of [`crate::access`].
//! - [`permissions`] says who may call what and whose data it is, in a table per service; [`guard`] applies it to
//!   every call, between the generated [`services`] and the handlers. [`key_programs`] is for calls by keys that are
//!   limited to programs where a code says which program it is.
//! - [`errors`] is the one place where a failure becomes a gRPC status.
//! - [`transport`] accepts connections and bounds what clients can take; [`deadline`] is the caller's own bound,
//!   and [`one_message`] refuses requests of more than one message.
//! - [`peer`] is the address that a call comes from, [`limits`] says how many calls a caller may make, and
//!   [`open_door`] how sign-ups by anybody are kept from taking too much.
//! - [`grpc`] mounts the services, [`reflection`] describes them to tools, and [`http`] is everything else that the
//!   port answers.
//! - [`console`] is what people see in a browser.
//! - [`readiness`] decides whether the server is ready, for the health service and for HTTP.
//! - [`fields`] checks the fields of a request and names all faults at once; [`enums`] finds numbers that are no value
//!   of their enum.
//! - [`redaction`] leaves out of answers to users what is about other people.
//! - [`reads`] holds what reads have in common, [`writes`] is the same for commands, [`pages`] for lists,
//!   [`watch`] for streams.
//! - [`visits`] counts visits of the page that shared links lead to.
//! - [`tokens`] are the opaque tokens that clients keep.

mod account;
mod authentication;
mod codes;
mod consequences;
mod console;
pub mod cors;
mod deadline;
mod domain_refusals;
mod enums;
mod errors;
mod fields;
mod fraud;
#[cfg(test)]
mod fuzz;
mod grpc;
mod guard;
mod http;
mod key_programs;
mod leaderboard;
pub mod limits;
mod one_message;
mod open_door;
mod operator;
mod pages;
mod payout;
pub mod peer;
pub mod permissions;
mod program;
mod purchase;
mod readiness;
mod reads;
mod redaction;
mod referral;
mod reflection;
mod responses;
mod reward;
mod reward_state;
mod schema_watch;
mod server;
mod services;
mod store;
mod telemetry;
mod tokens;
pub mod transport;
mod visits;
mod watch;
mod writes;

/// The largest message that is accepted, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

pub use console::dev::DevPages;
pub use program::rules::{program_message, publish_command};
pub use server::{Server, ServerError, ServerOptions, ServerSettings};
pub use services::services;
pub use telemetry::code_name;

use contract::pb;

use crate::access::Access;
use crate::engine::{Engine, Environment};
use crate::live::Live;
use crate::payments::Payments;
use crate::read::{Boards, Reads};
use crate::store::{Database, Epoch};

/// The dependencies of the services.
#[derive(Clone)]
pub struct Context {
    /// For reading the log and the tables outside it.
    pub database: Database,
    /// The present epoch of the database.
    pub epoch: Epoch,
    /// For writing.
    pub engine: Engine,
    /// For reading.
    pub reads: Reads,
    /// For leaderboards.
    pub boards: Boards,
    /// For watching.
    pub live: Live,
    /// Clock and randomness.
    pub environment: Environment,
    /// Settings of the server.
    pub settings: ServerSettings,
    /// Keys fingerprints of requests.
    pub fingerprint_secret: std::sync::Arc<[u8]>,
    /// Keys the hashes by which addresses of erased users are recognised.
    pub address_secret: std::sync::Arc<[u8]>,
    /// The kinds of jobs that this server can do.
    pub job_kinds: std::sync::Arc<[&'static str]>,
    /// Identifies callers.
    pub access: Access,
    /// How many calls callers may make.
    pub limits: limits::Limits,
    /// Sign-ups by callers whom nobody vouches for.
    open_door: open_door::OpenDoor,
    /// Visits of the page that shared links lead to.
    visits: visits::Visits,
    /// Payments by Stripe.
    pub payments: Payments,
    /// Cancelled when streams are to end.
    pub stopping: tokio_util::sync::CancellationToken,
}
