//! Payouts: what a line reserves follows from what was available when the payout was created and is when the line is
//! made, and each step of a line moves as much on the participant's stream.

use domain::currency::is_currency;
use domain::{
    AnyEvent, Bucket, Kind, ParticipantEvent, PayoutEvent, PayoutLineEvent, PayoutLineId,
    PayoutLineReserved,
};

use super::fields::{forfeit_fields, payout_fields};
use super::world::PersonIndex;
use super::{Judgement, Oracle, RecordedEvent};

/// Takes in what happens to a payout as a whole.
pub(super) fn sort_payout(oracle: &mut Oracle, event: &RecordedEvent, fact: &PayoutEvent) {
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
        }
        PayoutEvent::PayoutCollected(_)
        | PayoutEvent::PayoutConfirmationStarted(_)
        | PayoutEvent::PayoutFailureStarted(_)
        | PayoutEvent::PayoutCompleted(_) => {}
    }
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
    let of_person = oracle.world.person(person);
    let available = available(oracle, person) + expired(command, event, &id);
    let is_inactive = of_person.is_inactive;
    let is_erased = oracle.world.user(of_person.user).is_erased;
    let version = oracle.world.current_version(of_person.program);
    let unit = version.map(|version| version.rules.unit.clone()).unwrap_or_default();
    let (name, amount_minor, kind, bucket) = match fact {
        PayoutLineEvent::PayoutLineSkipped(_) => return,
        PayoutLineEvent::PayoutLineReserved(reserved) => {
            check_reserved(oracle, event, reserved, available, is_inactive || is_erased);
            let amount = reserved.amount_minor;
            ("PayoutReserved", amount, "Transfer", "Available to Reserved")
        }
        PayoutLineEvent::PayoutLinePaid(paid) => {
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
    is_barred: bool,
) {
    let expected = available.min(reserved.available_then_minor);
    let amount = reserved.amount_minor;
    oracle.unless(amount == expected && amount > 0 && !is_barred, event, || {
        format!("expected {expected} to be reserved, for somebody active, found {amount}")
    });
    let parts: i64 = reserved.parts.iter().map(|part| part.amount_minor).sum();
    oracle.unless(parts == amount, event, || format!("expected parts of {amount}, found {parts}"));
}
