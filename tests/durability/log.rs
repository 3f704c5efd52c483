//! The log itself: positions, readers, query plans, and compatibility with other tools.

use std::sync::Arc;

use cqrs_es::EventStore;
use cqrs_es::persist::PersistedEventStore;
use domain::{AnyAggregate, Kind, Participant, Purchase, StreamKey, Timestamp, User};
use postgres_es::PostgresEventRepository;
use sqlx::{Connection, PgConnection};
use tributary::store::append::{Entry, LogEnd, Receipt, append};
use tributary::store::{
    Actor, Batch, Door, Envelope, RecordedEvent, StoreError, Verdict, load, log,
};
use uuid::Uuid;

use testing::{Server, ServerOptions, TestDatabase};

fn event(stream: &str, sequence: i64) -> RecordedEvent {
    RecordedEvent {
        position: 0,
        recorded_at: Timestamp::default(),
        stream: StreamKey { kind: Kind::Purchase, id: stream.into() },
        sequence,
        event_type: "Tested".into(),
        event_version: "1.0".into(),
        payload: r#"{"type":"Tested","amount_minor":100130,"currency_code":"INR"}"#.into(),
        command_events: Some(1),
        envelope: Some(envelope(None)),
    }
}

pub fn envelope(request: Option<Uuid>) -> Arc<Envelope> {
    let (actor, door) = (Actor::SYSTEM, Door::job("test"));
    Arc::new(Envelope { actor, door, request })
}

/// A batch of one command that appends one event to a stream at a version.
fn one_event(stream: &str, version: i64) -> Batch {
    let mut batch = Batch::default();
    let event = event(stream, version + 1);
    let place = batch.add_stream(&event.stream, version, false);
    batch.add(Entry { reads: vec![place], events: vec![event], ..Entry::default() });
    batch
}

fn writer(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

#[tokio::test]
async fn no_reader_of_the_log_ever_skips_an_event_while_a_writer_is_held_open() {
    const WRITERS: i64 = 6;
    const APPENDS: i64 = 40;
    let database = TestDatabase::new().await;
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let url = database.url.clone();
        writers.push(tokio::spawn(async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            let stream = format!("stream-{number}");
            for version in 0..APPENDS {
                let id = writer(u128::try_from(number + 1).unwrap());
                let batch = one_event(&stream, version);
                let appended = if version % 3 == 0 {
                    // The transaction is held open between the append and the commit.
                    let mut transaction = connection.begin().await.unwrap();
                    let appended = append(&mut transaction, id, version + 1, &batch).await.unwrap();
                    tokio::task::yield_now().await;
                    sqlx::query("select pg_sleep(0.005)").execute(&mut *transaction).await.unwrap();
                    transaction.commit().await.unwrap();
                    appended
                } else {
                    append(&mut connection, id, version + 1, &batch).await.unwrap()
                };
                assert_eq!(appended.verdicts, [Verdict::Appended]);
            }
        }));
    }
    let mut seen = 0;
    let mut reads = 0;
    while seen < WRITERS * APPENDS {
        for event in log::read_after(&database.pool, seen, 7).await.unwrap() {
            assert_eq!(event.position, seen + 1, "the reader skipped an event");
            seen = event.position;
        }
        reads += 1;
        assert!(reads < 1_000_000, "the log ends at {seen}");
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    database.check_log().await;
}

#[tokio::test]
async fn an_append_in_another_isolation_level_than_read_committed_is_refused() {
    let database = TestDatabase::new().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query("begin isolation level repeatable read").execute(&mut connection).await.unwrap();
    let refused = append(&mut connection, writer(1), 1, &one_event("a", 0)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    drop(connection);
    assert_eq!(database.count("select count(*) from events").await, 0);
}

#[tokio::test]
async fn time_never_runs_backwards_along_the_log_even_if_the_clock_does() {
    let database = TestDatabase::new().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    append(&mut connection, writer(1), 1, &one_event("a", 0)).await.unwrap();
    // As if the clock had been an hour ahead at that time and was corrected since.
    sqlx::query("update events set recorded_at = recorded_at + interval '1 hour'")
        .execute(&mut connection)
        .await
        .unwrap();
    let ahead = log::read_after(&database.pool, 0, 1).await.unwrap().remove(0).recorded_at;

    let appended = append(&mut connection, writer(1), 2, &one_event("b", 0)).await.unwrap();

    assert_eq!(appended.recorded_at, ahead);
    database.check_log().await;
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_answered_as_before_and_appended_once() {
    let database = TestDatabase::new().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let batch = one_event("a", 0);
    let first = append(&mut connection, writer(1), 1, &batch).await.unwrap();
    let again = append(&mut connection, writer(1), 1, &batch).await.unwrap();
    assert_eq!((first.head, first.recorded_at), (again.head, again.recorded_at));
    assert_eq!(first.verdicts, again.verdicts);
    // An older batch that arrives late, from a connection that was presumed dead, must no longer be appended.
    append(&mut connection, writer(1), 3, &one_event("b", 0)).await.unwrap();
    let late = append(&mut connection, writer(1), 2, &one_event("c", 0)).await;
    assert!(matches!(late, Err(StoreError::Refused(_))), "{late:?}");
    assert_eq!(database.count("select count(*) from events").await, 2);
    database.check_log().await;
}

#[tokio::test]
async fn what_a_writer_knows_is_looked_up_again_once_another_has_appended() {
    /// A batch without events that claims to have read `known` at a version.
    fn look(version: i64, is_known: bool, end: LogEnd) -> Batch {
        let mut batch = Batch::default();
        batch.expect_end(end);
        let place = batch.add_stream(&event("known", 1).stream, version, is_known);
        batch.add(Entry { reads: vec![place], ..Entry::default() });
        batch
    }

    let database = TestDatabase::new().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    // In an empty log nothing is known.
    let mut batch = one_event("known", 0);
    batch.expect_end(LogEnd::default());
    let appended = append(&mut connection, writer(1), 1, &batch).await.unwrap();
    assert!(!appended.is_expected);
    let end = LogEnd { position: 1, recorded_at: appended.recorded_at };

    // A wrong version shows whether the stream was looked up.
    let trusted = append(&mut connection, writer(1), 2, &look(7, true, end)).await.unwrap();
    assert!(trusted.is_whole());
    let unknown = append(&mut connection, writer(1), 3, &look(7, false, end)).await.unwrap();
    assert_eq!((unknown.is_expected, unknown.moved), (true, vec![1]));
    // A log of the same length that ends with another event.
    let elsewhere = LogEnd { recorded_at: Timestamp(end.recorded_at.0 - 1), ..end };
    let appended = append(&mut connection, writer(1), 4, &look(7, true, elsewhere)).await.unwrap();
    assert_eq!((appended.is_expected, appended.moved), (false, vec![1]));

    append(&mut connection, writer(2), 1, &one_event("other", 0)).await.unwrap();
    let moved = append(&mut connection, writer(1), 5, &look(7, true, end)).await.unwrap();
    assert_eq!((moved.is_expected, moved.moved), (false, vec![1]));
    assert_eq!(moved.verdicts, [Verdict::Conflict]);
    let right = append(&mut connection, writer(1), 6, &look(1, true, end)).await.unwrap();
    assert_eq!((right.is_expected, right.verdicts), (false, vec![Verdict::Appended]));
    database.check_log().await;
}

#[tokio::test]
async fn a_command_falls_with_the_earlier_one_that_it_builds_on_and_leaves_no_hole() {
    let database = TestDatabase::new().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    append(&mut connection, writer(1), 1, &one_event("moved", 0)).await.unwrap();

    let mut batch = Batch::default();
    let moved = batch.add_stream(&event("moved", 1).stream, 0, false);
    let fresh = batch.add_stream(&event("fresh", 1).stream, 0, false);
    let own = batch.add_stream(&event("own", 1).stream, 0, false);
    let entry = |reads: &[i32], builds_on: &[usize], events: Vec<RecordedEvent>| Entry {
        reads: reads.to_vec(),
        builds_on: builds_on.to_vec(),
        events,
        ..Entry::default()
    };
    batch.add(entry(&[moved, fresh], &[], vec![event("moved", 1), event("fresh", 1)]));
    batch.add(entry(&[fresh], &[0], vec![event("fresh", 2)]));
    batch.add(entry(&[fresh], &[1], vec![event("fresh", 3)]));
    batch.add(entry(&[own], &[], vec![event("own", 1)]));
    let appended = append(&mut connection, writer(1), 2, &batch).await.unwrap();

    let expected = [Verdict::Conflict, Verdict::Conflict, Verdict::Conflict, Verdict::Appended];
    assert_eq!(appended.verdicts, expected);
    assert_eq!(appended.moved, [moved]);
    assert_eq!(database.count("select max(position) from events").await, 2);
    database.check_log().await;
}

#[tokio::test]
async fn a_key_twice_in_one_batch_is_refused_as_a_whole() {
    let database = TestDatabase::new().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let mut batch = Batch::default();
    for stream in ["a", "b"] {
        let event = event(stream, 1);
        let place = batch.add_stream(&event.stream, 0, false);
        let receipt = Receipt { key: writer(7), fingerprint: vec![1], keep: true };
        batch.add(Entry {
            reads: vec![place],
            events: vec![event],
            receipt: Some(receipt),
            ..Entry::default()
        });
    }
    let refused = append(&mut connection, writer(1), 1, &batch).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(database.count("select count(*) from events").await, 0);
    assert_eq!(database.count("select count(*) from receipts").await, 0);
}

#[tokio::test]
async fn appending_costs_the_same_from_empty_tables_to_300_000_events_without_statistics() {
    const COMMANDS: usize = 100;
    const EVENTS: usize = 3;
    const BATCHES: i64 = 1_000;
    let database = TestDatabase::new().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for table in ["events", "receipts", "claims", "referrals", "enrollments", "profiles", "writers"]
    {
        let query = format!("alter table {table} set (autovacuum_enabled = off)");
        sqlx::query(&query).execute(&mut connection).await.unwrap();
    }
    // Like a backup or a forgotten session: dead rows from here on cannot be removed.
    let mut old_snapshot = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query("begin isolation level repeatable read").execute(&mut old_snapshot).await.unwrap();
    sqlx::query("select count(*) from writers").execute(&mut old_snapshot).await.unwrap();
    let mut costs = Vec::new();
    let mut before = blocks_touched(&mut connection).await;
    for number in 0..BATCHES {
        let mut batch = Batch::default();
        for command in 0..COMMANDS {
            let stream = format!("purchase-{number}-{command}");
            let events = (1..=EVENTS).map(|sequence| event(&stream, sequence as i64));
            let mut events: Vec<_> = events.collect();
            let place = batch.add_stream(&events[0].stream, 0, false);
            // Spread like real keys.
            let key = Uuid::from_u128(((number as u128) << 64) | (command as u128 + 1));
            let key = Uuid::from_u128(
                key.as_u128().wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835),
            );
            events[0].envelope = Some(envelope(Some(key)));
            batch.add(Entry {
                reads: vec![place],
                events,
                receipt: Some(Receipt { key, fingerprint: vec![0; 16], keep: true }),
                ..Entry::default()
            });
        }
        let appended = append(&mut connection, writer(1), number + 1, &batch).await.unwrap();
        assert!(appended.verdicts.iter().all(|verdict| *verdict == Verdict::Appended));
        if number % 100 == 99 {
            let after = blocks_touched(&mut connection).await;
            costs.push(after - before);
            before = after;
        }
    }
    let (sequential, analyzed): (i64, i64) = sqlx::query_as(
        "select sum(seq_tup_read)::bigint, sum(analyze_count + autoanalyze_count)::bigint
         from pg_stat_user_tables",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(analyzed, 0, "the tables have statistics, which is not what is tested");
    // The rows of the writer and of the migrations may be found by scanning a single page.
    assert!(sequential < 10_000, "{sequential} rows were read by sequential scans");
    let (first, last) = (costs[0], costs[costs.len() - 1]);
    // Trees get deeper, by a level or so; a scan would multiply the cost by the size of the table.
    assert!(last < first * 2, "blocks touched per 100 batches: {costs:?}");
    assert_eq!(database.count("select count(*) from events").await, 300_000);
    database.check_log().await;
}

/// Blocks of tables and indexes that were touched so far: the machine-independent cost of statements.
async fn blocks_touched(connection: &mut PgConnection) -> i64 {
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    sqlx::query_scalar(
        "select sum(coalesce(heap_blks_read, 0) + coalesce(heap_blks_hit, 0)
             + coalesce(idx_blks_read, 0) + coalesce(idx_blks_hit, 0))::bigint
         from pg_statio_user_tables",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn postgres_es_reads_and_replays_every_stream() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    let program = client.publish_shipped("multi-level-commission").await.program_id;
    client.sign_up(&program, "ada", "").await.unwrap();
    for (referee, referrer) in [("bob", "ada"), ("cyd", "bob")] {
        client.sign_up(&program, referee, "").await.unwrap();
        client.refer(&program, referee, referrer).await.unwrap();
    }
    for number in 0..5 {
        client.buy(&format!("order-{number}"), "cyd", "INR", 100_130).await.unwrap();
    }
    client.deactivate("bob").await.unwrap();

    let repository = || PostgresEventRepository::new(database.pool.clone());
    let participants = PersistedEventStore::<_, Participant>::new_event_store(repository());
    let users = PersistedEventStore::<_, User>::new_event_store(repository());
    let purchases = PersistedEventStore::<_, Purchase>::new_event_store(repository());
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for user in ["ada", "bob", "cyd"] {
        let id = format!("{program}/{user}");
        let theirs = participants.load_aggregate(&id).await.unwrap();
        let key = StreamKey { kind: Kind::Participant, id: id.as_str().into() };
        let ours = load::streams(&mut connection, &[key]).await.unwrap().remove(0);
        assert_eq!(theirs.current_sequence, usize::try_from(ours.version).unwrap());
        let AnyAggregate::Participant(state) = ours.state else { panic!("another kind") };
        assert_eq!(theirs.aggregate, *state);
        assert!(users.load_aggregate(user).await.unwrap().aggregate.exists());
    }
    let bought = purchases.load_aggregate("order-3").await.unwrap().aggregate;
    assert_eq!(bought.recorded().unwrap().amount_minor, 100_130);
    assert_eq!(
        participants.load_events(&format!("{program}/ada")).await.unwrap().len() as i64,
        database
            .count("select count(*) from events where aggregate_id = 'multi-level-commission/ada'")
            .await
    );
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_long_stream_is_loaded_from_its_snapshot_and_a_stale_snapshot_is_ignored() {
    let database = TestDatabase::new().await;
    // Small batches, so that the last snapshot by growth alone lies well before the end of the stream.
    let options = ServerOptions { arguments: vec!["--batch-commands".into(), "70".into()] };
    let mut server = Server::start_with(&database.url, &options).await;
    let client = server.client();
    let program = client.publish_shipped("multi-level-commission").await.program_id;
    let ada = client.sign_up(&program, "ada", "").await.unwrap();
    client.sign_up(&program, "bob", &ada.code).await.unwrap();
    let mut uncapped = client
        .programs()
        .get_program(client.request(contract::pb::GetProgramRequest {
            program_id: program.clone(),
            ..Default::default()
        }))
        .await
        .unwrap()
        .into_inner()
        .program
        .unwrap();
    for rule in &mut uncapped.rewards {
        rule.cap_minor = None;
    }
    client.publish(uncapped).await.unwrap();
    let purchases = (0..600).map(|_| client.buy("", "bob", "INR", 100_000));
    for answer in futures_join(purchases).await {
        answer.unwrap();
    }
    // A stream gets its next snapshot with the batch that has made it long enough, unless the last one is still
    // being written. So only further commands bring a snapshot that is missing.
    let snapshot = "select coalesce(max(last_sequence), 0) from snapshots \
                    where aggregate_id = 'multi-level-commission/ada'";
    let mut bought = 600;
    while database.count(snapshot).await < 500 {
        client.buy("", "bob", "INR", 100_000).await.unwrap();
        bought += 1;
        assert!(bought < 1_000, "no snapshot of a long stream");
    }

    for round in 0..2 {
        // A cold cache: the next decision uses the snapshot, or works without it.
        server.stop().await;
        server = Server::start(&database).await;
        let answer = server.client().buy("", "bob", "INR", 100_000).await.unwrap();
        assert_eq!(answer.outcomes[0].rewards[0].amount.as_ref().unwrap().minor_units, 5_000);
        let total: i64 = sqlx::query_scalar(
            "select (payload -> 'posting' -> 'after' ->> 'earned')::bigint from events \
             where event_type = 'RewardGranted' order by position desc limit 1",
        )
        .fetch_one(&database.pool)
        .await
        .unwrap();
        assert_eq!(total, (bought + 1 + round) * 5_000);
        sqlx::query("update snapshots set state_version = 999, payload = '{}'")
            .execute(&database.pool)
            .await
            .unwrap();
    }
    server.stop().await;
    database.check().await;
}

/// All of them at once.
async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}
