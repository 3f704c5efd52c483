//! Payouts: everybody to whom something was available when a payout was created has a line, or a reason why not. What
//! a line reserves follows from what was available then and is when the line is made, and each step of a line moves as
//! much on the participant's stream. What was confirmed without an approval is counted.

use std::collections::HashMap;

use domain::currency::is_currency;
use domain::{
    AnyEvent, ApprovalEvent, Bucket, Kind, ParticipantEvent, PayoutEvent, PayoutLineEvent,
    PayoutLineId, PayoutLineReserved, SkipReason,
};

use super::fields::{forfeit_fields, payout_fields};
use super::world::PersonIndex;
use super::{Judgement, Oracle, RecordedEvent};

/// A payout that collects.
pub(super) struct Collecting {
    minimum_minor: i64,
    /// What was available, when the payout was created, to those who have no line yet.
    due: HashMap<PersonIndex, i64>,
}

/// Takes in what happens to a payout as a whole.
pub(super) fn sort_payout(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    fact: &PayoutEvent,
    command: &[(RecordedEvent, AnyEvent)],
) {
    let (program_id, _) = super::split(&event.stream.id);
    let program = oracle.world.program_index(program_id);
    match fact {
        PayoutEvent::PayoutCreated(created) => {
            let rules = oracle.world.current_version(program).map(|version| version.rules.clone());
            let pays_out = rules.as_ref().is_some_and(|rules| {
                rules.pays_out && is_currency(&rules.unit) && rules.unit == created.unit
            });
            oracle.unless(event.sequence == 1 && pays_out, event, || {
                "expected a payout of a program that pays out, in its currency, found another"
                    .into()
            });
            let all = oracle.world.persons_of(program).map(|(index, _)| index);
            let due = all.map(|person| (person, available(oracle, person)));
            let due = due.filter(|(_, available)| *available != 0).collect();
            let collecting = Collecting { minimum_minor: created.minimum_minor, due };
            oracle.collecting.insert(event.stream.id.clone(), collecting);
        }
        PayoutEvent::PayoutCollected(collected) => {
            let ends = command.iter().any(|(other, fact)| {
                other.stream.id == event.stream.id
                    && matches!(fact, AnyEvent::Payout(PayoutEvent::PayoutCompleted(_)))
            });
            oracle.unless(!ends || collected.line_count == 0, event, || {
                "expected a payout that waits for what the provider says, found its end".into()
            });
            let collecting = oracle.collecting.remove(&event.stream.id);
            let mut left: Vec<_> = collecting.into_iter().flat_map(|of| of.due).collect();
            left.sort_unstable();
            for (person, available) in left {
                let participant = oracle.world.stream_id(person);
                oracle.unless(false, event, || {
                    format!("expected a line of {participant}, who had {available}, found none")
                });
            }
        }
        PayoutEvent::PayoutApprovalWaived(waived) => {
            let paid = paid_line(command, &event.stream.id);
            oracle.unless(paid == Some(waived.amount_minor), event, || {
                let waived = waived.amount_minor;
                format!("expected a line to be paid with {waived}, found {paid:?}")
            });
        }
        PayoutEvent::PayoutConfirmationStarted(_) => {
            oracle.confirming.insert(event.stream.id.clone());
        }
        PayoutEvent::PayoutFailureStarted(_) | PayoutEvent::PayoutCompleted(_) => {}
    }
}

/// The amount of the line of a payout that a command pays.
fn paid_line(command: &[(RecordedEvent, AnyEvent)], payout: &str) -> Option<i64> {
    command.iter().find_map(|(event, fact)| match fact {
        AnyEvent::PayoutLine(PayoutLineEvent::PayoutLinePaid(paid)) => {
            let id = PayoutLineId::parse(&event.stream.id)?;
            (id.payout.to_string() == payout).then_some(paid.amount_minor)
        }
        _ => None,
    })
}

/// Takes in a step of a line, with what must follow.
pub(super) fn sort_line(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    fact: &PayoutLineEvent,
    judgement: &mut Judgement,
    command: &[(RecordedEvent, AnyEvent)],
) {
    let Some(id) = PayoutLineId::parse(&event.stream.id) else {
        oracle.unless(false, event, || "expected the id of a line, found another".into());
        return;
    };
    let person = oracle.world.person_index(id.payout.program_id.as_str(), id.user_id.as_str());
    let available = available(oracle, person) + expired(command, event, &id);
    let of_person = oracle.world.person(person);
    let version = oracle.world.current_version(of_person.program);
    let unit = version.map(|version| version.rules.unit.clone()).unwrap_or_default();
    let (name, amount_minor, kind, bucket) = match fact {
        PayoutLineEvent::PayoutLineSkipped(skipped) => {
            let then = skipped.available_then_minor;
            let due = check_due(oracle, event, &id, person, then);
            let reason = reason(oracle, person, available.min(then), due);
            oracle.unless(reason == Some(skipped.reason), event, || {
                format!("skipped because: expected {reason:?}, found {:?}", skipped.reason)
            });
            return;
        }
        PayoutLineEvent::PayoutLineReserved(reserved) => {
            let then = reserved.available_then_minor;
            let due = check_due(oracle, event, &id, person, then);
            let reason = reason(oracle, person, available.min(then), due);
            oracle.unless(reason.is_none(), event, || {
                format!("expected nobody to be paid who is {reason:?}, found a line")
            });
            check_reserved(oracle, event, reserved, available);
            let amount = reserved.amount_minor;
            ("PayoutReserved", amount, "Transfer", "Available to Reserved")
        }
        PayoutLineEvent::PayoutLinePaid(paid) => {
            check_waiver(oracle, event, &id, command);
            ("PayoutPaid", -paid.amount_minor, "Payout", "Reserved")
        }
        PayoutLineEvent::PayoutLineFailed(failed) => {
            ("PayoutReleased", failed.amount_minor, "Transfer", "Reserved to Available")
        }
        PayoutLineEvent::PayoutLineReturned(returned) => {
            ("PayoutReturned", returned.amount_minor, "Payout", "Available")
        }
    };
    let fields = payout_fields(id.payout.payout_id.as_str(), amount_minor, kind, &unit, bucket);
    judgement.expected.push(oracle.world.expect(person, name, fields));
    let given = if bucket.ends_with("Available") { amount_minor } else { 0 };
    expect_forfeit(oracle, person, given, &unit, judgement);
}

/// What a line says was available when the payout was created must be what was. The minimum of the payout.
fn check_due(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    id: &PayoutLineId,
    person: PersonIndex,
    said: i64,
) -> i64 {
    let collecting = oracle.collecting.get_mut(id.payout.to_string().as_str());
    let (minimum, then) = collecting
        .map_or((1, None), |collecting| (collecting.minimum_minor, collecting.due.remove(&person)));
    oracle.unless(then == Some(said), event, || {
        format!("available when the payout was created: expected {then:?}, found {said}")
    });
    minimum.max(1)
}

/// Why somebody is not paid an amount that they had and have.
fn reason(oracle: &Oracle, person: PersonIndex, amount: i64, minimum: i64) -> Option<SkipReason> {
    let of_person = oracle.world.person(person);
    let user = oracle.world.user(of_person.user);
    let reasons = [
        (user.is_erased, SkipReason::Erased),
        (of_person.is_inactive, SkipReason::Inactive),
        (of_person.referral.is_some_and(|tie| tie.against.is_any), SkipReason::Flagged),
        (amount < 0, SkipReason::InDebt),
        (!user.has_payout_method, SkipReason::NoMethod),
        (amount < minimum, SkipReason::BelowMinimum),
    ];
    reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
}

/// A line is paid by the job of a payout that is confirmed, after an approval, or without one. The last counts towards
/// the limit of the payout.
fn check_waiver(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    id: &PayoutLineId,
    command: &[(RecordedEvent, AnyEvent)],
) {
    let payout = id.payout.to_string();
    let is_counted = command.iter().any(|(event, fact)| {
        *event.stream.id == *payout
            && matches!(fact, AnyEvent::Payout(PayoutEvent::PayoutApprovalWaived(_)))
    });
    let is_approved = command
        .iter()
        .any(|(_, fact)| matches!(fact, AnyEvent::Approval(ApprovalEvent::ApprovalGranted(_))));
    let by_job = oracle.confirming.contains(&*payout);
    oracle.unless(is_counted || is_approved || by_job, event, || {
        "expected a payment after an approval, or one that counts, found another".into()
    });
}

/// What becomes available to somebody who was erased is forfeited.
pub(super) fn expect_forfeit(
    oracle: &Oracle,
    person: PersonIndex,
    given: i64,
    unit: &str,
    judgement: &mut Judgement,
) {
    let is_erased = oracle.world.user(oracle.world.person(person).user).is_erased;
    let left = available(oracle, person) + given;
    if is_erased && given != 0 && left > 0 {
        let fields = forfeit_fields(Bucket::Available, left, Some(unit));
        judgement.expected.push(oracle.world.expect(person, "BalanceForfeited", fields));
    }
}

/// What was available to a participant before the command.
fn available(oracle: &Oracle, person: PersonIndex) -> i64 {
    let parts = oracle.world.person(person).parts.iter();
    parts.filter(|(bucket, _)| *bucket == Bucket::Available).map(|(_, amount)| *amount).sum()
}

/// How what is available to the participant of a line has changed because lots expired earlier in the command.
fn expired(command: &[(RecordedEvent, AnyEvent)], line: &RecordedEvent, id: &PayoutLineId) -> i64 {
    let participant = id.participant().to_string();
    let before = command.iter().filter(|(event, _)| {
        event.stream.kind == Kind::Participant
            && *event.stream.id == *participant
            && event.position < line.position
    });
    before
        .filter_map(|(_, fact)| match fact {
            AnyEvent::Participant(ParticipantEvent::BalanceExpired(expired)) => {
                Some(expired.posting.amount)
            }
            _ => None,
        })
        .sum()
}

fn check_reserved(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    reserved: &PayoutLineReserved,
    available: i64,
) {
    let expected = available.min(reserved.available_then_minor);
    let amount = reserved.amount_minor;
    oracle.unless(amount == expected && amount > 0, event, || {
        format!("expected {expected} to be reserved, found {amount}")
    });
    let parts: i64 = reserved.parts.iter().map(|part| part.amount_minor).sum();
    oracle.unless(parts == amount, event, || format!("expected parts of {amount}, found {parts}"));
}
