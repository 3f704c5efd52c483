//! The reads of `PayoutService`.

use super::messages::{line_message, line_state, payout_message, skip_reason};
use super::{Handlers, payout_key};
use crate::api::errors::{ApiError, internal};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb;
use crate::api::reads::{Named, freshness, must_exist};
use crate::engine::query::query;
use crate::read::{At, Freshness, LineFilter, ListedPayout, payout_progress};
use crate::store::log;
use domain::{Payout, PayoutKey, PayoutState, ProgramId, Refusal, UserId, load};

impl Handlers {
    pub(in crate::api) async fn get_payout(
        &self,
        call: Call<pb::GetPayoutRequest>,
    ) -> Result<pb::GetPayoutResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let payout = payout_key(&mut fields, &request.program_id, &request.payout_id);
        let payout = fields.finish(payout)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let At { position, found } = self.found(&payout, freshness).await?;
        let is_collecting = found.state == PayoutState::Collecting;
        let mut message = payout_message(found);
        if is_collecting {
            let progress = payout_progress(self.0.database.pool(), &payout).await?;
            (message.looked_at_count, message.participant_count) = progress;
        }
        Ok(pb::GetPayoutResponse { payout: Some(message), position })
    }

    pub(in crate::api) async fn list_payouts(
        &self,
        call: Call<pb::ListPayoutsRequest>,
    ) -> Result<pb::ListPayoutsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let program_id = fields.optional_id("program_id", &request.program_id, ProgramId::parse);
        let before = page.before(&mut fields, &request.page_token);
        let before = fields.finish(before)?;
        if let Some(program_id) = &program_id {
            must_exist(&self.0, Named::Program(program_id)).await?;
        }
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let reads = &self.0.reads;
        let At { position, mut found } =
            reads.payouts(program_id.as_ref(), before, page.rows(), freshness).await?;
        let next_page_token = page.cut(&mut found, |payout| payout.created_position);
        let payouts = found.into_iter().map(payout_message).collect();
        Ok(pb::ListPayoutsResponse { payouts, next_page_token, position })
    }

    pub(in crate::api) async fn list_payout_lines(
        &self,
        call: Call<pb::ListPayoutLinesRequest>,
    ) -> Result<pb::ListPayoutLinesResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let payout = payout_key(&mut fields, &request.program_id, &request.payout_id);
        let after = page.start(&mut fields, &request.page_token, String::new(), |key| {
            UserId::parse(key).ok().map(|user_id| user_id.to_string())
        });
        let filter = LineFilter {
            state: line_state(request.state()),
            reason: skip_reason(request.skip_reason()),
        };
        let (payout, after) = fields.finish(payout.zip(after))?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let unit = self.found(&payout, freshness).await?.found.unit;
        let reads = &self.0.reads;
        let At { position, mut found } =
            reads.payout_lines(&payout, filter, &after, page.rows(), freshness).await?;
        let next_page_token = page.cut(&mut found, |line| line.user_id.to_string());
        let lines = found.into_iter().map(|line| line_message(line, &unit)).collect();
        Ok(pb::ListPayoutLinesResponse { lines, next_page_token, position })
    }

    /// A payout, which must exist. One that is too new for the read models makes the read wait for them.
    pub(super) async fn found(
        &self,
        payout: &PayoutKey,
        freshness: Freshness,
    ) -> Result<At<ListedPayout>, ApiError> {
        let At { position, found } = self.0.reads.payout(payout, freshness).await?;
        if let Some(found) = found {
            return Ok(At { position, found });
        }
        must_exist(&self.0, Named::Program(&payout.program_id)).await?;
        let exists = query(&self.0.database, &self.0.environment, |work| {
            Ok(load::<Payout>(work, payout)?.created().is_some())
        });
        if !exists.await? {
            return Err(Refusal::PayoutNotFound(payout.clone()).into());
        }
        let head = log::head(self.0.database.pool()).await?;
        let freshness = Freshness { position: head, ..freshness };
        let At { position, found } = self.0.reads.payout(payout, freshness).await?;
        let found = found.ok_or_else(|| {
            tracing::error!(position, "a read model lacks a payout of the log");
            internal()
        })?;
        Ok(At { position, found })
    }
}
