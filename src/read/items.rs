//! Items of the stores of programs.

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::{At, Freshness, ReadError, Reads, sql};
use crate::store::StoreError;
use crate::store::log::timestamp;
use domain::{ItemTerms, ProgramId, StoreItemId, Timestamp};

/// Which items to list.
#[derive(Clone, Debug)]
pub struct ItemFilter {
    /// Of this program.
    pub program_id: ProgramId,
    /// Only those that can be redeemed at present.
    pub available_only: bool,
}

/// An item.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of the contract")]
pub struct ListedItem {
    /// The position at which it was published first.
    pub published_position: i64,
    pub id: StoreItemId,
    pub version: i32,
    pub terms: ItemTerms,
    pub taken: i64,
    pub publish_time: Timestamp,
}

impl Reads {
    /// Items of a program that were published before a position, the newest first.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn items(
        &self,
        filter: &ItemFilter,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedItem>>, ReadError> {
        self.list_items(filter, None, before_position, limit, freshness).await
    }

    /// An item.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn item(
        &self,
        id: &StoreItemId,
        freshness: Freshness,
    ) -> Result<At<Option<ListedItem>>, ReadError> {
        let filter = ItemFilter { program_id: id.program_id.clone(), available_only: false };
        let list = self.list_items(&filter, Some(id), i64::MAX, 1, freshness);
        Ok(list.await?.first())
    }

    async fn list_items(
        &self,
        filter: &ItemFilter,
        id: Option<&StoreItemId>,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedItem>>, ReadError> {
        let query = || {
            sqlx::query(sql!("items.sql"))
                .bind(before_position)
                .bind(limit)
                .bind(filter.program_id.to_string())
                .bind(filter.available_only)
                .bind(id.map(StoreItemId::to_string))
        };
        self.list(freshness, query, item).await
    }
}

/// The item of a row; `None` for the row that says that there is none.
fn item(row: &PgRow) -> Result<Option<ListedItem>, StoreError> {
    let Some(id) = row.try_get::<Option<String>, _>("item")? else { return Ok(None) };
    let Json(terms) = row.try_get("terms")?;
    Ok(Some(ListedItem {
        published_position: row.try_get("published_position")?,
        id: StoreItemId::parse(&id).ok_or_else(|| StoreError::Nonsense(format!("item '{id}'")))?,
        version: row.try_get("version")?,
        terms,
        taken: row.try_get("taken")?,
        publish_time: timestamp(row.try_get("publish_time")?),
    }))
}
