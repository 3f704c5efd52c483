//! `DeactivateUser` and `ReactivateUser`.

use super::Handlers;
use crate::access::Principal;
use crate::api::errors::ApiError;
use crate::api::guard::{Call, denied};
use crate::api::pb;
use crate::api::permissions::Denied;
use crate::api::responses;
use crate::api::writes::{Repeatable, Written, carry_out, command_fields};
use domain::decide::Command;
use domain::{UserId, UserStatus};

impl Handlers {
    pub(in crate::api) async fn deactivate_user(
        &self,
        call: Call<pb::DeactivateUserRequest>,
    ) -> Result<pb::DeactivateUserResponse, ApiError> {
        let user_id = read_user_id(&call, &call.message.user_id)?;
        let command = Command::DeactivateUser { user_id: user_id.clone() };
        let Written { consistency_token, events, .. } = carry_out(&self.0, &call, command).await?;
        // Of operators and admins the sessions have ended.
        self.0.access.learn(&events);
        let user = self.find_as(&user_id, UserStatus::Inactive).await?;
        Ok(pb::DeactivateUserResponse { user, consistency_token })
    }

    pub(in crate::api) async fn reactivate_user(
        &self,
        call: Call<pb::ReactivateUserRequest>,
    ) -> Result<pb::ReactivateUserResponse, ApiError> {
        let user_id = read_user_id(&call, &call.message.user_id)?;
        // Other servers hear of the end of a session within a second. Until then it is of no use for this.
        if let Principal::User { user_id: own, role, .. } = &call.principal
            && *own == user_id
        {
            return Err(denied(Denied::Field { role: *role, field: "user_id" }).into());
        }
        let command = Command::ReactivateUser { user_id: user_id.clone() };
        let Written { consistency_token, .. } = carry_out(&self.0, &call, command).await?;
        let user = self.find_as(&user_id, UserStatus::Active).await?;
        Ok(pb::ReactivateUserResponse { user, consistency_token })
    }

    /// The user with the status that this request set, even if a later one has changed it, because a
    /// repetition gets the first answer.
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
}

pub(super) fn read_user_id(
    call: &Call<impl Repeatable>,
    user_id: &str,
) -> Result<UserId, ApiError> {
    let mut fields = command_fields(&call.message);
    let user_id = fields.id("user_id", user_id, UserId::parse);
    Ok(fields.finish(user_id)?)
}
