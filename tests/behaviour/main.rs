//! What users of the API see: the five programs, bad input, streams, and the command line.

#[path = "../common/mod.rs"]
mod common;

mod smoke;
