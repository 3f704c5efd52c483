//! Repeats an operation and measures it. The driver does not know what the operation does.
//!
//! Latency is measured from the moment at which an operation was *meant* to start. With a rate, that is its
//! scheduled time; without, the moment at which its worker became free for it. A driver that measures from the
//! moment of sending omits exactly the operations that a stall kept from being sent, and reports the stall as a
//! single slow operation. Gil Tene calls this coordinated omission ("How NOT to measure latency";
//! <https://hdrhistogram.github.io/HdrHistogram/>). Without a rate a stall still stops the workers, so that each
//! worker sees it once; to learn what users who arrive at a given rate would see, set a rate.

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
/// The maximum number of seconds that are kept for the plot; later ones only count in the totals.
const MOST_SECONDS: usize = 4 * 60 * 60;
/// The maximum number of different reasons that are counted separately.
const MOST_REASONS: usize = 50;

/// How the operations are done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many operations can be in progress at the same time.
    pub concurrency: usize,
    /// How long operations run before any is measured.
    pub warm_up: Duration,
    /// How long, or how many, operations are measured after that.
    pub length: Length,
    /// How many operations are to start each second; `None` for as many as possible.
    pub rate: Option<f64>,
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Operations that are meant to start within this time are measured.
    Duration(Duration),
    /// This number of operations is measured.
    Count(u64),
}

impl Plan {
    /// A plan of `count` operations, as fast as possible, measured from the first one.
    #[must_use]
    pub const fn of_count(count: u64, concurrency: usize) -> Self {
        Self { concurrency, warm_up: Duration::ZERO, length: Length::Count(count), rate: None }
    }

    /// When operation `number` is meant to start, after the first one; `None` without a schedule.
    #[must_use]
    pub fn scheduled(&self, number: u64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "runs are shorter than 2^52 operations")]
        let seconds = number as f64 / self.rate?;
        // With a rate of nearly zero, the second operation never starts.
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4))
    }
}

/// The measurements.
#[derive(Clone, Debug)]
pub struct Measured {
    /// When measuring began: after warming up.
    pub started: Instant,
    /// The time from `started` until the last operation had ended.
    pub elapsed: Duration,
    /// Operations that were measured, including failed ones.
    pub count: u64,
    /// The number of failed operations, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Operations that were due, but did not start before the time was over. If there are any, the rate was
    /// too high, and the latencies are too good.
    pub unstarted: u64,
    /// The latencies of those that succeeded, in microseconds.
    pub histogram: Histogram<u64>,
    /// The same latencies by the second in which operations were meant to start.
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

    /// Successful operations per second.
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

/// A duration for a histogram: in whole microseconds.
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
    // This fails only for a histogram that cannot grow, and all histograms here can.
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
    /// How many measured operations have begun.
    taken: AtomicU64,
    measured: Mutex<Measured>,
}

impl<W> Run<W> {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        // Recording does not panic.
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` as planned, each time with the next number, from 0; the numbers used for warming up are not reused. A
/// count without warming up uses each number below it exactly once. Operations in progress when the time is over are
/// awaited.
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
            // A worker ends with an error only if its work panics.
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
            // Without warming up the numbers themselves are counted, so that each number below the count is
            // used once.
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
