//! Events of Stripe about payments, signed and delivered as Stripe does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use stripe::sample;
use stripe::signature::{Secret, sign};
use tokio::process::Command;

use super::plain_http::{Answer, send};
use super::{Server, ServerOptions, TestDatabase, serve};

/// The secret of the endpoint in tests.
pub const WEBHOOK_SECRET: &str = "whsec_test_secret_0123456789";
/// How long an event is delivered again until it is taken in.
const PATIENCE: Duration = Duration::from_mins(1);

/// The command of a server with an endpoint.
pub fn serve_with_endpoint(database: &TestDatabase, options: &ServerOptions) -> Command {
    let mut command = serve(&database.url, options);
    command.env("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET);
    command
}

/// A server with an endpoint.
pub async fn server_with_endpoint(database: &TestDatabase) -> Server {
    Server::start_command(serve_with_endpoint(database, &ServerOptions::default())).await
}

/// Now, in seconds since 1970.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "tests sign by the clock")]
pub fn now_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Sends a body with a header `Stripe-Signature`.
pub async fn post(address: &str, signature: &str, body: &[u8]) -> std::io::Result<Answer> {
    let signature = format!("stripe-signature: {signature}");
    let headers = [&*signature, "content-type: application/json; charset=utf-8"];
    send(address, "POST /webhooks/stripe", &headers, body).await
}

/// Delivers an event once, signed with these secrets.
pub async fn deliver_with(address: &str, event: &Value, secrets: &str) -> std::io::Result<Answer> {
    let body = event.to_string();
    let signature = sign(body.as_bytes(), &Secret::list(secrets), now_seconds());
    post(address, &signature, body.as_bytes()).await
}

/// Delivers an event that is taken in.
pub async fn deliver(address: &str, event: &Value) {
    let answer = deliver_with(address, event, WEBHOOK_SECRET).await.unwrap();
    assert_eq!(answer.status, 200, "{event}: {}", answer.text());
}

/// Delivers an event until it is taken in, as Stripe does, to one address after the other.
pub async fn deliver_until_taken(addresses: &[&str], event: &Value) {
    let end = tokio::time::Instant::now() + PATIENCE;
    for address in addresses.iter().cycle() {
        match deliver_with(address, event, WEBHOOK_SECRET).await {
            Ok(answer) if answer.status == 200 => return,
            answer => assert!(tokio::time::Instant::now() < end, "{event}: {answer:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A payment at Stripe, and the events about it. The same event always has the same id.
#[derive(Clone, Debug)]
pub struct Payment {
    name: String,
    buyer: Option<String>,
    currency: String,
    amount: i64,
    began_seconds: i64,
}

impl Payment {
    /// A payment of rupees, a minute ago. Events are some seconds later.
    #[must_use]
    pub fn new(name: &str, buyer: &str, amount: i64) -> Self {
        Self {
            name: name.into(),
            buyer: Some(buyer.into()),
            currency: "inr".into(),
            amount,
            began_seconds: now_seconds() - 60,
        }
    }

    #[must_use]
    pub fn without_buyer(self) -> Self {
        Self { buyer: None, ..self }
    }

    #[must_use]
    pub fn in_currency(self, currency: &str) -> Self {
        Self { currency: currency.into(), ..self }
    }

    /// The payment intent, and the purchase.
    #[must_use]
    pub fn id(&self) -> String {
        format!("pi_{}", self.name)
    }

    fn charge_id(&self) -> String {
        format!("ch_{}", self.name)
    }

    /// An event some seconds after the payment began.
    #[must_use]
    pub fn event(&self, event_type: &str, after_seconds: i64, mut object: Value) -> Value {
        let created = self.began_seconds + after_seconds;
        object["currency"] = json!(self.currency);
        object["created"] = json!(created);
        let event_id =
            format!("evt_{}_{}_{after_seconds}", self.name, event_type.replace('.', "_"));
        sample::event(&event_id, event_type, created, &object)
    }

    #[must_use]
    pub fn session(&self) -> Value {
        let buyer = self.buyer.as_deref().unwrap_or_default();
        let session_id = format!("cs_{}", self.name);
        let mut session = sample::session(&session_id, &self.id(), buyer, self.amount);
        if self.buyer.is_none() {
            session["client_reference_id"] = Value::Null;
        }
        self.event("checkout.session.completed", 2, session)
    }

    #[must_use]
    pub fn intent(&self) -> Value {
        let intent = sample::intent(&self.id(), &self.charge_id(), self.amount);
        self.event("payment_intent.succeeded", 1, intent)
    }

    /// A refund, as the event of this type says.
    #[must_use]
    pub fn refund(&self, event_type: &str, after_seconds: i64, id: &str, amount: i64) -> Value {
        let mut refund = sample::refund(id, &self.id(), &self.charge_id(), amount);
        if event_type == "refund.failed" {
            refund["status"] = json!("failed");
        }
        let mut event = self.event(event_type, after_seconds, refund);
        // Whatever the event says of it, the refund was made once.
        event["data"]["object"]["created"] = json!(self.began_seconds + 10);
        event
    }

    /// What all refunds come to.
    #[must_use]
    pub fn refunded(&self, after_seconds: i64, total: i64) -> Value {
        let charge = sample::charge(&self.charge_id(), &self.id(), self.amount, total);
        self.event("charge.refunded", after_seconds, charge)
    }

    /// A dispute, as `charge.dispute.created`, `updated` or `closed` says.
    #[must_use]
    pub fn dispute(&self, change: &str, after_seconds: i64, amount: i64, status: &str) -> Value {
        let dispute_id = format!("du_{}", self.name);
        let dispute = sample::dispute(&dispute_id, &self.id(), &self.charge_id(), amount, status);
        self.event(&format!("charge.dispute.{change}"), after_seconds, dispute)
    }
}
