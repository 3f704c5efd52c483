//! What operators ask for. An adjustment that nobody else has to approve follows from the request, any other from the
//! approval of somebody else, once.

use domain::{
    ApiKeyEvent, ApiKeyId, ApprovalEvent, ApprovalId, ApprovalSubject, Asked, KeyMaker, UserId,
};

use super::fields::adjusted_fields;
use super::{Judgement, Oracle, RecordedEvent};

/// A person or a key; neither for the key of the settings.
pub(super) type Caller = (Option<UserId>, Option<ApiKeyId>);

/// Something that waits for an approval.
pub(super) struct Awaited {
    asked: Asked,
    /// Who asked.
    by: Caller,
}

/// Takes in who answers for a key that somebody has created, or that was created with another key.
pub(super) fn sort_key(oracle: &mut Oracle, event: &RecordedEvent, fact: &ApiKeyEvent) {
    let ApiKeyEvent::ApiKeyCreated(created) = fact else { return };
    let answerable = match (&created.creator_user_id, &created.maker) {
        (Some(user_id), _) => (Some(user_id.clone()), None),
        (None, Some(KeyMaker::Key { key_id })) => (None, Some(key_id.clone())),
        (None, Some(KeyMaker::Settings)) => (None, None),
        (None, None) => return,
    };
    oracle.answerable.insert(event.stream.id.clone(), answerable);
}

/// Who answers for what a caller does.
fn answerable(oracle: &Oracle, caller: &Caller) -> Caller {
    let key = caller.1.as_ref().filter(|_| caller.0.is_none());
    let known = key.and_then(|key_id| oracle.answerable.get(key_id.as_str()));
    known.unwrap_or(caller).clone()
}

/// Takes in what happens to an approval, with what must follow.
pub(super) fn sort(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    fact: &ApprovalEvent,
    judgement: &mut Judgement,
) {
    let Some(id) = ApprovalId::parse(&event.stream.id) else {
        oracle.unless(false, event, || "expected the id of an approval, found another".into());
        return;
    };
    match fact {
        ApprovalEvent::ApprovalRequested(requested) => {
            check_first(oracle, event);
            let by = (requested.asked_by_user_id.clone(), requested.asked_by_key_id.clone());
            let awaited = Awaited { asked: requested.asked.clone(), by };
            oracle.awaited.insert(event.stream.id.clone(), awaited);
        }
        ApprovalEvent::ApprovalWaived(waived) => {
            check_first(oracle, event);
            expect(oracle, event, &id, &waived.asked, judgement);
        }
        ApprovalEvent::ApprovalGranted(granted) => {
            let awaited = oracle.awaited.remove(&event.stream.id);
            oracle.unless(awaited.is_some(), event, || {
                "expected no approval of what nobody asked for or somebody decided about, found one".into()
            });
            let Some(Awaited { asked, by }) = awaited else { return };
            let approver =
                (granted.approved_by_user_id.clone(), granted.approved_by_key_id.clone());
            let is_other = answerable(oracle, &by) != answerable(oracle, &approver);
            oracle.unless(is_other, event, || {
                format!("expected an approval by another than {by:?}, found one by {approver:?}")
            });
            expect(oracle, event, &id, &asked, judgement);
        }
        ApprovalEvent::ApprovalDeclined(_) => {
            let awaited = oracle.awaited.remove(&event.stream.id);
            oracle.unless(awaited.is_some(), event, || {
                "expected nobody to decline what nobody asked for or somebody decided about, found one".into()
            });
        }
    }
}

fn check_first(oracle: &mut Oracle, event: &RecordedEvent) {
    oracle.unless(event.sequence == 1, event, || {
        "expected a request as the first event of its stream, found another".into()
    });
}

/// What was asked for must be done, in the unit of the program, and not to somebody who was erased.
fn expect(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    id: &ApprovalId,
    asked: &Asked,
    judgement: &mut Judgement,
) {
    let (participant, adjustment_id, asked) = match (&id.0, asked) {
        (
            ApprovalSubject::Adjustment { participant, adjustment_id },
            Asked::Adjustment { amount_minor, unit, reason_code },
        ) => (participant, adjustment_id, (amount_minor, unit, reason_code)),
        // What follows is on the stream of the payout or of the line.
        (ApprovalSubject::Payout { .. }, Asked::Payout { .. }) => return,
        (ApprovalSubject::Adjustment { .. }, Asked::Payout { .. })
        | (ApprovalSubject::Payout { .. }, Asked::Adjustment { .. }) => {
            oracle
                .unless(false, event, || "expected what the id names, found something else".into());
            return;
        }
    };
    let (program_id, user_id) = (&participant.program_id, &participant.user_id);
    let person = oracle.world.person_index(program_id.as_str(), user_id.as_str());
    let (program, user) = (oracle.world.person(person).program, oracle.world.person(person).user);
    oracle.unless(!oracle.world.user(user).is_erased, event, || {
        "expected no adjustment for a user who was erased, found one".into()
    });
    let (amount_minor, unit, reason_code) = asked;
    let version = oracle.world.current_version(program);
    let own_unit = version.map(|version| version.rules.unit.clone());
    oracle.unless(own_unit.as_deref() == Some(unit.as_str()), event, || {
        format!("expected the unit {own_unit:?}, found {unit}")
    });
    let fields = adjusted_fields(adjustment_id.as_str(), reason_code, *amount_minor, unit);
    judgement.expected.push(oracle.world.expect(person, "BalanceAdjusted", fields));
}
