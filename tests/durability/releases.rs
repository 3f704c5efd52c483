//! Hold periods end by themselves, each once, whatever becomes of the servers that end them.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::{Duration, Instant};

use contract::pb::*;
use sqlx::Executor;

use crate::contention::uncapped;
use testing::{Client, Pair, Server, TestDatabase, at_once, check_books};

const COMMISSION: &str = "multi-level-commission";

/// Waits until a query counts this many.
async fn counts(database: &TestDatabase, query: &str, expected: i64) {
    for _ in 0..1_200 {
        if database.count(query).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{query}: {} instead of {expected}", database.count(query).await);
}

/// A program whose rewards wait for a day, a line in it, and purchases by those at its end.
async fn held(clients: impl Fn(usize) -> Client, buyers: usize, purchases: usize) {
    let program = Program { hold_days: Some(1), ..uncapped() };
    clients(0).publish(program).await.unwrap();
    let code = clients(0).sign_up(COMMISSION, "top", "").await.unwrap().code;
    let code = clients(1).sign_up(COMMISSION, "owner", &code).await.unwrap().code;
    for buyer in 0..buyers {
        clients(buyer).sign_up(COMMISSION, &format!("buyer-{buyer}"), &code).await.unwrap();
    }
    at_once((0..buyers).map(|buyer| {
        let client = clients(buyer);
        async move {
            for number in 0..purchases {
                let id = format!("p-{buyer}-{number}");
                client.buy(&id, &format!("buyer-{buyer}"), "INR", 100_000).await.unwrap();
            }
        }
    }))
    .await;
}

/// Makes all hold periods end a minute ago.
async fn a_day_passes(database: &TestDatabase, purchases: i64) {
    counts(database, "select count(*) from releases", purchases).await;
    let past = "(extract(epoch from now() - interval '1 minute') * 1e6)::bigint";
    database
        .pool
        .execute(sqlx::raw_sql(&format!(
            "begin;
             update events set payload = jsonb_set(payload, '{{release_time_us}}', to_jsonb({past}))
             where payload ? 'release_time_us';
             update releases set release_time_us = {past}, due_time_us = {past};
             commit"
        )))
        .await
        .unwrap();
}

/// What a participant has, pending and available, in minor units.
async fn buckets(database: &TestDatabase, user_id: &str) -> (i64, i64) {
    sqlx::query_as(
        "select coalesce((after ->> 'pending')::bigint, 0), coalesce((after ->> 'available')::bigint, 0)
         from (
             select payload -> 'posting' -> 'after' as after from events
             where aggregate_id = $1 and payload ? 'posting' order by sequence desc limit 1
         ) as last",
    )
    .bind(format!("{COMMISSION}/{user_id}"))
    .fetch_one(&database.pool)
    .await
    .unwrap()
}

const ENDED: &str = "select count(*) from events where event_type = 'HoldPeriodEnded'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_end_each_hold_period_once_though_one_of_them_is_killed() {
    const BUYERS: usize = 12;
    const PURCHASES: usize = 150;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    held(|number| pair.client(number), BUYERS, PURCHASES).await;
    let all = i64::try_from(BUYERS * PURCHASES).unwrap();
    assert_eq!(database.count(ENDED).await, 0);
    assert_eq!(buckets(&database, "owner").await, (all * 5_000, 0));

    a_day_passes(&database, all).await;
    while database.count(ENDED).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let Pair { first, second, .. } = pair;
    first.kill().await;
    counts(&database, "select count(*) from releases", 0).await;
    let purchases =
        "select count(distinct aggregate_id) from events where event_type = 'HoldPeriodEnded'";
    assert_eq!((database.count(ENDED).await, database.count(purchases).await), (all, all));
    let took = "select (extract(epoch from max(recorded_at) - min(recorded_at)) * 1000)::bigint
        from events where event_type = 'HoldPeriodEnded'";
    println!("{all} hold periods were ended within {} ms", database.count(took).await);
    assert_eq!(buckets(&database, "owner").await, (0, all * 5_000));
    assert_eq!(buckets(&database, "top").await, (0, all * 1_000));
    check_books(&database).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_periods_that_were_over_while_no_server_ran_end_soon_after_the_first_starts() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    held(|_| server.client(), 2, 5).await;
    counts(&database, "select count(*) from releases", 10).await;
    server.kill().await;
    a_day_passes(&database, 10).await;
    let server = Server::start(&database).await;
    let began = Instant::now();
    counts(&database, "select count(*) from releases", 0).await;
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    assert_eq!(database.count(ENDED).await, 10);
    server.stop().await;
}
