//! Tables of what is to be done at a moment: a server locks rows whose time has come, does what they say, and deletes
//! them, all in one transaction.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};

use super::StoreError;
use domain::Timestamp;

/// How many due rows are counted at most.
const MOST_COUNTED: i64 = 10_000;

/// The statements of a table.
#[derive(Clone, Copy, Debug)]
pub struct Statements {
    lock_due: &'static str,
    delete: &'static str,
    put_off: &'static str,
    count_waiting: &'static str,
}

/// The statements of a table with the columns `due_time_us` and `attempts`: its name, its own columns, and the one that
/// says when something was to be done.
macro_rules! statements {
    ($table:literal, $columns:literal, $time:literal) => {
        $crate::store::timed::Statements::new(
            concat!(
                "select ctid::text as row, attempts, ",
                $columns,
                " from ",
                $table,
                " where due_time_us <= $1 order by due_time_us limit $2 for update skip locked"
            ),
            concat!("delete from ", $table, " where ctid = any ($1::text[]::tid[])"),
            concat!(
                "update ",
                $table,
                " set due_time_us = $2, attempts = attempts + 1 where ctid = $1::text::tid"
            ),
            concat!(
                "select count(*) as due, min(",
                $time,
                ") as since from (select ",
                $time,
                " from ",
                $table,
                " where due_time_us <= $1 order by due_time_us limit $2) as due"
            ),
        )
    };
}
pub(super) use statements;

impl Statements {
    pub(super) const fn new(
        lock_due: &'static str,
        delete: &'static str,
        put_off: &'static str,
        count_waiting: &'static str,
    ) -> Self {
        Self { lock_due, delete, put_off, count_waiting }
    }
}

/// What a row says.
pub trait Due: Sized {
    /// The statements of the table.
    const STATEMENTS: Statements;

    /// Reads a row.
    ///
    /// # Errors
    /// [`StoreError`] if the row makes no sense.
    fn read(row: &PgRow) -> Result<Self, StoreError>;
}

/// A row whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked<T> {
    /// The row, for as long as it is locked.
    pub row: String,
    /// How many attempts have failed.
    pub attempts: i32,
    /// What it says.
    pub due: T,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many rows are due, counted up to 10,000.
    pub due: i64,
    /// When the first of them was to be done.
    pub since: Option<Timestamp>,
}

/// Locks at most `limit` rows that are due at `now`, the oldest first, and passes over those that another server has
/// locked. They stay locked until the transaction of the connection ends.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn lock_due<T: Due>(
    transaction: &mut PgConnection,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Locked<T>>, StoreError> {
    let rows =
        sqlx::query(T::STATEMENTS.lock_due).bind(now.0).bind(limit).fetch_all(transaction).await?;
    rows.iter()
        .map(|row| {
            Ok(Locked {
                row: row.try_get("row")?,
                attempts: row.try_get("attempts")?,
                due: T::read(row)?,
            })
        })
        .collect()
}

/// Deletes locked rows.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn delete<T: Due>(
    transaction: &mut PgConnection,
    rows: &[&str],
) -> Result<(), StoreError> {
    sqlx::query(T::STATEMENTS.delete).bind(rows).execute(transaction).await?;
    Ok(())
}

/// Puts a locked row off until a later moment.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn put_off<T: Due>(
    transaction: &mut PgConnection,
    row: &str,
    until: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(T::STATEMENTS.put_off).bind(row).bind(until.0).execute(transaction).await?;
    Ok(())
}

/// Counts what waits.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn count_waiting<T: Due>(pool: &PgPool, now: Timestamp) -> Result<Waiting, StoreError> {
    let row = sqlx::query(T::STATEMENTS.count_waiting)
        .bind(now.0)
        .bind(MOST_COUNTED)
        .fetch_one(pool)
        .await?;
    let since: Option<i64> = row.try_get("since")?;
    Ok(Waiting { due: row.try_get("due")?, since: since.map(Timestamp) })
}
