//! Reading personal data. The append writes it, with the events that it belongs to.

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use super::StoreError;
use domain::{ClaimKind, UserId};

/// The names of a user, as other users may see them.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
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

/// The e-mail address of a user; `None` if there is no such user or they were erased.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn profile_email(pool: &PgPool, user_id: &UserId) -> Result<Option<String>, StoreError> {
    let email = sqlx::query_scalar("select email from profiles where user_id = $1")
        .bind(user_id.as_str())
        .fetch_optional(pool)
        .await?;
    Ok(email)
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

/// The ids of the users with this name for display, in any letter case, by id, `limit` at most.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn ids_of_display_name(
    pool: &PgPool,
    display_name: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar(
        "select user_id from profiles where display_name <> '' and lower(display_name) = lower($1)
         order by user_id limit $2",
    )
    .bind(display_name)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(ids)
}

/// The personal data of a user, with what a change of it depends on.
#[derive(Clone)]
pub struct OwnProfile {
    /// The user.
    pub user_id: UserId,
    /// The username.
    pub username: String,
    /// The address. Personal data.
    pub email: String,
    /// The name for display; may be empty.
    pub display_name: String,
    /// The version of the profile that these are the values of; see `domain::ProfileState::version`.
    pub version: u32,
    /// How often the password was changed.
    pub password_changes: u32,
    /// Whether the address is confirmed.
    pub is_email_confirmed: bool,
}

/// Values and counts are read in one statement, and the append writes values with their events, so they fit.
const OWN: &str = "select p.user_id, p.username, p.email, p.display_name, of.* from profiles p \
     cross join lateral (\
         select count(*) filter (where event_type in ('UserProfileUpdated', 'UserEmailChanged')) as version, \
             count(*) filter (where event_type = 'UserPasswordChanged') as password_changes, \
             count(*) filter (where event_type = 'UserEmailConfirmed') as confirmations \
         from events where aggregate_id = p.user_id and aggregate_type = 'User'\
     ) as of ";

/// The personal data of a user; `None` if there is no such user or they were erased.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn own_profile(
    pool: &PgPool,
    user_id: &UserId,
) -> Result<Option<OwnProfile>, StoreError> {
    let query = format!("{OWN} where p.user_id = $1");
    let row = sqlx::query(&query).bind(user_id.as_str()).fetch_optional(pool).await?;
    row.map(|row| own(&row)).transpose()
}

/// The personal data of the user who logs in with this text, an address if it has an `@`, otherwise a username.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn own_profile_of(pool: &PgPool, login: &str) -> Result<Option<OwnProfile>, StoreError> {
    let kind = if login.contains('@') { ClaimKind::Email } else { ClaimKind::Username };
    let query = format!(
        "{OWN} where p.user_id = (select owner from claims where kind = $1 and value = $2)"
    );
    let row = sqlx::query(&query)
        .bind(kind.as_str())
        .bind(kind.normal_form(login.trim()))
        .fetch_optional(pool)
        .await?;
    row.map(|row| own(&row)).transpose()
}

fn own(row: &PgRow) -> Result<OwnProfile, StoreError> {
    let user_id: &str = row.try_get("user_id")?;
    let user_id = UserId::parse(user_id)
        .map_err(|_| StoreError::Nonsense(format!("a profile of user '{user_id}'")))?;
    let count = |name| -> Result<u32, StoreError> {
        Ok(u32::try_from(row.try_get::<i64, _>(name)?).unwrap_or(u32::MAX))
    };
    Ok(OwnProfile {
        user_id,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        display_name: row.try_get("display_name")?,
        version: count("version")?,
        password_changes: count("password_changes")?,
        is_email_confirmed: count("confirmations")? > 0,
    })
}
