//! One subscriber's view of one stream: first what it missed, then what comes, without a gap and
//! without a repetition in between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::{Semaphore, mpsc, watch};

use super::{Live, Registry, Subscriber, lock, turned_true};
use crate::domain::StreamKey;
use crate::store::{Database, RecordedEvent, StoreError, log};

/// How many events of the past are read at once.
const PAGE_EVENTS: i64 = 200;

/// How far a subscriber has come: everything up to both is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// In the log.
    pub position: i64,
    /// In the stream.
    pub sequence: i64,
}

/// Why a subscription ended.
#[derive(Debug, thiserror::Error)]
pub enum CutOff {
    /// Events came faster than they were taken.
    #[error("events came faster than they were taken")]
    TooSlow,
    /// The past could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The events of one stream after a cursor, in order, each once, for as long as one likes.
pub struct Subscription {
    database: Database,
    registry: Arc<Mutex<Registry>>,
    catching_up: Arc<Semaphore>,
    stream: StreamKey,
    cursor: Cursor,
    /// The past is read up to here; what comes after it is in the queue.
    live_from: i64,
    past: VecDeque<RecordedEvent>,
    caught_up: bool,
    queue: mpsc::Receiver<RecordedEvent>,
    behind: watch::Receiver<bool>,
}

impl Live {
    /// Subscribes to a stream from a cursor on, or from now on. `None` if there are as many
    /// subscriptions as there can be.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn subscribe(
        &self,
        stream: StreamKey,
        from: Option<Cursor>,
    ) -> Result<Option<Subscription>, StoreError> {
        let (sender, queue) = mpsc::channel(self.limits.queued_events.max(1));
        let (behind_sender, behind) = watch::channel(false);
        let live_from = {
            let mut registry = lock(&self.registry);
            if registry.count >= self.limits.streams {
                return Ok(None);
            }
            registry.count += 1;
            let subscriber = Subscriber { queue: sender, behind: behind_sender };
            registry.subscribers.entry(stream.clone()).or_default().push(subscriber);
            registry.position
        };
        // From here on the subscription leaves the registry when it is dropped.
        let mut subscription = Subscription {
            database: self.database.clone(),
            registry: self.registry.clone(),
            catching_up: self.catching_up.clone(),
            stream,
            cursor: from.unwrap_or(Cursor { position: live_from, sequence: 0 }),
            live_from,
            past: VecDeque::new(),
            caught_up: from.is_none(),
            queue,
            behind,
        };
        if from.is_none() {
            let pool = self.database.pool();
            subscription.cursor.sequence =
                log::sequence_at(pool, &subscription.stream, live_from).await?;
        }
        Ok(Some(subscription))
    }
}

impl Subscription {
    /// How far the subscriber has come.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next event. May be dropped and called again without losing one.
    ///
    /// # Errors
    /// [`CutOff`] if there will be no more.
    pub async fn next(&mut self) -> Result<RecordedEvent, CutOff> {
        loop {
            if let Some(event) = self.past.pop_front() {
                return Ok(self.pass(event));
            }
            if !self.caught_up {
                self.read_past().await?;
                continue;
            }
            let event = tokio::select! {
                biased;
                event = self.queue.recv() => event,
                // Everything in the queue is still good; then it is over.
                () = turned_true(&mut self.behind) => self.queue.try_recv().ok(),
            };
            match event {
                // What was subscribed to before the past was read may be in both.
                Some(event) if event.sequence <= self.cursor.sequence => {}
                Some(event) => return Ok(self.pass(event)),
                None => return Err(CutOff::TooSlow),
            }
        }
    }

    /// Resolves when the subscriber is to be cut off, however much it has yet to take.
    pub async fn behind(&self) {
        turned_true(&mut self.behind.clone()).await;
    }

    fn pass(&mut self, event: RecordedEvent) -> RecordedEvent {
        self.cursor = Cursor { position: event.position, sequence: event.sequence };
        event
    }

    async fn read_past(&mut self) -> Result<(), StoreError> {
        let turn = self.catching_up.acquire().await;
        let after = self.cursor.sequence;
        let pool = self.database.pool();
        let page = log::read_stream(pool, &self.stream, after, self.live_from, PAGE_EVENTS).await?;
        drop(turn);
        self.caught_up = i64::try_from(page.len()).is_ok_and(|read| read < PAGE_EVENTS);
        self.past.extend(page);
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.close();
        let mut registry = lock(&self.registry);
        registry.count = registry.count.saturating_sub(1);
        if let Some(subscribers) = registry.subscribers.get_mut(&self.stream) {
            subscribers.retain(|subscriber| !subscriber.queue.is_closed());
            if subscribers.is_empty() {
                registry.subscribers.remove(&self.stream);
            }
        }
    }
}
