//! The server: all services on one port, from start to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use super::Context;
use super::authentication::Keys;
use super::grpc::{self, Layers};
use super::http;
use super::passwords::Passwords;
use super::readiness::Examiner;
use super::schema_watch::SchemaWatch;
use crate::engine::{self, Engine, Environment};
use crate::jobs;
use crate::lifecycle::{Stage, TaskEnded, Tasks};
use crate::live::{self, Live};
use crate::metrics::Metrics;
use crate::reactions;
use crate::read::{Boards, Reads};
use crate::store::{Database, StoreError, epoch};
use crate::traces::Traces;
use contract::Coalescing;

/// Streams and calls that one connection can have at once.
const MAX_CALLS_PER_CONNECTION: u32 = 1_000;
/// The largest headers that are accepted, in bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// How often a silent connection is pinged, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long calls may take to end once the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long everything else may take to end after the calls.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to report that the server is no longer ready.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a stopping server reports that it is not ready before it rejects calls.
const UNREADY_PAUSE: Duration = Duration::from_millis(100);
/// How long a starting server waits to be ready before it announces that it answers. The read models of a new
/// database are complete within a moment; those of a large log are not, and calls need not wait for them.
const READY_PATIENCE: Duration = Duration::from_secs(1);
/// The number of batches that may be queued between the engine and the live streams.
const HANDED_OVER_BATCHES: usize = 64;

/// Settings of the server that its services need.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// How often a silent stream sends a heartbeat.
    pub heartbeat: Duration,
    /// How long a read waits for the position of its token at most, even if the caller allows more.
    pub read_patience: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(15), read_patience: Duration::from_secs(5) }
    }
}

/// The parts and settings of a server.
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
    /// Where metrics are exposed over HTTP, if anywhere.
    pub metrics_listener: Option<TcpListener>,
    /// Where traces are sent, if anywhere.
    pub traces: Traces,
}

/// Why a server could not start or continue.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The compiled-in descriptors are invalid.
    #[error("the reflection service cannot be created: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A task that the server depends on ended.
    #[error(transparent)]
    TaskEnded(#[from] TaskEnded),
    /// Serving failed.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The address of the listener is not known.
    #[error("the listener has no address: {0}")]
    Listener(#[from] std::io::Error),
}

/// A server whose tasks are running and that is about to answer calls.
pub struct Server {
    context: Context,
    keys: Keys,
    tasks: Tasks,
    /// Stops the tasks of a server that is dropped.
    guard: DropGuard,
    metrics: Metrics,
    metrics_listener: Option<TcpListener>,
    traces: Traces,
}

impl Server {
    /// Starts the engine, the tail of the log, the projector, the reactions and the jobs.
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
        let (tasks, metrics) = (Tasks::default(), Metrics::default());
        let guard = tasks.signal(Stage::Background).drop_guard();
        let (handover, handed_over) = mpsc::channel(HANDED_OVER_BATCHES);
        let (engine, worker) = Engine::new(
            database.clone(),
            epoch,
            environment.clone(),
            engine,
            handover,
            metrics.clone(),
            traces.clone(),
        );
        tasks.spawn(Stage::Commands, "engine worker", |stop| worker.run(stop));
        let live = Live::start(database.clone(), epoch, handed_over, live, &tasks, metrics.clone())
            .await?;
        let reads = Reads::start(
            database.clone(),
            epoch,
            live.reached(),
            &tasks,
            metrics.clone(),
            traces.clone(),
        )
        .await?;
        let grown = live.reached();
        reactions::start(database.clone(), epoch, reactions::all(), grown, &tasks).await?;
        let handlers = jobs::handlers::all(&jobs);
        let jobs = jobs::Worker::new(database.clone(), &handlers, environment.clone(), jobs);
        tasks.spawn(Stage::Background, "jobs", |stop| jobs.run(stop));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let context = Context {
            passwords: Passwords::new(threads, environment.clone()),
            database,
            epoch,
            engine,
            boards: Boards::new(reads.clone(), live.clone(), tasks.clone()),
            reads,
            live,
            environment,
            settings,
            fingerprint_secret,
            stopping: tasks.signal(Stage::Calls),
        };
        let keys = Keys::new(&admin_key);
        Ok(Self { context, keys, tasks, guard, metrics, metrics_listener, traces })
    }

    /// The dependencies of the services; for programs that use the engine without a network.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The tasks of the server; for programs that add their own.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Answers calls until `shutdown` resolves or a task fails; then stops in order: streams end with a
    /// token, calls end, pending commands are carried out, and the other tasks end.
    ///
    /// # Errors
    /// [`ServerError`] if serving fails, or a task has ended.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
        ready: impl FnOnce(SocketAddr) + Send,
    ) -> Result<(), ServerError> {
        let Self { context, keys, tasks, guard, metrics, metrics_listener, traces } = self;
        let address = listener.local_addr()?;
        if let Some(listener) = metrics_listener {
            let metrics = metrics.clone();
            tasks.spawn(Stage::Background, "metrics listener", |stop| {
                expose(metrics, listener, stop)
            });
        }
        let (reporter, health) = tonic_health::server::health_reporter();
        let (watch, missing) = SchemaWatch::new(context.database.clone(), context.epoch);
        tasks.spawn(Stage::Background, "schema watch", |stop| watch.run(stop));
        let (examiner, mut readiness) =
            Examiner::new(context.live.clone(), context.reads.clone(), missing, reporter);
        tasks.spawn(Stage::Readiness, "readiness", |stop| examiner.run(stop));
        readiness.wait(READY_PATIENCE).await;

        // The worker ends when the last clone of the engine is dropped; this one is kept until the worker is
        // told to stop.
        let engine = context.engine.clone();
        let layers = Layers::new(metrics, traces.clone(), keys);
        let grpc = grpc::routes(&context, &layers, health)?;
        drop(context);
        let router = http::router(http::State { readiness }, grpc, &layers);
        let serving = std::pin::pin!(transport(listener, router, tasks.signal(Stage::Calls)));
        ready(address);
        let outcome = run(&tasks, serving, shutdown).await;
        let deadline = Instant::now() + STOP_TIMEOUT;
        if !tasks.stop(Stage::Commands, deadline).await {
            tracing::warn!("some commands were still waiting when the server stopped");
        }
        drop(engine);
        if !tasks.stop(Stage::Background, deadline).await {
            tracing::warn!("some tasks did not stop in time");
        }
        tasks.abandon();
        drop(guard);
        traces.finish().await;
        outcome
    }
}

/// Serves until `shutdown` resolves or a task fails; then lets calls end.
async fn run(
    tasks: &Tasks,
    mut serving: impl Future<Output = Result<(), ServerError>> + Unpin,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let outcome = tokio::select! {
        served = &mut serving => return served,
        () = shutdown => Ok(()),
        ended = tasks.failed() => Err(ended.into()),
    };
    tracing::info!("stopping");
    let unready = async {
        tasks.stop(Stage::Readiness, Instant::now() + REPORT_TIMEOUT).await;
        tokio::time::sleep(UNREADY_PAUSE).await;
    };
    // Connections are accepted only while `serving` is polled.
    tokio::select! {
        served = &mut serving => return outcome.and(served),
        () = unready => {}
    }
    tasks.signal(Stage::Calls).cancel();
    if let Ok(served) = tokio::time::timeout(DRAIN_TIMEOUT, serving).await {
        return outcome.and(served);
    }
    tracing::warn!("some calls did not end in time and were cut off");
    outcome
}

/// Serves connections until `stop` is cancelled and their calls have ended.
async fn transport(
    listener: TcpListener,
    router: axum::Router,
    stop: CancellationToken,
) -> Result<(), ServerError> {
    // Without nodelay the second packet of an answer waits 40 ms for the acknowledgement of the first. (The
    // server's own setting only applies to listeners that it opens itself.)
    let incoming = TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEPALIVE_INTERVAL))
        .map(|connection| connection.map(Coalescing::new));
    tonic::transport::Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    Ok(())
}

/// Answers `GET /metrics`.
async fn expose(
    metrics: Metrics,
    listener: TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let answer = async move || ([("content-type", CONTENT_TYPE)], metrics.text());
    let routes = axum::Router::new().route("/metrics", axum::routing::get(answer));
    let serving = std::future::IntoFuture::into_future(axum::serve(listener, routes));
    stop.run_until_cancelled(serving).await.unwrap_or(Ok(()))
}
