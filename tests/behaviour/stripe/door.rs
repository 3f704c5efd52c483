//! Who may tell, what is read of it, and what is kept.

use stripe::signature::{Secret, sign};

use super::*;
use testing::ServerOptions;
use testing::stripe_events::{now_seconds, post, serve_with_endpoint};

fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
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
    let said = large.text();
    assert!(said.contains("262144 bytes") && said.contains("choose no others"), "{said}");
    for body in [&b"[]"[..], b"{}", b"null", b"nonsense", b""] {
        let answer = post(address, &sign(body, &secret, now), body).await.unwrap();
        assert_eq!(answer.status, 400, "{}: {}", String::from_utf8_lossy(body), answer.text());
        assert!(!answer.text().starts_with(':'), "{}", answer.text());
    }
    // Signed, and no event that can be read.
    let mut broken = payment.intent();
    broken["id"] = json!("evt_broken");
    broken["data"]["object"]["amount_received"] = json!("many");
    broken["data"]["object"]["metadata"] = json!({ "user_id": "ada" });
    let answer = deliver_with(address, &broken, "whsec_new").await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("amount_received"), "{}", answer.text());
    // It is kept for whoever looks into it, and erased with whom it names.
    let kept = "select count(*) from stripe_events where event_id = 'evt_broken'
        and body like '%\"many\"%' and payment_id is null and named_user_ids = array['ada']";
    assert_eq!(database.count(kept).await, 1);
    server.stop().await;

    // Without a secret the page only says what is missing.
    let server = Server::start(&database).await;
    let answer = deliver_with(&server.address, &payment.intent(), WEBHOOK_SECRET).await.unwrap();
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("STRIPE_WEBHOOK_SECRET is not set"), "{}", answer.text());
    server.stop().await;
}

#[tokio::test]
async fn an_event_without_a_time_after_1970_is_malformed() {
    let database = TestDatabase::new().await;
    let server = server_with_endpoint(&database).await;
    let payment = Payment::new("one", "ana", 1_000);
    for (path, event) in [
        ("created", payment.session()),
        ("data.object.created", payment.refund("refund.created", 10, "re_1", 100)),
    ] {
        for time in [json!(0), json!(-1), json!(i64::MIN), json!(i64::MAX), json!("soon")] {
            let mut event = event.clone();
            *event.pointer_mut(&format!("/{}", path.replace('.', "/"))).unwrap() = time.clone();
            let answer = deliver_with(&server.address, &event, WEBHOOK_SECRET).await.unwrap();
            assert_eq!(answer.status, 400, "{time}: {}", answer.text());
            assert!(answer.text().starts_with(&format!("{path}: ")), "{}", answer.text());
        }
    }
    assert_eq!(log_length(&database).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn the_answer_to_an_event_says_what_became_of_it() {
    let (database, server, _client) = scene(&["ana", "bea"]).await;
    let said = async |event: Value| {
        deliver_with(&server.address, &event, WEBHOOK_SECRET).await.unwrap().text()
    };
    assert_eq!(said(Payment::new("one", "bea", 1_000).session()).await, "received\n");
    let unknown = said(Payment::new("two", "nobody-here", 1_000).session()).await;
    assert!(unknown.starts_with("received; parked: payment pi_two: "), "{unknown}");
    assert!(unknown.contains("nobody-here"), "{unknown}");
    let invoice = sample::invoice("in_three", "bea", 1_000);
    let waits = said(Payment::new("three", "", 1_000).event("invoice.paid", 4, invoice)).await;
    assert!(waits.starts_with("received; kept until"), "{waits}");
    let other = sample::event("evt_1", "customer.created", now_seconds(), &json!({}));
    assert!(said(other).await.starts_with("received; not kept"));
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn an_event_is_acknowledged_only_once_it_is_stored_and_its_body_is_kept_as_it_came() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let payment = Payment::new("one", "bea", 200_000);
    // In another form than ours: the signature is of the bytes.
    let body = serde_json::to_string_pretty(&payment.session()).unwrap() + "\n ";
    let secret = Secret::list(WEBHOOK_SECRET);
    let told = async || {
        let signature = sign(body.as_bytes(), &secret, now_seconds());
        post(&server.address, &signature, body.as_bytes()).await.unwrap().status
    };
    for table in ["stripe_events", "stripe_payments"] {
        let rename = |from: &str, to: &str| format!("alter table {from} rename to {to}");
        sqlx::query(&rename(table, "elsewhere")).execute(&database.pool).await.unwrap();
        let status = told().await;
        assert!((500..600).contains(&status), "{table}: {status}");
        sqlx::query(&rename("elsewhere", table)).execute(&database.pool).await.unwrap();
    }
    assert_eq!(told().await, 200);
    client.purchase("pi_one").await.unwrap();
    let kept: String = sqlx::query_scalar("select body from stripe_events")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(kept, body);
    database.check().await;
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
async fn a_secret_that_is_none_of_an_endpoint_is_refused_at_the_start_and_not_shown() {
    let database = TestDatabase::new().await;
    let mut command = serve_with_endpoint(&database, &ServerOptions::default());
    command.env("STRIPE_WEBHOOK_SECRET", "whsec_good,sk_live_wrong").kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await.expect("no start").unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success(), "{said}");
    assert!(said.contains("STRIPE_WEBHOOK_SECRET must be"), "{said}");
    assert!(!said.contains("sk_live_wrong"), "{said}");
}

#[tokio::test]
async fn events_of_other_accounts_and_of_the_other_mode_record_nothing() {
    let database = TestDatabase::new().await;
    let metrics = free_address();
    let options = ServerOptions { arguments: vec!["--metrics-listen".into(), metrics.clone()] };
    let mut command = serve_with_endpoint(&database, &options);
    command.env("STRIPE_SECRET_KEY", "rk_live_0123456789");
    let server = Server::start_command(command).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    client.sign_up(LINES, "ana", "").await.unwrap();
    let before = log_length(&database).await;
    let of_test = Payment::new("one", "ana", 200_000).session();
    let mut connected = of_test.clone();
    connected["livemode"] = json!(true);
    connected["account"] = json!("acct_other");
    for event in [&of_test, &connected] {
        deliver(&server.address, event).await;
    }
    assert_eq!(log_length(&database).await, before);
    assert_eq!(database.count("select count(*) from stripe_events").await, 0);
    let text = testing::plain_http::get(&metrics, "/metrics", &[]).await.unwrap().text();
    for outcome in ["other_account", "other_mode"] {
        assert!(text.contains(&format!("outcome=\"{outcome}\"}} 1")), "{outcome}: {text}");
    }
    let mut own = of_test;
    own["livemode"] = json!(true);
    deliver(&server.address, &own).await;
    assert_eq!(client.purchase("pi_one").await.unwrap().purchase.unwrap().buyer_user_id, "ana");
    server.stop().await;
}

#[tokio::test]
async fn who_is_erased_leaves_no_body_and_a_payment_without_the_name() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 200_000);
    deliver(address, &payment.session()).await;
    deliver(address, &payment.intent()).await;
    let export: Value = serde_json::from_str(&client.export("bea").await.unwrap()).unwrap();
    assert!(export.to_string().contains("buyer@example.com"), "{export}");
    client.erase("bea", true).await.unwrap();
    let bodies = "select count(*) from stripe_events where body is not null";
    assert_eq!((database.count(bodies).await, database.count(NAMING_BEA).await), (0, 0));
    // What comes later is recorded, and kept without its body.
    deliver(address, &payment.refund("refund.created", 10, "re_1", 100_000)).await;
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.refunded.as_ref()), 100_000);
    assert_eq!((database.count(bodies).await, database.count(NAMING_BEA).await), (0, 0));
    assert_eq!(unmatched(&client).await, []);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_told_again_after_an_erasure_means_what_it_meant_before() {
    let (database, server, client) = scene(&["ana", "bea", "cem"]).await;
    let address = &server.address;
    // Cem's payment, which names Bea as well; and her own.
    let cems = Payment::new("cems", "cem", 200_000);
    let mut session = cems.session();
    session["data"]["object"]["metadata"] = json!({ "user_id": "bea" });
    let own = Payment::new("own", "bea", 200_000);
    let mut told = vec![session];
    for payment in [&cems, &own] {
        told.push(payment.session());
        told.push(payment.intent());
        told.push(payment.refund("refund.created", 10, "re_1", 50_000));
        told.push(payment.refund("refund.failed", 20, "re_1", 50_000));
        told.push(payment.refunded(12, 50_000));
        told.push(payment.dispute("created", 30, 60_000, "needs_response"));
        told.push(payment.dispute("updated", 40, 80_000, "needs_response"));
    }
    for event in &told {
        deliver(address, event).await;
    }
    let before = [stand(&client, "pi_cems").await, stand(&client, "pi_own").await];
    let head = log_length(&database).await;
    client.erase("bea", true).await.unwrap();
    let erased = log_length(&database).await;
    assert!(erased > head);
    // Forwards and backwards: each could be late.
    for event in told.iter().chain(told.iter().rev()) {
        deliver(address, event).await;
    }
    assert_eq!(log_length(&database).await, erased, "nothing is due");
    assert_eq!([stand(&client, "pi_cems").await, stand(&client, "pi_own").await], before);
    assert_eq!(unmatched(&client).await, []);
    assert_eq!(database.count(NAMING_BEA).await, 0);
    // And what is new still counts.
    deliver(address, &own.dispute("closed", 50, 80_000, "lost")).await;
    assert_eq!(stand(&client, "pi_own").await, (80_000, 0, vec![(80_000, DisputeState::Lost)]));
    database.check().await;
    server.stop().await;
}

/// What went back of a purchase, what is disputed, and its disputes.
async fn stand(client: &Client, purchase_id: &str) -> (i64, i64, Vec<(i64, DisputeState)>) {
    let purchase = client.purchase(purchase_id).await.unwrap().purchase.unwrap();
    let minor = |money: Option<&Money>| money.map_or(0, |money| money.minor_units);
    let disputes = purchase.disputes.iter();
    let disputes = disputes.map(|of| (minor(of.amount.as_ref()), of.state())).collect();
    (minor(purchase.refunded.as_ref()), minor(purchase.disputed.as_ref()), disputes)
}

#[tokio::test]
async fn an_erasure_leaves_of_a_payment_what_forgetting_does() {
    let (database, server, client) = scene(&["ana", "bea", "cem"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 1_000);
    let mut session = payment.session();
    session["data"]["object"]["metadata"] = json!({ "user_id": "bea" });
    session["data"]["object"]["invoice"] = json!("in_one");
    let mut other = Payment::new("one", "cem", 1_000).session();
    other["id"] = json!("evt_other");
    other["data"]["object"]["id"] = json!("cs_other");
    let mut intent = payment.intent();
    intent["data"]["object"]["metadata"] = json!({ "user_id": "bea" });
    let invoice = payment.event("invoice.paid", 4, sample::invoice("in_one", "bea", 1_000));
    for event in [session, other, intent, invoice] {
        deliver(address, &event).await;
    }
    let attach = AttachPaymentRequest {
        payment_id: payment.id(),
        buyer_user_id: "bea".into(),
        ..Default::default()
    };
    client.purchases().attach_payment(client.request(attach)).await.unwrap();
    let state = async || {
        let state = sqlx::query_scalar("select state from stripe_payments");
        let state: Value = state.fetch_one(&database.pool).await.unwrap();
        state
    };
    let mut known: stripe::payment::Payment = serde_json::from_value(state().await).unwrap();
    assert_eq!(state().await.to_string().matches("\"bea\"").count(), 5, "{}", state().await);
    assert!(known.forget(&|name| name == "bea"));
    client.erase("bea", true).await.unwrap();
    assert_eq!(state().await, serde_json::to_value(known).unwrap());
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn an_event_that_names_nobody_is_kept_without_a_body_once_its_payment_names_an_erased_user() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    client.erase("bea", true).await.unwrap();
    let payment = Payment::new("one", "bea", 1_000);
    deliver(address, &payment.intent()).await;
    let bodies = "select count(*) from stripe_events where body is not null";
    assert_eq!(database.count(bodies).await, 1, "nobody knows whose it is");
    deliver(address, &payment.session()).await;
    assert_eq!(database.count(bodies).await, 0);
    deliver(address, &payment.refund("refund.created", 10, "re_1", 500)).await;
    assert_eq!((database.count(bodies).await, database.count(NAMING_BEA).await), (0, 0));
    let waiting = unmatched(&client).await;
    assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::ErasedBuyer]);
    assert_eq!(acknowledge(&client, &waiting[0]).await, None);
    assert_eq!(unmatched(&client).await, []);
    database.check().await;
    server.stop().await;
}

/// What is kept that names Bea.
const NAMING_BEA: &str = "select (select count(*) from stripe_events
        where body like '%bea%' or user_id = 'bea' or 'bea' = any(named_user_ids))
    + (select count(*) from stripe_payments
        where state::text like '%bea%' or parked::text like '%bea%' or user_id = 'bea'
            or 'bea' = any(named_user_ids))";

#[tokio::test]
async fn a_purchase_of_an_erased_user_does_not_wait_for_whoever_else_was_named() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 200_000);
    let mut session = payment.session();
    session["data"]["object"]["metadata"] = json!({ "user_id": "ana" });
    deliver(address, &session).await;
    assert_eq!(kinds(&unmatched(&client).await[0]), [PaymentIssueKind::BuyersDiffer]);
    client.erase("bea", true).await.unwrap();
    assert_eq!(unmatched(&client).await, []);
    for event in [payment.intent(), payment.refund("refund.created", 10, "re_1", 100_000)] {
        deliver(address, &event).await;
    }
    assert_eq!(unmatched(&client).await, []);
    assert_eq!(database.count(NAMING_BEA).await, 0);
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.refunded.as_ref()), 100_000);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_payment_is_kept_without_bodies_if_what_it_waited_for_named_an_erased_user() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "", 1_000);
    let invoice = sample::invoice("in_one", "bea", 1_000);
    deliver(address, &payment.event("invoice.paid", 4, invoice)).await;
    client.erase("bea", true).await.unwrap();
    deliver(address, &payment.intent()).await;
    let linked = sample::invoice_payment("in_one", "pi_one", 1_000);
    deliver(address, &payment.event("invoice_payment.paid", 5, linked)).await;
    let bodies = "select count(*) from stripe_events where body is not null";
    assert_eq!((database.count(bodies).await, database.count(NAMING_BEA).await), (0, 0));
    assert_eq!(kinds(&unmatched(&client).await[0]), [PaymentIssueKind::ErasedBuyer]);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn an_erasure_reaches_whatever_names_the_user_and_nothing_that_comes_later_does() {
    let (database, server, client) = scene(&["ana", "bea", "cem"]).await;
    let address = &server.address;
    let unpaid = |name: &str| {
        let mut session = Payment::new(name, "bea", 1_000).session();
        session["data"]["object"]["payment_status"] = json!("unpaid");
        session
    };
    // The first counts, and the second is named as well.
    let both = |name: &str| {
        let mut session = Payment::new(name, "cem", 1_000).session();
        session["data"]["object"]["metadata"] = json!({ "user_id": "bea" });
        session
    };
    // It names no payment, and waits.
    let invoice = |name: &str| {
        let invoice = sample::invoice(&format!("in_{name}"), "bea", 1_000);
        Payment::new(name, "", 1_000).event("invoice.paid", 4, invoice)
    };
    for event in [unpaid("one"), both("two"), invoice("three")] {
        deliver(address, &event).await;
    }
    // There is no purchase, and still it is known whose it will be.
    let unpaid_of_bea =
        "select count(*) from stripe_payments where payment_id = 'pi_one' and user_id = 'bea'";
    assert_eq!(database.count(unpaid_of_bea).await, 1);
    assert_eq!(database.count(NAMING_BEA).await, 5);
    client.erase("bea", true).await.unwrap();
    assert_eq!(database.count(NAMING_BEA).await, 0);

    for event in [unpaid("four"), both("five"), invoice("six"), both("two")] {
        deliver(address, &event).await;
    }
    assert_eq!(database.count(NAMING_BEA).await, 0);
    let bodies = "select count(*) from stripe_events where body is not null";
    assert_eq!(database.count(bodies).await, 0);
    // What others bought is recorded all the same.
    let purchase = client.purchase("pi_five").await.unwrap().purchase.unwrap();
    assert_eq!(purchase.buyer_user_id, "cem");
    // What nobody is left to have bought waits for an operator.
    let mut paid = Payment::new("four", "bea", 1_000).session();
    paid["id"] = json!("evt_four_paid");
    deliver(address, &paid).await;
    assert_eq!(kinds(&unmatched(&client).await[0]), [PaymentIssueKind::ErasedBuyer]);
    assert_eq!(database.count(NAMING_BEA).await, 0);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn the_command_line_sends_the_events_of_a_payment() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let url = format!("http://{}/webhooks/stripe", server.address);
    let told = async |arguments: &[&str], secret: &str| {
        let mut command = testing::tributary();
        command.args(["stripe", "send-test", "--url", &url]).args(arguments);
        command.env("STRIPE_WEBHOOK_SECRET", secret).output().await.unwrap()
    };
    let arguments = ["--buyer", "bea", "--amount", "200000", "--currency", "INR"];
    let sent = told(&arguments, WEBHOOK_SECRET).await;
    let said = String::from_utf8(sent.stdout).unwrap();
    assert!(sent.status.success(), "{said}{}", String::from_utf8_lossy(&sent.stderr));
    assert!(said.contains("refund.created: received"), "{said}");
    comes_to(&client, "ana", 9_000).await;
    let disputed = [&arguments[..], &["--dispute", "lost"]].concat();
    let sent = told(&disputed, WEBHOOK_SECRET).await;
    let said = String::from_utf8(sent.stdout).unwrap();
    assert!(said.contains("charge.dispute.closed: received"), "{said}");
    assert!(said.contains(", and dispute du_"), "{said}");
    // 10,000 less a tenth that went back, and less the quarter that is lost.
    comes_to(&client, "ana", 9_000 + 6_500).await;
    let renewal = [&arguments[..], &["--renewal"]].concat();
    let sent = told(&renewal, WEBHOOK_SECRET).await;
    let said = String::from_utf8(sent.stdout).unwrap();
    assert!(sent.status.success() && said.contains("invoice_payment.paid"), "{said}");
    comes_to(&client, "ana", 9_000 + 6_500 + 9_000).await;
    let wrong = told(&arguments, "whsec_wrong").await;
    assert!(!wrong.status.success());
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("answered 400: no signature matches"), "{said}");
    let waits = told(&[], WEBHOOK_SECRET).await;
    let said = String::from_utf8(waits.stdout).unwrap();
    assert!(said.contains("parked") && said.contains("ListUnmatchedPayments"), "{said}");
    assert_eq!(kinds(&unmatched(&client).await[0]), [PaymentIssueKind::NoBuyer]);

    // The server is the one of all other commands.
    let to_server = async |server: &str, arguments: &[&str]| {
        let mut command = testing::tributary();
        command.args(["stripe", "send-test"]).args(arguments).env("TRIBUTARY_SERVER", server);
        command.env("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET).output().await.unwrap()
    };
    let server_url = format!("http://{}", server.address);
    let waits = to_server(&server_url, &["--buyer", "nobody-here"]).await;
    let said = String::from_utf8(waits.stderr).unwrap();
    assert!(waits.status.code() == Some(1) && said.contains("parked"), "{said}");
    assert!(said.contains("nobody-here") && said.contains("/o/payments"), "{said}");
    assert!(!String::from_utf8(waits.stdout).unwrap().contains("is recorded"), "{said}");
    let recorded = to_server(&server.address, &["--buyer", "bea"]).await;
    let said = String::from_utf8(recorded.stdout).unwrap();
    assert!(said.contains("is recorded, with refund"), "{said}");
    for (address, arguments, code, expected) in [
        ("127.0.0.1:1", &[][..], 1, "no answer from http://127.0.0.1:1/webhooks/stripe ("),
        ("ftp://x", &[], 2, "'ftp://x' is not the address of a server"),
        (&*server_url, &["--url", "here"], 2, "'here' is not the address of an endpoint"),
    ] {
        let failed = to_server(address, arguments).await;
        let said = String::from_utf8(failed.stderr).unwrap();
        assert_eq!(failed.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    database.check().await;
    server.stop().await;
}
