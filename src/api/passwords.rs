//! Hashing passwords: argon2id with the parameters that OWASP recommends, on few threads at a time
//! because each hash takes a core and 19 MiB for some 20 ms.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::errors::{ApiError, internal};
use crate::engine::Surroundings;

/// Memory, in KiB, passes and lanes: the first choice of the OWASP Password Storage Cheat Sheet.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    surroundings: Surroundings,
}

impl Passwords {
    /// At most `threads` hashes are made at once.
    #[must_use]
    pub fn new(threads: usize, surroundings: Surroundings) -> Self {
        Self { turns: Arc::new(Semaphore::new(threads.max(1))), surroundings }
    }

    /// The hash of a password, in PHC string form.
    ///
    /// # Errors
    /// A status if hashing is impossible.
    pub async fn hash(&self, password: String) -> Result<String, ApiError> {
        let _turn = self.turns.acquire().await;
        let mut salt = [0; 16];
        (self.surroundings.random)(&mut salt);
        let hashed = tokio::task::spawn_blocking(move || {
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
                Err(internal().into())
            }
            Err(error) => {
                tracing::error!(%error, "hashing a password panicked");
                Err(internal().into())
            }
        }
    }
}
