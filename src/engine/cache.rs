//! Streams in memory, in the state after the last batch that touched them. The least recently used are evicted
//! first.
//!
//! Users and participants that have not been used for a while are packed into some hundred bytes each, instead of
//! several times that, so that as many as possible need not be loaded.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;

use hashbrown::HashTable;
use lru::LruCache;

use crate::store::Loaded;
use domain::{CachePolicy, Stream, StreamKey, with_kind, with_state};

/// A stream, and the end of the log at which this state is known to be current.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) loaded: Loaded,
    pub(super) at: i64,
}

/// How many streams stay unpacked. Streams that every batch needs must not be unpacked for each batch.
const MOST_UNPACKED: usize = 20_000;

pub(super) struct Cache {
    recent: LruCache<StreamKey, Seen>,
    /// Streams that were used earlier. A stream that became recent again may have a stale entry here; stale
    /// entries are ignored, and replaced when the stream is packed again.
    packed: Packed,
    hashers: [RandomState; 2],
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        let unpacked = NonZeroUsize::new(capacity.min(MOST_UNPACKED)).unwrap_or(NonZeroUsize::MIN);
        Self::with(unpacked, capacity.saturating_sub(MOST_UNPACKED))
    }

    fn with(unpacked: NonZeroUsize, packed: usize) -> Self {
        Self {
            recent: LruCache::new(unpacked),
            packed: Packed::new(packed),
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    pub(super) fn get(&mut self, key: &StreamKey) -> Option<Seen> {
        if let Some(seen) = self.recent.get(key) {
            return Some(seen.clone());
        }
        unpack(key, self.packed.get(self.fingerprint(key))?)
    }

    pub(super) fn contains(&self, key: &StreamKey) -> bool {
        self.recent.contains(key) || self.packed.find(self.fingerprint(key)).is_some()
    }

    pub(super) fn put(&mut self, key: StreamKey, seen: Seen) {
        if let Some(known) = self.recent.get_mut(&key) {
            *known = seen;
            return;
        }
        if let Some((key, seen)) = self.recent.push(key, seen) {
            let fingerprint = self.fingerprint(&key);
            match pack(&seen) {
                Some(bytes) => self.packed.put(fingerprint, bytes),
                None => self.packed.remove(fingerprint),
            }
        }
    }

    /// Like [`Cache::get`], but the stream does not count as used.
    pub(super) fn peek(&self, key: &StreamKey) -> Option<Seen> {
        if let Some(seen) = self.recent.peek(key) {
            return Some(seen.clone());
        }
        unpack(key, self.packed.peek(self.fingerprint(key))?)
    }

    /// Replaces the state of a stream, if the stream is here. It does not count as used, and no other is evicted.
    pub(super) fn refresh(&mut self, key: &StreamKey, seen: Seen) {
        if let Some(known) = self.recent.peek_mut(key) {
            *known = seen;
            return;
        }
        let fingerprint = self.fingerprint(key);
        match pack(&seen) {
            Some(bytes) => self.packed.replace(fingerprint, bytes),
            None => self.packed.remove(fingerprint),
        }
    }

    pub(super) fn remove(&mut self, key: &StreamKey) {
        self.recent.pop(key);
        self.packed.remove(self.fingerprint(key));
    }

    /// Forgets all streams.
    pub(super) fn clear(&mut self) {
        self.recent.clear();
        self.packed.clear();
    }

    fn fingerprint(&self, key: &StreamKey) -> Fingerprint {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }
}

/// Represents a key: two hashes of it, keyed with secrets of this process. Among ten million keys, the chance
/// that two have the same fingerprint is one in 2^82.
type Fingerprint = [u64; 2];

/// Bytes under fingerprints. When the cache is full, a hand goes around the slots. It spares each slot that was
/// used since it last came by, and evicts the first that was not (the CLOCK algorithm of Corbató, 1968). This
/// approximates LRU without the two links per entry that a list needs.
struct Packed {
    capacity: usize,
    slots: Vec<Slot>,
    /// The index in `slots` of each fingerprint.
    places: HashTable<u32>,
    hand: usize,
}

struct Slot {
    fingerprint: Fingerprint,
    bytes: Box<[u8]>,
    is_used: bool,
}

impl Packed {
    fn new(capacity: usize) -> Self {
        let capacity = capacity.min(u32::MAX as usize);
        // The full capacity is reserved at the start, which costs nothing until it is used: growing later
        // would delay every command.
        Self {
            capacity,
            slots: Vec::with_capacity(capacity),
            places: HashTable::with_capacity(capacity),
            hand: 0,
        }
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.places.clear();
        self.hand = 0;
    }

    fn find(&self, fingerprint: Fingerprint) -> Option<usize> {
        let is_it = |place: &u32| self.slots[*place as usize].fingerprint == fingerprint;
        self.places.find(fingerprint[0], is_it).map(|place| *place as usize)
    }

    fn get(&mut self, fingerprint: Fingerprint) -> Option<&[u8]> {
        let place = self.find(fingerprint)?;
        let slot = &mut self.slots[place];
        slot.is_used = true;
        Some(&slot.bytes)
    }

    fn peek(&self, fingerprint: Fingerprint) -> Option<&[u8]> {
        self.find(fingerprint).map(|place| &*self.slots[place].bytes)
    }

    /// Replaces the bytes, if there are any.
    fn replace(&mut self, fingerprint: Fingerprint, bytes: Box<[u8]>) {
        if let Some(place) = self.find(fingerprint) {
            self.slots[place].bytes = bytes;
        }
    }

    fn put(&mut self, fingerprint: Fingerprint, bytes: Box<[u8]>) {
        let slot = Slot { fingerprint, bytes, is_used: false };
        if let Some(place) = self.find(fingerprint) {
            self.slots[place] = Slot { is_used: true, ..slot };
        } else if self.slots.len() < self.capacity {
            self.enter(fingerprint, self.slots.len());
            self.slots.push(slot);
        } else if let Some(place) = self.make_room() {
            self.enter(fingerprint, place);
            self.slots[place] = slot;
        }
    }

    fn remove(&mut self, fingerprint: Fingerprint) {
        if let Some(place) = self.find(fingerprint) {
            self.forget(place);
            // The slot is reused for another stream.
            self.slots[place].bytes = Box::default();
            self.slots[place].is_used = false;
        }
    }

    /// Evicts the entry of a slot that has not been used for long, and returns the slot's index; `None` if
    /// there are no slots.
    fn make_room(&mut self) -> Option<usize> {
        loop {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.capacity.max(1);
            let slot = self.slots.get_mut(place)?;
            if !std::mem::take(&mut slot.is_used) {
                self.forget(place);
                return Some(place);
            }
        }
    }

    fn enter(&mut self, fingerprint: Fingerprint, place: usize) {
        let Self { slots, places, .. } = self;
        #[allow(clippy::cast_possible_truncation, reason = "there are no more than fit")]
        let place = place as u32;
        places.insert_unique(fingerprint[0], place, |other| slots[*other as usize].fingerprint[0]);
    }

    fn forget(&mut self, place: usize) {
        let hash = self.slots[place].fingerprint[0];
        if let Ok(entry) = self.places.find_entry(hash, |other| *other as usize == place) {
            entry.remove();
        }
    }
}

/// Packs a state into bytes.
fn pack(
    Seen { loaded: Loaded { state, version, snapshot_version }, at }: &Seen,
) -> Option<Box<[u8]>> {
    if state.kind().cache() != CachePolicy::Packed {
        return None;
    }
    let positions = [*version, *snapshot_version, *at];
    let packed = with_state!(state, state => postcard::to_allocvec(&(positions, &**state))).ok()?;
    // A copy of exactly the needed size: the vector has spare capacity, and shrinking it may not give that
    // memory back.
    Some(Box::from(&*packed))
}

/// Unpacks a state. `None` if the bytes cannot be read; the stream is then loaded again.
fn unpack(key: &StreamKey, bytes: &[u8]) -> Option<Seen> {
    let ([version, snapshot_version, at], state) = with_kind!(key.kind, A => {
        let (positions, state) = postcard::from_bytes::<([i64; 3], A)>(bytes).ok()?;
        (positions, A::into_any(Arc::new(state)))
    });
    Some(Seen { loaded: Loaded { state, version, snapshot_version }, at })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use domain::{AnyAggregate, Kind, Participant, User};

    fn key(kind: Kind, id: &str) -> StreamKey {
        StreamKey { kind, id: id.into() }
    }

    fn seen(state: AnyAggregate, version: i64) -> Seen {
        Seen { loaded: Loaded { state, version, snapshot_version: version - 1 }, at: version + 7 }
    }

    /// A participant with every field set.
    fn participant() -> Participant {
        serde_json::from_value(serde_json::json!({
            "code": "ADA2345",
            "inactive": true,
            "erased": false,
            "reactivate_time": -1,
            "referral": {
                "referrer_user_id": "bob",
                "status": "held",
                "hold_reasons": ["review"],
                "flags": [{"flag_id": "flag", "rejects": true, "takes_back": true}],
                "referral_time": 5,
                "release_time": 7,
                "made_while_inactive": true,
                "converted_while_inactive": false,
                "converted_by_itself": true,
                "rewards": [{
                    "earner_user_id": "bob", "level": 1, "amount_minor": 10, "sequence": 3,
                    "reversed_minor": 2, "pending_minor": 1, "release_time": 9, "is_held": true,
                    "lot": 11,
                }],
                "program_version": 2,
                "rejected_from_level": 2,
            },
            "has_referred": true,
            "tier_referrals": {"made": 3, "converted": u32::MAX},
            "tier_points": i64::MAX,
            "tier_version": 3,
            "tier_pot": {"disputed": 2, "held_minor": i64::MAX},
            "tier_pending_minor": 5,
            "first_purchase": "order-1",
            "first_enough": null,
            "levels": [
                {"level": 1, "total_minor": i64::MAX, "count": u32::MAX},
                {"level": 2, "total_minor": 0, "count": 1},
            ],
            "referrals": {"pending": 1, "held": 2, "converted": u32::MAX},
            "buckets": {"pending": i64::MIN, "available": 7, "earned": i64::MAX, "expired": -1},
            "lots": [{"expire_time": 11, "amount_minor": 7}],
            "tier": "gold",
            "redeemed": [{"item_id": "mug", "count": 2}],
        }))
        .unwrap()
    }

    #[test]
    fn what_was_put_comes_back_whole_also_when_it_has_been_packed() {
        let participant = participant();
        assert_ne!(participant, Participant::default());
        let user: User = serde_json::from_value(serde_json::json!({
            "status": "inactive", "register_time": 1, "programs": ["p", "q"], "password_changes": 2,
            "profile": {
                "version": 3, "asked": 2, "is_email_confirmed": true, "has_second_factor": true,
                "recovery_codes_used": 1, "has_unproven_factor": true, "ask_times": [1, 2, 3],
            },
            "has_known_address": true, "has_payout_method": true, "role": "operator",
            "cleared": ["ben", "cleo"],
        }))
        .unwrap();
        for others in [0, MOST_UNPACKED] {
            let mut cache = Cache::new(MOST_UNPACKED + 10);
            let state = Participant::into_any(Arc::new(participant.clone()));
            cache.put(key(Kind::Participant, "p/ada"), seen(state, i64::MAX - 7));
            cache.put(key(Kind::User, "ada"), seen(User::into_any(Arc::new(user.clone())), 3));
            cache.put(key(Kind::User, "empty"), seen(AnyAggregate::empty(Kind::User), 3));
            let empty = key(Kind::Participant, "p/empty");
            cache.put(empty.clone(), seen(AnyAggregate::empty(Kind::Participant), 3));
            for number in 0..others {
                let key = key(Kind::User, &number.to_string());
                cache.put(key, seen(AnyAggregate::empty(Kind::User), 1));
            }
            assert_eq!(cache.recent.contains(&key(Kind::User, "ada")), others == 0);
            let found = cache.get(&key(Kind::Participant, "p/ada")).unwrap();
            assert_eq!(found.at, i64::MAX);
            let versions = (found.loaded.version, found.loaded.snapshot_version);
            assert_eq!(versions, (i64::MAX - 7, i64::MAX - 8));
            let AnyAggregate::Participant(same) = found.loaded.state else { unreachable!() };
            assert_eq!(*same, participant);
            let AnyAggregate::User(same) = cache.get(&key(Kind::User, "ada")).unwrap().loaded.state
            else {
                unreachable!()
            };
            assert_eq!(*same, user);
            let AnyAggregate::Participant(same) = cache.get(&empty).unwrap().loaded.state else {
                unreachable!()
            };
            assert_eq!(*same, Participant::default());
            assert!(cache.get(&key(Kind::User, "empty")).is_some());
            cache.remove(&key(Kind::User, "empty"));
            assert!(cache.get(&key(Kind::User, "empty")).is_none());
            assert!(cache.get(&key(Kind::User, "bob")).is_none());
        }
    }

    #[test]
    fn programs_stay_while_they_are_used_and_are_never_found_as_they_were_before() {
        let mut cache = Cache::new(MOST_UNPACKED + 10);
        let program = key(Kind::Program, "p");
        for version in 1..4 {
            cache.put(program.clone(), seen(AnyAggregate::empty(Kind::Program), version));
            for number in 0..MOST_UNPACKED - 1 {
                let key = key(Kind::User, &number.to_string());
                cache.put(key, seen(AnyAggregate::empty(Kind::User), 1));
            }
            assert_eq!(cache.get(&program).unwrap().loaded.version, version);
        }
        for number in 0..MOST_UNPACKED {
            cache.put(
                key(Kind::User, &format!("u{number}")),
                seen(AnyAggregate::empty(Kind::User), 1),
            );
        }
        assert!(cache.get(&program).is_none());
    }

    #[test]
    fn what_was_not_used_goes_first() {
        let mut cache = Cache::new(MOST_UNPACKED + 3);
        let user = |number: usize| key(Kind::User, &number.to_string());
        for number in 0..MOST_UNPACKED + 3 {
            cache.put(user(number), seen(AnyAggregate::empty(Kind::User), 1));
        }
        // The first three are packed; one of them is used, and one is evicted.
        cache.get(&user(0)).unwrap();
        cache.remove(&user(2));
        let known = |cache: &Cache| [0, 1, 2, 3, 4].map(|number| cache.contains(&user(number)));
        for (number, expected) in [
            // The hand spares 0 and takes 1.
            (0, [true, false, false, true, true]),
            // The slot of 2.
            (1, [true, false, false, true, true]),
            // 0 was not used again.
            (2, [false, false, false, true, true]),
            // 3, which took the slot of 1, was not used either.
            (3, [false, false, false, false, true]),
        ] {
            let key = user(MOST_UNPACKED + 3 + number);
            cache.put(key, seen(AnyAggregate::empty(Kind::User), 1));
            assert_eq!(known(&cache), expected, "{number}");
        }
    }

    #[test]
    fn what_is_used_in_the_background_evicts_nothing_and_does_not_count_as_used() {
        let mut cache = Cache::with(NonZeroUsize::new(1).unwrap(), 2);
        let user = |number: usize| key(Kind::User, &number.to_string());
        for number in 0..3 {
            cache.put(user(number), seen(AnyAggregate::empty(Kind::User), 1));
        }
        // 0 and 1 are packed, 2 is not.
        for number in 0..4 {
            cache.peek(&user(number));
            cache.refresh(&user(number), seen(AnyAggregate::empty(Kind::User), 9));
        }
        let versions =
            [0, 1, 2, 3].map(|number| cache.peek(&user(number)).map(|seen| seen.loaded.version));
        assert_eq!(versions, [Some(9), Some(9), Some(9), None]);
        cache.put(user(4), seen(AnyAggregate::empty(Kind::User), 1));
        assert_eq!([0, 1, 2].map(|number| cache.contains(&user(number))), [false, true, true]);
    }

    proptest! {
        /// After any operations, the cache returns the newest state or nothing.
        #[test]
        fn it_has_what_was_put_last_or_nothing(
            steps in vec((0_u32..6, 0_usize..12), 0..200),
        ) {
            let mut cache = Cache::with(NonZeroUsize::new(2).unwrap(), 4);
            let mut newest = HashMap::new();
            for (version, (step, number)) in (1_i64..).zip(steps) {
                let key = key(Kind::User, &number.to_string());
                match step {
                    0 => {
                        cache.remove(&key);
                        newest.remove(&number);
                    }
                    1 => {
                        let found = cache.get(&key).map(|seen| seen.loaded.version);
                        prop_assert!(found.is_none() || found == newest.get(&number).copied());
                    }
                    2 => {
                        let found = cache.peek(&key).map(|seen| seen.loaded.version);
                        prop_assert!(found.is_none() || found == newest.get(&number).copied());
                    }
                    3 => {
                        let was_known = cache.contains(&key);
                        cache.refresh(&key, seen(AnyAggregate::empty(Kind::User), version));
                        prop_assert_eq!(cache.contains(&key), was_known);
                        newest.insert(number, version);
                    }
                    _ => {
                        cache.put(key.clone(), seen(AnyAggregate::empty(Kind::User), version));
                        newest.insert(number, version);
                        prop_assert_eq!(cache.get(&key).unwrap().loaded.version, version);
                    }
                }
                prop_assert!(cache.packed.slots.len() <= 4 && cache.packed.places.len() <= 4);
            }
        }
    }
}
