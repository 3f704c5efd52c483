//! Sessions of browsers. A browser holds one cookie, which stands for its session as long as that lasts: it is never
//! exchanged for another one, so that many tabs can use it at once. The database has a hash of it.
//!
//! Cookies that were seen are remembered for a moment. Ends of sessions come from the log, as for all credentials, so
//! that a remembered cookie of a session that has ended is refused at once.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::logins::LoginError;
use super::{Access, Caller, Credential, Role, Session, Unavailable, tokens};
use crate::store::in_time;
use crate::store::sessions::{self, StoredSession};

/// How long a cookie is remembered. Its use is written when it is looked up again.
const REMEMBERED: Duration = Duration::from_mins(1);
/// How many cookies are remembered: some 400 bytes each.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(20_000);
/// Cookies that are looked up at a time, so that unknown ones leave connections to others.
const MAX_LOOKUPS: usize = 4;

type Hash = [u8; 32];

/// Cookies that were seen of late, by their hash: the session, and when to look again.
pub(super) struct Cookies {
    seen: Mutex<LruCache<Hash, (Arc<Session>, Instant)>>,
    lookups: Semaphore,
}

impl Cookies {
    pub(super) fn new() -> Self {
        Self {
            seen: Mutex::new(LruCache::new(MAX_REMEMBERED)),
            lookups: Semaphore::new(MAX_LOOKUPS),
        }
    }

    fn seen(&self) -> MutexGuard<'_, LruCache<Hash, (Arc<Session>, Instant)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recall(&self, hash: &Hash) -> Option<Arc<Session>> {
        let mut seen = self.seen();
        let (session, until) = seen.get(hash)?;
        (*until > Instant::now()).then(|| session.clone())
    }
}

impl Access {
    /// Turns a session that has just begun into that of a browser: its refresh token becomes a cookie.
    ///
    /// # Errors
    /// [`LoginError`] if the database fails, or the session has ended meanwhile.
    pub async fn cookie_for(&self, refresh_token: &str) -> Result<String, LoginError> {
        let mut secret = [0; 32];
        (self.shared.environment.random)(&mut secret);
        let cookie = tokens::cookie(secret);
        let hashes = tokens::refresh_hash(refresh_token).zip(tokens::cookie_hash(&cookie));
        let (old, new) = hashes.ok_or(LoginError::Internal)?;
        let pool = self.shared.database.pool();
        if in_time(sessions::replace_token(pool, old, new)).await? {
            Ok(cookie)
        } else {
            Err(LoginError::Wrong)
        }
    }

    /// The caller with a cookie that was seen of late; `None` if it was not.
    ///
    /// # Errors
    /// [`Unavailable`] if the server cannot know whether the session has ended.
    pub async fn recall_cookie(&self, cookie: &str) -> Result<Option<Caller>, Unavailable> {
        let session =
            tokens::cookie_hash(cookie).and_then(|hash| self.shared.cookies.recall(&hash));
        match session {
            Some(session) => self.caller_of(session).await,
            None => Ok(None),
        }
    }

    /// The caller with a cookie, which is looked up unless it was seen of late; `None` if it is unknown, or it or its
    /// session has ended.
    ///
    /// # Errors
    /// [`Unavailable`] if the server cannot know.
    pub async fn identify_cookie(&self, cookie: &str) -> Result<Option<Caller>, Unavailable> {
        let Some(hash) = tokens::cookie_hash(cookie) else { return Ok(None) };
        let cookies = &self.shared.cookies;
        // The semaphore is never closed.
        let _turn = cookies.lookups.acquire().await;
        // Another tab may have asked meanwhile.
        if let Some(session) = cookies.recall(&hash) {
            return self.caller_of(session).await;
        }
        let lifetime = self.shared.settings.refresh_token;
        let found = sessions::of_cookie(self.shared.database.pool(), hash, lifetime);
        let found = in_time(found).await.map_err(|error| {
            tracing::warn!(%error, "a cookie could not be looked up");
            Unavailable
        })?;
        let Some(session) = found.and_then(session_of) else { return Ok(None) };
        let session = Arc::new(session);
        cookies.seen().put(hash, (session.clone(), Instant::now() + REMEMBERED));
        self.caller_of(session).await
    }

    /// The caller with a session, unless it was ended.
    async fn caller_of(&self, session: Arc<Session>) -> Result<Option<Caller>, Unavailable> {
        self.check_up_to_date().await?;
        let principal = session.principal();
        let credential = Credential::Session(session);
        let has_ended = self.shared.has_ended(&credential);
        Ok((!has_ended).then_some(Caller { principal, credential }))
    }
}

fn session_of(stored: StoredSession) -> Option<Session> {
    let StoredSession { session_id, user_id, role, position, expire_time } = stored;
    Some(Session {
        session_id: session_id.to_string().into(),
        user_id,
        role: Role::parse(&role)?,
        position,
        token_expire_time: expire_time,
        expire_time,
    })
}
