//! Flags as messages. What identifies people is masked for callers who are no admins.

use super::masks::{masked, masked_beside, network};
use crate::api::pb;
use crate::api::program::fraud_checks::policy_message;
use crate::api::responses::{count, referral_status, time};
use crate::read::{FlagParty, ListedFlag};
use crate::store::evidence::KeptNote;
use domain::fraud::{Address, Finding, FlagKind, FraudPolicy, Occasion};
use domain::{FraudDecision, ReferralStatus, UserId};

/// How much of the evidence a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Everything.
    Wholly,
    /// Enough to compare, not enough to identify.
    Masked,
}

pub(super) fn kind(kind: pb::FraudFlagKind) -> Option<FlagKind> {
    FlagKind::ALL.into_iter().find(|of| kind_message(*of) == kind)
}

pub(super) fn kind_message(kind: FlagKind) -> pb::FraudFlagKind {
    match kind {
        FlagKind::SameMailbox => pb::FraudFlagKind::SameMailbox,
        FlagKind::SelfReferral => pb::FraudFlagKind::SelfReferral,
        FlagKind::LookAlike => pb::FraudFlagKind::LookAlike,
        FlagKind::NearDuplicate => pb::FraudFlagKind::NearDuplicate,
        FlagKind::Fingerprint => pb::FraudFlagKind::Fingerprint,
        FlagKind::MutualReferral => pb::FraudFlagKind::MutualReferral,
        FlagKind::ReferralBurst => pb::FraudFlagKind::ReferralBurst,
        FlagKind::SignUpsPerAddress => pb::FraudFlagKind::SignUpsPerAddress,
        FlagKind::DisposableDomain => pb::FraudFlagKind::DisposableDomain,
    }
}

fn kind_named(name: &str) -> pb::FraudFlagKind {
    let kind = FlagKind::ALL.into_iter().find(|kind| kind.as_str() == name);
    kind.map_or(pb::FraudFlagKind::Unspecified, kind_message)
}

pub(super) fn decision(decision: pb::FraudDecision) -> Option<FraudDecision> {
    match decision {
        pb::FraudDecision::Unspecified => None,
        pb::FraudDecision::Released => Some(FraudDecision::Released),
        pb::FraudDecision::Rejected => Some(FraudDecision::Rejected),
        pb::FraudDecision::RejectedAndDeactivated => Some(FraudDecision::RejectedAndDeactivated),
    }
}

pub(super) fn decision_message(decision: FraudDecision) -> pb::FraudDecision {
    match decision {
        FraudDecision::Released => pb::FraudDecision::Released,
        FraudDecision::Rejected => pb::FraudDecision::Rejected,
        FraudDecision::RejectedAndDeactivated => pb::FraudDecision::RejectedAndDeactivated,
    }
}

/// A value that the log names; unspecified if this release does not know the name.
fn named<T: serde::de::DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(name.into()).ok()
}

fn policy_named(name: &str) -> pb::FraudPolicy {
    named::<FraudPolicy>(name).map_or(pb::FraudPolicy::Unspecified, policy_message)
}

fn occasion_named(name: &str) -> pb::FraudOccasion {
    match named(name) {
        Some(Occasion::Referral) => pb::FraudOccasion::Referral,
        Some(Occasion::Purchase) => pb::FraudOccasion::Purchase,
        Some(Occasion::AddressChange) => pb::FraudOccasion::AddressChange,
        Some(Occasion::RefusedSignUp) => pb::FraudOccasion::RefusedSignUp,
        None => pb::FraudOccasion::Unspecified,
    }
}

/// A finding as it is kept with the evidence.
#[derive(serde::Deserialize)]
struct KeptFinding {
    kind: String,
    score_bps: i32,
    other_user_id: Option<String>,
    policy: String,
}

fn finding(kept: KeptFinding) -> pb::FraudFinding {
    pb::FraudFinding {
        kind: kind_named(&kept.kind).into(),
        score_bps: kept.score_bps,
        other_user_id: kept.other_user_id.unwrap_or_default(),
        policy: policy_named(&kept.policy).into(),
    }
}

/// A finding of a simulation.
pub(super) fn finding_message(finding: &Finding) -> pb::FraudFinding {
    pb::FraudFinding {
        kind: kind_message(finding.kind).into(),
        score_bps: count(finding.score_bps),
        other_user_id: finding.other_user_id.as_ref().map(UserId::to_string).unwrap_or_default(),
        policy: policy_message(finding.policy).into(),
    }
}

fn note(kept: KeptNote) -> pb::FraudNote {
    let decision = kept.decision.as_deref().and_then(named);
    pb::FraudNote {
        number: kept.number,
        note: kept.note,
        note_time: Some(time(kept.note_time)),
        decision: decision.map_or(pb::FraudDecision::Unspecified, decision_message).into(),
        author: kept.author.unwrap_or_default(),
    }
}

/// A user of a flag. Masked, their address is shown beside the one that it was compared with, if there is one.
fn party(party: FlagParty, compared_with: Option<&str>, shown: Shown) -> pb::FraudParty {
    pb::FraudParty {
        user_id: party.user_id,
        username: party.username.unwrap_or_default(),
        email: match shown {
            Shown::Wholly => party.address.unwrap_or_default(),
            Shown::Masked => {
                let address = party.address.as_deref();
                let masked =
                    |of| compared_with.map_or_else(|| masked(of), |with| masked_beside(of, with));
                address.map(masked).unwrap_or_default()
            }
        },
        sign_up_time: party.sign_up_time.map(time),
    }
}

/// The addresses of the referee and of the other, if the gravest finding is about them.
fn compared_addresses(flag: &ListedFlag) -> Option<[Address; 2]> {
    let kind = FlagKind::ALL.into_iter().find(|kind| kind.as_str() == flag.kind)?;
    if !is_about_addresses(kind) {
        return None;
    }
    let address =
        |party: &Option<FlagParty>| Address::of_comparable(party.as_ref()?.address.as_deref()?);
    Some([address(&flag.referee)?, address(&flag.other)?])
}

/// Whether a finding says something about the addresses of two users.
fn is_about_addresses(kind: FlagKind) -> bool {
    match kind {
        FlagKind::SameMailbox
        | FlagKind::SelfReferral
        | FlagKind::LookAlike
        | FlagKind::NearDuplicate => true,
        FlagKind::Fingerprint
        | FlagKind::MutualReferral
        | FlagKind::ReferralBurst
        | FlagKind::SignUpsPerAddress
        | FlagKind::DisposableDomain => false,
    }
}

/// A flag, as much of it as the caller sees.
pub(super) fn flag_message(flag: ListedFlag, shown: Shown) -> pb::FraudFlag {
    let decision = flag.decision.as_deref().and_then(named);
    let status = flag.referral_status.as_deref().and_then(ReferralStatus::parse);
    let compared = compared_addresses(&flag);
    let (own, of_other) =
        compared.as_ref().map(|[own, other]| (own.as_str(), other.as_str())).unzip();
    let shared = compared.as_ref().map(|[own, other]| own.shared_parts(other)).unwrap_or_default();
    let is_other =
        |of: &FlagParty| flag.other.as_ref().is_some_and(|other| other.user_id == of.user_id);
    // The referrer was compared too, if the finding is about the referrer.
    let of_referrer = own.filter(|_| flag.referrer.as_ref().is_some_and(is_other));
    let findings: Vec<KeptFinding> = serde_json::from_value(flag.findings).unwrap_or_default();
    pb::FraudFlag {
        flag_id: flag.flag_id,
        kind: kind_named(&flag.kind).into(),
        score_bps: flag.score_bps,
        program_id: flag.program_id,
        referee: flag.referee.map(|of| party(of, of_other, shown)),
        referrer: flag.referrer.map(|of| party(of, of_referrer, shown)),
        other: flag.other.map(|of| party(of, own, shown)),
        occasion: occasion_named(&flag.occasion).into(),
        consequence: policy_named(&flag.consequence).into(),
        evidence: flag.evidence.iter().map(|kind| kind_named(kind).into()).collect(),
        state: match decision {
            None => pb::FraudFlagState::Open.into(),
            Some(_) => pb::FraudFlagState::Resolved.into(),
        },
        decision: decision.map_or(pb::FraudDecision::Unspecified, decision_message).into(),
        reverses_rewards: flag.reverses_rewards,
        raise_time: Some(time(flag.raise_time)),
        resolve_time: flag.resolve_time.map(time),
        resolved_by: flag.resolved_by.unwrap_or_default(),
        count: flag.count,
        last_time: Some(time(flag.last_time)),
        findings: findings.into_iter().map(finding).collect(),
        shared_parts: match shown {
            Shown::Wholly => shared,
            Shown::Masked => shared.iter().map(|part| "*".repeat(part.chars().count())).collect(),
        },
        client_address: match (flag.client_address, shown) {
            (Some(address), Shown::Wholly) => address,
            (Some(address), Shown::Masked) => network(&address),
            (None, _) => String::new(),
        },
        sign_ups_before: flag.sign_ups_before,
        sign_ups_of_address: count(u32::try_from(flag.sign_ups_of_address).unwrap_or(u32::MAX)),
        referral_status: status.map_or(pb::ReferralStatus::Unspecified, referral_status).into(),
        notes: flag.notes.into_iter().map(note).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_log_has_its_value() {
        for of in FlagKind::ALL {
            assert_eq!(kind(kind_named(of.as_str())), Some(of));
        }
        for policy in [FraudPolicy::Flag, FraudPolicy::Hold, FraudPolicy::Reject] {
            let name = serde_json::to_value(policy).unwrap_or_default();
            let name = name.as_str().unwrap_or_default();
            assert_ne!(policy_named(name), pb::FraudPolicy::Unspecified, "{name}");
        }
        for occasion in [
            Occasion::Referral,
            Occasion::Purchase,
            Occasion::AddressChange,
            Occasion::RefusedSignUp,
        ] {
            assert_ne!(occasion_named(occasion.as_str()), pb::FraudOccasion::Unspecified);
        }
    }
}
