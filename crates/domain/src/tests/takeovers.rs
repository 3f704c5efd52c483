//! What becomes of an account when its owner gets it back from somebody else, or when somebody is deactivated.

use crate::decide::{
    ChangePassword, ChangeSecondFactor, Command, ConfirmEmail, Exchange, UpdateProfile,
};
use crate::tests::programs::tiered_points;
use crate::tests::scene::{Scene, profile, refused, user};
use crate::{
    Halt, MAX_ADDRESS_ASKS, PasswordHash, Personal, Refusal, SecondFactor, SecondFactorReason,
    SessionsEnded, Stream as _, User, UserEvent, UserRole,
};

const NAME: &str = "ana";

fn scene() -> Scene {
    let mut scene = Scene::of(tiered_points());
    scene.register(profile(NAME), None, None).unwrap();
    scene
}

/// The events of the user that a command adds.
fn events_of(scene: &mut Scene, command: &Command) -> Result<Vec<UserEvent>, Halt> {
    let before = scene.memory.log().len();
    scene.tell(command)?;
    let added = scene.memory.log()[before..].iter();
    Ok(added.filter_map(|logged| User::event_ref(&logged.event).cloned()).collect())
}

fn new_password(known_changes: Option<u32>, is_by_mail: bool) -> Command {
    Command::ChangePassword(ChangePassword {
        user_id: user(NAME),
        password_hash: PasswordHash("$argon2id$".into()),
        known_changes,
        is_by_mail,
        ended: SessionsEnded::ALL,
    })
}

fn set_up(known_changes: Option<u32>) -> Command {
    let factor =
        SecondFactor { sealed_secret: vec![1; 48], last_period: 7, recovery_hashes: Vec::new() };
    let factor = Some(factor);
    let change = ChangeSecondFactor { user_id: user(NAME), factor, known_changes };
    Command::ChangeSecondFactor(Box::new(change))
}

fn confirm() -> Command {
    let confirm = ConfirmEmail { user_id: user(NAME), version: 0, change: None };
    Command::ConfirmEmail(Box::new(confirm))
}

fn types(events: &[UserEvent]) -> Vec<&'static str> {
    let name = |event: &UserEvent| match event {
        UserEvent::UserPasswordChanged(_) => "password",
        UserEvent::UserEmailConfirmed(_) => "confirmed",
        UserEvent::UserSecondFactorChanged(_) => "factor",
        UserEvent::UserSessionsEnded(_) => "sessions",
        UserEvent::UserDeactivated(_) => "deactivated",
        _ => "another",
    };
    events.iter().map(name).collect()
}

fn has_factor(scene: &Scene) -> bool {
    scene.memory.state::<User>(&user(NAME)).profile().has_second_factor()
}

#[test]
fn a_password_by_mail_confirms_the_address_and_removes_a_factor_that_was_set_up_before() {
    let mut scene = scene();
    scene.tell(&set_up(None)).unwrap();
    // Whoever knows the password has not shown that they read the mails.
    let events = events_of(&mut scene, &new_password(None, false)).unwrap();
    assert_eq!(types(&events), ["password", "sessions"]);
    let events = events_of(&mut scene, &new_password(None, true)).unwrap();
    assert_eq!(types(&events), ["password", "confirmed", "factor", "sessions"]);
    let UserEvent::UserSecondFactorChanged(changed) = &events[2] else { panic!("{events:?}") };
    assert_eq!((changed.is_on, changed.reason), (false, Some(SecondFactorReason::PasswordReset)));
    assert!(!has_factor(&scene));
    assert!(scene.memory.state::<User>(&user(NAME)).profile().is_email_confirmed());
    // One that is set up from now on is the owner's.
    scene.tell(&set_up(None)).unwrap();
    let events = events_of(&mut scene, &new_password(None, true)).unwrap();
    assert_eq!(types(&events), ["password", "sessions"]);
    assert!(has_factor(&scene));
}

#[test]
fn a_factor_that_is_older_than_the_confirmation_goes_and_a_younger_one_stays() {
    for is_older in [true, false] {
        let mut scene = scene();
        let commands = if is_older { [set_up(None), confirm()] } else { [confirm(), set_up(None)] };
        for command in commands {
            scene.tell(&command).unwrap();
        }
        scene.tell(&new_password(None, true)).unwrap();
        assert_eq!(has_factor(&scene), !is_older);
    }
}

#[test]
fn operators_and_admins_keep_their_factor() {
    for role in [UserRole::Operator, UserRole::Admin] {
        let mut scene = scene();
        scene.tell(&set_up(None)).unwrap();
        scene.tell(&Command::SetUserRole { user_id: user(NAME), role }).unwrap();
        scene.tell(&new_password(None, true)).unwrap();
        assert!(has_factor(&scene));
    }
}

#[test]
fn a_factor_that_was_begun_before_a_new_password_is_not_finished_after_it() {
    let mut scene = scene();
    scene.tell(&new_password(Some(0), true)).unwrap();
    let late = scene.tell(&set_up(Some(0)));
    assert_eq!(late, refused(Refusal::PasswordChangedMeanwhile(user(NAME))));
    scene.tell(&set_up(Some(1))).unwrap();
}

#[test]
fn another_address_is_asked_for_so_often_in_an_hour_and_the_last_one_can_be_confirmed() {
    let mut scene = scene();
    let exchange = |number: u32| Exchange {
        from: Personal(format!("{NAME}@example.com")),
        to: Personal(format!("new-{number}@example.com")),
    };
    let ask = |scene: &mut Scene, number: u32| {
        let asked = UpdateProfile {
            user_id: user(NAME),
            version: number,
            username: None,
            display_name: None,
            email: Some(exchange(number)),
            mails: Vec::new(),
        };
        scene.tell(&Command::UpdateProfile(Box::new(asked)))
    };
    for number in 0..MAX_ADDRESS_ASKS {
        ask(&mut scene, number).unwrap();
    }
    let once_more = ask(&mut scene, MAX_ADDRESS_ASKS);
    let Err(Halt::Refused(Refusal::TooManyAddressChanges { wait_seconds, .. })) = once_more else {
        panic!("{once_more:?}")
    };
    // The first one was asked for five seconds ago.
    assert_eq!(wait_seconds, 3_600 - 5 + 1);
    assert_eq!(scene.memory.mailed().len(), MAX_ADDRESS_ASKS as usize);
    scene.memory.set_now(scene.memory.now().plus_seconds(wait_seconds));
    ask(&mut scene, MAX_ADDRESS_ASKS).unwrap();
    assert!(ask(&mut scene, MAX_ADDRESS_ASKS + 1).is_ok(), "the second one is as old by now");

    let asked = MAX_ADDRESS_ASKS + 2;
    let change = Some((exchange(asked - 1), asked));
    let confirm = ConfirmEmail { user_id: user(NAME), version: asked, change };
    scene.tell(&Command::ConfirmEmail(Box::new(confirm))).unwrap();
}

#[test]
fn deactivating_an_operator_or_admin_ends_all_that_they_could_call_with() {
    for (role, expected) in [
        (UserRole::Participant, &["deactivated"][..]),
        (UserRole::Operator, &["deactivated", "sessions"]),
        (UserRole::Admin, &["deactivated", "sessions"]),
    ] {
        let mut scene = scene();
        if role != UserRole::Participant {
            scene.tell(&Command::SetUserRole { user_id: user(NAME), role }).unwrap();
        }
        let deactivate = Command::DeactivateUser { user_id: user(NAME) };
        let events = events_of(&mut scene, &deactivate).unwrap();
        assert_eq!(types(&events), expected);
        if let Some(UserEvent::UserSessionsEnded(ended)) = events.get(1) {
            assert_eq!(ended.sessions, SessionsEnded::ALL);
        }
    }
}
