//! Referrals that are held, released and rejected, and adjustments: logs written by hand.

use domain::Kind;
use serde_json::{Value, json};

use super::{Event, Log, NOW, every_purchase, flat, on, one_point, withheld};

/// Two events on the streams of bob and of ada, who referred him, that change the standing of the referral.
fn standing(changed: Value, previous: &str, status: &str) -> Vec<Event> {
    let mut payload = changed;
    payload["type"] = json!("ReferralStandingChanged");
    payload["status"] = json!(status);
    let updated = json!({
        "type": "ReferralUpdated", "referee_user_id": "bob", "previous_status": previous, "status": status,
    });
    vec![on("bob", payload), on("ada", updated)]
}

/// Bob, referred by ada, in a program that demands confirmed addresses.
fn held() -> Log {
    let mut log = Log::default();
    log.publish(&every_purchase(), 0, &[flat(1, 1)]);
    let published = &mut log.events[0];
    let mut payload: Value = serde_json::from_str(&published.payload).unwrap();
    payload["rules"]["require_confirmed_email"] = json!(true);
    published.payload = payload.to_string().into();
    log.sign_up("ada");
    log.refer("bob", "ada", Vec::new());
    let mut held = 0;
    for event in &mut log.events {
        let mut payload: Value = serde_json::from_str(&event.payload).unwrap();
        if matches!(&*event.event_type, "ReferralApplied" | "ReferralMade") {
            payload["status"] = json!("held");
            held += 1;
        }
        if &*event.event_type == "ReferralApplied" {
            payload["hold_reasons"] = json!(["unconfirmed_email"]);
        }
        event.payload = payload.to_string().into();
    }
    assert_eq!(held, 2);
    log
}

fn confirmation() -> Event {
    (Kind::User, "bob".into(), json!({ "type": "UserEmailConfirmed" }))
}

#[test]
fn a_held_referral_is_released_by_the_confirmation_and_by_nothing_less() {
    let released = || standing(json!({ "release_time_us": NOW }), "held", "pending");
    let mut log = held();
    assert_eq!(log.deviations(), [""; 0]);
    let first_used = json!({ "type": "FirstPurchaseUsed", "purchase_id": "first" });
    let nothing = withheld(Some("first"), "ada", 1, "referral_held", &json!({}));
    log.buy("first", "bob", 500, NOW, vec![nothing, on("bob", first_used)]);
    log.command([vec![confirmation()], released()].concat());
    assert_eq!(log.deviations(), [""; 0]);

    let mut log = held();
    log.command(vec![confirmation()]);
    let [only] = &log.deviations()[..] else { panic!("{:?}", log.deviations()) };
    assert!(only.contains("expected the referral to be released"), "{only}");

    // What does not count earns nothing.
    let mut log = held();
    log.buy("first", "bob", 500, NOW, one_point());
    assert!(!log.deviations().is_empty());

    // Nobody is released twice, and both sides say the same.
    let mut log = held();
    log.command([vec![confirmation()], released()].concat());
    log.command(released());
    let [first, _] = &log.deviations()[..] else { panic!("{:?}", log.deviations()) };
    assert!(first.contains("expected no change to"), "{first}");
    let mut log = held();
    log.command(vec![confirmation(), released().remove(0)]);
    let [only] = &log.deviations()[..] else { panic!("{:?}", log.deviations()) };
    assert!(only.contains("expected ReferralUpdated"), "{only}");
}

/// An event of the flag of bob's referral.
fn flag(payload: Value) -> Event {
    (Kind::FraudFlag, "flag".into(), payload)
}

fn resolved(decision: &str) -> Event {
    let resolved = json!({ "type": "FraudFlagResolved", "program_id": "p", "decision": decision });
    flag(resolved)
}

/// Bob was referred while ada was inactive: when the referral ceases to count, ada learns that it never did for tiers.
#[test]
fn a_decision_changes_how_a_referral_stands_and_nothing_else_does() {
    let raised = || {
        flag(json!({
            "type": "FraudFlagRaised", "kind": "same_mailbox", "score_bps": 10_000, "program_id": "p",
            "referee_user_id": "bob", "referrer_user_id": "ada", "occasion": "referral", "consequence": "flag",
        }))
    };
    let rejected = |previous: &str| {
        let against = json!([{ "flag_id": "flag", "rejects": true }]);
        standing(json!({ "flags": against }), previous, "rejected")
    };
    let released = |is_inactive: bool| {
        let mut changed = json!({ "release_time_us": NOW });
        if is_inactive {
            changed["made_while_inactive"] = json!(true);
        }
        let mut events = standing(changed, "rejected", "pending");
        if is_inactive {
            events[1].2["made_while_inactive"] = json!(true);
        }
        events
    };
    for is_inactive in [false, true] {
        let mut log = Log::default();
        log.publish(&every_purchase(), 0, &[flat(1, 1)]);
        log.sign_up("ada");
        log.refer("bob", "ada", Vec::new());
        log.command(vec![raised()]);
        log.command([vec![resolved("rejected")], rejected("pending")].concat());
        if is_inactive {
            let deactivated = json!({ "type": "ParticipantDeactivated" });
            log.command(vec![
                (Kind::User, "ada".into(), json!({ "type": "UserDeactivated" })),
                on("ada", deactivated),
            ]);
        }
        log.command([vec![resolved("released")], released(is_inactive)].concat());
        let mut again = rejected("pending");
        if is_inactive {
            again[1].2["made_while_inactive"] = json!(true);
        }
        log.command([vec![resolved("rejected")], again].concat());
        assert_eq!(log.deviations(), [""; 0], "{is_inactive}");
    }
    // Nothing but a flag rejects, and a rejected referral has a flag that does.
    for events in
        [rejected("pending"), [vec![raised()], standing(json!({}), "pending", "rejected")].concat()]
    {
        let mut log = Log::default();
        log.publish(&every_purchase(), 0, &[flat(1, 1)]);
        log.sign_up("ada");
        log.refer("bob", "ada", Vec::new());
        log.command(events);
        assert_eq!(log.deviations().len(), 1, "{:?}", log.deviations());
    }
}

#[test]
fn a_referral_must_wait_for_the_confirmation_where_the_program_demands_it() {
    let mut log = held();
    log.refer("cid", "ada", Vec::new());
    let [only] = &log.deviations()[..] else { panic!("{:?}", log.deviations()) };
    assert!(only.contains("waits for a confirmation: expected true, found false"), "{only}");
}

/// An event of an adjustment of ada's balance.
fn approval(payload: Value) -> Event {
    (Kind::Approval, "p/ada/adjustment:a".into(), payload)
}

fn asked_for(event_type: &str, amount_minor: i64) -> Event {
    let asked = json!({
        "what": "adjustment", "amount_minor": amount_minor, "unit": "USD", "reason_code": "goodwill",
    });
    let mut requested = json!({ "type": event_type, "asked": asked });
    if event_type == "ApprovalRequested" {
        requested["asked_by_user_id"] = json!("olga");
    }
    approval(requested)
}

fn approved_by(user: &str) -> Event {
    approval(json!({ "type": "ApprovalGranted", "approved_by_user_id": user }))
}

fn adjusted(amount: i64) -> Event {
    let posting = json!({
        "kind": "adjustment", "amount": amount, "unit": "USD",
        "after": { "available": amount, "adjusted": amount },
    });
    on(
        "ada",
        json!({
            "type": "BalanceAdjusted", "adjustment_id": "a", "reason_code": "goodwill", "posting": posting,
        }),
    )
}

#[test]
fn an_adjustment_follows_from_a_request_or_from_the_approval_of_somebody_else() {
    let of = |commands: Vec<Vec<Event>>| {
        let mut log = Log::default();
        log.publish(&every_purchase(), 0, &[flat(1, 1)]);
        log.sign_up("ada");
        for command in commands {
            log.command(command);
        }
        log.deviations()
    };
    let waived = || asked_for("ApprovalWaived", 5);
    let requested = || asked_for("ApprovalRequested", 5);
    let declined = || approval(json!({ "type": "ApprovalDeclined" }));
    let nothing: [&str; 0] = [];
    assert_eq!(of(vec![vec![waived(), adjusted(5)]]), nothing);
    assert_eq!(of(vec![vec![requested()], vec![approved_by("otto"), adjusted(5)]]), nothing);
    assert_eq!(of(vec![vec![requested()], vec![declined()]]), nothing);
    for commands in [
        vec![vec![adjusted(5)]],
        vec![vec![waived()]],
        vec![vec![waived(), adjusted(6)]],
        vec![vec![requested(), adjusted(5)]],
        vec![vec![requested()], vec![approved_by("otto")]],
        vec![vec![requested()], vec![approved_by("olga"), adjusted(5)]],
        vec![vec![requested()], vec![declined(), adjusted(5)]],
        vec![vec![approved_by("otto")]],
    ] {
        assert_eq!(of(commands.clone()).len(), 1, "{commands:?}: {:?}", of(commands.clone()));
    }
    // Once, and never after somebody has declined.
    let twice = vec![
        vec![requested()],
        vec![approved_by("otto"), adjusted(5)],
        vec![approved_by("otto"), adjusted(5)],
    ];
    assert!(!of(twice).is_empty());
    assert!(
        !of(vec![vec![requested()], vec![declined()], vec![approved_by("otto"), adjusted(5)]])
            .is_empty()
    );
}

#[test]
fn an_approval_with_a_key_that_belongs_to_whoever_asked_is_found() {
    let deviations = |asked_by: &Value, approved_by: &Value| {
        let mut log = Log::default();
        log.publish(&every_purchase(), 0, &[flat(1, 1)]);
        log.sign_up("ada");
        for (key_id, about) in [
            ("first", json!({})),
            ("second", json!({ "maker": { "kind": "key", "key_id": "first" } })),
            ("olgas", json!({ "creator_user_id": "olga" })),
            ("of-settings", json!({ "maker": { "kind": "settings" } })),
        ] {
            let mut created = about;
            created["type"] = json!("ApiKeyCreated");
            created["role"] = json!("admin");
            log.command(vec![(Kind::ApiKey, key_id.into(), created)]);
        }
        let (kind, id, mut requested) = asked_for("ApprovalRequested", 5);
        requested.as_object_mut().unwrap().remove("asked_by_user_id");
        let mut granted = json!({ "type": "ApprovalGranted" });
        for (payload, by) in [(&mut requested, asked_by), (&mut granted, approved_by)] {
            payload.as_object_mut().unwrap().extend(by.as_object().unwrap().clone());
        }
        log.command(vec![(kind, id, requested)]);
        log.command(vec![approval(granted), adjusted(5)]);
        log.deviations()
    };
    let asked = [
        json!({ "asked_by_key_id": "first" }),
        json!({ "asked_by_key_id": "second" }),
        json!({ "asked_by_user_id": "olga" }),
        json!({ "asked_by_key_id": "olgas" }),
        json!({}),
        json!({ "asked_by_key_id": "of-settings" }),
    ];
    for (asks, asked_by) in asked.iter().enumerate() {
        for (approves, other) in asked.iter().enumerate() {
            let approved_by = other.to_string().replace("asked_by", "approved_by");
            let approved_by = serde_json::from_str(&approved_by).unwrap();
            let found = deviations(asked_by, &approved_by);
            // Every two are one.
            let is_own = asks / 2 == approves / 2;
            assert_eq!(found.len(), usize::from(is_own), "{asked_by} {approved_by}: {found:?}");
        }
    }
}
