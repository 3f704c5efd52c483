//! A fraud flag and the decisions about it.

use super::given;
use crate::fraud::{FlagKind, FraudPolicy, Occasion};
use crate::tests::scene::{program, user};
use crate::{
    FraudDecision, FraudFlag, FraudFlagCommand, FraudFlagEvent, FraudFlagId, FraudFlagRaised,
    FraudFlagRepeated, FraudFlagResolved, Refusal,
};

fn flag() -> FraudFlagId {
    FraudFlagId::parse("flag-1").unwrap()
}

fn raised() -> FraudFlagRaised {
    FraudFlagRaised {
        kind: FlagKind::SelfReferral,
        score_bps: 9_286,
        program_id: program("spring"),
        referee_user_id: Some(user("new")),
        referrer_user_id: Some(user("referrer")),
        other_user_id: Some(user("referrer")),
        occasion: Occasion::Referral,
        consequence: FraudPolicy::Hold,
        evidence: vec![FlagKind::LookAlike],
        evidence_user_ids: vec![user("elder")],
    }
}

fn resolved(decision: FraudDecision, previous_decision: Option<FraudDecision>) -> FraudFlagEvent {
    let program_id = program("spring");
    FraudFlagResolved { program_id, decision, reverses_rewards: false, previous_decision }.into()
}

fn resolve(decision: FraudDecision) -> FraudFlagCommand {
    FraudFlagCommand::Resolve { flag_id: flag(), decision, reverses_rewards: false }
}

#[test]
fn is_raised_once() {
    let raise = || FraudFlagCommand::Raise { flag_id: flag(), raised: raised() };
    given::<FraudFlag>([]).when(raise()).then_expect_events(vec![raised().into()]);
    given::<FraudFlag>([raised().into()])
        .when(raise())
        .then_expect_error(Refusal::FraudFlagIdTaken(flag()));
}

#[test]
fn is_decided_and_the_same_decision_changes_nothing() {
    given::<FraudFlag>([raised().into()])
        .when(resolve(FraudDecision::Released))
        .then_expect_events(vec![resolved(FraudDecision::Released, None)]);
    given::<FraudFlag>([raised().into(), resolved(FraudDecision::Released, None)])
        .when(resolve(FraudDecision::Released))
        .then_expect_events(vec![]);
}

#[test]
fn a_changed_decision_is_a_second_event_that_names_the_first() {
    given::<FraudFlag>([raised().into(), resolved(FraudDecision::Released, None)])
        .when(resolve(FraudDecision::RejectedAndDeactivated))
        .then_expect_events(vec![resolved(
            FraudDecision::RejectedAndDeactivated,
            Some(FraudDecision::Released),
        )]);
}

#[test]
fn a_flag_that_was_never_raised_has_no_decision_and_no_repetition() {
    given::<FraudFlag>([])
        .when(resolve(FraudDecision::Rejected))
        .then_expect_error(Refusal::FraudFlagNotFound(flag()));
    given::<FraudFlag>([])
        .when(FraudFlagCommand::Repeat { flag_id: flag(), count: 2 })
        .then_expect_error(Refusal::FraudFlagNotFound(flag()));
}

#[test]
fn repetitions_have_an_event_when_their_number_has_doubled() {
    let repeat = |count| FraudFlagCommand::Repeat { flag_id: flag(), count };
    let repeated =
        |count| FraudFlagEvent::from(FraudFlagRepeated { program_id: program("spring"), count });
    given::<FraudFlag>([raised().into()]).when(repeat(2)).then_expect_events(vec![repeated(2)]);
    let twice = || given::<FraudFlag>([raised().into(), repeated(2)]);
    twice().when(repeat(3)).then_expect_events(vec![]);
    twice().when(repeat(5)).then_expect_events(vec![repeated(5)]);
}

#[test]
fn a_repetition_after_a_decision_opens_the_flag_again() {
    let repeated = FraudFlagRepeated { program_id: program("spring"), count: 2 };
    let rejected = || resolved(FraudDecision::Rejected, None);
    given::<FraudFlag>([raised().into(), rejected(), repeated.into()])
        .when(resolve(FraudDecision::Rejected))
        .then_expect_events(vec![rejected()]);
}
