//! What must never happen: a lost event, a double payment, a lie about what was done. Races against
//! two servers, faults in the middle of things, and the log itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test may stop at the first surprise"
)]

mod ahead;
mod building;
mod claims;
mod consistency;
mod contention;
mod epochs;
mod expected;
mod faults;
mod folds;
mod functions;
mod history;
mod interleavings;
mod jobs;
mod lifecycle;
mod log;
mod many_streams;
mod newer;
mod patience;
mod projector;
mod races;
mod reads;
mod rebuild;
mod resumption;
mod retries;
