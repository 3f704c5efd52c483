//! Payouts between the events of payments.

use super::*;
use crate::payouts::{balances, becomes, collected, confirm, create, paying, set_method};

/// The orders that are tried, out of 720.
const ORDERS: usize = 24;

/// An order of six events by its number.
fn order(mut events: Vec<Value>, mut number: usize) -> Vec<Value> {
    let mut ordered = Vec::with_capacity(events.len());
    while !events.is_empty() {
        let left = events.len();
        ordered.push(events.remove(number % left));
        number /= left;
    }
    ordered
}

/// Everything that is told of a payment of 4,000 rupees: a refund of 1,000 and one of 800 of which only the total
/// tells, and a dispute about 600 that is lost.
fn events_of(payment: &Payment) -> Vec<Value> {
    let refund = format!("re_{}", payment.id());
    vec![
        payment.session(),
        payment.intent(),
        payment.refund("refund.created", 10, &refund, 100_000),
        payment.refunded(15, 180_000),
        payment.dispute("created", 20, 50_000, "needs_response"),
        payment.dispute("closed", 40, 60_000, "lost"),
    ]
}

async fn pay_out(client: &Client, payout_id: &str) -> i64 {
    create(client, payout_id, 1).await.unwrap();
    if collected(client, payout_id).await.state() == PayoutState::Confirmed {
        return 0;
    }
    confirm(client, payout_id, "", "").await.unwrap();
    let confirmed = becomes(client, payout_id, PayoutState::Confirmed).await;
    minor(confirmed.paid.unwrap().amount.as_ref())
}

#[tokio::test(flavor = "multi_thread")]
async fn payouts_between_the_events_of_payments_pay_the_same_in_the_end_whatever_their_order() {
    let (database, server, client) = scene(&[]).await;
    client.publish(paying()).await.unwrap();
    let mut orders = Vec::new();
    for number in 0..ORDERS {
        let (referrer, buyer) = (format!("referrer-{number}"), format!("buyer-{number}"));
        let code = client.sign_up(LINES, &referrer, "").await.unwrap().code;
        client.sign_up(LINES, &buyer, &code).await.unwrap();
        set_method(&client, &referrer, &referrer).await.unwrap();
        let payment = Payment::new(&number.to_string(), &buyer, 400_000);
        orders.push(order(events_of(&payment), number * 720 / ORDERS + number));
    }
    let mut paid = 0;
    for step in 0..orders[0].len() {
        for events in &orders {
            deliver(&server.address, &events[step]).await;
        }
        paid += pay_out(&client, &format!("payout-{step}")).await;
    }
    assert_eq!(unmatched(&client).await, []);
    // What was paid and taken back afterwards is offset by what follows.
    for number in 0..ORDERS {
        let (purchase_id, buyer) = (format!("next-{number}"), format!("buyer-{number}"));
        client.buy(&purchase_id, &buyer, "INR", 400_000).await.unwrap();
    }
    paid += pay_out(&client, "the-last").await;
    // 5 percent of what is left of the payment, which is 1,600 rupees, and of the other purchase.
    let expected = 8_000 + 20_000;
    for number in 0..ORDERS {
        let name = format!("referrer-{number}");
        assert_eq!(balances(&client, &name).await, (0, 0, expected), "{name}");
    }
    assert_eq!(paid, expected * i64::try_from(ORDERS).unwrap());
    let twice = "select count(*) from (
            select from events where event_type = 'PayoutPaid'
            group by aggregate_id, payload ->> 'payout_id' having count(*) > 1
        ) as twice";
    assert_eq!(database.count(twice).await, 0);
    let purchases = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(purchases).await, 2 * i64::try_from(ORDERS).unwrap());
    testing::check_books(&database).await;
    database.check().await;
    server.stop().await;
}
