//! Who callers are: principals, sessions, keys and passwords, and how servers learn that credentials have ended.
//!
//! - [`Principal`] and [`Role`] say who makes a call; a [`Caller`] also has the [`Credential`] that says so.
//! - [`passwords`] hashes and verifies passwords on few threads.
//! - [`signing`] holds the keys that sign access tokens, and derives secrets from them.
//! - [`keys`] knows API keys, whose form is in [`key_text`]; [`staff`] knows who is an operator or an admin.

mod generations;
pub mod key_text;
pub mod keys;
pub mod passwords;
mod principal;
pub mod signing;
mod staff;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::engine::Environment;
use crate::lifecycle::{Stage, Tasks};
use crate::live::{Cursor, CutOff, Live};
use crate::store::{Database, RecordedEvent, StoreError};
use keys::Keys;
use passwords::Passwords;
pub use principal::{KeyLimits, Principal, Role};
use signing::{SigningError, SigningKeys};
pub use staff::Staff;

/// What an operator can set about access.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The file with the private keys that sign access tokens. Without it a key is made, which only this process
    /// knows.
    pub signing_keys: Option<PathBuf>,
}

/// Who makes a call, and by what credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// By what.
    pub credential: Credential,
}

/// What a caller was identified by, to be told when it ends. Among the extensions of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The admin key of the settings, which ends with the process.
    AdminKey,
    /// The API key with this id.
    Key(Arc<str>),
}

/// The server cannot know at this moment whether a credential has ended: its tail of the log is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server has not heard from the database for a moment, so it cannot tell whether the credentials have ended"
)]
pub struct Unavailable;

/// Identifies callers. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    shared: Arc<Shared>,
}

struct Shared {
    /// The hash of the admin key. Hashes are compared, so that the time of the comparison reveals nothing about
    /// the key.
    admin: [u8; 32],
    passwords: Passwords,
    signing: SigningKeys,
    keys: Keys,
    staff: Staff,
}

impl Access {
    /// Reads what must be known before the first call.
    ///
    /// # Errors
    /// [`SigningError`] if the signing keys cannot be read.
    pub fn start(
        database: Database,
        admin_key: &str,
        environment: Environment,
        settings: Settings,
    ) -> Result<Self, SigningError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let signing = match &settings.signing_keys {
            Some(path) => SigningKeys::read(path)?,
            None => SigningKeys::fresh(&environment)?,
        };
        let shared = Shared {
            admin: Sha256::digest(admin_key).into(),
            passwords: Passwords::new(threads, environment.clone()),
            signing,
            keys: Keys::new(database, environment),
            staff: Staff::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The caller with a credential, which is the text after `Bearer`; `None` if the credential is unknown or has
    /// ended. The database is not asked about credentials that were seen before.
    ///
    /// # Errors
    /// [`Unavailable`] if the server cannot know whether the credential has ended. The admin key is known always.
    pub async fn identify(&self, credential: &str) -> Result<Option<Caller>, Unavailable> {
        if <[u8; 32]>::from(Sha256::digest(credential)) == self.shared.admin {
            let principal = Principal::ADMIN_KEY;
            return Ok(Some(Caller { principal, credential: Credential::AdminKey }));
        }
        if credential.starts_with(keys::PREFIX) {
            return self.shared.keys.identify(credential).await;
        }
        Ok(None)
    }

    /// Reads what must be known before the first call, and follows the log for the ends of keys and for the roles of
    /// people.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn follow(
        &self,
        live: &Live,
        database: &Database,
        tasks: &Tasks,
    ) -> Result<(), StoreError> {
        let position = live.position();
        let mut log = live.follow(Cursor { position, sequence: position });
        self.shared.staff.load(database).await?;
        let access = self.clone();
        tasks.spawn(Stage::Background, "ends of keys", |stop| async move {
            let following = async {
                loop {
                    let event = log.next().await?;
                    access.enter(&event)?;
                }
            };
            let followed: Option<Result<(), CutOff>> = stop.run_until_cancelled(following).await;
            followed.unwrap_or(Ok(()))
        });
        let access = self.clone();
        tasks.spawn(Stage::Background, "uses of keys", |stop| async move {
            access.shared.keys.write_uses(stop).await;
            Ok::<_, Infallible>(())
        });
        Ok(())
    }

    /// Takes in an event of the log.
    fn enter(&self, event: &RecordedEvent) -> Result<(), StoreError> {
        self.shared.keys.enter(event)?;
        self.shared.staff.enter(event)
    }

    /// Ends a key on this server at once. The other servers learn of it from the log.
    pub fn end_key(&self, key_id: &str) {
        self.shared.keys.end(key_id);
    }

    /// Who is an operator or an admin.
    #[must_use]
    pub fn staff(&self) -> &Staff {
        &self.shared.staff
    }

    /// Hashes passwords.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.shared.passwords
    }

    /// A secret that only the servers with these signing keys can make, and make again: a mailed token can be
    /// made when the mail is sent, while the database holds only its hash.
    #[must_use]
    pub fn secret_for(&self, purpose: &str, id: &str) -> [u8; 32] {
        self.shared.signing.secret_for(purpose, id)
    }
}
