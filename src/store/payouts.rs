//! What payouts need of the log, a page at a time, and how people are paid.
//!
//! Statements that look through the log are planned anew each time: a plan from when the log was small would read it
//! whole.

use std::collections::HashMap;

use sqlx::{PgPool, Row};

use super::StoreError;
use domain::{PayoutKey, UserId};

/// A line of a payout as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeLine {
    /// Whose line.
    pub user_id: UserId,
    /// What was reserved, in minor units; `None` if they were skipped.
    pub reserved_minor: Option<i64>,
}

/// The next lines of a payout after a user, at most `limit`.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn lines(
    pool: &PgPool,
    payout: &PayoutKey,
    after: &str,
    limit: i64,
) -> Result<Vec<MadeLine>, StoreError> {
    let rows = sqlx::query(
        "select substr(aggregate_id, length($1) + 2) as user_id, \
             (payload ->> 'amount_minor')::bigint as reserved \
         from events \
         where aggregate_id > $1 || '/' || $2 and aggregate_id < $1 || '0' \
             and aggregate_type = 'PayoutLine' and sequence = 1 \
         order by aggregate_id limit $3",
    )
    .bind(payout.to_string())
    .bind(after)
    .bind(limit)
    .persistent(false)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(MadeLine {
                user_id: user_id(row.try_get("user_id")?)?,
                reserved_minor: row.try_get("reserved")?,
            })
        })
        .collect()
}

/// How people are paid: kind and reference, by user. Whoever has not said so is left out. Personal data.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn methods(
    pool: &PgPool,
    user_ids: &[&str],
) -> Result<HashMap<String, (String, String)>, StoreError> {
    let rows =
        sqlx::query("select user_id, kind, reference from payout_methods where user_id = any($1)")
            .bind(user_ids)
            .fetch_all(pool)
            .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("user_id")?, (row.try_get("kind")?, row.try_get("reference")?))))
        .collect()
}

fn user_id(text: &str) -> Result<UserId, StoreError> {
    UserId::parse(text).map_err(|_| StoreError::Nonsense(format!("a user with the id '{text}'")))
}
