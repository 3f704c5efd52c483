//! Puts load on a running server through its public API, and checks the result.
//!
//! This crate creates load that can be repeated with a seed, measures it, and compares the log with the
//! answers. A run prints what it ran on, and fails if the log does not agree with the answers, whatever its
//! numbers. The crate never uses access to the server that clients do not have: everything goes through gRPC or pages;
//! only the memory of a server that the run started itself is read from the operating system, and only [`chaos`] and
//! [`releases`] own the database.
//!
//! - [`driver`] repeats any operation, and measures it from the intended start.
//! - [`random`] makes random choices that a seed repeats.
//! - [`run`] makes one run of a [`Scenario`]; [`Report`] is its result, [`plot`] draws it.
//! - [`check`] compares the log with the answers in the [`ledger`].
//! - [`OwnServer`] is a server for one run.
//! - [`compare`] runs the engine and its rivals in turn.
//! - [`chaos`] makes faults of every kind under load, and checks that nothing is lost or doubled.
//! - [`screening`] measures what fraud checks cost a sign-up.
//! - [`pages`] measures pages of the console: how soon first ones are complete, and how many live ones one server
//!   serves.
//! - [`payouts`] measures how long a payout of many participants takes, and what that costs purchases.
//! - [`refunds`] measures what a refund costs beside a purchase.
//! - [`releases`] measures how many hold periods a second end, and what that costs purchases.
//! - [`rivals`] are other ways of doing the same purchases on the same Postgres.

mod caller;
pub mod chaos;
pub mod check;
mod cli;
mod compare;
pub mod connections;
pub mod driver;
mod error;
mod lag;
pub mod ledger;
mod log;
pub mod machine;
mod own_server;
pub mod pages;
pub mod payouts;
pub mod plot;
mod population;
pub mod random;
pub mod refunds;
pub mod releases;
mod report;
pub mod rivals;
mod run;
pub mod screening;
mod storm;
mod streams;
mod table;
mod world;

pub use caller::Caller;
pub use cli::main;
pub use compare::{Compared, Comparing, compare};
pub use error::{LoadError, reason};
pub use own_server::OwnServer;
pub use report::{Latency, Report, Settings};
pub use run::run;
pub use world::Progress;

use serde::Serialize;

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Sign-ups, every third with a code.
    SignUp,
    /// Purchases that pay two rewards each; some referrers are much more frequent than others.
    Purchase,
    /// Purchases that all pay the same two referrers.
    Hot,
    /// Purchases, reads and sign-ups, with some live streams open.
    Mixed,
    /// Purchases at a given rate, watched by many live streams.
    Streams,
    /// The top of the leaderboard and the rank of anybody, in turn.
    Leaderboard,
    /// Purchases, at first alone and then beside people who all log in at once.
    Login,
    /// Purchases, at first alone and then beside strangers who sign up under a username that is taken.
    TakenNames,
}

impl Scenario {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign-up",
            Self::Purchase => "purchase",
            Self::Hot => "hot",
            Self::Mixed => "mixed",
            Self::Streams => "streams",
            Self::Leaderboard => "leaderboard",
            Self::Login => "login",
            Self::TakenNames => "taken-names",
        }
    }
}
