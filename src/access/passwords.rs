//! Passwords: which ones are accepted, hashing and verifying. argon2id with the parameters that OWASP recommends, on
//! few threads at a time, because each hash takes a core for some 20 ms and 19 MiB of memory.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OnceCell, Semaphore};

use crate::engine::Environment;

/// The longest password, in characters.
pub const MAX_CHARS: usize = 256;

/// What an operator can set about passwords.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The memory of one hash, in KiB. The default is the first choice of the OWASP Password Storage Cheat Sheet, as is
    /// that of `passes`.
    pub memory_kib: u32,
    /// The passes over that memory.
    pub passes: u32,
    /// How many passwords may wait or be hashed at a time.
    pub queue: usize,
    /// The shortest password, in characters.
    pub min_chars: usize,
    /// What a password must contain.
    pub rules: Rules,
}

impl Default for Settings {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, queue: 256, min_chars: 8, rules: Rules::ALL }
    }
}

/// The kinds of characters that a password must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a rule of its own")]
pub struct Rules {
    upper: bool,
    lower: bool,
    digit: bool,
    special: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self { upper: true, lower: true, digit: true, special: true };
    /// None.
    pub const NONE: Self = Self { upper: false, lower: false, digit: false, special: false };

    /// The names of the rules that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.named().into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name)
    }

    /// Each rule with its name.
    fn named(self) -> [(&'static str, bool); 4] {
        [
            ("upper", self.upper),
            ("lower", self.lower),
            ("digit", self.digit),
            ("special", self.special),
        ]
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        formatter.write_str(if names.is_empty() { "none" } else { "" })?;
        formatter.write_str(&names.join(","))
    }
}

impl FromStr for Rules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rules = Self::NONE;
        if text.trim() == "none" {
            return Ok(rules);
        }
        for name in text.split(',') {
            match name.trim() {
                "upper" => rules.upper = true,
                "lower" => rules.lower = true,
                "digit" => rules.digit = true,
                "special" => rules.special = true,
                other => {
                    return Err(format!(
                        "'{other}' is none of upper, lower, digit, special, and not 'none'"
                    ));
                }
            }
        }
        Ok(rules)
    }
}

/// A rule that a password breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has fewer characters than this.
    TooShort(usize),
    /// It has more characters than this.
    TooLong(usize),
    /// It has no upper-case letter.
    NoUpper,
    /// It has no lower-case letter.
    NoLower,
    /// It has no digit.
    NoDigit,
    /// It has nothing but letters and digits.
    NoSpecial,
}

impl Settings {
    /// Every rule that a new password breaks.
    #[must_use]
    pub fn faults(&self, password: &str) -> Vec<Fault> {
        let chars = password.chars().count();
        let has = |kind: fn(char) -> bool| password.chars().any(kind);
        let Rules { upper, lower, digit, special } = self.rules;
        let faults = [
            (chars < self.min_chars, Fault::TooShort(self.min_chars)),
            (chars > MAX_CHARS, Fault::TooLong(MAX_CHARS)),
            (upper && !has(char::is_uppercase), Fault::NoUpper),
            (lower && !has(char::is_lowercase), Fault::NoLower),
            (digit && !has(char::is_numeric), Fault::NoDigit),
            (special && !has(|char| !char.is_alphanumeric()), Fault::NoSpecial),
        ];
        faults.into_iter().filter(|(is_broken, _)| *is_broken).map(|(_, fault)| fault).collect()
    }
}

/// Why a password was not hashed or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// Too many passwords wait.
    #[error("too many passwords are waiting to be hashed")]
    QueueFull,
    /// A bug in the server, logged where it happened.
    #[error("a password could not be hashed")]
    Failed,
}

/// Counts one waiting password for as long as this value lives.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    environment: Environment,
    settings: Settings,
    /// The hash of a password that nobody knows.
    dummy: Arc<OnceCell<String>>,
}

impl Passwords {
    /// At most half of the cores hash at a time, and at least one.
    #[must_use]
    pub fn new(settings: Settings, environment: Environment) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = Arc::new(Semaphore::new((cores / 2).max(1)));
        Self { turns, waiting: Arc::default(), environment, settings, dummy: Arc::default() }
    }

    /// Which passwords are accepted.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The hash of a password, in PHC string form.
    ///
    /// # Errors
    /// [`HashingError`] if hashing is impossible.
    pub async fn hash(&self, password: String) -> Result<String, HashingError> {
        let mut salt = [0; 16];
        (self.environment.random)(&mut salt);
        let Settings { memory_kib, passes, .. } = self.settings;
        self.on_a_thread(move || {
            let salt = SaltString::encode_b64(&salt)?;
            let params = Params::new(memory_kib, passes, 1, None)?;
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            Ok(argon2.hash_password(password.as_bytes(), &salt)?.to_string())
        })
        .await
    }

    /// Whether a password is the one of a hash. Without a hash the answer is `false`, after the same time.
    ///
    /// # Errors
    /// [`HashingError`] if hashing is impossible.
    pub async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, HashingError> {
        // Made before any password is verified, so that the first one without a hash takes no longer.
        let dummy = self.dummy.get_or_try_init(|| {
            let mut random = [0; 16];
            (self.environment.random)(&mut random);
            self.hash(random.map(|byte| char::from(b'a' + byte % 16)).iter().collect())
        });
        let dummy = dummy.await?.clone();
        self.on_a_thread(move || {
            let is_known = hash.is_some();
            let hash = hash.unwrap_or(dummy);
            let hash = PasswordHash::new(&hash)?;
            match Argon2::default().verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(is_known),
                Err(argon2::password_hash::Error::Password) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Whether a hash was made with less work than the settings ask for, or in another way.
    #[must_use]
    pub fn is_outdated(&self, hash: &str) -> bool {
        let Ok(hash) = PasswordHash::new(hash) else { return true };
        let Ok(params) = Params::try_from(&hash) else { return true };
        hash.algorithm != Algorithm::Argon2id.ident()
            || params.m_cost() < self.settings.memory_kib
            || params.t_cost() < self.settings.passes
    }

    /// Runs work when it is its turn.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, argon2::password_hash::Error> + Send + 'static,
    ) -> Result<T, HashingError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.settings.queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(HashingError::QueueFull);
        }
        let waiting = Waiting(self.waiting.clone());
        let turn = self.turns.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            // The work continues if the caller goes away, and keeps its turn until it is done.
            let _turn = (turn, waiting);
            work()
        });
        match done.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                tracing::error!(%error, "a password could not be hashed");
                Err(HashingError::Failed)
            }
            Err(error) => {
                tracing::error!(%error, "hashing a password panicked");
                Err(HashingError::Failed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn passwords(memory_kib: u32, passes: u32, queue: usize) -> Passwords {
        let settings = Settings { memory_kib, passes, queue, ..Settings::default() };
        Passwords::new(settings, Environment::of_this_machine().unwrap())
    }

    #[test]
    fn every_broken_rule_is_named() {
        let settings = Settings::default();
        let faults = |password: &str| settings.faults(password);
        assert_eq!(faults("Corr3ct-horse"), []);
        assert_eq!(faults("Ümläut 9"), []);
        let all = [Fault::NoUpper, Fault::NoDigit, Fault::NoSpecial];
        assert_eq!(faults("aaaaaaaa"), all);
        assert_eq!(
            faults("A"),
            [Fault::TooShort(8), Fault::NoLower, Fault::NoDigit, Fault::NoSpecial]
        );
        assert_eq!(faults(&"Aa1-".repeat(64)), []);
        assert_eq!(faults(&"Aa1-".repeat(65)), [Fault::TooLong(256)]);
        let lax = Settings { min_chars: 4, rules: "digit".parse().unwrap(), ..settings.clone() };
        assert_eq!(lax.faults("1234"), []);
        assert_eq!(lax.faults("abc"), [Fault::TooShort(4), Fault::NoDigit]);
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in ["upper,lower,digit,special", "none", "digit", "upper,special"] {
            assert_eq!(text.parse::<Rules>().unwrap().to_string(), text);
        }
        assert_eq!(Rules::ALL.to_string(), "upper,lower,digit,special");
        for text in ["", "uper", "upper,none"] {
            assert!(text.parse::<Rules>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_password_is_verified_and_one_with_less_work_is_outdated() {
        let (weak, strong) = (passwords(64, 1, 10), passwords(128, 2, 10));
        let hash = weak.hash("Corr3ct-horse".into()).await.unwrap();
        assert!(strong.verify("Corr3ct-horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!strong.verify("Corr3ct-horsf".into(), Some(hash.clone())).await.unwrap());
        assert!(!strong.verify("Corr3ct-horse".into(), None).await.unwrap());
        assert!(!weak.is_outdated(&hash));
        assert!(strong.is_outdated(&hash));
        let hash = strong.hash("Corr3ct-horse".into()).await.unwrap();
        assert!(!strong.is_outdated(&hash) && !weak.is_outdated(&hash));
    }

    #[tokio::test]
    async fn beyond_the_queue_nothing_waits() {
        let passwords = passwords(64, 1, 2);
        let turn = passwords.turns.clone().acquire_many_owned(1).await.unwrap();
        let permits = passwords.turns.available_permits();
        let rest = passwords.turns.clone().acquire_many_owned(u32::try_from(permits).unwrap());
        let rest = rest.await.unwrap();
        let waiting = [0, 1].map(|_| {
            let passwords = passwords.clone();
            tokio::spawn(async move { passwords.hash("Corr3ct-horse".into()).await })
        });
        while passwords.waiting.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.hash("Corr3ct-horse".into()).await, Err(HashingError::QueueFull));
        drop((turn, rest));
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok());
        }
        assert!(passwords.hash("Corr3ct-horse".into()).await.is_ok());
    }
}
