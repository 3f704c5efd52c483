//! The tables of the hand-written rivals.

use std::collections::HashMap;

use sqlx::PgPool;

use super::books::{Books, Standing};
use super::{Population, in_words, pool, user_id};

/// The statements that create them.
pub(super) const TABLES: &str = include_str!("tables.sql");
const STANDINGS: &str = include_str!("tables_standings.sql");

/// Inserts all participants.
pub(super) async fn enroll(pool: &PgPool, population: &Population) -> Result<(), String> {
    let everybody: Vec<usize> = (0..population.participants()).collect();
    for some in everybody.chunks(pool::ROWS_AT_ONCE) {
        let mut rows = (vec![], vec![], vec![]);
        for &participant in some {
            let parent = population.referrer(participant);
            rows.0.push(user_id(participant));
            rows.1.push(parent.map(user_id));
            rows.2.push(parent.and_then(|parent| population.referrer(parent)).map(user_id));
        }
        sqlx::query(
            "with enrolled as (
                insert into participants
                select * from unnest($1::text[], $2::text[], $3::text[])
                returning user_id
            )
            insert into balances select user_id from enrolled",
        )
        .bind(rows.0)
        .bind(rows.1)
        .bind(rows.2)
        .execute(pool)
        .await
        .map_err(in_words)?;
    }
    sqlx::raw_sql("analyze participants, balances, purchases, entries")
        .execute(pool)
        .await
        .map_err(in_words)?;
    Ok(())
}

/// See [`super::Rival::check`].
pub(super) async fn check(
    pool: &PgPool,
    population: &Population,
    acknowledged: u64,
) -> Result<(), String> {
    let purchases = sqlx::query_as("select buyer_user_id, amount_minor from purchases")
        .fetch_all(pool)
        .await
        .map_err(in_words)?;
    let rows: Vec<(String, i64, i64, i64, bool)> =
        sqlx::query_as(STANDINGS).fetch_all(pool).await.map_err(in_words)?;
    let standings: HashMap<_, _> = rows
        .into_iter()
        .map(|(user_id, rewards, granted_minor, balance_minor, converted)| {
            (user_id, Standing { rewards, granted_minor, balance_minor, converted })
        })
        .collect();
    Books { purchases, standings }.check(population, acknowledged)
}
