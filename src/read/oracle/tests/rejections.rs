//! Referrals that are rejected with what was earned through them, and count again: logs of the domain's own decisions
//! have no deviation.

use domain::FraudDecision;
use serde_json::{Value, json};

use super::scene::{Scene, flat, rate, rules, tiers};
use super::settlements::{is_found, is_right, with};

/// Ada referred bob, who is flagged, and bob referred cid.
fn flagged(changes: &Value) -> Scene {
    let mut rules = rules(changes);
    rules["fraud_checks"] = json!({ "disposable_domain": { "policy": "flag" } });
    let mut scene = Scene::of(&rules);
    scene.line(&["ada", "bob@disposable.example"]);
    assert!(scene.sign_up("cid", Some("bob")));
    scene
}

#[test]
fn what_referrals_below_a_rejected_one_have_earned_themselves_goes_with_it() {
    for rewards in [[flat(1, 20, None), flat(2, 7, None)], [tiers(), flat(2, 7, Some(9))]] {
        let mut scene = flagged(&json!({ "rewards": rewards, "earn_on": "referral" }));
        scene.take_back();
        assert!(scene.settle_referral("cid"));
        is_right(&scene);
        let log = &scene.memory.log;
        let level = with(log, "ReferralRewardsChanged", "/rejected_from_level", &json!(3));
        is_found(&level, "rejected from level: expected Some(2), found Some(3)");
        is_found(
            &with(log, "RewardReversed", "/posting/amount", &json!(-6)),
            "amount: expected -7",
        );
        // What is held then stays lost.
        let reward = scene.rewards().pop().unwrap();
        assert!(scene.hold(&reward, true));
        is_right(&scene);
        scene.decide(FraudDecision::Released);
        assert!(scene.settle_referral("cid"));
        is_right(&scene);
        assert!(scene.hold(&reward, false));
        scene.take_back();
        scene.decide(FraudDecision::Rejected);
        assert!(scene.settle_referral("cid"));
        is_right(&scene);
    }
}

/// Bob has bought twice. The first purchase converted his referral; after the first decision is taken back, before
/// anything was settled, and the first purchase was refunded, the second one does.
fn converted_by_the_second() -> Scene {
    let mut scene = flagged(&json!({ "rewards": [rate(1, 1_000, None)] }));
    assert!(scene.buy("one", "bob", 1_000) && scene.buy("two", "bob", 1_000));
    scene.take_back();
    assert!(scene.refund("one", "all", 1_000));
    scene.decide(FraudDecision::Released);
    settle(&mut scene);
    is_right(&scene);
    scene
}

fn settle(scene: &mut Scene) {
    assert!(scene.settle("two") && scene.settle("one"));
}

#[test]
fn a_purchase_that_has_converted_a_referral_later_remembers_it() {
    let mut scene = converted_by_the_second();
    let length = scene.memory.log.len();
    settle(&mut scene);
    assert_eq!(scene.memory.log.len(), length, "a repetition does nothing");
    scene.take_back();
    settle(&mut scene);
    scene.decide(FraudDecision::Rejected);
    settle(&mut scene);
    is_right(&scene);
    let first = scene.memory.log.iter().rfind(|event| &*event.event_type == "FirstPurchaseUsed");
    assert!(first.unwrap().payload.contains("two"), "it is the first again");

    // What converted while the referrer was active does so again, whatever the referrer is by then.
    let mut scene = converted_by_the_second();
    scene.take_back();
    settle(&mut scene);
    assert!(scene.deactivate("ada"));
    scene.decide(FraudDecision::Released);
    settle(&mut scene);
    is_right(&scene);
    let mut log = scene.memory.log.iter();
    let converted = log.rfind(|event| &*event.event_type == "ReferralConverted").unwrap();
    assert!(!converted.payload.contains("converted_while_inactive"));
}
