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
mod answers;
pub mod audience;
mod authentication;
mod errors;
mod event_log;
mod fields;
mod gathering;
mod leaderboard;
mod measuring;
mod operator;
mod passwords;
mod program;
mod program_rules;
mod purchase;
mod reads;
mod referral;
mod referral_reads;
mod requests;
mod reward;
mod reward_streams;
mod server;
mod tokens;
mod watch;

/// The contract, as compiled from `proto/`.
#[allow(
    missing_docs,
    clippy::pedantic,
    clippy::missing_errors_doc,
    reason = "generated; the comments of the contract are its documentation"
)]
pub mod pb {
    tonic::include_proto!("tributary.v1");
}

/// The largest message that is taken, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The descriptors of the contract, with its comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub use gathering::Gathering;
pub use program_rules::{parse_program, program_message, publish_command};
pub use server::{Server, ServerError, ServerOptions, ServerSettings};

use crate::engine::{Engine, Surroundings};
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
    pub surroundings: Surroundings,
    /// Settings of the server.
    pub settings: ServerSettings,
    /// Keys fingerprints of requests.
    pub fingerprint_secret: std::sync::Arc<[u8]>,
    /// Hashes passwords.
    pub passwords: passwords::Passwords,
    /// Turns true when streams are to end.
    pub stopping: tokio::sync::watch::Receiver<bool>,
}
