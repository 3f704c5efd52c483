//! Errors that prevent a run.

use tonic::Status;
use tonic_types::StatusExt;

/// An error that prevents a run, or its evaluation. An operation that fails during a run is not such an
/// error; it is counted.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no connection to the server, for this reason.
    #[error("{0}; --own starts a server for the run")]
    Unreachable(String),
    /// A setting cannot be used.
    #[error("{what}: {reason}")]
    Unusable {
        /// The setting.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The server refused a call that is needed before or after the run.
    #[error("cannot {what}: {reason}")]
    Call {
        /// What was attempted.
        what: &'static str,
        /// The error that came instead of the answer.
        reason: String,
    },
    /// The server of the run does not start.
    #[error("the server of this run: {0}")]
    OwnServer(String),
}

impl LoadError {
    /// Converts a status into an error that names what could not be done.
    pub(super) fn call(what: &'static str) -> impl Fn(Status) -> Self {
        move |status| Self::Call {
            what,
            reason: format!("{} {}", reason(&status), status.message()),
        }
    }
}

/// The reason of a status, as the contract names it; the code if there is none, for example because the
/// status does not come from the server.
#[must_use]
pub fn reason(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    if reason.is_empty() { format!("{:?}", status.code()) } else { reason }
}
