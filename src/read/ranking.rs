//! The order of a leaderboard: a sorted set of keys that knows how many keys are before each.
//!
//! A balanced tree of the standard library keeps keys in order but cannot count those before one, and a
//! sorted array can but has to move half of itself for every new key. This is a compromise: a list of sorted
//! blocks of bounded size, as in `SortedList` of Grant Jenks' `sortedcontainers` for Python
//! (<https://grantjenks.com/docs/sortedcontainers/implementation.html>). A change moves part of one block.
//! Unlike there, no index of positions is kept: a million keys are less than a thousand blocks, and adding up
//! their lengths takes a fraction of a microsecond.

use std::cmp::Ordering;

/// How many keys a block holds at most. With a million entries, 1024 and 2048 were the fastest of 256 to
/// 4096, at 1 µs for a move and a rank; 2048 keeps the number of blocks lower.
const BLOCK_CAPACITY: usize = 2048;

/// A participant's place in a leaderboard: higher scores first, and among equal scores the participant who
/// enrolled first in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The score, in the unit of the leaderboard.
    pub score: i64,
    /// The participant's number in the order of enrollment, unique within one leaderboard.
    pub order: u32,
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.cmp(&self.score).then(self.order.cmp(&other.order))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A sorted set of keys with order statistics. A rank is the number of smaller keys, so the first
/// key has rank 0.
#[derive(Clone, Debug)]
pub struct Ranking<K> {
    /// Sorted blocks of sorted keys; none is empty or holds more than `block_capacity` keys.
    blocks: Vec<Vec<K>>,
    /// The number of keys in all blocks.
    len: usize,
    /// At least 2.
    block_capacity: usize,
}

impl<K: Ord + Copy> Ranking<K> {
    /// An empty ranking.
    #[must_use]
    pub fn new() -> Self {
        Self::with_blocks_of(BLOCK_CAPACITY, Vec::new())
    }

    /// Builds a ranking of many keys, in linear time if they are in order. Otherwise they are sorted; a
    /// repeated key counts once.
    #[must_use]
    pub fn from_sorted(keys: Vec<K>) -> Self {
        Self::with_blocks_of(BLOCK_CAPACITY, keys)
    }

    /// Leaves a quarter of each block free, so that the first changes do not split them all.
    fn with_blocks_of(block_capacity: usize, mut keys: Vec<K>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let filled = block_capacity - block_capacity / 4;
        let blocks = keys.chunks(filled).map(<[K]>::to_vec).collect();
        Self { blocks, len: keys.len(), block_capacity }
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a key; returns whether it is new.
    pub fn insert(&mut self, key: K) -> bool {
        // A key after all others belongs to the last block.
        let at = self.block_for(&key).min(self.blocks.len().saturating_sub(1));
        let step = self.step();
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(vec![key]);
            self.len = 1;
            return true;
        };
        let Err(index) = block.binary_search(&key) else { return false };
        if block.len() == block.capacity() {
            block.reserve_exact(step);
        }
        block.insert(index, key);
        self.len += 1;
        self.split_if_over(at);
        true
    }

    /// Removes a key; returns whether it was present.
    pub fn remove(&mut self, key: &K) -> bool {
        let at = self.block_for(key);
        let step = self.step();
        let Some(block) = self.blocks.get_mut(at) else { return false };
        let Ok(index) = block.binary_search(key) else { return false };
        block.remove(index);
        if block.capacity() - block.len() > 2 * step {
            block.shrink_to(block.len() + step);
        }
        self.len -= 1;
        self.join_if_under(at);
        true
    }

    /// The rank of a key; `None` if it is not present.
    #[must_use]
    pub fn rank(&self, key: &K) -> Option<usize> {
        let at = self.block_for(key);
        let index = self.blocks.get(at)?.binary_search(key).ok()?;
        Some(self.count_before(at) + index)
    }

    /// The number of smaller keys: the rank that this key has, or would have if it were present.
    #[must_use]
    pub fn count_below(&self, key: &K) -> usize {
        let at = self.block_for(key);
        let index = self.blocks.get(at).map_or(0, |block| block.partition_point(|one| one < key));
        self.count_before(at) + index
    }

    /// The keys in order, beginning with the one at this rank; none if the rank is past the end.
    pub fn iter_from(&self, rank: usize) -> impl Iterator<Item = K> {
        let mut blocks = self.blocks.iter();
        let mut skipped = rank;
        let first = blocks.find_map(|block| {
            let keys = block.get(skipped..).filter(|keys| !keys.is_empty());
            skipped = skipped.saturating_sub(block.len());
            keys
        });
        first.into_iter().chain(blocks.map(Vec::as_slice)).flatten().copied()
    }

    /// The only block that can contain the key; past the last block if the key is after all others.
    fn block_for(&self, key: &K) -> usize {
        self.blocks.partition_point(|block| block.last().is_some_and(|last| last < key))
    }

    /// How many keys are in the blocks before this one.
    fn count_before(&self, at: usize) -> usize {
        self.blocks[..at].iter().map(Vec::len).sum()
    }

    /// The number of keys by which the memory of a block grows. It is a fraction of a block, so that little
    /// memory is spare; doubling would waste up to half.
    fn step(&self) -> usize {
        (self.block_capacity / 16).max(1)
    }

    /// Halves a block that has grown too large.
    fn split_if_over(&mut self, at: usize) {
        let block = &mut self.blocks[at];
        if block.len() > self.block_capacity {
            let upper = block.split_off(block.len() / 2);
            block.shrink_to_fit();
            self.blocks.insert(at + 1, upper);
        }
    }

    /// Merges a block that has become small with a neighbour, or balances the keys of both.
    fn join_if_under(&mut self, at: usize) {
        if self.blocks[at].len() >= (self.block_capacity / 4).max(1) {
            return;
        }
        if self.blocks.len() == 1 {
            self.blocks.retain(|block| !block.is_empty());
            return;
        }
        let left = at.saturating_sub(1);
        let right = self.blocks.remove(left + 1);
        self.blocks[left].reserve_exact(right.len());
        self.blocks[left].extend(right);
        self.split_if_over(left);
    }
}

impl<K: Ord + Copy> Default for Ranking<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Of keys in any order.
impl<K: Ord + Copy> FromIterator<K> for Ranking<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        Self::from_sorted(keys.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8),
        Remove(u8),
        /// Moves a key, as a leaderboard does.
        Move(u8, u8),
        /// Removes all keys from one up to another, so that blocks vanish.
        Clear(u8, u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            12 => any::<u8>().prop_map(Step::Insert),
            8 => any::<u8>().prop_map(Step::Remove),
            8 => any::<(u8, u8)>().prop_map(|(from, to)| Step::Move(from, to)),
            1 => any::<(u8, u8)>().prop_map(|(from, to)| Step::Clear(from, to)),
        ];
        prop::collection::vec(step, 0..300)
    }

    fn take(ranking: &mut Ranking<u8>, model: &mut BTreeSet<u8>, step: &Step) {
        match *step {
            Step::Insert(key) => assert_eq!(ranking.insert(key), model.insert(key)),
            Step::Remove(key) => assert_eq!(ranking.remove(&key), model.remove(&key)),
            Step::Move(from, to) => {
                take(ranking, model, &Step::Remove(from));
                take(ranking, model, &Step::Insert(to));
            }
            Step::Clear(from, to) => {
                (from..=to).for_each(|key| take(ranking, model, &Step::Remove(key)));
            }
        }
    }

    /// Checks the invariants of the blocks.
    fn check_blocks<K: Ord + Copy>(ranking: &Ranking<K>) {
        let capacity = ranking.block_capacity;
        for block in &ranking.blocks {
            assert!(!block.is_empty() && block.len() <= capacity);
        }
        let keys: Vec<K> = ranking.blocks.concat();
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert_eq!(keys.len(), ranking.len());
    }

    fn check_answers(ranking: &Ranking<u8>, model: &BTreeSet<u8>) {
        let sorted: Vec<u8> = model.iter().copied().collect();
        assert_eq!(ranking.len(), sorted.len());
        assert_eq!(ranking.is_empty(), sorted.is_empty());
        for key in 0..=u8::MAX {
            assert_eq!(ranking.rank(&key), sorted.binary_search(&key).ok());
            assert_eq!(ranking.count_below(&key), model.range(..key).count());
        }
        for rank in 0..=sorted.len() {
            assert!(ranking.iter_from(rank).eq(sorted[rank..].iter().copied()));
        }
        assert_eq!(ranking.iter_from(sorted.len() + 1).next(), None);
    }

    proptest! {
        #[test]
        fn a_ranking_answers_as_a_sorted_set_does(
            block_capacity in 2_usize..20,
            keys in prop::collection::vec(any::<u8>(), 0..200),
            steps in steps(),
        ) {
            let mut model: BTreeSet<u8> = keys.iter().copied().collect();
            let mut ranking = Ranking::with_blocks_of(block_capacity, keys);
            check_blocks(&ranking);
            check_answers(&ranking, &model);
            for step in steps {
                take(&mut ranking, &mut model, &step);
                check_blocks(&ranking);
            }
            check_answers(&ranking, &model);
        }
    }

    #[test]
    fn a_higher_score_is_first_and_of_equal_scores_the_earlier_registration() {
        let places = [(5, 2), (-1, 0), (9, 3), (5, 1), (i64::MAX, 4), (i64::MIN, 5)];
        let ranking: Ranking<Place> =
            places.into_iter().map(|(score, order)| Place { score, order }).collect();
        let orders: Vec<u32> = ranking.iter_from(0).map(|place| place.order).collect();
        assert_eq!(orders, [4, 3, 1, 2, 0, 5]);
        assert_eq!(ranking.rank(&Place { score: 5, order: 2 }), Some(3));
        // How many keys have a score higher than 5.
        assert_eq!(ranking.count_below(&Place { score: 5, order: 0 }), 2);
    }

    #[test]
    fn an_empty_ranking_has_nothing_at_any_rank() {
        let mut ranking = Ranking::default();
        assert!(ranking.is_empty());
        assert_eq!((ranking.rank(&1), ranking.count_below(&1)), (None, 0));
        assert_eq!(ranking.iter_from(0).next(), None);
        assert!(!ranking.remove(&1));
    }

    #[test]
    fn keys_out_of_order_or_repeated_do_not_break_a_ranking() {
        let ranking = Ranking::from_sorted(vec![3, 1, 2, 1]);
        assert_eq!(ranking.iter_from(0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(ranking.len(), 3);
    }

    #[test]
    fn removed_keys_give_their_blocks_and_memory_back() {
        let mut ranking: Ranking<u32> = (0..100_000).collect();
        let kept: [fn(u32) -> bool; 3] = [|key| key % 5 < 2, |key| key % 50 == 0, |_| false];
        for (kept, blocks) in kept.into_iter().zip([66, 4, 0]) {
            (0..100_000).filter(|key| !kept(*key)).for_each(|key| _ = ranking.remove(&key));
            check_blocks(&ranking);
            let held: usize = ranking.blocks.iter().map(Vec::capacity).sum();
            assert!(ranking.blocks.len() <= blocks && held * 2 <= ranking.len() * 3, "{held}");
        }
        assert_eq!(ranking.len(), 0);
    }

    #[test]
    fn memory_stays_close_to_the_keys_themselves_however_they_arrive() {
        let arrivals: [fn(u32) -> u32; 3] = [|n| n, |n| !n, |n| n.wrapping_mul(2_654_435_761)];
        for arrival in arrivals {
            let mut ranking = Ranking::new();
            assert!((0..100_000).all(|n| ranking.insert(arrival(n))));
            check_blocks(&ranking);
            let held: usize = ranking.blocks.iter().map(Vec::capacity).sum();
            assert!(held * 10 <= ranking.len() * 12, "{held}");
        }
    }
}
