//! Sign-ups that wait until their address is confirmed, where a setting demands it of sign-ups by users themselves.
//!
//! Everything but the address is checked and answered at once, as with other sign-ups. Whether the address has an
//! account is told to nobody but its owner: the answer, the work and its time are the same.

use super::evenly::no_sooner;
use super::mailed_tokens::unknown;
use super::registration::with_username;
use super::{Handlers, refused};
use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::writes::{key_of, request_key};
use crate::engine::query::query;
use crate::engine::{Failure, RequestKey, Submission, fresh_uuid};
use crate::store::personal::address_key;
use crate::store::sign_ups::{self, Entered, Found, NewSignUp, SignUp};
use crate::store::{Actor, Door, claims, in_time};
use domain::decide::{Command, RegisterUser, rehearse_sign_up};
use domain::fraud::Mailbox;
use domain::{Profile, Refusal, UserId, email};

/// What the checks of a sign-up have found.
enum Checked {
    /// It can wait.
    New,
    /// The same request was made before, and has made a sign-up wait, or would have.
    Repeated(Entered),
    /// The same request was carried out before, when sign-ups did not wait.
    CarriedOut,
}

impl Handlers {
    /// Lets a sign-up wait for the confirmation of its address. Returns no answer if the same request was carried out
    /// before sign-ups had to wait.
    pub(super) async fn let_wait(
        &self,
        call: &Call<pb::RegisterUserRequest>,
        scope: &str,
        sign_up: &RegisterUser,
    ) -> Result<Option<pb::RegisterUserResponse>, ApiError> {
        let (context, door) = (&self.0, &self.0.open_door);
        let request = request_key(context, call, scope);
        let checked = self.check_waiting(request.as_ref(), sign_up).await;
        let entered =
            match checked.map_err(|refused| with_username(call, door.discreet(refused)))? {
                Checked::CarriedOut => return Ok(None),
                Checked::Repeated(entered) => entered,
                Checked::New => {
                    let password = call.message.password.clone();
                    let hash = door.hash(context.access.passwords(), password).await?;
                    let profile = Profile { password_hash: Some(hash), ..sign_up.profile.clone() };
                    let new = NewSignUp {
                        sign_up: SignUp {
                            profile,
                            program_id: sign_up.program_id.clone(),
                            referral_code: sign_up.referral_code.clone(),
                            client_ip: sign_up.client_ip,
                            fingerprint_key: sign_up.fingerprint_key.clone(),
                        },
                        request: request.map(|request| (request.key, request.fingerprint)),
                        token_id: fresh_uuid(&context.environment),
                        kept: context.settings.sign_ups_kept,
                    };
                    let database = context.database.clone();
                    no_sooner(async move { in_time(sign_ups::enter(database.pool(), new)).await })
                        .await?
                }
            };
        if let Entered::Dropped(why) = entered {
            door.count_dropped(why);
        }
        match entered {
            Entered::Done | Entered::Dropped(_) => Ok(Some(pb::RegisterUserResponse {
                confirmation_mailed: true,
                ..pb::RegisterUserResponse::default()
            })),
            Entered::Reused => {
                let refused = ApiError::from(Failure::RequestIdReused);
                let request_id = &call.message.request_id;
                Err(refused.with_fact(ErrorReason::RequestIdReused, "request_id", request_id))
            }
        }
    }

    /// Refuses a sign-up as its command would now, but for its address.
    async fn check_waiting(
        &self,
        request: Option<&RequestKey>,
        sign_up: &RegisterUser,
    ) -> Result<Checked, ApiError> {
        let context = &self.0;
        let pool = context.database.pool();
        let _turn = context.open_door.check().await;
        if let Some(request) = request
            && let Some(known) = in_time(sign_ups::known_request(pool, request.key)).await?
        {
            return Ok(Checked::Repeated(sign_ups::outcome(Some(&known), &request.fingerprint)));
        }
        let Profile { username, email, .. } = &sign_up.profile;
        let key = request.map(|request| request.key);
        let known = in_time(claims::known_sign_up(pool, username, email, key)).await?;
        if known.is_repetition {
            return Ok(Checked::CarriedOut);
        }
        if known.username_taken {
            return Err(Refusal::Taken(vec!["username"]).into());
        }
        // Whether the address is that of an erased user decides about the code, and would be seen.
        let sign_up = RegisterUser { address_key: None, ..sign_up.clone() };
        query(&context.database, &context.environment, |work| rehearse_sign_up(work, &sign_up))
            .await?;
        Ok(Checked::New)
    }
}

/// Registers the user of a sign-up whose address was confirmed. Returns the position of the log at which that is seen,
/// the same for each repetition. A sign-up that is refused stays, and can be confirmed again.
pub(super) async fn register(
    context: &Context,
    user_id: &UserId,
    actor: Actor,
    door: Door,
) -> Result<i64, ApiError> {
    let SignUp { profile, program_id, referral_code, client_ip, fingerprint_key } =
        match in_time(sign_ups::find(context.database.pool(), user_id)).await? {
            Some(Found::Waiting(sign_up)) => *sign_up,
            Some(Found::Confirmed(position)) => return Ok(position),
            None => return Err(unknown()),
        };
    let address_key = email::comparable(&profile.email)
        .and_then(|address| address_key(&context.address_secret, &address));
    let username = profile.username.clone();
    let mailbox = Mailbox::parse(&profile.email);
    let command = Command::RegisterUser(Box::new(RegisterUser {
        profile,
        mailbox,
        address_key,
        client_ip,
        fingerprint_key,
        program_id,
        referral_code,
        api_key: None,
        is_address_confirmed: true,
    }));
    // Another server may be doing the same, or have died before it could answer.
    let once = key_of(context, "confirmed sign-up", user_id.as_str());
    let submission = Submission::new(command, actor.clone(), door.clone()).answering(once);
    match context.engine.execute(submission).await {
        Ok(committed) => Ok(committed.position),
        Err(Failure::Refused(Refusal::TooManySignUps { program_id, limit, retry_seconds })) => {
            if let Some(client_ip) = client_ip {
                refused::flag(context, program_id.clone(), client_ip, actor, door).await;
            }
            let refusal = Refusal::TooManySignUps { program_id, limit, retry_seconds };
            Err(ApiError::from(refusal).advise("confirm again then, with the same token"))
        }
        Err(failure) => Err(advised(failure, &username)),
    }
}

/// Why a sign-up that was confirmed is refused, and what to do about it.
fn advised(failure: Failure, username: &str) -> ApiError {
    let advice = match &failure {
        Failure::Refused(Refusal::Taken(fields)) if fields.contains(&"email") => {
            let advice = "the address has an account by now: log in, or ask for another password";
            return ApiError::from(Refusal::Taken(vec!["email"])).advise(advice);
        }
        Failure::Refused(Refusal::Taken(_)) => {
            "sign up again, with another username, and confirm that sign-up"
        }
        Failure::Refused(
            Refusal::CodeNotFound(_)
            | Refusal::CodeExhausted { .. }
            | Refusal::ReferrerLimitReached { .. }
            | Refusal::BalanceLimitReached(_),
        ) => {
            "confirm again later with the same token, or sign up again with another code or without one"
        }
        _ => return failure.into(),
    };
    let refused = ApiError::from(failure).advise(advice);
    refused.with_fact(ErrorReason::UsernameTaken, "username", username)
}
