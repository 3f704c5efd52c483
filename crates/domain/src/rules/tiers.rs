//! Tiers: how many points so many referrals are.

use serde::{Deserialize, Serialize};

use super::{Pay, ProgramRules, RewardRule};

/// One tier: a rate and a bonus that apply from a number of referrals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tier {
    /// The tier's name.
    pub name: String,
    /// The number of referrals that reaches it; 0 for the first.
    pub from_referrals: u32,
    /// Points per referral, for all referrals.
    pub rate_points: i64,
    /// Additional points, once.
    pub bonus_points: i64,
}

/// The index of the tier that `referrals` reach in `tiers`, which are in ascending order.
#[must_use]
pub fn tier_index_at(tiers: &[Tier], referrals: u32) -> Option<usize> {
    tiers.iter().rposition(|tier| tier.from_referrals <= referrals)
}

/// The points for `referrals`: referrals x rate of the current tier + bonus of the current tier. The rate
/// applies to all referrals, including earlier ones, and bonuses do not add up.
#[must_use]
pub fn points_at(tiers: &[Tier], referrals: u32) -> i64 {
    tier_index_at(tiers, referrals).map_or(0, |index| {
        let tier = &tiers[index];
        i64::from(referrals).saturating_mul(tier.rate_points).saturating_add(tier.bonus_points)
    })
}

/// A participant's standing in the tiers of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierStanding<'a> {
    /// The tier reached.
    pub tier: &'a str,
    /// The next tier, and how many more referrals it requires; none at the top.
    pub next: Option<(&'a str, u32)>,
}

impl ProgramRules {
    /// The rule that pays by tier, with its tiers, if the program has one.
    #[must_use]
    pub fn tier_rule(&self) -> Option<(&RewardRule, &[Tier])> {
        self.rewards.iter().find_map(|rule| match &rule.pay {
            Pay::Tiers(tiers) => Some((rule, tiers.as_slice())),
            _ => None,
        })
    }

    /// The standing of a participant who last reached the tier `reached` and has so many referrals that count for
    /// tiers; none if the program has no tiers.
    ///
    /// A tier is reached with a referral, never by a change of the rules: where the new rules put the participant
    /// higher, or name no tier as the one reached, the next tier is one referral away.
    #[must_use]
    pub fn tier_standing<'a>(
        &'a self,
        reached: Option<&'a str>,
        referrals: u32,
    ) -> Option<TierStanding<'a>> {
        let (_, tiers) = self.tier_rule()?;
        let tier = reached.or(tiers.first().map(|tier| tier.name.as_str()))?;
        let reached_index = tiers.iter().position(|candidate| candidate.name == tier);
        let due = tier_index_at(tiers, referrals).filter(|due| Some(*due) > reached_index);
        let next = match due {
            Some(_) => tier_index_at(tiers, referrals.saturating_add(1)),
            None => tiers.iter().enumerate().position(|(index, tier)| {
                tier.from_referrals > referrals && Some(index) > reached_index
            }),
        };
        let next = next.and_then(|index| tiers.get(index)).map(|next| {
            let missing = next.from_referrals.saturating_sub(referrals).max(1);
            (next.name.as_str(), missing)
        });
        Some(TierStanding { tier, next })
    }
}
