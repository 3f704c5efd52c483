//! The order of a leaderboard in memory, of 10,000 and of 1,000,000 places.
//!
//! - `move_and_rank`: a place is removed, inserted with another score, and its rank is read; in nanoseconds
//!   to microseconds. Scores are uniformly distributed, so the place moves far; with real rewards it moves
//!   less.
//! - `page_of_50`: the 50 places from a uniformly distributed rank; in nanoseconds to microseconds.
//! - `from_sorted`: the whole order from places that are in order; in microseconds to milliseconds, and the
//!   throughput is places a second. Dropping the list of places is included, copying it is not.
//!
//! Looking up the names of the places, and building messages, are not included.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tributary::read::{Place, Ranking};

const PLACES: [u32; 2] = [10_000, 1_000_000];
const PAGE_PLACES: usize = 50;

/// Numbers that repeat from run to run: the generator `SplitMix64` of Steele, Lea and Flood (2014).
struct Numbers(u64);

impl Numbers {
    /// The next number, below a bound.
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // The upper half of the product of two 32-bit numbers is below either.
        u32::try_from(((mixed >> 32) * u64::from(bound)) >> 32).unwrap_or(0)
    }

    fn score(&mut self) -> i64 {
        i64::from(self.below(1_000_000))
    }
}

/// One place for each participant, by the order of registration.
fn places(count: u32, numbers: &mut Numbers) -> Vec<Place> {
    (0..count).map(|order| Place { score: numbers.score(), order }).collect()
}

fn move_and_rank(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("move_and_rank");
    for count in PLACES {
        let mut numbers = Numbers(1);
        let mut members = places(count, &mut numbers);
        let mut ranking: Ranking<Place> = members.iter().copied().collect();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let place = &mut members[numbers.below(count) as usize];
                ranking.remove(place);
                place.score = numbers.score();
                ranking.insert(*place);
                ranking.rank(place)
            });
        });
    }
    group.finish();
}

fn page_of_50(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("page_of_50");
    for count in PLACES {
        let mut numbers = Numbers(1);
        let ranking: Ranking<Place> = places(count, &mut numbers).into_iter().collect();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let rank = numbers.below(count) as usize;
                for place in ranking.iter_from(rank).take(PAGE_PLACES) {
                    black_box(place);
                }
            });
        });
    }
    group.finish();
}

fn from_sorted(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("from_sorted");
    for count in PLACES {
        let mut sorted = places(count, &mut Numbers(1));
        sorted.sort_unstable();
        group.throughput(Throughput::Elements(count.into()));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_batched(|| sorted.clone(), Ranking::from_sorted, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, move_and_rank, page_of_50, from_sorted);
criterion_main!(benches);
