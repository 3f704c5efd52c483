//! The postmaster: its settings, the check that it is ready, stopping it, and handling one that an earlier
//! owner left behind.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use tracing::{info, warn};

use super::data_directory::{DataDirectory, failed};
use super::tools::Tools;
use super::{Options, PrivatePostgresError};

/// The port names the socket; nothing listens on the network.
pub(super) const PORT: u16 = 5432;
/// The superuser of every cluster created here.
pub(super) const SUPERUSER: &str = "tributary";
/// The minimum and maximum size of Postgres's buffers.
const LEAST_BUFFERS_KIB: u64 = 128 * 1024;
const MOST_BUFFERS_KIB: u64 = 8 * 1024 * 1024;
const PATIENCE_SECONDS: u32 = 60;
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 20;
/// Higher than the process ids of any system.
const IMPOSSIBLE_PID: i32 = i32::MAX;

/// Creates the cluster, under another name first, so that there is either a complete one or none.
pub(super) async fn initdb(
    tools: &Tools,
    directory: &DataDirectory,
    durable: bool,
) -> Result<(), PrivatePostgresError> {
    info!("making a Postgres {} cluster in {}", tools.version, directory.cluster.display());
    let unfinished = directory.begin()?;
    let mut command = tools.command("initdb");
    command.arg("-D").arg(&unfinished).args([
        "--username",
        SUPERUSER,
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
        // Everybody who can reach the socket may connect: the directory's mode decides.
        "--auth-local=trust",
        "--auth-host=reject",
    ]);
    if !durable {
        command.arg("--no-sync");
    }
    let output = tools.output(command).await?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        return Err(PrivatePostgresError::Initdb {
            path: unfinished,
            output: last_lines(&String::from_utf8_lossy(&text)),
        });
    }
    directory.finish(&unfinished)
}

/// The settings for the command line, which the configuration files and `ALTER SYSTEM` cannot
/// override. Of two values for the same name, Postgres takes the last one.
pub(super) async fn settings(
    tools: &Tools,
    options: &Options,
    cluster: &Path,
    sockets: &Path,
) -> Vec<String> {
    let max_connections = options.max_connections.to_string();
    let shared_buffers = format!("{}kB", shared_buffers_kib());
    let sockets = sockets.display().to_string();
    let wal_compression = wal_compression(tools, cluster).await;
    let port = PORT.to_string();
    let defaults = [
        // Committed data survives a power cut.
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("max_connections", &max_connections),
        // For many small writes: much memory, and checkpoints that are rare and spread out.
        ("shared_buffers", &shared_buffers),
        ("max_wal_size", "2GB"),
        ("checkpoint_timeout", "15min"),
        ("wal_compression", wal_compression),
        // The log is for problems only; this process reads it from standard error.
        ("log_min_messages", "warning"),
        ("log_checkpoints", "off"),
        ("log_destination", "stderr"),
        ("logging_collector", "off"),
    ];
    let callers = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // Not for the caller to change: the URL and the privacy of the cluster depend on them.
    let fixed = [
        ("listen_addresses", ""),
        ("unix_socket_directories", &sockets),
        ("unix_socket_permissions", "0700"),
        ("port", &port),
    ];
    defaults
        .into_iter()
        .chain(callers)
        .chain(fixed)
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// The compression of full pages in the WAL: lz4, which takes a fraction of the time, if these binaries were
/// built with it.
async fn wal_compression(tools: &Tools, cluster: &Path) -> &'static str {
    let mut command = tools.command("postgres");
    command.arg("-D").arg(cluster).args(["-c", "wal_compression=lz4", "-C", "wal_compression"]);
    let answer = tools.output(command).await;
    if answer.is_ok_and(|output| output.status.success()) { "lz4" } else { "on" }
}

/// A quarter of the available memory, as Postgres recommends, within limits; it is touched only as the data
/// grows.
fn shared_buffers_kib() -> u64 {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let memory_kib = memory_kib(&read("/proc/meminfo"), &read("/sys/fs/cgroup/memory.max"));
    memory_kib.map_or(LEAST_BUFFERS_KIB, |kib| kib / 4).clamp(LEAST_BUFFERS_KIB, MOST_BUFFERS_KIB)
}

/// The memory of the machine, or the container's limit (in bytes, or `max`) if that is lower.
fn memory_kib(machine: &str, container: &str) -> Option<u64> {
    let machine_kib = machine.lines().find_map(|line| {
        let size = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?;
        size.parse::<u64>().ok()
    });
    let container_kib = container.trim().parse::<u64>().ok().map(|bytes| bytes / 1024);
    machine_kib.into_iter().chain(container_kib).min()
}

/// Starts a postmaster on a cluster without one.
pub(super) fn spawn(
    tools: &Tools,
    directory: &DataDirectory,
    sockets: &Path,
    settings: &[String],
) -> Result<Child, PrivatePostgresError> {
    // Left by a postmaster that was killed. Postgres would clean up itself, but it mistakes a process that
    // has the same id now for the owner.
    for left in [".s.PGSQL.5432", ".s.PGSQL.5432.lock"] {
        let _ = fs::remove_file(sockets.join(left));
    }
    let failed = || failed("write the log", &directory.log, "make it writable or remove it");
    let log = tools.user.replace_file(&directory.log).map_err(failed())?;
    let mut command = tools.command("postgres");
    command.arg("-D").arg(&directory.cluster);
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.stdout(log.try_clone().map_err(failed())?).stderr(log);
    command.spawn().map_err(|reason| tools.user.cannot_run(&tools.path("postgres"), reason))
}

/// Whether the postmaster `pid` reports in its pid file, as for `pg_ctl`, that it accepts connections.
pub(super) fn is_ready(cluster: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(pid_file(cluster)) else {
        return false;
    };
    let mut lines = text.lines();
    lines.next().is_some_and(|line| line.trim() == pid.to_string())
        && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

/// Whether the cluster's pid file names `pid`, so that `pg_ctl` would stop it.
pub(super) fn is_registered(cluster: &Path, pid: u32) -> bool {
    read_pid_file(cluster).is_some_and(|text| first_line(&text) == pid.to_string())
}

/// Stops the postmaster `pid`: fast, or if it takes more than a minute, immediately. The latter
/// loses nothing either, but makes the next start recover.
pub(super) async fn stop(
    tools: &Tools,
    cluster: &Path,
    pid: u32,
) -> Result<(), PrivatePostgresError> {
    let mut reason = String::new();
    for mode in ["fast", "immediate"] {
        let output = tools.output(tools.stop_command(cluster, mode, PATIENCE_SECONDS)).await?;
        if output.status.success() || !is_postmaster(pid, cluster).await {
            return Ok(());
        }
        reason = last_lines(&String::from_utf8_lossy(&output.stderr));
        warn!("Postgres (process {pid}) does not stop ({mode}): {reason}");
    }
    Err(PrivatePostgresError::NotStopped { pid, path: cluster.to_owned(), reason })
}

/// Stops a postmaster whose owner is gone, and ensures that the pid file of a dead one does not block a new
/// one. The caller holds the lock, so a postmaster that runs here has no owner.
pub(super) async fn end_leftover(
    tools: &Tools,
    cluster: &Path,
) -> Result<(), PrivatePostgresError> {
    for _ in 0..10 {
        let Some(text) = read_pid_file(cluster) else {
            return Ok(());
        };
        let Ok(pid) = first_line(&text).parse::<u32>() else {
            // The file is empty between its creation and its first line. A machine that crashed can leave it
            // empty permanently.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if is_postmaster(pid, cluster).await {
            info!("taking over from an owner that is gone: stopping its Postgres (process {pid})");
            return stop(tools, cluster, pid).await;
        }
        return disown(tools, cluster, &text);
    }
    let path = pid_file(cluster);
    fs::remove_file(&path).map_err(failed("remove", &path, "remove it by hand"))
}

/// Postgres refuses to start if the process in the pid file exists, and after a restart of the machine that
/// may be an unrelated process. The other lines are kept, because Postgres uses them to find backends that
/// outlived their postmaster.
fn disown(tools: &Tools, cluster: &Path, text: &str) -> Result<(), PrivatePostgresError> {
    let path = pid_file(cluster);
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    tools
        .user
        .replace_file(&path)
        .and_then(|mut file| write!(file, "{IMPOSSIBLE_PID}\n{rest}"))
        .map_err(failed("write", &path, "remove it by hand"))
}

/// Whether `pid` is a live postmaster on `cluster`, rather than a process that got the same id.
async fn is_postmaster(pid: u32, cluster: &Path) -> bool {
    let arguments: Vec<u8> = if Path::new("/proc/self/cmdline").exists() {
        fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
    } else {
        tokio::process::Command::new("ps")
            .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
            .output()
            .await
            .map(|output| output.stdout)
            .unwrap_or_default()
    };
    let text = String::from_utf8_lossy(&arguments).replace('\0', " ");
    let (program, rest) = text.trim().split_once(" -D ").unwrap_or_default();
    let is_there = rest
        .strip_prefix(&*cluster.to_string_lossy())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    // The working directory, if readable, identifies a postmaster whose cluster was moved.
    let is_moved = || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == cluster);
    program.ends_with("postgres") && (is_there || is_moved())
}

/// The last lines of the log.
pub(super) fn log_tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(last_lines(&String::from_utf8_lossy(&bytes)))
    };
    match read() {
        Ok(text) if text.is_empty() => "(nothing)".to_owned(),
        Ok(text) => text,
        Err(error) => format!("(cannot be read: {error})"),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn pid_file(cluster: &Path) -> PathBuf {
    cluster.join("postmaster.pid")
}

fn read_pid_file(cluster: &Path) -> Option<String> {
    fs::read_to_string(pid_file(cluster)).ok()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::memory_kib;

    #[test]
    fn memory_is_that_of_the_machine_or_less_in_a_container() {
        let machine = "MemFree:  10 kB\nMemTotal:       24683060 kB\nSwapTotal: 0 kB\n";
        for (machine, container, expected) in [
            (machine, "max\n", Some(24_683_060)),
            (machine, "", Some(24_683_060)),
            (machine, "1073741824\n", Some(1_048_576)),
            (machine, "107374182400\n", Some(24_683_060)),
            ("", "1073741824\n", Some(1_048_576)),
            ("MemTotal: much", "max", None),
        ] {
            assert_eq!(memory_kib(machine, container), expected, "{container:?}");
        }
    }
}
