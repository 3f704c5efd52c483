//! Payouts: what a line reserves follows from what was available when the payout was created and is when the line is
//! made, and each step of a line moves as much on the participant's stream.

use domain::currency::is_currency;
use domain::{Bucket, PayoutEvent, PayoutLineEvent, PayoutLineId, PayoutLineReserved};

use super::fields::{forfeit_fields, payout_fields};
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
) {
    let Some(id) = PayoutLineId::parse(&event.stream.id) else {
        oracle.unless(false, event, || "expected the id of a line, found another".into());
        return;
    };
    let person = oracle.world.person_index(id.payout.program_id.as_str(), id.user_id.as_str());
    let of_person = oracle.world.person(person);
    let available: i64 = of_person
        .parts
        .iter()
        .filter(|(bucket, _)| *bucket == Bucket::Available)
        .map(|(_, amount)| *amount)
        .sum();
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
    // What becomes available to somebody who was erased is forfeited.
    let given = if bucket.ends_with("Available") { amount_minor } else { 0 };
    if is_erased && given != 0 && available + given > 0 {
        let fields = forfeit_fields(Bucket::Available, available + given, Some(&unit));
        judgement.expected.push(oracle.world.expect(person, "BalanceForfeited", fields));
    }
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
