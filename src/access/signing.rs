//! The keys that sign access tokens: Ed25519 key pairs, of which the first signs and all verify. Keys are therefore
//! exchanged without a break: add the new key behind the old one on every server, move it to the front, and take the
//! old key away when the last token that it signed has expired. The file is read again when it changes.
//!
//! The servers also derive secrets from the keys.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::engine::Environment;

/// How many keys a file may have. A token is verified with the one that it names.
const MAX_KEYS: usize = 16;
/// The largest file of keys, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// How often the file is looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
/// What the secret of derived secrets is derived for.
const DERIVATION: &[u8] = b"tributary: secrets derived from a signing key";

/// Why the signing keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The file cannot be used.
    #[error("the signing keys in {path} cannot be used: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key cannot be used.
    #[error(
        "a key is no Ed25519 key in PKCS#8 form, as 'openssl genpkey -algorithm ed25519' makes them"
    )]
    NoKey,
}

/// The signing keys at one moment.
pub struct SigningKeys {
    first: SigningKey,
    others: Vec<SigningKey>,
}

/// A key pair.
pub(super) struct SigningKey {
    id: String,
    pair: Ed25519KeyPair,
    /// Keys derived secrets.
    derivation: [u8; 32],
}

impl fmt::Debug for SigningKeys {
    /// Prints the ids of the keys only.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.all().map(SigningKey::id)).finish()
    }
}

impl SigningKey {
    fn new(der: &[u8]) -> Result<Self, SigningError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
        let pair = pair.map_err(|_| SigningError::NoKey)?;
        let id = thumbprint(pair.public_key().as_ref());
        Ok(Self { id, pair, derivation: keyed(der, DERIVATION) })
    }

    /// The id, by which tokens name the key.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn sign(&self, message: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.pair.sign(message)
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.pair.public_key()).verify(message, signature).is_ok()
    }
}

impl SigningKeys {
    /// The keys in a PEM file.
    ///
    /// # Errors
    /// [`SigningError`] if there are none, or one is no Ed25519 key.
    pub fn read(path: &Path) -> Result<Self, SigningError> {
        Self::of_pem(&contents(path)?, path)
    }

    fn of_pem(pem: &[u8], path: &Path) -> Result<Self, SigningError> {
        let unusable = |reason: String| SigningError::Unusable { path: path.into(), reason };
        let mut keys = Vec::new();
        for der in PrivatePkcs8KeyDer::pem_slice_iter(pem) {
            let der = der.map_err(|error| unusable(error.to_string()))?;
            let key = SigningKey::new(der.secret_pkcs8_der());
            keys.push(key.map_err(|error| unusable(error.to_string()))?);
        }
        if keys.len() > MAX_KEYS {
            return Err(unusable(format!(
                "there are {}, and at most {MAX_KEYS} are possible",
                keys.len()
            )));
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| unusable("there is none".into()))?;
        Ok(Self { first, others: keys.collect() })
    }

    /// A new key.
    ///
    /// # Errors
    /// [`SigningError`] if none can be made.
    pub fn fresh(environment: &Environment) -> Result<Self, SigningError> {
        Ok(Self { first: SigningKey::new(&fresh_der(environment))?, others: Vec::new() })
    }

    /// The text of a PEM file with a new key.
    #[must_use]
    pub fn fresh_pem(environment: &Environment) -> String {
        let body = STANDARD.encode(fresh_der(environment));
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----")
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The key that signs.
    pub(super) fn first(&self) -> &SigningKey {
        &self.first
    }

    /// The key with this id.
    pub(super) fn find(&self, id: &str) -> Option<&SigningKey> {
        self.all().find(|key| key.id == id)
    }

    /// The public keys as a JWK set (RFC 7517, RFC 8037).
    #[must_use]
    pub fn public(&self) -> Value {
        let keys = self.all().map(|key| {
            json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "x": URL_SAFE_NO_PAD.encode(key.pair.public_key()),
                "kid": key.id,
                "alg": "EdDSA",
                "use": "sig",
            })
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    /// The secrets for a purpose and an id, one for each key.
    pub(super) fn secrets_for(&self, purpose: &str, id: &str) -> impl Iterator<Item = [u8; 32]> {
        // No purpose contains NUL, so that no two pairs have the same text.
        let text = format!("{purpose}\0{id}");
        self.all().map(move |key| keyed(&key.derivation, text.as_bytes()))
    }
}

/// The signing keys, as they are at present. Cheap to clone.
#[derive(Clone)]
pub(super) struct Signing(Arc<RwLock<Arc<SigningKeys>>>);

impl Signing {
    pub(super) fn new(keys: SigningKeys) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }

    /// The keys at present.
    pub(super) fn keys(&self) -> Arc<SigningKeys> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again whenever its contents change. A file that cannot be used changes nothing.
    pub(super) async fn follow(
        self,
        path: PathBuf,
        changed: impl Fn() + Send,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        let mut known = None;
        while stop.run_until_cancelled(tokio::time::sleep(RELOAD_INTERVAL)).await.is_some() {
            let (file, had) = (path.clone(), known);
            let look = move || {
                let pem = contents(&file)?;
                let digest = <[u8; 32]>::from(Sha256::digest(&pem));
                let keys = (had != Some(digest)).then(|| SigningKeys::of_pem(&pem, &file));
                Ok::<_, SigningError>((digest, keys))
            };
            match tokio::task::spawn_blocking(look).await {
                Ok(Ok((digest, keys))) => {
                    known = Some(digest);
                    match keys {
                        Some(Ok(keys)) => {
                            self.replace(keys);
                            changed();
                        }
                        Some(Err(error)) => {
                            tracing::error!(%error, "the signing keys stay as they were");
                        }
                        None => {}
                    }
                }
                Ok(Err(error)) if known.is_some() => {
                    known = None;
                    tracing::error!(%error, "the signing keys stay as they were");
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn replace(&self, keys: SigningKeys) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !known.all().map(SigningKey::id).eq(keys.all().map(SigningKey::id)) {
            tracing::info!(?keys, "the signing keys have changed");
        }
        *known = Arc::new(keys);
    }
}

/// The contents of a file of keys.
fn contents(path: &Path) -> Result<Vec<u8>, SigningError> {
    use std::io::Read;

    let read = || {
        let mut contents = Vec::new();
        std::fs::File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut contents)?;
        Ok(contents)
    };
    read().map_err(|error: std::io::Error| SigningError::Unusable {
        path: path.into(),
        reason: error.to_string(),
    })
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
pub(super) fn keyed(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length; the error cannot occur.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn environment() -> Environment {
        Environment::of_this_machine().unwrap()
    }

    #[test]
    fn the_key_of_rfc_8037_has_its_thumbprint_and_makes_its_signature() {
        let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
        let random = URL_SAFE_NO_PAD.decode(seed).unwrap();
        let environment = Environment {
            random: Arc::new(move |bytes| bytes.copy_from_slice(&random)),
            ..environment()
        };
        let keys = SigningKeys::fresh(&environment).unwrap();
        assert_eq!(keys.first().id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let public = &keys.public()["keys"][0];
        assert_eq!(public["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        assert_eq!(
            URL_SAFE_NO_PAD.encode(keys.first().sign(signed.as_bytes())),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn a_file_may_have_several_keys_of_which_the_first_signs() {
        let directory = std::env::temp_dir().join(environment().fresh_id());
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("keys.pem");
        let (old, new) =
            (SigningKeys::fresh_pem(&environment()), SigningKeys::fresh_pem(&environment()));
        let read = |pem: &str| {
            std::fs::write(&path, pem).unwrap();
            SigningKeys::read(&path)
        };
        let before = read(&old).unwrap();
        let both = read(&format!("{new}\n{old}\n")).unwrap();
        assert_ne!(both.first().id(), before.first().id());
        let signature = before.first().sign(b"text");
        let signature = signature.as_ref();
        let known = both.find(before.first().id()).unwrap();
        assert!(known.has_signed(b"text", signature));
        assert!(!both.first().has_signed(b"text", signature));
        let secret = before.secrets_for("reset", "ana").next().unwrap();
        assert_eq!(both.secrets_for("reset", "ana").nth(1), Some(secret));
        assert_ne!(both.secrets_for("reset", "ana").next(), Some(secret));
        assert_ne!(before.secrets_for("reset", "bob").next(), Some(secret));
        assert!(!format!("{both:?}").contains("PRIVATE"));
        for bad in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}
