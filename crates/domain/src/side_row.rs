//! Rows outside the log that are written together with the events that they belong to.
//!
//! They speed up look-ups or keep personal data out of events; decisions are never based on them. To add such
//! a table, add a variant here and a database function that writes its rows.

use std::fmt;

use serde_json::{Value, json};

use crate::{ParticipantId, UserId};

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
    /// That the personal data of a user is deleted, wherever it is.
    Erasure(UserId),
}

impl SideRow {
    /// The table of the row. The database function `write_<table>` writes it. (Erasures are no table: their
    /// function deletes rows of others, after all other rows of the batch are written.)
    #[must_use]
    pub const fn table(&self) -> &'static str {
        match self {
            Self::Profile(_) => "profiles",
            Self::Enrollment(_) => "enrollments",
            Self::Referral { .. } => "referrals",
            Self::Erasure(_) => "erasures",
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
            Self::Erasure(user_id) => json!({ "user_id": user_id.as_str() }),
        }
    }
}
