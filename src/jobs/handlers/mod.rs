//! The kinds of jobs, and the list of a server's handlers.

mod clean;
mod mail;
mod make_up;

use std::sync::Arc;

pub use mail::SendMail;

use super::{Handlers, Limits};
use crate::engine::Engine;

/// All handlers of a server.
#[must_use]
pub fn all(limits: &Limits, mail: SendMail, engine: Engine) -> Handlers {
    let clean = clean::Clean { kept: limits.kept, mails_kept: limits.mails_kept };
    vec![Arc::new(clean), Arc::new(mail), Arc::new(make_up::MakeUp { engine })]
}
