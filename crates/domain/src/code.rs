//! Referral codes, and why one cannot be used.

use serde::{Deserialize, Serialize};

use super::{Refusal, link};

/// The characters of codes, unless a program specifies its own.
pub const DEFAULT_ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// The length of codes in characters, unless a program specifies its own.
pub const DEFAULT_LENGTH: u32 = 8;

/// The shape of the codes that a program gives out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CodeFormat {
    /// Characters per code.
    pub length: u32,
    /// The characters to draw from, upper-case letters and digits, each once.
    pub alphabet: String,
}

impl Default for CodeFormat {
    fn default() -> Self {
        Self { length: DEFAULT_LENGTH, alphabet: DEFAULT_ALPHABET.into() }
    }
}

impl CodeFormat {
    /// Draws a code from `random`, which fills a buffer with random bytes.
    ///
    /// Every code is equally likely: bytes past the last whole multiple of the alphabet are rejected instead
    /// of being folded onto its first characters.
    pub fn draw(&self, random: &mut dyn FnMut(&mut [u8])) -> String {
        let alphabet = self.alphabet.as_bytes();
        let length = self.length as usize;
        let mut code = String::with_capacity(length);
        if alphabet.is_empty() {
            return code;
        }
        let fair = 256 - 256 % alphabet.len();
        let mut bytes = [0_u8; 32];
        while code.len() < length {
            random(&mut bytes);
            for byte in bytes.into_iter().map(usize::from).filter(|byte| *byte < fair) {
                if code.len() < length {
                    code.push(char::from(alphabet[byte % alphabet.len()]));
                }
            }
        }
        code
    }
}

/// Why a code cannot be used. If several reasons apply, the first in this order is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CodeFault {
    /// The user is deactivated, and cannot be enrolled or referred.
    UserInactive,
    /// The user is not in the program, and in as many others as there can be.
    TooManyPrograms,
    /// No such code, or not in the program asked for.
    Unknown,
    /// The code is the user's own.
    OwnCode,
    /// The user has made the purchase that the program rewards.
    AlreadyBought,
    /// The user was referred by somebody else.
    AlreadyReferred,
    /// The user signed up with the address of a user who was erased: an address can be referred once.
    AddressUsedBefore,
    /// The code has no uses left, or its owner cannot have more direct referrals.
    Exhausted,
    /// The user is in the program, which takes referrers at registration only.
    TooLate,
    /// The owner of the code is below the user.
    Cycle,
    /// A reward for the referral would exceed the largest balance that can be stored.
    BalanceLimit,
}

impl CodeFault {
    /// The fault that a refusal to use a code names; `None` for refusals that are not about the code or its user.
    #[must_use]
    pub fn of(refusal: &Refusal) -> Option<Self> {
        Some(match refusal {
            Refusal::UserInactive(_) => Self::UserInactive,
            Refusal::TooManyPrograms { .. } => Self::TooManyPrograms,
            Refusal::CodeNotFound(_) => Self::Unknown,
            Refusal::SelfReferral(_) => Self::OwnCode,
            Refusal::AlreadyBought(_) => Self::AlreadyBought,
            Refusal::AlreadyReferred(_) => Self::AlreadyReferred,
            Refusal::AddressUsedBefore(_) => Self::AddressUsedBefore,
            Refusal::CodeExhausted { .. } | Refusal::ReferrerLimitReached { .. } => Self::Exhausted,
            Refusal::ReferralTooLate(_) => Self::TooLate,
            Refusal::ReferralCycle { .. } => Self::Cycle,
            Refusal::BalanceLimitReached(_) => Self::BalanceLimit,
            _ => return None,
        })
    }
}

/// The longest code that is looked up, in characters. Longer than any code that a program can give out.
const MAX_CHARS: usize = 64;

/// The code in a text as somebody typed or pasted it: a code or a link that carries one, in any letter case,
/// with blanks, brackets or punctuation around it. `None` if the text cannot be a code of any program; to a program,
/// that is an unknown code like any other.
///
/// The result is in the form in which codes are stored and looked up.
#[must_use]
pub fn read(text: &str) -> Option<String> {
    let text = text.trim();
    let code = link::code_in(text).unwrap_or_else(|| text.into());
    let code = code.trim_matches(link::is_punctuation).trim();
    let is_code = (1..=MAX_CHARS).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then(|| code.to_ascii_uppercase())
}

/// A text that is no known code, as an error names it: the code that was understood, or the beginning of the
/// text; nothing of a text that may be an e-mail address.
#[must_use]
pub fn shown(text: &str) -> String {
    let beginning = || if text.contains('@') { "" } else { text.trim() };
    read(text).unwrap_or_else(|| beginning().chars().take(MAX_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_length_and_the_characters_of_its_program() {
        let format = CodeFormat { length: 6, alphabet: "ABC".into() };
        let mut next = 0_u8;
        let code = format.draw(&mut |bytes| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(1);
            }
        });
        assert_eq!(code, "ABCABC");
    }

    #[test]
    fn a_byte_that_would_favour_the_first_characters_is_thrown_away() {
        let format = CodeFormat { length: 2, alphabet: "ABC".into() };
        let code = format.draw(&mut |bytes| {
            bytes.fill(255);
            bytes[3] = 1;
            bytes[9] = 2;
        });
        assert_eq!(code, "BC");
    }

    #[test]
    fn a_code_is_read_in_any_letter_case_alone_or_in_a_link() {
        for text in [
            "K7Q2M9XA",
            " k7q2m9xa\n",
            "https://shop.example/join?ref=K7Q2M9XA",
            "https://shop.example/join?x=1&ref=k7q2m9xa#frag",
            "HTTPS://SHOP.EXAMPLE/?REF=K7Q2M9XA",
            "shop.example/?ref=K7Q2M9XA",
            "?ref=K7Q2M9XA&utm_source=mail",
            "ref=k7q2m9xa",
            "https://shop.example/?ref=%4B7Q2M9XA",
            "https://shop.example/?ref=&ref=K7Q2M9XA",
            "https://shop.example/?ref=K7Q2M9XA+",
            "https://shop.example/#/join?ref=K7Q2M9XA",
        ] {
            assert_eq!(read(text).as_deref(), Some("K7Q2M9XA"), "{text}");
        }
    }

    #[test]
    fn what_no_program_gives_out_is_no_code() {
        let long = "X".repeat(65);
        for text in [
            "",
            "K7Q2 M9XA",
            "CÖDE1234",
            "K7Q2-M9XA",
            "https://shop.example/join",
            "https://shop.example/?code=K7Q2M9XA",
            "\0",
            &*long,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&long[1..]).as_deref(), Some(&long[1..]));
        assert_eq!(shown(" k7q2m9xa "), "K7Q2M9XA");
        assert_eq!(shown(&"é".repeat(900)), "é".repeat(64));
        assert_eq!(shown("ada@example.com"), "");
    }
}
