//! The folds give the same result, regardless of the runs in which the log is folded.

use std::path::Path;

use sqlx::{Connection, Executor, PgConnection};
use tributary::read::models;

use crate::expected::{check_copy, check_read_models, check_same, table};
use crate::history::{begin, work_for};
use testing::{Server, TestDatabase};

/// A file of a read model, for a table of any name.
fn file(model: &str, file: &str, table: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("projections").join(model);
    std::fs::read_to_string(folder.join(file)).unwrap().replace("{table}", table)
}

/// Stretches a history of some seconds over some days, for read models that depend on days.
async fn stretch(database: &TestDatabase, days: i64) {
    sqlx::query(
        "with ends as (
             select last, extract(epoch from last)::bigint * 1000000 as last_us,
                 ($1 * 86400 / extract(epoch from last - first))::bigint as factor
             from (select min(recorded_at) as first, max(recorded_at) as last from events) as log
         )
         update events set
             recorded_at = last - (last - recorded_at) * factor,
             payload = payload || (
                 select coalesce(jsonb_object_agg(
                     key, last_us - (last_us - value::bigint) * factor), '{}')
                 from jsonb_each_text(payload) where key like '%\\_time\\_us')
         from ends",
    )
    .bind(days)
    .execute(&database.pool)
    .await
    .unwrap();
}

/// Drops the tables that serve, as if they had never existed.
pub async fn forget_copies(database: &TestDatabase, model: &str) {
    let copies: Vec<String> =
        sqlx::query_scalar("delete from read_model_copies where name like $1 returning copy")
            .bind(model)
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert!(!copies.is_empty(), "{model}");
    for copy in copies {
        database.pool.execute(format!("drop table {copy}").as_str()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_any_size_fold_the_log_into_the_same_rows() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let workers = begin(&server.client(), 4).await;
    work_for(&server, workers, 110).await;
    check_read_models(&database).await;
    server.stop().await;
    database.check().await;
    stretch(&database, 30).await;
    forget_copies(&database, "%").await;
    let server = Server::start(&database).await;
    check_read_models(&database).await;
    server.stop().await;
    let days =
        format!("select count(distinct day) from {}", table(&database, "conversion_days").await);
    assert!(database.count(&days).await >= 4);

    let head = database.count("select max(position) from events").await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection.execute("set enable_seqscan = off").await.unwrap();
    for size in [1, 2, 3, 7, 250, head] {
        for model in models::names() {
            let own = format!("{model}_in_runs_of_{size}");
            let mut transaction = connection.begin().await.unwrap();
            transaction.execute(sqlx::raw_sql(&file(model, "table.sql", &own))).await.unwrap();
            let fold = file(model, "fold.sql", &own);
            let mut from = 0;
            while from < head {
                let to = head.min(from + size);
                sqlx::query(&fold).bind(from).bind(to).execute(&mut *transaction).await.unwrap();
                from = to;
            }
            transaction.commit().await.unwrap();
            let serving = table(&database, model).await;
            check_same(&database, &own, &format!("select * from {serving}")).await;
            check_copy(&database, model, &own).await;
        }
    }
    // Purchases are days away from the sign-ups now.
    database.check_whatever_the_rules().await;
}
