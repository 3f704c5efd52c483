//! Referral codes.

use serde::{Deserialize, Serialize};

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

/// The form in which codes are stored and looked up: without surrounding whitespace, in upper case.
#[must_use]
pub fn normalize(code: &str) -> String {
    code.trim().to_ascii_uppercase()
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
}
