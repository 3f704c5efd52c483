//! Processes of the program under test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

use super::{Client, TestDatabase};

pub const ADMIN_KEY: &str = "test_admin_key_0123456789";

/// The program under test, without environment variables that could change what it does.
pub fn tributary() -> Command {
    clean_command(&binary("tributary"))
}

/// A program that the build of the workspace has placed beside the tests.
fn binary(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is not built: run the tests with --workspace", path.display());
    path
}

/// A command without environment variables that could change what it does.
pub fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("TRIBUTARY_")
            || name.starts_with("PG")
            || name == "DATABASE_URL"
            || name == "SMTP_URL"
            || name.starts_with("STRIPE_")
        {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// The file of a shipped program.
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs").join(format!("{name}.json"))
}

/// Sends a signal to a process, as in `-STOP`. One that stops itself goes on only if it stands still by then, so that
/// `-CONT` waits for that.
pub async fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("the process runs").to_string();
    if name == "-CONT" {
        let stat = format!("/proc/{pid}/stat");
        let stands_still = || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|state| state.starts_with('T'))
        };
        for _ in 0..2_000 {
            if stands_still() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}

/// Options of a server, besides the database.
#[derive(Clone, Default)]
pub struct ServerOptions {
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
}

/// The limits of calls that hold for anybody, which are off unless a test sets them.
const LIMITS_OF_CALLS: [&str; 4] = [
    "TRIBUTARY_USER_CALLS_PER_MINUTE",
    "TRIBUTARY_ADDRESS_CALLS_PER_MINUTE",
    "TRIBUTARY_OPEN_CALLS_PER_ADDRESS_PER_MINUTE",
    "TRIBUTARY_OPEN_CALLS_PER_MINUTE",
];

/// The command that starts a server on a database.
pub fn serve(database_url: &str, options: &ServerOptions) -> Command {
    let mut command = tributary();
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(&options.arguments)
        .env("DATABASE_URL", database_url)
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
        .env("TRIBUTARY_LOG", "warn")
        // All clients of a test have one address.
        .envs(LIMITS_OF_CALLS.map(|name| (name, "0")))
        .stdout(Stdio::piped());
    command
}

/// A server process on a database.
pub struct Server {
    child: Child,
    pub address: String,
    channel: Channel,
}

impl Server {
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(&database.url, &ServerOptions::default()).await
    }

    pub async fn start_with(database_url: &str, options: &ServerOptions) -> Self {
        Self::start_command(serve(database_url, options)).await
    }

    /// Starts what [`serve`] returned.
    pub async fn start_command(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the server is ready");
                if let Some(address) = line.strip_prefix("tributary is ready on ") {
                    return address.to_owned();
                }
            }
        })
        .await
        .expect("the server is ready in time");
        let channel =
            Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { child, address, channel }
    }

    /// The id of the process.
    pub fn process_id(&self) -> u32 {
        self.child.id().expect("the server runs")
    }

    /// A client with the admin key.
    pub fn client(&self) -> Client {
        Client::new(self.channel.clone(), Some(ADMIN_KEY))
    }

    /// A client on a connection of its own.
    pub async fn separate_client(&self, key: Option<&str>) -> Client {
        let url = format!("http://{}", self.address);
        let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        Client::new(channel, key)
    }

    /// Sends a signal, as in `-STOP`.
    pub async fn signal(&self, name: &str) {
        signal(&self.child, name).await;
    }

    /// Kills the process without a graceful shutdown.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for the process to end by itself.
    pub async fn ended(mut self) -> std::process::ExitStatus {
        tokio::time::timeout(Duration::from_secs(30), self.child.wait())
            .await
            .expect("the server ends in time")
            .unwrap()
    }

    /// Asks the process to stop, and waits for it to succeed.
    pub async fn stop(mut self) {
        signal(&self.child, "-TERM").await;
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait())
            .await
            .expect("the server stops in time")
            .unwrap();
        assert!(status.success(), "the server ended with {status}");
    }
}
