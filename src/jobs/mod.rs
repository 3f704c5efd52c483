//! Jobs: work that must be done once, after its cause has been recorded.
//!
//! - [`worker`] is the loop that takes due jobs and runs their handlers. Each server has one.
//! - [`Pace`] limits how many jobs of a kind begin in a second.
//! - [`Loop`] is a loop of its own for what is to be done at a moment: hold periods end, and balances expire.
//! - [`handlers`] holds the handlers, one file for each kind of job.
//!
//! A job is tried until it succeeds, with growing pauses, and parked after a limit. What a handler writes in the
//! transaction of its attempt is committed together with the job's completion, and so takes effect exactly once.
//! What it does elsewhere is done at least once; the job's id, the same in every attempt, lets the other side
//! recognise a repetition.

mod attempt;
mod expirations;
pub mod handlers;
mod metrics;
mod pace;
mod releases;
mod timed;
mod worker;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use crate::store::jobs::TakenJob;
pub use attempt::Attempt;
pub use metrics::JobMetrics;
pub use pace::Pace;
pub use timed::{Loop, TimedMetrics};
pub use worker::Worker;

use crate::store::StoreError;

/// Why an attempt failed. The text is stored with the job and shown to operators, so it must not contain
/// personal data.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Another attempt may succeed.
    #[error("{0}")]
    Again(String),
    /// No attempt can succeed: the job is parked at once.
    #[error("{0}")]
    Hopeless(String),
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        Self::Again(error.to_string())
    }
}

/// An attempt in progress. (Boxed, so that handlers of all kinds fit into one list.)
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send + 'a>>;

/// Does the jobs of one kind.
pub trait Handler: Send + Sync {
    /// The kind.
    fn kind(&self) -> &'static str;

    /// Makes one attempt.
    fn attempt<'a>(&'a self, job: &'a TakenJob, attempt: &'a mut Attempt) -> Doing<'a>;

    /// How long an attempt may take before it is aborted.
    fn time_limit(&self) -> Duration {
        Duration::from_mins(1)
    }

    /// How often a job is tried before it is parked. The pauses double from 5 seconds to an hour, so twelve
    /// attempts take some three hours.
    fn max_attempts(&self) -> u32 {
        12
    }

    /// The pauses between attempts, if they are not those of all jobs.
    fn pauses(&self) -> Option<Pauses> {
        None
    }

    /// How many jobs of this kind a server does at the same time, besides those of other kinds. `None` if they share
    /// the slots of all jobs.
    fn own_slots(&self) -> Option<usize> {
        None
    }

    /// How many jobs of this kind a server begins in a second, if that is limited. Kinds can share a pace; then those
    /// whose handlers come first in the list of a server go before the others. Only kinds with slots of their own
    /// have a pace.
    fn pace(&self) -> Option<Arc<Pace>> {
        None
    }

    /// Whether one job of this kind is created every day.
    fn is_daily(&self) -> bool {
        false
    }
}

/// The pauses between the attempts at a job.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// Before the second attempt. The pause doubles with every further attempt.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

/// The handlers of a server.
pub type Handlers = Vec<Arc<dyn Handler>>;

/// The limits and intervals of a worker.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The number of jobs that one server does at the same time.
    pub concurrency: usize,
    /// How long finished jobs are kept.
    pub kept: Duration,
    /// How long mails are kept.
    pub mails_kept: Duration,
    /// How long evidence of fraud, and the addresses that sign-ups are compared with, are kept.
    pub evidence_kept: Duration,
    /// How long notes of operators and callers are kept.
    pub notes_kept: Duration,
    /// How long sign-ups wait for the confirmation of their address.
    pub sign_ups_kept: Duration,
    /// How often the table is polled when no notice arrives.
    pub poll_interval: Duration,
    /// How long after an attempt's time limit its job is taken again, because its worker must have died.
    pub grace: Duration,
    /// The pauses between attempts.
    pub pauses: Pauses,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 4,
            kept: days(30),
            mails_kept: days(30),
            evidence_kept: days(400),
            notes_kept: days(400),
            sign_ups_kept: days(7),
            poll_interval: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            pauses: Pauses { first: Duration::from_secs(5), longest: Duration::from_hours(1) },
        }
    }
}

/// A duration of `days` days.
#[must_use]
pub const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}
