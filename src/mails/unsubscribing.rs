//! Links by which people switch mails off: from a mail, without signing in. A token names a user and a kind of mail,
//! and is signed, so that there is nothing to store.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use domain::{MailKind, UserId};

/// How much of the signature a token has, in bytes.
const SIGNATURE: usize = 16;

/// Makes and checks tokens.
#[derive(Clone)]
pub struct Unsubscribing {
    secret: Vec<u8>,
}

impl Unsubscribing {
    /// With the key of the installation, which all servers share and which is never changed: a link works for as
    /// long as somebody keeps the mail.
    #[must_use]
    pub fn new(secret: Vec<u8>) -> Self {
        Self { secret }
    }

    /// The token by which a user switches off mails of a kind.
    #[must_use]
    pub fn token(&self, user_id: &UserId, kind: MailKind) -> String {
        let named = format!("{}/{user_id}", kind.as_str());
        let signature = self.signer(&named).finalize().into_bytes();
        let bytes = [&signature[..SIGNATURE], named.as_bytes()].concat();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whom a token is of, and which kind of mail it switches off; `None` if it was not made here.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<(UserId, MailKind)> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signature, named) = bytes.split_at_checked(SIGNATURE)?;
        let named = str::from_utf8(named).ok()?;
        self.signer(named).verify_truncated_left(signature).ok()?;
        let (kind, user_id) = named.split_once('/')?;
        Some((UserId::parse(user_id).ok()?, MailKind::parse(kind)?))
    }

    /// A short text that nobody else can make, for Message-IDs.
    #[must_use]
    pub fn message_mark(&self, job_id: i64) -> String {
        use std::fmt::Write;
        let mark = self.mac("message", &job_id.to_string()).finalize().into_bytes();
        mark[..SIGNATURE].iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn signer(&self, named: &str) -> Hmac<Sha256> {
        self.mac("unsubscribe", named)
    }

    fn mac(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        // A key of any length is accepted.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).unwrap_or_else(|_| {
            Hmac::<Sha256>::new(&hmac::digest::generic_array::GenericArray::default())
        });
        mac.update(purpose.as_bytes());
        mac.update(b"\0");
        mac.update(text.as_bytes());
        mac
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unsubscribing() -> Unsubscribing {
        Unsubscribing::new(vec![7; 32])
    }

    #[test]
    fn a_token_names_its_user_and_kind_and_is_of_one_installation() {
        for kind in MailKind::ALL {
            for user_id in ["ada", "shop/7:ada=x|y~z", &"a".repeat(128)] {
                let user_id = UserId::parse(user_id).unwrap();
                let token = unsubscribing().token(&user_id, kind);
                assert_eq!(unsubscribing().read(&token), Some((user_id, kind)));
                assert_eq!(Unsubscribing::new(vec![8; 32]).read(&token), None);
            }
        }
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_token(text in ".{0,200}", at in 0_usize..60, bit in 0_u8..6) {
            prop_assert_eq!(unsubscribing().read(&text), None);
            let token = unsubscribing().token(&UserId::parse("ada").unwrap(), MailKind::Tier);
            let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(unsubscribing().read(&URL_SAFE_NO_PAD.encode(bytes)), None);
        }
    }
}
