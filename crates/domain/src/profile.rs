//! What changes in an account besides its status: names, the e-mail address, the second factor.
//!
//! The values are personal data or secrets, and stand outside the log. Events say that a value changed, never what it
//! is or was.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Refusal, Timestamp, UserEvent, UserId};

/// How often another address can be asked for within [`ASK_WINDOW_SECONDS`]: enough for somebody who mistypes, and too
/// rarely to annoy anybody with mails.
pub const MAX_ADDRESS_ASKS: u32 = 5;
/// The time within which so many are allowed.
pub const ASK_WINDOW_SECONDS: i64 = 60 * 60;

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
    /// When another address was asked for, in microseconds since 1970; absent if none was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ask_time_us: Option<Timestamp>,
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
    /// Why, if it was not for itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<SecondFactorReason>,
}

/// Why a second factor changed along with something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecondFactorReason {
    /// The owner of the address chose another password by mail, and the factor had been set up before the address was
    /// confirmed, perhaps by somebody else.
    PasswordReset,
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
        user_id: UserId,
        fields: Vec<ProfileField>,
        now: Timestamp,
    },
    /// Makes the address that was asked for in this version the user's own.
    ChangeEmail {
        asked: u32,
    },
    ConfirmEmail,
    SetSecondFactor {
        user_id: UserId,
        is_on: bool,
        reason: Option<SecondFactorReason>,
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
    /// Whether the second factor was set up while the address was not confirmed.
    has_unproven_factor: bool,
    /// When other addresses were asked for, the latest [`MAX_ADDRESS_ASKS`] times.
    ask_times: Vec<Timestamp>,
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

    /// Whether there is a second factor that was set up before the address was confirmed. Whoever made the account with
    /// somebody else's address may have set it up.
    #[must_use]
    pub fn has_unproven_factor(&self) -> bool {
        self.has_unproven_factor
    }

    /// Refuses to ask for another address once more, if that was done too often of late.
    fn check_asks(&self, user_id: UserId, now: Timestamp) -> Result<(), Refusal> {
        let limit = MAX_ADDRESS_ASKS;
        if self.ask_times.len() < limit as usize {
            return Ok(());
        }
        let Some(first) = self.ask_times.first() else { return Ok(()) };
        let Timestamp(left_us) = first.plus_seconds(ASK_WINDOW_SECONDS);
        let left_us = left_us.saturating_sub(now.0);
        if left_us <= 0 {
            return Ok(());
        }
        let wait_seconds = left_us.div_euclid(Timestamp::PER_SECOND).saturating_add(1);
        Err(Refusal::TooManyAddressChanges { user_id, limit, wait_seconds })
    }

    /// The event of a command; none if there is nothing to do.
    pub(super) fn decide(&self, command: ProfileCommand) -> Result<Option<UserEvent>, Refusal> {
        Ok(match command {
            ProfileCommand::Update { user_id, fields, now } => {
                let asks = fields.contains(&ProfileField::Email);
                if asks {
                    self.check_asks(user_id, now)?;
                }
                let ask_time_us = asks.then_some(now);
                (!fields.is_empty()).then(|| UserProfileUpdated { fields, ask_time_us }.into())
            }
            ProfileCommand::ChangeEmail { asked } if self.asked != Some(asked) => {
                return Err(Refusal::MailedTokenUsed);
            }
            ProfileCommand::ChangeEmail { .. } => Some(UserEmailChanged {}.into()),
            ProfileCommand::ConfirmEmail => {
                (!self.is_email_confirmed).then(|| UserEmailConfirmed {}.into())
            }
            ProfileCommand::SetSecondFactor { user_id, is_on, .. }
                if is_on == self.has_second_factor =>
            {
                return Err(if is_on {
                    Refusal::SecondFactorOn(user_id)
                } else {
                    Refusal::SecondFactorOff(user_id)
                });
            }
            ProfileCommand::SetSecondFactor { is_on, reason, .. } => {
                Some(UserSecondFactorChanged { is_on, reason }.into())
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
        if let Some(time) = event.ask_time_us {
            if self.ask_times.len() >= MAX_ADDRESS_ASKS as usize {
                self.ask_times.remove(0);
            }
            self.ask_times.push(time);
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
        self.has_unproven_factor = event.is_on && !self.is_email_confirmed;
    }

    pub(super) fn use_recovery_code(&mut self) {
        self.recovery_codes_used = self.recovery_codes_used.saturating_add(1);
    }
}
