//! Who redeems what, and what becomes of it.

use super::Handlers;
use crate::api::errors::{ApiError, internal};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb;
use crate::api::reads::{Named, freshness, must_exist};
use crate::api::responses::{count, money, time};
use crate::api::reward::entries;
use crate::api::writes::{Written, carry_out, command_fields, first_of};
use crate::read::{At, Freshness, ListedRedemption, RedemptionFilter};
use crate::store::RecordedEvent;
use domain::decide::{Command, Redeem};
use domain::{
    ItemId, ParticipantId, ProgramId, ProgramRedemptionId, Redemption, RedemptionEvent,
    RedemptionId, RedemptionState, UserId,
};

impl Handlers {
    pub(in crate::api) async fn redeem(
        &self,
        call: Call<pb::RedeemRequest>,
    ) -> Result<pb::RedeemResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let participant = fields.participant(&request.program_id, &request.user_id);
        let redemption_id = match request.redemption_id.as_str() {
            "" => RedemptionId::parse(&self.0.environment.fresh_id()).ok(),
            own => fields.id("redemption_id", own, RedemptionId::parse),
        };
        let item_id = fields.id("item_id", &request.item_id, ItemId::parse);
        let expected_cost = request.expected_cost.as_ref();
        let expected_cost =
            expected_cost.and_then(|cost| fields.signed_money("expected_cost", Some(cost)));
        let required = participant.zip(redemption_id).zip(item_id);
        let ((ParticipantId { program_id, user_id }, redemption_id), item_id) =
            fields.finish(required)?;
        let id = ProgramRedemptionId { program_id, redemption_id };
        let command = Command::Redeem(Redeem { id, user_id, item_id, expected_cost });
        let Written { events, consistency_token, .. } = carry_out(&self.0, &call, command).await?;
        // Made from the events, because a repetition has the first answer.
        let redemption = made(&events)?;
        // Without lots that have expired before.
        let mut paid = entries(&events)?;
        paid.retain(|entry| entry.kind() == pb::EntryKind::Redemption);
        Ok(pb::RedeemResponse {
            redemption: Some(redemption.ok_or_else(internal)?),
            entries: paid,
            consistency_token,
        })
    }

    pub(in crate::api) async fn fulfil_redemption(
        &self,
        call: Call<pb::FulfilRedemptionRequest>,
    ) -> Result<pb::FulfilRedemptionResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let id = redemption_id(&mut fields, &request.program_id, &request.redemption_id);
        let id = fields.finish(id)?;
        let written = carry_out(&self.0, &call, Command::FulfilRedemption(id.clone())).await?;
        Ok(pb::FulfilRedemptionResponse {
            redemption: self.redemption(&id, &written, &call).await,
            consistency_token: written.consistency_token,
        })
    }

    pub(in crate::api) async fn cancel_redemption(
        &self,
        call: Call<pb::CancelRedemptionRequest>,
    ) -> Result<pb::CancelRedemptionResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let id = redemption_id(&mut fields, &request.program_id, &request.redemption_id);
        let id = fields.finish(id)?;
        let written = carry_out(&self.0, &call, Command::CancelRedemption(id.clone())).await?;
        Ok(pb::CancelRedemptionResponse {
            redemption: self.redemption(&id, &written, &call).await,
            entries: entries(&written.events)?,
            consistency_token: written.consistency_token,
        })
    }

    pub(in crate::api) async fn list_redemptions(
        &self,
        call: Call<pb::ListRedemptionsRequest>,
    ) -> Result<pb::ListRedemptionsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let filter = RedemptionFilter {
            state: match request.state() {
                pb::RedemptionState::Unspecified => None,
                pb::RedemptionState::Made => Some(RedemptionState::Made),
                pb::RedemptionState::Fulfilled => Some(RedemptionState::Fulfilled),
                pb::RedemptionState::Cancelled => Some(RedemptionState::Cancelled),
            },
            program_id: fields.optional_id("program_id", &request.program_id, ProgramId::parse),
            user_id: fields.optional_id("user_id", &request.user_id, UserId::parse),
            item_id: fields.optional_id("item_id", &request.item_id, ItemId::parse),
        };
        let before = page.before(&mut fields, &request.page_token);
        let before = fields.finish(before)?;
        if let Some(program_id) = &filter.program_id {
            must_exist(&self.0, Named::Program(program_id)).await?;
        }
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let At { position, found } =
            self.0.reads.redemptions(&filter, before, page.rows(), freshness).await?;
        if let (true, Some(user_id)) = (found.is_empty(), &filter.user_id) {
            must_exist(&self.0, Named::User(user_id)).await?;
        }
        let (redemptions, next_page_token) =
            page.answer(found, |redemption| redemption.made_position, redemption_message);
        Ok(pb::ListRedemptionsResponse { redemptions, next_page_token, position })
    }

    /// A redemption after it has ended. It has, also if it cannot be read yet.
    async fn redemption<M>(
        &self,
        id: &ProgramRedemptionId,
        written: &Written,
        call: &Call<M>,
    ) -> Option<pb::Redemption> {
        let freshness = Freshness { position: written.position, deadline: call.deadline };
        let read = self.0.reads.redemption(id, freshness).await;
        read.ok().and_then(|at| at.found).map(redemption_message)
    }
}

/// A required redemption.
fn redemption_id(
    fields: &mut Fields,
    program_id: &str,
    redemption_id: &str,
) -> Option<ProgramRedemptionId> {
    let program_id = fields.id("program_id", program_id, ProgramId::parse);
    let redemption_id = fields.id("redemption_id", redemption_id, RedemptionId::parse);
    let (program_id, redemption_id) = program_id.zip(redemption_id)?;
    Some(ProgramRedemptionId { program_id, redemption_id })
}

/// The redemption that a command made; `None` if it made none.
fn made(events: &[RecordedEvent]) -> Result<Option<pb::Redemption>, ApiError> {
    first_of::<Redemption, _>(events, |event, fact| {
        let RedemptionEvent::RedemptionMade(made) = fact else { return None };
        let id = ProgramRedemptionId::parse(&event.stream.id)?;
        Some(pb::Redemption {
            program_id: id.program_id.to_string(),
            redemption_id: id.redemption_id.to_string(),
            user_id: made.user_id.to_string(),
            item_id: made.item_id.to_string(),
            item_version: count(made.item_version),
            cost: Some(money(&made.unit, made.cost_minor)),
            state: pb::RedemptionState::Made.into(),
            redeem_time: Some(time(event.recorded_at)),
            fulfil_time: None,
            cancel_time: None,
        })
    })
}

fn redemption_message(listed: ListedRedemption) -> pb::Redemption {
    let end_time = listed.end_time.map(time);
    let (state, fulfil_time, cancel_time) = match listed.state {
        RedemptionState::Made => (pb::RedemptionState::Made, None, None),
        RedemptionState::Fulfilled => (pb::RedemptionState::Fulfilled, end_time, None),
        RedemptionState::Cancelled => (pb::RedemptionState::Cancelled, None, end_time),
    };
    pb::Redemption {
        program_id: listed.id.program_id.to_string(),
        redemption_id: listed.id.redemption_id.to_string(),
        user_id: listed.user_id,
        item_id: listed.item_id,
        item_version: listed.item_version,
        cost: Some(money(&listed.unit, listed.cost_minor)),
        state: state.into(),
        redeem_time: Some(time(listed.redeem_time)),
        fulfil_time,
        cancel_time,
    }
}
