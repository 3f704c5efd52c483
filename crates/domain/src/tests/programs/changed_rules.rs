//! Rules that change: what counts of what happened under earlier versions.

use super::{rule, tier, tiered_points};
use crate::reward::WithheldReason;
use crate::rules::{
    AttachPolicy, EarnOn, FirstPurchaseUse, Pay, ProgramRules, RewardKind, RewardRule,
};
use crate::tests::scene::{PROGRAM, Scene, member, program, refused};
use crate::{ReferralStatus, Refusal};

const ANY: FirstPurchaseUse = FirstPurchaseUse::AnyPurchase;
const QUALIFYING: FirstPurchaseUse = FirstPurchaseUse::QualifyingPurchase;

/// Points for the referrer of a buyer, whenever the buyer buys.
fn point_per_purchase() -> ProgramRules {
    paying(EarnOn::EveryPurchase, vec![point(1)])
}

fn point(level: u32) -> RewardRule {
    rule(&format!("point-{level}"), level, RewardKind::Points, Pay::FlatMinor(1))
}

fn paying(earn_on: EarnOn, rewards: Vec<RewardRule>) -> ProgramRules {
    ProgramRules { earn_on, rewards, attach: AttachPolicy::AnyTime, ..tiered_points() }
}

/// Tiers that go by first purchases.
fn tiers_by_first_purchase() -> ProgramRules {
    ProgramRules { earn_on: EarnOn::FirstPurchase { used_by: ANY }, ..tiered_points() }
}

fn first_purchase(used_by: FirstPurchaseUse) -> ProgramRules {
    paying(EarnOn::FirstPurchase { used_by }, vec![point(1)])
}

fn at_least(minimum_purchase_minor: i64, rules: ProgramRules) -> ProgramRules {
    let purchase_currency_code = Some("USD".into());
    ProgramRules { minimum_purchase_minor, purchase_currency_code, ..rules }
}

fn change(scene: &mut Scene, rules: ProgramRules) {
    scene.publish(PROGRAM, rules).unwrap();
}

/// The number that tiers go by, where referrals earn and where purchases do.
fn for_tiers(scene: &Scene, name: &str) -> (u32, u32) {
    let counts = scene.participant(name).tier_referrals();
    (counts.under(EarnOn::Referral), counts.under(EarnOn::FirstPurchase { used_by: ANY }))
}

#[test]
fn what_somebody_else_has_published_meanwhile_is_not_overwritten_by_who_expects_another_version() {
    let mut scene = Scene::of(tiered_points());
    let changed = |version, expected| {
        let program_id = program(PROGRAM);
        refused(Refusal::ProgramChanged { program_id, version, expected })
    };
    let first = point_per_purchase();
    assert_eq!(scene.publish_after(Some(0), PROGRAM, first.clone()), changed(1, 0));
    assert_eq!(scene.publish_after(Some(2), PROGRAM, first.clone()), changed(1, 2));
    assert_eq!(scene.publish_after(Some(1), PROGRAM, first.clone()), Ok(()));
    assert_eq!(scene.publish_after(Some(1), PROGRAM, tiers_by_first_purchase()), changed(2, 1));
    // Who wants what is in force overwrites nothing.
    assert_eq!(scene.publish_after(Some(1), PROGRAM, first), Ok(()));
    assert_eq!(scene.publish_after(Some(0), "another", tiered_points()), Ok(()));
}

// Tiers go by referrals.

#[test]
fn sixty_purchases_of_one_referee_are_one_referral_for_tiers() {
    let mut scene = Scene::of(point_per_purchase());
    scene.line(&["ana", "bea"]);
    for _ in 0..60 {
        scene.buy("bea", 100);
    }
    assert_eq!(scene.participant("ana").level(1).count, 60);
    change(&mut scene, tiered_points());

    assert_eq!(scene.refer("ana", "cem").granted(), [("ana", 1, 20)], "two at 10");
    let ana = scene.participant("ana");
    assert_eq!((ana.tier(), ana.earned_minor(), ana.tier_points()), (None, 80, 20));
    assert_eq!(scene.refer("ana", "dan").granted(), [("ana", 1, 10)]);
}

#[test]
fn sixty_purchases_of_one_referee_are_one_referral_for_tiers_by_first_purchase() {
    let mut scene = Scene::of(point_per_purchase());
    scene.line(&["ana", "bea"]);
    for _ in 0..60 {
        scene.buy("bea", 100);
    }
    change(&mut scene, tiers_by_first_purchase());

    scene.refer("ana", "cem");
    assert_eq!(scene.buy("cem", 100).granted(), [("ana", 1, 20)]);
    assert_eq!(scene.participant("ana").tier(), None);
}

#[test]
fn pending_referrals_of_earlier_rules_count_where_referrals_earn() {
    let mut scene = Scene::of(point_per_purchase());
    scene.sign_up("ana");
    for referral in 1..=9 {
        scene.refer("ana", &format!("friend-{referral}"));
    }
    change(&mut scene, tiered_points());
    let tenth = scene.refer("ana", "friend-10");
    assert_eq!(tenth.granted(), [("ana", 1, 250)]);
    assert_eq!(scene.participant("ana").tier(), Some("Silver"));
    assert_eq!(scene.refer("ana", "friend-11").granted(), [("ana", 1, 15)]);
}

#[test]
fn pending_referrals_do_not_count_where_purchases_earn() {
    let mut scene = Scene::of(tiers_by_first_purchase());
    scene.sign_up("ana");
    for referral in 1..=12 {
        scene.refer("ana", &format!("friend-{referral}"));
    }
    for referral in 1..=9 {
        let outcome = scene.buy(&format!("friend-{referral}"), 100);
        assert_eq!(outcome.granted(), [("ana", 1, 10)], "{referral}");
    }
    assert_eq!(scene.buy("friend-10", 100).granted(), [("ana", 1, 160)]);
    assert_eq!(scene.participant("ana").tier(), Some("Silver"));
    assert_eq!(for_tiers(&scene, "ana"), (12, 10));
}

#[test]
fn a_referral_is_counted_once_by_tiers_that_change_from_referrals_to_first_purchases() {
    let mut scene = Scene::of(tiered_points());
    scene.line(&["ana", "bea"]);
    change(&mut scene, tiers_by_first_purchase());
    assert_eq!(scene.buy("bea", 100).granted(), [("ana", 1, 0)], "one at 10, as before");
    scene.refer("ana", "cem");
    assert_eq!(scene.buy("cem", 100).granted(), [("ana", 1, 10)]);
    assert_eq!(scene.participant("ana").earned_minor(), 20);
}

#[test]
fn tiers_that_return_go_on_from_what_tiers_granted() {
    let mut scene = Scene::of(tiered_points());
    scene.line(&["ana", "bea"]);
    change(&mut scene, point_per_purchase());
    for _ in 0..7 {
        scene.buy("bea", 100);
    }
    scene.refer("ana", "cem");
    change(&mut scene, tiered_points());
    assert_eq!(scene.refer("ana", "dan").granted(), [("ana", 1, 20)], "three at 10, less 10");
    assert_eq!(scene.participant("ana").earned_minor(), 37);
}

#[test]
fn a_referral_made_while_the_referrer_is_inactive_never_counts_for_tiers() {
    for (made_under, then) in [
        (tiered_points(), tiers_by_first_purchase()),
        (tiers_by_first_purchase(), tiered_points()),
        (point_per_purchase(), tiered_points()),
    ] {
        let mut scene = Scene::of(made_under);
        scene.line(&["ana", "bea"]);
        scene.deactivate("ana");
        scene.refer("ana", "cem");
        scene.reactivate("ana");
        scene.buy("cem", 100);
        change(&mut scene, then);
        scene.buy("cem", 100);
        assert_eq!(for_tiers(&scene, "ana").0, 1, "bea");
        assert_eq!(scene.participant("ana").referrals().counted(), 2);
    }
}

#[test]
fn the_first_purchase_through_a_referral_made_while_inactive_is_withheld_by_tiers() {
    let mut rules = tiers_by_first_purchase();
    rules.rewards.insert(0, rule("gift", 0, RewardKind::Points, Pay::FlatMinor(5)));
    let mut scene = Scene::of(rules);
    scene.sign_up("ana");
    scene.deactivate("ana");
    scene.refer("ana", "bea");
    scene.reactivate("ana");

    let outcome = scene.buy("bea", 100);
    assert_eq!((outcome.granted(), outcome.converted), (vec![("bea", 0, 5)], true));
    assert_eq!(outcome.withheld(), [("ana", 1, WithheldReason::EarnerInactive)]);
    assert_eq!(outcome.withholdings[0].computed_minor, Some(10));
    scene.refer("ana", "cem");
    assert_eq!(scene.buy("cem", 100).granted(), [("cem", 0, 5), ("ana", 1, 10)]);
}

#[test]
fn what_tiers_withheld_at_a_conversion_is_not_paid_with_a_later_one() {
    let mut rules = tiers_by_first_purchase();
    rules.rewards.insert(0, rule("gift", 0, RewardKind::Points, Pay::FlatMinor(5)));
    let mut scene = Scene::of(rules);
    for name in ["bea", "cem", "dan"] {
        if !scene.user_exists("ana") {
            scene.sign_up("ana");
        }
        scene.refer("ana", name);
    }
    let active = scene.memory.now();
    scene.memory.set_now(active.plus_seconds(1_000));
    scene.deactivate("ana");
    assert!(scene.buy("bea", 100).converted);
    scene.reactivate("ana");
    let early = scene.buy_at("cem", 100, active);
    assert_eq!(early.withheld(), [("ana", 1, WithheldReason::BeforeReactivation)]);
    assert!(early.converted);
    assert_eq!(scene.buy("dan", 100).granted(), [("dan", 0, 5), ("ana", 1, 10)]);
    assert_eq!(for_tiers(&scene, "ana"), (3, 1));
}

#[test]
fn a_tier_reward_says_how_many_referrals_it_went_by() {
    let mut scene = Scene::of(tiered_points());
    scene.line(&["ana", "bea"]);
    let outcome = scene.refer("ana", "cem");
    assert_eq!(outcome.grants[0].1.tier_referrals, Some(2));
    change(&mut scene, point_per_purchase());
    assert_eq!(scene.buy("cem", 100).grants[0].1.tier_referrals, None);
}

#[test]
fn a_tier_of_changed_rules_is_the_next_one_until_a_referral_reaches_it() {
    let rules = tiered_points();
    let standing = |reached, referrals| {
        let standing = rules.tier_standing(reached, referrals).unwrap();
        (standing.tier, standing.next)
    };
    assert_eq!(standing(None, 60), ("Bronze", Some(("Gold", 1))));
    assert_eq!(standing(Some("Bronze"), 12), ("Bronze", Some(("Silver", 1))));
    assert_eq!(standing(Some("Argent"), 12), ("Argent", Some(("Silver", 1))));
    assert_eq!(standing(Some("Silver"), 5), ("Silver", Some(("Gold", 45))), "no way down");

    let mut renamed = tiered_points();
    renamed.rewards[0].pay = Pay::Tiers(vec![tier("Wood", 0, 10, 0)]);
    let standing = renamed.tier_standing(Some("Gold"), 60).unwrap();
    assert_eq!((standing.tier, standing.next), ("Gold", Some(("Wood", 1))));
}

// The first purchase.

#[test]
fn the_second_purchase_ever_is_never_the_first_whatever_the_rules_were() {
    let referrals_earn = paying(EarnOn::Referral, vec![point(1)]);
    for before in
        [point_per_purchase(), referrals_earn, first_purchase(ANY), first_purchase(QUALIFYING)]
    {
        for used_by in [ANY, QUALIFYING] {
            let mut scene = Scene::of(before.clone());
            scene.sign_up("ana");
            scene.sign_up("bea");
            scene.buy("bea", 100);
            let attached = scene.attach("bea", "ana");
            change(&mut scene, first_purchase(used_by));
            if attached.is_err() {
                assert_eq!(attached, refused(Refusal::AlreadyBought(member("bea"))));
                continue;
            }
            let second = scene.buy("bea", 100);
            assert_eq!(second.granted(), [], "{:?} then {used_by:?}", before.earn_on);
            assert_eq!(second.withheld(), [("ana", 1, WithheldReason::NotFirstPurchase)]);
        }
    }
}

#[test]
fn a_purchase_that_earned_nobody_anything_was_the_first_all_the_same() {
    let mut scene = Scene::of(point_per_purchase());
    scene.line(&["ana", "bea"]);
    scene.deactivate("ana");
    assert!(!scene.buy("bea", 100).converted);
    scene.reactivate("ana");
    change(&mut scene, first_purchase(QUALIFYING));
    assert_eq!(scene.buy("bea", 100).withheld(), [("ana", 1, WithheldReason::NotFirstPurchase)]);
}

#[test]
fn whether_a_purchase_was_enough_goes_by_the_rules_of_its_time() {
    // 500 were too little, and still are under the new rules.
    let mut scene = Scene::of(at_least(1_000, point_per_purchase()));
    scene.line(&["ana", "bea", "cem"]);
    scene.buy("bea", 500);
    change(&mut scene, at_least(400, first_purchase(QUALIFYING)));
    assert_eq!(scene.buy("bea", 400).granted(), [("ana", 1, 1)], "500 were not enough then");
    // Where any purchase is the first, 500 was it.
    let mut scene = Scene::of(at_least(1_000, point_per_purchase()));
    scene.line(&["ana", "bea"]);
    scene.buy("bea", 500);
    change(&mut scene, at_least(400, first_purchase(ANY)));
    assert_eq!(scene.buy("bea", 400).granted(), []);
    // 500 were enough, and would not be under the new rules.
    let mut scene = Scene::of(at_least(500, point_per_purchase()));
    scene.line(&["ana", "bea"]);
    scene.buy("bea", 500);
    change(&mut scene, at_least(1_000, first_purchase(QUALIFYING)));
    assert_eq!(scene.buy("bea", 1_000).granted(), []);
}

#[test]
fn a_referral_that_converted_under_other_rules_converts_no_second_time() {
    let mut scene = Scene::of(point_per_purchase());
    scene.line(&["ana", "bea"]);
    scene.buy("bea", 100);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
    change(&mut scene, first_purchase(ANY));
    let second = scene.buy("bea", 100);
    assert_eq!((second.granted(), second.converted), (vec![], false));
}
