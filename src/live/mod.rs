//! The live side: one tail of the log per process, and any number of subscribers.
//!
//! The tail reads each event once, whatever the number of subscribers: events that this process appended are
//! handed over, the rest is read. Subscribers have bounded queues; one that does not keep up is cut off and
//! slows down nobody else.

mod notice;
mod permits;
mod subscription;
mod tail;
mod turns;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::Handover;
use crate::lifecycle::{Stage, Tasks};
use crate::metrics::Metrics;
use crate::store::{Database, Epoch, RecordedEvent, StoreError, in_time, log};
use domain::StreamKey;
use permits::Permits;
pub use permits::{Full, Permit};
pub use subscription::{Cursor, CutOff, Subscription};
pub use turns::Turn;
pub(crate) use turns::Turns;

/// What can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The events of one stream.
    Stream(StreamKey),
    /// All events of the log.
    Log,
}

/// The limits and intervals of the live side.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open streams in this process.
    pub streams: usize,
    /// Open streams of one caller in this process.
    pub streams_per_caller: usize,
    /// Events that may wait for one subscriber; a subscriber with more is cut off.
    pub queued_events: usize,
    /// Streams that may read the past from the database at once; never more than half of its connections.
    pub catching_up: usize,
    /// How often the log is polled when no notice arrives.
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

/// The subscribers by topic, and the position up to which events have been delivered.
struct Registry {
    position: i64,
    /// When the log was last seen in the database.
    seen_at: Instant,
    streams: HashMap<StreamKey, Vec<Subscriber>>,
    log: Vec<Subscriber>,
}

struct Subscriber {
    /// Boxed, because a queue allocates room for 32 entries at once.
    queue: mpsc::Sender<Box<RecordedEvent>>,
    /// Cancelled when the queue was full.
    behind: CancellationToken,
}

/// Subscribes to the log. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    database: Database,
    registry: Arc<Mutex<Registry>>,
    /// The position of the registry, as a channel to wait on.
    reached: Arc<watch::Sender<i64>>,
    catching_up: Turns,
    permits: Permits,
    limits: Limits,
}

impl Live {
    /// Starts the tail at the present end of the log, and the tasks that exchange notices with other servers.
    ///
    /// # Errors
    /// [`StoreError`] if the end of the log cannot be read.
    pub async fn start(
        database: Database,
        epoch: Epoch,
        handover: mpsc::Receiver<Handover>,
        limits: Limits,
        tasks: &Tasks,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let position = log::head(database.pool()).await?;
        let connections = database.pool().options().get_max_connections() as usize;
        let registry = Registry {
            position,
            seen_at: Instant::now(),
            streams: HashMap::new(),
            log: Vec::new(),
        };
        let registry = Arc::new(Mutex::new(registry));
        let reached = Arc::new(watch::Sender::new(position));
        let live = Self {
            database: database.clone(),
            registry: registry.clone(),
            reached: reached.clone(),
            permits: Permits::new(limits.streams, limits.streams_per_caller, metrics),
            catching_up: Turns::new(limits.catching_up.min(connections / 2)),
            limits: limits.clone(),
        };
        let (appended, grown) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        tasks.spawn(Stage::Background, "notice sender", |stop| {
            notice::send(database.clone(), appended.clone(), reached.subscribe(), stop)
        });
        tasks.spawn(Stage::Background, "notice listener", |stop| {
            notice::listen(database.clone(), epoch, grown.clone(), reached.subscribe(), stop)
        });
        let poll_interval = limits.poll_interval;
        let tail = tail::Tail { database, registry, reached, appended, grown, poll_interval };
        tasks.spawn(Stage::Background, "tail of the log", |stop| tail.run(handover, stop));
        Ok(live)
    }

    /// When the log was last seen in the database. While the database answers, that is a fraction of a second
    /// ago.
    #[must_use]
    pub fn seen_at(&self) -> Instant {
        lock(&self.registry).seen_at
    }

    /// The position up to which events have been delivered to subscribers.
    #[must_use]
    pub fn position(&self) -> i64 {
        lock(&self.registry).position
    }

    /// The position up to which events have been delivered to subscribers, as a channel to wait on.
    #[must_use]
    pub fn reached(&self) -> watch::Receiver<i64> {
        self.reached.subscribe()
    }

    /// The first event of a type on a stream, for a subscriber that needs it to say what another event means.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn first_of_type(
        &self,
        caller: &Arc<str>,
        stream: &StreamKey,
        event_type: &str,
    ) -> Result<Option<RecordedEvent>, StoreError> {
        let _turn = self.turn(caller).await;
        in_time(log::first_of_type(self.database.pool(), stream, event_type)).await
    }

    /// A turn at the database for a stream of a caller. To be held only while the database is read.
    pub async fn turn(&self, caller: &Arc<str>) -> Turn {
        self.catching_up.take(caller).await
    }

    /// A permit for one more stream of a caller, valid until it is dropped.
    ///
    /// # Errors
    /// [`Full`] if there are no permits left.
    pub fn permit(&self, caller: &str) -> Result<Permit, Full> {
        self.permits.acquire(caller)
    }
}

/// Locks the registry. A panic while it was locked leaves it usable, because every change is a single step.
fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}
