//! The tail: follows the log and delivers each event to the subscribers of its stream.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Registry, lock};
use crate::engine::Handover;
use crate::store::{Database, RecordedEvent, in_time, log};

/// How many events are read at once.
const READ_EVENTS: i64 = 2_000;

pub(super) struct Tail {
    pub(super) database: Database,
    pub(super) registry: Arc<Mutex<Registry>>,
    pub(super) reached: Arc<watch::Sender<i64>>,
    /// Notified after events were handed over, so that other servers get a notice.
    pub(super) appended: Arc<Notify>,
    /// Notified when another server has appended.
    pub(super) grown: Arc<Notify>,
    pub(super) poll_interval: Duration,
}

impl Tail {
    pub(super) async fn run(
        self,
        mut handover: mpsc::Receiver<Handover>,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        let mut poll = tokio::time::interval(self.poll_interval);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut engine_is_there = true;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                handed = handover.recv(), if engine_is_there => match handed {
                    Some(events) => {
                        stop.run_until_cancelled(self.take(&events)).await;
                        self.appended.notify_one();
                    }
                    None => engine_is_there = false,
                },
                () = self.grown.notified() => self.read_until(&stop).await,
                _ = poll.tick() => self.read_until(&stop).await,
            }
        }
    }

    async fn read_until(&self, stop: &CancellationToken) {
        stop.run_until_cancelled(self.read()).await;
    }

    /// Delivers the events that were handed over if they come next; otherwise first reads those before them.
    async fn take(&self, events: &[RecordedEvent]) {
        let Some(first) = events.first() else { return };
        if first.position > lock(&self.registry).position + 1 {
            self.read().await;
        }
        let next = lock(&self.registry).position + 1;
        let known = events.partition_point(|event| event.position < next);
        if events.get(known).is_some_and(|event| event.position == next) {
            self.deliver(&events[known..]);
            self.see(Instant::now());
        }
    }

    /// The log was seen at this moment.
    fn see(&self, moment: Instant) {
        let mut registry = lock(&self.registry);
        registry.seen_at = registry.seen_at.max(moment);
    }

    /// Reads the log and delivers its events, up to its end.
    async fn read(&self) {
        loop {
            let position = lock(&self.registry).position;
            let pool = self.database.pool();
            // An answer can be on its way for long, so it says what was in the log when it was asked for.
            let asked_at = Instant::now();
            match in_time(log::read_after(pool, position, READ_EVENTS)).await {
                Ok(events) if events.is_empty() => {
                    self.see(asked_at);
                    return;
                }
                Ok(events) => {
                    self.deliver(&events);
                    self.see(asked_at);
                }
                Err(error) => {
                    tracing::warn!(%error, position, "the log cannot be followed; trying again");
                    return;
                }
            }
        }
    }

    /// Delivers the next events of the log.
    fn deliver(&self, events: &[RecordedEvent]) {
        let mut registry = lock(&self.registry);
        for event in events {
            let of_stream = registry.streams.get(&event.stream).into_iter().flatten();
            for subscriber in of_stream.chain(&registry.log) {
                // The queue is full: later events would leave a gap, so the subscriber gets no more at all.
                // (If the queue is closed, the subscriber is about to leave.)
                let is_behind = subscriber.behind.is_cancelled();
                if !is_behind && subscriber.queue.try_send(Box::new(event.clone())).is_err() {
                    subscriber.behind.cancel();
                }
            }
            registry.position = event.position;
        }
        self.reached.send_replace(registry.position);
    }
}
