//! The look-up of a buyer's purchases finds all that are in the log, however far the read model has come.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use sqlx::{Executor, PgConnection};
use tributary::read::purchases_table;
use tributary::store::Database;
use tributary::store::purchases::{Asked, Span, purchases_of};

use domain::{PurchaseCursor, UserId};
use testing::{Server, TestDatabase};

const COMMISSION: &str = "multi-level-commission";

/// The pages of a buyer's purchases.
async fn pages(
    connection: &mut PgConnection,
    table: Option<&str>,
    buyer: &str,
) -> Vec<Vec<String>> {
    let buyer = UserId::parse(buyer).unwrap();
    let (mut cursor, mut pages): (Option<PurchaseCursor>, _) = (None, Vec::new());
    loop {
        // Several are asked for at once; the others must not get in the way.
        let others = |name| (UserId::parse(name).unwrap(), None);
        let asked: [Asked; 3] = [others("nobody"), (buyer.clone(), cursor), others("cem")];
        let mut found = purchases_of(connection, table, None, &asked).await.unwrap();
        assert_eq!(found.len(), 3);
        assert!(found[0].as_ref().unwrap().purchases.is_empty());
        let page = found.swap_remove(1).unwrap();
        pages.push(page.purchases.iter().map(ToString::to_string).collect());
        cursor = page.next;
        if cursor.is_none() {
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
    assert_eq!(pages(&mut connection, None, "bea").await, expected);
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
        assert_eq!(pages(&mut connection, Some(table), "bea").await, expected, "{reached}");
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
    let asked: [Asked; 1] = [(UserId::parse("bea").unwrap(), None)];
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
    let asked: [Asked; 1] = [(UserId::parse("bea").unwrap(), None)];
    let lag = purchases_of(&mut connection, Some(table), None, &asked).await.unwrap().remove(0);
    let lag = lag.unwrap_err();
    assert_eq!((lag.reached, lag.head), (9_000, 60_000));
    // Little is left to search if the server knows most of it.
    let known = Some(Span { after: 10_000, through: 60_000 });
    let page = purchases_of(&mut connection, Some(table), known, &asked).await.unwrap().remove(0);
    assert_eq!(page.unwrap().purchases, []);
}
