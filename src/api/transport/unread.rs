//! Bytes of answers that clients have yet to read, per connection and in all.
//!
//! HTTP/2 asks for the next part of a stream only when little of it waits, but a client can have many streams,
//! and a single answer can be large. If more waits in all than the limit allows, the connection with most of it
//! is cut.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use bytes::Buf;
use tokio_util::sync::CancellationToken;

use super::COMPLAINT_INTERVAL;
use crate::metrics::{LimitOf, Metrics};
use crate::occasionally::Occasionally;

/// The count of all connections.
pub(super) struct Unread {
    limit: usize,
    bytes: AtomicUsize,
    next_id: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<OfConnection>>>,
    complaints: Mutex<Occasionally>,
    metrics: Metrics,
}

/// The count of one connection.
struct OfConnection {
    bytes: AtomicUsize,
    /// Cancelled when the connection is to be cut.
    cut: CancellationToken,
}

/// The count of one connection, which is known to the count of all while this value lives. Cheap to clone
/// through an `Arc`.
pub(super) struct Account {
    id: u64,
    unread: Arc<Unread>,
    own: Arc<OfConnection>,
}

impl Unread {
    pub(super) fn new(limit: usize, metrics: Metrics) -> Self {
        Self {
            limit,
            bytes: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            connections: Mutex::default(),
            complaints: Mutex::new(Occasionally::every(COMPLAINT_INTERVAL)),
            metrics,
        }
    }

    /// An account for a connection, and the signal that cuts the connection.
    pub(super) fn account(self: &Arc<Self>) -> (Arc<Account>, CancellationToken) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let cut = CancellationToken::new();
        let own = Arc::new(OfConnection { bytes: AtomicUsize::new(0), cut: cut.clone() });
        lock(&self.connections).insert(id, own.clone());
        (Arc::new(Account { id, unread: self.clone(), own }), cut)
    }

    /// Cuts the connection with the most unread bytes.
    fn cut_worst(&self) {
        let worst = {
            let connections = lock(&self.connections);
            let by_bytes = |own: &&Arc<OfConnection>| own.bytes.load(Ordering::Relaxed);
            connections.values().max_by_key(by_bytes).cloned()
        };
        // While the connection is being cut, its bytes are still counted.
        let Some(worst) = worst.filter(|worst| !worst.cut.is_cancelled()) else { return };
        worst.cut.cancel();
        self.metrics.connections.cut.get_or_create(&LimitOf { limit: "unread" }).inc();
        if let Some(others) = lock(&self.complaints).now() {
            let (unread_bytes, limit_bytes) = (worst.bytes.load(Ordering::Relaxed), self.limit);
            tracing::warn!(
                unread_bytes,
                limit_bytes,
                others,
                "too much waits to be read; the connection with most of it was cut"
            );
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        lock(&self.unread.connections).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of an answer, counted until they are on their way to the client.
pub(super) struct Counted {
    bytes: Bytes,
    /// How many were counted.
    size: usize,
    account: Arc<Account>,
}

impl Counted {
    pub(super) fn new(bytes: Bytes, account: &Arc<Account>) -> Self {
        let size = bytes.len();
        account.own.bytes.fetch_add(size, Ordering::Relaxed);
        let unread = &account.unread;
        let in_all = unread.bytes.fetch_add(size, Ordering::Relaxed) + size;
        if in_all > unread.limit {
            unread.cut_worst();
        }
        Self { bytes, size, account: account.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.account.own.bytes.fetch_sub(self.size, Ordering::Relaxed);
        self.account.unread.bytes.fetch_sub(self.size, Ordering::Relaxed);
    }
}

impl Buf for Counted {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_limit_the_connection_with_most_unread_bytes_is_cut_and_no_other() {
        let unread = Arc::new(Unread::new(1_000, Metrics::default()));
        let [(small, small_cut), (large, large_cut)] = [(); 2].map(|()| unread.account());
        let bytes = |count: usize| Bytes::from(vec![0; count]);
        let first = Counted::new(bytes(300), &small);
        let second = Counted::new(bytes(700), &large);
        assert!(
            !small_cut.is_cancelled() && !large_cut.is_cancelled(),
            "the limit is not exceeded"
        );
        let third = Counted::new(bytes(1), &small);
        assert!(large_cut.is_cancelled() && !small_cut.is_cancelled());
        // Until the connection has ended, its bytes count, and no other is cut in its place.
        let fourth = Counted::new(bytes(1), &small);
        assert!(!small_cut.is_cancelled());
        drop((second, large));
        let fifth = Counted::new(bytes(600), &small);
        assert!(!small_cut.is_cancelled());
        drop((first, third, fourth, fifth, small));
        assert_eq!(unread.bytes.load(Ordering::Relaxed), 0);
        assert!(lock(&unread.connections).is_empty());
    }
}
