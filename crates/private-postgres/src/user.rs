//! As whom the Postgres binaries run.
//!
//! Postgres refuses to run as root. When we are root it therefore runs as an ordinary user, which
//! must own the cluster and be able to reach it. In every other case it runs as ourselves.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd;

use super::PrivatePostgresError;

const ROOT: u32 = 0;

/// Passed on to the Postgres binaries; everything else in our environment stays here. `PG*` and
/// `LC_*` variables would change what Postgres does, and a root's secrets are not for the eyes of
/// an ordinary user.
const ENVIRONMENT: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// The user the Postgres binaries run as.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    gid: u32,
    /// True when we are root and this is somebody else.
    switched: bool,
}

impl User {
    /// The user for the cluster at `cluster`, which need not exist yet.
    ///
    /// A root who meets an existing cluster runs it as its owner: that makes `sudo` once in a
    /// while harmless, and survives a renumbering of the `postgres` user.
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

    /// The user for a cluster yet to be made.
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

    /// True when Postgres runs as somebody else because we are root.
    pub(super) fn is_switched(&self) -> bool {
        self.switched
    }

    /// A command that runs `program` as this user, away from our terminal: in its own process
    /// group, so that a Ctrl-C meant for us does not reach it, and without our input.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .envs(ENVIRONMENT.iter().filter_map(|&name| Some((name, std::env::var_os(name)?))))
            // Our own directory may be closed to this user.
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null());
        if self.switched {
            // The standard library also drops root's supplementary groups here.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user can reach what is in `directory`. Asked by trying, because every ancestor
    /// and every kind of access control has a say.
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

    /// Makes an empty file that only this user can read and write, in directory of whatever was there.
    /// Never writes through a link left there by somebody else.
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
