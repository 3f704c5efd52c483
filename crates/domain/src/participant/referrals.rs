//! The referral through which a participant came, and the numbers of those that the participant made.

use serde::{Deserialize, Serialize};

use super::{
    FlagAgainst, HoldReason, ReferralApplied, ReferralMade, ReferralStandingChanged,
    ReferralStatus, ReferralUpdated,
};
use crate::rules::{EarnOn, ProgramRules};
use crate::{RewardShare, Timestamp, UserId};

/// Who referred a participant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Referral {
    /// The referrer.
    pub referrer_user_id: UserId,
    /// The status of the referral.
    pub status: ReferralStatus,
    /// Why the referral is held; empty if it is not.
    pub hold_reasons: Vec<HoldReason>,
    /// The fraud flags because of which it does not count. An undecided one holds it, unless its policy rejects; one
    /// that was released is not among them.
    pub flags: Vec<FlagAgainst>,
    /// When the referral was made.
    pub referral_time: Timestamp,
    /// When the referral was released; none if it never was.
    pub release_time: Option<Timestamp>,
    /// Whether the referrer was inactive when the referral was made or, if it was held then, released.
    pub made_while_inactive: bool,
    /// Whether the referrer could not earn when the referral converted.
    pub converted_while_inactive: bool,
    /// Whether the referral itself earned, so that no purchase can undo the conversion.
    pub converted_by_itself: bool,
    /// What it earned itself.
    pub rewards: Vec<RewardShare>,
    /// The version of the rules by which it did; 0 if it earned nothing.
    pub program_version: u32,
    /// The level from which on that is taken back, because a referral further up the line was rejected with what it
    /// had earned.
    pub rejected_from_level: Option<u32>,
}

impl Referral {
    pub(super) fn of(applied: ReferralApplied) -> Self {
        Self {
            referrer_user_id: applied.referrer_user_id,
            status: applied.status,
            hold_reasons: applied.hold_reasons,
            flags: applied.flags,
            referral_time: applied.referral_time_us,
            release_time: None,
            made_while_inactive: applied.made_while_inactive,
            converted_while_inactive: false,
            converted_by_itself: false,
            rewards: Vec::new(),
            program_version: 0,
            rejected_from_level: None,
        }
    }

    /// What keeps the referral from counting once nothing has converted it any longer.
    #[must_use]
    pub fn unconverted(&self) -> Standing {
        Standing { is_unconfirmed: false, flags: self.flags.clone() }
    }

    pub(super) fn change_standing(&mut self, changed: ReferralStandingChanged) {
        self.status = changed.status;
        self.hold_reasons = changed.hold_reasons;
        self.flags = changed.flags;
        if changed.release_time_us.is_some() {
            self.release_time = changed.release_time_us;
            self.made_while_inactive = changed.made_while_inactive;
        }
    }

    /// Whether it was rejected together with what it had earned.
    #[must_use]
    pub fn is_taken_back(&self) -> bool {
        self.status == ReferralStatus::Rejected && takes_back(&self.flags)
    }

    /// The time before which purchases earn nothing through the referral. That of the release, if the rules do not
    /// make up for purchases that were made before it.
    #[must_use]
    pub fn counts_since(&self, rules: &ProgramRules) -> Timestamp {
        let released = self.release_time.filter(|_| !rules.make_up_held_purchases);
        released.unwrap_or(self.referral_time)
    }
}

/// Whether one of the flags rejects a referral with what it had earned.
fn takes_back(flags: &[FlagAgainst]) -> bool {
    flags.iter().any(|flag| flag.rejects && flag.takes_back)
}

/// What keeps a referral from counting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it waits for the confirmation of the referee's address.
    pub is_unconfirmed: bool,
    /// The flags that hold or reject it.
    pub flags: Vec<FlagAgainst>,
}

impl Standing {
    /// The status of the referral.
    #[must_use]
    pub fn status(&self) -> ReferralStatus {
        if self.flags.iter().any(|flag| flag.rejects) {
            ReferralStatus::Rejected
        } else if self.is_unconfirmed || !self.flags.is_empty() {
            ReferralStatus::Held
        } else {
            ReferralStatus::Pending
        }
    }

    /// Whether what the referral has earned is taken back.
    #[must_use]
    pub fn takes_back(&self) -> bool {
        takes_back(&self.flags)
    }

    /// Why the referral is held, in ascending order; empty if it is not.
    #[must_use]
    pub fn hold_reasons(&self) -> Vec<HoldReason> {
        if self.status() != ReferralStatus::Held {
            return Vec::new();
        }
        let unconfirmed = self.is_unconfirmed.then_some(HoldReason::UnconfirmedEmail);
        let review = (!self.flags.is_empty()).then_some(HoldReason::Review);
        unconfirmed.into_iter().chain(review).collect()
    }
}

/// How many users a participant referred, by status of the referral. Rejected referrals are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs, reason = "the names are those of the statuses")]
pub struct ReferralCounts {
    pub pending: u32,
    pub held: u32,
    pub converted: u32,
}

impl ReferralCounts {
    /// The number that counts as referrals: pending and converted ones.
    #[must_use]
    pub fn counted(&self) -> u32 {
        self.pending.saturating_add(self.converted)
    }

    /// The number that takes a use of the code and room for a direct referral: all but rejected ones.
    #[must_use]
    pub fn uses(&self) -> u32 {
        self.counted().saturating_add(self.held)
    }

    fn of(&mut self, status: ReferralStatus) -> Option<&mut u32> {
        match status {
            ReferralStatus::Pending => Some(&mut self.pending),
            ReferralStatus::Held => Some(&mut self.held),
            ReferralStatus::Converted => Some(&mut self.converted),
            ReferralStatus::Rejected => None,
        }
    }

    fn add(&mut self, status: ReferralStatus) {
        if let Some(count) = self.of(status) {
            increase(count);
        }
    }

    fn subtract(&mut self, status: ReferralStatus) {
        if let Some(count) = self.of(status) {
            decrease(count);
        }
    }

    pub(super) fn make(&mut self, made: &ReferralMade) {
        self.add(made.status);
    }

    pub(super) fn update(&mut self, updated: &ReferralUpdated) {
        self.subtract(updated.previous_status);
        self.add(updated.status);
    }
}

/// How many of a participant's referrals count for tiers. They are counted under any rules, because later rules
/// may have tiers.
///
/// A referral that was made while the referrer was inactive never counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TierReferrals {
    /// Referrals pending or converted: they count where referrals themselves earn.
    pub made: u32,
    /// Referrals that converted when the referrer could earn: they count where purchases earn.
    pub converted: u32,
}

impl TierReferrals {
    /// The number that tiers go by.
    #[must_use]
    pub fn under(&self, earn_on: EarnOn) -> u32 {
        match earn_on {
            EarnOn::Referral => self.made,
            EarnOn::FirstPurchase { .. } | EarnOn::EveryPurchase => self.converted,
        }
    }

    pub(super) fn make(&mut self, made: &ReferralMade) {
        if !made.made_while_inactive {
            self.change(made.status, false, increase);
        }
    }

    pub(super) fn update(&mut self, updated: &ReferralUpdated) {
        if !updated.made_while_inactive {
            self.change(updated.previous_status, updated.converted_while_inactive, decrease);
            self.change(updated.status, updated.converted_while_inactive, increase);
        }
    }

    fn change(
        &mut self,
        status: ReferralStatus,
        converted_while_inactive: bool,
        change: fn(&mut u32),
    ) {
        match status {
            ReferralStatus::Pending => change(&mut self.made),
            ReferralStatus::Converted => {
                change(&mut self.made);
                if !converted_while_inactive {
                    change(&mut self.converted);
                }
            }
            ReferralStatus::Held | ReferralStatus::Rejected => {}
        }
    }
}

fn increase(count: &mut u32) {
    *count = count.saturating_add(1);
}

fn decrease(count: &mut u32) {
    *count = count.saturating_sub(1);
}
