//! Second factors: codes by time (TOTP, RFC 6238), which an app shows, and recovery codes for when the app is lost.
//!
//! The secret of an app must be readable to check its codes, so it cannot be stored as a hash. It is encrypted, with a
//! key that is derived from a signing key of the servers and from the user's id: the database alone is of no use.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use totp_rs::{Builder, Totp};

use super::Access;
use super::logins::LoginError;
use crate::engine::Environment;
use crate::store::{StoreError, in_time, second_factors};
use domain::{SecondFactor, Timestamp, UserId};

/// What apps show the codes under.
const ISSUER: &str = "Tributary";
/// What the secrets of apps are encrypted for.
const PURPOSE: &str = "second factor";
/// The length of a secret in bytes, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// The length of a code of an app. Apps know no other.
const CODE_DIGITS: usize = 6;
/// How long a code lasts.
const PERIOD_SECONDS: u64 = 30;
/// How many periods a code may be early or late, because clocks differ and people type.
const DRIFT_PERIODS: u16 = 1;
/// How many recovery codes a user gets.
pub const RECOVERY_CODES: usize = 10;
/// The length of a recovery code in bytes: too much to try out, also for somebody who has the hashes.
const RECOVERY_BYTES: usize = 10;
/// The alphabet of recovery codes: without I, L, O and U, which are misread.
const RECOVERY_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A second factor that is being set up.
pub struct NewFactor {
    /// The secret, encrypted.
    pub sealed_secret: Vec<u8>,
    /// The secret in base32, for typing it into an app.
    pub secret: String,
    /// The secret as an `otpauth:` link, which an app reads from a QR code.
    pub url: String,
}

/// A factor that a login needs from now on, with the recovery codes in readable form.
pub struct ConfirmedFactor {
    /// What is stored.
    pub factor: SecondFactor,
    /// To be shown once.
    pub recovery_codes: Vec<String>,
}

/// Whether a code is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user has no second factor.
    NoFactor,
    /// The user has a second factor, and no code was given.
    NoCode,
    /// The code is right. It is used up now.
    Right,
    /// The code is wrong, or was used before.
    Wrong,
}

/// Why a second factor cannot be set up or checked.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    /// The server's keys do not outlast the process, and the secret would be lost with them.
    #[error(
        "the server makes a signing key at each start, with which a second factor would be lost"
    )]
    NotKept,
    /// No key of this server opens the secret: the one that it was encrypted with was taken away.
    #[error("a second factor was set up under a signing key that this server does not have")]
    Sealed,
    /// Too many codes were wrong.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug.
    #[error("a second factor cannot be made: {0}")]
    Broken(String),
}

impl Access {
    /// Makes the secret of a second factor for a user. Its codes are checked only after one has been confirmed.
    ///
    /// # Errors
    /// [`FactorError`] if it cannot be made, or would be lost with this process.
    pub fn new_second_factor(
        &self,
        user_id: &UserId,
        username: &str,
    ) -> Result<NewFactor, FactorError> {
        if self.shared.settings.signing_keys.is_none() {
            return Err(FactorError::NotKept);
        }
        let environment = &self.shared.environment;
        let mut secret = [0; SECRET_BYTES];
        (environment.random)(&mut secret);
        let mut nonce = [0; NONCE_LEN];
        (environment.random)(&mut nonce);
        let key = self.secret_for(PURPOSE, user_id.as_str());
        let sealed_secret = seal(&key, user_id, nonce, &secret).ok_or(FactorError::Sealed)?;
        let broken = |error: &dyn fmt::Display| FactorError::Broken(error.to_string());
        // A colon separates issuer and name.
        let totp = builder(&secret)
            .with_issuer(Some(ISSUER))
            .with_account_name(username.replace(':', "_"))
            .build()
            .map_err(|error| broken(&error))?;
        let url = totp.to_url().map_err(|error| broken(&error))?;
        Ok(NewFactor { sealed_secret, secret: totp.secret().to_base32(), url })
    }

    /// Checks the first code of a factor that is being set up; `None` if it is wrong.
    ///
    /// # Errors
    /// [`FactorError`] if the secret cannot be read.
    pub fn confirm_second_factor(
        &self,
        user_id: &UserId,
        sealed_secret: Vec<u8>,
        code: &str,
    ) -> Result<Option<ConfirmedFactor>, FactorError> {
        let environment = &self.shared.environment;
        let totp = self.open(user_id, &sealed_secret)?;
        let Some(last_period) = period_of(&totp, code, (environment.now)()) else {
            return Ok(None);
        };
        let recovery_codes: Vec<String> =
            (0..RECOVERY_CODES).map(|_| recovery_code(environment)).collect();
        let recovery_hashes = recovery_codes.iter().map(|code| recovery_hash(code)).collect();
        let factor = SecondFactor { sealed_secret, last_period, recovery_hashes };
        Ok(Some(ConfirmedFactor { factor, recovery_codes }))
    }

    /// Checks a code of a user, of the app or for recovery, and uses it up. Of several servers that check one code at
    /// a time, one finds it right. `use_recovery_code` gets the hash of what may be a recovery code, uses the code up
    /// if it is one, and says so.
    ///
    /// # Errors
    /// [`FactorError`] if the secret or the database cannot be read, or too many codes were wrong; the error of
    /// `use_recovery_code`.
    pub async fn verify_second_factor<E, F>(
        &self,
        user_id: &UserId,
        code: &str,
        use_recovery_code: impl FnOnce([u8; 32]) -> F,
    ) -> Result<Verdict, E>
    where
        E: From<FactorError>,
        F: Future<Output = Result<bool, E>>,
    {
        let pool = self.shared.database.pool();
        let stored = {
            let turn = self.shared.turns.take().await.map_err(LoginError::from);
            let _turn = turn.map_err(FactorError::from)?;
            in_time(second_factors::find(pool, user_id)).await.map_err(FactorError::from)?
        };
        let Some(stored) = stored.filter(|stored| stored.is_on) else {
            return Ok(Verdict::NoFactor);
        };
        if code.is_empty() {
            return Ok(Verdict::NoCode);
        }
        // Whoever tries codes knows the password, so attempts from all addresses take turns.
        let attempt = self.attempt(&format!("second factor of {user_id}"), None).await;
        let attempt = attempt.map_err(FactorError::from)?;
        let turn = self.shared.turns.take().await.map_err(LoginError::from);
        let _turn = turn.map_err(FactorError::from)?;
        let is_right = if is_of_app(code) {
            let totp = self.open(user_id, &stored.sealed_secret)?;
            match period_of(&totp, code, (self.shared.environment.now)()) {
                Some(period) => in_time(second_factors::use_period(pool, user_id, period))
                    .await
                    .map_err(FactorError::from)?,
                None => false,
            }
        } else {
            use_recovery_code(recovery_hash(code)).await?
        };
        if is_right {
            attempt.succeeded();
            Ok(Verdict::Right)
        } else {
            attempt.failed();
            Ok(Verdict::Wrong)
        }
    }

    /// The codes of an encrypted secret.
    fn open(&self, user_id: &UserId, sealed: &[u8]) -> Result<Totp, FactorError> {
        let keys = self.secrets_for(PURPOSE, user_id.as_str());
        let opened = keys.iter().find_map(|key| open_with(key, user_id, sealed));
        let opened = opened.ok_or(FactorError::Sealed)?;
        builder(&opened).build().map_err(|error| FactorError::Broken(error.to_string()))
    }
}

fn builder(secret: &[u8]) -> Builder {
    Builder::new()
        .with_secret(secret.to_vec())
        .with_step_duration(PERIOD_SECONDS)
        .with_skew(DRIFT_PERIODS)
}

/// A code without the blanks that apps show in it and people type.
fn tidy(code: &str) -> String {
    code.chars().filter(|letter| !letter.is_whitespace() && *letter != '-').collect()
}

/// Whether a code has the form of those that apps show; else it can only be a recovery code.
#[must_use]
pub fn is_of_app(code: &str) -> bool {
    let code = tidy(code);
    code.len() == CODE_DIGITS && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// The period whose code this is, if it is near; `None` if the code is wrong.
fn period_of(totp: &Totp, code: &str, now: Timestamp) -> Option<i64> {
    let seconds = u64::try_from(now.0 / Timestamp::PER_SECOND).ok()?;
    if !is_of_app(code) {
        return None;
    }
    totp.check(&tidy(code), seconds).and_then(|period| i64::try_from(period).ok())
}

/// A new recovery code: `7Q2M-...`, in groups of four.
fn recovery_code(environment: &Environment) -> String {
    let mut bytes = [0; RECOVERY_BYTES];
    (environment.random)(&mut bytes);
    let bits = bytes.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let letters = RECOVERY_BYTES * 8 / 5;
    let mut code = String::with_capacity(letters + letters / 4);
    for index in 0..letters {
        if index > 0 && index % 4 == 0 {
            code.push('-');
        }
        let letter = (bits >> (5 * index)) & 31;
        let letter = usize::try_from(letter).unwrap_or_default();
        code.push(char::from(RECOVERY_ALPHABET[letter]));
    }
    code
}

/// The hash of a recovery code, in whatever case and grouping it is typed. The code has 80 random bits, so that a
/// fast hash is enough.
fn recovery_hash(code: &str) -> [u8; 32] {
    let code = tidy(code).to_ascii_uppercase().replace(['I', 'L'], "1").replace('O', "0");
    Sha256::digest(code).into()
}

/// Encrypts a secret of a user: the nonce, and the secret with its tag.
fn seal(
    key: &[u8; 32],
    user_id: &UserId,
    nonce: [u8; NONCE_LEN],
    secret: &[u8],
) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
    let mut text = secret.to_vec();
    let about = Aad::from(user_id.as_str());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), about, &mut text).ok()?;
    Some([&nonce[..], &text].concat())
}

fn open_with(key: &[u8; 32], user_id: &UserId, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let opened = key.open_in_place(nonce, Aad::from(user_id.as_str()), &mut text).ok()?;
    Some(opened.to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn environment() -> Environment {
        Environment::of_this_machine().unwrap()
    }

    #[test]
    fn a_secret_is_opened_for_its_user_by_its_key_only() {
        let (key, other) = ([1; 32], [2; 32]);
        let secret = [7; SECRET_BYTES];
        let sealed = seal(&key, &user("ada"), [3; NONCE_LEN], &secret).unwrap();
        assert!(!sealed.windows(4).any(|four| four == &secret[..4]));
        assert_eq!(open_with(&key, &user("ada"), &sealed).unwrap(), secret);
        assert_eq!(open_with(&other, &user("ada"), &sealed), None);
        assert_eq!(open_with(&key, &user("bob"), &sealed), None);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(open_with(&key, &user("ada"), &changed), None, "byte {index}");
            assert_eq!(open_with(&key, &user("ada"), &sealed[..index]), None);
        }
    }

    #[test]
    fn codes_are_those_of_rfc_6238_one_period_early_or_late() {
        // The secret of the test vectors of RFC 6238, whose codes of eight digits end in those of six.
        let totp = builder(b"12345678901234567890").build().unwrap();
        let at = |seconds: i64| Timestamp(seconds * Timestamp::PER_SECOND);
        for (seconds, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")]
        {
            let period = seconds / 30;
            for drift in [-30, 0, 30] {
                assert_eq!(period_of(&totp, code, at(seconds + drift)), Some(period));
            }
            for drift in [-60, 60] {
                assert_eq!(period_of(&totp, code, at(seconds + drift)), None);
            }
            let spaced = format!(" {} {} ", &code[..3], &code[3..]);
            assert_eq!(period_of(&totp, &spaced, at(seconds)), Some(period));
        }
        for wrong in ["", "000000", "28708", "2870822", "28708x", "+87082", "２８７０８２"] {
            assert_eq!(period_of(&totp, wrong, at(59)), None, "{wrong}");
        }
    }

    #[test]
    fn recovery_codes_are_long_different_and_read_as_they_are_typed() {
        let codes: std::collections::BTreeSet<_> =
            (0..100).map(|_| recovery_code(&environment())).collect();
        assert_eq!(codes.len(), 100);
        for code in codes {
            assert_eq!(code.len(), 19, "{code}");
            assert!(!is_of_app(&code));
            let typed = code.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
            assert_eq!(recovery_hash(&typed), recovery_hash(&code), "{code}");
        }
        assert_ne!(recovery_hash("AAAA"), recovery_hash("AAAB"));
    }
}
