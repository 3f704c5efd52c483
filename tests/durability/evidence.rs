//! What fraud checks compare with, and what they found: written with the events that it belongs to, exact across
//! servers, and gone with the user.

use domain::decide::{Command, RegisterUser};
use domain::fraud::Mailbox;
use domain::{
    Claim, ClaimKind, FraudEvidence, FraudNote, LatestReferee, ParticipantId, Personal, Profile,
    ProfileChange, ProgramId, SideRow, Timestamp, UserId,
};
use serde_json::json;
use sqlx::Row;
use tokio_util::sync::CancellationToken;
use tributary::engine::{Engine, Environment, Limits, Submission};
use tributary::metrics::Metrics;
use tributary::store::append::{ClaimStep, Entry};
use tributary::store::{Actor, Batch, Database, Door, Verdict, epoch, evidence};
use tributary::traces::Traces;

use crate::claims::{Writer, event};
use testing::{TestDatabase, at_once};

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn email(value: &str, owner: &str) -> Claim {
    Claim { kind: ClaimKind::Email, value: value.into(), owner: owner.into() }
}

fn ana() -> ParticipantId {
    ParticipantId::new(&ProgramId::parse("p").unwrap(), &user("ana"))
}

/// Appends one event with steps on claims and rows; the event's stream must be as long as `version` says.
async fn write(
    writer: &mut Writer,
    (stream, version): (&str, i64),
    claims: Vec<ClaimStep>,
    rows: Vec<SideRow>,
) -> Verdict {
    let mut batch = Batch::default();
    let event = event(stream, version + 1);
    let place = batch.add_stream(&event.stream, version, false);
    let (reads, events) = (vec![place], vec![event]);
    batch.add(Entry { reads, events, claims, rows, ..Entry::default() });
    writer.append(&batch).await.verdicts[0]
}

fn referral(name: &str, refer_time: i64) -> SideRow {
    let referee = ParticipantId::new(&ana().program_id, &user(name));
    SideRow::Referral { referee, referrer: user("ana"), refer_time: Timestamp(refer_time) }
}

async fn sign_up(writer: &mut Writer, name: &str, refer_time: i64) {
    let claims = vec![ClaimStep::Take(email(&format!("{name}@e.org"), name))];
    let rows = vec![referral(name, refer_time)];
    assert_eq!(write(writer, (name, 0), claims, rows).await, Verdict::Appended);
}

/// Whom `ana` referred last, with their addresses.
async fn latest(writer: &mut Writer) -> Vec<(String, Option<String>)> {
    let known = evidence::latest_referees(&mut writer.connection, &[ana()]).await.unwrap();
    let latest = known.into_iter().flat_map(|known| known.latest);
    let text = |of: &LatestReferee| of.address.as_ref().map(|address| address.0.clone());
    latest.map(|of| (of.user_id.to_string(), text(&of))).collect()
}

fn found(name: &str, address: Option<&str>) -> (String, Option<String>) {
    (name.into(), address.map(Into::into))
}

#[tokio::test]
async fn the_latest_referees_have_their_present_addresses_until_they_are_erased() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    sign_up(&mut writer, "bob", 1_000_000).await;
    sign_up(&mut writer, "cem", 2_000_000).await;
    let both = [found("cem", Some("cem@e.org")), found("bob", Some("bob@e.org"))];
    assert_eq!(latest(&mut writer).await, both);

    let change = SideRow::ProfileChange(ProfileChange {
        user_id: user("bob"),
        username: None,
        display_name: None,
        email: Some(Personal("New@e.org".into())),
    });
    let claims = vec![
        ClaimStep::Take(email("new@e.org", "bob")),
        ClaimStep::Release(email("bob@e.org", "bob")),
    ];
    write(&mut writer, ("bob", 1), claims, vec![change]).await;
    assert_eq!(latest(&mut writer).await[1], found("bob", Some("new@e.org")));
    let known = evidence::addresses(&mut writer.connection, &[user("bob"), user("nobody")]).await;
    let known: Vec<_> = known.unwrap().into_iter().map(|of| (of.version, of.address)).collect();
    assert_eq!(known, [(2, Some(Personal("new@e.org".into()))), (0, None)]);

    write(&mut writer, ("bob", 2), vec![], vec![SideRow::Erasure(user("bob"))]).await;
    assert_eq!(latest(&mut writer).await[1], found("bob", None));
    // The row of a sign-up that does not land is not written.
    let moved = write(&mut writer, ("cem", 0), vec![], vec![referral("dan", 3_000_000)]).await;
    assert_eq!(moved, Verdict::Conflict);
    assert_eq!(latest(&mut writer).await.len(), 2);
}

#[tokio::test]
async fn the_latest_hundred_of_many_referees_are_read_from_the_index_whatever_the_planner_knows() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    // The plan of the session is made while the table is empty, and the table is never analyzed.
    assert_eq!(latest(&mut writer).await, []);
    let many = "insert into referee_addresses
        select 'p', case when n % 2 = 0 then 'ana' else 'user-' || n % 100 end,
            to_timestamp(n), 'r-' || n, 'r-' || n || '@e.org'
        from generate_series(1, 40000) as n";
    sqlx::query("alter table referee_addresses set (autovacuum_enabled = off)")
        .execute(&database.pool)
        .await
        .unwrap();
    sqlx::query(many).execute(&database.pool).await.unwrap();
    let read = "select idx_tup_read from pg_stat_user_indexes where indexrelname = 'referee_addresses_pkey'";
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut writer.connection).await.unwrap();
    let before = database.count(read).await;
    let latest = latest(&mut writer).await;
    assert_eq!(latest.len(), domain::fraud::LATEST_REFEREES);
    assert_eq!(latest[0], found("r-40000", Some("r-40000@e.org")));
    assert_eq!(latest[99], found("r-39802", Some("r-39802@e.org")));
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut writer.connection).await.unwrap();
    let after = database.count(read).await;
    assert!((100..200).contains(&(after - before)), "{before} {after}");
}

#[tokio::test]
async fn a_simulation_counts_no_more_sign_ups_of_one_address_than_are_too_many() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    // All sign up from one address within minutes, and are enrolled; every hundredth is referred.
    for fill in [
        "create temporary table participants as
            select 'p' as program_id, 'u-' || n as user_id, to_timestamp(n / 100.0) as enroll_time,
                n::bigint as enrolled_position, n::bigint as referral_position
            from generate_series(1, 20000) as n",
        "create index on participants (program_id, user_id)",
        "insert into sign_up_clients (user_id, network, sign_up_time)
            select user_id, '192.0.2.1', enroll_time from participants",
        "select pg_stat_force_next_flush()",
    ] {
        sqlx::query(fill).execute(&mut writer.connection).await.unwrap();
    }
    let read = "select idx_tup_read from pg_stat_user_indexes
        where indexrelname = 'sign_up_clients_of_network'";
    let before = database.count(read).await;
    let statement = include_str!("../../src/read/queries/past_signals.sql")
        .replace("{position}", "0")
        .replace("{participants}", "participants")
        .replace(
            "{users}",
            "(select user_id, enrolled_position as registered_position from participants)",
        );
    let asked = "select array_agg(user_id), array_agg('ana'::text), array_agg(enroll_time)
        from participants where enrolled_position % 100 = 0";
    let (users, referrers, times): (Vec<String>, Vec<String>, Vec<time::OffsetDateTime>) =
        sqlx::query_as(asked).fetch_one(&mut writer.connection).await.unwrap();
    let rows = sqlx::query(&statement)
        .bind("p")
        .bind(users)
        .bind(referrers)
        .bind(times)
        .bind(24_f64)
        .bind(100_i64)
        .bind(5_i64)
        .fetch_all(&mut writer.connection)
        .await
        .unwrap();
    let counts = rows.iter().map(|row| row.get::<Option<i64>, _>("sign_ups_before"));
    assert_eq!(counts.collect::<Vec<_>>(), vec![Some(5); 200]);
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut writer.connection).await.unwrap();
    let after = database.count(read).await;
    assert!(after - before < 200 * 20, "{before} {after}");
}

fn evidence_row(flag_id: &str, user_id: Option<&str>, other: &str, time: i64) -> SideRow {
    SideRow::FraudEvidence(Box::new(FraudEvidence {
        flag_id: flag_id.into(),
        user_id: user_id.map(user),
        other_user_id: Some(user(other)),
        address: Some(Personal("bob@e.org".into())),
        other_address: Some(Personal("b0b@e.org".into())),
        client_ip: "192.0.2.1".parse().ok(),
        fingerprint_key: Some("f".into()),
        findings: json!([{ "kind": "look_alike" }]),
        sign_up_count: Some(2),
        found_time: Timestamp(time),
    }))
}

fn note(flag_id: &str, number: u32, name: &str, other: &str) -> SideRow {
    SideRow::FraudNote(Box::new(FraudNote {
        flag_id: flag_id.into(),
        number,
        user_id: Some(user(name)),
        referrer_user_id: None,
        other_user_id: Some(user(other)),
        note: Personal("brothers".into()),
        note_time: Timestamp(number.into()),
    }))
}

#[tokio::test]
async fn evidence_is_written_with_its_event_or_not_at_all_and_counts_its_repetitions() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    let rows = || vec![evidence_row("f1", Some("bob"), "ana", 5)];
    // The append is one statement in one transaction: whatever ends it, event and row share their fate.
    sqlx::query("begin").execute(&mut writer.connection).await.unwrap();
    assert_eq!(write(&mut writer, ("bob", 0), vec![], rows()).await, Verdict::Appended);
    sqlx::query("rollback").execute(&mut writer.connection).await.unwrap();
    let counts = "select (select count(*) from events) * 10 + count(*) from fraud_evidence";
    assert_eq!(database.count(counts).await, 0);
    assert_eq!(write(&mut writer, ("bob", 0), vec![], rows()).await, Verdict::Appended);
    assert_eq!(database.count(counts).await, 11);
    // A command whose decision is outdated writes neither.
    let outdated = vec![evidence_row("f2", Some("bob"), "ana", 6)];
    assert_eq!(write(&mut writer, ("bob", 0), vec![], outdated).await, Verdict::Conflict);
    assert_eq!(database.count(counts).await, 11);

    let again = vec![evidence_row("f1", Some("bob"), "ana", 9), evidence_row("f1", None, "x", 8)];
    write(&mut writer, ("bob", 1), vec![], again).await;
    let (repetitions, user_id, span): (i32, Option<String>, i64) = sqlx::query_as(
        "select repetitions, user_id,
            (extract(epoch from last_found_time - found_time) * 1000000)::bigint from fraud_evidence",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap();
    assert_eq!((repetitions, user_id.as_deref(), span), (2, Some("bob"), 4));
}

#[tokio::test]
async fn evidence_and_notes_go_with_either_user_and_with_their_time() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    let now = i64::try_from(time_us(&database).await).unwrap();
    let day = 24 * 60 * 60 * Timestamp::PER_SECOND;
    let rows = vec![
        evidence_row("f1", Some("bob"), "ana", now),
        evidence_row("f2", Some("ana"), "cem", now),
        evidence_row("f3", Some("cem"), "bob", now),
        evidence_row("f4", None, "dan", now - 401 * day),
        note("f1", 1, "bob", "ana"),
        note("f2", 1, "ana", "cem"),
        note("f3", 1, "cem", "bob"),
    ];
    write(&mut writer, ("bob", 0), vec![], rows).await;
    write(&mut writer, ("bob", 1), vec![], vec![SideRow::Erasure(user("bob"))]).await;
    let left: Vec<String> = sqlx::query_scalar(
        "select flag_id from fraud_evidence union all select 'note of ' || flag_id from fraud_notes order by 1",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    // The notes are of 1970.
    assert_eq!(left, ["f2", "f4", "note of f2"]);
    sqlx::query(
        "insert into referee_addresses values ('p', 'ana', to_timestamp(0), 'bob', 'bob@e.org')",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let age = tributary::jobs::days(400);
    while evidence::delete_old(&database.pool, age, 1).await.unwrap() > 0 {}
    let left =
        "select (select count(*) from fraud_notes) + (select count(*) from referee_addresses)";
    assert_eq!(database.count(left).await, 0);
    assert_eq!(database.count("select count(*) from fraud_evidence").await, 1);
}

async fn time_us(database: &TestDatabase) -> u64 {
    let now = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
    database.count(now).await.unsigned_abs()
}

fn registration(name: &str, mailbox: &str) -> Command {
    Command::RegisterUser(Box::new(RegisterUser {
        profile: Profile {
            user_id: user(name),
            username: name.into(),
            email: format!("{mailbox}+{name}@example.com"),
            display_name: String::new(),
            password_hash: None,
        },
        address_key: None,
        mailbox: Mailbox::parse(&format!("{mailbox}+{name}@example.com")),
        client_ip: None,
        fingerprint_key: None,
        program_id: None,
        referral_code: None,
        api_key: None,
        is_address_confirmed: false,
    }))
}

/// The engine of a server on the database.
async fn engine(database: &TestDatabase) -> Engine {
    let store = Database::new(&database.url, 2).unwrap();
    let epoch = epoch::enter(&mut store.connect().await.unwrap()).await.unwrap();
    let environment = Environment::of_this_machine().unwrap();
    let (handover, handed_over) = tokio::sync::mpsc::channel(100);
    drop(handed_over);
    let (limits, metrics) = (Limits::default(), Metrics::default());
    let (engine, worker) =
        Engine::new(store, epoch, environment, limits, handover, metrics, Traces::default());
    tokio::spawn(worker.run(CancellationToken::new()));
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn users_with_one_mailbox_sign_up_at_once_on_two_servers_and_one_of_them_is_the_first() {
    let database = TestDatabase::new().await;
    let engines = [engine(&database).await, engine(&database).await];
    let all = (0..20).flat_map(|round| (0..6).map(move |number| (round, number)));
    let calls: Vec<_> = all
        .map(|(round, number)| {
            let engine = engines[number % 2].clone();
            let command = registration(
                &format!("u-{round}-{number}"),
                &format!("m{}", "x".repeat(round + 1)),
            );
            let submission = Submission::new(command, Actor::SYSTEM, Door::job("test"));
            async move { engine.execute(submission).await.map(drop) }
        })
        .collect();
    for answer in at_once(calls).await {
        answer.unwrap();
    }
    assert_eq!(database.count("select count(*) from profiles").await, 120);
    let kept = "select count(*) from claims where kind in ('mailbox', 'look_alike')";
    assert_eq!(database.count(kept).await, 40);
    let rounds = "select count(distinct (kind, split_part(owner, '-', 2))) from claims
        where kind in ('mailbox', 'look_alike')";
    assert_eq!(database.count(rounds).await, 40);
    database.check_log().await;
}

#[tokio::test]
async fn a_decision_that_rests_on_a_first_owner_conflicts_when_the_value_changes_hands() {
    let database = TestDatabase::new().await;
    let mut writer = Writer::new(&database, 1).await;
    let mailbox =
        |owner: &str| Claim { kind: ClaimKind::Mailbox, value: "m".into(), owner: owner.into() };
    write(&mut writer, ("old", 0), vec![ClaimStep::Take(mailbox("old"))], vec![]).await;
    let shares = || vec![ClaimStep::Shared(mailbox("old"))];
    assert_eq!(write(&mut writer, ("new", 0), shares(), vec![]).await, Verdict::Appended);
    write(&mut writer, ("old", 1), vec![ClaimStep::Release(mailbox("old"))], vec![]).await;
    assert_eq!(write(&mut writer, ("new", 1), shares(), vec![]).await, Verdict::Conflict);
    // Whoever comes next is the first.
    let take = vec![ClaimStep::Take(mailbox("next"))];
    assert_eq!(write(&mut writer, ("next", 0), take, vec![]).await, Verdict::Appended);
}
