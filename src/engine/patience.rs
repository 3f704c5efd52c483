//! How long the commands of a batch wait for the database.

use std::time::{Duration, Instant};

use crate::store::{StoreError, until};

/// How long even the most impatient batch waits for answers, since a connection must be opened and asked first.
const LEAST: Duration = Duration::from_secs(1);
/// How long a batch tries again if the one before has waited in vain.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// The time that a batch may take in all: all its statements, connections and repetitions together. If each had
/// a limit of its own, the limits would add up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Nothing is tried again after this moment.
    retry_until: Instant,
    /// No answer is awaited after this moment.
    wait_until: Instant,
}

impl Patience {
    /// The patience of commands of which the oldest has waited since `since`.
    pub(super) fn since(since: Instant, patience: Duration) -> Self {
        let retry_until = since + patience;
        Self { retry_until, wait_until: retry_until.max(Instant::now() + LEAST) }
    }

    /// The patience of commands that come while the database is known to be away. They may have waited for the batch
    /// before as long as for their own, so each batch waits half of the time.
    pub(super) fn while_away(patience: Duration) -> Self {
        let now = Instant::now();
        Self { retry_until: now + IMPATIENCE, wait_until: now + LEAST.max(patience / 2) }
    }

    /// The same patience, but nothing is tried twice.
    pub(super) fn without_retries(self) -> Self {
        Self { retry_until: Instant::now(), ..self }
    }

    /// Whether something that failed may be tried again.
    pub(super) fn allows_retry(self) -> bool {
        Instant::now() < self.retry_until.min(self.wait_until)
    }

    /// Awaits an operation on the database for as long as this patience lasts.
    pub(super) async fn bound<'a, T>(
        self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Result<T, StoreError> {
        until(self.wait_until, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_that_a_batch_does_has_one_limit_together() {
        let began = Instant::now();
        let patience = Patience::since(began, LEAST);
        for _ in 0..5 {
            let hanging = std::future::pending::<Result<(), StoreError>>();
            assert!(matches!(patience.bound(hanging).await, Err(StoreError::Unavailable(_))));
        }
        assert!((LEAST..LEAST * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[test]
    fn commands_that_have_waited_for_long_are_still_tried_once() {
        let long_ago = Instant::now().checked_sub(Duration::from_mins(1));
        let patience = Patience::since(long_ago.unwrap_or_else(Instant::now), Duration::ZERO);
        assert!(!patience.allows_retry());
        assert!(patience.wait_until > Instant::now());
    }
}
