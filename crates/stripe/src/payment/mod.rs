//! One payment, by everything that was said about it.
//!
//! A [`Payment`] belongs to one payment intent, whose id is the id of the purchase. It takes facts in any order,
//! repeated or not: the same facts always give the same payment. [`Payment::desired`] is the state in which purchase,
//! refunds and disputes should be, and what an operator must look at; [`Desired::plan`] is what is due, given what is
//! recorded.
//!
//! # What the caller does with an event
//!
//! All in one transaction that holds a lock on the event's keys, or in a way that comes to the same:
//!
//! 1. A repeated `event_id` changes nothing; it may end here, or go on.
//! 2. *The fact names its payment* ([`Fact::intent`]): load or begin that payment and [`Payment::apply`] the event. If
//!    the payment has new keys ([`Payment::keys`]), apply the kept events with one of these keys that name no payment,
//!    and repeat while keys are new.
//! 3. *The fact names no payment* (an invoice that is paid, a refund of a charge): keep the event under its keys, and
//!    apply it to every payment with one of them. An invoice can be paid by several payments. What is kept waits for an
//!    event that links it, which Stripe sends within days; it need not be kept longer than raw bodies are.
//! 4. For each payment that changed: [`Payment::desired`], then [`Desired::plan`] on what is recorded, carried out as
//!    one append with the version of the purchase that was read. The steps of a plan belong together, since one can
//!    undo what another one makes up for.
//!
//! The plan of a payment whose purchase is neither recorded nor due is empty: refunds and disputes wait in the payment,
//! and are in the plan with the purchase. So a purchase that is recorded by another door, under the intent's id, must
//! also get the plan of its payment; and so must one that is refunded by another door, since that refund may be the one
//! which a running total has already told of.
//!
//! # Rules
//!
//! - *Amount.* What the intent received; if it is reported with several amounts, the one reported first. Until the
//!   intent is reported, the total of a paid session. They are one purchase; if they differ, the difference is parked
//!   and never added. Sessions in subscription mode record nothing, and neither does an invoice: their intent does.
//! - *Time.* The earliest event that told of the money.
//! - *Buyer.* Whom an operator attached, else a session's `client_reference_id`, else its `metadata.user_id`, else the
//!   user of the subscription whose invoice was paid, else the intent's `metadata.user_id`. A text that is no user id
//!   is passed over. Nobody: parked until an event names somebody. Several: the first of these, and parked unless an
//!   operator attached it. Each of these places keeps whom it named first, and if that person is forgotten, that there
//!   was somebody: so it does not matter whether somebody else was named there before or after.
//! - *Refunds* by their ids. One that failed or was cancelled does not count, whatever is said of it earlier or later.
//! - *Running totals* (`charge.refunded`). The latest one by its event's time counts; a late smaller one says nothing.
//!   It is compared with what the known refunds came to *at that moment*: those made by then and not yet failed. What
//!   it is more than that is money that went back by refunds not known yet ([`RaisedTo`]). It is 0 as soon as they are
//!   known. A refund made later is not in the total, and one that failed later still explains it. So do refunds that
//!   another door recorded under ids that Stripe has not named, as long as they stand: if one of these is cancelled by
//!   that door, Stripe still says that the money went back, so the total counts instead, and that is parked. It ends
//!   when Stripe says that the refund has failed. No refund explains more than what is recorded of it: what
//!   another door has recorded with less explains less, and what cannot be recorded nothing.
//! - *Disputes* by their ids, as the latest event says; of an open one also the amount, whatever another door has said.
//!   An inquiry counts as a dispute, and is won when it is closed. A status that does not say where the money is
//!   (`prevented`) leaves the dispute open, and parked.

mod desired;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::event::{Amount, DisputeStatus, Event, Fact, Key, Session, SessionMode};

pub use desired::{
    AmountFault, Desired, DesiredDispute, DesiredPurchase, DesiredRefund, DisputeState, Money,
    Outcome, Parked, RaisedTo, Rules, issue_id,
};
pub use plan::{Plan, Recorded, RecordedDispute, RecordedRefund, Step, is_reserved};

/// What was said, and when the event happened, in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Told<T> {
    at_seconds: i64,
    value: T,
}

/// Keeps what was said first; of one second, the smaller value, so that the order of delivery decides nothing.
fn keep_first<T: Ord>(kept: &mut Option<Told<T>>, told: Told<T>) {
    if kept.as_ref().is_none_or(|kept| told < *kept) {
        *kept = Some(told);
    }
}

/// Keeps what was said last; of one second, the greater value.
fn keep_last<T: Ord>(kept: &mut Option<Told<T>>, told: Told<T>) {
    if kept.as_ref().is_none_or(|kept| told > *kept) {
        *kept = Some(told);
    }
}

/// What sessions said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct OfSession {
    paid: Option<Told<Amount>>,
    reference: Option<Told<String>>,
    metadata_user_id: Option<Told<String>>,
}

/// What was said about an invoice that the payment belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct OfInvoice {
    is_paid: bool,
    subscription_user_id: Option<Told<String>>,
}

/// What was said about a refund. The amount never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct OfRefund {
    /// The time is that of the refund, not of an event.
    made: Option<Told<Amount>>,
    charge: Option<String>,
    /// When it was first said to be cancelled.
    cancelled_at_seconds: Option<i64>,
}

/// What was said about a dispute. Of one second what is decided counts, then a change, then the greater amount: so the
/// fields are in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct OfDispute {
    status: DisputeStatus,
    #[serde(default)]
    is_change: bool,
    amount: Amount,
}

/// A payment. Serialise it to keep it; its fields are for this module only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    intent_id: String,
    #[serde(default)]
    attached_user_id: Option<String>,
    #[serde(default)]
    received: Option<Told<Amount>>,
    /// All amounts with which the intent was reported. There should be one.
    #[serde(default)]
    received_amounts: BTreeSet<Amount>,
    #[serde(default)]
    intent_user_id: Option<Told<String>>,
    #[serde(default)]
    sessions: BTreeMap<String, OfSession>,
    #[serde(default)]
    invoices: BTreeMap<String, OfInvoice>,
    /// Running totals of refunds by charge; a charge without one is known by its id only.
    #[serde(default)]
    charges: BTreeMap<String, Option<Told<Amount>>>,
    #[serde(default)]
    refunds: BTreeMap<String, OfRefund>,
    #[serde(default)]
    disputes: BTreeMap<String, Option<Told<OfDispute>>>,
    /// What an operator has seen and acknowledged, by [`issue_id`].
    #[serde(default)]
    acknowledged: BTreeSet<String>,
    /// Whether somebody was named who was forgotten since.
    #[serde(default)]
    has_forgotten: bool,
}

impl Payment {
    /// A payment of which nothing is known.
    #[must_use]
    pub fn new(intent_id: &str) -> Self {
        Self {
            intent_id: intent_id.into(),
            attached_user_id: None,
            received: None,
            received_amounts: BTreeSet::new(),
            intent_user_id: None,
            sessions: BTreeMap::new(),
            invoices: BTreeMap::new(),
            charges: BTreeMap::new(),
            refunds: BTreeMap::new(),
            disputes: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            has_forgotten: false,
        }
    }

    /// The payment intent, and the id of the purchase.
    #[must_use]
    pub fn intent_id(&self) -> &str {
        &self.intent_id
    }

    /// All objects that belong to the payment, as far as facts have said so.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<Key> {
        let sessions = self.sessions.keys().cloned().map(Key::Session);
        let invoices = self.invoices.keys().cloned().map(Key::Invoice);
        let charges = self.charges.keys().cloned().map(Key::Charge);
        let own = std::iter::once(Key::Intent(self.intent_id.clone()));
        own.chain(sessions).chain(invoices).chain(charges).collect()
    }

    /// Whether a fact is about this payment: it names the payment, or it names none, but an object of the payment.
    #[must_use]
    pub fn concerns(&self, fact: &Fact) -> bool {
        if let Some(intent_id) = fact.intent() {
            return intent_id == self.intent_id;
        }
        let keys = self.keys();
        fact.keys().iter().any(|key| keys.contains(key))
    }

    /// Takes an event into account, and says whether that changed anything. One about another payment changes nothing.
    pub fn apply(&mut self, event: &Event) -> bool {
        if !self.concerns(&event.fact) {
            return false;
        }
        let before = self.clone();
        self.take(&event.fact, event.created_seconds);
        *self != before
    }

    /// An operator says who bought. That goes before what any event says.
    pub fn attach(&mut self, buyer_user_id: &str) {
        self.attached_user_id = Some(buyer_user_id.into());
    }

    /// An operator has seen what waits under this id. It does not wait any more, until it says something else.
    pub fn acknowledge(&mut self, issue_id: &str) {
        self.acknowledged.insert(issue_id.into());
    }

    /// Whether an operator has seen what waits under this id.
    #[must_use]
    pub fn is_acknowledged(&self, issue_id: &str) -> bool {
        self.acknowledged.contains(issue_id)
    }

    /// Whether somebody was named who was forgotten since: nothing personal that is said of the payment is kept.
    #[must_use]
    pub fn has_forgotten(&self) -> bool {
        self.has_forgotten
    }

    /// Notes that an event of this payment was forgotten with whom it named, before the payment was known.
    pub fn note_forgotten(&mut self) {
        self.has_forgotten = true;
    }

    /// Forgets that these people were named, whoever named them. What was paid, went back and is disputed stays known,
    /// and so does that somebody was named, so that what is told late or again means the same as before. Says whether
    /// anybody was named.
    pub fn forget(&mut self, is_forgotten: &dyn Fn(&str) -> bool) -> bool {
        let before = self.clone();
        let forget = |told: &mut Option<Told<String>>| {
            if let Some(told) = told.as_mut().filter(|told| is_forgotten(&told.value)) {
                told.value.clear();
            }
        };
        self.attached_user_id.take_if(|name| is_forgotten(name));
        forget(&mut self.intent_user_id);
        for session in self.sessions.values_mut() {
            forget(&mut session.reference);
            forget(&mut session.metadata_user_id);
        }
        for invoice in self.invoices.values_mut() {
            forget(&mut invoice.subscription_user_id);
        }
        let is_changed = *self != before;
        self.has_forgotten |= is_changed;
        is_changed
    }

    fn take(&mut self, fact: &Fact, at_seconds: i64) {
        match fact {
            Fact::Session(session) => self.take_session(session, at_seconds),
            Fact::IntentSucceeded(intent) => {
                self.know_charge(intent.latest_charge.as_ref());
                keep_user(&mut self.intent_user_id, intent.metadata_user_id.as_ref(), at_seconds);
                if intent.received.amount > 0 {
                    let told = Told { at_seconds, value: intent.received.clone() };
                    keep_first(&mut self.received, told);
                    self.received_amounts.insert(intent.received.clone());
                }
            }
            Fact::InvoicePaymentPaid(paid) => {
                self.invoices.entry(paid.invoice.clone()).or_default().is_paid = true;
            }
            Fact::InvoicePaid(invoice) => {
                let of = self.invoices.entry(invoice.invoice_id.clone()).or_default();
                let user_id = invoice.subscription_user_id.as_ref();
                keep_user(&mut of.subscription_user_id, user_id, at_seconds);
            }
            Fact::Refund(refund) => {
                self.know_charge(refund.charge.as_ref());
                let of = self.refunds.entry(refund.refund_id.clone()).or_default();
                let made = Told { at_seconds: refund.made_seconds, value: refund.amount.clone() };
                keep_first(&mut of.made, made);
                of.charge = of.charge.take().max(refund.charge.clone());
                if refund.is_cancelled {
                    let before = of.cancelled_at_seconds.unwrap_or(i64::MAX);
                    of.cancelled_at_seconds = Some(before.min(at_seconds));
                }
            }
            Fact::ChargeRefunded(charge) => {
                let of = self.charges.entry(charge.charge_id.clone()).or_default();
                keep_last(of, Told { at_seconds, value: charge.refunded.clone() });
            }
            Fact::Dispute(dispute) => {
                self.know_charge(dispute.charge.as_ref());
                let (status, amount) = (dispute.status.clone(), dispute.amount.clone());
                let value = OfDispute { status, is_change: !dispute.is_opening, amount };
                let of = self.disputes.entry(dispute.dispute_id.clone()).or_default();
                keep_last(of, Told { at_seconds, value });
            }
            Fact::Unknown => {}
        }
    }

    fn take_session(&mut self, session: &Session, at_seconds: i64) {
        if let Some(invoice) = &session.invoice {
            self.invoices.entry(invoice.clone()).or_default();
        }
        let of = self.sessions.entry(session.session_id.clone()).or_default();
        keep_user(&mut of.reference, session.client_reference_id.as_ref(), at_seconds);
        keep_user(&mut of.metadata_user_id, session.metadata_user_id.as_ref(), at_seconds);
        match (session.mode, &session.total) {
            (SessionMode::Payment, Some(total)) if session.is_paid && total.amount > 0 => {
                keep_first(&mut of.paid, Told { at_seconds, value: total.clone() });
            }
            (SessionMode::Payment | SessionMode::Subscription | SessionMode::Other, _) => {}
        }
    }

    fn know_charge(&mut self, charge_id: Option<&String>) {
        if let Some(charge_id) = charge_id {
            self.charges.entry(charge_id.clone()).or_default();
        }
    }
}

/// Keeps who was named first. Of one who was forgotten, the text is empty, which is smaller than any name.
fn keep_user(kept: &mut Option<Told<String>>, user_id: Option<&String>, at_seconds: i64) {
    if let Some(user_id) = user_id {
        keep_first(kept, Told { at_seconds, value: user_id.clone() });
    }
}
