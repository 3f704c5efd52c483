//! Points by tier.

use super::tiered_points;
use crate::decide::CodeFault;
use crate::reward::WithheldReason;
use crate::tests::scene::{PROGRAM, Scene, member, refused, user};
use crate::{ParticipantEvent, ReferralStatus, Refusal, TierChanged};

fn scene() -> Scene {
    let mut scene = Scene::of(tiered_points());
    scene.sign_up("ana");
    scene
}

fn tier_changes(scene: &Scene) -> Vec<(String, String)> {
    let change = |event: &ParticipantEvent| match event {
        ParticipantEvent::TierChanged(TierChanged { from_tier, to_tier }) => {
            Some((from_tier.clone(), to_tier.clone()))
        }
        _ => None,
    };
    scene.memory.participant_events_since(0).filter_map(|(_, event)| change(event)).collect()
}

#[test]
fn points_are_all_referrals_at_the_rate_of_the_current_tier_plus_its_bonus() {
    let mut scene = scene();
    let mut points = vec![0];
    for referral in 1..=100 {
        scene.refer("ana", &format!("friend-{referral}"));
        points.push(scene.participant("ana").earned_minor());
    }
    let milestones = [0, 1, 9, 10, 11, 49, 50, 100].map(|referrals| points[referrals]);
    assert_eq!(milestones, [0, 10, 90, 250, 265, 835, 1_750, 3_000]);
    assert_eq!(scene.participant("ana").balance_minor(), 3_000);
}

#[test]
fn the_tenth_referral_grants_the_difference_of_160_and_changes_the_tier_once() {
    let mut scene = scene();
    for referral in 1..=9 {
        let outcome = scene.refer("ana", &format!("friend-{referral}"));
        assert_eq!(outcome.granted(), [("ana", 1, 10)]);
    }
    assert_eq!(tier_changes(&scene), []);
    assert_eq!(scene.participant("ana").tier(), None, "still the first one");

    assert_eq!(scene.refer("ana", "friend-10").granted(), [("ana", 1, 160)]);
    assert_eq!(tier_changes(&scene), [("Bronze".into(), "Silver".into())]);

    assert_eq!(scene.refer("ana", "friend-11").granted(), [("ana", 1, 15)]);
    assert_eq!(tier_changes(&scene).len(), 1);
    assert_eq!(scene.participant("ana").tier(), Some("Silver"));
}

#[test]
fn a_hundred_referrals_change_the_tier_twice() {
    let mut scene = scene();
    for referral in 1..=100 {
        scene.refer("ana", &format!("friend-{referral}"));
    }
    let expected = [("Bronze", "Silver"), ("Silver", "Gold")];
    assert_eq!(tier_changes(&scene), expected.map(|(from, to)| (from.into(), to.into())));
}

#[test]
fn a_referral_converts_at_once() {
    let mut scene = scene();
    assert!(scene.refer("ana", "bea").converted);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
}

#[test]
fn the_points_of_one_referrer_are_not_those_of_their_own_referrer() {
    let mut scene = scene();
    scene.refer("ana", "bea");
    assert_eq!(scene.refer("bea", "cem").granted(), [("bea", 1, 10)]);
    assert_eq!(scene.participant("ana").earned_minor(), 10);
}

#[test]
fn an_unknown_code_rejects_the_sign_up_and_leaves_nothing_behind() {
    let mut scene = scene();
    let before = scene.memory.log().len();
    let result = scene.sign_up_with("bea", "NOSUCHCD");
    assert_eq!(result, refused(Refusal::CodeNotFound("NOSUCHCD".into())));
    assert_eq!(scene.memory.log().len(), before);
    assert!(scene.memory.profile(&user("bea")).is_none());
    scene.sign_up("bea");
}

#[test]
fn a_referrer_cannot_be_attached_after_registration() {
    let mut scene = scene();
    scene.sign_up("bea");
    assert_eq!(scene.attach("bea", "ana"), refused(Refusal::ReferralTooLate(member("bea"))));
    assert_eq!(scene.fault(&scene.code("ana"), Some("bea")), Some(CodeFault::TooLate));
}

#[test]
fn purchases_earn_nothing_and_say_so() {
    let mut scene = scene();
    scene.refer("ana", "bea");
    let outcome = scene.buy("bea", 1_000_000);
    assert_eq!(outcome.granted(), []);
    assert_eq!(outcome.withheld(), [("nobody", 0, WithheldReason::RewardsReferralsOnly)]);
    assert_eq!(scene.participant("ana").earned_minor(), 10);
}

#[test]
fn a_referral_made_while_the_referrer_is_inactive_earns_no_points_then_or_later() {
    let mut scene = scene();
    scene.refer("ana", "bea");
    scene.deactivate("ana");
    let outcome = scene.refer("ana", "cem");
    assert_eq!(outcome.granted(), []);
    assert_eq!(outcome.withheld(), [("ana", 1, WithheldReason::EarnerInactive)]);
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Converted));

    scene.reactivate("ana");
    assert_eq!(scene.refer("ana", "dan").granted(), [("ana", 1, 10)]);
    assert_eq!(scene.participant("ana").earned_minor(), 20);
    assert_eq!(scene.participant("ana").uses(), 3);
}

#[test]
fn less_generous_tiers_take_no_points_back() {
    let mut scene = scene();
    scene.refer("ana", "bea");
    let mut rules = tiered_points();
    let tiers = vec![super::tier("Bronze", 0, 1, 0)];
    rules.rewards[0].pay = crate::rules::Pay::Tiers(tiers);
    scene.publish(PROGRAM, rules).unwrap();

    assert_eq!(scene.refer("ana", "cem").granted(), [("ana", 1, 0)]);
    assert_eq!(scene.participant("ana").earned_minor(), 10);
}
