//! The tables of API keys and of the roles of people. The append writes their rows, with the events that they belong
//! to; only the last use of a key, and how often it was refused, are written here.

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;

use super::StoreError;
use super::log::{database_time, timestamp};
use domain::{ApiKeyId, KeyRole, ProgramId, Timestamp, UserId, UserRole};

/// A key, without the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct KnownKey {
    pub key_id: String,
    pub name: String,
    pub role: KeyRole,
    pub user_id: Option<UserId>,
    pub rpcs: Option<Vec<String>>,
    pub program_ids: Option<Vec<ProgramId>>,
    pub create_time: Timestamp,
    pub expire_time: Option<Timestamp>,
    pub revoke_time: Option<Timestamp>,
    pub last_use_time: Option<Timestamp>,
    pub refused_calls: i64,
    pub last_refused_time: Option<Timestamp>,
    /// As the log names actors.
    pub created_by: String,
    pub creator_user_id: Option<UserId>,
}

/// The place of a key in lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    /// When it was created.
    pub create_time: Timestamp,
    /// Its id.
    pub key_id: String,
}

/// All columns but the hash.
const COLUMNS: &str = "key_id, name, role, user_id, rpcs, program_ids, created_at, expires_at, revoked_at, \
                       last_used_at, refused_calls, last_refused_at, created_by, creator_user_id";

fn read(row: &PgRow) -> Result<KnownKey, StoreError> {
    let nonsense = |what: &str| StoreError::Nonsense(format!("{what} of an API key"));
    let time = |column: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<OffsetDateTime>, _>(column)?.map(timestamp))
    };
    let program_ids = |ids: Vec<String>| {
        let ids: Result<_, _> = ids.iter().map(|id| ProgramId::parse(id)).collect();
        ids.map_err(|_| nonsense("program"))
    };
    let user = |column: &str| {
        let id = row.try_get::<Option<&str>, _>(column)?.map(UserId::parse);
        id.transpose().map_err(|_| nonsense("user"))
    };
    Ok(KnownKey {
        key_id: row.try_get("key_id")?,
        name: row.try_get("name")?,
        role: KeyRole::parse(row.try_get("role")?).ok_or_else(|| nonsense("role"))?,
        user_id: user("user_id")?,
        rpcs: row.try_get("rpcs")?,
        program_ids: row
            .try_get::<Option<Vec<String>>, _>("program_ids")?
            .map(program_ids)
            .transpose()?,
        create_time: time("created_at")?.unwrap_or_default(),
        expire_time: time("expires_at")?,
        revoke_time: time("revoked_at")?,
        last_use_time: time("last_used_at")?,
        refused_calls: row.try_get("refused_calls")?,
        last_refused_time: time("last_refused_at")?,
        created_by: row.try_get("created_by")?,
        creator_user_id: user("creator_user_id")?,
    })
}

/// The key with this SHA-256, also if it was revoked.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn of_hash(pool: &PgPool, hash: &[u8; 32]) -> Result<Option<KnownKey>, StoreError> {
    let sql = format!("select {COLUMNS} from api_keys where hash = $1");
    let row = sqlx::query(&sql).bind(&hash[..]).fetch_optional(pool).await?;
    row.as_ref().map(read).transpose()
}

/// The key with this id.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn of_id(pool: &PgPool, key_id: &ApiKeyId) -> Result<Option<KnownKey>, StoreError> {
    let sql = format!("select {COLUMNS} from api_keys where key_id = $1");
    let row = sqlx::query(&sql).bind(key_id.as_str()).fetch_optional(pool).await?;
    row.as_ref().map(read).transpose()
}

/// Keys, of one user or all, the newest first, from before a place or from the newest.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn list(
    pool: &PgPool,
    user_id: Option<&UserId>,
    before: Option<&KeyPlace>,
    rows: i64,
) -> Result<Vec<KnownKey>, StoreError> {
    let of_user = if user_id.is_some() { "user_id = $1" } else { "$1::text is null" };
    let in_order = if before.is_some() {
        "(created_at, key_id) < ($2, $3)"
    } else {
        "$2::timestamptz is null and $3::text is null"
    };
    let sql = format!(
        "select {COLUMNS} from api_keys where {of_user} and {in_order} \
         order by created_at desc, key_id desc limit $4"
    );
    let rows = sqlx::query(&sql)
        .bind(user_id.map(UserId::as_str))
        .bind(before.map(|place| database_time(place.create_time)))
        .bind(before.map(|place| &*place.key_id))
        .bind(rows)
        .fetch_all(pool)
        .await?;
    rows.iter().map(read).collect()
}

/// How many valid keys a user has.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn count_valid(
    pool: &PgPool,
    user_id: &UserId,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar(
        "select count(*) from api_keys \
         where user_id = $1 and revoked_at is null and (expires_at is null or expires_at > $2)",
    )
    .bind(user_id.as_str())
    .bind(database_time(now))
    .fetch_one(pool)
    .await?;
    Ok(count)
}

/// Records when keys were in use.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn record_uses(pool: &PgPool, uses: &[(String, Timestamp)]) -> Result<(), StoreError> {
    let (keys, times): (Vec<&str>, Vec<OffsetDateTime>) =
        uses.iter().map(|(key_id, time)| (key_id.as_str(), database_time(*time))).unzip();
    sqlx::query(
        "update api_keys set last_used_at = used.at \
         from unnest($1::text[], $2::timestamptz[]) as used (key_id, at) \
         where api_keys.key_id = used.key_id \
             and (api_keys.last_used_at is null or api_keys.last_used_at < used.at)",
    )
    .bind(keys)
    .bind(times)
    .execute(pool)
    .await?;
    Ok(())
}

/// Adds to the numbers of calls in which keys were refused, each with the time of the last.
///
/// # Errors
/// [`StoreError`] if the database cannot be written.
pub async fn record_refusals(
    pool: &PgPool,
    refusals: &[(String, i64, Timestamp)],
) -> Result<(), StoreError> {
    let keys: Vec<&str> = refusals.iter().map(|(key_id, ..)| key_id.as_str()).collect();
    let counts: Vec<i64> = refusals.iter().map(|(_, count, _)| *count).collect();
    let times: Vec<OffsetDateTime> =
        refusals.iter().map(|(.., time)| database_time(*time)).collect();
    sqlx::query(
        "update api_keys set refused_calls = refused_calls + refused.calls, \
             last_refused_at = greatest(last_refused_at, refused.at) \
         from unnest($1::text[], $2::bigint[], $3::timestamptz[]) as refused (key_id, calls, at) \
         where api_keys.key_id = refused.key_id",
    )
    .bind(keys)
    .bind(counts)
    .bind(times)
    .execute(pool)
    .await?;
    Ok(())
}

/// The role of a person.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn role_of(pool: &PgPool, user_id: &UserId) -> Result<UserRole, StoreError> {
    let role: Option<String> = sqlx::query_scalar("select role from user_roles where user_id = $1")
        .bind(user_id.as_str())
        .fetch_optional(pool)
        .await?;
    role.map_or(Ok(UserRole::Participant), |role| parse_role(&role))
}

/// Everybody who is an operator or an admin.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn staff(pool: &PgPool) -> Result<Vec<(String, UserRole)>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select user_id, role from user_roles where role <> 'participant'")
            .fetch_all(pool)
            .await?;
    rows.into_iter().map(|(user_id, role)| Ok((user_id, parse_role(&role)?))).collect()
}

fn parse_role(role: &str) -> Result<UserRole, StoreError> {
    UserRole::parse(role).ok_or_else(|| StoreError::Nonsense(format!("role '{role}' of a user")))
}
