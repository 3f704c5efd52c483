//! The keyed hashes by which fraud checks recognise what must not be stored: mailboxes, fingerprints, and addresses on
//! the network. Without the key, which stays in the database, nobody can try values out.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use domain::decide::MailboxKeys;
use domain::fraud::Address;

/// How much of a hash is kept, in bytes. Among a billion values the chance that two have the same hash is one in 2^69.
const HASH_BYTES: usize = 16;

/// Makes keyed hashes: 22 letters, digits, `-` and `_` each.
#[derive(Clone)]
pub struct FraudKeys(Hmac<Sha256>);

impl FraudKeys {
    /// Hashes under a secret; `None` if it cannot be a key.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(secret).ok().map(Self)
    }

    /// The keys of the mailbox that an address leads to, and of what it looks like. `None` if no mailbox has it.
    #[must_use]
    pub fn mailbox(&self, address: &str) -> Option<MailboxKeys> {
        let address = Address::parse(address)?;
        Some(MailboxKeys {
            mailbox: self.hash("mailbox", address.mailbox_key().as_bytes()),
            look_alike: self.hash("look_alike", address.look_alike_key().as_bytes()),
        })
    }

    /// The key of the fingerprint of a device or a means of payment.
    #[must_use]
    pub fn fingerprint(&self, fingerprint: &str) -> String {
        self.hash("fingerprint", fingerprint.as_bytes())
    }

    /// The key of an address on the network: of the block of 64 bits for IPv6, since one customer has at least that.
    #[must_use]
    pub fn client_address(&self, address: IpAddr) -> Arc<str> {
        let counted = match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [one, two, three, four, ..] = address.segments();
                Ipv6Addr::new(one, two, three, four, 0, 0, 0, 0).to_string()
            }
        };
        self.hash("client_address", counted.as_bytes()).into()
    }

    /// Values of different purposes have different hashes.
    fn hash(&self, purpose: &str, value: &[u8]) -> String {
        let mut hash = self.0.clone();
        for part in [purpose.as_bytes(), &[0], value] {
            hash.update(part);
        }
        URL_SAFE_NO_PAD.encode(&hash.finalize().into_bytes()[..HASH_BYTES])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn keys() -> FraudKeys {
        FraudKeys::new(&[7; 32]).unwrap()
    }

    #[test]
    fn a_key_has_22_characters_that_an_id_can_have_and_differs_by_secret_purpose_and_value() {
        let mailbox = keys().mailbox("ada@example.com").unwrap();
        let other = FraudKeys::new(&[8; 32]).unwrap();
        let all = [
            mailbox.mailbox,
            mailbox.look_alike,
            keys().fingerprint("ada@example.com"),
            keys().fingerprint("bob@example.com"),
            other.fingerprint("ada@example.com"),
        ];
        for (index, key) in all.iter().enumerate() {
            assert_eq!(key.len(), 22);
            let is_of_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            assert!(key.bytes().all(is_of_id), "{key}");
            assert!(!all[..index].contains(key), "{key}");
        }
        assert_eq!(keys().fingerprint("f"), keys().fingerprint("f"));
    }

    #[test]
    fn addresses_of_one_mailbox_have_its_keys() {
        let mailbox = |address: &str| keys().mailbox(address).unwrap();
        assert_eq!(mailbox("Ada+1@Example.com"), mailbox("ada@example.com"));
        assert_eq!(mailbox("ada0@example.com").look_alike, mailbox("adao@example.com").look_alike);
        assert_ne!(mailbox("ada0@example.com").mailbox, mailbox("adao@example.com").mailbox);
        assert_eq!(keys().mailbox("ada"), None);
    }

    #[test]
    fn ipv6_is_counted_by_blocks_of_64_bits_and_ipv4_by_addresses() {
        let key = |text: &str| keys().client_address(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
