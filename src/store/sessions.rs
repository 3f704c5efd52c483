//! The rows of sessions, and what a login needs to know.
//!
//! The database has hashes of refresh tokens only. A session that has ended is ended by an append
//! ([`domain::SideRow::SessionEnds`]); everything else about sessions is here.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::postgres::types::PgInterval;
use sqlx::{PgPool, Row};

use super::log::timestamp;
use super::{StoreError, functions};
use domain::{ClaimKind, SessionId, Timestamp, UserId};

/// How many sessions of a user are listed at most: the newest ones.
const MAX_LISTED: i64 = 1_000;

/// What is known of the person behind a login.
pub struct Credentials {
    /// The user.
    pub user_id: UserId,
    /// The hash of the password, in PHC string form; `None` if there is none.
    pub password_hash: Option<String>,
}

/// A session that was started or refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Its id.
    pub session_id: SessionId,
    /// The user.
    pub user_id: UserId,
    /// The name of the user's role.
    pub role: String,
    /// The head of the log when it began.
    pub position: i64,
    /// When it ends at the latest.
    pub expire_time: Timestamp,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the table")]
pub struct ListedSession {
    pub session_id: String,
    pub user_agent: String,
    pub create_time: Timestamp,
    pub use_time: Timestamp,
    pub expire_time: Timestamp,
}

/// A session to be started.
pub struct NewSession<'a> {
    /// Its id.
    pub session_id: &'a SessionId,
    /// The user.
    pub user_id: &'a UserId,
    /// The hash with which the password was verified.
    pub password_hash: &'a str,
    /// The SHA-256 of the refresh token.
    pub token_hash: [u8; 32],
    /// What the client calls itself.
    pub user_agent: &'a str,
    /// After how long it ends in any case.
    pub lifetime: Duration,
    /// After how long a refresh token that is not used ends.
    pub token_lifetime: Duration,
    /// Whether operators and admins need a second factor. Without one the session is that of a user.
    pub requires_second_factor: bool,
}

/// What became of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It was exchanged.
    Exchanged(StoredSession),
    /// It is unknown, or it or its session has ended.
    Ended,
    /// Somebody has used a copy of it. The session is to be ended.
    Stolen(StoredSession),
}

/// What a login with this text is about: a user's e-mail address if it has an `@`, otherwise a username.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn credentials_of(pool: &PgPool, login: &str) -> Result<Option<Credentials>, StoreError> {
    let kind = if login.contains('@') { ClaimKind::Email } else { ClaimKind::Username };
    let row = sqlx::query(
        "select p.user_id, p.password_hash from claims c join profiles p on p.user_id = c.owner \
         where c.kind = $1 and c.value = $2",
    )
    .bind(kind.as_str())
    .bind(kind.normal_form(login))
    .fetch_optional(pool)
    .await?;
    row.map(|row| credentials(&row)).transpose()
}

/// What is known of a user; `None` if there is no such user or they were erased.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn credentials_of_user(
    pool: &PgPool,
    user_id: &UserId,
) -> Result<Option<Credentials>, StoreError> {
    let row = sqlx::query("select user_id, password_hash from profiles where user_id = $1")
        .bind(user_id.as_str())
        .fetch_optional(pool)
        .await?;
    row.map(|row| credentials(&row)).transpose()
}

fn credentials(row: &PgRow) -> Result<Credentials, StoreError> {
    let user_id = parse("user", row.try_get("user_id")?, UserId::parse)?;
    Ok(Credentials { user_id, password_hash: row.try_get("password_hash")? })
}

/// Replaces the hash of a password by one of the same password with other parameters, unless the password was changed
/// meanwhile.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn rehash(
    pool: &PgPool,
    user_id: &UserId,
    known: &str,
    new: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "update profiles set password_hash = $3 where user_id = $1 and password_hash = $2",
    )
    .bind(user_id.as_str())
    .bind(known)
    .bind(new)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Starts a session; `None` if the password was changed meanwhile or the user was erased.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn start(
    pool: &PgPool,
    new: NewSession<'_>,
) -> Result<Option<StoredSession>, StoreError> {
    let call =
        functions::statement("select * from {start_session}($1, $2, $3, $4, $5, $6, $7, $8)");
    let row = sqlx::query(&call)
        .bind(new.user_id.as_str())
        .bind(new.password_hash)
        .bind(new.session_id.as_str())
        .bind(&new.token_hash[..])
        .bind(new.user_agent)
        .bind(interval(new.lifetime))
        .bind(interval(new.token_lifetime))
        .bind(new.requires_second_factor)
        .fetch_optional(pool)
        .await?;
    row.map(|row| stored(&row, new.user_id.clone())).transpose()
}

/// Exchanges a refresh token for another one. Within `reuse` after the first exchange the token can be exchanged once
/// more.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn refresh(
    pool: &PgPool,
    old_hash: [u8; 32],
    new_hash: [u8; 32],
    token_lifetime: Duration,
    reuse: Duration,
) -> Result<Refreshed, StoreError> {
    let call = functions::statement("select * from {refresh_session}($1, $2, $3, $4)");
    let row = sqlx::query(&call)
        .bind(&old_hash[..])
        .bind(&new_hash[..])
        .bind(interval(token_lifetime))
        .bind(interval(reuse))
        .fetch_one(pool)
        .await?;
    let session = || {
        let user_id = parse("user", row.try_get("user_id")?, UserId::parse)?;
        stored(&row, user_id)
    };
    match row.try_get("outcome")? {
        "refreshed" => Ok(Refreshed::Exchanged(session()?)),
        "stolen" => Ok(Refreshed::Stolen(session()?)),
        "unknown" | "ended" => Ok(Refreshed::Ended),
        other => Err(StoreError::Nonsense(format!("outcome of a refresh '{other}'"))),
    }
}

/// Replaces the hash of a refresh token that was not used yet. Returns whether there was such a token.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn replace_token(
    pool: &PgPool,
    old: [u8; 32],
    new: [u8; 32],
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "update refresh_tokens set hash = $2 where hash = $1 and used_at is null and expires_at > now()",
    )
    .bind(&old[..])
    .bind(&new[..])
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The session of a cookie, which is good for `lifetime` from now on; `None` if the cookie is unknown, or it or its
/// session has ended.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn of_cookie(
    pool: &PgPool,
    hash: [u8; 32],
    lifetime: Duration,
) -> Result<Option<StoredSession>, StoreError> {
    let call = functions::statement("select * from {session_of_cookie}($1, $2)");
    let row =
        sqlx::query(&call).bind(&hash[..]).bind(interval(lifetime)).fetch_optional(pool).await?;
    row.map(|row| {
        let user_id = parse("user", row.try_get("user_id")?, UserId::parse)?;
        stored(&row, user_id)
    })
    .transpose()
}

fn stored(row: &PgRow, user_id: UserId) -> Result<StoredSession, StoreError> {
    Ok(StoredSession {
        session_id: parse("session", row.try_get("session_id")?, SessionId::parse)?,
        user_id,
        role: row.try_get("role")?,
        position: row.try_get("start_position")?,
        expire_time: timestamp(row.try_get("expire_time")?),
    })
}

/// The sessions of a user that have not ended, the newest first.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn list(pool: &PgPool, user_id: &UserId) -> Result<Vec<ListedSession>, StoreError> {
    let rows = sqlx::query(
        "select session_id, user_agent, created_at, used_at, expires_at from sessions s \
         where user_id = $1 and ended_at is null and expires_at > now() \
         and exists (select from refresh_tokens t where t.session_id = s.session_id \
             and t.used_at is null and t.expires_at > now()) \
         order by created_at desc, session_id desc limit $2",
    )
    .bind(user_id.as_str())
    .bind(MAX_LISTED)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ListedSession {
                session_id: row.try_get("session_id")?,
                user_agent: row.try_get("user_agent")?,
                create_time: timestamp(row.try_get("created_at")?),
                use_time: timestamp(row.try_get("used_at")?),
                expire_time: timestamp(row.try_get("expires_at")?),
            })
        })
        .collect()
}

/// Whether a session is one of the user's, and whether it has ended; `None` if the user has no such session.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn has_ended(
    pool: &PgPool,
    user_id: &UserId,
    session_id: &SessionId,
) -> Result<Option<bool>, StoreError> {
    let ended = sqlx::query_scalar(
        "select ended_at is not null or expires_at <= now() from sessions \
         where session_id = $1 and user_id = $2",
    )
    .bind(session_id.as_str())
    .bind(user_id.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(ended)
}

/// The ids of the sessions that were ended within this time.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn ended_within(pool: &PgPool, time: Duration) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar(
        "select session_id from sessions where ended_at > clock_timestamp() - $1",
    )
    .bind(interval(time))
    .fetch_all(pool)
    .await?;
    Ok(ids)
}

/// Deletes up to `limit` refresh tokens that have ended, and as many sessions that ended more than `kept` ago, and
/// returns how many rows that were.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn delete_old(pool: &PgPool, kept: Duration, limit: i64) -> Result<u64, StoreError> {
    let tokens = sqlx::query(
        "delete from refresh_tokens where hash in ( \
             select hash from refresh_tokens where expires_at < now() limit $1)",
    )
    .bind(limit)
    .execute(pool)
    .await?;
    let sessions = sqlx::query(
        "delete from sessions where session_id in ( \
             select session_id from sessions where expires_at < now() - $1 \
             union all \
             select session_id from sessions where ended_at < now() - $1 \
             limit $2)",
    )
    .bind(interval(kept))
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(tokens.rows_affected() + sessions.rows_affected())
}

fn parse<T, E>(
    what: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, StoreError> {
    parse(text).map_err(|_| StoreError::Nonsense(format!("id of a {what} '{text}'")))
}

fn interval(time: Duration) -> PgInterval {
    let microseconds = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
