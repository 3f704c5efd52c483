//! The log's clock, by which business times go.
//!
//! Events are dated by the clock of the database. What decisions date (referrals, versions of programs,
//! reactivations) and what requests are compared with must go by the same clock, on every server, or a purchase
//! that is dated correctly comes before the referral that preceded it. This machine's own clock decides nothing.
//!
//! The clock runs by the machine's monotonic time, which nobody sets, and is corrected by every time that the
//! database returns: with each append, and every ten seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Environment;
use crate::metrics::Metrics;
use crate::store::log::timestamp;
use crate::store::{Database, StoreError, in_time};
use domain::Timestamp;

/// The pause between two measurements.
const MEASURE_PAUSE: Duration = Duration::from_secs(10);
/// How far the machine's clock may be off before the server says so.
const TOLERANCE_US: i64 = 5 * Timestamp::PER_SECOND;

/// A clock that follows that of the log. Cheap to clone; clones are the same clock.
#[derive(Clone)]
pub struct LogClock(Arc<Inner>);

struct Inner {
    began: Instant,
    /// The log's time at `began`, in microseconds since 1970.
    began_at_us: AtomicI64,
    /// The latest time that was told.
    latest_us: AtomicI64,
    /// This machine's clock, which is only compared with the log's.
    machine: Environment,
    /// Whether this machine's clock was off when it was compared last.
    is_off: AtomicBool,
    metrics: Metrics,
}

impl LogClock {
    /// Measures the log's clock.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn start(
        connection: &mut PgConnection,
        machine: Environment,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let (sent, time) = in_time(measure(connection)).await?;
        let took = i64::try_from(sent.elapsed().as_micros()).unwrap_or(i64::MAX);
        let inner = Inner {
            began: sent,
            // Half of the round trip is the best guess.
            began_at_us: AtomicI64::new(time.0.saturating_sub(took / 2)),
            latest_us: AtomicI64::new(0),
            machine,
            is_off: AtomicBool::new(false),
            metrics,
        };
        let clock = Self(Arc::new(inner));
        clock.compare();
        Ok(clock)
    }

    /// The machine's source of randomness with this clock.
    #[must_use]
    pub fn environment(&self) -> Environment {
        let (telling, observing) = (self.clone(), self.clone());
        Environment {
            now: Arc::new(move || telling.now()),
            observe: Arc::new(move |sent, time| observing.observe(sent, time)),
            random: self.0.machine.random.clone(),
            screening: self.0.machine.screening.clone(),
            purchases_table: self.0.machine.purchases_table,
        }
    }

    /// Keeps measuring until `stop` is cancelled. A measurement that fails is left out.
    pub async fn follow(self, database: Database, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(MEASURE_PAUSE)).await.is_some() {
            let measuring = in_time(async {
                let mut connection = database.pool().acquire().await?;
                measure(&mut connection).await
            });
            match stop.run_until_cancelled(measuring).await {
                Some(Ok((sent, time))) => {
                    self.observe(sent, time);
                    self.compare();
                }
                Some(Err(error)) => tracing::debug!(%error, "the log's clock cannot be measured"),
                None => break,
            }
        }
    }

    /// The log's time. Never earlier than it was told before.
    fn now(&self) -> Timestamp {
        let now =
            self.0.began_at_us.load(Ordering::Relaxed).saturating_add(self.since(Instant::now()));
        Timestamp(self.0.latest_us.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// Corrects the clock by a time that the log had at some moment after `sent` and before now. The correction
    /// is the least that agrees with that, so that slow answers do no harm.
    fn observe(&self, sent: Instant, time: Timestamp) {
        let latest = time.0.saturating_sub(self.since(sent));
        let earliest = time.0.saturating_sub(self.since(Instant::now())).min(latest);
        let correct = |at: i64| Some(at.clamp(earliest, latest));
        let order = Ordering::Relaxed;
        let _ = self.0.began_at_us.fetch_update(order, order, correct);
    }

    /// Microseconds from the beginning to a moment.
    fn since(&self, moment: Instant) -> i64 {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        match moment.checked_duration_since(self.0.began) {
            Some(after) => micros(after),
            None => -micros(self.0.began.duration_since(moment)),
        }
    }

    /// Exposes how far this machine's clock is off, and says so when it begins and ceases to be far off.
    fn compare(&self) {
        let difference = (self.0.machine.now)().0.saturating_sub(self.now().0);
        #[expect(clippy::cast_precision_loss, reason = "a difference of clocks is small")]
        let ahead_s = difference as f64 / 1e6;
        self.0.metrics.clock_ahead_seconds.set(ahead_s);
        let is_off = difference.saturating_abs() > TOLERANCE_US;
        if is_off != self.0.is_off.swap(is_off, Ordering::Relaxed) {
            if is_off {
                tracing::warn!(
                    ahead_s,
                    "the clock of this machine differs from the database's, by which everything is dated; \
                     set one of them"
                );
            } else {
                tracing::info!(
                    ahead_s,
                    "the clock of this machine agrees with the database's again"
                );
            }
        }
    }
}

/// Reads the log's time. Returns it with the moment at which it was asked for.
async fn measure(connection: &mut PgConnection) -> Result<(Instant, Timestamp), StoreError> {
    let sent = Instant::now();
    let row = sqlx::query(
        "select greatest(clock_timestamp(), \
         (select recorded_at from events order by position desc limit 1))",
    )
    .fetch_one(connection)
    .await?;
    Ok((sent, timestamp(row.try_get(0)?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    const SECOND: i64 = Timestamp::PER_SECOND;

    /// A clock that believed the log's time to be `time` just now, on a machine whose own clock says
    /// something else.
    fn clock(time: i64) -> LogClock {
        let machine = Environment {
            now: Arc::new(|| Timestamp(7)),
            ..Environment::of_this_machine().unwrap()
        };
        LogClock(Arc::new(Inner {
            began: Instant::now(),
            began_at_us: AtomicI64::new(time),
            latest_us: AtomicI64::new(0),
            machine,
            is_off: AtomicBool::new(false),
            metrics: Metrics::default(),
        }))
    }

    fn is_about(told: Timestamp, expected: i64) -> bool {
        (told.0 - expected).abs() < SECOND
    }

    #[test]
    fn it_follows_the_log_and_not_the_machine() {
        let clock = clock(1_000 * SECOND);
        assert!(is_about(clock.now(), 1_000 * SECOND));
        clock.observe(Instant::now(), Timestamp(1_600 * SECOND));
        assert!(is_about((clock.environment().now)(), 1_600 * SECOND));
        clock.compare();
        assert!(clock.0.metrics.clock_ahead_seconds.get() < -1_598.0);
        assert!(clock.0.is_off.load(Ordering::Relaxed));
    }

    #[test]
    fn it_never_goes_back() {
        let clock = clock(1_000 * SECOND);
        let told = clock.now();
        clock.observe(Instant::now(), Timestamp(400 * SECOND));
        assert_eq!(clock.now(), told);
        // It goes on when the log has caught up.
        clock.observe(Instant::now(), Timestamp(1_001 * SECOND));
        assert!(is_about(clock.now(), 1_001 * SECOND));
    }

    #[test]
    fn an_answer_that_took_long_corrects_it_only_as_far_as_it_must() {
        let clock = clock(1_000 * SECOND);
        // The log had its time at some moment of the last minute.
        let sent = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        clock.observe(sent, Timestamp(1_000 * SECOND));
        assert!(is_about(clock.now(), 1_000 * SECOND));
        clock.observe(sent, Timestamp(990 * SECOND));
        assert!(is_about(clock.now(), 1_000 * SECOND));
        clock.observe(sent, Timestamp(1_100 * SECOND));
        assert!(is_about(clock.now(), 1_100 * SECOND));
    }
}
