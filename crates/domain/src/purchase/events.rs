//! What can happen to a purchase.

use serde::{Deserialize, Serialize};

use crate::events::events;
use crate::ids::{LONG, identifier};
use crate::ledger::Posting;
use crate::registry::Posts;
use crate::reward::WithheldReason;
use crate::{ProgramId, PurchaseId, Timestamp, UserId};

identifier!(
    /// A refund of a purchase. Unique among the refunds of that purchase, so that a repeated report has one effect.
    RefundId, LONG
);
identifier!(
    /// A dispute about a purchase. Unique among the disputes about that purchase.
    DisputeId, LONG
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

/// A part of the price, or all of it, went back to the buyer. What that takes back is in the other events of the
/// command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseRefunded {
    /// The refund.
    pub refund_id: RefundId,
    /// The part of the price, in minor units of the purchase's currency.
    pub amount_minor: i64,
    /// That currency, so that a refund can be shown without its purchase. Early events lack it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub currency_code: String,
}

/// A refund did not happen after all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RefundCancelled {
    /// The refund.
    pub refund_id: RefundId,
}

/// The buyer disputes a part of the price, or all of it. Until it is decided, what could be taken back is pending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DisputeOpened {
    /// The dispute.
    pub dispute_id: DisputeId,
    /// The part of the price, in minor units of the purchase's currency.
    pub amount_minor: i64,
}

/// Another part of the price is disputed than before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DisputeUpdated {
    /// The dispute.
    pub dispute_id: DisputeId,
    /// The part of the price, in minor units of the purchase's currency.
    pub amount_minor: i64,
}

/// A dispute was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DisputeClosed {
    /// The dispute.
    pub dispute_id: DisputeId,
    /// How.
    pub outcome: DisputeOutcome,
}

/// How a dispute ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DisputeOutcome {
    /// For the seller: nothing goes back.
    Won,
    /// The buyer gave up: nothing goes back.
    Withdrawn,
    /// For the buyer: what was disputed goes back, as with a refund.
    Lost,
}

impl DisputeOutcome {
    /// The name used in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Withdrawn => "withdrawn",
            Self::Lost => "lost",
        }
    }
}

/// An operator holds a reward: it waits until it is released.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseRewardHeld {
    /// The program.
    pub program_id: ProgramId,
    /// The reward's level.
    pub level: u32,
}

/// An operator released a reward, from an operator's hold and from the program's hold period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseRewardReleased {
    /// The program.
    pub program_id: ProgramId,
    /// The reward's level.
    pub level: u32,
}

/// The hold period of rewards ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HoldPeriodEnded {
    /// The program.
    pub program_id: ProgramId,
    /// The levels of the rewards, lowest first.
    pub levels: Vec<u32>,
}

/// A referral behind the purchase was rejected together with what it had earned, or counts again. If nothing was taken
/// back between the two, the level is what it was before: then the purchase has converted the buyer's referral.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseReferralRejected {
    /// The program.
    pub program_id: ProgramId,
    /// Rewards of this level and of those above it are taken back; absent if none are any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from_level: Option<u32>,
}

events! {
    /// What can happen to a purchase.
    PurchaseEvent {
        PurchaseRecorded = "1.0.0",
        RewardWithheld = "1.0.0",
        PurchaseMadeUp = "1.0.0",
        PurchaseRefunded = "1.0.0",
        RefundCancelled = "1.0.0",
        DisputeOpened = "1.0.0",
        DisputeUpdated = "1.0.0",
        DisputeClosed = "1.0.0",
        PurchaseRewardHeld = "1.0.0",
        PurchaseRewardReleased = "1.0.0",
        HoldPeriodEnded = "1.0.0",
        PurchaseReferralRejected = "1.0.0",
    }
}

impl Posts for PurchaseEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::PurchaseRecorded(_)
            | Self::RewardWithheld(_)
            | Self::PurchaseMadeUp(_)
            | Self::PurchaseRefunded(_)
            | Self::RefundCancelled(_)
            | Self::DisputeOpened(_)
            | Self::DisputeUpdated(_)
            | Self::DisputeClosed(_)
            | Self::PurchaseRewardHeld(_)
            | Self::PurchaseRewardReleased(_)
            | Self::HoldPeriodEnded(_)
            | Self::PurchaseReferralRejected(_) => None,
        }
    }
}
