//! `UpdateProfile`.

use super::Handlers;
use crate::access::{Principal, Role};
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::{Call, denied};
use crate::api::pb::{self, ErrorReason};
use crate::api::permissions::Denied;
use crate::api::writes::{Written, carry_out, command_fields};
use crate::store::{OwnProfile, claims, in_time, own_profile};
use domain::decide::{Command, Exchange, UpdateProfile};
use domain::{ClaimKind, MailKind, Personal, ProfileField, Refusal, User, UserEvent, UserId};
use domain::{Stream as _, email};

/// How often a change is decided on values that have moved meanwhile.
pub(super) const MAX_READS: usize = 5;

/// The changes that a request asks for, in the form in which they are stored.
struct Asked {
    user_id: UserId,
    username: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
    mails: Vec<(MailKind, bool)>,
}

impl Handlers {
    pub(in crate::api) async fn update_profile(
        &self,
        call: Call<pb::UpdateProfileRequest>,
    ) -> Result<pb::UpdateProfileResponse, ApiError> {
        let asked = read(&call)?;
        self.check_own_change(&call, &asked).await?;
        self.refuse_known_address(&call, &asked).await?;
        let written = self.carry_out_update(&call, &asked).await.map_err(|error| {
            let username = asked.username.as_deref().unwrap_or_default();
            error.with_fact(ErrorReason::UsernameTaken, "username", username)
        })?;
        let confirmation_mailed = written.events.iter().any(|event| {
            let event = event.read_if_known().ok().flatten();
            matches!(
                event.as_ref().and_then(User::event_ref),
                Some(UserEvent::UserProfileUpdated(updated))
                    if updated.fields.contains(&ProfileField::Email)
            )
        });
        let user = self.find(&asked.user_id).await?.user;
        let consistency_token = written.consistency_token;
        Ok(pb::UpdateProfileResponse { user, confirmation_mailed, consistency_token })
    }

    /// Whoever controls the names and the address of an account controls the account, so a key is not enough to change
    /// one's own, nor is a session to change one's own address.
    async fn check_own_change(
        &self,
        call: &Call<pb::UpdateProfileRequest>,
        asked: &Asked,
    ) -> Result<(), ApiError> {
        match &call.principal {
            Principal::Key { role: Role::User, .. }
                if asked.username.is_some() || asked.email.is_some() =>
            {
                Err(denied(Denied::Login(Role::User)).into())
            }
            Principal::User { user_id, .. }
                if *user_id == asked.user_id && asked.email.is_some() =>
            {
                let mut fields = Fields::default();
                let password = fields.old_password("password", &call.message.password);
                let password = fields.finish(password)?;
                let address = call.counted_address();
                self.0.access.check_password(user_id, password, "password", address).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Back ends can look up addresses anyway, so they learn at once that an address is taken.
    async fn refuse_known_address(
        &self,
        call: &Call<pb::UpdateProfileRequest>,
        asked: &Asked,
    ) -> Result<(), ApiError> {
        let Some(email) = asked.email.as_ref().filter(|_| call.principal.is_back_end()) else {
            return Ok(());
        };
        let owner = claims::owner_of(self.0.database.pool(), ClaimKind::Email, email);
        match in_time(owner).await? {
            Some(owner) if owner != asked.user_id.as_str() => {
                Err(Refusal::Taken(vec![ClaimKind::Email.as_str()]).into())
            }
            _ => Ok(()),
        }
    }

    async fn carry_out_update(
        &self,
        call: &Call<pb::UpdateProfileRequest>,
        asked: &Asked,
    ) -> Result<Written, ApiError> {
        let mut reads = 0;
        loop {
            reads += 1;
            let present = self.own_profile(&asked.user_id).await?;
            let command = Command::UpdateProfile(Box::new(changes(asked, &present)));
            match carry_out(&self.0, call, command).await {
                Err(error) if error.is(ErrorReason::Conflict) && reads < MAX_READS => {}
                result => return result,
            }
        }
    }

    /// The personal data of a user, who must exist.
    pub(super) async fn own_profile(&self, user_id: &UserId) -> Result<OwnProfile, ApiError> {
        let profile = in_time(own_profile(self.0.database.pool(), user_id)).await?;
        Ok(profile.ok_or_else(|| Refusal::UserNotFound(user_id.clone()))?)
    }
}

fn read(call: &Call<pb::UpdateProfileRequest>) -> Result<Asked, ApiError> {
    let request = &call.message;
    let mut fields = command_fields(request);
    let user_id = fields.id("user_id", &request.user_id, UserId::parse);
    let username = request.username.as_ref().and_then(|username| fields.username(username));
    let display_name = request.display_name.as_ref().map(|name| fields.display_name(name));
    let email = request.email.as_ref().and_then(|email| fields.email(email));
    let wanted = request.mail_preferences.unwrap_or_default();
    let mails = [
        (MailKind::Welcome, wanted.welcome),
        (MailKind::Referral, wanted.referral),
        (MailKind::Conversion, wanted.conversion),
        (MailKind::Tier, wanted.tier),
        (MailKind::Expiry, wanted.expiry),
        (MailKind::Reversal, wanted.reversal),
        (MailKind::Release, wanted.release),
    ];
    let mails = mails.into_iter().filter_map(|(kind, wanted)| Some((kind, wanted?))).collect();
    let user_id = fields.finish(user_id)?;
    Ok(Asked { user_id, username, display_name, email, mails })
}

/// What differs from the present values.
fn changes(asked: &Asked, present: &OwnProfile) -> UpdateProfile {
    let exchange = |from: &str, to: &Option<String>| {
        let to = to.as_ref().filter(|to| *to != from)?;
        Some(Exchange { from: Personal(from.into()), to: Personal(to.clone()) })
    };
    let display_name = asked.display_name.as_ref().filter(|name| **name != present.display_name);
    UpdateProfile {
        user_id: asked.user_id.clone(),
        version: present.version,
        username: exchange(&present.username, &asked.username),
        display_name: display_name.cloned().map(Personal),
        email: exchange(&present.email, &asked.email.as_deref().map(email::tidy)),
        mails: asked.mails.clone(),
    }
}
