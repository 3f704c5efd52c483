//! A private, durable Postgres cluster created with the installed binaries.
//!
//! [`PrivatePostgres`] keeps its data in a directory from one run to the next; [`TemporaryPostgres`] is for
//! tests and leaves nothing behind. Both listen only on a Unix socket, which only the user that they run as
//! (and root) can reach.
//!
//! This crate finds the binaries, creates the cluster, owns its directory, starts and stops the postmaster,
//! and recovers from every way in which an earlier run can have ended.
//!
//! It contains no SQL: callers connect to [`PrivatePostgres::url`] with the client of their choice, and
//! create their own databases. It reads no flags, and no environment variables other than those with the
//! locations of programs and temporary files: the caller passes [`Options`].

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

/// How often the postmaster is polled. It is polled rather than awaited: a cluster may be in a static and
/// outlive the runtime that it was started in, whose child watch then no longer works.
const STARTING_POLL: Duration = Duration::from_millis(25);
const RUNNING_POLL: Duration = Duration::from_millis(200);
/// A start without a sign of life for this long is aborted. Recovery after a crash may take longer, but then
/// the log grows.
const START_PATIENCE: Duration = Duration::from_mins(1);
const PROGRESS_EVERY: Duration = Duration::from_secs(3);
/// How long dropping a cluster may block.
const DROP_SECONDS: u32 = 5;
/// Messages of Postgres when something of a former postmaster still exists.
const CONFLICTS: [&str; 2] =
    ["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"];

/// How to run a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory with `postgres`, `initdb` and `pg_ctl`; searched for if `None`.
    pub bin_dir: Option<PathBuf>,
    /// How many connections the server accepts at the same time.
    pub max_connections: u32,
    /// Further server settings (name, value). They override the defaults of this crate, but not where the
    /// server listens.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { bin_dir: None, max_connections: 100, settings: Vec::new() }
    }
}

/// A running Postgres server on a cluster that belongs to this process.
///
/// If the process ends without stopping it, Postgres keeps running until the next start, which stops it.
///
/// Dropping a cluster that was not stopped asks Postgres for a fast shutdown and blocks for up to five
/// seconds; use [`PrivatePostgres::stop`] if possible.
#[derive(Debug)]
pub struct PrivatePostgres {
    child: Child,
    tools: Tools,
    sockets: PathBuf,
    /// The settings on the command line of the postmaster.
    settings: Vec<String>,
    // Dropped last: the next owner may start only after everything else is gone.
    directory: DataDirectory,
}

impl PrivatePostgres {
    /// Starts Postgres on the cluster in `data_dir`, creates either if it is missing, and returns when
    /// Postgres accepts connections.
    ///
    /// A server left behind by an owner that was killed is stopped first. Dropping the future stops
    /// everything that it has started.
    ///
    /// # Errors
    ///
    /// If the directory cannot be used or belongs to another process, no suitable Postgres is installed, or
    /// Postgres does not start. The message says what to do.
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
        let mut cluster = Self { child, tools, sockets, settings, directory };
        cluster.get_ready().await?;
        Ok(cluster)
    }

    /// Waits until the postmaster that was just spawned is ready, and spawns it again while remains of a former
    /// one are in its way.
    async fn get_ready(&mut self) -> Result<(), PrivatePostgresError> {
        let first = Instant::now();
        let mut reported = None;
        while let Err(error) = self.wait_until_ready().await {
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
            let Self { tools, directory, sockets, settings, .. } = &*self;
            postmaster::end_leftover(tools, &directory.cluster).await?;
            self.child = postmaster::spawn(tools, directory, sockets, settings)?;
        }
        Ok(())
    }

    /// A URL for `database`, for `sqlx` and `psql`. The superuser is `tributary`, and the database `postgres`
    /// always exists.
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

    /// The actual directory of the cluster: `postgres` below the data directory, or a directory in /var/tmp
    /// if this process is root and the user that Postgres runs as cannot reach the data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory.cluster
    }

    /// Postgres's log since this start. The log of the previous start has `.1` appended to its name.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.directory.log
    }

    /// The process id of the postmaster.
    #[must_use]
    pub fn postmaster_pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns when Postgres has ended unexpectedly, with an error that describes how and shows the end of
    /// its log. To start it again, drop the cluster first.
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
    /// If Postgres does not stop, even when told to do so immediately.
    pub async fn stop(mut self) -> Result<(), PrivatePostgresError> {
        if self.has_exited().is_some() {
            return Ok(());
        }
        postmaster::stop(&self.tools, &self.directory.cluster, self.child.id()).await?;
        // `pg_ctl` waits for the removal of the pid file, which happens a moment before the process ends.
        let _ = self.child.wait();
        Ok(())
    }

    /// Ends all processes of Postgres at once, as a crash would, and starts it again after a while: it recovers from
    /// its write-ahead log. For tests of what depends on it.
    ///
    /// # Errors
    ///
    /// If Postgres does not end, or does not start again.
    pub async fn crash(&mut self, down: Duration) -> Result<(), PrivatePostgresError> {
        let stop = self.tools.stop_command(&self.directory.cluster, "immediate", DROP_SECONDS);
        self.tools.output(stop).await?;
        self.exited().await;
        tokio::time::sleep(down).await;
        let Self { tools, directory, sockets, settings, .. } = &*self;
        postmaster::end_leftover(tools, &directory.cluster).await?;
        self.child = postmaster::spawn(tools, directory, sockets, settings)?;
        self.get_ready().await
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

    /// How Postgres ended, if it has ended.
    fn has_exited(&mut self) -> Option<PrivatePostgresError> {
        // No error is expected, because nothing else waits for this child.
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
                // The postmaster is not far enough to have anything to shut down.
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
