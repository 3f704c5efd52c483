//! Second factors: what is stored of them, and which codes of the app are used up. The secrets are encrypted; see
//! [`access::second_factor`](crate::access::second_factor).

use sqlx::{PgPool, Row};

use super::StoreError;
use domain::UserId;

/// The second factor of a user, as it is stored.
pub struct StoredFactor {
    /// The secret, encrypted.
    pub sealed_secret: Vec<u8>,
    /// Whether a login needs it; else it is being set up.
    pub is_on: bool,
}

/// The second factor of a user; `None` if there is none.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn find(pool: &PgPool, user_id: &UserId) -> Result<Option<StoredFactor>, StoreError> {
    let row = sqlx::query("select sealed_secret, is_on from second_factors where user_id = $1")
        .bind(user_id.as_str())
        .fetch_optional(pool)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(StoredFactor {
        sealed_secret: row.try_get("sealed_secret")?,
        is_on: row.try_get("is_on")?,
    }))
}

/// Uses up the code of a period, if neither that nor a later one was used. On all servers together, one caller is
/// told `true`.
///
/// # Errors
/// [`StoreError`] if it cannot be written.
pub async fn use_period(pool: &PgPool, user_id: &UserId, period: i64) -> Result<bool, StoreError> {
    let used = sqlx::query(
        "update second_factors set last_period = $2 \
         where user_id = $1 and is_on and last_period < $2",
    )
    .bind(user_id.as_str())
    .bind(period)
    .execute(pool)
    .await?;
    Ok(used.rows_affected() > 0)
}

/// Whether this is the hash of a recovery code of the user that has not been used.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn has_recovery_code(
    pool: &PgPool,
    user_id: &UserId,
    hash: &[u8; 32],
) -> Result<bool, StoreError> {
    let found = sqlx::query(
        "select from second_factors where user_id = $1 and is_on and $2 = any (recovery_hashes)",
    )
    .bind(user_id.as_str())
    .bind(&hash[..])
    .fetch_optional(pool)
    .await?;
    Ok(found.is_some())
}
