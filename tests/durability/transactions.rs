//! Callers that give up.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tributary::store::begin;

use testing::TestDatabase;

/// Whether the next one who gets the connection is in nobody's transaction: then one begins with every statement.
async fn is_free(pool: &PgPool) -> bool {
    let query = "select now() = statement_timestamp()";
    // In a transaction of their own, both moments are of the first statement.
    sqlx::query("select").execute(pool).await.unwrap();
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn whoever_gives_up_while_a_transaction_begins_leaves_none_behind() {
    let database = TestDatabase::new().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
    for pause in (0..200).map(|step| Duration::from_micros(5 * step)) {
        tokio::select! {
            biased;
            begun = begin(&pool) => drop(begun.unwrap()),
            () = tokio::time::sleep(pause) => {}
        }
        assert!(is_free(&pool).await, "given up after {pause:?}");
    }
    // One that began is begun.
    let mut transaction = begin(&pool).await.unwrap();
    sqlx::query("select").execute(&mut *transaction).await.unwrap();
    let query = "select now() = statement_timestamp()";
    let is_own: bool = sqlx::query_scalar(query).fetch_one(&mut *transaction).await.unwrap();
    assert!(!is_own);
}
