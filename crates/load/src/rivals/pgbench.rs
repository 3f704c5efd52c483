//! A baseline: Postgres' own `pgbench` inserts single events.
//!
//! One transaction is one insert of one event into a table of the shape of the engine's log, prepared (`-M
//! prepared`), with a payload of the usual size that is sent each time. It decides nothing, reads nothing,
//! and no two clients ever need the same row; each writes its own stream, at its own end of both indexes. A
//! purchase of the engine is three such events and more, so this measures how fast the machine commits rather
//! than how fast purchases can be recorded.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use domain::{ParticipantEvent, RewardGranted};

use super::sale::{MIN_AMOUNT_MINOR, Sale};
use super::{Population, in_words, pool};

const SCHEMA: &str = "rival_pgbench";
const TABLES: &str = include_str!("pgbench_events.sql");
const SCRIPT: &str = include_str!("pgbench_insert.sql");

/// How much longer than its set time `pgbench` may take.
const GRACE: Duration = Duration::from_mins(1);

/// The measurements of `pgbench`.
#[derive(Clone, Debug)]
pub struct Inserts {
    /// The number of transactions, and so of rows. Each row was found in the table.
    pub count: u64,
    /// Transactions per second, excluding the time for connecting.
    pub per_second: f64,
    /// The latencies of a sample, in microseconds.
    pub latencies: Histogram<u64>,
}

/// How `pgbench` is run.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The number of clients that insert at the same time.
    pub clients: u32,
    /// The number of threads that drive them.
    pub threads: u32,
    /// How long they insert before anything is measured.
    pub warm_up_seconds: u32,
    /// How long they are measured.
    pub seconds: u32,
}

/// Lets clients insert single events in a separate schema. `program` is the binary, see [`find`].
///
/// # Errors
/// If `pgbench` cannot be run, fails, or reports rows that are not in the table.
pub async fn single_inserts(program: &Path, url: &str, turn: Turn) -> Result<Inserts, String> {
    let pool = pool::open(url, SCHEMA, &[TABLES], 1).await?;
    sqlx::raw_sql("analyze events").execute(&pool).await.map_err(in_words)?;

    let warmed_up = if turn.warm_up_seconds > 0 {
        insert(program, url, turn, turn.warm_up_seconds, 0).await?.count
    } else {
        0
    };
    // No client's numbers reach the total count of all clients.
    let inserts = insert(program, url, turn, turn.seconds, warmed_up).await?;

    let rows: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&pool)
        .await
        .map_err(in_words)?;
    pool.close().await;
    if u64::try_from(rows) != Ok(warmed_up + inserts.count) {
        let count = warmed_up + inserts.count;
        return Err(format!("pgbench inserted {count} rows, {rows} are there"));
    }
    Ok(inserts)
}

/// Inserts for `seconds`; every client numbers its events from `first`.
async fn insert(
    program: &Path,
    url: &str,
    Turn { clients, threads, .. }: Turn,
    seconds: u32,
    first: u64,
) -> Result<Inserts, String> {
    let logs = std::env::temp_dir().join(format!("tributary-pgbench-{}", std::process::id()));
    std::fs::create_dir_all(&logs).map_err(in_words)?;
    let mut command = Command::new(program);
    command
        .args(["--no-vacuum", "--protocol", "prepared", "--file", "-"])
        .args(["--client", &clients.to_string(), "--jobs", &threads.min(clients).to_string()])
        .args(["--time", &seconds.to_string()])
        .args(["--define", &format!("n={first}"), "--define", &format!("payload={}", payload()?)])
        // Logs the times of about as many transactions as one client makes.
        .args(["--log", "--sampling-rate", &(1.0 / f64::from(clients.max(1))).to_string()])
        .arg("--log-prefix")
        .arg(logs.join("log"))
        .arg(url)
        // The search path is set through the environment, as for psql.
        .env("PGOPTIONS", format!("-c search_path={SCHEMA}"))
        .env("LC_ALL", "C");
    let most = Duration::from_secs(u64::from(seconds)) + GRACE;
    let output = tokio::time::timeout(most, fed(command)).await;
    let latencies = latencies(&logs);
    std::fs::remove_dir_all(&logs).map_err(in_words)?;
    let output =
        output.map_err(|_| format!("pgbench has not ended after {} s", most.as_secs()))??;
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("pgbench failed ({}): {text}{complaint}", output.status));
    }
    let (count, per_second) = parse(&text)
        .ok_or_else(|| format!("cannot read the output of pgbench: {text}{complaint}"))?;
    Ok(Inserts { count, per_second, latencies: latencies? })
}

/// Reads the logs of transactions in a directory: `client number microseconds ...`.
fn latencies(directory: &Path) -> Result<Histogram<u64>, String> {
    let mut latencies = Histogram::new(3).map_err(in_words)?;
    for log in std::fs::read_dir(directory).map_err(in_words)? {
        let text = std::fs::read_to_string(log.map_err(in_words)?.path()).map_err(in_words)?;
        for line in text.lines() {
            let micros = line.split(' ').nth(2).and_then(|micros| micros.parse::<u64>().ok());
            latencies.saturating_record(micros.ok_or("a log of pgbench cannot be read")?);
        }
    }
    Ok(latencies)
}

/// Runs `pgbench` to its end with the script as its input. It is killed when the future is dropped.
async fn fed(mut command: Command) -> Result<Output, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|reason| format!("cannot run pgbench: {reason}"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(SCRIPT.as_bytes()).await.map_err(in_words)?;
    }
    child.wait_with_output().await.map_err(in_words)
}

/// The `pgbench` that came with the server's binaries: in `bin_dir` if given, else in the directory that
/// `pg_config` reports, else the newest in Debian's directories, else the one on PATH.
pub async fn find(bin_dir: Option<&Path>) -> PathBuf {
    if let Some(directory) = bin_dir {
        return directory.join("pgbench");
    }
    let mut places = vec![];
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output().await {
        places.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    places.extend(newest);
    places
        .into_iter()
        .map(|directory| directory.join("pgbench"))
        .find(|program| program.is_file())
        .unwrap_or_else(|| "pgbench".into())
}

/// A reward, as the engine's log stores it.
fn payload() -> Result<String, String> {
    let population = Population::new(3, &[(2, 1, 0)])?;
    let Sale { earnings: [parent, _], .. } =
        Sale::new(&population, 1, 2, MIN_AMOUNT_MINOR * 1_000)?;
    let balance_minor = parent.amount_minor;
    let granted: RewardGranted = parent.granted(balance_minor, 1, balance_minor, balance_minor);
    serde_json::to_string(&ParticipantEvent::from(granted)).map_err(in_words)
}

/// Reads the lines `number of transactions actually processed: 123` and
/// `tps = 456.7 (without initial connection time)`.
fn parse(text: &str) -> Option<(u64, f64)> {
    let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let count = after("number of transactions actually processed: ")?;
    let per_second = after("tps = ")?;
    let count = count.split('/').next()?.trim().parse().ok()?;
    Some((count, per_second.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_pgbench_says_is_read() {
        let text = "pgbench (15.18)\nnumber of threads: 1\n\
                    number of transactions actually processed: 812\n\
                    number of failed transactions: 0 (0.000%)\nlatency average = 1.2 ms\n\
                    tps = 811.25 (without initial connection time)\n";
        assert_eq!(parse(text), Some((812, 811.25)));
        assert_eq!(parse("pgbench: error: no such thing"), None);
    }
}
