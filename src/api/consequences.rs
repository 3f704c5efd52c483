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
        self.net();
        let Some(own) = own_programs else { return };
        let own: BTreeSet<&str> = own.iter().map(ProgramId::as_str).collect();
        self.reversals.retain(|reversal| own.contains(&*reversal.program_id));
        self.converted.retain(|program_id| own.contains(&**program_id));
        self.unconverted.retain(|program_id| own.contains(&**program_id));
    }

    pub(super) fn enter(&mut self, id: &ParticipantId, event: &ParticipantEvent) {
        match event {
            ParticipantEvent::RewardReversed(of) => {
                self.add(reversal(id, of.level, Some(of.reward_sequence), &of.posting));
            }
            ParticipantEvent::RewardMoved(of) => {
                self.add(reversal(id, of.level, of.reward_sequence, &of.posting));
            }
            ParticipantEvent::PurchaseCredited(PurchaseCredited { posting, .. }) => {
                self.add(reversal(id, 0, None, posting));
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
            | ParticipantEvent::PurchaseReinstated(_)
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

    /// Leaves out what came to nothing. A refund that takes the place of another one takes back what that gave back.
    fn net(&mut self) {
        let is_something =
            |of: &Option<pb::Money>| of.as_ref().is_some_and(|sum| sum.minor_units != 0);
        self.reversals.retain(|of| is_something(&of.amount) || is_something(&of.pending_change));
        let converted = std::mem::take(&mut self.converted);
        for program_id in converted {
            match self.unconverted.iter().position(|of| *of == program_id) {
                Some(undone) => drop(self.unconverted.remove(undone)),
                None => self.converted.push(program_id),
            }
        }
    }

    /// Adds to what became of the same reward or of the credit for the purchase itself.
    fn add(&mut self, reversal: pb::RewardReversal) {
        let is_same = |of: &&mut pb::RewardReversal| {
            of.program_id == reversal.program_id
                && of.user_id == reversal.user_id
                && of.reward_id == reversal.reward_id
        };
        let Some(known) = self.reversals.iter_mut().find(is_same) else {
            self.reversals.push(reversal);
            return;
        };
        let sum = |sum: &mut Option<pb::Money>, more: Option<pb::Money>| {
            if let (Some(sum), Some(more)) = (sum, more) {
                sum.minor_units = sum.minor_units.saturating_add(more.minor_units);
            }
        };
        sum(&mut known.amount, reversal.amount);
        sum(&mut known.pending_change, reversal.pending_change);
    }
}

/// What a posting did to a reward or, without a sequence, to the credit for the purchase itself.
pub(super) fn reversal(
    id: &ParticipantId,
    level: u32,
    reward_sequence: Option<i64>,
    posting: &Posting,
) -> pb::RewardReversal {
    let reward_id = reward_sequence.map(|sequence| format!("{id}/{sequence}"));
    pb::RewardReversal {
        program_id: id.program_id.to_string(),
        user_id: id.user_id.to_string(),
        reward_id: reward_id.unwrap_or_default(),
        level: count(level),
        amount: Some(money(&posting.unit, posting.balance_change())),
        pending_change: Some(money(&posting.unit, posting.pending_change())),
    }
}
