//! Turns at the database for streams.
//!
//! Streams that read the past take only so many connections at once, so that other reads never wait behind them.
//! Callers take turns, each with its next stream, so that a caller with many streams does not keep another waiting.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Gives out turns. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Those who wait, by caller.
    waiting: HashMap<Arc<str>, VecDeque<oneshot::Sender<Turn>>>,
    /// The callers of whom somebody waits, in the order in which they get the next turns.
    order: VecDeque<Arc<str>>,
}

/// A turn, which is over when this value is dropped.
#[derive(Debug)]
pub struct Turn(Option<Arc<Mutex<State>>>);

impl Turns {
    /// So many turns at once.
    pub(crate) fn new(count: usize) -> Self {
        let state = State { free: count.max(1), waiting: HashMap::new(), order: VecDeque::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Waits for a turn of a caller.
    pub(crate) async fn take(&self, caller: &Arc<str>) -> Turn {
        let turn = {
            let mut state = lock(&self.0);
            if state.free > 0 {
                state.free -= 1;
                return Turn(Some(self.0.clone()));
            }
            let (sender, turn) = oneshot::channel();
            let of_caller = state.waiting.entry(caller.clone()).or_default();
            of_caller.push_back(sender);
            if of_caller.len() == 1 {
                state.order.push_back(caller.clone());
            }
            turn
        };
        // A sender is only dropped with all turns.
        turn.await.unwrap_or(Turn(None))
    }
}

impl State {
    /// Who gets the next turn: the first of the next caller, whose others then wait for the other callers.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let caller = self.order.pop_front()?;
        let of_caller = self.waiting.get_mut(&caller)?;
        let next = of_caller.pop_front();
        if of_caller.is_empty() {
            self.waiting.remove(&caller);
        } else {
            self.order.push_back(caller);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(state) = self.0.take() else { return };
        loop {
            let next = {
                let mut locked = lock(&state);
                let next = locked.next();
                if next.is_none() {
                    locked.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(Self(Some(state.clone()))) {
                Ok(()) => return,
                // This one has stopped waiting. Dropping its turn here would pass it on once more.
                Err(mut refused) => refused.0 = None,
            }
        }
    }
}

/// A panic while the state was locked leaves it usable: nothing in here panics halfway.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    /// Whether a future is complete.
    async fn is_ready(future: impl Future<Output = Turn> + Unpin) -> Option<Turn> {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            Poll::Ready(match future.as_mut().poll(context) {
                Poll::Ready(turn) => Some(turn),
                Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn a_caller_with_many_streams_does_not_keep_another_waiting() {
        let turns = Turns::new(1);
        let (many, one): (Arc<str>, Arc<str>) = ("many".into(), "one".into());
        let held = turns.take(&many).await;
        let mut of_many = [(); 3].map(|()| Box::pin(turns.take(&many)));
        for waiting in &mut of_many {
            assert!(is_ready(waiting.as_mut()).await.is_none());
        }
        let mut of_one = Box::pin(turns.take(&one));
        assert!(is_ready(of_one.as_mut()).await.is_none());

        drop(held);
        let [first, second, third] = &mut of_many;
        let first = is_ready(first.as_mut()).await;
        assert!(first.is_some() && is_ready(second.as_mut()).await.is_none());
        drop(first);
        assert!(is_ready(second.as_mut()).await.is_none(), "it is the other caller's turn");
        let other = is_ready(of_one.as_mut()).await;
        assert!(other.is_some());
        drop(other);
        let second = is_ready(second.as_mut()).await;
        assert!(second.is_some() && is_ready(third.as_mut()).await.is_none());
    }

    #[tokio::test]
    async fn a_turn_of_one_who_has_stopped_waiting_goes_to_the_next_or_is_free_again() {
        let turns = Turns::new(1);
        let (ada, ben): (Arc<str>, Arc<str>) = ("ada".into(), "ben".into());
        let held = turns.take(&ada).await;
        let mut gone = Box::pin(turns.take(&ada));
        let mut given = Box::pin(turns.take(&ben));
        let mut stays = Box::pin(turns.take(&ada));
        for waiting in [&mut gone, &mut given, &mut stays] {
            assert!(is_ready(waiting.as_mut()).await.is_none());
        }
        drop(gone);
        drop(held);
        // Ben has been given the turn, but never looks.
        drop(given);
        let turn = is_ready(stays.as_mut()).await;
        assert!(turn.is_some());
        drop(turn);
        let state = lock(&turns.0);
        assert!(state.free == 1 && state.waiting.is_empty() && state.order.is_empty());
    }
}
