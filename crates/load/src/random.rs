//! Random choices that a seed repeats: the same seed gives the same load, on every machine and in every
//! release.
//!
//! They therefore do not come from a library, whose generators may change, nor from the machine's randomness.
//! Every operation has its own generator, derived from the seed and the operation's number, so that it does
//! not matter which worker runs it.

/// `SplitMix64` by Sebastiano Vigna, after Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators" (OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of operation `number` of a run.
    #[must_use]
    pub const fn of(seed: u64, number: u64) -> Self {
        // The number is mixed first; otherwise consecutive operations would draw the same sequence, shifted
        // by one.
        let mut mixed = Self(number);
        Self(seed ^ mixed.draw())
    }

    /// The next 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from 0 to below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }

    /// An index in a list of `length`; 0 if the list is empty.
    pub fn index(&mut self, length: usize) -> usize {
        let index = self.below(u64::try_from(length).unwrap_or(u64::MAX));
        usize::try_from(index).unwrap_or_default()
    }

    /// A number from 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit into the fraction")]
    pub fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Zipf's law with exponent 1: of `n` things, the one of rank `k` is chosen with a probability proportional
/// to `1 / k`. A few referrers bring most people, and this is the usual distribution (G. K. Zipf, "Human
/// behavior and the principle of least effort", 1949).
///
/// A uniform draw is looked up in a table of cumulative weights. A prefix of the table is the table for fewer
/// things, so one table serves a growing list.
#[derive(Clone, Debug)]
pub struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Creates a table for lists of up to `most` things.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "lists are shorter than 2^52")]
    pub fn new(most: usize) -> Self {
        let weights = (1..=most.max(1)).map(|rank| 1.0 / rank as f64);
        let cumulative = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { cumulative: cumulative.collect() }
    }

    /// An index in a list of `length`, the first being the most frequent; 0 if the list is empty. If the list
    /// is longer than the table, only the beginning of the list is used.
    pub fn index(&self, random: &mut Random, length: usize) -> usize {
        let table = &self.cumulative[..length.clamp(1, self.cumulative.len())];
        let sum = table.last().copied().unwrap_or_default();
        let drawn = random.fraction() * sum;
        table.partition_point(|&cumulative| cumulative <= drawn).min(table.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_number_give_the_same_draws() {
        let draws = |seed, number| {
            let mut random = Random::of(seed, number);
            [random.draw(), random.draw(), random.draw()]
        };
        assert_eq!(draws(1, 7), draws(1, 7));
        assert_ne!(draws(1, 7), draws(2, 7));
        assert_ne!(draws(1, 7)[1], draws(1, 8)[0], "neighbours are not one sequence");
    }

    #[test]
    fn it_is_splitmix64() {
        // The first outputs for the seed 1234567, as published with the algorithm.
        let mut random = Random(1_234_567);
        assert_eq!(random.draw(), 6_457_827_717_110_365_317);
        assert_eq!(random.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_stay_within_their_range_and_reach_all_of_it() {
        let mut random = Random::of(1, 1);
        let mut seen = [0; 5];
        for _ in 0..5_000 {
            seen[random.index(5)] += 1;
            assert!((0.0..1.0).contains(&random.fraction()));
        }
        assert!(seen.iter().all(|&times| times > 800), "{seen:?}");
        assert_eq!(random.index(0), 0);
    }

    #[test]
    fn ranks_are_as_frequent_as_zipf_says() {
        const DRAWS: u32 = 200_000;
        let zipf = Zipf::new(1_000);
        let mut random = Random::of(1, 1);
        let mut seen = [0_u32; 100];
        for _ in 0..DRAWS {
            seen[zipf.index(&mut random, 100)] += 1;
        }
        let harmonic: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1_u32, 2, 5, 10, 50] {
            let expected = f64::from(DRAWS) / harmonic / f64::from(rank);
            let found = f64::from(seen[rank as usize - 1]);
            assert!((found - expected).abs() < expected * 0.1, "rank {rank}: {found}, {expected}");
        }
    }

    #[test]
    fn a_list_that_is_empty_or_longer_than_the_table_is_no_harm() {
        let zipf = Zipf::new(3);
        let mut random = Random::of(1, 1);
        assert_eq!(zipf.index(&mut random, 0), 0);
        assert!((0..100).all(|_| zipf.index(&mut random, 1_000) < 3));
    }
}
