//! What users of the API see: the five programs, bad input, streams, and the command line.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;

mod at_the_door;
mod bad_input;
mod dev;
mod facts;
mod first_purchase_bonus;
mod first_purchase_credits;
mod multi_level_commission;
mod programs;
mod raw;
mod referral_count;
mod reflection;
mod requests;
mod smoke;
mod streams;
mod support;
mod tiered_points;
mod wrong_programs;
