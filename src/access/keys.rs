//! API keys: which caller a key belongs to. Keys that were seen are remembered, and so are keys that are unknown, so
//! that no caller makes the database answer for each call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::generations::Generations;
pub use super::key_text::PREFIX;
use super::key_text::{hash_of, is_well_formed};
use super::{Caller, Credential, KeyLimits, Principal, Role, Unavailable};
use crate::engine::Environment;
use crate::store::api_keys::KnownKey;
use crate::store::{Database, RecordedEvent, StoreError, api_keys, in_time};
use domain::{AnyEvent, ApiKeyEvent, KeyRole, SessionsEnded, Timestamp, UserEvent, UserId};

/// Keys that are remembered: some 300 bytes each.
const MAX_KNOWN: usize = 100_000;
/// Unknown keys that are remembered: some 50 bytes each. Anybody can make unknown keys whose checksum holds.
const MAX_UNKNOWN: usize = 100_000;
/// Keys that are looked up in the database at a time, so that unknown keys leave connections to others.
const MAX_LOOKUPS: usize = 2;
/// How often the use of one key is recorded, in microseconds.
const USE_INTERVAL_US: i64 = 60 * Timestamp::PER_SECOND;
/// How often recorded uses are written.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// The SHA-256 of a key.
type Hash = [u8; 32];

/// A key that was found.
struct Entry {
    key_id: Arc<str>,
    caller: Caller,
    expire_time: Option<Timestamp>,
    /// The person with whose role the key ends.
    creator_user_id: Option<UserId>,
    /// When its use was recorded last, in microseconds since 1970.
    recorded_use: AtomicI64,
}

/// What is remembered of a key.
#[derive(Clone)]
enum Recalled {
    /// The key.
    Known(Arc<Entry>),
    /// That the key with this id was revoked.
    Revoked(Arc<str>),
    /// That there is no such key.
    Unknown,
}

/// In how many calls a key was refused that are not written yet, and when last.
#[derive(Clone, Copy)]
struct Refused {
    calls: i64,
    last: Timestamp,
}

/// Knows API keys. Those that were seen are remembered.
pub(super) struct Keys {
    database: Database,
    environment: Environment,
    remembered: Mutex<Remembered>,
    /// How many keys have ended since the start. A key that was read from the database while one ended is read again.
    ended: AtomicU64,
    lookups: Semaphore,
    /// The uses that are to be written.
    uses: Mutex<HashMap<Arc<str>, Timestamp>>,
    /// The refusals that are to be written: of keys that exist, so there are no more of them than keys.
    refusals: Mutex<HashMap<Arc<str>, Refused>>,
}

struct Remembered {
    known: Generations<Hash, Arc<Entry>>,
    /// Keys that are good for nothing, with their ids if they were revoked.
    unknown: Generations<Hash, Option<Arc<str>>>,
    /// Keys that have ended of late, by their ids: calls and streams may have begun with them a moment before.
    ended: Generations<Arc<str>, ()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a single step, so a panic leaves the content usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keys {
    pub(super) fn new(database: Database, environment: Environment) -> Self {
        let remembered = Remembered {
            known: Generations::new(MAX_KNOWN),
            unknown: Generations::new(MAX_UNKNOWN),
            ended: Generations::new(MAX_UNKNOWN),
        };
        Self {
            database,
            environment,
            remembered: Mutex::new(remembered),
            ended: AtomicU64::new(0),
            lookups: Semaphore::new(MAX_LOOKUPS),
            uses: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// The caller with a key; `None` if it is mistyped, unknown or has ended.
    pub(super) async fn identify(&self, key: &str) -> Result<Option<Caller>, Unavailable> {
        if !is_well_formed(key) {
            return Ok(None);
        }
        let hash = hash_of(key);
        let found = match self.recall(&hash) {
            Some(found) => found,
            None => self.look_up(hash).await?,
        };
        let entry = match found {
            Recalled::Known(entry) => entry,
            Recalled::Revoked(key_id) => {
                self.note_refusal(&key_id);
                return Ok(None);
            }
            Recalled::Unknown => return Ok(None),
        };
        let now = (self.environment.now)();
        if entry.expire_time.is_some_and(|end| end <= now) {
            self.note_refusal(&entry.key_id);
            return Ok(None);
        }
        self.note_use(&entry, now);
        Ok(Some(entry.caller.clone()))
    }

    /// What is remembered of a key; `None` if nothing is.
    fn recall(&self, hash: &Hash) -> Option<Recalled> {
        let mut remembered = lock(&self.remembered);
        match remembered.known.get(hash) {
            Some(entry) => Some(Recalled::Known(entry)),
            None => remembered.unknown.get(hash).map(|revoked| match revoked {
                Some(key_id) => Recalled::Revoked(key_id),
                None => Recalled::Unknown,
            }),
        }
    }

    async fn look_up(&self, hash: Hash) -> Result<Recalled, Unavailable> {
        // The semaphore is never closed.
        let _turn = self.lookups.acquire().await;
        loop {
            // Somebody else may have looked it up meanwhile.
            if let Some(found) = self.recall(&hash) {
                return Ok(found);
            }
            let ended = self.ended.load(Ordering::SeqCst);
            let found = in_time(api_keys::of_hash(self.database.pool(), &hash)).await;
            let found = found.map_err(|error| {
                tracing::warn!(%error, "an API key could not be looked up");
                Unavailable
            })?;
            let found = match found {
                Some(key) if key.revoke_time.is_some() => Recalled::Revoked(key.key_id.into()),
                Some(key) => Recalled::Known(Arc::new(Entry::from(key))),
                None => Recalled::Unknown,
            };
            let mut remembered = lock(&self.remembered);
            if self.ended.load(Ordering::SeqCst) != ended {
                continue;
            }
            match &found {
                Recalled::Known(entry) => remembered.known.insert(hash, entry.clone()),
                Recalled::Revoked(key_id) => remembered.unknown.insert(hash, Some(key_id.clone())),
                Recalled::Unknown => remembered.unknown.insert(hash, None),
            }
            return Ok(found);
        }
    }

    /// Learns from an event of the log which key has ended. Returns whether the event is about that.
    ///
    /// # Errors
    /// [`StoreError`] if the event cannot be read.
    pub(super) fn learn(&self, event: &RecordedEvent) -> Result<bool, StoreError> {
        const ENDS: &[&str] =
            &["ApiKeyRevoked", "UserSessionsEnded", "UserRoleChanged", "UserErased"];
        if !ENDS.contains(&&*event.event_type) {
            return Ok(false);
        }
        match event.read_if_known()? {
            Some(AnyEvent::ApiKey(ApiKeyEvent::ApiKeyRevoked(_))) => {
                let key_id = &event.stream.id;
                self.end(|entry| entry.key_id == *key_id);
                lock(&self.remembered).ended.insert(key_id.clone(), ());
            }
            // The keys of a user end with all sessions of the user.
            Some(AnyEvent::User(UserEvent::UserSessionsEnded(ended)))
                if ended.sessions == SessionsEnded::ALL =>
            {
                self.end(|entry| {
                    let user_id = entry.caller.principal.user_id();
                    user_id.is_some_and(|user_id| *user_id.as_str() == *event.stream.id)
                });
            }
            // The keys of back ends that a person created end with the person's role.
            Some(AnyEvent::User(UserEvent::UserRoleChanged(_) | UserEvent::UserErased(_))) => {
                self.end(|entry| {
                    let creator = entry.creator_user_id.as_ref();
                    creator.is_some_and(|creator| *creator.as_str() == *event.stream.id)
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Forgets keys that have ended, so that they are looked up again and found ended.
    fn end(&self, has_ended: impl Fn(&Entry) -> bool) {
        let mut remembered = lock(&self.remembered);
        self.ended.fetch_add(1, Ordering::SeqCst);
        let mut ended = Vec::new();
        remembered.known.retain(|_, entry| {
            let has_ended = has_ended(entry);
            if has_ended {
                ended.push(entry.key_id.clone());
            }
            !has_ended
        });
        for key_id in ended {
            remembered.ended.insert(key_id, ());
        }
    }

    /// Whether a key was revoked, as far as is known here.
    pub(super) fn has_ended(&self, key_id: &Arc<str>) -> bool {
        lock(&self.remembered).ended.get(key_id).is_some()
    }

    /// Notes that a key was used, unless that was noted within the last minute.
    fn note_use(&self, entry: &Entry, now: Timestamp) {
        let recorded = entry.recorded_use.load(Ordering::Relaxed);
        if now.0.saturating_sub(recorded) < USE_INTERVAL_US {
            return;
        }
        let won = entry.recorded_use.compare_exchange(
            recorded,
            now.0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if won.is_ok() {
            lock(&self.uses).insert(entry.key_id.clone(), now);
        }
    }

    /// Counts a call in which the key with this id, which exists, was refused.
    pub(super) fn note_refusal(&self, key_id: &Arc<str>) {
        let last = (self.environment.now)();
        self.add_refusals(key_id.clone(), Refused { calls: 1, last });
    }

    fn add_refusals(&self, key_id: Arc<str>, more: Refused) {
        let mut refusals = lock(&self.refusals);
        let refused = refusals.entry(key_id).or_insert(Refused { calls: 0, last: more.last });
        refused.calls = refused.calls.saturating_add(more.calls);
        refused.last = refused.last.max(more.last);
    }

    /// Writes in how many calls keys were refused. What could not be written is written the next time.
    async fn write_refusals(&self) {
        let refusals = std::mem::take(&mut *lock(&self.refusals));
        if refusals.is_empty() {
            return;
        }
        let rows: Vec<(String, i64, Timestamp)> = refusals
            .iter()
            .map(|(key_id, refused)| (key_id.to_string(), refused.calls, refused.last))
            .collect();
        let written = api_keys::record_refusals(self.database.pool(), &rows);
        if let Err(error) = in_time(written).await {
            tracing::debug!(%error, "refused calls of API keys could not be recorded yet");
            for (key_id, more) in refusals {
                self.add_refusals(key_id, more);
            }
        }
    }

    /// Writes the uses and the refusals of keys from time to time, and once more at the end.
    pub(super) async fn write_uses(&self, stop: CancellationToken) {
        loop {
            let is_last =
                stop.run_until_cancelled(tokio::time::sleep(WRITE_INTERVAL)).await.is_none();
            let uses = std::mem::take(&mut *lock(&self.uses));
            if !uses.is_empty() {
                let uses: Vec<(String, Timestamp)> =
                    uses.into_iter().map(|(key_id, time)| (key_id.to_string(), time)).collect();
                let written = api_keys::record_uses(self.database.pool(), &uses);
                if let Err(error) = in_time(written).await {
                    tracing::debug!(%error, "the uses of API keys could not be recorded");
                }
            }
            self.write_refusals().await;
            if is_last {
                return;
            }
        }
    }
}

impl From<KnownKey> for Entry {
    fn from(key: KnownKey) -> Self {
        let id: Arc<str> = key.key_id.into();
        let limits = KeyLimits { rpcs: key.rpcs, program_ids: key.program_ids };
        let principal = Principal::Key {
            id: Some(id.clone()),
            role: match key.role {
                KeyRole::Admin => Role::Admin,
                KeyRole::Service => Role::Service,
                KeyRole::User => Role::User,
            },
            user_id: key.user_id,
            limits: (limits != KeyLimits::default()).then(|| Arc::new(limits)),
        };
        let credential = Credential::Key { key_id: id.clone(), expire_time: key.expire_time };
        Self {
            key_id: id,
            caller: Caller { principal, credential },
            expire_time: key.expire_time,
            creator_user_id: key.creator_user_id,
            recorded_use: AtomicI64::new(key.last_use_time.map_or(0, |time| time.0)),
        }
    }
}
