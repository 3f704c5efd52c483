//! Sessions of Stripe Checkout, opened at a server that stands in for Stripe over real HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contract::pb::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Status};
use url::form_urlencoded;

use super::bad_input::at_fault;
use super::keys::{holder, wanted_by_user};
use super::support::{log_length, refused};
use testing::stripe_events::serve_with_endpoint;
use testing::{Client, Server, ServerOptions, TestDatabase, at_once};

const KEY: &str = "sk_test_key_that_nobody_may_see_51H";

/// What the stand-in does with a request.
#[derive(Clone, Copy, PartialEq)]
enum Act {
    /// As Stripe does.
    Answer,
    /// Says nothing.
    Hang,
    /// Refuses, with this status and type of error.
    Refuse(u16, &'static str),
    /// Closes the connection.
    Close,
}

/// A request that came.
#[derive(Clone, Debug)]
struct Seen {
    head: String,
    form: HashMap<String, String>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Stands in for Stripe.
#[derive(Clone)]
struct StandIn {
    address: String,
    act: Arc<Mutex<Act>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl StandIn {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand_in = Self {
            address: listener.local_addr().unwrap().to_string(),
            act: Arc::new(Mutex::new(Act::Answer)),
            seen: Arc::default(),
        };
        let own = stand_in.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(connection));
            }
        });
        stand_in
    }

    fn will(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn serve(self, mut connection: TcpStream) {
        let mut bytes = Vec::new();
        let seen = loop {
            let mut part = [0; 4096];
            let length = connection.read(&mut part).await.unwrap_or_default();
            if length == 0 {
                return;
            }
            bytes.extend_from_slice(&part[..length]);
            if let Some(seen) = whole(&bytes) {
                break seen;
            }
        };
        let act = *self.act.lock().unwrap();
        let (status, answer) = match act {
            Act::Answer => self.answer(&seen),
            Act::Refuse(status, kind) => {
                let message = format!("No such thing: {KEY}");
                let message = if status == 401 { message } else { "too small".into() };
                (status, json!({ "error": { "type": kind, "message": message } }))
            }
            Act::Hang => {
                tokio::time::sleep(Duration::from_mins(1)).await;
                return;
            }
            Act::Close => return,
        };
        let body = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
    }

    /// The same key is the same session, and with another form an error.
    fn answer(&self, seen: &Seen) -> (u16, Value) {
        let mut all = self.seen.lock().unwrap();
        let key = seen.header("idempotency-key").unwrap().to_owned();
        let known = all.iter().position(|of| of.header("idempotency-key") == Some(&key));
        let index = known.unwrap_or(all.len());
        if known.is_some_and(|index| all[index].form != seen.form) {
            return (400, json!({ "error": { "type": "idempotency_error", "message": "other" } }));
        }
        all.push(seen.clone());
        let url = format!("https://checkout.stripe.com/c/pay/cs_{index}");
        (200, json!({ "id": format!("cs_{index}"), "object": "checkout.session", "url": url }))
    }
}

fn whole(bytes: &[u8]) -> Option<Seen> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut seen = Seen { head, form: HashMap::new() };
    let length: usize = seen.header("content-length")?.parse().ok()?;
    let body = bytes.get(end + 4..end + 4 + length)?;
    seen.form = form_urlencoded::parse(body).into_owned().collect();
    Some(seen)
}

async fn scene(with_key: bool) -> (TestDatabase, Server, Client, StandIn) {
    let (database, stand_in) = (TestDatabase::new().await, StandIn::start().await);
    let arguments = vec!["--stripe-api-url".into(), format!("http://{}", stand_in.address)];
    let mut command = serve_with_endpoint(&database, &ServerOptions { arguments });
    if with_key {
        command.env("STRIPE_SECRET_KEY", KEY);
    }
    let server = Server::start_command(command).await;
    let client = server.client();
    client.sign_up("", "ada", "").await.unwrap();
    (database, server, client, stand_in)
}

fn wanted(request_id: &str, minor_units: i64) -> CreateCheckoutSessionRequest {
    CreateCheckoutSessionRequest {
        buyer_user_id: "ada".into(),
        amount: Some(Money { currency_code: "USD".into(), minor_units }),
        success_url: "https://shop.example.com/thanks?session={CHECKOUT_SESSION_ID}".into(),
        cancel_url: "http://localhost:3000/cart".into(),
        request_id: request_id.into(),
    }
}

async fn open(
    client: &Client,
    message: CreateCheckoutSessionRequest,
) -> Result<CreateCheckoutSessionResponse, Status> {
    Ok(client.purchases().create_checkout_session(client.request(message)).await?.into_inner())
}

#[tokio::test]
async fn a_session_carries_its_buyer_and_is_opened_once_for_a_request_id() {
    let (database, server, client, stand_in) = scene(true).await;
    let before = log_length(&database).await;
    let opened = open(&client, wanted("cart-1", 1_250)).await.unwrap();
    assert_eq!(opened.session_id, "cs_0");
    assert_eq!(opened.url, "https://checkout.stripe.com/c/pay/cs_0");
    let seen = stand_in.seen().remove(0);
    assert!(seen.head.starts_with("POST /v1/checkout/sessions HTTP/1.1"), "{}", seen.head);
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {KEY}")));
    assert_eq!(seen.header("host"), Some(&*stand_in.address));
    for (name, value) in [
        ("mode", "payment"),
        ("client_reference_id", "ada"),
        ("metadata[user_id]", "ada"),
        ("payment_intent_data[metadata][user_id]", "ada"),
        ("line_items[0][price_data][unit_amount]", "1250"),
        ("line_items[0][price_data][currency]", "usd"),
        ("success_url", "https://shop.example.com/thanks?session={CHECKOUT_SESSION_ID}"),
    ] {
        assert_eq!(seen.form.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(open(&client, wanted("cart-1", 1_250)).await.unwrap(), opened);
    let other = open(&client, wanted("cart-1", 1_300)).await;
    refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_ne!(open(&client, wanted("", 1_250)).await.unwrap().session_id, opened.session_id);
    // Others' request ids are their own; a user pays for nobody else.
    let (ada, _) = holder(&client, wanted_by_user("phone", "ada")).await;
    let own =
        CreateCheckoutSessionRequest { buyer_user_id: String::new(), ..wanted("cart-1", 900) };
    assert_ne!(open(&ada, own).await.unwrap().session_id, opened.session_id);
    let of_other = CreateCheckoutSessionRequest { buyer_user_id: "bob".into(), ..wanted("", 900) };
    refused(open(&ada, of_other).await, Code::PermissionDenied, "PERMISSION_DENIED");
    // Stripe's unit is not always ours.
    let mut krona = wanted("", 500);
    krona.amount.as_mut().unwrap().currency_code = "ISK".into();
    open(&client, krona).await.unwrap();
    let last = stand_in.seen().pop().unwrap();
    assert_eq!(last.form["line_items[0][price_data][unit_amount]"], "50000");
    let keys = "select count(*) from events where event_type not like 'ApiKey%'";
    assert_eq!(database.count(keys).await, before, "nothing is recorded");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_session_is_refused_before_stripe_is_called() {
    let (_database, server, client, stand_in) = scene(true).await;
    let mut ariary = wanted("", 50_050);
    ariary.amount.as_mut().unwrap().currency_code = "MGA".into();
    at_fault(open(&client, ariary).await, "amount.minor_units", "AMOUNT_NOT_PAYABLE");
    for wrong in
        ["/thanks", "javascript:alert(1)", "https://", &*format!("https://x/{}", "y".repeat(2_000))]
    {
        let message = CreateCheckoutSessionRequest { success_url: wrong.into(), ..wanted("", 100) };
        at_fault(open(&client, message).await, "success_url", "INVALID_URL");
    }
    let nowhere = CreateCheckoutSessionRequest { cancel_url: String::new(), ..wanted("", 100) };
    at_fault(open(&client, nowhere).await, "cancel_url", "FIELD_REQUIRED");
    let unknown =
        CreateCheckoutSessionRequest { buyer_user_id: "nobody".into(), ..wanted("", 100) };
    refused(open(&client, unknown).await, Code::NotFound, "USER_NOT_FOUND");
    assert!(stand_in.seen().is_empty());
    server.stop().await;
    let (_database, server, client, _) = scene(false).await;
    let keyless = open(&client, wanted("", 100)).await;
    refused(keyless, Code::FailedPrecondition, "PROVIDER_NOT_CONFIGURED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_or_fails_is_unavailable_and_holds_nothing_up() {
    let (_database, server, client, stand_in) = scene(true).await;
    for act in [Act::Close, Act::Refuse(500, "api_error"), Act::Refuse(429, "rate_limit")] {
        stand_in.will(act);
        let failed = open(&client, wanted("cart", 100)).await;
        let status = refused(failed, Code::Unavailable, "PROVIDER_UNAVAILABLE");
        assert!(!format!("{status:?}").contains("sk_test"), "{status:?}");
    }
    stand_in.will(Act::Refuse(400, "invalid_request_error"));
    let small = open(&client, wanted("cart", 1)).await;
    let status = refused(small, Code::FailedPrecondition, "PROVIDER_REFUSED");
    assert!(status.message().contains("too small"), "{status:?}");
    stand_in.will(Act::Refuse(401, "invalid_request_error"));
    let status = refused(
        open(&client, wanted("cart", 1)).await,
        Code::FailedPrecondition,
        "PROVIDER_REFUSED",
    );
    assert!(!format!("{status:?}").contains("sk_test"), "{status:?}");

    // Many calls of one caller wait for a provider that hangs; everything else goes on.
    stand_in.will(Act::Hang);
    let start = Instant::now();
    let caller = client.clone();
    let calls = (0..40).map(move |_| {
        let client = caller.clone();
        async move { (open(&client, wanted("", 100)).await, start.elapsed()) }
    });
    let hanging = tokio::spawn(at_once(calls));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let bought = Instant::now();
    client.buy("order", "ada", "USD", 1_000).await.unwrap();
    assert!(bought.elapsed() < Duration::from_secs(2), "{:?}", bought.elapsed());
    let ended = hanging.await.unwrap();
    let mut at_once = 0;
    for (answer, took) in ended {
        refused(answer, Code::Unavailable, "PROVIDER_UNAVAILABLE");
        assert!(took < Duration::from_secs(15), "{took:?}");
        at_once += usize::from(took < Duration::from_secs(5));
    }
    assert_eq!(at_once, 38, "all but two of one caller waited for a moment only");
    stand_in.will(Act::Answer);
    open(&client, wanted("cart", 100)).await.unwrap();
    server.stop().await;
}
