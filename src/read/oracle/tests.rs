//! Logs written by hand, with and without deviations; in [`settlements`], [`rejections`], [`payments`],
//! [`payment_orders`] and [`random`] logs of the domain's decisions.
//! Logs that a server wrote are judged in `tests/durability/oracle.rs`.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod memory;
mod payment_orders;
mod payments;
mod payouts;
mod random;
mod rejections;
mod scene;
mod settlements;
mod standing;
mod store;

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
