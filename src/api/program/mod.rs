//! `ProgramService`: programs and their participants.

pub(super) mod fraud_checks;
pub(super) mod rules;

use std::sync::Arc;

use prost::Message;
use tokio::time::Instant;

use crate::api::Context;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::{Call, bounded};
use crate::api::pages::{MAX_PAGE_BYTES, Page};
use crate::api::pb::{self, ErrorReason};
use crate::api::permissions::{Callers, Rule, Subject, row};
use crate::api::responses::joined;
use crate::api::tokens::newest_position;
use crate::api::writes::{carry_out, command_fields};
use crate::engine::query::query;
use crate::store::load::program_ids;
use crate::store::log;
use domain::decide::{Command, EnrollParticipant, existing_program, rehearse_publication};
use domain::rules::ProgramRules;
use domain::{Halt, Kind, ParticipantId, Program, ProgramId, Refusal, StreamKey, each, load};
use rules::{program_message, read_program};

/// How many programs are loaded at once: each comes with all its versions.
const PROGRAMS_AT_ONCE: usize = 50;

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::{Operators, SignedIn};
    use Subject::{None, User};
    &[
        row("ProgramService", "PublishProgram", Operators, None),
        row("ProgramService", "GetProgram", SignedIn, None),
        row("ProgramService", "ListProgramVersions", SignedIn, None),
        row("ProgramService", "ListPrograms", SignedIn, None),
        row("ProgramService", "EnrollParticipant", SignedIn, User("user_id")),
    ]
};

pub(super) struct Handlers(pub(super) Context);

impl Handlers {
    pub(super) async fn publish_program(
        &self,
        call: Call<pb::PublishProgramRequest>,
    ) -> Result<pb::PublishProgramResponse, ApiError> {
        let mut fields = command_fields(&call.message);
        let program = call.message.program.clone().unwrap_or_default();
        let read = read_program(&mut fields, &program);
        let expected = call.message.expected_version;
        if expected.is_some_and(i32::is_negative) {
            let message = "must be 0 (if there is no such program yet) or more";
            fields.fault("expected_version", ErrorReason::InvalidProgram, message);
        }
        let (program_id, rules) = fields.finish(read)?;
        let expected_version = expected.map(i32::unsigned_abs);
        if call.message.validate_only {
            let program = Some(self.rehearse(&program_id, &rules, expected_version).await?);
            return Ok(pb::PublishProgramResponse { program, ..Default::default() });
        }
        let command =
            Command::PublishProgram { program_id: program_id.clone(), rules, expected_version };
        let written = carry_out(&self.0, &call, command).await?;
        let published = async {
            let version = self.version_at(&program_id, written.position).await?;
            self.find(&program_id, version).await
        };
        let program = bounded(Instant::now(), published).await?;
        Ok(pb::PublishProgramResponse {
            program: Some(program),
            consistency_token: written.consistency_token,
        })
    }

    /// A program as it would be with these rules.
    async fn rehearse(
        &self,
        program_id: &ProgramId,
        rules: &Arc<ProgramRules>,
        expected_version: Option<u32>,
    ) -> Result<pb::Program, ApiError> {
        let found = query(&self.0.database, &self.0.environment, |work| {
            let program = rehearse_publication(work, program_id, rules, expected_version)?;
            let current = program.current().ok_or(Halt::Broken("a publication without rules"))?;
            Ok(program_message(program_id, &program, current))
        });
        Ok(found.await?)
    }

    pub(super) async fn get_program(
        &self,
        call: Call<pb::GetProgramRequest>,
    ) -> Result<pb::GetProgramResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        if request.version < 0 {
            let message = "must be 0 (for the current one) or more";
            fields.fault("version", ErrorReason::InvalidProgram, message);
        }
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let mut program = self.find(&program_id, request.version.unsigned_abs()).await?;
        hide_fraud_checks(&call, &mut program);
        Ok(pb::GetProgramResponse { program: Some(program), position })
    }

    pub(super) async fn list_program_versions(
        &self,
        call: Call<pb::ListProgramVersionsRequest>,
    ) -> Result<pb::ListProgramVersionsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let before = page.start(&mut fields, &request.page_token, u32::MAX, |key| key.parse().ok());
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let (before, program_id) = fields.finish(before.zip(program_id))?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let (mut programs, count) = self.versions(&program_id, before, page.size() + 1).await?;
        let wanted = count.min(page.size());
        let next_page_token = page.cut(&mut programs, |program| program.version);
        for program in &mut programs {
            hide_fraud_checks(&call, program);
        }
        let numbers: Vec<i32> = programs.iter().map(|program| program.version).collect();
        let next_page_token =
            page.fit(&mut programs, wanted, next_page_token, |index| numbers[index]);
        Ok(pb::ListProgramVersionsResponse { programs, next_page_token, position })
    }

    /// The versions of a program before one, the newest first, at most `limit` and no more than fill a page; and how
    /// many there are.
    async fn versions(
        &self,
        program_id: &ProgramId,
        before: u32,
        limit: usize,
    ) -> Result<(Vec<pb::Program>, usize), ApiError> {
        let found = query(&self.0.database, &self.0.environment, |work| {
            existing_program(work, program_id)?;
            let program = load::<Program>(work, program_id)?;
            let versions = || program.versions().rev().filter(|version| version.version < before);
            let mut bytes = 0;
            let mut found = Vec::new();
            for version in versions().take(limit) {
                let message = program_message(program_id, &program, version);
                bytes += message.encoded_len();
                found.push(message);
                if bytes > MAX_PAGE_BYTES {
                    break;
                }
            }
            Ok((found, versions().count()))
        });
        Ok(found.await?)
    }

    pub(super) async fn list_programs(
        &self,
        call: Call<pb::ListProgramsRequest>,
    ) -> Result<pb::ListProgramsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let after = page.after_program(&mut fields, &request.page_token);
        let after = fields.finish(after)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let mut ids = program_ids(self.0.database.pool(), &after, page.rows()).await?;
        let next_page_token = page.cut(&mut ids, ProgramId::clone);
        let mut programs = Vec::with_capacity(ids.len());
        for ids in ids.chunks(PROGRAMS_AT_ONCE) {
            programs.extend(self.current(ids).await?);
            for program in &mut programs {
                hide_fraud_checks(&call, program);
            }
            if programs.iter().map(Message::encoded_len).sum::<usize>() > MAX_PAGE_BYTES {
                break;
            }
        }
        let last = |index: usize| ids[index].clone();
        let next_page_token = page.fit(&mut programs, ids.len(), next_page_token, last);
        Ok(pb::ListProgramsResponse { programs, next_page_token, position })
    }

    /// The programs in force, in the order of `ids`, which exist.
    async fn current(&self, ids: &[ProgramId]) -> Result<Vec<pb::Program>, ApiError> {
        let found = query(&self.0.database, &self.0.environment, |work| {
            let mut found = Vec::with_capacity(ids.len());
            each(ids, |id| {
                let program = load::<Program>(work, id)?;
                let current = program.current().ok_or(Halt::Broken("a claim without a program"))?;
                found.push(program_message(id, &program, current));
                Ok(())
            })?;
            Ok(found)
        });
        Ok(found.await?)
    }

    pub(super) async fn enroll_participant(
        &self,
        call: Call<pb::EnrollParticipantRequest>,
    ) -> Result<pb::EnrollParticipantResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let referral_code = fields.referral_code(&request.referral_code);
        let id = fields.participant(&request.program_id, &request.user_id);
        let ParticipantId { program_id, user_id } = fields.finish(id)?;
        let command = EnrollParticipant { program_id, user_id, referral_code };
        let command = Command::EnrollParticipant(command);
        let written = carry_out(&self.0, &call, command).await?;
        let joined = joined(&written.events)?;
        Ok(pb::EnrollParticipantResponse {
            participant: joined.participants.into_iter().next(),
            rewards: joined.rewards,
            code_passed_over: joined.code_passed_over.into(),
            consistency_token: written.consistency_token,
        })
    }

    /// The version that was in force at a position of the log: the result of a publication, even if the
    /// request is a repetition and later versions have been published.
    async fn version_at(&self, program_id: &ProgramId, position: i64) -> Result<u32, ApiError> {
        let stream = StreamKey { kind: Kind::Program, id: program_id.as_str().into() };
        // Every event of a program is a new version.
        let version = log::sequence_at(self.0.database.pool(), &stream, position).await?;
        Ok(u32::try_from(version).unwrap_or_default())
    }

    /// A version of a program; the current one for 0.
    async fn find(&self, program_id: &ProgramId, version: u32) -> Result<pb::Program, ApiError> {
        let found = query(&self.0.database, &self.0.environment, |work| {
            let program = load::<Program>(work, program_id)?;
            let current =
                program.current().ok_or_else(|| Refusal::ProgramNotFound(program_id.clone()))?;
            let version = if version == 0 { Some(current) } else { program.version(version) };
            Ok(version.map(|version| program_message(program_id, &program, version)))
        })
        .await?;
        found.ok_or_else(|| {
            let message = format!("program '{program_id}' has no version {version}");
            status(
                ErrorReason::ProgramVersionNotFound,
                message,
                &[("program_id", program_id), ("version", &version)],
            )
            .into()
        })
    }
}

/// Leaves the fraud checks out of answers to users: whoever knows a threshold can stay just below it.
fn hide_fraud_checks<M>(call: &Call<M>, program: &mut pb::Program) {
    if !call.principal.is_back_end() {
        program.fraud_checks = None;
    }
}
