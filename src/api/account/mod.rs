//! `AccountService`: users.

use tonic::{Request, Response, Status};

use crate::api::Context;
use crate::api::authentication::caller;
use crate::api::errors::ApiError;
use crate::api::fields::{Fields, page_token};
use crate::api::pb::account_service_server::AccountService;
use crate::api::pb::{self, ErrorReason};
use crate::api::permissions::Caller;
use crate::api::reads::{Reading, deadline, found_in, freshness};
use crate::api::requests::carry_out;
use crate::api::responses::{self, joined};
use crate::api::tokens::{consistency_token, newest_position};
use crate::engine::query::query;
use crate::read::{At, ListedProgram, ListedUser};
use crate::store::{ProfileNames, profile_names};
use domain::decide::{Command, RegisterUser};
use domain::rules::link;
use domain::{
    Participant, ParticipantId, Profile, Program, ProgramId, Refusal, User, UserId, UserStatus,
    load,
};

pub(super) struct Accounts(pub(super) Context);

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn register_user(
        &self,
        request: Request<pb::RegisterUserRequest>,
    ) -> Result<Response<pb::RegisterUserResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        fields.request_id(&request.request_id);
        fields.client_ip(&request.client_ip);
        fields.password(&request.password, caller.is_back_end());
        if request.issue_api_key {
            let message = "is not supported yet; leave it out";
            fields.fault("issue_api_key", ErrorReason::UnsupportedField, message);
        }
        let display_name = fields.display_name(&request.display_name);
        let referral_code = fields.referral_code(&request.referral_code);
        let program_id = fields.optional_id("program_id", &request.program_id, ProgramId::parse);
        let user_id = match request.user_id.as_str() {
            "" => UserId::parse(&self.0.environment.fresh_id()).ok(),
            own => fields.id("user_id", own, UserId::parse),
        };
        let username = fields.username(&request.username);
        let email = fields.email(&request.email);
        let required = user_id.zip(username).zip(email);
        let ((user_id, username), email) = fields.finish(required)?;

        let canonical = pb::RegisterUserRequest {
            request_id: String::new(),
            password: String::new(),
            ..request.clone()
        };
        let password_hash = match request.password {
            password if password.is_empty() => None,
            password => Some(self.0.passwords.hash(password).await?),
        };
        let names = ProfileNames {
            user_id: user_id.to_string(),
            username: username.clone(),
            display_name: display_name.clone(),
        };
        let profile = Profile { user_id, username, email, display_name, password_hash };
        let command =
            Command::RegisterUser(Box::new(RegisterUser { profile, program_id, referral_code }));
        // Callers without a key share no request ids: each address has its own.
        let scope = match caller {
            Caller::Anonymous => request.email.to_lowercase(),
            Caller::Admin => caller.scope().into(),
        };
        let id = &request.request_id;
        let committed =
            carry_out(&self.0, &scope, "RegisterUser", id, &canonical, command).await.map_err(
                |error| error.with_fact(ErrorReason::UsernameTaken, "username", &request.username),
            )?;
        let joined = joined(&committed.events)?;
        let user = joined.registered.map(|(user_id, create_time)| {
            responses::user(&user_id, Some(&names), UserStatus::Active, create_time)
        });
        Ok(Response::new(pb::RegisterUserResponse {
            user,
            participants: joined.participants,
            api_key: String::new(),
            consistency_token: consistency_token(&self.0, committed.position),
        }))
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::GetUserResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let user_id = fields.id("user_id", &request.user_id, UserId::parse);
        let user_id = fields.finish(user_id)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let found = self.find(&user_id).await?;
        Ok(Response::new(pb::GetUserResponse { position, ..found }))
    }

    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Result<Response<pb::ListUsersResponse>, Status> {
        let deadline = deadline(&self.0, &request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let page_size = fields.page_size(request.page_size);
        let program_id = fields.optional_id("program_id", &request.program_id, ProgramId::parse);
        let before = fields.page_position("ListUsers", &request.page_token);
        let before = fields.finish(before)?;
        let freshness = freshness(&self.0, &request.consistency_token, deadline).await?;
        // One more than asked for tells whether there is a next page.
        let reads = &self.0.reads;
        let limit = page_size + 1;
        let At { position, found: (program, mut users) } = match &program_id {
            None => reads.users(None, before, limit, freshness).await.map_err(ApiError::from)?,
            Some(program_id) => {
                let read = |freshness| -> Reading<'_, _> {
                    Box::pin(async move {
                        let users = reads.users(Some(program_id), before, limit, freshness);
                        let At { position, found } = users.await?;
                        Ok(At { position, found: found.0.is_some().then_some(found) })
                    })
                };
                found_in(&self.0, freshness, program_id, read).await?
            }
        };
        let limit = usize::try_from(page_size).unwrap_or_default();
        let is_last = users.len() <= limit;
        users.truncate(limit);
        let next_page_token = match users.last() {
            Some(last) if !is_last => page_token("ListUsers", last.order_position),
            _ => String::new(),
        };
        let program = program.unwrap_or_default();
        Ok(Response::new(pb::ListUsersResponse {
            users: users
                .iter()
                .map(|user| user_detail(&request.program_id, &program, user))
                .collect(),
            next_page_token,
            position,
        }))
    }

    async fn deactivate_user(
        &self,
        request: Request<pb::DeactivateUserRequest>,
    ) -> Result<Response<pb::DeactivateUserResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let user_id = read_user_id(&request.user_id, &request.request_id)?;
        let canonical = pb::DeactivateUserRequest { request_id: String::new(), ..request.clone() };
        let command = Command::DeactivateUser { user_id: user_id.clone() };
        let (scope, id) = (caller.scope(), &request.request_id);
        let committed =
            carry_out(&self.0, scope, "DeactivateUser", id, &canonical, command).await?;
        let user = self.find_as(&user_id, UserStatus::Inactive).await?;
        let consistency_token = consistency_token(&self.0, committed.position);
        Ok(Response::new(pb::DeactivateUserResponse { user, consistency_token }))
    }

    async fn reactivate_user(
        &self,
        request: Request<pb::ReactivateUserRequest>,
    ) -> Result<Response<pb::ReactivateUserResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let user_id = read_user_id(&request.user_id, &request.request_id)?;
        let canonical = pb::ReactivateUserRequest { request_id: String::new(), ..request.clone() };
        let command = Command::ReactivateUser { user_id: user_id.clone() };
        let (scope, id) = (caller.scope(), &request.request_id);
        let committed =
            carry_out(&self.0, scope, "ReactivateUser", id, &canonical, command).await?;
        let user = self.find_as(&user_id, UserStatus::Active).await?;
        let consistency_token = consistency_token(&self.0, committed.position);
        Ok(Response::new(pb::ReactivateUserResponse { user, consistency_token }))
    }
}

fn user_detail(program_id: &str, program: &ListedProgram, listed: &ListedUser) -> pb::UserDetail {
    let ListedUser { user_id, names, status, register_time, member, .. } = listed;
    let participant = member.as_ref().map(|member| pb::Participant {
        program_id: program_id.into(),
        user_id: user_id.clone(),
        code: member.code.clone(),
        link: link(&program.base_url, &member.code),
        referrer_user_id: member.referrer_user_id.clone().unwrap_or_default(),
        referral_status: member
            .referral_status
            .map_or(pb::ReferralStatus::Unspecified, responses::referral_status)
            .into(),
    });
    pb::UserDetail {
        user: Some(responses::user(user_id, names.as_ref(), *status, *register_time)),
        participant,
        balances: member
            .iter()
            .map(|member| responses::money(&program.unit, member.balance_minor))
            .collect(),
    }
}

#[allow(clippy::result_large_err, reason = "a status is what callers return")]
fn read_user_id(user_id: &str, request_id: &str) -> Result<UserId, Status> {
    let mut fields = Fields::default();
    fields.request_id(request_id);
    let user_id = fields.id("user_id", user_id, UserId::parse);
    fields.finish(user_id)
}

impl Accounts {
    /// The user with the status that a request gave them, which a later one may have changed: a
    /// repetition is answered like the first.
    async fn find_as(
        &self,
        user_id: &UserId,
        status: UserStatus,
    ) -> Result<Option<pb::User>, ApiError> {
        let mut user = self.find(user_id).await?.user;
        if let Some(user) = &mut user {
            user.set_status(responses::user_status(status));
        }
        Ok(user)
    }

    async fn find(&self, user_id: &UserId) -> Result<pb::GetUserResponse, ApiError> {
        let (status, create_time, participants) =
            query(&self.0.database, &self.0.environment, |work| {
                let user = load::<User>(work, user_id)?;
                if !user.exists() {
                    return Err(Refusal::UserNotFound(user_id.clone()).into());
                }
                let mut participants = Vec::new();
                for program_id in user.programs() {
                    let program = load::<Program>(work, program_id)?;
                    let id = ParticipantId::new(program_id, user_id);
                    let participant = load::<Participant>(work, &id)?;
                    participants.push(participant_message(&program, user_id, &participant));
                }
                participants.sort_by(|one, other| one.program_id.cmp(&other.program_id));
                Ok((user.status(), user.register_time(), participants))
            })
            .await?;
        let names = profile_names(self.0.database.pool(), user_id).await?;
        let user = responses::user(user_id.as_str(), names.as_ref(), status, create_time);
        Ok(pb::GetUserResponse { user: Some(user), participants, position: 0 })
    }
}

fn participant_message(
    program: &Program,
    user_id: &UserId,
    participant: &Participant,
) -> pb::Participant {
    let code = participant.code();
    let referral = participant.referral();
    pb::Participant {
        program_id: program.program_id().to_string(),
        user_id: user_id.to_string(),
        code: code.into(),
        link: program.current().map(|version| version.rules.link(code)).unwrap_or_default(),
        referrer_user_id: referral
            .map(|referral| referral.referrer_user_id.to_string())
            .unwrap_or_default(),
        referral_status: referral
            .map_or(pb::ReferralStatus::Unspecified, |referral| {
                responses::referral_status(referral.status)
            })
            .into(),
    }
}
