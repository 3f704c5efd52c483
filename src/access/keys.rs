//! API keys.

use super::{Caller, Unavailable};
use crate::store::Database;

/// How every API key begins.
pub const PREFIX: &str = "tributary_key_";

/// Knows API keys. Those that were seen are remembered.
pub(super) struct Keys {
    #[expect(dead_code, reason = "no key exists yet")]
    database: Database,
}

impl Keys {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The caller with a key; `None` if it is unknown or has ended.
    #[expect(clippy::unused_self, clippy::unused_async, reason = "no key exists yet")]
    pub(super) async fn identify(&self, _key: &str) -> Result<Option<Caller>, Unavailable> {
        Ok(None)
    }
}
