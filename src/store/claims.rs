//! Looking up who owns a unique value. The append writes claims.

use sqlx::PgPool;
use uuid::Uuid;

use super::StoreError;
use domain::ClaimKind;

/// The owner of a value: a user, a participant (`program/user`) or a program; `None` if nobody has it. Nobody has one
/// with a NUL, which texts of Postgres cannot contain.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn owner_of(
    pool: &PgPool,
    kind: ClaimKind,
    value: &str,
) -> Result<Option<String>, StoreError> {
    if value.contains('\0') {
        return Ok(None);
    }
    let owner = sqlx::query_scalar("select owner from claims where kind = $1 and value = $2")
        .bind(kind.as_str())
        .bind(kind.normal_form(value))
        .fetch_optional(pool)
        .await?;
    Ok(owner)
}

/// What of a sign-up is known already.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct KnownSignUp {
    /// Somebody has the username.
    pub username_taken: bool,
    /// Somebody has the e-mail address.
    pub email_taken: bool,
    /// A request with the same key was carried out.
    pub is_repetition: bool,
}

/// What of a sign-up is known already.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn known_sign_up(
    pool: &PgPool,
    username: &str,
    email: &str,
    request: Option<Uuid>,
) -> Result<KnownSignUp, StoreError> {
    let known = sqlx::query_as(include_str!("known_sign_up.sql"))
        .bind(ClaimKind::Username.normal_form(username))
        .bind(ClaimKind::Email.normal_form(email))
        .bind(request)
        .fetch_one(pool)
        .await?;
    Ok(known)
}
