//! Counters and timings of a server, for Prometheus. Not global: each server has its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::jobs::{JobMetrics, TimedMetrics};
use crate::store::expirations::Expiration;
use crate::store::releases::Release;
use domain::fraud::FlagKind;

/// An RPC of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Rpc {
    /// The service, without its package.
    pub service: &'static str,
    /// The name.
    pub rpc: &'static str,
}

/// How calls of an RPC ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Handled {
    /// The service, without its package.
    pub service: &'static str,
    /// The name.
    pub rpc: &'static str,
    /// The gRPC code, as in `OK`.
    pub code: &'static str,
}

/// A limit that was reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitOf {
    /// What it limits.
    pub limit: &'static str,
}

/// A kind of fraud flag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfFlagKind {
    /// The kind, as in the log.
    pub kind: &'static str,
}

/// What calls of Stripe are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfCall {
    /// `done`, `refused`, `reused` or `unavailable`.
    pub outcome: &'static str,
}

/// A webhook, by the type of its event and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfWebhook {
    /// The type, as in `refund.created`; `other` if it is not read.
    pub event_type: &'static str,
    /// `recorded`, `parked`, `waiting`, `ignored`, `bad_signature`, `malformed` or `failed`.
    pub outcome: &'static str,
}

/// Counts of payments by a provider.
#[derive(Clone, Default)]
pub struct PaymentMetrics {
    /// Webhooks of Stripe.
    pub webhooks: Family<OfWebhook, Counter>,
    /// Calls of Stripe.
    pub calls: Family<OfCall, Counter>,
}

impl PaymentMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "stripe_webhooks",
            "Webhooks of Stripe, by the type of the event and what became of it",
            metrics.webhooks.clone(),
        );
        let calls = metrics.calls.clone();
        registry.register("stripe_calls", "Calls of Stripe, by what became of them", calls);
        metrics
    }
}

/// Counts of fraud flags.
#[derive(Clone, Default)]
pub struct FraudMetrics {
    /// Flags that this server has raised.
    pub raised: Family<OfFlagKind, Counter>,
    /// Flags in the database that wait for a decision.
    pub open: Family<OfFlagKind, Gauge>,
}

impl FraudMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for kind in FlagKind::ALL.map(FlagKind::as_str) {
            // Shown from the beginning, so that the first flag is a rise.
            drop(metrics.raised.get_or_create(&OfFlagKind { kind }));
            drop(metrics.open.get_or_create(&OfFlagKind { kind }));
        }
        let Self { raised, open } = metrics.clone();
        registry.register("fraud_flags_raised", "Fraud flags that this server has raised", raised);
        registry.register(
            "fraud_flags_open",
            "Fraud flags in the database that wait for a decision, counted up to 10000",
            open,
        );
        metrics
    }
}

/// Counts of the connections of clients, and of the limits that they reached.
#[derive(Clone)]
pub struct ConnectionMetrics {
    /// Connections that are open.
    pub open: Gauge,
    /// Connections that were not accepted, by the limit: `all`, `address` or `files`.
    pub refused: Family<LimitOf, Counter>,
    /// Connections that the server ended, by the limit: `silent`, `handshake`, `idle` or `unread`.
    pub cut: Family<LimitOf, Counter>,
    /// Requests that were cut off before they were complete, by the limit: `time` or `number`.
    pub requests_cut: Family<LimitOf, Counter>,
}

impl ConnectionMetrics {
    fn register(registry: &mut Registry) -> Self {
        let open = Gauge::default();
        let (refused, cut, requests_cut) =
            (Family::default(), Family::default(), Family::default());
        let metrics = Self { open, refused, cut, requests_cut };
        registry.register("connections", "Open connections of clients", metrics.open.clone());
        registry.register(
            "connections_refused",
            "Connections that were not accepted, by the limit that was reached",
            metrics.refused.clone(),
        );
        registry.register(
            "connections_cut",
            "Connections that the server ended, by the limit that was reached",
            metrics.cut.clone(),
        );
        registry.register(
            "requests_cut",
            "Requests that were cut off before they were complete, by the limit that was reached",
            metrics.requests_cut.clone(),
        );
        metrics
    }
}

/// Counts of calls that were refused to protect the server, and of what sign-ups were told.
#[derive(Clone)]
pub struct DoorMetrics {
    /// Calls that were refused because their caller had made as many as it may, by the limit: `user`, `back_end`,
    /// `address`, `open_address` or `open`.
    pub calls_limited: Family<LimitOf, Counter>,
    /// Sign-ups without the credentials of a back end that were told that the address has an account.
    pub addresses_told: Counter,
    /// Passwords that were hashed for sign-ups without the credentials of a back end.
    pub sign_ups_hashed: Counter,
    /// Sign-ups that were answered as if they waited, and dropped, by the limit: `address` (many sign-ups for the
    /// address) or `owner` (it has an account, whose owner was told often).
    pub sign_ups_dropped: Family<LimitOf, Counter>,
}

impl DoorMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls_limited: Family::default(),
            addresses_told: Counter::default(),
            sign_ups_hashed: Counter::default(),
            sign_ups_dropped: Family::default(),
        };
        registry.register(
            "calls_limited",
            "Calls that were refused because their caller had made as many as it may, by the limit",
            metrics.calls_limited.clone(),
        );
        registry.register(
            "addresses_told",
            "Sign-ups by users themselves that were told that their e-mail address has an account",
            metrics.addresses_told.clone(),
        );
        registry.register(
            "sign_ups_hashed",
            "Passwords that were hashed for sign-ups by users themselves",
            metrics.sign_ups_hashed.clone(),
        );
        registry.register(
            "sign_ups_dropped",
            "Sign-ups that were answered as if they waited for a confirmation, and dropped, by the limit",
            metrics.sign_ups_dropped.clone(),
        );
        metrics
    }
}

type Times = Family<Rpc, Histogram, fn() -> Histogram>;

/// Seconds from 0.1 ms to 52 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 20))
}

/// All metrics of a server. Cheap to clone; clones share their counts.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Commands per batch that was appended.
    pub batch_commands: Histogram,
    /// Commands that wait.
    pub queue_commands: Gauge,
    /// Time from sending a batch to the answer that it is committed.
    pub commit_seconds: Histogram,
    /// Commands that were decided again because another server had changed a stream first.
    pub conflicts: Counter,
    /// Statements of the command path that were sent again because the database was unavailable.
    pub retries: Counter,
    /// The position that the read models have reached.
    pub projected_position: Gauge,
    /// The number of events that the read models have yet to apply.
    pub projection_lag_events: Gauge,
    /// How long ago the oldest of those events was recorded, in seconds.
    pub projection_lag_seconds: Gauge<f64, AtomicU64>,
    /// Sessions of hung processes that this server ended.
    pub sessions_ended: Counter,
    /// How far the clock of this machine is ahead of the log's.
    pub clock_ahead_seconds: Gauge<f64, AtomicU64>,
    /// Streams that are open.
    pub streams: Gauge,
    /// Connections of clients.
    pub connections: ConnectionMetrics,
    /// Calls that were refused to protect the server.
    pub door: DoorMetrics,
    /// Jobs.
    pub jobs: JobMetrics,
    /// Hold periods that end.
    pub releases: TimedMetrics,
    /// Lots that expire.
    pub expirations: TimedMetrics,
    /// Fraud flags.
    pub fraud: FraudMetrics,
    /// Payments by a provider.
    pub payments: PaymentMetrics,
    /// Calls that began.
    pub rpcs_started: Family<Rpc, Counter>,
    /// Calls that ended, by code.
    pub rpcs_handled: Family<Handled, Counter>,
    /// How long calls took, streams included.
    pub rpc_seconds: Times,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tributary");
        let batch_commands = Histogram::new(exponential_buckets(1.0, 2.0, 12));
        let commit_seconds = seconds();
        let (queue_commands, projected_position, projection_lag_events, streams) =
            (Gauge::default(), Gauge::default(), Gauge::default(), Gauge::default());
        let (conflicts, retries) = (Counter::default(), Counter::default());
        let connections = ConnectionMetrics::register(&mut registry);
        let door = DoorMetrics::register(&mut registry);
        let (projection_lag_seconds, sessions_ended) = (Gauge::default(), Counter::default());
        let jobs = JobMetrics::register(&mut registry);
        let releases = TimedMetrics::register::<Release>(&mut registry);
        let expirations = TimedMetrics::register::<Expiration>(&mut registry);
        let fraud = FraudMetrics::register(&mut registry);
        let payments = PaymentMetrics::register(&mut registry);
        let clock_ahead_seconds = Gauge::default();
        let rpcs_started = Family::default();
        let rpcs_handled = Family::default();
        let rpc_seconds = Times::new_with_constructor(seconds);
        registry.register("batch_commands", "Commands per appended batch", batch_commands.clone());
        registry.register("queue_commands", "Commands that wait", queue_commands.clone());
        registry.register_with_unit(
            "commit",
            "Time from sending a batch to the answer that it is committed",
            Unit::Seconds,
            commit_seconds.clone(),
        );
        registry.register(
            "conflicts",
            "Commands decided again because another server was faster",
            conflicts.clone(),
        );
        registry.register(
            "retries",
            "Statements of the command path sent again because the database was away",
            retries.clone(),
        );
        registry.register(
            "projected_position",
            "Position that the read models have reached, whichever server keeps them",
            projected_position.clone(),
        );
        registry.register(
            "projection_lag_events",
            "Events that the read models lack, whichever server keeps them",
            projection_lag_events.clone(),
        );
        registry.register_with_unit(
            "projection_lag",
            "How long ago the oldest event that the read models lack was recorded",
            Unit::Seconds,
            projection_lag_seconds.clone(),
        );
        registry.register(
            "sessions_ended",
            "Sessions of hung processes that this server ended because they blocked others",
            sessions_ended.clone(),
        );
        registry.register_with_unit(
            "clock_ahead",
            "How far the clock of this machine is ahead of the database's",
            Unit::Seconds,
            clock_ahead_seconds.clone(),
        );
        registry.register("streams", "Open streams", streams.clone());
        registry.register("rpcs_started", "Calls that began", rpcs_started.clone());
        registry.register("rpcs_handled", "Calls that ended, by code", rpcs_handled.clone());
        registry.register_with_unit(
            "rpc",
            "How long calls took, streams included",
            Unit::Seconds,
            rpc_seconds.clone(),
        );
        Self {
            registry: Arc::new(registry),
            batch_commands,
            queue_commands,
            commit_seconds,
            conflicts,
            retries,
            projected_position,
            projection_lag_events,
            projection_lag_seconds,
            sessions_ended,
            clock_ahead_seconds,
            streams,
            connections,
            door,
            jobs,
            releases,
            expirations,
            fraud,
            payments,
            rpcs_started,
            rpcs_handled,
            rpc_seconds,
        }
    }
}

impl Metrics {
    /// Everything in the text format of Prometheus (`OpenMetrics`).
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Records that a call ended.
    pub fn handled(&self, rpc: &Rpc, code: &'static str, took: Duration) {
        let Rpc { service, rpc: name } = *rpc;
        self.rpcs_handled.get_or_create(&Handled { service, rpc: name, code }).inc();
        self.rpc_seconds.get_or_create(rpc).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_in_the_words_of_prometheus() {
        let metrics = Metrics::default();
        let rpc = Rpc { service: "AccountService", rpc: "GetUser" };
        metrics.rpcs_started.get_or_create(&rpc).inc();
        metrics.handled(&rpc, "NOT_FOUND", Duration::from_millis(3));
        metrics.batch_commands.observe(3.0);
        metrics.streams.inc();
        let text = metrics.text();
        for line in [
            r#"tributary_rpcs_started_total{service="AccountService",rpc="GetUser"} 1"#,
            r#"tributary_rpcs_handled_total{service="AccountService",rpc="GetUser",code="NOT_FOUND"} 1"#,
            r#"tributary_rpc_seconds_count{service="AccountService",rpc="GetUser"} 1"#,
            "tributary_batch_commands_sum 3.0",
            "tributary_streams 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
