//! Hold periods end by themselves, each once, whatever becomes of the servers that end them.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::{Duration, Instant};

use contract::pb::*;
use sqlx::Executor;
use tokio_util::sync::CancellationToken;

use crate::contention::uncapped;
use testing::{
    Client, MailServer, Pair, Server, ServerOptions, TestDatabase, at_once, check_books,
};

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

/// Purchases in a program that holds nothing, by many people at the same time, until told to stop. Returns their
/// number.
async fn purchases_until(client: Client, stop: CancellationToken) -> usize {
    const PROGRAM: &str = "at-once";
    client.publish(Program { program_id: PROGRAM.into(), ..uncapped() }).await.unwrap();
    let code = client.sign_up(PROGRAM, "quick-owner", "").await.unwrap().code;
    for buyer in 0..24 {
        client.sign_up(PROGRAM, &format!("quick-{buyer}"), &code).await.unwrap();
    }
    let bought = at_once((0..24).map(|buyer| {
        let (client, stop) = (client.clone(), stop.clone());
        async move {
            let mut number = 0;
            while !stop.is_cancelled() {
                let id = format!("quick-{buyer}-{number}");
                client.buy(&id, &format!("quick-{buyer}"), "INR", 100_000).await.unwrap();
                number += 1;
            }
            number
        }
    }));
    bought.await.into_iter().sum()
}

/// What the batches of the log are made of that have purchases, half a second or less after others: how many they are,
/// how many of them have releases too, the most releases in one, and the most commands. Everything in a batch is
/// recorded at one moment. A batch that begins while nobody buys may be full of releases, whoever comes before it is
/// sent.
async fn batches(database: &TestDatabase) -> (i64, i64, i64, i64) {
    sqlx::query_as(
        "with batches as (
            select recorded_at, count(*) filter (where metadata ->> 'door' = 'job:releases') as releases,
                count(*) filter (where metadata ->> 'door' = 'RecordPurchase') as purchases,
                count(*) as commands
            from events where metadata ? 'command_events' group by recorded_at
        ), of_callers as (
            select releases, commands, recorded_at - lag(recorded_at) over (order by recorded_at) as pause
            from batches where purchases > 0
        )
        select count(*), count(*) filter (where releases > 0), coalesce(max(releases), 0),
            coalesce(max(commands), 0)
        from of_callers where pause < interval '0.5 seconds'",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_purchases_come_releases_get_a_tenth_of_the_room_in_a_batch_and_no_more() {
    const BATCH: i64 = 100;
    const BUYERS: usize = 20;
    const PURCHASES: usize = 150;
    let database = TestDatabase::new().await;
    let options = ServerOptions { arguments: vec!["--batch-commands".into(), BATCH.to_string()] };
    let server = Server::start_with(&database.url, &options).await;
    held(|_| server.client(), BUYERS, PURCHASES).await;
    let stop = CancellationToken::new();
    let quick = tokio::spawn(purchases_until(server.client(), stop.clone()));
    counts(&database, "select least(count(*), 1) from events where aggregate_id = 'quick-0-0'", 1)
        .await;
    let all = i64::try_from(BUYERS * PURCHASES).unwrap();
    a_day_passes(&database, all).await;
    counts(&database, "select count(*) from releases", 0).await;
    stop.cancel();
    let bought = quick.await.unwrap();
    assert_eq!(database.count(ENDED).await, all);
    let (of_callers, mixed, most_releases, most_commands) = batches(&database).await;
    println!(
        "{of_callers} batches of callers in a row, {mixed} of them with releases, at most \
         {most_releases} of {most_commands}; {bought} purchases beside {all} releases"
    );
    assert!(mixed > 20, "{mixed} of {of_callers}");
    assert!(most_releases <= BATCH / 10, "{most_releases}");
    assert!(most_commands <= BATCH, "{most_commands}");
    check_books(&database).await;
    server.stop().await;
}

#[tokio::test]
async fn the_end_of_a_hold_period_mails_each_earner_once() {
    let mail_server = MailServer::start().await;
    let database = TestDatabase::new().await;
    let options = ServerOptions { arguments: mail_server.arguments() };
    let server = Server::start_with(&database.url, &options).await;
    held(|_| server.client(), 1, 2).await;
    a_day_passes(&database, 2).await;
    counts(&database, "select count(*) from releases", 0).await;
    counts(&database, "select count(*) from mails where kind = 'release' and outcome = 'sent'", 4)
        .await;
    let mut told: Vec<(String, String)> = mail_server
        .received()
        .iter()
        .filter(|mail| mail.text().contains("the time for which the program holds rewards is over"))
        .map(|mail| (mail.to.clone(), mail.header("Subject")))
        .collect();
    told.sort();
    let told: Vec<_> = told.iter().map(|(to, subject)| (&**to, &subject[..9])).collect();
    let (owner, top) = (("owner@example.com", "50.00 INR"), ("top@example.com", "10.00 INR"));
    assert_eq!(told, [owner, owner, top, top]);
    server.stop().await;
}
