//! The look-up of a buyer's purchases finds all that are in the log, however far the read model has come.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use contract::pb::*;
use sqlx::{Executor, PgConnection};
use tributary::read::purchases_table;
use tributary::store::Database;
use tributary::store::purchases::{Span, purchases_of};

use domain::{PurchaseSearch, UserId};
use testing::{Server, TestDatabase};

const COMMISSION: &str = "multi-level-commission";

/// The newest purchases of a buyer.
fn newest_of(buyer: &str) -> PurchaseSearch {
    PurchaseSearch { buyer: UserId::parse(buyer).unwrap(), may_earn: false, before: None }
}

/// All pages of a search.
async fn pages(
    connection: &mut PgConnection,
    table: Option<&str>,
    mut search: PurchaseSearch,
) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        // Several are asked for at once; the others must not get in the way.
        let asked = [newest_of("nobody"), search.clone(), newest_of("cem")];
        let mut found = purchases_of(connection, table, None, &asked).await.unwrap();
        assert_eq!(found.len(), 3);
        assert!(found[0].as_ref().unwrap().purchases.is_empty());
        let page = found.swap_remove(1).unwrap();
        pages.push(page.purchases.iter().map(ToString::to_string).collect());
        search.before = page.next;
        if search.before.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn a_buyers_purchases_are_found_in_the_read_model_and_in_the_log_after_it() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.publish_shipped(COMMISSION).await;
    for name in ["bea", "cem"] {
        client.sign_up(COMMISSION, name, "").await.unwrap();
    }
    for number in 0..12 {
        client.buy(&format!("b-{number}"), "bea", "INR", 10_000).await.unwrap();
        client.buy(&format!("c-{number}"), "cem", "INR", 10_000).await.unwrap();
    }
    database.check().await;
    server.stop().await;

    let store = Database::new(&database.url, 1).unwrap();
    let mut connection = store.connect().await.unwrap();
    let name = |number| format!("b-{number}");
    let expected: Vec<Vec<String>> =
        vec![(8..12).rev().map(name).collect(), (0..8).rev().map(name).collect()];
    assert_eq!(pages(&mut connection, None, newest_of("bea")).await, expected);
    let table = purchases_table();
    let events = database.count("select count(*) from events").await;
    for reached in [events, events / 2, 0] {
        let back = format!(
            "delete from {table} where last_position > {reached};
             delete from checkpoints where copy = '{table}';
             -- The newest counts.
             insert into checkpoints (copy, position, folded_at)
             select '{table}', position, now() from (values ({reached}), (-1)) as of (position)"
        );
        database.pool.execute(sqlx::raw_sql(&back)).await.unwrap();
        assert_eq!(
            pages(&mut connection, Some(table), newest_of("bea")).await,
            expected,
            "{reached}"
        );
    }
}

const FOLD: &str = include_str!("../../projections/purchases/fold.sql");

/// Folds the events after one position, through another, into the table.
async fn fold(database: &TestDatabase, after: i64, through: i64) {
    let fold = FOLD.replace("{table}", purchases_table());
    sqlx::query(&fold).bind(after).bind(through).execute(&database.pool).await.unwrap();
}

/// The table as it is now, in order.
async fn rows(database: &TestDatabase) -> Vec<(i64, bool)> {
    let rows = "select last_position, earns_nothing from {table} order by 1";
    let rows = rows.replace("{table}", purchases_table());
    sqlx::query_as(&rows).fetch_all(&database.pool).await.unwrap()
}

#[tokio::test]
async fn purchases_that_earn_nothing_are_left_out_wherever_the_read_model_ends() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.publish_shipped(COMMISSION).await;
    let ana = client.sign_up(COMMISSION, "ana", "").await.unwrap();
    let code = ana.response.participants[0].code.clone();
    client.sign_up(COMMISSION, "bea", &code).await.unwrap();
    let refund = async |id: &str, refund_id: &str, minor_units| {
        let amount = Some(Money { currency_code: "INR".into(), minor_units });
        let (purchase_id, refund_id) = (id.into(), refund_id.into());
        let message =
            RefundPurchaseRequest { purchase_id, refund_id, amount, ..Default::default() };
        client.purchases().refund_purchase(client.request(message)).await.unwrap();
    };
    client.buy("small", "bea", "INR", 10_000).await.unwrap();
    client.buy("gone", "bea", "INR", 200_000).await.unwrap();
    client.buy("part", "bea", "INR", 300_000).await.unwrap();
    client.buy("back", "bea", "INR", 400_000).await.unwrap();
    refund("back", "all", 400_000).await;
    refund("gone", "one", 150_000).await;
    refund("part", "one", 150_000).await;
    refund("gone", "two", 50_000).await;
    let (purchase_id, refund_id) = ("back".into(), "all".into());
    let message = CancelRefundRequest { purchase_id, refund_id, ..CancelRefundRequest::default() };
    client.purchases().cancel_refund(client.request(message)).await.unwrap();
    client.buy("stays", "bea", "INR", 500_000).await.unwrap();
    database.check().await;
    server.stop().await;

    let store = Database::new(&database.url, 1).unwrap();
    let mut connection = store.connect().await.unwrap();
    let table = purchases_table();
    let events = database.count("select count(*) from events").await;
    let folded = rows(&database).await;
    let idle: Vec<bool> = folded.iter().map(|(_, earns_nothing)| *earns_nothing).collect();
    assert_eq!(idle, [true, true, false, false, false], "small, gone, part, back, stays");
    let search = PurchaseSearch { may_earn: true, ..newest_of("bea") };
    for reached in 0..=events {
        let empty = format!("truncate {table}; delete from checkpoints where copy = '{table}'");
        database.pool.execute(sqlx::raw_sql(&empty)).await.unwrap();
        fold(&database, 0, reached).await;
        let checkpoint =
            "insert into checkpoints (copy, position, folded_at) values ($1, $2, now())";
        let checkpoint = sqlx::query(checkpoint).bind(table).bind(reached);
        checkpoint.execute(&database.pool).await.unwrap();
        let found = pages(&mut connection, Some(table), search.clone()).await.concat();
        for expected in ["stays", "back", "part"] {
            assert!(found.iter().any(|id| id == expected), "{expected} at {reached}: {found:?}");
        }
        if reached == events {
            assert_eq!(found, ["stays", "back", "part"]);
        }
        let mut all = pages(&mut connection, Some(table), newest_of("bea")).await.concat();
        all.sort();
        all.dedup();
        assert_eq!(all, ["back", "gone", "part", "small", "stays"], "at {reached}");
        // Runs end anywhere, also within a command.
        fold(&database, reached, events).await;
        assert_eq!(rows(&database).await, folded, "in runs to {reached} and {events}");
    }
}

#[tokio::test]
async fn the_part_of_the_log_that_a_server_knows_is_not_searched() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.publish_shipped(COMMISSION).await;
    client.sign_up(COMMISSION, "bea", "").await.unwrap();
    for number in 0..3 {
        client.buy(&format!("b-{number}"), "bea", "INR", 10_000).await.unwrap();
    }
    server.stop().await;
    let store = Database::new(&database.url, 1).unwrap();
    let mut connection = store.connect().await.unwrap();
    let position = "select position from events where aggregate_id = 'b-1'";
    let position = database.count(position).await;
    let asked = [newest_of("bea")];
    let known = [(position - 1, position), (position, i64::MAX), (0, position), (0, i64::MAX)];
    let found = [&["b-2", "b-0"][..], &["b-1", "b-0"], &["b-2"], &[]];
    for ((after, through), expected) in known.into_iter().zip(found) {
        let known = Some(Span { after, through });
        let page = purchases_of(&mut connection, None, known, &asked).await.unwrap().remove(0);
        let purchases = page.unwrap().purchases;
        let ids: Vec<_> = purchases.iter().map(ToString::to_string).collect();
        assert_eq!(ids, expected, "{known:?}");
    }
}

#[tokio::test]
async fn a_read_model_that_is_far_behind_is_not_waited_for() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    server.stop().await;
    let table = purchases_table();
    database
        .pool
        .execute(sqlx::raw_sql(&format!(
            "insert into events
             select number, number, now(), 'User', 'u', 'Nothing', '1.0.0', '{{}}', '{{}}'
             from generate_series(1, 60000) as number;
             delete from checkpoints where copy = '{table}';
             insert into checkpoints (copy, position, folded_at) values ('{table}', 9000, now())"
        )))
        .await
        .unwrap();
    let store = Database::new(&database.url, 1).unwrap();
    let mut connection = store.connect().await.unwrap();
    let asked = [newest_of("bea")];
    let lag = purchases_of(&mut connection, Some(table), None, &asked).await.unwrap().remove(0);
    let lag = lag.unwrap_err();
    assert_eq!((lag.reached, lag.head), (9_000, 60_000));
    // Little is left to search if the server knows most of it.
    let known = Some(Span { after: 10_000, through: 60_000 });
    let page = purchases_of(&mut connection, Some(table), known, &asked).await.unwrap().remove(0);
    assert_eq!(page.unwrap().purchases, []);
}
