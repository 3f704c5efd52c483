//! `ConfirmEmail` and `ResendConfirmation`.

use super::evenly::evenly;
use super::mailed_tokens::{actor_by, mail, presented};
use super::profile::MAX_READS;
use super::waiting;
use super::{Handlers, login_of};
use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb;
use crate::api::tokens::consistency_token;
use crate::engine::{Failure, Submission, fresh_uuid};
use crate::store::mailed_tokens::KnownToken;
use crate::store::{Actor, Door, OwnProfile, in_time, own_profile, own_profile_of, sign_ups};
use domain::decide::{Command, ConfirmEmail, Exchange};
use domain::{Personal, Refusal, TokenPurpose, UserId};

impl Handlers {
    pub(in crate::api) async fn confirm_email(
        &self,
        call: Call<pb::ConfirmEmailRequest>,
    ) -> Result<pb::ConfirmEmailResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let token = fields.required("token", &request.token);
        let token = fields.finish(token)?;
        let (user_id, position) =
            confirm(&self.0, token, call.principal.actor(), call.door()).await?;
        let consistency_token = consistency_token(&self.0, position);
        Ok(pb::ConfirmEmailResponse { user_id: user_id.to_string(), consistency_token })
    }

    pub(in crate::api) async fn resend_confirmation(
        &self,
        call: Call<pb::ResendConfirmationRequest>,
    ) -> Result<pb::ResendConfirmationResponse, ApiError> {
        let login = login_of(&mut Fields::of(&call.message), &call.message.login)?;
        let (database, environment) = (self.0.database.clone(), self.0.environment.clone());
        let (access, kept) = (self.0.access.clone(), self.0.settings.sign_ups_kept);
        evenly(&self.0.access, async move {
            match in_time(own_profile_of(database.pool(), &login)).await? {
                Some(profile) if !profile.is_email_confirmed => {
                    let purpose = TokenPurpose::ConfirmEmail;
                    in_time(mail(&access, &database, &environment, &profile, purpose)).await
                }
                // The username of a sign-up that waits is not its own.
                None if login.contains('@') => {
                    let token_id = fresh_uuid(&environment);
                    in_time(sign_ups::mail_again(database.pool(), login.trim(), token_id, kept))
                        .await
                }
                _ => Ok(()),
            }
        })
        .await?;
        Ok(pb::ResendConfirmationResponse {})
    }
}

/// Confirms an address with a token, which is good once: that of a user, or that of a sign-up, which becomes a user.
/// Returns the user, and the position of the log at which that is seen.
pub(in crate::api) async fn confirm(
    context: &Context,
    token: &str,
    actor: Actor,
    door: Door,
) -> Result<(UserId, i64), ApiError> {
    let purposes =
        [TokenPurpose::ConfirmEmail, TokenPurpose::ChangeEmail, TokenPurpose::ConfirmSignUp];
    let known = presented(context, token, &purposes).await?;
    let user_id = known.user_id.clone();
    if known.purpose == TokenPurpose::ConfirmSignUp {
        // As with any sign-up by somebody without credentials: there is no user yet who could act.
        let position = waiting::register(context, &user_id, actor, door).await?;
        return Ok((user_id, position));
    }
    let actor = actor_by(&known, actor);
    let mut reads = 0;
    loop {
        reads += 1;
        let profile = in_time(own_profile(context.database.pool(), &user_id)).await?;
        let profile = profile.ok_or_else(|| Refusal::UserNotFound(user_id.clone()))?;
        let confirmation = confirmation(&known, &profile)?;
        let command = Command::ConfirmEmail(Box::new(confirmation));
        let submission = Submission::new(command, actor.clone(), door.clone());
        match context.engine.execute(submission).await {
            Ok(committed) => return Ok((user_id, committed.position)),
            Err(Failure::Refused(Refusal::ProfileMoved(_))) if reads < MAX_READS => {}
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// The username of a sign-up that waits for this token; `None` for other tokens, and if the sign-up waits no more.
pub(in crate::api) async fn username_of_sign_up(context: &Context, token: &str) -> Option<String> {
    let known = presented(context, token, &[TokenPurpose::ConfirmSignUp]).await.ok()?;
    let pool = context.database.pool();
    let newcomer = in_time(sign_ups::newcomer(pool, &known.user_id)).await;
    newcomer.ok().flatten().map(|newcomer| newcomer.username)
}

fn confirmation(known: &KnownToken, profile: &OwnProfile) -> Result<ConfirmEmail, Refusal> {
    let change = match known.purpose {
        TokenPurpose::ChangeEmail => {
            let (from, to) = (Personal(profile.email.clone()), Personal(known.email.clone()));
            Some((Exchange { from, to }, known.version))
        }
        // The user has another address now.
        _ if known.email != profile.email => return Err(Refusal::MailedTokenUsed),
        _ => None,
    };
    let (user_id, version) = (known.user_id.clone(), profile.version);
    Ok(ConfirmEmail { user_id, version, change })
}
