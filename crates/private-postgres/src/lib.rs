//! A private, durable Postgres cluster made from the installed binaries.
//!
//! [`PrivatePostgres`] keeps its data in a directory from one run to the next; [`TemporaryPostgres`] is for
//! tests and leaves nothing behind. Both listen on a Unix socket only, which nobody but the user
//! they run as (and root) can reach.
//!
//! What lives here: finding the binaries, making the cluster, owning its directory, starting and
//! stopping the postmaster, and recovering from every way in which an earlier run can have ended.
//!
//! What never does: SQL. Callers connect to [`PrivatePostgres::url`] with the client of their choice, and
//! make their own databases. Nor does this module read flags, or environment variables other than
//! those that say where programs and temporary files are: the caller passes [`Options`].

mod data_directory;
mod error;
mod postmaster;
mod temporary;
#[cfg(test)]
mod tests;
mod tools;
mod user;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use self::data_directory::DataDirectory;
pub use self::error::PrivatePostgresError;
pub use self::temporary::TemporaryPostgres;
use self::tools::Tools;

/// How often the postmaster is looked at. It is looked at rather than awaited: a cluster may live
/// in a static and outlast the runtime it was started in, and with it that runtime's child watch.
const STARTING_POLL: Duration = Duration::from_millis(25);
const RUNNING_POLL: Duration = Duration::from_millis(200);
/// A start without a sign of life for this long is given up. Recovery after a crash may well take
/// longer, but then the log grows.
const START_PATIENCE: Duration = Duration::from_mins(1);
const PROGRESS_EVERY: Duration = Duration::from_secs(3);
/// How long dropping a cluster may block.
const DROP_SECONDS: u32 = 5;
/// What Postgres says when something of a former postmaster is still there.
const CONFLICTS: [&str; 2] =
    ["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"];

/// How to run a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory with `postgres`, `initdb` and `pg_ctl` in it; found by itself when `None`.
    pub bin_dir: Option<PathBuf>,
    /// How many connections the server takes at the same time.
    pub max_connections: u32,
    /// Further server settings (name, value). They override the defaults given here, but not where
    /// the server listens.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { bin_dir: None, max_connections: 100, settings: Vec::new() }
    }
}

/// A running Postgres server on a cluster that belongs to this process.
///
/// When the process ends without stopping it, Postgres runs on until the next start, which takes
/// it over.
///
/// Dropping a cluster that was not stopped asks Postgres for a fast shutdown and blocks for up to
/// five seconds; use [`PrivatePostgres::stop`] where you can.
#[derive(Debug)]
pub struct PrivatePostgres {
    child: Child,
    tools: Tools,
    sockets: PathBuf,
    // Last: the next owner may come only when everything else is gone.
    directory: DataDirectory,
}

impl PrivatePostgres {
    /// Starts Postgres on the cluster in `data_dir`, making either of them when missing, and
    /// returns when it takes connections.
    ///
    /// A server left behind by an owner that was killed is stopped first. When the future is
    /// dropped, so is everything it has started.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used or belongs to another process, no fitting Postgres is
    /// installed, or Postgres does not start. The message says what to do.
    pub async fn start(data_dir: &Path, options: &Options) -> Result<Self, PrivatePostgresError> {
        Self::start_at(data_dir, options, true).await
    }

    async fn start_at(
        data_dir: &Path,
        options: &Options,
        durable: bool,
    ) -> Result<Self, PrivatePostgresError> {
        let mut directory = DataDirectory::claim(data_dir).await?;
        let made_by = directory.made_by()?;
        let tools =
            Tools::find(options.bin_dir.as_deref(), made_by, directory.user.clone()).await?;
        postmaster::end_leftover(&tools, &directory.cluster).await?;
        directory.settle()?;
        directory.remove_unfinished();
        match made_by {
            None => postmaster::initdb(&tools, &directory, durable).await?,
            Some(made_by) if made_by == tools.version => {}
            Some(made_by) => {
                return Err(PrivatePostgresError::OtherVersion {
                    path: directory.cluster.clone(),
                    made_by,
                    installed: tools.version,
                });
            }
        }

        directory.rotate_log();
        let sockets = directory.socket_directory()?;
        let settings = postmaster::settings(&tools, options, &directory.cluster, &sockets).await;
        let child = postmaster::spawn(&tools, &directory, &sockets, &settings)?;
        let mut cluster = Self { child, tools, sockets, directory };
        let first = Instant::now();
        let mut reported = None;
        while let Err(error) = cluster.wait_until_ready().await {
            // Backends finish what they are doing before they notice that their postmaster is
            // dead; and a postmaster whose owner was killed right after starting it registers
            // itself only now.
            if !is_conflict(&error) || first.elapsed() > START_PATIENCE {
                return Err(error);
            }
            if reported.is_none_or(|at: Instant| at.elapsed() > PROGRESS_EVERY) {
                reported = Some(Instant::now());
                info!("waiting for the processes of a former Postgres to end");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let Self { tools, directory, sockets, .. } = &cluster;
            postmaster::end_leftover(tools, &directory.cluster).await?;
            cluster.child = postmaster::spawn(tools, directory, sockets, &settings)?;
        }
        Ok(cluster)
    }

    /// A URL for `database`, as `sqlx` and `psql` take it. The superuser is `tributary`, and the
    /// database `postgres` always exists.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        // The port and sslmode are the defaults, but PGPORT and PGSSLMODE must not change them.
        // The socket directory has no character that needs escaping: see `fits_socket`.
        format!(
            "postgres://{user}@localhost:{port}/{database}?host={sockets}&sslmode=disable",
            user = postmaster::SUPERUSER,
            port = postmaster::PORT,
            database = percent_encoded(database),
            sockets = self.sockets.display(),
        )
    }

    /// Where the cluster really is: `postgres` below the data directory, or somewhere in /var/tmp
    /// when we are root and the user Postgres runs as cannot reach the data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory.cluster
    }

    /// Postgres's log since this start. That of the start before has `.1` appended to its name.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.directory.log
    }

    /// The process id of the postmaster.
    #[must_use]
    pub fn postmaster_pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns when Postgres has ended without our asking, with an error that tells how and shows
    /// the end of its log. To start it again, drop the cluster first.
    pub async fn exited(&mut self) -> PrivatePostgresError {
        loop {
            if let Some(error) = self.has_exited() {
                return error;
            }
            tokio::time::sleep(RUNNING_POLL).await;
        }
    }

    /// Stops Postgres: its clients are disconnected, and everything is written to disk. Returns
    /// when it has ended.
    ///
    /// # Errors
    ///
    /// When Postgres does not stop, even when told to do so immediately.
    pub async fn stop(mut self) -> Result<(), PrivatePostgresError> {
        if self.has_exited().is_some() {
            return Ok(());
        }
        postmaster::stop(&self.tools, &self.directory.cluster, self.child.id()).await?;
        // It waits for the pid file to go, which happens a moment before the process ends.
        let _ = self.child.wait();
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<(), PrivatePostgresError> {
        let start = Instant::now();
        let mut sign_of_life = start;
        let mut reported = start;
        let mut log_size = 0;
        loop {
            if let Some(error) = self.has_exited() {
                return Err(error);
            }
            if postmaster::is_ready(&self.directory.cluster, self.child.id()) {
                return Ok(());
            }
            let size = std::fs::metadata(&self.directory.log).map_or(0, |log| log.len());
            if size != log_size {
                log_size = size;
                sign_of_life = Instant::now();
            }
            let seconds = start.elapsed().as_secs();
            if sign_of_life.elapsed() > START_PATIENCE {
                let log = self.directory.log.clone();
                let tail = postmaster::log_tail(&log);
                return Err(PrivatePostgresError::NotReady { seconds, log, tail });
            }
            if reported.elapsed() > PROGRESS_EVERY {
                reported = Instant::now();
                let tail = postmaster::log_tail(&self.directory.log);
                let last = tail.lines().last().unwrap_or_default();
                info!("waiting for Postgres to get ready ({seconds} s): {last}");
            }
            tokio::time::sleep(STARTING_POLL).await;
        }
    }

    /// How Postgres ended, when it has.
    fn has_exited(&mut self) -> Option<PrivatePostgresError> {
        // There is no error to expect: the child is ours, and nobody else waits for it.
        let status = self.child.try_wait().ok()??;
        let log = self.directory.log.clone();
        let tail = postmaster::log_tail(&log);
        Some(PrivatePostgresError::Exited { status, log, tail })
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if self.has_exited().is_none() {
            if postmaster::is_registered(&self.directory.cluster, self.child.id()) {
                let mut stop =
                    self.tools.stop_command(&self.directory.cluster, "fast", DROP_SECONDS);
                if !stop.output().is_ok_and(|output| output.status.success()) {
                    warn!("Postgres (process {}) is still stopping", self.child.id());
                    return;
                }
            } else {
                // It has not got as far as having anything to shut down.
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
        if self.sockets != self.directory.cluster {
            let _ = std::fs::remove_dir(&self.sockets);
        }
    }
}

fn is_conflict(error: &PrivatePostgresError) -> bool {
    matches!(error, PrivatePostgresError::Exited { tail, .. }
        if CONFLICTS.iter().any(|conflict| tail.contains(conflict)))
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
