//! The keys that sign access tokens: Ed25519 key pairs, of which the first signs and all verify. Keys are therefore
//! exchanged without a break: add the new key behind the old one on every server, move it to the front, and take the
//! old key away when the last token that it signed has expired.
//!
//! The servers also derive secrets from the first key.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::engine::Environment;

/// How many keys a file may have. A token is verified with the one that it names.
const MAX_KEYS: usize = 16;
/// What the secret of derived secrets is derived for.
const DERIVATION: &[u8] = b"tributary: secrets derived from a signing key";

/// Why the signing keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The file cannot be read.
    #[error("cannot read the signing keys in {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key cannot be used.
    #[error("a signing key is no Ed25519 key in PKCS#8 form")]
    NoKey,
}

/// The signing keys.
pub struct SigningKeys {
    /// The first one signs.
    keys: Vec<SigningKey>,
    /// Keys derived secrets.
    derivation: [u8; 32],
}

struct SigningKey {
    id: String,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKeys {
    /// Prints the ids of the keys only.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl SigningKeys {
    /// The keys in a PEM file.
    ///
    /// # Errors
    /// [`SigningError`] if there are none, or one is no Ed25519 key.
    pub fn read(path: &Path) -> Result<Self, SigningError> {
        let unreadable = |reason: String| SigningError::Unreadable { path: path.into(), reason };
        let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let mut ders = Vec::new();
        for der in PrivatePkcs8KeyDer::pem_slice_iter(&pem) {
            let der = der.map_err(|error| unreadable(error.to_string()))?;
            ders.push(der.secret_pkcs8_der().to_vec());
        }
        if ders.len() > MAX_KEYS {
            return Err(unreadable(format!("it has {} keys; at most {MAX_KEYS}", ders.len())));
        }
        Self::of(&ders).map_err(|error| unreadable(error.to_string()))
    }

    /// A new key.
    ///
    /// # Errors
    /// [`SigningError`] if none can be made.
    pub fn fresh(environment: &Environment) -> Result<Self, SigningError> {
        Self::of(&[fresh_der(environment)])
    }

    /// The text of a PEM file with a new key.
    #[must_use]
    pub fn fresh_pem(environment: &Environment) -> String {
        let body = STANDARD.encode(fresh_der(environment));
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----")
    }

    fn of(ders: &[Vec<u8>]) -> Result<Self, SigningError> {
        let first = ders.first().ok_or(SigningError::NoKey)?;
        let derivation = keyed(first, DERIVATION);
        let mut keys = Vec::new();
        for der in ders {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
            let pair = pair.map_err(|_| SigningError::NoKey)?;
            keys.push(SigningKey { id: thumbprint(pair.public_key().as_ref()), pair });
        }
        Ok(Self { keys, derivation })
    }

    /// A secret for a purpose and an id.
    #[must_use]
    pub fn secret_for(&self, purpose: &str, id: &str) -> [u8; 32] {
        // No purpose contains NUL, so that no two pairs have the same text.
        keyed(&self.derivation, format!("{purpose}\0{id}").as_bytes())
    }
}

/// The private key of a new pair, in PKCS#8 form.
fn fresh_der(environment: &Environment) -> Vec<u8> {
    /// The PKCS#8 form of an Ed25519 key (RFC 8410) before the 32 bytes of the key.
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let mut seed = [0; 32];
    (environment.random)(&mut seed);
    [&PREFIX[..], &seed].concat()
}

/// The id of a public key: its thumbprint of RFC 7638.
fn thumbprint(public: &[u8]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

/// HMAC with SHA-256.
fn keyed(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length; the error cannot occur.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}
