//! One subscriber's view of a topic: first past events, then new ones, without a gap or a repetition in
//! between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::turns::Turns;
use super::{Live, Registry, Subscriber, Topic, lock};
use crate::store::{Database, RecordedEvent, StoreError, in_time, log};

/// How many past events are read at once.
const PAGE_EVENTS: i64 = 500;
/// How many events may wait for a consumer within this process.
const FOLLOWED_EVENTS: usize = 65_536;
/// The caller in whose name consumers within this process take turns. No principal has this name.
const OWN_CONSUMERS: &str = "";

/// How far a subscriber has read: everything up to both numbers has been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The position in the log.
    pub position: i64,
    /// The place in the topic: the sequence in a stream, the position in the log.
    pub sequence: i64,
}

/// Why a subscription ended.
#[derive(Debug, thiserror::Error)]
pub enum CutOff {
    /// Events arrived faster than the subscriber took them.
    #[error("events came faster than they were taken")]
    TooSlow,
    /// Past events could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The events of a topic after a cursor, in order, each once, without end.
pub struct Subscription {
    database: Database,
    registry: Arc<Mutex<Registry>>,
    catching_up: Turns,
    caller: Arc<str>,
    topic: Topic,
    queue_length: usize,
    cursor: Cursor,
    /// Events up to this position are read from the log; later ones come through the queue.
    live_from: i64,
    past: VecDeque<RecordedEvent>,
    caught_up: bool,
    queue: mpsc::Receiver<Box<RecordedEvent>>,
    behind: CancellationToken,
}

impl Live {
    /// Subscribes a stream of a caller to a topic from a cursor.
    #[must_use]
    pub fn subscribe(&self, topic: Topic, from: Cursor, caller: &Arc<str>) -> Subscription {
        self.subscribe_with(topic, from, caller.clone(), self.limits.queued_events.max(1))
    }

    /// Subscribes to the whole log for a consumer within this process that keeps up with the log.
    #[must_use]
    pub fn follow(&self, from: Cursor) -> Subscription {
        self.subscribe_with(Topic::Log, from, OWN_CONSUMERS.into(), FOLLOWED_EVENTS)
    }

    fn subscribe_with(
        &self,
        topic: Topic,
        from: Cursor,
        caller: Arc<str>,
        queue_length: usize,
    ) -> Subscription {
        let Registered { queue, behind, live_from } =
            register(&self.registry, &topic, queue_length);
        Subscription {
            database: self.database.clone(),
            registry: self.registry.clone(),
            catching_up: self.catching_up.clone(),
            caller,
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

/// An entry in the registry: events after `live_from` go into the queue.
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
    /// How far the subscriber has read.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whose stream it is.
    #[must_use]
    pub fn caller(&self) -> &Arc<str> {
        &self.caller
    }

    /// The next event. Cancel-safe: dropping the future loses no event.
    ///
    /// # Errors
    /// [`CutOff`] if there will be no more events.
    pub async fn next(&mut self) -> Result<RecordedEvent, CutOff> {
        loop {
            if let Some(event) = self.past.pop_front() {
                return Ok(self.pass(event));
            }
            if !self.caught_up {
                // Boxed, so that subscriptions that wait for new events do not reserve memory for this
                // future.
                Box::pin(self.read_past()).await?;
                continue;
            }
            let event = tokio::select! {
                biased;
                event = self.queue.recv() => event,
                // What is in the queue is still valid; the subscription ends after it.
                () = self.behind.cancelled() => self.queue.try_recv().ok(),
            };
            match event {
                // The subscription began before past events were read, so an event may be in both.
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

    /// Resolves when the subscriber is to be cut off, regardless of the events that still wait in its queue.
    pub async fn behind(&self) {
        if self.caught_up {
            self.behind.cancelled().await;
        } else {
            // Events that overflow the queue while past events are read are read from the log as well.
            std::future::pending::<()>().await;
        }
    }

    fn pass(&mut self, event: RecordedEvent) -> RecordedEvent {
        self.cursor = Cursor { position: event.position, sequence: self.place(&event) };
        event
    }

    /// The place of an event in the topic.
    fn place(&self, event: &RecordedEvent) -> i64 {
        match self.topic {
            Topic::Stream(_) => event.sequence,
            Topic::Log => event.position,
        }
    }

    async fn read_past(&mut self) -> Result<(), StoreError> {
        let turn = self.catching_up.take(&self.caller).await;
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
            // The queue overflowed meanwhile: its events are now read from the log.
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
