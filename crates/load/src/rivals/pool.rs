//! The connections of a rival, to a separate schema.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};

use super::in_words;

/// How long a purchase may wait for a connection: with more clients than connections they queue, and the time
/// in the queue is part of the measured latency.
const ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);
/// How many prepared statements a connection keeps. `postgres-es` writes the sequence of the last
/// snapshot into a statement, which makes many of them.
const STATEMENTS: usize = 1_000;
/// How many rows are sent at a time when participants are created.
pub(super) const ROWS_AT_ONCE: usize = 10_000;

/// Creates an empty schema with the tables of `tables`, which replaces one of the same name, and a pool of
/// `size` open connections that use it.
pub(super) async fn open(
    url: &str,
    schema: &str,
    tables: &[&str],
    size: u32,
) -> Result<PgPool, String> {
    let options =
        PgConnectOptions::from_str(url).map_err(in_words)?.application_name("tributary-rival");
    let mut connection = options.connect().await.map_err(in_words)?;
    let fresh = format!("drop schema if exists {schema} cascade; create schema {schema}");
    sqlx::raw_sql(&fresh).execute(&mut connection).await.map_err(in_words)?;
    connection.close().await.map_err(in_words)?;

    let options = options
        .options([("search_path", schema)])
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(size)
        .min_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(in_words)?;
    for sql in tables {
        sqlx::raw_sql(sql).execute(&pool).await.map_err(in_words)?;
    }
    // The pool opens connections in the background; this waits for the last one.
    let mut connections = vec![];
    for _ in 0..size {
        connections.push(pool.acquire().await.map_err(in_words)?);
    }
    drop(connections);
    Ok(pool)
}
