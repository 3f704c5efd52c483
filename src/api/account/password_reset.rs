//! `RequestPasswordReset` and `ResetPassword`.

use super::evenly::evenly;
use super::mailed_tokens::{actor_by, mail, presented};
use super::{Handlers, login_of};
use crate::api::Context;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb;
use crate::engine::{Failure, Submission};
use crate::store::mailed_tokens::KnownToken;
use crate::store::{Actor, Door, RecordedEvent, in_time, own_profile, own_profile_of};
use domain::decide::{ChangePassword, Command};
use domain::{PasswordHash, Refusal, SessionsEnded, Stream as _, TokenPurpose, User, UserEvent};

impl Handlers {
    pub(in crate::api) async fn request_password_reset(
        &self,
        call: Call<pb::RequestPasswordResetRequest>,
    ) -> Result<pb::RequestPasswordResetResponse, ApiError> {
        let login = login_of(&mut Fields::of(&call.message), &call.message.login)?;
        let (database, environment) = (self.0.database.clone(), self.0.environment.clone());
        let access = self.0.access.clone();
        evenly(&self.0.access, async move {
            match in_time(own_profile_of(database.pool(), &login)).await? {
                Some(profile) => {
                    let purpose = TokenPurpose::ResetPassword;
                    in_time(mail(&access, &database, &environment, &profile, purpose)).await
                }
                None => Ok(()),
            }
        })
        .await?;
        Ok(pb::RequestPasswordResetResponse {})
    }

    pub(in crate::api) async fn reset_password(
        &self,
        call: Call<pb::ResetPasswordRequest>,
    ) -> Result<pb::ResetPasswordResponse, ApiError> {
        let pb::ResetPasswordRequest { token, new_password } = &call.message;
        let (actor, door) = (call.principal.actor(), call.door());
        let second_factor_removed = reset(&self.0, token, new_password, actor, door).await?;
        Ok(pb::ResetPasswordResponse { second_factor_removed })
    }
}

/// Whether a token can still set a password; the refusal says why not.
pub(in crate::api) async fn check(context: &Context, token: &str) -> Result<(), ApiError> {
    holder(context, token).await.map(drop)
}

/// Whose token it is, as far as it can still set a password.
async fn holder(context: &Context, token: &str) -> Result<KnownToken, ApiError> {
    let known = presented(context, token, &[TokenPurpose::ResetPassword]).await?;
    let profile = in_time(own_profile(context.database.pool(), &known.user_id)).await?;
    let profile = profile.ok_or_else(|| Refusal::UserNotFound(known.user_id.clone()))?;
    if profile.email != known.email || profile.password_changes != known.version {
        return Err(Refusal::MailedTokenUsed.into());
    }
    Ok(known)
}

/// Gives a user another password with a token, which is good once, and ends all their sessions. The token shows that
/// they read the mails to their address, so that the address is confirmed from now on. Returns whether a second
/// factor was removed with it, which somebody else may have set up before.
pub(in crate::api) async fn reset(
    context: &Context,
    token: &str,
    new_password: &str,
    actor: Actor,
    door: Door,
) -> Result<bool, ApiError> {
    let mut fields = Fields::default();
    let token = fields.required("token", token);
    let settings = context.access.passwords().settings();
    fields.new_password("new_password", new_password, false, settings);
    let token = fields.finish(token)?;
    // The password is hashed only for somebody who has a token that looks good: hashing is expensive.
    let known = holder(context, token).await?;
    let hash = context.access.passwords().hash(new_password.into()).await?;
    let command = Command::ChangePassword(ChangePassword {
        user_id: known.user_id.clone(),
        password_hash: PasswordHash(hash),
        known_changes: Some(known.version),
        is_by_mail: true,
        ended: SessionsEnded::AllBut(Vec::new()),
    });
    let submission = Submission::new(command, actor_by(&known, actor), door);
    match context.engine.execute(submission).await {
        Ok(committed) => {
            context.access.learn(&committed.events);
            Ok(committed.events.iter().any(removes_second_factor))
        }
        Err(Failure::Refused(Refusal::PasswordChangedMeanwhile(_))) => {
            Err(Refusal::MailedTokenUsed.into())
        }
        Err(failure) => Err(failure.into()),
    }
}

fn removes_second_factor(event: &RecordedEvent) -> bool {
    let event = event.read_if_known().ok().flatten();
    matches!(
        event.as_ref().and_then(User::event_ref),
        Some(UserEvent::UserSecondFactorChanged(changed)) if !changed.is_on
    )
}
