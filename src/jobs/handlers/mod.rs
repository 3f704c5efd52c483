//! The kinds of jobs, and the list of a server's handlers.

mod clean;
mod mail;

use std::sync::Arc;

pub use mail::SendMail;

use super::{Handlers, Limits};

/// All handlers of a server.
#[must_use]
pub fn all(limits: &Limits, mail: SendMail) -> Handlers {
    let clean = clean::Clean {
        kept: limits.kept,
        mails_kept: limits.mails_kept,
        evidence_kept: limits.evidence_kept,
    };
    vec![Arc::new(clean), Arc::new(mail)]
}
