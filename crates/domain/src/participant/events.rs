//! What can happen to a participant.

use serde::{Deserialize, Serialize};

use crate::events::events;
use crate::ledger::Posting;
use crate::purchase::RewardWithheld;
use crate::registry::Posts;
use crate::{PurchaseId, Timestamp, UserId};

/// Where a referral stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReferralStatus {
    /// Made, and nothing earned yet.
    #[default]
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

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    fn is_pending(&self) -> bool {
        *self == Self::Pending
    }

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
    /// The participant's own code.
    pub code: String,
    /// The link that carries the code.
    pub link: String,
}

/// The participant was referred by somebody, for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralApplied {
    /// The referrer.
    pub referrer_user_id: UserId,
    /// Where the referral stands at first; `pending` if it is left out.
    #[serde(skip_serializing_if = "ReferralStatus::is_pending", default)]
    pub status: ReferralStatus,
    /// When, in microseconds since 1970.
    pub referral_time_us: Timestamp,
}

/// The participant referred somebody: the other end of [`ReferralApplied`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralMade {
    /// Whom.
    pub referee_user_id: UserId,
    /// Where the referral stands at first; `pending` if it is left out.
    #[serde(skip_serializing_if = "ReferralStatus::is_pending", default)]
    pub status: ReferralStatus,
    /// How many uses of the participant's code, and direct referrals, are taken now.
    pub uses: u32,
}

/// A referral that the participant made changed: the other end of what happened to the referee.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralUpdated {
    /// Who was referred.
    pub referee_user_id: UserId,
    /// Where the referral stood.
    pub previous_status: ReferralStatus,
    /// Where it stands.
    pub status: ReferralStatus,
}

/// The participant's referral counts: something was earned through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralConverted {
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
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// What was added.
    pub posting: Posting,
}

/// The participant was granted a reward. Carries what explains it, and no number twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewardGranted {
    /// The version of the program's rules that decided.
    pub program_version: u32,
    /// The rule that pays.
    pub rule: String,
    /// How far up the line the earner is: 0 the buyer or referee, 1 the referrer, ...
    pub level: u32,
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
    /// What the rule alone comes to, in minor units; absent if that was granted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub computed_minor: Option<i64>,
    /// What was left under the cap before this reward, in minor units; absent without a cap.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cap_remaining_minor: Option<i64>,
    /// The earner's rewards from this level after this one, in minor units; absent if the earner has none
    /// from other levels, so that the posting says it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub level_total_minor: Option<i64>,
    /// The number of the earner's rewards from this level after this one.
    pub level_count: u32,
    /// What was granted: the computed amount, or what was left under the cap.
    pub posting: Posting,
}

impl RewardGranted {
    /// What the rule alone comes to, in minor units.
    #[must_use]
    pub fn computed_minor(&self) -> i64 {
        self.computed_minor.unwrap_or(self.posting.amount)
    }

    /// The earner's rewards from this level after this one, in minor units.
    #[must_use]
    pub fn level_total_minor(&self) -> i64 {
        self.level_total_minor.unwrap_or(self.posting.after.net_earned())
    }
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
        ReferralUpdated = "1.0.0",
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

impl Posts for ParticipantEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::PurchaseCredited(PurchaseCredited { posting, .. })
            | Self::RewardGranted(RewardGranted { posting, .. }) => Some(posting),
            Self::ParticipantEnrolled(_)
            | Self::ReferralApplied(_)
            | Self::ReferralMade(_)
            | Self::ReferralUpdated(_)
            | Self::ReferralConverted(_)
            | Self::FirstPurchaseUsed(_)
            | Self::RewardWithheld(_)
            | Self::TierChanged(_)
            | Self::ParticipantDeactivated(_)
            | Self::ParticipantReactivated(_) => None,
        }
    }
}

impl ParticipantEvent {
    /// The reward, if the event grants one.
    #[must_use]
    pub fn granted(self) -> Option<RewardGranted> {
        match self {
            Self::RewardGranted(granted) => Some(granted),
            Self::ParticipantEnrolled(_)
            | Self::ReferralApplied(_)
            | Self::ReferralMade(_)
            | Self::ReferralUpdated(_)
            | Self::ReferralConverted(_)
            | Self::FirstPurchaseUsed(_)
            | Self::PurchaseCredited(_)
            | Self::RewardWithheld(_)
            | Self::TierChanged(_)
            | Self::ParticipantDeactivated(_)
            | Self::ParticipantReactivated(_) => None,
        }
    }
}
