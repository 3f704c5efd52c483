//! How a reward, or anything else that was added to a balance, becomes what it must be: the single steps.

use std::sync::Arc;

use domain::TierPot;
use domain::rules::RewardRule;

use super::effect::{Fields, Value};
use super::fields::SettledFields;
use super::world::Version;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The pending part changes together with the whole.
    InPending(i128),
    /// What is available changes together with the whole.
    InAvailable(i128),
    /// Something that was available is pending from now on.
    ToPending(i128),
    /// Something that was pending is available from now on.
    ToAvailable(i128),
}

impl Move {
    /// The steps by which a whole changes, and its pending part. What goes is taken from pending first as far as that
    /// is to become less, and what comes goes there first as far as that is to become more.
    pub(super) fn all(change: i128, pending_change: i128) -> Vec<Self> {
        let with_pending = if change.signum() == pending_change.signum() {
            change.signum() * change.abs().min(pending_change.abs())
        } else {
            0
        };
        let rest = pending_change - with_pending;
        let steps = [
            Self::InPending(with_pending),
            Self::InAvailable(change - with_pending),
            if rest > 0 { Self::ToPending(rest) } else { Self::ToAvailable(-rest) },
        ];
        steps.into_iter().filter(|step| step.amount() != 0).collect()
    }

    fn amount(self) -> i128 {
        match self {
            Self::InPending(amount)
            | Self::InAvailable(amount)
            | Self::ToPending(amount)
            | Self::ToAvailable(amount) => amount,
        }
    }

    /// The change of the whole.
    pub(super) fn change(self) -> i128 {
        match self {
            Self::InPending(amount) | Self::InAvailable(amount) => amount,
            Self::ToPending(_) | Self::ToAvailable(_) => 0,
        }
    }

    /// Whether something only moves within the balance.
    fn is_transfer(self) -> bool {
        match self {
            Self::InPending(_) | Self::InAvailable(_) => false,
            Self::ToPending(_) | Self::ToAvailable(_) => true,
        }
    }

    /// The fields of the entry, of this kind unless it is a transfer.
    pub(super) fn fields(self, kind: &str, unit: &str) -> [(&'static str, Value); 4] {
        let bucket = match self {
            Self::InPending(_) => "Pending",
            Self::InAvailable(_) => "Available",
            Self::ToPending(_) => "Available to Pending",
            Self::ToAvailable(_) => "Pending to Available",
        };
        [
            ("amount", self.amount().into()),
            ("kind", if self.is_transfer() { "Transfer" } else { kind }.into()),
            ("unit", unit.into()),
            ("bucket", bucket.into()),
        ]
    }
}

/// Which reward changes.
pub(super) struct Settled<'a> {
    pub(super) version: &'a Version,
    pub(super) rule: &'a RewardRule,
    pub(super) source: Arc<str>,
    pub(super) purchase_id: Option<Arc<str>>,
    pub(super) sequence: Option<i64>,
    pub(super) pot: Option<TierPot>,
}

impl Settled<'_> {
    /// The name and the fields of the event of a step, after which the earner has that much from the level.
    pub(super) fn fields(&self, step: Move, level_total_minor: i128) -> (&'static str, Fields) {
        let (name, level_total_minor) = if step.is_transfer() {
            ("RewardMoved", None)
        } else {
            ("RewardReversed", Some(level_total_minor))
        };
        let fields = SettledFields {
            level: self.rule.level,
            version: self.version.number,
            rule: &self.rule.rule,
            source: &self.source,
            purchase_id: self.purchase_id.as_deref(),
            sequence: self.sequence,
            level_total_minor,
            pot: self.pot,
        };
        (name, fields.with(step.fields("Reversal", &self.version.rules.unit)))
    }
}

#[cfg(test)]
mod tests {
    use super::Move::{self, InAvailable, InPending, ToAvailable, ToPending};

    #[test]
    fn what_goes_is_taken_from_pending_first_and_what_comes_goes_there_first() {
        assert_eq!(Move::all(-100, -30), [InPending(-30), InAvailable(-70)]);
        assert_eq!(Move::all(-100, -130), [InPending(-100), ToAvailable(30)]);
        assert_eq!(Move::all(-100, 20), [InAvailable(-100), ToPending(20)]);
        assert_eq!(Move::all(100, 130), [InPending(100), ToPending(30)]);
        assert_eq!(Move::all(100, -30), [InAvailable(100), ToAvailable(30)]);
        assert_eq!(Move::all(0, -5), [ToAvailable(5)]);
        assert_eq!(Move::all(0, 0), []);
    }
}
