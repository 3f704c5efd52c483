//! An account.

use cqrs_es::Aggregate;

use super::{NOW, given};
use crate::tests::scene::{program, user};
use crate::user::{
    MAX_PROGRAMS_PER_USER, UserDeactivated, UserEnrolled, UserPasswordChanged, UserReactivated,
    UserRegistered, UserSessionsEnded,
};
use crate::{Refusal, SessionId, SessionsEnded, User, UserCommand, UserEvent};

fn registered() -> UserEvent {
    UserRegistered { register_time_us: NOW }.into()
}

fn enrolled(name: &str) -> UserEvent {
    UserEnrolled { program_id: program(name) }.into()
}

#[test]
fn registers() {
    given::<User>([])
        .when(UserCommand::Register { user_id: user("ana"), now: NOW })
        .then_expect_events(vec![registered()]);
}

#[test]
fn registers_once() {
    given::<User>([registered()])
        .when(UserCommand::Register { user_id: user("ana"), now: NOW.plus_seconds(1) })
        .then_expect_error(Refusal::UserIdTaken(user("ana")));
}

#[test]
fn enters_a_program() {
    given::<User>([registered()])
        .when(UserCommand::Enroll { user_id: user("ana"), program_id: program("spring") })
        .then_expect_events(vec![enrolled("spring")]);
}

#[test]
fn enters_a_sixty_fourth_program_and_no_more() {
    let programs = |count| (0..count).map(|index| enrolled(&format!("program-{index}")));
    let enroll = || UserCommand::Enroll { user_id: user("ana"), program_id: program("one-more") };
    given::<User>([registered()])
        .and(programs(MAX_PROGRAMS_PER_USER - 1).collect())
        .when(enroll())
        .then_expect_events(vec![enrolled("one-more")]);
    let limit = MAX_PROGRAMS_PER_USER;
    given::<User>([registered()])
        .and(programs(limit).collect())
        .when(enroll())
        .then_expect_error(Refusal::TooManyPrograms { user_id: user("ana"), limit });
}

#[test]
fn is_deactivated_once() {
    given::<User>([registered()])
        .when(UserCommand::Deactivate { user_id: user("ana") })
        .then_expect_events(vec![UserDeactivated {}.into()]);
    given::<User>([registered(), UserDeactivated {}.into()])
        .when(UserCommand::Deactivate { user_id: user("ana") })
        .then_expect_error(Refusal::UserAlreadyInactive(user("ana")));
}

#[test]
fn is_reactivated_once() {
    let deactivated = || [registered(), UserDeactivated {}.into()];
    given::<User>([registered()])
        .when(UserCommand::Reactivate { user_id: user("ana") })
        .then_expect_error(Refusal::UserAlreadyActive(user("ana")));
    given::<User>(deactivated())
        .when(UserCommand::Reactivate { user_id: user("ana") })
        .then_expect_events(vec![UserReactivated {}.into()]);
    given::<User>(deactivated())
        .and(vec![UserReactivated {}.into()])
        .when(UserCommand::Deactivate { user_id: user("ana") })
        .then_expect_events(vec![UserDeactivated {}.into()]);
}

#[test]
fn counts_the_changes_of_its_password_and_reports_ended_sessions() {
    let ended = SessionsEnded::AllBut(vec![SessionId::parse("s-1").unwrap()]);
    given::<User>([registered()])
        .when(UserCommand::EndSessions { ended: ended.clone() })
        .then_expect_events(vec![UserSessionsEnded { sessions: ended }.into()]);
    let mut state = User::default();
    for event in [registered(), UserPasswordChanged {}.into(), UserPasswordChanged {}.into()] {
        state.apply(event);
    }
    assert_eq!(state.password_changes(), 2);
}

#[test]
fn knows_when_it_was_registered_and_its_programs_in_the_order_of_entering() {
    let mut state = User::default();
    assert!(!state.exists());
    for event in [registered(), enrolled("spring"), enrolled("autumn")] {
        state.apply(event);
    }
    assert_eq!((state.exists(), state.register_time()), (true, NOW));
    assert_eq!(state.programs(), [program("spring"), program("autumn")]);
}
