//! Credits for both sides at the first purchase of anything.

use super::first_purchase_credits;
use crate::reward::WithheldReason;
use crate::tests::scene::{Scene, member, refused};
use crate::{EntryKind, ParticipantEvent, ReferralStatus, Refusal};

/// Ana referred Bea.
fn scene() -> Scene {
    let mut scene = Scene::of(first_purchase_credits());
    scene.line(&["ana", "bea"]);
    scene
}

#[test]
fn the_first_purchase_of_anything_grants_2_credits_to_both() {
    let mut scene = scene();
    let outcome = scene.buy_in("bea", 1, "JPY");
    assert_eq!(outcome.granted(), [("bea", 0, 2), ("ana", 1, 2)]);
    let kinds =
        outcome.grants.iter().map(|(_, grant)| (grant.posting.kind, grant.posting.unit.as_str()));
    assert_eq!(kinds.collect::<Vec<_>>(), [(EntryKind::Credit, "CREDITS"); 2]);
    assert_eq!(scene.status("bea"), Some(ReferralStatus::Converted));
}

#[test]
fn a_second_purchase_grants_nothing_and_adds_nothing() {
    let mut scene = scene();
    scene.buy("bea", 5);
    let second = scene.buy("bea", 5);
    assert_eq!(second.granted(), []);
    let not_first = WithheldReason::NotFirstPurchase;
    assert_eq!(second.withheld(), [("bea", 0, not_first), ("ana", 1, not_first)]);
    assert_eq!(scene.participant("bea").balance_minor(), 2);
    assert_eq!(scene.participant("ana").balance_minor(), 2);
}

#[test]
fn a_conversion_says_which_purchase_did_it_and_happens_once() {
    let mut scene = scene();
    scene.purchase("the-first", "bea", 5, "USD", None).unwrap();
    scene.purchase("the-second", "bea", 5, "USD", None).unwrap();
    let conversions: Vec<_> = scene
        .memory
        .participant_events_since(0)
        .filter_map(|(_, event)| match event {
            ParticipantEvent::ReferralConverted(converted) => Some(converted.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(conversions.len(), 1);
    assert_eq!(conversions[0].purchase_id.as_ref().unwrap().as_str(), "the-first");
}

#[test]
fn a_code_has_6_characters() {
    assert_eq!(scene().code("ana").len(), 6);
}

#[test]
fn an_empty_code_is_no_code() {
    let mut scene = scene();
    scene.sign_up_with("cem", "").unwrap();
    scene.sign_up_with("dan", "  ").unwrap();
    assert_eq!((scene.referrer("cem"), scene.referrer("dan")), (None, None));
}

#[test]
fn an_unknown_code_rejects_the_sign_up() {
    let mut scene = scene();
    let result = scene.sign_up_with("cem", "NOCODE");
    assert_eq!(result, refused(Refusal::CodeNotFound("NOCODE".into())));
    assert!(!scene.user_exists("cem"));
}

#[test]
fn a_referrer_cannot_be_attached_after_registration() {
    let mut scene = scene();
    scene.sign_up("cem");
    assert_eq!(scene.attach("cem", "ana"), refused(Refusal::ReferralTooLate(member("cem"))));
}

#[test]
fn a_purchase_that_is_too_small_uses_up_the_chance_where_any_purchase_does() {
    let mut rules = first_purchase_credits();
    rules.minimum_purchase_minor = 1_000;
    rules.purchase_currency_code = Some("USD".into());
    let mut scene = Scene::of(rules);
    scene.line(&["ana", "bea"]);
    scene.buy("bea", 999);
    let second = scene.buy("bea", 1_000);
    assert_eq!(second.granted(), []);
    assert!(second.withheld().contains(&("ana", 1, WithheldReason::NotFirstPurchase)));
}
