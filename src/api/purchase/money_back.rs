//! Refunds and disputes.

use super::Handlers;
use super::view;
use crate::api::consequences::Consequences;
use crate::api::errors::{ApiError, internal};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::pb::ErrorReason;
use crate::api::responses::{money, read, time};
use crate::api::tokens::newest_position;
use crate::api::writes::{carry_out, command_fields};
use crate::engine::query::query;
use crate::store::{RecordedEvent, log};
use domain::decide::{
    CancelRefund, CloseDispute, Command, OpenDispute, Price, RefundPurchase, rehearse_refund,
};
use domain::{
    DisputeId, DisputeOutcome, Participant, ParticipantId, ProgramId, Purchase, PurchaseEvent,
    PurchaseId, PurchaseRefunded, RefundId, Refusal, Stream, StreamKey, load,
};

impl Handlers {
    pub(in crate::api) async fn refund_purchase(
        &self,
        call: Call<pb::RefundPurchaseRequest>,
    ) -> Result<pb::RefundPurchaseResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let purchase_id = fields.id("purchase_id", &request.purchase_id, PurchaseId::parse);
        let refund_id = match request.refund_id.as_str() {
            "" => RefundId::parse(&self.0.environment.fresh_id()).ok(),
            own => fields.id("refund_id", own, RefundId::parse),
        };
        let is_of_stripe = purchase_id.as_ref().is_some_and(PurchaseId::is_of_stripe);
        if is_of_stripe && refund_id.as_ref().is_some_and(RefundId::is_of_total) {
            let message = "of a payment of Stripe, ids that begin with charge: stand for what only a running total has \
                           told of; name the refund by its id at Stripe (re_...) or by one of your own";
            fields.fault("refund_id", ErrorReason::InvalidId, message);
        }
        let amount = optional_price(&mut fields, request.amount.as_ref());
        let reason = fields.note("reason", &request.reason);
        let (purchase_id, refund_id) = fields.finish(purchase_id.zip(refund_id))?;
        let command = Command::RefundPurchase(RefundPurchase {
            purchase_id: purchase_id.clone(),
            refund_id: refund_id.clone(),
            amount,
            is_report: false,
            reason,
            own_programs: own_programs(&call),
        });
        let written = carry_out(&self.0, &call, command).await?;
        let consistency_token =
            self.settle_payment(&purchase_id, written.consistency_token).await?;
        let own = Some(&refund_id).filter(|_| !request.refund_id.is_empty());
        let recorded = refunded(&written.events, own)?;
        let (refunded, recorded_at) = recorded.ok_or_else(internal)?;
        let currency_code = match refunded.currency_code.as_str() {
            "" => self.currency_of(&purchase_id).await?,
            of_event => of_event.to_owned(),
        };
        let consequences =
            Consequences::of_recorded(&written.events, call.principal.program_ids())?;
        Ok(pb::RefundPurchaseResponse {
            refund: Some(pb::Refund {
                // A repetition of the request is answered with the id that was made up for the first.
                refund_id: refunded.refund_id.to_string(),
                amount: Some(money(&currency_code, refunded.amount_minor)),
                cancelled: false,
                create_time: Some(time(recorded_at)),
                reason: String::new(),
            }),
            reversals: consequences.reversals,
            unconverted_program_ids: consequences.unconverted,
            consistency_token,
        })
    }

    pub(in crate::api) async fn preview_refund(
        &self,
        call: Call<pb::PreviewRefundRequest>,
    ) -> Result<pb::PreviewRefundResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let purchase_id = fields.id("purchase_id", &request.purchase_id, PurchaseId::parse);
        let amount = optional_price(&mut fields, request.amount.as_ref());
        let purchase_id = fields.finish(purchase_id)?;
        let refund_id = RefundId::parse(&self.0.environment.fresh_id()).map_err(|_| internal())?;
        let position = newest_position(&self.0, "").await?;
        let refund = RefundPurchase {
            purchase_id,
            refund_id,
            amount,
            is_report: false,
            reason: None,
            own_programs: own_programs(&call),
        };
        let (events, currency_code) = query(&self.0.database, &self.0.environment, |work| {
            let events = rehearse_refund(work, &refund)?;
            let purchase = load::<Purchase>(work, &refund.purchase_id)?;
            let currency_code = purchase.recorded().map(|of| of.currency_code.clone());
            Ok((events, currency_code.unwrap_or_default()))
        })
        .await?;
        let mut consequences = Consequences::default();
        let mut amount_minor = None;
        for (stream, event) in &events {
            if let Some(PurchaseEvent::PurchaseRefunded(refunded)) = Purchase::event_ref(event) {
                // The others are for what is left of a running total.
                amount_minor = amount_minor.or(Some(refunded.amount_minor));
            }
            if let (Some(event), Some(id)) =
                (Participant::event_ref(event), ParticipantId::parse(&stream.id))
            {
                consequences.enter(&id, event);
            }
        }
        consequences.retain(call.principal.program_ids());
        Ok(pb::PreviewRefundResponse {
            amount: Some(money(&currency_code, amount_minor.unwrap_or_default())),
            reversals: consequences.reversals,
            unconverted_program_ids: consequences.unconverted,
            position,
        })
    }

    pub(in crate::api) async fn cancel_refund(
        &self,
        call: Call<pb::CancelRefundRequest>,
    ) -> Result<pb::CancelRefundResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let purchase_id = fields.id("purchase_id", &request.purchase_id, PurchaseId::parse);
        let refund_id = fields.id("refund_id", &request.refund_id, RefundId::parse);
        let (purchase_id, refund_id) = fields.finish(purchase_id.zip(refund_id))?;
        let command = Command::CancelRefund(CancelRefund {
            purchase_id: purchase_id.clone(),
            refund_id,
            own_programs: own_programs(&call),
        });
        let written = carry_out(&self.0, &call, command).await?;
        let consistency_token =
            self.settle_payment(&purchase_id, written.consistency_token).await?;
        let consequences =
            Consequences::of_recorded(&written.events, call.principal.program_ids())?;
        let purchase = self.purchase_at(&purchase_id, &written.events).await?;
        let mut refunds = purchase.refunds.into_iter();
        Ok(pb::CancelRefundResponse {
            refund: refunds.find(|refund| refund.refund_id == request.refund_id),
            reversals: consequences.reversals,
            converted_program_ids: consequences.converted,
            consistency_token,
        })
    }

    pub(in crate::api) async fn open_dispute(
        &self,
        call: Call<pb::OpenDisputeRequest>,
    ) -> Result<pb::OpenDisputeResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let purchase_id = fields.id("purchase_id", &request.purchase_id, PurchaseId::parse);
        let dispute_id = fields.id("dispute_id", &request.dispute_id, DisputeId::parse);
        let amount = optional_price(&mut fields, request.amount.as_ref());
        let (purchase_id, dispute_id) = fields.finish(purchase_id.zip(dispute_id))?;
        let command = Command::OpenDispute(OpenDispute {
            purchase_id: purchase_id.clone(),
            dispute_id,
            amount,
            own_programs: own_programs(&call),
        });
        let written = carry_out(&self.0, &call, command).await?;
        let consistency_token =
            self.settle_payment(&purchase_id, written.consistency_token).await?;
        let consequences =
            Consequences::of_recorded(&written.events, call.principal.program_ids())?;
        Ok(pb::OpenDisputeResponse {
            dispute: self.dispute(&purchase_id, &request.dispute_id, &written.events).await?,
            reversals: consequences.reversals,
            consistency_token,
        })
    }

    pub(in crate::api) async fn close_dispute(
        &self,
        call: Call<pb::CloseDisputeRequest>,
    ) -> Result<pb::CloseDisputeResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let purchase_id = fields.id("purchase_id", &request.purchase_id, PurchaseId::parse);
        let dispute_id = fields.id("dispute_id", &request.dispute_id, DisputeId::parse);
        let outcome = outcome(request.outcome());
        if outcome.is_none() && !fields.has_fault("outcome") {
            let message = "is required: DISPUTE_STATE_WON, DISPUTE_STATE_WITHDRAWN or \
                           DISPUTE_STATE_LOST";
            fields.fault("outcome", ErrorReason::FieldRequired, message);
        }
        let ((purchase_id, dispute_id), outcome) =
            fields.finish(purchase_id.zip(dispute_id).zip(outcome))?;
        let command = Command::CloseDispute(CloseDispute {
            purchase_id: purchase_id.clone(),
            dispute_id,
            outcome,
            own_programs: own_programs(&call),
        });
        let written = carry_out(&self.0, &call, command).await?;
        let consistency_token =
            self.settle_payment(&purchase_id, written.consistency_token).await?;
        let consequences =
            Consequences::of_recorded(&written.events, call.principal.program_ids())?;
        Ok(pb::CloseDisputeResponse {
            dispute: self.dispute(&purchase_id, &request.dispute_id, &written.events).await?,
            reversals: consequences.reversals,
            unconverted_program_ids: consequences.unconverted,
            consistency_token,
        })
    }

    /// The currency in which a purchase was paid.
    async fn currency_of(&self, purchase_id: &PurchaseId) -> Result<String, ApiError> {
        let look = query(&self.0.database, &self.0.environment, |work| {
            let purchase = load::<Purchase>(work, purchase_id)?;
            Ok(purchase.recorded().map(|recorded| recorded.currency_code.clone()))
        });
        look.await?.ok_or_else(|| Refusal::PurchaseNotFound(purchase_id.clone()).into())
    }

    /// The purchase as the command with these events left it.
    async fn purchase_at(
        &self,
        purchase_id: &PurchaseId,
        events: &[RecordedEvent],
    ) -> Result<pb::Purchase, ApiError> {
        let last = events.last().map_or(i64::MAX, |event| event.position);
        let stream = StreamKey::of::<Purchase>(purchase_id);
        let mut events = log::read_commands_of(self.0.database.pool(), &stream).await?;
        events.retain(|event| event.position <= last);
        view::purchase(&events)?.0.ok_or_else(|| internal().into())
    }

    async fn dispute(
        &self,
        purchase_id: &PurchaseId,
        dispute_id: &str,
        events: &[RecordedEvent],
    ) -> Result<Option<pb::Dispute>, ApiError> {
        let purchase = self.purchase_at(purchase_id, events).await?;
        Ok(purchase.disputes.into_iter().find(|dispute| dispute.dispute_id == dispute_id))
    }
}

fn own_programs<M>(call: &Call<M>) -> Option<Vec<ProgramId>> {
    call.principal.program_ids().map(<[ProgramId]>::to_vec)
}

fn optional_price(fields: &mut Fields, amount: Option<&pb::Money>) -> Option<Price> {
    let amount = amount?;
    let (amount_minor, currency_code) = fields.money("amount", Some(amount))?;
    Some(Price { amount_minor, currency_code })
}

fn outcome(state: pb::DisputeState) -> Option<DisputeOutcome> {
    match state {
        pb::DisputeState::Won => Some(DisputeOutcome::Won),
        pb::DisputeState::Withdrawn => Some(DisputeOutcome::Withdrawn),
        pb::DisputeState::Lost => Some(DisputeOutcome::Lost),
        pb::DisputeState::Unspecified | pb::DisputeState::Open => None,
    }
}

/// The refund among the events of a command, which can be one of several, and when it was recorded.
fn refunded(
    events: &[RecordedEvent],
    refund_id: Option<&RefundId>,
) -> Result<Option<(PurchaseRefunded, domain::Timestamp)>, ApiError> {
    for event in events {
        let any = read(event)?.map(|(any, _)| any);
        if let Some(PurchaseEvent::PurchaseRefunded(refunded)) = any.and_then(Purchase::event)
            && refund_id.is_none_or(|refund_id| *refund_id == refunded.refund_id)
        {
            return Ok(Some((refunded, event.recorded_at)));
        }
    }
    Ok(None)
}
