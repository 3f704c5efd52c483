//! Who callers are: principals, sessions, keys and passwords, and how servers learn that credentials have ended.
//!
//! - [`Principal`] and [`Role`] say who makes a call; a [`Caller`] also has the [`Credential`] that says so.
//! - [`logins`] lets people log in and stay logged in, and [`sessions`] knows which access tokens are good.
//!   [`attempts`] slows down those who guess passwords.
//! - [`passwords`] says which passwords are accepted, hashes and verifies them.
//! - [`tokens`] are the texts that clients hold, [`signing`] the keys that sign them.
//! - [`cookies`] are the sessions of browsers.
//! - [`keys`] knows API keys, whose form is in [`key_text`]; [`staff`] knows who is an operator or an admin.
//! - [`second_factor`] sets up and checks second factors.
//! - [`ends`] follows the log for credentials that have ended.
//! - [`turns`] bounds how much of the database logins use at once.

mod attempts;
mod cookies;
mod ends;
mod generations;
pub mod key_text;
pub mod keys;
pub mod logins;
pub mod passwords;
mod principal;
pub mod second_factor;
mod sessions;
pub mod signing;
mod staff;
mod tokens;
pub mod turns;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::engine::Environment;
use crate::lifecycle::{Stage, Tasks};
use crate::live::Live;
use crate::store::{Database, RecordedEvent, StoreError, api_keys, in_time};
use attempts::Attempts;
use cookies::Cookies;
use domain::Timestamp;
pub use ends::CredentialEnd;
use ends::{Heard, OpenStreams};
use keys::Keys;
use passwords::Passwords;
pub use principal::{KeyLimits, Principal, Role};
use sessions::Sessions;
pub use sessions::{MAX_ACCESS_TOKEN, Session};
use signing::{Signing, SigningError, SigningKeys, keyed};
pub use staff::Staff;
use turns::Turns;

/// What an operator can set about access.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file with the private keys that sign access tokens. Without it a key is made, which only this process
    /// knows.
    pub signing_keys: Option<PathBuf>,
    /// About passwords.
    pub passwords: passwords::Settings,
    /// How long an access token is good.
    pub access_token: Duration,
    /// How long a refresh token that is not used is good.
    pub refresh_token: Duration,
    /// After how long a session ends however often it is refreshed.
    pub session: Duration,
    /// How long the link of a mail for confirming an address is good.
    pub confirmation_token: Duration,
    /// How long the link of a mail for choosing another password is good.
    pub reset_token: Duration,
    /// Whether operators and admins need a second factor. Without one, their sessions are those of users.
    pub require_second_factor: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            signing_keys: None,
            passwords: passwords::Settings::default(),
            access_token: Duration::from_mins(15),
            refresh_token: Duration::from_hours(14 * 24),
            session: Duration::from_hours(90 * 24),
            confirmation_token: Duration::from_hours(7 * 24),
            reset_token: Duration::from_mins(15),
            require_second_factor: false,
        }
    }
}

/// Why access cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The signing keys cannot be used.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// An API key.
    Key {
        /// Its id.
        key_id: Arc<str>,
        /// When it ceases to be valid; `None` if never.
        expire_time: Option<Timestamp>,
    },
    /// An access token of this session.
    Session(Arc<Session>),
}

impl Credential {
    /// Whether it is an API key, whose refusals are counted.
    #[must_use]
    pub fn is_api_key(&self) -> bool {
        matches!(self, Self::Key { .. })
    }

    /// The session, if it is one of a person.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Session(session) => Some(session),
            Self::AdminKey | Self::Key { .. } => None,
        }
    }
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
    database: Database,
    environment: Environment,
    settings: Settings,
    passwords: Passwords,
    attempts: Attempts,
    turns: Turns,
    signing: Signing,
    sessions: Sessions,
    cookies: Cookies,
    keys: Keys,
    staff: Staff,
    heard: Heard,
    open: OpenStreams,
}

impl Access {
    /// Reads which credentials ended of late, and follows the log for those that end from now on.
    ///
    /// # Errors
    /// [`AccessError`] if the signing keys or the database cannot be read.
    pub async fn start(
        database: Database,
        admin_key: &str,
        environment: Environment,
        settings: Settings,
        live: Live,
        tasks: &Tasks,
    ) -> Result<Self, AccessError> {
        let keys = match &settings.signing_keys {
            Some(path) => SigningKeys::read(path)?,
            None => SigningKeys::fresh(&environment)?,
        };
        let signing = Signing::new(keys);
        // The end of a session is in its row as soon as it is in the log, so the rows are read after the position from
        // which the log is followed.
        let position = live.position();
        let ended = crate::store::sessions::ended_within(database.pool(), MAX_ACCESS_TOKEN);
        let ended = in_time(ended).await?;
        let sessions = Sessions::new(signing.clone(), audience(&database).await?);
        for session_id in ended {
            sessions.end(session_id.into());
        }
        let shared = Arc::new(Shared {
            admin: Sha256::digest(admin_key).into(),
            passwords: Passwords::new(settings.passwords.clone(), environment.clone()),
            attempts: Attempts::new(),
            turns: Turns::of(database.pool()),
            sessions,
            cookies: Cookies::new(),
            keys: Keys::new(database.clone(), environment.clone()),
            staff: Staff::of(in_time(api_keys::staff(database.pool())).await?),
            heard: Heard::new(live, position),
            open: OpenStreams::default(),
            database,
            environment,
            signing,
            settings,
        });
        let following = shared.clone();
        tasks.spawn(Stage::Background, "ends of sessions and keys", |stop| {
            ends::follow(following, position, stop)
        });
        let using = shared.clone();
        tasks.spawn(Stage::Background, "uses of keys", |stop| async move {
            using.keys.write_uses(stop).await;
            Ok::<_, Infallible>(())
        });
        if let Some(path) = shared.settings.signing_keys.clone() {
            let (signing, following) = (shared.signing.clone(), shared.clone());
            tasks.spawn(Stage::Background, "signing keys", |stop| {
                signing.follow(path, move || following.sessions.forget_known(), stop)
            });
        }
        Ok(Self { shared })
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
            let Some(caller) = self.shared.keys.identify(credential).await? else {
                return Ok(None);
            };
            self.check_up_to_date().await?;
            if self.shared.has_ended(&caller.credential) {
                self.note_refusal(&caller.credential);
                return Ok(None);
            }
            return Ok(Some(caller));
        }
        if !tokens::looks_like_access_token(credential) {
            return Ok(None);
        }
        let now = (self.shared.environment.now)();
        let Some(session) = self.shared.sessions.of(credential, now) else { return Ok(None) };
        self.check_up_to_date().await?;
        let principal = session.principal();
        let credential = Credential::Session(session);
        let has_ended = self.shared.has_ended(&credential);
        Ok((!has_ended).then_some(Caller { principal, credential }))
    }

    /// Checks that this server knows of every credential that ended more than a second ago.
    async fn check_up_to_date(&self) -> Result<(), Unavailable> {
        if self.shared.heard.is_up_to_date().await { Ok(()) } else { Err(Unavailable) }
    }

    /// Counts a call in which a credential was refused, if it is an API key.
    pub fn note_refusal(&self, credential: &Credential) {
        match credential {
            Credential::Key { key_id, .. } => self.shared.keys.note_refusal(key_id),
            Credential::AdminKey | Credential::Session(_) => {}
        }
    }

    /// Learns from the events of a command which credentials have ended, so that they are refused here from now on,
    /// even before the log is followed to that command.
    pub fn learn(&self, events: &[RecordedEvent]) {
        for event in events {
            self.shared.learn(event);
        }
    }

    /// Tells a stream when the credential that it was opened with ends.
    #[must_use]
    pub fn end_of(&self, credential: Option<&Credential>) -> CredentialEnd {
        credential.map_or_else(CredentialEnd::never, |credential| {
            CredentialEnd::of(&self.shared, credential)
        })
    }

    /// Who is an operator or an admin.
    #[must_use]
    pub fn staff(&self) -> &Staff {
        &self.shared.staff
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Turns to use the database for logins and for what is mailed on request.
    #[must_use]
    pub fn turns(&self) -> &Turns {
        &self.shared.turns
    }

    /// Hashes passwords.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.shared.passwords
    }

    /// The public keys of access tokens, as a JWK set.
    #[must_use]
    pub fn public_keys(&self) -> Value {
        self.shared.signing.keys().public()
    }

    /// A secret that only the servers with these signing keys can make, and make again: a mailed token can be
    /// made when the mail is sent, while the database holds only its hash.
    #[must_use]
    pub fn secret_for(&self, purpose: &str, id: &str) -> [u8; 32] {
        self.secrets_for(purpose, id).first().copied().unwrap_or_default()
    }

    /// As [`Access::secret_for`], with each of the signing keys, the present one first: of secrets that were made
    /// before the keys changed, the one that is meant is among them.
    #[must_use]
    pub fn secrets_for(&self, purpose: &str, id: &str) -> Vec<[u8; 32]> {
        self.shared.signing.keys().secrets_for(purpose, id).collect()
    }
}

/// The audience of access tokens: an identifier of the installation, so that the tokens of one are of no use in another
/// with the same keys.
async fn audience(database: &Database) -> Result<String, StoreError> {
    use std::fmt::Write;

    let secret = in_time(database.fingerprint_secret()).await?;
    let hash = keyed(&secret, b"tributary: audience of access tokens");
    Ok(hash[..8].iter().fold(String::from("tributary-"), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
