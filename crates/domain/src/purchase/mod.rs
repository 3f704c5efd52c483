//! A purchase: the fact itself, what went back of it, and why rewards were withheld for the purchase's or the program's
//! sake.

mod events;
mod money_back;
pub mod terms;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::ids::{LONG, identifier};
use super::ledger::Posting;
use super::registry::{AnyEvent, State, Stream, StreamKey};
use super::{
    Lots, Participant, ParticipantEvent, ParticipantId, ProgramId, Refusal, Timestamp, UserId,
};

pub use events::{
    DisputeClosed, DisputeId, DisputeOpened, DisputeOutcome, DisputeUpdated, HoldPeriodEnded,
    PurchaseEvent, PurchaseMadeUp, PurchaseRecorded, PurchaseReferralRejected, PurchaseRefunded,
    PurchaseRewardHeld, PurchaseRewardReleased, RefundCancelled, RefundId, RewardWithheld,
};
pub use money_back::{Dispute, DisputeState, MAX_DISPUTES, MAX_REFUNDS, MoneyBack, Refund};

identifier!(
    /// A purchase. The caller's own identifier makes its delivery idempotent.
    PurchaseId, LONG
);

impl PurchaseId {
    /// Whether it is a payment of Stripe, whose webhooks can tell of its refunds as well.
    #[must_use]
    pub fn is_of_stripe(&self) -> bool {
        self.as_str().starts_with("pi_")
    }
}

/// The commands of a purchase.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum PurchaseCommand {
    Record { purchase_id: PurchaseId, recorded: PurchaseRecorded },
    Withhold(RewardWithheld),
    MakeUp(PurchaseMadeUp),
    Refund(PurchaseRefunded),
    CancelRefund(RefundCancelled),
    OpenDispute(DisputeOpened),
    UpdateDispute(DisputeUpdated),
    CloseDispute(DisputeClosed),
    HoldReward(PurchaseRewardHeld),
    ReleaseReward(PurchaseRewardReleased),
    EndHoldPeriod(HoldPeriodEnded),
    RejectReferral(PurchaseReferralRejected),
}

/// What a participant earned from a purchase, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewardShare {
    /// Who earned.
    pub earner_user_id: UserId,
    /// How far up the line from the buyer.
    pub level: u32,
    /// What was granted, in minor units.
    pub amount_minor: i64,
    /// The sequence of the reward on the earner's stream: with the stream it is the id of the entry.
    pub sequence: i64,
    /// What was taken back, in minor units. Of a reward of points by tier it can be more or less than was granted.
    pub reversed_minor: i64,
    /// The part that is pending, in minor units; not counted for points by tier, which are pending together.
    pub pending_minor: i64,
    /// When the program's hold period ends, if the reward waits for that.
    pub release_time: Option<Timestamp>,
    /// Whether an operator holds it.
    pub is_held: bool,
    /// The lot to which it was last added; none if it never was available, or never expires.
    pub lot: Option<Timestamp>,
}

impl RewardShare {
    /// Whether the reward waits, whatever becomes of the purchase.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.is_held || self.release_time.is_some()
    }
}

/// How a purchase was the buyer's first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FirstUse {
    /// It was not.
    #[default]
    None,
    /// The first of all, without being enough by the rules that applied to it.
    Insufficient,
    /// The first that was enough.
    Enough,
}

/// The consequences of a purchase in one program of its buyer, so that they can be reversed exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseOutcome {
    /// The program.
    pub program_id: ProgramId,
    /// The version of the rules by which rewards were granted; 0 if none were granted.
    pub program_version: u32,
    /// Who earned how much, at most one reward for each level.
    pub rewards: Vec<RewardShare>,
    /// What was added to the buyer's own balance, in minor units.
    pub credited_minor: i64,
    /// What was taken back of that, in minor units.
    pub credit_reversed_minor: i64,
    /// The part of it that is pending, in minor units.
    pub credit_pending_minor: i64,
    /// What of these two was taken from lots, because too little was left of what does not expire.
    pub credit_lots: Lots,
    /// Whether the purchase converted the buyer's referral.
    pub converted: bool,
    /// Whether the referrer could not earn when it did.
    pub converted_while_inactive: bool,
    /// Whether the purchase was the buyer's first of all, or the first that was enough.
    pub first_use: FirstUse,
    /// The level from which on rewards are taken back, because a referral behind them was rejected with what it had
    /// earned.
    pub rejected_from_level: Option<u32>,
    /// What nobody got because a referral was held or rejected, and what was not made up for since.
    pub cut_off: CutOff,
}

/// Rewards of a purchase that were withheld because a referral was held or rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CutOff {
    /// The version of the rules that applied; 0 if nothing was withheld for that.
    pub program_version: u32,
    /// The levels of the rewards, lowest first.
    pub levels: Vec<u32>,
}

/// A purchase, and its consequences in each program of its buyer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Purchase {
    recorded: Option<PurchaseRecorded>,
    outcomes: Vec<PurchaseOutcome>,
    money_back: MoneyBack,
}

impl PurchaseOutcome {
    fn new(program_id: ProgramId) -> Self {
        Self {
            program_id,
            program_version: 0,
            rewards: Vec::new(),
            credited_minor: 0,
            credit_reversed_minor: 0,
            credit_pending_minor: 0,
            credit_lots: Lots::default(),
            converted: false,
            converted_while_inactive: false,
            first_use: FirstUse::None,
            rejected_from_level: None,
            cut_off: CutOff::default(),
        }
    }

    /// The reward on a level.
    #[must_use]
    pub fn reward_on(&self, level: u32) -> Option<&RewardShare> {
        self.rewards.iter().find(|reward| reward.level == level)
    }

    fn on_level(&mut self, level: u32, change: impl FnOnce(&mut RewardShare)) {
        if let Some(reward) = self.rewards.iter_mut().find(|reward| reward.level == level) {
            change(reward);
        }
    }

    /// Takes over what was moved of the credit for the purchase itself.
    fn move_credit(&mut self, posting: &Posting) {
        if self.credited_minor == 0 {
            self.credited_minor = posting.amount;
            return;
        }
        self.credit_reversed_minor -= posting.balance_change();
        self.credit_pending_minor += posting.pending_change();
        self.credit_lots.note(posting, self.credit_out_minor());
    }

    /// What is not available of the credit, whether it was taken back or is pending.
    pub(crate) fn credit_out_minor(&self) -> i64 {
        self.credit_reversed_minor + self.credit_pending_minor
    }
}

impl Purchase {
    /// What was recorded; `None` if the purchase does not exist.
    #[must_use]
    pub fn recorded(&self) -> Option<&PurchaseRecorded> {
        self.recorded.as_ref()
    }

    /// The consequences in each program that has any.
    #[must_use]
    pub fn outcomes(&self) -> &[PurchaseOutcome] {
        &self.outcomes
    }

    /// The consequences in one program.
    #[must_use]
    pub fn outcome_in(&self, program_id: &ProgramId) -> Option<&PurchaseOutcome> {
        self.outcomes.iter().find(|outcome| outcome.program_id == *program_id)
    }

    fn cut_off(&mut self, withheld: RewardWithheld) {
        let (Some(program_id), Some(_)) = (withheld.program_id, withheld.rule) else { return };
        if withheld.reason.is_of_standing() {
            let cut_off = &mut self.outcome(program_id).cut_off;
            cut_off.program_version = withheld.program_version;
            cut_off.levels.push(withheld.level);
        }
    }

    /// What went back of the price, and what may.
    #[must_use]
    pub fn money_back(&self) -> &MoneyBack {
        &self.money_back
    }

    /// What the price comes to after that, before the rules of any program.
    #[must_use]
    pub fn terms(&self) -> terms::Terms {
        self.money_back.terms(self.recorded.as_ref().map_or(0, |recorded| recorded.amount_minor))
    }

    /// Whether it can earn in some program as it stands: rewards were granted for it, and not all of the price went
    /// back.
    #[must_use]
    pub fn may_earn(&self) -> bool {
        self.terms().qualifies(self.terms().refunded_minor)
            && self.outcomes.iter().any(|outcome| !outcome.rewards.is_empty())
    }

    fn outcome(&mut self, program_id: ProgramId) -> &mut PurchaseOutcome {
        let known = self.outcomes.iter().position(|outcome| outcome.program_id == program_id);
        let index = known.unwrap_or_else(|| {
            self.outcomes.push(PurchaseOutcome::new(program_id));
            self.outcomes.len() - 1
        });
        &mut self.outcomes[index]
    }
}

impl Aggregate for Purchase {
    const TYPE: &'static str = "Purchase";
    type Command = PurchaseCommand;
    type Event = PurchaseEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: PurchaseCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: PurchaseEvent = match command {
            PurchaseCommand::Record { purchase_id, .. } if self.recorded.is_some() => {
                return Err(Refusal::PurchaseIdReused(purchase_id));
            }
            PurchaseCommand::Record { recorded, .. } => recorded.into(),
            PurchaseCommand::Withhold(withheld) => withheld.into(),
            PurchaseCommand::MakeUp(made_up) => made_up.into(),
            PurchaseCommand::Refund(refunded) => refunded.into(),
            PurchaseCommand::CancelRefund(cancelled) => cancelled.into(),
            PurchaseCommand::OpenDispute(opened) => opened.into(),
            PurchaseCommand::UpdateDispute(updated) => updated.into(),
            PurchaseCommand::CloseDispute(closed) => closed.into(),
            PurchaseCommand::HoldReward(held) => held.into(),
            PurchaseCommand::ReleaseReward(released) => released.into(),
            PurchaseCommand::EndHoldPeriod(ended) => ended.into(),
            PurchaseCommand::RejectReferral(rejected) => rejected.into(),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: PurchaseEvent) {
        match event {
            PurchaseEvent::PurchaseRecorded(purchase) => self.recorded = Some(purchase),
            PurchaseEvent::RewardWithheld(withheld) => self.cut_off(withheld),
            PurchaseEvent::PurchaseMadeUp(made_up) => {
                let cut_off = &mut self.outcome(made_up.program_id).cut_off;
                cut_off.levels.retain(|level| !made_up.levels.contains(level));
            }
            PurchaseEvent::PurchaseRefunded(refunded) => self.money_back.refund(refunded),
            PurchaseEvent::RefundCancelled(cancelled) => self.money_back.cancel(&cancelled),
            PurchaseEvent::DisputeOpened(opened) => self.money_back.open(opened),
            PurchaseEvent::DisputeUpdated(updated) => self.money_back.update(&updated),
            PurchaseEvent::DisputeClosed(closed) => self.money_back.close(&closed),
            PurchaseEvent::PurchaseRewardHeld(PurchaseRewardHeld { program_id, level }) => {
                self.outcome(program_id).on_level(level, |reward| reward.is_held = true);
            }
            PurchaseEvent::PurchaseRewardReleased(PurchaseRewardReleased { program_id, level }) => {
                self.outcome(program_id).on_level(level, |reward| {
                    reward.is_held = false;
                    reward.release_time = None;
                });
            }
            PurchaseEvent::HoldPeriodEnded(HoldPeriodEnded { program_id, levels }) => {
                let outcome = self.outcome(program_id);
                for level in levels {
                    outcome.on_level(level, |reward| reward.release_time = None);
                }
            }
            PurchaseEvent::PurchaseReferralRejected(rejected) => {
                self.outcome(rejected.program_id).rejected_from_level = rejected.from_level;
            }
        }
    }
}

impl State for Purchase {
    /// The buyer is named in the event, not in the id.
    fn user_of(_: &str) -> Option<&str> {
        None
    }

    /// A purchase builds its state from the events that its commands wrote to other streams: what the buyer
    /// and the earners up the line got, and what changed for the buyer, is recorded on their streams.
    fn remember(&mut self, own_id: &str, other: &StreamKey, sequence: i64, event: &AnyEvent) {
        let Some(event) = Participant::event_ref(event) else { return };
        let Some(participant) = ParticipantId::parse(&other.id) else { return };
        let is_own = |purchase_id: &PurchaseId| purchase_id.as_str() == own_id;
        match event {
            ParticipantEvent::RewardGranted(granted)
                if granted.purchase_id.as_ref().is_some_and(is_own) =>
            {
                let outcome = self.outcome(participant.program_id);
                outcome.program_version = granted.program_version;
                outcome.rewards.push(RewardShare {
                    earner_user_id: participant.user_id,
                    level: granted.level,
                    amount_minor: granted.posting.amount,
                    sequence,
                    reversed_minor: 0,
                    pending_minor: granted.pending_minor(),
                    release_time: granted.release_time_us,
                    is_held: false,
                    lot: granted.posting.lot_added_to(),
                });
            }
            ParticipantEvent::RewardReversed(reversed)
                if reversed.purchase_id.as_ref().is_some_and(is_own) =>
            {
                self.outcome(participant.program_id).on_level(reversed.level, |reward| {
                    reward.reversed_minor -= reversed.posting.amount;
                    reward.pending_minor += reversed.pending_change_minor();
                    reward.enter_lot(&reversed.posting);
                });
            }
            ParticipantEvent::RewardMoved(moved)
                if moved.purchase_id.as_ref().is_some_and(is_own) =>
            {
                self.outcome(participant.program_id).on_level(moved.level, |reward| {
                    reward.pending_minor += moved.pending_change_minor();
                    reward.enter_lot(&moved.posting);
                });
            }
            ParticipantEvent::PurchaseCredited(credited) if is_own(&credited.purchase_id) => {
                self.outcome(participant.program_id).move_credit(&credited.posting);
            }
            ParticipantEvent::ReferralConverted(converted)
                if converted.purchase_id.as_ref().is_some_and(is_own) =>
            {
                let outcome = self.outcome(participant.program_id);
                outcome.converted = true;
                outcome.converted_while_inactive = converted.converted_while_inactive;
                outcome.first_use = FirstUse::Enough;
            }
            ParticipantEvent::FirstPurchaseUsed(used) if is_own(&used.purchase_id) => {
                self.outcome(participant.program_id).first_use =
                    if used.is_insufficient { FirstUse::Insufficient } else { FirstUse::Enough };
            }
            // Events of another purchase, or of none.
            ParticipantEvent::RewardGranted(_)
            | ParticipantEvent::RewardReversed(_)
            | ParticipantEvent::RewardMoved(_)
            | ParticipantEvent::ReferralUnconverted(_)
            | ParticipantEvent::ReferralRewardsChanged(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::PurchaseReinstated(_)
            | ParticipantEvent::PurchaseCredited(_)
            | ParticipantEvent::ReferralConverted(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::ReferralApplied(_)
            | ParticipantEvent::ReferralMade(_)
            | ParticipantEvent::ReferralStandingChanged(_)
            | ParticipantEvent::ReferralUpdated(_)
            | ParticipantEvent::RewardWithheld(_)
            | ParticipantEvent::TierChanged(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantReactivated(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceExpired(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::BalanceSpent(_)
            | ParticipantEvent::SpendingReturned(_)
            | ParticipantEvent::ParticipantErased(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_) => {}
        }
    }
}
