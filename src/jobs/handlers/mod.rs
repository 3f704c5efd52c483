//! What there is to do: every kind of job, and where the handlers of a server come from.

mod clean;

use std::sync::Arc;

use super::{Handlers, Limits};

/// All handlers of a server.
#[must_use]
pub fn all(limits: &Limits) -> Handlers {
    vec![Arc::new(clean::Clean { kept: limits.kept })]
}
