//! `tributary verify` reckons every reward anew: an honest log has no deviation, and a log that somebody changed,
//! however consistently, is named where it was changed.

use std::process::{Output, Stdio};

use sqlx::Executor;

use super::history::{begin, work_for};
use testing::{Server, TestDatabase, tributary};

const WORKERS: usize = 8;

async fn verify(database: &TestDatabase) -> (Output, String) {
    let output = tributary()
        .arg("verify")
        .env("DATABASE_URL", &database.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .await
        .unwrap();
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let text = texts.join("");
    (output, text)
}

/// A log of all five programs, by as many commands per worker.
async fn honest_log(steps: usize) -> TestDatabase {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let workers = begin(&server.client(), WORKERS).await;
    work_for(&server, workers, steps).await;
    // Whatever the workers did: ten referrals of one, and then commissions as the last events of a stream.
    let client = server.client();
    let tia = client.sign_up("tiered-points", "tia", "").await.unwrap();
    for number in 0..10 {
        client.sign_up("tiered-points", &format!("tia-{number}"), &tia.code).await.unwrap();
    }
    let zed = client.sign_up("multi-level-commission", "zed", "").await.unwrap();
    client.sign_up("multi-level-commission", "yan", &zed.code).await.unwrap();
    for minor_units in [100_000, 100_000, 5] {
        client.buy("", "yan", "INR", minor_units).await.unwrap();
    }
    server.stop().await;
    database
}

#[tokio::test]
async fn an_honest_log_of_thousands_of_commands_in_all_programs_has_no_deviation() {
    let database = honest_log(500).await;
    let rewards = "select count(*) from events where event_type = 'RewardGranted'";
    let rewards = database.count(rewards).await;
    assert!(rewards > 500, "{rewards}");
    let (output, text) = verify(&database).await;
    assert!(output.status.success(), "{text}");
    let verdict = format!("{rewards} rewards reckoned anew: everything is as it should be");
    assert!(text.contains(&verdict), "{text}");
}

/// An event that is to be changed.
#[derive(sqlx::FromRow)]
struct Chosen {
    position: i64,
    stream: String,
    amount: Option<i64>,
}

/// The last event of a kind.
async fn last(database: &TestDatabase, condition: &str) -> Chosen {
    let query = format!(
        "select position, aggregate_id as stream, (payload -> 'posting' ->> 'amount')::bigint as amount
         from events where {condition} order by position desc limit 1"
    );
    sqlx::query_as(&query).fetch_one(&database.pool).await.unwrap()
}

/// The last event of a kind that is the last of its stream, so that nothing later adds up with it.
async fn last_of_stream(database: &TestDatabase, condition: &str) -> Chosen {
    let is_last = "sequence = (
        select max(sequence) from events as later
        where later.aggregate_type = events.aggregate_type and later.aggregate_id = events.aggregate_id)";
    last(database, &format!("{condition} and {is_last}")).await
}

async fn change(database: &TestDatabase, sql: &str) {
    database.pool.execute(sql).await.unwrap();
}

/// Makes room after a position, or closes the hole that an event left.
async fn shift(database: &TestDatabase, after: i64, by: i64) {
    // In two steps: no two events may have one position, not even for a moment.
    change(database, &format!("update events set position = -position where position > {after}"))
        .await;
    change(database, &format!("update events set position = {by} - position where position < 0"))
        .await;
}

/// Changes the number of events that a command says it has.
async fn resize_command(database: &TestDatabase, position: i64, by: i64) {
    let sql = format!(
        "update events set metadata = jsonb_set(metadata, '{{command_events}}',
             to_jsonb((metadata ->> 'command_events')::bigint + {by}))
         where position = (select max(position) from events
             where position <= {position} and metadata ? 'command_events')"
    );
    change(database, &sql).await;
}

/// Checks that `verify` fails and says this about this stream at this position.
async fn is_named(database: &TestDatabase, stream: &str, what: &str, position: i64) {
    let (output, text) = verify(database).await;
    assert_eq!(output.status.code(), Some(1), "{text}");
    let at = format!("(at event {position})");
    let is_finding = |line: &&str| line.contains(&format!("'{stream}': ")) && line.ends_with(&at);
    let lines: Vec<&str> = text.lines().filter(is_finding).collect();
    assert!(lines.iter().any(|line| line.contains(what)), "{what} of {stream} {at}\n{text}");
}

#[tokio::test]
async fn a_log_that_was_changed_consistently_is_named_where_it_was_changed() {
    let honest = honest_log(100).await;
    let reward = "event_type = 'RewardGranted' and payload -> 'posting' ->> 'kind' <> 'points'";

    // A reward is one more, and every total beside it agrees.
    let database = honest.copy().await;
    let Chosen { position, stream, amount } = last_of_stream(&database, reward).await;
    let amount = amount.unwrap();
    let raised = |path: &str| format!("to_jsonb((payload #>> '{path}')::bigint + 1)");
    let sql = format!(
        "update events set payload = jsonb_set(jsonb_set(jsonb_set(payload,
             '{{posting,amount}}', {}), '{{posting,after,available}}', {}), '{{posting,after,earned}}', {})
             || case when payload ? 'level_total_minor' then jsonb_build_object('level_total_minor',
                 (payload ->> 'level_total_minor')::bigint + 1) else '{{}}' end
         where position = {position}",
        raised("{posting,amount}"),
        raised("{posting,after,available}"),
        raised("{posting,after,earned}"),
    );
    change(&database, &sql).await;
    let what = format!("amount: expected {amount}, found {}", amount + 1);
    is_named(&database, &stream, &what, position).await;

    // A reward is gone, and nothing is left where it was.
    let database = honest.copy().await;
    let Chosen { position, stream, .. } = last_of_stream(&database, reward).await;
    let end_of_command = database
        .count(&format!(
            "select position + (metadata ->> 'command_events')::bigint - 2 from events
             where position <= {position} and metadata ? 'command_events' order by position desc limit 1"
        ))
        .await;
    resize_command(&database, position, -1).await;
    change(&database, &format!("delete from events where position = {position}")).await;
    shift(&database, position, -1).await;
    // The log stays as long as the read models have seen it.
    let filler = "insert into events
        select (jsonb_populate_record(events, jsonb_build_object(
            'position', (select max(position) + 1 from events), 'aggregate_id', 'filler',
            'metadata', jsonb_set(metadata, '{command_events}', '1')))).*
        from events where event_type = 'UserRegistered' and aggregate_id = 'zed'";
    change(&database, filler).await;
    is_named(&database, &stream, "expected RewardGranted", end_of_command).await;

    // A reward is there twice, and the second one adds up with the first.
    let database = honest.copy().await;
    let Chosen { position, stream, amount } = last_of_stream(&database, reward).await;
    let amount = amount.unwrap();
    shift(&database, position, 1).await;
    resize_command(&database, position, 1).await;
    let raised = |path: &str, by: i64| format!("to_jsonb((payload #>> '{path}')::bigint + {by})");
    let sql = format!(
        "insert into events
         select (jsonb_populate_record(events, jsonb_build_object(
             'position', position + 1, 'sequence', sequence + 1, 'payload',
             jsonb_set(jsonb_set(jsonb_set(payload,
                 '{{posting,after,available}}', {}), '{{posting,after,earned}}', {}), '{{level_count}}', {})
             || case when payload ? 'level_total_minor' then jsonb_build_object('level_total_minor',
                 (payload ->> 'level_total_minor')::bigint + {amount}) else '{{}}' end
         ))).* from events where position = {position}",
        raised("{posting,after,available}", amount),
        raised("{posting,after,earned}", amount),
        raised("{level_count}", 1),
    );
    change(&database, &sql).await;
    is_named(&database, &stream, "expected nothing, found RewardGranted", position + 1).await;

    // A tier is another one than the referrals reach.
    let database = honest.copy().await;
    let Chosen { position, stream, .. } = {
        let query = "select position, aggregate_id as stream, null::bigint as amount from events
             where event_type = 'TierChanged' order by position limit 1";
        sqlx::query_as(query).fetch_one(&database.pool).await.unwrap()
    };
    let sql = format!(
        "update events set payload = jsonb_set(payload, '{{to_tier}}', '\"Gold\"') where position = {position}"
    );
    change(&database, &sql).await;
    is_named(&database, &stream, "to tier: expected 'Silver', found 'Gold'", position).await;

    // A reason for which nothing was paid is another.
    let database = honest.copy().await;
    let query = "event_type = 'RewardWithheld' and payload ->> 'reason' = 'below_minimum'";
    let Chosen { position, stream, .. } = last(&database, query).await;
    let sql = format!(
        "update events set payload = jsonb_set(payload, '{{reason}}', '\"not_referred\"') where position = {position}"
    );
    change(&database, &sql).await;
    is_named(&database, &stream, "reason: expected 'BelowMinimum', found 'NotReferred'", position)
        .await;

    // The price of a purchase is another than the one that paid.
    let database = honest.copy().await;
    let query =
        "event_type = 'RewardGranted' and payload ? 'rate_bps' and not payload ? 'computed_minor'";
    let Chosen { position, stream, .. } = last(&database, query).await;
    let sql = format!(
        "update events set payload = jsonb_set(payload, '{{amount_minor}}', '7654321')
         where event_type = 'PurchaseRecorded'
             and aggregate_id = (select payload ->> 'purchase_id' from events where position = {position})"
    );
    change(&database, &sql).await;
    is_named(&database, &stream, "basis: expected 7654321", position).await;
}

#[tokio::test]
async fn a_log_that_has_lost_its_end_is_named_until_its_read_models_are_built_again() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.sign_up("", "ada", "").await.unwrap();
    client.sign_up("", "ben", "").await.unwrap();
    super::expected::caught_up(&database).await;
    server.stop().await;
    let head = database.count("select max(position) from events").await;
    change(&database, &format!("delete from events where position = {head}")).await;

    let expected = format!("the log ends at position {}, but the read model", head - 1);
    let (output, text) = verify(&database).await;
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&expected) && text.contains(&format!("up to {head}")), "{text}");
    let rebuilt = tributary()
        .args(["projections", "rebuild", "users"])
        .env("DATABASE_URL", &database.url)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&rebuilt.stderr);
    assert!(!rebuilt.status.success() && said.contains(&expected), "{said}");

    // A server builds the read models again. What it cannot know is that an event is missing.
    let server = Server::start(&database).await;
    super::expected::caught_up(&database).await;
    server.stop().await;
    let (_, text) = verify(&database).await;
    assert!(!text.contains("the log ends at position"), "{text}");
}
