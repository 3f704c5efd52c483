//! Why a run cannot be made.

use tonic::Status;
use tonic_types::StatusExt;

/// What keeps a run from being made, or from being judged. An operation that fails in the midst of a run is
/// none of it: it is counted.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No server is there.
    #[error("no server answers at {0}; start one, pass --server, or let this start one with --own")]
    Unreachable(String),
    /// Something that is given cannot be used.
    #[error("{what}: {reason}")]
    Unusable {
        /// Which setting it is.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The server says no to what a run needs before or after it.
    #[error("cannot {what}: {reason}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// What came instead of the answer.
        reason: String,
    },
    /// The server that a run starts for itself does not start.
    #[error("the server of this run: {0}")]
    OwnServer(String),
}

impl LoadError {
    /// For turning a status into what could not be done.
    pub(super) fn call(what: &'static str) -> impl Fn(Status) -> Self {
        move |status| Self::Call {
            what,
            reason: format!("{} {}", reason(&status), status.message()),
        }
    }
}

/// The reason that a status carries, as the contract names it; the code if it carries none, as when it does
/// not come from the server.
#[must_use]
pub fn reason(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    if reason.is_empty() { format!("{:?}", status.code()) } else { reason }
}
