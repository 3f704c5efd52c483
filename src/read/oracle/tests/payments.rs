//! A purchase, and what has gone back of it before it was heard of, in one command: the same as one after the other.

use domain::DisputeOutcome;
use domain::decide::Report;
use serde_json::{Value, json};

use super::scene::{
    Scene, cancelled, changed, closed, deviations, disputed, faults, flat, rate, refunded, rules,
    tiers, without,
};

/// Ada referred bob, bob referred cid; each purchase of cid pays 10% to bob, at most 400, and 5 to ada.
fn line() -> Scene {
    let rewards = [rate(1, 1_000, Some(400)), flat(2, 5, None)];
    scene(&json!({ "rewards": rewards, "credit_purchases": true }))
}

fn scene(changes: &Value) -> Scene {
    let mut scene = Scene::of(&rules(changes));
    scene.line(&["ada", "bob", "cid"]);
    scene
}

fn refund(refund: &str, amount_minor: i64) -> Report {
    Report::Refunded(refunded("one", refund, amount_minor))
}

fn cancel(refund: &str) -> Report {
    Report::RefundCancelled(cancelled("one", refund))
}

fn dispute(amount_minor: i64) -> Report {
    Report::DisputeOpened(disputed("one", "d", amount_minor))
}

fn close(outcome: DisputeOutcome) -> Report {
    Report::DisputeClosed(closed("one", "d", outcome))
}

/// What can be told of a payment of 1,000 in one command.
fn stories() -> Vec<Vec<Report>> {
    vec![
        vec![refund("part", 333)],
        vec![refund("part", 333), refund("rest", 667)],
        vec![refund("all", 1_000), cancel("all")],
        vec![refund("part", 100), cancel("part"), refund("all", 1_000), cancel("all")],
        vec![dispute(400)],
        vec![dispute(400), dispute(1_000)],
        vec![dispute(400), close(DisputeOutcome::Won)],
        vec![refund("part", 333), dispute(1_000), close(DisputeOutcome::Lost)],
        vec![dispute(1_000), refund("part", 333), close(DisputeOutcome::Withdrawn)],
    ]
}

fn scenes() -> Vec<Scene> {
    let first = json!({ "first_purchase": { "used_by": "qualifying_purchase" } });
    let shares = [flat(0, 3, None), flat(1, 7, Some(10))];
    let minimum = json!({ "rewards": shares, "earn_on": first, "minimum_purchase_minor": 700, "hold_days": 3 });
    let points = json!({ "rewards": [tiers()], "earn_on": first });
    vec![line(), scene(&minimum), scene(&points)]
}

#[test]
fn a_payment_with_what_went_back_of_it_before_has_no_deviation() {
    for (scene, story) in scenes().iter().flat_map(|of| stories().into_iter().map(move |s| (of, s)))
    {
        let mut scene = scene.clone();
        assert!(scene.pay("one", ("cid", 1_000), story.clone()));
        assert_eq!(scene.deviations(), [""; 0], "{story:?}");
        assert_eq!(faults(&scene.memory.log), [""; 0], "{story:?}");
        let records =
            scene.memory.log.iter().filter(|event| &*event.event_type == "PurchaseRecorded");
        let events = records.map(|event| event.command_events.unwrap_or_default());
        let [events] = events.collect::<Vec<_>>()[..] else { panic!("one purchase") };
        assert!(events > i64::try_from(story.len()).unwrap(), "they are one command: {story:?}");
        // What comes afterwards rests on it.
        assert!(scene.refund("one", "last", 1_000) && scene.buy("two", "cid", 900));
        assert_eq!(scene.deviations(), [""; 0], "{story:?}, then the rest");
    }
}

#[test]
fn a_single_posting_that_is_wrong_in_such_a_command_is_found() {
    let mut falsified = 0;
    for (scene, story) in scenes().iter().flat_map(|of| stories().into_iter().map(move |s| (of, s)))
    {
        let mut scene = scene.clone();
        let before = scene.memory.log.len();
        assert!(scene.pay("one", ("cid", 1_000), story.clone()));
        let log = &scene.memory.log;
        for index in before..log.len() {
            let payload: Value = serde_json::from_str(&log[index].payload).unwrap();
            let Some(amount) = payload["posting"]["amount"].as_i64() else { continue };
            let what = format!("{} at {index} of {story:?}", log[index].event_type);
            for other in [amount + 1, amount - 1] {
                let mut log = log.clone();
                let mut payload = payload.clone();
                payload["posting"]["amount"] = json!(other);
                log[index].payload = payload.to_string().into();
                assert!(!deviations(&log).is_empty(), "{other} for {amount}: {what}");
            }
            assert!(!deviations(&without(log, index)).is_empty(), "without {what}");
            falsified += 1;
        }
    }
    assert!(falsified > 60, "{falsified} postings");
}

#[test]
fn what_went_back_must_have_gone_back_of_the_same_purchase_and_amount() {
    let mut scene = line();
    assert!(scene.pay("one", ("cid", 1_000), vec![refund("part", 333), dispute(400)]));
    for (event_type, field) in
        [("PurchaseRefunded", "amount_minor"), ("DisputeOpened", "amount_minor")]
    {
        let other = changed(&scene.memory.log, |of, payload| {
            let is_it = of == event_type;
            if is_it {
                payload[field] = json!(500);
            }
            is_it
        });
        assert!(!deviations(&other).is_empty(), "{event_type}");
        let index = scene.memory.log.iter().position(|event| &*event.event_type == event_type);
        let lost = without(&scene.memory.log, index.unwrap());
        assert!(!deviations(&lost).is_empty(), "without {event_type}");
    }
}

/// The audit adds up: what is given back in the command was deducted in it before, and the credit is paid once.
#[test]
fn the_audit_knows_a_credit_that_is_deducted_and_given_back_in_the_command_of_the_purchase() {
    let mut scene = line();
    assert!(scene.pay("one", ("cid", 1_000), vec![refund("part", 333), cancel("part")]));
    let log = &scene.memory.log;
    assert_eq!(faults(log), [""; 0]);
    let given_back = changed(log, |of, payload| {
        let is_it = of == "PurchaseCredited" && payload["posting"]["amount"] == 333;
        if is_it {
            payload["posting"]["amount"] = json!(334);
        }
        is_it
    });
    let faults = faults(&given_back);
    assert!(faults.iter().any(|found| found.contains("in another command")), "{faults:#?}");
}
