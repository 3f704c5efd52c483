//! A single server decides a batch while the previous one is being appended, and does not look up again what
//! it has in memory. Whatever it keeps in memory and however commands are batched, every decision is based on
//! the state in the log.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use tonic::Code;

use crate::history::{begin, work_for};
use crate::races::COMMISSION;
use testing::{Server, ServerOptions, TestDatabase, at_once, check_books, reason};

/// A server with these options, separated by blanks.
pub(super) async fn server(database: &TestDatabase, options: &str) -> Server {
    let arguments = options.split_whitespace().map(str::to_owned).collect();
    let options = ServerOptions { arguments };
    Server::start_with(&database.url, &options).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_ahead_holds_whatever_is_in_memory() {
    for options in
        ["--cached-streams 1 --batch-commands 5", "--cached-streams 20", "--batch-commands 1", ""]
    {
        let database = TestDatabase::new().await;
        let server = server(&database, options).await;
        let workers = begin(&server.client(), 24).await;
        work_for(&server, workers, 40).await;
        server.stop().await;
        check_books(&database).await;
        database.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repetitions_that_meet_in_batches_on_their_way_have_one_effect() {
    let database = TestDatabase::new().await;
    let server = server(&database, "--batch-commands 3").await;
    let client = server.client();
    client.publish_shipped(COMMISSION).await;
    let code = client.sign_up(COMMISSION, "owner", "").await.unwrap().code;
    client.sign_up(COMMISSION, "friend", &code).await.unwrap();

    // Sends each of 40 purchases four times, some with another amount, and each of 40 names twice.
    let purchases = (0..160).map(|call| {
        let client = server.client();
        let (id, amount) = (format!("purchase-{}", call % 40), if call >= 120 { 2 } else { 1 });
        async move { client.buy(&id, "friend", "INR", 100_000 * amount).await.map(|_| ()) }
    });
    let names = (0..80).map(|call| {
        let client = server.client();
        async move {
            let name = format!("name{}", call % 40);
            client.sign_up(COMMISSION, &name, "").await.map(|_| ())
        }
    });
    let (purchases, names) = tokio::join!(at_once(purchases), at_once(names));

    for status in purchases.iter().chain(&names).filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(status.code(), Code::AlreadyExists, "{:?}", reason(status));
    }
    assert_eq!(names.iter().filter(|answer| answer.is_ok()).count(), 40);
    let recorded = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(recorded).await, 40);
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}
