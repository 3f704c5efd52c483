//! Rules of all programs on accounts and enrollments.

use super::{first_purchase_credits, multi_level_commission, referral_count, tiered_points};
use crate::decide::Command;
use crate::rules::ProgramRules;
use crate::tests::scene::{PROGRAM, Scene, profile, program, refused, user};
use crate::user::{MAX_PROGRAMS_PER_USER, UserStatus};
use crate::{ClaimKind, Participant, ParticipantId, Program, Refusal, User};

fn by_default(rules: ProgramRules) -> ProgramRules {
    ProgramRules { enroll_by_default: true, ..rules }
}

fn programs_of(scene: &Scene, name: &str) -> Vec<String> {
    let state = scene.memory.state::<User>(&user(name));
    state.programs().iter().map(ToString::to_string).collect()
}

#[test]
fn a_sign_up_without_program_and_code_enters_the_programs_that_enrol_by_default() {
    let mut scene = Scene::of(tiered_points());
    scene.publish("count", by_default(referral_count())).unwrap();
    scene.publish("credits", by_default(first_purchase_credits())).unwrap();
    scene.publish("no-longer", by_default(referral_count())).unwrap();
    scene.publish("no-longer", referral_count()).unwrap();
    scene.register(profile("ana"), None, None).unwrap();
    assert_eq!(programs_of(&scene, "ana"), ["count", "credits"]);

    let code_in = |program_id| {
        let id = ParticipantId::new(&program(program_id), &user("ana"));
        scene.memory.state::<Participant>(&id).code().to_owned()
    };
    assert_eq!((code_in("count").len(), code_in("credits").len()), (8, 6));
}

#[test]
fn a_program_is_listed_and_is_a_default_only_if_it_ever_said_so() {
    let mut scene = Scene::of(tiered_points());
    scene.publish("count", by_default(referral_count())).unwrap();
    let owner = |kind, name| scene.memory.owner_of(kind, name);
    assert_eq!(owner(ClaimKind::Program, PROGRAM), Some(PROGRAM));
    // Claimed by number.
    assert_eq!(owner(ClaimKind::DefaultProgram, "1"), Some("count"));
    assert_eq!(owner(ClaimKind::DefaultProgram, "2"), None);
}

#[test]
fn a_sign_up_that_names_a_program_enters_that_one_only() {
    let mut scene = Scene::of(tiered_points());
    scene.publish("count", by_default(referral_count())).unwrap();
    scene.sign_up("ana");
    assert_eq!(programs_of(&scene, "ana"), [PROGRAM]);
}

#[test]
fn a_program_that_enrols_by_default_again_does_so_again() {
    let mut scene = Scene::of(tiered_points());
    for rules in [by_default(referral_count()), referral_count(), by_default(referral_count())] {
        scene.publish("count", rules).unwrap();
    }
    scene.register(profile("ana"), None, None).unwrap();
    assert_eq!(programs_of(&scene, "ana"), ["count"]);
}

#[test]
fn a_sign_up_in_a_program_that_does_not_exist_is_refused() {
    let mut scene = Scene::of(tiered_points());
    let result = scene.register(profile("ana"), Some("nowhere"), None);
    assert_eq!(result, refused(Refusal::ProgramNotFound(program("nowhere"))));
    assert!(!scene.user_exists("ana"));
}

#[test]
fn personal_data_stands_beside_the_log_and_not_in_it() {
    let mut scene = Scene::of(tiered_points());
    let who = crate::Profile {
        email: "Secret@Example.com".into(),
        username: "the-secret-name".into(),
        display_name: "Secret Display".into(),
        password_hash: Some("$argon2id$secret".into()),
        ..profile("ana")
    };
    scene.register(who, Some(PROGRAM), None).unwrap();
    let log = format!("{:?}", scene.memory.log()).to_lowercase();
    assert!(!log.contains("secret") && log.contains("ana"));
    assert_eq!(scene.memory.profile(&user("ana")).unwrap().email, "Secret@Example.com");
    let shown = format!("{:?}", scene.memory.profile(&user("ana")).unwrap());
    assert!(!shown.to_lowercase().contains("secret"), "{shown}");
}

#[test]
fn nobody_enters_a_program_twice() {
    let mut scene = Scene::of(tiered_points());
    scene.sign_up("ana");
    let result = scene.enroll("ana", PROGRAM, None);
    assert_eq!(result, refused(Refusal::AlreadyEnrolled(Scene::id("ana"))));
}

#[test]
fn only_active_users_enter_programs_that_exist() {
    let mut scene = Scene::of(tiered_points());
    scene.register(profile("ana"), None, None).unwrap();
    let result = scene.enroll("bea", PROGRAM, None);
    assert_eq!(result, refused(Refusal::UserNotFound(user("bea"))));
    let result = scene.enroll("ana", "nowhere", None);
    assert_eq!(result, refused(Refusal::ProgramNotFound(program("nowhere"))));
    scene.deactivate("ana");
    let result = scene.enroll("ana", PROGRAM, None);
    assert_eq!(result, refused(Refusal::UserInactive(user("ana"))));
    scene.reactivate("ana");
    scene.enroll("ana", PROGRAM, None).unwrap();
}

#[test]
fn a_user_enters_at_most_64_programs() {
    let mut scene = Scene::of(tiered_points());
    scene.sign_up("ana");
    for index in 1..MAX_PROGRAMS_PER_USER {
        let name = format!("program-{index}");
        scene.publish(&name, referral_count()).unwrap();
        scene.enroll("ana", &name, None).unwrap();
    }
    scene.publish("one-more", referral_count()).unwrap();
    let too_many = Refusal::TooManyPrograms { user_id: user("ana"), limit: MAX_PROGRAMS_PER_USER };
    assert_eq!(scene.enroll("ana", "one-more", None), refused(too_many));
}

#[test]
fn at_most_64_programs_enrol_by_default_and_one_that_ceases_makes_room() {
    let mut scene = Scene::of(tiered_points());
    let name = |index: u32| format!("program-{index}");
    for index in 0..MAX_PROGRAMS_PER_USER {
        scene.publish(&name(index), by_default(referral_count())).unwrap();
    }
    let too_many = |program_id: &str| {
        let program_id = program(program_id);
        refused(Refusal::TooManyDefaultPrograms { program_id, limit: MAX_PROGRAMS_PER_USER })
    };
    assert_eq!(scene.publish("new", by_default(referral_count())), too_many("new"));
    // A version of a program that enrols by default already is no further one.
    let changed = ProgramRules { max_direct_referrals: Some(3), ..referral_count() };
    scene.publish(&name(0), by_default(changed)).unwrap();

    scene.publish(&name(1), referral_count()).unwrap();
    scene.publish("new", by_default(referral_count())).unwrap();
    assert_eq!(scene.publish(&name(1), by_default(referral_count())), too_many(&name(1)));
    scene.register(profile("ana"), None, None).unwrap();
    let entered = programs_of(&scene, "ana");
    assert_eq!(entered.len(), MAX_PROGRAMS_PER_USER as usize);
    assert!(entered.contains(&"new".to_owned()) && !entered.contains(&name(1)));
}

#[test]
fn deactivating_a_user_reaches_every_program_and_so_does_reactivating() {
    let mut scene = Scene::of(multi_level_commission());
    scene.publish("count", referral_count()).unwrap();
    scene.sign_up("ana");
    scene.enroll("ana", "count", None).unwrap();
    let id = ParticipantId::new(&program("count"), &user("ana"));

    scene.deactivate("ana");
    assert_eq!(scene.memory.state::<User>(&user("ana")).status(), UserStatus::Inactive);
    assert!(!scene.participant("ana").is_active());
    assert!(!scene.memory.state::<Participant>(&id).is_active());

    scene.reactivate("ana");
    let now = Some(scene.memory.now());
    assert_eq!(scene.memory.state::<User>(&user("ana")).status(), UserStatus::Active);
    for participant in [scene.participant("ana"), scene.memory.state::<Participant>(&id)] {
        assert_eq!((participant.is_active(), participant.reactivate_time()), (true, now));
    }
}

#[test]
fn a_user_who_does_not_exist_cannot_be_deactivated_or_reactivated() {
    let mut scene = Scene::of(multi_level_commission());
    for command in [
        Command::DeactivateUser { user_id: user("ana") },
        Command::ReactivateUser { user_id: user("ana") },
    ] {
        assert_eq!(scene.tell(&command), refused(Refusal::UserNotFound(user("ana"))));
    }
}

#[test]
fn the_same_rules_published_again_make_no_version() {
    let mut scene = Scene::of(tiered_points());
    scene.publish(PROGRAM, tiered_points()).unwrap();
    let state = scene.memory.state::<Program>(&program(PROGRAM));
    assert_eq!(state.current().unwrap().version, 1);
}
