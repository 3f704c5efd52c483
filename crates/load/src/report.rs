//! What a run says at its end, and what it was made with and on. As JSON it is what is here.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{Counter, Histogram};
use serde::Serialize;

use super::Scenario;
use super::check::Checked;
use super::driver::{Length, Plan};
use super::machine::{Machine, Memory};

/// What a run is made with.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// What is done.
    pub scenario: Scenario,
    /// The server.
    pub server: String,
    /// Whether the server was started for this run, and has nothing else in its log.
    pub own_server: bool,
    /// What all choices are made from.
    pub seed: u64,
    /// Connections to the server, used in turn.
    pub connections: usize,
    /// How many operations can be under way at the same time.
    pub concurrency: usize,
    /// Users that are signed up before the run.
    pub participants: u64,
    /// The earlier run that signed them up; this one if there is none.
    pub participants_of: Option<String>,
    /// Whether sign-ups of the run itself have passwords, which have to be hashed.
    pub passwords: bool,
    /// Live streams that are open during the run.
    pub streams: u64,
    /// How long operations are done before any is measured, in seconds.
    pub warm_up_s: f64,
    /// How long it is done after that, in seconds; `None` if it is counted.
    pub duration_s: Option<f64>,
    /// How often it is done; `None` if it is timed.
    pub count: Option<u64>,
    /// How many operations are to start each second; `None`: as many as can.
    pub rate: Option<f64>,
    /// The rate as a share of as many as can, which is found out first.
    pub share_of_full: Option<f64>,
}

impl Settings {
    /// The same for the driver.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let timed = Length::Duration(seconds(self.duration_s.unwrap_or_default()));
        Plan {
            concurrency: self.concurrency,
            warm_up: seconds(self.warm_up_s),
            length: self.count.map_or(timed, Length::Count),
            rate: self.rate,
        }
    }
}

/// How latencies are distributed, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// How many there are.
    pub count: u64,
    /// Half of them are at most this.
    pub p50_ms: f64,
    /// 90 % are.
    pub p90_ms: f64,
    /// 99 % are.
    pub p99_ms: f64,
    /// 99.9 % are.
    pub p999_ms: f64,
    /// All are.
    pub max_ms: f64,
}

impl Latency {
    /// Of latencies in microseconds.
    #[must_use]
    pub fn of<C: Counter>(histogram: &Histogram<C>) -> Self {
        let at = |quantile| milliseconds(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: milliseconds(histogram.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "latencies for people")]
fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Second {
    /// Which one, from 0 on.
    pub second: usize,
    /// The latencies of the operations that were meant to start in it.
    #[serde(flatten)]
    pub latency: Latency,
}

/// What live streams have brought. Rewards are those of the whole run, latencies are without warming up.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// Streams that were open.
    pub streams: usize,
    /// Rewards that came on them.
    pub rewards: u64,
    /// How long after the answer to a purchase its reward came; 0 if it came before the answer. Only if each
    /// purchase has a stream.
    pub delivery: Option<Latency>,
    /// Rewards that came before the answer.
    pub before_answer: u64,
    /// How long after the answer a read with its token was answered.
    pub read_after_write: Option<Latency>,
    /// Answers after which no read was made, as too many were under way.
    pub unread: u64,
    /// Rewards that never came.
    pub missing: u64,
    /// Rewards that came twice.
    pub twice: u64,
}

/// How far the read models were behind the log.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Lag {
    /// The most events that were seen during the run, looking once a second.
    pub greatest_events: i64,
    /// How many at its end.
    pub end_events: i64,
    /// How long it took from then until they reflected all, in milliseconds.
    pub catch_up_ms: f64,
}

/// What a run says.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the run is called; leads the ids of all that it writes.
    pub run: String,
    /// The version of this program.
    pub version: &'static str,
    /// How it was built: `release` or `debug`, whose numbers say nothing.
    pub build: &'static str,
    /// When the run began, in UTC.
    pub date: String,
    /// What it was made on. The load and, if it was started for it, the server and its Postgres share it.
    pub machine: Machine,
    /// What it was made with.
    pub settings: Settings,
    /// How long it took to sign up the participants, in seconds.
    pub set_up_s: f64,
    /// From the end of warming up until the last operation had ended, in seconds.
    pub elapsed_s: f64,
    /// Operations that were measured.
    pub count: u64,
    /// How many of them succeeded.
    pub succeeded: u64,
    /// How many of them failed, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Operations that were due and whose turn did not come.
    pub unstarted: u64,
    /// Operations that succeeded, each second.
    pub throughput_per_s: f64,
    /// The same with as many as can, if that was found out first.
    pub full_per_s: Option<f64>,
    /// From the intended start of an operation until its answer.
    pub latency: Latency,
    /// What live streams have brought, if any were open.
    pub live: Option<Live>,
    /// How far the read models were behind.
    pub lag: Lag,
    /// The memory of the server after the run, if it was started for it.
    pub memory: Option<Memory>,
    /// What the log holds of the sign-ups, those of the participants and while warming up among them.
    pub sign_ups: Checked,
    /// What the log holds of the purchases, those while warming up among them.
    pub purchases: Checked,
    /// What should not have happened on live streams and in reads after writes.
    pub faults: Vec<String>,
    /// The latencies by second.
    pub seconds: Vec<Second>,
}

impl Report {
    /// What makes the run a failure, if anything does: the first thing that is not as it was answered.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let missing = self.live.as_ref().filter(|live| live.missing > 0);
        let twice = self.live.as_ref().filter(|live| live.twice > 0);
        let faults = [
            self.purchases.first_fault.clone(),
            self.sign_ups.first_fault.clone(),
            missing
                .map(|live| format!("rewards that never came on their streams: {}", live.missing)),
            twice.map(|live| format!("rewards that came on their streams twice: {}", live.twice)),
            self.faults.first().cloned(),
        ];
        faults.into_iter().flatten().next()
    }
}
