//! The texts that people's clients hold: access tokens and refresh tokens.
//!
//! An access token is a JWT, signed with `EdDSA` (RFC 7519 and 8037). Exactly one form is accepted: one algorithm, one
//! encoding, and the id of one of this installation's keys. A refresh token is 32 random bytes behind a prefix, and so
//! is the cookie of a browser; the database has their hashes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::signing::SigningKeys;

/// The issuer in access tokens.
pub(super) const ISSUER: &str = "tributary";
/// The longest text that is taken for an access token.
const MAX_BYTES: usize = 2 * 1024;
const ALGORITHM: &str = "EdDSA";
/// How every refresh token begins, so that scanners for secrets find one that was published.
const REFRESH_PREFIX: &str = "tributary_refresh_";
/// How every cookie begins, so that none is taken for a refresh token.
const COOKIE_PREFIX: &str = "tributary_cookie_";

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The issuer.
    pub(super) iss: String,
    /// The installation.
    pub(super) aud: String,
    /// The user.
    pub(super) sub: String,
    /// The session.
    pub(super) sid: String,
    /// The user's role.
    pub(super) role: String,
    /// When it was issued, in seconds since 1970.
    pub(super) iat: i64,
    /// When it ends, in seconds since 1970.
    pub(super) exp: i64,
    /// The head of the log when the session began.
    pub(super) pos: i64,
    /// When the session ends at the latest, in seconds since 1970.
    pub(super) end: i64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// The access token with these claims.
pub(super) fn sign(keys: &SigningKeys, claims: &Claims) -> serde_json::Result<String> {
    let key = keys.first();
    let header = Header { alg: ALGORITHM.into(), typ: "JWT".into(), kid: key.id().into() };
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    let header = part(serde_json::to_string(&header)?);
    let claims = part(serde_json::to_string(claims)?);
    let mut token = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(token.as_bytes()));
    token.push('.');
    token += &signature;
    Ok(token)
}

/// The claims of an access token that one of the keys has signed; `None` if none has. Whether they hold at present is
/// not judged here.
pub(super) fn read(keys: &SigningKeys, token: &str) -> Option<Claims> {
    if token.len() > MAX_BYTES {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Header = part(header)?;
    if header.alg != ALGORITHM {
        return None;
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !keys.find(&header.kid)?.has_signed(signed.as_bytes(), &signature) {
        return None;
    }
    part(claims)
}

fn part<T: for<'a> Deserialize<'a>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Whether a text has the form of an access token, so that it need not be looked for among keys.
pub(super) fn looks_like_access_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// The refresh token with this secret.
pub(super) fn refresh_token(secret: [u8; 32]) -> String {
    format!("{REFRESH_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))
}

/// The hash under which the database knows a refresh token; `None` if the text is no refresh token.
pub(super) fn refresh_hash(token: &str) -> Option<[u8; 32]> {
    hash_of(token, REFRESH_PREFIX)
}

/// The cookie with this secret.
pub(super) fn cookie(secret: [u8; 32]) -> String {
    format!("{COOKIE_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))
}

/// The hash under which the database knows a cookie; `None` if the text is no cookie.
pub(super) fn cookie_hash(cookie: &str) -> Option<[u8; 32]> {
    hash_of(cookie, COOKIE_PREFIX)
}

fn hash_of(text: &str, prefix: &str) -> Option<[u8; 32]> {
    let secret = URL_SAFE_NO_PAD.decode(text.strip_prefix(prefix)?).ok()?;
    (secret.len() == 32).then(|| Sha256::digest(text).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use proptest::prelude::*;

    use super::*;
    use crate::engine::Environment;

    fn keys() -> SigningKeys {
        SigningKeys::fresh(&Environment::of_this_machine().unwrap()).unwrap()
    }

    prop_compose! {
        fn any_claims()(
            texts in proptest::array::uniform5("\\PC{0,128}"),
            numbers in proptest::array::uniform4(any::<i64>()),
        ) -> Claims {
            let [iss, aud, sub, sid, role] = texts;
            let [iat, exp, pos, end] = numbers;
            Claims { iss, aud, sub, sid, role, iat, exp, pos, end }
        }
    }

    proptest! {
        #[test]
        fn a_signed_token_is_read_as_it_was_written(claims in any_claims()) {
            let keys = keys();
            let token = sign(&keys, &claims).unwrap();
            prop_assert!(looks_like_access_token(&token));
            if token.len() <= MAX_BYTES {
                prop_assert_eq!(read(&keys, &token), Some(claims));
            } else {
                prop_assert_eq!(read(&keys, &token), None);
            }
            prop_assert_eq!(read(&self::keys(), &token), None);
        }

        #[test]
        fn a_token_with_one_changed_byte_is_refused(
            at in any::<prop::sample::Index>(),
            byte in 0x20_u8..0x7f,
        ) {
            let keys = keys();
            let claims = Claims {
                iss: ISSUER.into(), aud: "a".into(), sub: "ana".into(), sid: "s".into(), role: "user".into(),
                iat: 1, exp: 2, pos: 3, end: 4,
            };
            let token = sign(&keys, &claims).unwrap();
            let mut bytes = token.clone().into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            prop_assert_eq!(read(&keys, &String::from_utf8(bytes).unwrap()), None);
        }

        #[test]
        fn no_text_makes_reading_fail(text in "\\PC{0,300}") {
            prop_assert_eq!(read(&keys(), &text), None);
            let _ = refresh_hash(&text);
        }

        #[test]
        fn refresh_tokens_have_one_form(secret in any::<[u8; 32]>(), cut in 1_usize..20) {
            let token = refresh_token(secret);
            prop_assert!(refresh_hash(&token).is_some());
            prop_assert_eq!(refresh_hash(&token[..token.len() - cut]), None);
            prop_assert_eq!(refresh_hash(&token[cut..]), None);
            prop_assert_eq!(refresh_hash(&format!("{token}A")), None);
        }
    }

    #[test]
    fn other_algorithms_are_refused_whatever_the_signature() {
        let keys = keys();
        let claims = URL_SAFE_NO_PAD.encode("{}");
        for alg in ["none", "HS256", "eddsa", ""] {
            let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{}"}}"#, keys.first().id());
            let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header));
            let signature = URL_SAFE_NO_PAD.encode(keys.first().sign(signed.as_bytes()));
            assert_eq!(read(&keys, &format!("{signed}.{signature}")), None, "{alg}");
            assert_eq!(read(&keys, &format!("{signed}.")), None, "{alg}");
        }
    }
}
