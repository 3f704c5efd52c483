//! Other ways of doing what the engine does, to compare it with: the same purchases, by the same
//! buyers, paying the same rewards to the same earners, on a Postgres that promises as much.
//!
//! - [`EventSourced`]: the same aggregates, run by plain `cqrs-es` on `postgres-es`.
//! - [`HandWritten`]: a careful transaction of SQL statements that updates balances in place.
//! - [`StoredFunction`]: the same transaction as one call of a function in the database.
//! - [`pgbench`]: one bare row per transaction, which is no rival but a yardstick.
//!
//! What is the same for all of them, so that the comparison says something:
//!
//! - Each runs in the process that measures, without gRPC, authentication, validation of requests or
//!   live streams. All that is in their favour.
//! - Each has the same [`Population`] and works under [`PROGRAM_ID`], which pays 5 % of a purchase to
//!   the buyer's referrer and 1 % to the referrer's referrer, without a cap.
//! - Each stores, per purchase and per reward, the JSON that the engine's own log would hold, as
//!   `jsonb`: a test compares them.
//! - Each has a pool of as many connections, all of them open before it begins, with prepared
//!   statements, and without the ping before each use that sqlx makes by default.
//! - Tables have the indexes that the work itself needs and no others; statistics are fresh.
//! - Names of users and purchases are text in the "C" collation, as in the engine's own tables.
//! - A purchase that is acknowledged is on disk: nothing here touches `fsync` or
//!   `synchronous_commit`.
//!
//! None of them does all that the engine does: they have no one order of all events, no read models
//! and no answer to a repeated request other than "it was there already". Each says in its own
//! documentation what it leaves out.

mod books;
mod event_sourced;
mod hand_written;
pub mod pgbench;
mod pool;
mod population;
mod sale;
mod stored_function;
mod tables;

pub use event_sourced::EventSourced;
pub use hand_written::HandWritten;
pub use population::{Line, PROGRAM_ID, Population, user_id};
pub use sale::{MIN_AMOUNT_MINOR, purchase_id};
pub use stored_function::StoredFunction;

/// A way of recording purchases.
pub trait Rival: Send + Sync + 'static {
    /// What it is called in a report.
    fn name(&self) -> &'static str;

    /// Records purchase `number` of the participant `buyer` with all that follows from it. When it
    /// returns, the purchase is on disk.
    ///
    /// A number stands for one purchase: a second call with it changes nothing.
    ///
    /// # Errors
    /// What went wrong. The purchase may have been recorded or not.
    fn purchase(
        &self,
        number: u64,
        buyer: usize,
        amount_minor: i64,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Checks, while no purchase is under way, that at least `acknowledged` purchases are there, each
    /// once, and that what every participant was granted, and every balance, is what they come to.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&self, acknowledged: u64) -> impl Future<Output = Result<(), String>> + Send;

    /// How often something had to be done again because somebody else came first.
    fn retries(&self) -> u64 {
        0
    }
}

/// Every failure, in words.
fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
