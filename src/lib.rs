//! Tributary: an event-sourced referral and rewards engine on Postgres, with a gRPC API.

pub mod access;
pub mod api;
pub mod cli;
pub mod engine;
mod hang;
pub mod jobs;
pub mod lifecycle;
pub mod live;
pub mod mails;
pub mod metrics;
mod occasionally;
pub mod payments;
pub mod public_url;
pub mod reactions;
pub mod read;
pub mod store;
pub mod traces;
