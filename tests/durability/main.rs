//! What must never happen: a lost event, a double payment, a lie about what was done. Races against
//! two servers, faults in the middle of things, and the log itself.

#[path = "../common/mod.rs"]
mod common;

mod contention;
mod faults;
mod log;
mod races;
mod retries;
