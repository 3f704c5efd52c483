//! The keyed hashes by which fraud checks recognise what must not be stored: mailboxes, fingerprints, and addresses on
//! the network. Without the key, which stays in the database, nobody can try values out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How much of a hash is kept, in bytes. Among a billion values the chance that two have the same hash is one in 2^69.
const HASH_BYTES: usize = 16;

/// Makes keyed hashes: 22 letters, digits, `-` and `_` each.
#[derive(Clone)]
pub struct FraudKeys(Hmac<Sha256>);

impl Default for FraudKeys {
    /// Hashes under a key that everybody knows: for what is never stored.
    fn default() -> Self {
        Self(Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default()))
    }
}

impl FraudKeys {
    /// Hashes under a secret; `None` if it cannot be a key.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(secret).ok().map(Self)
    }

    /// The hash of a value. Values of different purposes have different hashes.
    #[must_use]
    pub fn hash(&self, purpose: &str, value: &str) -> String {
        let mut hash = self.0.clone();
        for part in [purpose.as_bytes(), &[0], value.as_bytes()] {
            hash.update(part);
        }
        URL_SAFE_NO_PAD.encode(&hash.finalize().into_bytes()[..HASH_BYTES])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn a_key_has_22_characters_that_an_id_can_have_and_differs_by_secret_purpose_and_value() {
        let [keys, other] = [7, 8].map(|byte| FraudKeys::new(&[byte; 32]).unwrap());
        let all = [
            keys.hash("mailbox", "ada@example.com"),
            keys.hash("fingerprint", "ada@example.com"),
            keys.hash("fingerprint", "bob@example.com"),
            other.hash("fingerprint", "ada@example.com"),
        ];
        for (index, key) in all.iter().enumerate() {
            assert_eq!(key.len(), 22);
            let is_of_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            assert!(key.bytes().all(is_of_id), "{key}");
            assert!(!all[..index].contains(key), "{key}");
        }
        assert_eq!(keys.hash("fingerprint", "f"), keys.hash("fingerprint", "f"));
    }
}
