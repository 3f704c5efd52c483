//! `ChangePassword`.

use super::Handlers;
use crate::access::{Principal, Role};
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::{Call, denied};
use crate::api::pb;
use crate::api::permissions::Denied;
use crate::api::tokens::consistency_token;
use crate::engine::Submission;
use crate::engine::query::query;
use domain::decide::{ChangePassword, Command};
use domain::{PasswordHash, SessionId, SessionsEnded, User, load};

impl Handlers {
    pub(in crate::api) async fn change_password(
        &self,
        call: Call<pb::ChangePasswordRequest>,
    ) -> Result<pb::ChangePasswordResponse, ApiError> {
        let (request, access) = (&call.message, &self.0.access);
        let Principal::User { user_id, session_id, .. } = &call.principal else {
            // A key has no password.
            let role = call.principal.role().unwrap_or(Role::User);
            return Err(denied(Denied::Login(role)).into());
        };
        let mut fields = Fields::of(request);
        let old = fields.old_password("old_password", &request.old_password);
        let settings = access.passwords().settings();
        fields.new_password("new_password", &request.new_password, false, settings);
        let session_id = fields.id("session_id", session_id, SessionId::parse);
        let (old, session_id) = fields.finish(old.zip(session_id))?;
        // Read before the old password is verified: if another change comes between, the command is refused.
        let known_changes = query(&self.0.database, &self.0.environment, |work| {
            Ok(load::<User>(work, user_id)?.password_changes())
        })
        .await?;
        access.check_password(user_id, old, "old password", call.counted_address()).await?;
        let password_hash = access.passwords().hash(request.new_password.clone()).await?;
        let command = Command::ChangePassword(ChangePassword {
            user_id: user_id.clone(),
            password_hash: PasswordHash(password_hash),
            known_changes: Some(known_changes),
            is_by_mail: false,
            ended: SessionsEnded::AllBut(vec![session_id]),
        });
        let submission = Submission::new(command, call.principal.actor(), call.door());
        let committed = self.0.engine.execute(submission).await?;
        access.learn(&committed.events);
        let consistency_token = consistency_token(&self.0, committed.position);
        Ok(pb::ChangePasswordResponse { consistency_token })
    }
}
