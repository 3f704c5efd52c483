//! The text of API keys: the prefix, the id, a secret, and a checksum, as in
//! `tributary_key_4fzN2qB7xKc1…`.
//!
//! The prefix lets scanners for secrets find keys in places where none belongs. The id says which key it is, so that
//! a key that was found can be revoked. The checksum tells a mistyped or cut key from an unknown one, without a query.

use sha2::{Digest, Sha256};

use crate::engine::Environment;
use domain::ApiKeyId;

/// How every key begins.
pub const PREFIX: &str = "tributary_key_";
/// The characters of the id.
const ID_CHARS: usize = 12;
/// The characters of the secret: 190 bits.
const SECRET_CHARS: usize = 32;
/// The characters of the checksum, which hold 32 bits.
const CHECKSUM_CHARS: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new key.
pub struct FreshKey {
    /// Its id.
    pub key_id: ApiKeyId,
    /// The key itself, to be shown once.
    pub text: String,
    /// The SHA-256 of the key.
    pub hash: [u8; 32],
}

impl FreshKey {
    /// Draws a key. `None` never happens: the characters of an id are those that ids may have.
    #[must_use]
    pub fn draw(environment: &Environment) -> Option<Self> {
        let id = draw(environment, ID_CHARS);
        let body = format!("{PREFIX}{id}{}", draw(environment, SECRET_CHARS));
        let text = format!("{body}{}", checksum(&body));
        let hash = hash_of(&text);
        Some(Self { key_id: ApiKeyId::parse(&id).ok()?, text, hash })
    }
}

/// Whether a text has the form of a key and its checksum holds.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    rest.len() == ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && checksum(&text[..text.len() - CHECKSUM_CHARS]) == text[text.len() - CHECKSUM_CHARS..]
}

/// The id in the text of a key; `None` if it is mistyped.
#[must_use]
pub fn id_in(text: &str) -> Option<&str> {
    is_well_formed(text).then(|| &text[PREFIX.len()..PREFIX.len() + ID_CHARS])
}

/// The hash by which a key is stored. The secret has enough random bits for a fast hash without salt.
#[must_use]
pub fn hash_of(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Random characters, each as likely as any other.
fn draw(environment: &Environment, count: usize) -> String {
    let mut text = String::with_capacity(count);
    while text.len() < count {
        let mut bytes = [0; 64];
        (environment.random)(&mut bytes);
        // The largest multiple of 62 that a byte can hold.
        let even = bytes.iter().filter(|byte| **byte < 248);
        let drawn = even.map(|byte| char::from(DIGITS[usize::from(byte % 62)]));
        text.extend(drawn.take(count - text.len()));
    }
    text
}

/// The first 32 bits of the SHA-256, in base 62.
fn checksum(text: &str) -> String {
    let digest = Sha256::digest(text);
    let mut rest = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use proptest::prelude::*;

    use super::*;

    fn fresh() -> FreshKey {
        FreshKey::draw(&Environment::of_this_machine().unwrap()).unwrap()
    }

    #[test]
    fn a_key_is_well_formed_names_its_id_and_is_unlike_any_other() {
        let (one, other) = (fresh(), fresh());
        assert!(is_well_formed(&one.text), "{}", one.text);
        assert!(one.text.starts_with(&format!("{PREFIX}{}", one.key_id)));
        assert_eq!(one.text.len(), PREFIX.len() + 50);
        assert_eq!(one.hash, hash_of(&one.text));
        assert!(one.text != other.text && one.key_id != other.key_id && one.hash != other.hash);
    }

    proptest! {
        #[test]
        fn a_key_with_one_wrong_character_is_mistyped(at in 0_usize..64, to in "[ -~]") {
            let key = fresh().text;
            let mut wrong = key.clone();
            wrong.replace_range(at..=at, &to);
            prop_assert_eq!(is_well_formed(&wrong), wrong == key);
        }

        #[test]
        fn a_key_that_was_cut_or_lengthened_is_mistyped(length in 0_usize..64, more in "[ -~é]{1,5}") {
            let key = fresh().text;
            prop_assert!(!is_well_formed(&key[..length]));
            let longer = key + &more;
            prop_assert!(!is_well_formed(&longer));
        }

        #[test]
        fn no_text_makes_the_check_panic(text in "(tributary_key_)?\\PC{0,80}") {
            prop_assert!(!is_well_formed(&text) || text.len() == 64);
        }
    }
}
