//! The fraud checks of a program, as data. What follows from them is decided in `verdict.rs`.

use serde::{Deserialize, Serialize};

use super::{FlagKind, LATEST_REFEREES};
use crate::rules::{Fault, Faults};
use crate::similarity::ONE;
use crate::{MAX_SIGN_UPS_PER_ADDRESS, Timestamp};

/// The longest time over which the sign-ups of an IP address can be counted: 30 days.
pub const MAX_WINDOW_HOURS: u32 = 30 * 24;
/// The time over which referrals of one referrer are counted.
pub const BURST_WINDOW_HOURS: u32 = 1;
/// The lowest similarity of whole addresses that a program can ask for. Below it nearly all addresses of one
/// provider are alike: of `ada@example.com`, four fifths are the domain.
pub const MIN_SIMILARITY_BPS: u32 = 5_000;

/// What follows from a finding. A harder consequence is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FraudPolicy {
    /// The referral is made as any other, and flagged for review.
    Flag,
    /// The referral is held until an operator decides.
    Hold,
    /// The referral is rejected; the account stands. Too many sign-ups of one IP address: the sign-up is refused.
    Reject,
}

/// A check without a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FraudCheck {
    /// What follows.
    pub policy: FraudPolicy,
}

/// Sign-ups from one IP address: an IPv4 address, or the /64 network of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SignUpsPerAddress {
    /// How many sign-ups of the program are in order; the next one is one too many.
    pub max_sign_ups: u32,
    /// The length of the rolling window, in hours.
    pub window_hours: u32,
    /// What follows.
    pub policy: FraudPolicy,
}

impl SignUpsPerAddress {
    /// Whether another sign-up is one too many, after so many within the window.
    #[must_use]
    pub fn is_exceeded(&self, sign_ups_before: u32) -> bool {
        sign_ups_before >= self.max_sign_ups
    }

    /// After when a sign-up must have been made in order to count.
    #[must_use]
    pub fn window_start(&self, now: Timestamp) -> Timestamp {
        now.plus_seconds(-i64::from(self.window_hours) * 60 * 60)
    }

    /// Whether another sign-up is refused as a whole.
    #[must_use]
    pub fn refuses(&self, sign_ups_before: u32) -> bool {
        self.policy == FraudPolicy::Reject && self.is_exceeded(sign_ups_before)
    }
}

impl Default for SignUpsPerAddress {
    fn default() -> Self {
        Self { max_sign_ups: 5, window_hours: 24, policy: FraudPolicy::Reject }
    }
}

/// An address that is similar to the referrer's, or to that of one of the referrer's latest referees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SimilarAddress {
    /// From which similarity of the whole addresses, inclusive, in ten-thousandths.
    pub min_similarity_bps: u32,
    /// From which similarity of the parts before the `@`, inclusive, in ten-thousandths. Both must be reached.
    pub min_local_part_similarity_bps: u32,
    /// What follows.
    pub policy: FraudPolicy,
}

impl Default for SimilarAddress {
    fn default() -> Self {
        Self {
            min_similarity_bps: 8_500,
            min_local_part_similarity_bps: 7_000,
            policy: FraudPolicy::Hold,
        }
    }
}

/// Many referrals by one referrer within an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReferralBurst {
    /// How many referrals within an hour are in order; the next one is one too many.
    pub max_referrals_per_hour: u32,
    /// What follows.
    pub policy: FraudPolicy,
}

impl ReferralBurst {
    /// Whether another referral is one too many, after so many within the last hour.
    #[must_use]
    pub fn is_exceeded(&self, referrals_before: u32) -> bool {
        referrals_before >= self.max_referrals_per_hour
    }
}

impl Default for ReferralBurst {
    fn default() -> Self {
        Self { max_referrals_per_hour: 20, policy: FraudPolicy::Hold }
    }
}

/// The fraud checks of a program. A check that is absent is off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FraudChecks {
    /// Too many sign-ups from one IP address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sign_ups_per_address: Option<SignUpsPerAddress>,
    /// Another user has the same mailbox.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub same_mailbox: Option<FraudCheck>,
    /// Another user's mailbox looks the same.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub look_alike: Option<FraudCheck>,
    /// The address is similar to the referrer's, or to that of one of the latest referees.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub similar_address: Option<SimilarAddress>,
    /// Another user came with the same device or paid by the same means.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fingerprint: Option<FraudCheck>,
    /// The referrer was referred by the referee in another program.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mutual_referral: Option<FraudCheck>,
    /// Too many referrals of the referrer within an hour.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub referral_burst: Option<ReferralBurst>,
    /// The address is of a provider of disposable addresses.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disposable_domain: Option<FraudCheck>,
}

impl FraudChecks {
    /// All checks, with the defaults.
    #[must_use]
    pub fn all() -> Self {
        Self {
            sign_ups_per_address: Some(SignUpsPerAddress::default()),
            same_mailbox: Some(FraudCheck { policy: Self::SAME_MAILBOX }),
            look_alike: Some(FraudCheck { policy: Self::LOOK_ALIKE }),
            similar_address: Some(SimilarAddress::default()),
            fingerprint: Some(FraudCheck { policy: Self::FINGERPRINT }),
            mutual_referral: Some(FraudCheck { policy: Self::MUTUAL_REFERRAL }),
            referral_burst: Some(ReferralBurst::default()),
            disposable_domain: Some(FraudCheck { policy: Self::DISPOSABLE_DOMAIN }),
        }
    }

    /// The policy of `same_mailbox` where a program does not say.
    pub const SAME_MAILBOX: FraudPolicy = FraudPolicy::Reject;
    /// The policy of `look_alike` where a program does not say.
    pub const LOOK_ALIKE: FraudPolicy = FraudPolicy::Hold;
    /// The policy of `fingerprint` where a program does not say.
    pub const FINGERPRINT: FraudPolicy = FraudPolicy::Hold;
    /// The policy of `mutual_referral` where a program does not say.
    pub const MUTUAL_REFERRAL: FraudPolicy = FraudPolicy::Flag;
    /// The policy of `disposable_domain` where a program does not say.
    pub const DISPOSABLE_DOMAIN: FraudPolicy = FraudPolicy::Flag;

    /// Whether every check is off.
    #[must_use]
    pub fn are_off(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the check that finds this is on.
    #[must_use]
    pub fn finds(&self, kind: FlagKind) -> bool {
        match kind {
            FlagKind::SameMailbox => self.same_mailbox.is_some(),
            FlagKind::LookAlike => self.look_alike.is_some(),
            FlagKind::SelfReferral | FlagKind::NearDuplicate => self.similar_address.is_some(),
            FlagKind::Fingerprint => self.fingerprint.is_some(),
            FlagKind::MutualReferral => self.mutual_referral.is_some(),
            FlagKind::ReferralBurst => self.referral_burst.is_some(),
            FlagKind::SignUpsPerAddress => self.sign_ups_per_address.is_some(),
            FlagKind::DisposableDomain => self.disposable_domain.is_some(),
        }
    }

    /// Everything that is wrong with the thresholds; fields are paths such as
    /// `fraud_checks.similar_address.min_similarity_bps`.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        self.check(&mut faults);
        faults.into_vec()
    }

    /// Records everything that is wrong with the thresholds.
    pub(crate) fn check(&self, faults: &mut Faults) {
        if let Some(check) = &self.sign_ups_per_address {
            faults.unless(
                (1..=MAX_SIGN_UPS_PER_ADDRESS).contains(&check.max_sign_ups),
                "fraud_checks.sign_ups_per_address.max_sign_ups",
                format!("must be 1 to {MAX_SIGN_UPS_PER_ADDRESS}"),
            );
            faults.unless(
                (1..=MAX_WINDOW_HOURS).contains(&check.window_hours),
                "fraud_checks.sign_ups_per_address.window_hours",
                format!("must be 1 to {MAX_WINDOW_HOURS} hours"),
            );
        }
        if let Some(check) = &self.similar_address {
            faults.unless(
                (MIN_SIMILARITY_BPS..=ONE).contains(&check.min_similarity_bps),
                "fraud_checks.similar_address.min_similarity_bps",
                format!("must be {MIN_SIMILARITY_BPS} to {ONE} ten-thousandths (85 % is 8500)"),
            );
            faults.unless(
                check.min_local_part_similarity_bps <= ONE,
                "fraud_checks.similar_address.min_local_part_similarity_bps",
                format!("must be 0 to {ONE} ten-thousandths (70 % is 7000)"),
            );
        }
        if let Some(check) = &self.referral_burst {
            faults.unless(
                (1..=LATEST_REFEREES).contains(&(check.max_referrals_per_hour as usize)),
                "fraud_checks.referral_burst.max_referrals_per_hour",
                format!("must be 1 to {LATEST_REFEREES}"),
            );
        }
    }
}
