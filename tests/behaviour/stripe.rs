//! Webhooks of Stripe, signed for real: what they record, what waits, and what is refused.

use contract::pb::*;
use serde_json::{Value, json};
use stripe::sample;
use stripe::signature::{Secret, sign};
use tonic::Code;

use super::support::{PATIENCE, log_length, minor, refused};
use testing::stripe_events::{
    Payment, WEBHOOK_SECRET, deliver, deliver_with, now_seconds, post, serve_with_endpoint,
    server_with_endpoint,
};
use testing::{Client, Server, ServerOptions, TestDatabase};

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

fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
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

fn kinds(payment: &UnmatchedPayment) -> Vec<PaymentIssueKind> {
    payment.issues.iter().map(PaymentIssue::kind).collect()
}

async fn attach(
    client: &Client,
    payment_id: &str,
    buyer: &str,
) -> Result<AttachPaymentResponse, tonic::Status> {
    let message =
        AttachPaymentRequest { payment_id: payment_id.into(), buyer_user_id: buyer.into() };
    Ok(client.purchases().attach_payment(client.request(message)).await?.into_inner())
}

#[tokio::test]
async fn a_session_and_its_intent_are_one_purchase_however_often_they_come() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 200_000);
    for event in [payment.session(), payment.intent(), payment.session(), payment.intent()] {
        deliver(address, &event).await;
    }
    let found = client.purchase("pi_one").await.unwrap();
    let purchase = found.purchase.unwrap();
    assert_eq!((&*purchase.buyer_user_id, minor(purchase.amount.as_ref())), ("bea", 200_000));
    assert!(found.outcomes[0].converted);
    comes_to(&client, "ana", 10_000).await;
    assert_eq!(unmatched(&client).await, []);
    let doors = "select count(*) from events where metadata ->> 'door' = 'webhook:stripe'
        and metadata ->> 'actor' = 'system'";
    assert_eq!(database.count(doors).await, 1);
    assert_eq!(database.count("select count(*) from stripe_events where user_id = 'bea'").await, 2);

    // Of a bank debit the session is complete before the money comes.
    let debit = Payment::new("debit", "bea", 150_000);
    let mut unpaid = debit.session();
    unpaid["data"]["object"]["payment_status"] = json!("unpaid");
    deliver(address, &unpaid).await;
    refused(client.purchase("pi_debit").await, Code::NotFound, "PURCHASE_NOT_FOUND");
    let mut paid = debit.session();
    paid["type"] = json!("checkout.session.async_payment_succeeded");
    paid["id"] = json!("evt_debit_paid");
    deliver(address, &paid).await;
    assert_eq!(
        minor(client.purchase("pi_debit").await.unwrap().purchase.unwrap().amount.as_ref()),
        150_000
    );
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_signed_by_a_secret_of_the_endpoint_and_lately_is_refused() {
    let database = TestDatabase::new().await;
    let mut command = serve_with_endpoint(&database, &ServerOptions::default());
    command.env("STRIPE_WEBHOOK_SECRET", "whsec_new,whsec_old");
    let server = Server::start_command(command).await;
    let address = &server.address;
    let (payment, secret) = (Payment::new("one", "ana", 1_000), Secret::list("whsec_new"));
    let body = payment.intent().to_string();
    let now = now_seconds();
    for (signature, status) in [
        (sign(body.as_bytes(), &secret, now), 200),
        (sign(body.as_bytes(), &Secret::list("whsec_old"), now), 200),
        (sign(body.as_bytes(), &Secret::list("whsec_both,whsec_old"), now), 200),
        (sign(body.as_bytes(), &secret, now - 290), 200),
        (sign(body.as_bytes(), &secret, now - 310), 400),
        (sign(body.as_bytes(), &secret, now + 310), 400),
        (sign(body.as_bytes(), &Secret::list("whsec_other"), now), 400),
        (sign(b"{}", &secret, now), 400),
        (sign(body.as_bytes(), &secret, now).replace("v1=", "v0="), 400),
        ("nonsense".into(), 400),
    ] {
        let answer = post(address, &signature, body.as_bytes()).await.unwrap();
        assert_eq!(answer.status, status, "{signature}: {}", answer.text());
        assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
        assert!(!answer.text().contains("whsec"), "{}", answer.text());
    }
    let unsigned = testing::plain_http::send(address, "POST /webhooks/stripe", &[], b"{}").await;
    assert_eq!(unsigned.unwrap().status, 400);
    let got = testing::plain_http::get(address, "/webhooks/stripe", &[]).await.unwrap();
    assert_eq!(got.status, 405);
    let large = vec![b' '; 300 * 1024];
    let large = post(address, "t=1,v1=00", &large).await.unwrap();
    assert_eq!(large.status, 413);
    // Signed, and no event that can be read.
    let mut broken = payment.intent();
    broken["data"]["object"]["amount_received"] = json!("many");
    let answer = deliver_with(address, &broken, "whsec_new").await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("amount_received"), "{}", answer.text());
    server.stop().await;

    // Without a secret there is no such page.
    let server = Server::start(&database).await;
    let answer = deliver_with(&server.address, &payment.intent(), WEBHOOK_SECRET).await.unwrap();
    assert_eq!(answer.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn unknown_events_are_acknowledged_and_counted_and_leave_nothing() {
    let database = TestDatabase::new().await;
    let metrics = free_address();
    let options = ServerOptions { arguments: vec!["--metrics-listen".into(), metrics.clone()] };
    let server = Server::start_command(serve_with_endpoint(&database, &options)).await;
    let customer = json!({ "id": "cus_1", "object": "customer", "email": "ada@example.com" });
    let unknown = sample::event("evt_1", "customer.created", now_seconds(), &customer);
    deliver(&server.address, &unknown).await;
    deliver_with(&server.address, &unknown, "whsec_wrong").await.unwrap();
    let text = testing::plain_http::get(&metrics, "/metrics", &[]).await.unwrap().text();
    for outcome in ["ignored", "bad_signature"] {
        let line = format!(
            r#"tributary_stripe_webhooks_total{{event_type="other",outcome="{outcome}"}} 1"#
        );
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    assert_eq!(log_length(&database).await, 0);
    assert_eq!(database.count("select count(*) from stripe_events").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_refund_and_a_dispute_before_the_purchase_are_in_its_own_append() {
    let (database, server, client) = scene(&["ana", "bea", "cem"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "cem", 400_000);
    deliver(address, &payment.refund("refund.created", 10, "re_1", 100_000)).await;
    deliver(address, &payment.dispute("created", 20, 60_000, "needs_response")).await;
    let before = log_length(&database).await;
    refused(client.purchase("pi_one").await, Code::NotFound, "PURCHASE_NOT_FOUND");
    deliver(address, &payment.session()).await;
    let commands = format!(
        "select count(*) from events where position > {before} and metadata ? 'command_events'"
    );
    assert_eq!(database.count(&commands).await, 1, "one append");
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.refunded.as_ref()), 100_000);
    assert_eq!(minor(purchase.disputed.as_ref()), 60_000);
    // 20,000 less a quarter; what is disputed is pending.
    comes_to(&client, "bea", 15_000).await;

    deliver(address, &payment.dispute("closed", 30, 60_000, "lost")).await;
    comes_to(&client, "bea", 12_000).await;
    deliver(address, &payment.refund("refund.failed", 40, "re_1", 100_000)).await;
    comes_to(&client, "bea", 17_000).await;
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert!(purchase.refunds[0].cancelled);
    assert_eq!(purchase.disputes[0].state(), DisputeState::Lost);
    assert_eq!(unmatched(&client).await, []);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_refund_by_a_call_with_the_providers_id_is_the_same_refund() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 400_000);
    deliver(address, &payment.intent()).await;
    deliver(address, &payment.session()).await;
    let refund = async |id: &str, amount: i64| {
        let message = RefundPurchaseRequest {
            purchase_id: "pi_one".into(),
            refund_id: id.into(),
            amount: Some(Money { currency_code: "INR".into(), minor_units: amount }),
            ..Default::default()
        };
        client.purchases().refund_purchase(client.request(message)).await.unwrap().into_inner()
    };
    refund("re_1", 100_000).await;
    deliver(address, &payment.refund("refund.created", 10, "re_1", 100_000)).await;
    comes_to(&client, "ana", 15_000).await;
    // A total that the known refunds explain changes nothing, and one beyond them counts.
    deliver(address, &payment.refunded(11, 100_000)).await;
    comes_to(&client, "ana", 15_000).await;
    deliver(address, &payment.refunded(20, 180_000)).await;
    comes_to(&client, "ana", 11_000).await;
    // The call explains what only the total has told of; its answer has it already.
    let answer = refund("re_2", 80_000).await;
    assert_eq!(answer.refund.unwrap().refund_id, "re_2");
    comes_to(&client, "ana", 11_000).await;
    let again = refund("re_2", 80_000).await;
    assert_eq!(again.refund.unwrap().refund_id, "re_2");
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.refunded.as_ref()), 180_000);
    // A late smaller total says nothing.
    deliver(address, &payment.refunded(15, 120_000)).await;
    comes_to(&client, "ana", 11_000).await;
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_payment_without_a_buyer_waits_for_an_event_or_an_operator() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let first = Payment::new("first", "bea", 200_000);
    deliver(address, &first.intent()).await;
    let waiting = unmatched(&client).await;
    assert_eq!(waiting.len(), 1);
    assert_eq!((&*waiting[0].payment_id, minor(waiting[0].amount.as_ref())), ("pi_first", 200_000));
    assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::NoBuyer]);
    deliver(address, &first.session()).await;
    assert_eq!(unmatched(&client).await, []);
    comes_to(&client, "ana", 10_000).await;

    let second = Payment::new("second", "", 200_000).without_buyer();
    deliver(address, &second.refund("refund.created", 10, "re_1", 50_000)).await;
    deliver(address, &second.session()).await;
    deliver(address, &second.intent()).await;
    let third = Payment::new("third", "nobody-here", 200_000);
    deliver(address, &third.session()).await;
    let waiting = unmatched(&client).await;
    let of: Vec<_> = waiting.iter().map(|payment| (&*payment.payment_id, kinds(payment))).collect();
    assert_eq!(
        of,
        [
            ("pi_third", vec![PaymentIssueKind::UnknownBuyer]),
            ("pi_second", vec![PaymentIssueKind::NoBuyer]),
        ]
    );
    refused(attach(&client, "pi_none", "bea").await, Code::NotFound, "PAYMENT_NOT_FOUND");
    refused(attach(&client, "pi_second", "nobody").await, Code::NotFound, "USER_NOT_FOUND");
    let attached = attach(&client, "pi_second", "bea").await.unwrap();
    assert!(attached.recorded && attached.payment.is_none());
    assert_eq!(balance(&client, "ana", &attached.consistency_token).await, 17_500);
    assert!(attach(&client, "pi_second", "bea").await.unwrap().recorded);
    refused(
        attach(&client, "pi_second", "ana").await,
        Code::FailedPrecondition,
        "PAYMENT_RECORDED",
    );
    attach(&client, "pi_third", "bea").await.unwrap();
    comes_to(&client, "ana", 27_500).await;
    let actor = "select count(*) from events where metadata ->> 'door' = 'AttachPayment'";
    assert_eq!(database.count(actor).await, 2);

    // Pages.
    for name in ["a", "b", "c"] {
        deliver(address, &Payment::new(name, "", 1_000).intent()).await;
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = ListUnmatchedPaymentsRequest { page_size: 2, page_token };
        let answer = client.purchases().list_unmatched_payments(client.request(message)).await;
        let ListUnmatchedPaymentsResponse { payments, next_page_token } =
            answer.unwrap().into_inner();
        seen.extend(payments.into_iter().map(|payment| payment.payment_id));
        page_token = next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    // The third was attached to another than it names.
    assert_eq!(seen, ["pi_c", "pi_b", "pi_a", "pi_third"]);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_renewal_is_recorded_once_whatever_comes_first() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let name = format!("renewal{}{}{}", order[0], order[1], order[2]);
        let payment = Payment::new(&name, "bea", 200_000).without_buyer();
        let invoice = format!("in_{name}");
        let events = [
            payment.intent(),
            payment.event(
                "invoice_payment.paid",
                3,
                sample::invoice_payment(&invoice, &payment.id(), 200_000),
            ),
            payment.event("invoice.paid", 4, sample::invoice(&invoice, "bea", 200_000)),
        ];
        for event in order {
            deliver(address, &events[event]).await;
        }
        let purchase = client.purchase(&payment.id()).await.unwrap().purchase.unwrap();
        assert_eq!(purchase.buyer_user_id, "bea");
    }
    comes_to(&client, "ana", 30_000).await;
    assert_eq!(unmatched(&client).await, []);
    let purchases = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(purchases).await, 3);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn amounts_follow_stripes_table_and_what_is_no_whole_minor_unit_waits() {
    let (database, server, client) = scene(&["ana"]).await;
    let address = &server.address;
    for (name, currency, amount, recorded) in [
        ("isk", "isk", 50_000, Some(500)),
        ("ugx", "ugx", 12_300, Some(123)),
        ("mga", "mga", 500, Some(50_000)),
        ("jpy", "jpy", 900, Some(900)),
        ("part", "isk", 50_050, None),
        ("none", "usdc", 100, None),
    ] {
        let payment = Payment::new(name, "ana", amount).in_currency(currency);
        deliver(address, &payment.session()).await;
        match recorded {
            Some(recorded) => {
                let purchase = client.purchase(&payment.id()).await.unwrap().purchase.unwrap();
                let amount = purchase.amount.unwrap();
                assert_eq!(
                    (amount.currency_code.to_lowercase(), amount.minor_units),
                    (currency.to_owned(), recorded)
                );
            }
            None => {
                let found = client.purchase(&payment.id()).await;
                refused(found, Code::NotFound, "PURCHASE_NOT_FOUND");
                let waiting = unmatched(&client).await;
                assert_eq!(waiting[0].payment_id, payment.id());
                assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::UnusableAmount]);
                assert!(waiting[0].amount.is_none());
            }
        }
    }
    // A session and what was received differ: what came first is recorded, and the difference waits.
    let payment = Payment::new("differs", "ana", 1_000);
    deliver(address, &payment.session()).await;
    let mut intent = payment.intent();
    intent["data"]["object"]["amount_received"] = json!(900);
    deliver(address, &intent).await;
    let purchase = client.purchase("pi_differs").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.amount.as_ref()), 1_000);
    let waiting = unmatched(&client).await;
    assert_eq!(
        kinds(&waiting[0]),
        [PaymentIssueKind::AmountsDiffer, PaymentIssueKind::RecordedDiffers]
    );
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn who_is_erased_leaves_no_body_and_no_payment() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 200_000);
    deliver(address, &payment.session()).await;
    deliver(address, &payment.intent()).await;
    let export: Value = serde_json::from_str(&client.export("bea").await.unwrap()).unwrap();
    assert!(export.to_string().contains("buyer@example.com"), "{export}");
    client.erase("bea", true).await.unwrap();
    let left = "select (select count(*) from stripe_events where body is not null)
        + (select count(*) from stripe_payments)";
    assert_eq!(database.count(left).await, 0);
    // What comes later is recorded, and kept without its body.
    deliver(address, &payment.refund("refund.created", 10, "re_1", 100_000)).await;
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.refunded.as_ref()), 100_000);
    let bodies = "select count(*) from stripe_events where body is not null";
    assert_eq!(database.count(bodies).await, 0);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn the_command_line_sends_the_events_of_a_payment() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let url = format!("http://{}/webhooks/stripe", server.address);
    let send = async |arguments: &[&str], secret: &str| {
        let mut command = testing::tributary();
        command.args(["stripe", "send-test", "--url", &url]).args(arguments);
        command.env("STRIPE_WEBHOOK_SECRET", secret).output().await.unwrap()
    };
    let arguments = ["--buyer", "bea", "--amount", "200000", "--currency", "INR"];
    let sent = send(&arguments, WEBHOOK_SECRET).await;
    let said = String::from_utf8(sent.stdout).unwrap();
    assert!(sent.status.success(), "{said}{}", String::from_utf8_lossy(&sent.stderr));
    assert!(said.contains("refund.created: received"), "{said}");
    comes_to(&client, "ana", 9_000).await;
    let wrong = send(&arguments, "whsec_wrong").await;
    assert!(!wrong.status.success());
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("answered 400: no signature matches"), "{said}");
    send(&[], WEBHOOK_SECRET).await;
    assert_eq!(kinds(&unmatched(&client).await[0]), [PaymentIssueKind::NoBuyer]);
    database.check().await;
    server.stop().await;
}
