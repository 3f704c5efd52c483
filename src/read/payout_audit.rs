//! The audit of payouts: a line goes through its states once, each step moves its amount on the participant's stream,
//! and what a payout says it has collected is the sum of its lines.

use std::collections::HashMap;
use std::sync::Arc;

use crate::store::RecordedEvent;
use domain::{
    ParticipantEvent, PayoutCollected, PayoutDeskEvent, PayoutEvent, PayoutId, PayoutLineEvent,
    PayoutLineId, PayoutLineState, PayoutPart, Posting,
};

/// A step of a line, and what of it has not moved on the participant's stream yet.
#[derive(Debug)]
struct Due {
    step: PayoutLineState,
    left_minor: i64,
    /// What is reserved, the first part last: each comes from its lot.
    parts: Vec<PayoutPart>,
}

impl Due {
    /// Takes a posting off; `None` if it is not due.
    fn take(mut self, step: PayoutLineState, posting: &Posting) -> Option<Self> {
        let amount_minor =
            if step == PayoutLineState::Paid { -posting.amount } else { posting.amount };
        let is_due = step == self.step && 0 < amount_minor && amount_minor <= self.left_minor;
        if step == PayoutLineState::Reserved {
            let PayoutPart { amount_minor: expected, expire_time_us } = self.parts.pop()?;
            if (amount_minor, posting.expire_time_us) != (expected, expire_time_us) {
                return None;
            }
        }
        self.left_minor -= amount_minor;
        is_due.then_some(self)
    }
}

/// What the audit knows of payouts. Each method returns what is wrong, if anything is.
#[derive(Default)]
pub(super) struct PayoutAudit {
    /// State and amount of each line.
    lines: HashMap<Arc<str>, (PayoutLineState, i64)>,
    /// Steps of lines that are not on the participant's stream yet, by participant and payout.
    due: HashMap<(String, PayoutId), Due>,
    /// What each payout has collected; `None` once it has said so.
    collecting: HashMap<String, Option<PayoutCollected>>,
    /// Which payout of a program collects.
    desks: HashMap<Arc<str>, PayoutId>,
}

impl PayoutAudit {
    /// Audits a step of a line.
    pub(super) fn enter_line(
        &mut self,
        event: &RecordedEvent,
        fact: &PayoutLineEvent,
    ) -> Option<String> {
        let Some(id) = PayoutLineId::parse(&event.stream.id) else {
            return Some("its id is not that of a line".into());
        };
        let (after, amount) = match fact {
            PayoutLineEvent::PayoutLineSkipped(_) => (PayoutLineState::Skipped, 0),
            PayoutLineEvent::PayoutLineReserved(of) => (PayoutLineState::Reserved, of.amount_minor),
            PayoutLineEvent::PayoutLinePaid(of) => (PayoutLineState::Paid, of.amount_minor),
            PayoutLineEvent::PayoutLineFailed(of) => (PayoutLineState::Failed, of.amount_minor),
            PayoutLineEvent::PayoutLineReturned(of) => (PayoutLineState::Returned, of.amount_minor),
        };
        let before = self.lines.insert(event.stream.id.clone(), (after, amount));
        let is_permitted = match (before.map(|(state, _)| state), after) {
            (None, PayoutLineState::Skipped | PayoutLineState::Reserved) => {
                if let Some(Some(collected)) = self.collecting.get_mut(&id.payout.to_string()) {
                    if after == PayoutLineState::Skipped {
                        collected.skipped_count += 1;
                    } else {
                        collected.line_count += 1;
                        collected.total_minor = collected.total_minor.saturating_add(amount);
                    }
                } else {
                    return Some("a line of a payout that does not collect".into());
                }
                true
            }
            (Some(PayoutLineState::Reserved), PayoutLineState::Paid | PayoutLineState::Failed)
            | (Some(PayoutLineState::Paid), PayoutLineState::Returned) => true,
            (_, _) => false,
        };
        if !is_permitted || before.is_some_and(|(_, reserved)| reserved != amount) {
            return Some(format!("a line that is {before:?} becomes {after:?} with {amount}"));
        }
        if after == PayoutLineState::Skipped {
            return None;
        }
        let key = (id.participant().to_string(), id.payout.payout_id);
        let parts = match fact {
            PayoutLineEvent::PayoutLineReserved(of) => of.parts.iter().rev().cloned().collect(),
            PayoutLineEvent::PayoutLineSkipped(_)
            | PayoutLineEvent::PayoutLinePaid(_)
            | PayoutLineEvent::PayoutLineFailed(_)
            | PayoutLineEvent::PayoutLineReturned(_) => Vec::new(),
        };
        let missed = self.due.insert(key, Due { step: after, left_minor: amount, parts });
        missed.map(|missed| format!("no money has moved for the step {missed:?} before"))
    }

    /// Audits what a payout has moved on the stream of a participant.
    pub(super) fn enter_participant(
        &mut self,
        event: &RecordedEvent,
        fact: &ParticipantEvent,
    ) -> Option<String> {
        let (payout_id, posting, step): (&PayoutId, &Posting, _) = match fact {
            ParticipantEvent::PayoutReserved(of) => {
                (&of.payout_id, &of.posting, PayoutLineState::Reserved)
            }
            ParticipantEvent::PayoutPaid(of) => (&of.payout_id, &of.posting, PayoutLineState::Paid),
            ParticipantEvent::PayoutReleased(of) => {
                (&of.payout_id, &of.posting, PayoutLineState::Failed)
            }
            ParticipantEvent::PayoutReturned(of) => {
                (&of.payout_id, &of.posting, PayoutLineState::Returned)
            }
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::ReferralApplied(_)
            | ParticipantEvent::ReferralMade(_)
            | ParticipantEvent::ReferralStandingChanged(_)
            | ParticipantEvent::ReferralUpdated(_)
            | ParticipantEvent::ReferralConverted(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::PurchaseReinstated(_)
            | ParticipantEvent::ReferralUnconverted(_)
            | ParticipantEvent::ReferralRewardsChanged(_)
            | ParticipantEvent::PurchaseCredited(_)
            | ParticipantEvent::RewardGranted(_)
            | ParticipantEvent::RewardWithheld(_)
            | ParticipantEvent::RewardReversed(_)
            | ParticipantEvent::RewardMoved(_)
            | ParticipantEvent::TierChanged(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantReactivated(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceExpired(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::BalanceSpent(_)
            | ParticipantEvent::SpendingReturned(_)
            | ParticipantEvent::ParticipantErased(_) => return None,
        };
        let key = (event.stream.id.to_string(), payout_id.clone());
        let due = self.due.remove(&key);
        let known = format!("{due:?}");
        let Some(left) = due.and_then(|due| due.take(step, posting)) else {
            let amount = posting.amount;
            return Some(format!("{amount} move as {step:?}, but due is {known}"));
        };
        if left.left_minor > 0 {
            self.due.insert(key, left);
        }
        None
    }

    /// Audits what happens to a payout.
    pub(super) fn enter_payout(
        &mut self,
        event: &RecordedEvent,
        fact: &PayoutEvent,
    ) -> Option<String> {
        let id = event.stream.id.to_string();
        match fact {
            PayoutEvent::PayoutCreated(_) => {
                let none = PayoutCollected { line_count: 0, total_minor: 0, skipped_count: 0 };
                let before = self.collecting.insert(id, Some(none));
                before.is_some().then(|| "a payout that is created twice".into())
            }
            PayoutEvent::PayoutCollected(collected) => {
                let sums = self.collecting.insert(id, None).flatten();
                (sums.as_ref() != Some(collected)).then(|| {
                    format!("its lines are said to come to {collected:?}, but come to {sums:?}")
                })
            }
            // A line can be confirmed as soon as it is made.
            PayoutEvent::PayoutApprovalWaived(_) => None,
            PayoutEvent::PayoutConfirmationStarted(_)
            | PayoutEvent::PayoutFailureStarted(_)
            | PayoutEvent::PayoutCompleted(_) => {
                let is_collected = self.collecting.get(&id) == Some(&None);
                (!is_collected).then(|| "a payout that is decided before it has collected".into())
            }
        }
    }

    /// Audits whose turn it is.
    pub(super) fn enter_desk(
        &mut self,
        event: &RecordedEvent,
        fact: &PayoutDeskEvent,
    ) -> Option<String> {
        match fact {
            PayoutDeskEvent::PayoutCollectionBegun(begun) => {
                let before = self.desks.insert(event.stream.id.clone(), begun.payout_id.clone());
                before.map(|before| format!("payout {before} collects at the same time"))
            }
            PayoutDeskEvent::PayoutCollectionEnded(ended) => {
                let before = self.desks.remove(&event.stream.id);
                (before.as_ref() != Some(&ended.payout_id))
                    .then(|| format!("payout {} ends, but {before:?} collects", ended.payout_id))
            }
        }
    }

    /// Whose money has not moved although a line says so, once the log is read.
    pub(super) fn missed(&self) -> Vec<String> {
        self.due
            .iter()
            .map(|((participant, payout_id), step)| {
                format!(
                    "{participant}: no money has moved for the step {step:?} of payout {payout_id}"
                )
            })
            .collect()
    }
}
