//! What a reward does to the balance of its earner when it is granted.

use cqrs_es::event_sink::EventSink;

use super::settlement::pending_points;
use super::{Grant, Participant, RewardGranted, RewardMoved, TierChanged, TierPot};
use crate::Refusal;
use crate::ledger::{Bucket, EntryKind, Overflow};
use crate::lots::RewardLots;
use crate::reward::{LevelTotal, Quote};
use crate::rules::{Pay, RewardRule};

impl Participant {
    /// Grants a reward. Points by tier then wait as far as they are to, and the tier can change.
    pub(super) async fn write_grant(
        &mut self,
        grant: Grant,
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let tier_changed = self.tier_change(&grant.rule, &grant.quote);
        let waits = self.tier_pot != TierPot::default();
        let rebalancing = waits.then(|| grant.clone());
        sink.write(self.grant(grant)?.into(), self).await;
        let moved = rebalancing.map(|grant| self.rebalance(&grant)).transpose()?.flatten();
        if let Some(moved) = moved {
            sink.write(moved.into(), self).await;
        }
        if let Some(change) = tier_changed {
            sink.write(change.into(), self).await;
        }
        Ok(())
    }

    fn grant(&self, grant: Grant) -> Result<RewardGranted, Refusal> {
        let Grant { rule, quote, earner_user_id, .. } = grant;
        let limit = || Refusal::BalanceLimitReached(earner_user_id.clone());
        let level = self.level(rule.level);
        let total = level.total_minor.checked_add(quote.amount_minor).ok_or_else(limit)?;
        let to = if grant.release_time.is_some() { Bucket::Pending } else { Bucket::Available };
        let posting = self
            .buckets
            .post(rule.kind.into(), quote.amount_minor, to, &grant.unit)
            .map_err(|Overflow| limit())?
            .in_lot(grant.expire_time);
        Ok(RewardGranted {
            program_version: grant.program_version,
            rule: rule.rule,
            level: rule.level,
            source_user_id: grant.source_user_id,
            purchase_id: grant.purchase_id,
            basis_minor: grant.basis_minor,
            rate_bps: match rule.pay {
                Pay::RateBps(rate) => Some(rate),
                Pay::FlatMinor(_) | Pay::Tiers(_) | Pay::Count => None,
            },
            computed_minor: Some(quote.computed_minor).filter(|of| *of != quote.amount_minor),
            cap_remaining_minor: quote.cap_remaining_minor,
            level_total_minor: Some(total).filter(|total| *total != posting.after.net_earned()),
            level_count: level.count.checked_add(1).ok_or_else(limit)?,
            tier_referrals: quote.tier_referrals,
            release_time_us: grant.release_time,
            posting,
        })
    }

    /// The transfer by which points that tiers have just granted wait as far as they are to.
    fn rebalance(&self, grant: &Grant) -> Result<Option<RewardMoved>, Refusal> {
        let (Pay::Tiers(tiers), Some(referrals)) = (&grant.rule.pay, grant.quote.tier_referrals)
        else {
            return Ok(None);
        };
        let pending = pending_points(tiers, referrals, self.tier_pot, self.tier_points);
        let change = pending.saturating_sub(self.tier_pending_minor);
        let limit = |Overflow| Refusal::BalanceLimitReached(grant.earner_user_id.clone());
        let kind = EntryKind::Transfer;
        let posting = self
            .buckets
            .settle(kind, 0, change, &grant.unit, RewardLots::default())
            .map_err(limit)?
            .pop();
        Ok(posting.map(|posting| RewardMoved {
            program_version: grant.program_version,
            rule: grant.rule.rule.clone(),
            level: grant.rule.level,
            source_user_id: grant.source_user_id.clone(),
            purchase_id: grant.purchase_id.clone(),
            reward_sequence: None,
            tier_pot: Some(self.tier_pot),
            posting,
        }))
    }

    fn tier_change(&self, rule: &RewardRule, quote: &Quote) -> Option<TierChanged> {
        let Pay::Tiers(tiers) = &rule.pay else { return None };
        let to_tier = &tiers.get(quote.tier_index?)?.name;
        let from_tier = self.tier.as_ref().or(tiers.first().map(|tier| &tier.name))?;
        (from_tier != to_tier)
            .then(|| TierChanged { from_tier: from_tier.clone(), to_tier: to_tier.clone() })
    }
    /// Takes over a reward that was granted.
    pub(super) fn add_reward(&mut self, event: &RewardGranted) {
        let total = LevelTotal {
            level: event.level,
            total_minor: event.level_total_minor(),
            count: event.level_count,
        };
        match self.levels.iter_mut().find(|known| known.level == total.level) {
            Some(known) => *known = total,
            None => self.levels.push(total),
        }
        if event.tier_referrals.is_some() {
            self.tier_points = self.tier_points.saturating_add(event.posting.amount);
            self.tier_version = event.program_version;
            let held_minor = event.posting.pending_change();
            self.tier_pot.held_minor = self.tier_pot.held_minor.saturating_add(held_minor);
            self.tier_pending_minor = self.tier_pending_minor.saturating_add(held_minor);
        }
        self.post(&event.posting);
    }
}
