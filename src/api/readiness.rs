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

/// Why the server is not ready; empty when it is. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readiness(watch::Receiver<Arc<[String]>>);

impl Readiness {
    /// The reasons for not being ready now.
    pub(super) fn reasons(&self) -> Arc<[String]> {
        self.0.borrow().clone()
    }

    /// Waits until the server is ready, at most for `patience`.
    pub(super) async fn wait(&mut self, patience: Duration) {
        let ready = self.0.wait_for(|reasons| reasons.is_empty());
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
        (Self { live, reads, missing, health, reasons }, Readiness(readiness))
    }

    /// Runs until `stop` is cancelled; from then on the server is not ready.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let examining = async {
            loop {
                let reasons = self.examine().await;
                let pause = if reasons.is_empty() { INTERVAL } else { UNREADY_INTERVAL };
                self.report(reasons).await;
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
}
