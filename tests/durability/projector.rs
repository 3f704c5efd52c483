//! The projector: each event is applied to the read models exactly once, whichever process folds it and
//! however often processes are killed, and one process folds at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use contract::pb::GetBalancesRequest;
use sqlx::Row;
use tributary::read::models;

use crate::expected::{caught_up, check_read_models, table};
use crate::history::{begin, work};
use testing::{Server, TestDatabase, check_books};

const COMMISSION: &str = "multi-level-commission";
/// The backends that hold more than one advisory lock, not counting those of reactions: a projector holds its own and
/// that of each copy; an append holds one.
pub const PROJECTORS: &str = "
    select pid, count(*) as locks from pg_locks
    where locktype = 'advisory' and granted and mode = 'ExclusiveLock'
        and database = (select oid from pg_database where datname = current_database())
        and (classid::bigint << 32 | objid::bigint) not in (
            select hashtextextended('tributary reaction ' || current_schema() || ' ' || name, 0)
            from reactions)
    group by pid having count(*) > 1";

/// The projectors' backends, and how many locks each has.
async fn projectors(database: &TestDatabase) -> Vec<(i32, i64)> {
    let rows = sqlx::query(PROJECTORS).fetch_all(&database.pool).await.unwrap();
    rows.iter().map(|row| (row.get("pid"), row.get("locks"))).collect()
}

/// Waits for a projector with all its locks.
pub async fn the_projector(database: &TestDatabase) -> i32 {
    let mut found = Vec::new();
    for _ in 0..600 {
        found = projectors(database).await;
        if let [(pid, locks)] = &found[..]
            && *locks == models::names().len() as i64 + 1
        {
            return *pid;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{found:?}");
}

/// Ends the connection of the current projector; returns whether there was one.
pub async fn cut_off(database: &TestDatabase) -> bool {
    let query =
        format!("select count(pg_terminate_backend(pid)) from ({PROJECTORS}) as projectors");
    database.count(&query).await > 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_counted_once_however_often_servers_and_connections_are_killed() {
    let database = TestDatabase::new().await;
    let mut server = Server::start(&database).await;
    let mut workers = begin(&server.client(), 6).await;
    let (mut round, mut cuts, mut left_alone) = (0_u64, 0, 0);
    while left_alone < 2 {
        // The last rounds do not cut it off, so that some kill hits it at full speed.
        let cuts_off = round < 5 || cuts < 5;
        assert!(round < 50, "the projector was cut off only {cuts} times");
        let stop = Arc::new(AtomicBool::new(false));
        let working = work(&server, workers, &stop).await;
        for pause in 0..3 {
            tokio::time::sleep(Duration::from_millis(40 + (round * 131 + pause * 257) % 350)).await;
            if cuts_off {
                cuts += u32::from(cut_off(&database).await);
            }
        }
        stop.store(true, Ordering::SeqCst);
        server.kill().await;
        workers = working.ended().await;
        server = Server::start(&database).await;
        left_alone += u32::from(!cuts_off);
        round += 1;
    }
    check_read_models(&database).await;
    check_books(&database).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_take_turns_at_folding_count_each_event_once() {
    let database = TestDatabase::new().await;
    let (first, second) = tokio::join!(Server::start(&database), Server::start(&database));
    let mut workers = begin(&first.client(), 6).await;
    let others = workers.split_off(3);
    let stop = Arc::new(AtomicBool::new(false));
    let working = work(&first, workers, &stop).await;
    let others = work(&second, others, &stop).await;
    let (mut seen, mut sample) = (Vec::new(), 0);
    while sample < 25 || seen.len() < 3 {
        sample += 1;
        assert!(sample < 500, "{seen:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = projectors(&database).await;
        assert!(now.len() <= 1, "{now:?}");
        seen.extend(now.iter().map(|(pid, _)| *pid));
        seen.dedup();
        cut_off(&database).await;
    }
    stop.store(true, Ordering::SeqCst);
    working.ended().await;
    others.ended().await;
    check_read_models(&database).await;
    tokio::join!(first.stop(), second.stop());
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_projector_is_killed_another_server_takes_over_at_once() {
    const ROUNDS: i64 = 5;
    let database = TestDatabase::new().await;
    let mut projector = Server::start(&database).await;
    let client = projector.client();
    client.publish_shipped(COMMISSION).await;
    let code = client.sign_up(COMMISSION, "owner", "").await.unwrap().code;
    client.sign_up(COMMISSION, "friend", &code).await.unwrap();
    for round in 1..=ROUNDS {
        let pid = the_projector(&database).await;
        let survivor = Server::start(&database).await;
        let client = survivor.client();
        client.buy("", "friend", "INR", 100_000).await.unwrap();
        assert_eq!(the_projector(&database).await, pid);

        let killed_at = Instant::now();
        projector.kill().await;
        let bought = client.buy("", "friend", "INR", 100_000).await.unwrap();
        let message = GetBalancesRequest {
            program_id: COMMISSION.into(),
            user_id: "owner".into(),
            consistency_token: bought.consistency_token,
            ..GetBalancesRequest::default()
        };
        let answer = client.rewards().get_balances(client.request(message)).await.unwrap();
        let took = killed_at.elapsed();
        eprintln!("another server took over after {took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(answer.into_inner().balances[0].minor_units, round * 2 * 5_000);
        assert_ne!(the_projector(&database).await, pid);
        projector = survivor;
    }
    check_read_models(&database).await;
    projector.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_checkpoint_move_together() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let workers = begin(&server.client(), 6).await;
    let mut counts = String::new();
    for (model, of_rows, of_events) in [
        (
            "participants",
            "sum(balance_minor)",
            "sum((payload -> 'posting' ->> 'amount')::bigint) filter (
                where event_type in ('RewardGranted', 'PurchaseCredited'))",
        ),
        ("participants", "sum(uses)", "count(*) filter (where event_type = 'ReferralMade')"),
        (
            "contributions",
            "sum(total_minor)",
            "sum((payload -> 'posting' ->> 'amount')::bigint) \
             filter (where event_type in ('RewardGranted', 'RewardReversed'))",
        ),
        (
            "participants",
            "sum((select sum(value::bigint) from jsonb_each_text(rewards_by_level)))",
            "count(*) filter (where event_type = 'RewardGranted')",
        ),
        (
            "overviews",
            "sum(registered_count)",
            "count(*) filter (where event_type = 'ParticipantEnrolled')",
        ),
        (
            "conversion_days",
            "sum(conversion_count)",
            "count(*) filter (where event_type = 'ReferralConverted')",
        ),
        ("programs", "count(*)", "count(*) filter (where event_type = 'ProgramPublished')"),
        ("purchases", "count(*)", "count(*) filter (where event_type = 'PurchaseRecorded')"),
        ("users", "count(*)", "count(*) filter (where event_type = 'UserRegistered')"),
    ] {
        let table = table(&database, model).await;
        let union = if counts.is_empty() { "" } else { "union all" };
        counts = format!(
            "{counts} {union} select '{model}', reached.position,
                (select coalesce({of_rows}, 0)::bigint from {table}),
                (select coalesce({of_events}, 0)::bigint from events
                    where position <= reached.position)
            from (select max(position) as position from checkpoints where copy = '{table}') as reached"
        );
    }

    let stop = Arc::new(AtomicBool::new(false));
    let working = work(&server, workers, &stop).await;
    let mut positions = Vec::new();
    let mut steps = HashSet::new();
    let mut sample = 0;
    while sample < 60 || steps.len() < 10 {
        sample += 1;
        assert!(sample < 2_000, "{steps:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
        let mut transaction = database.pool.begin().await.unwrap();
        sqlx::query("set transaction isolation level repeatable read")
            .execute(&mut *transaction)
            .await
            .unwrap();
        let models: Vec<(String, i64, i64, i64)> =
            sqlx::query_as(&counts).fetch_all(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        for (model, position, of_rows, of_events) in models {
            assert_eq!(of_rows, of_events, "{model} at {position}");
            positions.push(position);
            steps.insert(position);
        }
        if sample < 60 && sample % 15 == 0 {
            cut_off(&database).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    working.ended().await;
    assert!(positions.is_sorted());
    check_read_models(&database).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_has_moved_on_while_a_run_waited_for_it_is_not_folded_twice() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.publish_shipped(COMMISSION).await;
    let code = client.sign_up(COMMISSION, "owner", "").await.unwrap().code;
    client.sign_up(COMMISSION, "friend", &code).await.unwrap();
    client.buy("", "friend", "INR", 100_000).await.unwrap();
    caught_up(&database).await;

    // As with a rebuilt copy that replaced the old one: it is further ahead, while the run begins at the old
    // position.
    let table = table(&database, "contributions").await;
    let mut switch = database.pool.begin().await.unwrap();
    sqlx::query("select from read_model_copies where copy = $1 for no key update")
        .bind(&table)
        .execute(&mut *switch)
        .await
        .unwrap();
    client.buy("", "friend", "INR", 100_000).await.unwrap();
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%fold_%'";
    while database.count(waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.buy("", "friend", "INR", 100_000).await.unwrap();
    let from = database.count("select max(position) from checkpoints").await;
    let head = database.count("select max(position) from events").await;
    let fold = include_str!("../../projections/contributions/fold.sql").replace("{table}", &table);
    sqlx::query(&fold).bind(from).bind(head).execute(&mut *switch).await.unwrap();
    sqlx::query("insert into checkpoints values ($1, $2, now())")
        .bind(&table)
        .bind(head)
        .execute(&mut *switch)
        .await
        .unwrap();
    switch.commit().await.unwrap();

    client.buy("", "friend", "INR", 100_000).await.unwrap();
    check_read_models(&database).await;
    server.stop().await;
    database.check().await;
}
