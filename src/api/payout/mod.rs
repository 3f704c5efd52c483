//! `PayoutService`: what is available leaves for people's accounts.

mod export;
mod messages;
mod reads;

use self::messages::confirmed;
use crate::api::Context;
use crate::api::errors::{ApiError, internal};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::permissions::{Callers, Rule, Subject, row};
use crate::api::writes::{carry_out, command_fields};
use domain::decide::{Command, ConfirmPayout, CreatePayout, FailPayout, ReturnPayoutLine};
use domain::{
    MAX_METHOD_REFERENCE_CHARS, Payout, PayoutEvent, PayoutId, PayoutKey, PayoutLineId,
    PayoutMethod, Personal, ProgramId, ProviderReference, Stream, UserId,
};

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::{Operators, SignedIn};
    use Subject::{None, User, UserOrEverybody};
    &[
        row("PayoutService", "SetPayoutMethod", SignedIn, User("user_id")),
        row("PayoutService", "CreatePayout", Operators, None),
        row("PayoutService", "GetPayout", Operators, None),
        row("PayoutService", "ListPayouts", Operators, None),
        row("PayoutService", "ListPayoutLines", Operators, None),
        row("PayoutService", "ExportPayout", Operators, None),
        row("PayoutService", "ConfirmPayout", Operators, UserOrEverybody("user_id", Operators)),
        row("PayoutService", "FailPayout", Operators, UserOrEverybody("user_id", Operators)),
        row("PayoutService", "ReturnPayoutLine", Operators, User("user_id")),
    ]
};

pub(super) struct Handlers(pub(super) Context);

impl Handlers {
    pub(super) async fn set_payout_method(
        &self,
        call: Call<pb::SetPayoutMethodRequest>,
    ) -> Result<pb::SetPayoutMethodResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let user_id = fields.id("user_id", &request.user_id, UserId::parse);
        let method = method(&mut fields, request);
        let user_id = fields.finish(user_id)?;
        let command = Command::SetPayoutMethod { user_id, method };
        let consistency_token = carry_out(&self.0, &call, command).await?.consistency_token;
        Ok(pb::SetPayoutMethodResponse { consistency_token })
    }

    pub(super) async fn create_payout(
        &self,
        call: Call<pb::CreatePayoutRequest>,
    ) -> Result<pb::CreatePayoutResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let payout_id = match request.payout_id.as_str() {
            "" => PayoutId::parse(&self.0.environment.fresh_id()).ok(),
            own => fields.id("payout_id", own, PayoutId::parse),
        };
        let minimum =
            request.minimum.as_ref().and_then(|minimum| fields.money("minimum", Some(minimum)));
        let (program_id, payout_id) = fields.finish(program_id.zip(payout_id))?;
        let (minimum_minor, unit) =
            minimum.map_or((1, None), |(minimum_minor, unit)| (minimum_minor, Some(unit)));
        let payout = PayoutKey { program_id, payout_id };
        let create = CreatePayout { payout, minimum_minor, unit };
        let written = carry_out(&self.0, &call, Command::CreatePayout(create)).await?;
        // Made from the events, because a repetition has the first answer.
        for event in &*written.events {
            let fact = event.read_if_known()?.and_then(Payout::event);
            if let Some(PayoutEvent::PayoutCreated(_)) = fact
                && let Some(payout) = PayoutKey::parse(&event.stream.id)
            {
                let consistency_token = written.consistency_token;
                let payout_id = payout.payout_id.to_string();
                return Ok(pb::CreatePayoutResponse { payout_id, consistency_token });
            }
        }
        Err(internal().into())
    }

    pub(super) async fn confirm_payout(
        &self,
        call: Call<pb::ConfirmPayoutRequest>,
    ) -> Result<pb::ConfirmPayoutResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let payout = payout_key(&mut fields, &request.program_id, &request.payout_id);
        let user_id = fields.optional_id("user_id", &request.user_id, UserId::parse);
        let provider_reference = reference(&mut fields, &request.provider_reference);
        let payout = fields.finish(payout)?;
        let by = call.principal.staff();
        let limit_minor = self.0.settings.payout_limit_minor;
        let confirm = ConfirmPayout { payout, user_id, provider_reference, by, limit_minor };
        let command = Command::ConfirmPayout(Box::new(confirm));
        let written = carry_out(&self.0, &call, command).await?;
        let (state, approval_id) = confirmed(&written.events)?;
        let consistency_token = written.consistency_token;
        Ok(pb::ConfirmPayoutResponse { state: state.into(), approval_id, consistency_token })
    }

    pub(super) async fn fail_payout(
        &self,
        call: Call<pb::FailPayoutRequest>,
    ) -> Result<pb::FailPayoutResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let payout = payout_key(&mut fields, &request.program_id, &request.payout_id);
        let user_id = fields.optional_id("user_id", &request.user_id, UserId::parse);
        let reason_code = reason_code(&mut fields, &request.reason_code);
        let provider_reference = reference(&mut fields, &request.provider_reference);
        let payout = fields.finish(payout)?;
        let by = call.principal.staff();
        let fail = FailPayout { payout, user_id, reason_code, provider_reference, by };
        let command = Command::FailPayout(fail);
        let consistency_token = carry_out(&self.0, &call, command).await?.consistency_token;
        Ok(pb::FailPayoutResponse { consistency_token })
    }

    pub(super) async fn return_payout_line(
        &self,
        call: Call<pb::ReturnPayoutLineRequest>,
    ) -> Result<pb::ReturnPayoutLineResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let payout = payout_key(&mut fields, &request.program_id, &request.payout_id);
        let user_id = fields.id("user_id", &request.user_id, UserId::parse);
        let reason_code = reason_code(&mut fields, &request.reason_code);
        let provider_reference = reference(&mut fields, &request.provider_reference);
        let (payout, user_id) = fields.finish(payout.zip(user_id))?;
        let line_id = PayoutLineId { payout, user_id };
        let by = call.principal.staff();
        let back = ReturnPayoutLine { line_id, reason_code, provider_reference, by };
        let written = carry_out(&self.0, &call, Command::ReturnPayoutLine(back)).await?;
        let consistency_token = written.consistency_token;
        Ok(pb::ReturnPayoutLineResponse { consistency_token })
    }
}

/// The payout that a request names.
fn payout_key(fields: &mut Fields, program_id: &str, payout_id: &str) -> Option<PayoutKey> {
    let program_id = fields.id("program_id", program_id, ProgramId::parse);
    let payout_id = fields.id("payout_id", payout_id, PayoutId::parse);
    let (program_id, payout_id) = program_id.zip(payout_id)?;
    Some(PayoutKey { program_id, payout_id })
}

fn reference(fields: &mut Fields, text: &str) -> Option<ProviderReference> {
    fields.optional_id("provider_reference", text, ProviderReference::parse)
}

fn reason_code(fields: &mut Fields, text: &str) -> Option<String> {
    if text.is_empty() { None } else { fields.reason_code("reason_code", text) }
}

/// How a user is paid; `None` if nobody is to know any more.
fn method(fields: &mut Fields, request: &pb::SetPayoutMethodRequest) -> Option<PayoutMethod> {
    let reference = fields.line("reference", &request.reference, MAX_METHOD_REFERENCE_CHARS)?;
    let kind = fields.reason_code("kind", &request.kind)?;
    Some(PayoutMethod { kind, reference: Personal(reference.into()) })
}
