//! Keeping events, and joining what was told about one payment.
//!
//! All that an event changes here is one transaction, which holds a lock on every object that the event names. Two
//! events that have an object in common are therefore taken in one after the other, and the second sees the first.

use std::collections::BTreeSet;

use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::settle::RULES;
use super::{JOB, PaymentError, Payments};
use crate::hang;
use crate::store::jobs::{self, NewJob};
use crate::store::stripe::{self as store, KeptEvent};
use crate::store::{StoreError, begin, in_time};
use domain::UserId;
use stripe::event::{Event, Fact, Key, Unread, parse};
use stripe::payment::Payment;

/// An object, as text.
fn text(key: &Key) -> String {
    match key {
        Key::Intent(id) => format!("intent:{id}"),
        Key::Session(id) => format!("session:{id}"),
        Key::Invoice(id) => format!("invoice:{id}"),
        Key::Charge(id) => format!("charge:{id}"),
    }
}

/// Objects as text, in the order in which they are locked: the payment comes last, since events that do not name it
/// find it by the others.
fn texts<'a>(keys: impl DoubleEndedIterator<Item = &'a Key>) -> Vec<String> {
    keys.rev().map(text).collect()
}

/// All whom an event names as the buyer, in the order in which that counts.
fn named(fact: &Fact) -> Vec<UserId> {
    let [first, second] = match fact {
        Fact::Session(of) => [of.client_reference_id.as_ref(), of.metadata_user_id.as_ref()],
        Fact::IntentSucceeded(of) => [of.metadata_user_id.as_ref(), None],
        Fact::InvoicePaid(of) => [of.subscription_user_id.as_ref(), None],
        Fact::InvoicePaymentPaid(_)
        | Fact::Refund(_)
        | Fact::ChargeRefunded(_)
        | Fact::Dispute(_)
        | Fact::Unknown => [None, None],
    };
    users(first.into_iter().chain(second).map(String::as_str))
}

/// All whom a payment names as the buyer, in the order in which that counts.
pub(super) fn named_by(payment: &Payment) -> Vec<UserId> {
    users(payment.named(&RULES).into_iter())
}

/// Those names that can be users, each once.
fn users<'a>(names: impl Iterator<Item = &'a str>) -> Vec<UserId> {
    let mut users = Vec::new();
    for user_id in names.filter_map(|name| UserId::parse(name).ok()) {
        if !users.contains(&user_id) {
            users.push(user_id);
        }
    }
    users
}

/// A payment from what is kept of it; a new one if nothing is.
pub(super) fn read(kept: Option<store::KeptPayment>, id: &str) -> Result<Payment, StoreError> {
    let Some(kept) = kept else { return Ok(Payment::new(id)) };
    let nonsense = |error| StoreError::Nonsense(format!("the state of payment {id}: {error}"));
    serde_json::from_value(kept.state).map_err(nonsense)
}

async fn save(transaction: &mut PgConnection, payment: &Payment) -> Result<(), StoreError> {
    let id = payment.intent_id();
    let nonsense = |error| StoreError::Nonsense(format!("payment {id} cannot be kept: {error}"));
    let state = serde_json::to_value(payment).map_err(nonsense)?;
    let (named, keys) = (named_by(payment), texts(payment.keys().iter()));
    store::save_payment(transaction, id, &state, &named, &keys).await
}

impl Payments {
    /// Keeps an event, and applies it to its payments. Returns them; there are none while nothing says which payment it
    /// is about.
    pub(super) async fn keep(
        &self,
        event: &Event,
        body: &str,
    ) -> Result<Vec<String>, PaymentError> {
        let kept = async {
            let mut transaction = begin(self.0.database.pool()).await?;
            let payment_ids = join(&mut transaction, event, body).await?;
            hang::point("stripe.keeping");
            transaction.commit().await?;
            Ok(payment_ids)
        };
        Ok(in_time(kept).await?)
    }

    /// Keeps the body of an event that cannot be read, under its id: nobody looks for it but a person. One who was
    /// erased is not named again.
    pub(super) async fn keep_unread(&self, event: &Unread, body: &str) -> Result<(), PaymentError> {
        let kept = async {
            let mut transaction = begin(self.0.database.pool()).await?;
            let (event_id, event_type) = (&*event.event_id, &*event.event_type);
            let named = users(event.named.iter().map(String::as_str));
            keep_event(&mut transaction, (event_id, event_type), named, body).await?;
            transaction.commit().await?;
            Ok(())
        };
        Ok(in_time(kept).await?)
    }

    /// An operator says who bought, if that is known, and which issues need no more attention. What is due then is
    /// settled by a job, should the caller not come to that. Returns `false` if nothing was told about the payment.
    ///
    /// # Errors
    /// [`PaymentError`] if that cannot be written.
    pub async fn attach(
        &self,
        payment_id: &str,
        buyer: Option<&UserId>,
        issue_ids: &[String],
    ) -> Result<bool, PaymentError> {
        let change = |payment: &mut Payment| {
            if let Some(buyer) = buyer {
                payment.attach(buyer.as_str());
            }
            for issue_id in issue_ids {
                payment.acknowledge(issue_id);
            }
        };
        let key = format!("{payment_id}/attached/{}", self.0.environment.fresh_id());
        let payload = json!({ "payment_id": payment_id });
        let job = NewJob { kind: JOB, dedupe_key: &key, payload: &payload };
        self.change(payment_id, change, Some(job)).await
    }

    /// Forgets that a payment names these people, who were erased.
    pub(super) async fn forget(
        &self,
        payment_id: &str,
        erased: &[UserId],
    ) -> Result<(), PaymentError> {
        self.change(payment_id, |payment| forget(payment, erased), None).await.map(drop)
    }

    /// Changes what is known of a payment. Returns `false` if nothing was told about it.
    async fn change(
        &self,
        payment_id: &str,
        change: impl FnOnce(&mut Payment) + Send,
        job: Option<NewJob<'_>>,
    ) -> Result<bool, PaymentError> {
        let changed = async {
            let mut transaction = begin(self.0.database.pool()).await?;
            store::lock(&mut transaction, &[text(&Key::Intent(payment_id.into()))]).await?;
            let kept = store::payment(&mut *transaction, payment_id).await?;
            if kept.is_none() {
                return Ok(false);
            }
            let mut payment = read(kept, payment_id)?;
            change(&mut payment);
            save(&mut transaction, &payment).await?;
            forget_bodies(&mut transaction, &payment).await?;
            if let Some(job) = job {
                jobs::insert(&mut *transaction, job).await?;
            }
            transaction.commit().await?;
            Ok(true)
        };
        Ok(in_time(changed).await?)
    }
}

fn forget(payment: &mut Payment, erased: &[UserId]) {
    payment.forget(&|name| erased.iter().any(|user_id| user_id.as_str() == name));
}

/// Keeps an event, without a body if it names somebody who was erased. The lock on those whom it names goes before all
/// others, as an erasure's does.
async fn keep_event(
    transaction: &mut PgConnection,
    (event_id, event_type): (&str, &str),
    mut named: Vec<UserId>,
    body: &str,
) -> Result<(), StoreError> {
    store::lock_users(transaction, &named).await?;
    let erased = store::erased(&mut *transaction, &named).await?;
    named.retain(|user_id| !erased.contains(user_id));
    let body = erased.is_empty().then_some(body);
    let kept = KeptEvent { event_id, event_type, named: &named, body };
    store::keep_event(transaction, kept).await
}

/// Keeps an event that was read, and returns the id under which it is kept. Stripe sends one event to several endpoints,
/// in the API version of each, and one that could not be read can come in order later: what says something else under an
/// id that is known is kept beside it, since what waits is read again.
async fn keep_read(
    transaction: &mut PgConnection,
    event: &Event,
    body: &str,
) -> Result<String, StoreError> {
    let (event_id, event_type) = (&*event.event_id, &*event.event_type);
    let named = named(&event.fact);
    keep_event(transaction, (event_id, event_type), named.clone(), body).await?;
    let known = store::event_body(&mut *transaction, event_id).await?;
    let is_told = |known: String| {
        known == body || parse(known.as_bytes()).is_ok_and(|known| known.fact == event.fact)
    };
    if known.is_none_or(is_told) {
        return Ok(event_id.to_owned());
    }
    let fact = serde_json::to_vec(&event.fact)
        .map_err(|error| StoreError::Nonsense(format!("event {event_id}: {error}")))?;
    let other_id = format!("{event_id}/{:x}", Sha256::digest(fact));
    keep_event(transaction, (&other_id, event_type), named, body).await?;
    Ok(other_id)
}

async fn join(
    transaction: &mut PgConnection,
    event: &Event,
    body: &str,
) -> Result<Vec<String>, StoreError> {
    let keys = texts(event.fact.keys().into_iter().collect::<BTreeSet<_>>().iter());
    let kept_id = keep_read(transaction, event, body).await?;
    store::lock(transaction, &keys).await?;
    let payment_ids = if let Some(intent_id) = event.fact.intent() {
        vec![intent_id.to_owned()]
    } else {
        store::let_wait(&mut *transaction, &kept_id, &keys).await?;
        let payment_ids = store::payments_with(&mut *transaction, &keys).await?;
        let intents: Vec<String> =
            payment_ids.iter().map(|id| text(&Key::Intent(id.clone()))).collect();
        store::lock(transaction, &intents).await?;
        payment_ids
    };
    for payment_id in &payment_ids {
        apply(transaction, payment_id, event, &kept_id).await?;
    }
    Ok(payment_ids)
}

/// Applies an event, which is kept under an id, to a payment, and whatever has waited for the objects that it brings.
async fn apply(
    transaction: &mut PgConnection,
    payment_id: &str,
    event: &Event,
    kept_id: &str,
) -> Result<(), StoreError> {
    let kept = store::payment(&mut *transaction, payment_id).await?;
    let is_new = kept.is_none();
    let mut payment = read(kept, payment_id)?;
    let mut known = if is_new { BTreeSet::new() } else { payment.keys() };
    let mut is_changed = payment.apply(event);
    let mut event_ids = vec![kept_id.to_owned()];
    loop {
        let keys = payment.keys();
        let fresh = texts(keys.difference(&known).collect::<BTreeSet<_>>().into_iter());
        if fresh.is_empty() {
            break;
        }
        known = keys;
        // The event's own objects are locked; those of an event that has waited may not be.
        store::lock(transaction, &fresh).await?;
        for (event_id, body) in store::waiting(&mut *transaction, &fresh).await? {
            let Some(body) = body else {
                payment.note_forgotten();
                is_changed = true;
                continue;
            };
            // It was read when it came. A later release may have kept what this one cannot read.
            let Ok(waiting) = parse(body.as_bytes()) else { continue };
            is_changed |= payment.apply(&waiting);
            event_ids.push(event_id);
        }
    }
    // One who is erased just now is found when it is noted how the payment stands.
    let erased = store::erased(&mut *transaction, &named_by(&payment)).await?;
    forget(&mut payment, &erased);
    if is_new || is_changed || !erased.is_empty() {
        save(transaction, &payment).await?;
    }
    store::assign_events(&mut *transaction, &event_ids, payment_id).await?;
    forget_bodies(transaction, &payment).await
}

/// Of a payment that has named somebody who was erased, no body is kept: also one that names nobody can be about them.
async fn forget_bodies(
    transaction: &mut PgConnection,
    payment: &Payment,
) -> Result<(), StoreError> {
    if payment.has_forgotten() {
        store::forget_bodies(transaction, payment.intent_id()).await?;
    }
    Ok(())
}
