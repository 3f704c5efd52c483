//! Logs written by hand, with and without deviations. Logs that a server wrote are judged in
//! `tests/durability/oracle.rs`.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::HashMap;

use domain::{Kind, StreamKey, Timestamp};
use serde_json::{Value, json};

use super::Oracle;
use crate::store::RecordedEvent;

const MINUTE: i64 = 60_000_000;
/// When everything happens, unless a test says otherwise.
const NOW: i64 = 1_700_000_000_000_000;

/// A log in the making, with one program `p`.
#[derive(Default)]
struct Log {
    events: Vec<RecordedEvent>,
    sequences: HashMap<StreamKey, i64>,
    versions: u32,
}

/// An event: the kind and id of its stream, and its payload.
type Event = (Kind, String, Value);

fn on(user: &str, payload: Value) -> Event {
    (Kind::Participant, format!("p/{user}"), payload)
}

fn flat(level: u32, minor: i64) -> Value {
    json!({ "rule": format!("flat-{level}"), "level": level, "kind": "bonus", "pay": { "flat_minor": minor } })
}

fn tiers() -> Value {
    let tier = |name, from, rate, bonus| {
        json!({
            "name": name, "from_referrals": from, "rate_points": rate, "bonus_points": bonus
        })
    };
    json!({
        "rule": "tiers", "level": 1, "kind": "points",
        "pay": { "tiers": [tier("Bronze", 0, 10, 0), tier("Silver", 2, 15, 100)] },
    })
}

fn every_purchase() -> Value {
    json!("every_purchase")
}

fn first_purchase(used_by: &str) -> Value {
    json!({ "first_purchase": { "used_by": used_by } })
}

impl Log {
    fn command(&mut self, events: Vec<Event>) {
        let count = i64::try_from(events.len()).unwrap();
        for (index, (kind, id, payload)) in events.into_iter().enumerate() {
            let stream = StreamKey { kind, id: id.into() };
            let sequence = self.sequences.entry(stream.clone()).or_default();
            *sequence += 1;
            self.events.push(RecordedEvent {
                position: i64::try_from(self.events.len()).unwrap() + 1,
                recorded_at: Timestamp(NOW),
                stream,
                sequence: *sequence,
                event_type: payload["type"].as_str().unwrap().into(),
                event_version: "1.0.0".into(),
                payload: payload.to_string().into(),
                command_events: (index == 0).then_some(count),
                envelope: None,
            });
        }
    }

    fn publish(&mut self, earn_on: &Value, minimum: i64, rewards: &[Value]) {
        self.versions += 1;
        let rules = json!({
            "display_name": "P", "unit": "USD", "base_url": "", "code": { "length": 8, "alphabet": "0123456789" },
            "attach": "any_time", "unknown_code": "reject", "exhausted_code": "reject", "earn_on": earn_on,
            "minimum_purchase_minor": minimum, "rewards": rewards, "credit_purchases": false,
            "leaderboard": "earnings", "enroll_by_default": false,
        });
        let payload = json!({
            "type": "ProgramPublished", "version": self.versions, "publish_time_us": NOW, "rules": rules,
        });
        self.command(vec![(Kind::Program, "p".into(), payload)]);
    }

    fn sign_up(&mut self, user: &str) {
        self.command(signed_up(user));
    }

    /// A sign-up with a referral, and its consequences.
    fn refer(&mut self, referee: &str, referrer: &str, consequences: Vec<Event>) {
        let mut events = signed_up(referee);
        let applied = json!({
            "type": "ReferralApplied", "referrer_user_id": referrer, "referral_time_us": NOW,
        });
        events.push(on(referee, applied));
        let made = json!({ "type": "ReferralMade", "referee_user_id": referee, "uses": 1 });
        events.push(on(referrer, made));
        events.extend(consequences);
        self.command(events);
    }

    fn buy(&mut self, id: &str, buyer: &str, amount: i64, date: i64, consequences: Vec<Event>) {
        let recorded = json!({
            "type": "PurchaseRecorded", "buyer_user_id": buyer, "amount_minor": amount,
            "currency_code": "USD", "purchase_time_us": date,
        });
        let mut events = vec![(Kind::Purchase, id.into(), recorded)];
        events.extend(consequences);
        self.command(events);
    }

    /// What the oracle says, without the text before the colon.
    fn deviations(&self) -> Vec<String> {
        let mut oracle = Oracle::default();
        for event in &self.events {
            oracle.enter(event);
        }
        oracle.finish();
        oracle.findings.iter().map(ToString::to_string).collect()
    }
}

fn signed_up(user: &str) -> Vec<Event> {
    vec![
        (Kind::User, user.into(), json!({ "type": "UserRegistered", "register_time_us": NOW })),
        (Kind::User, user.into(), json!({ "type": "UserEnrolled", "program_id": "p" })),
        on(
            user,
            json!({ "type": "ParticipantEnrolled", "code": format!("CODE{user}"), "link": "" }),
        ),
    ]
}

/// The conversion of a referral, on both streams.
fn converted(referee: &str, referrer: &str, purchase: Option<&str>) -> Vec<Event> {
    let mut own = json!({ "type": "ReferralConverted" });
    if let Some(purchase) = purchase {
        own["purchase_id"] = json!(purchase);
    }
    let updated = json!({
        "type": "ReferralUpdated", "referee_user_id": referee, "previous_status": "pending", "status": "converted",
    });
    vec![on(referee, own), on(referrer, updated)]
}

/// A reward at level 1, after which the earner has `total` by `count` rewards, and as many referrals.
struct Reward<'a> {
    earner: &'a str,
    source: &'a str,
    version: u32,
    rule: &'a str,
    amount: i64,
    total: i64,
    count: u32,
    purchase: Option<(&'a str, i64)>,
}

fn granted(reward: &Reward<'_>) -> Event {
    let kind = if reward.rule == "tiers" { "points" } else { "bonus" };
    let mut payload = json!({
        "type": "RewardGranted", "program_version": reward.version, "rule": reward.rule, "level": 1,
        "source_user_id": reward.source, "level_count": reward.count,
        "posting": {
            "kind": kind, "amount": reward.amount, "unit": "USD",
            "after": { "available": reward.total, "earned": reward.total },
        },
    });
    if reward.rule == "tiers" {
        payload["tier_referrals"] = json!(reward.count);
    }
    if let Some((id, basis)) = reward.purchase {
        payload["purchase_id"] = json!(id);
        payload["basis_minor"] = json!(basis);
    }
    on(reward.earner, payload)
}

fn withheld(
    purchase: Option<&str>,
    earner: &str,
    version: u32,
    reason: &str,
    more: &Value,
) -> Event {
    let mut payload = json!({
        "type": "RewardWithheld", "program_id": "p", "program_version": version, "earner_user_id": earner,
        "level": 1, "rule": "flat-1", "reason": reason, "qualified": false,
    });
    for (name, value) in more.as_object().unwrap() {
        payload[name] = value.clone();
    }
    match purchase {
        Some(purchase) => (Kind::Purchase, purchase.into(), payload),
        None => on(earner, payload),
    }
}

/// The first purchase of bob, which pays ada one point by the first version.
fn one_point() -> Vec<Event> {
    let reward = Reward {
        earner: "ada",
        source: "bob",
        version: 1,
        rule: "flat-1",
        amount: 1,
        total: 1,
        count: 1,
        purchase: Some(("first", 500)),
    };
    let mut events = vec![granted(&reward)];
    events.extend(converted("bob", "ada", Some("first")));
    events
}

/// Version 1 pays a point for each purchase, and bob bought once.
fn after_one_purchase() -> Log {
    let mut log = Log::default();
    log.publish(&every_purchase(), 0, &[flat(1, 1)]);
    log.sign_up("ada");
    log.refer("bob", "ada", Vec::new());
    log.buy("first", "bob", 500, NOW, one_point());
    log
}

#[test]
fn tiers_go_by_referrals_and_not_by_the_rewards_of_other_rules() {
    // Two referrals make Silver: 2 x 15 + 100. The point of version 1 is no tier point.
    let second = |amount| {
        let mut events = converted("cid", "ada", None);
        let (total, purchase) = (amount + 1, None);
        events.push(granted(&Reward {
            earner: "ada",
            source: "cid",
            version: 2,
            rule: "tiers",
            amount,
            total,
            count: 2,
            purchase,
        }));
        let change = json!({ "type": "TierChanged", "from_tier": "Bronze", "to_tier": "Silver" });
        events.push(on("ada", change));
        events
    };
    let mut log = after_one_purchase();
    log.publish(&json!("referral"), 0, &[tiers()]);
    log.refer("cid", "ada", second(130));
    assert_eq!(log.deviations(), [""; 0]);

    let mut log = after_one_purchase();
    log.publish(&json!("referral"), 0, &[tiers()]);
    log.refer("cid", "ada", second(129));
    let [only] = &log.deviations()[..] else { panic!("{:?}", log.deviations()) };
    assert!(only.contains("amount: expected 130, found 129"), "{only}");
    assert!(only.starts_with("Participant 'p/ada': RewardGranted"), "{only}");
}

#[test]
fn a_referral_made_while_the_referrer_was_inactive_never_counts_for_tiers() {
    let mut log = Log::default();
    log.publish(&json!("referral"), 0, &[tiers()]);
    log.sign_up("ada");
    log.command(vec![
        (Kind::User, "ada".into(), json!({ "type": "UserDeactivated" })),
        on("ada", json!({ "type": "ParticipantDeactivated" })),
    ]);
    let mut events = converted("bob", "ada", None);
    let more = json!({
        "rule": "tiers", "qualified": true, "source_user_id": "bob", "computed_minor": 10, "unit": "USD",
    });
    events.push(withheld(None, "ada", 1, "earner_inactive", &more));
    log.refer("bob", "ada", events);
    // The events of the referral say that the referrer was inactive.
    for event in log.events.iter_mut().rev().take(6) {
        let mut payload: Value = serde_json::from_str(&event.payload).unwrap();
        if matches!(&*event.event_type, "ReferralApplied" | "ReferralMade" | "ReferralUpdated") {
            payload["made_while_inactive"] = json!(true);
        }
        if matches!(&*event.event_type, "ReferralConverted" | "ReferralUpdated") {
            payload["converted_while_inactive"] = json!(true);
        }
        event.payload = payload.to_string().into();
    }
    log.command(vec![
        (Kind::User, "ada".into(), json!({ "type": "UserReactivated" })),
        on("ada", json!({ "type": "ParticipantReactivated", "reactivate_time_us": NOW })),
    ]);
    let mut events = converted("cid", "ada", None);
    let (version, rule, count, purchase) = (1, "tiers", 1, None);
    events.push(granted(&Reward {
        earner: "ada",
        source: "cid",
        version,
        rule,
        amount: 10,
        total: 10,
        count,
        purchase,
    }));
    log.refer("cid", "ada", events);
    assert_eq!(log.deviations(), [""; 0]);
}

#[test]
fn the_first_purchase_is_the_first_ever_whatever_the_rules_were() {
    let second = |is_paid: bool| {
        if is_paid {
            vec![granted(&Reward {
                earner: "ada",
                source: "bob",
                version: 2,
                rule: "flat-1",
                amount: 1,
                total: 2,
                count: 2,
                purchase: Some(("second", 500)),
            })]
        } else {
            vec![withheld(Some("second"), "ada", 2, "not_first_purchase", &json!({}))]
        }
    };
    for used_by in ["any_purchase", "qualifying_purchase"] {
        let mut log = after_one_purchase();
        log.publish(&first_purchase(used_by), 0, &[flat(1, 1)]);
        log.buy("second", "bob", 500, NOW, second(false));
        assert_eq!(log.deviations(), [""; 0], "{used_by}");

        let mut log = after_one_purchase();
        log.publish(&first_purchase(used_by), 0, &[flat(1, 1)]);
        log.buy("second", "bob", 500, NOW, second(true));
        let [missing, found] = &log.deviations()[..] else { panic!("{:?}", log.deviations()) };
        assert!(missing.contains("expected RewardWithheld"), "{missing}");
        assert!(missing.contains("reason 'NotFirstPurchase'"), "{missing}");
        assert!(found.contains("expected nothing, found RewardGranted"), "{found}");
    }
}

#[test]
fn five_minutes_before_the_referral_count_as_after_it_and_what_is_before_uses_up_nothing() {
    let paid = |purchase| {
        let reward = Reward {
            earner: "ada",
            source: "bob",
            version: 1,
            rule: "flat-1",
            amount: 1,
            total: 1,
            count: 1,
            purchase: Some((purchase, 500)),
        };
        let mut events = vec![granted(&reward)];
        events.extend(converted("bob", "ada", Some(purchase)));
        events
    };
    let mut log = Log::default();
    log.publish(&first_purchase("qualifying_purchase"), 0, &[flat(1, 1)]);
    log.sign_up("ada");
    log.refer("bob", "ada", Vec::new());
    let used =
        json!({ "type": "FirstPurchaseUsed", "purchase_id": "before", "is_insufficient": true });
    let before =
        vec![withheld(Some("before"), "ada", 1, "before_referral", &json!({})), on("bob", used)];
    log.buy("before", "bob", 500, NOW - 5 * MINUTE - 1, before);
    log.buy("after", "bob", 500, NOW - 5 * MINUTE, paid("after"));
    assert_eq!(log.deviations(), [""; 0]);
}

#[test]
fn what_is_withheld_for_the_earners_own_sake_stands_on_the_earners_stream() {
    let capped = json!({
        "rule": "flat-1", "level": 1, "kind": "bonus", "pay": { "flat_minor": 1 }, "cap_minor": 1,
    });
    let more = json!({
        "qualified": true, "limit_minor": 1, "source_user_id": "bob", "purchase_id": "second",
        "computed_minor": 1, "unit": "USD",
    });
    for (stream, is_right) in [(None, true), (Some("second"), false)] {
        let mut log = Log::default();
        log.publish(&every_purchase(), 0, std::slice::from_ref(&capped));
        log.sign_up("ada");
        log.refer("bob", "ada", Vec::new());
        let mut events = one_point();
        events[0].2["cap_remaining_minor"] = json!(1);
        log.buy("first", "bob", 500, NOW, events);
        let event = withheld(stream, "ada", 1, "cap_reached", &more);
        log.buy("second", "bob", 500, NOW, vec![event]);
        let deviations = log.deviations();
        assert_eq!(deviations.is_empty(), is_right, "{deviations:?}");
        assert!(is_right || deviations[0].contains("expected on Participant 'p/ada'"));
    }
}

#[test]
fn an_undated_purchase_may_be_judged_by_the_version_published_a_moment_after_it() {
    for (before, is_right) in [(MINUTE / 60, true), (MINUTE, false)] {
        let mut log = Log::default();
        log.publish(&every_purchase(), 1_000, &[flat(1, 1)]);
        log.sign_up("ada");
        log.refer("bob", "ada", Vec::new());
        log.publish(&every_purchase(), 0, &[flat(1, 1)]);
        let mut first = log.events[0].clone();
        first.payload =
            first.payload.replace(&NOW.to_string(), &(NOW - 10 * MINUTE).to_string()).into();
        log.events[0] = first;
        let mut events = one_point();
        events[0].2["program_version"] = json!(2);
        log.buy("first", "bob", 500, NOW - before, events);
        assert_eq!(log.deviations().is_empty(), is_right, "{:?}", log.deviations());
    }
}

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
