//! Purchases whose rewards were withheld because a referral was held or rejected.

use sqlx::{PgPool, Row};

use super::StoreError;
use domain::rules::MAX_LEVEL;
use domain::{ParticipantId, PurchaseId};

/// A purchase in whose upline a participant is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOffPurchase {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// The position of the event that withheld a reward of it.
    pub position: i64,
    /// Whether the buyer is the participant, or is below the participant.
    pub is_below: bool,
}

/// The next purchases of a program, oldest first, of which a reward was withheld because a referral was held or
/// rejected, at most `limit`; those of other lines included. A purchase appears once for each of its withheld rewards.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn purchases(
    pool: &PgPool,
    participant: &ParticipantId,
    after_position: i64,
    limit: i64,
) -> Result<Vec<CutOffPurchase>, StoreError> {
    let rows = sqlx::query(include_str!("cut_off.sql"))
        .bind(participant.program_id.as_str())
        .bind(participant.user_id.as_str())
        .bind(after_position)
        .bind(limit)
        .bind(i32::try_from(MAX_LEVEL).unwrap_or(i32::MAX))
        .fetch_all(pool)
        .await?;
    let mut purchases = Vec::with_capacity(rows.len());
    for row in rows {
        let id: &str = row.try_get("aggregate_id")?;
        let nonsense = |_| StoreError::Nonsense(format!("a purchase with the id '{id}'"));
        purchases.push(CutOffPurchase {
            purchase_id: PurchaseId::parse(id).map_err(nonsense)?,
            position: row.try_get("position")?,
            is_below: row.try_get("is_below")?,
        });
    }
    Ok(purchases)
}
