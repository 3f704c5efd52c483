//! What is paid is one purchase, whatever tells of it.

use super::*;

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
async fn an_event_that_comes_again_and_says_something_else_counts_whichever_came_first() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    // Two endpoints get one event, each in its own API version; the older one names the subscriber elsewhere.
    for order in [[0, 1, 2, 3], [1, 0, 2, 3], [2, 3, 1, 0], [1, 2, 0, 3], [2, 1, 3, 0]] {
        let name = format!("twice{}", order.map(|event| event.to_string()).concat());
        let payment = Payment::new(&name, "", 200_000).without_buyer();
        let invoice = format!("in_{name}");
        let told = payment.event("invoice.paid", 4, sample::invoice(&invoice, "bea", 200_000));
        let mut older = told.clone();
        older["api_version"] = json!("2024-06-20");
        older["data"]["object"]["parent"] = Value::Null;
        let towards = sample::invoice_payment(&invoice, &payment.id(), 200_000);
        let towards = payment.event("invoice_payment.paid", 3, towards);
        let events = [told, older, towards, payment.intent()];
        for event in order {
            deliver(address, &events[event]).await;
            deliver(address, &events[event]).await;
        }
        let purchase = client.purchase(&payment.id()).await.unwrap().purchase.unwrap();
        assert_eq!(purchase.buyer_user_id, "bea", "{name}");
    }
    // Of one that could not be read first, what can be read counts.
    let payment = Payment::new("mended", "bea", 200_000);
    let mut refund = payment.refund("refund.created", 10, "re_mended", 50_000);
    refund["data"]["object"]["payment_intent"] = Value::Null;
    let mut unreadable = refund.clone();
    unreadable["data"]["object"]["created"] = Value::Null;
    let answer = deliver_with(address, &unreadable, WEBHOOK_SECRET).await.unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
    for event in [&refund, &payment.session(), &payment.intent()] {
        deliver(address, event).await;
    }
    let purchase = client.purchase("pi_mended").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.refunded.as_ref()), 50_000);
    // What is known of each event is erased with the buyer.
    assert_eq!(unmatched(&client).await, []);
    client.erase("bea", true).await.unwrap();
    let kept = "select count(*) from stripe_events where body like '%bea%' or user_id = 'bea'";
    assert_eq!(database.count(kept).await, 0);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn the_first_payment_of_a_subscription_is_of_whom_its_session_names() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1], [1, 3, 0, 4, 2]] {
        let name = format!("first{}", order.map(|event| event.to_string()).concat());
        let payment = Payment::new(&name, "bea", 200_000);
        let (id, invoice) = (payment.id(), format!("in_{name}"));
        let mut session = payment.session();
        session["data"]["object"]["mode"] = json!("subscription");
        session["data"]["object"]["payment_intent"] = Value::Null;
        session["data"]["object"]["invoice"] = json!(invoice);
        let mut paid = payment.event("invoice.paid", 4, sample::invoice(&invoice, "", 200_000));
        paid["data"]["object"]["parent"]["subscription_details"]["metadata"] = json!({});
        let towards = sample::invoice_payment(&invoice, &id, 200_000);
        // It names the charge, and not the payment.
        let mut refund = payment.refund("refund.created", 10, &format!("re_{name}"), 50_000);
        refund["data"]["object"]["payment_intent"] = Value::Null;
        let towards = payment.event("invoice_payment.paid", 3, towards);
        let events = [session, payment.intent(), towards, paid, refund];
        for event in order {
            deliver(address, &events[event]).await;
        }
        let purchase = client.purchase(&id).await.unwrap().purchase.unwrap();
        let refunded = minor(purchase.refunded.as_ref());
        assert_eq!((&*purchase.buyer_user_id, refunded), ("bea", 50_000), "{name}");
    }
    comes_to(&client, "ana", 30_000).await;
    assert_eq!(unmatched(&client).await, []);
    let purchases = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(purchases).await, 4);
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
        let Some(recorded) = recorded else {
            let found = client.purchase(&payment.id()).await;
            refused(found, Code::NotFound, "PURCHASE_NOT_FOUND");
            let waiting = unmatched(&client).await;
            assert_eq!(waiting[0].payment_id, payment.id());
            assert_eq!(kinds(&waiting[0]), [PaymentIssueKind::UnusableAmount]);
            assert!(waiting[0].amount.is_none());
            continue;
        };
        let purchase = client.purchase(&payment.id()).await.unwrap().purchase.unwrap();
        let amount = purchase.amount.unwrap();
        let found = (amount.currency_code.to_lowercase(), amount.minor_units);
        assert_eq!(found, (currency.to_owned(), recorded));
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
async fn a_purchase_that_a_call_has_recorded_is_the_payment_with_all_that_was_told_of_it_before() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let address = &server.address;
    let payment = Payment::new("one", "bea", 400_000);
    deliver(address, &payment.refund("refund.created", 10, "re_1", 100_000)).await;
    deliver(address, &payment.dispute("created", 20, 60_000, "needs_response")).await;
    client.buy("pi_one", "bea", "INR", 400_000).await.unwrap();
    let purchase = client.purchase("pi_one").await.unwrap().purchase.unwrap();
    assert_eq!(minor(purchase.refunded.as_ref()), 100_000);
    assert_eq!(minor(purchase.disputed.as_ref()), 60_000);
    for event in [payment.session(), payment.intent()] {
        deliver(address, &event).await;
    }
    comes_to(&client, "ana", 15_000).await;
    assert_eq!(unmatched(&client).await, []);
    let purchases = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(purchases).await, 1);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn amounts_in_metadata_say_nothing() {
    let (database, server, client) = scene(&["ana", "bea"]).await;
    let metadata = json!({
        "user_id": "bea", "amount": "1", "amount_total": "1", "amount_received": "1", "currency": "usd",
    });
    for name in ["by-session", "by-intent"] {
        let payment = Payment::new(name, "bea", 400_000);
        let mut event = if name == "by-session" { payment.session() } else { payment.intent() };
        event["data"]["object"]["metadata"] = metadata.clone();
        deliver(&server.address, &event).await;
        let purchase = client.purchase(&payment.id()).await.unwrap().purchase.unwrap();
        let amount = Money { currency_code: "INR".into(), minor_units: 400_000 };
        assert_eq!(purchase.amount, Some(amount), "{name}");
    }
    database.check().await;
    server.stop().await;
}
