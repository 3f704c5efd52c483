//! `EnrollSecondFactor`, `ConfirmSecondFactor` and `RemoveSecondFactor`.

use super::Handlers;
use super::profile::MAX_READS;
use crate::access::Principal;
use crate::access::second_factor::{FactorError, Verdict, is_of_app};
use crate::api::Context;
use crate::api::errors::{ApiError, internal, status};
use crate::api::fields::Fields;
use crate::api::guard::{Call, denied};
use crate::api::pb::{self, ErrorReason};
use crate::api::permissions::Denied;
use crate::engine::Submission;
use crate::engine::query::query;
use crate::store::{Actor, Door, in_time, second_factors};
use domain::decide::{ChangeSecondFactor, Command};
use domain::{Refusal, SealedSecret, SecondFactor, User, UserId, load};

impl Handlers {
    pub(in crate::api) async fn enroll_second_factor(
        &self,
        call: Call<pb::EnrollSecondFactorRequest>,
    ) -> Result<pb::EnrollSecondFactorResponse, ApiError> {
        let user_id = person(&call.principal)?;
        let profile = self.own_profile(user_id).await?;
        let made = self.0.access.new_second_factor(user_id, &profile.username)?;
        let command = Command::BeginSecondFactor {
            user_id: user_id.clone(),
            sealed_secret: SealedSecret(made.sealed_secret),
        };
        let submission = Submission::new(command, call.principal.actor(), call.door());
        self.0.engine.execute(submission).await?;
        Ok(pb::EnrollSecondFactorResponse { secret: made.secret, url: made.url })
    }

    pub(in crate::api) async fn confirm_second_factor(
        &self,
        call: Call<pb::ConfirmSecondFactorRequest>,
    ) -> Result<pb::ConfirmSecondFactorResponse, ApiError> {
        let user_id = person(&call.principal)?;
        let mut fields = Fields::of(&call.message);
        let code = fields.required("code", &call.message.code);
        let code = fields.finish(code)?;
        // Read before the factor: if a reset by mail comes between, there is no factor any more or the command is
        // refused.
        let known_changes = Some(self.own_profile(user_id).await?.password_changes);
        let stored = in_time(second_factors::find(self.0.database.pool(), user_id)).await?;
        let stored = stored.ok_or_else(|| Refusal::SecondFactorOff(user_id.clone()))?;
        if stored.is_on {
            return Err(Refusal::SecondFactorOn(user_id.clone()).into());
        }
        let confirmed = self.0.access.confirm_second_factor(user_id, stored.sealed_secret, code)?;
        let confirmed = confirmed.ok_or_else(|| wrong_code(code))?;
        let factor = Some(confirmed.factor);
        self.change_second_factor(&call, user_id, factor, known_changes).await?;
        Ok(pb::ConfirmSecondFactorResponse { recovery_codes: confirmed.recovery_codes })
    }

    pub(in crate::api) async fn remove_second_factor(
        &self,
        call: Call<pb::RemoveSecondFactorRequest>,
    ) -> Result<pb::RemoveSecondFactorResponse, ApiError> {
        let pb::RemoveSecondFactorRequest { user_id, code } = &call.message;
        let mut fields = Fields::of(&call.message);
        let user_id = match &call.principal {
            Principal::User { user_id: own, .. } if user_id.is_empty() => Some(own.clone()),
            _ => fields.id("user_id", user_id, UserId::parse),
        };
        let is_own = match &call.principal {
            Principal::User { user_id: own, .. } => user_id.as_ref() == Some(own),
            Principal::Key { user_id: own, .. } => own.is_some() && user_id == *own,
            Principal::Anonymous => true,
        };
        let user_id = fields.finish(user_id)?;
        if is_own {
            let actor = call.principal.actor();
            match self.verify(&user_id, code, actor, call.door()).await? {
                Verdict::Right => {}
                Verdict::Wrong => return Err(wrong_code(code).into()),
                Verdict::NoCode => {
                    let mut fields = Fields::default();
                    let code = fields.required("code", code).map(drop);
                    return Err(fields.finish(code).err().unwrap_or_else(|| wrong_code("")).into());
                }
                Verdict::NoFactor => return Err(Refusal::SecondFactorOff(user_id).into()),
            }
        }
        self.change_second_factor(&call, &user_id, None, None).await?;
        Ok(pb::RemoveSecondFactorResponse {})
    }

    /// Checks the code of a login with the right password.
    pub(super) async fn check_second_factor(
        &self,
        user_id: &UserId,
        code: &str,
        door: Door,
    ) -> Result<(), ApiError> {
        match self.verify(user_id, code, Actor::user(user_id), door).await? {
            Verdict::NoFactor | Verdict::Right => Ok(()),
            Verdict::Wrong => Err(wrong_code(code).into()),
            Verdict::NoCode => {
                let message = "the login needs a code of the second factor";
                Err(status(ErrorReason::SecondFactorRequired, message, &[]).into())
            }
        }
    }

    /// Checks a code of a user and uses it up.
    async fn verify(
        &self,
        user_id: &UserId,
        code: &str,
        actor: Actor,
        door: Door,
    ) -> Result<Verdict, ApiError> {
        let use_up = |hash| self.use_recovery_code(user_id, hash, actor, door);
        self.0.access.verify_second_factor(user_id, code, use_up).await
    }

    /// Uses up a recovery code, if it is one of the user's. Of several calls with one code, one is told `true`.
    async fn use_recovery_code(
        &self,
        user_id: &UserId,
        hash: [u8; 32],
        actor: Actor,
        door: Door,
    ) -> Result<bool, ApiError> {
        let Context { database, environment, engine, .. } = &self.0;
        for _ in 0..MAX_READS {
            // Read before the code is looked for: if a code is used in between, the command is refused.
            let known_uses = query(database, environment, |work| {
                Ok(load::<User>(work, user_id)?.profile().recovery_codes_used())
            })
            .await?;
            if !in_time(second_factors::has_recovery_code(database.pool(), user_id, &hash)).await? {
                return Ok(false);
            }
            let command = Command::UseRecoveryCode { user_id: user_id.clone(), hash, known_uses };
            let submission = Submission::new(command, actor.clone(), door.clone());
            match engine.execute(submission).await.map_err(ApiError::from) {
                Err(refused) if refused.is(ErrorReason::Conflict) => {}
                done => return done.map(|_| true),
            }
        }
        Ok(false)
    }

    async fn change_second_factor<M>(
        &self,
        call: &Call<M>,
        user_id: &UserId,
        factor: Option<SecondFactor>,
        known_changes: Option<u32>,
    ) -> Result<(), ApiError> {
        let change = ChangeSecondFactor { user_id: user_id.clone(), factor, known_changes };
        let command = Command::ChangeSecondFactor(Box::new(change));
        let submission = Submission::new(command, call.principal.actor(), call.door());
        self.0.engine.execute(submission).await?;
        Ok(())
    }
}

/// The person who makes the call. Keys have no second factor.
fn person(principal: &Principal) -> Result<&UserId, ApiError> {
    match principal {
        Principal::User { user_id, .. } => Ok(user_id),
        // The permission table admits people only.
        Principal::Key { role, .. } => Err(denied(Denied::Login(*role)).into()),
        Principal::Anonymous => Err(denied(Denied::MissingCredentials).into()),
    }
}

/// The refusal of a code, which was one of an app or for recovery.
fn wrong_code(code: &str) -> tonic::Status {
    let message = if is_of_app(code) {
        "the code is wrong or was used before; wait for the next one"
    } else {
        "the recovery code is wrong or was used before; a code of the app has six digits"
    };
    status(ErrorReason::SecondFactorWrong, message, &[])
}

impl From<FactorError> for ApiError {
    fn from(error: FactorError) -> Self {
        let message = error.to_string();
        match error {
            FactorError::Login(error) => error.into(),
            FactorError::Store(error) => error.into(),
            FactorError::NotKept => status(ErrorReason::SigningKeyNotKept, message, &[]).into(),
            FactorError::Sealed | FactorError::Broken(_) => {
                tracing::error!(message, "a second factor cannot be used");
                internal().into()
            }
        }
    }
}
