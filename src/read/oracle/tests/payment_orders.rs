//! One purchase, its refunds and its dispute, told of in every order of the provider's events, with payouts in between:
//! whoever earned ends with the same, and nothing is paid twice.

use std::collections::BTreeMap;

use domain::decide::{Command, ReportPayment};
use domain::{AnyAggregate, Buckets, Kind, Purchase, PurchaseId, StreamKey, Work as _};
use serde_json::{Value, json};
use stripe::event::{Event, parse};
use stripe::payment::Payment;
use stripe::sample;

use super::NOW;
use super::scene::{Scene, deviations, faults, rate, rules};
use crate::payments::{Unrecordable, due, recorded};

const INTENT: &str = "pi_1";
const CHARGE: &str = "ch_1";
/// Who earns by the purchases of cid, on the second and on the first level.
const EARNERS: [&str; 2] = ["ada", "bob"];
/// No amount is a multiple of another, so that everything is rounded.
const PAID: i64 = 100_003;

/// Of so many logs one is judged by the oracle and the audit.
const JUDGED: usize = 7;

/// Between which events a payout is made.
#[derive(Clone, Copy, Debug)]
enum When {
    Never,
    Always,
    /// After so many events.
    After(usize),
}

/// What was told so far, and what has become of it.
#[derive(Clone)]
struct Stage {
    scene: Scene,
    payment: Payment,
    /// What was paid to whom, by the lines of the payouts.
    paid: BTreeMap<&'static str, i64>,
    payouts: usize,
}

impl Stage {
    fn new() -> Self {
        let rewards = [rate(1, 1_000, None), rate(2, 333, None)];
        let mut scene = Scene::of(&rules(&json!({ "rewards": rewards, "pays_out": true })));
        scene.line(&["ada", "bob", "cid"]);
        for name in EARNERS {
            scene.set_method(name);
        }
        let (payment, paid) = (Payment::new(INTENT), EARNERS.map(|name| (name, 0)).into());
        Self { scene, payment, paid, payouts: 0 }
    }

    /// Takes an event in as the server does: until nothing is due.
    fn deliver(&mut self, event: &Event) {
        self.payment.apply(event);
        let purchase_id = PurchaseId::parse(INTENT).unwrap();
        let key = StreamKey::of::<Purchase>(&purchase_id);
        loop {
            let AnyAggregate::Purchase(purchase) = self.scene.memory.state(Kind::Purchase, INTENT)
            else {
                panic!("{INTENT} is a purchase")
            };
            let (recorded, now) = (recorded(&purchase), self.scene.memory.now);
            let reports =
                due(&self.payment, recorded.as_ref(), now, &mut Unrecordable::new()).reports;
            if reports.is_empty() {
                return;
            }
            let known_sequence = self.scene.memory.last_sequence(&key);
            let purchase_id = purchase_id.clone();
            let report = ReportPayment { purchase_id, known_sequence, reports };
            assert!(self.scene.tell(&Command::ReportPayment(report)));
        }
    }

    fn buckets(&self, name: &str) -> Buckets {
        match self.scene.memory.state(Kind::Participant, &format!("p/{name}")) {
            AnyAggregate::Participant(participant) => *participant.buckets(),
            other => panic!("{other:?}"),
        }
    }

    /// A payout that collects what is available, and is confirmed.
    fn pay_out(&mut self) {
        self.payouts += 1;
        let payout = format!("payout-{}", self.payouts);
        self.scene.create(&payout);
        // Whoever has exactly nothing has no line; whoever is in debt is skipped.
        let available = EARNERS.map(|name| (name, self.buckets(name).available));
        let (lines, others): (Vec<_>, Vec<_>) =
            available.into_iter().filter(|(_, available)| *available != 0).partition(|of| of.1 > 0);
        for (name, available) in lines.iter().chain(&others) {
            self.scene.collect(&payout, name, *available);
        }
        let total_minor = lines.iter().map(|(_, amount)| amount).sum();
        let (count, skipped) = (lines.len(), others.len());
        let in_event = |number: usize| u64::try_from(number).unwrap();
        self.scene.end_collection(&payout, in_event(count), total_minor, in_event(skipped));
        for (name, amount) in lines {
            self.scene.pay_out(&payout, name);
            *self.paid.get_mut(name).unwrap() += amount;
        }
        for name in EARNERS {
            let Buckets { available, reserved, paid, .. } = self.buckets(name);
            assert!(available <= 0 && reserved == 0, "{name}: {available}, {reserved}");
            assert_eq!(paid, self.paid[name], "{name}");
        }
    }

    /// What everybody has once another purchase has offset what was paid too much, and that is paid out as well.
    fn end(mut self, is_judged: bool) -> [Buckets; 2] {
        assert!(self.scene.buy("next", "cid", PAID));
        self.pay_out();
        let log = &self.scene.memory.log;
        if is_judged {
            assert_eq!((deviations(log), faults(log)), (Vec::new(), Vec::new()));
        }
        let purchases = log.iter().filter(|event| &*event.event_type == "PurchaseRecorded");
        assert_eq!(purchases.count(), 2);
        EARNERS.map(|name| self.buckets(name))
    }
}

fn moment(after_seconds: i64) -> i64 {
    NOW / 1_000_000 + 1_000 + after_seconds
}

fn event(after_seconds: i64, event_type: &str, object: &Value) -> Event {
    let created_seconds = moment(after_seconds);
    let event_id = format!("evt_{event_type}_{after_seconds}");
    let event = sample::event(&event_id, event_type, created_seconds, object);
    parse(event.to_string().as_bytes()).unwrap()
}

fn paid() -> [Event; 2] {
    [
        event(0, "checkout.session.completed", &sample::session("cs_1", INTENT, "cid", PAID)),
        event(1, "payment_intent.succeeded", &sample::intent(INTENT, CHARGE, PAID)),
    ]
}

/// Whatever an event says of the refund, it was made once.
fn refund(after_seconds: i64, change: &str, status: &str) -> Event {
    let mut refund = sample::refund("re_1", INTENT, CHARGE, 21_701);
    refund["status"] = json!(status);
    refund["created"] = json!(moment(10));
    event(after_seconds, &format!("refund.{change}"), &refund)
}

fn total(after_seconds: i64, amount: i64) -> Event {
    event(after_seconds, "charge.refunded", &sample::charge(CHARGE, INTENT, PAID, amount))
}

fn dispute(after_seconds: i64, change: &str, amount: i64, status: &str) -> Event {
    let dispute = sample::dispute("du_1", INTENT, CHARGE, amount, status);
    event(after_seconds, &format!("charge.dispute.{change}"), &dispute)
}

/// Goes on in all orders. Orders with the same beginning share it.
fn go_on(stage: &Stage, left: &[Event], when: When, told: usize, ends: &mut Vec<[Buckets; 2]>) {
    let mut stage = stage.clone();
    let is_time = match when {
        When::Never => false,
        When::Always => true,
        When::After(events) => events == told,
    };
    if is_time {
        stage.pay_out();
    }
    if left.is_empty() {
        // Judging a log takes longer than making it.
        ends.push(stage.end(ends.len().is_multiple_of(JUDGED)));
        return;
    }
    for index in 0..left.len() {
        let (mut stage, mut left) = (stage.clone(), left.to_vec());
        stage.deliver(&left.remove(index));
        go_on(&stage, &left, when, told + 1, ends);
    }
}

/// Checks that all orders end as the given one does without a payout in between, and what that comes to.
fn check(events: &[Event], paid: [i64; 2]) {
    let mut in_order = Stage::new();
    for event in events {
        in_order.deliver(event);
    }
    let expected = in_order.end(true);
    assert_eq!(expected.map(|buckets| buckets.paid), paid);
    for buckets in expected {
        assert_eq!((buckets.pending, buckets.available, buckets.reserved), (0, 0, 0));
    }
    let points = (0..=events.len()).map(When::After);
    for when in [When::Never, When::Always].into_iter().chain(points) {
        let mut ends = Vec::new();
        go_on(&Stage::new(), events, when, 0, &mut ends);
        assert_eq!(ends.len(), (1..=events.len()).product::<usize>());
        for end in ends {
            assert_eq!(end, expected, "{when:?}");
        }
    }
}

#[test]
fn whatever_the_order_of_refunds_and_a_lost_dispute_payouts_in_between_pay_the_same_in_the_end() {
    let [session, intent] = paid();
    let events = [
        session,
        intent,
        refund(10, "created", "succeeded"),
        // 28,399 of it by refunds of which nothing else is told.
        total(20, 50_100),
        dispute(30, "created", 30_003, "needs_response"),
        dispute(40, "closed", 39_907, "lost"),
    ];
    // Of the 9,996 that are left and of the other purchase of 100,003.
    check(&events, [3_330 + 333, 10_000 + 1_000]);
}

#[test]
fn whatever_the_order_of_a_refund_that_fails_and_a_won_dispute_payouts_pay_the_same_in_the_end() {
    let [session, intent] = paid();
    let events = [
        session,
        intent,
        refund(10, "created", "succeeded"),
        total(20, 50_100),
        // It was in the total, and is not any more.
        refund(30, "failed", "failed"),
        dispute(40, "closed", 39_907, "won"),
    ];
    // All but the 28,399 of which only the total tells.
    check(&events, [3_330 + 2_384, 10_000 + 7_160]);
}
