//! Tributary: an event-sourced referral and rewards engine on Postgres, with a gRPC API.

pub mod domain;
pub mod engine;
pub mod store;
