//! A server for one run: `tributary dev` of the same build, with data that is removed afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::LoadError;

/// A first start creates a whole Postgres cluster.
const START_PATIENCE: Duration = Duration::from_mins(2);
/// How long the server may take to stop; Postgres writes everything to disk then.
const STOP_PATIENCE: Duration = Duration::from_mins(1);
/// What `dev` prints when it accepts calls.
const READY: &str = "tributary is ready on ";

/// A running server. Call [`OwnServer::stop`]: dropping it kills the server, but leaves its Postgres.
#[derive(Debug)]
pub struct OwnServer {
    child: Child,
    directory: PathBuf,
    /// The URL of the server.
    pub url: String,
}

impl OwnServer {
    /// Starts a server with this admin key and these further arguments of `dev`; `name` makes its directory
    /// unique.
    ///
    /// # Errors
    /// If the server cannot be started, or ends at once.
    pub async fn start(
        name: &str,
        admin_key: &str,
        arguments: &[String],
    ) -> Result<Self, LoadError> {
        let failed = |error: std::io::Error| LoadError::OwnServer(error.to_string());
        let directory = std::env::temp_dir().join(format!("tributary-{name}"));
        let mut command = Command::new(server_program().await?);
        command.arg("dev").arg("--data-dir").arg(&directory).args(["--listen", "127.0.0.1:0"]);
        // Mails of thousands of sign-ups are no part of what is measured.
        command.env("SMTP_URL", "none");
        command.args(arguments);
        command.env("TRIBUTARY_ADMIN_KEY", admin_key);
        if std::env::var_os("TRIBUTARY_LOG").is_none() {
            command.env("TRIBUTARY_LOG", "warn");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        let mut server = Self { child, directory, url: String::new() };
        match server.address().await {
            Ok(address) => {
                server.url = format!("http://{address}");
                Ok(server)
            }
            Err(error) => {
                server.stop().await;
                Err(error)
            }
        }
    }

    /// Waits until the server prints its address, and discards its later output.
    async fn address(&mut self) -> Result<String, LoadError> {
        let failed = |reason: &str| LoadError::OwnServer(reason.to_owned());
        let output = self.child.stdout.take().ok_or_else(|| failed("it has no output"))?;
        let mut lines = BufReader::new(output).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = line.strip_prefix(READY) {
                    return Some(address.to_owned());
                }
            }
            None
        };
        let address = timeout(START_PATIENCE, ready)
            .await
            .map_err(|_| failed("it was not ready after two minutes"))?
            .ok_or_else(|| failed("it ended before it was ready; its own words are above"))?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(address)
    }

    /// The URL of the server's database.
    ///
    /// # Errors
    /// If the server has not written the URL to its data directory.
    pub fn database_url(&self) -> Result<String, LoadError> {
        fs::read_to_string(self.directory.join("database.url"))
            .map(|url| url.trim().to_owned())
            .map_err(|error| LoadError::OwnServer(format!("its database is not known: {error}")))
    }

    /// The process, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops the server and its Postgres, and removes all that they have written.
    pub async fn stop(mut self) {
        if let Some(process_id) = self.child.id() {
            // The standard library can only kill the process, which would leave Postgres running.
            let asked =
                Command::new("kill").args(["-TERM", &process_id.to_string()]).status().await;
            if asked.is_err() || timeout(STOP_PATIENCE, self.child.wait()).await.is_err() {
                tracing::warn!(process_id, "the server of this run does not stop; killing it");
                let _ = self.child.kill().await;
            }
        }
        remove(&self.directory);
    }
}

/// The server binary beside this program. If cargo runs this program, the server is built first, so that no
/// outdated one is measured: `cargo run -p tributary-load` builds this program alone.
pub(super) async fn server_program() -> Result<PathBuf, LoadError> {
    let failed = |error: std::io::Error| LoadError::OwnServer(error.to_string());
    let own = std::env::current_exe().map_err(failed)?;
    let program = own.with_file_name("tributary");
    let is_run = own.file_name().is_some_and(|name| name == "tributary-load");
    if let (Some(cargo), true) = (std::env::var_os("CARGO"), is_run) {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "tributary", "--bin", "tributary"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        if !build.status().await.map_err(failed)?.success() {
            return Err(LoadError::OwnServer("it could not be built".into()));
        }
    }
    if program.exists() {
        return Ok(program);
    }
    let missing = format!("{} is not there: build it first", program.display());
    Err(LoadError::OwnServer(missing))
}

/// Removes a data directory, and the directory elsewhere that it may link to.
fn remove(directory: &Path) {
    if let Ok(cluster) = fs::read_link(directory.join("postgres"))
        && let Some(place) = cluster.parent()
        && place.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"tributary-"))
    {
        let _ = fs::remove_dir_all(place);
    }
    if let Err(error) = fs::remove_dir_all(directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "cannot remove {}", directory.display());
    }
}
