//! The tokens in the links of mails: asking for one, and presenting it.

use uuid::Uuid;

use crate::access::Access;
use crate::api::Context;
use crate::api::errors::{ApiError, status};
use crate::api::pb::ErrorReason;
use crate::engine::{Environment, fresh_uuid};
use crate::store::mailed_tokens::{self, KnownToken};
use crate::store::{Actor, Database, OwnProfile, StoreError, begin, in_time, mails};
use domain::{MailKind, MailedToken, Personal, TokenPurpose};

/// The longest text that can be a token, in bytes.
const MAX_TOKEN_BYTES: usize = 256;

/// Queues a mail with a token to the address of a user, unless the user had too many lately and the last one is still
/// good for a while.
pub(super) async fn mail(
    access: &Access,
    database: &Database,
    environment: &Environment,
    profile: &OwnProfile,
    purpose: TokenPurpose,
) -> Result<(), StoreError> {
    let id: Uuid = fresh_uuid(environment);
    let settings = access.settings();
    let (kind, version, life) = match purpose {
        TokenPurpose::ConfirmEmail => (MailKind::ConfirmEmail, 0, settings.confirmation_token),
        // Mailed by the command that asks for the address, and with the sign-up.
        TokenPurpose::ChangeEmail | TokenPurpose::ConfirmSignUp => return Ok(()),
        TokenPurpose::ResetPassword => {
            (MailKind::PasswordReset, profile.password_changes, settings.reset_token)
        }
    };
    let email = Personal(profile.email.clone());
    let user_id = profile.user_id.clone();
    let token = MailedToken { id: *id.as_bytes(), purpose, user_id, email, version };
    let mail = token.mail(kind, Some(&token.email));
    let mut transaction = begin(database.pool()).await?;
    if mailed_tokens::enter(&mut transaction, &token, life).await? {
        mails::queue(&mut transaction, &mail).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The token that somebody presents for one of these purposes.
///
/// The reasons of refusals give nothing away: who has the token of a mail may know what became of it.
pub(super) async fn presented(
    context: &Context,
    token: &str,
    purposes: &[TokenPurpose],
) -> Result<KnownToken, ApiError> {
    let known = if token.len() <= MAX_TOKEN_BYTES {
        in_time(mailed_tokens::find(context.database.pool(), token)).await?
    } else {
        None
    };
    let Some(known) = known.filter(|known| purposes.contains(&known.purpose)) else {
        return Err(unknown());
    };
    if known.is_expired {
        let message = match known.purpose {
            TokenPurpose::ConfirmSignUp => "the time of the sign-up is over; sign up again",
            _ => "the time of the token is over; ask for another mail",
        };
        return Err(status(ErrorReason::MailedTokenExpired, message, &[]).into());
    }
    Ok(known)
}

/// Who acts by a token: the user to whose address it was mailed, unless the caller has credentials of their own.
pub(super) fn actor_by(known: &KnownToken, caller: Actor) -> Actor {
    if caller == Actor::ANONYMOUS { Actor::user(&known.user_id) } else { caller }
}

/// There is no such token, or no longer what it is about.
pub(super) fn unknown() -> ApiError {
    let message = "no mail had this token; copy the whole link, or ask for another mail";
    status(ErrorReason::MailedTokenUnknown, message, &[]).into()
}
