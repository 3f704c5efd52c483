//! Rows outside the log that are written together with the events that they belong to.
//!
//! They speed up look-ups or keep personal data out of events; decisions are never based on them. To add such
//! a table, add a variant here and a database function that writes its rows.

use std::fmt;

use serde_json::{Value, json};

use crate::{Mail, ParticipantId, UserId};

/// The personal data of a user. It is stored outside the log, never in an event, so that a user can be erased
/// without changing the log.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Profile {
    pub user_id: UserId,
    pub username: String,
    pub email: String,
    pub display_name: String,
    /// In PHC string form; absent when a back end registered the user without a password.
    pub password_hash: Option<String>,
}

impl fmt::Debug for Profile {
    /// Prints the user id only: personal data stays out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Profile").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// A row outside the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideRow {
    /// The personal data of a user, which replaces earlier data.
    Profile(Profile),
    /// That a user is in a program.
    Enrollment(ParticipantId),
    /// Who referred whom.
    Referral {
        /// The participant who was referred.
        referee: ParticipantId,
        /// The user who referred them.
        referrer: UserId,
    },
    /// A mail to be sent.
    Mail(Mail),
}

impl SideRow {
    /// The table of the row. The database function `write_<table>` writes it.
    #[must_use]
    pub const fn table(&self) -> &'static str {
        match self {
            Self::Profile(_) => "profiles",
            Self::Enrollment(_) => "enrollments",
            Self::Referral { .. } => "referrals",
            Self::Mail(_) => "mails",
        }
    }

    /// The values of the row by column name.
    #[must_use]
    pub fn content(&self) -> Value {
        match self {
            Self::Profile(profile) => json!({
                "user_id": profile.user_id.as_str(),
                "username": profile.username,
                "email": profile.email,
                "display_name": profile.display_name,
                "password_hash": profile.password_hash,
            }),
            Self::Enrollment(participant) => json!({
                "user_id": participant.user_id.as_str(),
                "program_id": participant.program_id.as_str(),
            }),
            Self::Referral { referee, referrer } => json!({
                "program_id": referee.program_id.as_str(),
                "referee_user_id": referee.user_id.as_str(),
                "referrer_user_id": referrer.as_str(),
            }),
            Self::Mail(mail) => json!({
                "occasion": mail.occasion,
                "kind": mail.kind.as_str(),
                "user_id": mail.user_id.as_ref().map(UserId::as_str),
                "recipient": mail.recipient.as_ref().map(|recipient| &recipient.email),
                "recipient_name": mail.recipient.as_ref().and_then(|recipient| recipient.name.as_ref()),
                "facts": mail.facts,
            }),
        }
    }
}
