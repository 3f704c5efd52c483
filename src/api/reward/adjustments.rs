//! Adjustments of balances, and the approvals that large ones wait for.

use super::{Handlers, entries};
use crate::api::errors::{ApiError, internal};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::{Named, freshness, must_exist};
use crate::api::responses::{money, time};
use crate::api::writes::{Written, carry_out, command_fields, first_of};
use crate::read::{ApprovalFilter, At, Freshness, ListedApproval};
use crate::store::RecordedEvent;
use domain::decide::{AdjustBalance, Approve, Command, Decline};
use domain::{
    AdjustmentId, Approval, ApprovalEvent, ApprovalId, ApprovalState, ApprovalSubject, Asked,
    ProgramId, Refusal, UserId,
};

impl Handlers {
    pub(in crate::api) async fn adjust_balance(
        &self,
        call: Call<pb::AdjustBalanceRequest>,
    ) -> Result<pb::AdjustBalanceResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let participant = fields.participant(&request.program_id, &request.user_id);
        let adjustment_id = match request.adjustment_id.as_str() {
            "" => AdjustmentId::parse(&self.0.environment.fresh_id()).ok(),
            own => fields.id("adjustment_id", own, AdjustmentId::parse),
        };
        let amount = fields.signed_money("amount", request.amount.as_ref());
        let reason_code = fields.reason_code("reason_code", &request.reason_code);
        let note = fields.note("note", &request.note);
        let required = participant.zip(adjustment_id).zip(amount.zip(reason_code));
        let ((participant, adjustment_id), ((amount_minor, currency_code), reason_code)) =
            fields.finish(required)?;
        let command = Command::AdjustBalance(Box::new(AdjustBalance {
            participant,
            adjustment_id,
            amount_minor,
            currency_code,
            reason_code,
            note,
            by: call.principal.staff(),
            limit_minor: self.0.settings.adjustment_limit_minor,
        }));
        let Written { events, consistency_token, .. } = carry_out(&self.0, &call, command).await?;
        // Made from the events, because a repetition has the first answer.
        let (approval_id, waits) = asked(&events)?.ok_or_else(internal)?;
        Ok(pb::AdjustBalanceResponse {
            adjustment_id: match &approval_id.0 {
                ApprovalSubject::Adjustment { adjustment_id, .. } => adjustment_id.to_string(),
                ApprovalSubject::Payout { .. } => return Err(internal().into()),
            },
            state: state_message(if waits {
                ApprovalState::Pending
            } else {
                ApprovalState::Waived
            })
            .into(),
            approval_id: if waits { approval_id.to_string() } else { String::new() },
            entry: posted(&events)?,
            consistency_token,
        })
    }

    pub(in crate::api) async fn list_approvals(
        &self,
        call: Call<pb::ListApprovalsRequest>,
    ) -> Result<pb::ListApprovalsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let filter = ApprovalFilter {
            state: match request.state() {
                pb::ApprovalState::Unspecified => None,
                pb::ApprovalState::Pending => Some(ApprovalState::Pending),
                pb::ApprovalState::Approved => Some(ApprovalState::Approved),
                pb::ApprovalState::Declined => Some(ApprovalState::Declined),
                pb::ApprovalState::Waived => {
                    let message = "must be APPROVAL_STATE_PENDING, APPROVAL_STATE_APPROVED or \
                                   APPROVAL_STATE_DECLINED";
                    fields.fault("state", ErrorReason::OutOfRange, message);
                    None
                }
            },
            program_id: fields.optional_id("program_id", &request.program_id, ProgramId::parse),
            user_id: fields.optional_id("user_id", &request.user_id, UserId::parse),
        };
        let before = page.before(&mut fields, &request.page_token);
        let before = fields.finish(before)?;
        if let Some(program_id) = &filter.program_id {
            must_exist(&self.0, Named::Program(program_id)).await?;
        }
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let At { position, found } =
            self.0.reads.approvals(&filter, before, page.rows(), freshness).await?;
        if let (true, Some(user_id)) = (found.is_empty(), &filter.user_id) {
            must_exist(&self.0, Named::User(user_id)).await?;
        }
        let (approvals, next_page_token) =
            page.answer(found, |approval| approval.requested_position, approval_message);
        Ok(pb::ListApprovalsResponse { approvals, next_page_token, position })
    }

    pub(in crate::api) async fn approve(
        &self,
        call: Call<pb::ApproveRequest>,
    ) -> Result<pb::ApproveResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let approval_id = approval_id(&mut fields, &request.approval_id);
        let approval_id = fields.finish(approval_id)?;
        admit_program(&call, &approval_id)?;
        let by = call.principal.staff();
        let command = Command::Approve(Approve { approval_id: approval_id.clone(), by });
        let written = carry_out(&self.0, &call, command).await?;
        Ok(pb::ApproveResponse {
            approval: self.approval(&approval_id, &written, &call).await,
            entry: posted(&written.events)?,
            consistency_token: written.consistency_token,
        })
    }

    pub(in crate::api) async fn decline(
        &self,
        call: Call<pb::DeclineRequest>,
    ) -> Result<pb::DeclineResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let approval_id = approval_id(&mut fields, &request.approval_id);
        let note = fields.note("note", &request.note);
        let approval_id = fields.finish(approval_id)?;
        admit_program(&call, &approval_id)?;
        let by = call.principal.staff();
        let command = Command::Decline(Decline { approval_id: approval_id.clone(), note, by });
        let written = carry_out(&self.0, &call, command).await?;
        Ok(pb::DeclineResponse {
            approval: self.approval(&approval_id, &written, &call).await,
            consistency_token: written.consistency_token,
        })
    }

    /// An approval after a decision. The decision holds, also if the approval cannot be read yet.
    async fn approval<M>(
        &self,
        approval_id: &ApprovalId,
        written: &Written,
        call: &Call<M>,
    ) -> Option<pb::Approval> {
        let freshness = Freshness { position: written.position, deadline: call.deadline };
        let read = self.0.reads.approval(approval_id, freshness).await;
        read.ok().and_then(|at| at.found).map(approval_message)
    }
}

/// A required id of an approval. What cannot be one is not refused here, but as one that does not exist.
fn approval_id(fields: &mut Fields, text: &str) -> Option<ApprovalId> {
    let text = fields.required("approval_id", text)?;
    let approval_id = ApprovalId::parse(text);
    if approval_id.is_none() {
        let message = "must be the approval_id of an answer";
        fields.fault("approval_id", ErrorReason::InvalidId, message);
    }
    approval_id
}

/// Reports approvals of other programs as unknown to keys that are limited to programs.
fn admit_program<M>(call: &Call<M>, approval_id: &ApprovalId) -> Result<(), ApiError> {
    match call.principal.program_ids() {
        Some(own) if !own.contains(approval_id.program_id()) => {
            Err(Refusal::ApprovalNotFound(approval_id.clone()).into())
        }
        _ => Ok(()),
    }
}

/// What a command asked for, and whether it waits for an approval; `None` if it asked for nothing.
fn asked(events: &[RecordedEvent]) -> Result<Option<(ApprovalId, bool)>, ApiError> {
    first_of::<Approval, _>(events, |event, fact| {
        let waits = match fact {
            ApprovalEvent::ApprovalRequested(_) => true,
            ApprovalEvent::ApprovalWaived(_) => false,
            ApprovalEvent::ApprovalGranted(_) | ApprovalEvent::ApprovalDeclined(_) => return None,
        };
        ApprovalId::parse(&event.stream.id).map(|id| (id, waits))
    })
}

/// The entry that a command posted; `None` if it posted none.
fn posted(events: &[RecordedEvent]) -> Result<Option<pb::BalanceEntry>, ApiError> {
    Ok(entries(events)?.into_iter().next())
}

fn state_message(state: ApprovalState) -> pb::ApprovalState {
    match state {
        ApprovalState::Pending => pb::ApprovalState::Pending,
        ApprovalState::Waived => pb::ApprovalState::Waived,
        ApprovalState::Approved => pb::ApprovalState::Approved,
        ApprovalState::Declined => pb::ApprovalState::Declined,
    }
}

fn approval_message(listed: ListedApproval) -> pb::Approval {
    let id = &listed.approval_id;
    let own_id = match &id.0 {
        ApprovalSubject::Adjustment { adjustment_id, .. } => adjustment_id.to_string(),
        ApprovalSubject::Payout { payout_id, .. } => payout_id.to_string(),
    };
    let asked = listed.asked.map(|asked| match asked {
        Asked::Adjustment { amount_minor, unit, reason_code } => {
            pb::approval::Asked::Adjustment(pb::Adjustment {
                adjustment_id: own_id,
                amount: Some(money(&unit, amount_minor)),
                reason_code,
            })
        }
        Asked::Payout { amount_minor, unit, provider_reference } => {
            pb::approval::Asked::Payout(pb::PayoutConfirmation {
                payout_id: own_id,
                amount: Some(money(&unit, listed.reserved_minor.unwrap_or(amount_minor))),
                provider_reference: provider_reference
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            })
        }
    });
    pb::Approval {
        approval_id: id.to_string(),
        program_id: id.program_id().to_string(),
        user_id: id.user_id().map(ToString::to_string).unwrap_or_default(),
        state: state_message(listed.state).into(),
        asked,
        asked_by: listed.asked_by,
        request_time: Some(time(listed.request_time)),
        note: listed.note.unwrap_or_default(),
        decided_by: listed.decided_by.unwrap_or_default(),
        decide_time: listed.decide_time.map(time),
        decline_note: listed.decline_note.unwrap_or_default(),
    }
}
