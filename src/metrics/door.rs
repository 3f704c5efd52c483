//! What is counted of callers whom nobody has vouched for.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::LimitOf;

/// Counts of calls that were refused to protect the server, and of what sign-ups were told.
#[derive(Clone)]
pub struct DoorMetrics {
    /// Calls that were refused because their caller had made as many as it may, by the limit: `user`, `back_end`,
    /// `address`, `open_address` or `open`.
    pub calls_limited: Family<LimitOf, Counter>,
    /// Sign-ups without the credentials of a back end that were told that the address has an account.
    pub addresses_told: Counter,
}

impl DoorMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { calls_limited: Family::default(), addresses_told: Counter::default() };
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
        metrics
    }
}
