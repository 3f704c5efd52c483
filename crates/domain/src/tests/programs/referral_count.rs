//! A plain count.

use super::referral_count;
use crate::code::DEFAULT_ALPHABET;
use crate::tests::scene::{PROGRAM, Scene, profile, refused, user};
use crate::{ClaimKind, Profile, ReferralStatus, Refusal};

fn scene() -> Scene {
    let mut scene = Scene::of(referral_count());
    scene.sign_up("ana");
    scene
}

#[test]
fn eighteen_sign_ups_with_one_code_count_eighteen() {
    let mut scene = scene();
    for referral in 1..=18 {
        let outcome = scene.refer("ana", &format!("friend-{referral}"));
        assert_eq!(outcome.granted(), [("ana", 1, 1)]);
    }
    let ana = scene.participant("ana");
    assert_eq!((ana.uses(), ana.earned_minor(), ana.level(1).count), (18, 18, 18));
    assert_eq!(scene.status("friend-18"), Some(ReferralStatus::Converted));
}

#[test]
fn an_unknown_code_is_not_found_and_makes_no_account() {
    let mut scene = scene();
    let result = scene.sign_up_with("bea", "AAAAAAAA");
    assert_eq!(result, refused(Refusal::CodeNotFound("AAAAAAAA".into())));
    assert!(!scene.user_exists("bea"));
    assert_eq!(scene.memory.owner_of(ClaimKind::Email, "bea@example.com"), None);
}

#[test]
fn an_email_address_can_be_referred_once_in_any_letter_case() {
    let mut scene = scene();
    scene.refer("ana", "bea");
    let again = Profile { email: "BEA@Example.COM".into(), ..profile("bea-again") };
    let code = scene.code("ana");
    let result = scene.register(again, Some(PROGRAM), Some(&code));
    assert_eq!(result, refused(Refusal::Taken(vec!["email"])));
    assert!(!scene.user_exists("bea-again"));
    assert_eq!(scene.participant("ana").uses(), 1);
}

#[test]
fn a_username_is_unique_in_any_letter_case_and_a_display_name_is_not() {
    let mut scene = scene();
    let named = |name| Profile { display_name: "The Best".into(), ..profile(name) };
    scene.register(named("bea"), Some(PROGRAM), None).unwrap();
    scene.register(named("cem"), Some(PROGRAM), None).unwrap();

    let again = Profile { username: "Bea".into(), ..profile("bea-again") };
    let result = scene.register(again, Some(PROGRAM), None);
    assert_eq!(result, refused(Refusal::Taken(vec!["username"])));
    assert_eq!(scene.memory.owner_of(ClaimKind::Username, "bea"), Some("bea"));
}

#[test]
fn the_same_user_signing_up_again_is_refused_and_counted_once() {
    let mut scene = scene();
    scene.refer("ana", "bea");
    let code = scene.code("ana");
    for _ in 0..3 {
        let result = scene.sign_up_with("bea", &code);
        assert_eq!(result, refused(Refusal::UserIdTaken(user("bea"))));
    }
    assert_eq!(scene.participant("ana").earned_minor(), 1);
}

#[test]
fn codes_are_8_different_draws_of_capitals_and_digits() {
    let mut scene = scene();
    let mut codes = std::collections::HashSet::new();
    for index in 0..50 {
        let name = format!("user-{index}");
        scene.sign_up(&name);
        let code = scene.code(&name);
        assert_eq!(code.len(), 8);
        assert!(code.chars().all(|character| DEFAULT_ALPHABET.contains(character)), "{code}");
        assert_eq!(
            scene.memory.owner_of(ClaimKind::Code, &code),
            Some(&*format!("{PROGRAM}/{name}"))
        );
        assert!(codes.insert(code));
    }
}
