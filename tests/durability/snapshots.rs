//! Snapshots that do not fit the log: servers load the stream anew, and `verify` names them.

use domain::{AnyAggregate, Kind, StreamKey};
use sqlx::{Connection, Executor, PgConnection};
use tributary::store::load;

use testing::{Client, Server, TestDatabase, tributary};

const PROGRAM: &str = "multi-level-commission";
const ADA: &str = "multi-level-commission/ada";

/// Ada referred bob, who buys twice.
async fn begin(client: &Client) {
    client.publish_shipped(PROGRAM).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    for number in 0..2 {
        client.buy(&format!("order-{number}"), "bob", "INR", 100_000).await.unwrap();
    }
}

async fn load(database: &TestDatabase) -> load::Loaded {
    let key = StreamKey { kind: Kind::Participant, id: ADA.into() };
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    load::streams(&mut connection, &[key]).await.unwrap().remove(0)
}

/// Puts a snapshot of ada in the place of any that there is.
async fn put(database: &TestDatabase, last_sequence: i64, state: &AnyAggregate) {
    sqlx::query(
        "insert into snapshots values ('Participant', $1, $2, 1, $3, $4::jsonb)
         on conflict (aggregate_type, aggregate_id) do update
         set last_sequence = $2, payload = $4::jsonb",
    )
    .bind(ADA)
    .bind(last_sequence)
    .bind(Kind::Participant.state_version())
    .bind(state.to_json().unwrap())
    .execute(&database.pool)
    .await
    .unwrap();
}

const SNAPSHOTS: &str = "select count(*) from snapshots";

#[tokio::test]
async fn a_snapshot_ahead_of_the_log_is_deleted_and_the_stream_loaded_anew() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    begin(&server.client()).await;
    server.stop().await;
    let good = load(&database).await;
    put(&database, good.version + 5, &good.state).await;

    let server = Server::start(&database).await;
    let client = server.client();
    let bought = client.buy("order-2", "bob", "INR", 100_000).await.unwrap();
    assert_eq!(bought.outcomes[0].rewards.len(), 1);
    assert_eq!(database.count(SNAPSHOTS).await, 0);
    // A read that loads the stream gets on as well.
    put(&database, good.version + 50, &good.state).await;
    client.watch(PROGRAM, "ada", "").await.unwrap();
    client.buy("order-3", "bob", "INR", 100_000).await.unwrap();
    server.stop().await;
    sqlx::query("delete from snapshots").execute(&database.pool).await.unwrap();
    database.check().await;
}

#[tokio::test]
async fn a_snapshot_of_lost_events_is_not_used_when_the_log_has_grown_past_it() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    begin(&server.client()).await;
    server.stop().await;
    let lost = load(&database).await;
    put(&database, lost.version, &lost.state).await;
    // As after a restore of everything but the snapshots: the last purchase is lost.
    for statement in [
        "create table kept as select * from events where position < (
            select position from events where event_type = 'PurchaseRecorded'
                and aggregate_id = 'order-1')",
        "truncate events",
        "insert into events select * from kept",
        "drop table kept",
    ] {
        database.pool.execute(statement).await.unwrap();
    }
    let server = Server::start(&database).await;
    assert_eq!(database.count(SNAPSHOTS).await, 0);
    for number in 0..3 {
        server.client().buy(&format!("new-{number}"), "bob", "INR", 100_000).await.unwrap();
    }
    server.stop().await;
    let AnyAggregate::Participant(ada) = load(&database).await.state else { panic!() };
    assert_eq!(ada.buckets().earned, 4 * 5_000);
    database.check().await;
}

#[tokio::test]
async fn verify_names_every_snapshot_that_is_not_what_its_events_add_up_to() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    begin(&server.client()).await;
    server.stop().await;
    let good = load(&database).await;
    let verify = async || {
        let mut command = tributary();
        let output =
            command.arg("verify").env("DATABASE_URL", &database.url).output().await.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    put(&database, good.version, &good.state).await;
    let (is_good, said) = verify().await;
    assert!(is_good, "{said}");

    // One event too early, too late, and malformed.
    put(&database, good.version - 1, &good.state).await;
    let (is_good, said) = verify().await;
    assert!(!is_good && said.contains("differs from what its events add up to"), "{said}");
    put(&database, good.version + 1, &good.state).await;
    let (is_good, said) = verify().await;
    assert!(!is_good && said.contains("but the stream ends at"), "{said}");
    sqlx::query("update snapshots set payload = '{}'").execute(&database.pool).await.unwrap();
    sqlx::query("update snapshots set last_sequence = 1").execute(&database.pool).await.unwrap();
    let (is_good, said) = verify().await;
    assert!(!is_good && said.contains("cannot be read"), "{said}");
    assert!(said.contains(&format!("the snapshot of Participant '{ADA}'")), "{said}");
    assert!(said.contains("delete it from the table 'snapshots'"), "{said}");

    // A server of this release ignores a snapshot of another shape, and so does `verify`.
    sqlx::query("update snapshots set state_version = 999").execute(&database.pool).await.unwrap();
    let (is_good, said) = verify().await;
    assert!(is_good, "{said}");
}
