//! A cluster for tests, which is removed when the process that created it ends, however it ends.

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::data_directory::{failed, fits_socket};
use super::tools::Tools;
use super::user::User;
use super::{Options, PrivatePostgres, PrivatePostgresError};

/// Reads until the other end of the pipe is closed, which the operating system does when the parent process
/// ends. `$1` is the directory to remove, `$2` is `pg_ctl`.
///
/// A postmaster that was just started may not be registered yet, hence the second attempt; and an
/// `initdb` may still be writing, hence the loop.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
for _ in 1 2 3 4 5 6 7 8 9 10; do
    "$2" stop -D "$1/postgres" -m immediate -w -t 30 || {
        sleep 0.3
        "$2" stop -D "$1/postgres" -m immediate -w -t 30
    }
    rm -rf "$1"
    [ -e "$1" ] || exit 0
    sleep 0.3
done
"#;

/// A cluster in its own directory. Both are removed soon after the process that created it has ended in any
/// way: by a panic, by SIGKILL, or with the value in a static that is never dropped. Dropping it blocks until
/// they are removed.
#[derive(Debug)]
pub struct TemporaryPostgres {
    // Dropped first: it stops Postgres faster than dropping the cluster would.
    _watchdog: Watchdog,
    cluster: PrivatePostgres,
}

impl TemporaryPostgres {
    /// Creates and starts a cluster, as durable as any other unless `options` change that.
    ///
    /// # Errors
    ///
    /// If there is no directory for it, or as for [`PrivatePostgres::start`].
    pub async fn start(options: &Options) -> Result<Self, PrivatePostgresError> {
        let user = User::for_new_cluster()?;
        let tools = Tools::find(options.bin_dir.as_deref(), None, user).await?;
        let directory = make_directory(&tools.user).await?;
        let watchdog = Watchdog::start(&tools, &directory)?;
        let cluster = PrivatePostgres::start_at(&directory, options, false).await?;
        Ok(Self { _watchdog: watchdog, cluster })
    }

    /// A URL for `database`: see [`PrivatePostgres::url`].
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.cluster.url(database)
    }

    /// Crashes Postgres and starts it again: see [`PrivatePostgres::crash`].
    ///
    /// # Errors
    ///
    /// If Postgres does not end, or does not start again.
    pub async fn crash(&mut self, down: Duration) -> Result<(), PrivatePostgresError> {
        self.cluster.crash(down).await
    }

    /// The Postgres data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.cluster.directory()
    }

    /// The file that Postgres writes its log to.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.cluster.log()
    }

    /// The process id of the postmaster.
    #[must_use]
    pub fn postmaster_pid(&self) -> u32 {
        self.cluster.postmaster_pid()
    }
}

/// A process that outlives this one just long enough to clean up. It runs as the user who owns the directory,
/// and in its own process group, so that a Ctrl-C does not end it first.
#[derive(Debug)]
struct Watchdog {
    child: Child,
    /// Never written to. Closed on exec: no other child keeps it open.
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    fn start(tools: &Tools, directory: &Path) -> Result<Self, PrivatePostgresError> {
        let shell = Path::new("/bin/sh");
        let mut child = tools
            .user
            .command(shell)
            .args(["-c", WATCHDOG, "sh"])
            .arg(directory)
            .arg(tools.path("pg_ctl"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|reason| tools.user.cannot_run(shell, reason))?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait();
    }
}

/// Creates the directory and makes the user its owner, so that the watchdog can remove it.
async fn make_directory(user: &User) -> Result<PathBuf, PrivatePostgresError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let parents = [env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    for parent in &parents {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let name = format!("tributary-test-{}-{count}-{now:x}", std::process::id());
        let directory = parent.join(name);
        if !fits_socket(&directory.join("postgres"))
            || !user.can_enter(parent).await?
            || DirBuilder::new().mode(0o700).create(&directory).is_err()
        {
            continue;
        }
        user.take(&directory).map_err(failed("give away", &directory, "remove it"))?;
        return Ok(directory);
    }
    Err(PrivatePostgresError::NoTemporaryDirectory {
        user: user.name.clone(),
        tried: parents.map(|parent| parent.display().to_string()).join(", "),
    })
}
