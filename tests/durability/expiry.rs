//! Lots expire by themselves, each once, whatever becomes of the servers that do it.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use contract::parse_program;
use contract::pb::*;

use testing::{Pair, Server, TestDatabase, at_once, check_books, program};

const COUNT: &str = "referral-count";

const EXPIRED: &str = "select count(*) from events where event_type = 'BalanceExpired'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_let_each_lot_expire_once_though_one_of_them_is_killed() {
    const REFERRERS: usize = 150;
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let json = std::fs::read_to_string(program(COUNT)).unwrap();
    let expiring = Program { expire_months: Some(12), ..parse_program(&json).unwrap() };
    server.client().publish(expiring).await.unwrap();
    at_once((0..REFERRERS).map(|number| {
        let client = server.client();
        async move {
            let name = format!("referrer-{number}");
            let code = client.sign_up(COUNT, &name, "").await.unwrap().code;
            for referee in ["one", "two"] {
                client.sign_up(COUNT, &format!("{name}-{referee}"), &code).await.unwrap();
            }
        }
    }))
    .await;
    let all = i64::try_from(REFERRERS).unwrap();
    database.lots_wait(2 * all).await;
    server.stop().await;
    database.let_lots_end().await;

    let pair = Pair::start(&database).await;
    while database.count(EXPIRED).await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let Pair { first, second, .. } = pair;
    first.kill().await;
    database.lots_wait(0).await;
    let of_two = format!("{EXPIRED} and (payload -> 'posting' ->> 'amount')::bigint = -2");
    let participants =
        "select count(distinct aggregate_id) from events where event_type = 'BalanceExpired'";
    assert_eq!(database.count(EXPIRED).await, all);
    assert_eq!((database.count(&of_two).await, database.count(participants).await), (all, all));
    let left = "select count(*) from (
            select distinct on (aggregate_id) payload -> 'posting' -> 'after' -> 'available' as available
            from events where payload ? 'posting' order by aggregate_id, sequence desc
        ) as last where available is not null";
    assert_eq!(database.count(left).await, 0);
    check_books(&database).await;
    second.stop().await;
}
