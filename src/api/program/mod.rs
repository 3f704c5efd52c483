//! `ProgramService`: programs and who is in them.

pub(super) mod rules;

use tonic::{Request, Response, Status};

use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::pb::program_service_server::ProgramService;
use crate::api::pb::{self, ErrorReason};
use crate::api::requests::carry_out;
use crate::api::responses::joined;
use crate::api::tokens::{consistency_token, newest_position};
use crate::api::{Context, authentication::caller};
use crate::engine::query::query;
use crate::store::load::program_ids;
use crate::store::log;
use domain::decide::{Command, EnrollParticipant};
use domain::{Kind, Program, ProgramId, Refusal, StreamKey, UserId, load};
use rules::{program_message, read_program};

pub(super) struct Programs(pub(super) Context);

#[tonic::async_trait]
impl ProgramService for Programs {
    async fn publish_program(
        &self,
        request: Request<pb::PublishProgramRequest>,
    ) -> Result<Response<pb::PublishProgramResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        fields.request_id(&request.request_id);
        let program = request.program.clone().unwrap_or_default();
        let (program_id, rules) = {
            let read = read_program(&mut fields, &program);
            fields.finish(read)?
        };
        let canonical = pb::PublishProgramRequest { request_id: String::new(), ..request.clone() };
        let command = Command::PublishProgram { program_id: program_id.clone(), rules };
        let committed = carry_out(
            &self.0,
            caller.scope(),
            "PublishProgram",
            &request.request_id,
            &canonical,
            command,
        )
        .await?;
        let version = self.version_at(&program_id, committed.position).await?;
        let program = self.find(&program_id, version).await?;
        Ok(Response::new(pb::PublishProgramResponse {
            program: Some(program),
            consistency_token: consistency_token(&self.0, committed.position),
        }))
    }

    async fn get_program(
        &self,
        request: Request<pb::GetProgramRequest>,
    ) -> Result<Response<pb::GetProgramResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        if request.version < 0 {
            let message = "must be 0 (for the current one) or more";
            fields.fault("version", ErrorReason::InvalidProgram, message);
        }
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let program_id = fields.finish(program_id)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let program = self.find(&program_id, request.version.unsigned_abs()).await?;
        Ok(Response::new(pb::GetProgramResponse { program: Some(program), position }))
    }

    async fn list_programs(
        &self,
        request: Request<pb::ListProgramsRequest>,
    ) -> Result<Response<pb::ListProgramsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let page_size = fields.page_size(request.page_size);
        let after = fields.page_token("ListPrograms", &request.page_token);
        let after = fields.finish(after)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let pool = self.0.database.pool();
        // One more than asked for tells whether there is a next page.
        let mut ids = program_ids(pool, &after, page_size + 1).await.map_err(ApiError::from)?;
        let is_last = i64::try_from(ids.len()).is_ok_and(|found| found <= page_size);
        ids.truncate(usize::try_from(page_size).unwrap_or_default());
        let next_page_token = match ids.last() {
            Some(last) if !is_last => crate::api::fields::page_token("ListPrograms", last),
            _ => String::new(),
        };
        let programs = query(&self.0.database, &self.0.environment, |work| {
            ids.iter()
                .map(|id| {
                    let program = load::<Program>(work, id)?;
                    let current = program.current();
                    Ok(current.map(|version| program_message(&program, version)))
                })
                .collect::<Result<Vec<_>, _>>()
        })
        .await
        .map_err(ApiError::from)?;
        let programs = programs.into_iter().flatten().collect();
        Ok(Response::new(pb::ListProgramsResponse { programs, next_page_token, position }))
    }

    async fn enroll_participant(
        &self,
        request: Request<pb::EnrollParticipantRequest>,
    ) -> Result<Response<pb::EnrollParticipantResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        fields.request_id(&request.request_id);
        let referral_code = fields.referral_code(&request.referral_code);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let user_id = fields.id("user_id", &request.user_id, UserId::parse);
        let (program_id, user_id) = fields.finish(program_id.zip(user_id))?;
        let canonical =
            pb::EnrollParticipantRequest { request_id: String::new(), ..request.clone() };
        let command = EnrollParticipant { program_id, user_id, referral_code };
        let command = Command::EnrollParticipant(command);
        let committed = carry_out(
            &self.0,
            caller.scope(),
            "EnrollParticipant",
            &request.request_id,
            &canonical,
            command,
        )
        .await?;
        let joined = joined(&committed.events)?;
        Ok(Response::new(pb::EnrollParticipantResponse {
            participant: joined.participants.into_iter().next(),
            rewards: joined.rewards,
            consistency_token: consistency_token(&self.0, committed.position),
        }))
    }
}

impl Programs {
    /// The version that was in force at a position of the log: what a publication came to, also if
    /// the request is a repetition and others were published since.
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
            Ok(version.map(|version| program_message(&program, version)))
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
