//! Looking up who owns a unique value. The append writes claims.

use sqlx::PgPool;

use super::StoreError;
use domain::ClaimKind;

/// The owner of a value: a user, a participant (`program/user`) or a program; `None` if nobody has it.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn owner_of(
    pool: &PgPool,
    kind: ClaimKind,
    value: &str,
) -> Result<Option<String>, StoreError> {
    let owner = sqlx::query_scalar("select owner from claims where kind = $1 and value = $2")
        .bind(kind.as_str())
        .bind(kind.normal_form(value))
        .fetch_optional(pool)
        .await?;
    Ok(owner)
}
