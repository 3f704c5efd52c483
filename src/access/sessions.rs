//! Sessions of people: which access tokens are good, and which sessions have ended.
//!
//! No call asks the database. An access token is good until it expires if one of the keys has signed it, unless its
//! session was ended, and the ends of the last hour are remembered: no token lives longer.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::signing::Signing;
use super::tokens::{self, Claims};
use super::{Principal, Role};
use crate::store::{RecordedEvent, StoreError};
use domain::{AnyEvent, SessionsEnded, Timestamp, UserEvent, UserId};

/// How long an access token can live at most, whatever the setting. Ends of sessions are remembered for as long.
pub const MAX_ACCESS_TOKEN: Duration = Duration::from_hours(1);
/// How many verified access tokens are remembered.
const MAX_KNOWN: NonZeroUsize = NonZeroUsize::MIN.saturating_add(20_000);
/// How many ends are remembered before old ones are looked for.
const SWEEP_ENDS: usize = 1_000;

/// A session, as an access token describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub session_id: Arc<str>,
    /// The user.
    pub user_id: UserId,
    /// The user's role.
    pub role: Role,
    /// The head of the log when the session began.
    pub position: i64,
    /// When the access token ends.
    pub(super) token_expire_time: Timestamp,
    /// When the session ends at the latest.
    pub expire_time: Timestamp,
}

impl Session {
    /// Who calls with this session.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let Self { session_id, user_id, role, .. } = self;
        Principal::User { user_id: user_id.clone(), session_id: session_id.clone(), role: *role }
    }
}

/// What is known of sessions.
pub(super) struct Sessions {
    signing: Signing,
    /// The audience of access tokens: this installation.
    audience: String,
    /// By the hash of the access token.
    known: Mutex<LruCache<[u8; 32], Arc<Session>>>,
    ended: Mutex<Ended>,
}

/// The ends of late.
#[derive(Default)]
struct Ended {
    /// By the session's id: when the end can be forgotten.
    sessions: HashMap<Arc<str>, Instant>,
    /// Ends of all sessions but some, by user.
    users: HashMap<UserId, Vec<EndOfAll>>,
    /// The number of ends above which old ones are looked for.
    sweep_at: usize,
}

struct EndOfAll {
    /// Where the log says so. Sessions that began later are others.
    position: i64,
    all_but: Vec<Arc<str>>,
    forget_at: Instant,
}

impl Sessions {
    pub(super) fn new(signing: Signing, audience: String) -> Self {
        let known = Mutex::new(LruCache::new(MAX_KNOWN));
        Self { signing, audience, known, ended: Mutex::default() }
    }

    /// The session of an access token; `None` if the token is not good. Whether the session was ended is not judged
    /// here.
    pub(super) fn of(&self, token: &str, now: Timestamp) -> Option<Arc<Session>> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = self.known().get(&hash).cloned();
        let session = if let Some(session) = known {
            session
        } else {
            let session = Arc::new(self.read(token)?);
            self.known().put(hash, session.clone());
            session
        };
        (now < session.token_expire_time).then_some(session)
    }

    fn read(&self, token: &str) -> Option<Session> {
        let claims = tokens::read(&self.signing.keys(), token)?;
        if claims.iss != tokens::ISSUER || claims.aud != self.audience {
            return None;
        }
        let seconds = |seconds: i64| Timestamp(seconds.saturating_mul(Timestamp::PER_SECOND));
        Some(Session {
            session_id: claims.sid.into(),
            user_id: UserId::parse(&claims.sub).ok()?,
            role: Role::parse(&claims.role)?,
            position: claims.pos,
            token_expire_time: seconds(claims.exp),
            expire_time: seconds(claims.end),
        })
    }

    /// An access token of a session, which is good for some time, and when it ends.
    ///
    /// # Errors
    /// If the claims cannot be serialized.
    pub(super) fn access_token(
        &self,
        session: &crate::store::sessions::StoredSession,
        now: Timestamp,
        lifetime: Duration,
    ) -> serde_json::Result<(String, Timestamp)> {
        let seconds = |time: Timestamp| time.0.div_euclid(Timestamp::PER_SECOND);
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(0);
        let end = seconds(session.expire_time);
        let exp = seconds(now).saturating_add(lifetime).min(end);
        let claims = Claims {
            iss: tokens::ISSUER.into(),
            aud: self.audience.clone(),
            sub: session.user_id.to_string(),
            sid: session.session_id.to_string(),
            role: session.role.clone(),
            iat: seconds(now),
            exp,
            pos: session.position,
            end,
        };
        let token = tokens::sign(&self.signing.keys(), &claims)?;
        Ok((token, Timestamp(exp.saturating_mul(Timestamp::PER_SECOND))))
    }

    /// Forgets which tokens were verified, because the keys have changed.
    pub(super) fn forget_known(&self) {
        self.known().clear();
    }

    /// Whether a session was ended, as far as is known here.
    pub(super) fn has_ended(&self, session: &Session) -> bool {
        let ended = self.ended();
        ended.sessions.contains_key(&session.session_id)
            || ended.users.get(&session.user_id).is_some_and(|ends| {
                ends.iter().any(|end| {
                    session.position < end.position && !end.all_but.contains(&session.session_id)
                })
            })
    }

    /// Remembers that a session was ended.
    pub(super) fn end(&self, session_id: Arc<str>) {
        let mut ended = self.ended();
        ended.sessions.insert(session_id, Instant::now() + MAX_ACCESS_TOKEN);
        ended.sweep();
    }

    /// Learns from an event which sessions were ended. Returns whether the event is about that.
    ///
    /// # Errors
    /// [`StoreError`] if the event cannot be read.
    pub(super) fn learn(&self, event: &RecordedEvent) -> Result<bool, StoreError> {
        if &*event.event_type != "UserSessionsEnded" {
            return Ok(false);
        }
        let Some(AnyEvent::User(UserEvent::UserSessionsEnded(ends))) = event.read_if_known()?
        else {
            return Ok(false);
        };
        let ids = |ids: Vec<domain::SessionId>| ids.into_iter().map(|id| Arc::from(id.as_str()));
        match ends.sessions {
            SessionsEnded::These(sessions) => ids(sessions).for_each(|id| self.end(id)),
            SessionsEnded::AllBut(sessions) => {
                let Ok(user_id) = UserId::parse(&event.stream.id) else { return Ok(false) };
                let end = EndOfAll {
                    position: event.position,
                    all_but: ids(sessions).collect(),
                    forget_at: Instant::now() + MAX_ACCESS_TOKEN,
                };
                let mut ended = self.ended();
                let ends = ended.users.entry(user_id).or_default();
                // A server hears of an end that it caused itself twice.
                if ends.iter().all(|known| known.position != end.position) {
                    ends.push(end);
                }
                ended.sweep();
            }
        }
        Ok(true)
    }

    fn known(&self) -> MutexGuard<'_, LruCache<[u8; 32], Arc<Session>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ended {
    /// Forgets ends that concern no token any more, once many are remembered.
    fn sweep(&mut self) {
        if self.sessions.len() + self.users.len() < self.sweep_at.max(SWEEP_ENDS) {
            return;
        }
        let now = Instant::now();
        self.sessions.retain(|_, forget_at| *forget_at > now);
        self.users.retain(|_, ends| {
            ends.retain(|end| end.forget_at > now);
            !ends.is_empty()
        });
        self.sweep_at = 2 * (self.sessions.len() + self.users.len());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::super::signing::SigningKeys;
    use super::*;
    use crate::engine::Environment;
    use crate::store::sessions::StoredSession;
    use domain::{Kind, SessionId, StreamKey};

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn sessions(audience: &str, keys: SigningKeys) -> Sessions {
        Sessions::new(Signing::new(keys), audience.into())
    }

    fn keys() -> SigningKeys {
        SigningKeys::fresh(&Environment::of_this_machine().unwrap()).unwrap()
    }

    fn stored(session_id: &str, user_id: &str, position: i64) -> StoredSession {
        StoredSession {
            session_id: SessionId::parse(session_id).unwrap(),
            user_id: UserId::parse(user_id).unwrap(),
            role: "user".into(),
            position,
            expire_time: NOW.plus_seconds(3_600),
        }
    }

    fn token(sessions: &Sessions, stored: &StoredSession) -> String {
        sessions.access_token(stored, NOW, Duration::from_mins(15)).unwrap().0
    }

    /// An event about the end of sessions of ana.
    fn event(position: i64, payload: &str) -> RecordedEvent {
        RecordedEvent {
            position,
            recorded_at: NOW,
            stream: StreamKey { kind: Kind::User, id: "ana".into() },
            sequence: position,
            event_type: "UserSessionsEnded".into(),
            event_version: "1.0.0".into(),
            payload: format!(r#"{{"type":"UserSessionsEnded","sessions":{payload}}}"#).into(),
            command_events: None,
            envelope: None,
        }
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_for_its_installation_only() {
        let sessions = sessions("here", keys());
        let mut stored = stored("s1", "ana", 7);
        let access = token(&sessions, &stored);
        for _ in 0..2 {
            let session = sessions.of(&access, NOW).unwrap();
            assert_eq!((&*session.session_id, session.position), ("s1", 7));
            assert!(sessions.of(&access, NOW.plus_seconds(899)).is_some());
            assert!(sessions.of(&access, NOW.plus_seconds(900)).is_none());
        }
        // No token outlives its session.
        stored.expire_time = NOW.plus_seconds(60);
        let access = token(&sessions, &stored);
        assert!(sessions.of(&access, NOW.plus_seconds(60)).is_none());
        let keys = SigningKeys::fresh_pem(&Environment::of_this_machine().unwrap());
        let path = std::env::temp_dir().join(format!("tributary-keys-{}", std::process::id()));
        std::fs::write(&path, keys).unwrap();
        let of = |audience| self::sessions(audience, SigningKeys::read(&path).unwrap());
        let (here, there) = (of("here"), of("there"));
        let access = token(&here, &stored);
        assert!(of("here").of(&access, NOW).is_some());
        assert!(there.of(&access, NOW).is_none());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_end_of_all_sessions_spares_those_that_it_names_and_those_that_began_later() {
        let sessions = sessions("here", keys());
        let of = |id: &str, user: &str, position| {
            let token = token(&sessions, &stored(id, user, position));
            sessions.of(&token, NOW).unwrap()
        };
        let (first, kept, later) = (of("s1", "ana", 5), of("s2", "ana", 5), of("s3", "ana", 10));
        let others = of("s4", "bob", 5);
        let ended = |session: &Session| sessions.has_ended(session);
        assert!(sessions.learn(&event(10, r#"{"all_but":["s2"]}"#)).unwrap());
        assert_eq!(
            [&first, &kept, &later, &others].map(|one| ended(one)),
            [true, false, false, false]
        );
        assert!(sessions.learn(&event(11, r#"{"these":["s3"]}"#)).unwrap());
        assert_eq!(
            [&first, &kept, &later, &others].map(|one| ended(one)),
            [true, false, true, false]
        );
        assert!(sessions.learn(&event(12, r#"{"all_but":[]}"#)).unwrap());
        assert_eq!(
            [&first, &kept, &later, &others].map(|one| ended(one)),
            [true, true, true, false]
        );
        let other = RecordedEvent { event_type: "UserRegistered".into(), ..event(13, "{}") };
        assert!(!sessions.learn(&other).unwrap());
    }
}
