//! What can happen to what a participant owns.

use serde::{Deserialize, Serialize};

use crate::ledger::Posting;
use crate::{AdjustmentId, ItemId, PayoutId, PurchaseId, RedemptionId, Timestamp, UserId};

/// A purchase was added to the buyer's own balance, a part of that was deducted again or given back, or moved between
/// the parts of the balance that are available and pending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PurchaseCredited {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// The amount that was added or moved, negative if it was deducted.
    pub posting: Posting,
}

/// The participant was granted a reward. Carries what explains the reward, and no number twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewardGranted {
    /// The version of the program's rules that was applied.
    pub program_version: u32,
    /// The rule that pays.
    pub rule: String,
    /// How far up the line the earner is: 0 the buyer or referee, 1 the referrer, ...
    pub level: u32,
    /// The user whose sign-up or purchase earned the reward.
    pub source_user_id: UserId,
    /// The purchase; absent if the referral itself earned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase_id: Option<PurchaseId>,
    /// The price of the purchase, in minor units.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub basis_minor: Option<i64>,
    /// The rate, if the rule pays a share.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate_bps: Option<u32>,
    /// The amount before the cap, in minor units; absent if it equals the granted amount.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub computed_minor: Option<i64>,
    /// What was left under the cap before this reward, in minor units; absent without a cap.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cap_remaining_minor: Option<i64>,
    /// The earner's rewards from this level after this one, in minor units; absent if the earner has none
    /// from other levels, because the posting then contains it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub level_total_minor: Option<i64>,
    /// The number of the earner's rewards from this level after this one.
    pub level_count: u32,
    /// How many referrals the tiers went by, this one included; absent if no tiers pay.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tier_referrals: Option<u32>,
    /// When the reward becomes available, if it is pending until then because the program holds rewards for some days;
    /// in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release_time_us: Option<Timestamp>,
    /// The granted amount: the computed amount, or what was left under the cap.
    pub posting: Posting,
}

impl RewardGranted {
    /// The part that is pending; points by tier are pending together.
    #[must_use]
    pub fn pending_minor(&self) -> i64 {
        if self.tier_referrals.is_some() { 0 } else { self.posting.pending_change() }
    }

    /// The amount before the cap, in minor units.
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

/// How the points by tier of a participant wait. They are pending together: a tier goes by the number of referrals, so
/// that what a single one brought is not a fixed amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TierPot {
    /// How many of the counted referrals would be undone if every open dispute were lost.
    pub disputed: u32,
    /// The rewards that are held, in minor units.
    pub held_minor: i64,
}

/// A reward, or a part of it, was taken back or, if the amount is above zero, given back again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewardReversed {
    /// The version of the program's rules by which the reward was granted.
    pub program_version: u32,
    /// The rule that had paid.
    pub rule: String,
    /// How far up the line the earner is: 0 the buyer or referee, 1 the referrer, ...
    pub level: u32,
    /// The user whose sign-up or purchase had earned the reward.
    pub source_user_id: UserId,
    /// The purchase; absent if the referral itself had earned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase_id: Option<PurchaseId>,
    /// The sequence of the reward on this stream.
    pub reward_sequence: i64,
    /// The earner's rewards from this level after this one, in minor units; absent if the earner has none from other
    /// levels, because the posting then contains it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub level_total_minor: Option<i64>,
    /// How the earner's points by tier wait afterwards; absent if no tiers had paid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tier_pot: Option<TierPot>,
    /// The amount, negative if it was taken back.
    pub posting: Posting,
}

impl RewardReversed {
    /// The earner's rewards from this level after this one, in minor units.
    #[must_use]
    pub fn level_total_minor(&self) -> i64 {
        self.level_total_minor.unwrap_or(self.posting.after.net_earned())
    }

    /// The change of what is pending of this reward; points by tier are pending together.
    #[must_use]
    pub fn pending_change_minor(&self) -> i64 {
        if self.tier_pot.is_some() { 0 } else { self.posting.pending_change() }
    }
}

/// A reward, or a part of it, waits from now on, or waits no longer: a transfer between the parts of the balance that
/// are available and pending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewardMoved {
    /// The version of the program's rules by which the reward was granted.
    pub program_version: u32,
    /// The rule that had paid.
    pub rule: String,
    /// How far up the line the earner is: 0 the buyer or referee, 1 the referrer, ...
    pub level: u32,
    /// The user whose sign-up or purchase had earned the reward.
    pub source_user_id: UserId,
    /// The purchase; absent if the referral itself had earned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase_id: Option<PurchaseId>,
    /// The sequence of the reward on this stream; absent for points by tier that wait because of the reward before this
    /// event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reward_sequence: Option<i64>,
    /// How the earner's points by tier wait afterwards; absent if no tiers had paid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tier_pot: Option<TierPot>,
    /// The transfer. Its amount can be zero where only the reason changes why points by tier wait.
    pub posting: Posting,
}

impl RewardMoved {
    /// The change of what is pending of this reward; points by tier are pending together.
    #[must_use]
    pub fn pending_change_minor(&self) -> i64 {
        if self.tier_pot.is_some() { 0 } else { self.posting.pending_change() }
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

/// An operator corrected the balance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BalanceAdjusted {
    /// The adjustment, as whoever asked for it named it.
    pub adjustment_id: AdjustmentId,
    /// Why.
    pub reason_code: String,
    /// The signed amount.
    pub posting: Posting,
}

/// What was in a lot was not used in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BalanceExpired {
    /// The amount that is lost, and the lot.
    pub posting: Posting,
}

/// What the participant was owed is forfeited, because their user is being erased. One event for each part of the
/// balance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BalanceForfeited {
    /// The amount that is lost.
    pub posting: Posting,
}

/// A part of the balance is set aside for a payout: from available to reserved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutReserved {
    /// The payout.
    pub payout_id: PayoutId,
    /// The transfer.
    pub posting: Posting,
}

/// What was set aside for a payout was paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutPaid {
    /// The payout.
    pub payout_id: PayoutId,
    /// The amount, negative.
    pub posting: Posting,
}

/// What was set aside for a payout was not paid: from reserved to available.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutReleased {
    /// The payout.
    pub payout_id: PayoutId,
    /// The transfer.
    pub posting: Posting,
}

/// What was paid by a payout came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PayoutReturned {
    /// The payout.
    pub payout_id: PayoutId,
    /// The amount.
    pub posting: Posting,
}

/// The participant paid for an item of the store. One event for each part that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BalanceSpent {
    /// The redemption.
    pub redemption_id: RedemptionId,
    /// The item.
    pub item_id: ItemId,
    /// How many pieces of the item the participant has redeemed with this one.
    pub item_count: u32,
    /// The amount.
    pub posting: Posting,
}

/// A redemption was cancelled, and the participant got back what they had paid. One event for each part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SpendingReturned {
    /// The redemption.
    pub redemption_id: RedemptionId,
    /// The item.
    pub item_id: ItemId,
    /// How many pieces of the item the participant has redeemed without this one.
    pub item_count: u32,
    /// The amount.
    pub posting: Posting,
}
