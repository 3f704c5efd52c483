//! Payouts: logs of the domain's own decisions have no deviation, and each single change of one has.

use domain::decide::{
    CollectPayoutLine, Command, ConfirmPayout, CreatePayout, FailPayout, ReturnPayoutLine,
};
use domain::{
    PayoutCollected, PayoutId, PayoutKey, PayoutLineId, PayoutMethod, Personal, ProgramId, Staff,
    UserId,
};
use serde_json::{Value, json};

use super::scene::{Scene, changed, deviations, faults, rate, rules, without_type};
use crate::store::RecordedEvent;

fn payout(id: &str) -> PayoutKey {
    let program_id = ProgramId::parse("p").unwrap();
    PayoutKey { program_id, payout_id: PayoutId::parse(id).unwrap() }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn line(id: &str, name: &str) -> PayoutLineId {
    PayoutLineId { payout: payout(id), user_id: user(name) }
}

impl Scene {
    pub(super) fn set_method(&mut self, name: &str) {
        let reference = Personal(name.to_owned());
        let method = Some(PayoutMethod { kind: "sepa".into(), reference });
        assert!(self.tell(&Command::SetPayoutMethod { user_id: user(name), method }));
    }

    pub(super) fn create(&mut self, id: &str) {
        let create = CreatePayout { payout: payout(id), minimum_minor: 1, unit: None };
        assert!(self.tell(&Command::CreatePayout(create)));
    }

    pub(super) fn collect(&mut self, id: &str, name: &str, available_then_minor: i64) {
        let collect = CollectPayoutLine { line_id: line(id, name), available_then_minor };
        assert!(self.tell(&Command::CollectPayoutLine(collect)));
    }

    pub(super) fn end_collection(
        &mut self,
        id: &str,
        line_count: u64,
        total_minor: i64,
        skipped_count: u64,
    ) {
        let collected = PayoutCollected { line_count, total_minor, skipped_count };
        assert!(self.tell(&Command::EndPayoutCollection { payout: payout(id), collected }));
    }

    pub(super) fn pay_out(&mut self, id: &str, name: &str) {
        assert!(self.tell(&Command::ConfirmPayout(Box::new(ConfirmPayout {
            payout: payout(id),
            user_id: Some(user(name)),
            provider_reference: None,
            by: Staff::default(),
            limit_minor: i64::MAX,
        }))));
    }

    fn fail(&mut self, id: &str, name: &str) {
        let user_id = Some(user(name));
        let payout = payout(id);
        let (reason_code, provider_reference, by) = (None, None, Staff::default());
        let fail = FailPayout { payout, user_id, reason_code, provider_reference, by };
        assert!(self.tell(&Command::FailPayout(fail)));
    }

    fn send_back(&mut self, id: &str, name: &str) {
        let line_id = line(id, name);
        let (reason_code, provider_reference, by) = (None, None, Staff::default());
        let back = ReturnPayoutLine { line_id, reason_code, provider_reference, by };
        assert!(self.tell(&Command::ReturnPayoutLine(back)));
    }
}

/// Bob has 100 that expire in one month, 50 that do in the next, and ada 50 in the next. Both are paid, and cid is not.
fn shares() -> Scene {
    let changes = json!({
        "rewards": [rate(1, 1_000, None)], "pays_out": true, "unit": "EUR",
        "purchase_currency_code": "EUR", "expire_months": 2,
    });
    let mut scene = Scene::of(&rules(&changes));
    scene.line(&["ada", "bob", "cid"]);
    for name in ["ada", "bob"] {
        scene.set_method(name);
    }
    assert!(scene.buy_in("EUR", "one", "cid", 1_000));
    scene.days_pass(30);
    assert!(scene.buy_in("EUR", "two", "cid", 500));
    assert!(scene.buy_in("EUR", "three", "bob", 500));
    scene
}

fn is_right(scene: &Scene) {
    assert_eq!(scene.deviations(), [""; 0]);
    assert_eq!(faults(&scene.memory.log), [""; 0]);
}

/// Checks that the oracle or the audit finds something in the log that contains the text.
fn is_found(log: &[RecordedEvent], what: &str) {
    let found = [deviations(log), faults(log)].concat();
    assert!(found.iter().any(|found| found.contains(what)), "{what}: {found:#?}");
}

/// Sets a field of the last event of a type.
fn with(log: &[RecordedEvent], event_type: &str, field: &str, value: &Value) -> Vec<RecordedEvent> {
    let last = log.iter().rfind(|event| &*event.event_type == event_type).unwrap();
    let last: Value = serde_json::from_str(&last.payload).unwrap();
    changed(log, |of, payload| {
        let is_it = of == event_type && *payload == last;
        if is_it {
            *payload.pointer_mut(field).unwrap() = value.clone();
        }
        is_it
    })
}

#[test]
fn each_step_of_a_line_moves_what_the_line_says_and_nothing_else() {
    let mut scene = shares();
    scene.create("may");
    scene.collect("may", "bob", 150);
    scene.collect("may", "ada", 50);
    scene.end_collection("may", 2, 200, 0);
    is_right(&scene);
    let log = &scene.memory.log;
    let of_bob = "expected 200 to be reserved";
    let more = with(log, "PayoutLineReserved", "/amount_minor", &json!(51));
    is_found(&more, "found 51");
    assert!(deviations(&more).iter().all(|found| !found.contains(of_bob)));
    is_found(&with(log, "PayoutLineReserved", "/parts/0/amount_minor", &json!(49)), "parts of 50");
    is_found(&with(log, "PayoutReserved", "/posting/amount", &json!(49)), "amount: expected 50");
    is_found(&with(log, "PayoutReserved", "/posting/expire_time_us", &json!(1)), "but due is");
    is_found(&without_type(log, "PayoutReserved"), "expected PayoutReserved");
    is_found(&without_type(log, "PayoutLineReserved"), "expected nothing, found PayoutReserved");
    is_found(&with(log, "PayoutCollected", "/total_minor", &json!(199)), "are said to come to");

    scene.pay_out("may", "bob");
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&with(log, "PayoutPaid", "/posting/amount", &json!(-149)), "amount: expected -150");
    is_found(&with(log, "PayoutLinePaid", "/amount_minor", &json!(149)), "becomes Paid with 149");
    is_found(&without_type(log, "PayoutPaid"), "expected PayoutPaid");
    is_found(&without_type(log, "PayoutLinePaid"), "expected nothing, found PayoutPaid");

    scene.fail("may", "ada");
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&with(log, "PayoutReleased", "/posting/amount", &json!(51)), "amount: expected 50");
    is_found(&without_type(log, "PayoutReleased"), "expected PayoutReleased");

    scene.days_pass(60);
    scene.send_back("may", "bob");
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&without_type(log, "PayoutReturned"), "amount: expected 150, found 100");
    is_found(&without_type(log, "PayoutLinePaid"), "becomes Returned with 150");
}

#[test]
fn a_line_that_is_paid_twice_is_found() {
    let mut scene = shares();
    scene.create("may");
    scene.collect("may", "bob", 150);
    scene.collect("may", "ada", 50);
    scene.end_collection("may", 2, 200, 0);
    scene.pay_out("may", "bob");
    is_right(&scene);
    let log = &scene.memory.log;
    let [.., line, paid, waived] = &log[..] else { panic!("nothing was paid") };
    let types = [line, paid, waived].map(|event| &*event.event_type);
    assert_eq!(types, ["PayoutLinePaid", "PayoutPaid", "PayoutApprovalWaived"]);
    let mut twice = log.clone();
    for event in [line, paid, waived] {
        let position = i64::try_from(twice.len()).unwrap() + 1;
        let sequence = event.sequence + 1;
        twice.push(RecordedEvent { position, sequence, ..event.clone() });
    }
    is_found(&twice, "becomes Paid with 150");
}

#[test]
fn nobody_is_paid_who_could_not_be_and_what_comes_back_to_the_erased_is_forfeited() {
    let mut scene = shares();
    scene.create("may");
    scene.collect("may", "bob", 150);
    assert!(scene.deactivate("ada"));
    scene.collect("may", "ada", 50);
    scene.end_collection("may", 1, 150, 1);
    is_right(&scene);
    let reserved = json!({
        "type": "PayoutLineReserved", "amount_minor": 50, "unit": "EUR", "available_then_minor": 50,
        "parts": [{ "amount_minor": 50 }],
    });
    let mut log = scene.memory.log.clone();
    let skipped = log.iter_mut().find(|event| {
        &*event.event_type == "PayoutLineSkipped" && event.stream.id.ends_with("ada")
    });
    let skipped = skipped.unwrap();
    skipped.event_type = "PayoutLineReserved".into();
    skipped.payload = reserved.to_string().into();
    is_found(&log, "who is Some(Inactive)");

    scene.pay_out("may", "bob");
    assert!(scene.erase("bob"));
    scene.send_back("may", "bob");
    is_right(&scene);
    is_found(&without_type(&scene.memory.log, "BalanceForfeited"), "expected BalanceForfeited");
}

#[test]
fn lots_that_are_over_may_expire_in_the_command_that_makes_the_line() {
    let mut scene = shares();
    scene.create("may");
    scene.days_pass(60);
    scene.collect("may", "ada", 50);
    scene.collect("may", "bob", 150);
    scene.end_collection("may", 2, 100, 0);
    assert!(scene.memory.log.iter().any(|event| &*event.event_type == "BalanceExpired"));
    is_right(&scene);
    let log = &scene.memory.log;
    let more = with(log, "PayoutLineReserved", "/amount_minor", &json!(51));
    is_found(&more, "expected 50 to be reserved");
    is_found(&without_type(log, "BalanceExpired"), "expected 150 to be reserved");
}

#[test]
fn somebody_whom_a_payout_has_left_out_is_found() {
    let mut scene = shares();
    scene.create("may");
    scene.collect("may", "bob", 150);
    let mut forgetful = scene.clone();
    forgetful.end_collection("may", 1, 150, 0);
    let log = &forgetful.memory.log;
    assert_eq!(faults(log), [""; 0]);
    assert_eq!(deviations(log).len(), 1, "{:?}", deviations(log));
    is_found(log, "expected a line of p/ada, who had 50");

    // Whoever only came to something later is in the next one.
    assert!(scene.buy_in("EUR", "four", "bob", 500));
    scene.collect("may", "ada", 50);
    scene.end_collection("may", 2, 200, 0);
    is_right(&scene);
    let log = &scene.memory.log;
    let then = with(log, "PayoutLineReserved", "/available_then_minor", &json!(100));
    is_found(&then, "expected Some(50), found 100");
}

#[test]
fn somebody_who_is_skipped_for_no_reason_is_found() {
    let mut scene = shares();
    assert!(scene.tell(&Command::SetPayoutMethod { user_id: user("ada"), method: None }));
    scene.create("may");
    scene.collect("may", "ada", 50);
    scene.collect("may", "bob", 150);
    scene.end_collection("may", 1, 150, 1);
    is_right(&scene);
    let log = &scene.memory.log;
    for reason in ["erased", "inactive", "flagged", "in_debt", "below_minimum"] {
        let other = with(log, "PayoutLineSkipped", "/reason", &json!(reason));
        is_found(&other, "skipped because: expected Some(NoMethod)");
    }
    let set = without_type(log, "UserPayoutMethodSet");
    is_found(&set, "skipped because: expected None");
}

#[test]
fn what_was_confirmed_without_an_approval_must_be_counted() {
    let mut scene = shares();
    scene.create("may");
    scene.collect("may", "ada", 50);
    scene.collect("may", "bob", 150);
    scene.end_collection("may", 2, 200, 0);
    scene.pay_out("may", "bob");
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&without_type(log, "PayoutApprovalWaived"), "expected a payment after an approval");
    let less = with(log, "PayoutApprovalWaived", "/amount_minor", &json!(149));
    is_found(&less, "expected a line to be paid with 149, found Some(150)");
}
