//! The live side: one tail of the log per process, and any number of subscribers.
//!
//! The tail reads each event once, whatever the number of subscribers: what this process appended
//! itself is handed over, the rest is read. Subscribers have bounded queues; one that does not keep
//! up is cut off and slows nobody else.

mod notice;
mod permits;
mod subscription;
mod tail;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::engine::Handover;
use crate::metrics::Metrics;
use crate::store::{Database, Epoch, RecordedEvent, StoreError, log};
use domain::StreamKey;
use permits::Permits;
pub use permits::{Full, Permit};
pub use subscription::{Cursor, CutOff, Subscription};

/// What can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The events of one stream.
    Stream(StreamKey),
    /// All events there are.
    Log,
}

/// How large things may grow, and how often they happen.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open streams in this process.
    pub streams: usize,
    /// Open streams of one caller in this process.
    pub streams_per_caller: usize,
    /// Events that may wait for one subscriber; with more it is cut off.
    pub queued_events: usize,
    /// Subscribers that may read the past from the database at once.
    pub catching_up: usize,
    /// How often the log is looked at when no notice comes.
    pub poll_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 20_000,
            streams_per_caller: 20_000,
            queued_events: 4_096,
            catching_up: 4,
            poll_interval: Duration::from_millis(250),
        }
    }
}

/// Who listens to what, and how far everybody has been told.
#[derive(Default)]
struct Registry {
    position: i64,
    streams: HashMap<StreamKey, Vec<Subscriber>>,
    log: Vec<Subscriber>,
}

struct Subscriber {
    /// In boxes: a queue has room for 32 from the beginning.
    queue: mpsc::Sender<Box<RecordedEvent>>,
    /// Set when the queue was full.
    behind: watch::Sender<bool>,
}

/// Subscribes to the log. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    database: Database,
    registry: Arc<Mutex<Registry>>,
    /// The same position as in the registry, for those who wait for it.
    reached: Arc<watch::Sender<i64>>,
    catching_up: Arc<Semaphore>,
    permits: Permits,
    limits: Limits,
}

impl Live {
    /// Starts the tail at the present end of the log. It ends when `stop` says so, or when it finds the
    /// database exchanged for another.
    ///
    /// # Errors
    /// [`StoreError`] if the end of the log cannot be read.
    pub async fn start(
        database: Database,
        epoch: Epoch,
        handover: mpsc::Receiver<Handover>,
        limits: Limits,
        stop: watch::Receiver<bool>,
        metrics: Metrics,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let position = log::head(database.pool()).await?;
        let registry = Arc::new(Mutex::new(Registry { position, ..Registry::default() }));
        let reached = Arc::new(watch::Sender::new(position));
        let live = Self {
            database: database.clone(),
            registry: registry.clone(),
            reached: reached.clone(),
            permits: Permits::new(limits.streams, limits.streams_per_caller, metrics),
            catching_up: Arc::new(Semaphore::new(limits.catching_up.max(1))),
            limits: limits.clone(),
        };
        let poll_interval = limits.poll_interval;
        let tail = tail::Tail { database, epoch, registry, reached, poll_interval };
        let task = tokio::spawn(tail.run(handover, stop));
        Ok((live, task))
    }

    /// The position up to which subscribers have been told.
    #[must_use]
    pub fn position(&self) -> i64 {
        lock(&self.registry).position
    }

    /// The position up to which subscribers have been told, for those who wait for it.
    #[must_use]
    pub fn reached(&self) -> watch::Receiver<i64> {
        self.reached.subscribe()
    }

    /// A permit for one more stream of a caller, until it is dropped.
    ///
    /// # Errors
    /// [`Full`] if there are as many streams as there can be.
    pub fn permit(&self, caller: &str) -> Result<Permit, Full> {
        self.permits.acquire(caller)
    }
}

/// The registry. A panic while it was locked leaves it usable: every change to it is a single step.
fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resolves when a flag turns true, or when nobody is left to turn it.
pub(crate) async fn turned_true(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|flag| *flag).await;
}
