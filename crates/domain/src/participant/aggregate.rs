//! What a participant makes of a command, and of an event.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

use super::settlement::pending_points;
use super::{
    Adjustment, BalanceAdjusted, BalanceExpired, BalanceForfeited, FirstPurchaseFreed,
    FirstPurchaseUsed, Grant, Participant, ParticipantCommand, ParticipantDeactivated,
    ParticipantErased, ParticipantEvent, ParticipantReactivated, PayoutPaid, PayoutReleased,
    PayoutReserved, PayoutReturned, PurchaseCredited, Referral, ReferralApplied, ReferralMade,
    ReferralStatus, ReferralUnconverted, RewardGranted, RewardMoved, Standing, TierChanged,
    TierPot,
};
use crate::ledger::{Bucket, EntryKind, Overflow, Posting};
use crate::lots::RewardLots;
use crate::reward::{LevelTotal, Quote};
use crate::rules::{Pay, RewardRule};
use crate::{ParticipantId, PurchaseId, Refusal, Timestamp, UserId};

impl Participant {
    /// The end of a conversion; `None` if there is none to end.
    fn unconvert(&self, purchase_id: Option<PurchaseId>) -> Option<ReferralUnconverted> {
        let converted = |referral: &&Referral| referral.status == ReferralStatus::Converted;
        let standing = self.referral.as_ref().filter(converted)?.unconverted();
        let (status, hold_reasons) = (standing.status(), standing.hold_reasons());
        Some(ReferralUnconverted { purchase_id, status, hold_reasons })
    }

    fn apply_referral(
        &self,
        id: ParticipantId,
        referrer_user_id: UserId,
        standing: Standing,
        made_while_inactive: bool,
        now: Timestamp,
    ) -> Result<ReferralApplied, Refusal> {
        if self.referral.is_some() {
            return Err(Refusal::AlreadyReferred(id));
        }
        if referrer_user_id == id.user_id {
            return Err(Refusal::SelfReferral(referrer_user_id));
        }
        Ok(ReferralApplied {
            referrer_user_id,
            status: standing.status(),
            hold_reasons: standing.hold_reasons(),
            flags: standing.flags,
            referral_time_us: now,
            made_while_inactive,
        })
    }

    fn make_referral(
        &self,
        user_id: UserId,
        referee_user_id: UserId,
        status: ReferralStatus,
    ) -> Result<ReferralMade, Refusal> {
        let taken = u32::from(status != ReferralStatus::Rejected);
        let uses = self.uses().checked_add(taken).ok_or(Refusal::BalanceLimitReached(user_id))?;
        Ok(ReferralMade { referee_user_id, status, uses, made_while_inactive: self.inactive })
    }

    fn credit(
        &self,
        user_id: UserId,
        purchase_id: PurchaseId,
        amount_minor: i64,
        unit: &str,
    ) -> Result<PurchaseCredited, Refusal> {
        let posting =
            self.buckets.post(EntryKind::PurchaseCredit, amount_minor, Bucket::Available, unit);
        let posting = posting.map_err(|Overflow| Refusal::BalanceLimitReached(user_id))?;
        Ok(PurchaseCredited { purchase_id, posting })
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

    fn adjust(&self, adjustment: Adjustment) -> Result<BalanceAdjusted, Refusal> {
        let Adjustment { user_id, adjustment_id, reason_code, amount_minor, unit } = adjustment;
        let kind = EntryKind::Adjustment;
        let posting = self.buckets.post(kind, amount_minor, Bucket::Available, &unit);
        let posting = posting.map_err(|Overflow| Refusal::BalanceLimitReached(user_id))?;
        Ok(BalanceAdjusted { adjustment_id, reason_code, posting })
    }

    fn forfeit(
        &self,
        bucket: Bucket,
        user_id: &UserId,
        unit: &str,
    ) -> Result<BalanceForfeited, Refusal> {
        let amount = -self.buckets.part(bucket);
        let posting = self.buckets.post(EntryKind::Expiry, amount, bucket, unit);
        let posting = posting.map_err(|Overflow| Refusal::BalanceLimitReached(user_id.clone()))?;
        Ok(BalanceForfeited { posting })
    }

    /// One event for each lot whose time has come.
    fn expire(
        &self,
        user_id: &UserId,
        unit: &str,
        now: Timestamp,
    ) -> Result<Vec<BalanceExpired>, Refusal> {
        let mut buckets = self.buckets;
        let expired = self.lots.due(now).map(|lot| {
            let (kind, to) = (EntryKind::Expiry, Bucket::Available);
            let posting = buckets.post(kind, -lot.amount_minor, to, unit)?;
            buckets = posting.after;
            Ok(BalanceExpired { posting: posting.in_lot(Some(lot.expire_time)) })
        });
        let expired: Result<_, Overflow> = expired.collect();
        expired.map_err(|Overflow| Refusal::BalanceLimitReached(user_id.clone()))
    }

    fn use_first(&mut self, purchase_id: &PurchaseId, is_insufficient: bool) {
        self.first_purchase.get_or_insert_with(|| purchase_id.clone());
        if !is_insufficient {
            self.first_enough.get_or_insert_with(|| purchase_id.clone());
        }
    }

    fn move_reward(&mut self, tier_pot: Option<TierPot>, posting: &Posting) {
        if let Some(tier_pot) = tier_pot {
            self.tier_pot = tier_pot;
            let change = posting.pending_change();
            self.tier_pending_minor = self.tier_pending_minor.saturating_add(change);
        }
        self.post(posting);
    }

    fn tier_change(&self, rule: &RewardRule, quote: &Quote) -> Option<TierChanged> {
        let Pay::Tiers(tiers) = &rule.pay else { return None };
        let to_tier = &tiers.get(quote.tier_index?)?.name;
        let from_tier = self.tier.as_ref().or(tiers.first().map(|tier| &tier.name))?;
        (from_tier != to_tier)
            .then(|| TierChanged { from_tier: from_tier.clone(), to_tier: to_tier.clone() })
    }
}

impl Aggregate for Participant {
    const TYPE: &'static str = "Participant";
    type Command = ParticipantCommand;
    type Event = ParticipantEvent;
    type Error = Refusal;
    type Services = ();

    #[expect(clippy::too_many_lines, reason = "an arm for each command")]
    async fn handle(
        &mut self,
        command: ParticipantCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: ParticipantEvent = match command {
            ParticipantCommand::Enroll { id, .. } if self.exists() => {
                return Err(Refusal::AlreadyEnrolled(id));
            }
            ParticipantCommand::Enroll { enrolled, .. } => enrolled.into(),
            ParticipantCommand::ApplyReferral {
                id,
                referrer_user_id,
                standing,
                made_while_inactive,
                now,
            } => {
                let by = referrer_user_id;
                self.apply_referral(id, by, standing, made_while_inactive, now)?.into()
            }
            ParticipantCommand::MakeReferral { user_id, referee_user_id, status } => {
                self.make_referral(user_id, referee_user_id, status)?.into()
            }
            ParticipantCommand::ChangeStanding(changed) => changed.into(),
            ParticipantCommand::Convert(converted) => match &self.referral {
                Some(referral) if referral.status == ReferralStatus::Pending => converted.into(),
                _ => return Ok(()),
            },
            ParticipantCommand::ChangeRewards(changed) => changed.into(),
            ParticipantCommand::UpdateReferral(updated) => updated.into(),
            ParticipantCommand::NoteRefereeAddress(changed) => changed.into(),
            ParticipantCommand::UseFirstPurchase { is_insufficient, .. }
                if !self.is_first_purchase(is_insufficient) =>
            {
                return Ok(());
            }
            ParticipantCommand::UseFirstPurchase { purchase_id, is_insufficient } => {
                FirstPurchaseUsed { purchase_id, is_insufficient }.into()
            }
            ParticipantCommand::CreditPurchase { user_id, purchase_id, amount_minor, unit } => {
                self.credit(user_id, purchase_id, amount_minor, &unit)?.into()
            }
            ParticipantCommand::Grant(grant) => {
                let tier_changed = self.tier_change(&grant.rule, &grant.quote);
                let waits = self.tier_pot != TierPot::default();
                let rebalancing = waits.then(|| grant.clone());
                sink.write(self.grant(*grant)?.into(), self).await;
                let moved = rebalancing.map(|grant| self.rebalance(&grant)).transpose()?.flatten();
                if let Some(moved) = moved {
                    sink.write(moved.into(), self).await;
                }
                match tier_changed {
                    Some(change) => change.into(),
                    None => return Ok(()),
                }
            }
            ParticipantCommand::Settle(settle) => {
                let (reward, change) = *settle;
                for event in self.settle(&reward, &change)? {
                    sink.write(event, self).await;
                }
                return Ok(());
            }
            ParticipantCommand::SettleCredit(change) => {
                for credited in self.settle_credit(&change)? {
                    sink.write(credited.into(), self).await;
                }
                return Ok(());
            }
            ParticipantCommand::Unconvert(purchase_id) => match self.unconvert(purchase_id) {
                Some(unconverted) => unconverted.into(),
                None => return Ok(()),
            },
            ParticipantCommand::FreeFirstPurchase(purchase_id) => {
                FirstPurchaseFreed { purchase_id }.into()
            }
            ParticipantCommand::Withhold(withheld) => withheld.into(),
            ParticipantCommand::Adjust(adjustment) => self.adjust(adjustment)?.into(),
            ParticipantCommand::Payout(of) => {
                let (user_id, unit) = (of.user_id.clone(), of.unit.clone());
                for moved in self.move_for_payout(of)? {
                    sink.write(moved, self).await;
                }
                if !self.erased || self.buckets.available <= 0 {
                    return Ok(());
                }
                self.forfeit(Bucket::Available, &user_id, &unit)?.into()
            }
            ParticipantCommand::Spend(spend) => {
                for spent in self.spend(*spend)? {
                    sink.write(spent.into(), self).await;
                }
                return Ok(());
            }
            ParticipantCommand::Return(back) => {
                for returned in self.give_back(*back)? {
                    sink.write(returned.into(), self).await;
                }
                return Ok(());
            }
            ParticipantCommand::Deactivate => ParticipantDeactivated {}.into(),
            ParticipantCommand::Reactivate { now } => {
                ParticipantReactivated { reactivate_time_us: now }.into()
            }
            ParticipantCommand::Expire { user_id, unit, now } => {
                for expired in self.expire(&user_id, &unit, now)? {
                    sink.write(expired.into(), self).await;
                }
                return Ok(());
            }
            ParticipantCommand::Erase { user_id, unit } => {
                for bucket in Bucket::ALL {
                    if self.buckets.part(bucket) > 0 {
                        let forfeited = self.forfeit(bucket, &user_id, &unit)?;
                        sink.write(forfeited.into(), self).await;
                    }
                }
                ParticipantErased {}.into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each event")]
    fn apply(&mut self, event: ParticipantEvent) {
        match event {
            ParticipantEvent::ParticipantEnrolled(event) => self.code = event.code,
            ParticipantEvent::ReferralApplied(event) => {
                self.referral = Some(Referral::of(event));
            }
            ParticipantEvent::ReferralStandingChanged(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.change_standing(event);
                }
            }
            ParticipantEvent::ReferralMade(event) => {
                self.has_referred = true;
                self.referrals.make(&event);
                self.tier_referrals.make(&event);
            }
            ParticipantEvent::ReferralUpdated(event) => {
                self.referrals.update(&event);
                self.tier_referrals.update(&event);
            }
            ParticipantEvent::ReferralConverted(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.status = ReferralStatus::Converted;
                    referral.converted_while_inactive = event.converted_while_inactive;
                    referral.converted_by_itself = event.purchase_id.is_none();
                    if let Some(program_version) = event.program_version {
                        referral.program_version = program_version;
                        referral.rewards = event.rewards.into_iter().map(Into::into).collect();
                    }
                }
                if let Some(purchase_id) = event.purchase_id {
                    self.use_first(&purchase_id, false);
                }
            }
            ParticipantEvent::ReferralUnconverted(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.status = event.status;
                    referral.hold_reasons = event.hold_reasons;
                }
            }
            ParticipantEvent::ReferralRewardsChanged(event) => {
                if let Some(referral) = &mut self.referral {
                    referral.rewards = event.rewards.into_iter().map(Into::into).collect();
                    referral.rejected_from_level = event.rejected_from_level;
                }
            }
            ParticipantEvent::FirstPurchaseUsed(event) => {
                self.use_first(&event.purchase_id, event.is_insufficient);
            }
            ParticipantEvent::FirstPurchaseFreed(event) => {
                self.first_purchase.take_if(|first| *first == event.purchase_id);
                self.first_enough.take_if(|first| *first == event.purchase_id);
            }
            ParticipantEvent::PurchaseCredited(event) => self.post(&event.posting),
            ParticipantEvent::RewardGranted(event) => {
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
            ParticipantEvent::RewardReversed(event) => {
                let total_minor = event.level_total_minor();
                if let Some(known) = self.levels.iter_mut().find(|of| of.level == event.level) {
                    known.total_minor = total_minor;
                }
                if event.tier_pot.is_some() {
                    self.tier_points = self.tier_points.saturating_add(event.posting.amount);
                }
                self.move_reward(event.tier_pot, &event.posting);
            }
            ParticipantEvent::RewardMoved(event) => {
                self.move_reward(event.tier_pot, &event.posting);
            }
            ParticipantEvent::RewardWithheld(_) | ParticipantEvent::RefereeAddressChanged(_) => {}
            ParticipantEvent::TierChanged(event) => self.tier = Some(event.to_tier),
            ParticipantEvent::ParticipantDeactivated(_) => self.inactive = true,
            ParticipantEvent::ParticipantReactivated(event) => {
                self.inactive = false;
                self.reactivate_time = Some(event.reactivate_time_us);
            }
            ParticipantEvent::BalanceAdjusted(event) => self.post(&event.posting),
            ParticipantEvent::BalanceForfeited(event) => self.post(&event.posting),
            ParticipantEvent::BalanceExpired(event) => self.post(&event.posting),
            ParticipantEvent::BalanceSpent(event) => {
                self.post(&event.posting);
                self.set_redeemed(&event.item_id, event.item_count);
            }
            ParticipantEvent::SpendingReturned(event) => {
                self.post(&event.posting);
                self.set_redeemed(&event.item_id, event.item_count);
            }
            ParticipantEvent::ParticipantErased(_) => {
                self.inactive = true;
                self.erased = true;
            }
            ParticipantEvent::PayoutReserved(PayoutReserved { posting, .. })
            | ParticipantEvent::PayoutPaid(PayoutPaid { posting, .. })
            | ParticipantEvent::PayoutReleased(PayoutReleased { posting, .. })
            | ParticipantEvent::PayoutReturned(PayoutReturned { posting, .. }) => {
                self.post(&posting);
            }
        }
    }
}
