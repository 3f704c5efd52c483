//! What is there that this release did not write: events of types that only a newer one knows, and snapshots
//! that cannot be read. And streams that are longer than any that tests make by calls.

use contract::pb::*;
use domain::{
    AnyAggregate, Bucket, Buckets, EntryKind, Kind, Participant, ParticipantId, Posting, Purchase,
    StreamKey,
};
use sqlx::{Connection, PgConnection};
use tributary::store::append::{Entry, append};
use tributary::store::{Batch, RecordedEvent, Verdict, load};
use uuid::Uuid;

use crate::expected::caught_up;
use crate::log::envelope;
use testing::{Client, Server, TestDatabase, check_books};

const PROGRAM: &str = "multi-level-commission";

/// Ada referred bob, who has bought something so often: 5,000 for her each time.
async fn begin(client: &Client, purchases: i64) {
    client.publish_shipped(PROGRAM).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    for number in 0..purchases {
        client.buy(&format!("order-{number}"), "bob", "INR", 100_000).await.unwrap();
    }
}

fn stream(kind: Kind, id: &str) -> StreamKey {
    StreamKey { kind, id: id.into() }
}

fn ada() -> StreamKey {
    stream(Kind::Participant, &format!("{PROGRAM}/ada"))
}

async fn load(database: &TestDatabase, key: StreamKey) -> load::Loaded {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    load::streams(&mut connection, &[key]).await.unwrap().remove(0)
}

fn participant(loaded: &load::Loaded) -> &Participant {
    let AnyAggregate::Participant(participant) = &loaded.state else { panic!("{loaded:?}") };
    participant
}

fn purchase(loaded: &load::Loaded) -> &Purchase {
    let AnyAggregate::Purchase(purchase) = &loaded.state else { panic!("{loaded:?}") };
    purchase
}

/// Appends events to the stream of ada as a server of a newer release would.
async fn append_newer(database: &TestDatabase, version: i64, events: &[(&str, Posting)]) {
    let mut batch = Batch::default();
    let reads = vec![batch.add_stream(&ada(), version, false)];
    let count = i64::try_from(events.len()).unwrap();
    let event = |(number, (event_type, posting)): (i64, &(&str, Posting))| RecordedEvent {
        position: 0,
        recorded_at: domain::Timestamp::default(),
        stream: ada(),
        sequence: version + number,
        event_type: (*event_type).into(),
        event_version: "1.0.0".into(),
        payload: serde_json::json!({ "type": event_type, "cause": "x", "posting": posting })
            .to_string()
            .into(),
        command_events: (number == 1).then_some(count),
        envelope: (number == 1).then(|| envelope(None)),
    };
    let events = (1..).zip(events).map(event).collect();
    batch.add(Entry { reads, events, ..Entry::default() });
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let appended = append(&mut connection, Uuid::from_u128(1), version, &batch).await.unwrap();
    assert_eq!(appended.verdicts, [Verdict::Appended]);
}

fn minor(money: Option<&Money>) -> i64 {
    let money = money.unwrap();
    assert_eq!(money.currency_code, "INR");
    money.minor_units
}

/// What every read says after it: the balance, the entries with the newest first, the score, and how many
/// rewards of how much there were in the program.
async fn check_reads(client: &Client) {
    let (program_id, user_id) = (PROGRAM.to_owned(), "ada".to_owned());
    let request = GetBalancesRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(request)).await.unwrap();
    assert_eq!(minor(answer.into_inner().balances.first()), 5_500);

    let request = ListBalanceEntriesRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        ..Default::default()
    };
    let answer = client.rewards().list_balance_entries(client.request(request)).await.unwrap();
    let entries = answer.into_inner().entries;
    let figures = |entry: &BalanceEntry| {
        (minor(entry.amount.as_ref()), minor(entry.balance.as_ref()), entry.reward.is_some())
    };
    let figures: Vec<_> = entries.iter().map(figures).collect();
    let expected =
        [(1_000, 5_500, false), (-200, 5_500, false), (700, 5_700, false), (5_000, 5_000, true)];
    assert_eq!(figures, expected);
    assert_eq!(entries[1].kind(), contract::pb::EntryKind::Reversal);

    // The same as of a moment: that of the last entry.
    let request = GetBalancesRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        as_of_time: entries[0].create_time,
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(request)).await.unwrap();
    assert_eq!(minor(answer.into_inner().balances.first()), 5_500);

    let request = ListRewardsRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        ..Default::default()
    };
    let answer = client.rewards().list_rewards(client.request(request)).await.unwrap();
    assert_eq!(answer.into_inner().rewards.len(), 1, "of another type no more is known");

    let request = GetLeaderboardRequest {
        program_id: program_id.clone(),
        metric: LeaderboardMetric::Earnings.into(),
        ..Default::default()
    };
    let answer = client.leaderboards().get_leaderboard(client.request(request)).await.unwrap();
    let scores = answer.into_inner().entries;
    assert_eq!((scores[0].user_id.as_str(), scores[0].score), ("ada", 5_500));

    let request = GetOverviewRequest { program_id, ..Default::default() };
    let answer = client.operators().get_overview(client.request(request)).await.unwrap();
    let overview = answer.into_inner();
    assert_eq!((overview.reward_count, minor(overview.rewards_granted.first())), (2, 5_700));
}

#[tokio::test]
async fn money_that_a_newer_release_moved_is_everywhere_though_nobody_knows_the_types_of_the_events()
 {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    begin(&client, 1).await;
    let before = client.watch_balances(PROGRAM, "ada", "").await.unwrap();
    assert_eq!(minor(before.first.balances.first()), 5_000);
    let token = before.first.resume_token;
    // A leaderboard that is there before is kept up by the live tail.
    let board = GetLeaderboardRequest { program_id: PROGRAM.into(), ..Default::default() };
    client.leaderboards().get_leaderboard(client.request(board)).await.unwrap();

    let loaded = load(&database, ada()).await;
    let buckets: &Buckets = participant(&loaded).buckets();
    let held = buckets.post(EntryKind::Bonus, 700, Bucket::Pending, "INR").unwrap();
    let reversed = held.after.post(EntryKind::Reversal, -200, Bucket::Available, "INR").unwrap();
    let reserved =
        reversed.after.transfer(1_000, Bucket::Available, Bucket::Reserved, "INR").unwrap();
    let events = [("BonusHeld", held), ("BonusReversed", reversed), ("BonusSetAside", reserved)];
    append_newer(&database, loaded.version, &events).await;

    let resumed = client.watch_balances(PROGRAM, "ada", &token).await.unwrap();
    for mut stream in [before.rest, resumed.rest] {
        for expected in [(700, 5_700), (-200, 5_500), (0, 5_500)] {
            let message = stream.news().await;
            let change = minor(message.change.as_ref());
            assert_eq!((change, minor(message.balances.first())), expected);
        }
    }
    let anew = client.watch_balances(PROGRAM, "ada", "").await.unwrap();
    assert_eq!(minor(anew.first.balances.first()), 5_500);
    drop(anew);

    caught_up(&database).await;
    check_reads(&client).await;
    server.stop().await;
    // The same in a server that has nothing in memory.
    let server = Server::start(&database).await;
    check_reads(&server.client()).await;
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}

async fn last_sequence(database: &TestDatabase) -> i64 {
    let of_ada = format!("select max(sequence) from events where aggregate_id = '{}'", ada().id);
    database.count(&of_ada).await
}

/// What is owed to participants by its parts, and what they owe.
async fn liability(client: &Client) -> [i64; 4] {
    let request = GetOverviewRequest { program_id: PROGRAM.into(), ..Default::default() };
    let answer = client.operators().get_overview(client.request(request)).await.unwrap();
    let of = answer.into_inner().liability.unwrap();
    [of.pending_minor_units, of.available_minor_units, of.reserved_minor_units, of.debt_minor_units]
        .map(|of| of.parse().unwrap())
}

#[tokio::test]
async fn debts_are_told_apart_from_what_is_owed_and_offset_by_what_comes_later() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    begin(&client, 1).await;
    let bob = client.user("bob").await.unwrap().participants[0].code.clone();
    client.sign_up(PROGRAM, "cid", &bob).await.unwrap();
    let cid = client.user("cid").await.unwrap().participants[0].code.clone();
    client.sign_up(PROGRAM, "dan", &cid).await.unwrap();
    client.buy("of-dan", "dan", "INR", 100_000).await.unwrap();
    caught_up(&database).await;
    // Ada and cid have 5,000 each, bob 1,000 of the second level. The two are owed that whatever ada owes.
    assert_eq!(liability(&client).await, [0, 11_000, 0, 0]);

    let mut buckets = Buckets { available: 5_000, earned: 5_000, ..Buckets::default() };
    for (step, expected) in [
        (("Corrected", EntryKind::Adjustment, -12_000), [0, 6_000, 0, 7_000]),
        (("BonusPaid", EntryKind::Bonus, 3_000), [0, 6_000, 0, 4_000]),
        (("BonusWaits", EntryKind::Transfer, 1_000), [1_000, 6_000, 0, 5_000]),
        (("BonusPaid", EntryKind::Bonus, 9_000), [1_000, 10_000, 0, 0]),
        (("BonusLost", EntryKind::Expiry, -5_000), [1_000, 6_000, 0, 1_000]),
        (("BonusPaid", EntryKind::Bonus, 1_000), [1_000, 6_000, 0, 0]),
    ] {
        let (event_type, kind, amount) = step;
        let posting = match kind {
            EntryKind::Transfer => {
                buckets.transfer(amount, Bucket::Available, Bucket::Pending, "INR").unwrap()
            }
            _ => buckets.post(kind, amount, Bucket::Available, "INR").unwrap(),
        };
        buckets = posting.after;
        let version = last_sequence(&database).await;
        append_newer(&database, version, &[(event_type, posting)]).await;
        caught_up(&database).await;
        assert_eq!(liability(&client).await, expected, "{step:?}");
    }

    let request = GetEarningsSeriesRequest {
        program_id: PROGRAM.into(),
        user_id: "ada".into(),
        ..Default::default()
    };
    let answer = client.rewards().get_earnings_series(client.request(request)).await.unwrap();
    let series = answer.into_inner();
    // What a newer release granted without a level has a line of its own.
    let lines: Vec<_> =
        series.lines.iter().map(|of| (of.level, minor(of.total.as_ref()))).collect();
    assert_eq!(lines, [(Some(1), 5_000), (Some(2), 0), (None, 13_000)]);
    assert_eq!(minor(series.total.as_ref()), 18_000);
    server.stop().await;
    // The whole log folded in one run comes to the same.
    database.check().await;
}

/// Appends an event to the stream of ada that a newer release knows and that moves no money.
async fn append_unknown(database: &TestDatabase, event_type: &str) {
    let version = last_sequence(database).await;
    let mut batch = Batch::default();
    let reads = vec![batch.add_stream(&ada(), version, false)];
    let event = RecordedEvent {
        position: 0,
        recorded_at: domain::Timestamp::default(),
        stream: ada(),
        sequence: version + 1,
        event_type: event_type.into(),
        event_version: "1.0.0".into(),
        payload: serde_json::json!({ "type": event_type, "badge": "gold" }).to_string().into(),
        command_events: Some(1),
        envelope: Some(envelope(None)),
    };
    batch.add(Entry { reads, events: vec![event], ..Entry::default() });
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let number = version;
    let appended = append(&mut connection, Uuid::from_u128(2), number, &batch).await.unwrap();
    assert_eq!(appended.verdicts, [Verdict::Appended]);
}

#[tokio::test]
async fn an_event_that_only_a_newer_release_knows_ends_no_stream_and_no_read_of_its_participant() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    begin(&client, 1).await;
    let board = || GetLeaderboardRequest { program_id: PROGRAM.into(), ..Default::default() };
    client.leaderboards().get_leaderboard(client.request(board())).await.unwrap();
    let mut all = client.watch_participant(PROGRAM, "ada", "").await.unwrap().rest;
    let mut earnings = client.watch_earnings(PROGRAM, "ada", "").await.unwrap().rest;
    let mut balances = client.watch_balances(PROGRAM, "ada", "").await.unwrap().rest;
    let token = all.token.clone();
    append_unknown(&database, "BadgeAwarded").await;

    // The streams that are open go on: with the next event that is known.
    let loaded_before =
        database.count("select max(sequence) from events where aggregate_id like '%/ada'").await;
    let bonus = Buckets { available: 5_000, earned: 5_000, ..Buckets::default() };
    let bonus = bonus.post(EntryKind::Bonus, 700, Bucket::Available, "INR").unwrap();
    append_newer(&database, loaded_before, &[("BonusPaid", bonus)]).await;
    assert_eq!(minor(balances.news().await.balances.first()), 5_700);
    assert!(all.news().await.change.is_some());
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(300), earnings.news()).await.is_err()
    );
    // Those that begin or go on afterwards do, too.
    let anew = client.watch_participant(PROGRAM, "ada", "").await.unwrap();
    let Some(watch_participant_response::Change::Present(state)) = anew.first.change else {
        panic!("{:?}", anew.first)
    };
    assert_eq!(minor(state.balances.first()), 5_700);
    client.watch_participant(PROGRAM, "ada", &token).await.unwrap().rest.news().await;
    caught_up(&database).await;
    client.leaderboards().get_leaderboard(client.request(board())).await.unwrap();
    let now = database.count("select ceil(extract(epoch from clock_timestamp()))::bigint").await;
    let request = GetBalancesRequest {
        program_id: PROGRAM.into(),
        user_id: "ada".into(),
        as_of_time: Some(prost_types::Timestamp { seconds: now, nanos: 0 }),
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(request)).await.unwrap();
    assert_eq!(minor(answer.into_inner().balances.first()), 5_700);

    // A command whose decision needs the participant is refused: nobody here knows what the event means.
    client.buy("order-later", "bob", "INR", 100_000).await.unwrap_err();
    // Others are carried out.
    client.sign_up(PROGRAM, "cleo", "").await.unwrap();
    client.buy("order-of-cleo", "cleo", "INR", 100_000).await.unwrap();
    server.stop().await;
}

/// Puts a snapshot in the place of any that there is.
async fn put_snapshot(database: &TestDatabase, key: &StreamKey, state_version: i32, state: &str) {
    sqlx::query(
        "insert into snapshots values ($1, $2, $3, 1, $4, $5::jsonb)
         on conflict (aggregate_type, aggregate_id) do update set
             last_sequence = $3, state_version = $4, payload = $5::jsonb",
    )
    .bind(key.kind.as_str())
    .bind(&*key.id)
    .bind(1_i64)
    .bind(state_version)
    .bind(state)
    .execute(&database.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn snapshots_that_cannot_be_read_are_ignored_and_streams_loaded_anew() {
    let database = TestDatabase::new().await;
    let mut server = Server::start(&database).await;
    begin(&server.client(), 2).await;
    let bought = stream(Kind::Purchase, "order-0");
    let good = [load(&database, ada()).await, load(&database, bought.clone()).await];
    assert_eq!(participant(&good[0]).level(1).total_minor, 10_000);
    let outcomes = purchase(&good[1]).outcomes();
    assert!(outcomes[0].converted, "{outcomes:?}");
    let reward = &outcomes[0].rewards[0];
    let told = (reward.earner_user_id.as_str(), reward.level, reward.amount_minor);
    assert_eq!((outcomes.len(), told), (1, ("ada", 1, 5_000)));
    let sequence = database
        .count(
            "select min(sequence) from events
             where event_type = 'RewardGranted' and payload ->> 'purchase_id' = 'order-0'",
        )
        .await;
    assert_eq!(reward.sequence, sequence);

    // A snapshot of another version may well be one that could be read, and say something wrong.
    let wrong = AnyAggregate::empty(Kind::Participant).to_json().unwrap();
    let version = Kind::Participant.state_version();
    let snapshots = [
        (version, r#"{"code": 5}"#),
        (version, r#""\u00ff\u0001""#),
        (version, "[]"),
        (version, "{}"),
        (version + 1, wrong.as_str()),
        (0, wrong.as_str()),
    ];
    for (number, (state_version, state)) in (3..).zip(snapshots) {
        server.stop().await;
        put_snapshot(&database, &ada(), state_version, state).await;
        put_snapshot(&database, &bought, state_version, state).await;
        let loaded = load(&database, ada()).await;
        let before = (number - 1) * 5_000;
        assert_eq!(participant(&loaded).level(1).total_minor, before, "{state_version} {state}");
        assert_eq!(participant(&loaded).code(), participant(&good[0]).code());
        assert_eq!(purchase(&load(&database, bought.clone()).await), purchase(&good[1]));
        server = Server::start(&database).await;
        let client = server.client();
        client.buy(&format!("later-{number}"), "bob", "INR", 100_000).await.unwrap();
        let again = client.buy("order-0", "bob", "INR", 100_000).await.unwrap();
        assert_eq!(again.outcomes[0].rewards.len(), 1, "the answer of the first time");
    }
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test]
async fn a_command_that_needs_a_stream_of_ten_thousand_events_is_answered() {
    const EVENTS: i64 = 10_000;
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    begin(&server.client(), 1).await;
    server.stop().await;
    sqlx::query(
        "insert into events
         select log.head + n, stream.last + n, log.recorded_at, 'Participant', $1, 'TierChanged',
             '1.0.0',
             jsonb_build_object(
                 'type', 'TierChanged', 'from_tier', 'tier ' || n - 1, 'to_tier', 'tier ' || n),
             jsonb_build_object('command_events', 1, 'actor', 'system', 'door', 'import')
         from (select max(position) as head, max(recorded_at) as recorded_at from events) as log,
             (select max(sequence) as last from events where aggregate_id = $1) as stream,
             generate_series(1, $2) as n",
    )
    .bind(&*ada().id)
    .bind(EVENTS)
    .execute(&database.pool)
    .await
    .unwrap();
    assert_eq!(database.count("select count(*) from snapshots").await, 0);
    let loaded = load(&database, ada()).await;
    assert!(loaded.version > EVENTS);
    assert_eq!(participant(&loaded).tier(), Some("tier 10000"));

    // Decided in one task, in one batch, on what was loaded.
    let server = Server::start(&database).await;
    let client = server.client();
    let bought = client.buy("order-last", "bob", "INR", 100_000).await.unwrap();
    assert_eq!(minor(bought.outcomes[0].rewards[0].amount.as_ref()), 5_000);
    let id = ParticipantId::parse(&ada().id).unwrap();
    let buckets = *participant(&load(&database, StreamKey::of::<Participant>(&id)).await).buckets();
    assert_eq!((buckets.available, buckets.earned), (10_000, 10_000));
    server.stop().await;
    check_books(&database).await;
    database.check_whatever_the_rules().await;
}
