//! The gRPC API: one file per service, and what they share. Nothing is decided here: requests are
//! checked for shape, turned into commands and queries, and answers are made from events.
//!
//! - [`audience`] says who may call what, in one table.
//! - [`authentication`] is the layer that every call passes.
//! - [`errors`] is the one place where a failure becomes a gRPC status.
//! - [`fields`] checks the fields of a request and names all faults at once.
//! - [`reads`] is what reads have in common, [`watch`] what streams have in common.
//! - [`tokens`] are the opaque tokens that clients keep.

mod account;
mod authentication;
mod errors;
mod event_log;
mod fields;
mod jobs;
mod leaderboard;
mod operator;
mod passwords;
pub mod permissions;
mod program;
mod program_rules;
mod purchase;
mod reads;
mod referral;
mod referral_reads;
mod requests;
mod responses;
mod reward;
mod reward_streams;
mod server;
mod telemetry;
mod tokens;
mod watch;

/// The largest message that is taken, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

pub use program_rules::{program_message, publish_command};
pub use server::{Server, ServerError, ServerOptions, ServerSettings};

use contract::pb;

use crate::engine::{Engine, Environment};
use crate::live::Live;
use crate::read::{Boards, Reads};
use crate::store::{Database, Epoch};

/// What the services work with.
#[derive(Clone)]
pub struct Context {
    /// For reading the log and what stands beside it.
    pub database: Database,
    /// The present life of the database.
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
    /// Hashes passwords.
    pub passwords: passwords::Passwords,
    /// Turns true when streams are to end.
    pub stopping: tokio::sync::watch::Receiver<bool>,
}
