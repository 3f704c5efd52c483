//! Webhooks of Stripe, signed for real: what they record, what waits, and what is refused.

mod door;
mod money_back;
mod payments;
mod payouts;
mod unmatched;

use contract::pb::*;
use serde_json::{Value, json};
use stripe::sample;
use tonic::Code;

use super::support::{PATIENCE, log_length, minor, refused};
use testing::stripe_events::{
    Payment, WEBHOOK_SECRET, deliver, deliver_with, server_with_endpoint,
};
use testing::{Client, Server, TestDatabase};

const LINES: &str = "multi-level-commission";

/// A server with an endpoint, and a line of people in a program.
async fn scene(names: &[&str]) -> (TestDatabase, Server, Client) {
    let database = TestDatabase::new().await;
    let server = server_with_endpoint(&database).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    let mut code = String::new();
    for name in names {
        code = client.sign_up(LINES, name, &code).await.unwrap().code;
    }
    (database, server, client)
}

/// What a referrer has by now, in minor units.
async fn balance(client: &Client, user_id: &str, token: &str) -> i64 {
    let message = GetBalancesRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        consistency_token: token.into(),
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(message)).await.unwrap();
    minor(answer.into_inner().balances.first())
}

/// Waits until a referrer has that much.
async fn comes_to(client: &Client, user_id: &str, expected: i64) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = balance(client, user_id, "").await;
        if found == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{user_id} has {found}, not {expected}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn unmatched(client: &Client) -> Vec<UnmatchedPayment> {
    let message = ListUnmatchedPaymentsRequest::default();
    let answer = client.purchases().list_unmatched_payments(client.request(message)).await;
    answer.unwrap().into_inner().payments
}

/// Acknowledges all issues of a payment, and returns what is left of it.
async fn acknowledge(client: &Client, payment: &UnmatchedPayment) -> Option<UnmatchedPayment> {
    let ids = payment.issues.iter().map(|issue| issue.issue_id.clone());
    let message = AttachPaymentRequest {
        payment_id: payment.payment_id.clone(),
        acknowledged_issue_ids: ids.collect(),
        ..Default::default()
    };
    client.purchases().attach_payment(client.request(message)).await.unwrap().into_inner().payment
}

fn kinds(payment: &UnmatchedPayment) -> Vec<PaymentIssueKind> {
    payment.issues.iter().map(PaymentIssue::kind).collect()
}
