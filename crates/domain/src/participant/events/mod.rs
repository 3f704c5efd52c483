//! What can happen to a participant.

mod money;
mod referrals;

use serde::{Deserialize, Serialize};

use crate::PurchaseId;
use crate::code::CodeFault;
use crate::events::events;
use crate::ledger::Posting;
use crate::purchase::RewardWithheld;
use crate::registry::Posts;
use crate::time::Timestamp;

pub use money::*;
pub use referrals::*;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A user was enrolled in a program and got a code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParticipantEnrolled {
    /// The participant's own code.
    pub code: String,
    /// The link that carries the code.
    pub link: String,
    /// Why the code that was given made no referral; absent if it made one, or if none was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code_passed_over: Option<CodeFault>,
}

/// The participant made the first purchase of all, or the first one that was enough, and it converted no
/// referral. Recorded under any rules, because later rules may pay for a first purchase only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FirstPurchaseUsed {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// Whether the purchase was not enough by the rules that applied to it, or was made before the referral:
    /// only rules under which any purchase is the first go by it.
    #[serde(skip_serializing_if = "is_false", default)]
    pub is_insufficient: bool,
}

/// The participant's first purchase, or the first that was enough, stands no longer: the next one can be the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FirstPurchaseFreed {
    /// The purchase that stands no longer.
    pub purchase_id: PurchaseId,
}

/// A purchase of the participant that had ceased to earn earns again, while another one keeps the referral converted.
/// Whoever decides that no other purchase earns has read this stream, and decides again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseReinstated {
    /// The purchase.
    pub purchase_id: PurchaseId,
}

/// The participant's user was deactivated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParticipantDeactivated {}

/// The participant's user was reactivated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParticipantReactivated {
    /// When, in microseconds since 1970. Purchases dated earlier earn the participant nothing.
    pub reactivate_time_us: Timestamp,
}

/// The participant's user was erased: the participant earns nothing any more, and nobody can use their code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParticipantErased {}

events! {
    /// What can happen to a participant.
    ParticipantEvent {
        ParticipantEnrolled = "1.0.0",
        ReferralApplied = "1.0.0",
        ReferralMade = "1.0.0",
        ReferralStandingChanged = "1.0.0",
        ReferralUpdated = "1.0.0",
        ReferralConverted = "1.0.0",
        FirstPurchaseUsed = "1.0.0",
        PurchaseCredited = "1.0.0",
        RewardGranted = "1.0.0",
        RewardWithheld = "1.0.0",
        RewardReversed = "1.0.0",
        RewardMoved = "1.0.0",
        ReferralUnconverted = "1.0.0",
        ReferralRewardsChanged = "1.0.0",
        FirstPurchaseFreed = "1.0.0",
        PurchaseReinstated = "1.0.0",
        TierChanged = "1.0.0",
        RefereeAddressChanged = "1.0.0",
        ParticipantDeactivated = "1.0.0",
        ParticipantReactivated = "1.0.0",
        BalanceAdjusted = "1.0.0",
        BalanceForfeited = "1.0.0",
        BalanceExpired = "1.0.0",
        BalanceSpent = "1.0.0",
        SpendingReturned = "1.0.0",
        ParticipantErased = "1.0.0",
        PayoutReserved = "1.0.0",
        PayoutPaid = "1.0.0",
        PayoutReleased = "1.0.0",
        PayoutReturned = "1.0.0",
    }
}

impl Posts for ParticipantEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::PurchaseCredited(PurchaseCredited { posting, .. })
            | Self::RewardGranted(RewardGranted { posting, .. })
            | Self::RewardReversed(RewardReversed { posting, .. })
            | Self::RewardMoved(RewardMoved { posting, .. })
            | Self::BalanceAdjusted(BalanceAdjusted { posting, .. })
            | Self::BalanceExpired(BalanceExpired { posting })
            | Self::BalanceForfeited(BalanceForfeited { posting })
            | Self::BalanceSpent(BalanceSpent { posting, .. })
            | Self::SpendingReturned(SpendingReturned { posting, .. })
            | Self::PayoutReserved(PayoutReserved { posting, .. })
            | Self::PayoutPaid(PayoutPaid { posting, .. })
            | Self::PayoutReleased(PayoutReleased { posting, .. })
            | Self::PayoutReturned(PayoutReturned { posting, .. }) => Some(posting),
            Self::ParticipantEnrolled(_)
            | Self::ReferralApplied(_)
            | Self::ReferralMade(_)
            | Self::ReferralStandingChanged(_)
            | Self::ReferralUpdated(_)
            | Self::ReferralConverted(_)
            | Self::FirstPurchaseUsed(_)
            | Self::FirstPurchaseFreed(_)
            | Self::PurchaseReinstated(_)
            | Self::ReferralUnconverted(_)
            | Self::ReferralRewardsChanged(_)
            | Self::RewardWithheld(_)
            | Self::TierChanged(_)
            | Self::RefereeAddressChanged(_)
            | Self::ParticipantDeactivated(_)
            | Self::ParticipantReactivated(_)
            | Self::ParticipantErased(_) => None,
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
            | Self::ReferralStandingChanged(_)
            | Self::ReferralUpdated(_)
            | Self::ReferralConverted(_)
            | Self::FirstPurchaseUsed(_)
            | Self::FirstPurchaseFreed(_)
            | Self::PurchaseReinstated(_)
            | Self::ReferralUnconverted(_)
            | Self::ReferralRewardsChanged(_)
            | Self::PurchaseCredited(_)
            | Self::RewardReversed(_)
            | Self::RewardMoved(_)
            | Self::RewardWithheld(_)
            | Self::TierChanged(_)
            | Self::RefereeAddressChanged(_)
            | Self::ParticipantDeactivated(_)
            | Self::ParticipantReactivated(_)
            | Self::BalanceAdjusted(_)
            | Self::BalanceExpired(_)
            | Self::BalanceForfeited(_)
            | Self::BalanceSpent(_)
            | Self::SpendingReturned(_)
            | Self::ParticipantErased(_)
            | Self::PayoutReserved(_)
            | Self::PayoutPaid(_)
            | Self::PayoutReleased(_)
            | Self::PayoutReturned(_) => None,
        }
    }
}
