//! Who referred whom, as lists and as a tree.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::accounts::names;
use super::standing::member;
use super::{At, Freshness, Member, ReadError, Reads, sql};
use crate::store::{ProfileNames, StoreError};
use domain::{ParticipantId, ProgramId, ReferralStatus, UserId};

/// The maximum number of participants that a list over several levels examines.
pub const MAX_BELOW: i64 = 100_000;
/// The maximum number of nodes of a tree.
pub const MAX_NODES: i64 = 1_000;

/// Which referrals to list.
#[derive(Clone, Debug)]
pub struct ReferralList {
    /// The program.
    pub program_id: ProgramId,
    /// The participant at the top; `None` for all of the program.
    pub user_id: Option<UserId>,
    /// The number of levels: 1 for direct referrals.
    pub max_level: u32,
    /// The status of the referrals; `None` for any.
    pub status: Option<ReferralStatus>,
    /// Only referrals made before this position of the log.
    pub before_position: i64,
    /// The maximum number of referrals.
    pub limit: i64,
}

/// A referee in a list.
#[derive(Clone)]
pub struct ListedReferral {
    /// The referee.
    pub referee: Member,
    /// The level below the top.
    pub level: u32,
    /// What the participant at the top earned through the referee, in minor units of the program's unit.
    pub brought_in_minor: i64,
    /// The names of the referrer, in a list of a whole program; `None` if they were erased.
    pub referrer: Option<ProfileNames>,
}

/// The content of a list or a tree.
#[derive(Clone)]
pub struct Listed {
    /// The program's unit; `None` if the read models know no such program.
    pub unit: Option<String>,
    /// In order.
    pub referrals: Vec<ListedReferral>,
    /// Whether there are more participants below than are examined.
    pub is_too_large: bool,
}

impl Reads {
    /// Referrals, newest first.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn referrals(
        &self,
        list: &ReferralList,
        freshness: Freshness,
    ) -> Result<At<Listed>, ReadError> {
        let statuses: Vec<String> = match list.status {
            Some(status) => vec![status.as_str().into()],
            None => ReferralStatus::ALL.iter().map(|status| status.as_str().into()).collect(),
        };
        let rows = self
            .read(freshness, || {
                let sql = match &list.user_id {
                    None => sql!("referrals_of_program.sql"),
                    Some(_) if list.max_level > 1 => sql!("referrals_below_user.sql"),
                    Some(_) => sql!("referrals_of_user.sql"),
                };
                let query = sqlx::query(sql)
                    .bind(list.program_id.to_string())
                    .bind(statuses.clone())
                    .bind(list.before_position)
                    .bind(list.limit);
                match &list.user_id {
                    None => query,
                    Some(user_id) if list.max_level > 1 => query
                        .bind(user_id.to_string())
                        .bind(i32::try_from(list.max_level).unwrap_or(i32::MAX))
                        .bind(MAX_BELOW),
                    Some(user_id) => query.bind(user_id.to_string()),
                }
            })
            .await?;
        let visited = match rows.found.first() {
            Some(row) if list.user_id.is_some() && list.max_level > 1 => row.try_get("visited")?,
            _ => 0,
        };
        listed(&rows, visited > MAX_BELOW, list.user_id.is_none())
    }

    /// A participant and everybody below, nearest levels first; the participant comes first. The list is
    /// empty if the read models do not know the participant.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn tree(
        &self,
        root: &ParticipantId,
        depth: u32,
        freshness: Freshness,
    ) -> Result<At<Listed>, ReadError> {
        let (program_id, user_id) = (root.program_id.to_string(), root.user_id.to_string());
        let rows = self
            .read(freshness, || {
                sqlx::query(sql!("tree.sql"))
                    .bind(program_id.clone())
                    .bind(user_id.clone())
                    .bind(i32::try_from(depth).unwrap_or(i32::MAX))
                    .bind(MAX_NODES + 1)
            })
            .await?;
        let nodes = i64::try_from(rows.found.len()).unwrap_or(i64::MAX);
        let mut listed = listed(&rows, nodes > MAX_NODES, false)?;
        listed.found.referrals.truncate(usize::try_from(MAX_NODES).unwrap_or(usize::MAX));
        Ok(listed)
    }
}

fn listed(
    rows: &At<Vec<PgRow>>,
    is_too_large: bool,
    has_referrers: bool,
) -> Result<At<Listed>, ReadError> {
    let unit = match rows.found.first() {
        Some(row) => row.try_get("unit")?,
        None => None,
    };
    let mut referrals = Vec::with_capacity(rows.found.len());
    for row in &rows.found {
        if let Some(referee) = member(row)? {
            referrals.push(listed_referral(row, referee, has_referrers)?);
        }
    }
    Ok(At { position: rows.position, found: Listed { unit, referrals, is_too_large } })
}

fn listed_referral(
    row: &PgRow,
    referee: Member,
    has_referrer: bool,
) -> Result<ListedReferral, StoreError> {
    let referrer = match &referee.referrer_user_id {
        Some(referrer) if has_referrer => {
            names(row, referrer, "referrer_username", "referrer_display_name")?
        }
        _ => None,
    };
    Ok(ListedReferral {
        referee,
        referrer,
        level: row.try_get::<i32, _>("level")?.unsigned_abs(),
        brought_in_minor: row.try_get::<Option<i64>, _>("brought_in_minor")?.unwrap_or_default(),
    })
}
