//! The command path: a queue, a worker that decides all pending commands in one batch, and one append.
//!
//! Commands queue. The worker takes all pending commands, without a timer, loads the streams that are not in
//! memory, decides each command in turn against the state that the earlier ones left, and appends the batch
//! in one round trip. While one batch commits, the next one is decided, so the size of batches adapts to the
//! load.
//!
//! - [`pending`] holds the commands that wait, [`draft`] is a batch in preparation, [`unit`] the unit of work
//!   that its decisions run in.
//! - [`cache`] holds the streams that stay in memory between batches, [`horizon`] what is known of the log's end.
//! - [`worker`] is the loop and its handling of failures; [`outcome`] handles the answer of the database.
//! - [`session`] is a connection of the worker, [`patience`] how long it waits for the database.
//! - [`clock`] follows the clock of the log.
//! - [`query`] runs decisions that only read.

mod cache;
pub mod clock;
mod draft;
mod horizon;
mod job;
mod outcome;
mod patience;
mod pending;
pub mod query;
mod recent;
mod session;
mod unit;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::store::{Actor, Database, Door, Envelope, Epoch, FraudKeys, RecordedEvent};
use crate::traces::Traces;
use domain::decide::Command;
use domain::fraud::DisposableDomains;
use domain::{Lag, Refusal, Timestamp};
use job::Job;
use pending::Pending;
pub use worker::Worker;

type Clock = dyn Fn() -> Timestamp + Send + Sync;
type Randomness = dyn Fn(&mut [u8]) + Send + Sync;
type Observer = dyn Fn(Instant, Timestamp) + Send + Sync;

/// The clock and the source of randomness. Passed in everywhere, so that nothing depends on a global.
#[derive(Clone)]
pub struct Environment {
    /// Returns the current time. In a running server this is the log's time; see [`clock`].
    pub now: Arc<Clock>,
    /// Learns a time of the log, which it had at some moment since the given one.
    pub observe: Arc<Observer>,
    /// Fills a buffer with randomness.
    pub random: Arc<Randomness>,
    /// What fraud checks know besides the log.
    pub screening: Arc<Screening>,
    /// The table in which purchases are found by their buyer, a read model. Without it the log is searched.
    pub purchases_table: Option<&'static str>,
}

/// What fraud checks know besides the log. By default, for what makes no referrals.
#[derive(Default)]
pub struct Screening {
    /// What makes keyed hashes.
    pub keys: FraudKeys,
    /// The domains of providers of disposable addresses.
    pub disposable: DisposableDomains,
}

impl Environment {
    /// The machine's clock and its source of randomness.
    ///
    /// # Errors
    /// If the operating system provides no randomness.
    #[expect(clippy::disallowed_methods, reason = "the one place where both come from")]
    pub fn of_this_machine() -> std::io::Result<Self> {
        getrandom::fill(&mut [0; 1]).map_err(std::io::Error::other)?;
        Ok(Self {
            now: Arc::new(|| {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            }),
            observe: Arc::new(|_, _| {}),
            random: Arc::new(|bytes| {
                // Randomness was available at the start; it does not become unavailable later.
                if let Err(error) = getrandom::fill(bytes) {
                    tracing::error!(%error, "the operating system provides no randomness");
                    std::process::abort();
                }
            }),
            screening: Arc::default(),
            purchases_table: None,
        })
    }

    /// A fresh identifier that sorts by time: a UUID of version 7.
    #[must_use]
    pub fn fresh_id(&self) -> String {
        fresh_uuid(self).to_string()
    }
}

pub(crate) fn fresh_uuid(environment: &Environment) -> Uuid {
    let mut random = [0; 10];
    (environment.random)(&mut random);
    let milliseconds = u64::try_from((environment.now)().0 / 1_000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
}

/// The limits of the engine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Commands that may wait. Further commands are rejected with a hint when to retry.
    pub queue_commands: usize,
    /// Commands in the background that may wait. Whoever has further ones waits for room.
    pub background_commands: usize,
    /// Commands decided and appended together.
    pub batch_commands: usize,
    /// Streams kept in memory, with their states.
    pub cached_streams: usize,
    /// A snapshot is written when a stream has grown by this many events since the last one, or when far
    /// fewer had to be read for it.
    pub snapshot_events: i64,
    /// How long commands wait for an unavailable database before their callers get an error.
    pub database_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_commands: 10_000,
            background_commands: 1_000,
            batch_commands: 500,
            cached_streams: 2_000_000,
            snapshot_events: 200,
            database_patience: Duration::from_secs(5),
        }
    }
}

/// The key of a request and a hash of its content. A repetition of the same request gets the first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// Made from the caller, the RPC and the caller's `request_id`.
    pub key: Uuid,
    /// Keyed hash of the request without secrets.
    pub fingerprint: Vec<u8>,
}

/// A command to carry out, with what the log records about it besides its events.
#[derive(Clone, Debug)]
pub struct Submission {
    command: Command,
    envelope: Envelope,
    request: Option<RequestKey>,
    is_in_background: bool,
}

impl Submission {
    /// A command of an actor, which came in through a door.
    #[must_use]
    pub fn new(command: Command, actor: Actor, door: Door) -> Self {
        let envelope = Envelope { actor, door, request: None };
        Self { command, envelope, request: None, is_in_background: false }
    }

    /// Lets the command wait behind those of callers. While others wait, commands in the background get a tenth of
    /// each batch. Streams that only they use do not stay in memory.
    #[must_use]
    pub fn in_the_background(self) -> Self {
        Self { is_in_background: true, ..self }
    }

    /// Adds the key by which a repetition of the request is recognised.
    #[must_use]
    pub fn answering(mut self, request: RequestKey) -> Self {
        self.envelope.request = Some(request.key);
        self.request = Some(request);
        self
    }
}

/// The outcome of a command.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its events, as recorded in the log.
    pub events: Arc<[RecordedEvent]>,
    /// The position that a reader must have reached to see the command's effect.
    pub position: i64,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The rules forbid the command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The `request_id` belongs to a request with different content.
    #[error("the request_id was already used for a different request")]
    RequestIdReused,
    /// Too many commands wait.
    #[error("the queue is full: {0} commands are waiting")]
    QueueFull(usize),
    /// A table that is computed from the log and in which the command must look something up is far behind.
    #[error(
        "a table that the command needs is being built; it has reached {} of {}", .0.reached, .0.head
    )]
    Behind(Lag),
    /// The command kept conflicting.
    #[error("the command kept conflicting with other servers")]
    Conflict,
    /// The database is unavailable. The command may have been carried out.
    #[error("the database is unavailable; the outcome is unknown")]
    DatabaseUnavailable,
    /// The engine is stopping.
    #[error("the server is stopping")]
    ShuttingDown,
    /// A bug in the server, logged where it happened.
    #[error("internal error")]
    Internal,
}

/// Appended events on their way to the live streams: in order, and without gaps within one message.
pub type Handover = Arc<Vec<RecordedEvent>>;

/// Carries out commands against one database. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    queue: mpsc::Sender<Job>,
    background: mpsc::Sender<Job>,
    limits: Limits,
    traces: Traces,
}

impl Engine {
    /// Creates an engine on a database in its present epoch, and the worker that carries out its commands.
    /// Events that the worker appends are also sent to `handover`, if there is room.
    #[must_use]
    pub fn new(
        database: Database,
        epoch: Epoch,
        environment: Environment,
        limits: Limits,
        handover: mpsc::Sender<Handover>,
        metrics: Metrics,
        traces: Traces,
    ) -> (Self, Worker) {
        let (queue, jobs) = mpsc::channel(limits.queue_commands.max(1));
        let (background, jobs_in_background) = mpsc::channel(limits.background_commands.max(1));
        let pending = Pending::new(jobs, jobs_in_background, metrics.clone());
        let worker =
            Worker::new(database, epoch, environment, limits.clone(), pending, handover, metrics)
                .traced(traces.clone());
        (Self { queue, background, limits, traces }, worker)
    }

    /// Carries out a command. Once queued, the command is carried out or refused as a whole, even if the
    /// caller stops waiting for the answer. A command in the background waits for room in its queue.
    ///
    /// # Errors
    /// [`Failure`] with the reason why the command was not carried out.
    pub async fn execute(&self, submission: Submission) -> Result<Committed, Failure> {
        let (answer, answered) = oneshot::channel();
        let job = Job::new(submission, answer, self.traces.caller());
        if job.is_in_background {
            self.background.send(job).await.map_err(|_| Failure::ShuttingDown)?;
            return answered.await.unwrap_or(Err(Failure::ShuttingDown));
        }
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Failure::QueueFull(self.limits.queue_commands),
            mpsc::error::TrySendError::Closed(_) => Failure::ShuttingDown,
        })?;
        answered.await.unwrap_or(Err(Failure::ShuttingDown))
    }
}
