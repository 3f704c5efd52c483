//! A purchase: the fact itself, and why rewards were withheld for the purchase's or the program's sake.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ids::{LONG, identifier};
use super::ledger::Posting;
use super::registry::{AnyEvent, Posts, State, Stream, StreamKey};
use super::reward::WithheldReason;
use super::{Participant, ParticipantEvent, ParticipantId, ProgramId, Refusal, Timestamp, UserId};

identifier!(
    /// A purchase. The caller's own identifier makes its delivery idempotent.
    PurchaseId, LONG
);

/// A purchase was made. This is the input, separate from its consequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseRecorded {
    /// Who bought.
    pub buyer_user_id: UserId,
    /// The price, in minor units of `currency_code`.
    pub amount_minor: i64,
    /// An ISO 4217 code.
    pub currency_code: String,
    /// When it happened, in microseconds since 1970.
    pub purchase_time_us: Timestamp,
    /// The programs that it counts in, where the caller may act in these only; absent if it counts in all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub program_ids: Option<Vec<ProgramId>>,
}

/// A reward was not granted, and why. Recorded on the earner's stream if the reason is the earner's own, such as
/// a cap, or if the referral itself would have earned; else on the purchase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewardWithheld {
    /// The program; absent on the earner's stream, whose id contains it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub program_id: Option<ProgramId>,
    /// The version of its rules that was applied.
    pub program_version: u32,
    /// The user who would have earned; absent if there is none, and on the earner's stream.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub earner_user_id: Option<UserId>,
    /// How far up the line: 0 the buyer or referee, 1 the referrer, ...
    pub level: u32,
    /// The rule that would have paid; absent if the reason is not specific to one rule.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<String>,
    /// Why nothing was granted.
    pub reason: WithheldReason,
    /// Whether the purchase or referral counts in the program, so that only this earner gets nothing.
    pub qualified: bool,
    /// The user who signed up or bought; absent on a purchase, which names its buyer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_user_id: Option<UserId>,
    /// The purchase; absent on the purchase itself, and if the referral itself would have earned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase_id: Option<PurchaseId>,
    /// What the rule comes to before its cap, in minor units of `unit`; absent if it was not computed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub computed_minor: Option<i64>,
    /// The program's unit, where an amount was computed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
    /// The amount behind the reason, such as the required minimum or the cap that was reached, in minor
    /// units.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit_minor: Option<i64>,
}

/// Rewards that were withheld because a referral was held or rejected were decided anew, now that it counts. What came
/// of it is in the other events of the command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseMadeUp {
    /// The program.
    pub program_id: ProgramId,
    /// The levels whose rewards were decided anew, lowest first.
    pub levels: Vec<u32>,
}

events! {
    /// What can happen to a purchase.
    PurchaseEvent {
        PurchaseRecorded = "1.0.0",
        RewardWithheld = "1.0.0",
        PurchaseMadeUp = "1.0.0",
    }
}

/// The commands of a purchase.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum PurchaseCommand {
    Record { purchase_id: PurchaseId, recorded: PurchaseRecorded },
    Withhold(RewardWithheld),
    MakeUp(PurchaseMadeUp),
}

/// What a participant earned from a purchase.
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
    /// Whether the purchase converted the buyer's referral.
    pub converted: bool,
    /// Whether the purchase was the buyer's first of all, or the first that was enough.
    pub used_first_purchase: bool,
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

    fn outcome(&mut self, program_id: ProgramId) -> &mut PurchaseOutcome {
        let known = self.outcomes.iter().position(|outcome| outcome.program_id == program_id);
        let index = known.unwrap_or_else(|| {
            self.outcomes.push(PurchaseOutcome {
                program_id,
                program_version: 0,
                rewards: Vec::new(),
                credited_minor: 0,
                converted: false,
                used_first_purchase: false,
                cut_off: CutOff::default(),
            });
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
        }
    }
}

impl Posts for PurchaseEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::PurchaseRecorded(_) | Self::RewardWithheld(_) | Self::PurchaseMadeUp(_) => None,
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
                });
            }
            ParticipantEvent::PurchaseCredited(credited) if is_own(&credited.purchase_id) => {
                self.outcome(participant.program_id).credited_minor += credited.posting.amount;
            }
            ParticipantEvent::ReferralConverted(converted)
                if converted.purchase_id.as_ref().is_some_and(is_own) =>
            {
                let outcome = self.outcome(participant.program_id);
                outcome.converted = true;
                outcome.used_first_purchase = true;
            }
            ParticipantEvent::FirstPurchaseUsed(used) if is_own(&used.purchase_id) => {
                self.outcome(participant.program_id).used_first_purchase = true;
            }
            // Events of another purchase, or of none.
            ParticipantEvent::RewardGranted(_)
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
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::ParticipantErased(_) => {}
        }
    }
}
