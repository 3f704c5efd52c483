//! How events get here, and a caller in memory: its rows, and a log that obeys the rules of the domain.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stripe::event::{Event, Fact, Key, parse};
use stripe::payment::{
    Desired, DisputeState, Outcome, Payment, Plan, Recorded, RecordedDispute, RecordedRefund,
    Rules, Step,
};
use stripe::sample;
use stripe::signature::{Secret, TOLERANCE_SECONDS, sign, verify};

/// The payment, its charge and its session in most tests.
pub const INTENT: &str = "pi_1";
pub const CHARGE: &str = "ch_1";
pub const SESSION: &str = "cs_1";
/// When the first event of most tests happened.
pub const START: i64 = 1_764_000_000;

/// ISO 4217 decimals of the currencies in the tests, and what a user id looks like.
pub fn rules() -> Rules<'static> {
    Rules {
        iso_digits: &|code| match code {
            "USD" | "EUR" | "MGA" => Some(2),
            "ISK" | "JPY" => Some(0),
            _ => None,
        },
        is_user_id: &|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
    }
}

/// Sends an event over the wire: signed, checked and read.
pub fn receive(payload: &Value) -> Event {
    let body = serde_json::to_vec(payload).unwrap();
    let secrets = Secret::list("whsec_new,whsec_old");
    let header = sign(&body, &secrets[1..], START);
    verify(&header, &body, &secrets, START + 2, TOLERANCE_SECONDS).unwrap();
    let event = parse(&body).unwrap();
    // Events are kept as JSON.
    assert_eq!(
        serde_json::from_value::<Event>(serde_json::to_value(&event).unwrap()).unwrap(),
        event
    );
    event
}

/// An event that happened some seconds after the start.
pub fn event(after_seconds: i64, event_type: &str, object: &Value) -> Event {
    let event_id = format!("evt_{event_type}_{after_seconds}_{}", object["id"].as_str().unwrap());
    receive(&sample::event(&event_id, event_type, START + after_seconds, object))
}

/// An object with other members.
pub fn with<const N: usize>(mut object: Value, members: [(&str, Value); N]) -> Value {
    for (name, value) in members {
        object[name] = value;
    }
    object
}

pub fn session_completed(after_seconds: i64, amount: i64) -> Event {
    let session = sample::session(SESSION, INTENT, "ada", amount);
    event(after_seconds, "checkout.session.completed", &session)
}

pub fn intent_succeeded(after_seconds: i64, amount: i64) -> Event {
    event(after_seconds, "payment_intent.succeeded", &sample::intent(INTENT, CHARGE, amount))
}

/// A refund that was made some seconds after the start.
pub fn refund_object(made_after_seconds: i64, refund_id: &str, amount: i64) -> Value {
    let refund = sample::refund(refund_id, INTENT, CHARGE, amount);
    with(refund, [("created", (START + made_after_seconds).into())])
}

pub fn refund_created(after_seconds: i64, refund_id: &str, amount: i64) -> Event {
    event(after_seconds, "refund.created", &refund_object(after_seconds, refund_id, amount))
}

/// A refund that was made earlier and has failed.
pub fn refund_failed(after_seconds: i64, made_after: i64, refund_id: &str, amount: i64) -> Event {
    let refund = refund_object(made_after, refund_id, amount);
    event(after_seconds, "refund.failed", &with(refund, [("status", "failed".into())]))
}

pub fn charge_refunded(after_seconds: i64, amount_refunded: i64) -> Event {
    let charge = sample::charge(CHARGE, INTENT, 1_000, amount_refunded);
    event(after_seconds, "charge.refunded", &charge)
}

/// `what` is `created`, `updated` or `closed`.
pub fn dispute(after_seconds: i64, what: &str, amount: i64, status: &str) -> Event {
    let dispute = sample::dispute("du_1", INTENT, CHARGE, amount, status);
    event(after_seconds, &format!("charge.dispute.{what}"), &dispute)
}

/// A caller that does what the documentation of `payment` says.
#[derive(Clone, Default)]
pub struct Book {
    pub payments: BTreeMap<String, Payment>,
    kept: Vec<Kept>,
    log: BTreeMap<String, Recorded>,
    erased: BTreeSet<String>,
    /// Refunds and disputes that the log refuses.
    pub unrecordable: BTreeSet<String>,
}

/// An event that names no payment.
#[derive(Clone)]
struct Kept {
    keys: Vec<Key>,
    /// `None` if it names somebody who was erased.
    event: Option<Event>,
}

impl Book {
    pub fn of(events: &[Event]) -> Self {
        let mut book = Self::default();
        for event in events {
            book.deliver(event);
        }
        // Payments are kept as JSON.
        for payment in book.payments.values() {
            let kept = serde_json::to_string(payment).unwrap();
            assert_eq!(serde_json::from_str::<Payment>(&kept).unwrap(), *payment);
        }
        book
    }

    pub fn deliver(&mut self, event: &Event) {
        let mut changed = BTreeSet::new();
        if let Some(intent_id) = event.fact.intent() {
            let payment = self.payments.entry(intent_id.into());
            let payment = payment.or_insert_with(|| Payment::new(intent_id));
            payment.apply(event);
            loop {
                let keys = payment.keys();
                let is_under = |kept: &&Kept| kept.keys.iter().any(|key| keys.contains(key));
                for kept in self.kept.iter().filter(is_under) {
                    if let Some(event) = &kept.event {
                        payment.apply(event);
                    } else {
                        payment.note_forgotten();
                    }
                }
                if payment.keys() == keys {
                    break;
                }
            }
            changed.insert(intent_id.to_owned());
        } else if !event.fact.keys().is_empty() {
            self.kept.push(Kept { keys: event.fact.keys(), event: Some(event.clone()) });
            for (intent_id, payment) in &mut self.payments {
                if payment.apply(event) {
                    changed.insert(intent_id.clone());
                }
            }
        }
        self.forget();
        for intent_id in changed {
            self.carry_out(&intent_id);
        }
    }

    /// Erases a user. What is told later is kept without the name.
    pub fn erase(&mut self, user_id: &str) {
        self.erased.insert(user_id.into());
        self.forget();
    }

    fn forget(&mut self) {
        for payment in self.payments.values_mut() {
            payment.forget(&|name| self.erased.contains(name));
        }
        for kept in &mut self.kept {
            kept.event.take_if(|event| {
                let Fact::InvoicePaid(invoice) = &event.fact else { return false };
                invoice.subscription_user_id.as_ref().is_some_and(|of| self.erased.contains(of))
            });
        }
    }

    /// Carries out the plan of a payment. The next plan has nothing left to do.
    pub fn carry_out(&mut self, intent_id: &str) {
        let steps = self.plan(intent_id).steps;
        for step in steps {
            obey(&mut self.log, intent_id, step);
        }
        assert_eq!(self.plan(intent_id).steps, [], "a plan that was carried out leaves nothing");
    }

    pub fn desired(&self, intent_id: &str) -> Desired {
        self.payments[intent_id].desired(&rules())
    }

    pub fn plan(&self, intent_id: &str) -> Plan {
        self.desired(intent_id).plan(self.log.get(intent_id), &self.unrecordable)
    }

    pub fn recorded(&self, intent_id: &str) -> Option<&Recorded> {
        self.log.get(intent_id)
    }

    /// Another door records a purchase of Ada for 10.00 dollars, or a refund of it.
    pub fn record_elsewhere(&mut self, refunds: &[(&str, i64)]) {
        let paid = stripe::payment::Money { amount_minor: 1_000, currency_code: "USD".into() };
        let recorded = self.log.entry(INTENT.into()).or_insert_with(|| Recorded {
            buyer_user_id: "ada".into(),
            paid,
            refunds: Vec::new(),
            disputes: Vec::new(),
        });
        recorded.refunds.extend(refunds.iter().map(|(refund_id, amount_minor)| RecordedRefund {
            refund_id: (*refund_id).into(),
            amount_minor: *amount_minor,
            is_cancelled: false,
        }));
    }

    /// Another door cancels a refund. Then what is due is carried out.
    pub fn cancel_elsewhere(&mut self, refund_id: &str) {
        obey(&mut self.log, INTENT, Step::CancelRefund { refund_id: refund_id.into() });
        self.carry_out(INTENT);
    }

    /// Another door opens a dispute, or changes one. Then what is due is carried out.
    pub fn dispute_elsewhere(&mut self, dispute_id: &str, amount_minor: i64) {
        obey(
            &mut self.log,
            INTENT,
            Step::OpenDispute { dispute_id: dispute_id.into(), amount_minor },
        );
        self.carry_out(INTENT);
    }

    /// Another door closes a dispute. Then what is due is carried out.
    pub fn close_elsewhere(&mut self, dispute_id: &str, outcome: Outcome) {
        obey(&mut self.log, INTENT, Step::CloseDispute { dispute_id: dispute_id.into(), outcome });
        self.carry_out(INTENT);
    }

    /// What counts of what is recorded: the price, what went back of it, and the disputes.
    pub fn standing(&self, intent_id: &str) -> Option<Standing> {
        let recorded = self.log.get(intent_id)?;
        let counts = |refund: &&RecordedRefund| !refund.is_cancelled;
        let refunded_minor = recorded.refunds.iter().filter(counts).map(|of| of.amount_minor);
        let disputes = recorded.disputes.iter();
        let disputes = disputes.map(|of| (of.dispute_id.clone(), of.amount_minor, of.state));
        let mut disputes: Vec<_> = disputes.collect();
        disputes.sort();
        Some(Standing {
            buyer_user_id: recorded.buyer_user_id.clone(),
            paid_minor: recorded.paid.amount_minor,
            refunded_minor: refunded_minor.sum(),
            disputes,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub buyer_user_id: String,
    pub paid_minor: i64,
    pub refunded_minor: i64,
    pub disputes: Vec<(String, i64, Option<DisputeState>)>,
}

/// Carries out a step as the domain would, and stops at what the domain would refuse.
fn obey(log: &mut BTreeMap<String, Recorded>, intent_id: &str, step: Step) {
    if let Step::Record(purchase) = step {
        let begun = Recorded {
            buyer_user_id: purchase.buyer_user_id,
            paid: purchase.paid,
            refunds: Vec::new(),
            disputes: Vec::new(),
        };
        assert_eq!(log.insert(purchase.purchase_id, begun), None, "one purchase");
        return;
    }
    let recorded = log.get_mut(intent_id).expect("a purchase comes first");
    let paid_minor = recorded.paid.amount_minor;
    match step {
        Step::Record(_) => {}
        Step::Refund { refund_id, amount_minor } => {
            let is_known = recorded.refunds.iter().any(|known| known.refund_id == refund_id);
            assert!(!is_known, "refund ids are used once: {refund_id}");
            assert!(amount_minor > 0);
            let refund = RecordedRefund { refund_id, amount_minor, is_cancelled: false };
            recorded.refunds.push(refund);
        }
        Step::CancelRefund { refund_id } => {
            let known = recorded.refunds.iter_mut().find(|known| known.refund_id == refund_id);
            let known = known.expect("only a recorded refund is cancelled");
            assert!(!known.is_cancelled, "once");
            known.is_cancelled = true;
        }
        Step::OpenDispute { dispute_id, amount_minor } => {
            assert!(amount_minor > 0 && amount_minor <= paid_minor);
            let state = Some(DisputeState::Open);
            let mut disputes = recorded.disputes.iter_mut();
            match disputes.find(|known| known.dispute_id == dispute_id) {
                None => {
                    recorded.disputes.push(RecordedDispute { dispute_id, amount_minor, state });
                }
                Some(known) => {
                    assert_eq!(known.state, state, "a closed dispute is not changed");
                    known.amount_minor = amount_minor;
                }
            }
        }
        Step::CloseDispute { dispute_id, outcome } => {
            let mut disputes = recorded.disputes.iter_mut();
            let known = disputes.find(|known| known.dispute_id == dispute_id);
            let known = known.expect("only a recorded dispute is closed");
            assert_eq!(known.state, Some(DisputeState::Open), "once");
            known.state = Some(DisputeState::Closed(outcome));
        }
    }
}
