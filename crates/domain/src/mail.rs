//! The mails that people get, by kind.
//!
//! A mail is queued with ids only, and rendered when it is sent.

use std::fmt;

use serde_json::Value;

use crate::UserId;

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// To a new user: their name and links.
    Welcome,
    /// To a referrer: somebody was referred.
    Referral,
    /// To everyone whom a conversion pays.
    Conversion,
    /// To a participant who has reached a tier.
    Tier,
    /// To a participant, a week before a part of what they have expires.
    Expiry,
    /// To everyone whose rewards were taken back.
    Reversal,
    /// To everyone whose rewards waited and are available now.
    Release,
    /// To an address that is to be confirmed, of a new account or a new one of an account.
    ConfirmEmail,
    /// To the address of a sign-up, which becomes an account when the address is confirmed.
    ConfirmSignUp,
    /// To a user: somebody has tried to sign up with their address.
    AccountExists,
    /// To a user who has forgotten their password.
    PasswordReset,
    /// To the address that an account had before.
    EmailChanged,
    /// To a user whose password was changed.
    PasswordChanged,
    /// To a user whose second factor was removed.
    SecondFactorRemoved,
}

impl MailKind {
    /// All there are.
    pub const ALL: [Self; 14] = [
        Self::Welcome,
        Self::Referral,
        Self::Conversion,
        Self::Tier,
        Self::Expiry,
        Self::Reversal,
        Self::Release,
        Self::ConfirmEmail,
        Self::ConfirmSignUp,
        Self::AccountExists,
        Self::PasswordReset,
        Self::EmailChanged,
        Self::PasswordChanged,
        Self::SecondFactorRemoved,
    ];

    /// The kinds that a user can switch off. The others are sent because somebody asked for them, or because
    /// the owner of an account must know.
    pub const OPTIONAL: [Self; 7] = [
        Self::Welcome,
        Self::Referral,
        Self::Conversion,
        Self::Tier,
        Self::Expiry,
        Self::Reversal,
        Self::Release,
    ];

    /// The name used in tables, jobs and templates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::Referral => "referral",
            Self::Conversion => "conversion",
            Self::Tier => "tier",
            Self::Expiry => "expiry",
            Self::Reversal => "reversal",
            Self::Release => "release",
            Self::ConfirmEmail => "confirm_email",
            Self::ConfirmSignUp => "confirm_sign_up",
            Self::AccountExists => "account_exists",
            Self::PasswordReset => "password_reset",
            Self::EmailChanged => "email_changed",
            Self::PasswordChanged => "password_changed",
            Self::SecondFactorRemoved => "second_factor_removed",
        }
    }

    /// The kind with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether a user can switch mails of this kind off.
    #[must_use]
    pub fn is_optional(self) -> bool {
        Self::OPTIONAL.contains(&self)
    }

    /// Whether somebody waits for mails of this kind, or must be warned at once. Such mails go before the others.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        !self.is_optional()
    }
}

/// Who gets a mail that does not go to the address in the profile of its user.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address.
    pub email: String,
    /// The name in the mail; absent if the profile has it.
    pub name: Option<String>,
}

impl fmt::Debug for Recipient {
    /// Prints nothing: personal data stays out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recipient").finish_non_exhaustive()
    }
}

/// A mail to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// What calls for the mail, made of the kind and ids, as in `password_reset/4f1c`: one occasion has one mail.
    pub occasion: String,
    /// The kind.
    pub kind: MailKind,
    /// The user whom the mail is for; absent if they are not a user yet.
    pub user_id: Option<UserId>,
    /// Who gets the mail, if not the user at the address in their profile.
    pub recipient: Option<Recipient>,
    /// What the mail needs besides, as a JSON object. Ids and times only, never personal data and never a token:
    /// the facts are kept with the job, and shown to operators. Known to templates of links are `token_id`, from
    /// which the token of the link is made when the mail is sent, and `expire_time_us`, after which the mail is not
    /// sent any more.
    pub facts: Value,
}
