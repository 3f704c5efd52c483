//! The directory of a cluster, and its owner.
//!
//! The cluster is `<data directory>/postgres`. If this process is root and the ordinary user that Postgres
//! runs as cannot reach that directory (for example below `/root`), `postgres` there is a link to
//! `/var/tmp/tributary-<hash of the data directory's path>/postgres`. The link is next to `lock`, so that
//! removing the data directory also gives up the data.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::PrivatePostgresError;
use super::tools::leading_number;
use super::user::User;

const NAME: &str = "postgres";
/// The name of an incomplete cluster; it is renamed when it is complete.
const UNFINISHED: &str = "postgres.new";
const ELSEWHERE: &str = "/var/tmp/tributary-";
/// A process that was just killed takes a moment to release its lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// The lowest limit on the path of a Unix socket of all platforms (macOS; Linux allows 107 bytes).
const SOCKET_PATH_LIMIT: usize = 103;
const WRITABLE: &str = "make it writable for this user or pass another --data-dir";

/// The directory of one cluster, owned by this process for as long as this value lives.
#[derive(Debug)]
pub(super) struct DataDirectory {
    /// The Postgres data directory.
    pub(super) cluster: PathBuf,
    /// What Postgres writes to its standard output and error.
    pub(super) log: PathBuf,
    pub(super) user: User,
    parent: PathBuf,
    /// A link to the cluster that has yet to be created.
    link: Option<PathBuf>,
    /// Locked. Closed on exec, so Postgres does not inherit it: the lock ends with this process.
    lock: File,
}

impl DataDirectory {
    /// Creates the data directory if it is missing, and locks it.
    pub(super) async fn claim(data_dir: &Path) -> Result<Self, PrivatePostgresError> {
        check_path(&std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned()))?;
        let user = User::for_cluster(&data_dir.join(NAME))?;
        let data_dir = make_data_dir(data_dir, &user)?;
        check_path(&data_dir)?;
        let lock = lock(&data_dir).await?;

        let home = data_dir.join(NAME);
        let elsewhere = elsewhere(&data_dir);
        let mut link = None;
        let parent = match fs::read_link(&home) {
            Ok(target) if user.is_switched() && target == elsewhere.join(NAME) => elsewhere.clone(),
            Ok(target) if user.is_switched() && is_elsewhere(&target) => {
                return Err(PrivatePostgresError::Moved {
                    link: home,
                    target,
                    expected: elsewhere,
                });
            }
            _ if user.can_enter(&data_dir).await? => data_dir,
            _ if home.exists() => {
                return Err(PrivatePostgresError::Unreachable { path: data_dir, user: user.name });
            }
            _ => {
                link = Some(home);
                elsewhere.clone()
            }
        };
        if parent == elsewhere {
            make_elsewhere(&parent)?;
            if !user.can_enter(&parent).await? {
                return Err(PrivatePostgresError::Unreachable { path: parent, user: user.name });
            }
            info!(
                "user {} cannot reach the data directory; the Postgres data is in {}",
                user.name,
                parent.join(NAME).display()
            );
            if link.is_none() && !parent.join(NAME).exists() {
                warn!("the data no longer exists; something must have cleaned up /var/tmp");
            }
        }
        Ok(Self {
            cluster: parent.join(NAME),
            log: parent.join("postgres.log"),
            user,
            parent,
            link,
            lock,
        })
    }

    /// The major version that created the cluster; `None` if there is no cluster yet.
    pub(super) fn made_by(&self) -> Result<Option<u32>, PrivatePostgresError> {
        if self.link.is_some() || fs::symlink_metadata(&self.cluster).is_err() {
            return Ok(None);
        }
        fs::read_to_string(self.cluster.join("PG_VERSION"))
            .ok()
            .and_then(|text| leading_number(&text))
            .map(Some)
            .ok_or_else(|| PrivatePostgresError::NotACluster { path: self.cluster.clone() })
    }

    /// Links the data directory to a directory elsewhere, if necessary. A cluster there without a link to it
    /// belonged to a data directory that was removed. Its data is no longer wanted, but it is never deleted;
    /// it is moved aside.
    ///
    /// Nothing may be running on the cluster.
    pub(super) fn settle(&mut self) -> Result<(), PrivatePostgresError> {
        let Some(link) = self.link.take() else {
            return Ok(());
        };
        if self.cluster.exists() {
            let aside = self.parent.join("postgres.old");
            warn!(
                "the data directory is new; the data of the previous one is now in {}",
                aside.display()
            );
            remove_all(&aside).and_then(|()| fs::rename(&self.cluster, &aside)).map_err(failed(
                "set aside",
                &self.cluster,
                "look at it and remove it",
            ))?;
        }
        symlink(&self.cluster, &link).map_err(failed("make the link", &link, WRITABLE))
    }

    /// Removes the remains of interrupted attempts to create a cluster.
    pub(super) fn remove_unfinished(&self) {
        for entry in fs::read_dir(&self.parent).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(UNFINISHED.as_bytes())
                && let Err(error) = remove_all(&entry.path())
            {
                // Another process is still writing to it; the next start tries again.
                info!("cannot remove {} yet: {error}", entry.path().display());
            }
        }
    }

    /// Creates an empty directory for a new cluster. The name is new each time, because a process of an
    /// interrupted attempt may still be writing to the former one.
    pub(super) fn begin(&self) -> Result<PathBuf, PrivatePostgresError> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let path = self.parent.join(format!("{UNFINISHED}.{:x}", now.as_nanos()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .and_then(|()| self.user.take(&path))
            .map_err(failed("make", &path, WRITABLE))?;
        Ok(path)
    }

    /// Gives a complete cluster its final name.
    pub(super) fn finish(&self, complete: &Path) -> Result<(), PrivatePostgresError> {
        fs::rename(complete, &self.cluster)
            .and_then(|()| File::open(&self.parent)?.sync_all())
            .map_err(failed("make", &self.cluster, WRITABLE))
    }

    /// Keeps the log of the previous start, and only that one.
    pub(super) fn rotate_log(&self) {
        // There is no log at the first start, and a failure to keep one is harmless.
        let _ = fs::rename(&self.log, self.log.with_added_extension("1"));
    }

    /// The directory for the socket: the cluster itself, whose mode excludes other users, or a short path
    /// below /tmp if that would be too long.
    pub(super) fn socket_directory(&self) -> Result<PathBuf, PrivatePostgresError> {
        if fits_socket(&self.cluster) {
            return Ok(self.cluster.clone());
        }
        let path = PathBuf::from(format!("/tmp/tributary-{:016x}", fnv1a(&self.cluster)));
        let failed = || failed("make the socket directory", &path, "look at it and remove it");
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed()(error)),
            _ => {
                let found = fs::symlink_metadata(&path).map_err(failed())?;
                // Owned by root: just created, or left by a start that was interrupted at this point.
                let is_roots = self.user.is_switched() && found.uid() == 0;
                if !found.is_dir()
                    || found.mode() & 0o077 != 0
                    || !(is_roots || found.uid() == self.user.uid)
                {
                    return Err(PrivatePostgresError::Untrusted {
                        path,
                        user: self.user.name.clone(),
                    });
                }
                if is_roots {
                    self.user.take(&path).map_err(failed())?;
                }
                Ok(path)
            }
        }
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        // Only prevents others from reading a stale process id; the lock decides.
        let _ = self.lock.set_len(0);
    }
}

/// Whether a socket can be created in `directory`, and the path can be used unescaped in a URL and in
/// Postgres's list of socket directories.
pub(super) fn fits_socket(directory: &Path) -> bool {
    let path = directory.as_os_str().as_bytes();
    path.len() + "/.s.PGSQL.5432.lock".len() <= SOCKET_PATH_LIMIT
        && path.iter().all(|&b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
}

/// A file system error with the attempted action and advice.
pub(super) fn failed<'a>(
    action: &'static str,
    path: &'a Path,
    advice: &'static str,
) -> impl FnOnce(io::Error) -> PrivatePostgresError + 'a {
    move |reason| PrivatePostgresError::File { action, path: path.to_owned(), reason, advice }
}

/// Postgres writes the path into files of lines, which are read as text to find out whether it is ready.
fn check_path(path: &Path) -> Result<(), PrivatePostgresError> {
    match path.to_str() {
        Some(text) if !text.contains(|letter: char| letter.is_control()) => Ok(()),
        _ => Err(PrivatePostgresError::UnusablePath { path: path.to_owned() }),
    }
}

/// Returns the canonical path, which does not depend on the working directory.
fn make_data_dir(path: &Path, user: &User) -> Result<PathBuf, PrivatePostgresError> {
    const ADVICE: &str = "check the path and its permissions, or pass another --data-dir";
    let failed = |action| failed(action, path, ADVICE);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(PrivatePostgresError::NotADirectory { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The other user must be able to pass through the directory, but not to list it.
            let mode = if user.is_switched() { 0o711 } else { 0o700 };
            fs::create_dir_all(path)
                .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
                .map_err(failed("make the data directory"))?;
        }
        Err(error) => return Err(failed("use the data directory")(error)),
    }
    fs::canonicalize(path).map_err(failed("use the data directory"))
}

async fn lock(data_dir: &Path) -> Result<File, PrivatePostgresError> {
    let path = data_dir.join("lock");
    let failed = || failed("lock the data directory with", &path, WRITABLE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed())?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(failed()(error)),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(PrivatePostgresError::InUse {
                    path: data_dir.to_owned(),
                    pid: holder.trim().parse().ok(),
                });
            }
        }
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed())?;
    Ok(file)
}

fn is_elsewhere(path: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(ELSEWHERE.as_bytes())
}

fn elsewhere(data_dir: &Path) -> PathBuf {
    PathBuf::from(format!("{ELSEWHERE}{:016x}", fnv1a(data_dir)))
}

/// Anybody can create a directory in /var/tmp, so an existing one must be checked. Root owns it, and the
/// ordinary user owns only the cluster in it.
fn make_elsewhere(path: &Path) -> Result<(), PrivatePostgresError> {
    let failed = || failed("make", path, "look at it and remove it");
    match DirBuilder::new().mode(0o711).create(path) {
        // In case the umask is narrower.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o711)).map_err(failed()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(failed())?;
            if found.is_dir() && found.uid() == 0 && found.mode() & 0o022 == 0 {
                return Ok(());
            }
            Err(PrivatePostgresError::Untrusted { path: path.to_owned(), user: "root".to_owned() })
        }
        Err(error) => Err(failed()(error)),
    }
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// FNV-1a: names must stay the same from one build to the next, which the standard library's hasher does not
/// guarantee.
fn fnv1a(path: &Path) -> u64 {
    path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
