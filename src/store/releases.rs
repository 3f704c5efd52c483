//! The table of hold periods that end, and when.

use sqlx::{PgConnection, PgPool, Row};

use super::StoreError;
use domain::{ProgramId, PurchaseId, Timestamp, UserId};

/// How many due rows are counted at most.
const MOST_COUNTED: i64 = 10_000;

/// A hold period that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The row, for as long as it is locked.
    pub row: String,
    /// The program.
    pub program_id: ProgramId,
    /// Whose purchase or referral earned the rewards.
    pub source_user_id: UserId,
    /// The purchase; `None` if the referral itself earned.
    pub purchase_id: Option<PurchaseId>,
    /// How many attempts have failed.
    pub attempts: i32,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many hold periods are over and not ended yet, counted up to 10,000.
    pub due: i64,
    /// When the first of them was over.
    pub since: Option<Timestamp>,
}

/// Locks at most `limit` hold periods that are over at `now`, the oldest first, and passes over those that another
/// server has locked. They stay locked until the transaction of the connection ends.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn lock_due(
    transaction: &mut PgConnection,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Due>, StoreError> {
    let rows = sqlx::query(
        "select ctid::text as row, program_id, source_user_id, purchase_id, attempts from releases \
         where due_time_us <= $1 order by due_time_us limit $2 for update skip locked",
    )
    .bind(now.0)
    .bind(limit)
    .fetch_all(transaction)
    .await?;
    let nonsense = |error| StoreError::Nonsense(format!("a hold period with an id that {error}"));
    rows.iter()
        .map(|row| {
            let purchase_id: &str = row.try_get("purchase_id")?;
            let purchase_id = Some(purchase_id).filter(|id| !id.is_empty());
            Ok(Due {
                row: row.try_get("row")?,
                program_id: ProgramId::parse(row.try_get("program_id")?).map_err(nonsense)?,
                source_user_id: UserId::parse(row.try_get("source_user_id")?).map_err(nonsense)?,
                purchase_id: purchase_id.map(PurchaseId::parse).transpose().map_err(nonsense)?,
                attempts: row.try_get("attempts")?,
            })
        })
        .collect()
}

/// Deletes locked rows.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn delete(transaction: &mut PgConnection, rows: &[&str]) -> Result<(), StoreError> {
    let query = "delete from releases where ctid = any ($1::text[]::tid[])";
    sqlx::query(query).bind(rows).execute(transaction).await?;
    Ok(())
}

/// Puts a locked row off until a later moment.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn put_off(
    transaction: &mut PgConnection,
    row: &str,
    until: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "update releases set due_time_us = $2, attempts = attempts + 1 where ctid = $1::text::tid",
    )
    .bind(row)
    .bind(until.0)
    .execute(transaction)
    .await?;
    Ok(())
}

/// Counts what waits.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn count_waiting(pool: &PgPool, now: Timestamp) -> Result<Waiting, StoreError> {
    let row = sqlx::query(
        "select count(*) as due, min(release_time_us) as since from (\
             select release_time_us from releases where due_time_us <= $1 \
             order by due_time_us limit $2\
         ) as due",
    )
    .bind(now.0)
    .bind(MOST_COUNTED)
    .fetch_one(pool)
    .await?;
    let since: Option<i64> = row.try_get("since")?;
    Ok(Waiting { due: row.try_get("due")?, since: since.map(Timestamp) })
}
