//! Rivals: different requests with one key, of which at most one is carried out. The others wait for its outcome,
//! and nobody else waits for them.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use contract::pb::{Money, RecordPurchaseRequest};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::races::{COMMISSION, split};
use testing::plain_http::get;
use testing::{Server, ServerOptions, TestDatabase, at_once, check_books, reason};

const RIVALS: usize = 200;
const OTHERS: usize = 20;

/// A server that exposes metrics, with their address.
async fn server_with_metrics(database: &TestDatabase) -> (Server, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let arguments = vec!["--metrics-listen".into(), address.clone()];
    (Server::start_with(&database.url, &ServerOptions { arguments }).await, address)
}

/// A number that a server exposes.
async fn metric(address: &str, name: &str) -> u64 {
    let text = get(address, "/metrics", &[]).await.unwrap().text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().unwrap())
}

/// The number of batches that a server has appended.
async fn batches(address: &str) -> u64 {
    metric(address, "tributary_batch_commands_count").await
}

/// Waits until a server has begun to record so many purchases.
async fn begun(address: &str, purchases: usize) {
    const STARTED: &str =
        "tributary_rpcs_started_total{service=\"PurchaseService\",rpc=\"RecordPurchase\"}";
    while metric(address, STARTED).await < u64::try_from(purchases).unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The calls that have just begun are queued within that time.
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// Lets commands wait behind the lock of the log until the connection is closed, so that they meet.
async fn hold_log(database: &TestDatabase) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let lock: String = sqlx::query_scalar(
        "select proname::text from pg_proc where proname like 'lock\\_log%' limit 1",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    sqlx::query("begin").execute(&mut connection).await.unwrap();
    sqlx::query(&format!("select \"{lock}\"()")).execute(&mut connection).await.unwrap();
    connection
}

/// Sends all calls at once, and goes on meanwhile.
fn sent<Call, Answer>(calls: impl Iterator<Item = Call>) -> JoinHandle<Vec<Answer>>
where
    Call: Future<Output = Answer> + Send + 'static,
    Answer: Send + 'static,
{
    tokio::spawn(at_once(calls.collect::<Vec<_>>()))
}

fn purchase(purchase_id: &str, amount: i64, request_id: &str) -> RecordPurchaseRequest {
    RecordPurchaseRequest {
        purchase_id: purchase_id.into(),
        buyer_user_id: "friend".into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units: amount }),
        request_id: request_id.into(),
        ..RecordPurchaseRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_purchases_with_one_id_are_answered_in_the_batches_of_everybody_else() {
    let database = TestDatabase::new().await;
    let (server, metrics) = server_with_metrics(&database).await;
    let client = server.client();
    client.publish_shipped(COMMISSION).await;
    let code = client.sign_up(COMMISSION, "owner", "").await.unwrap().code;
    client.sign_up(COMMISSION, "friend", &code).await.unwrap();

    // The key is the id of the purchase, or the id of the request.
    for (round, key) in ["purchase", "request"].into_iter().enumerate() {
        let earlier = round * (RIVALS + OTHERS);
        let before = batches(&metrics).await;
        let held = hold_log(&database).await;
        let rivals = sent((0..RIVALS).map(|number| {
            let client = server.client();
            let amount = 100_000 + i64::try_from(number).unwrap();
            let message = match key {
                "purchase" => purchase("wanted", amount, ""),
                _ => purchase("", amount, "wanted"),
            };
            async move { client.record(message).await }
        }));
        begun(&metrics, earlier + RIVALS).await;
        let others = sent((0..OTHERS).map(|number| {
            let client = server.client();
            let message = purchase(&format!("other-{key}-{number}"), 100_000, "");
            async move { client.record(message).await }
        }));
        begun(&metrics, earlier + RIVALS + OTHERS).await;
        held.close().await.unwrap();
        let (others, rivals) = tokio::join!(others, rivals);
        for answer in others.unwrap() {
            answer.unwrap();
        }
        let (successes, reasons) = split(rivals.unwrap());
        assert_eq!(successes.len(), 1);
        let expected = match key {
            "purchase" => (Code::AlreadyExists, "PURCHASE_ID_REUSED".to_owned()),
            _ => (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()),
        };
        assert!(reasons.iter().all(|reason| *reason == expected), "{reasons:?}");
        // One batch for the first that came, one for those that came meanwhile, and some to spare.
        let needed = batches(&metrics).await - before;
        assert!(needed <= 6, "{needed} batches for {RIVALS} rivals of a {key}");
    }
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_twice_at_once_without_a_purchase_id_is_carried_out_once() {
    const REPETITIONS: usize = 30;
    let database = TestDatabase::new().await;
    let (server, metrics) = server_with_metrics(&database).await;
    let client = server.client();
    client.publish_shipped(COMMISSION).await;
    let code = client.sign_up(COMMISSION, "owner", "").await.unwrap().code;
    client.sign_up(COMMISSION, "friend", &code).await.unwrap();
    for round in 0..5 {
        let held = hold_log(&database).await;
        // The server chooses the id of the purchase, another one for each call.
        let before = batches(&metrics).await;
        let calls = sent((0..REPETITIONS).map(|_| {
            let client = server.client();
            let message = purchase("", 100_000, &format!("request-{round}"));
            async move { client.record(message).await.unwrap() }
        }));
        begun(&metrics, (round + 1) * REPETITIONS).await;
        held.close().await.unwrap();
        let answers = calls.await.unwrap();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(answers[0].outcomes[0].rewards.len(), 1);
        // A batch that the database refuses as a whole is tried one by one, and gives the same answers slowly.
        let needed = batches(&metrics).await - before;
        assert!(needed <= 6, "{needed} batches for {REPETITIONS} repetitions");
    }
    let recorded = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(recorded).await, 5);
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rival_of_a_refused_request_is_carried_out() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.publish_shipped(COMMISSION).await;
    client.sign_up(COMMISSION, "friend", "").await.unwrap();
    for round in 0..5 {
        let held = hold_log(&database).await;
        let calls = sent((0..40).map(|number| {
            let client = server.client();
            let mut message = purchase("", 100_000, &format!("request-{round}"));
            if number != 20 {
                message.buyer_user_id = format!("nobody-{number}");
            }
            async move { (number, client.record(message).await) }
        }));
        tokio::time::sleep(Duration::from_millis(300)).await;
        held.close().await.unwrap();
        for (number, answer) in calls.await.unwrap() {
            match answer {
                Ok(_) => assert_eq!(number, 20),
                // Those that are decided before the one that is carried out are refused for what they are.
                Err(status) => {
                    let (_, reason) = reason(&status);
                    let known = ["USER_NOT_FOUND", "REQUEST_ID_REUSED"].contains(&&*reason);
                    assert!(number != 20 && known, "{number}: {reason}");
                }
            }
        }
    }
    let recorded = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(recorded).await, 5);
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}
