//! How many files the process may have open. Each connection is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that are kept for everything but the connections of clients: connections to the database, the log, and
/// what is opened for a moment.
const RESERVED: usize = 64;

/// Raises the limit on open files as far as the process may, and returns how many connections of clients fit,
/// besides `others` to the database. None if the limit is not known.
pub(super) fn raise_limit(others: u32) -> Option<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // Some systems refuse the hard limit where it says "unlimited". Then the soft one stays.
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    let reserved = RESERVED.saturating_add(usize::try_from(others).unwrap_or(usize::MAX));
    Some(usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(reserved))
}
