//! Streams in memory, as they stood after the last batch that touched them, the least recently used first out.
//!
//! Users and participants that have not been used for a while are packed, into some hundred bytes each instead of
//! several times that: what counts is how many of them need not be loaded.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::{AnyAggregate, Kind, Participant, StreamKey, User};
use crate::store::Loaded;

/// A stream, and the end of the log as of which it is known to be the whole stream.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) loaded: Loaded,
    pub(super) at: i64,
}

/// How many streams stay as they are. Those that every batch needs must not be packed for each.
const MOST_UNPACKED: usize = 20_000;

pub(super) struct Cache {
    recent: LruCache<StreamKey, Seen>,
    /// Those that were recent.
    others: LruCache<Fingerprint, Entry>,
    hashers: [RandomState; 2],
}

/// What stands for a key: two hashes of it, by secrets of this process. Among ten million keys, the chance that
/// two have the same is one in 2^82.
type Fingerprint = [u64; 2];

/// Far more than a user in a few programs, or a participant, takes.
const MOST_PACKED_BYTES: usize = 1024;

enum Entry {
    Packed(Box<[u8]>),
    /// Of kinds of which there are few, or unusually large.
    Whole(Box<Seen>),
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        let size = |of: usize| NonZeroUsize::new(of).unwrap_or(NonZeroUsize::MIN);
        Self {
            recent: LruCache::new(size(capacity.min(MOST_UNPACKED))),
            others: LruCache::new(size(capacity.saturating_sub(MOST_UNPACKED))),
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    pub(super) fn get(&mut self, key: &StreamKey) -> Option<Seen> {
        if let Some(seen) = self.recent.get(key) {
            return Some(seen.clone());
        }
        let fingerprint = self.fingerprint(key);
        match self.others.get(&fingerprint)? {
            Entry::Packed(bytes) => unpack(key.kind, bytes),
            Entry::Whole(seen) => Some(Seen::clone(seen)),
        }
    }

    pub(super) fn contains(&self, key: &StreamKey) -> bool {
        self.recent.contains(key) || self.others.contains(&self.fingerprint(key))
    }

    pub(super) fn put(&mut self, key: StreamKey, seen: Seen) {
        if let Some(known) = self.recent.get_mut(&key) {
            *known = seen;
            return;
        }
        // It must not be there twice, and perhaps differently.
        self.others.pop(&self.fingerprint(&key));
        if let Some((key, seen)) = self.recent.push(key, seen) {
            let entry = pack(&seen).map_or_else(|| Entry::Whole(Box::new(seen)), Entry::Packed);
            self.others.put(self.fingerprint(&key), entry);
        }
    }

    pub(super) fn remove(&mut self, key: &StreamKey) {
        self.recent.pop(key);
        self.others.pop(&self.fingerprint(key));
    }

    fn fingerprint(&self, key: &StreamKey) -> Fingerprint {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }
}

/// The bytes of a user or a participant.
fn pack(
    Seen { loaded: Loaded { state, version, snapshot_version }, at }: &Seen,
) -> Option<Box<[u8]>> {
    fn bytes(positions: [i64; 3], state: &impl Serialize) -> Option<Box<[u8]>> {
        let mut buffer = [0; MOST_PACKED_BYTES];
        let packed = postcard::to_slice(&(positions, state), &mut buffer).ok()?;
        Some(Box::from(&*packed))
    }
    let positions = [*version, *snapshot_version, *at];
    match state {
        AnyAggregate::User(user) => bytes(positions, &**user),
        AnyAggregate::Participant(participant) => bytes(positions, &**participant),
        AnyAggregate::Program(_) | AnyAggregate::Purchase(_) => None,
    }
}

fn unpack(kind: Kind, bytes: &[u8]) -> Option<Seen> {
    fn parts<State: DeserializeOwned>(bytes: &[u8]) -> Option<([i64; 3], Arc<State>)> {
        let (positions, state): (_, State) = postcard::from_bytes(bytes).ok()?;
        Some((positions, Arc::new(state)))
    }
    let ([version, snapshot_version, at], state) = match kind {
        Kind::User => {
            let (positions, user) = parts::<User>(bytes)?;
            (positions, AnyAggregate::User(user))
        }
        Kind::Participant => {
            let (positions, participant) = parts::<Participant>(bytes)?;
            (positions, AnyAggregate::Participant(participant))
        }
        Kind::Program | Kind::Purchase => return None,
    };
    Some(Seen { loaded: Loaded { state, version, snapshot_version }, at })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::domain::Stream;
    use crate::store::load::empty_state;

    fn key(kind: Kind, id: &str) -> StreamKey {
        StreamKey { kind, id: id.into() }
    }

    fn seen(state: AnyAggregate, version: i64) -> Seen {
        Seen { loaded: Loaded { state, version, snapshot_version: version - 1 }, at: version + 7 }
    }

    /// A participant about whom everything is known that can be.
    fn participant() -> Participant {
        serde_json::from_value(serde_json::json!({
            "program_id": "p",
            "user_id": "ada",
            "code": "ADA2345",
            "inactive": true,
            "reactivate_time": -1,
            "referral": {"referrer_user_id": "bob", "status": "held", "referral_time": 5},
            "uses": 6,
            "has_referred": true,
            "first_purchase_used": true,
            "levels": [
                {"level": 1, "total_minor": i64::MAX, "count": u32::MAX},
                {"level": 2, "total_minor": 0, "count": 1},
            ],
            "total_minor": i64::MAX,
            "balance_minor": i64::MIN,
            "tier": "gold",
        }))
        .unwrap()
    }

    #[test]
    fn what_was_put_comes_back_whole_also_when_it_has_been_packed() {
        let participant = participant();
        assert_ne!(participant, Participant::default());
        for others in [0, MOST_UNPACKED] {
            let mut cache = Cache::new(MOST_UNPACKED + 10);
            let state = Participant::into_any(Arc::new(participant.clone()));
            cache.put(key(Kind::Participant, "p/ada"), seen(state, i64::MAX - 7));
            for kind in Kind::ALL {
                cache.put(key(kind, "empty"), seen(empty_state(kind), 3));
            }
            for number in 0..others {
                let key = key(Kind::User, &number.to_string());
                cache.put(key, seen(empty_state(Kind::User), 1));
            }
            let found = cache.get(&key(Kind::Participant, "p/ada")).unwrap();
            assert_eq!(found.at, i64::MAX);
            let versions = (found.loaded.version, found.loaded.snapshot_version);
            assert_eq!(versions, (i64::MAX - 7, i64::MAX - 8));
            let AnyAggregate::Participant(same) = found.loaded.state else { unreachable!() };
            assert_eq!(*same, participant);
            for kind in Kind::ALL {
                assert!(cache.contains(&key(kind, "empty")));
                assert_eq!(cache.get(&key(kind, "empty")).unwrap().at, 10);
            }
            cache.remove(&key(Kind::User, "empty"));
            assert!(cache.get(&key(Kind::User, "empty")).is_none());
            assert!(cache.get(&key(Kind::User, "p/ada")).is_none());
        }
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_newest_counts() {
        let mut cache = Cache::new(MOST_UNPACKED + 2);
        let user = |number: usize| key(Kind::User, &number.to_string());
        for number in 0..MOST_UNPACKED + 2 {
            cache.put(user(number), seen(empty_state(Kind::User), 1));
        }
        // The first two are packed, and one of them is used.
        cache.get(&user(0)).unwrap();
        cache.put(user(MOST_UNPACKED + 2), seen(empty_state(Kind::User), 1));
        assert_eq!([0, 1, 2].map(|number| cache.contains(&user(number))), [true, false, true]);
        cache.put(user(0), seen(empty_state(Kind::User), 9));
        for number in 0..MOST_UNPACKED {
            assert_eq!(cache.get(&user(0)).unwrap().loaded.version, 9);
            cache.put(user(MOST_UNPACKED * 2 + number), seen(empty_state(Kind::User), 1));
        }
        assert_eq!(cache.get(&user(0)).unwrap().loaded.version, 9);
    }
}
