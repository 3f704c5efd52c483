//! The transaction of [`HandWritten`](super::HandWritten) as one call of a database function: the same
//! tables, the same rows, and one round trip for the whole transaction.
//!
//! Why it is fair: this is close to the minimum of work that Postgres can do for these rows, one purchase at
//! a time. Locks on balances are held for as long as it takes to write two rows and to commit, with no client
//! in between; statements inside the function are planned once per connection.
//!
//! What it leaves out is what [`HandWritten`](super::HandWritten) leaves out. In addition, its rules exist
//! only in the database.

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
    /// Creates the tables, the function and the participants in a separate schema, which replaces that of an
    /// earlier run.
    ///
    /// # Errors
    /// If the database fails.
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
