//! Commissions on every purchase, for two levels of the upline.

use super::multi_level_commission;
use crate::reward::WithheldReason::{
    BelowMinimum, CapReached, CurrencyNotAccepted, EarnerInactive, NotReferred,
};
use crate::tests::scene::{Scene, refused, user};
use crate::{ReferralStatus, Refusal};

/// Ana referred Bea, who referred Cem.
fn scene() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bea", "cem"]);
    scene
}

#[test]
fn a_purchase_of_100130_pays_5007_and_1001() {
    let mut scene = scene();
    let outcome = scene.buy("cem", 100_130);
    assert_eq!(outcome.granted(), [("bea", 1, 5_007), ("ana", 2, 1_001)]);
    assert_eq!(outcome.withheld(), []);
}

#[test]
fn a_commission_explains_itself() {
    let mut scene = scene();
    scene.buy("cem", 1_000_000);
    let outcome = scene.purchase("order-7", "cem", 200_000, "INR", None).unwrap();
    let (_, direct) = &outcome.grants[0];
    assert_eq!((direct.rule.as_str(), direct.rate_bps), ("direct-commission", Some(500)));
    assert_eq!(direct.purchase_id.as_ref().unwrap().as_str(), "order-7");
    assert_eq!((direct.basis_minor, direct.computed_minor()), (Some(200_000), 10_000));
    assert_eq!((direct.posting.amount, direct.cap_remaining_minor), (10_000, Some(50_000)));
    assert_eq!((direct.level_total_minor(), direct.level_count), (60_000, 2));
    let after = direct.posting.after;
    assert_eq!((after.net_earned(), after.balance()), (60_000, 60_000));
    assert_eq!((direct.source_user_id.as_str(), direct.program_version), ("cem", 1));
    assert_eq!(outcome.grants[1].1.rule, "upline-commission");
}

#[test]
fn every_purchase_earns_and_the_first_one_converts() {
    let mut scene = scene();
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Pending));
    assert!(scene.buy("cem", 100_000).converted);
    let second = scene.buy("cem", 100_000);
    assert_eq!((second.granted().len(), second.converted), (2, false));
    assert_eq!(scene.participant("bea").level(1).count, 2);
}

#[test]
fn a_referral_converts_at_the_first_purchase_that_earns_anybody_anything() {
    let mut scene = scene();
    scene.deactivate("ana");
    scene.deactivate("bea");
    let outcome = scene.buy("cem", 100_000);
    assert_eq!((outcome.granted(), outcome.converted), (vec![], false));
    assert_eq!(scene.status("cem"), Some(ReferralStatus::Pending));
    scene.reactivate("ana");
    let outcome = scene.buy("cem", 100_000);
    assert_eq!((outcome.granted(), outcome.converted), (vec![("ana", 2, 1_000)], true));
}

#[test]
fn the_minimum_itself_earns_and_one_less_is_recorded_with_its_reason() {
    let mut scene = scene();
    let small = scene.buy("cem", 99_999);
    assert_eq!(small.granted(), []);
    assert_eq!(small.withheld(), [("bea", 1, BelowMinimum), ("ana", 2, BelowMinimum)]);
    assert!(small.withholdings.iter().all(|withheld| withheld.limit_minor == Some(100_000)));
    assert_eq!(scene.buy("cem", 100_000).granted(), [("bea", 1, 5_000), ("ana", 2, 1_000)]);
}

#[test]
fn a_purchase_in_another_currency_earns_nothing() {
    let outcome = scene().buy_in("cem", 500_000, "USD");
    let reasons = [("bea", 1, CurrencyNotAccepted), ("ana", 2, CurrencyNotAccepted)];
    assert_eq!(outcome.withheld(), reasons);
}

#[test]
fn the_top_of_a_line_earns_nobody_anything() {
    assert_eq!(scene().buy("ana", 500_000).withheld(), [("nobody", 0, NotReferred)]);
}

#[test]
fn the_commission_that_reaches_the_cap_is_paid_in_part_and_the_other_level_goes_on() {
    let mut scene = scene();
    scene.buy("cem", 1_900_000);
    assert_eq!(scene.participant("bea").level(1).total_minor, 95_000);
    assert_eq!(scene.participant("ana").level(2).total_minor, 19_000);

    let reaching = scene.buy("cem", 200_000);
    assert_eq!(reaching.granted(), [("bea", 1, 5_000), ("ana", 2, 2_000)]);
    let (_, direct) = &reaching.grants[0];
    assert_eq!((direct.computed_minor(), direct.cap_remaining_minor), (10_000, Some(5_000)));

    let later = scene.buy("cem", 200_000);
    assert_eq!(later.granted(), [("ana", 2, 2_000)]);
    assert_eq!(later.withheld(), [("bea", 1, CapReached)]);
    assert_eq!(later.withholdings[0].limit_minor, Some(100_000));
}

#[test]
fn six_purchases_on_a_cap_with_5000_left_pay_5000_in_total() {
    let mut scene = scene();
    scene.buy("cem", 1_900_000);
    let before = scene.participant("bea").earned_minor();
    for _ in 0..6 {
        scene.buy("cem", 100_000);
    }
    assert_eq!(scene.participant("bea").earned_minor() - before, 5_000);
}

#[test]
fn the_caps_of_two_levels_of_one_earner_are_apart() {
    let mut scene = scene();
    scene.buy("bea", 2_000_000);
    assert_eq!(scene.participant("ana").level(1).total_minor, 100_000);
    assert_eq!(scene.buy("bea", 100_000).withheld(), [("ana", 1, CapReached)]);

    let outcome = scene.buy("cem", 100_000);
    assert_eq!(outcome.granted(), [("bea", 1, 5_000), ("ana", 2, 1_000)]);
    assert_eq!(scene.participant("ana").earned_minor(), 101_000);
}

#[test]
fn an_inactive_earner_is_skipped_and_nothing_moves_up() {
    let mut scene = scene();
    scene.deactivate("bea");
    let outcome = scene.buy("cem", 100_000);
    assert_eq!(outcome.granted(), [("ana", 2, 1_000)], "the level above earns its own rate");
    assert_eq!(outcome.withheld(), [("bea", 1, EarnerInactive)]);
}

#[test]
fn nothing_is_paid_later_for_the_time_of_inactivity() {
    let mut scene = scene();
    scene.deactivate("bea");
    scene.buy("cem", 100_000);
    scene.reactivate("bea");
    assert_eq!(scene.participant("bea").earned_minor(), 0);
    assert_eq!(scene.buy("cem", 200_000).granted(), [("bea", 1, 10_000), ("ana", 2, 2_000)]);
    assert_eq!(scene.participant("bea").earned_minor(), 10_000);
}

#[test]
fn an_inactive_buyer_still_makes_the_upline_earn() {
    let mut scene = scene();
    scene.deactivate("cem");
    assert_eq!(scene.buy("cem", 100_000).granted(), [("bea", 1, 5_000), ("ana", 2, 1_000)]);
}

#[test]
fn a_third_level_earns_nothing() {
    let mut scene = scene();
    scene.refer("cem", "dan");
    assert_eq!(scene.buy("dan", 100_000).granted(), [("cem", 1, 5_000), ("bea", 2, 1_000)]);
}

#[test]
fn four_friends_who_buy_add_up_exactly() {
    let mut scene = scene();
    for friend in ["dan", "eve", "fay"] {
        scene.refer("bea", friend);
    }
    for (friend, amount) in [("cem", 100_130), ("dan", 100_110), ("eve", 100_109), ("fay", 333_333)]
    {
        scene.buy(friend, amount);
    }
    assert_eq!(scene.participant("bea").level(1).total_minor, 5_007 + 5_006 + 5_005 + 16_667);
    assert_eq!(scene.participant("ana").level(2).total_minor, 1_001 + 1_001 + 1_001 + 3_333);
}

/// Ana with the maximum number of direct referrals.
fn full_house() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.sign_up("ana");
    for index in 1..=8 {
        scene.refer("ana", &format!("friend-{index}"));
    }
    scene
}

fn no_place() -> Refusal {
    Refusal::ReferrerLimitReached { referrer: user("ana"), limit: 8 }
}

#[test]
fn the_ninth_direct_referral_is_rejected_with_its_account() {
    let mut scene = full_house();
    let code = scene.code("ana");
    assert_eq!(scene.sign_up_with("bea", &code), refused(no_place()));
    assert!(!scene.user_exists("bea"));
}

#[test]
fn a_ninth_referrer_by_name_or_code_is_rejected_after_registration_too() {
    let mut scene = full_house();
    scene.sign_up("bea");
    let code = scene.code("ana");
    assert_eq!(scene.attach("bea", "ana"), refused(no_place()));
    assert_eq!(scene.attach_by_code("bea", &code), refused(no_place()));
    assert_eq!(scene.referrer("bea"), None);
}

#[test]
fn inactive_direct_referrals_keep_their_places() {
    let mut scene = full_house();
    scene.deactivate("friend-3");
    let code = scene.code("ana");
    assert_eq!(scene.sign_up_with("bea", &code), refused(no_place()));
}

#[test]
fn a_full_house_still_grows_one_level_down() {
    let mut scene = full_house();
    scene.refer("friend-1", "bea");
    assert_eq!(scene.buy("bea", 100_000).granted(), [("friend-1", 1, 5_000), ("ana", 2, 1_000)]);
}

#[test]
fn an_unknown_code_rejects_the_sign_up() {
    let result = scene().sign_up_with("dan", "NOSUCHCD");
    assert_eq!(result, refused(Refusal::CodeNotFound("NOSUCHCD".into())));
}

#[test]
fn a_referrer_attached_later_earns_from_then_on_and_never_for_before() {
    let mut scene = scene();
    scene.sign_up("dan");
    assert_eq!(scene.buy("dan", 100_000).granted(), []);
    scene.attach("dan", "bea").unwrap();
    assert_eq!(scene.participant("bea").earned_minor(), 0);
    assert_eq!(scene.buy("dan", 100_000).granted(), [("bea", 1, 5_000), ("ana", 2, 1_000)]);
}
