//! What can happen to a participant.

use serde::{Deserialize, Serialize};

use crate::code::CodeFault;
use crate::events::events;
use crate::ledger::Posting;
use crate::purchase::RewardWithheld;
use crate::registry::Posts;
use crate::{AdjustmentId, FraudFlagId, PurchaseId, RewardShare, Timestamp, UserId};

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The status of a referral.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReferralStatus {
    /// Made; nothing has been earned through it yet.
    #[default]
    Pending,
    /// Does not count yet, for one or more reasons; see [`HoldReason`].
    Held,
    /// Something was earned through it.
    Converted,
    /// Turned down.
    Rejected,
}

/// Why a referral is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// The program demands a confirmed address, and the referee has not confirmed theirs.
    UnconfirmedEmail,
    /// Somebody must decide whether the referral counts.
    Review,
}

impl HoldReason {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::UnconfirmedEmail, Self::Review];

    /// The name used in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnconfirmedEmail => "unconfirmed_email",
            Self::Review => "review",
        }
    }

    /// The reason with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl ReferralStatus {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Held, Self::Converted, Self::Rejected];

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    fn is_pending(&self) -> bool {
        *self == Self::Pending
    }

    /// The name used in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Converted => "converted",
            Self::Rejected => "rejected",
        }
    }

    /// The status with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
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

/// A fraud flag because of which a referral does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlagAgainst {
    /// The flag.
    pub flag_id: FraudFlagId,
    /// Whether it rejects the referral, instead of holding it.
    pub rejects: bool,
    /// Whether what the referral had earned is taken back, too.
    #[serde(default)]
    pub takes_back: bool,
}

/// While so many flags are against a referral, a purchase adds none. Decisions of operators can add more.
pub const MAX_FLAGS_AGAINST: usize = 16;

/// The participant got a referrer, permanently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralApplied {
    /// The referrer.
    pub referrer_user_id: UserId,
    /// The initial status of the referral; `pending` if omitted.
    #[serde(skip_serializing_if = "ReferralStatus::is_pending", default)]
    pub status: ReferralStatus,
    /// Why the referral is held, each reason once; absent if it is not.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hold_reasons: Vec<HoldReason>,
    /// The fraud flags because of which it does not count; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub flags: Vec<FlagAgainst>,
    /// When, in microseconds since 1970.
    pub referral_time_us: Timestamp,
    /// Whether the referrer was inactive, so that the referral never counts for tiers.
    #[serde(skip_serializing_if = "is_false", default)]
    pub made_while_inactive: bool,
}

/// The participant referred somebody: the referrer's side of [`ReferralApplied`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralMade {
    /// The user who was referred.
    pub referee_user_id: UserId,
    /// The initial status of the referral; `pending` if omitted.
    #[serde(skip_serializing_if = "ReferralStatus::is_pending", default)]
    pub status: ReferralStatus,
    /// How many uses of the participant's code, and direct referrals, are now used up.
    pub uses: u32,
    /// Whether the participant was inactive, so that the referral never counts for tiers.
    #[serde(skip_serializing_if = "is_false", default)]
    pub made_while_inactive: bool,
}

/// The participant's referral was released, or some of the reasons why it is held are gone, or it was rejected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralStandingChanged {
    /// The status after: `pending` if the referral was released, `held` or `rejected`; `converted` if only the flags of
    /// a converted referral change.
    pub status: ReferralStatus,
    /// Why the referral is still held; absent if it is not.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hold_reasons: Vec<HoldReason>,
    /// The fraud flags because of which it does not count; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub flags: Vec<FlagAgainst>,
    /// When the referral was released, in microseconds since 1970; absent if it was not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release_time_us: Option<Timestamp>,
    /// Whether the referrer was inactive at the release, so that the referral never counts for tiers.
    #[serde(skip_serializing_if = "is_false", default)]
    pub made_while_inactive: bool,
    /// Whether what was earned through the referral may have to be taken back or given back, which is done afterwards,
    /// purchase by purchase.
    #[serde(skip_serializing_if = "is_false", default)]
    pub settles_purchases: bool,
}

/// A referral that the participant made changed its status: the referrer's side of the referee's event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralUpdated {
    /// The user who was referred.
    pub referee_user_id: UserId,
    /// The status before.
    pub previous_status: ReferralStatus,
    /// The status after.
    pub status: ReferralStatus,
    /// Whether the participant was inactive when the referral was made or, if it was held then, released.
    #[serde(skip_serializing_if = "is_false", default)]
    pub made_while_inactive: bool,
    /// Whether the participant could not earn when the referral converted: they were inactive, or the purchase
    /// is dated before their reactivation.
    #[serde(skip_serializing_if = "is_false", default)]
    pub converted_while_inactive: bool,
}

/// A reward that a referral itself earned, as the referee's stream knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralReward {
    /// Who earned.
    pub earner_user_id: UserId,
    /// How far up the line from the referee.
    pub level: u32,
    /// What was granted, in minor units.
    pub amount_minor: i64,
    /// The sequence of the reward on the earner's stream.
    pub reward_sequence: i64,
    /// What was taken back, in minor units.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub reversed_minor: i64,
    /// The part that is pending, in minor units; not counted for points by tier, which are pending together.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub pending_minor: i64,
    /// When the program's hold period ends, if the reward waits for that; in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release_time_us: Option<Timestamp>,
    /// Whether an operator holds it.
    #[serde(skip_serializing_if = "is_false", default)]
    pub is_held: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

impl From<ReferralReward> for RewardShare {
    fn from(reward: ReferralReward) -> Self {
        Self {
            earner_user_id: reward.earner_user_id,
            level: reward.level,
            amount_minor: reward.amount_minor,
            sequence: reward.reward_sequence,
            reversed_minor: reward.reversed_minor,
            pending_minor: reward.pending_minor,
            release_time: reward.release_time_us,
            is_held: reward.is_held,
        }
    }
}

impl From<RewardShare> for ReferralReward {
    fn from(share: RewardShare) -> Self {
        Self {
            earner_user_id: share.earner_user_id,
            level: share.level,
            amount_minor: share.amount_minor,
            reward_sequence: share.sequence,
            reversed_minor: share.reversed_minor,
            pending_minor: share.pending_minor,
            release_time_us: share.release_time,
            is_held: share.is_held,
        }
    }
}

/// What becomes of the rewards that the participant's referral itself earned has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralRewardsChanged {
    /// All of them, as they are now.
    pub rewards: Vec<ReferralReward>,
    /// Rewards of this level and of those above it are taken back, because a referral further up the line was rejected
    /// with what it had earned; absent if none are.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rejected_from_level: Option<u32>,
}

/// The participant's referral counts: something was earned through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralConverted {
    /// The purchase that converted the referral; absent if the referral itself earned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase_id: Option<PurchaseId>,
    /// Whether the referrer could not earn: they were inactive, or the purchase is dated before their
    /// reactivation.
    #[serde(skip_serializing_if = "is_false", default)]
    pub converted_while_inactive: bool,
    /// The version of the program's rules by which the referral itself earned; absent if a purchase did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub program_version: Option<u32>,
    /// What the referral itself earned; absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rewards: Vec<ReferralReward>,
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

/// The participant's referral is converted no longer: no purchase that earned something through it stands, or the
/// referral was rejected with what it had earned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralUnconverted {
    /// The purchase that stands no longer; absent if the referral was rejected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase_id: Option<PurchaseId>,
    /// The status after, which follows from the flags against the referral; `pending` if omitted.
    #[serde(skip_serializing_if = "ReferralStatus::is_pending", default)]
    pub status: ReferralStatus,
    /// Why the referral is held, each reason once; absent if it is not.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hold_reasons: Vec<HoldReason>,
}

/// The participant's first purchase, or the first that was enough, stands no longer: the next one can be the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FirstPurchaseFreed {
    /// The purchase that stands no longer.
    pub purchase_id: PurchaseId,
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

/// The participant reached another tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TierChanged {
    /// The tier before.
    pub from_tier: String,
    /// The tier after.
    pub to_tier: String,
}

/// The e-mail address of somebody whom the participant referred was changed or, if they were erased, deleted. Nothing
/// of the participant changes, but fraud checks of a sign-up compare with the addresses of the referrer's latest
/// referees: with this event, a sign-up that was decided on the address before is decided again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RefereeAddressChanged {
    /// The user who was referred.
    pub referee_user_id: UserId,
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

/// What the participant was owed is forfeited, because their user is being erased. One event for each part of the
/// balance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BalanceForfeited {
    /// The amount that is lost.
    pub posting: Posting,
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
        TierChanged = "1.0.0",
        RefereeAddressChanged = "1.0.0",
        ParticipantDeactivated = "1.0.0",
        ParticipantReactivated = "1.0.0",
        BalanceAdjusted = "1.0.0",
        BalanceForfeited = "1.0.0",
        ParticipantErased = "1.0.0",
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
            | Self::BalanceForfeited(BalanceForfeited { posting }) => Some(posting),
            Self::ParticipantEnrolled(_)
            | Self::ReferralApplied(_)
            | Self::ReferralMade(_)
            | Self::ReferralStandingChanged(_)
            | Self::ReferralUpdated(_)
            | Self::ReferralConverted(_)
            | Self::FirstPurchaseUsed(_)
            | Self::FirstPurchaseFreed(_)
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
            | Self::BalanceForfeited(_)
            | Self::ParticipantErased(_) => None,
        }
    }
}
