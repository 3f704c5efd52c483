//! The server: every service on one port, from the first call to the last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tonic::transport::server::TcpIncoming;
use tonic_web::GrpcWebLayer;

use super::account::Accounts;
use super::authentication::{AuthenticationLayer, Keys};
use super::leaderboard::Leaderboards;
use super::operator::Operators;
use super::passwords::Passwords;
use super::pb::account_service_server::AccountServiceServer;
use super::pb::leaderboard_service_server::LeaderboardServiceServer;
use super::pb::operator_service_server::OperatorServiceServer;
use super::pb::program_service_server::ProgramServiceServer;
use super::pb::purchase_service_server::PurchaseServiceServer;
use super::pb::referral_service_server::ReferralServiceServer;
use super::pb::reward_service_server::RewardServiceServer;
use super::program::Programs;
use super::purchase::Purchases;
use super::referral::Referrals;
use super::reward::Rewards;
use super::telemetry::TelemetryLayer;
use super::{Context, MAX_MESSAGE_BYTES};
use crate::engine::{self, Engine, Environment};
use crate::jobs;
use crate::live::{self, Live};
use crate::metrics::Metrics;
use crate::reactions;
use crate::read::{Boards, Reads};
use crate::store::{Database, StoreError, epoch};
use crate::traces::Traces;
use contract::{Coalescing, DESCRIPTORS};

/// Streams and calls that one connection can have at once.
const MAX_CALLS_PER_CONNECTION: u32 = 1_000;
/// The largest headers that are taken, in bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// How often, and for how long, a silent connection is asked whether somebody is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long calls may take to end once the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server that stops is visibly not ready before it turns anybody away.
const UNREADY_PAUSE: Duration = Duration::from_millis(100);
/// Batches on their way from the engine to the live streams.
const HANDED_OVER_BATCHES: usize = 64;

/// Bounds the messages of a service.
macro_rules! limited {
    ($service:expr) => {
        $service
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    };
}

/// Settings of the server that its services need.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// How often a silent stream says that it is alive.
    pub heartbeat: Duration,
    /// How long a read waits for the position of its token, whatever the caller allows.
    pub read_patience: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(15), read_patience: Duration::from_secs(5) }
    }
}

/// What a server is made from.
pub struct ServerOptions {
    /// The database, migrated.
    pub database: Database,
    /// The key that may do everything.
    pub admin_key: String,
    /// Clock and randomness.
    pub environment: Environment,
    /// Settings of the services.
    pub settings: ServerSettings,
    /// Limits of the command path.
    pub engine: engine::Limits,
    /// Limits of the live streams.
    pub live: live::Limits,
    /// Limits of the jobs.
    pub jobs: jobs::Limits,
    /// Where metrics are told to whoever asks, over HTTP; nowhere if there is none.
    pub metrics_listener: Option<TcpListener>,
    /// Where traces are sent, if anywhere.
    pub traces: Traces,
}

/// Why a server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The descriptors that were compiled in are not good.
    #[error("the reflection service cannot be made: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The command path or the live streams ended by themselves; why has been logged.
    #[error("a part of the server failed; see the log, and start it again")]
    PartFailed,
    /// Serving failed.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The address of the listener is not known.
    #[error("the listener has no address: {0}")]
    Listener(#[from] std::io::Error),
}

/// A server whose parts are running and that is about to answer calls.
pub struct Server {
    context: Context,
    keys: Keys,
    stop: watch::Sender<bool>,
    worker: JoinHandle<()>,
    tail: JoinHandle<()>,
    projector: JoinHandle<()>,
    jobs: JoinHandle<()>,
    reactions: Option<JoinHandle<()>>,
    metrics: Metrics,
    metrics_listener: Option<TcpListener>,
    traces: Traces,
}

impl Server {
    /// Starts the engine, the tail of the log and the projector.
    ///
    /// # Errors
    /// [`ServerError`] if the database cannot be read.
    pub async fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let ServerOptions {
            database,
            admin_key,
            environment,
            settings,
            engine,
            live,
            jobs,
            metrics_listener,
            traces,
        } = options;
        let epoch = epoch::enter(&mut database.connect().await?).await?;
        let fingerprint_secret = Arc::from(database.fingerprint_secret().await?);
        let (stop, stopping) = watch::channel(false);
        let (handover, handed_over) = mpsc::channel(HANDED_OVER_BATCHES);
        let metrics = Metrics::default();
        let (engine, worker) = Engine::start(
            database.clone(),
            epoch,
            environment.clone(),
            engine,
            handover,
            metrics.clone(),
            traces.clone(),
        );
        let (live, tail) = Live::start(
            database.clone(),
            epoch,
            handed_over,
            live,
            stopping.clone(),
            metrics.clone(),
        )
        .await?;
        let (reads, projector) = Reads::start(
            database.clone(),
            epoch,
            live.reached(),
            stopping.clone(),
            metrics.clone(),
            traces.clone(),
        )
        .await?;
        let reactions = reactions::start(
            database.clone(),
            epoch,
            reactions::all(),
            live.reached(),
            stopping.clone(),
        )
        .await?;
        let handlers = jobs::handlers::all(&jobs);
        let jobs = jobs::Worker::new(database.clone(), &handlers, environment.clone(), jobs);
        let jobs = tokio::spawn(jobs.run(stopping.clone()));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let context = Context {
            passwords: Passwords::new(threads, environment.clone()),
            database,
            epoch,
            engine,
            boards: Boards::new(reads.clone(), live.clone()),
            reads,
            live,
            environment,
            settings,
            fingerprint_secret,
            stopping,
        };
        let keys = Keys::new(&admin_key);
        Ok(Self {
            context,
            keys,
            stop,
            worker,
            tail,
            projector,
            jobs,
            reactions,
            metrics,
            metrics_listener,
            traces,
        })
    }

    /// What the services work with; for programs that use the engine without a network.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Answers calls until `shutdown` resolves; then ends streams with a token, lets calls end, and
    /// carries out everything that waits.
    ///
    /// # Errors
    /// [`ServerError`] if serving fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
        ready: impl FnOnce(SocketAddr) + Send,
    ) -> Result<(), ServerError> {
        let Self {
            context,
            keys,
            stop,
            mut worker,
            mut tail,
            projector,
            jobs,
            reactions,
            metrics,
            metrics_listener,
            traces,
        } = self;
        let address = listener.local_addr()?;
        // Without nodelay the second packet of an answer waits 40 ms for the first one's receipt. (The
        // server's own setting concerns only listeners that it makes itself.)
        let incoming = TcpIncoming::from(listener)
            .with_nodelay(Some(true))
            .with_keepalive(Some(KEEPALIVE_INTERVAL))
            .map(|connection| connection.map(Coalescing::new));
        let (health_reporter, health) = tonic_health::server::health_reporter();
        set_health(&health_reporter, true).await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let told = metrics.clone();
        let telling = metrics_listener.map(|listener| tokio::spawn(tell(told, listener)));
        let (drained, draining) = tokio::sync::oneshot::channel::<()>();
        let mut drained = Some(drained);
        let engine = context.engine.clone();
        let serving = tonic::transport::Server::builder()
            .accept_http1(true)
            .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .layer(TelemetryLayer { metrics: metrics.clone(), traces: traces.clone() })
            .layer(GrpcWebLayer::new())
            .layer(AuthenticationLayer { keys })
            .add_service(limited!(AccountServiceServer::new(Accounts(context.clone()))))
            .add_service(limited!(ProgramServiceServer::new(Programs(context.clone()))))
            .add_service(limited!(ReferralServiceServer::new(Referrals(context.clone()))))
            .add_service(limited!(PurchaseServiceServer::new(Purchases(context.clone()))))
            .add_service(limited!(RewardServiceServer::new(Rewards(context.clone()))))
            .add_service(limited!(LeaderboardServiceServer::new(Leaderboards(context.clone()))))
            .add_service(limited!(OperatorServiceServer::new(Operators(context))))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .serve_with_incoming_shutdown(incoming, async {
                let _ = draining.await;
            });
        tokio::pin!(serving);
        ready(address);
        let mut failed = false;
        let shutdown = async {
            tokio::select! {
                () = shutdown => tracing::info!("stopping"),
                // Both go on for as long as the server does, unless something is badly wrong.
                _ = &mut worker => failed = true,
                _ = &mut tail => failed = true,
            }
        };
        tokio::select! {
            served = &mut serving => served?,
            () = shutdown => {
                set_health(&health_reporter, false).await;
                tokio::time::sleep(UNREADY_PAUSE).await;
                stop.send_replace(true);
                drop(drained.take());
                if let Ok(served) = tokio::time::timeout(DRAIN_TIMEOUT, &mut serving).await {
                    served?;
                } else {
                    tracing::warn!("some calls did not end in time and were cut off");
                }
            }
        }
        stop.send_replace(true);
        if let Some(telling) = telling {
            telling.abort();
        }
        // What waits is carried out; calls that were cut off may still hold on to the engine.
        engine.close();
        if failed {
            traces.finish().await;
            return Err(ServerError::PartFailed);
        }
        let parts = async {
            let _ = tokio::join!(tail, worker, projector, jobs);
            if let Some(reactions) = reactions {
                let _ = reactions.await;
            }
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, parts).await.is_err() {
            tracing::warn!("some commands or jobs were still waiting when the server stopped");
        }
        traces.finish().await;
        Ok(())
    }
}

/// Answers `GET /metrics`.
async fn tell(metrics: Metrics, listener: TcpListener) {
    const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let answer = async move || ([(http::header::CONTENT_TYPE, CONTENT_TYPE)], metrics.text());
    let routes = axum::Router::new().route("/metrics", axum::routing::get(answer));
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(%error, "metrics are told no more");
    }
}

async fn set_health(reporter: &tonic_health::server::HealthReporter, serving: bool) {
    let status = if serving {
        tonic_health::ServingStatus::Serving
    } else {
        tonic_health::ServingStatus::NotServing
    };
    for service in super::permissions::SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
