//! The contract in `proto/`, as Rust code that the server and its clients share.
//!
//! - [`pb`] holds the messages, clients and services that are generated from the contract.
//! - [`DESCRIPTORS`] describes the contract, comments included.
//! - [`parse_program`] reads program files, [`program_file`] writes them, and [`program_descriptor`] says what they are
//!   made of.
//! - [`message_from_json`] reads any message, refuses JSON that is ambiguous, and names every fault by its field.
//! - [`Coalescing`] sends small messages on a connection together.
//!
//! Nothing here knows what the server does with a request.

mod coalescing;
mod json;
mod program_file;
mod unique_keys;

/// The contract, as compiled from `proto/`.
#[allow(
    missing_docs,
    clippy::pedantic,
    clippy::missing_errors_doc,
    clippy::large_enum_variant,
    reason = "generated; the comments of the contract are its documentation"
)]
pub mod pb {
    tonic::include_proto!("tributary.v1");
}

pub use coalescing::Coalescing;
pub use json::message_from_json;
pub use program_file::{OUTPUT_ONLY, parse_program, program_descriptor, program_file};

/// The descriptors of the contract, with its comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
