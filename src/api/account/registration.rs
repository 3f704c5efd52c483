//! `RegisterUser`.

use super::Handlers;
use crate::access::Principal;
use crate::api::errors::ApiError;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::redaction::Redact;
use crate::api::responses::{self, joined};
use crate::api::writes::{carry_out_within, command_fields};
use crate::store::{ProfileNames, RecordedEvent};
use domain::decide::{Command, RegisterUser};
use domain::{Kind, Profile, ProgramId, UserId, UserRole, UserStatus, email};

impl Handlers {
    pub(in crate::api) async fn register_user(
        &self,
        call: Call<pb::RegisterUserRequest>,
    ) -> Result<pb::RegisterUserResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        fields.client_ip(&request.client_ip);
        let settings = self.0.access.passwords().settings();
        let is_optional = call.principal.is_back_end();
        fields.new_password("password", &request.password, is_optional, settings);
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

        let password_hash = match &request.password {
            password if password.is_empty() => None,
            password => Some(self.0.access.passwords().hash(password.clone()).await?),
        };
        let names = ProfileNames {
            user_id: user_id.to_string(),
            username: username.clone(),
            display_name: display_name.clone(),
        };
        let (api_key, key_text) = if request.issue_api_key {
            let (key, text) = self.key_of_sign_up(&user_id)?;
            (Some(key), text)
        } else {
            (None, String::new())
        };
        let key_id = api_key.as_ref().map(|key| key.key_id.clone());
        let profile = Profile { user_id, username, email, display_name, password_hash };
        let command = Command::RegisterUser(Box::new(RegisterUser {
            profile,
            program_id,
            referral_code,
            api_key,
        }));
        // Callers without credentials do not share request ids: each address has its own scope.
        let scope = match call.principal {
            Principal::Anonymous => {
                email::comparable(&request.email).unwrap_or_else(|| request.email.clone()).into()
            }
            _ => call.principal.scope(),
        };
        let written = carry_out_within(&self.0, &call, &scope, command).await.map_err(|error| {
            error.with_fact(ErrorReason::UsernameTaken, "username", &request.username)
        })?;
        let is_of_key = |event: &RecordedEvent| {
            event.stream.kind == Kind::ApiKey
                && key_id.as_ref().is_some_and(|key_id| *event.stream.id == *key_id.as_str())
        };
        let is_new_key = written.events.iter().any(is_of_key);
        let joined = joined(&written.events)?;
        let user = joined.registered.map(|(user_id, create_time)| {
            let (status, role) = (UserStatus::Active, UserRole::Participant);
            responses::user(&user_id, Some(&names), status, create_time, role)
        });
        let mut answer = pb::RegisterUserResponse {
            user,
            participants: joined.participants,
            // A repetition has the key of the first time, which is not known any more.
            api_key: if is_new_key { key_text } else { String::new() },
            rewards: joined.rewards,
            code_passed_over: joined.code_passed_over.into(),
            consistency_token: written.consistency_token,
        };
        if !call.principal.is_back_end() {
            let own = answer.user.as_ref().map(|user| user.user_id.clone()).unwrap_or_default();
            answer.redact(&own);
        }
        Ok(answer)
    }
}
