//! What a rule pays: the arithmetic of rewards, on integers only.

use serde::{Deserialize, Serialize};

use super::money::share_bps;
use super::rules::{Pay, RewardRule, points_at, tier_index_at};

/// Why a reward was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WithheldReason {
    /// The program rewards referrals, not purchases.
    RewardsReferralsOnly,
    /// The purchase was paid in a currency that the program does not take.
    CurrencyNotAccepted,
    /// The purchase was smaller than the program's minimum.
    BelowMinimum,
    /// An earlier purchase of the buyer was the first.
    NotFirstPurchase,
    /// Nobody referred the buyer.
    NotReferred,
    /// The buyer's referral is held.
    ReferralHeld,
    /// The buyer's referral was rejected.
    ReferralNotCounted,
    /// The purchase is dated before the referral.
    BeforeReferral,
    /// The purchase is dated before the earner was last reactivated.
    BeforeReactivation,
    /// The earner is inactive.
    EarnerInactive,
    /// The earner's cap on that level is used up.
    CapReached,
    /// The share is less than half a minor unit.
    RoundedToZero,
}

impl WithheldReason {
    /// Whether the reason is that a referral does not count, which can change.
    #[must_use]
    pub fn is_of_standing(self) -> bool {
        matches!(self, Self::ReferralHeld | Self::ReferralNotCounted)
    }

    /// Whether the reason is the earner's own, and not one of the purchase or of the program.
    #[must_use]
    pub fn is_of_earner(self) -> bool {
        match self {
            Self::BeforeReactivation | Self::EarnerInactive | Self::CapReached => true,
            Self::RewardsReferralsOnly
            | Self::CurrencyNotAccepted
            | Self::BelowMinimum
            | Self::NotFirstPurchase
            | Self::NotReferred
            | Self::ReferralHeld
            | Self::ReferralNotCounted
            | Self::BeforeReferral
            | Self::RoundedToZero => false,
        }
    }
}

/// What a rule pays an earner for one referral or purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The amount before the cap.
    pub computed_minor: i64,
    /// The amount paid: the computed amount, or what was left under the cap.
    pub amount_minor: i64,
    /// What was left under the cap before this reward.
    pub cap_remaining_minor: Option<i64>,
    /// The earner's tier after this reward, where the rule has tiers.
    pub tier_index: Option<usize>,
    /// The number of referrals that reaches the tier.
    pub tier_referrals: Option<u32>,
}

/// A reward that a rule does not pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpaid {
    /// Why.
    pub reason: WithheldReason,
    /// The amount before the cap.
    pub computed_minor: i64,
}

/// What an earner has received, as far as a rule goes by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// The sum of the rewards from the level of the rule, under any rules: what a cap goes by.
    pub level_minor: i64,
    /// The sum of the points that tiers granted, in any version of the program.
    pub tier_minor: i64,
    /// The number of referrals that tiers go by, with the one that earns now.
    pub tier_referrals: u32,
}

/// What an earner has received from one level so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LevelTotal {
    /// How far up the line.
    pub level: u32,
    /// The sum of the rewards, in minor units.
    pub total_minor: i64,
    /// The number of rewards.
    pub count: u32,
}

/// Computes what `rule` pays an earner for a purchase of `basis_minor`. `unshared_minor` is the part of the
/// purchase that other earners have not received.
///
/// # Errors
/// The reason why nothing is paid.
pub fn quote(
    rule: &RewardRule,
    so_far: SoFar,
    basis_minor: i64,
    unshared_minor: i64,
) -> Result<Quote, Unpaid> {
    let mut tier = None;
    let computed_minor = match &rule.pay {
        Pay::FlatMinor(amount) => *amount,
        Pay::Count => 1,
        // Each share is rounded separately, so later ones are limited to keep the sum within the whole.
        Pay::RateBps(rate) => share_bps(basis_minor, *rate).min(unshared_minor),
        Pay::Tiers(tiers) => {
            let referrals = so_far.tier_referrals;
            tier = tier_index_at(tiers, referrals);
            // What other rules granted is no part of the formula. Nothing is taken back where a new version of
            // the rules is less generous.
            points_at(tiers, referrals).saturating_sub(so_far.tier_minor).max(0)
        }
    };
    let unpaid = |reason| Unpaid { reason, computed_minor };
    if computed_minor == 0 && tier.is_none() {
        return Err(unpaid(WithheldReason::RoundedToZero));
    }
    let cap_remaining_minor = rule.cap_minor.map(|cap| cap.saturating_sub(so_far.level_minor));
    match cap_remaining_minor {
        Some(left) if left <= 0 => Err(unpaid(WithheldReason::CapReached)),
        _ => Ok(Quote {
            computed_minor,
            amount_minor: computed_minor.min(cap_remaining_minor.unwrap_or(i64::MAX)),
            cap_remaining_minor,
            tier_index: tier,
            tier_referrals: tier.map(|_| so_far.tier_referrals),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use proptest::prelude::*;

    use super::*;
    use crate::money::{MAX_AMOUNT_MINOR, WHOLE_BPS};
    use crate::rules::{RewardKind, Tier};

    fn metals() -> Vec<Tier> {
        [("Bronze", 0, 10, 0), ("Silver", 10, 15, 100), ("Gold", 50, 25, 500)]
            .into_iter()
            .map(|(name, from_referrals, rate_points, bonus_points)| Tier {
                name: name.into(),
                from_referrals,
                rate_points,
                bonus_points,
            })
            .collect()
    }

    fn rule(level: u32, pay: Pay, cap_minor: Option<i64>) -> RewardRule {
        RewardRule {
            rule: format!("level-{level}"),
            level,
            kind: RewardKind::Bonus,
            pay,
            cap_minor,
        }
    }

    #[test]
    fn points_are_referrals_times_the_current_rate_plus_the_current_bonus() {
        let tiers = metals();
        for (referrals, points) in
            [(0, 0), (9, 90), (10, 250), (11, 265), (49, 835), (50, 1_750), (100, 3_000)]
        {
            assert_eq!(points_at(&tiers, referrals), points, "{referrals} referrals");
        }
    }

    #[test]
    fn the_tenth_referral_brings_the_difference() {
        let so_far = SoFar { level_minor: 90, tier_minor: 90, tier_referrals: 10 };
        let quote = quote(&rule(1, Pay::Tiers(metals()), None), so_far, 0, 0).unwrap();
        assert_eq!((quote.amount_minor, quote.tier_index), (160, Some(1)));
        assert_eq!(quote.tier_referrals, Some(10));
    }

    #[test]
    fn what_other_rules_granted_is_no_part_of_the_points_of_a_tier() {
        let so_far = SoFar { level_minor: 60, tier_minor: 0, tier_referrals: 2 };
        let quote = quote(&rule(1, Pay::Tiers(metals()), None), so_far, 0, 0).unwrap();
        assert_eq!((quote.amount_minor, quote.tier_index), (20, Some(0)));
    }

    #[test]
    fn the_reward_that_reaches_the_cap_is_paid_in_part() {
        let capped = rule(1, Pay::RateBps(500), Some(100_000));
        let so_far = SoFar { level_minor: 95_000, ..SoFar::default() };
        let quoted = quote(&capped, so_far, 200_000, 200_000).unwrap();
        assert_eq!((quoted.computed_minor, quoted.amount_minor), (10_000, 5_000));
        let so_far = SoFar { level_minor: 100_000, ..so_far };
        let unpaid = Unpaid { reason: WithheldReason::CapReached, computed_minor: 10_000 };
        assert_eq!(quote(&capped, so_far, 200_000, 200_000), Err(unpaid));
    }

    fn any_pay() -> impl Strategy<Value = Pay> {
        prop_oneof![
            (1..=MAX_AMOUNT_MINOR).prop_map(Pay::FlatMinor),
            (1..=WHOLE_BPS).prop_map(Pay::RateBps),
            Just(Pay::Count),
            Just(Pay::Tiers(metals())),
        ]
    }

    proptest! {
        #[test]
        fn a_reward_is_never_negative_nor_above_its_cap(
            pay in any_pay(),
            cap in proptest::option::of(1..=MAX_AMOUNT_MINOR),
            total in 0..=i64::MAX,
            points in 0..=i64::MAX,
            tier_referrals in 0..=u32::MAX,
            basis in 0..=MAX_AMOUNT_MINOR,
        ) {
            let so_far = SoFar { level_minor: total, tier_minor: points, tier_referrals };
            if let Ok(quote) = quote(&rule(1, pay, cap), so_far, basis, basis) {
                prop_assert!(quote.amount_minor >= 0);
                prop_assert!(quote.amount_minor <= quote.computed_minor);
                if let Some(cap) = cap {
                    prop_assert!(total + quote.amount_minor <= cap);
                }
            }
        }

        #[test]
        fn the_shares_of_a_purchase_never_exceed_it(
            amount in 1..=MAX_AMOUNT_MINOR,
            rates in proptest::collection::vec(1..=WHOLE_BPS / 9, 1..10),
        ) {
            let mut unshared = amount;
            for rate in rates {
                let level = rule(1, Pay::RateBps(rate), None);
                if let Ok(quote) = quote(&level, SoFar::default(), amount, unshared) {
                    unshared -= quote.amount_minor;
                }
            }
            prop_assert!(unshared >= 0);
        }

        #[test]
        fn tier_points_paid_one_by_one_add_up_to_the_formula(referrals in 1_u32..200) {
            let tiers = rule(1, Pay::Tiers(metals()), None);
            let mut so_far = SoFar::default();
            for tier_referrals in 1..=referrals {
                so_far.tier_referrals = tier_referrals;
                so_far.tier_minor += quote(&tiers, so_far, 0, 0).unwrap().amount_minor;
            }
            prop_assert_eq!(so_far.tier_minor, points_at(&metals(), referrals));
        }
    }
}
