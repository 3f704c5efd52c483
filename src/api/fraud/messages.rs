//! Flags as messages. What identifies people is masked for callers who are no admins.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    pb::FraudNote { number: kept.number, note: kept.note, note_time: Some(time(kept.note_time)) }
}

fn party(party: FlagParty, shown: Shown) -> pb::FraudParty {
    pb::FraudParty {
        user_id: party.user_id,
        username: party.username.unwrap_or_default(),
        email: match shown {
            Shown::Wholly => party.address.unwrap_or_default(),
            Shown::Masked => party.address.as_deref().map(masked).unwrap_or_default(),
        },
        sign_up_time: party.sign_up_time.map(time),
    }
}

/// A flag, as much of it as the caller sees.
pub(super) fn flag_message(flag: ListedFlag, shown: Shown) -> pb::FraudFlag {
    let decision = flag.decision.as_deref().and_then(named);
    let status = flag.referral_status.as_deref().and_then(ReferralStatus::parse);
    let findings: Vec<KeptFinding> = serde_json::from_value(flag.findings).unwrap_or_default();
    let addresses = [&flag.referee, &flag.other]
        .map(|party| party.as_ref()?.address.as_deref().and_then(Address::of_comparable));
    let shared = match &addresses {
        [Some(one), Some(other)] => one.shared_parts(other),
        _ => Vec::new(),
    };
    pb::FraudFlag {
        flag_id: flag.flag_id,
        kind: kind_named(&flag.kind).into(),
        score_bps: flag.score_bps,
        program_id: flag.program_id,
        referee: flag.referee.map(|of| party(of, shown)),
        referrer: flag.referrer.map(|of| party(of, shown)),
        other: flag.other.map(|of| party(of, shown)),
        occasion: occasion_named(&flag.occasion).into(),
        consequence: policy_named(&flag.consequence).into(),
        evidence: flag.evidence.iter().map(|kind| kind_named(kind).into()).collect(),
        state: match decision {
            None => pb::FraudFlagState::Open.into(),
            Some(_) => pb::FraudFlagState::Resolved.into(),
        },
        decision: decision.map_or(pb::FraudDecision::Unspecified, decision_message).into(),
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

/// An address with the first and the last character of each part.
fn masked(address: &str) -> String {
    let Some((local_part, domain)) = address.rsplit_once('@') else { return masked_part(address) };
    let mut labels: Vec<String> = domain.split('.').map(masked_part).collect();
    if let (Some(last), Some((_, ending))) = (labels.last_mut(), domain.rsplit_once('.')) {
        ending.clone_into(last);
    }
    format!("{}@{}", masked_part(local_part), labels.join("."))
}

fn masked_part(part: &str) -> String {
    let mut characters = part.chars();
    let first = characters.next().map(String::from).unwrap_or_default();
    // Of two characters, the last would leave nothing out.
    let last = characters.next_back().filter(|_| characters.next().is_some());
    format!("{first}***{}", last.map(String::from).unwrap_or_default())
}

/// The network that an address is in; empty for what is no address.
fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V4(address)) => {
            let [one, two, three, _] = address.octets();
            format!("{}/24", Ipv4Addr::new(one, two, three, 0))
        }
        Ok(IpAddr::V6(address)) => {
            let [one, two, three, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(one, two, three, 0, 0, 0, 0, 0))
        }
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked_but_for_the_ends_of_their_parts() {
        assert_eq!(masked("johann@mail.example.com"), "j***n@m***l.e***e.com");
        assert_eq!(masked("jo@x.org"), "j***@x***.org");
        assert_eq!(masked("müller@bücher.example"), "m***r@b***r.example");
        assert_eq!(masked("no address"), "n***s");
    }

    #[test]
    fn client_addresses_are_masked_to_their_networks() {
        assert_eq!(network("192.0.2.17"), "192.0.2.0/24");
        assert_eq!(network("2001:db8:1:2::9"), "2001:db8:1::/48");
        assert_eq!(network("nowhere"), "");
    }

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
