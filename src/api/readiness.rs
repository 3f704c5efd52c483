//! Decides whether the server is ready for calls. The gRPC health service and `/readyz` report the same
//! decision.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::permissions::SERVICES;
use super::schema_watch::MissingParts;
use crate::live::Live;
use crate::read::{ReadError, Reads};

/// How often readiness is checked.
const INTERVAL: Duration = Duration::from_millis(250);
/// How often readiness is checked while the server is not ready, so that a start is not delayed.
const UNREADY_INTERVAL: Duration = Duration::from_millis(20);
/// How long the database may be silent. The log is polled every quarter of a second. A restart of the
/// database or a failover is often over within this time, and calls wait as long.
const MAX_SILENCE: Duration = Duration::from_secs(5);

/// The lag of the read models that is reported. A server whose read models are behind is ready nevertheless, because
/// commands do not depend on them, and all servers would become unready at the same moment.
const LONG_LAG: Duration = Duration::from_secs(2);
/// The name under which the health service reports whether the read models keep up with the log.
const READ_MODELS: &str = "tributary.read_models";

/// Why the server is not ready; empty when it is. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readiness {
    reasons: watch::Receiver<Arc<[String]>>,
    warnings: watch::Receiver<Option<String>>,
}

impl Readiness {
    /// The reasons for not being ready now.
    pub(super) fn reasons(&self) -> Arc<[String]> {
        self.reasons.borrow().clone()
    }

    /// What is wrong although the server is ready.
    pub(super) fn warning(&self) -> Option<String> {
        self.warnings.borrow().clone()
    }

    /// Waits until the server is ready, at most for `patience`.
    pub(super) async fn wait(&mut self, patience: Duration) {
        let ready = self.reasons.wait_for(|reasons| reasons.is_empty());
        let _ = tokio::time::timeout(patience, ready).await;
    }
}

/// Decides whether the server is ready, and reports it.
pub(super) struct Examiner {
    live: Live,
    reads: Reads,
    missing: MissingParts,
    health: HealthReporter,
    reasons: watch::Sender<Arc<[String]>>,
    warnings: watch::Sender<Option<String>>,
}

impl Examiner {
    /// Begins with a server that is not ready.
    pub(super) fn new(
        live: Live,
        reads: Reads,
        missing: MissingParts,
        health: HealthReporter,
    ) -> (Self, Readiness) {
        let (reasons, readiness) = watch::channel(["the server is starting".to_owned()].into());
        let (warnings, warned) = watch::channel(None);
        let readiness = Readiness { reasons: readiness, warnings: warned };
        (Self { live, reads, missing, health, reasons, warnings }, readiness)
    }

    /// Runs until `stop` is cancelled; from then on the server is not ready.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let examining = async {
            loop {
                let reasons = self.examine().await;
                let pause = if reasons.is_empty() { INTERVAL } else { UNREADY_INTERVAL };
                self.report(reasons).await;
                self.report_lag().await;
                tokio::time::sleep(pause).await;
            }
        };
        stop.run_until_cancelled(examining).await;
        self.report(vec!["the server is stopping".to_owned()]).await;
        Ok(())
    }

    async fn examine(&self) -> Vec<String> {
        // First, because nothing else can be read then.
        if let Some(missing) = &*self.missing.borrow() {
            return vec![format!("in the database, {missing}")];
        }
        if self.live.seen_at().elapsed() > MAX_SILENCE {
            let seconds = MAX_SILENCE.as_secs();
            return vec![format!("the database has not answered for {seconds} seconds")];
        }
        match self.reads.check_complete().await {
            Ok(()) => Vec::new(),
            Err(building @ ReadError::Building { .. }) => vec![building.to_string()],
            Err(error) => {
                tracing::debug!(%error, "cannot read whether the read models are complete");
                vec!["the database does not answer".to_owned()]
            }
        }
    }

    async fn report(&self, reasons: Vec<String>) {
        let (was_ready, is_ready) = (self.reasons.borrow().is_empty(), reasons.is_empty());
        self.reasons.send_replace(reasons.into());
        let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        if was_ready != is_ready {
            for service in SERVICES {
                self.health.set_service_status(service, status).await;
            }
        }
    }

    async fn report_lag(&self) {
        let lag = self.reads.lag();
        let is_long = lag.age >= LONG_LAG;
        let warning = is_long.then(|| {
            let (events, seconds) = (lag.events, lag.age.as_secs());
            format!("the read models are {events} events and {seconds} seconds behind the log")
        });
        self.warnings.send_replace(warning);
        let status = if is_long { ServingStatus::NotServing } else { ServingStatus::Serving };
        self.health.set_service_status(READ_MODELS, status).await;
    }
}
