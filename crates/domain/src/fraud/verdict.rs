//! From what was found out about a referral to at most one flag.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Address, FraudChecks, FraudPolicy};
use crate::similarity::{ONE, Similarity};
use crate::{LatestReferee, Personal, UserId};

/// How many of the referrer's latest referees an address is compared with.
pub const LATEST_REFEREES: usize = 100;
/// The score of a finding that is exact: a key, a count, a list.
pub const EXACT_BPS: u32 = ONE;

/// The kinds of findings, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FlagKind {
    /// Another user has the same mailbox.
    SameMailbox,
    /// The address is similar to the referrer's.
    SelfReferral,
    /// Another user's mailbox looks the same.
    LookAlike,
    /// The address is similar to that of one of the referrer's latest referees.
    NearDuplicate,
    /// Another user came with the same device or paid by the same means.
    Fingerprint,
    /// The referrer was referred by the referee in another program.
    MutualReferral,
    /// Too many referrals of the referrer within an hour.
    ReferralBurst,
    /// Too many sign-ups from one IP address.
    SignUpsPerAddress,
    /// The address is of a provider of disposable addresses.
    DisposableDomain,
}

impl FlagKind {
    /// Every kind, the gravest first.
    pub const ALL: [Self; 9] = [
        Self::SameMailbox,
        Self::SelfReferral,
        Self::LookAlike,
        Self::NearDuplicate,
        Self::Fingerprint,
        Self::MutualReferral,
        Self::ReferralBurst,
        Self::SignUpsPerAddress,
        Self::DisposableDomain,
    ];

    /// The kind in lower case, as in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SameMailbox => "same_mailbox",
            Self::SelfReferral => "self_referral",
            Self::LookAlike => "look_alike",
            Self::NearDuplicate => "near_duplicate",
            Self::Fingerprint => "fingerprint",
            Self::MutualReferral => "mutual_referral",
            Self::ReferralBurst => "referral_burst",
            Self::SignUpsPerAddress => "sign_ups_per_address",
            Self::DisposableDomain => "disposable_domain",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What checks are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// A referral is about to be made.
    Referral,
    /// The referee of a referral has bought something, with a fingerprint.
    Purchase,
    /// The referee of a referral has changed their address: it is flagged at most.
    AddressChange,
    /// A sign-up was refused.
    RefusedSignUp,
}

impl Occasion {
    /// The name used in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Referral => "referral",
            Self::Purchase => "purchase",
            Self::AddressChange => "address_change",
            Self::RefusedSignUp => "refused_sign_up",
        }
    }
}

/// What was found out about a referral, without any judgement. What was not looked up is absent, and finds nothing.
#[derive(Clone, Debug)]
pub struct Signals<'a> {
    /// Who is referred.
    pub referee_user_id: &'a UserId,
    /// The referee's address.
    pub address: Option<&'a Address>,
    /// Who refers.
    pub referrer_user_id: &'a UserId,
    /// The referrer's address, in the form in which addresses are compared.
    pub referrer_address: Option<&'a Personal>,
    /// The referrer's latest referees, at most [`LATEST_REFEREES`].
    pub latest_referees: &'a [Arc<LatestReferee>],
    /// Who had the referee's mailbox first.
    pub mailbox_owner: Option<&'a UserId>,
    /// Who had a mailbox first that looks the same.
    pub look_alike_owner: Option<&'a UserId>,
    /// Who came with the referee's fingerprints.
    pub fingerprint_owners: &'a [UserId],
    /// Whether the referee refers the referrer in another program.
    pub is_mutual: bool,
    /// The referrals that the referrer has made within the last hour, without this one.
    pub referrals_within_hour: u32,
    /// The sign-ups of the program from the same IP address within the window, without this one. Absent if no
    /// sign-up is judged, or its IP address is unknown.
    pub sign_ups_from_address: Option<u32>,
    /// Whether the referee's address is of a provider of disposable addresses.
    pub has_disposable_domain: bool,
    /// Users with whom the referee is not flagged: an operator has cleared the two, or the user was erased.
    pub cleared: &'a BTreeSet<UserId>,
}

impl<'a> Signals<'a> {
    /// The signals of a referral about which nothing has been found out.
    #[must_use]
    pub fn none(
        referee_user_id: &'a UserId,
        referrer_user_id: &'a UserId,
        cleared: &'a BTreeSet<UserId>,
    ) -> Self {
        Self {
            referee_user_id,
            address: None,
            referrer_user_id,
            referrer_address: None,
            latest_referees: &[],
            mailbox_owner: None,
            look_alike_owner: None,
            fingerprint_owners: &[],
            is_mutual: false,
            referrals_within_hour: 0,
            sign_ups_from_address: None,
            has_disposable_domain: false,
            cleared,
        }
    }
}

/// One finding of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub kind: FlagKind,
    /// How strong it is, in ten-thousandths: the similarity of two addresses, or [`EXACT_BPS`].
    pub score_bps: u32,
    /// With whom; `None` if nobody else is concerned.
    pub other_user_id: Option<UserId>,
    /// What the program wants to follow from it.
    pub policy: FraudPolicy,
}

/// The one flag of a referral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The gravest finding, of its kind the one with the best score.
    pub gravest: Finding,
    /// What follows: the hardest consequence of all findings.
    pub consequence: FraudPolicy,
    /// All other findings, the gravest first.
    pub evidence: Vec<Finding>,
}

/// The flag that a referral gets; `None` if it is in order.
///
/// Every check that is on is made, whatever the others find. The gravest finding gives the flag its kind, and the
/// hardest policy of all findings is the consequence. A finding with a user who is in `cleared` does not count.
#[must_use]
pub fn judge(checks: &FraudChecks, signals: &Signals<'_>, occasion: Occasion) -> Option<Flag> {
    let mut findings = Vec::new();
    find_exact_keys(checks, signals, &mut findings);
    find_similar_addresses(checks, signals, &mut findings);
    find_counts(checks, signals, &mut findings);
    findings.retain(|finding| counts(finding, signals));
    // Stable: of equal findings the one that was made first stays first.
    findings.sort_by_key(|finding| (finding.kind, std::cmp::Reverse(finding.score_bps)));
    let hardest = findings.iter().map(|finding| finding.policy).max()?;
    let mut findings = findings.into_iter();
    Some(Flag {
        gravest: findings.next()?,
        consequence: match occasion {
            Occasion::Referral | Occasion::Purchase | Occasion::RefusedSignUp => hardest,
            Occasion::AddressChange => FraudPolicy::Flag,
        },
        evidence: findings.collect(),
    })
}

/// Nobody is flagged with themselves, nor with a user who is cleared.
fn counts(finding: &Finding, signals: &Signals<'_>) -> bool {
    finding
        .other_user_id
        .as_ref()
        .is_none_or(|other| other != signals.referee_user_id && !signals.cleared.contains(other))
}

fn exact(kind: FlagKind, policy: FraudPolicy, other_user_id: Option<&UserId>) -> Finding {
    Finding { kind, score_bps: EXACT_BPS, other_user_id: other_user_id.cloned(), policy }
}

fn find_exact_keys(checks: &FraudChecks, signals: &Signals<'_>, findings: &mut Vec<Finding>) {
    let mut find = |kind, check: Option<super::FraudCheck>, owner: Option<&UserId>| {
        if let Some((check, owner)) = check.zip(owner) {
            findings.push(exact(kind, check.policy, Some(owner)));
        }
    };
    find(FlagKind::SameMailbox, checks.same_mailbox, signals.mailbox_owner);
    find(FlagKind::LookAlike, checks.look_alike, signals.look_alike_owner);
    for owner in signals.fingerprint_owners {
        find(FlagKind::Fingerprint, checks.fingerprint, Some(owner));
    }
    let referrer = signals.is_mutual.then_some(signals.referrer_user_id);
    find(FlagKind::MutualReferral, checks.mutual_referral, referrer);
}

fn find_similar_addresses(
    checks: &FraudChecks,
    signals: &Signals<'_>,
    findings: &mut Vec<Finding>,
) {
    let (Some(check), Some(address)) = (checks.similar_address, signals.address) else { return };
    let (whole, local_part) = (check.min_similarity_bps, check.min_local_part_similarity_bps);
    let mut compare = |kind, user_id: &UserId, other: &Personal| {
        let similarity = address.similarity(&other.0, whole, local_part);
        findings.extend(similarity.map(|similarity: Similarity| Finding {
            kind,
            score_bps: similarity.ten_thousandths(),
            other_user_id: Some(user_id.clone()),
            policy: check.policy,
        }));
    };
    if let Some(referrer_address) = signals.referrer_address {
        compare(FlagKind::SelfReferral, signals.referrer_user_id, referrer_address);
    }
    for referee in signals.latest_referees.iter().take(LATEST_REFEREES) {
        if let Some(address) = &referee.address {
            compare(FlagKind::NearDuplicate, &referee.user_id, address);
        }
    }
}

fn find_counts(checks: &FraudChecks, signals: &Signals<'_>, findings: &mut Vec<Finding>) {
    if let Some(check) = checks.referral_burst
        && check.is_exceeded(signals.referrals_within_hour)
    {
        // A burst is about the referrer and all of the referees, so that no pair of users clears it.
        findings.push(exact(FlagKind::ReferralBurst, check.policy, None));
    }
    if let (Some(check), Some(before)) =
        (checks.sign_ups_per_address, signals.sign_ups_from_address)
        && check.is_exceeded(before)
    {
        findings.push(exact(FlagKind::SignUpsPerAddress, check.policy, None));
    }
    if let Some(check) = checks.disposable_domain
        && signals.has_disposable_domain
    {
        findings.push(exact(FlagKind::DisposableDomain, check.policy, None));
    }
}
