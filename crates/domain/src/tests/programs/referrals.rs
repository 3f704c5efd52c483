//! Rules of all programs on referrals.

use super::{first_purchase_bonus, multi_level_commission, referral_count, tiered_points};
use crate::decide::{ApplyReferral, Command, Referrer};
use crate::rules::InvalidCodePolicy;
use crate::tests::memory_work::Reading;
use crate::tests::scene::{PROGRAM, Scene, member, profile, program, refused, user};
use crate::{ParticipantId, Refusal};

/// A program in which a referrer can be attached at any time.
fn any_time() -> Scene {
    Scene::of(multi_level_commission())
}

/// The refusal of a referral that would create a cycle.
fn circle(referee: &str, referrer: &str) -> Refusal {
    Refusal::ReferralCycle { referee: user(referee), referrer: user(referrer) }
}

#[test]
fn a_code_is_accepted_in_any_letter_case_and_between_blanks() {
    let mut scene = Scene::of(tiered_points());
    scene.sign_up("ana");
    let code = scene.code("ana");
    let mixed: String = code
        .char_indices()
        .map(|(at, letter)| if at % 2 == 0 { letter.to_ascii_lowercase() } else { letter })
        .collect();
    for (name, written) in
        [("bea", code.to_lowercase()), ("cem", mixed), ("dan", format!(" {code}\t"))]
    {
        scene.sign_up_with(name, &written).unwrap();
        assert_eq!(scene.referrer(name).as_deref(), Some("ana"), "{written:?}");
    }
}

#[test]
fn a_link_is_the_base_url_with_the_code() {
    let rules = tiered_points();
    assert_eq!(rules.link("K7Q2M9XA"), "https://example.com/join?ref=K7Q2M9XA");
    let without = crate::rules::ProgramRules { base_url: String::new(), ..rules };
    assert_eq!(without.link("K7Q2M9XA"), "");
}

#[test]
fn a_referrer_stays_for_good() {
    let mut scene = any_time();
    scene.line(&["ana", "bea"]);
    scene.sign_up("cem");
    let already = Refusal::AlreadyReferred(member("bea"));
    assert_eq!(scene.attach("bea", "ana"), refused(already.clone()), "the same one again");
    assert_eq!(scene.attach("bea", "cem"), refused(already.clone()), "another one");
    scene.deactivate("ana");
    assert_eq!(scene.attach("bea", "cem"), refused(already), "after the first one left");
    assert_eq!(scene.referrer("bea").as_deref(), Some("ana"));
    assert_eq!(scene.participant("ana").uses(), 1);
}

#[test]
fn nobody_refers_themselves() {
    let mut scene = any_time();
    scene.sign_up("ana");
    let code = scene.code("ana").to_lowercase();
    assert_eq!(scene.attach("ana", "ana"), refused(Refusal::SelfReferral(user("ana"))));
    assert_eq!(scene.attach_by_code("ana", &code), refused(Refusal::SelfReferral(user("ana"))));
}

#[test]
fn a_referrer_is_attached_by_name_or_by_code_in_any_letter_case() {
    let mut scene = any_time();
    for name in ["ana", "bea", "cem"] {
        scene.sign_up(name);
    }
    let code = scene.code("ana").to_lowercase();
    scene.attach("bea", "ana").unwrap();
    scene.attach_by_code("cem", &code).unwrap();
    assert_eq!(scene.referrer("bea").as_deref(), Some("ana"));
    assert_eq!(scene.referrer("cem").as_deref(), Some("ana"));
    assert_eq!(scene.participant("ana").uses(), 2);
    assert_eq!(scene.memory.referrals().len(), 2, "both are written down beside the log");
}

#[test]
fn a_code_without_a_program_attaches_in_the_program_of_the_code() {
    let mut scene = any_time();
    scene.sign_up("ana");
    scene.sign_up("bea");
    let referrer = Referrer::Code(scene.code("ana"));
    let apply = ApplyReferral { program_id: None, referee_user_id: user("bea"), referrer };
    scene.tell(&Command::ApplyReferral(apply)).unwrap();
    assert_eq!(scene.referrer("bea").as_deref(), Some("ana"));
}

#[test]
fn only_participants_and_codes_of_the_program_can_be_attached() {
    let mut scene = any_time();
    scene.publish("another", referral_count()).unwrap();
    scene.register(profile("out"), Some("another"), None).unwrap();
    scene.sign_up("ana");
    let missing = |name| Refusal::ParticipantNotFound(Scene::id(name));
    assert_eq!(scene.attach("ana", "out"), refused(missing("out")));
    assert_eq!(scene.attach("out", "ana"), refused(missing("out")));

    let another = ParticipantId::new(&program("another"), &user("out"));
    let foreign: String = scene.memory.state::<crate::Participant>(&another).code().to_owned();
    let unknown = Refusal::CodeNotFound(foreign.clone());
    assert_eq!(scene.attach_by_code("ana", &foreign), refused(unknown));
}

#[test]
fn an_inactive_user_cannot_be_given_a_referrer() {
    let mut scene = any_time();
    scene.sign_up("ana");
    scene.sign_up("bea");
    scene.deactivate("bea");
    assert_eq!(scene.attach("bea", "ana"), refused(Refusal::UserInactive(user("bea"))));
}

#[test]
fn a_buyer_whose_first_purchase_is_behind_them_cannot_be_given_a_referrer() {
    let mut rules = first_purchase_bonus();
    rules.attach = crate::rules::AttachPolicy::AnyTime;
    let mut scene = Scene::of(rules);
    for name in ["ana", "bea", "cem"] {
        scene.sign_up(name);
    }
    scene.buy("bea", 999);
    scene.attach("bea", "ana").unwrap();
    scene.buy("cem", 1_000);
    assert_eq!(scene.attach("cem", "ana"), refused(Refusal::AlreadyBought(member("cem"))));
}

// No circle of any length.

fn line_of(length: usize) -> (Scene, Vec<String>) {
    let mut scene = any_time();
    let names: Vec<_> = (0..length).map(|index| format!("member-{index}")).collect();
    scene.line(&names.iter().map(String::as_str).collect::<Vec<_>>());
    (scene, names)
}

#[test]
fn no_circle_of_2_3_or_20_can_be_closed() {
    for length in [2, 3, 20] {
        let (mut scene, names) = line_of(length);
        let (top, bottom) = (&names[0], &names[length - 1]);
        let result = scene.attach(top, bottom);
        assert_eq!(result, refused(circle(top, bottom)), "a circle of {length}");
        assert_eq!(scene.referrer(top), None);
    }
}

#[test]
fn the_top_of_a_line_cannot_be_put_under_its_middle() {
    let (mut scene, names) = line_of(20);
    assert_eq!(scene.attach(&names[0], &names[9]), refused(circle(&names[0], &names[9])));
}

#[test]
fn the_top_of_a_line_can_be_put_under_another_line() {
    let (mut scene, names) = line_of(3);
    scene.line(&["ana", "bea"]);
    scene.attach(&names[0], "bea").unwrap();
    assert_eq!(scene.referrer(&names[0]).as_deref(), Some("bea"));
    assert_eq!(scene.attach("ana", &names[2]), refused(circle("ana", &names[2])));
}

#[test]
fn no_circle_can_be_closed_by_referrals_that_a_walk_has_not_heard_of() {
    let mut scene = any_time();
    scene.line(&["ana", "bea"]);
    for name in ["cem", "dan", "eve"] {
        scene.sign_up(name);
    }
    scene.memory.walk_as_of_now();
    // Not known to the walk: eve - dan - cem - ana, and below her bea.
    scene.attach("ana", "cem").unwrap();
    scene.attach("cem", "dan").unwrap();
    assert_eq!(scene.attach("cem", "bea"), refused(Refusal::AlreadyReferred(member("cem"))));
    assert_eq!(scene.attach("dan", "bea"), refused(circle("dan", "bea")));
    scene.attach("dan", "eve").unwrap();
    scene.refer("eve", "fay");
    assert_eq!(scene.attach("eve", "bea"), refused(circle("eve", "bea")));
    assert_eq!(scene.attach("eve", "dan"), refused(circle("eve", "dan")));
}

#[test]
fn referrals_that_a_walk_has_not_heard_of_are_in_the_way_of_no_others() {
    let mut scene = any_time();
    scene.line(&["ana", "bea"]);
    scene.line(&["zoe", "yan"]);
    scene.sign_up("cem");
    scene.memory.walk_as_of_now();
    scene.attach("ana", "cem").unwrap();
    scene.attach("zoe", "bea").unwrap();
    assert_eq!(scene.referrer("zoe").as_deref(), Some("bea"));
}

#[test]
fn a_server_with_nothing_in_memory_closes_no_circle_either() {
    let mut scene = Scene::read(Reading::Cold, multi_level_commission());
    scene.line(&["ana", "bea", "cem"]);
    assert_eq!(scene.attach("ana", "cem"), refused(circle("ana", "cem")));
}

// Which program a code counts in.

#[test]
fn a_code_of_another_program_is_unknown_in_the_program_that_is_named() {
    for policy in [InvalidCodePolicy::Reject, InvalidCodePolicy::RegisterUnreferred] {
        let mut rules = tiered_points();
        rules.unknown_code = policy;
        let mut scene = Scene::of(rules);
        scene.publish("another", referral_count()).unwrap();
        scene.sign_up("ana");
        let code = scene.code("ana");
        let result = scene.register(profile("bea"), Some("another"), Some(&code));
        let unknown = refused(Refusal::CodeNotFound(code.clone()));
        assert_eq!(result, unknown, "the policy of the program that is named decides");
        assert_eq!(scene.participant("ana").uses(), 0);

        scene.register(profile("cem"), Some("another"), None).unwrap();
        let another = ParticipantId::new(&program("another"), &user("cem"));
        let foreign: String = scene.memory.state::<crate::Participant>(&another).code().to_owned();
        let result = scene.sign_up_with("dan", &foreign);
        match policy {
            InvalidCodePolicy::Reject => {
                assert_eq!(result, refused(Refusal::CodeNotFound(foreign)));
            }
            InvalidCodePolicy::RegisterUnreferred => {
                result.unwrap();
                assert_eq!(scene.referrer("dan"), None);
            }
        }
    }
}

#[test]
fn a_code_without_a_program_enrols_in_the_program_of_the_code_only() {
    let mut default = referral_count();
    default.enroll_by_default = true;
    let mut scene = any_time();
    scene.publish("by-default", default).unwrap();
    scene.sign_up("ana");
    let code = scene.code("ana");
    scene.register(profile("bea"), None, Some(&code)).unwrap();
    assert_eq!(scene.referrer("bea").as_deref(), Some("ana"));
    let by_default = ParticipantId::new(&program("by-default"), &user("bea"));
    assert!(!scene.memory.is_enrolled(&by_default));
    assert!(scene.memory.is_enrolled(&Scene::id("bea")));
}

#[test]
fn an_unknown_code_without_a_program_is_not_found_whatever_programs_say() {
    let mut scene = Scene::of(first_purchase_bonus());
    let result = scene.register(profile("ana"), None, Some("NOSUCHCD"));
    assert_eq!(result, refused(Refusal::CodeNotFound("NOSUCHCD".into())));
    assert!(!scene.user_exists("ana"));
}

#[test]
fn a_code_can_be_used_with_the_enrolment_that_makes_the_participant() {
    let mut scene = Scene::of(tiered_points());
    scene.sign_up("ana");
    scene.register(profile("bea"), None, None).unwrap();
    let code = scene.code("ana").to_lowercase();
    scene.enroll("bea", PROGRAM, Some(&code)).unwrap();
    assert_eq!(scene.referrer("bea").as_deref(), Some("ana"));
    assert_eq!(scene.participant("ana").earned_minor(), 10);
}

#[test]
fn an_enrolment_with_an_unknown_code_goes_by_the_policy() {
    for (rules, is_refused) in [(tiered_points(), true), (first_purchase_bonus(), false)] {
        let mut scene = Scene::of(rules);
        scene.register(profile("bea"), None, None).unwrap();
        let result = scene.enroll("bea", PROGRAM, Some("NOSUCHCD"));
        assert_eq!(result.is_err(), is_refused);
        assert_eq!(scene.participant("bea").exists(), !is_refused);
    }
}
