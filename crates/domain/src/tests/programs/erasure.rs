//! Erasing users.

use super::{first_purchase_bonus, multi_level_commission, referral_count};
use crate::code::CodeFault;
use crate::decide::Command;
use crate::reward::WithheldReason;
use crate::rules::{AttachPolicy, InvalidCodePolicy, ProgramRules};
use crate::tests::scene::{PROGRAM, Scene, profile, program, refused, user};
use crate::user::UserStatus;
use crate::{
    EntryKind, Halt, Participant, ParticipantEvent, ParticipantId, PurchaseId, Refusal, SideRow,
    User,
};

/// A scene in which ana has earned 5000 from a purchase of bob's.
fn with_earnings() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bob"]);
    assert_eq!(scene.buy("bob", 100_000).granted(), [("ana", 1, 5_000)]);
    scene
}

fn owed() -> Refusal {
    let owed = vec![format!("5000 minor units of INR in '{PROGRAM}'")];
    Refusal::BalanceOwed { user_id: user("ana"), owed }
}

#[test]
fn who_is_owed_something_is_refused_unless_it_is_forfeited() {
    let mut scene = with_earnings();
    let mark = scene.memory.log().len();
    assert_eq!(scene.erase("ana", false), refused(owed()));
    assert!(owed().to_string().contains("is owed 5000 minor units of INR in 'the-program'"));
    assert!(scene.user_exists("ana") && scene.memory.profile(&user("ana")).is_some());

    scene.erase("ana", true).unwrap();
    let events: Vec<_> = scene.memory.participant_events_since(mark).collect();
    let [
        (_, ParticipantEvent::BalanceForfeited(lost)),
        (_, ParticipantEvent::ParticipantErased(_)),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((lost.posting.kind, lost.posting.amount), (EntryKind::Expiry, -5_000));
    let ana = scene.participant("ana");
    assert!(ana.buckets().reconcile());
    assert_eq!((ana.balance_minor(), ana.earned_minor(), ana.buckets().expired), (0, 5_000, 5_000));
}

#[test]
fn an_erased_user_is_gone_with_their_personal_data() {
    let mut scene = Scene::of(multi_level_commission());
    scene.publish("count", referral_count()).unwrap();
    scene.sign_up("ana");
    scene.enroll("ana", "count", None).unwrap();
    scene.deactivate("ana");
    scene.erase("ana", false).unwrap();
    assert_eq!(scene.memory.profile(&user("ana")), None);
    assert!(scene.memory.is_erased(&user("ana")));
    let state = scene.memory.state::<User>(&user("ana"));
    assert_eq!((state.status(), state.exists()), (UserStatus::Erased, false));
    for program_id in [PROGRAM, "count"] {
        let id = ParticipantId::new(&program(program_id), &user("ana"));
        let participant = scene.memory.state::<Participant>(&id);
        assert!(participant.is_erased() && !participant.is_active());
    }
}

#[test]
fn commands_do_not_find_an_erased_user_and_the_id_stays_taken() {
    let mut scene = Scene::of(multi_level_commission());
    scene.publish("count", referral_count()).unwrap();
    scene.line(&["ana", "bob"]);
    scene.erase("ana", false).unwrap();
    let not_found = || refused(Refusal::UserNotFound(user("ana")));
    assert_eq!(scene.erase("ana", true), not_found());
    assert_eq!(scene.enroll("ana", "count", None), not_found());
    assert_eq!(scene.attach("ana", "bob"), not_found());
    scene.sign_up("cem");
    assert_eq!(scene.attach("cem", "ana"), not_found());
    for command in [
        Command::DeactivateUser { user_id: user("ana") },
        Command::ReactivateUser { user_id: user("ana") },
    ] {
        assert_eq!(scene.tell(&command), not_found());
    }
    let bought = scene.purchase("order", "ana", 100_000, "INR", None).map(drop);
    assert_eq!(bought, not_found());
    assert!(
        scene
            .memory
            .state::<crate::Purchase>(&PurchaseId::parse("order").unwrap())
            .recorded()
            .is_none()
    );
    let again = scene.register(profile("ana"), None, None);
    assert_eq!(again, refused(Refusal::UserIdTaken(user("ana"))));
}

#[test]
fn an_erased_user_earns_nothing_and_the_line_above_goes_on_earning() {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["top", "ana", "bob"]);
    scene.erase("ana", false).unwrap();
    let outcome = scene.buy("bob", 100_000);
    assert_eq!(outcome.granted(), [("top", 2, 1_000)]);
    assert_eq!(outcome.withheld(), [("ana", 1, WithheldReason::EarnerInactive)]);
}

#[test]
fn what_others_earned_through_an_erased_user_stays() {
    let mut scene = with_earnings();
    scene.erase("bob", false).unwrap();
    assert_eq!(scene.participant("ana").balance_minor(), 5_000);
    assert_eq!(scene.participant("ana").referrals().counted(), 1);
}

#[test]
fn the_code_of_an_erased_user_is_an_unknown_code() {
    let mut scene = Scene::of(multi_level_commission());
    scene.sign_up("ana");
    let code = scene.code("ana");
    scene.sign_up("bob");
    scene.erase("ana", false).unwrap();
    let unknown = || refused(Refusal::CodeNotFound(code.clone()));
    assert_eq!(scene.sign_up_with("cem", &code), unknown());
    assert_eq!(scene.register(profile("cem"), None, Some(&code)), unknown());
    assert_eq!(scene.attach_by_code("bob", &code), unknown());
    for name in [None, Some("bob")] {
        let verdict = scene.verdict(&code, name).unwrap();
        assert_eq!((verdict.fault, verdict.owner), (Some(CodeFault::Unknown), None));
    }

    let mut scene = Scene::of(ProgramRules {
        unknown_code: InvalidCodePolicy::RegisterUnreferred,
        ..first_purchase_bonus()
    });
    scene.sign_up("ana");
    let code = scene.code("ana");
    scene.erase("ana", false).unwrap();
    scene.sign_up_with("cem", &code).unwrap();
    assert_eq!(scene.referrer("cem"), None);
}

/// Why the code of the latest enrollment was passed over.
fn passed_over(scene: &Scene) -> Option<CodeFault> {
    let events: Vec<_> = scene.memory.participant_events_since(0).collect();
    events.into_iter().rev().find_map(|(_, event)| match event {
        ParticipantEvent::ParticipantEnrolled(enrolled) => Some(enrolled.code_passed_over),
        _ => None,
    })?
}

#[test]
fn the_address_of_an_erased_user_makes_an_account_and_no_referral_in_any_program() {
    let mut scene =
        Scene::of(ProgramRules { attach: AttachPolicy::AnyTime, ..multi_level_commission() });
    scene.publish("count", referral_count()).unwrap();
    scene.sign_up("ana");
    scene.enroll("ana", "count", None).unwrap();
    let code = scene.code("ana");
    let in_count = ParticipantId::new(&program("count"), &user("ana"));
    let code_in_count = scene.memory.state::<Participant>(&in_count).code().to_owned();

    scene.memory.remember_address("key of cem@example.com");
    scene.sign_up_with("cem", &code).unwrap();
    assert_eq!(passed_over(&scene), Some(CodeFault::AddressUsedBefore));
    assert_eq!((scene.referrer("cem"), scene.participant("ana").uses()), (None, 0));

    scene.enroll("cem", "count", Some(&code_in_count)).unwrap();
    assert_eq!(passed_over(&scene), Some(CodeFault::AddressUsedBefore));

    let used_before = || refused(Refusal::AddressUsedBefore(user("cem")));
    assert_eq!(scene.attach("cem", "ana"), used_before());
    assert_eq!(scene.attach_by_code("cem", &code), used_before());
    assert_eq!(scene.fault(&code, Some("cem")), Some(CodeFault::AddressUsedBefore));
    // Others can be referred.
    scene.sign_up_with("dan", &code).unwrap();
    assert_eq!(scene.referrer("dan").as_deref(), Some("ana"));
    // Nor does it change what a code that is unknown does.
    scene.memory.remember_address("key of eve@example.com");
    let unknown = refused(Refusal::CodeNotFound("NOBODYS1".into()));
    assert_eq!(scene.sign_up_with("eve", "NOBODYS1"), unknown);
}

#[test]
fn an_erasure_names_its_function_and_nothing_personal() {
    let row = SideRow::Erasure(user("ana"));
    assert_eq!((row.table(), row.content()), ("erasures", serde_json::json!({ "user_id": "ana" })));
    let halt = Halt::from(owed());
    assert!(!format!("{halt:?}").contains("example.com"));
}
