//! Users, of all programs or of one.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::standing::{member, time};
use super::{At, Freshness, Member, ReadError, Reads, sql};
use crate::store::{ProfileNames, StoreError};
use domain::{ProgramId, Timestamp, UserStatus};

/// What a list of a program's users needs to know about the program.
#[derive(Clone, Debug, Default)]
pub struct ListedProgram {
    /// The unit of balances.
    pub unit: String,
    /// The beginning of links.
    pub base_url: String,
}

/// A user in a list.
#[derive(Clone)]
pub struct ListedUser {
    /// The user.
    pub user_id: String,
    /// The user's names; `None` if they were erased.
    pub names: Option<ProfileNames>,
    /// The status of the account.
    pub status: UserStatus,
    /// When the user registered.
    pub register_time: Timestamp,
    /// The position by which the list is ordered: that of the enrollment in a list of one program, otherwise
    /// that of the registration.
    pub order_position: i64,
    /// The participant, in a list of one program.
    pub member: Option<Member>,
    /// The names of the participant's referrer, in a list of one program; `None` if there is none, or if they were
    /// erased.
    pub referrer: Option<ProfileNames>,
}

impl Reads {
    /// Users, newest first: all users, or those of a program with their participants.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn users(
        &self,
        program_id: Option<&ProgramId>,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<(Option<ListedProgram>, Vec<ListedUser>)>, ReadError> {
        let rows = self
            .read(freshness, || match program_id {
                None => sqlx::query(sql!("users.sql")).bind(before_position).bind(limit),
                Some(program_id) => sqlx::query(sql!("users_of_program.sql"))
                    .bind(before_position)
                    .bind(limit)
                    .bind(program_id.to_string()),
            })
            .await?;
        let program = match rows.found.first() {
            Some(row) if program_id.is_some() => {
                let unit: Option<String> = row.try_get("unit")?;
                let base_url: Option<String> = row.try_get("base_url")?;
                unit.zip(base_url).map(|(unit, base_url)| ListedProgram { unit, base_url })
            }
            _ => None,
        };
        let mut users = Vec::with_capacity(rows.found.len());
        for row in &rows.found {
            users.extend(listed(row, program_id.is_some())?);
        }
        Ok(At { position: rows.position, found: (program, users) })
    }

    /// The users with these ids, by their ids. Unknown ones are left out.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn users_of(
        &self,
        user_ids: &[String],
        freshness: Freshness,
    ) -> Result<At<Vec<ListedUser>>, ReadError> {
        let rows = self
            .read(freshness, || sqlx::query(sql!("users_of_ids.sql")).bind(user_ids.to_vec()))
            .await?;
        let mut users = Vec::with_capacity(rows.found.len());
        for row in &rows.found {
            users.extend(listed(row, false)?);
        }
        Ok(At { position: rows.position, found: users })
    }
}

/// The user of a row, as a participant if the list is of one program; `None` if the row is that of an empty list.
fn listed(row: &PgRow, in_program: bool) -> Result<Option<ListedUser>, ReadError> {
    let Some(user_id) = row.try_get::<Option<String>, _>("user_id")? else { return Ok(None) };
    let member = if in_program { member(row)? } else { None };
    let referrer = match member.as_ref().and_then(|member| member.referrer_user_id.as_ref()) {
        Some(referrer) => names(row, referrer, "referrer_username", "referrer_display_name")?,
        None => None,
    };
    let status = match (row.try_get("is_active")?, row.try_get("is_erased")?) {
        (_, true) => UserStatus::Erased,
        (true, false) => UserStatus::Active,
        (false, false) => UserStatus::Inactive,
    };
    let order_position = match &member {
        Some(member) => member.enrolled_position,
        None => row.try_get("registered_position")?,
    };
    Ok(Some(ListedUser {
        names: names(row, &user_id, "username", "display_name")?,
        status,
        register_time: time(row, "register_time")?
            .ok_or_else(|| StoreError::Nonsense(format!("{user_id} never registered")))?,
        order_position,
        user_id,
        member,
        referrer,
    }))
}

/// The names of a user, from these columns; `None` if they were erased.
pub(super) fn names(
    row: &PgRow,
    user_id: &str,
    username: &str,
    display_name: &str,
) -> Result<Option<ProfileNames>, StoreError> {
    let username = row.try_get::<Option<_>, _>(username)?;
    let display_name = row.try_get::<Option<_>, _>(display_name)?;
    Ok(username.zip(display_name).map(|(username, display_name)| ProfileNames {
        user_id: user_id.into(),
        username,
        display_name,
    }))
}
