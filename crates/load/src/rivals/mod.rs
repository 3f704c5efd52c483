//! Other implementations of what the engine does, for comparison: the same purchases, by the same buyers,
//! with the same rewards to the same earners, on a Postgres with the same durability.
//!
//! - [`EventSourced`]: the same aggregates, run by plain `cqrs-es` on `postgres-es`.
//! - [`HandWritten`]: a carefully written transaction of SQL statements that updates balances in place.
//! - [`StoredFunction`]: the same transaction as one call of a database function.
//! - [`pgbench`]: one bare row per transaction, which is not a rival but a baseline.
//!
//! What is the same for all of them, so that the comparison is meaningful:
//!
//! - Each runs in the process that measures, without gRPC, authentication, validation of requests or live
//!   streams. All this is in their favour.
//! - Each has the same [`Population`] and works under [`PROGRAM_ID`], which pays 5 % of a purchase to
//!   the buyer's referrer and 1 % to the referrer's referrer, without a cap.
//! - Each stores, per purchase and per reward, the JSON that the engine's own log would hold, as
//!   `jsonb`: a test compares them.
//! - Each has a pool of the same size, with all connections open before it begins, with prepared statements,
//!   and without the ping before each use that sqlx makes by default.
//! - Tables have only the indexes that the work itself needs; statistics are up to date.
//! - Names of users and purchases are text in the "C" collation, as in the engine's own tables.
//! - A purchase that is acknowledged is on disk: nothing here touches `fsync` or
//!   `synchronous_commit`.
//!
//! None of them does all that the engine does: they have no total order of events, no read models, and no
//! answer to a repeated request other than that it was recorded before. The documentation of each lists what
//! it leaves out.

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
    /// The name in a report.
    fn name(&self) -> &'static str;

    /// Records purchase `number` of the participant `buyer` with all its consequences. When it returns, the
    /// purchase is on disk.
    ///
    /// A number identifies a purchase: a second call with the same number changes nothing.
    ///
    /// # Errors
    /// What went wrong. The purchase may have been recorded or not.
    fn purchase(
        &self,
        number: u64,
        buyer: usize,
        amount_minor: i64,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Checks, while no purchase is in progress, that at least `acknowledged` purchases were recorded, each
    /// once, and that the rewards and the balance of every participant agree with them.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&self, acknowledged: u64) -> impl Future<Output = Result<(), String>> + Send;

    /// How often something had to be retried because of a conflict.
    fn retries(&self) -> u64 {
        0
    }
}

/// Any failure as text.
fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
