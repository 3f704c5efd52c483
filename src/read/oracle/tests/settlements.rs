//! Refunds, disputes and holds: logs of the domain's own decisions have no deviation, and each single change of one
//! has.

use domain::{DisputeOutcome, FraudDecision};
use serde_json::{Value, json};

use super::scene::{
    Scene, changed, deviations, faults, flat, rate, rules, tiers, without, without_type,
};
use crate::store::RecordedEvent;

pub(super) fn is_right(scene: &Scene) {
    assert_eq!(scene.deviations(), [""; 0]);
    assert_eq!(faults(&scene.memory.log), [""; 0]);
}

/// Checks that the oracle finds something in the log that contains the text.
pub(super) fn is_found(log: &[RecordedEvent], what: &str) {
    let deviations = deviations(log);
    assert!(deviations.iter().any(|found| found.contains(what)), "{what}: {deviations:#?}");
}

/// Sets a number of the last event of a type.
pub(super) fn with(
    log: &[RecordedEvent],
    event_type: &str,
    field: &str,
    value: &Value,
) -> Vec<RecordedEvent> {
    let last = log.iter().rfind(|event| &*event.event_type == event_type).unwrap();
    let last = last.payload.clone();
    changed(log, |of, payload| {
        let is_it = of == event_type && *payload == serde_json::from_str::<Value>(&last).unwrap();
        if is_it {
            *payload.pointer_mut(field).unwrap() = value.clone();
        }
        is_it
    })
}

/// Ada referred bob, bob referred cid; each purchase of cid pays 10% to bob and 5 to ada, and is credited to cid.
fn shares() -> Scene {
    let rewards = [rate(1, 1_000, None), flat(2, 5, None)];
    let mut scene = Scene::of(&rules(&json!({ "rewards": rewards, "credit_purchases": true })));
    scene.line(&["ada", "bob", "cid"]);
    assert!(scene.buy("one", "cid", 1_000));
    scene
}

#[test]
fn a_refund_takes_back_what_the_rules_say_and_nothing_else() {
    let mut scene = shares();
    assert!(scene.refund("one", "part", 333));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&with(log, "RewardReversed", "/posting/amount", &json!(-34)), "amount: expected -33");
    is_found(&without_type(log, "RewardReversed"), "expected RewardReversed");
    is_found(&with(log, "PurchaseCredited", "/posting/amount", &json!(-332)), "expected -333");
    is_found(&without_type(log, "PurchaseCredited"), "expected PurchaseCredited");
    let pending = changed(log, |of, payload| {
        let is_it = of == "RewardReversed";
        if is_it {
            payload["posting"]["to"] = json!("pending");
        }
        is_it
    });
    is_found(&pending, "bucket: expected 'Available', found 'Pending'");

    assert!(scene.refund("one", "rest", 667));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&without_type(log, "ReferralUnconverted"), "expected ReferralUnconverted");
    is_found(&without_type(log, "ReferralUpdated"), "expected ReferralUpdated");
    is_found(&without_type(log, "FirstPurchaseFreed"), "expected FirstPurchaseFreed");
    is_found(&with(log, "RewardReversed", "/level", &json!(1)), "expected RewardReversed (level 2");
    is_found(&with(log, "RewardReversed", "/reward_sequence", &json!(1)), "reward: expected");

    assert!(scene.cancel("one", "rest"));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&without_type(log, "ReferralConverted"), "expected ReferralConverted");
    is_found(&without_type(log, "RefundCancelled"), "expected nothing, found RewardReversed");
}

#[test]
fn nothing_is_undone_while_another_purchase_earns() {
    let mut scene = shares();
    assert!(scene.buy("two", "cid", 500));
    assert!(scene.refund("one", "all", 1_000));
    is_right(&scene);
    assert!(scene.refund("two", "all", 500));
    is_right(&scene);
    // Without the first refund, the second one must not undo the conversion.
    let log = &scene.memory.log;
    let first = log.iter().position(|event| &*event.event_type == "PurchaseRefunded").unwrap();
    is_found(&without(log, first), "expected nothing, found ReferralUnconverted");
}

#[test]
fn a_purchase_that_earns_again_beside_another_is_noted() {
    let mut scene = shares();
    assert!(scene.refund("one", "all", 1_000));
    assert!(scene.buy("two", "cid", 500));
    assert!(scene.cancel("one", "all"));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&without_type(log, "PurchaseReinstated"), "expected PurchaseReinstated");
}

#[test]
fn where_the_first_purchase_earns_it_is_free_again_and_only_then() {
    let earn_on = json!({ "first_purchase": { "used_by": "qualifying_purchase" } });
    let rewards = [flat(0, 3, None), flat(1, 7, Some(10))];
    let changes = json!({ "rewards": rewards, "earn_on": earn_on, "minimum_purchase_minor": 100 });
    let mut scene = Scene::of(&rules(&changes));
    scene.line(&["ada", "bob"]);
    assert!(scene.buy("one", "bob", 150));
    assert!(scene.refund("one", "part", 50));
    is_right(&scene);
    assert!(scene.refund("one", "more", 1));
    is_right(&scene);
    is_found(&without_type(&scene.memory.log, "FirstPurchaseFreed"), "expected FirstPurchaseFreed");
    assert!(scene.buy("two", "bob", 150));
    // The second one is the first now: nothing of the first one comes back.
    assert!(scene.cancel("one", "more"));
    is_right(&scene);
    let log = &scene.memory.log;
    let freed_wrongly = changed(log, |of, payload| {
        let is_it = of == "FirstPurchaseFreed";
        if is_it {
            payload["purchase_id"] = json!("other");
        }
        is_it
    });
    is_found(&freed_wrongly, "purchase: expected 'one', found 'other'");
}

#[test]
fn what_is_given_back_stays_within_the_cap() {
    let mut scene = Scene::of(&rules(&json!({ "rewards": [rate(1, 1_000, Some(100))] })));
    scene.line(&["ada", "bob"]);
    assert!(scene.buy("one", "bob", 800));
    assert!(scene.refund("one", "all", 800));
    assert!(scene.buy("two", "bob", 700));
    assert!(scene.cancel("one", "all"));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&with(log, "RewardReversed", "/posting/amount", &json!(80)), "expected 30, found 80");
    // What is not given back cannot be taken back again: of 80, 30 are left.
    assert!(scene.dispute("one", "some", 600));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&with(log, "RewardMoved", "/posting/amount", &json!(30)), "expected 10, found 30");
}

#[test]
fn what_an_open_dispute_would_undo_is_pending_until_it_is_decided() {
    for outcome in [DisputeOutcome::Won, DisputeOutcome::Lost, DisputeOutcome::Withdrawn] {
        let mut scene = shares();
        assert!(scene.dispute("one", "d", 400));
        is_right(&scene);
        let log = &scene.memory.log;
        is_found(&with(log, "RewardMoved", "/posting/amount", &json!(41)), "expected 40, found 41");
        is_found(&without_type(log, "RewardMoved"), "expected RewardMoved");
        assert!(scene.dispute("one", "d", 1_000));
        is_right(&scene);
        assert!(scene.close("one", "d", outcome));
        is_right(&scene);
        let log = &scene.memory.log;
        let other = if outcome == DisputeOutcome::Lost { "won" } else { "lost" };
        is_found(&with(log, "DisputeClosed", "/outcome", &json!(other)), "expected");
        is_found(&without_type(log, "DisputeClosed"), "expected nothing");
        is_found(&with(log, "DisputeClosed", "/dispute_id", &json!("e")), "is none or is over");
    }
}

#[test]
fn a_reward_waits_while_somebody_holds_it_and_no_longer() {
    let mut scene = shares();
    let reward = scene.rewards().remove(0);
    assert!(scene.hold(&reward, true));
    assert!(scene.refund("one", "half", 500));
    is_right(&scene);
    is_found(&without_type(&scene.memory.log, "PurchaseRewardHeld"), "expected");
    assert!(scene.hold(&reward, false));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&without_type(log, "RewardMoved"), "expected RewardMoved");
    is_found(&with(log, "RewardMoved", "/posting/amount", &json!(49)), "expected 50, found 49");
}

#[test]
fn a_hold_period_ends_when_it_is_over_and_not_before() {
    for earn_on in ["every_purchase", "referral"] {
        let rewards = [flat(1, 10, None), flat(2, 5, None)];
        let changes = json!({ "rewards": rewards, "earn_on": earn_on, "hold_days": 3 });
        let mut scene = Scene::of(&rules(&changes));
        scene.line(&["ada", "bob", "cid"]);
        assert!(scene.buy("one", "cid", 1_000));
        is_right(&scene);
        for reward in scene.rewards() {
            scene.end_period(&reward);
        }
        let untouched = scene.memory.log.len();
        scene.days_pass(3);
        let rewards = scene.rewards();
        for reward in &rewards {
            scene.end_period(reward);
        }
        assert!(scene.memory.log.len() > untouched);
        is_right(&scene);
        is_found(&without_type(&scene.memory.log, "RewardMoved"), "expected RewardMoved");
        // The same, before the time has come.
        if earn_on == "every_purchase" {
            let mut early = scene.memory.log.clone();
            for event in &mut early {
                event.recorded_at =
                    event.recorded_at.min(scene.memory.log[untouched - 1].recorded_at);
            }
            is_found(&early, "expected a hold period until");
            let log = &scene.memory.log;
            is_found(&with(log, "HoldPeriodEnded", "/levels", &json!([1])), "on levels [1, 2]");
        }
        let log = &scene.memory.log;
        let release = log.iter().find(|event| &*event.event_type == "RewardGranted").unwrap();
        let release = serde_json::from_str::<Value>(&release.payload).unwrap();
        let sooner = release["release_time_us"].as_i64().unwrap() - 24 * 60 * 60 * 1_000_000;
        is_found(
            &with(log, "RewardGranted", "/release_time_us", &json!(sooner)),
            "pending until: expected",
        );
    }
}

#[test]
fn points_by_tier_go_back_with_the_tier_and_wait_together() {
    let earn_on = json!({ "first_purchase": { "used_by": "any_purchase" } });
    let mut scene = Scene::of(&rules(&json!({ "rewards": [tiers()], "earn_on": earn_on })));
    scene.line(&["ada", "bob"]);
    assert!(scene.sign_up("cid", Some("ada")));
    assert!(scene.buy("one", "bob", 100) && scene.buy("two", "cid", 100));
    assert!(scene.dispute("one", "d", 100));
    is_right(&scene);
    is_found(&with(&scene.memory.log, "RewardMoved", "/tier_pot/disputed", &json!(0)), "disputed");
    // While points wait, new ones change how many do.
    assert!(scene.sign_up("dan", Some("ada")) && scene.buy("three", "dan", 100));
    is_right(&scene);
    assert!(scene.close("one", "d", DisputeOutcome::Lost));
    assert!(scene.refund("two", "all", 100));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&without_type(log, "TierChanged"), "expected TierChanged");
    is_found(&with(log, "RewardReversed", "/posting/amount", &json!(-1)), "amount: expected");
    let reward = scene.rewards().remove(2);
    assert!(scene.hold(&reward, true));
    is_right(&scene);
    assert!(scene.hold(&reward, false));
    is_right(&scene);
}

#[test]
fn what_referrals_themselves_earned_is_held_and_released() {
    let rewards = [tiers(), flat(2, 7, None)];
    let mut scene = Scene::of(&rules(&json!({ "rewards": rewards, "earn_on": "referral" })));
    scene.line(&["ada", "bob", "cid"]);
    for reward in scene.rewards() {
        assert!(scene.hold(&reward, true));
        is_right(&scene);
        is_found(&without_type(&scene.memory.log, "ReferralRewardsChanged"), "expected nothing");
        is_found(&without_type(&scene.memory.log, "RewardMoved"), "expected RewardMoved");
        assert!(scene.hold(&reward, false));
        is_right(&scene);
    }
    let own =
        with(&scene.memory.log, "ReferralRewardsChanged", "/rewards/0/amount_minor", &json!(77));
    is_found(&own, "ReferralRewardsChanged: rewards");
}

#[test]
fn what_went_back_before_is_taken_from_what_is_made_up_for() {
    let rewards = [rate(1, 1_000, None)];
    let changes = json!({ "rewards": rewards, "require_confirmed_email": true });
    let mut scene = Scene::of(&rules(&changes));
    scene.line(&["ada", "bob"]);
    assert!(scene.buy("one", "bob", 1_000) && scene.buy("two", "bob", 2_000));
    assert!(scene.refund("one", "half", 500) && scene.refund("two", "all", 2_000));
    assert!(scene.confirm("bob"));
    assert!(scene.make_up("one") && scene.make_up("two"));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&without_type(log, "RewardReversed"), "expected RewardReversed");
    is_found(&with(log, "RewardGranted", "/posting/amount", &json!(50)), "expected 100, found 50");
}

#[test]
fn what_was_not_used_expires_with_its_month_and_comes_back_to_its_lot() {
    let rewards = [rate(1, 1_000, None), flat(2, 5, None)];
    let mut scene = Scene::of(&rules(&json!({ "rewards": rewards, "expire_months": 1 })));
    scene.line(&["ada", "bob", "cid"]);
    assert!(scene.buy("one", "cid", 1_000));
    // It is the 14th of November 2023.
    scene.days_pass(20);
    assert!(scene.buy("two", "cid", 2_000));
    assert!(scene.refund("one", "part", 300) && scene.cancel("one", "part"));
    is_right(&scene);
    let log = &scene.memory.log;
    let another = |of| with(log, of, "/posting/expire_time_us", &json!(super::NOW));
    is_found(&another("RewardGranted"), "expires: expected 1706745600000000");
    // Given back to the lot from which it was taken, not to that of the present month.
    is_found(&another("RewardReversed"), "expires: expected 1704067200000000");

    assert!(scene.expire("bob"));
    assert!(!scene.memory.log.iter().any(|event| &*event.event_type == "BalanceExpired"));
    scene.days_pass(30);
    assert!(scene.expire("bob") && scene.expire("ada"));
    is_right(&scene);
    let log = &scene.memory.log;
    is_found(&with(log, "BalanceExpired", "/posting/amount", &json!(-4)), "the end of 5 that");
    let early = log.iter().map(|event| RecordedEvent {
        recorded_at: domain::Timestamp(event.recorded_at.0.min(1_704_000_000_000_000)),
        ..event.clone()
    });
    is_found(&early.collect::<Vec<_>>(), "expected a lot until 1704067200000000, found its end");
    let end = log.iter().position(|event| &*event.event_type == "BalanceExpired").unwrap();
    assert_eq!(deviations(&without(log, end)), [""; 0], "until the next lot ends");
    let mut later = scene.clone();
    later.days_pass(30);
    assert!(later.expire("bob"));
    is_right(&later);
    is_found(&without(&later.memory.log, end), "the end of 100 that expire at 1704067200000000");

    // What comes back to a lot that is over is in that of today.
    assert!(scene.refund("one", "again", 1_000) && scene.cancel("one", "again"));
    is_right(&scene);
    let log = &scene.memory.log;
    let own =
        with(log, "RewardReversed", "/posting/expire_time_us", &json!(1_704_067_200_000_000_i64));
    is_found(&own, "expires: expected 1709251200000000, found 1704067200000000");
    scene.days_pass(30);
    assert!(scene.expire("bob") && scene.expire("ada"));
    is_right(&scene);
}

/// A referral that counts again is converted by the purchase that was the first, and by no other.
#[test]
fn a_purchase_that_is_not_the_first_any_more_converts_nothing() {
    let earn_on = json!({ "first_purchase": { "used_by": "qualifying_purchase" } });
    let changes = json!({
        "rewards": [flat(1, 7, None)], "earn_on": earn_on,
        "fraud_checks": { "disposable_domain": { "policy": "flag" } },
    });
    let mut scene = Scene::of(&rules(&changes));
    scene.line(&["ada", "bob@disposable.example"]);
    let bob = "bob";
    assert!(scene.buy("one", bob, 150));
    scene.decide(FraudDecision::Rejected);
    assert!(scene.refund("one", "all", 150) && scene.buy("two", bob, 150));
    // The second one is the first by now, until it is refunded, too.
    assert!(scene.cancel("one", "all") && scene.refund("two", "all", 150));
    scene.decide(FraudDecision::Released);
    assert!(scene.settle("one") && scene.settle("two"));
    is_right(&scene);
    let mut log = scene.memory.log.clone();
    let converted = log.iter().position(|event| &*event.event_type == "ReferralConverted").unwrap();
    let updated = log[converted..].iter().position(|event| &*event.event_type == "ReferralUpdated");
    for (index, command_events) in [(converted, Some(2)), (converted + updated.unwrap(), None)] {
        let position = i64::try_from(log.len()).unwrap() + 1;
        log.push(RecordedEvent { position, command_events, ..log[index].clone() });
    }
    is_found(&log, "expected nothing, found ReferralConverted");
}

#[test]
fn nothing_is_taken_from_the_account_of_somebody_who_was_erased() {
    let mut scene = shares();
    assert!(scene.erase("bob"));
    assert!(scene.refund("one", "all", 1_000));
    is_right(&scene);
}

/// What the audit finds, because it adds up what the log says of each reward.
#[test]
fn no_more_goes_back_than_was_granted_and_no_more_waits_than_is_left() {
    let mut scene = shares();
    assert!(scene.refund("one", "part", 500) && scene.dispute("one", "d", 100));
    is_right(&scene);
    let is_named = |log: &[RecordedEvent], what: &str| {
        let faults = faults(log);
        assert!(faults.iter().any(|found| found.contains(what)), "{what}: {faults:#?}");
    };
    let log = &scene.memory.log;
    let what = "what becomes of reward";
    is_named(&with(log, "RewardReversed", "/posting/amount", &json!(-101)), what);
    is_named(&with(log, "RewardReversed", "/posting/amount", &json!(1)), what);
    is_named(&with(log, "RewardMoved", "/posting/amount", &json!(51)), what);
    is_named(&with(log, "RewardMoved", "/reward_sequence", &json!(1)), what);
    let mut scene = shares();
    assert!(scene.refund("one", "part", 500) && scene.cancel("one", "part"));
    is_right(&scene);
    let log = &scene.memory.log;
    let given_back = with(log, "PurchaseCredited", "/posting/amount", &json!(501));
    is_named(&given_back, "is credited in another command");
}
