//! What a connection cannot set, and is checked when the program starts.

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Connection, Executor, PgConnection, Row};

use super::{StoreError, in_connect_time};

/// How often two connections are compared.
const POOLING_ROUNDS: usize = 4;

/// Why a database cannot be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// Its Postgres is too old.
    #[error("its Postgres has version {0}, and version 15 or later is needed: upgrade it")]
    Version(u32),
    /// It stores other characters than those that callers send.
    #[error(
        "its encoding is {0}, and names need UTF8: make another with \
         \"create database NAME encoding 'UTF8' template template0\", and name it in the URL"
    )]
    Encoding(String),
    /// It is a standby.
    #[error(
        "it is a standby, which accepts no writes: name the primary in the URL, or promote the standby"
    )]
    Standby,
    /// Its transactions are read-only unless they say otherwise.
    #[error(
        "its transactions are read-only by default: set default_transaction_read_only to off, with \
         'alter role' or 'alter database', where it was set to on"
    )]
    ReadOnly,
    /// The search path names no schema that exists.
    #[error(
        "its search path ({0}) names no schema that exists and that this role may use: create the \
         schema, or name another with options=-csearch_path%3DSCHEMA in the URL"
    )]
    NoSchema(String),
    /// A pooler changes the session between two statements.
    #[error(
        "a pooler in front of it gives each transaction another session, which loses locks, notices and \
         settings: set the pooler to session mode (pool_mode = session), or connect directly"
    )]
    Pooled,
    /// Tables are missing although the migrations that create them have been carried out.
    #[error("{0} although its schema is up to date: restore it from a backup")]
    Incomplete(String),
}

impl Unsuitable {
    /// As an error of a connection.
    pub(super) fn into_error(self) -> sqlx::Error {
        sqlx::Error::InvalidArgument(self.to_string())
    }
}

/// Checks that a connection keeps its session. In session mode two open connections have two backends, which
/// stay the same. Otherwise they often share one, or change it.
///
/// The connections are bare: settings would stay behind in sessions that other programs use.
pub(super) async fn check_pooling(options: &PgConnectOptions) -> Result<(), StoreError> {
    let bare = || in_connect_time(PgConnection::connect_with(options));
    let (mut one, mut other) = (bare().await?, bare().await?);
    let first = (backend(&mut one).await?, backend(&mut other).await?);
    let mut is_kept = first.0 != first.1;
    for _ in 0..POOLING_ROUNDS {
        // The first connection twice in a row: a pooler that takes turns gives it two backends.
        is_kept &= backend(&mut one).await? == first.0;
        is_kept &= backend(&mut one).await? == first.0;
        is_kept &= backend(&mut other).await? == first.1;
    }
    let _ = tokio::join!(one.close(), other.close());
    if is_kept { Ok(()) } else { Err(Unsuitable::Pooled.into()) }
}

async fn backend(connection: &mut PgConnection) -> Result<i32, StoreError> {
    let row = connection.fetch_one(sqlx::raw_sql("select pg_catalog.pg_backend_pid()")).await?;
    Ok(row.try_get(0)?)
}

/// Checks the database, and warns of settings that make answers less durable.
pub(super) async fn check_database(connection: &mut PgConnection) -> Result<(), StoreError> {
    let row = sqlx::query(include_str!("checks.sql")).fetch_one(connection).await?;
    let encoding: String = row.try_get("encoding")?;
    if encoding != "UTF8" {
        return Err(Unsuitable::Encoding(encoding).into());
    }
    if row.try_get("is_read_only")? {
        return Err(Unsuitable::ReadOnly.into());
    }
    if row.try_get::<Option<&str>, _>("schema")?.is_none() {
        return Err(Unsuitable::NoSchema(row.try_get("search_path")?).into());
    }
    // What `prepare` has set must still be set.
    if row.try_get::<&str, _>("isolation")? != "read committed" {
        return Err(Unsuitable::Pooled.into());
    }
    warn_of_losses(&row)?;
    Ok(())
}

fn warn_of_losses(row: &PgRow) -> Result<(), sqlx::Error> {
    for (setting, consequence) in [
        ("fsync", "a crash of the machine can destroy the database"),
        ("full_page_writes", "a crash of the machine can destroy the database"),
        ("synchronous_commit", "a crash of Postgres loses changes that were answered"),
    ] {
        if row.try_get::<&str, _>(setting)? == "off" {
            tracing::warn!(setting, consequence, "a setting of Postgres is off; turn it on");
        }
    }
    Ok(())
}
