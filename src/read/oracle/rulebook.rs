//! What the words of a program's rules mean, in numbers: written from the rule book, and sharing nothing with the
//! decisions of the domain. A rule that changes its meaning changes here.

use domain::reward::WithheldReason;
use domain::rules::{EarnOn, FirstPurchaseUse, Pay, ProgramRules, Tier};
use domain::{ReferralStatus, TierPot};

use super::deals::Key;
use super::world::Tie;

/// A purchase that is dated at most this much before a referral or a reactivation counts as made after it.
const GRACE_US: i64 = 5 * 60 * 1_000_000;

/// How far apart the moment of an undated purchase and the publication of the version that judged it can be:
/// two servers wrote them, and their clocks differ a little.
pub(super) const CLOCK_DIFFERENCE_US: i64 = 5 * 1_000_000;

/// A moment, in microseconds since 1970.
pub(super) type Moment = i64;

/// Whether a purchase of this date counts as made after the moment.
pub(super) fn counts_as_after(purchase: Moment, moment: Moment) -> bool {
    moment.saturating_sub(purchase) <= GRACE_US
}

/// Whether a purchase of this date may be judged by a version that was published at `published`, because it was
/// the current one: the log does not say whether a caller dated the purchase.
pub(super) fn may_be_undated(purchase: Moment, published: Moment) -> bool {
    published.saturating_sub(purchase) <= CLOCK_DIFFERENCE_US
}

/// How many of a participant's referrals count for tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Pending and converted ones.
    pub(super) made: u32,
    /// Converted ones.
    pub(super) converted: u32,
}

impl Counts {
    /// The part of one referral. One that was made while the referrer was inactive never counts; nor does, among
    /// converted ones, one that converted when the referrer could not earn, because nothing is paid later.
    pub(super) fn of(tie: &Tie) -> Self {
        let is_made = matches!(tie.status, ReferralStatus::Pending | ReferralStatus::Converted);
        let is_converted = tie.status == ReferralStatus::Converted && tie.converted_while_able;
        Self {
            made: u32::from(tie.made_while_active && is_made),
            converted: u32::from(tie.made_while_active && is_converted),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.made += other.made;
        self.converted += other.converted;
    }

    pub(super) fn subtract(&mut self, other: Self) {
        self.made = self.made.saturating_sub(other.made);
        self.converted = self.converted.saturating_sub(other.converted);
    }

    /// The number by which tiers go: pending and converted referrals where referrals earn, converted ones where
    /// purchases do.
    pub(super) fn for_tiers(self, earn_on: EarnOn) -> u32 {
        match earn_on {
            EarnOn::Referral => self.made,
            EarnOn::FirstPurchase { .. } | EarnOn::EveryPurchase => self.converted,
        }
    }
}

/// The tier that a number of referrals reaches.
pub(super) fn tier(tiers: &[Tier], referrals: u32) -> Option<&Tier> {
    let mut reached = None;
    for tier in tiers {
        if referrals >= tier.from_referrals {
            reached = Some(tier);
        }
    }
    reached
}

/// All points for a number of referrals: each at the rate of the tier that they reach, and its bonus.
pub(super) fn tier_points(tiers: &[Tier], referrals: u32) -> i128 {
    let points = |tier: &Tier| {
        i128::from(tier.rate_points) * i128::from(referrals) + i128::from(tier.bonus_points)
    };
    tier(tiers, referrals).map_or(0, points)
}

/// How many of `points` by tier wait: those that open disputes would undo of the formula, and those that are held.
pub(super) fn waiting_points(tiers: &[Tier], referrals: u32, pot: TierPot, points: i128) -> i128 {
    let without = tier_points(tiers, referrals.saturating_sub(pot.disputed));
    let waiting = tier_points(tiers, referrals) - without + i128::from(pot.held_minor);
    waiting.min(points).max(0)
}

/// A share of an amount: the exact share plus one half, without its fraction.
pub(super) fn share(amount_minor: i64, rate_bps: u32) -> i128 {
    (2 * i128::from(amount_minor) * i128::from(rate_bps) + 10_000).div_euclid(20_000)
}

/// Whether purchases in this currency earn.
pub(super) fn takes_currency(rules: &ProgramRules, currency_code: &str) -> bool {
    match &rules.purchase_currency_code {
        Some(taken) => taken == currency_code,
        None => true,
    }
}

/// What a participant has bought so far: the first purchase of each sort, unless it was undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bought {
    /// Anything at all.
    pub(super) anything: Option<Key>,
    /// Something that was enough by the rules of its time: in their currency, of at least their minimum, and not
    /// before the referral.
    pub(super) enough: Option<Key>,
}

impl Bought {
    /// Notes a purchase, if it is the first of its sort.
    pub(super) fn note(&mut self, purchase: Key, is_enough: bool) {
        self.anything.get_or_insert(purchase);
        if is_enough {
            self.enough.get_or_insert(purchase);
        }
    }

    /// Forgets a purchase that was undone.
    pub(super) fn forget(&mut self, purchase: Key) {
        self.anything.take_if(|first| *first == purchase);
        self.enough.take_if(|first| *first == purchase);
    }

    /// Whether a purchase is the first of a sort.
    pub(super) fn is(&self, purchase: Key) -> bool {
        self.anything == Some(purchase) || self.enough == Some(purchase)
    }

    /// Whether a purchase that is enough, or is not, changes nothing.
    pub(super) fn knows_better(&self, is_enough: bool) -> bool {
        self.anything.is_some() && (self.enough.is_some() || !is_enough)
    }
}

/// Whether the first purchase is used up already; `None` where every purchase or no purchase earns.
pub(super) fn first_is_used(earn_on: EarnOn, bought: &Bought) -> Option<bool> {
    match earn_on {
        EarnOn::FirstPurchase { used_by: FirstPurchaseUse::AnyPurchase } => {
            Some(bought.anything.is_some() || bought.enough.is_some())
        }
        EarnOn::FirstPurchase { used_by: FirstPurchaseUse::QualifyingPurchase } => {
            Some(bought.enough.is_some())
        }
        EarnOn::Referral | EarnOn::EveryPurchase => None,
    }
}

/// Whether a reward that a purchase did not bring is recorded on the stream of the one who would have earned it,
/// because the reason is the earner's own; otherwise it is recorded on the purchase.
pub(super) fn is_the_earners_own(reason: WithheldReason) -> bool {
    match reason {
        WithheldReason::CapReached
        | WithheldReason::EarnerInactive
        | WithheldReason::BeforeReactivation => true,
        WithheldReason::RewardsReferralsOnly
        | WithheldReason::CurrencyNotAccepted
        | WithheldReason::BelowMinimum
        | WithheldReason::NotFirstPurchase
        | WithheldReason::NotReferred
        | WithheldReason::ReferralHeld
        | WithheldReason::ReferralNotCounted
        | WithheldReason::BeforeReferral
        | WithheldReason::RoundedToZero => false,
    }
}

/// The tiers of a rule that pays by tier.
pub(super) fn tiers_of(pay: &Pay) -> Option<&[Tier]> {
    match pay {
        Pay::Tiers(tiers) => Some(tiers),
        Pay::FlatMinor(_) | Pay::RateBps(_) | Pay::Count => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_numbers_of_the_rule_book_come_out() {
        for (referrals, points) in
            [(0, 0), (9, 90), (10, 250), (11, 265), (49, 835), (50, 1_750), (100, 3_000)]
        {
            assert_eq!(tier_points(&metals(), referrals), points, "{referrals} referrals");
        }
        assert_eq!(share(100_130, 500), 5_007);
        assert_eq!(share(100_130, 100), 1_001);
        assert_eq!(share(100_110, 500), 5_006, "5005.5");
        assert_eq!(share(100_109, 500), 5_005, "5005.45");
    }

    #[test]
    fn five_minutes_before_counts_as_after_and_a_microsecond_more_does_not() {
        let referral = 1_700_000_000_000_000;
        assert!(counts_as_after(referral - GRACE_US, referral));
        assert!(!counts_as_after(referral - GRACE_US - 1, referral));
    }
}
