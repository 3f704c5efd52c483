//! A purchase and its consequences, as answers show them: built from events.

use std::collections::{BTreeMap, HashMap};

use cqrs_es::Aggregate;

use crate::api::errors::ApiError;
use crate::api::pb;
use crate::api::responses::{
    count, id, money, read, reward, time, withheld_from_earner, withheld_reason, withheld_reward,
};
use crate::store::RecordedEvent;
use domain::{
    DisputeId, DisputeOutcome, DisputeState, Participant, ParticipantEvent, ParticipantId, Posting,
    Purchase, PurchaseCredited, PurchaseEvent, PurchaseMadeUp, RewardWithheld, Stream, Timestamp,
};

/// Adds to an amount that is absent while it is 0.
fn add(sum: &mut Option<pb::Money>, unit: &str, amount: i64) {
    let before = sum.as_ref().map_or(0, |sum| sum.minor_units);
    *sum = Some(before.saturating_add(amount)).filter(|of| *of != 0).map(|of| money(unit, of));
}

pub(super) fn dispute_state(state: DisputeState) -> pb::DisputeState {
    match state {
        DisputeState::Open => pb::DisputeState::Open,
        DisputeState::Closed(DisputeOutcome::Won) => pb::DisputeState::Won,
        DisputeState::Closed(DisputeOutcome::Withdrawn) => pb::DisputeState::Withdrawn,
        DisputeState::Closed(DisputeOutcome::Lost) => pb::DisputeState::Lost,
    }
}

/// A purchase, and its consequences in every program of the buyer.
#[derive(Default)]
struct PurchaseView {
    purchase: Option<pb::Purchase>,
    outcomes: BTreeMap<String, pb::PurchaseOutcome>,
    /// The purchase without its consequences, for what its refunds and disputes come to.
    state: Purchase,
    /// When refunds and disputes were recorded, and disputes closed.
    refund_times: Vec<Timestamp>,
    dispute_times: Vec<Timestamp>,
    close_times: HashMap<DisputeId, Timestamp>,
}

/// A purchase and its consequences in every program of the buyer, from the events of all commands about it.
pub(super) fn purchase(
    events: &[RecordedEvent],
) -> Result<(Option<pb::Purchase>, Vec<pb::PurchaseOutcome>), ApiError> {
    let mut view = PurchaseView::default();
    for event in events {
        let Some((any, participant)) = read(event)? else { continue };
        if let (Some(event_of_participant), Some(id)) = (Participant::event_ref(&any), participant)
        {
            view.enter(event, &id, event_of_participant);
        }
        match Purchase::event(any) {
            Some(PurchaseEvent::PurchaseRecorded(recorded)) => {
                view.purchase = Some(pb::Purchase {
                    purchase_id: event.stream.id.to_string(),
                    buyer_user_id: recorded.buyer_user_id.to_string(),
                    amount: Some(money(&recorded.currency_code, recorded.amount_minor)),
                    purchase_time: Some(time(recorded.purchase_time_us)),
                    create_time: Some(time(event.recorded_at)),
                    ..pb::Purchase::default()
                });
                view.state.apply(PurchaseEvent::PurchaseRecorded(recorded));
            }
            Some(PurchaseEvent::RewardWithheld(withheld)) => view.withhold(event, &withheld),
            Some(PurchaseEvent::PurchaseMadeUp(made_up)) => view.make_up(&made_up),
            Some(event_of_purchase) => view.change(event.recorded_at, event_of_purchase),
            None => {}
        }
    }
    view.enter_money_back();
    let mut outcomes: Vec<_> = view.outcomes.into_values().collect();
    for outcome in &mut outcomes {
        // Those on the earners' streams were recorded before those on the purchase.
        outcome.withheld.sort_by_key(|withheld| withheld.level);
    }
    Ok((view.purchase, outcomes))
}

impl PurchaseView {
    fn outcome(&mut self, program_id: &str) -> &mut pb::PurchaseOutcome {
        self.outcomes.entry(program_id.into()).or_insert_with(|| pb::PurchaseOutcome {
            program_id: program_id.into(),
            qualified: true,
            ..pb::PurchaseOutcome::default()
        })
    }

    fn enter(&mut self, recorded: &RecordedEvent, id: &ParticipantId, event: &ParticipantEvent) {
        let program_id = id.program_id.as_str();
        match event {
            ParticipantEvent::RewardGranted(granted) => {
                let outcome = self.outcome(program_id);
                outcome.program_version = count(granted.program_version);
                let mut reward = reward(recorded, granted);
                add(&mut reward.pending, &granted.posting.unit, granted.pending_minor());
                outcome.rewards.push(reward);
            }
            ParticipantEvent::ReferralConverted(_) => self.outcome(program_id).converted = true,
            ParticipantEvent::ReferralUnconverted(_) => self.outcome(program_id).converted = false,
            ParticipantEvent::PurchaseCredited(PurchaseCredited { posting, .. }) => {
                add(
                    &mut self.outcome(program_id).credited,
                    &posting.unit,
                    posting.balance_change(),
                );
            }
            ParticipantEvent::RewardReversed(reversed) => {
                self.on_level(program_id, reversed.level, |reward| {
                    let Posting { amount, unit, .. } = &reversed.posting;
                    add(&mut reward.reversed, unit, -amount);
                    add(&mut reward.pending, unit, reversed.pending_change_minor());
                });
            }
            ParticipantEvent::RewardMoved(moved) => {
                self.on_level(program_id, moved.level, |reward| {
                    add(&mut reward.pending, &moved.posting.unit, moved.pending_change_minor());
                });
            }
            ParticipantEvent::RewardWithheld(withheld) => {
                let outcome = self.outcome(program_id);
                outcome.program_version = count(withheld.program_version);
                outcome.withheld.push(withheld_from_earner(recorded, withheld));
            }
            // Events that follow from those above, or do not concern the purchase.
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::ReferralApplied(_)
            | ParticipantEvent::ReferralMade(_)
            | ParticipantEvent::ReferralStandingChanged(_)
            | ParticipantEvent::ReferralUpdated(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::PurchaseReinstated(_)
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

    fn on_level(&mut self, program_id: &str, level: u32, change: impl FnOnce(&mut pb::Reward)) {
        let rewards = &mut self.outcome(program_id).rewards;
        if let Some(reward) = rewards.iter_mut().find(|reward| reward.level == count(level)) {
            change(reward);
        }
    }

    /// Enters an input that changed what becomes of the rewards.
    fn change(&mut self, recorded_at: Timestamp, event: PurchaseEvent) {
        match &event {
            PurchaseEvent::PurchaseRefunded(_) => self.refund_times.push(recorded_at),
            PurchaseEvent::DisputeOpened(_) => self.dispute_times.push(recorded_at),
            PurchaseEvent::DisputeClosed(closed) => {
                self.close_times.insert(closed.dispute_id.clone(), recorded_at);
            }
            PurchaseEvent::PurchaseRecorded(_)
            | PurchaseEvent::RewardWithheld(_)
            | PurchaseEvent::PurchaseMadeUp(_)
            | PurchaseEvent::RefundCancelled(_)
            | PurchaseEvent::DisputeUpdated(_)
            | PurchaseEvent::PurchaseRewardHeld(_)
            | PurchaseEvent::PurchaseRewardReleased(_)
            | PurchaseEvent::HoldPeriodEnded(_)
            | PurchaseEvent::PurchaseReferralRejected(_) => {}
        }
        self.state.apply(event);
    }

    /// Enters what the refunds and disputes come to.
    fn enter_money_back(&mut self) {
        let (Some(purchase), Some(recorded)) = (&mut self.purchase, self.state.recorded()) else {
            return;
        };
        let price = |minor| money(&recorded.currency_code, minor);
        let present = |minor: i64| (minor != 0).then(|| price(minor));
        let terms = self.state.terms();
        purchase.refunded = present(terms.refunded_minor);
        purchase.disputed = present(terms.at_risk_minor - terms.refunded_minor);
        let refunds = self.state.money_back().refunds().iter().zip(&self.refund_times);
        purchase.refunds = refunds
            .map(|(refund, at)| pb::Refund {
                refund_id: refund.refund_id.to_string(),
                amount: Some(price(refund.amount_minor)),
                cancelled: refund.is_cancelled,
                create_time: Some(time(*at)),
                reason: String::new(),
            })
            .collect();
        let disputes = self.state.money_back().disputes().iter().zip(&self.dispute_times);
        purchase.disputes = disputes
            .map(|(dispute, at)| pb::Dispute {
                dispute_id: dispute.dispute_id.to_string(),
                amount: Some(price(dispute.amount_minor)),
                state: dispute_state(dispute.state).into(),
                create_time: Some(time(*at)),
                close_time: self.close_times.get(&dispute.dispute_id).map(|at| time(*at)),
            })
            .collect();
    }

    /// Takes out what was withheld for the standing of a referral and has been decided anew.
    fn make_up(&mut self, made_up: &PurchaseMadeUp) {
        let outcome = self.outcome(made_up.program_id.as_str());
        let levels: Vec<i32> = made_up.levels.iter().map(|level| count(*level)).collect();
        outcome.withheld.retain(|withheld| {
            let is_of_standing = matches!(
                withheld.reason(),
                pb::WithheldReason::ReferralHeld | pb::WithheldReason::ReferralNotCounted
            );
            !(is_of_standing && levels.contains(&withheld.level))
        });
        outcome.qualified = true;
        outcome.reason = pb::WithheldReason::Unspecified.into();
    }

    /// Enters a reward that was withheld for the purchase's or the program's own sake.
    fn withhold(&mut self, recorded: &RecordedEvent, withheld: &RewardWithheld) {
        let buyer = self.purchase.as_ref().map(|purchase| purchase.buyer_user_id.clone());
        let program_id = id(withheld.program_id.as_ref());
        let outcome = self.outcome(&program_id);
        outcome.program_version = count(withheld.program_version);
        if !withheld.qualified {
            outcome.qualified = false;
            outcome.reason = withheld_reason(withheld.reason).into();
        }
        outcome.withheld.push(pb::WithheldReward {
            earner_user_id: id(withheld.earner_user_id.as_ref()),
            program_id,
            source_user_id: buyer.unwrap_or_default(),
            purchase_id: recorded.stream.id.to_string(),
            ..withheld_reward(recorded, withheld)
        });
    }
}
