//! Changing names, the e-mail address and the second factor.
//!
//! The values stand outside the log. The caller of a decision has read them, with the version of the profile, and a
//! decision is refused if the version has moved since; the caller then reads again.

use std::sync::Arc;

use crate::decide::{evidence, referees, screening, standing};
use crate::fraud::Mailbox;
use crate::side_row::hex;
use crate::{
    Claim, ClaimKind, Halt, Mail, MailKind, MailedToken, Personal, ProfileChange, ProfileCommand,
    ProfileField, Recipient, Refusal, SealedSecret, SecondFactor, SecondFactorReason,
    SecondFactorRow, SideRow, TokenPurpose, User, UserCommand, UserId, UserRole, Work, load, tell,
};

/// A value that takes the place of another one.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Exchange {
    pub from: Personal,
    pub to: Personal,
}

/// A user's names change, or another address is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateProfile {
    /// The user.
    pub user_id: UserId,
    /// The version of the profile in which the present values were read.
    pub version: u32,
    /// The username.
    pub username: Option<Exchange>,
    /// The new display name.
    pub display_name: Option<Personal>,
    /// The address that is asked for. It becomes the user's when it is confirmed.
    pub email: Option<Exchange>,
    /// Kinds of mail, each with whether the user wants it. Those that are not named stay as they are.
    pub mails: Vec<(MailKind, bool)>,
}

/// Somebody has followed the link of a mail to an address.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfirmEmail {
    /// The user.
    pub user_id: UserId,
    /// The version of the profile in which the present address was read.
    pub version: u32,
    /// The address that takes the place of the present one, with the version of the profile in which it was asked
    /// for; none if the present one is confirmed.
    pub change: Option<(Exchange, u32)>,
}

/// A second factor was set up, or removed.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeSecondFactor {
    /// The user.
    pub user_id: UserId,
    /// The factor; none removes it.
    pub factor: Option<SecondFactor>,
    /// How often the password had been changed when the factor was begun to be looked at. If it has been changed since,
    /// nothing happens: whoever sets up the factor may have lost the account. `None` if that does not matter.
    pub known_changes: Option<u32>,
}

fn existing_user(work: &mut dyn Work, user_id: &UserId) -> Result<Arc<User>, Halt> {
    let user = load::<User>(work, user_id)?;
    if user.exists() { Ok(user) } else { Err(Refusal::UserNotFound(user_id.clone()).into()) }
}

/// The user, whose profile must still have this version.
fn user_of_version(work: &mut dyn Work, user_id: &UserId, version: u32) -> Result<Arc<User>, Halt> {
    let user = existing_user(work, user_id)?;
    if user.profile().version() != version {
        return Err(Refusal::ProfileMoved(user_id.clone()).into());
    }
    Ok(user)
}

pub(super) fn update(work: &mut dyn Work, input: &UpdateProfile) -> Result<(), Halt> {
    let UpdateProfile { user_id, version, username, display_name, email, mails } = input;
    user_of_version(work, user_id, *version)?;
    let mut fields = Vec::new();
    if let Some(exchange) = username {
        exchange_claim(work, ClaimKind::Username, user_id, exchange)?;
        fields.push(ProfileField::Username);
    }
    if display_name.is_some() {
        fields.push(ProfileField::DisplayName);
    }
    if username.is_some() || display_name.is_some() {
        work.write_row(SideRow::ProfileChange(ProfileChange {
            user_id: user_id.clone(),
            username: username.as_ref().map(|exchange| exchange.to.clone()),
            display_name: display_name.clone(),
            email: None,
        }));
    }
    if let Some(exchange) = email {
        ask_for_address(work, user_id, exchange, version.saturating_add(1));
        fields.push(ProfileField::Email);
    }
    if !mails.is_empty() {
        let (user_id, wanted) = (user_id.clone(), mails.clone());
        work.write_row(SideRow::MailPreferences { user_id, wanted });
        fields.push(ProfileField::MailPreferences);
    }
    let now = work.now();
    tell_profile(work, user_id, ProfileCommand::Update { user_id: user_id.clone(), fields, now })
}

/// Mails a token to the new address.
fn ask_for_address(work: &mut dyn Work, user_id: &UserId, exchange: &Exchange, version: u32) {
    let mut id = [0; 16];
    work.random(&mut id);
    let token = MailedToken {
        id,
        purpose: TokenPurpose::ChangeEmail,
        user_id: user_id.clone(),
        email: exchange.to.clone(),
        version,
    };
    work.write_row(SideRow::Mail(token.mail(MailKind::ConfirmEmail, Some(&exchange.to))));
    work.write_row(SideRow::MailedToken(token));
}

pub(super) fn confirm_email(work: &mut dyn Work, input: &ConfirmEmail) -> Result<(), Halt> {
    let ConfirmEmail { user_id, version, change } = input;
    let user = user_of_version(work, user_id, *version)?;
    match change {
        None if user.profile().is_email_confirmed() => return Err(Refusal::MailedTokenUsed.into()),
        None => {}
        Some((exchange, asked)) => {
            tell_profile(work, user_id, ProfileCommand::ChangeEmail { asked: *asked })?;
            exchange_claim(work, ClaimKind::Email, user_id, exchange)?;
            let parse = |address: &Personal| Mailbox::parse(&address.0);
            if let Some((from, to)) = parse(&exchange.from).zip(parse(&exchange.to)) {
                let owners = evidence::exchange_mailbox(work, user_id, &from, &to)?;
                // Other capitals make no other address.
                if from.address != to.address {
                    let subject = screening::Subject::with_new_address(to.address, owners);
                    screening::screen_new_address(work, user_id, &subject)?;
                }
            }
            referees::tell_referrers(work, user_id, user.programs())?;
            work.write_row(SideRow::ProfileChange(ProfileChange {
                user_id: user_id.clone(),
                username: None,
                display_name: None,
                email: Some(exchange.to.clone()),
            }));
            work.write_row(SideRow::Mail(announcement(user_id, exchange, *asked)));
        }
    }
    confirm_address(work, user_id)
}

/// The user has shown that they read the mails to the address of the account. If that is the first time, the referrals
/// that wait for it are released.
fn confirm_address(work: &mut dyn Work, user_id: &UserId) -> Result<(), Halt> {
    let was_confirmed = existing_user(work, user_id)?.profile().is_email_confirmed();
    tell_profile(work, user_id, ProfileCommand::ConfirmEmail)?;
    if was_confirmed { Ok(()) } else { standing::confirmed(work, user_id) }
}

/// Tells the address that the user had before. It is no longer in the profile, so that it comes with the mail.
fn announcement(user_id: &UserId, exchange: &Exchange, asked: u32) -> Mail {
    let kind = MailKind::EmailChanged;
    Mail {
        occasion: format!("{}/{user_id}/{asked}", kind.as_str()),
        kind,
        user_id: Some(user_id.clone()),
        recipient: Some(Recipient { email: exchange.from.0.clone(), name: None }),
        facts: serde_json::json!({}),
    }
}

pub(super) fn change_second_factor(
    work: &mut dyn Work,
    input: &ChangeSecondFactor,
) -> Result<(), Halt> {
    let ChangeSecondFactor { user_id, factor, known_changes } = input;
    let user = existing_user(work, user_id)?;
    if known_changes.is_some_and(|known| known != user.password_changes()) {
        return Err(Refusal::PasswordChangedMeanwhile(user_id.clone()).into());
    }
    set_second_factor(work, user_id, factor.clone(), None)?;
    if factor.is_none() {
        let removal = removal(work, user_id);
        work.write_row(SideRow::Mail(removal));
    }
    Ok(())
}

fn set_second_factor(
    work: &mut dyn Work,
    user_id: &UserId,
    factor: Option<SecondFactor>,
    reason: Option<SecondFactorReason>,
) -> Result<(), Halt> {
    let (user_id, is_on) = (user_id.clone(), factor.is_some());
    let command = ProfileCommand::SetSecondFactor { user_id: user_id.clone(), is_on, reason };
    tell_profile(work, &user_id, command)?;
    work.write_row(SideRow::SecondFactor(SecondFactorRow { user_id, factor }));
    Ok(())
}

/// Tells the owner of the address that the second factor was removed, as it may have been somebody else.
fn removal(work: &mut dyn Work, user_id: &UserId) -> Mail {
    let kind = MailKind::SecondFactorRemoved;
    let mut id = [0; 16];
    work.random(&mut id);
    Mail {
        occasion: format!("{}/{}", kind.as_str(), hex(&id)),
        kind,
        user_id: Some(user_id.clone()),
        recipient: None,
        facts: serde_json::json!({}),
    }
}

/// Somebody has shown that they read the mails to the address of the account. It is confirmed, if it was not. A second
/// factor that a participant's account had before that goes: whoever made the account with an address that is not
/// theirs may have set it up, and would lock out the owner of the address with it. Those of operators and admins
/// stay; an admin removes them.
///
/// Returns whether a second factor was removed.
pub(super) fn prove_address(work: &mut dyn Work, user_id: &UserId) -> Result<bool, Halt> {
    let user = existing_user(work, user_id)?;
    let profile = user.profile();
    confirm_address(work, user_id)?;
    if !profile.has_second_factor() {
        // One that is being set up is not finished by whoever has begun.
        let row = SecondFactorRow { user_id: user_id.clone(), factor: None };
        work.write_row(SideRow::SecondFactor(row));
        return Ok(false);
    }
    let goes = profile.has_unproven_factor() && user.role() == UserRole::Participant;
    if goes {
        set_second_factor(work, user_id, None, Some(SecondFactorReason::PasswordReset))?;
    }
    Ok(goes)
}

/// Keeps the secret of a factor that is being set up, in the place of another one that was not set up to the end.
pub(super) fn begin_second_factor(
    work: &mut dyn Work,
    user_id: &UserId,
    sealed_secret: &SealedSecret,
) -> Result<(), Halt> {
    existing_user(work, user_id)?;
    let user_id = user_id.clone();
    let begin = ProfileCommand::BeginSecondFactor { user_id: user_id.clone() };
    tell_profile(work, &user_id, begin)?;
    work.write_row(SideRow::SecondFactorBegun { user_id, sealed_secret: sealed_secret.clone() });
    Ok(())
}

/// Uses up a recovery code that was found when so many had been used.
pub(super) fn use_recovery_code(
    work: &mut dyn Work,
    user_id: &UserId,
    hash: [u8; 32],
    known_uses: u32,
) -> Result<(), Halt> {
    existing_user(work, user_id)?;
    let user_id = user_id.clone();
    let use_code = ProfileCommand::UseRecoveryCode { user_id: user_id.clone(), known_uses };
    tell_profile(work, &user_id, use_code)?;
    work.write_row(SideRow::RecoveryCodeUse { user_id, hash });
    Ok(())
}

/// Switches mails off, whatever the version of the profile is.
pub(super) fn unsubscribe(
    work: &mut dyn Work,
    user_id: &UserId,
    kinds: &[MailKind],
) -> Result<(), Halt> {
    existing_user(work, user_id)?;
    let wanted = kinds.iter().map(|kind| (*kind, false)).collect();
    work.write_row(SideRow::MailPreferences { user_id: user_id.clone(), wanted });
    let fields = vec![ProfileField::MailPreferences];
    let now = work.now();
    tell_profile(work, user_id, ProfileCommand::Update { user_id: user_id.clone(), fields, now })
}

fn tell_profile(
    work: &mut dyn Work,
    user_id: &UserId,
    command: ProfileCommand,
) -> Result<(), Halt> {
    tell::<User>(work, user_id, UserCommand::Profile(command)).map(drop)
}

/// Claims a value and gives up the one whose place it takes. Two spellings of one value are one claim.
fn exchange_claim(
    work: &mut dyn Work,
    kind: ClaimKind,
    user_id: &UserId,
    Exchange { from, to }: &Exchange,
) -> Result<(), Halt> {
    let owner = user_id.to_string();
    let (from, to) = (kind.normal_form(&from.0), kind.normal_form(&to.0));
    if from == to {
        return Ok(());
    }
    work.claim(Claim { kind, value: to, owner: owner.clone() })?;
    work.release_claim(Claim { kind, value: from, owner })
}
