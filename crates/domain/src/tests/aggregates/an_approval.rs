//! What is asked for, and who decides about it.

use super::given;
use crate::tests::scene::{program, user};
use crate::{
    AdjustmentId, ApiKeyId, Approval, ApprovalCommand, ApprovalDeclined, ApprovalEvent,
    ApprovalGranted, ApprovalId, ApprovalRequested, ApprovalState, ApprovalWaived, Asked,
    ParticipantId, Refusal, Staff,
};

fn approval_id() -> ApprovalId {
    let participant = ParticipantId::new(&program("spring"), &user("ada"));
    ApprovalId::adjustment(participant, AdjustmentId::parse("ticket-7").unwrap())
}

fn asked() -> Asked {
    let (unit, reason_code) = ("INR".into(), "goodwill".into());
    Asked::Adjustment { amount_minor: -500, unit, reason_code }
}

fn person(name: &str) -> Staff {
    Staff { user_id: Some(user(name)), key_id: None }
}

fn requested() -> ApprovalEvent {
    let asked_by_user_id = Some(user("olga"));
    ApprovalRequested { asked: asked(), asked_by_user_id, asked_by_key_id: None }.into()
}

fn granted() -> ApprovalEvent {
    let approved_by_key_id = Some(ApiKeyId::parse("k_1").unwrap());
    ApprovalGranted { approved_by_user_id: None, approved_by_key_id }.into()
}

fn declined() -> ApprovalEvent {
    let declined_by_user_id = Some(user("otto"));
    ApprovalDeclined { declined_by_user_id, declined_by_key_id: None }.into()
}

fn grant() -> ApprovalCommand {
    let key_id = Some(ApiKeyId::parse("k_1").unwrap());
    ApprovalCommand::Grant { approval_id: approval_id(), by: Staff { user_id: None, key_id } }
}

fn decline() -> ApprovalCommand {
    ApprovalCommand::Decline { approval_id: approval_id(), by: person("otto") }
}

#[test]
fn names_who_asked_and_who_decided() {
    let request = ApprovalCommand::Request {
        approval_id: approval_id(),
        asked: asked(),
        asked_by: person("olga"),
    };
    given::<Approval>([]).when(request).then_expect_events(vec![requested()]);
    given::<Approval>([requested()]).when(grant()).then_expect_events(vec![granted()]);
    given::<Approval>([requested()]).when(decline()).then_expect_events(vec![declined()]);
}

#[test]
fn is_decided_about_once() {
    for (decision, state) in
        [(granted(), ApprovalState::Approved), (declined(), ApprovalState::Declined)]
    {
        for command in [grant(), decline()] {
            let approval_id = approval_id();
            given::<Approval>([requested(), decision.clone()])
                .when(command)
                .then_expect_error(Refusal::ApprovalDecided { approval_id, state });
        }
    }
}

#[test]
fn what_needs_no_approval_and_what_was_never_asked_for_cannot_be_decided_about() {
    let waived: ApprovalEvent = ApprovalWaived { asked: asked() }.into();
    let waive = ApprovalCommand::Waive { approval_id: approval_id(), asked: asked() };
    given::<Approval>([]).when(waive.clone()).then_expect_events(vec![waived.clone()]);
    for events in [vec![], vec![waived]] {
        for command in [grant(), decline()] {
            given::<Approval>(events.clone())
                .when(command)
                .then_expect_error(Refusal::ApprovalNotFound(approval_id()));
        }
    }
    given::<Approval>([requested()])
        .when(waive)
        .then_expect_error(Refusal::AdjustmentIdReused(approval_id()));
}
