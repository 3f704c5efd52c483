//! The command path: a queue, a worker that decides whatever waits in one batch, and one append.
//!
//! Commands queue; the worker takes all that wait, without a timer, loads the streams that are not
//! in memory, decides each command in turn against the state that the earlier ones left, and appends
//! the batch in one round trip. While one batch commits, the next one is decided, so batches grow
//! with load by themselves.
//!
//! - [`pending`] is what waits, [`draft`] a batch in the making, [`unit`] the unit of work that its decisions
//!   run in.
//! - [`cache`] is what stays in memory from batch to batch.
//! - [`worker`] is the loop, and what happens when something is in its way; [`outcome`] is what happens
//!   when the database has answered.
//! - [`session`] is its connection.
//! - [`query`] runs decisions that only look.

mod cache;
mod draft;
mod job;
mod outcome;
mod pending;
pub mod query;
mod session;
mod unit;
mod worker;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::store::{Actor, Database, Door, Envelope, Epoch, RecordedEvent};
use crate::traces::Traces;
use domain::decide::Command;
use domain::{Refusal, Timestamp};
use job::Job;
pub use worker::Worker;

type Clock = dyn Fn() -> Timestamp + Send + Sync;
type Randomness = dyn Fn(&mut [u8]) + Send + Sync;

/// Where moments and randomness come from. Passed in everywhere, so that nothing depends on a global.
#[derive(Clone)]
pub struct Environment {
    /// The moment.
    pub now: Arc<Clock>,
    /// Fills a buffer with randomness.
    pub random: Arc<Randomness>,
}

impl Environment {
    /// The machine's clock and its source of randomness.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    #[expect(clippy::disallowed_methods, reason = "the one place where both come from")]
    pub fn of_this_machine() -> std::io::Result<Self> {
        getrandom::fill(&mut [0; 1]).map_err(std::io::Error::other)?;
        Ok(Self {
            now: Arc::new(|| {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            }),
            random: Arc::new(|bytes| {
                // Worked at the start, and does not stop working afterwards.
                if let Err(error) = getrandom::fill(bytes) {
                    tracing::error!(%error, "the operating system gives no randomness");
                    std::process::abort();
                }
            }),
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

/// How large things may grow.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Commands that may wait. Further ones are turned away with a hint to come back.
    pub queue_commands: usize,
    /// Commands decided and appended together.
    pub batch_commands: usize,
    /// Streams kept in memory, with their states.
    pub cached_streams: usize,
    /// A snapshot is written when a stream has grown by this many events since the last one, or when far
    /// fewer had to be read for it.
    pub snapshot_events: i64,
    /// How long a batch waits for a database that is away before its callers are told.
    pub database_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_commands: 10_000,
            batch_commands: 500,
            cached_streams: 2_000_000,
            snapshot_events: 200,
            database_patience: Duration::from_secs(5),
        }
    }
}

/// The key of a request and a hash of its content: the same again is answered as the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// Made from the caller, the RPC and the caller's `request_id`.
    pub key: Uuid,
    /// Keyed hash of the request without secrets.
    pub fingerprint: Vec<u8>,
}

/// A command to carry out, and what the log says about it besides its events.
#[derive(Clone, Debug)]
pub struct Submission {
    command: Command,
    envelope: Envelope,
    request: Option<RequestKey>,
}

impl Submission {
    /// A command of somebody, who has it carried out through a door.
    #[must_use]
    pub fn new(command: Command, actor: Actor, door: Door) -> Self {
        Self { command, envelope: Envelope { actor, door, request: None }, request: None }
    }

    /// The same for a request that is recognised when it comes again.
    #[must_use]
    pub fn answering(mut self, request: RequestKey) -> Self {
        self.envelope.request = Some(request.key);
        self.request = Some(request);
        self
    }
}

/// What a command came to.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its events, as they stand in the log.
    pub events: Arc<[RecordedEvent]>,
    /// The position that a reader must have reached to see its effect.
    pub position: i64,
    /// Whether it had been carried out before.
    pub repeated: bool,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The `request_id` belongs to a request with another content.
    #[error("the request_id was used for another request")]
    RequestIdReused,
    /// Too many commands wait.
    #[error("{0} commands are waiting, the most there can be")]
    QueueFull(usize),
    /// Conflicts would not end.
    #[error("other servers kept changing what the command is about")]
    Conflict,
    /// The database is away. The command may have been carried out.
    #[error("the database is unavailable; the outcome is unknown")]
    DatabaseUnavailable,
    /// The engine is stopping.
    #[error("the server is stopping")]
    ShuttingDown,
    /// A fault of ours, logged where it happened.
    #[error("internal error")]
    Internal,
}

/// Appended events on their way to the live streams: in order, and without gaps within one message.
pub type Handover = Arc<Vec<RecordedEvent>>;

/// Carries out commands against one database. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    queue: mpsc::Sender<Job>,
    limits: Limits,
    traces: Traces,
}

impl Engine {
    /// An engine on a database in its present life, and the worker that carries out what it takes. What the
    /// worker appends is also handed to `handover`, if there is room.
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
        let worker =
            Worker::new(database, epoch, environment, limits.clone(), jobs, handover, metrics)
                .traced(traces.clone());
        (Self { queue, limits, traces }, worker)
    }

    /// Carries out a command. Once it waits in the queue it is carried out or refused as a whole,
    /// also if the caller stops waiting for the answer.
    ///
    /// # Errors
    /// [`Failure`] says why it was not carried out.
    pub async fn execute(&self, submission: Submission) -> Result<Committed, Failure> {
        let (answer, answered) = oneshot::channel();
        let job = Job::new(submission, answer, self.traces.caller());
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Failure::QueueFull(self.limits.queue_commands),
            mpsc::error::TrySendError::Closed(_) => Failure::ShuttingDown,
        })?;
        answered.await.unwrap_or(Err(Failure::ShuttingDown))
    }
}
