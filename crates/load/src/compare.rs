//! Compares the engine with its rivals: the same purchases, on the same cluster, in the same run, in turn.
//!
//! The engine is measured through gRPC, with validation, authentication and up-to-date read models; the
//! rivals run in this process, without all that. The ratios therefore favour the rivals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use sqlx::{Connection, PgConnection};

use super::connections::Connections;
use super::driver::{self, Length, Plan};
use super::ledger::Ledger;
use super::machine::Machine;
use super::population::{self, PROGRAM_ID, Population};
use super::random::{Random, Zipf};
use super::report::Latency;
use super::rivals::{self, EventSourced, HandWritten, Rival, StoredFunction, pgbench};
use super::world::{Progress, World};
use super::{LoadError, OwnServer, Scenario, check, lag};
use domain::Timestamp;

/// Threads that drive the clients of pgbench.
const PGBENCH_THREADS: u32 = 2;
/// The minimum number of events of a purchase: the purchase and two rewards. (The first purchase of a buyer
/// also converts the referral.)
const EVENTS_PER_PURCHASE: f64 = 3.0;

/// The settings of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Comparing {
    /// Participants, the same for all.
    pub participants: u64,
    /// Purchases in progress at the same time.
    pub concurrency: usize,
    /// Connections to the engine.
    pub connections: usize,
    /// Connections of each rival to Postgres.
    pub pool: u32,
    /// The number of turns of each contender.
    pub rounds: u32,
    /// How long each contender runs before it is measured, in seconds.
    pub warm_up_s: f64,
    /// How long each contender is measured, in seconds.
    pub duration_s: f64,
    /// The seed of all random choices.
    pub seed: u64,
}

/// One turn of one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Turn {
    /// Purchases per second; single rows per second for pgbench.
    pub per_second: f64,
    /// The latency of a purchase or row.
    pub latency: Latency,
    /// How many failed.
    pub failed: u64,
}

/// A contender with all its turns.
#[derive(Clone, Debug, Serialize)]
pub struct Contender {
    /// The name of the contender.
    pub name: String,
    /// In the order of the rounds.
    pub turns: Vec<Turn>,
    /// The median of its rates.
    pub median_per_second: f64,
    /// The median of its median latencies, in milliseconds.
    pub median_p50_ms: f64,
    /// The median of its 99th percentiles, in milliseconds.
    pub median_p99_ms: f64,
    /// The engine's median rate, divided by that of this contender.
    pub engine_is_times: f64,
}

/// The result of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The settings of the comparison.
    pub settings: Comparing,
    /// The machine of the comparison.
    pub machine: Machine,
    /// `release` or `debug`.
    pub build: &'static str,
    /// The engine first.
    pub contenders: Vec<Contender>,
    /// The minimum number of events that the engine appended per second, in the median.
    pub events_per_second: f64,
    /// The rate of events, divided by pgbench's rate of rows.
    pub events_to_single_rows: f64,
    /// How long the read models took to reach the end of the log after each turn, in milliseconds.
    pub catch_up_ms: Vec<f64>,
    /// What the checks afterwards found; empty if nothing is wrong.
    pub faults: Vec<String>,
}

impl Compared {
    /// The result as a table.
    #[must_use]
    pub fn table(&self) -> Vec<String> {
        let Comparing { participants, concurrency, rounds, warm_up_s, duration_s, .. } =
            &self.settings;
        let mut lines = vec![
            format!(
                "{participants} participants, {concurrency} purchases at a time, medians of {rounds} \
                 rounds, {warm_up_s} s and {duration_s} s each, {} build",
                self.build
            ),
            format!(
                "{:34} {:>12} {:>10} {:>10} {:>14}",
                "", "a second", "p50 ms", "p99 ms", "the engine is"
            ),
        ];
        for contender in &self.contenders {
            lines.push(format!(
                "{:34} {:>12.0} {:>10.2} {:>10.2} {:>12.2} x",
                contender.name,
                contender.median_per_second,
                contender.median_p50_ms,
                contender.median_p99_ms,
                contender.engine_is_times,
            ));
        }
        let slowest = self.catch_up_ms.iter().copied().fold(0.0, f64::max);
        lines.push(format!(
            "the engine appended {:.0} events a second, {:.2} of the single rows of pgbench; its read \
             models were at the head at most {slowest:.0} ms after a turn",
            self.events_per_second, self.events_to_single_rows
        ));
        lines.extend(self.faults.iter().map(|fault| format!("fault: {fault}")));
        lines
    }
}

/// Runs a comparison on a server and a cluster of its own. `say` receives the progress.
///
/// # Errors
/// If something cannot be started or measured.
pub async fn compare(
    settings: &Comparing,
    server: &OwnServer,
    admin_key: &str,
    moment: Timestamp,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<Compared, LoadError> {
    let url = server.database_url()?;
    let connections =
        Connections::open(&client::Server::at(&server.url), admin_key, settings.connections)
            .await?;
    let population = Population::of(Scenario::Purchase, settings.participants, 0);
    let lines = lines(&population, settings.seed);
    let size = usize::try_from(population.size()).unwrap_or(usize::MAX);
    let rivals_population = rivals::Population::new(size, &lines).map_err(unusable)?;
    let ledger = Ledger::new(format!("load-{:x}", moment.0));
    let (program_id, progress) = (PROGRAM_ID.into(), Arc::new(Progress::default()));
    let seed = settings.seed;
    let world = Arc::new(World::new(connections, program_id, seed, ledger, population, progress));
    say(format!("signing up {size} participants"));
    let before = population::publish(&world).await?;
    population::settle(&world).await?;
    say("making the participants of the rivals".into());
    let pool = settings.pool;
    let event_sourced = EventSourced::connect(&url, pool, rivals_population.clone()).await;
    let event_sourced = Contest::new(event_sourced.map_err(unusable)?);
    let hand_written = HandWritten::connect(&url, pool, rivals_population.clone()).await;
    let hand_written = Contest::new(hand_written.map_err(unusable)?);
    let stored_function = StoredFunction::connect(&url, pool, rivals_population).await;
    let stored_function = Contest::new(stored_function.map_err(unusable)?);
    let program = pgbench::find(None).await;

    let bench = Bench { settings, url: &url, lines: &lines };
    let mut turns: [Vec<Turn>; 5] = Default::default();
    let mut catch_up_ms = Vec::new();
    let ours = Arc::new(AtomicU64::new(0));
    for round in 0..settings.rounds {
        // A different contender comes first in each round.
        for place in 0..turns.len() {
            let contender = (place + round as usize) % turns.len();
            checkpoint(&url).await?;
            let turn = match contender {
                0 => {
                    let turn = bench.engine(&world, &ours).await;
                    let (_, caught_up) = lag::catch_up(&world.connections, PROGRAM_ID).await?;
                    catch_up_ms.push(caught_up.as_secs_f64() * 1_000.0);
                    turn
                }
                1 => bench.rival(&event_sourced).await,
                2 => bench.rival(&hand_written).await,
                3 => bench.rival(&stored_function).await,
                _ => bench.single_rows(&program).await?,
            };
            let name = NAMES[contender];
            say(format!("round {}: {name}: {:.0} a second", round + 1, turn.per_second));
            turns[contender].push(turn);
        }
    }

    say("checking the results".into());
    let mut faults = Vec::new();
    let (_, purchases) = check::check(&world.connections, &world.ledger, before).await?;
    if let Some(fault) = purchases.first_fault {
        faults.push(fault);
    }
    for checked in
        [event_sourced.check().await, hand_written.check().await, stored_function.check().await]
    {
        faults.extend(checked.err());
    }
    Ok(judge(settings, turns, catch_up_ms, faults))
}

/// The names of the contenders, in their order.
const NAMES: [&str; 5] = [
    "the engine, over gRPC",
    "cqrs-es and postgres-es",
    "hand-written transaction",
    "one stored function",
    "pgbench, single rows",
];

fn judge(
    settings: &Comparing,
    turns: [Vec<Turn>; 5],
    catch_up_ms: Vec<f64>,
    faults: Vec<String>,
) -> Compared {
    let medians: Vec<f64> =
        turns.iter().map(|turns| median(turns, |turn| turn.per_second)).collect();
    let engine = medians[0];
    let contenders = turns
        .into_iter()
        .zip(NAMES)
        .zip(&medians)
        .map(|((turns, name), rate)| Contender {
            name: name.into(),
            median_p50_ms: median(&turns, |turn| turn.latency.p50_ms),
            median_p99_ms: median(&turns, |turn| turn.latency.p99_ms),
            turns,
            median_per_second: *rate,
            engine_is_times: engine / rate,
        })
        .collect();
    Compared {
        settings: settings.clone(),
        machine: Machine::this(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        contenders,
        events_per_second: engine * EVENTS_PER_PURCHASE,
        events_to_single_rows: engine * EVENTS_PER_PURCHASE / medians[4],
        catch_up_ms,
        faults,
    }
}

fn median(turns: &[Turn], value: impl Fn(&Turn) -> f64) -> f64 {
    let mut values: Vec<f64> = turns.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A rival with the numbers of its purchases.
struct Contest<R> {
    rival: Arc<R>,
    next: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
}

impl<R: Rival> Contest<R> {
    fn new(rival: R) -> Self {
        Self { rival: Arc::new(rival), next: Arc::default(), acknowledged: Arc::default() }
    }

    async fn check(&self) -> Result<(), String> {
        let checked = self.rival.check(self.acknowledged.load(Ordering::SeqCst)).await;
        checked.map_err(|fault| format!("{}: {fault}", self.rival.name()))
    }
}

struct Bench<'a> {
    settings: &'a Comparing,
    url: &'a str,
    lines: &'a [(usize, usize, usize)],
}

impl Bench<'_> {
    fn plan(&self) -> Plan {
        Plan {
            concurrency: self.settings.concurrency,
            warm_up: Duration::from_secs_f64(self.settings.warm_up_s),
            length: Length::Duration(Duration::from_secs_f64(self.settings.duration_s)),
            rate: None,
        }
    }

    async fn engine(&self, world: &Arc<World>, next: &Arc<AtomicU64>) -> Turn {
        let (world, next) = (world.clone(), next.clone());
        turn(
            &driver::run(&self.plan(), move |_| {
                let (world, number) = (world.clone(), next.fetch_add(1, Ordering::Relaxed));
                async move { world.ended(world.purchase(number).await.map(drop)) }
            })
            .await,
        )
    }

    async fn rival<R: Rival>(&self, contest: &Contest<R>) -> Turn {
        let (rival, next) = (contest.rival.clone(), contest.next.clone());
        let acknowledged = contest.acknowledged.clone();
        let buyers: Arc<[usize]> = self.lines.iter().map(|line| line.0).collect();
        let seed = self.settings.seed;
        turn(
            &driver::run(&self.plan(), move |_| {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let mut random = Random::of(seed, number);
                let buyer = buyers[random.index(buyers.len())];
                let amount = 100_000 + i64::try_from(random.below(900_000)).unwrap_or_default();
                let (rival, acknowledged) = (rival.clone(), acknowledged.clone());
                async move {
                    rival.purchase(number, buyer, amount).await?;
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                }
            })
            .await,
        )
    }

    async fn single_rows(&self, program: &std::path::Path) -> Result<Turn, LoadError> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
        let whole_seconds = |seconds: f64| seconds.ceil() as u32;
        let turn = pgbench::Turn {
            clients: u32::try_from(self.settings.concurrency).unwrap_or(u32::MAX),
            threads: PGBENCH_THREADS,
            warm_up_seconds: whole_seconds(self.settings.warm_up_s),
            seconds: whole_seconds(self.settings.duration_s).max(1),
        };
        let inserts = pgbench::single_inserts(program, self.url, turn).await.map_err(unusable)?;
        let latency = Latency::of(&inserts.latencies);
        Ok(Turn { per_second: inserts.per_second, latency, failed: 0 })
    }
}

fn turn(measured: &driver::Measured) -> Turn {
    Turn {
        per_second: measured.throughput(),
        latency: Latency::of(&measured.histogram),
        failed: measured.errors.values().sum(),
    }
}

/// The buyers with the two participants above them, the same as those of the engine.
fn lines(population: &Population, seed: u64) -> Vec<(usize, usize, usize)> {
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let zipf = Zipf::new(place(population.size()));
    population
        .buyers()
        .map(|buyer| {
            let parent = population.referrer_of(seed, &zipf, buyer);
            let grandparent = population.referrer_of(seed, &zipf, parent);
            (place(buyer), place(parent), place(grandparent))
        })
        .collect()
}

/// Writes everything to disk, so that no contender pays for the writes of another.
async fn checkpoint(url: &str) -> Result<(), LoadError> {
    let done = async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query("checkpoint").execute(&mut connection).await?;
        connection.close().await
    };
    done.await.map_err(|error: sqlx::Error| unusable(error.to_string()))
}

fn unusable(reason: String) -> LoadError {
    LoadError::Unusable { what: "the comparison", reason }
}
