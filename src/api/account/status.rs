//! `DeactivateUser` and `ReactivateUser`.

use super::Handlers;
use crate::api::errors::ApiError;
use crate::api::guard::Call;
use crate::api::pb;
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
        let Written { consistency_token, .. } = carry_out(&self.0, &call, command).await?;
        let user = self.find_as(&user_id, UserStatus::Inactive).await?;
        Ok(pb::DeactivateUserResponse { user, consistency_token })
    }

    pub(in crate::api) async fn reactivate_user(
        &self,
        call: Call<pb::ReactivateUserRequest>,
    ) -> Result<pb::ReactivateUserResponse, ApiError> {
        let user_id = read_user_id(&call, &call.message.user_id)?;
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
