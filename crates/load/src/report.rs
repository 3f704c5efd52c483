//! The report of a run: its results, its settings and its machine. The JSON form has the fields of these
//! types.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{Counter, Histogram};
use serde::Serialize;

use super::check::Checked;
use super::driver::{Length, Plan};
use super::machine::{Machine, Memory};
use super::{Caller, Scenario};

/// The settings of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// The scenario.
    pub scenario: Scenario,
    /// The server.
    #[serde(flatten)]
    pub server: client::Server,
    /// Whether the server was started for this run, and its log contains nothing else.
    pub own_server: bool,
    /// Who records the purchases.
    pub caller: Caller,
    /// How many people log in at once, or how many strangers sign up; 0 in scenarios without a storm.
    pub storm: u64,
    /// What all choices are made from.
    pub seed: u64,
    /// Connections to the server, used in turn.
    pub connections: usize,
    /// How many operations can be under way at the same time.
    pub concurrency: usize,
    /// Users who are signed up before the run.
    pub participants: u64,
    /// The earlier run that signed them up; `None` if this run did.
    pub participants_of: Option<String>,
    /// Whether sign-ups during the run have passwords, which must be hashed.
    pub passwords: bool,
    /// Live streams that are open during the run.
    pub streams: u64,
    /// How long operations are done before any is measured, in seconds.
    pub warm_up_s: f64,
    /// How long operations are measured after that, in seconds; `None` if they are counted.
    pub duration_s: Option<f64>,
    /// How many operations are measured; `None` if the run is timed.
    pub count: Option<u64>,
    /// How many operations are to start each second; `None` for as many as possible.
    pub rate: Option<f64>,
    /// The rate as a share of the full load, which is measured first.
    pub share_of_full: Option<f64>,
}

impl Settings {
    /// The plan for the driver.
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

/// A distribution of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The number of latencies.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// The 90th percentile.
    pub p90_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The 99.9th percentile.
    pub p999_ms: f64,
    /// The maximum.
    pub max_ms: f64,
}

impl Latency {
    /// Summarizes latencies in microseconds.
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
    /// The number of the second, from 0.
    pub second: usize,
    /// The latencies of the operations that were meant to start in it.
    #[serde(flatten)]
    pub latency: Latency,
}

/// What live streams delivered. Rewards are those of the whole run; latencies exclude warming up.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// Streams that were open.
    pub streams: usize,
    /// Rewards that came on the streams.
    pub rewards: u64,
    /// The time from the answer to a purchase to its reward; 0 if the reward came before the answer. `None`
    /// unless each purchase has a stream.
    pub delivery: Option<Latency>,
    /// Rewards that came before the answer to the purchase.
    pub before_answer: u64,
    /// The time from the answer to a purchase to the answer of a read with its token.
    pub read_after_write: Option<Latency>,
    /// Answers after which no read was made, because too many were in progress.
    pub unread: u64,
    /// Rewards that never came.
    pub missing: u64,
    /// Rewards that came twice.
    pub twice: u64,
}

/// What others did while purchases ran, and what it cost the purchases.
#[derive(Clone, Debug, Serialize)]
pub struct Storm {
    /// How often each answer came: `OK`, or the reason of an error.
    pub answers: BTreeMap<String, u64>,
    /// The time of each of those calls.
    pub calls: Latency,
    /// Purchases each second before the storm; those during the storm are the throughput of the run.
    pub before_per_s: f64,
    /// The latency of purchases before the storm; that during the storm is the latency of the run.
    pub before: Latency,
    /// How many times as long as before the median of purchases is during the storm.
    pub p50_ratio: f64,
    /// The same for the 99th percentile.
    pub p99_ratio: f64,
}

impl Storm {
    /// Compares purchases before a storm with those during it.
    #[must_use]
    pub fn compare(
        answers: BTreeMap<String, u64>,
        calls: Latency,
        before_per_s: f64,
        before: Latency,
        during: Latency,
    ) -> Self {
        let (p50_ratio, p99_ratio) = (during.p50_ms / before.p50_ms, during.p99_ms / before.p99_ms);
        Self { answers, calls, before_per_s, before, p50_ratio, p99_ratio }
    }
}

/// How far the read models were behind the log.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Lag {
    /// The greatest lag during the run, in events, sampled once a second.
    pub greatest_events: i64,
    /// The lag at the end, in events.
    pub end_events: i64,
    /// The time from the end until the read models had caught up, in milliseconds.
    pub catch_up_ms: f64,
}

/// The report of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The name of the run, which is the prefix of the ids of all its writes.
    pub run: String,
    /// The version of this program.
    pub version: &'static str,
    /// How it was built: `release` or `debug`. Numbers of debug builds are meaningless.
    pub build: &'static str,
    /// When the run began, in UTC.
    pub date: String,
    /// The machine of the run. The load and, if it was started for the run, the server with its Postgres
    /// share it.
    pub machine: Machine,
    /// The settings of the run.
    pub settings: Settings,
    /// The time it took to sign up the participants, in seconds.
    pub set_up_s: f64,
    /// The time from the end of warming up until the last operation had ended, in seconds.
    pub elapsed_s: f64,
    /// Operations that were measured.
    pub count: u64,
    /// How many operations succeeded.
    pub succeeded: u64,
    /// How many of them failed, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Operations that were due but did not start.
    pub unstarted: u64,
    /// Operations that succeeded, each second.
    pub throughput_per_s: f64,
    /// The throughput at full load, if that was measured first.
    pub full_per_s: Option<f64>,
    /// The time from the intended start of an operation until its answer.
    pub latency: Latency,
    /// What live streams delivered, if any were open.
    pub live: Option<Live>,
    /// What others did meanwhile, in the scenarios that have a storm.
    pub storm: Option<Storm>,
    /// How far the read models were behind.
    pub lag: Lag,
    /// The memory of the server after the run, if it was started for it.
    pub memory: Option<Memory>,
    /// The check of the sign-ups, including those of the participants and those while warming up.
    pub sign_ups: Checked,
    /// The check of the purchases, including those while warming up.
    pub purchases: Checked,
    /// Faults of live streams and of reads after writes.
    pub faults: Vec<String>,
    /// The latencies by second.
    pub seconds: Vec<Second>,
}

impl Report {
    /// The first fault that makes the run a failure, if there is any.
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
