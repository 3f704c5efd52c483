//! Redemptions in the stores of programs.

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{At, Freshness, ReadError, Reads, sql};
use crate::store::StoreError;
use crate::store::log::timestamp;
use domain::{ItemId, ProgramId, ProgramRedemptionId, RedemptionState, Timestamp, UserId};

/// Which redemptions to list; what is `None` is any.
#[derive(Clone, Debug, Default)]
pub struct RedemptionFilter {
    /// In this state.
    pub state: Option<RedemptionState>,
    /// In this program.
    pub program_id: Option<ProgramId>,
    /// Of this user.
    pub user_id: Option<UserId>,
    /// Of this item.
    pub item_id: Option<ItemId>,
}

/// A redemption.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of the contract")]
pub struct ListedRedemption {
    /// The position at which it was made.
    pub made_position: i64,
    pub id: ProgramRedemptionId,
    pub user_id: String,
    pub item_id: String,
    pub item_version: i32,
    pub cost_minor: i64,
    pub unit: String,
    pub state: RedemptionState,
    pub redeem_time: Timestamp,
    /// When it was fulfilled or cancelled.
    pub end_time: Option<Timestamp>,
}

impl Reads {
    /// Redemptions that were made before a position, the newest first.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn redemptions(
        &self,
        filter: &RedemptionFilter,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedRedemption>>, ReadError> {
        self.list_redemptions(filter, None, before_position, limit, freshness).await
    }

    /// A redemption.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn redemption(
        &self,
        id: &ProgramRedemptionId,
        freshness: Freshness,
    ) -> Result<At<Option<ListedRedemption>>, ReadError> {
        let filter = RedemptionFilter::default();
        let list = self.list_redemptions(&filter, Some(id), i64::MAX, 1, freshness);
        Ok(list.await?.first())
    }

    async fn list_redemptions(
        &self,
        filter: &RedemptionFilter,
        id: Option<&ProgramRedemptionId>,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedRedemption>>, ReadError> {
        let query = || {
            sqlx::query(sql!("redemptions.sql"))
                .bind(before_position)
                .bind(limit)
                .bind(filter.state.map(RedemptionState::as_str))
                .bind(filter.program_id.as_ref().map(ProgramId::to_string))
                .bind(filter.user_id.as_ref().map(UserId::to_string))
                .bind(filter.item_id.as_ref().map(ItemId::to_string))
                .bind(id.map(ProgramRedemptionId::to_string))
        };
        self.list(freshness, query, redemption).await
    }
}

/// The redemption of a row; `None` for the row that says that there is none.
fn redemption(row: &PgRow) -> Result<Option<ListedRedemption>, StoreError> {
    let Some(id) = row.try_get::<Option<String>, _>("redemption")? else { return Ok(None) };
    let nonsense = || StoreError::Nonsense(format!("redemption '{id}'"));
    let state: &str = row.try_get("state")?;
    let state = RedemptionState::ALL.into_iter().find(|known| known.as_str() == state);
    let end_time: Option<OffsetDateTime> = row.try_get("end_time")?;
    Ok(Some(ListedRedemption {
        made_position: row.try_get("made_position")?,
        id: ProgramRedemptionId::parse(&id).ok_or_else(nonsense)?,
        user_id: row.try_get("user_id")?,
        item_id: row.try_get("item_id")?,
        item_version: row.try_get("item_version")?,
        cost_minor: row.try_get("cost_minor")?,
        unit: row.try_get("unit")?,
        state: state.ok_or_else(nonsense)?,
        redeem_time: timestamp(row.try_get("redeem_time")?),
        end_time: end_time.map(timestamp),
    }))
}
