//! Lives of the database: after a restore or a failover it may hold less than what was acknowledged.

use std::time::Duration;

use contract::pb::GetUserRequest;
use contract::pb::watch_participant_response::Change;
use sqlx::{Connection, Executor, PgConnection};
use tonic::Code;

use testing::{Server, TestDatabase, reason};

fn read(user_id: &str, consistency_token: &str) -> GetUserRequest {
    GetUserRequest { user_id: user_id.into(), consistency_token: consistency_token.into() }
}

#[tokio::test]
async fn a_token_of_an_earlier_life_of_the_database_is_good_up_to_where_that_life_ended() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    let program = client.publish_shipped("first-purchase-credits").await.program_id;
    let ada = client.sign_up(&program, "ada", "").await.unwrap();
    client.sign_up(&program, "bob", &ada.code).await.unwrap();
    let mut earnings = client.watch(&program, "ada", "").await.unwrap();
    client.buy("kept", "bob", "USD", 5).await.unwrap();
    let kept = earnings.message().await.unwrap().unwrap();
    let everything = client.watch_participant(&program, "ada", "").await.unwrap();
    let before = client.sign_up(&program, "cyd", "").await.unwrap().response.consistency_token;
    let lost = client.sign_up(&program, "dan", "").await.unwrap().response.consistency_token;
    server.stop().await;

    // Like a restored backup: the last sign-up is missing, and the cluster differs from the one in the log.
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for statement in [
        "delete from events where position >= (select min(position) from events \
         where aggregate_id = 'dan')",
        "delete from claims where owner in ('dan', 'first-purchase-credits/dan')",
        "delete from profiles where user_id = 'dan'",
        "delete from enrollments where user_id = 'dan'",
        "update epochs set system_identifier = system_identifier + 1",
    ] {
        connection.execute(statement).await.unwrap();
    }

    let server = Server::start(&database).await;
    let client = server.client();
    // The new epoch continues past the position at which the old one ended.
    let eve = client.sign_up(&program, "eve", "").await.unwrap().response.consistency_token;
    let answer = client.accounts().get_user(client.request(read("cyd", &before))).await;
    answer.expect("what both lives hold");
    let answer = client.accounts().get_user(client.request(read("eve", &eve))).await;
    answer.expect("what the new life holds");
    let refused = client.accounts().get_user(client.request(read("cyd", &lost))).await;
    let expected = (Code::FailedPrecondition, "TOKEN_OF_OLD_EPOCH".into());
    assert_eq!(reason(&refused.unwrap_err()), expected);

    // A stream resumes across epochs, from a position that both contain.
    let mut earnings = client.watch(&program, "ada", &kept.resume_token).await.unwrap();
    client.sign_up(&program, "fay", &ada.code).await.unwrap();
    client.buy("new", "fay", "USD", 5).await.unwrap();
    let next = earnings.message().await.unwrap().unwrap().reward.unwrap();
    assert_eq!(next.purchase_id, "new");
    let token = &everything.rest.token;
    let mut everything = client.watch_participant(&program, "ada", token).await.unwrap().rest;
    let referral = loop {
        // The rank that the token has is of a life in which others were on the board.
        match everything.news().await.change.unwrap() {
            Change::Rank(_) => {}
            Change::Referral(referral) => break referral,
            other => panic!("{other:?} came before the referral"),
        }
    };
    assert_eq!(referral.referee_user_id, "fay");
    server.stop().await;
    database.check().await;
}

/// Makes the log what it was at a position, in another cluster: a restored backup of that moment.
async fn restore(database: &TestDatabase, position: i64) {
    let statement = format!(
        "delete from events where position > {position};
         delete from epochs where start_position > 0;
         update epochs set system_identifier = system_identifier + 1"
    );
    database.pool.execute(sqlx::raw_sql(&statement)).await.unwrap();
    // No two backups are restored in one second, by which epochs are numbered.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

#[tokio::test]
async fn tokens_of_a_restored_backup_are_worth_nothing_after_the_backup_is_restored_once_more() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    let program = client.publish_shipped("multi-level-commission").await.program_id;
    let ada = client.sign_up(&program, "ada", "").await.unwrap();
    client.sign_up(&program, "bob", &ada.code).await.unwrap();
    let backup = database.count("select max(position) from events").await;
    server.stop().await;

    restore(&database, backup).await;
    let server = Server::start(&database).await;
    let client = server.client();
    let mut watched = client.watch_earnings(&program, "ada", "").await.unwrap().rest;
    let lost = client.buy("lost", "bob", "INR", 100_000).await.unwrap().consistency_token;
    watched.news().await;
    let resume = watched.token.clone();
    server.stop().await;

    restore(&database, backup).await;
    let server = Server::start(&database).await;
    let client = server.client();
    // The log grows past the position of the tokens.
    for number in 0..3 {
        client.buy(&format!("other-{number}"), "bob", "INR", 100_000).await.unwrap();
    }
    let expected = (Code::FailedPrecondition, "TOKEN_OF_OLD_EPOCH".into());
    let read = client.accounts().get_user(client.request(read("ada", &lost))).await;
    assert_eq!(reason(&read.unwrap_err()), expected);
    let resumed = client.watch_earnings(&program, "ada", &resume).await;
    assert_eq!(reason(&resumed.map(|_| ()).unwrap_err()), expected);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_server_that_finds_another_database_than_it_began_with_ends_instead_of_trusting_its_memory()
 {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    let program = client.publish_shipped("first-purchase-credits").await.program_id;
    let ada = client.sign_up(&program, "ada", "").await.unwrap();

    database.replace().await;

    // The server's cached state of ada and the program is of a database that no longer exists.
    let status = client.sign_up(&program, "bob", &ada.code).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let status = server.ended().await;
    assert_eq!(status.code(), Some(1), "{status}");
    assert_eq!(database.count("select count(*) from events").await, 0);

    let server = Server::start(&database).await;
    server.client().publish_shipped("first-purchase-credits").await;
    server.client().sign_up(&program, "bob", "").await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_server_that_only_streams_notices_another_database_as_well() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    let program = client.publish_shipped("first-purchase-credits").await.program_id;
    client.sign_up(&program, "ada", "").await.unwrap();
    let mut earnings = client.watch_earnings(&program, "ada", "").await.unwrap().rest;

    database.replace().await;

    // There are no writes; the stream must still not continue as if nothing had happened.
    let status = earnings.try_news().await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "SHUTTING_DOWN".into()));
    let status = server.ended().await;
    assert_eq!(status.code(), Some(1), "{status}");
    database.check().await;
}
