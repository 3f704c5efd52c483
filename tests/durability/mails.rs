//! Mails: each occasion has one, whichever server is killed and when, and nothing old is ever sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tributary::reactions::{self, Reaction, step};

use testing::{MailServer, Server, ServerOptions, TestDatabase, tributary};

/// Waits until all mails are sent.
async fn settled(database: &TestDatabase) {
    let open = "select (select count(*) from jobs where kind = 'mail' and state <> 'done')
        + (select max(position) from events)
        - (select max(position) from reaction_checkpoints where reaction = 'mails')";
    for _ in 0..3_000 {
        if database.count(open).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} mails and events are left", database.count(open).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_occasion_has_one_mail_however_often_servers_are_killed_between_event_and_mail() {
    const KILLS: u64 = 12;
    let mail_server = MailServer::start().await;
    let options = ServerOptions { arguments: mail_server.arguments() };
    let database = TestDatabase::new().await;
    let server = Server::start_with(&database.url, &options).await;
    server.client().publish_shipped("referral-count").await;
    let code = server.client().sign_up("referral-count", "top", "").await.unwrap().code;
    server.stop().await;
    let mut cut_off = 0;
    for kill in 0..KILLS {
        let server = Server::start_with(&database.url, &options).await;
        for number in 0..3 {
            let client = server.client();
            let (user_id, code) = (format!("u{kill}-{number}"), code.clone());
            tokio::spawn(
                async move { client.sign_up("referral-count", &user_id, &code).await.is_ok() },
            );
        }
        tokio::time::sleep(Duration::from_millis(15 + 23 * kill)).await;
        server.kill().await;
        let unsent = "select count(*) from jobs where kind = 'mail' and state = 'running'";
        cut_off += database.count(unsent).await;
        // As if the lease of the killed server were over.
        let over = "update jobs set run_after = now() where kind = 'mail' and state = 'running'";
        database.pool.execute(over).await.unwrap();
    }
    let server = Server::start_with(&database.url, &options).await;
    settled(&database).await;
    server.stop().await;

    let users = database.count("select count(*) from profiles").await;
    assert!(users > 3, "{users} users");
    let jobs = "select count(*) from jobs where kind = 'mail'";
    // One welcome each, and one mail to the top for each of the others.
    assert_eq!(database.count(jobs).await, 2 * users - 1);
    assert_eq!(
        database.count("select count(*) from mails where outcome = 'sent'").await,
        2 * users - 1
    );
    let mut copies = BTreeMap::<String, usize>::new();
    for mail in mail_server.received() {
        *copies.entry(mail.header("Message-ID")).or_default() += 1;
    }
    assert_eq!(copies.len() as i64, 2 * users - 1);
    let repeated = copies.values().filter(|copies| **copies > 1).count();
    eprintln!(
        "{users} users; {cut_off} mails were being sent at a kill, {repeated} were sent twice"
    );
    assert!(repeated as i64 <= cut_off);
    database.check().await;
}

#[tokio::test]
async fn a_restart_a_rebuild_and_the_time_without_a_mail_server_send_nothing_old() {
    let mail_server = MailServer::start().await;
    let with_mails = ServerOptions { arguments: mail_server.arguments() };
    let database = TestDatabase::new().await;
    // Without a mail server nobody gets mail, and nothing waits for one.
    let server = Server::start(&database).await;
    server.client().publish_shipped("referral-count").await;
    server.client().sign_up("referral-count", "before", "").await.unwrap();
    settled(&database).await;
    assert_eq!(database.count("select count(*) from jobs where kind = 'mail'").await, 0);
    server.stop().await;

    let server = Server::start_with(&database.url, &with_mails).await;
    server.client().sign_up("referral-count", "ada", "").await.unwrap();
    settled(&database).await;
    server.stop().await;
    for statement in ["delete from read_model_copies", "delete from checkpoints"] {
        database.pool.execute(statement).await.unwrap();
    }
    let rebuilt = tributary()
        .args(["projections", "rebuild", "all"])
        .env("DATABASE_URL", &database.url)
        .stdout(std::process::Stdio::null())
        .status();
    assert!(rebuilt.await.unwrap().success());
    // As an upgrade from a release that had no mails.
    for statement in ["delete from reaction_checkpoints", "delete from reactions"] {
        database.pool.execute(statement).await.unwrap();
    }
    let server = Server::start_with(&database.url, &with_mails).await;
    server.client().sign_up("referral-count", "bo", "").await.unwrap();
    settled(&database).await;
    server.stop().await;
    let to: Vec<String> = mail_server.received().into_iter().map(|mail| mail.to).collect();
    assert_eq!(to, ["ada@example.com", "bo@example.com"]);
    database.check().await;
}

/// Writes events as commands leave them, one command at a time.
struct Log {
    connection: PgConnection,
    position: i64,
}

impl Log {
    async fn command(&mut self, door: &str, events: &[(&str, &str, Value)]) {
        let mut metadata = json!({ "command_events": events.len().to_string(), "door": door });
        for (stream, event_type, payload) in events {
            self.position += 1;
            let aggregate_type = match *event_type {
                "UserRegistered" => "User",
                "ProgramPublished" => "Program",
                "PurchaseRefunded"
                | "DisputeClosed"
                | "PurchaseReferralRejected"
                | "HoldPeriodEnded"
                | "PurchaseRewardReleased" => "Purchase",
                _ => "Participant",
            };
            sqlx::query(
                "insert into events (position, sequence, recorded_at, aggregate_type, aggregate_id, event_type,
                    event_version, payload, metadata)
                 values ($1, $1, now(), $2, $3, $4, '1.0.0', $5, $6)",
            )
            .bind(self.position)
            .bind(aggregate_type)
            .bind(stream)
            .bind(event_type)
            .bind(payload)
            .bind(&metadata)
            .execute(&mut self.connection)
            .await
            .unwrap();
            metadata = json!({});
        }
    }
}

/// The mails that a run of events calls for: kind, user, and how often.
async fn called_for(connection: &mut PgConnection, reaction: Reaction) -> Vec<(String, String)> {
    step::step(connection, reaction, false).await.unwrap();
    let mails = sqlx::query_as(
        "with seen as (delete from mails returning job_id, kind, user_id)
         select kind, user_id from seen order by job_id",
    );
    mails.fetch_all(connection).await.unwrap()
}

/// The rules of a program with three tiers.
fn rules(mails: bool) -> Value {
    json!({ "rules": { "mails": mails, "rewards": [{ "pay": { "tiers": [
        { "name": "Low", "from_referrals": 0 },
        { "name": "Middle", "from_referrals": 5 },
        { "name": "High", "from_referrals": 9 },
    ] } }] } })
}

fn mail(kind: &str, user: &str) -> (String, String) {
    (kind.to_owned(), user.to_owned())
}

/// The reaction to a log that has nothing but a program that sends mails, and a connection that moves it.
async fn begin(database: &TestDatabase) -> (PgConnection, Reaction, Log) {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let mails = reactions::all().into_iter().find(|reaction| reaction.name == "mails").unwrap();
    step::ready(&mut connection).await.unwrap();
    step::register(&mut connection, mails).await.unwrap();
    let own = PgConnection::connect(&database.url).await.unwrap();
    let mut log = Log { connection: own, position: 0 };
    log.command("PublishProgram", &[("p", "ProgramPublished", rules(true))]).await;
    assert_eq!(called_for(&mut connection, mails).await, []);
    (connection, mails, log)
}

#[tokio::test]
async fn held_referrals_and_imports_call_for_nothing_and_a_release_calls_for_one_mail() {
    let database = TestDatabase::new().await;
    let (mut connection, mails, mut log) = begin(&database).await;
    let connection = &mut connection;
    let made = |status: &str| json!({ "referee_user_id": "ref/1", "status": status });
    let updated = |from: &str, to: &str| json!({ "referee_user_id": "ref/1", "previous_status": from, "status": to });
    let reward = json!({ "source_user_id": "ref/1" });

    log.command(
        "import",
        &[
            ("old", "UserRegistered", json!({})),
            ("p/old", "ParticipantEnrolled", json!({})),
            ("p/pat", "ReferralMade", made("pending")),
        ],
    )
    .await;
    assert_eq!(called_for(connection, mails).await, []);
    log.command(
        "RegisterUser",
        &[
            ("ref/1", "UserRegistered", json!({})),
            ("p/ref/1", "ParticipantEnrolled", json!({})),
            ("p/ada", "ReferralMade", made("held")),
        ],
    )
    .await;
    assert_eq!(called_for(connection, mails).await, [mail("welcome", "ref/1")]);
    // Rejected, which nobody is told, or released.
    log.command("ResolveFraudFlag", &[("p/ada", "ReferralUpdated", updated("held", "rejected"))])
        .await;
    assert_eq!(called_for(connection, mails).await, []);
    log.command("ResolveFraudFlag", &[("p/ada", "ReferralUpdated", updated("held", "pending"))])
        .await;
    assert_eq!(called_for(connection, mails).await, [mail("referral", "ada")]);
    // Rejected and released again: they know it.
    for (from, to) in [("pending", "rejected"), ("rejected", "pending")] {
        log.command("ResolveFraudFlag", &[("p/ada", "ReferralUpdated", updated(from, to))]).await;
    }
    assert_eq!(called_for(connection, mails).await, []);
    // Released and converted at once: one mail, whatever it pays.
    log.command(
        "ResolveFraudFlag",
        &[
            ("p/ada", "ReferralUpdated", updated("held", "pending")),
            ("p/ref/1", "ReferralConverted", json!({})),
            ("p/ada", "ReferralUpdated", updated("pending", "converted")),
            ("p/ada", "RewardGranted", reward.clone()),
            ("p/ada", "RewardGranted", reward.clone()),
            ("p/top", "RewardGranted", reward.clone()),
        ],
    )
    .await;
    assert_eq!(
        called_for(connection, mails).await,
        [mail("conversion", "ada"), mail("conversion", "top")]
    );
    // Converted again, after a refund: only who has not been paid for the first conversion is told.
    log.command(
        "RecordPurchase",
        &[
            ("p/ref/1", "ReferralConverted", json!({})),
            ("p/ada", "ReferralUpdated", updated("pending", "converted")),
            ("p/ada", "RewardGranted", reward.clone()),
            ("p/new", "RewardGranted", reward.clone()),
        ],
    )
    .await;
    assert_eq!(called_for(connection, mails).await, [mail("conversion", "new")]);
    // A conversion that does not pay the referrer: they are told of the referral.
    log.command(
        "RegisterUser",
        &[
            ("p/ada", "ReferralMade", made("pending")),
            ("p/ref/1", "ReferralConverted", json!({})),
            ("p/ada", "ReferralUpdated", updated("pending", "converted")),
            ("p/ref/1", "RewardGranted", reward),
        ],
    )
    .await;
    assert_eq!(
        called_for(connection, mails).await,
        [mail("referral", "ada"), mail("conversion", "ref/1")]
    );
    // From now on the program sends none.
    log.command("PublishProgram", &[("p", "ProgramPublished", rules(false))]).await;
    log.command(
        "RegisterUser",
        &[
            ("bo", "UserRegistered", json!({})),
            ("p/bo", "ParticipantEnrolled", json!({})),
            ("p/ada", "ReferralMade", made("pending")),
        ],
    )
    .await;
    assert_eq!(called_for(connection, mails).await, []);
    assert_eq!(database.count("select count(*) from jobs").await, 7);
    assert_eq!(database.count("select count(distinct dedupe_key) from jobs").await, 7);
}

#[tokio::test]
async fn a_tier_calls_for_a_mail_when_it_is_reached_for_the_first_time() {
    let database = TestDatabase::new().await;
    let (mut connection, mails, mut log) = begin(&database).await;
    let connection = &mut connection;
    let tier = |from: &str, to: &str| json!({ "from_tier": from, "to_tier": to });
    log.command("import", &[("p/pat", "TierChanged", tier("Low", "High"))]).await;
    assert_eq!(called_for(connection, mails).await, []);
    // A tier that is lower by changed rules is not reached.
    log.command(
        "RegisterUser",
        &[
            ("p/ada", "TierChanged", tier("High", "Low")),
            ("p/ada", "TierChanged", tier("Low", "High")),
            ("p/ada", "TierChanged", tier("Gone", "Middle")),
        ],
    )
    .await;
    assert_eq!(called_for(connection, mails).await, [mail("tier", "ada"), mail("tier", "ada")]);
    // A tier that was reached before, whether or not it was told.
    log.command(
        "RecordPurchase",
        &[
            ("p/ada", "TierChanged", tier("High", "Middle")),
            ("p/ada", "TierChanged", tier("Middle", "High")),
            ("p/pat", "TierChanged", tier("High", "Low")),
            ("p/pat", "TierChanged", tier("Low", "High")),
        ],
    )
    .await;
    assert_eq!(called_for(connection, mails).await, []);
}

#[tokio::test]
async fn what_a_command_takes_back_or_makes_available_calls_for_one_mail_for_each_person() {
    let database = TestDatabase::new().await;
    let (mut connection, mails, mut log) = begin(&database).await;
    let connection = &mut connection;
    // What was granted in the same command is not told as taken back, and what was given back or only moved neither.
    let moved = |amount: i64, from: &str| {
        let posting = json!({ "amount": amount, "from": from });
        json!({ "reward_sequence": 1, "posting": posting })
    };
    let reversed = |amount: i64| json!({ "reward_sequence": 1, "posting": { "amount": amount } });
    log.command(
        "job:make_up",
        &[
            ("p/pat", "RewardGranted", json!({ "source_user_id": "ref/1" })),
            ("p/pat", "RewardReversed", reversed(-5)),
            ("p/ada", "RewardReversed", reversed(5)),
            ("p/top", "RewardMoved", moved(5, "pending")),
        ],
    )
    .await;
    assert_eq!(called_for(connection, mails).await, []);
    // One mail for a person and command, whatever it takes; of a release what becomes available.
    for cause in ["PurchaseRefunded", "DisputeClosed", "PurchaseReferralRejected"] {
        log.command(
            "RefundPurchase",
            &[
                ("p1", cause, json!({ "outcome": "lost" })),
                ("p/ada", "RewardReversed", reversed(-5)),
                ("p/ada", "RewardReversed", reversed(-7)),
                ("p/ada", "RewardMoved", moved(1, "pending")),
                ("p/top", "RewardReversed", reversed(-1)),
            ],
        )
        .await;
        assert_eq!(
            called_for(connection, mails).await,
            [mail("reversal", "ada"), mail("reversal", "top")],
            "{cause}"
        );
    }
    for cause in
        ["HoldPeriodEnded", "PurchaseRewardReleased", "DisputeClosed", "ReferralRewardsChanged"]
    {
        log.command(
            "job:releases",
            &[
                ("p1", cause, json!({ "outcome": "won" })),
                ("p/ada", "RewardMoved", moved(5, "pending")),
                ("p/ada", "RewardMoved", moved(5, "pending")),
                ("p/top", "RewardMoved", moved(5, "available")),
                ("p/pat", "RewardMoved", moved(0, "pending")),
            ],
        )
        .await;
        assert_eq!(called_for(connection, mails).await, [mail("release", "ada")], "{cause}");
    }
    let reasons = "select payload ->> 'reason' from jobs order by id";
    let reasons: Vec<String> = sqlx::query_scalar(reasons).fetch_all(&database.pool).await.unwrap();
    let expected = [["refund"; 2], ["dispute"; 2], ["decision"; 2]].concat();
    let expected = [expected, vec!["hold_period", "operator", "dispute", "hold_period"]].concat();
    assert_eq!(reasons, expected);
    assert_eq!(database.count("select count(distinct dedupe_key) from jobs").await, 10);
    // From now on the program sends none.
    log.command("PublishProgram", &[("p", "ProgramPublished", rules(false))]).await;
    log.command("RefundPurchase", &[("p/ada", "RewardReversed", reversed(-5))]).await;
    assert_eq!(called_for(connection, mails).await, []);
}
