//! What can happen to a participant.

use serde::{Deserialize, Serialize};

use crate::aggregate::events;
use crate::purchase::RewardWithheld;
use crate::rules::RewardKind;
use crate::{ProgramId, PurchaseId, Timestamp, UserId};

/// Where a referral stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReferralStatus {
    /// Made, and nothing earned yet.
    Pending,
    /// Waiting for an operator's decision.
    Held,
    /// Something was earned.
    Converted,
    /// Turned down by an operator.
    Rejected,
}

impl ReferralStatus {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Held, Self::Converted, Self::Rejected];

    /// The name, as it stands in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Converted => "converted",
            Self::Rejected => "rejected",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// A user entered a program and got a code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParticipantEnrolled {
    /// The program.
    pub program_id: ProgramId,
    /// The user.
    pub user_id: UserId,
    /// The participant's own code.
    pub code: String,
    /// The link that carries the code.
    pub link: String,
}

/// The participant was referred by somebody, for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralApplied {
    /// The program.
    pub program_id: ProgramId,
    /// The referrer.
    pub referrer_user_id: UserId,
    /// The participant.
    pub referee_user_id: UserId,
    /// Where the referral stands at first.
    pub status: ReferralStatus,
    /// When, in microseconds since 1970.
    pub referral_time_us: Timestamp,
}

/// The participant referred somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralMade {
    /// Whom.
    pub referee_user_id: UserId,
    /// How many uses of the participant's code, and direct referrals, are taken now.
    pub uses: u32,
}

/// The participant's referral counts: something was earned through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralConverted {
    /// The program.
    pub program_id: ProgramId,
    /// The referrer.
    pub referrer_user_id: UserId,
    /// The purchase that did it; absent where the referral itself earned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase_id: Option<PurchaseId>,
}

/// The participant's first purchase is behind them, and it converted nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FirstPurchaseUsed {
    /// The purchase.
    pub purchase_id: PurchaseId,
}

/// A purchase was added to the buyer's own balance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseCredited {
    /// The program.
    pub program_id: ProgramId,
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// What was added, in minor units.
    pub amount_minor: i64,
    /// The program's unit.
    pub currency_code: String,
    /// The balance after it, in minor units.
    pub balance_minor: i64,
}

/// The participant was granted a reward. Carries what explains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewardGranted {
    /// The reward.
    pub reward_id: String,
    /// The program.
    pub program_id: ProgramId,
    /// The version of its rules that decided.
    pub program_version: u32,
    /// The rule that pays.
    pub rule: String,
    /// What kind of reward.
    pub kind: RewardKind,
    /// How far up the line the earner is: 0 the buyer or referee, 1 the referrer, ...
    pub level: u32,
    /// Who earns.
    pub earner_user_id: UserId,
    /// Whose sign-up or purchase it was.
    pub source_user_id: UserId,
    /// The purchase; absent where the referral itself earned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase_id: Option<PurchaseId>,
    /// The price of the purchase, in minor units.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub basis_minor: Option<i64>,
    /// The rate, where the rule pays a share.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate_bps: Option<u32>,
    /// What the rule alone comes to, in minor units.
    pub computed_minor: i64,
    /// What was granted, in minor units: the computed amount or what was left under the cap.
    pub amount_minor: i64,
    /// The program's unit.
    pub currency_code: String,
    /// What was left under the cap before this reward, in minor units; absent without a cap.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cap_remaining_minor: Option<i64>,
    /// The earner's rewards from this level after this one, in minor units.
    pub level_total_minor: i64,
    /// The number of the earner's rewards from this level after this one.
    pub level_count: u32,
    /// All the earner's rewards after this one, in minor units.
    pub total_minor: i64,
    /// The earner's balance after this one, in minor units.
    pub balance_minor: i64,
}

/// The participant reached another tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TierChanged {
    /// The tier before.
    pub from_tier: String,
    /// The tier after.
    pub to_tier: String,
}

/// The participant's user was deactivated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParticipantDeactivated {}

/// The participant's user was reactivated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParticipantReactivated {
    /// When, in microseconds since 1970: purchases dated before it earn the participant nothing.
    pub reactivate_time_us: Timestamp,
}

events! {
    /// What can happen to a participant.
    ParticipantEvent {
        ParticipantEnrolled = "1.0.0",
        ReferralApplied = "1.0.0",
        ReferralMade = "1.0.0",
        ReferralConverted = "1.0.0",
        FirstPurchaseUsed = "1.0.0",
        PurchaseCredited = "1.0.0",
        RewardGranted = "1.0.0",
        RewardWithheld = "1.0.0",
        TierChanged = "1.0.0",
        ParticipantDeactivated = "1.0.0",
        ParticipantReactivated = "1.0.0",
    }
}
