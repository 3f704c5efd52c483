//! One subscriber's view of a topic: first what it missed, then what comes, without a gap and
//! without a repetition in between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Live, Registry, Subscriber, Topic, lock};
use crate::store::{Database, RecordedEvent, StoreError, in_time, log};

/// How many events of the past are read at once.
const PAGE_EVENTS: i64 = 500;
/// How many events may wait for something in this process.
const FOLLOWED_EVENTS: usize = 65_536;

/// How far a subscriber has come: everything up to both is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// In the log.
    pub position: i64,
    /// In the topic: the sequence in a stream, the position again in the log.
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

/// The events of a topic after a cursor, in order, each once, for as long as one likes.
pub struct Subscription {
    database: Database,
    registry: Arc<Mutex<Registry>>,
    catching_up: Arc<Semaphore>,
    topic: Topic,
    queue_length: usize,
    cursor: Cursor,
    /// The past is read up to here; what comes after it is in the queue.
    live_from: i64,
    past: VecDeque<RecordedEvent>,
    caught_up: bool,
    queue: mpsc::Receiver<Box<RecordedEvent>>,
    behind: CancellationToken,
}

impl Live {
    /// Subscribes to a topic from a cursor on.
    #[must_use]
    pub fn subscribe(&self, topic: Topic, from: Cursor) -> Subscription {
        self.subscribe_with(topic, from, self.limits.queued_events.max(1))
    }

    /// Subscribes to the whole log for something in this process that takes events as fast as they come.
    #[must_use]
    pub fn follow(&self, from: Cursor) -> Subscription {
        self.subscribe_with(Topic::Log, from, FOLLOWED_EVENTS)
    }

    fn subscribe_with(&self, topic: Topic, from: Cursor, queue_length: usize) -> Subscription {
        let Registered { queue, behind, live_from } =
            register(&self.registry, &topic, queue_length);
        Subscription {
            database: self.database.clone(),
            registry: self.registry.clone(),
            catching_up: self.catching_up.clone(),
            topic,
            queue_length,
            cursor: from,
            live_from,
            past: VecDeque::new(),
            caught_up: from.position >= live_from,
            queue,
            behind,
        }
    }
}

/// A place in the registry: what comes after `live_from` goes into the queue.
struct Registered {
    queue: mpsc::Receiver<Box<RecordedEvent>>,
    behind: CancellationToken,
    live_from: i64,
}

fn register(registry: &Mutex<Registry>, topic: &Topic, queue_length: usize) -> Registered {
    let (sender, queue) = mpsc::channel(queue_length);
    let behind = CancellationToken::new();
    let subscriber = Subscriber { queue: sender, behind: behind.clone() };
    let mut registry = lock(registry);
    match topic {
        Topic::Stream(stream) => {
            registry.streams.entry(stream.clone()).or_default().push(subscriber);
        }
        Topic::Log => registry.log.push(subscriber),
    }
    Registered { queue, behind, live_from: registry.position }
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
                // Boxed, so that those who wait for what comes have no room for it.
                Box::pin(self.read_past()).await?;
                continue;
            }
            let event = tokio::select! {
                biased;
                event = self.queue.recv() => event,
                // Everything in the queue is still good; then it is over.
                () = self.behind.cancelled() => self.queue.try_recv().ok(),
            };
            match event {
                // What was subscribed to before the past was read may be in both.
                Some(event) if self.place(&event) <= self.cursor.sequence => {}
                Some(event) => return Ok(self.pass(*event)),
                None => return Err(CutOff::TooSlow),
            }
        }
    }

    /// Whether all that was recorded before the subscription has been taken. Reads on in the past to know. May
    /// be dropped and called again.
    ///
    /// # Errors
    /// [`CutOff`] if the past cannot be read.
    pub async fn has_caught_up(&mut self) -> Result<bool, CutOff> {
        while self.past.is_empty() && !self.caught_up {
            Box::pin(self.read_past()).await?;
        }
        Ok(self.past.is_empty())
    }

    /// Resolves when the subscriber is to be cut off, however much it has yet to take.
    pub async fn behind(&self) {
        if self.caught_up {
            self.behind.cancelled().await;
        } else {
            // What overflows while the past is read is read as well.
            std::future::pending::<()>().await;
        }
    }

    fn pass(&mut self, event: RecordedEvent) -> RecordedEvent {
        self.cursor = Cursor { position: event.position, sequence: self.place(&event) };
        event
    }

    /// Where an event stands in the topic.
    fn place(&self, event: &RecordedEvent) -> i64 {
        match self.topic {
            Topic::Stream(_) => event.sequence,
            Topic::Log => event.position,
        }
    }

    async fn read_past(&mut self) -> Result<(), StoreError> {
        let turn = self.catching_up.acquire().await;
        let after = self.cursor.sequence;
        let pool = self.database.pool();
        let page = match &self.topic {
            Topic::Stream(stream) => {
                in_time(log::read_stream(pool, stream, after, self.live_from, PAGE_EVENTS)).await?
            }
            Topic::Log => {
                let last = self.live_from.min(after.saturating_add(PAGE_EVENTS));
                in_time(log::read_range(pool, after + 1, last)).await?
            }
        };
        drop(turn);
        let is_end = i64::try_from(page.len()).is_ok_and(|read| read < PAGE_EVENTS);
        self.past.extend(page);
        if self.behind.is_cancelled() {
            // The queue overflowed meanwhile: what was in it becomes part of the past.
            self.leave();
            let Registered { queue, behind, live_from } =
                register(&self.registry, &self.topic, self.queue_length);
            (self.queue, self.behind, self.live_from) = (queue, behind, live_from);
        } else {
            self.caught_up = is_end;
        }
        Ok(())
    }

    /// Leaves the registry.
    fn leave(&mut self) {
        self.queue.close();
        let mut registry = lock(&self.registry);
        let stays = |subscriber: &Subscriber| !subscriber.queue.is_closed();
        match &self.topic {
            Topic::Log => registry.log.retain(stays),
            Topic::Stream(stream) => {
                if let Some(subscribers) = registry.streams.get_mut(stream) {
                    subscribers.retain(stays);
                    if subscribers.is_empty() {
                        registry.streams.remove(stream);
                    }
                }
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.leave();
    }
}
