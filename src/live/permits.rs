//! Permits for streams: limits on the number of streams, in all and per caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::Metrics;

#[derive(Clone)]
pub(super) struct Permits {
    taken: Arc<Mutex<HashMap<Arc<str>, usize>>>,
    limit: usize,
    limit_per_caller: usize,
    metrics: Metrics,
}

/// One open stream of a caller.
pub struct Permit {
    permits: Permits,
    caller: Arc<str>,
}

/// There is no permit left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The limit that was reached.
    pub limit: usize,
    /// Whether it is the limit per caller, not the limit of all callers together.
    pub is_callers: bool,
}

impl Permits {
    pub(super) fn new(limit: usize, limit_per_caller: usize, metrics: Metrics) -> Self {
        Self { taken: Arc::default(), limit, limit_per_caller, metrics }
    }

    pub(super) fn acquire(&self, caller: &str) -> Result<Permit, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.limit {
            return Err(Full { limit: self.limit, is_callers: false });
        }
        let caller: Arc<str> = caller.into();
        let count = taken.entry(caller.clone()).or_default();
        if *count >= self.limit_per_caller {
            return Err(Full { limit: self.limit_per_caller, is_callers: true });
        }
        *count += 1;
        self.metrics.streams.inc();
        Ok(Permit { permits: self.clone(), caller })
    }
}

impl Permit {
    /// Whose stream it is.
    #[must_use]
    pub fn caller(&self) -> &Arc<str> {
        &self.caller
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.metrics.streams.dec();
        let mut taken = self.permits.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_run_out_per_caller_and_in_all_and_come_back() {
        let permits = Permits::new(3, 2, Metrics::default());
        let (one, two) = (permits.acquire("ada"), permits.acquire("ada"));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(permits.acquire("ada").err(), Some(Full { limit: 2, is_callers: true }));
        let three = permits.acquire("ben");
        assert_eq!(permits.acquire("cleo").err(), Some(Full { limit: 3, is_callers: false }));
        drop(one);
        assert!(permits.acquire("ada").is_ok());
        drop((two, three));
        assert!(permits.taken.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    }
}
