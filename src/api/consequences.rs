//! What a refund, a dispute or a hold did to rewards and referrals, from the events of its command.

use std::collections::BTreeSet;

use super::errors::ApiError;
use super::pb;
use super::responses::{count, money, read};
use crate::store::RecordedEvent;
use domain::{
    Participant, ParticipantEvent, ParticipantId, Posting, ProgramId, PurchaseCredited, Stream,
};

/// What a command did to rewards and to the buyer's referrals.
#[derive(Default)]
pub(super) struct Consequences {
    pub(super) reversals: Vec<pb::RewardReversal>,
    pub(super) converted: Vec<String>,
    pub(super) unconverted: Vec<String>,
}

impl Consequences {
    /// From the events of a command, as far as they are in programs of the caller.
    pub(super) fn of_recorded(
        events: &[RecordedEvent],
        own_programs: Option<&[ProgramId]>,
    ) -> Result<Self, ApiError> {
        let mut consequences = Self::default();
        for event in events {
            let Some((any, Some(id))) = read(event)? else { continue };
            if let Some(event) = Participant::event_ref(&any) {
                consequences.enter(&id, event);
            }
        }
        consequences.retain(own_programs);
        Ok(consequences)
    }

    pub(super) fn retain(&mut self, own_programs: Option<&[ProgramId]>) {
        let Some(own) = own_programs else { return };
        let own: BTreeSet<&str> = own.iter().map(ProgramId::as_str).collect();
        self.reversals.retain(|reversal| own.contains(&*reversal.program_id));
        self.converted.retain(|program_id| own.contains(&**program_id));
        self.unconverted.retain(|program_id| own.contains(&**program_id));
    }

    pub(super) fn enter(&mut self, id: &ParticipantId, event: &ParticipantEvent) {
        let reward_id = |sequence: Option<i64>| sequence.map(|sequence| format!("{id}/{sequence}"));
        match event {
            ParticipantEvent::RewardReversed(reversed) => {
                let reward_id = reward_id(Some(reversed.reward_sequence));
                self.add(id, reward_id, reversed.level, &reversed.posting);
            }
            ParticipantEvent::RewardMoved(moved) => {
                self.add(id, reward_id(moved.reward_sequence), moved.level, &moved.posting);
            }
            ParticipantEvent::PurchaseCredited(PurchaseCredited { posting, .. }) => {
                self.add(id, None, 0, posting);
            }
            ParticipantEvent::ReferralConverted(_) => {
                self.converted.push(id.program_id.to_string());
            }
            ParticipantEvent::ReferralUnconverted(_) => {
                self.unconverted.push(id.program_id.to_string());
            }
            // Events that follow from those above, or that no refund and no dispute causes.
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::ReferralApplied(_)
            | ParticipantEvent::ReferralMade(_)
            | ParticipantEvent::ReferralStandingChanged(_)
            | ParticipantEvent::ReferralUpdated(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::RewardGranted(_)
            | ParticipantEvent::RewardWithheld(_)
            | ParticipantEvent::TierChanged(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantReactivated(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::ReferralRewardsChanged(_)
            | ParticipantEvent::BalanceExpired(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_)
            | ParticipantEvent::BalanceSpent(_)
            | ParticipantEvent::SpendingReturned(_)
            | ParticipantEvent::ParticipantErased(_) => {}
        }
    }

    /// Adds a posting to what became of a reward or, without an id, of the credit for the purchase itself.
    fn add(
        &mut self,
        id: &ParticipantId,
        reward_id: Option<String>,
        level: u32,
        posting: &Posting,
    ) {
        let (program_id, user_id) = (id.program_id.to_string(), id.user_id.to_string());
        let reward_id = reward_id.unwrap_or_default();
        let is_same = |of: &&mut pb::RewardReversal| {
            of.program_id == program_id && of.user_id == user_id && of.reward_id == reward_id
        };
        let (change, pending) = (posting.balance_change(), posting.pending_change());
        if let Some(known) = self.reversals.iter_mut().find(is_same) {
            let sum = |sum: &mut Option<pb::Money>, amount: i64| {
                if let Some(sum) = sum {
                    sum.minor_units = sum.minor_units.saturating_add(amount);
                }
            };
            sum(&mut known.amount, change);
            sum(&mut known.pending_change, pending);
            return;
        }
        self.reversals.push(pb::RewardReversal {
            program_id,
            user_id,
            reward_id,
            level: count(level),
            amount: Some(money(&posting.unit, change)),
            pending_change: Some(money(&posting.unit, pending)),
        });
    }
}
