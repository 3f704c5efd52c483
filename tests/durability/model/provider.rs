//! What a provider of payments tells the servers: events about payments, signed as Stripe signs them.

use std::time::Duration;

use serde_json::{Value, json};
use stripe::sample;
use stripe::signature::{Secret, sign};
use testing::stripe_events::{WEBHOOK_SECRET, post};

use super::rules::Moment;
use super::run::{Began, Run};
use super::told::{
    FIRST_PAYMENT, Fact, INTENT_SECONDS, REFUND, SESSION_SECONDS, STANDS, TOTALS, part,
};

/// How long a server may refuse an event.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long ago a payment began of which something is told for the first time. Nothing of the money is in the future.
const BEGAN_SECONDS: i64 = 12;
const SECOND_US: Moment = 1_000_000;

/// Tells both servers in turn, beginning with this one.
pub async fn tell(
    run: &mut Run,
    server: usize,
    (payment, fact): (usize, Fact),
    times: usize,
) -> Result<(), String> {
    let now = run.clock.now() / SECOND_US;
    let just_now = Began { seconds: now - BEGAN_SECONDS, era: run.world.era };
    let began = *run.began.entry(payment).or_insert(just_now);
    let body = event(run, payment, began.seconds, fact).to_string();
    let until = tokio::time::Instant::now() + PATIENCE;
    for time in 0..times {
        let address = &run.addresses[(server + time) % 2];
        loop {
            let signature = sign(body.as_bytes(), &Secret::list(WEBHOOK_SECRET), now);
            match post(address, &signature, body.as_bytes()).await {
                Ok(answer) if answer.status == 200 => break,
                answer if tokio::time::Instant::now() > until => {
                    return Err(format!("the server says {answer:?}"));
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
    let bought = run.payments[payment];
    let mut world = run.world.clone();
    world.tell(payment, fact, bought, |seconds| run.dated_after(began, seconds));
    run.world = world;
    Ok(())
}

fn event(run: &Run, payment: usize, began: i64, fact: Fact) -> Value {
    let purchase = FIRST_PAYMENT + payment;
    let (buyer, paid) = run.payments[payment];
    let intent = run.purchase(purchase);
    let charge = format!("ch_{intent}");
    let (kind, seconds, object) = match fact {
        Fact::Session => {
            let session = format!("cs_{intent}");
            let session = sample::session(&session, &intent, &run.user(buyer), paid);
            ("checkout.session.completed", SESSION_SECONDS, session)
        }
        Fact::Intent => {
            let intent = sample::intent(&intent, &charge, paid);
            ("payment_intent.succeeded", INTENT_SECONDS, intent)
        }
        Fact::Refund(refund) | Fact::RefundFails(refund) => {
            let (made, fails, sixths) = REFUND[refund];
            let id = run.refund(purchase, refund);
            let mut object = sample::refund(&id, &intent, &charge, part(paid, sixths));
            object["created"] = json!(began + made);
            if fact == Fact::Refund(refund) {
                ("refund.created", made, object)
            } else {
                object["status"] = json!("failed");
                ("refund.failed", fails, object)
            }
        }
        Fact::Total(total) => {
            let (at, sixths) = TOTALS[total];
            ("charge.refunded", at, sample::charge(&charge, &intent, paid, part(paid, sixths)))
        }
        Fact::Dispute(dispute, stands) => {
            let (at, sixths, words) = STANDS[stands];
            let id = run.dispute(purchase, dispute);
            let object = sample::dispute(&id, &intent, &charge, part(paid, sixths), words);
            let kind = match words {
                "needs_response" => "charge.dispute.created",
                "won" | "lost" | "warning_closed" => "charge.dispute.closed",
                _ => "charge.dispute.updated",
            };
            (kind, at, object)
        }
    };
    let fact = format!("{fact:?}").replace(['(', ')', ',', ' '], "_");
    sample::event(&format!("evt_{intent}_{fact}"), kind, began + seconds, &object)
}
