//! Approvals with their notes.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{At, Freshness, ReadError, Reads, sql};
use crate::store::log::timestamp;
use crate::store::{StoreError, in_time, notes};
use domain::{
    ApprovalId, ApprovalState, ApprovalSubject, Asked, NoteSubject, PayoutKey, ProgramId,
    Timestamp, UserId,
};

/// Which approvals to list; what is `None` is any.
#[derive(Clone, Debug, Default)]
pub struct ApprovalFilter {
    /// In this state.
    pub state: Option<ApprovalState>,
    /// Of this program.
    pub program_id: Option<ProgramId>,
    /// About this user.
    pub user_id: Option<UserId>,
}

/// An approval.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of the contract")]
pub struct ListedApproval {
    /// The position at which it was asked for.
    pub requested_position: i64,
    pub approval_id: ApprovalId,
    pub state: ApprovalState,
    /// `None` if only a newer release knows what is asked for.
    pub asked: Option<Asked>,
    pub asked_by: String,
    pub request_time: Timestamp,
    pub decided_by: Option<String>,
    pub decide_time: Option<Timestamp>,
    /// What would be paid by the confirmation of a whole payout that waits, in minor units: what is reserved now.
    pub reserved_minor: Option<i64>,
    /// Why it was asked for. Personal data.
    pub note: Option<String>,
    /// Why it was declined. Personal data.
    pub decline_note: Option<String>,
}

impl Reads {
    /// Approvals that were asked for before a position, the newest first.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn approvals(
        &self,
        filter: &ApprovalFilter,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedApproval>>, ReadError> {
        self.list_approvals(filter, None, before_position, limit, freshness).await
    }

    /// An approval.
    ///
    /// # Errors
    /// [`ReadError`] if the read models cannot answer in time.
    pub async fn approval(
        &self,
        approval_id: &ApprovalId,
        freshness: Freshness,
    ) -> Result<At<Option<ListedApproval>>, ReadError> {
        let filter = ApprovalFilter::default();
        let list = self.list_approvals(&filter, Some(approval_id), i64::MAX, 1, freshness);
        Ok(list.await?.first())
    }

    async fn list_approvals(
        &self,
        filter: &ApprovalFilter,
        approval_id: Option<&ApprovalId>,
        before_position: i64,
        limit: i64,
        freshness: Freshness,
    ) -> Result<At<Vec<ListedApproval>>, ReadError> {
        let query = || {
            sqlx::query(sql!("approvals.sql"))
                .bind(before_position)
                .bind(limit)
                .bind(filter.state.map(ApprovalState::as_str))
                .bind(filter.program_id.as_ref().map(ProgramId::to_string))
                .bind(filter.user_id.as_ref().map(UserId::to_string))
                .bind(approval_id.map(ApprovalId::to_string))
        };
        let At { position, found: mut approvals } = self.list(freshness, query, approval).await?;
        let ids: Vec<String> = approvals.iter().map(|of| of.approval_id.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let pool = self.database.pool();
        let mut requests = in_time(notes::latest(pool, NoteSubject::Request, &ids)).await?;
        let mut declines = in_time(notes::latest(pool, NoteSubject::Decline, &ids)).await?;
        let mut reserved = self.reserved_of(&approvals).await?;
        for (approval, id) in approvals.iter_mut().zip(&ids) {
            approval.reserved_minor =
                waiting_payout(approval).and_then(|payout| reserved.remove(&payout.to_string()));
            approval.note = requests.remove(*id);
            approval.decline_note = declines.remove(*id);
        }
        Ok(At { position, found: approvals })
    }
}

impl Reads {
    /// What is reserved of each payout whose whole confirmation waits, in minor units.
    async fn reserved_of(
        &self,
        approvals: &[ListedApproval],
    ) -> Result<HashMap<String, i64>, ReadError> {
        let payouts: Vec<String> =
            approvals.iter().filter_map(waiting_payout).map(|of| of.to_string()).collect();
        if payouts.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = sqlx::query(sql!("reserved_of_payouts.sql"))
            .bind(payouts)
            .fetch_all(self.database.pool());
        let mut reserved = HashMap::new();
        for row in in_time(async { Ok(rows.await?) }).await? {
            let minor = row.try_get("reserved").map_err(StoreError::from)?;
            reserved.insert(row.try_get("payout").map_err(StoreError::from)?, minor);
        }
        Ok(reserved)
    }
}

/// The payout whose whole confirmation waits.
fn waiting_payout(approval: &ListedApproval) -> Option<PayoutKey> {
    match &approval.approval_id.0 {
        ApprovalSubject::Payout { program_id, user_id: None, payout_id, .. }
            if approval.state == ApprovalState::Pending =>
        {
            Some(PayoutKey { program_id: program_id.clone(), payout_id: payout_id.clone() })
        }
        ApprovalSubject::Payout { .. } | ApprovalSubject::Adjustment { .. } => None,
    }
}

/// The approval of a row; `None` for the row that says that there is none.
fn approval(row: &PgRow) -> Result<Option<ListedApproval>, StoreError> {
    let Some(id) = row.try_get::<Option<String>, _>("approval_id")? else { return Ok(None) };
    let nonsense = || StoreError::Nonsense(format!("approval '{id}'"));
    let state: &str = row.try_get("state")?;
    let state = ApprovalState::LISTED.into_iter().find(|known| known.as_str() == state);
    let asked: serde_json::Value = row.try_get("asked")?;
    let decide_time: Option<OffsetDateTime> = row.try_get("decide_time")?;
    Ok(Some(ListedApproval {
        requested_position: row.try_get("requested_position")?,
        approval_id: ApprovalId::parse(&id).ok_or_else(nonsense)?,
        state: state.ok_or_else(nonsense)?,
        asked: serde_json::from_value(asked).ok(),
        asked_by: row.try_get("asked_by")?,
        request_time: timestamp(row.try_get("request_time")?),
        decided_by: row.try_get("decided_by")?,
        decide_time: decide_time.map(timestamp),
        reserved_minor: None,
        note: None,
        decline_note: None,
    }))
}
