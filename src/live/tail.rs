//! The tail: follows the log and hands each event to those who listen to its stream.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::{Registry, lock, notice, turned_true};
use crate::engine::Handover;
use crate::store::{Database, Epoch, RecordedEvent, in_time, log};

/// How many events are read at once.
const READ_EVENTS: i64 = 2_000;

pub(super) struct Tail {
    pub(super) database: Database,
    pub(super) epoch: Epoch,
    pub(super) registry: Arc<Mutex<Registry>>,
    pub(super) reached: Arc<watch::Sender<i64>>,
    pub(super) poll_interval: Duration,
}

impl Tail {
    pub(super) async fn run(
        self,
        mut handover: mpsc::Receiver<Handover>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (appended, grown) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let reached = || self.reached.subscribe();
        let sending = notice::send(self.database.clone(), appended.clone(), reached());
        let sender = tokio::spawn(sending);
        let listening = notice::listen(self.database.clone(), self.epoch, grown.clone(), reached());
        let mut listener = tokio::spawn(listening);
        let mut poll = tokio::time::interval(self.poll_interval);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut engine_is_there = true;
        loop {
            tokio::select! {
                biased;
                () = turned_true(&mut stop) => break,
                handed = handover.recv(), if engine_is_there => match handed {
                    Some(events) => {
                        unless_stopped(&mut stop, self.take(&events)).await;
                        appended.notify_one();
                    }
                    None => engine_is_there = false,
                },
                // The database is another one, so the position means nothing any more.
                _ = &mut listener => break,
                () = grown.notified() => unless_stopped(&mut stop, self.read()).await,
                _ = poll.tick() => unless_stopped(&mut stop, self.read()).await,
            }
        }
        sender.abort();
        listener.abort();
    }

    /// Delivers what was handed over if it comes next; else reads what comes before it first.
    async fn take(&self, events: &[RecordedEvent]) {
        let Some(first) = events.first() else { return };
        if first.position > lock(&self.registry).position + 1 {
            self.read().await;
        }
        let next = lock(&self.registry).position + 1;
        let known = events.partition_point(|event| event.position < next);
        if events.get(known).is_some_and(|event| event.position == next) {
            self.deliver(&events[known..]);
        }
    }

    /// Delivers what is in the log, up to its end.
    async fn read(&self) {
        loop {
            let position = lock(&self.registry).position;
            let pool = self.database.pool();
            match in_time(log::read_after(pool, position, READ_EVENTS)).await {
                Ok(events) if events.is_empty() => return,
                Ok(events) => self.deliver(&events),
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
                // A full queue: one more event later would leave a gap, so it gets no more at all. (A
                // closed one: it is about to leave.)
                let is_behind = *subscriber.behind.borrow();
                if !is_behind && subscriber.queue.try_send(Box::new(event.clone())).is_err() {
                    subscriber.behind.send_replace(true);
                }
            }
            registry.position = event.position;
        }
        self.reached.send_replace(registry.position);
    }
}

async fn unless_stopped(stop: &mut watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = turned_true(stop) => {}
        () = work => {}
    }
}
