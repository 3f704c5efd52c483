//! Errors of a cluster, with messages that say what to do.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a cluster could not be started, kept or stopped.
#[derive(Debug, thiserror::Error)]
pub enum PrivatePostgresError {
    /// No server binaries on this machine.
    #[error(
        "no Postgres server found: postgres, initdb and pg_ctl are neither on PATH nor in the \
         usual places; install one (Debian, Ubuntu: apt install postgresql; Fedora: dnf install \
         postgresql-server; macOS: brew install postgresql@17) or set TRIBUTARY_PG_BINDIR to the \
         directory that holds them"
    )]
    NoPostgres,

    /// The directory that the caller named for the binaries cannot be used.
    #[error(
        "{path} holds no usable Postgres server: {reason}; TRIBUTARY_PG_BINDIR must name the \
         directory with postgres, initdb and pg_ctl in it"
    )]
    BadBinDir {
        /// The directory named by the caller.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A program could not be run at all.
    #[error("cannot run {program} as user {user}: {reason}")]
    Run {
        /// The program.
        program: PathBuf,
        /// The user it was to run as.
        user: String,
        /// What the operating system said.
        reason: io::Error,
    },

    /// This process is root, and there is no other user to run Postgres as.
    #[error(
        "Postgres refuses to run as root, and there is neither a user postgres nor a user nobody \
         to run it as; run this program as an ordinary user"
    )]
    NoOrdinaryUser,

    /// An operation on a file or directory failed.
    #[error("cannot {action} {path}: {reason}; {advice}")]
    File {
        /// The attempted action.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        reason: io::Error,
        /// What to do about it.
        advice: &'static str,
    },

    /// The path of the data directory is not a directory.
    #[error("data directory {path} is not a directory; remove it or pass another --data-dir")]
    NotADirectory {
        /// The path named by the caller.
        path: PathBuf,
    },

    /// The path of the data directory has characters that Postgres's files cannot hold.
    #[error(
        "data directory {path:?} has characters in its path that are not UTF-8 or control characters; pass \
         another --data-dir"
    )]
    UnusablePath {
        /// The path.
        path: PathBuf,
    },

    /// Another process owns the data directory.
    #[error(
        "data directory {path} is in use by {holder}; stop it or pass another --data-dir",
        holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The owner, if it has already written its id.
        pid: Option<u32>,
    },

    /// The cluster belongs to a user that it cannot be run as.
    #[error("{path} belongs to user id {owner}; {advice}, or pass another --data-dir")]
    OtherOwner {
        /// The cluster directory.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// What to do about it.
        advice: &'static str,
    },

    /// The data exists, but the user that Postgres runs as can no longer reach it.
    #[error(
        "user {user}, as whom Postgres runs, cannot reach {path}; give it search permission \
         (chmod o+x) on that directory and those above it, or pass another --data-dir"
    )]
    Unreachable {
        /// The directory.
        path: PathBuf,
        /// The user.
        user: String,
    },

    /// The data directory was moved, but its data is elsewhere, under a name derived from the former path.
    #[error(
        "{link} points to {target}, which belongs to a data directory at another path; if this \
         one was moved, rename {} to {} and make the link point there; if it was copied, remove \
         the link to begin anew",
        target.parent().unwrap_or(target).display(),
        expected.display()
    )]
    Moved {
        /// The link in the data directory.
        link: PathBuf,
        /// Where it points.
        target: PathBuf,
        /// The directory whose `postgres` it should point to.
        expected: PathBuf,
    },

    /// A directory exists, but not with the expected owner or mode.
    #[error(
        "{path} exists but is not a directory that only user {user} can write to; somebody else \
         may have put it there; look at it and remove it"
    )]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// Who should own it.
        user: String,
    },

    /// The directory of the cluster contains something else.
    #[error(
        "{path} exists but is not a Postgres cluster (no readable PG_VERSION in it); move it \
         away or pass another --data-dir"
    )]
    NotACluster {
        /// The cluster directory.
        path: PathBuf,
    },

    /// The cluster was created by another major version.
    #[error(
        "the cluster in {path} was made by Postgres {made_by}, but the installed server is \
         version {installed}; install Postgres {made_by} (or name its directory in \
         TRIBUTARY_PG_BINDIR), convert the data with pg_upgrade, or pass another --data-dir"
    )]
    OtherVersion {
        /// The cluster directory.
        path: PathBuf,
        /// The version that created it.
        made_by: u32,
        /// The version found.
        installed: u32,
    },

    /// `initdb` failed.
    #[error("initdb could not make a cluster in {path}:\n{output}")]
    Initdb {
        /// The directory it was to fill.
        path: PathBuf,
        /// The end of its output.
        output: String,
    },

    /// Postgres ended unexpectedly.
    #[error("Postgres ended by itself ({status}); the end of its log, {log}:\n{tail}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },

    /// Postgres runs, but does not become ready.
    #[error(
        "Postgres was still not ready after {seconds} seconds, and silent for the last minute; \
         the end of its log, {log}:\n{tail}"
    )]
    NotReady {
        /// How long the start waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },

    /// Postgres does not stop.
    #[error(
        "Postgres (process {pid}) on {path} does not stop: {reason}; stop it by hand with \
         kill -QUIT {pid}"
    )]
    NotStopped {
        /// The postmaster.
        pid: u32,
        /// The cluster directory.
        path: PathBuf,
        /// What `pg_ctl` said.
        reason: String,
    },

    /// There is no directory for a temporary cluster.
    #[error(
        "no directory for a temporary cluster: user {user} cannot use {tried}; set TMPDIR to a \
         directory with a short path that this user can reach"
    )]
    NoTemporaryDirectory {
        /// The user Postgres runs as.
        user: String,
        /// The directories that were tried.
        tried: String,
    },
}
