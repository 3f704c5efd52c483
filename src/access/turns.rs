//! The share of the connections to the database that logins get. Anybody can call the RPCs that log people in or mail
//! them a token, at once and as often as limits allow, and some of their statements wait for each other at the row of
//! one user; other reads must find a connection all the same.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The share of the connections, as a divisor: one in four, and at least one.
const CONNECTIONS_PER_TURN: u32 = 4;
/// How many may wait for a turn. At a few milliseconds each, some seconds of them.
const MAX_WAITING: usize = 1_000;

/// Turns to use the database. Cheap to clone.
#[derive(Clone)]
pub struct Turns {
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Too many wait for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many logins are waiting; try again later")]
pub struct QueueFull;

/// A turn, until it is dropped.
pub struct Turn {
    _permits: [OwnedSemaphorePermit; 2],
}

/// A place among those who wait.
pub struct Place(OwnedSemaphorePermit);

impl Turns {
    /// Turns that use a share of these connections.
    #[must_use]
    pub fn of(pool: &PgPool) -> Self {
        let connections = pool.options().get_max_connections();
        Self::new((connections / CONNECTIONS_PER_TURN).max(1) as usize, MAX_WAITING)
    }

    fn new(at_once: usize, max_waiting: usize) -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(at_once)),
            waiting: Arc::new(Semaphore::new(max_waiting)),
        }
    }

    /// Takes a place among those who wait.
    ///
    /// # Errors
    /// [`QueueFull`] if there is none.
    pub fn queue(&self) -> Result<Place, QueueFull> {
        self.waiting.clone().try_acquire_owned().map(Place).map_err(|_| QueueFull)
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`QueueFull`] if the semaphore was closed, which nobody does.
    pub async fn wait(&self, Place(place): Place) -> Result<Turn, QueueFull> {
        let permit = self.at_once.clone().acquire_owned().await.map_err(|_| QueueFull)?;
        Ok(Turn { _permits: [place, permit] })
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`QueueFull`] if too many do.
    pub async fn take(&self) -> Result<Turn, QueueFull> {
        self.wait(self.queue()?).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[tokio::test]
    async fn so_many_take_turns_and_so_many_wait() {
        let turns = Turns::new(1, 2);
        let first = turns.take().await.unwrap();
        let place = turns.queue().unwrap();
        assert_eq!(turns.take().await.err(), Some(QueueFull));
        let second = tokio::spawn({
            let turns = turns.clone();
            async move { turns.wait(place).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        drop(second.await.unwrap().unwrap());
        assert!(turns.take().await.is_ok());
    }
}
