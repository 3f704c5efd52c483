//! Rows outside the log that are written together with the events that they belong to.
//!
//! They speed up look-ups or keep personal data out of events; decisions are never based on them. To add such
//! a table, add a variant here and a database function that writes its rows.

use std::fmt;

use serde_json::{Value, json};

use crate::{ParticipantId, SessionsEnded, UserId};

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

/// The hash of a password, in PHC string form.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    /// Prints nothing of the hash: passwords can be guessed from hashes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(..)")
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
    /// That sessions of a user have ended.
    SessionEnds {
        /// The user.
        user_id: UserId,
        /// Which sessions.
        ended: SessionsEnded,
    },
    /// The hash of a user's new password.
    PasswordHash {
        /// The user.
        user_id: UserId,
        /// The hash.
        hash: PasswordHash,
    },
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
            Self::SessionEnds { .. } => "session_ends",
            Self::PasswordHash { .. } => "password_hashes",
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
            Self::SessionEnds { user_id, ended: SessionsEnded::These(sessions) } => json!({
                "user_id": user_id.as_str(),
                "these": sessions,
            }),
            Self::SessionEnds { user_id, ended: SessionsEnded::AllBut(sessions) } => json!({
                "user_id": user_id.as_str(),
                "all_but": sessions,
            }),
            Self::PasswordHash { user_id, hash } => json!({
                "user_id": user_id.as_str(),
                "password_hash": hash.0,
            }),
        }
    }
}
