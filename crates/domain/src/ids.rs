//! Identifiers: short ASCII texts, most of them given by callers.
//!
//! Users and purchases carry the ids that other systems gave them, such as `auth0|5f7c8ec7c33c6c004bbafe82`,
//! `gid://shopify/Order/1` or base64. The ids of programs are chosen for Tributary and go into file names
//! and links.

use std::fmt;

/// What the identifiers of one kind may look like. Each has at least one letter or digit as well, so that none
/// is `.`, `..` or `-`, which paths and command lines take for something else.
pub(crate) struct Form {
    max_chars: usize,
    /// The characters besides letters and digits.
    punctuation: &'static [u8],
}

/// The form of the ids of users and purchases.
pub(crate) const LONG: Form = Form { max_chars: 128, punctuation: b"._-:|=+/~" };
/// The form of the ids of programs. Without `/`, so that the first one in `program/user` ends the program.
pub(crate) const SHORT: Form = Form { max_chars: 64, punctuation: b"._-" };

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text is too long.
    #[error("must be at most {0} characters long")]
    TooLong(usize),
    /// The text contains a character that is not allowed.
    #[error("may only contain A-Z, a-z, 0-9 and {0}")]
    Character(&'static str),
    /// The text consists of punctuation.
    #[error("must have at least one letter or digit")]
    Punctuation,
}

impl Form {
    pub(crate) fn check(&self, text: &str) -> Result<(), InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || self.punctuation.contains(&byte);
        if !text.bytes().all(allowed) {
            // Both constants are ASCII.
            let punctuation = std::str::from_utf8(self.punctuation).unwrap_or_default();
            return Err(InvalidId::Character(punctuation));
        }
        if text.len() > self.max_chars {
            return Err(InvalidId::TooLong(self.max_chars));
        }
        if !text.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            return Err(InvalidId::Punctuation);
        }
        Ok(())
    }
}

/// Makes the type of the identifiers of one kind. An aggregate has its own in its own file.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $form:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[derive(serde::Serialize, serde::Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Reads an identifier.
            ///
            /// # Errors
            /// [`InvalidId`]($crate::InvalidId) with the rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self, $crate::InvalidId> {
                $form.check(text).map(|()| Self(text.into()))
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

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}
pub(crate) use identifier;

identifier!(
    /// An account.
    UserId, LONG
);
identifier!(
    /// A set of rules.
    ProgramId, SHORT
);

/// A user in a program. Written `program/user`. The first `/` ends the program, whose id has none; the id of the
/// user may have more.
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

    /// Reads `program/user`, which is split at its first `/`.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use proptest::prelude::*;

    use super::*;
    use crate::PurchaseId;

    /// Ids as other systems make them.
    const REAL: &[&str] = &[
        "ada",
        "7",
        "cs_live_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9",
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "us-east-1:4b9f5a1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b",
        "gid://shopify/Order/450789469",
        "c29tZSBvcGFxdWUgaWQ/+w==",
        "urn:isbn:0451450523",
        "/orders/17/",
        "~ada+shop=1",
    ];

    #[test]
    fn ids_of_the_real_world_are_ids_of_users_and_purchases() {
        for text in REAL {
            assert_eq!(UserId::parse(text).unwrap().as_str(), *text);
            assert_eq!(PurchaseId::parse(text).unwrap().as_str(), *text);
        }
        assert!(UserId::parse(&"x".repeat(128)).is_ok());
        assert_eq!(UserId::parse(&"x".repeat(129)), Err(InvalidId::TooLong(128)));
        assert_eq!(ProgramId::parse(&"x".repeat(65)), Err(InvalidId::TooLong(64)));
        assert_eq!(ProgramId::parse("a/b"), Err(InvalidId::Character("._-")));
    }

    #[test]
    fn an_id_has_a_letter_or_a_digit_and_nothing_that_needs_quoting() {
        for text in [".", "..", "-", "--", "_", "/", "//", "=="] {
            assert_eq!(UserId::parse(text), Err(InvalidId::Punctuation), "{text}");
        }
        for text in [".", "..", "-"] {
            assert_eq!(ProgramId::parse(text), Err(InvalidId::Punctuation), "{text}");
        }
        for text in
            ["a b", "a@b", "a,b", "a\u{0}", "é", "a\\b", "a%20", "a\"", "a'", "a*", "a?b", "a#b"]
        {
            assert!(matches!(UserId::parse(text), Err(InvalidId::Character(_))), "{text}");
        }
        assert_eq!(UserId::parse(""), Err(InvalidId::Empty));
    }

    #[test]
    fn a_participant_is_split_at_the_first_slash() {
        let program_id = ProgramId::parse("spring").unwrap();
        for text in REAL {
            let id = ParticipantId::new(&program_id, &UserId::parse(text).unwrap());
            assert_eq!(ParticipantId::parse(&id.to_string()), Some(id));
        }
        assert_eq!(ParticipantId::parse("spring"), None);
        assert_eq!(ParticipantId::parse("/ada"), None);
    }

    proptest! {
        #[test]
        fn any_participant_is_read_back_from_its_text(
            program_id in "[A-Za-z0-9._-]{0,20}[A-Za-z0-9][A-Za-z0-9._-]{0,20}",
            user_id in "[A-Za-z0-9._:|=+/~-]{0,60}[A-Za-z0-9][A-Za-z0-9._:|=+/~-]{0,60}",
        ) {
            let (program_id, user_id) = (ProgramId::parse(&program_id), UserId::parse(&user_id));
            let id = ParticipantId::new(&program_id.unwrap(), &user_id.unwrap());
            prop_assert_eq!(ParticipantId::parse(&id.to_string()), Some(id));
        }
    }
}
