//! The header `Stripe-Signature`: `t=1700000000,v1=<hex>,v1=<hex>`.
//!
//! A signature of scheme `v1` is the HMAC-SHA256, under the endpoint's secret, of the timestamp's digits, a full stop
//! and the raw body. While a secret is being rotated, Stripe signs with both, so the header has several `v1`, and the
//! caller has several secrets: one signature by one secret is enough. Other schemes (such as `v0`) are ignored, as
//! Stripe asks, so that nobody can downgrade to a weaker one. <https://docs.stripe.com/webhooks#verify-manually>

use std::fmt::{self, Write as _};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How far the timestamp may be from the clock, in seconds: what Stripe's own libraries allow.
pub const TOLERANCE_SECONDS: i64 = 300;
/// The maximum number of `v1` signatures in a header. Stripe sends one for each secret that is valid; this bounds the
/// work that a forged header can make.
pub const MAX_SIGNATURES: usize = 16;

const SIGNATURE_BYTES: usize = 32;

/// The secret of an endpoint, `whsec_...`. The whole text is the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret; `None` for an empty text, with which anybody could sign.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// All secrets of a setting, which are separated by commas or white space.
    #[must_use]
    pub fn list(text: &str) -> Vec<Self> {
        let separator = |character: char| character == ',' || character.is_whitespace();
        text.split(separator).filter_map(Self::new).collect()
    }

    /// Whether it looks like the signing secret of an endpoint, not like another secret of Stripe.
    #[must_use]
    pub fn is_of_endpoint(&self) -> bool {
        self.0.strip_prefix("whsec_").is_some_and(|rest| !rest.is_empty())
    }

    fn mac(&self, timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length; the error cannot occur.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).ok()?;
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        Some(mac)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// Why a request does not count as sent by Stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// An element of the header has no `=`.
    #[error("an element of the header has no '='")]
    Element,
    /// The header has no `t`.
    #[error("the header has no timestamp")]
    NoTimestamp,
    /// The header has more than one `t`.
    #[error("the header has more than one timestamp")]
    SecondTimestamp,
    /// `t` is not a number of seconds.
    #[error("the timestamp is not a number of seconds")]
    TimestampNotANumber,
    /// The header has no `v1`.
    #[error("the header has no signature of scheme v1")]
    NoSignature,
    /// A `v1` is not the hexadecimal form of 32 bytes.
    #[error("a signature is not 64 hexadecimal digits")]
    SignatureNotHex,
    /// The header has more `v1` than [`MAX_SIGNATURES`].
    #[error("the header has too many signatures")]
    TooManySignatures,
    /// No signature was made with one of the secrets.
    #[error("no signature matches the body and a secret")]
    Mismatch,
    /// The request was signed longer ago than is tolerated: it may be a recorded one.
    #[error("the timestamp is too old")]
    TooOld,
    /// The request was signed later from now than is tolerated: a clock is wrong.
    #[error("the timestamp is too far in the future")]
    TooNew,
}

/// Checks that Stripe signed `body` within `tolerance_seconds` of `now_seconds` (since 1970).
///
/// `body` must be the bytes as they were received. Signatures are compared in constant time, each with each secret.
/// Times are judged after signatures, so that a caller without a secret learns nothing of the clock.
///
/// # Errors
/// [`SignatureFault`] with the first thing that is wrong.
pub fn verify(
    header: &str,
    body: &[u8],
    secrets: &[Secret],
    now_seconds: i64,
    tolerance_seconds: i64,
) -> Result<(), SignatureFault> {
    let (timestamp, signatures) = parts(header)?;
    let signed_seconds: i64 = timestamp.parse().map_err(|_| SignatureFault::TimestampNotANumber)?;
    let mut is_signed = false;
    for secret in secrets {
        let Some(mac) = secret.mac(timestamp, body) else { continue };
        for signature in &signatures {
            is_signed |= mac.clone().verify_slice(signature).is_ok();
        }
    }
    let age_seconds = now_seconds.saturating_sub(signed_seconds);
    if !is_signed {
        Err(SignatureFault::Mismatch)
    } else if age_seconds > tolerance_seconds {
        Err(SignatureFault::TooOld)
    } else if age_seconds < tolerance_seconds.saturating_neg() {
        Err(SignatureFault::TooNew)
    } else {
        Ok(())
    }
}

/// The header with which Stripe would send `body` at `signed_seconds`, with a signature for each secret.
#[must_use]
pub fn sign(body: &[u8], secrets: &[Secret], signed_seconds: i64) -> String {
    let timestamp = signed_seconds.to_string();
    let mut header = format!("t={timestamp}");
    for mac in secrets.iter().filter_map(|secret| secret.mac(&timestamp, body)) {
        header.push_str(",v1=");
        for byte in mac.finalize().into_bytes() {
            let _ = write!(header, "{byte:02x}");
        }
    }
    header
}

/// The digits of the timestamp and the signatures of scheme `v1`.
fn parts(header: &str) -> Result<(&str, Vec<[u8; SIGNATURE_BYTES]>), SignatureFault> {
    let mut timestamp = None;
    let mut signatures = Vec::new();
    for element in header.split(',') {
        let (key, value) = element.split_once('=').ok_or(SignatureFault::Element)?;
        match (key.trim(), value.trim()) {
            ("t", _) if timestamp.is_some() => return Err(SignatureFault::SecondTimestamp),
            ("t", value) if value.is_empty() || !value.bytes().all(|of| of.is_ascii_digit()) => {
                return Err(SignatureFault::TimestampNotANumber);
            }
            ("t", value) => timestamp = Some(value),
            ("v1", _) if signatures.len() == MAX_SIGNATURES => {
                return Err(SignatureFault::TooManySignatures);
            }
            ("v1", value) => {
                signatures.push(from_hex(value).ok_or(SignatureFault::SignatureNotHex)?);
            }
            _ => {}
        }
    }
    let timestamp = timestamp.ok_or(SignatureFault::NoTimestamp)?;
    if signatures.is_empty() {
        Err(SignatureFault::NoSignature)
    } else {
        Ok((timestamp, signatures))
    }
}

fn from_hex(text: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * SIGNATURE_BYTES {
        return None;
    }
    let mut bytes = [0; SIGNATURE_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |of: u8| char::from(of).to_digit(16);
        let value = pair.iter().try_fold(0, |value, of| Some(value * 16 + digit(*of)?))?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_764_000_000;
    const BODY: &[u8] = br#"{"id": "evt_1"}"#;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn check(header: &str, now_seconds: i64) -> Result<(), SignatureFault> {
        verify(header, BODY, &[secret("whsec_a")], now_seconds, TOLERANCE_SECONDS)
    }

    fn signed() -> String {
        sign(BODY, &[secret("whsec_a")], NOW)
    }

    #[test]
    fn a_signature_is_what_another_implementation_makes() {
        // printf '1700000000.{"id":"evt_test"}' | openssl dgst -sha256 -hmac whsec_test
        let header = sign(br#"{"id":"evt_test"}"#, &[secret("whsec_test")], 1_700_000_000);
        let expected = "14c4f43763339dcb1c15f41a1ff31a94f2f09f8de278f8b4392ca0d7cbcd257e";
        assert_eq!(header, format!("t=1700000000,v1={expected}"));
    }

    #[test]
    fn a_signed_body_passes_within_the_tolerance_on_both_sides() {
        let header = signed();
        for (now, result) in [
            (NOW, Ok(())),
            (NOW + 300, Ok(())),
            (NOW - 300, Ok(())),
            (NOW + 301, Err(SignatureFault::TooOld)),
            (NOW - 301, Err(SignatureFault::TooNew)),
            (i64::MIN, Err(SignatureFault::TooNew)),
            (i64::MAX, Err(SignatureFault::TooOld)),
        ] {
            assert_eq!(check(&header, now), result, "{now}");
        }
    }

    #[test]
    fn while_a_secret_is_rotated_either_one_is_enough() {
        let [old, new, other] = ["whsec_old", "whsec_new", "whsec_other"].map(secret);
        let by_both = sign(BODY, &[old.clone(), new.clone()], NOW);
        for (header, secrets, result) in [
            (&by_both, vec![new.clone()], Ok(())),
            (&by_both, vec![old.clone()], Ok(())),
            (&by_both, vec![other.clone(), new.clone()], Ok(())),
            (&by_both, vec![other.clone()], Err(SignatureFault::Mismatch)),
            (&by_both, vec![], Err(SignatureFault::Mismatch)),
            (&sign(BODY, std::slice::from_ref(&old), NOW), vec![new, old], Ok(())),
        ] {
            assert_eq!(verify(header, BODY, &secrets, NOW, TOLERANCE_SECONDS), result);
        }
    }

    #[test]
    fn another_body_time_or_secret_is_a_mismatch() {
        let header = signed();
        let verify = |header: &str, body: &[u8], key| {
            verify(header, body, &[secret(key)], NOW, TOLERANCE_SECONDS)
        };
        assert_eq!(verify(&header, b"{}", "whsec_a"), Err(SignatureFault::Mismatch));
        assert_eq!(verify(&header, BODY, "whsec_b"), Err(SignatureFault::Mismatch));
        let later = header.replace(&NOW.to_string(), &(NOW + 1).to_string());
        assert_eq!(verify(&later, BODY, "whsec_a"), Err(SignatureFault::Mismatch));
        // An old request with a bad signature is no "old request".
        assert_eq!(check(&later, NOW + 10_000), Err(SignatureFault::Mismatch));
    }

    #[test]
    fn other_schemes_are_ignored_and_do_not_replace_v1() {
        let header = signed();
        assert_eq!(check(&format!("{header},v0=anything"), NOW), Ok(()));
        assert_eq!(check(&header.replace("v1=", "v0="), NOW), Err(SignatureFault::NoSignature));
    }

    #[test]
    fn each_malformed_header_has_its_fault() {
        let hex = "ab".repeat(32);
        for (header, fault) in [
            (String::new(), SignatureFault::Element),
            ("nonsense".into(), SignatureFault::Element),
            (format!("v1={hex}"), SignatureFault::NoTimestamp),
            (format!("t=1,t=2,v1={hex}"), SignatureFault::SecondTimestamp),
            (format!("t=,v1={hex}"), SignatureFault::TimestampNotANumber),
            (format!("t=-1,v1={hex}"), SignatureFault::TimestampNotANumber),
            (format!("t=+1,v1={hex}"), SignatureFault::TimestampNotANumber),
            (format!("t={},v1={hex}", "9".repeat(20)), SignatureFault::TimestampNotANumber),
            ("t=1".into(), SignatureFault::NoSignature),
            ("t=1,v1=ab".into(), SignatureFault::SignatureNotHex),
            (format!("t=1,v1={}", "zz".repeat(32)), SignatureFault::SignatureNotHex),
            (format!("t=1,v1={}", "ä".repeat(32)), SignatureFault::SignatureNotHex),
            (format!("t=1{}", format!(",v1={hex}").repeat(17)), SignatureFault::TooManySignatures),
            (format!("t=1,v1={hex}"), SignatureFault::Mismatch),
        ] {
            assert_eq!(check(&header, NOW), Err(fault), "{header}");
        }
    }

    #[test]
    fn secrets_are_separated_by_commas_or_blanks_and_never_shown() {
        let secrets = Secret::list(" whsec_a, whsec_b\nwhsec_c,, ");
        assert_eq!(secrets, ["whsec_a", "whsec_b", "whsec_c"].map(secret));
        assert_eq!(Secret::list(" , "), []);
        assert!(!format!("{secrets:?}").contains("whsec"));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic_or_pass(header in ".{0,200}") {
            prop_assert!(check(&header, NOW).is_err());
        }

        #[test]
        fn whatever_is_signed_passes(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let secrets = [secret("whsec_a")];
            let header = sign(&body, &secrets, NOW);
            prop_assert_eq!(verify(&header, &body, &secrets, NOW, 0), Ok(()));
        }
    }
}
