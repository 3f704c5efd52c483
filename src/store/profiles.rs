//! Reading personal data. The append writes it, with the events that it belongs to.

use sqlx::PgPool;

use super::StoreError;
use domain::UserId;

/// The names of a user, as other users may see them.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ProfileNames {
    pub user_id: String,
    pub username: String,
    pub display_name: String,
}

/// The names of one user; `None` if there is no such user or they were erased.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn profile_names(
    pool: &PgPool,
    user_id: &UserId,
) -> Result<Option<ProfileNames>, StoreError> {
    let names =
        sqlx::query_as("select user_id, username, display_name from profiles where user_id = $1")
            .bind(user_id.as_str())
            .fetch_optional(pool)
            .await?;
    Ok(names)
}

/// The names of several users. Those who do not exist or whose names were erased are missing.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn profile_names_of(
    pool: &PgPool,
    user_ids: &[&str],
) -> Result<Vec<ProfileNames>, StoreError> {
    let names = sqlx::query_as(
        "select user_id, username, display_name from profiles where user_id = any($1)",
    )
    .bind(user_ids)
    .fetch_all(pool)
    .await?;
    Ok(names)
}
