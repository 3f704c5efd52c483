//! Payouts and their lines.

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;

use super::{At, Freshness, ReadError, Reads, sql};
use crate::store::log::timestamp;
use crate::store::{StoreError, in_time};
use domain::{PayoutKey, PayoutLineState, PayoutState, ProgramId, SkipReason, Timestamp, UserId};

/// A payout, and how far its lines are.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of the contract")]
pub struct ListedPayout {
    /// The position at which it was created.
    pub created_position: i64,
    pub payout: PayoutKey,
    pub state: PayoutState,
    pub unit: String,
    pub minimum_minor: i64,
    pub created_by: String,
    pub create_time: Timestamp,
    pub collect_time: Option<Timestamp>,
    pub provider_reference: Option<String>,
    pub reason_code: Option<String>,
    pub skipped_count: i64,
    /// Number and amount of the lines that are reserved, paid, failed and returned; an amount beyond `i64` is its
    /// maximum.
    pub reserved: (i64, i64),
    pub paid: (i64, i64),
    pub failed: (i64, i64),
    pub returned: (i64, i64),
}

/// Which lines to list; what is `None` is any.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineFilter {
    /// In this state.
    pub state: Option<PayoutLineState>,
    /// Skipped for this reason.
    pub reason: Option<SkipReason>,
}

/// A line.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of the contract")]
pub struct ListedLine {
    pub user_id: UserId,
    pub state: PayoutLineState,
    pub amount_minor: i64,
    pub available_then_minor: i64,
    pub skip_reason: Option<SkipReason>,
    pub reason_code: Option<String>,
    pub provider_reference: Option<String>,
    pub create_time: Timestamp,
    pub change_time: Timestamp,
}

/// A participant whom a payout may have to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutMember {
    /// Who.
    pub user_id: UserId,
    /// What was available after their last posting at or before a position, in minor units.
    pub available_then_minor: i64,
    /// Whether they have a line already.
    pub has_line: bool,
}

/// The next participants of a payout's program after a user, at most `limit`, with what was available to each as of a
/// position: all who were enrolled then, and perhaps some who were enrolled later and had nothing.
///
/// Planned anew each time: a plan from when the log was small would read it whole.
///
/// # Errors
/// [`ReadError::Behind`] if the read model has not reached the position, [`ReadError::Store`] if the database cannot be
/// read.
pub async fn payout_members(
    pool: &PgPool,
    payout: &PayoutKey,
    after: &str,
    position: i64,
    limit: i64,
) -> Result<Vec<PayoutMember>, ReadError> {
    let rows = sqlx::query(sql!("payout_members.sql"))
        .bind(payout.program_id.as_str())
        .bind(after)
        .bind(position)
        .bind(limit)
        .bind(payout.to_string())
        .persistent(false)
        .fetch_all(pool);
    let rows = in_time(async { Ok(rows.await?) }).await?;
    let mut members = Vec::with_capacity(rows.len());
    for row in &rows {
        let reached: Option<i64> = row.try_get("position")?;
        let reached = reached.unwrap_or_default();
        if reached < position {
            return Err(ReadError::Behind { reached, wanted: position });
        }
        let Some(user_id) = row.try_get::<Option<&str>, _>("user_id")? else { continue };
        let nonsense = |_| StoreError::Nonsense(format!("a user with the id '{user_id}'"));
        members.push(PayoutMember {
            user_id: UserId::parse(user_id).map_err(nonsense)?,
            available_then_minor: row.try_get("available_then")?,
            has_line: row.try_get("has_line")?,
        });
    }
    Ok(members)
}

/// How many participants had their turn in a payout that collects, when its job last handed over, and how many there are.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn payout_progress(pool: &PgPool, payout: &PayoutKey) -> Result<(i64, i64), StoreError> {
    let row = sqlx::query(sql!("payout_progress.sql"))
        .bind(payout.to_string())
        .bind(payout.program_id.as_str())
        .fetch_one(pool);
    let row = in_time(async { Ok(row.await?) }).await?;
    Ok((row.try_get("looked_at")?, row.try_get("participants")?))
}

impl Reads {
    /// Payouts that were created before a position, the newest first: of one program, or of all.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn payouts(
        &self,
        program_id: Option<&ProgramId>,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedPayout>>, ReadError> {
        self.list_payouts(program_id, None, before_position, limit, freshness).await
    }

    /// A payout.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn payout(
        &self,
        payout: &PayoutKey,
        freshness: Freshness,
    ) -> Result<At<Option<ListedPayout>>, ReadError> {
        let At { position, found } =
            self.list_payouts(None, Some(payout), i64::MAX, 1, freshness).await?;
        Ok(At { position, found: found.into_iter().next() })
    }

    async fn list_payouts(
        &self,
        program_id: Option<&ProgramId>,
        payout: Option<&PayoutKey>,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedPayout>>, ReadError> {
        let rows = self
            .read(freshness, || {
                sqlx::query(sql!("payouts.sql"))
                    .bind(before_position)
                    .bind(limit)
                    .bind(program_id.map(ProgramId::to_string))
                    .bind(payout.map(PayoutKey::to_string))
            })
            .await?;
        let mut payouts = Vec::with_capacity(rows.found.len());
        for row in &rows.found {
            payouts.extend(read_payout(row)?);
        }
        Ok(At { position: rows.position, found: payouts })
    }

    /// Lines of a payout, by user, after a user.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn payout_lines(
        &self,
        payout: &PayoutKey,
        filter: LineFilter,
        after_user: &str,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedLine>>, ReadError> {
        let rows = self
            .read(freshness, || {
                sqlx::query(sql!("payout_lines.sql"))
                    .bind(payout.to_string())
                    .bind(after_user.to_owned())
                    .bind(limit)
                    .bind(filter.state.map(PayoutLineState::as_str))
                    .bind(filter.reason.map(SkipReason::as_str))
            })
            .await?;
        let mut lines = Vec::with_capacity(rows.found.len());
        for row in &rows.found {
            lines.extend(read_line(row)?);
        }
        Ok(At { position: rows.position, found: lines })
    }
}

/// The payout of a row; `None` for the row that says that there is none.
fn read_payout(row: &PgRow) -> Result<Option<ListedPayout>, StoreError> {
    let Some(id) = row.try_get::<Option<String>, _>("payout")? else { return Ok(None) };
    let nonsense = || StoreError::Nonsense(format!("payout '{id}'"));
    let lines = |count, amount| -> Result<(i64, i64), StoreError> {
        Ok((row.try_get(count)?, row.try_get(amount)?))
    };
    let collect_time: Option<OffsetDateTime> = row.try_get("collect_time")?;
    Ok(Some(ListedPayout {
        created_position: row.try_get("created_position")?,
        payout: PayoutKey::parse(&id).ok_or_else(nonsense)?,
        state: PayoutState::parse(row.try_get("state")?).ok_or_else(nonsense)?,
        unit: row.try_get("unit")?,
        minimum_minor: row.try_get("minimum_minor")?,
        created_by: row.try_get("created_by")?,
        create_time: timestamp(row.try_get("create_time")?),
        collect_time: collect_time.map(timestamp),
        provider_reference: row.try_get("provider_reference")?,
        reason_code: row.try_get("reason_code")?,
        skipped_count: row.try_get("skipped_count")?,
        reserved: lines("reserved_count", "reserved")?,
        paid: lines("paid_count", "paid")?,
        failed: lines("failed_count", "failed")?,
        returned: lines("returned_count", "returned")?,
    }))
}

/// The line of a row; `None` for the row that says that there is none.
fn read_line(row: &PgRow) -> Result<Option<ListedLine>, StoreError> {
    let Some(id) = row.try_get::<Option<String>, _>("user_id")? else { return Ok(None) };
    let nonsense = || StoreError::Nonsense(format!("the line of user '{id}'"));
    let skip_reason: Option<&str> = row.try_get("skip_reason")?;
    Ok(Some(ListedLine {
        user_id: UserId::parse(&id).map_err(|_| nonsense())?,
        state: PayoutLineState::parse(row.try_get("state")?).ok_or_else(nonsense)?,
        amount_minor: row.try_get("amount_minor")?,
        available_then_minor: row.try_get("available_then_minor")?,
        skip_reason: skip_reason
            .map(|reason| SkipReason::parse(reason).ok_or_else(nonsense))
            .transpose()?,
        reason_code: row.try_get("reason_code")?,
        provider_reference: row.try_get("provider_reference")?,
        create_time: timestamp(row.try_get("create_time")?),
        change_time: timestamp(row.try_get("change_time")?),
    }))
}
