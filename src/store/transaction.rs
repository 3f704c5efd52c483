//! Transactions on connections that others use afterwards.

use sqlx::{PgPool, Postgres, Transaction};

/// Begins a transaction on a connection of a pool. Use this instead of the pool's own method.
///
/// sqlx rolls a transaction back that is dropped, but not one that is still beginning when the caller gives up
/// (<https://github.com/launchbadge/sqlx/issues/2054>): the connection would go back to the pool with an open
/// transaction, and whoever gets it next would write into that. So a task of its own begins, whatever becomes of the
/// caller.
///
/// # Errors
/// What the database says.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    begin_with(pool, "begin").await
}

/// As [`begin`], with a statement that says what kind of transaction.
///
/// # Errors
/// What the database says.
pub async fn begin_with(
    pool: &PgPool,
    statement: &'static str,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await });
    // A task fails only if the process ends.
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
