//! The transaction of [`HandWritten`](super::HandWritten) as one call of a function in the database:
//! the same tables, the same rows, and one round trip that begins, does and commits everything.
//!
//! Why it is fair: it is about the least that Postgres can do for these rows, one purchase at a time.
//! Locks on balances are held for as long as it takes to write two rows and to commit, with no client
//! in between; statements inside the function are planned once per connection.
//!
//! What it leaves out is what [`HandWritten`](super::HandWritten) leaves out. Its rules are, besides,
//! written in the database and nowhere else.

use sqlx::PgPool;

use super::sale::Sale;
use super::{Population, Rival, in_words, pool, tables};

const SCHEMA: &str = "rival_stored_function";
const FUNCTION: &str = include_str!("record_purchase.sql");

/// Hand-written SQL in one call.
pub struct StoredFunction {
    pool: PgPool,
    population: Population,
}

impl StoredFunction {
    /// Makes the tables, the function and the participants in a schema of their own, in the place of
    /// any that an earlier run left.
    ///
    /// # Errors
    /// If the database will not have it.
    pub async fn connect(
        url: &str,
        pool_size: u32,
        population: Population,
    ) -> Result<Self, String> {
        let pool = pool::open(url, SCHEMA, &[tables::TABLES, FUNCTION], pool_size).await?;
        tables::enroll(&pool, &population).await?;
        Ok(Self { pool, population })
    }
}

impl Rival for StoredFunction {
    fn name(&self) -> &'static str {
        "hand-written SQL, one function call"
    }

    async fn purchase(&self, number: u64, buyer: usize, amount_minor: i64) -> Result<(), String> {
        let sale = Sale::new(&self.population, number, buyer, amount_minor)?;
        sqlx::query("select record_purchase($1, $2, $3, $4)")
            .bind(sale.purchase_id.as_str())
            .bind(sale.buyer.user_id.as_str())
            .bind(amount_minor)
            .bind(sale.payload()?)
            .execute(&self.pool)
            .await
            .map_err(in_words)?;
        Ok(())
    }

    async fn check(&self, acknowledged: u64) -> Result<(), String> {
        tables::check(&self.pool, &self.population, acknowledged).await
    }
}
