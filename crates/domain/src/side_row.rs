//! Rows outside the log that are written together with the events that they belong to.
//!
//! They speed up look-ups or keep personal data out of events; decisions are never based on them. To add such
//! a table, add a variant here and a database function that writes its rows.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    ApiKeyId, KeyRole, ParticipantId, ProgramId, SessionsEnded, Timestamp, UserId, UserRole,
};

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

/// A new API key, without the key itself, which only its holder knows.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Its id.
    pub key_id: ApiKeyId,
    /// The SHA-256 of the key.
    pub hash: [u8; 32],
    /// What its owner calls it. Free text, so never in an event.
    pub name: String,
    /// What its holder may do.
    pub role: KeyRole,
    /// The user whom a key of the role `user` belongs to.
    pub user_id: Option<UserId>,
    /// The RPCs, and sets of RPCs, that the key is limited to.
    pub rpcs: Option<Vec<String>>,
    /// The programs that the key is limited to, sorted.
    pub program_ids: Option<Vec<ProgramId>>,
    /// When it ceases to be valid.
    pub expire_time: Option<Timestamp>,
}

impl fmt::Debug for NewApiKey {
    /// Prints the id only: neither the hash nor the name belongs into logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewApiKey").field("key_id", &self.key_id).finish_non_exhaustive()
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
    /// A key by which callers are recognised.
    ApiKey {
        /// The key.
        key: NewApiKey,
        /// When it was created.
        create_time: Timestamp,
    },
    /// That a key is no longer valid.
    ApiKeyRevocation {
        /// The key.
        key_id: ApiKeyId,
        /// When it was revoked.
        revoke_time: Timestamp,
    },
    /// What a person may do, which replaces what they could do before.
    UserRole {
        /// The user.
        user_id: UserId,
        /// The role.
        role: UserRole,
    },
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
    /// The table of the row. The database function `write_<table>` writes it.
    #[must_use]
    pub const fn table(&self) -> &'static str {
        match self {
            Self::Profile(_) => "profiles",
            Self::Enrollment(_) => "enrollments",
            Self::Referral { .. } => "referrals",
            // One function writes both, as one batch may create a key and revoke it.
            Self::ApiKey { .. } | Self::ApiKeyRevocation { .. } => "api_keys",
            Self::UserRole { .. } => "user_roles",
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
            Self::ApiKey { key, create_time } => json!({
                "key_id": key.key_id,
                "hash": hex(&key.hash),
                "name": key.name,
                "role": key.role.as_str(),
                "user_id": key.user_id,
                "rpcs": key.rpcs,
                "program_ids": key.program_ids,
                "expire_time_us": key.expire_time,
                "create_time_us": create_time,
            }),
            Self::ApiKeyRevocation { key_id, revoke_time } => json!({
                "key_id": key_id,
                "revoke_time_us": revoke_time,
            }),
            Self::UserRole { user_id, role } => json!({
                "user_id": user_id,
                "role": role.as_str(),
            }),
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

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
