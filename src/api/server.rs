//! The server: all services on one port, from start to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Context;
use super::console::Console;
use super::console::dev::DevPages;
use super::cors::Origins;
use super::grpc::{self, Layers};
use super::http;
use super::limits::{Limits, Rates};
use super::open_door::OpenDoor;
use super::readiness::Examiner;
use super::schema_watch::SchemaWatch;
use super::transport::{self, Tls};
use super::visits::Visits;
use crate::access::{self, Access, AccessError};
use crate::engine::clock::LogClock;
use crate::engine::{self, Engine, Environment, Screening};
use crate::jobs;
use crate::lifecycle::{Stage, TaskEnded, Tasks};
use crate::live::{self, Live};
use crate::mails::unsubscribing::Unsubscribing;
use crate::mails::{LinkSecrets, MailSettings, TokenLives};
use crate::metrics::Metrics;
use crate::payments::{self, Payments};
use crate::public_url::PublicUrl;
use crate::reactions::{self, Reaction};
use crate::read::{Boards, Reads};
use crate::store::expirations::Expiration;
use crate::store::releases::Release;
use crate::store::{Database, StoreError, epoch, holders, in_time, mails};
use crate::traces::Traces;
use domain::fraud::DisposableDomains;

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
    /// How many calls callers may make.
    pub rates: Rates,
    /// Whether users may sign up themselves; otherwise only back ends sign up users.
    pub self_registration: bool,
    /// Whether sign-ups by users themselves wait until their address is confirmed.
    pub confirm_sign_ups: bool,
    /// How long they wait.
    pub sign_ups_kept: Duration,
    /// The web pages that may call the API.
    pub origins: Origins,
    /// The certificate of the port; without one, the port speaks plain HTTP.
    pub tls: Option<Tls>,
    /// What links begin with; `None` if `serve` was not told.
    pub public_url: Option<PublicUrl>,
    /// The domains of providers of disposable addresses.
    pub disposable_domains: DisposableDomains,
    /// An adjustment of a balance by more minor units than this waits for a second operator.
    pub adjustment_limit_minor: i64,
    /// A confirmation of more minor units of a payout than this waits for a second operator.
    pub payout_limit_minor: i64,
    /// What only `dev` has on its pages.
    pub dev_pages: Option<DevPages>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            read_patience: Duration::from_secs(5),
            rates: Rates::default(),
            self_registration: true,
            confirm_sign_ups: false,
            sign_ups_kept: jobs::days(7),
            origins: Origins::default(),
            tls: None,
            public_url: None,
            disposable_domains: DisposableDomains::default(),
            adjustment_limit_minor: 100_000,
            payout_limit_minor: 1_000_000,
            dev_pages: None,
        }
    }
}

/// The parts and settings of a server.
pub struct ServerOptions {
    /// The database, migrated.
    pub database: Database,
    /// The key that may do everything.
    pub admin_key: String,
    /// Settings of sessions, keys and passwords.
    pub access: access::Settings,
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
    /// How mails are sent.
    pub mail: MailSettings,
    /// What the server is told about Stripe.
    pub payments: payments::Settings,
    /// Limits on what clients can take.
    pub transport: transport::Limits,
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
    /// Access cannot begin.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The compiled-in descriptors are invalid.
    #[error("the reflection service cannot be created: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A task that the server depends on ended.
    #[error(transparent)]
    TaskEnded(#[from] TaskEnded),
    /// The address of the listener is not known.
    #[error("the listener has no address: {0}")]
    Listener(#[from] std::io::Error),
}

/// A server whose tasks are running and that is about to answer calls.
pub struct Server {
    context: Context,
    tasks: Tasks,
    /// Stops the tasks of a server that is dropped.
    guard: DropGuard,
    metrics: Metrics,
    metrics_listener: Option<TcpListener>,
    traces: Traces,
    limits: transport::Limits,
    unsubscribing: Unsubscribing,
}

impl Server {
    /// Starts the engine, the tail of the log, the projector, the reactions and the jobs.
    ///
    /// # Errors
    /// [`ServerError`] if the database cannot be read.
    #[allow(
        clippy::too_many_lines,
        reason = "each part of a server once, in the order in which they begin"
    )]
    pub async fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let ServerOptions {
            database,
            admin_key,
            access,
            environment,
            mut settings,
            engine,
            live,
            jobs,
            mail,
            payments,
            transport: limits,
            metrics_listener,
            traces,
        } = options;
        let (tasks, metrics) = (Tasks::default(), Metrics::default());
        let guard = tasks.signal(Stage::Background).drop_guard();
        // First of all: a hung process may hold a lock that the start needs.
        let watch = holders::Watch::new(database.clone(), metrics.clone());
        tasks.spawn(Stage::Background, "watch of locks", |stop| watch.run(stop));
        let mut connection = database.connect().await?;
        let epoch = epoch::enter(&mut connection).await?;
        let fingerprint_secret = Arc::from(database.fingerprint_secret().await?);
        let address_secret = Arc::from(database.address_secret().await?);
        let clock = LogClock::start(&mut connection, environment, metrics.clone()).await?;
        drop(connection);
        let screening = Screening {
            keys: database.fraud_keys().await?,
            disposable: std::mem::take(&mut settings.disposable_domains),
        };
        let environment = Environment {
            screening: Arc::new(screening),
            purchases_table: Some(crate::read::purchases_table()),
            ..clock.environment()
        };
        let measured = database.clone();
        tasks.spawn(Stage::Background, "clock", |stop| async {
            clock.follow(measured, stop).await;
            Ok::<_, Infallible>(())
        });
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
        let reactions = reactions_with(&mail);
        reactions::start(database.clone(), epoch, reactions, grown, &tasks).await?;
        let token_lives =
            TokenLives { confirmation: access.confirmation_token, reset: access.reset_token };
        let (of_access, now) = (database.clone(), environment.clone());
        let access =
            Access::start(of_access, &admin_key, now, access, live.clone(), &tasks).await?;
        let unsubscribing = Unsubscribing::new(in_time(mails::secret(database.pool())).await?);
        let mail = jobs::handlers::SendMail {
            settings: mail,
            unsubscribing: unsubscribing.clone(),
            link_secrets: link_secrets(access.clone()),
            token_lives,
            environment: environment.clone(),
        };
        let (of_payments, own) = (database.clone(), environment.clone());
        let counts = metrics.payments.clone();
        let payments = Payments::new(of_payments, engine.clone(), own, payments, counts);
        let (of_jobs, own) = (payments.clone(), environment.clone());
        let counts = &metrics.jobs;
        let handlers = jobs::handlers::all(&jobs, mail, engine.clone(), of_jobs, own, counts);
        let job_kinds = handlers.iter().map(|handler| handler.kind()).collect();
        let (counts, own) = (metrics.jobs.clone(), environment.clone());
        let worker = jobs::Worker::new(database.clone(), &handlers, own, jobs, counts);
        tasks.spawn(Stage::Background, "jobs", |stop| worker.run(stop));
        let (counts, own) = (metrics.releases.clone(), environment.clone());
        let releases = jobs::Loop::<Release>::new(database.clone(), engine.clone(), own, counts);
        tasks.spawn(Stage::Background, "releases", |stop| releases.run(stop));
        let (counts, own) = (metrics.expirations.clone(), environment.clone());
        let expirations =
            jobs::Loop::<Expiration>::new(database.clone(), engine.clone(), own, counts);
        tasks.spawn(Stage::Background, "expirations", |stop| expirations.run(stop));
        let visits = Visits::new(environment.clone());
        let (own, of_visits) = (visits.clone(), database.clone());
        tasks.spawn(Stage::Background, "visits", |stop| own.run(of_visits, stop));
        let context = Context {
            visits,
            payments,
            access,
            limits: Limits::new(&settings.rates, metrics.clone()),
            open_door: OpenDoor::new(settings.self_registration, metrics.clone()),
            database,
            epoch,
            engine,
            boards: Boards::new(reads.clone(), live.clone(), tasks.clone()),
            reads,
            live,
            environment,
            settings,
            job_kinds,
            fingerprint_secret,
            address_secret,
            stopping: tasks.signal(Stage::Calls),
        };
        Ok(Self { context, tasks, guard, metrics, metrics_listener, traces, limits, unsubscribing })
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
        let Self {
            context,
            tasks,
            guard,
            metrics,
            metrics_listener,
            traces,
            limits,
            unsubscribing,
        } = self;
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
        let ServerSettings { origins, tls, .. } = context.settings.clone();
        let (access, calls) = (context.access.clone(), context.limits.clone());
        let layers = Layers::new(metrics.clone(), traces.clone(), access, calls, origins);
        if let Some(tls) = tls.clone() {
            tasks.spawn(Stage::Background, "certificate", |stop| tls.follow(stop));
        }
        let grpc = grpc::routes(&context, &layers, health)?;
        let (database, access) = (context.database.clone(), context.access.clone());
        let console =
            Console::new(context.clone(), metrics.clone(), limits.connections_per_address);
        let state = http::State { readiness, access, database, unsubscribing, context, console };
        let router = http::router(state, grpc, &layers);
        let stop = tasks.signal(Stage::Calls);
        let serving = transport::serve(listener, tls, router, limits, metrics, stop);
        let serving = std::pin::pin!(serving);
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

/// All reactions; those that mail make no jobs if mails are not delivered.
fn reactions_with(mail: &MailSettings) -> Vec<Reaction> {
    let mut reactions = reactions::all();
    if !mail.delivery.delivers() {
        let is_of_mails = |reaction: &&mut Reaction| reaction.name == "mails";
        if let Some(of_mails) = reactions.iter_mut().find(is_of_mails) {
            *of_mails = of_mails.without_jobs();
        }
    }
    reactions
}

/// The secrets of links in mails.
fn link_secrets(access: Access) -> LinkSecrets {
    Arc::new(move |purpose, id| access.secret_for(purpose, id))
}

/// Serves until `shutdown` resolves or a task fails; then lets calls end.
async fn run(
    tasks: &Tasks,
    mut serving: impl Future<Output = ()> + Unpin,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let outcome = tokio::select! {
        () = &mut serving => return Ok(()),
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
        () = &mut serving => return outcome,
        () = unready => {}
    }
    tasks.signal(Stage::Calls).cancel();
    if tokio::time::timeout(DRAIN_TIMEOUT, serving).await.is_err() {
        tracing::warn!("some calls did not end in time and were cut off");
    }
    outcome
}

/// Answers `GET /metrics`.
async fn expose(
    metrics: Metrics,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let answer = async move || ([("content-type", CONTENT_TYPE)], metrics.text());
    let routes = axum::Router::new().route("/metrics", axum::routing::get(answer));
    // The connections of those who read the metrics are not among them.
    let uncounted = Metrics::default();
    transport::serve(listener, None, routes, transport::Limits::default(), uncounted, stop).await;
    Ok(())
}
