//! Tokens that are mailed to people, and what makes one of them good.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgExecutor, PgPool, Row};
use uuid::Uuid;

use super::StoreError;
use domain::{MailedToken, TokenPurpose, UserId};

/// A token that somebody presents.
#[derive(Clone)]
pub struct KnownToken {
    /// What the token is good for.
    pub purpose: TokenPurpose,
    /// For whom.
    pub user_id: UserId,
    /// The address that it was mailed to. Personal data.
    pub email: String,
    /// What it depends on; see the migration.
    pub version: u32,
    /// Whether its time is over.
    pub is_expired: bool,
}

/// Makes the token of a mail that is to be sent good for `life` from now on. A mail that is sent again has a token
/// of its own, whose time does not begin anew.
///
/// Returns for how many seconds the token is good; `None` if its row is gone, so that it is not to be mailed.
///
/// # Errors
/// [`StoreError`] if it cannot be written.
pub async fn issue(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    token: &str,
    life: Duration,
) -> Result<Option<f64>, StoreError> {
    let left = sqlx::query_scalar(
        "update mailed_tokens set token_hash = $2, \
             expires_at = coalesce(expires_at, clock_timestamp() + make_interval(secs => $3)) \
         where id = $1 \
         returning extract(epoch from expires_at - clock_timestamp())::float8",
    )
    .bind(id)
    .bind(hash(token))
    .bind(life.as_secs_f64())
    .fetch_optional(executor)
    .await?;
    Ok(left)
}

/// The token with this text; `None` if there is none.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn find(pool: &PgPool, token: &str) -> Result<Option<KnownToken>, StoreError> {
    let row = sqlx::query(
        "select purpose, user_id, email, version, \
             expires_at is null or expires_at <= clock_timestamp() as is_expired \
         from mailed_tokens where token_hash = $1",
    )
    .bind(hash(token))
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (purpose, user_id): (&str, &str) = (row.try_get("purpose")?, row.try_get("user_id")?);
    let nonsense = |what: &str| StoreError::Nonsense(format!("a mailed token with the {what}"));
    Ok(Some(KnownToken {
        purpose: TokenPurpose::parse(purpose).ok_or_else(|| nonsense(purpose))?,
        user_id: UserId::parse(user_id).map_err(|_| nonsense(user_id))?,
        email: row.try_get("email")?,
        version: u32::try_from(row.try_get::<i64, _>("version")?).unwrap_or_default(),
        is_expired: row.try_get("is_expired")?,
    }))
}

/// How often a token for one purpose is mailed for one user at once: enough for somebody whose mails come late, and too
/// few to annoy anybody. More are mailed only when the last one has lost half of its time, so that whoever asks has a
/// token with at least half of its time left, however often others have asked before. (How often another address can be
/// asked for is decided in the domain.)
const LIMIT: MailedTokenLimit = MailedTokenLimit { tokens: 5, within: Duration::from_hours(1) };

struct MailedTokenLimit {
    /// The number of tokens.
    tokens: i64,
    /// Within which time.
    within: Duration,
}

/// Enters a token for a user that is to be mailed and will be good for `life`, unless too many were lately and the last
/// one is still good for half of that. Returns whether it was entered. The connection must be in a transaction.
///
/// # Errors
/// [`StoreError`] if it cannot be written.
pub async fn enter(
    connection: &mut PgConnection,
    token: &MailedToken,
    life: Duration,
) -> Result<bool, StoreError> {
    // Requests for one user wait for each other, so that they cannot pass the limit together.
    sqlx::query(
        "select pg_advisory_xact_lock(\
             hashtextextended('tributary mails ' || current_schema() || ' ' || $1, 0))",
    )
    .bind(token.user_id.as_str())
    .execute(&mut *connection)
    .await?;
    // A user who is being erased is waited for, and keeps nothing.
    let profile = sqlx::query("select from profiles where user_id = $1 for share")
        .bind(token.user_id.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    if profile.is_none() {
        return Ok(false);
    }
    let entered = sqlx::query(
        "insert into mailed_tokens (id, purpose, user_id, email, version) \
         select $1, $2, $3, $4, $5 \
         where (\
             select count(*) from mailed_tokens \
             where user_id = $3 and purpose = $2 \
                 and created_at > clock_timestamp() - make_interval(secs => $7)) < $6 \
         or not exists (\
             select from mailed_tokens \
             where user_id = $3 and purpose = $2 and email = $4 and version = $5 \
                 and coalesce(expires_at, created_at + make_interval(secs => $8)) \
                     > clock_timestamp() + make_interval(secs => $8 / 2))",
    )
    .bind(Uuid::from_bytes(token.id))
    .bind(token.purpose.as_str())
    .bind(token.user_id.as_str())
    .bind(&token.email.0)
    .bind(i64::from(token.version))
    .bind(LIMIT.tokens)
    .bind(LIMIT.within.as_secs_f64())
    .bind(life.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(entered.rows_affected() > 0)
}

/// Deletes tokens that were entered longer than `age` ago and are not good any more, at most `limit`. Returns how many.
///
/// # Errors
/// [`StoreError`] if they cannot be deleted.
pub async fn delete_old(pool: &PgPool, age: Duration, limit: i64) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "delete from mailed_tokens where id = any (array(\
             select id from mailed_tokens \
             where created_at < clock_timestamp() - make_interval(secs => $1) \
                 and coalesce(expires_at < clock_timestamp(), true) \
             order by created_at limit $2))",
    )
    .bind(age.as_secs_f64())
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}

/// The address that a user changes to once it is confirmed, asked for in this version of the profile; `None` if the
/// link in its mail no longer works.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn pending_email(
    pool: &PgPool,
    user_id: &UserId,
    version: u32,
) -> Result<Option<String>, StoreError> {
    let email = sqlx::query_scalar(
        "select email from mailed_tokens \
         where user_id = $1 and purpose = $2 and version = $3 \
             and (expires_at is null or expires_at > clock_timestamp()) \
         order by created_at desc limit 1",
    )
    .bind(user_id.as_str())
    .bind(TokenPurpose::ChangeEmail.as_str())
    .bind(i64::from(version))
    .fetch_optional(pool)
    .await?;
    Ok(email)
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
