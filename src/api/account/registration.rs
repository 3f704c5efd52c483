//! `RegisterUser`.

use super::Handlers;
use crate::access::Principal;
use crate::api::errors::ApiError;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses::{self, joined};
use crate::api::writes::{carry_out_within, command_fields};
use crate::store::ProfileNames;
use domain::decide::{Command, RegisterUser};
use domain::{Profile, ProgramId, UserId, UserStatus, email};

impl Handlers {
    pub(in crate::api) async fn register_user(
        &self,
        call: Call<pb::RegisterUserRequest>,
    ) -> Result<pb::RegisterUserResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        fields.client_ip(&request.client_ip);
        fields.password(&request.password, call.principal.is_back_end());
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

        let password_hash = match &request.password {
            password if password.is_empty() => None,
            password => Some(self.0.access.passwords().hash(password.clone()).await?),
        };
        let names = ProfileNames {
            user_id: user_id.to_string(),
            username: username.clone(),
            display_name: display_name.clone(),
        };
        let profile = Profile { user_id, username, email, display_name, password_hash };
        let command =
            Command::RegisterUser(Box::new(RegisterUser { profile, program_id, referral_code }));
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
        let joined = joined(&written.events)?;
        let user = joined.registered.map(|(user_id, create_time)| {
            responses::user(&user_id, Some(&names), UserStatus::Active, create_time)
        });
        Ok(pb::RegisterUserResponse {
            user,
            participants: joined.participants,
            api_key: String::new(),
            rewards: joined.rewards,
            code_passed_over: joined.code_passed_over.into(),
            consistency_token: written.consistency_token,
        })
    }
}
