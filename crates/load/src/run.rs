//! One run, from the first sign-up to the comparison with the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::caller::Credential;
use super::connections::Connections;
use super::driver::{self, Length, Measured, Plan};
use super::ledger::Ledger;
use super::machine::{Machine, Memory};
use super::population::{self, PROGRAM_ID, Population};
use super::report::{self, Lag, Latency, Live, Report, Second, Settings};
use super::storm::Storm;
use super::streams::{self, Watched, Watching};
use super::world::{Progress, World};
use super::{LoadError, Scenario, check, lag};
use domain::Timestamp;

/// The shortest time for which the full load is measured, after an equally long warm-up.
const LEAST_FULL_LOAD: Duration = Duration::from_secs(1);

/// Makes one run on a server. `moment` gives the run its name, so that its users differ from those of every
/// other run; `process_id` is the server's, if it is on this machine.
///
/// # Errors
/// If the run cannot be made or evaluated. Failed operations and faults in the log are in the report.
pub async fn run(
    settings: &Settings,
    admin_key: &str,
    process_id: Option<u32>,
    moment: Timestamp,
    progress: Arc<Progress>,
) -> Result<Report, LoadError> {
    let connections = Connections::open(&settings.server, admin_key, settings.connections).await?;
    let run = format!("load-{:x}", moment.0);
    let caller = Credential::make(settings.caller, &connections, &run, moment).await?;
    let purchases = caller.connections.clone();
    let report = run_as(settings, &connections, purchases, process_id, moment, progress).await;
    // The credential is taken back, however the run ended.
    let ended = caller.end(&connections).await;
    let report = report?;
    ended?;
    Ok(report)
}

/// Makes one run, in which `caller` records the purchases.
async fn run_as(
    settings: &Settings,
    connections: &Connections,
    caller: Connections,
    process_id: Option<u32>,
    moment: Timestamp,
    progress: Arc<Progress>,
) -> Result<Report, LoadError> {
    let population = Population::of(settings.scenario, settings.participants, settings.streams);
    let mut settings = settings.clone();
    settings.participants = population.size();
    let ledger = Ledger::new(format!("load-{:x}", moment.0));
    let (program_id, seed) = (PROGRAM_ID.into(), settings.seed);
    let mut world = World::new(connections.clone(), program_id, seed, ledger, population, progress);
    world.caller = caller;
    world.members_of.clone_from(&settings.participants_of);
    world.passwords = settings.passwords || settings.storm > 0;
    let world = Arc::new(world);

    world.progress.begin("signing up the participants");
    let begun = Instant::now();
    let before = population::publish(&world).await?;
    if settings.participants_of.is_none() {
        population::settle(&world).await?;
    }
    lag::catch_up(&world.connections, PROGRAM_ID).await?;
    let set_up_s = begun.elapsed().as_secs_f64();

    let storm = Storm::prepare(&world, settings.scenario, settings.storm, &settings.server).await?;
    let watching = Watching::new(settings.scenario == Scenario::Streams);
    let streams = streams::open(&world, &watching, settings.streams).await?;
    let open_streams = streams.len();

    let operations = Operations {
        scenario: settings.scenario,
        world: world.clone(),
        watching: watching.clone(),
        next: Arc::default(),
    };
    let mut full_per_s = None;
    if let Some(share) = settings.share_of_full {
        world.progress.begin("measuring the full load");
        let full = operations.full_load(settings.plan()).await?;
        settings.rate = Some(full * share);
        full_per_s = Some(full);
    }
    world.progress.begin(settings.scenario.name());
    let (stop, stopped) = watch::channel(false);
    let sampling =
        tokio::spawn(lag::sample(world.connections.clone(), world.program_id.clone(), stopped));
    let (measured, storm) = operations.measure_in(storm, &settings.plan()).await;
    let memory = process_id.and_then(Memory::of);
    stop.send_replace(true);

    world.progress.begin("waiting for what is still to come");
    let (caught_up, watched) =
        tokio::join!(lag::catch_up(&world.connections, PROGRAM_ID), watching.end(&world.ledger));
    let (end_events, catch_up) = caught_up?;
    let greatest_events = sampling.await.unwrap_or_default().max(end_events);
    drop(streams);

    world.progress.begin("comparing the log with the answers");
    let (sign_ups, purchases) = check::check(&world.connections, &world.ledger, before).await?;
    let catch_up_ms = catch_up.as_secs_f64() * 1_000.0;
    Ok(Report {
        run: world.ledger.run().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        date: utc(moment),
        machine: Machine::this(),
        set_up_s,
        elapsed_s: measured.elapsed.as_secs_f64(),
        count: measured.count,
        succeeded: measured.succeeded(),
        throughput_per_s: measured.throughput(),
        full_per_s,
        latency: Latency::of(&measured.histogram),
        seconds: seconds(&measured),
        errors: measured.errors,
        unstarted: measured.unstarted,
        live: (open_streams > 0).then(|| live(open_streams, &watched)),
        storm,
        lag: Lag { greatest_events, end_events, catch_up_ms },
        memory,
        sign_ups,
        purchases,
        faults: watched.faults,
        settings,
    })
}

/// The operations of a run.
struct Operations {
    scenario: Scenario,
    world: Arc<World>,
    watching: Arc<Watching>,
    /// The number of the next operation.
    next: Arc<AtomicU64>,
}

impl Operations {
    /// Runs operations as planned. What the streams measured while warming up is discarded.
    async fn measure(&self, plan: &Plan) -> Measured {
        let warm = async {
            tokio::time::sleep(plan.warm_up).await;
            self.watching.forget();
        };
        tokio::join!(self.operate(plan), warm).0
    }

    /// Runs operations as planned; if there is a storm, at first without it and then again in it.
    async fn measure_in(
        &self,
        storm: Option<Storm>,
        plan: &Plan,
    ) -> (Measured, Option<report::Storm>) {
        let Some(storm) = storm else { return (self.measure(plan).await, None) };
        let before = self.measure(plan).await;
        self.world.progress.begin("purchases in the storm");
        let plan = Plan { warm_up: Duration::ZERO, ..plan.clone() };
        let (during, stormed) = storm.during(self.measure(&plan)).await;
        let compared = report::Storm::compare(
            stormed.answers,
            Latency::of(&stormed.histogram),
            before.throughput(),
            Latency::of(&before.histogram),
            Latency::of(&during.histogram),
        );
        (during, Some(compared))
    }

    /// Measures how many operations per second succeed at full load, and then waits until the read models
    /// have caught up.
    async fn full_load(&self, plan: Plan) -> Result<f64, LoadError> {
        let length = Length::Duration(plan.warm_up.max(LEAST_FULL_LOAD));
        let measured = self.operate(&Plan { length, rate: None, ..plan }).await;
        if measured.succeeded() == 0 {
            let reason = format!("nothing succeeded: {:?}", measured.errors);
            return Err(LoadError::Call { what: "measure the full load", reason });
        }
        lag::catch_up(&self.world.connections, PROGRAM_ID).await?;
        Ok(measured.throughput())
    }

    async fn operate(&self, plan: &Plan) -> Measured {
        let (scenario, next) = (self.scenario, self.next.clone());
        let (world, watching) = (self.world.clone(), self.watching.clone());
        driver::run(plan, move |_| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let (world, watching) = (world.clone(), watching.clone());
            async move {
                let outcome = match scenario {
                    Scenario::SignUp => world.sign_up(number).await,
                    Scenario::Purchase | Scenario::Hot | Scenario::Login | Scenario::TakenNames => {
                        world.purchase(number).await.map(drop)
                    }
                    Scenario::Mixed => world.mixed(number).await,
                    Scenario::Streams => watching.purchase(world.clone(), number).await,
                    Scenario::Leaderboard => world.leaderboard(number).await,
                };
                world.ended(outcome)
            }
        })
        .await
    }
}

fn seconds(measured: &Measured) -> Vec<Second> {
    let latencies = measured.seconds.iter().map(Latency::of);
    latencies.enumerate().map(|(second, latency)| Second { second, latency }).collect()
}

fn live(streams: usize, watched: &Watched) -> Live {
    let latency = |histogram: &hdrhistogram::Histogram<u64>| {
        (!histogram.is_empty()).then(|| Latency::of(histogram))
    };
    Live {
        streams,
        rewards: watched.rewards,
        delivery: latency(&watched.delivery),
        before_answer: watched.before_answer,
        read_after_write: latency(&watched.read),
        unread: watched.unread,
        missing: watched.missing,
        twice: watched.twice,
    }
}

/// A moment in the format of RFC 3339.
fn utc(moment: Timestamp) -> String {
    let seconds = moment.0.div_euclid(1_000_000);
    prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_rfc_3339_has_it() {
        assert_eq!(utc(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(utc(Timestamp(1_795_195_707_123_456)), "2026-11-20T17:28:27Z");
    }
}
