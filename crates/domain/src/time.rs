//! Moments, as the log stores them.

use serde::{Deserialize, Serialize};

/// How long before a referral or a reactivation a purchase may be dated and still count as after it.
pub const DATING_TOLERANCE_SECONDS: i64 = 5 * 60;

/// A moment in microseconds since 1970-01-01T00:00:00Z, the resolution of Postgres.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Microseconds per second.
    pub const PER_SECOND: i64 = 1_000_000;

    /// Whether a purchase of this moment was made before something that happened at `since`.
    ///
    /// Callers stamp whole seconds, and shops make an account at checkout, so a purchase that is dated up to
    /// [`DATING_TOLERANCE_SECONDS`] earlier counts as after it.
    #[must_use]
    pub const fn is_purchase_before(self, since: Self) -> bool {
        self.plus_seconds(DATING_TOLERANCE_SECONDS).0 < since.0
    }

    /// The moment `seconds` later. Saturates at the end of time.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(Self::PER_SECOND)))
    }
}
