//! A bounded map that forgets what was not used for longest, roughly.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations of entries. What is used moves into the young one; when that is full, the old one is dropped and the
/// young one takes its place. So at least `limit / 2` entries that were used last are kept, and at most `limit`.
pub(super) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V: Clone> Generations<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (limit / 2).max(1) }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// Keeps the entries that satisfy the condition.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.young.retain(|key, value| keep(key, value));
        self.old.retain(|key, value| keep(key, value));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_size_is_bounded() {
        let mut kept = Generations::new(100);
        kept.insert("often".to_owned(), 0);
        for number in 1..10_000 {
            kept.insert(number.to_string(), number);
            assert_eq!(kept.get(&"often".to_owned()), Some(0));
            assert!(kept.len() <= 100);
        }
        assert_eq!(kept.get(&"9999".to_owned()), Some(9_999));
        assert_eq!(kept.get(&"1".to_owned()), None);
        kept.retain(|key, _| key != "often");
        assert_eq!(kept.get(&"often".to_owned()), None);
    }
}
