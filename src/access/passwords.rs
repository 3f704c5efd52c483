//! Hashing passwords: argon2id with the parameters that OWASP recommends, on few threads at a time
//! because each hash takes a core and 19 MiB for some 20 ms.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::engine::Environment;

/// Memory, in KiB, passes and lanes: the first choice of the OWASP Password Storage Cheat Sheet.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The number of passwords that may wait or be hashed at a time: some ten seconds of work.
const MAX_WAITING: usize = 500;

/// Why a password was not hashed.
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

/// Hashes passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    environment: Environment,
}

impl Passwords {
    /// At most `threads` hashes are computed at a time.
    #[must_use]
    pub fn new(threads: usize, environment: Environment) -> Self {
        let turns = Arc::new(Semaphore::new(threads.max(1)));
        Self { turns, waiting: Arc::default(), environment }
    }

    /// The hash of a password, in PHC string form.
    ///
    /// # Errors
    /// [`HashingError`] if hashing is impossible.
    pub async fn hash(&self, password: String) -> Result<String, HashingError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(HashingError::QueueFull);
        }
        let waiting = Waiting(self.waiting.clone());
        let turn = self.turns.clone().acquire_owned().await;
        let mut salt = [0; 16];
        (self.environment.random)(&mut salt);
        let hashed = tokio::task::spawn_blocking(move || {
            // Hashing continues if the caller goes away, and keeps its turn until it is done.
            let _turn = (turn, waiting);
            let salt = SaltString::encode_b64(&salt)?;
            let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            Ok(argon2.hash_password(password.as_bytes(), &salt)?.to_string())
        });
        match hashed.await {
            Ok(Ok(hash)) => Ok(hash),
            Ok(Err(error)) => {
                let error: argon2::password_hash::Error = error;
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
