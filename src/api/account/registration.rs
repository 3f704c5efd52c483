//! `RegisterUser`.

use std::net::IpAddr;

use super::{Handlers, refused};
use crate::access::Principal;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::key_programs::program_of_code;
use crate::api::pb::{self, ErrorReason};
use crate::api::peer::ClientAddress;
use crate::api::redaction::Redact;
use crate::api::responses::{self, joined};
use crate::api::writes::{carry_out_within, command_fields, request_key};
use crate::engine::query::query;
use crate::store::personal::address_key;
use crate::store::{ProfileNames, RecordedEvent, claims, in_time};
use domain::decide::{Command, RegisterUser, rehearse_sign_up};
use domain::fraud::Mailbox;
use domain::{Kind, Profile, ProgramId, Refusal, UserId, UserRole, UserStatus, email};

impl Handlers {
    pub(in crate::api) async fn register_user(
        &self,
        call: Call<pb::RegisterUserRequest>,
    ) -> Result<pb::RegisterUserResponse, ApiError> {
        let answer = self.try_to_register(&call).await;
        if let Err(refused) = &answer
            && let Some(program_id) = refused.fact(ErrorReason::TooManySignUps, "program_id")
            && let Ok(program_id) = ProgramId::parse(&program_id)
            && let Some(client_ip) = client_of(&call)
        {
            let (actor, door) = (call.principal.actor(), call.door());
            refused::flag(&self.0, program_id, client_ip, actor, door).await;
        }
        answer
    }

    async fn try_to_register(
        &self,
        call: &Call<pb::RegisterUserRequest>,
    ) -> Result<pb::RegisterUserResponse, ApiError> {
        let (context, door) = (&self.0, &self.0.open_door);
        let is_open = !call.principal.is_back_end();
        if is_open {
            door.check_open()?;
        }
        let mut sign_up = self.read_sign_up(call)?;
        // Callers without credentials do not share request ids: each address has its own scope.
        let scope = match call.principal {
            Principal::Anonymous => {
                let address = &call.message.email;
                email::comparable(address).unwrap_or_else(|| address.clone()).into()
            }
            _ => call.principal.scope(),
        };
        let (program_id, code) = (sign_up.program_id.as_ref(), sign_up.referral_code.as_deref());
        let of_code = program_of_code(context, &call.principal, program_id, code).await?;
        sign_up.program_id = sign_up.program_id.or(of_code);
        let password = call.message.password.clone();
        let _place = if is_open {
            let place = door.enter()?;
            if context.settings.confirm_sign_ups
                && let Some(answer) = self.let_wait(call, &scope, &sign_up).await?
            {
                return Ok(answer);
            }
            let checked = self.check_open_sign_up(call, &scope, &sign_up).await;
            checked.map_err(|refused| with_username(call, door.discreet(refused)))?;
            sign_up.profile.password_hash =
                Some(door.hash(context.access.passwords(), password).await?);
            Some(place)
        } else {
            if !password.is_empty() {
                sign_up.profile.password_hash =
                    Some(context.access.passwords().hash(password).await?);
            }
            None
        };
        let Profile { user_id, username, display_name, .. } = &sign_up.profile;
        let names = ProfileNames {
            user_id: user_id.to_string(),
            username: username.clone(),
            display_name: display_name.clone(),
        };
        let key_text = if call.message.issue_api_key {
            let (key, text) = self.key_of_sign_up(&call.principal, user_id).await?;
            sign_up.api_key = Some(key);
            text
        } else {
            String::new()
        };
        let key_id = sign_up.api_key.as_ref().map(|key| key.key_id.clone());
        // Whatever was checked before is decided again, now exactly.
        let command = Command::RegisterUser(Box::new(sign_up));
        let written = carry_out_within(context, call, &scope, command).await;
        let written = written.map_err(|refused| {
            with_username(call, if is_open { door.discreet(refused) } else { refused })
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
            confirmation_mailed: false,
        };
        if is_open {
            let own = answer.user.as_ref().map(|user| user.user_id.clone()).unwrap_or_default();
            answer.redact(&own);
        }
        Ok(answer)
    }

    /// The sign-up of a request, without the hash of its password.
    fn read_sign_up(&self, call: &Call<pb::RegisterUserRequest>) -> Result<RegisterUser, ApiError> {
        let request = &call.message;
        let mut fields: Fields = command_fields(request);
        fields.client_ip(&request.client_ip);
        let keys = &self.0.environment.screening.keys;
        let fingerprint_key = fields.fingerprint(&request.fingerprint, keys);
        let settings = self.0.access.passwords().settings();
        let is_optional = call.principal.is_back_end();
        let client_ip = client_of(call);
        if request.issue_api_key && !is_optional && self.0.settings.confirm_sign_ups {
            let message = "must be left out: the user does not exist before the address is confirmed, and creates keys \
                           after logging in";
            fields.fault("issue_api_key", ErrorReason::UnsupportedField, message);
        }
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
        let address_key = email::comparable(&email)
            .and_then(|address| address_key(&self.0.address_secret, &address));
        let mailbox = Mailbox::parse(&email);
        let profile = Profile { user_id, username, email, display_name, password_hash: None };
        Ok(RegisterUser {
            profile,
            mailbox,
            address_key,
            client_ip,
            fingerprint_key,
            program_id,
            referral_code,
            api_key: None,
            is_address_confirmed: false,
        })
    }

    /// Refuses a sign-up as its command would, as far as reads of the database tell, before anything is spent on its
    /// password. That the address has an account is the last that is looked at.
    async fn check_open_sign_up(
        &self,
        call: &Call<pb::RegisterUserRequest>,
        scope: &str,
        sign_up: &RegisterUser,
    ) -> Result<(), ApiError> {
        let context = &self.0;
        let Profile { username, email, .. } = &sign_up.profile;
        let key = request_key(context, call, scope).map(|request| request.key);
        let _turn = context.open_door.check().await;
        let known = claims::known_sign_up(context.database.pool(), username, email, key);
        let known = in_time(known).await?;
        // A repetition gets the first answer, which took the names.
        if known.is_repetition {
            return Ok(());
        }
        if known.username_taken {
            return Err(Refusal::Taken(vec!["username"]).into());
        }
        query(&context.database, &context.environment, |work| rehearse_sign_up(work, sign_up))
            .await?;
        if known.email_taken {
            return Err(Refusal::Taken(vec!["email"]).into());
        }
        Ok(())
    }
}

/// From where a user signs up: as the back end says, or where a user's own call comes from.
fn client_of(call: &Call<pb::RegisterUserRequest>) -> Option<IpAddr> {
    if call.principal.is_back_end() {
        call.message.client_ip.trim().parse().ok()
    } else {
        call.address.map(ClientAddress::ip)
    }
}

/// Adds the username to a refusal because of it.
pub(super) fn with_username(call: &Call<pb::RegisterUserRequest>, refused: ApiError) -> ApiError {
    refused.with_fact(ErrorReason::UsernameTaken, "username", &call.message.username)
}
