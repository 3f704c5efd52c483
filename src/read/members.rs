//! The participants on a leaderboard, by name and by number, in little memory: there can be millions of them, so
//! their names are concatenated in one text, and the hash table holds numbers only.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// The scores of a participant, one for each score that boards use.
pub(super) type Scores = [i64; 3];

/// Participants in the order of their numbers, from 0.
#[derive(Default)]
pub(super) struct Members {
    names: String,
    /// The end of each name in the text; the next name begins there.
    ends: Vec<usize>,
    scores: Vec<Scores>,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Members {
    /// Adds a participant and returns their number; `None` if they exist already.
    pub(super) fn insert(&mut self, name: &str, scores: Scores) -> Option<u32> {
        if self.number(name).is_some() {
            return None;
        }
        let number = u32::try_from(self.ends.len()).ok()?;
        self.names.push_str(name);
        self.ends.push(self.names.len());
        self.scores.push(scores);
        let Self { names, ends, numbers, hasher, .. } = self;
        let hash_of = |number: &u32| hasher.hash_one(name_in(names, ends, *number));
        numbers.insert_unique(hasher.hash_one(name), number, hash_of);
        Some(number)
    }

    /// The number of the participant with that name.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.numbers.find(hash, |number| self.name(*number) == name).copied()
    }

    /// The name of the participant with that number; empty if there is none.
    pub(super) fn name(&self, number: u32) -> &str {
        name_in(&self.names, &self.ends, number)
    }

    /// The scores of the participant with that number.
    pub(super) fn scores(&self, number: u32) -> Scores {
        self.scores.get(number as usize).copied().unwrap_or_default()
    }

    /// Replaces one score of the participant with that number, and returns the previous one.
    pub(super) fn replace(&mut self, number: u32, index: usize, score: i64) -> Option<i64> {
        let known = self.scores.get_mut(number as usize)?.get_mut(index)?;
        Some(std::mem::replace(known, score))
    }

    /// The scores of all participants, with their numbers.
    pub(super) fn all_scores(&self) -> impl Iterator<Item = (u32, Scores)> {
        (0..).zip(self.scores.iter().copied())
    }
}

fn name_in<'a>(names: &'a str, ends: &[usize], number: u32) -> &'a str {
    let index = number as usize;
    let start = index.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    let end = ends.get(index).copied().unwrap_or(start);
    names.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn everybody_is_found_by_name_and_by_number() {
        let mut members = Members::default();
        let names: Vec<String> = (0..5_000).map(|number| format!("user-{}", number * 7)).collect();
        for (number, name) in (0..).zip(&names) {
            assert_eq!(members.insert(name, [number.into(), 0, 0]), Some(number));
            assert_eq!(members.insert(name, [0; 3]), None);
        }
        for (number, name) in (0..).zip(&names) {
            assert_eq!(members.number(name), Some(number));
            assert_eq!(members.name(number), name);
            assert_eq!(members.scores(number), [number.into(), 0, 0]);
        }
        for nobody in ["", "user", "user-1", "user-77777"] {
            assert_eq!(members.number(nobody), None);
        }
        assert_eq!(members.name(5_000), "");
        assert_eq!(members.replace(3, 1, 9), Some(0));
        assert_eq!(members.replace(3, 1, 8), Some(9));
        assert_eq!(members.replace(5_000, 1, 8), None);
        let fourth = members.all_scores().nth(3).unwrap();
        assert_eq!(fourth, (3, [3, 8, 0]));
    }
}
