//! The command line: `tributary dev` from its first start to its last, and the error messages of the other
//! commands.

mod commands;
mod sample;
mod serving;
mod stopping;
mod surroundings;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tonic::transport::Endpoint;

use testing::{Client, tributary};

/// The commands that the walk-through of `dev` must have: once they are printed, everything that tests read
/// has been printed.
const WALK_THROUGH: [&str; 2] = ["PurchaseService/RecordPurchase", "RewardService/WatchEarnings"];
/// A first start creates a whole Postgres cluster, possibly while other tests do the same.
const START_TIMEOUT: Duration = Duration::from_mins(2);

const PROGRAMS: [&str; 5] = [
    "first-purchase-bonus",
    "first-purchase-credits",
    "multi-level-commission",
    "referral-count",
    "tiered-points",
];

/// A directory of one test, which every user of the machine can enter.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tributary-dev-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Stops what a failed test has left running.
        if let Some(pid) = postmaster(&self.path("data/postgres")) {
            let _ = std::process::Command::new("kill").args(["-QUIT", &pid]).status();
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The process id of the Postgres that runs on a cluster, or ran there until it was killed.
fn postmaster(cluster: &Path) -> Option<String> {
    let text = std::fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    text.lines().next().map(|pid| pid.trim().to_owned())
}

/// Whether a process runs. A process that has ended may still be listed if its parent has not waited for it.
fn is_alive(pid: &str) -> bool {
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        return !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z');
    }
    let probe = std::process::Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status();
    probe.unwrap().success()
}

/// `tributary dev` on the `data` directory below `directory`, on a port that is free.
fn dev(directory: &TempDir) -> Command {
    let mut command = tributary();
    command
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path("data"))
        .env("TRIBUTARY_LOG", "warn");
    command
}

/// A `dev` that serves.
struct Dev {
    child: Child,
    /// Kept open, as a terminal would be.
    lines: Lines<BufReader<ChildStdout>>,
    printed: String,
}

impl Dev {
    async fn start(directory: &TempDir) -> Self {
        Self::start_as(dev(directory)).await
    }

    async fn start_as(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        let reading = async {
            while !WALK_THROUGH.iter().all(|command| printed.contains(command)) {
                let line = lines.next_line().await.unwrap().expect("dev gets ready");
                printed.push_str(&line);
                printed.push('\n');
            }
        };
        tokio::time::timeout(START_TIMEOUT, reading).await.expect("dev gets ready in time");
        Self { child, lines, printed }
    }

    /// The rest of the line that begins with `start`.
    fn said(&self, start: &str) -> &str {
        let line = self.printed.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("dev says '{start}': {}", self.printed))
    }

    fn key(&self) -> &str {
        self.said("the admin key is ")
    }

    fn url(&self) -> String {
        format!("http://{}", self.said("tributary is ready on "))
    }

    /// The process id of its Postgres.
    fn postmaster(&self) -> String {
        postmaster(Path::new(self.said("the data is in "))).expect("Postgres runs")
    }

    async fn client_with(&self, key: &str) -> Client {
        let channel = Endpoint::from_shared(self.url()).unwrap().connect().await.unwrap();
        Client::new(channel, Some(key))
    }

    async fn client(&self) -> Client {
        self.client_with(self.key()).await
    }

    /// Sends a signal, and waits for a clean end that leaves no Postgres behind.
    async fn stop(mut self, signal: &str) {
        let (pid, postmaster) = (self.child.id().unwrap().to_string(), self.postmaster());
        assert!(is_alive(&postmaster));
        Command::new("kill").args([signal, &pid]).status().await.unwrap();
        let ended = tokio::time::timeout(START_TIMEOUT, self.child.wait()).await;
        let status = ended.expect("dev stops in time").unwrap();
        assert!(status.success(), "dev ended with {status}");
        while self.lines.next_line().await.unwrap().is_some() {}
        assert!(!is_alive(&postmaster), "Postgres still runs");
    }

    /// Kills the process without a chance to stop its Postgres.
    async fn kill(mut self) -> String {
        let postmaster = self.postmaster();
        self.child.kill().await.unwrap();
        postmaster
    }
}

/// Runs a command that must end by itself.
async fn run(mut command: Command) -> Output {
    tokio::time::timeout(START_TIMEOUT, command.output()).await.expect("it ends in time").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must fail, and returns its error output.
async fn failure(command: Command) -> String {
    let output = run(command).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: ") || said.contains("\nerror: "), "{said}");
    said
}

/// Another command on a running `dev`, which it finds as from another shell.
fn remote(dev: &Dev, directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = tributary();
    command
        .args(arguments)
        .args(["--server", &dev.url(), "--data-dir"])
        .arg(directory.path("data"));
    command
}
