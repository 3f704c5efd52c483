//! Identifiers: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, so that they need no escaping anywhere.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest identifier, in characters.
pub const MAX_ID_CHARS: usize = 64;

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text is longer than 64 characters.
    #[error("must be at most {MAX_ID_CHARS} characters long")]
    TooLong,
    /// The text contains a character other than `A-Z a-z 0-9 . _ -`.
    #[error("may only contain A-Z, a-z, 0-9, '.', '_' and '-'")]
    Character,
}

fn check(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    {
        return Err(InvalidId::Character);
    }
    if text.len() > MAX_ID_CHARS {
        return Err(InvalidId::TooLong);
    }
    Ok(())
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads an identifier.
            ///
            /// # Errors
            /// [`InvalidId`] with the rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.into()))
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            /// Empty: the identifier of an aggregate that does not exist yet.
            fn default() -> Self {
                Self("".into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// An account.
    UserId
);
identifier!(
    /// A set of rules.
    ProgramId
);
identifier!(
    /// A purchase. The caller's own identifier makes its delivery idempotent.
    PurchaseId
);

/// A user in a program. Written `program/user`, which is unambiguous because neither may contain `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId {
    /// The program.
    pub program_id: ProgramId,
    /// The user.
    pub user_id: UserId,
}

impl ParticipantId {
    /// The participant that `user_id` is in `program_id`.
    #[must_use]
    pub fn new(program_id: &ProgramId, user_id: &UserId) -> Self {
        Self { program_id: program_id.clone(), user_id: user_id.clone() }
    }

    /// Reads `program/user`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (program_id, user_id) = text.split_once('/')?;
        Some(Self {
            program_id: ProgramId::parse(program_id).ok()?,
            user_id: UserId::parse(user_id).ok()?,
        })
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.program_id, self.user_id)
    }
}
