//! What can happen to referrals.

use serde::{Deserialize, Serialize};

use super::is_false;
use crate::{FraudFlagId, PurchaseId, RewardShare, Timestamp, UserId};

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
    /// The lot in which it is: when that expires, in microseconds since 1970. Absent if it never was available, or
    /// never expires.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expire_time_us: Option<Timestamp>,
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
            lot: reward.expire_time_us,
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
            expire_time_us: share.lot,
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

/// The e-mail address of somebody whom the participant referred was changed or, if they were erased, deleted. Nothing
/// of the participant changes, but fraud checks of a sign-up compare with the addresses of the referrer's latest
/// referees: with this event, a sign-up that was decided on the address before is decided again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RefereeAddressChanged {
    /// The user who was referred.
    pub referee_user_id: UserId,
}
