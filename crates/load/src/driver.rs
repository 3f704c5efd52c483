//! Does one thing over and over, and measures it. What the thing is, the driver does not know.
//!
//! Latency is measured from the moment at which an operation was *meant* to start. With a rate, that is its
//! place in the schedule; without, the moment at which its worker was free for it. A driver that takes the
//! time from the moment at which it really sent leaves out just those operations that a stall kept from
//! being sent, and reports the stall as a single slow one: Gil Tene calls it coordinated omission ("How NOT to
//! measure latency"; <https://hdrhistogram.github.io/HdrHistogram/>). Without a rate a stall still stops
//! the workers, so that it is seen once by each of them; to learn what users of a given number would have seen, give
//! a rate.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Significant digits of the latencies of a whole run.
const DIGITS: u8 = 3;
/// Significant digits of the latencies of one second, which are drawn and not printed.
const DIGITS_OF_A_SECOND: u8 = 2;
/// The most seconds that are kept for the plot; later ones are in the whole only.
const MOST_SECONDS: usize = 4 * 60 * 60;
/// The most different reasons that are counted by themselves.
const MOST_REASONS: usize = 50;

/// How to do it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many operations can be under way at the same time.
    pub concurrency: usize,
    /// How long operations are done before any is measured.
    pub warm_up: Duration,
    /// How long, or how often, it is done after that.
    pub length: Length,
    /// How many operations are to start each second; as many as can if it is `None`.
    pub rate: Option<f64>,
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Operations that are meant to start within this time are measured.
    Duration(Duration),
    /// So many operations are measured.
    Count(u64),
}

impl Plan {
    /// So many operations, as fast as they go, measured from the first one on.
    #[must_use]
    pub const fn of_count(count: u64, concurrency: usize) -> Self {
        Self { concurrency, warm_up: Duration::ZERO, length: Length::Count(count), rate: None }
    }

    /// When operation `number` is meant to start, after the first one; `None` without a schedule.
    #[must_use]
    pub fn scheduled(&self, number: u64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "runs are shorter than 2^52 operations")]
        let seconds = number as f64 / self.rate?;
        // A rate of nearly nothing puts off the second operation for good.
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4))
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// When measuring began: after warming up.
    pub started: Instant,
    /// From then until the last operation had ended.
    pub elapsed: Duration,
    /// Operations that were measured, those that failed among them.
    pub count: u64,
    /// How many of them failed, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Operations that were due, but whose turn did not come before the time was over. The latencies are too
    /// good if there are any: the rate was more than could be done.
    pub unstarted: u64,
    /// The latencies of those that succeeded, in microseconds.
    pub histogram: Histogram<u64>,
    /// The same by the second in which they were meant to start.
    pub seconds: Vec<Histogram<u32>>,
}

impl Measured {
    fn new(started: Instant) -> Self {
        Self {
            started,
            elapsed: Duration::ZERO,
            count: 0,
            errors: BTreeMap::new(),
            unstarted: 0,
            histogram: histogram(),
            seconds: Vec::new(),
        }
    }

    /// Operations that were measured and succeeded.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        self.count.saturating_sub(self.errors.values().sum())
    }

    /// Operations that succeeded, each second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn throughput(&self) -> f64 {
        self.succeeded() as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }

    fn record(&mut self, intended: Instant, ended: Instant, outcome: Result<(), String>) {
        self.count += 1;
        self.elapsed = self.elapsed.max(ended - self.started);
        if let Err(reason) = outcome {
            return count_reason(&mut self.errors, reason);
        }
        let micros = micros(ended - intended);
        record(&mut self.histogram, micros);
        let second = usize::try_from((intended - self.started).as_secs()).unwrap_or(usize::MAX);
        if second < MOST_SECONDS {
            while self.seconds.len() <= second {
                self.seconds.push(resizing(DIGITS_OF_A_SECOND));
            }
            record(&mut self.seconds[second], micros);
        }
    }
}

/// An empty histogram of latencies in microseconds.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    resizing(DIGITS)
}

/// A duration as a histogram takes it: in whole microseconds.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::expect_used, reason = "fails for more than 5 digits only")]
fn resizing<C: hdrhistogram::Counter>(digits: u8) -> Histogram<C> {
    Histogram::new(digits).expect("a number of digits that is possible")
}

/// Adds a value to a histogram made by [`histogram`].
pub fn record<C: hdrhistogram::Counter>(histogram: &mut Histogram<C>, value: u64) {
    // Fails for a histogram that cannot grow only, and all of ours can.
    let recorded = histogram.record(value);
    debug_assert!(recorded.is_ok());
}

fn count_reason(errors: &mut BTreeMap<String, u64>, reason: String) {
    let is_new = !errors.contains_key(&reason);
    let reason = if is_new && errors.len() >= MOST_REASONS { "others".into() } else { reason };
    *errors.entry(reason).or_default() += 1;
}

/// What the workers of a run share.
struct Run<W> {
    plan: Plan,
    work: W,
    begun: Instant,
    started: Instant,
    /// The number of the next operation.
    next: AtomicU64,
    /// How many operations have begun that are measured.
    taken: AtomicU64,
    measured: Mutex<Measured>,
}

impl<W> Run<W> {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        // Recording does not panic.
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` as planned, each time with the next number from 0 on; the numbers used for warming up do not
/// come again. A count without warming up uses each number below it exactly once. An operation that is under way when the time is over is waited for.
pub async fn run<W, F>(plan: &Plan, work: W) -> Measured
where
    W: Fn(u64) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let begun = Instant::now();
    let started = begun + plan.warm_up;
    let run = Arc::new(Run {
        plan: plan.clone(),
        work,
        begun,
        started,
        next: AtomicU64::new(0),
        taken: AtomicU64::new(0),
        measured: Mutex::new(Measured::new(started)),
    });
    let mut workers = JoinSet::new();
    for _ in 0..plan.concurrency.max(1) {
        workers.spawn(worker(run.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended {
            // Only work that panics ends a worker like this.
            run.measured().record(run.started, Instant::now(), Err(error.to_string()));
        }
    }
    run.measured().clone()
}

async fn worker<W, F>(run: Arc<Run<W>>)
where
    W: Fn(u64) -> F,
    F: Future<Output = Result<(), String>>,
{
    let mut free = Instant::now();
    loop {
        let number = run.next.fetch_add(1, Ordering::Relaxed);
        let intended = run.plan.scheduled(number).map_or(free, |after| run.begun + after);
        let is_measured = intended >= run.started;
        match run.plan.length {
            Length::Duration(duration) if intended >= run.started + duration => return,
            Length::Duration(duration)
                if run.plan.rate.is_some() && Instant::now() >= run.started + duration =>
            {
                run.measured().unstarted += u64::from(is_measured);
                continue;
            }
            // Without warming up the numbers themselves are the count, so that each below it comes once.
            Length::Count(count) if run.plan.warm_up.is_zero() && number >= count => return,
            Length::Count(count)
                if !run.plan.warm_up.is_zero()
                    && is_measured
                    && run.taken.fetch_add(1, Ordering::Relaxed) >= count =>
            {
                return;
            }
            _ => {}
        }
        if run.plan.rate.is_some() {
            sleep_until(intended).await;
        }
        let outcome = (run.work)(number).await;
        let ended = Instant::now();
        if is_measured {
            run.measured().record(intended, ended, outcome);
        }
        free = ended;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#[path = "driver_tests.rs"]
mod tests;
