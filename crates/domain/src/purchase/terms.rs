//! How much of a purchase goes back, and what that takes from its rewards: arithmetic on integers only.

use crate::money::part;
use crate::rules::{Pay, ProgramRules};

/// A purchase after refunds and disputes, by the rules of the version that applied to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The price.
    pub paid_minor: i64,
    /// What went back: refunds, and disputes that were lost. At most the price.
    pub refunded_minor: i64,
    /// What would have gone back if every open dispute were lost. At most the price.
    pub at_risk_minor: i64,
    /// What must be left for the purchase to qualify; 0 if anything is enough.
    pub minimum_minor: i64,
}

impl Terms {
    /// What is no purchase: there is nothing to go back.
    pub const WHOLE: Self =
        Self { paid_minor: 1, refunded_minor: 0, at_risk_minor: 0, minimum_minor: 0 };

    /// The same terms under these rules.
    #[must_use]
    pub fn under(self, rules: &ProgramRules) -> Self {
        let minimum_minor =
            if rules.reverse_below_minimum { rules.minimum_purchase_minor } else { 0 };
        Self { minimum_minor, ..self }
    }

    /// Whether what is left after `taken_minor` went back is a purchase that qualifies.
    #[must_use]
    pub fn qualifies(&self, taken_minor: i64) -> bool {
        let left_minor = self.paid_minor.saturating_sub(taken_minor);
        left_minor > 0 && left_minor >= self.minimum_minor
    }

    /// What goes back of a reward of `granted_minor` if `taken_minor` of the price does: the same share of a share, and
    /// all or nothing of anything else. The parts for several refunds add up to what was granted.
    #[must_use]
    pub fn reversed(&self, pay: &Pay, granted_minor: i64, taken_minor: i64) -> i64 {
        if taken_minor <= 0 {
            return 0;
        }
        if !self.qualifies(taken_minor) {
            return granted_minor;
        }
        match pay {
            Pay::RateBps(_) => part(granted_minor, taken_minor, self.paid_minor),
            Pay::FlatMinor(_) | Pay::Tiers(_) | Pay::Count => 0,
        }
    }

    /// Whether open disputes would take back a reward of `granted_minor`, or a part of it.
    #[must_use]
    pub fn puts_at_risk(&self, pay: &Pay, granted_minor: i64) -> bool {
        let reversed = |taken| self.reversed(pay, granted_minor, taken);
        reversed(self.at_risk_minor) > reversed(self.refunded_minor)
    }

    /// What goes back of the price itself, where it was credited to the buyer.
    #[must_use]
    pub fn credit_reversed(&self, credited_minor: i64, taken_minor: i64) -> i64 {
        part(credited_minor, taken_minor, self.paid_minor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(paid_minor: i64, minimum_minor: i64) -> Terms {
        Terms { paid_minor, refunded_minor: 0, at_risk_minor: 0, minimum_minor }
    }

    #[test]
    fn a_share_goes_back_in_proportion_rounded_half_up() {
        let terms = terms(100_130, 0);
        let share = Pay::RateBps(500);
        // 5,007 x 33,377 / 100,130 = 1,669.02, and the same of twice as much is 3,338.03.
        assert_eq!(terms.reversed(&share, 5_007, 33_377), 1_669);
        assert_eq!(terms.reversed(&share, 5_007, 66_754), 3_338);
        assert_eq!(terms.reversed(&share, 5_007, 100_130), 5_007);
    }

    #[test]
    fn a_flat_amount_goes_back_whole_or_not_at_all() {
        let terms = terms(5_000, 1_000);
        assert_eq!(terms.reversed(&Pay::FlatMinor(700), 700, 4_000), 0);
        assert_eq!(terms.reversed(&Pay::FlatMinor(700), 700, 4_001), 700);
        let disputed = |at_risk_minor| Terms { at_risk_minor, ..terms };
        assert!(!disputed(4_000).puts_at_risk(&Pay::FlatMinor(700), 700));
        assert!(disputed(4_001).puts_at_risk(&Pay::FlatMinor(700), 700));
        assert!(disputed(1_000).puts_at_risk(&Pay::RateBps(500), 250));
    }

    #[test]
    fn below_the_minimum_a_share_goes_back_whole() {
        let terms = terms(5_000, 1_000);
        assert_eq!(terms.reversed(&Pay::RateBps(1_000), 500, 4_000), 400);
        assert_eq!(terms.reversed(&Pay::RateBps(1_000), 500, 4_001), 500);
    }

    proptest! {
        #[test]
        fn the_more_goes_back_of_the_price_the_more_of_a_reward_up_to_all(
            paid in 1_i64..1_000_000,
            granted in 0_i64..1_000_000,
            minimum in 0_i64..1_000_000,
            (one, other) in (0.0..1.0, 0.0..1.0),
        ) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            let at = |share: f64| (paid as f64 * share) as i64;
            let (less, more) = (at(f64::min(one, other)), at(f64::max(one, other)));
            let terms = terms(paid, minimum);
            for pay in [Pay::RateBps(500), Pay::FlatMinor(granted), Pay::Count] {
                let of = |taken| terms.reversed(&pay, granted, taken);
                prop_assert!((0..=granted).contains(&of(less)));
                prop_assert!(of(less) <= of(more));
                prop_assert_eq!(of(paid), granted);
                prop_assert_eq!(of(0), 0);
            }
        }
    }
}
