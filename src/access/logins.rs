//! Logging in, and staying logged in.

use std::net::IpAddr;
use std::time::Duration;

use super::attempts::{Attempt, TooMany};
use super::passwords::HashingError;
use super::turns::QueueFull;
use super::{Access, tokens};
use crate::store::sessions::{self, NewSession, Refreshed, StoredSession};
use crate::store::{StoreError, in_time};
use domain::{ClaimKind, SessionId, Timestamp, UserId};

/// For so long after a refresh token was exchanged it can be exchanged once more, because the answer may have been
/// lost, or two tabs of a browser may share the token. The database function `refresh_session` says what the two tokens
/// that come of it are good for.
const REUSE: Duration = Duration::from_secs(30);
/// The longest name of a client that is kept, in bytes.
const MAX_USER_AGENT_BYTES: usize = 256;

/// Why somebody could not log in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such account, it has no password, or the password is another one.
    #[error("the login or the password is wrong")]
    Wrong,
    /// The password of a user who is known is another one.
    #[error("the {0} is wrong")]
    WrongPassword(&'static str),
    /// There were too many failures; the next attempt may be made after this time.
    #[error("too many logins have failed; try again later")]
    TooManyFailures(Duration),
    /// Too many attempts for one account or from one address are being made at once.
    #[error("too many logins for this account or from this address are waiting; try again later")]
    TooManyAtOnce,
    /// Too many logins are waiting.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The password could not be verified.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug in the server, logged where it happened.
    #[error("internal error")]
    Internal,
}

/// A user who has proved to know their password.
pub struct KnowsPassword {
    /// The user.
    pub user_id: UserId,
    /// The hash with which the password was verified.
    password_hash: String,
}

/// What a client gets when it logs in or refreshes. Has no `Debug`, as these are secrets.
pub struct Tokens {
    /// For calls.
    pub access_token: String,
    /// When the access token ends.
    pub expire_time: Timestamp,
    /// For the next access token.
    pub refresh_token: String,
    /// The session.
    pub session_id: SessionId,
}

/// What became of a refresh token.
pub enum Refresh {
    /// It was exchanged.
    Exchanged(Tokens),
    /// It is unknown, or it or its session has ended.
    Ended,
    /// Somebody has used a copy of it. The caller ends this session.
    Stolen(StoredSession),
}

impl Access {
    /// Verifies the password of the user with this e-mail address or username. Unknown accounts get the same answer as
    /// wrong passwords, after the same work.
    ///
    /// # Errors
    /// [`LoginError`] with the reason why not.
    pub async fn check_login(
        &self,
        login: &str,
        password: String,
        address: Option<IpAddr>,
    ) -> Result<KnowsPassword, LoginError> {
        // One address has many spellings.
        let account = ClaimKind::Email.normal_form(login);
        let attempt = self.attempt(&account, address).await?;
        let credentials = {
            let _turn = self.shared.turns.take().await?;
            in_time(sessions::credentials_of(self.shared.database.pool(), login)).await?
        };
        let (user_id, hash) = credentials.map(|known| (known.user_id, known.password_hash)).unzip();
        self.check(attempt, user_id, hash.flatten(), password).await
    }

    /// Verifies the password of a user who is known already. `name` is what an error calls it.
    ///
    /// # Errors
    /// [`LoginError`] with the reason why not.
    pub async fn check_password(
        &self,
        user_id: &UserId,
        password: String,
        name: &'static str,
        address: Option<IpAddr>,
    ) -> Result<KnowsPassword, LoginError> {
        let attempt = self.attempt(user_id.as_str(), address).await?;
        let read = sessions::credentials_of_user(self.shared.database.pool(), user_id);
        let hash = in_time(read).await?.and_then(|known| known.password_hash);
        match self.check(attempt, Some(user_id.clone()), hash, password).await {
            Err(LoginError::Wrong) => Err(LoginError::WrongPassword(name)),
            checked => checked,
        }
    }

    pub(super) async fn attempt(
        &self,
        account: &str,
        address: Option<IpAddr>,
    ) -> Result<Attempt, LoginError> {
        let begun = self.shared.attempts.begin(account, address).await;
        begun.map_err(|too_many| match too_many {
            TooMany::Failures(wait) => LoginError::TooManyFailures(wait),
            TooMany::AtOnce => LoginError::TooManyAtOnce,
        })
    }

    async fn check(
        &self,
        attempt: Attempt,
        user_id: Option<UserId>,
        hash: Option<String>,
        password: String,
    ) -> Result<KnowsPassword, LoginError> {
        let passwords = &self.shared.passwords;
        let is_right = passwords.verify(password.clone(), hash.clone()).await?;
        let (true, Some(user_id), Some(mut password_hash)) = (is_right, user_id, hash) else {
            attempt.failed();
            return Err(LoginError::Wrong);
        };
        attempt.succeeded();
        if passwords.is_outdated(&password_hash) {
            let better = passwords.hash(password).await?;
            let pool = self.shared.database.pool();
            if in_time(sessions::rehash(pool, &user_id, &password_hash, &better)).await? {
                password_hash = better;
            }
        }
        Ok(KnowsPassword { user_id, password_hash })
    }

    /// Starts a session.
    ///
    /// # Errors
    /// [`LoginError::Wrong`] if the password was changed meanwhile.
    pub async fn start_session(
        &self,
        user: &KnowsPassword,
        user_agent: &str,
    ) -> Result<Tokens, LoginError> {
        let environment = &self.shared.environment;
        let session_id = SessionId::parse(&environment.fresh_id());
        let session_id = session_id.map_err(|_| LoginError::Internal)?;
        let (refresh_token, token_hash) = self.fresh_refresh_token()?;
        let end = user_agent.floor_char_boundary(MAX_USER_AGENT_BYTES);
        let new = NewSession {
            session_id: &session_id,
            user_id: &user.user_id,
            password_hash: &user.password_hash,
            token_hash,
            user_agent: &user_agent[..end],
            lifetime: self.shared.settings.session,
            token_lifetime: self.shared.settings.refresh_token,
            requires_second_factor: self.shared.settings.require_second_factor,
        };
        let started = {
            let _turn = self.shared.turns.take().await?;
            in_time(sessions::start(self.shared.database.pool(), new)).await?
        };
        let session = started.ok_or(LoginError::Wrong)?;
        self.tokens(&session, refresh_token)
    }

    /// Exchanges a refresh token for new tokens.
    ///
    /// # Errors
    /// [`LoginError`] if the database fails.
    pub async fn refresh(&self, token: &str) -> Result<Refresh, LoginError> {
        let Some(old_hash) = tokens::refresh_hash(token) else { return Ok(Refresh::Ended) };
        let (refresh_token, new_hash) = self.fresh_refresh_token()?;
        let lifetime = self.shared.settings.refresh_token;
        let pool = self.shared.database.pool();
        let refreshed = {
            let _turn = self.shared.turns.take().await?;
            in_time(sessions::refresh(pool, old_hash, new_hash, lifetime, REUSE)).await?
        };
        match refreshed {
            Refreshed::Exchanged(session) => {
                Ok(Refresh::Exchanged(self.tokens(&session, refresh_token)?))
            }
            Refreshed::Ended => Ok(Refresh::Ended),
            Refreshed::Stolen(session) => Ok(Refresh::Stolen(session)),
        }
    }

    fn tokens(&self, session: &StoredSession, refresh_token: String) -> Result<Tokens, LoginError> {
        let (now, lifetime) = ((self.shared.environment.now)(), self.shared.settings.access_token);
        let (access_token, expire_time) =
            self.shared.sessions.access_token(session, now, lifetime).map_err(|error| {
                tracing::error!(%error, "an access token could not be made");
                LoginError::Internal
            })?;
        let session_id = session.session_id.clone();
        Ok(Tokens { access_token, expire_time, refresh_token, session_id })
    }

    fn fresh_refresh_token(&self) -> Result<(String, [u8; 32]), LoginError> {
        let mut secret = [0; 32];
        (self.shared.environment.random)(&mut secret);
        let token = tokens::refresh_token(secret);
        let hash = tokens::refresh_hash(&token).ok_or(LoginError::Internal)?;
        Ok((token, hash))
    }
}
