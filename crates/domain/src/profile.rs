//! What changes in an account besides its status: names, the e-mail address, the second factor.
//!
//! The values are personal data or secrets, and stand outside the log. Events say that a value changed, never what it
//! is or was.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Refusal, UserEvent, UserId};

/// A text that is personal data. It does not appear in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Personal(pub String);

impl fmt::Debug for Personal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(personal)")
    }
}

/// A part of a profile that can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProfileField {
    /// The name by which the user logs in.
    Username,
    /// The name that people see.
    DisplayName,
    /// The e-mail address: another one was asked for. It becomes the user's when it is confirmed.
    Email,
    /// Which mails the user wants.
    MailPreferences,
}

/// Parts of a profile changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserProfileUpdated {
    /// Which parts.
    pub fields: Vec<ProfileField>,
}

/// The user's e-mail address is another one, which was confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserEmailChanged {}

/// The user has shown for the first time that they read the mails to their address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserEmailConfirmed {}

/// The user began or ceased to need a second factor at login.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserSecondFactorChanged {
    /// Whether a login needs it now.
    pub is_on: bool,
}

/// The user began to set up a second factor. Logins do not need it yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserSecondFactorBegun {}

/// A recovery code took the place of a code of the second factor, and is used up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserRecoveryCodeUsed {}

/// The commands about a profile. Each comes with what it was decided on; see [`ProfileState::version`].
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum ProfileCommand {
    Update {
        fields: Vec<ProfileField>,
    },
    /// Makes the address that was asked for in this version the user's own.
    ChangeEmail {
        asked: u32,
    },
    ConfirmEmail,
    SetSecondFactor {
        user_id: UserId,
        is_on: bool,
    },
    BeginSecondFactor {
        user_id: UserId,
    },
    /// Uses up a code that was found when so many had been used.
    UseRecoveryCode {
        user_id: UserId,
        known_uses: u32,
    },
}

/// What decisions need to know of a profile without its values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProfileState {
    version: u32,
    asked: Option<u32>,
    is_email_confirmed: bool,
    has_second_factor: bool,
    /// How often a recovery code was used, of all second factors.
    recovery_codes_used: u32,
}

impl ProfileState {
    /// How often the values have changed, or another address was asked for. A command carries values that were read
    /// with a version, and is refused if the version has moved: it could otherwise release the wrong name.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The version in which another address was asked for that is not confirmed yet; `None` if none is.
    #[must_use]
    pub fn pending_email_version(&self) -> Option<u32> {
        self.asked
    }

    /// Whether the user has shown that they read the mails to their address.
    #[must_use]
    pub fn is_email_confirmed(&self) -> bool {
        self.is_email_confirmed
    }

    /// Whether a login needs a second factor.
    #[must_use]
    pub fn has_second_factor(&self) -> bool {
        self.has_second_factor
    }

    /// How often a recovery code was used. A command that uses a code is refused if the number has moved since the code
    /// was found, so that no code is used twice.
    #[must_use]
    pub fn recovery_codes_used(&self) -> u32 {
        self.recovery_codes_used
    }

    /// The event of a command; none if there is nothing to do.
    pub(super) fn decide(&self, command: ProfileCommand) -> Result<Option<UserEvent>, Refusal> {
        Ok(match command {
            ProfileCommand::Update { fields } => {
                (!fields.is_empty()).then(|| UserProfileUpdated { fields }.into())
            }
            ProfileCommand::ChangeEmail { asked } if self.asked != Some(asked) => {
                return Err(Refusal::MailedTokenUsed);
            }
            ProfileCommand::ChangeEmail { .. } => Some(UserEmailChanged {}.into()),
            ProfileCommand::ConfirmEmail => {
                (!self.is_email_confirmed).then(|| UserEmailConfirmed {}.into())
            }
            ProfileCommand::SetSecondFactor { user_id, is_on }
                if is_on == self.has_second_factor =>
            {
                return Err(if is_on {
                    Refusal::SecondFactorOn(user_id)
                } else {
                    Refusal::SecondFactorOff(user_id)
                });
            }
            ProfileCommand::SetSecondFactor { is_on, .. } => {
                Some(UserSecondFactorChanged { is_on }.into())
            }
            ProfileCommand::BeginSecondFactor { user_id } if self.has_second_factor => {
                return Err(Refusal::SecondFactorOn(user_id));
            }
            ProfileCommand::BeginSecondFactor { .. } => Some(UserSecondFactorBegun {}.into()),
            ProfileCommand::UseRecoveryCode { user_id, .. } if !self.has_second_factor => {
                return Err(Refusal::SecondFactorOff(user_id));
            }
            ProfileCommand::UseRecoveryCode { user_id, known_uses }
                if known_uses != self.recovery_codes_used =>
            {
                return Err(Refusal::ProfileMoved(user_id));
            }
            ProfileCommand::UseRecoveryCode { .. } => Some(UserRecoveryCodeUsed {}.into()),
        })
    }

    pub(super) fn update(&mut self, event: &UserProfileUpdated) {
        self.version += 1;
        if event.fields.contains(&ProfileField::Email) {
            self.asked = Some(self.version);
        }
    }

    pub(super) fn change_email(&mut self) {
        self.version += 1;
        self.asked = None;
    }

    /// Whoever asked for another address may not be who has the account now.
    pub(super) fn forget_asked_email(&mut self) {
        self.asked = None;
    }

    pub(super) fn confirm_email(&mut self) {
        self.is_email_confirmed = true;
    }

    pub(super) fn set_second_factor(&mut self, event: &UserSecondFactorChanged) {
        self.has_second_factor = event.is_on;
    }

    pub(super) fn use_recovery_code(&mut self) {
        self.recovery_codes_used = self.recovery_codes_used.saturating_add(1);
    }
}
