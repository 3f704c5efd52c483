//! A run in which everything goes wrong: two servers on one Postgres, clients that repeat each request until it is
//! answered, and faults of every kind in turn. At the end every acknowledged request is in the log once, and
//! `tributary verify` finds nothing.
//!
//! The faults: Postgres crashes, servers are killed or paused, connections are terminated, old snapshots are held,
//! read models are rebuilt, and every program gets new versions. Only here does the crate use more than clients have:
//! it owns the servers and their Postgres.

mod clients;
mod faults;
mod programs;
mod servers;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use private_postgres::{Options, TemporaryPostgres};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LoadError;
use clients::Tally;
use domain::Timestamp;
pub use faults::{FaultKind, Faults};
use servers::Servers;
pub use verdict::Verdict;

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// How long requests that are under way at the end may take to be answered.
const LAST_ANSWERS: Duration = Duration::from_mins(2);
/// Both servers, both tools and this run itself must find room.
const MAX_CONNECTIONS: u32 = 200;

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Chaos {
    /// How long faults are made.
    pub duration: Duration,
    /// The seed of all choices. What happens also depends on the machine, so a run cannot be repeated exactly.
    pub seed: u64,
    /// How many clients send requests at the same time.
    pub clients: u64,
    /// The moment of the start, which keeps the ids of runs apart.
    pub moment: Timestamp,
}

/// What a run did, and what was found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Acknowledged and refused requests, by what they were.
    pub requests: Vec<(&'static str, u64, u64)>,
    /// How many attempts had to be repeated.
    pub repeated: u64,
    /// How often each kind of fault was made.
    pub faults: Vec<(&'static str, u64)>,
    /// What the log and `verify` say.
    pub verdict: Verdict,
}

impl Outcome {
    /// What was found, as lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let requests = self.requests.iter().map(|(what, acknowledged, refused)| {
            format!("{what:<20} {acknowledged:>9} acknowledged, {refused} refused by the rules")
        });
        let faults = self.faults.iter().map(|(what, times)| format!("{what:<20} {times:>9} times"));
        requests
            .chain([format!("{:<20} {:>9}", "repeated attempts", self.repeated)])
            .chain(faults)
            .chain(self.verdict.lines())
            .collect()
    }

    /// How many requests were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.requests.iter().map(|(_, acknowledged, _)| acknowledged).sum()
    }

    /// How many faults were made.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.faults.iter().map(|(_, times)| times).sum()
    }
}

fn failed(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> LoadError {
    move |error| LoadError::Call { what, reason: error.to_string() }
}

/// Makes a run. `say` receives lines about its progress.
///
/// # Errors
/// If the servers or their Postgres cannot be started, or do not come back.
pub async fn chaos(
    settings: &Chaos,
    admin_key: &str,
    say: &dyn Fn(String),
) -> Result<Outcome, LoadError> {
    let options = Options { max_connections: MAX_CONNECTIONS, ..Options::default() };
    let postgres = TemporaryPostgres::start(&options).await;
    let postgres = postgres.map_err(|error| failed("start Postgres")(&error))?;
    let database_url = postgres.url("postgres");
    let servers = Arc::new(Servers::start(&database_url, admin_key).await?);
    programs::publish_originals(&servers).await?;

    let tally = Arc::new(Tally::new(settings));
    let (stop_faults, stop_clients) = (CancellationToken::new(), CancellationToken::new());
    let faults = Faults::new(settings.seed, servers.clone(), Arc::new(Mutex::new(postgres)));
    let clients: Vec<_> = (0..settings.clients)
        .map(|number| {
            let work = clients::work(number, tally.clone(), servers.clone(), stop_clients.clone());
            tokio::spawn(work)
        })
        .collect();
    let injectors = tokio::spawn(faults.clone().run(stop_faults.clone()));

    let begun = Instant::now();
    while begun.elapsed() < settings.duration {
        let left = settings.duration.saturating_sub(begun.elapsed());
        tokio::time::sleep(PROGRESS_INTERVAL.min(left)).await;
        say(format!(
            "{:>4} s: {} acknowledged, {} attempts repeated, {} faults",
            begun.elapsed().as_secs(),
            tally.acknowledged(),
            tally.repeated(),
            faults.count(),
        ));
    }
    stop_faults.cancel();
    injectors.await.map_err(|error| failed("make faults")(&error))??;
    stop_clients.cancel();
    say("no more faults; waiting for the last answers".into());
    for client in clients {
        let ended = tokio::time::timeout(LAST_ANSWERS, client).await;
        ended
            .map_err(|_| failed("get the last answers")(&"they did not come"))?
            .map_err(|error| failed("run a client")(&error))?;
    }
    say("comparing the log with the answers, and verifying it".into());
    let verdict = Verdict::of(&tally, &faults, &servers).await?;
    servers.stop().await?;
    Ok(Outcome {
        requests: tally.requests(),
        repeated: tally.repeated(),
        faults: faults.counts(),
        verdict,
    })
}
