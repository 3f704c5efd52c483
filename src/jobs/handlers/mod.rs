//! The kinds of jobs, and the list of a server's handlers.

mod clean;

use std::sync::Arc;

use super::{Handlers, Limits};

/// All handlers of a server.
#[must_use]
pub fn all(limits: &Limits) -> Handlers {
    vec![Arc::new(clean::Clean { kept: limits.kept })]
}
