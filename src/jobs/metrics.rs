//! What a server counts about jobs. Its own attempts are counted as they end; the jobs in the table are counted by a
//! query from time to time.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::store::jobs::Counts;

/// A kind of job that the server can do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfKind {
    /// The kind.
    pub kind: &'static str,
}

/// The metrics of jobs. Cheap to clone; clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct JobMetrics {
    /// Jobs that this server has done.
    pub done: Family<OfKind, Counter>,
    /// Attempts of this server that failed.
    pub failed_attempts: Family<OfKind, Counter>,
    /// Jobs that this server has parked after a failed attempt.
    pub given_up: Family<OfKind, Counter>,
    /// Lines of payouts that this server's jobs could not do because they were refused.
    pub refused_lines: Family<OfKind, Counter>,
    /// Jobs in the table that wait for their time or for a worker.
    waiting: Gauge,
    /// Jobs in the table that wait for an operator.
    parked: Gauge,
    /// Waiting jobs of kinds that this server cannot do.
    unknown: Gauge,
    /// Sign-ups in the table that wait for the confirmation of their address.
    sign_ups: Gauge,
}

impl JobMetrics {
    /// Creates the metrics, and registers them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Self {
            done,
            failed_attempts,
            given_up,
            refused_lines,
            waiting,
            parked,
            unknown,
            sign_ups,
        } = metrics.clone();
        registry.register("jobs_done", "Jobs that this server has done", done);
        registry.register(
            "job_attempts_failed",
            "Attempts of this server at jobs that failed",
            failed_attempts,
        );
        registry.register("jobs_given_up", "Jobs that this server has parked", given_up);
        registry.register(
            "payout_lines_refused",
            "Lines of payouts that jobs of this server tried to do and that were refused",
            refused_lines,
        );
        registry.register(
            "jobs_waiting",
            "Jobs in the database that wait for their time or a server, counted up to 10000",
            waiting,
        );
        registry.register(
            "jobs_parked",
            "Jobs in the database that wait for RetryJob, counted up to 10000",
            parked,
        );
        registry.register(
            "jobs_of_unknown_kind",
            "Waiting jobs of kinds that this server cannot do, counted up to 10000",
            unknown,
        );
        registry.register(
            "sign_ups_waiting",
            "Sign-ups in the database that wait for the confirmation of their address, counted up to 10000",
            sign_ups,
        );
        metrics
    }

    /// Sets the numbers of jobs and of waiting sign-ups in the database.
    pub(super) fn set(&self, counts: Counts, sign_ups: i64) {
        self.sign_ups.set(sign_ups);
        self.waiting.set(counts.waiting);
        self.parked.set(counts.parked);
        self.unknown.set(counts.unknown_kind);
    }
}
