//! A limit on how many jobs a server begins in a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What sums of fractions of tokens may lack.
const ROUNDING: f64 = 1e-6;

/// A token bucket: it holds the tokens of one second at most, so that a few jobs begin at once, and each job that is
/// begun takes one. Several kinds of jobs can share one; whichever kind looks first gets what there is.
#[derive(Debug)]
pub struct Pace {
    per_second: u32,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Option<Instant>,
}

impl Pace {
    /// So many jobs in a second, at least one.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        let bucket = Bucket { tokens: f64::from(per_second), filled_at: None };
        Self { per_second, bucket: Mutex::new(bucket) }
    }

    /// How many jobs may begin in a second.
    pub(super) fn per_second(&self) -> usize {
        usize::try_from(self.per_second).unwrap_or(usize::MAX)
    }

    /// The tokens that there are now, after `taken` of them were taken.
    fn tokens(&self, now: Instant, taken: usize) -> f64 {
        let per_second = f64::from(self.per_second);
        // Nothing panics while the lock is held.
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let since = bucket.filled_at.map(|at| now.saturating_duration_since(at));
        let added = since.unwrap_or_default().as_secs_f64() * per_second;
        bucket.tokens = (bucket.tokens + added).min(per_second);
        bucket.filled_at = Some(now);
        bucket.tokens -= number(taken);
        bucket.tokens
    }

    /// How many jobs may begin now.
    pub(super) fn available(&self, now: Instant) -> usize {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounded down to a small number that is not negative"
        )]
        let whole = (self.tokens(now, 0) + ROUNDING).max(0.0) as usize;
        whole
    }

    /// So many jobs begin now.
    pub(super) fn spend(&self, now: Instant, jobs: usize) {
        self.tokens(now, jobs);
    }

    /// How long it takes until so many jobs may begin; if that is more than one second's, until one second's may.
    pub(super) fn until(&self, now: Instant, jobs: usize) -> Duration {
        let per_second = f64::from(self.per_second);
        let missing = number(jobs).min(per_second) - self.tokens(now, 0);
        Duration::try_from_secs_f64(missing / per_second).unwrap_or_default()
    }
}

#[allow(clippy::cast_precision_loss, reason = "small numbers of jobs")]
fn number(jobs: usize) -> f64 {
    jobs as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_may_begin_at_once_and_then_so_many_each_second() {
        let (pace, mut now) = (Pace::new(30), Instant::now());
        assert_eq!(pace.available(now), 30);
        pace.spend(now, 30);
        assert_eq!(pace.available(now), 0);
        let pause = pace.until(now, 3);
        assert!((99..=101).contains(&pause.as_millis()), "{pause:?}");
        now += pause;
        assert_eq!(pace.available(now), 3);
        pace.spend(now, 3);
        let mut begun = 0;
        for _ in 0..100 {
            now += Duration::from_millis(100);
            let jobs = pace.available(now).min(4);
            pace.spend(now, jobs);
            begun += jobs;
        }
        assert!((299..=301).contains(&begun), "{begun} in ten seconds");
        now += Duration::from_mins(1);
        assert_eq!((pace.available(now), pace.until(now, 100)), (30, Duration::ZERO));
    }

    #[test]
    fn a_slow_pace_lets_one_job_begin_at_a_time() {
        let (pace, now) = (Pace::new(1), Instant::now());
        assert_eq!(pace.available(now), 1);
        pace.spend(now, 1);
        assert_eq!((pace.available(now), pace.until(now, 4)), (0, Duration::from_secs(1)));
    }
}
