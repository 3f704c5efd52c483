//! Read models that are built from scratch while a server runs: until one has applied the whole log, no read
//! is answered from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contract::pb::GetBalancesRequest;
use sqlx::{Connection, PgConnection};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::expected::{caught_up, check_read_models};
use crate::folds::forget_copies;
use crate::history::{begin, work, work_for};
use crate::reads::{COMMISSION, SHARE, all_reads, position, purchase, settle};
use testing::plain_http::get;
use testing::{Client, Server, TestDatabase, check_books, reason};

/// Keeps all servers from becoming the projector, for as long as the connection lasts. (`what` is the last
/// part of the lock's key: the tables of all read models, or one.)
async fn lock_out(database: &TestDatabase, what: &str) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query(
        "select pg_advisory_lock(hashtextextended('tributary projector public ' || $1, 0))",
    )
    .bind(what)
    .execute(&mut connection)
    .await
    .unwrap();
    connection
}

/// The tables of all read models, as the lock names them.
async fn tables(database: &TestDatabase) -> Vec<String> {
    sqlx::query_scalar("select copy from read_model_copies order by name")
        .fetch_all(&database.pool)
        .await
        .unwrap()
}

#[track_caller]
fn check_building(read: &str, status: &Status) {
    let expected = (Code::Unavailable, "READ_MODEL_BUILDING".to_owned());
    assert_eq!(reason(status), expected, "{read}: {status:?}");
    assert!(status.get_error_details().retry_info().is_some(), "{read}");
}

async fn balance(client: &Client) -> Result<i64, Status> {
    let message = GetBalancesRequest {
        program_id: COMMISSION.into(),
        user_id: "owner".into(),
        ..GetBalancesRequest::default()
    };
    let answer = client.rewards().get_balances(client.request(message)).await?;
    Ok(answer.into_inner().balances[0].minor_units)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_read_models_are_built_from_nothing_no_read_is_answered_wrongly() {
    const BEFORE: i64 = 30;
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    settle(&server.client()).await;
    let mut token = String::new();
    for _ in 0..BEFORE {
        token = purchase(&server.client()).await;
    }
    check_read_models(&database).await;
    server.stop().await;
    let tables = tables(&database).await;

    for model in ["%", "participants", "programs", "purchases"] {
        forget_copies(&database, model).await;
        let locked_out = lock_out(&database, &tables.join(" ")).await;
        let server = Server::start(&database).await;
        let client = server.client();
        for read in all_reads() {
            for token in ["", &*token] {
                let status = position(&client, read, "owner", token, None).await.expect_err(read);
                check_building(read, &status);
            }
        }
        // Decisions, and reads from the log, need no read model.
        client.user("owner").await.unwrap();
        client.validate("NOSUCHCODE", "owner").await.unwrap();

        let bought = BEFORE * SHARE;
        let asking = tokio::spawn(async move {
            loop {
                match balance(&client).await {
                    Ok(minor) => break assert_eq!(minor, bought),
                    Err(status) => check_building("GetBalances", &status),
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        locked_out.close().await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap().unwrap();
        caught_up(&database).await;
        for read in all_reads() {
            position(&server.client(), read, "owner", &token, None).await.expect(read);
        }
        check_read_models(&database).await;
        server.stop().await;
    }
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_model_that_is_built_of_a_long_log_does_not_lose_what_happens_meanwhile() {
    let database = TestDatabase::new().await;
    let mut server = Server::start(&database).await;
    let mut workers = begin(&server.client(), 8).await;
    // More events than one run folds, so that the model is behind the others for several runs.
    while database.count("select max(position) from events").await < 11_000 {
        workers = work_for(&server, workers, 150).await;
    }
    caught_up(&database).await;
    for model in ["participants", "overviews", "c%", "%"] {
        server.stop().await;
        forget_copies(&database, model).await;
        server = Server::start(&database).await;
        let stop = Arc::new(AtomicBool::new(false));
        let working = work(&server, workers, &stop).await;
        crate::projector::cut_off(&database).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        stop.store(true, Ordering::SeqCst);
        workers = working.ended().await;
        check_read_models(&database).await;
    }
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}

/// A server that maintains all read models but one, as if a slow server of another release with the same read
/// model of participants folded that one.
async fn server_without_participants(database: &TestDatabase) -> (Server, PgConnection) {
    let server = Server::start(database).await;
    settle(&server.client()).await;
    check_read_models(database).await;
    server.stop().await;
    let tables = tables(database).await;
    let participants = tables.iter().find(|table| table.starts_with("participants")).unwrap();
    let locked_out = lock_out(database, participants).await;
    (Server::start(database).await, locked_out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_another_release_keeps_is_waited_for_and_then_taken_over() {
    let database = TestDatabase::new().await;
    let (server, locked_out) = server_without_participants(&database).await;
    let client = server.client();
    let token = purchase(&client).await;
    position(&client, "ListPurchases", "", &token, None).await.unwrap();
    assert_eq!(balance(&client).await.unwrap(), 0);
    let waiting = {
        let (client, token) = (client.clone(), token.clone());
        tokio::spawn(async move { position(&client, "GetBalances", "owner", &token, None).await })
    };
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!waiting.is_finished());
    locked_out.close().await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(balance(&client).await.unwrap(), SHARE);
    check_read_models(&database).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_another_release_keeps_is_waited_for_no_longer_than_allowed() {
    let database = TestDatabase::new().await;
    let (server, locked_out) = server_without_participants(&database).await;
    let client = server.client();
    let token = purchase(&client).await;
    let transactions = || {
        database
            .count("select xact_commit from pg_stat_database where datname = current_database()")
    };
    let before = transactions().await;
    let deadline = Some(Duration::from_secs(3));
    let status = position(&client, "GetBalances", "owner", &token, deadline).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let made = transactions().await - before;
    let expected = (Code::Unavailable, "READ_MODEL_BEHIND".into());
    assert_eq!(reason(&status), expected, "after {made} transactions");
    assert!(made < 2_000, "the wait took {made} transactions");
    locked_out.close().await.unwrap();
    check_read_models(&database).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_ready_once_its_read_models_are_built() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    settle(&server.client()).await;
    server.stop().await;
    let locked_out = lock_out(&database, &tables(&database).await.join(" ")).await;
    forget_copies(&database, "%").await;

    let server = Server::start(&database).await;
    let answer = get(&server.address, "/readyz", &[]).await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    let text = answer.text();
    assert!(
        text.starts_with("not ready\nthe read models of this release are being built"),
        "{text}"
    );
    assert_eq!(get(&server.address, "/livez", &[]).await.unwrap().status, 200);
    // Commands need no read model.
    purchase(&server.client()).await;

    locked_out.close().await.unwrap();
    let ready = async {
        while get(&server.address, "/readyz", &[]).await.unwrap().status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ready).await.expect("a server that is ready");
    server.stop().await;
    database.check().await;
}
