//! `FraudService`: fraud flags, and the decisions of operators about them.

mod masks;
mod messages;
mod simulate;
mod watch;

use self::messages::{Shown, decision, flag_message, kind};
use crate::access::Role;
use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::{Call, denied};
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::permissions::{Callers, Denied, InPrograms, Rule, Subject, row};
use crate::api::reads::{Named, freshness, must_exist};
use crate::api::writes::{carry_out, command_fields};
use crate::engine::query::query;
use crate::read::{At, FlagFilter, FlagPlace, Freshness, ListedFlag};
use domain::decide::{Command, ResolveFraudFlag};
use domain::{FraudDecision, FraudFlag, FraudFlagId, Personal, ProgramId, Refusal, UserId, load};

/// The longest note of a reviewer, in characters.
const MAX_NOTE_CHARS: usize = 2_000;

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::Operators;
    use Subject::{None, UserOrEverybody};
    &[
        row("FraudService", "ListFraudFlags", Operators, UserOrEverybody("user_id", Operators)),
        Rule {
            in_programs: InPrograms::Judged,
            ..row("FraudService", "GetFraudFlag", Operators, None)
        },
        Rule {
            in_programs: InPrograms::Judged,
            ..row("FraudService", "ResolveFraudFlag", Operators, None)
        },
        row("FraudService", "WatchFraudFlags", Operators, None),
        row("FraudService", "SimulateFraud", Operators, None),
    ]
};

pub(super) struct Handlers(pub(super) Context);

impl Handlers {
    pub(super) async fn list_fraud_flags(
        &self,
        call: Call<pb::ListFraudFlagsRequest>,
    ) -> Result<pb::ListFraudFlagsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let (start, end) = fields.period(request.start_time.as_ref(), request.end_time.as_ref());
        let filter = FlagFilter {
            kind: kind(request.kind()),
            program_id: fields.optional_id("program_id", &request.program_id, ProgramId::parse),
            user_id: fields.optional_id("user_id", &request.user_id, UserId::parse),
            referee_user_id: fields.optional_id(
                "referee_user_id",
                &request.referee_user_id,
                UserId::parse,
            ),
            referrer_user_id: fields.optional_id(
                "referrer_user_id",
                &request.referrer_user_id,
                UserId::parse,
            ),
            is_open: match request.state() {
                pb::FraudFlagState::Unspecified => None,
                pb::FraudFlagState::Open => Some(true),
                pb::FraudFlagState::Resolved => Some(false),
            },
            start,
            end,
        };
        let after = page.start(&mut fields, &request.page_token, FlagPlace::FIRST, parse_place);
        let after = fields.finish(after)?;
        if let Some(program_id) = &filter.program_id {
            must_exist(&self.0, Named::Program(program_id)).await?;
        }
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let At { position, found } =
            self.0.reads.fraud_flags(&filter, after, page.rows(), freshness).await?;
        let shown = shown_to(&call);
        let key = |flag: &ListedFlag| place_text(flag.place);
        let (flags, next_page_token) = page.answer(found, key, |flag| flag_message(flag, shown));
        Ok(pb::ListFraudFlagsResponse { flags, next_page_token, position })
    }

    pub(super) async fn get_fraud_flag(
        &self,
        call: Call<pb::GetFraudFlagRequest>,
    ) -> Result<pb::GetFraudFlagResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let flag_id = fields.id("flag_id", &request.flag_id, FraudFlagId::parse);
        let flag_id = fields.finish(flag_id)?;
        self.admit_program(&call, &flag_id).await?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let At { position, found } = self.0.reads.fraud_flag(&flag_id, freshness).await?;
        let flag = found.ok_or(Refusal::FraudFlagNotFound(flag_id))?;
        let flag = Some(flag_message(flag, shown_to(&call)));
        Ok(pb::GetFraudFlagResponse { flag, position })
    }

    pub(super) async fn resolve_fraud_flag(
        &self,
        call: Call<pb::ResolveFraudFlagRequest>,
    ) -> Result<pb::ResolveFraudFlagResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let flag_id = fields.id("flag_id", &request.flag_id, FraudFlagId::parse);
        let decision = decision(request.decision());
        if decision.is_none() && !fields.has_fault("decision") {
            let message = "is required: FRAUD_DECISION_RELEASED, FRAUD_DECISION_REJECTED or \
                           FRAUD_DECISION_REJECTED_AND_DEACTIVATED";
            fields.fault("decision", ErrorReason::FieldRequired, message);
        }
        if request.reverse_rewards && decision == Some(FraudDecision::Released) {
            let message = "must be left out with FRAUD_DECISION_RELEASED: only a decision that \
                           rejects the referral takes rewards back";
            fields.fault("reverse_rewards", ErrorReason::UnsupportedField, message);
        }
        let note = fields.line("note", &request.note, MAX_NOTE_CHARS);
        let note = note.map(|note| Personal(note.into()));
        let (flag_id, decision) = fields.finish(flag_id.zip(decision))?;
        self.admit_program(&call, &flag_id).await?;
        if let (Some(_), Some(role), FraudDecision::RejectedAndDeactivated) =
            (call.principal.program_ids(), call.principal.role(), decision)
        {
            // An account belongs to no program: such a key cannot call DeactivateUser either.
            return Err(denied(Denied::Field { role, field: "decision" }).into());
        }
        let may_deactivate_staff = call.principal.role() == Some(Role::Admin);
        let resolve = ResolveFraudFlag {
            flag_id: flag_id.clone(),
            decision,
            reverses_rewards: request.reverse_rewards,
            note,
            may_deactivate_staff,
        };
        let command = Command::ResolveFraudFlag(Box::new(resolve));
        let written = carry_out(&self.0, &call, command).await?;
        // The decision holds, also if it cannot be read yet.
        let freshness = Freshness { position: written.position, deadline: call.deadline };
        let read = self.0.reads.fraud_flag(&flag_id, freshness).await;
        let flag = read.ok().and_then(|at| at.found);
        Ok(pb::ResolveFraudFlagResponse {
            flag: flag.map(|flag| flag_message(flag, shown_to(&call))),
            consistency_token: written.consistency_token,
        })
    }
}

impl Handlers {
    /// Reports flags of other programs as unknown to keys that are limited to programs.
    async fn admit_program<M>(
        &self,
        call: &Call<M>,
        flag_id: &FraudFlagId,
    ) -> Result<(), ApiError> {
        let Some(own) = call.principal.program_ids() else { return Ok(()) };
        let is_own = query(&self.0.database, &self.0.environment, |work| {
            let flag = load::<FraudFlag>(work, flag_id)?;
            Ok(flag.raised().is_some_and(|raised| own.contains(&raised.program_id)))
        });
        if is_own.await? { Ok(()) } else { Err(Refusal::FraudFlagNotFound(flag_id.clone()).into()) }
    }
}

/// How much of the evidence a caller sees.
fn shown_to<M>(call: &Call<M>) -> Shown {
    if call.principal.role() == Some(Role::Admin) { Shown::Wholly } else { Shown::Masked }
}

/// A flag's place as the key of a page token.
fn place_text(place: FlagPlace) -> String {
    let state = if place.is_open { "open" } else { "resolved" };
    format!("{state} {}", place.raised_position)
}

fn parse_place(key: &str) -> Option<FlagPlace> {
    let (state, position) = key.split_once(' ')?;
    Some(FlagPlace { is_open: state == "open", raised_position: position.parse().ok()? })
}
