//! A bonus for both sides at the first purchase that is large enough.

use super::first_purchase_bonus;
use crate::reward::WithheldReason;
use crate::rules::FirstPurchaseUse;
use crate::tests::scene::Scene;
use crate::{ParticipantEvent, ReferralStatus};

/// Ana referred Bea.
fn scene() -> Scene {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.line(&["ana", "bea"]);
    scene
}

#[test]
fn the_first_purchase_of_1000_brings_both_sides_1000_and_converts_the_referral() {
    let mut scene = scene();
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Pending));
    let outcome = scene.buy("bea", 1_000);
    assert_eq!(outcome.granted(), [("bea", 0, 1_000), ("ana", 1, 1_000)]);
    assert!(outcome.converted);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
}

#[test]
fn a_purchase_of_1000_and_the_bonus_are_a_balance_of_2000() {
    let mut scene = scene();
    scene.buy("bea", 1_000);
    let (bea, ana) = (scene.participant("bea"), scene.participant("ana"));
    assert_eq!((bea.balance_minor(), bea.earned_minor()), (2_000, 1_000));
    assert_eq!((ana.balance_minor(), ana.earned_minor()), (1_000, 1_000));
}

#[test]
fn a_purchase_of_999_does_not_use_up_the_chance_of_one_of_1000() {
    let mut scene = scene();
    let small = scene.buy("bea", 999);
    assert_eq!(small.granted(), []);
    assert!(small.withheld().contains(&("ana", 1, WithheldReason::BelowMinimum)));
    assert_eq!(small.withholdings[0].limit_minor, Some(1_000));
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Pending));
    assert!(!scene.participant("bea").first_purchase_used(FirstPurchaseUse::QualifyingPurchase));

    assert!(scene.buy("bea", 1_000).converted);
    assert_eq!(scene.participant("bea").balance_minor(), 999 + 1_000 + 1_000);
}

#[test]
fn three_first_purchases_pay_one_bonus_and_are_all_added_to_the_balance() {
    let mut scene = scene();
    scene.buy("bea", 1_000);
    for _ in 0..2 {
        let later = scene.buy("bea", 5_000);
        assert_eq!((later.granted(), later.converted), (vec![], false));
        assert!(later.withheld().contains(&("ana", 1, WithheldReason::NotFirstPurchase)));
    }
    assert_eq!(scene.participant("bea").balance_minor(), 12_000);
    assert_eq!(scene.participant("ana").balance_minor(), 1_000);
}

#[test]
fn a_purchase_in_another_currency_neither_earns_nor_is_added() {
    let mut scene = scene();
    let outcome = scene.buy_in("bea", 50_000, "EUR");
    assert!(outcome.withheld().contains(&("ana", 1, WithheldReason::CurrencyNotAccepted)));
    assert_eq!(scene.participant("bea").balance_minor(), 0);
    assert!(scene.buy("bea", 1_000).converted, "the chance is still there");
}

#[test]
fn the_purchases_of_a_buyer_whom_nobody_referred_are_added_to_their_balance_alone() {
    let mut scene = scene();
    let outcome = scene.buy("ana", 3_000);
    assert_eq!(outcome.granted(), []);
    assert_eq!(outcome.withheld(), [("nobody", 0, WithheldReason::NotReferred)]);
    assert_eq!(scene.participant("ana").balance_minor(), 3_000);
    assert!(scene.participant("ana").first_purchase_used(FirstPurchaseUse::QualifyingPurchase));
}

#[test]
fn the_entry_of_an_added_purchase_says_the_balance_after_it() {
    let mut scene = scene();
    scene.buy("bea", 700);
    scene.buy("bea", 1_500);
    let mut entries = Vec::new();
    for (_, event) in scene.memory.participant_events_since(0) {
        match event {
            ParticipantEvent::PurchaseCredited(credited) => {
                entries.push((credited.posting.amount, credited.posting.after.balance()));
            }
            ParticipantEvent::RewardGranted(granted) if granted.level == 0 => {
                entries.push((granted.posting.amount, granted.posting.after.balance()));
            }
            _ => {}
        }
    }
    assert_eq!(entries, [(700, 700), (1_500, 2_200), (1_000, 3_200)]);
}

#[test]
fn the_eleventh_sign_up_succeeds_without_a_referrer() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.sign_up("ana");
    let code = scene.code("ana");
    for index in 1..=14 {
        scene.sign_up_with(&format!("friend-{index}"), &code).unwrap();
    }
    let referred = (1..=14).filter(|index| scene.referrer(&format!("friend-{index}")).is_some());
    assert_eq!(referred.collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert_eq!(scene.participant("ana").uses(), 10);

    let unreferred = scene.buy("friend-11", 1_000);
    assert_eq!(unreferred.withheld(), [("nobody", 0, WithheldReason::NotReferred)]);
}

#[test]
fn a_code_with_one_use_left_admits_exactly_one_of_two_sign_ups() {
    let mut rules = first_purchase_bonus();
    rules.max_uses_per_code = Some(1);
    let mut scene = Scene::of(rules);
    scene.sign_up("ana");
    let code = scene.code("ana");
    scene.sign_up_with("bea", &code).unwrap();
    scene.sign_up_with("cem", &code).unwrap();
    assert_eq!(scene.referrer("bea").as_deref(), Some("ana"));
    assert_eq!(scene.referrer("cem"), None);
}

#[test]
fn an_unknown_code_registers_without_a_referrer() {
    let mut scene = scene();
    scene.sign_up_with("cem", "NOSUCHCD").unwrap();
    assert!(scene.participant("cem").exists());
    assert_eq!(scene.referrer("cem"), None);
}

#[test]
fn a_deactivated_referrer_is_skipped_and_the_buyer_still_has_the_bonus() {
    let mut scene = scene();
    scene.deactivate("ana");
    let outcome = scene.buy("bea", 1_000);
    assert_eq!(outcome.granted(), [("bea", 0, 1_000)]);
    assert_eq!(outcome.withheld(), [("ana", 1, WithheldReason::EarnerInactive)]);
    assert!(outcome.converted);
}
