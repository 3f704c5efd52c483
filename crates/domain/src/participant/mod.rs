//! A participant: a user in a program, with a code, perhaps a referrer, and what they earned.

mod aggregate;
mod balance;
mod commands;
mod events;
mod grants;
mod payouts;
mod referrals;
mod referring;
mod settlement;
mod spending;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ledger::{Buckets, Posting};
use super::lots::Lots;
use super::registry::State;
use super::reward::{LevelTotal, WithheldReason};
use super::rules::FirstPurchaseUse;
use super::{Halt, ParticipantId, Program, PurchaseId, Refusal, Timestamp, User, Work, load};

pub use commands::{Adjustment, Grant, ParticipantCommand};
pub use events::{
    BalanceAdjusted, BalanceExpired, BalanceForfeited, BalanceSpent, FirstPurchaseFreed,
    FirstPurchaseUsed, FlagAgainst, HoldReason, MAX_FLAGS_AGAINST, ParticipantDeactivated,
    ParticipantEnrolled, ParticipantErased, ParticipantEvent, ParticipantReactivated, PayoutPaid,
    PayoutReleased, PayoutReserved, PayoutReturned, PurchaseCredited, PurchaseReinstated,
    RefereeAddressChanged, ReferralApplied, ReferralConverted, ReferralMade, ReferralReward,
    ReferralRewardsChanged, ReferralStandingChanged, ReferralStatus, ReferralUnconverted,
    ReferralUpdated, RewardGranted, RewardMoved, RewardReversed, SpendingReturned, TierChanged,
    TierPot,
};
pub use payouts::{PayoutMove, PayoutStep};
pub use referrals::{Referral, ReferralCounts, Standing, TierReferrals};
pub use settlement::{CreditChange, RewardChange, RewardRef};
pub use spending::{RedeemedItem, Return, Spend};

/// The participant, who must exist and not be erased.
///
/// # Errors
/// A refusal that names what is missing: the program, the user, or the user in the program.
pub fn existing_participant(
    work: &mut dyn Work,
    id: &ParticipantId,
) -> Result<Arc<Participant>, Halt> {
    let participant = load::<Participant>(work, id)?;
    if participant.exists() && !participant.is_erased() {
        return Ok(participant);
    }
    let ParticipantId { program_id, user_id } = id;
    Err(if load::<Program>(work, program_id)?.current().is_none() {
        Refusal::ProgramNotFound(program_id.clone()).into()
    } else if load::<User>(work, user_id)?.exists() {
        Refusal::ParticipantNotFound(id.clone()).into()
    } else {
        Refusal::UserNotFound(user_id.clone()).into()
    })
}

/// A user in a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub struct Participant {
    code: String,
    inactive: bool,
    erased: bool,
    reactivate_time: Option<Timestamp>,
    referral: Option<Referral>,
    has_referred: bool,
    referrals: ReferralCounts,
    tier_referrals: TierReferrals,
    tier_points: i64,
    /// The version of the rules by which the latest of these points were granted; 0 if none were.
    tier_version: u32,
    tier_pot: TierPot,
    tier_pending_minor: i64,
    /// The purchase that was the first of all, and the first that was enough; none if that one stands no longer.
    first_purchase: Option<PurchaseId>,
    first_enough: Option<PurchaseId>,
    levels: Vec<LevelTotal>,
    buckets: Buckets,
    lots: Lots,
    tier: Option<String>,
    /// The items of the store of which the participant has redeemed some.
    redeemed: Vec<RedeemedItem>,
}

impl Participant {
    /// Whether the user is in the program.
    #[must_use]
    pub fn exists(&self) -> bool {
        !self.code.is_empty()
    }

    /// The participant's own code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Whether the participant can earn.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.inactive
    }

    /// Whether the participant's user was erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.erased
    }

    /// Why the participant cannot earn now; for a purchase, with its time if the caller said it.
    #[must_use]
    pub fn bar(&self, dated: Option<Timestamp>) -> Option<WithheldReason> {
        if self.inactive {
            return Some(WithheldReason::EarnerInactive);
        }
        let (dated, since) = dated.zip(self.reactivate_time)?;
        dated.is_purchase_before(since).then_some(WithheldReason::BeforeReactivation)
    }

    /// When the participant was last reactivated.
    #[must_use]
    pub fn reactivate_time(&self) -> Option<Timestamp> {
        self.reactivate_time
    }

    /// Who referred the participant.
    #[must_use]
    pub fn referral(&self) -> Option<&Referral> {
        self.referral.as_ref()
    }

    /// How many uses of the participant's code, and direct referrals, are used up.
    #[must_use]
    pub fn uses(&self) -> u32 {
        self.referrals.uses()
    }

    /// Whether the participant ever referred anybody.
    #[must_use]
    pub fn has_referred(&self) -> bool {
        self.has_referred
    }

    /// Whether the participant has made the purchase that counts as the first, under whatever rules.
    #[must_use]
    pub fn first_purchase_used(&self, used_by: FirstPurchaseUse) -> bool {
        match used_by {
            FirstPurchaseUse::AnyPurchase => {
                self.first_purchase.is_some() || self.first_enough.is_some()
            }
            FirstPurchaseUse::QualifyingPurchase => self.first_enough.is_some(),
        }
    }

    /// Whether a purchase is the participant's first of all, or the first that is enough.
    #[must_use]
    pub fn is_first_purchase(&self, is_insufficient: bool) -> bool {
        self.first_purchase.is_none() || (self.first_enough.is_none() && !is_insufficient)
    }

    /// Whether a purchase is what uses up the first one, under whatever rules.
    #[must_use]
    pub fn is_first(&self, purchase_id: &PurchaseId) -> bool {
        self.first_purchase.as_ref() == Some(purchase_id)
            || self.first_enough.as_ref() == Some(purchase_id)
    }

    /// The participant's tier, if it ever changed.
    #[must_use]
    pub fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// What the participant earned from one level.
    #[must_use]
    pub fn level(&self, level: u32) -> LevelTotal {
        self.levels
            .iter()
            .find(|total| total.level == level)
            .copied()
            .unwrap_or(LevelTotal { level, ..LevelTotal::default() })
    }

    /// What the participant earned from each level that ever paid.
    #[must_use]
    pub fn levels(&self) -> &[LevelTotal] {
        &self.levels
    }

    /// How many users the participant referred, by status of the referral.
    #[must_use]
    pub fn referrals(&self) -> ReferralCounts {
        self.referrals
    }

    /// How many of the participant's referrals count for tiers.
    #[must_use]
    pub fn tier_referrals(&self) -> TierReferrals {
        self.tier_referrals
    }

    /// The points that tiers granted the participant, in any version of the program.
    #[must_use]
    pub fn tier_points(&self) -> i64 {
        self.tier_points
    }

    /// The version of the rules by which the latest of these points were granted; 0 if none were.
    #[must_use]
    pub fn tier_version(&self) -> u32 {
        self.tier_version
    }

    /// Why points by tier wait.
    #[must_use]
    pub fn tier_pot(&self) -> TierPot {
        self.tier_pot
    }

    /// How many points by tier wait, in minor units.
    #[must_use]
    pub fn tier_pending_minor(&self) -> i64 {
        self.tier_pending_minor
    }

    /// Takes over what an event leaves that moves money and is of a type that only a newer release knows. For readers
    /// only: what else the event means is not known here, so nothing may be decided on the result.
    pub fn take_over(&mut self, posting: &Posting) {
        self.post(posting);
    }

    fn post(&mut self, posting: &Posting) {
        self.lots.post(posting);
        self.buckets = posting.after;
    }

    /// The parts of what is available that expire.
    #[must_use]
    pub fn lots(&self) -> &Lots {
        &self.lots
    }

    /// Whether a fraud flag keeps the participant's own referral from counting: one that nobody has decided about, or
    /// one by which it was rejected.
    #[must_use]
    pub fn is_flagged(&self) -> bool {
        self.referral.as_ref().is_some_and(|referral| !referral.flags.is_empty())
    }

    /// What the participant owns, and the sums that explain it.
    #[must_use]
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// The participant's balance, in minor units.
    #[must_use]
    pub fn balance_minor(&self) -> i64 {
        self.buckets.balance()
    }

    /// All rewards of the participant without those that were taken back, in minor units.
    #[must_use]
    pub fn earned_minor(&self) -> i64 {
        self.buckets.net_earned()
    }
}

impl State for Participant {
    fn user_of(id: &str) -> Option<&str> {
        id.split_once('/').map(|(_, user_id)| user_id)
    }
}
