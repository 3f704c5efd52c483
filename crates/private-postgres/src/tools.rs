//! The installed Postgres binaries: their location, their version, and how they are run.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::PrivatePostgresError;
use super::user::User;

const PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// A usable set of server binaries, and the user that they run as.
#[derive(Debug)]
pub(super) struct Tools {
    directory: PathBuf,
    /// The major version.
    pub(super) version: u32,
    pub(super) user: User,
}

impl Tools {
    /// Finds the binaries: only in `explicit` if given, otherwise on PATH, in the directory that `pg_config`
    /// reports, and in the usual directories. Of several versions the one that created the existing cluster
    /// (`wanted`) is preferred; without that one, the first is returned.
    pub(super) async fn find(
        explicit: Option<&Path>,
        wanted: Option<u32>,
        user: User,
    ) -> Result<Self, PrivatePostgresError> {
        if let Some(directory) = explicit {
            // The binaries run in another working directory than this process.
            let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.into());
            return match usable(&directory, &user).await {
                Ok(version) => Ok(Self { directory, version, user }),
                Err(reason) => Err(PrivatePostgresError::BadBinDir { path: directory, reason }),
            };
        }
        let mut first = None;
        for directory in candidates().await {
            let Ok(version) = usable(&directory, &user).await else {
                continue;
            };
            if wanted.is_none_or(|wanted| wanted == version) {
                return Ok(Self { directory, version, user });
            }
            first = first.or(Some((directory, version)));
        }
        let (directory, version) = first.ok_or(PrivatePostgresError::NoPostgres)?;
        Ok(Self { directory, version, user })
    }

    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    /// A command that runs one of the binaries as the right user.
    pub(super) fn command(&self, program: &str) -> Command {
        self.user.command(&self.path(program))
    }

    /// Runs one of the binaries until it ends. Dropping the future kills it.
    pub(super) async fn output(&self, command: Command) -> Result<Output, PrivatePostgresError> {
        let program = PathBuf::from(command.get_program());
        tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|reason| self.user.cannot_run(&program, reason))
    }

    /// `pg_ctl stop` for `cluster`: waits up to `seconds` for the end of the postmaster.
    pub(super) fn stop_command(&self, cluster: &Path, mode: &str, seconds: u32) -> Command {
        let mut command = self.command("pg_ctl");
        command.arg("stop").arg("-D").arg(cluster).args([
            "-m",
            mode,
            "-w",
            "-t",
            &seconds.to_string(),
        ]);
        command
    }
}

/// The major version of the server in `directory`, or why it cannot be used.
async fn usable(directory: &Path, user: &User) -> Result<u32, String> {
    for program in PROGRAMS {
        let path = directory.join(program);
        if !fs::metadata(&path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0) {
            return Err(format!("there is no program {program} in it"));
        }
    }
    let postgres = directory.join("postgres");
    let mut command = user.command(&postgres);
    command.arg("--version");
    let output = tokio::process::Command::from(command)
        .output()
        .await
        .map_err(|reason| user.cannot_run(&postgres, reason).to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    major_version(&text).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("postgres --version says {:?}", format!("{text}{complaint}"))
    })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15, and so is `… 15beta2`.
fn major_version(text: &str) -> Option<u32> {
    leading_number(text.split_once("(PostgreSQL) ")?.1)
}

pub(super) fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

async fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).filter(|entry| entry.is_absolute()).collect())
        .unwrap_or_default();
    if let Ok(output) = tokio::process::Command::new("pg_config").arg("--bindir").output().await {
        found.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    found.extend(numbered("/usr/lib/postgresql", ""));
    found.extend(numbered("/usr", "pgsql-"));
    found.push("/usr/local/pgsql/bin".into());
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        found.extend(numbered(homebrew, "postgresql@"));
        found.push(Path::new(homebrew).join("postgresql/bin"));
    }
    found
}

/// The `parent/<prefix><version>/bin` directories, newest version first.
fn numbered(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = leading_number(name.to_str()?.strip_prefix(prefix)?)?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::major_version;

    #[test]
    fn versions_are_read() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(major_version(debian), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 19devel\n"), Some(19));
        assert_eq!(major_version("bash: no such thing"), None);
    }
}
