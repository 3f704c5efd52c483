//! At most one flag, of the gravest kind, with the hardest consequence.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{address, user};
use crate::fraud::{
    Address, Finding, Flag, FlagKind, FraudChecks, FraudPolicy, Occasion, Signals, judge,
};
use crate::{LatestReferee, Personal, Timestamp, UserId};

/// A referral of `new` by `referrer`, with the addresses of both.
struct Scene {
    new: UserId,
    referrer: UserId,
    other: UserId,
    address: Address,
    referrer_address: Personal,
    referees: Vec<Arc<LatestReferee>>,
    fingerprint_owners: Vec<UserId>,
    cleared: BTreeSet<UserId>,
    checks: FraudChecks,
}

impl Scene {
    fn of(new: &str, referrer: &str, referees: &[&str]) -> Self {
        let personal = |text: &str| Personal(address(text).as_str().into());
        let known = |(index, text): (usize, &&str)| {
            let user_id = user(&format!("referee-{index}"));
            let (refer_time, address) = (Timestamp(0), Some(personal(text)));
            Arc::new(LatestReferee { user_id, refer_time, address })
        };
        Self {
            new: user("new"),
            referrer: user("referrer"),
            other: user("other"),
            address: address(new),
            referrer_address: personal(referrer),
            referees: referees.iter().enumerate().map(known).collect(),
            fingerprint_owners: Vec::new(),
            cleared: BTreeSet::new(),
            checks: FraudChecks::all(),
        }
    }

    /// Two strangers.
    fn strangers() -> Self {
        Self::of("ada@example.com", "grace@navy.example", &[])
    }

    fn signals(&self) -> Signals<'_> {
        Signals {
            address: Some(&self.address),
            referrer_address: Some(&self.referrer_address),
            latest_referees: &self.referees,
            fingerprint_owners: &self.fingerprint_owners,
            ..Signals::none(&self.new, &self.referrer, &self.cleared)
        }
    }

    fn judge(&self) -> Option<Flag> {
        judge(&self.checks, &self.signals(), Occasion::Referral)
    }
}

fn kinds(flag: &Flag) -> Vec<FlagKind> {
    std::iter::once(&flag.gravest).chain(&flag.evidence).map(|finding| finding.kind).collect()
}

#[test]
fn two_strangers_are_in_order() {
    assert_eq!(Scene::strangers().judge(), None);
}

#[test]
fn the_referrer_under_another_address_is_a_self_referral() {
    let flag = Scene::of("j0hn@gmail.com", "john@gmail.com", &[]).judge().unwrap();
    let expected = Finding {
        kind: FlagKind::SelfReferral,
        score_bps: 9_286,
        other_user_id: Some(user("referrer")),
        policy: FraudPolicy::Hold,
    };
    assert_eq!(
        flag,
        Flag { gravest: expected, consequence: FraudPolicy::Hold, evidence: Vec::new() }
    );
}

#[test]
fn of_several_near_duplicates_the_most_similar_is_the_flag_and_the_others_are_evidence() {
    let referees =
        ["farm1@example.com", "farm77@example.com", "mary@example.com", "farm7@example.com"];
    let flag = Scene::of("farm7x@example.com", "boss@other.example", &referees).judge().unwrap();
    assert_eq!(flag.gravest.kind, FlagKind::NearDuplicate);
    assert_eq!(flag.gravest.other_user_id, Some(user("referee-3")));
    let others: Vec<_> =
        flag.evidence.iter().map(|finding| finding.other_user_id.clone()).collect();
    assert_eq!(others, [Some(user("referee-1")), Some(user("referee-0"))]);
    assert!(flag.evidence.iter().all(|finding| finding.score_bps <= flag.gravest.score_bps));
}

#[test]
fn families_and_teams_on_one_domain_are_not_flagged() {
    let team = [
        "dan@company.example",
        "joe@company.example",
        "mary.jones@company.example",
        "it@company.example",
    ];
    assert_eq!(Scene::of("ann@company.example", "dan@company.example", &team[1..]).judge(), None);
    assert_eq!(Scene::of("ann@company.example", "eve@company.example", &team).judge(), None);
    let family = ["peter.lopez@gmail.com", "carla.lopez@gmail.com"];
    assert_eq!(Scene::of("juan.lopez@gmail.com", "maria.lopez@gmail.com", &family).judge(), None);
}

/// A referral about which every check finds something.
fn everything() -> Scene {
    let mut scene = Scene::of("j0hn@gmail.com", "john@gmail.com", &["j0hn1@gmail.com"]);
    scene.fingerprint_owners = vec![user("other")];
    scene
}

impl Scene {
    fn all_signals(&self) -> Signals<'_> {
        Signals {
            mailbox_owner: Some(&self.other),
            look_alike_owner: Some(&self.other),
            is_mutual: true,
            referrals_within_hour: 20,
            sign_ups_from_address: Some(5),
            has_disposable_domain: true,
            ..self.signals()
        }
    }
}

#[test]
fn every_kind_is_found_and_the_gravest_comes_first() {
    let scene = everything();
    let flag = judge(&scene.checks, &scene.all_signals(), Occasion::Referral).unwrap();
    assert_eq!(kinds(&flag), FlagKind::ALL);
    assert_eq!(flag.consequence, FraudPolicy::Reject);
}

#[test]
fn without_the_gravest_the_next_one_gives_the_flag_its_kind() {
    use FlagKind::{
        DisposableDomain, Fingerprint, LookAlike, MutualReferral, ReferralBurst, SelfReferral,
        SignUpsPerAddress,
    };
    use FraudPolicy::{Flag, Reject};
    let scene = everything();
    let mut checks = scene.checks.clone();
    let steps: [(fn(&mut FraudChecks), _); 8] = [
        (|checks| checks.same_mailbox = None, Some((SelfReferral, Reject))),
        (|checks| checks.similar_address = None, Some((LookAlike, Reject))),
        (|checks| checks.look_alike = None, Some((Fingerprint, Reject))),
        (|checks| checks.fingerprint = None, Some((MutualReferral, Reject))),
        (|checks| checks.mutual_referral = None, Some((ReferralBurst, Reject))),
        (|checks| checks.referral_burst = None, Some((SignUpsPerAddress, Reject))),
        (|checks| checks.sign_ups_per_address = None, Some((DisposableDomain, Flag))),
        (|checks| checks.disposable_domain = None, None),
    ];
    for (turn_off, expected) in steps {
        turn_off(&mut checks);
        let flag = judge(&checks, &scene.all_signals(), Occasion::Referral);
        assert_eq!(flag.map(|flag| (flag.gravest.kind, flag.consequence)), expected);
    }
}

#[test]
fn each_check_alone_has_its_default_consequence() {
    use FraudPolicy::{Flag, Hold, Reject};
    let scene = Scene::strangers();
    let none = scene.signals();
    let owners = [user("other")];
    for (signals, kind, consequence) in [
        (
            Signals { mailbox_owner: Some(&scene.other), ..none.clone() },
            FlagKind::SameMailbox,
            Reject,
        ),
        (
            Signals { look_alike_owner: Some(&scene.other), ..none.clone() },
            FlagKind::LookAlike,
            Hold,
        ),
        (Signals { fingerprint_owners: &owners, ..none.clone() }, FlagKind::Fingerprint, Hold),
        (Signals { is_mutual: true, ..none.clone() }, FlagKind::MutualReferral, Flag),
        (Signals { referrals_within_hour: 20, ..none.clone() }, FlagKind::ReferralBurst, Hold),
        (
            Signals { sign_ups_from_address: Some(5), ..none.clone() },
            FlagKind::SignUpsPerAddress,
            Reject,
        ),
        (Signals { has_disposable_domain: true, ..none.clone() }, FlagKind::DisposableDomain, Flag),
    ] {
        let flag = judge(&scene.checks, &signals, Occasion::Referral).unwrap();
        assert_eq!((flag.gravest.kind, flag.consequence), (kind, consequence));
        assert_eq!((flag.gravest.score_bps, flag.evidence.len()), (10_000, 0), "{kind:?}");
        assert_eq!(judge(&FraudChecks::default(), &signals, Occasion::Referral), None, "{kind:?}");
    }
}

#[test]
fn the_hardest_consequence_follows_also_if_it_is_not_that_of_the_gravest_finding() {
    let mut scene = Scene::of("j0hn@gmail.com", "john@gmail.com", &[]);
    scene.checks.similar_address.as_mut().unwrap().policy = FraudPolicy::Flag;
    let signals = Signals { referrals_within_hour: 20, ..scene.signals() };
    let flag = judge(&scene.checks, &signals, Occasion::Referral).unwrap();
    assert_eq!(flag.gravest.kind, FlagKind::SelfReferral);
    assert_eq!(flag.consequence, FraudPolicy::Hold);
}

#[test]
fn a_change_of_address_is_only_flagged() {
    let scene = everything();
    let signals = scene.all_signals();
    let referral = judge(&scene.checks, &signals, Occasion::Referral).unwrap();
    let change = judge(&scene.checks, &signals, Occasion::AddressChange).unwrap();
    assert_eq!(change, Flag { consequence: FraudPolicy::Flag, ..referral });
}

#[test]
fn counts_within_the_limits_find_nothing() {
    let scene = Scene::strangers();
    let signals =
        Signals { referrals_within_hour: 19, sign_ups_from_address: Some(4), ..scene.signals() };
    assert_eq!(judge(&scene.checks, &signals, Occasion::Referral), None);
}

#[test]
fn a_pair_that_is_cleared_is_not_flagged_again() {
    let mut scene = everything();
    scene.cleared = BTreeSet::from([user("other"), user("referrer")]);
    let flag = judge(&scene.checks, &scene.all_signals(), Occasion::Referral).unwrap();
    let left = [
        FlagKind::NearDuplicate,
        FlagKind::ReferralBurst,
        FlagKind::SignUpsPerAddress,
        FlagKind::DisposableDomain,
    ];
    assert_eq!(kinds(&flag), left);
    scene.cleared.insert(user("referee-0"));
    assert_eq!(scene.judge(), None);
}

#[test]
fn nobody_is_flagged_with_themselves() {
    let mut scene = Scene::of("ada@example.com", "grace@navy.example", &["ada@example.com"]);
    Arc::make_mut(&mut scene.referees[0]).user_id = scene.new.clone();
    scene.fingerprint_owners = vec![scene.new.clone()];
    let signals = Signals {
        mailbox_owner: Some(&scene.new),
        look_alike_owner: Some(&scene.new),
        ..scene.signals()
    };
    assert_eq!(judge(&scene.checks, &signals, Occasion::AddressChange), None);
}

#[test]
fn what_was_not_looked_up_finds_nothing() {
    let scene = everything();
    let signals = Signals::none(&scene.new, &scene.referrer, &scene.cleared);
    assert_eq!(judge(&scene.checks, &signals, Occasion::Referral), None);
}

#[test]
fn an_address_is_compared_with_the_100_latest_referees() {
    let strangers = ["mary@example.com"; 100];
    let with_last = |index: usize| {
        let mut referees = strangers.to_vec();
        referees.insert(index, "farm1@example.com");
        Scene::of("farm2@example.com", "boss@other.example", &referees).judge()
    };
    assert!(with_last(99).is_some());
    assert_eq!(with_last(100), None);
}

#[test]
fn names_of_kinds_are_read_back() {
    for kind in FlagKind::ALL {
        assert_eq!(FlagKind::parse(kind.as_str()), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
    assert_eq!(FlagKind::parse("other"), None);
}
