//! `tributary projections` and `tributary verify`: what they find, what they repair, and that reads are
//! answered throughout.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contract::pb::*;
use tonic::Code;
use tributary::read::models;

use testing::{Client, Server, TestDatabase, reason, tributary};

const PROGRAM: &str = "multi-level-commission";

/// Runs the program on a database.
async fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    tributary()
        .args(arguments)
        .env("DATABASE_URL", &database.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .await
        .unwrap()
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    texts.join("")
}

/// A line of three, and purchases of the last: 5007 and 1001 for each.
async fn earn(client: &Client, purchases: std::ops::Range<usize>) -> String {
    let mut token = String::new();
    for number in purchases {
        let answer = client.buy(&format!("order-{number}"), "cleo", "INR", 100_130).await.unwrap();
        token = answer.consistency_token;
    }
    token
}

async fn line(client: &Client) {
    client.publish_shipped(PROGRAM).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let bob = client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.sign_up(PROGRAM, "cleo", &bob.code).await.unwrap();
}

async fn balance(client: &Client, user_id: &str, token: &str) -> Result<i64, tonic::Status> {
    let request = GetBalancesRequest {
        program_id: PROGRAM.into(),
        user_id: user_id.into(),
        consistency_token: token.into(),
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(request)).await?;
    Ok(answer.into_inner().balances[0].minor_units)
}

/// The table that serves a read model.
async fn table(database: &TestDatabase, model: &str) -> String {
    sqlx::query_scalar("select copy from read_model_copies where name = $1")
        .bind(model)
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

async fn change(database: &TestDatabase, sql: &str) -> u64 {
    sqlx::query(sql).execute(&database.pool).await.unwrap().rows_affected()
}

#[tokio::test]
async fn a_row_that_was_changed_by_hand_is_found_named_and_healed() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    line(&client).await;
    let token = earn(&client, 0..3).await;
    assert_eq!(balance(&client, "bob", &token).await.unwrap(), 15_021);
    let good = run(&database, &["verify"]).await;
    assert!(good.status.success(), "{}", said(&good));

    let participants = table(&database, "participants").await;
    let sql = format!("update {participants} set balance_minor = 15020 where user_id = 'bob'");
    assert_eq!(change(&database, &sql).await, 1);
    let contributions = table(&database, "contributions").await;
    let sql = format!("delete from {contributions} where level = 2");
    assert_eq!(change(&database, &sql).await, 1);
    let last: i64 = database
        .count(
            "select max(position) from events \
             where event_type = 'RewardGranted' and aggregate_id like '%/bob'",
        )
        .await;

    let bad = run(&database, &["verify"]).await;
    assert_eq!(bad.status.code(), Some(1));
    let text = said(&bad);
    let named = format!(
        "participants program_id={PROGRAM} user_id=bob: balance_minor is 15020, but should be 15021 \
         (by event {last})"
    );
    assert!(text.contains(&named), "{text}");
    let missing = format!(
        "contributions program_id={PROGRAM} source_user_id=cleo level=2: the row is missing"
    );
    assert!(text.contains(&missing), "{text}");
    assert!(text.contains("rows that differ from the log: 2"), "{text}");

    let healed = run(&database, &["projections", "rebuild", "all"]).await;
    assert!(healed.status.success(), "{}", said(&healed));
    assert!(said(&healed).contains(&named), "{}", said(&healed));
    assert_eq!(balance(&client, "bob", &token).await.unwrap(), 15_021);
    // The new copies are kept up to date like the old ones.
    let token = earn(&client, 3..4).await;
    assert_eq!(balance(&client, "bob", &token).await.unwrap(), 20_028);
    let status = said(&run(&database, &["projections", "status"]).await);
    assert!(status.contains("participants") && !status.contains("_rebuild"), "{status}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_fault_in_the_log_itself_is_found_at_its_event() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    line(&client).await;
    earn(&client, 0..2).await;
    server.stop().await;
    // The second commission of bob pays one more than its totals say.
    let position: i64 = database
        .count("select max(position) from events where event_type = 'RewardGranted' and aggregate_id like '%/bob'")
        .await;
    let sql = format!(
        "update events set payload = jsonb_set(payload, '{{posting,amount}}', '5008') where position = {position}"
    );
    assert_eq!(change(&database, &sql).await, 1);

    let bad = run(&database, &["verify"]).await;
    let text = said(&bad);
    assert_eq!(bad.status.code(), Some(1), "{text}");
    let named = format!(
        "Participant '{PROGRAM}/bob': level 1 is said to come to 10014 by 2 rewards, \
         but comes to 10015 by 2 (at event {position})"
    );
    assert!(text.contains(&named), "{text}");
    let balance = text.lines().find(|line| line.contains("the buckets are said to be")).unwrap();
    assert!(
        balance.contains("available: 10014") && balance.contains("available: 10015"),
        "{balance}"
    );
    assert!(balance.ends_with(&format!("(at event {position})")), "{balance}");
}

#[tokio::test]
async fn reads_and_writes_go_on_while_everything_is_rebuilt_again_and_again() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    line(&client).await;
    let over = Arc::new(AtomicBool::new(false));
    let (writer, stop) = (client.clone(), over.clone());
    let writing = tokio::spawn(async move {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            let token = earn(&writer, count..count + 1).await;
            count += 1;
            // Up to the cap, after which nothing more is earned.
            let expected = (5_007 * i64::try_from(count).unwrap()).min(100_000);
            assert_eq!(balance(&writer, "bob", &token).await.unwrap(), expected);
        }
        count
    });
    for _ in 0..3 {
        let rebuilt = run(&database, &["projections", "rebuild", "all"]).await;
        assert!(rebuilt.status.success(), "{}", said(&rebuilt));
        assert!(!said(&rebuilt).contains("differ"), "{}", said(&rebuilt));
    }
    over.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_rebuild_that_is_killed_goes_on_where_it_was() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    line(&client).await;
    let token = earn(&client, 0..5).await;
    for pause_ms in [5, 20, 40, 80, 160] {
        let mut child = tributary()
            .args(["projections", "rebuild", "all"])
            .env("DATABASE_URL", &database.url)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        child.kill().await.unwrap();
        // A repeated purchase pays nothing. Its token is that of the first answer, so the balance is read
        // with the last token.
        earn(&client, 0..1).await;
        assert_eq!(balance(&client, "bob", &token).await.unwrap(), 25_035);
    }
    let rebuilt = run(&database, &["projections", "rebuild", "all"]).await;
    assert!(rebuilt.status.success(), "{}", said(&rebuilt));
    let copies = database.count("select count(*) from read_model_copies").await;
    assert_eq!(usize::try_from(copies).unwrap(), models::names().len());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn read_models_are_built_before_any_server_of_a_release_runs_and_old_ones_are_dropped_on_demand()
 {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    line(&client).await;
    earn(&client, 0..2).await;
    server.stop().await;
    // As another release would have left them: tables with other names.
    let participants = table(&database, "participants").await;
    change(&database, &format!("alter table {participants} rename to participants_0ld")).await;
    change(&database, "delete from checkpoints where copy like 'participants%'").await;
    change(
        &database,
        "update read_model_copies set copy = 'participants_0ld' where name = 'participants'",
    )
    .await;
    change(&database, "insert into checkpoints values ('participants_0ld', 0, now())").await;

    let rebuilt = run(&database, &["projections", "rebuild", "all"]).await;
    assert!(rebuilt.status.success(), "{}", said(&rebuilt));
    let server = Server::start(&database).await;
    assert_eq!(balance(&server.client(), "bob", "").await.unwrap(), 10_014);
    let status = said(&run(&database, &["projections", "status"]).await);
    assert!(status.contains("outdated") && !status.contains("building"), "{status}");

    let pruned = said(&run(&database, &["projections", "prune"]).await);
    assert_eq!(pruned, "dropped participants_0ld\n");
    assert_eq!(balance(&server.client(), "bob", "").await.unwrap(), 10_014);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn what_cannot_be_rebuilt_is_said() {
    let database = TestDatabase::new().await;
    let unknown = run(&database, &["projections", "rebuild", "tides"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    let text = said(&unknown);
    assert!(text.contains("there is no read model 'tides'"), "{text}");
    assert!(text.contains("participants"), "{text}");

    let server = Server::start(&database).await;
    let client = server.client();
    let status = balance(&client, "nobody", "").await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "PROGRAM_NOT_FOUND".into()));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_read_model_that_cannot_be_folded_holds_up_none_of_the_others() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    line(&client).await;
    earn(&client, 0..1).await;
    let overviews = table(&database, "overviews").await;
    // As if a sum no longer fit into its column.
    let limit = format!("alter table {overviews} add check (reward_count < 4)");
    change(&database, &limit).await;

    let overview = async |token: &str| {
        let request =
            GetOverviewRequest { program_id: PROGRAM.into(), consistency_token: token.into() };
        let mut request = client.request(request);
        request.set_timeout(Duration::from_secs(2));
        client.operators().get_overview(request).await.map(tonic::Response::into_inner)
    };
    for round in 1..10 {
        let token = earn(&client, round..round + 1).await;
        let expected = 5_007 * i64::try_from(round + 1).unwrap();
        assert_eq!(balance(&client, "bob", &token).await.unwrap(), expected);
    }
    let token = earn(&client, 10..11).await;
    let status = overview(&token).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "READ_MODEL_BEHIND".into()));
    assert!(overview("").await.unwrap().reward_count < 4);
    let rebuilt = run(&database, &["projections", "rebuild", "overviews"]).await;
    assert!(rebuilt.status.success(), "{}", said(&rebuilt));
    assert_eq!(overview(&token).await.unwrap().reward_count, 22);
    let token = earn(&client, 11..12).await;
    assert_eq!(overview(&token).await.unwrap().reward_count, 24);
    server.stop().await;
    database.check().await;
}
