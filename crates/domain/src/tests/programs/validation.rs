//! Validating a code in advance. If several reasons apply, the first in the defined order is returned.

use super::{first_purchase_bonus, multi_level_commission, tiered_points};
use crate::decide::{CodeFault, validate_code};
use crate::rules::{AttachPolicy, ProgramRules};
use crate::tests::scene::{PROGRAM, Scene, profile, program, refused, user};
use crate::{Bucket, Buckets, EntryKind, Halt, Participant, PurchaseCredited, PurchaseId, Refusal};

/// Ana, Bea and Cem, each without a referrer, in a program whose codes can be used once.
fn scene_with(attach: AttachPolicy) -> Scene {
    let rules = ProgramRules { max_uses_per_code: Some(1), attach, ..first_purchase_bonus() };
    let mut scene = Scene::of(rules);
    for name in ["ana", "bea", "cem"] {
        scene.sign_up(name);
    }
    scene
}

#[test]
fn a_code_that_nobody_has_is_unknown() {
    let scene = scene_with(AttachPolicy::RegistrationOnly);
    for name in [None, Some("ana")] {
        let verdict = scene.verdict("NOSUCHCD", name).unwrap();
        assert_eq!(verdict.fault, Some(CodeFault::Unknown));
        assert_eq!((verdict.owner, verdict.remaining_uses), (None, None));
    }
}

#[test]
fn a_code_of_another_program_is_unknown_in_this_one_and_known_in_all() {
    let mut scene = scene_with(AttachPolicy::RegistrationOnly);
    scene.publish("another", tiered_points()).unwrap();
    scene.register(profile("zoe"), Some("another"), None).unwrap();
    let zoe = crate::ParticipantId::new(&program("another"), &user("zoe"));
    let code = scene.memory.state::<crate::Participant>(&zoe).code().to_owned();
    assert_eq!(scene.fault(&code, None), Some(CodeFault::Unknown));
    let anywhere = scene.memory.ask(|work| validate_code(work, &code, None, None)).unwrap();
    assert_eq!((anywhere.fault, anywhere.owner), (None, Some(zoe)));
    assert_eq!(anywhere.remaining_uses, None, "any number");
}

#[test]
fn a_good_code_says_whose_it_is_and_how_often_it_can_still_be_used() {
    let mut scene = Scene::of(first_purchase_bonus());
    scene.line(&["ana", "bea"]);
    let verdict = scene.verdict(&scene.code("ana").to_lowercase(), None).unwrap();
    assert_eq!((verdict.fault, verdict.owner), (None, Some(Scene::id("ana"))));
    assert_eq!(verdict.remaining_uses, Some(9));
}

#[test]
fn the_smaller_of_two_limits_is_what_remains() {
    let rules = ProgramRules {
        max_uses_per_code: Some(5),
        max_direct_referrals: Some(3),
        ..tiered_points()
    };
    let mut scene = Scene::of(rules);
    scene.line(&["ana", "bea"]);
    let code = scene.code("ana");
    assert_eq!(scene.verdict(&code, None).unwrap().remaining_uses, Some(2));
    scene.refer("ana", "cem");
    scene.refer("ana", "dan");
    let verdict = scene.verdict(&code, None).unwrap();
    assert_eq!((verdict.fault, verdict.remaining_uses), (Some(CodeFault::Exhausted), Some(0)));
    let full = Refusal::ReferrerLimitReached { referrer: user("ana"), limit: 3 };
    assert_eq!(scene.sign_up_with("eve", &code), refused(full));
}

#[test]
fn a_code_without_uses_left_is_exhausted_for_whoever_is_not_in_the_program() {
    let mut scene = scene_with(AttachPolicy::RegistrationOnly);
    scene.refer("ana", "dan");
    scene.register(profile("out"), None, None).unwrap();
    let code = scene.code("ana");
    assert_eq!(scene.fault(&code, None), Some(CodeFault::Exhausted));
    assert_eq!(scene.fault(&code, Some("out")), Some(CodeFault::Exhausted));
}

#[test]
fn the_code_of_a_referral_that_was_rejected_is_not_good_for_its_referee_any_more() {
    let rules = ProgramRules {
        max_uses_per_code: Some(3),
        attach: AttachPolicy::AnyTime,
        ..first_purchase_bonus()
    };
    let mut scene = Scene::of(rules);
    scene.line(&["ana", "bea"]);
    let code = scene.code("ana");
    let verdict = scene.verdict(&code, Some("bea")).unwrap();
    assert_eq!((verdict.fault, verdict.remaining_uses), (None, Some(3)), "one of them is bea's");
    scene.reject("bea").unwrap();
    let verdict = scene.verdict(&code, Some("bea")).unwrap();
    assert_eq!(
        (verdict.fault, verdict.remaining_uses),
        (Some(CodeFault::AlreadyReferred), Some(3)),
        "the use is free again, and not for bea"
    );
    assert_eq!(scene.attach("bea", "ana"), refused(Refusal::AlreadyReferred(Scene::id("bea"))));
}

#[test]
fn ones_own_code_comes_before_having_bought_being_referred_and_exhaustion() {
    let mut scene = scene_with(AttachPolicy::RegistrationOnly);
    scene.refer("ana", "dan");
    scene.refer("dan", "eve");
    scene.buy("dan", 1_000);
    let code = scene.code("dan");
    assert_eq!(scene.fault(&code, Some("dan")), Some(CodeFault::OwnCode));
}

#[test]
fn having_bought_comes_before_being_referred_exhaustion_and_lateness() {
    let mut scene = scene_with(AttachPolicy::RegistrationOnly);
    scene.refer("ana", "dan");
    scene.refer("bea", "eve");
    scene.buy("dan", 1_000);
    let bought = Some(CodeFault::AlreadyBought);
    assert_eq!(scene.fault(&scene.code("bea"), Some("dan")), bought, "referred by ana");
    assert_eq!(scene.fault(&scene.code("ana"), Some("dan")), bought, "their own referrer's code");
    scene.buy("cem", 1_000);
    assert_eq!(scene.fault(&scene.code("bea"), Some("cem")), bought, "exhausted and too late");
}

#[test]
fn being_referred_by_another_comes_before_exhaustion_and_lateness() {
    let mut scene = scene_with(AttachPolicy::RegistrationOnly);
    scene.refer("ana", "dan");
    scene.refer("bea", "eve");
    assert_eq!(scene.fault(&scene.code("bea"), Some("dan")), Some(CodeFault::AlreadyReferred));
}

#[test]
fn exhaustion_comes_before_lateness() {
    let mut scene = scene_with(AttachPolicy::RegistrationOnly);
    assert_eq!(scene.fault(&scene.code("ana"), Some("cem")), Some(CodeFault::TooLate));
    scene.refer("ana", "dan");
    assert_eq!(scene.fault(&scene.code("ana"), Some("cem")), Some(CodeFault::Exhausted));
}

#[test]
fn nobody_is_too_late_where_referrers_can_be_attached_at_any_time() {
    let scene = scene_with(AttachPolicy::AnyTime);
    assert_eq!(scene.fault(&scene.code("ana"), Some("cem")), None);
}

#[test]
fn the_code_through_which_a_user_came_stays_good_for_them_until_they_have_bought() {
    let mut scene = scene_with(AttachPolicy::RegistrationOnly);
    scene.refer("ana", "dan");
    let code = scene.code("ana");
    assert_eq!(scene.fault(&code, Some("dan")), None, "their own use does not count against it");
    scene.buy("dan", 999);
    assert_eq!(scene.fault(&code, Some("dan")), None, "too small to be the first purchase");
    scene.buy("dan", 1_000);
    assert_eq!(scene.fault(&code, Some("dan")), Some(CodeFault::AlreadyBought));
}

#[test]
fn where_every_purchase_earns_nobody_has_bought_too_early() {
    let mut scene = Scene::of(multi_level_commission());
    scene.sign_up("ana");
    scene.sign_up("bea");
    scene.buy("bea", 100_000);
    assert_eq!(scene.fault(&scene.code("ana"), Some("bea")), None);
    scene.attach("bea", "ana").unwrap();
}

#[test]
fn a_user_who_does_not_exist_has_no_answer() {
    let scene = scene_with(AttachPolicy::RegistrationOnly);
    let verdict = scene.verdict(&scene.code("ana"), Some("nobody"));
    assert_eq!(verdict.unwrap_err(), Halt::Refused(Refusal::UserNotFound(user("nobody"))));
}

#[test]
fn asking_takes_no_use() {
    let mut scene = scene_with(AttachPolicy::RegistrationOnly);
    let code = scene.code("ana");
    for _ in 0..3 {
        assert_eq!(scene.fault(&code, None), None);
    }
    scene.sign_up_with("dan", &code).unwrap();
    assert_eq!(scene.referrer("dan").as_deref(), Some("ana"));
    assert!(scene.memory.is_enrolled(&Scene::id("dan")));
    assert_eq!(scene.memory.state::<crate::User>(&user("dan")).programs(), [program(PROGRAM)]);
}

#[test]
fn a_cycle_and_an_inactive_user_are_reasons_as_they_are_for_the_referral() {
    let mut scene = scene_with_many_uses(AttachPolicy::AnyTime);
    scene.refer("ana", "dan");
    scene.refer("dan", "eve");
    let code = scene.code("eve");
    assert_eq!(scene.fault(&code, Some("ana")), Some(CodeFault::Cycle));
    let cycle = Refusal::ReferralCycle { referee: user("ana"), referrer: user("eve") };
    assert_eq!(scene.attach_by_code("ana", &code), refused(cycle));

    scene.deactivate("bea");
    assert_eq!(scene.fault(&code, Some("bea")), Some(CodeFault::UserInactive));
    assert_eq!(scene.fault("NOSUCHCD", Some("bea")), Some(CodeFault::UserInactive));
    for code in [&*code, "NOSUCHCD"] {
        let inactive = refused(Refusal::UserInactive(user("bea")));
        assert_eq!(scene.attach_by_code("bea", code), inactive, "{code}");
    }
    scene.register(profile("out"), None, None).unwrap();
    scene.deactivate("out");
    assert_eq!(scene.fault(&code, Some("out")), Some(CodeFault::UserInactive));
    let inactive = refused(Refusal::UserInactive(user("out")));
    assert_eq!(scene.enroll("out", PROGRAM, Some(&code)), inactive);

    scene.deactivate("ana");
    assert_eq!(scene.fault(&scene.code("ana"), None), None, "an inactive referrer earns nothing");
    scene.sign_up_with("fay", &scene.code("ana")).unwrap();
    assert_eq!(scene.referrer("fay").as_deref(), Some("ana"));
}

fn scene_with_many_uses(attach: AttachPolicy) -> Scene {
    let mut scene = Scene::of(ProgramRules { attach, ..first_purchase_bonus() });
    for name in ["ana", "bea", "cem"] {
        scene.sign_up(name);
    }
    scene
}

#[test]
fn a_user_in_as_many_programs_as_there_can_be_hears_so_before_the_enrollment() {
    let mut scene = scene_with_many_uses(AttachPolicy::RegistrationOnly);
    scene.register(profile("out"), None, None).unwrap();
    for number in 0..crate::MAX_PROGRAMS_PER_USER {
        let id = format!("program-{number}");
        scene.publish(&id, tiered_points()).unwrap();
        scene.enroll("out", &id, None).unwrap();
    }
    for code in [&*scene.code("ana"), "NOSUCHCD"] {
        assert_eq!(scene.fault(code, Some("out")), Some(CodeFault::TooManyPrograms), "{code}");
        let limit = crate::MAX_PROGRAMS_PER_USER;
        let full = Refusal::TooManyPrograms { user_id: user("out"), limit };
        assert_eq!(scene.enroll("out", PROGRAM, Some(code)), refused(full), "{code}");
    }
}

#[test]
fn a_reward_beyond_the_largest_balance_is_foreseen() {
    let mut scene = Scene::of(tiered_points());
    scene.sign_up("ana");
    let code = scene.code("ana");
    let mut fill = |amount| {
        let posting = Buckets::default()
            .post(EntryKind::PurchaseCredit, amount, Bucket::Available, "POINTS")
            .unwrap();
        let purchase_id = PurchaseId::parse("p-1").unwrap();
        let credited = PurchaseCredited { purchase_id, posting };
        scene.memory.given::<Participant>(&Scene::id("ana"), credited.into());
        (scene.fault(&code, None), scene.clone().sign_up_with("ben", &code))
    };
    assert_eq!(fill(i64::MAX - 10), (None, Ok(())));
    let limit = refused(Refusal::BalanceLimitReached(user("ana")));
    assert_eq!(fill(i64::MAX - 9), (Some(CodeFault::BalanceLimit), limit));
}

#[test]
fn a_malformed_code_is_an_unknown_code_to_every_policy() {
    let long = "X".repeat(65);
    for text in ["K7Q2 M9XA", "KÖDE1234", "\u{0}", "https://shop.example/join", &long] {
        let mut scene = Scene::of(first_purchase_bonus());
        scene.sign_up("ana");
        assert_eq!(scene.fault(text, None), Some(CodeFault::Unknown), "{text}");
        scene.sign_up_with("ben", text).unwrap();
        assert_eq!(scene.referrer("ben"), None);

        let mut scene = Scene::of(tiered_points());
        assert_eq!(scene.fault(text, None), Some(CodeFault::Unknown), "{text}");
        let shown = text.chars().take(64).collect();
        let unknown = refused(Refusal::CodeNotFound(shown));
        assert_eq!(scene.sign_up_with("ben", text), unknown, "{text}");
        assert!(!scene.user_exists("ben"));
    }
}

#[test]
fn a_link_is_understood_as_its_code_wherever_a_code_is_taken() {
    let rules = ProgramRules { attach: AttachPolicy::AnyTime, ..first_purchase_bonus() };
    let mut scene = Scene::of(rules);
    scene.sign_up("ana");
    scene.sign_up("cem");
    let code = scene.code("ana").to_lowercase();
    let link = format!("https://shop.example/join?utm_source=mail&Ref={code}#top");
    assert_eq!(scene.fault(&link, None), None);
    scene.sign_up_with("ben", &link).unwrap();
    scene.register(profile("dan"), None, Some(&link)).unwrap();
    scene.register(profile("eve"), None, None).unwrap();
    scene.enroll("eve", PROGRAM, Some(&link)).unwrap();
    scene.attach_by_code("cem", &link).unwrap();
    for name in ["ben", "cem", "dan", "eve"] {
        assert_eq!(scene.referrer(name).as_deref(), Some("ana"), "{name}");
    }
}
