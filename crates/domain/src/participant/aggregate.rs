//! What a participant makes of a command, and of an event.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

use super::{
    FirstPurchaseFreed, FirstPurchaseUsed, Participant, ParticipantCommand, ParticipantDeactivated,
    ParticipantErased, ParticipantEvent, ParticipantReactivated, PayoutPaid, PayoutReleased,
    PayoutReserved, PayoutReturned, PurchaseReinstated, Referral, ReferralStatus,
};
use crate::Refusal;

impl Participant {
    /// Writes events that were computed together.
    async fn write_all<E: Into<ParticipantEvent> + Send>(
        &mut self,
        events: Vec<E>,
        sink: &EventSink<Self>,
    ) {
        for event in events {
            sink.write(event.into(), self).await;
        }
    }
}

impl Aggregate for Participant {
    const TYPE: &'static str = "Participant";
    type Command = ParticipantCommand;
    type Event = ParticipantEvent;
    type Error = Refusal;
    type Services = ();

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
            ParticipantCommand::Grant(grant) => return self.write_grant(*grant, sink).await,
            ParticipantCommand::Settle(settle) => {
                let (reward, change) = *settle;
                self.write_all(self.settle(&reward, &change)?, sink).await;
                return Ok(());
            }
            ParticipantCommand::SettleCredit(change) => {
                self.write_all(self.settle_credit(&change)?, sink).await;
                return Ok(());
            }
            ParticipantCommand::Unconvert(purchase_id) => match self.unconvert(purchase_id) {
                Some(unconverted) => unconverted.into(),
                None => return Ok(()),
            },
            ParticipantCommand::FreeFirstPurchase(purchase_id) => {
                FirstPurchaseFreed { purchase_id }.into()
            }
            ParticipantCommand::ReinstatePurchase(purchase_id) => {
                PurchaseReinstated { purchase_id }.into()
            }
            ParticipantCommand::Withhold(withheld) => withheld.into(),
            ParticipantCommand::Adjust(adjustment) => self.adjust(adjustment)?.into(),
            ParticipantCommand::Payout(of) => {
                let (user_id, unit) = (of.user_id.clone(), of.unit.clone());
                self.write_all(self.move_for_payout(of)?, sink).await;
                if self.erased {
                    self.write_forfeits(&user_id, &unit, sink).await?;
                }
                return Ok(());
            }
            ParticipantCommand::Spend(spend) => {
                self.write_all(self.spend(*spend)?, sink).await;
                return Ok(());
            }
            ParticipantCommand::Return(back) => {
                let (user_id, unit) = (back.user_id.clone(), back.unit.clone());
                self.write_all(self.give_back(*back)?, sink).await;
                if self.erased {
                    self.write_forfeits(&user_id, &unit, sink).await?;
                }
                return Ok(());
            }
            ParticipantCommand::Deactivate => ParticipantDeactivated {}.into(),
            ParticipantCommand::Reactivate { now } => {
                ParticipantReactivated { reactivate_time_us: now }.into()
            }
            ParticipantCommand::Expire { user_id, unit, now } => {
                self.write_all(self.expire(&user_id, &unit, now)?, sink).await;
                return Ok(());
            }
            ParticipantCommand::Erase { user_id, unit } => {
                self.write_forfeits(&user_id, &unit, sink).await?;
                ParticipantErased {}.into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

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
            ParticipantEvent::ReferralConverted(event) => self.convert(event),
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
            ParticipantEvent::RewardGranted(event) => self.add_reward(&event),
            ParticipantEvent::RewardReversed(event) => self.reverse_reward(&event),
            ParticipantEvent::RewardMoved(event) => {
                self.move_reward(event.tier_pot, &event.posting);
            }
            ParticipantEvent::RewardWithheld(_)
            | ParticipantEvent::PurchaseReinstated(_)
            | ParticipantEvent::RefereeAddressChanged(_) => {}
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
