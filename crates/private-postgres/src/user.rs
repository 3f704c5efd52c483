//! The user that the Postgres binaries run as.
//!
//! Postgres refuses to run as root. If this process is root, Postgres therefore runs as an ordinary user,
//! which must own the cluster and be able to reach it. Otherwise it runs as the user of this process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd;

use super::PrivatePostgresError;

const ROOT: u32 = 0;

/// The only environment variables that are passed to the Postgres binaries. `PG*` and `LC_*` variables would
/// change what Postgres does, and root's secrets must not become visible to an ordinary user.
const ENVIRONMENT: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// The user that runs the Postgres binaries.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    gid: u32,
    /// True if this process is root and this is another user.
    switched: bool,
}

impl User {
    /// The user for the cluster at `cluster`, which need not exist yet.
    ///
    /// Root runs an existing cluster as its owner. This makes an occasional `sudo` harmless, and survives a
    /// renumbering of the `postgres` user.
    pub(super) fn for_cluster(cluster: &Path) -> Result<Self, PrivatePostgresError> {
        let user = Self::ourselves();
        let Ok(owner) = fs::metadata(cluster) else {
            return Self::for_new_cluster();
        };
        let refuse = |advice| PrivatePostgresError::OtherOwner {
            path: cluster.to_owned(),
            owner: owner.uid(),
            advice,
        };
        match (user.uid, owner.uid()) {
            (ROOT, ROOT) => Err(refuse(
                "Postgres refuses to run as root; give the directory to an ordinary user \
                 (chown -R)",
            )),
            (ROOT, uid) => {
                Ok(Self { name: format!("with id {uid}"), uid, gid: owner.gid(), switched: true })
            }
            (ours, uid) if ours == uid => Ok(user),
            _ => Err(refuse("run this program as that user")),
        }
    }

    /// The user for a new cluster.
    pub(super) fn for_new_cluster() -> Result<Self, PrivatePostgresError> {
        let user = Self::ourselves();
        if user.uid != ROOT {
            return Ok(user);
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| unistd::User::from_name(name).ok()?)
            .map(|user| Self {
                name: user.name,
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                switched: true,
            })
            .ok_or(PrivatePostgresError::NoOrdinaryUser)
    }

    fn ourselves() -> Self {
        let (uid, gid) = (unistd::geteuid().as_raw(), unistd::getegid().as_raw());
        Self { name: format!("with id {uid}"), uid, gid, switched: false }
    }

    /// True if Postgres runs as another user because this process is root.
    pub(super) fn is_switched(&self) -> bool {
        self.switched
    }

    /// A command that runs `program` as this user, detached from the terminal: in its own process group, so
    /// that a Ctrl-C for this process does not reach it, and without this process's input.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .envs(ENVIRONMENT.iter().filter_map(|&name| Some((name, std::env::var_os(name)?))))
            // This user may be unable to enter the working directory of this process.
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null());
        if self.switched {
            // The standard library also drops root's supplementary groups here.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user can reach what is in `directory`. The only reliable check is to try, because every
    /// ancestor and every kind of access control matters.
    pub(super) async fn can_enter(&self, directory: &Path) -> Result<bool, PrivatePostgresError> {
        if !self.switched {
            return Ok(true);
        }
        let shell = Path::new("/bin/sh");
        let mut command = self.command(shell);
        command
            .args(["-c", "cd -- \"$1\"", "sh"])
            .arg(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = tokio::process::Command::from(command)
            .status()
            .await
            .map_err(|reason| self.cannot_run(shell, reason))?;
        Ok(status.success())
    }

    /// Gives `path` itself, not what it may point to, to this user.
    pub(super) fn take(&self, path: &Path) -> io::Result<()> {
        if self.switched {
            lchown(path, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// Creates an empty file that only this user can read and write, and replaces what was there. Never
    /// writes through a link that another user left there.
    pub(super) fn replace_file(&self, path: &Path) -> io::Result<File> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        if self.switched {
            fchown(&file, Some(self.uid), Some(self.gid))?;
        }
        Ok(file)
    }

    pub(super) fn cannot_run(&self, program: &Path, reason: io::Error) -> PrivatePostgresError {
        PrivatePostgresError::Run { program: program.to_owned(), user: self.name.clone(), reason }
    }
}
