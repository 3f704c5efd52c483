//! Webhooks of Stripe on two servers: in any order, repeated, at once, and through a kill.

use std::time::Duration;

use contract::pb::*;
use serde_json::{Value, json};

use testing::stripe_events::{
    Payment, WEBHOOK_SECRET, deliver_until_taken, deliver_with, serve_with_endpoint,
    server_with_endpoint,
};
use testing::{Client, Server, ServerOptions, StopPoint, TestDatabase, at_once};
use tributary::store::stripe::{Noted, Standing, note_standing};

const LINES: &str = "multi-level-commission";
/// How long a delivery may take.
const PATIENCE_OF_STRIPE: Duration = Duration::from_secs(10);

/// A fixed sequence of numbers that look random, so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

/// Everything that is told of a payment of 4,000 rupees: two refunds, one of which fails, their total, and a dispute.
fn events_of(payment: &Payment) -> Vec<Value> {
    vec![
        payment.session(),
        payment.intent(),
        payment.refund("refund.created", 10, "re_1", 100_000),
        payment.refunded(12, 100_000),
        payment.refund("refund.created", 11, "re_2", 50_000),
        payment.refund("refund.failed", 30, "re_2", 50_000),
        payment.dispute("created", 20, 60_000, "needs_response"),
        payment.dispute("closed", 40, 60_000, "lost"),
    ]
}

/// Payments of 4,000 rupees, each by a buyer of its own with a referrer of their own, so that no cap is reached.
async fn payments(client: &Client, names: impl Iterator<Item = String>) -> Vec<Payment> {
    client.publish_shipped(LINES).await;
    let mut payments = Vec::new();
    for name in names {
        let (referrer, buyer) = (format!("referrer-{name}"), format!("buyer-{name}"));
        let referrer = client.sign_up(LINES, &referrer, "").await.unwrap();
        client.sign_up(LINES, &buyer, &referrer.code).await.unwrap();
        payments.push(Payment::new(&name, &buyer, 400_000));
    }
    payments
}

/// What a purchase comes to: refunds that stand, disputes, and what is left of the reward.
async fn comes_to(
    client: &Client,
    payment: &Payment,
) -> (Vec<(String, i64)>, Vec<(i64, i32)>, i64) {
    let GetPurchaseResponse { purchase, outcomes, .. } =
        client.purchase(&payment.id()).await.unwrap();
    let purchase = purchase.unwrap();
    let minor = |money: &Option<Money>| money.as_ref().map_or(0, |money| money.minor_units);
    let mut refunds: Vec<_> = purchase
        .refunds
        .iter()
        .filter(|refund| !refund.cancelled)
        .map(|refund| (refund.refund_id.clone(), minor(&refund.amount)))
        .collect();
    refunds.sort();
    let disputes = purchase.disputes.iter().map(|of| (minor(&of.amount), of.state)).collect();
    let reward = &outcomes[0].rewards[0];
    (refunds, disputes, minor(&reward.amount) - minor(&reward.reversed))
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_repeated_and_concurrent_deliveries_on_two_servers_end_as_those_in_order() {
    let database = TestDatabase::new().await;
    let (first, second) =
        tokio::join!(server_with_endpoint(&database), server_with_endpoint(&database));
    let client = first.client();
    let names =
        std::iter::once("expected".to_owned()).chain((0..12).map(|index| format!("p{index}")));
    let mut payments = payments(&client, names).await;
    let expected = payments.remove(0);
    for event in events_of(&expected) {
        deliver_until_taken(&[&first.address], &event).await;
    }
    let as_in_order = comes_to(&client, &expected).await;
    // 20,000 less 100,000 that were refunded and 60,000 that were lost, of 400,000.
    assert_eq!(as_in_order.2, 12_000);

    let mut numbers = Numbers(7);
    let mut events: Vec<Value> = payments.iter().flat_map(events_of).collect();
    events.extend(events.clone());
    numbers.shuffle(&mut events);
    let addresses = [first.address.clone(), second.address.clone()];
    let shares: Vec<Vec<(Value, [String; 2])>> = (0..8)
        .map(|share| {
            let own = events.iter().skip(share).step_by(8).cloned();
            let mut addresses = addresses.clone();
            addresses.rotate_left(share % 2);
            own.map(|event| (event, addresses.clone())).collect()
        })
        .collect();
    at_once(shares.into_iter().map(async |share| {
        for (event, [own, other]) in share {
            deliver_until_taken(&[&own, &other], &event).await;
        }
    }))
    .await;
    for payment in &payments {
        assert_eq!(comes_to(&client, payment).await, as_in_order, "{}", payment.id());
    }
    assert_eq!(
        database.count("select count(*) from stripe_payments where parked is not null").await,
        0
    );
    let purchases = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(purchases).await, 13);
    database.check().await;
    tokio::join!(first.stop(), second.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_did_not_answer_is_delivered_again_and_ends_the_same() {
    let database = TestDatabase::new().await;
    let mut server = server_with_endpoint(&database).await;
    let payments = payments(&server.client(), (0..6).map(|index| format!("p{index}"))).await;
    let mut events: Vec<Value> = payments.iter().flat_map(events_of).collect();
    Numbers(11).shuffle(&mut events);
    for share in events.chunks(events.len() / 3) {
        let address = server.address.clone();
        // Some of these are answered, and some are not.
        let own = share.to_vec();
        let deliveries = own.into_iter().map(move |event| {
            let address = address.clone();
            async move {
                let secret = testing::stripe_events::WEBHOOK_SECRET;
                let sent = testing::stripe_events::deliver_with(&address, &event, secret).await;
                drop(sent);
            }
        });
        let delivering = tokio::spawn(at_once(deliveries));
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        server.kill().await;
        drop(delivering.await);
        let options = ServerOptions::default();
        server = Server::start_command(serve_with_endpoint(&database, &options)).await;
        for event in share {
            deliver_until_taken(&[&server.address], event).await;
        }
    }
    let client = server.client();
    let first = comes_to(&client, &payments[0]).await;
    assert_eq!(first.2, 12_000);
    for payment in &payments {
        assert_eq!(comes_to(&client, payment).await, first, "{}", payment.id());
    }
    database.check().await;
    server.stop().await;
}

/// Delivers an event to a server that stops at a point of it, and again to another one, which must not wait for the
/// first for longer than Stripe does. Then the first goes on.
async fn deliver_through_a_standstill(
    point: &StopPoint,
    (hanging, other): (&Server, &Server),
    event: &Value,
) {
    point.arm();
    let (address, told) = (hanging.address.clone(), event.clone());
    let delivery = tokio::spawn(async move {
        // Whatever is answered, if anything is.
        drop(deliver_with(&address, &told, WEBHOOK_SECRET).await);
    });
    let stopped_at = point.reached().await;
    deliver_until_taken(&[&other.address], event).await;
    let took = stopped_at.elapsed();
    assert!(took < PATIENCE_OF_STRIPE, "the repetition was taken in after {took:?}");
    hanging.signal("-CONT").await;
    delivery.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_in_a_delivery_and_goes_on_records_nothing_twice() {
    // After a conflict a server appends otherwise for a while, so that there it stands still once for each database.
    let everywhere = ["stripe.keeping", "stripe.kept", "stripe.noting"].map(|at| (at, 0..3));
    let appending = [0, 1, 2].map(|event| ("engine.appending", event..event + 1));
    for (at, hung) in everywhere.into_iter().chain(appending) {
        let database = TestDatabase::new().await;
        let point = StopPoint::new(at);
        let mut command = serve_with_endpoint(&database, &ServerOptions::default());
        point.tell(&mut command);
        let hanging = Server::start_command(command).await;
        let other = server_with_endpoint(&database).await;
        let client = other.client();
        let payment = payments(&client, std::iter::once("one".to_owned())).await.remove(0);
        let servers = (&hanging, &other);
        // The refund is told of in two ways, and the hanging server is the first to hear of each.
        let events = [
            payment.session(),
            payment.refund("refund.created", 10, "re_1", 100_000),
            payment.refunded(12, 180_000),
        ];
        for (index, event) in events.iter().enumerate() {
            if hung.contains(&index) {
                deliver_through_a_standstill(&point, servers, event).await;
            } else {
                deliver_until_taken(&[&other.address], event).await;
            }
        }
        deliver_until_taken(&[&hanging.address], &payment.intent()).await;
        let (refunds, disputes, left) = comes_to(&client, &payment).await;
        let amounts: Vec<i64> = refunds.iter().map(|(_, amount)| *amount).collect();
        let expected = (vec![80_000, 100_000], vec![], 11_000);
        assert_eq!((amounts, disputes, left), expected, "{at} {hung:?}");
        for (event_type, expected) in [("PurchaseRecorded", 1), ("PurchaseRefunded", 2)] {
            let query = format!("select count(*) from events where event_type = '{event_type}'");
            assert_eq!(database.count(&query).await, expected, "{at}: {event_type}");
        }
        let waiting = "select count(*) from stripe_payments where parked is not null";
        assert_eq!(database.count(waiting).await, 0, "{at}");
        database.check().await;
        tokio::join!(hanging.stop(), other.stop());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_kept_is_recorded_although_its_sender_hangs_up() {
    let database = TestDatabase::new().await;
    let point = StopPoint::new("stripe.kept");
    let mut command = serve_with_endpoint(&database, &ServerOptions::default());
    point.tell(&mut command);
    let server = Server::start_command(command).await;
    let payment = payments(&server.client(), std::iter::once("one".to_owned())).await.remove(0);
    point.arm();
    let (address, told) = (server.address.clone(), payment.session());
    let delivery = tokio::spawn(async move { deliver_with(&address, &told, WEBHOOK_SECRET).await });
    point.reached().await;
    delivery.abort();
    assert!(delivery.await.unwrap_err().is_cancelled());
    server.signal("-CONT").await;
    let recorded = "select count(*) from events where event_type = 'PurchaseRecorded'";
    while database.count(recorded).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    database.check().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_after_a_call_is_recorded_if_the_server_is_killed_before() {
    const NAMES: [&str; 3] = ["recorded", "refunded", "attached"];
    let database = TestDatabase::new().await;
    let other = server_with_endpoint(&database).await;
    let client = other.client();
    let payments = payments(&client, NAMES.map(str::to_owned).into_iter()).await;
    let [recorded, refunded, attached] = &payments[..] else { panic!("three payments") };
    // Payments that name nobody, of which something went back; and one whose total is known.
    let refund = |payment: &Payment| payment.refund("refund.created", 10, "re_1", 100_000);
    for event in [
        recorded.intent(),
        refund(recorded),
        attached.intent(),
        refund(attached),
        refunded.session(),
        refunded.refunded(12, 100_000),
    ] {
        deliver_until_taken(&[&other.address], &event).await;
    }
    for (index, payment) in payments.iter().enumerate() {
        let point = StopPoint::new("payments.settling");
        let mut command = serve_with_endpoint(&database, &ServerOptions::default());
        point.tell(&mut command);
        let hanging = Server::start_command(command).await;
        let (calling, buyer) = (hanging.client(), format!("buyer-{}", NAMES[index]));
        let purchase_id = payment.id();
        point.arm();
        let mut call = tokio::spawn(async move {
            let amount = |minor_units| Some(Money { currency_code: "INR".into(), minor_units });
            match index {
                0 => {
                    let amount = amount(400_000);
                    let buyer_user_id = buyer;
                    let record = RecordPurchaseRequest {
                        purchase_id,
                        buyer_user_id,
                        amount,
                        ..Default::default()
                    };
                    calling.purchases().record_purchase(calling.request(record)).await.map(drop)
                }
                1 => {
                    let (refund_id, amount) = ("re_1".into(), amount(100_000));
                    let refund = RefundPurchaseRequest {
                        purchase_id,
                        refund_id,
                        amount,
                        ..Default::default()
                    };
                    calling.purchases().refund_purchase(calling.request(refund)).await.map(drop)
                }
                _ => {
                    let payment_id = purchase_id;
                    let attach = AttachPaymentRequest {
                        payment_id,
                        buyer_user_id: buyer,
                        ..Default::default()
                    };
                    calling.purchases().attach_payment(calling.request(attach)).await.map(drop)
                }
            }
        });
        tokio::select! {
            _ = point.reached() => {}
            answered = &mut call => panic!("{} is answered: {answered:?}", payment.id()),
        }
        hanging.kill().await;
        assert!(call.await.unwrap().is_err());
        let open =
            "select (select count(*) from jobs where kind = 'settle_payment' and state <> 'done')
            + (select max(position) from events)
            - (select max(position) from reaction_checkpoints where reaction = 'settle_payment')";
        while database.count(open).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (refunds, ..) = comes_to(&client, payment).await;
        assert_eq!(refunds, [("re_1".to_owned(), 100_000)], "{}", payment.id());
    }
    let waiting = "select count(*) from stripe_payments where parked is not null";
    assert_eq!(database.count(waiting).await, 0);
    database.check().await;
    other.stop().await;
}

#[tokio::test]
async fn what_was_found_of_an_older_state_is_not_noted_over_what_is_newer() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let insert = "insert into stripe_payments (payment_id, state) values ('pi_1', '{}')";
    sqlx::query(insert).execute(&database.pool).await.unwrap();
    let note = async |version: i64, sequence: i64, parked: Option<Value>| {
        let standing = Standing { version, sequence, parked, ..Standing::default() };
        note_standing(&database.pool, "pi_1", &standing).await.unwrap()
    };
    let refused = || Some(json!(["refused"]));
    let waiting = "select count(*) from stripe_payments where parked is not null";
    assert_eq!(note(1, 3, None).await, Noted::Noted);
    // Refused when the purchase stood otherwise, and heard of late.
    assert_eq!(note(1, 2, refused()).await, Noted::Outdated);
    assert_eq!(note(0, 4, refused()).await, Noted::Outdated);
    assert_eq!(database.count(waiting).await, 0);
    assert_eq!(note(1, 3, refused()).await, Noted::Noted);
    assert_eq!(database.count(waiting).await, 1);
    assert_eq!(note(1, 4, None).await, Noted::Noted);
    assert_eq!(database.count(waiting).await, 0);
    server.stop().await;
}
