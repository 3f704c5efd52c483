//! Who referred a participant and whom they referred, as decisions and as state.

use super::{
    Participant, Referral, ReferralApplied, ReferralConverted, ReferralMade, ReferralStatus,
    ReferralUnconverted, Standing,
};
use crate::{ParticipantId, PurchaseId, Refusal, Timestamp, UserId};

impl Participant {
    /// The end of a conversion; `None` if there is none to end.
    pub(super) fn unconvert(&self, purchase_id: Option<PurchaseId>) -> Option<ReferralUnconverted> {
        let converted = |referral: &&Referral| referral.status == ReferralStatus::Converted;
        let standing = self.referral.as_ref().filter(converted)?.unconverted();
        let (status, hold_reasons) = (standing.status(), standing.hold_reasons());
        Some(ReferralUnconverted { purchase_id, status, hold_reasons })
    }

    pub(super) fn apply_referral(
        &self,
        id: ParticipantId,
        referrer_user_id: UserId,
        standing: Standing,
        made_while_inactive: bool,
        now: Timestamp,
    ) -> Result<ReferralApplied, Refusal> {
        if self.referral.is_some() {
            return Err(Refusal::AlreadyReferred(id));
        }
        if referrer_user_id == id.user_id {
            return Err(Refusal::SelfReferral(referrer_user_id));
        }
        Ok(ReferralApplied {
            referrer_user_id,
            status: standing.status(),
            hold_reasons: standing.hold_reasons(),
            flags: standing.flags,
            referral_time_us: now,
            made_while_inactive,
        })
    }

    pub(super) fn make_referral(
        &self,
        user_id: UserId,
        referee_user_id: UserId,
        status: ReferralStatus,
    ) -> Result<ReferralMade, Refusal> {
        let taken = u32::from(status != ReferralStatus::Rejected);
        let uses = self.uses().checked_add(taken).ok_or(Refusal::BalanceLimitReached(user_id))?;
        Ok(ReferralMade { referee_user_id, status, uses, made_while_inactive: self.inactive })
    }

    /// Takes over that the participant's own referral earned something.
    pub(super) fn convert(&mut self, event: ReferralConverted) {
        if let Some(referral) = &mut self.referral {
            referral.status = ReferralStatus::Converted;
            referral.converted_while_inactive = event.converted_while_inactive;
            referral.converted_by_itself = event.purchase_id.is_none();
            if let Some(program_version) = event.program_version {
                referral.program_version = program_version;
                referral.rewards = event.rewards.into_iter().map(Into::into).collect();
            }
        }
        if let Some(purchase_id) = event.purchase_id {
            self.use_first(&purchase_id, false);
        }
    }

    pub(super) fn use_first(&mut self, purchase_id: &PurchaseId, is_insufficient: bool) {
        self.first_purchase.get_or_insert_with(|| purchase_id.clone());
        if !is_insufficient {
            self.first_enough.get_or_insert_with(|| purchase_id.clone());
        }
    }
}
