//! `SetUserRole`.

use super::Handlers;
use crate::api::errors::ApiError;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses;
use crate::api::writes::{carry_out, command_fields};
use domain::decide::Command;
use domain::{UserId, UserRole};

impl Handlers {
    pub(in crate::api) async fn set_user_role(
        &self,
        call: Call<pb::SetUserRoleRequest>,
    ) -> Result<pb::SetUserRoleResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let role = match request.role() {
            pb::UserRole::Unspecified => {
                if !fields.has_fault("role") {
                    fields.fault("role", ErrorReason::FieldRequired, "is required");
                }
                None
            }
            pb::UserRole::Participant => Some(UserRole::Participant),
            pb::UserRole::Operator => Some(UserRole::Operator),
            pb::UserRole::Admin => Some(UserRole::Admin),
        };
        let user_id = fields.id("user_id", &request.user_id, UserId::parse);
        let (user_id, role) = fields.finish(user_id.zip(role))?;
        let command = Command::SetUserRole { user_id: user_id.clone(), role };
        let written = carry_out(&self.0, &call, command).await?;
        self.0.access.learn(&written.events);
        let mut user = self.find(&user_id).await?.user;
        if let Some(user) = &mut user {
            // The role that this request set, even if a later one has changed it, because a repetition gets the first
            // answer.
            user.set_role(responses::user_role(role));
        }
        Ok(pb::SetUserRoleResponse { user, consistency_token: written.consistency_token })
    }
}
