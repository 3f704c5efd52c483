//! How far the read models are behind the log. Every server measures that by itself, because the server that keeps them
//! up to date may be the one that hangs.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::Row;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::models::ModelCopy;
use crate::lifecycle::{Stage, Tasks};
use crate::metrics::Metrics;
use crate::store::{Database, StoreError, in_time};

/// How often the lag is measured.
const INTERVAL: Duration = Duration::from_millis(500);
/// A lag that is worth a line in the log, and how often.
const LONG: Duration = Duration::from_secs(5);
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);

/// The lowest position of some copies, the head of the log, and the seconds since the first event after that position
/// was recorded.
const MEASURE: &str = "select reached.position as reached, head.position as head, \
         coalesce(extract(epoch from clock_timestamp() - missing.recorded_at), 0)::float8 as seconds \
     from (\
         select coalesce(min(latest.position), 0) as position \
         from unnest($1) as copy (copy) \
         cross join lateral (\
             select position from checkpoints where checkpoints.copy = copy.copy \
             order by position desc limit 1\
         ) as latest\
     ) as reached \
     cross join (\
         select coalesce((select position from events order by position desc limit 1), 0) as position\
     ) as head \
     left join lateral (\
         select recorded_at from events where events.position = reached.position + 1\
     ) as missing on true";

/// How far the read models are behind the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// The position that all of them have reached.
    pub reached: i64,
    /// The number of events that the slowest lacks.
    pub events: i64,
    /// How long ago the oldest of those events was recorded, by the clock of the database.
    pub age: Duration,
}

/// Starts measuring.
pub(super) fn start(
    database: Database,
    copies: &[ModelCopy],
    tasks: &Tasks,
    metrics: Metrics,
) -> watch::Receiver<Lag> {
    let tables = copies.iter().map(|copy| copy.table.clone()).collect();
    let (lag, measured) = watch::channel(Lag::default());
    let meter = Meter { database, tables, lag, metrics, complained_at: None };
    tasks.spawn(Stage::Background, "lag of the read models", |stop| async move {
        stop.run_until_cancelled(meter.run()).await;
        Ok::<_, Infallible>(())
    });
    measured
}

struct Meter {
    database: Database,
    tables: Vec<String>,
    lag: watch::Sender<Lag>,
    metrics: Metrics,
    /// When a long lag was last logged.
    complained_at: Option<Instant>,
}

impl Meter {
    async fn run(mut self) {
        loop {
            match in_time(self.measure()).await {
                Ok(lag) => self.report(lag),
                // The tail of the log reports that the database is unavailable.
                Err(error) => {
                    tracing::debug!(%error, "the lag of the read models cannot be measured");
                }
            }
            sleep(INTERVAL).await;
        }
    }

    async fn measure(&self) -> Result<Lag, StoreError> {
        let row = sqlx::query(MEASURE).bind(&self.tables).fetch_one(self.database.pool()).await?;
        let (reached, head): (i64, i64) = (row.try_get("reached")?, row.try_get("head")?);
        let seconds: f64 = row.try_get("seconds")?;
        let age = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Ok(Lag { reached, events: head - reached, age })
    }

    fn report(&mut self, lag: Lag) {
        self.metrics.projected_position.set(lag.reached);
        self.metrics.projection_lag_events.set(lag.events);
        self.metrics.projection_lag_seconds.set(lag.age.as_secs_f64());
        let is_time = self.complained_at.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL);
        if lag.age >= LONG && is_time {
            let (events, seconds) = (lag.events, lag.age.as_secs());
            tracing::warn!(events, seconds, "the read models are behind the log");
            self.complained_at = Some(Instant::now());
        }
        self.lag.send_replace(lag);
    }
}

impl super::Reads {
    /// How far the read models were behind when this server last measured it, at most a second ago.
    #[must_use]
    pub fn lag(&self) -> Lag {
        *self.lag.borrow()
    }
}
