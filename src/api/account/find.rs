//! `FindUser`.

use super::Handlers;
use crate::access::Role;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::tokens::newest_position;
use crate::store::{claims, in_time};
use domain::{ClaimKind, ParticipantId, Refusal, UserId};

/// The one thing that is known of a user.
struct Known {
    kind: ClaimKind,
    value: String,
}

impl Handlers {
    pub(in crate::api) async fn find_user(
        &self,
        call: Call<pb::FindUserRequest>,
    ) -> Result<pb::FindUserResponse, ApiError> {
        let request = &call.message;
        let known = read(request)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let owner = claims::owner_of(self.0.database.pool(), known.kind, &known.value);
        let user_id = in_time(owner).await?.and_then(|owner| match known.kind {
            ClaimKind::Code => ParticipantId::parse(&owner).map(|owner| owner.user_id),
            _ => UserId::parse(&owner).ok(),
        });
        // Service keys act for users who are neither operators nor admins.
        let is_beyond = |user_id: &UserId| {
            call.principal.role() == Some(Role::Service)
                && self.0.access.staff().includes(user_id.as_str())
        };
        let Some(user_id) = user_id.filter(|id| !is_beyond(id)) else {
            return Err(known.not_found());
        };
        // Codes of erased users keep their owners.
        let Some(found) = self.find_existing(&user_id).await? else {
            return Err(known.not_found());
        };
        let pb::GetUserResponse {
            user,
            participants,
            position: _,
            email_confirmed,
            has_second_factor,
            mail_preferences,
            pending_email,
            email: _,
            has_payout_method: _,
        } = found;
        Ok(pb::FindUserResponse {
            user,
            participants,
            position,
            email_confirmed,
            has_second_factor,
            mail_preferences,
            pending_email,
        })
    }
}

fn read(request: &pb::FindUserRequest) -> Result<Known, ApiError> {
    let mut fields = Fields::of(request);
    let pb::FindUserRequest { email, username, referral_code, .. } = request;
    let given: Vec<&str> =
        [("email", email), ("username", username), ("referral_code", referral_code)]
            .into_iter()
            .filter(|(_, text)| !text.trim().is_empty())
            .map(|(field, _)| field)
            .collect();
    let message = "set exactly one of email, username and referral_code";
    let known = match *given {
        ["email"] => fields.email(email).map(|value| Known { kind: ClaimKind::Email, value }),
        ["username"] => {
            fields.username(username).map(|value| Known { kind: ClaimKind::Username, value })
        }
        ["referral_code"] => {
            fields.referral_code(referral_code).map(|value| Known { kind: ClaimKind::Code, value })
        }
        [first, ..] => {
            fields.fault(first, ErrorReason::FieldsExclusive, message);
            None
        }
        [] => {
            fields.fault("email", ErrorReason::FieldRequired, message);
            None
        }
    };
    Ok(fields.finish(known)?)
}

impl Known {
    /// The status when nobody has it. It never repeats an e-mail address.
    fn not_found(self) -> ApiError {
        match self.kind {
            ClaimKind::Code => Refusal::CodeNotFound(self.kind.normal_form(&self.value)).into(),
            ClaimKind::Username => {
                let message = format!("no user has the username '{}'", self.value);
                status(ErrorReason::UserNotFound, message, &[("username", &self.value)]).into()
            }
            _ => status(ErrorReason::UserNotFound, "no user has this e-mail address", &[]).into(),
        }
    }
}
