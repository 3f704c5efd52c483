//! What a participant can be told to do.

use super::{
    CreditChange, ParticipantEnrolled, PayoutMove, RefereeAddressChanged, ReferralConverted,
    ReferralReward, ReferralRewardsChanged, ReferralStandingChanged, ReferralStatus,
    ReferralUpdated, Return, RewardChange, RewardRef, Spend, Standing,
};
use crate::purchase::RewardWithheld;
use crate::reward::Quote;
use crate::rules::{Pay, RewardRule};
use crate::{AdjustmentId, ParticipantId, PurchaseId, Timestamp, UserId};

/// A computed reward, ready to be granted.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of RewardGranted")]
pub struct Grant {
    pub earner_user_id: UserId,
    pub program_version: u32,
    pub unit: String,
    pub rule: RewardRule,
    pub quote: Quote,
    pub source_user_id: UserId,
    pub purchase_id: Option<PurchaseId>,
    pub basis_minor: Option<i64>,
    pub release_time: Option<Timestamp>,
    /// The lot that the reward is in; none if it waits, or never expires.
    pub expire_time: Option<Timestamp>,
}

impl Grant {
    /// The reward as the referee's stream knows it, where the referral itself earns it.
    pub(crate) fn for_referral(&self, reward_sequence: i64) -> ReferralReward {
        let by_tier = matches!(self.rule.pay, Pay::Tiers(_));
        let waits = self.release_time.is_some() && !by_tier;
        ReferralReward {
            earner_user_id: self.earner_user_id.clone(),
            level: self.rule.level,
            amount_minor: self.quote.amount_minor,
            reward_sequence,
            reversed_minor: 0,
            pending_minor: if waits { self.quote.amount_minor } else { 0 },
            release_time_us: self.release_time,
            is_held: false,
            expire_time_us: self.expire_time,
        }
    }
}

/// A correction of the balance by a signed amount.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Adjustment {
    pub user_id: UserId,
    pub adjustment_id: AdjustmentId,
    pub reason_code: String,
    pub amount_minor: i64,
    pub unit: String,
}

/// The commands of a participant. If a refusal names the participant, the command carries the name.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum ParticipantCommand {
    Enroll {
        id: ParticipantId,
        enrolled: ParticipantEnrolled,
    },
    /// Records this referrer.
    ApplyReferral {
        id: ParticipantId,
        referrer_user_id: UserId,
        standing: Standing,
        made_while_inactive: bool,
        now: Timestamp,
    },
    /// Records this referee.
    MakeReferral {
        user_id: UserId,
        referee_user_id: UserId,
        status: ReferralStatus,
    },
    /// The participant's own referral was released or rejected, or reasons to hold it are gone.
    ChangeStanding(ReferralStandingChanged),
    /// The participant's own referral earned something.
    Convert(ReferralConverted),
    /// What becomes of the rewards that the participant's own referral earned.
    ChangeRewards(ReferralRewardsChanged),
    /// The referral of this referee changed its status.
    UpdateReferral(ReferralUpdated),
    /// The address of this referee was changed or deleted.
    NoteRefereeAddress(RefereeAddressChanged),
    /// The participant bought, although it converted nothing.
    UseFirstPurchase {
        purchase_id: PurchaseId,
        is_insufficient: bool,
    },
    CreditPurchase {
        user_id: UserId,
        purchase_id: PurchaseId,
        amount_minor: i64,
        unit: String,
    },
    Grant(Box<Grant>),
    /// A reward becomes what it is to be after a refund, a dispute or a hold.
    Settle(Box<(RewardRef, RewardChange)>),
    /// The credit for a purchase becomes what it is to be.
    SettleCredit(Box<CreditChange>),
    /// The participant's own referral is converted no longer: this purchase stands no longer or, without one, the
    /// referral was rejected with what it had earned.
    Unconvert(Option<PurchaseId>),
    /// Whatever this purchase was the first of is free again.
    FreeFirstPurchase(PurchaseId),
    /// Says that a purchase earns again while another one keeps the referral converted.
    ReinstatePurchase(PurchaseId),
    Withhold(RewardWithheld),
    /// Corrects the balance by a signed amount.
    Adjust(Adjustment),
    /// Moves money for a payout. What becomes available to somebody who was erased is forfeited at once.
    Payout(PayoutMove),
    /// Pays for an item of the store.
    Spend(Box<Spend>),
    /// Gets back what was paid for one.
    Return(Box<Return>),
    Deactivate,
    Reactivate {
        now: Timestamp,
    },
    /// What is in the lots whose time has come expires.
    Expire {
        user_id: UserId,
        unit: String,
        now: Timestamp,
    },
    /// Forfeits everything that the participant is owed, and ends their part in the program.
    Erase {
        user_id: UserId,
        unit: String,
    },
}
