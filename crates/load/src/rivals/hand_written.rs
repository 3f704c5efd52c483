//! A carefully written transaction of SQL statements, with balances that are updated in place.
//!
//! A purchase is one transaction: it inserts the purchase under its unique name and reads the earners in the
//! same statement; marks the buyer's first purchase; updates the balances of both earners; and inserts a row
//! for each reward, with the same explanation as the engine's event. Statements are prepared, and there are
//! six round trips, `begin` and `commit` included (seven for a buyer's first purchase).
//!
//! Why it is fair:
//!
//! - Rows are locked in a fixed order (the buyer, then the earners by name), so that there are no deadlocks
//!   and no retries.
//! - Contended rows are locked last: the balances of earners, just before the rewards are written and the
//!   transaction ends.
//! - Balances are narrow rows with space for new versions, so that an update touches no index; each table has
//!   one index, while the engine's log has two.
//! - One row holds both earners, since lines never change.
//!
//! What it leaves out: it supports one program with two levels, and only the current state. There is no order
//! of all changes, so no consumer can resume where it left off, and no explanation of a reward other than the
//! stored one.

use sqlx::{PgPool, Postgres, Transaction};

use domain::ParticipantEvent;

use super::sale::{Earning, Sale};
use super::{Population, Rival, in_words, pool, tables};

const SCHEMA: &str = "rival_hand_written";
const RECORD: &str = include_str!("hand_written_record.sql");
const GRANT: &str = include_str!("hand_written_grant.sql");
const ENTRIES: &str = include_str!("hand_written_entries.sql");

/// Hand-written SQL, one statement after the other.
pub struct HandWritten {
    pool: PgPool,
    population: Population,
}

/// A row of `entries`.
struct Entry {
    user_id: String,
    number: i32,
    amount_minor: i64,
    payload: String,
}

impl HandWritten {
    /// Creates the tables and the participants in a separate schema, which replaces that of an earlier run.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn connect(
        url: &str,
        pool_size: u32,
        population: Population,
    ) -> Result<Self, String> {
        let pool = pool::open(url, SCHEMA, &[tables::TABLES], pool_size).await?;
        tables::enroll(&pool, &population).await?;
        Ok(Self { pool, population })
    }

    async fn record(&self, sale: Sale) -> Result<(), sqlx::Error> {
        let payload = sale.payload().map_err(sqlx::Error::Protocol)?;
        let mut transaction = self.pool.begin().await?;
        let line: Option<(Option<String>, Option<String>, bool)> = sqlx::query_as(RECORD)
            .bind(sale.purchase_id.as_str())
            .bind(sale.buyer.user_id.as_str())
            .bind(sale.recorded.amount_minor)
            .bind(payload)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some((parent, grandparent, converted)) = line else {
            return transaction.rollback().await;
        };
        if !converted {
            sqlx::query("update participants set converted = true where user_id = $1")
                .bind(sale.buyer.user_id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        let mut earnings: Vec<_> =
            [parent, grandparent].into_iter().flatten().zip(sale.earnings).collect();
        earnings.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut entries = Vec::with_capacity(earnings.len());
        for (user_id, earning) in earnings {
            entries.push(grant(&mut transaction, user_id, earning).await?);
        }
        let Ok([first, second]) = <[Entry; 2]>::try_from(entries) else {
            return Err(sqlx::Error::Protocol("the buyer has no line of two".into()));
        };
        sqlx::query(ENTRIES)
            .bind(first.user_id)
            .bind(first.number)
            .bind(first.amount_minor)
            .bind(first.payload)
            .bind(second.user_id)
            .bind(second.number)
            .bind(second.amount_minor)
            .bind(second.payload)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}

/// Adds to an earner's balance, and builds the row that explains it.
async fn grant(
    transaction: &mut Transaction<'_, Postgres>,
    user_id: String,
    earning: Earning,
) -> Result<Entry, sqlx::Error> {
    let amount_minor = earning.amount_minor;
    let (level_total_minor, level_count, number, total_minor, balance_minor): (
        i64,
        i32,
        i32,
        i64,
        i64,
    ) = sqlx::query_as(GRANT)
        .bind(&user_id)
        .bind(i32::try_from(earning.level).map_err(broken)?)
        .bind(amount_minor)
        .fetch_one(&mut **transaction)
        .await?;
    let level_count = u32::try_from(level_count).map_err(broken)?;
    let granted: ParticipantEvent =
        earning.granted(level_total_minor, level_count, total_minor, balance_minor).into();
    let payload = serde_json::to_string(&granted).map_err(broken)?;
    Ok(Entry { user_id, number, amount_minor, payload })
}

fn broken(error: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::Protocol(error.to_string())
}

impl Rival for HandWritten {
    fn name(&self) -> &'static str {
        "hand-written SQL, one transaction"
    }

    async fn purchase(&self, number: u64, buyer: usize, amount_minor: i64) -> Result<(), String> {
        let sale = Sale::new(&self.population, number, buyer, amount_minor)?;
        self.record(sale).await.map_err(in_words)
    }

    async fn check(&self, acknowledged: u64) -> Result<(), String> {
        tables::check(&self.pool, &self.population, acknowledged).await
    }
}
