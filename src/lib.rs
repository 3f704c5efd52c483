//! Tributary: an event-sourced referral and rewards engine on Postgres, with a gRPC API.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod domain;
pub mod engine;
pub mod live;
pub mod load;
pub mod metrics;
pub mod read;
pub mod store;
pub mod traces;
