//! The command line.

mod money_back;
mod pages;

use std::fmt::Display;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, CommandFactory, FromArgMatches, Parser};
use client::{Server, StopRequests, matches_of, variable};
use domain::Timestamp;
use tracing_subscriber::EnvFilter;

use self::money_back::{PayoutOptions, RefundsOptions, ReleasesOptions};
use self::pages::PagesOptions;
use crate::chaos::{Chaos, chaos};
use crate::random::Random;
use crate::screening::{Round, Screening, screening};
use crate::{
    Caller, Comparing, OwnServer, Progress, Report, Scenario, Settings, compare, plot, run,
};

/// The default numbers of open streams: few beside the mixed load, many in the scenario about streams.
const MIXED_STREAMS: u64 = 100;
const STREAMS: u64 = 1_000;
/// The default rate of purchases in the scenario about streams, per second.
const STREAMS_RATE: f64 = 200.0;
/// How many people log in at once, and how many strangers sign up under a username that is taken.
const LOGINS: u64 = 200;
const STRANGERS: u64 = 16;
/// The number of rivals that have a pool of their own.
const RIVALS: u32 = 3;
/// How often the progress line is written.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// What is logged unless `TRIBUTARY_LOG` is set.
const DEFAULT_FILTER: &str = "info,sqlx=warn";

/// An error, worded for the user of the command line.
type CliError = Box<dyn std::error::Error + Send + Sync>;

/// Puts load on a Tributary server, measures it, and checks that the log holds what was answered.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
enum Load {
    /// Sign-ups, every third with the code of an earlier user
    SignUp(Options),
    /// Purchases that pay two rewards each; some referrers are much more frequent than others
    Purchase(Options),
    /// Purchases that all pay the same two referrers
    Hot(Options),
    /// 80 % purchases, 15 % reads and 5 % sign-ups, with 100 live streams open
    Mixed(Options),
    /// Purchases at a rate (200 a second), each watched by one of many live streams: how soon rewards and
    /// reads follow the answer
    Streams(Options),
    /// The top of the leaderboard and the rank of anybody, in turn; run it beside purchases
    Leaderboard(Options),
    /// Purchases, at first alone and then while many people (200) log in at once, again and again: how much slower
    /// purchases become
    Login(Options),
    /// Purchases, at first alone and then while strangers (16) sign up under a username that is taken, again and again
    TakenNames(Options),
    /// The engine beside its rivals, on a cluster of its own: plain cqrs-es, hand-written SQL, a stored
    /// function, and pgbench
    Compare(CompareOptions),
    /// Two servers on a Postgres of their own, clients that insist on an answer, and faults of every kind: crashes,
    /// kills, pauses, cut connections, old snapshots, rebuilds and program changes. Nothing may be lost or doubled
    Chaos(ChaosOptions),
    /// Sign-ups without and with fraud checks, in turn, on a server with many users and on one with few: what the
    /// checks cost, and whether it grows
    Screening(ScreeningOptions),
    /// Purchases, and refunds of all of them, in turn on a server of the run: what a refund costs
    Refunds(RefundsOptions),
    /// Hold periods that all end at once, at first alone and then beside purchases, on a server of the run: how many a
    /// second, and what purchases lose by it
    Releases(ReleasesOptions),
    /// A payout of a million participants beside purchases at a rate (500 a second), on a server of the run: how long
    /// it takes to collect and to confirm, and what purchases lose by it
    Payout(PayoutOptions),
    /// Pages of the console on a server of the run: how soon first pages are complete, with style and script, and many
    /// live ones (5000) that each hear of a purchase
    Pages(PagesOptions),
}

#[derive(Args)]
struct ChaosOptions {
    /// How long faults are made, as in 30s or 10m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    duration: Duration,
    /// The seed of all choices; drawn and printed if it is not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many clients send requests at the same time
    #[arg(long, value_name = "N", default_value_t = 16)]
    clients: u64,
}

impl ChaosOptions {
    async fn run(self) -> Result<(), CliError> {
        let stop = StopRequests::listen()?.requested();
        let admin_key = random_key()?;
        let moment = now();
        let drawn = Random::of(moment.0.unsigned_abs(), 0).draw() % 1_000_000;
        let seed = self.seed.unwrap_or(drawn);
        say(format_args!("seed {seed}, {} clients", self.clients));
        let settings = Chaos { duration: self.duration, seed, clients: self.clients, moment };
        let outcome = tokio::select! {
            outcome = chaos(&settings, &admin_key, &|line| say(line)) => outcome?,
            () = stop => return Err("the run was stopped before its end".into()),
        };
        for line in outcome.lines() {
            say(line);
        }
        if outcome.verdict.is_good() {
            say(format_args!(
                "{} faults, {} acknowledged requests: nothing lost, nothing doubled, nothing wrong",
                outcome.fault_count(),
                outcome.acknowledged()
            ));
            Ok(())
        } else {
            Err(format!("something is wrong after the run with seed {seed}").into())
        }
    }
}

#[derive(Args)]
struct ScreeningOptions {
    /// Users of the server with many
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    users: u64,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Sign-ups that are measured at once
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// The seed of all random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl ScreeningOptions {
    async fn run(self) -> Result<(), CliError> {
        let stop = StopRequests::listen()?.requested();
        let (admin_key, name) = (random_key()?, format!("screening-{:x}", now().0));
        let Self { users, rounds, count, seed } = self;
        let settings = Screening { users, rounds, count, seed };
        let say_line = |line: &str| say(line);
        let rounds = screening(&settings, &admin_key, &name, stop, &say_line).await?;
        let median = |of: &dyn Fn(&Round) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        say(format_args!(
            "median: checks cost x{:.2} among few users and x{:.2} among many; with checks, a sign-up \
             among many takes x{:.2}",
            median(&|round| round.cost_of_checks()[0]),
            median(&|round| round.cost_of_checks()[1]),
            median(&Round::growth),
        ));
        Ok(())
    }
}

#[derive(Args)]
struct CompareOptions {
    /// Participants, the same for all
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    participants: u64,
    /// How many purchases can be in progress at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    concurrency: usize,
    /// Connections to the engine
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one)]
    connections: usize,
    /// Connections of each rival to Postgres
    #[arg(long, value_name = "N", default_value_t = 16)]
    pool: u32,
    /// The number of turns of each contender
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// How long each contender runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    warm_up: Duration,
    /// How long each contender is measured
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// The seed of all random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write all measurements to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl CompareOptions {
    async fn run(self) -> Result<(), CliError> {
        let stop = StopRequests::listen()?.requested();
        let admin_key = random_key()?;
        let moment = now();
        let settings = Comparing {
            participants: self.participants,
            concurrency: self.concurrency,
            connections: self.connections,
            pool: self.pool.max(1),
            rounds: self.rounds.max(1),
            warm_up_s: self.warm_up.as_secs_f64(),
            duration_s: self.duration.as_secs_f64(),
            seed: self.seed,
        };
        // The cluster accepts the connections that its server may open, and some more.
        let clients = u32::try_from(settings.concurrency).unwrap_or(u32::MAX);
        let connections = clients.saturating_add(RIVALS * settings.pool).saturating_add(50);
        let arguments = ["--max-connections".into(), connections.min(10_000).to_string()];
        let name = format!("load-{:x}", moment.0);
        let server = OwnServer::start(&name, &admin_key, &arguments).await?;
        let tell = |line: String| say(line);
        let compared = tokio::select! {
            compared = compare(&settings, &server, &admin_key, moment, &tell) => {
                compared.map_err(CliError::from)
            }
            () = stop => Err("the comparison was stopped before its end".into()),
        };
        server.stop().await;
        let compared = compared?;
        for line in compared.table() {
            say(line);
        }
        if let Some(path) = &self.json {
            write(path, &(serde_json::to_string_pretty(&compared)? + "\n"))?;
        }
        if compared.faults.is_empty() { Ok(()) } else { Err("the checks found faults".into()) }
    }
}

#[derive(Args)]
struct Options {
    #[command(flatten)]
    target: Target,
    /// How many operations can be in progress at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    concurrency: usize,
    /// Connections to the server, used in turn
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one)]
    connections: usize,
    /// How long the run is measured, as in 30s, 5m or 500ms
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// How many operations are measured, instead of a time
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    count: Option<u64>,
    /// How long the run warms up before anything is measured
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    warm_up: Duration,
    /// The seed of all random choices: the same seed creates the same load
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many operations start each second, whether or not earlier ones have ended; or, as in 50%, a share
    /// of the full load, which is measured first. Without it, the full load
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<Rate>,
    /// Users that are signed up before the run; two for each stream in `streams`, none in `sign-up`
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    participants: u64,
    /// Use the participants of an earlier run on this server, by its name, instead of signing up new ones;
    /// that run must have had the same scenario, seed and number of participants
    #[arg(long, value_name = "RUN", conflicts_with = "own")]
    participants_of: Option<String>,
    /// Who records the purchases. The run makes a key or an account with the admin key, and revokes it at the end
    #[arg(long, value_name = "CALLER", value_enum, default_value = "admin-key")]
    caller: Caller,
    /// How many people log in at once in `login`, or strangers sign up in `taken-names` [default: 200, 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    storm: Option<u64>,
    /// Give users who sign up during the run a password, so that hashing is measured as well
    #[arg(long)]
    passwords: bool,
    /// Live streams that are open during the run, each of a different user's earnings
    #[arg(long, value_name = "N")]
    streams: Option<u64>,
    /// Write the whole report of the run to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the latency over time to a file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// The server that bears the load.
#[derive(Args)]
struct Target {
    #[command(flatten)]
    server: Server,
    /// Start a server with an empty database for this run, and remove both afterwards
    #[arg(long)]
    own: bool,
    /// The admin key; that of `dev` if it is not given
    #[arg(long, value_name = "KEY", env = "TRIBUTARY_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    /// Where `dev` keeps its admin key
    #[arg(long, value_name = "DIR", env = "TRIBUTARY_DATA_DIR", default_value = ".tributary")]
    data_dir: PathBuf,
}

/// Runs the program on the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let matches = matches_of(Load::command());
    let load = Load::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let wanted = variable("TRIBUTARY_LOG").unwrap_or_else(|| DEFAULT_FILTER.into());
    let filter = EnvFilter::builder().parse_lossy(wanted);
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Reporting a line that cannot be written to a closed terminal would panic.
        .log_internal_errors(false)
        .init();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::from)
        .and_then(|runtime| runtime.block_on(Box::pin(load.run())));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line to stdout; ignores a closed stdout.
fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The machine's clock.
#[expect(clippy::disallowed_methods, reason = "the one place where a run asks what time it is")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The admin key that `dev` keeps in its data directory.
fn kept_admin_key(data_dir: &Path) -> Option<String> {
    let key = fs::read_to_string(data_dir.join("admin.key")).ok()?;
    Some(key.trim().to_owned()).filter(|key| !key.is_empty())
}

impl Load {
    async fn run(self) -> Result<(), CliError> {
        match self {
            Self::SignUp(options) => options.run(Scenario::SignUp).await,
            Self::Purchase(options) => options.run(Scenario::Purchase).await,
            Self::Hot(options) => options.run(Scenario::Hot).await,
            Self::Mixed(options) => options.run(Scenario::Mixed).await,
            Self::Streams(options) => options.run(Scenario::Streams).await,
            Self::Leaderboard(options) => options.run(Scenario::Leaderboard).await,
            Self::Login(options) => options.run(Scenario::Login).await,
            Self::TakenNames(options) => options.run(Scenario::TakenNames).await,
            Self::Compare(options) => options.run().await,
            Self::Chaos(options) => options.run().await,
            Self::Screening(options) => options.run().await,
            Self::Refunds(options) => options.run().await,
            Self::Releases(options) => options.run().await,
            Self::Payout(options) => options.run().await,
            Self::Pages(options) => options.run().await,
        }
    }
}

impl Options {
    async fn run(self, scenario: Scenario) -> Result<(), CliError> {
        let stop = StopRequests::listen()?.requested();
        let mut settings = self.settings(scenario);
        let report = if self.target.own {
            let admin_key = random_key()?;
            let name = format!("load-{:x}", now().0);
            let server = OwnServer::start(&name, &admin_key, &[]).await?;
            settings.server = Server::at(&server.url);
            let process_id = server.process_id();
            // The server is stopped, however the run ends.
            let outcome = attend(&settings, &admin_key, process_id, stop).await;
            server.stop().await;
            outcome?
        } else {
            let key = self.target.admin_key.clone();
            let key = key.or_else(|| kept_admin_key(&self.target.data_dir)).ok_or(
                "no admin key: set TRIBUTARY_ADMIN_KEY, pass --data-dir with the directory of \
                 'tributary dev', or let this start a server with --own",
            )?;
            attend(&settings, &key, None, stop).await?
        };
        for line in report.table() {
            say(line);
        }
        if let Some(path) = &self.json {
            write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
        }
        if let Some(path) = &self.plot {
            write(path, &plot::svg(&report)?)?;
        }
        match report.failure() {
            Some(failure) => {
                Err(format!("the log does not agree with the answers: {failure}").into())
            }
            None => Ok(()),
        }
    }

    fn settings(&self, scenario: Scenario) -> Settings {
        let (streams, usual_rate) = match scenario {
            Scenario::Streams => (STREAMS, Some(STREAMS_RATE)),
            Scenario::Mixed => (MIXED_STREAMS, None),
            _ => (0, None),
        };
        let storm = match scenario {
            Scenario::Login => self.storm.unwrap_or(LOGINS),
            Scenario::TakenNames => self.storm.unwrap_or(STRANGERS),
            _ => 0,
        };
        let (rate, share_of_full) = match self.rate {
            None => (usual_rate, None),
            Some(Rate::PerSecond(rate)) => (Some(rate), None),
            Some(Rate::OfFull(share)) => (None, Some(share)),
        };
        Settings {
            scenario,
            server: self.target.server.clone(),
            own_server: self.target.own,
            caller: self.caller,
            storm,
            seed: self.seed,
            connections: self.connections,
            concurrency: self.concurrency,
            participants: self.participants,
            participants_of: self.participants_of.clone(),
            passwords: self.passwords,
            streams: self.streams.unwrap_or(streams),
            warm_up_s: self.warm_up.as_secs_f64(),
            duration_s: self.count.is_none().then_some(self.duration.as_secs_f64()),
            count: self.count,
            rate,
            share_of_full,
        }
    }
}

/// Makes the run, and shows its progress on a terminal.
async fn attend(
    settings: &Settings,
    admin_key: &str,
    process_id: Option<u32>,
    stop: impl Future<Output = ()>,
) -> Result<Report, CliError> {
    let progress = Arc::new(Progress::default());
    let moment = now();
    tokio::select! {
        report = run(settings, admin_key, process_id, moment, progress.clone()) => {
            clear_progress();
            Ok(report?)
        }
        () = stop => Err("the run was stopped before its end".into()),
        () = show(&progress) => Err("progress ended".into()),
    }
}

/// Repeatedly writes a progress line, if stderr is a terminal.
async fn show(progress: &Progress) {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let mut before = (progress.now().0, 0);
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let (step, done, failed) = progress.now();
        let since = if before.0 == step { done.saturating_sub(before.1) } else { 0 };
        before = (step, done);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = since as f64 / PROGRESS_INTERVAL.as_secs_f64();
        let line = format!("\r\x1b[K{step}: {done}, {failed} failed, {rate:.0} a second");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn clear_progress() {
    if std::io::stderr().is_terminal() {
        let _ = std::io::stderr().write_all(b"\r\x1b[K");
    }
}

#[expect(clippy::disallowed_methods, reason = "the key of a server that lives as long as the run")]
fn random_key() -> Result<String, CliError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(format!("load_{:032x}", u128::from_le_bytes(random)))
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    fs::write(path, text)
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().map_err(|_| "must be a number".to_owned())?;
    if number > 0 { Ok(number) } else { Err("must be 1 or more".into()) }
}

/// How many operations start each second.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    PerSecond(f64),
    /// A share of the full load.
    OfFull(f64),
}

fn rate(text: &str) -> Result<Rate, String> {
    let (number, is_share) = match text.strip_suffix('%') {
        Some(number) => (number, true),
        None => (text, false),
    };
    let rate: f64 = number.parse().map_err(|_| "must be a number, or one with %".to_owned())?;
    if !rate.is_finite() || rate <= 0.0 {
        return Err("must be more than 0".into());
    }
    Ok(if is_share { Rate::OfFull(rate / 100.0) } else { Rate::PerSecond(rate) })
}

/// A time with its unit: milliseconds, seconds or minutes.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit() || digit == '.');
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err("must be a time, as in 30s, 5m or 500ms".into()),
    };
    let number: f64 = text[..text.len() - unit.len()]
        .parse()
        .map_err(|_| "must begin with a number, as in 30s".to_owned())?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "30", "s", "-1s", "1h", "1.2.3s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_more_than_nothing() {
        assert_eq!(rate("0.5"), Ok(Rate::PerSecond(0.5)));
        assert_eq!(rate("50%"), Ok(Rate::OfFull(0.5)));
        for wrong in ["0", "-1", "inf", "NaN", "", "%", "0%", "-5%"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
