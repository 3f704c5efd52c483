//! The participants that exist before a run: three generations, of which the last one buys, so that every
//! purchase pays two rewards.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::driver::{self, Plan};
use super::random::{Random, Zipf};
use super::world::World;
use super::{LoadError, Scenario};
use contract::parse_program;
use contract::pb::program_service_client::ProgramServiceClient;
use contract::pb::{ListProgramsRequest, Program, PublishProgramRequest};

/// The program of all loads.
pub(super) const PROGRAM_ID: &str = "load-commission";
/// The sample program that it is derived from.
const ORIGINAL: &str = include_str!("../../../programs/multi-level-commission.json");
/// The shares of the first and the second generation among all participants, in percent.
const FIRST_PERCENT: u64 = 10;
const SECOND_PERCENT: u64 = 30;
/// How many participants are signed up at the same time.
const CONCURRENCY: usize = 64;

/// The participants, by their numbers: one generation after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Population {
    /// The sizes of the generations.
    generations: [u64; 3],
    /// Whether each participant has a different referrer, as long as there are enough.
    is_paired: bool,
}

impl Population {
    /// The population that a scenario needs.
    pub(super) fn of(scenario: Scenario, participants: u64, streams: u64) -> Self {
        let (generations, is_paired) = match scenario {
            Scenario::SignUp => ([0; 3], false),
            Scenario::Purchase
            | Scenario::Mixed
            | Scenario::Leaderboard
            | Scenario::Login
            | Scenario::TakenNames => {
                let first = (participants * FIRST_PERCENT / 100).max(1);
                let second = (participants * SECOND_PERCENT / 100).max(1);
                ([first, second, participants.saturating_sub(first + second).max(1)], false)
            }
            Scenario::Hot => ([1, 1, participants.saturating_sub(2).max(1)], false),
            Scenario::Streams => ([1, streams.max(1), streams.max(1)], true),
        };
        Self { generations, is_paired }
    }

    /// The number of participants. Users who sign up during the run have numbers from here.
    pub(super) fn size(&self) -> u64 {
        self.generations.iter().sum()
    }

    fn generation(&self, index: usize) -> Range<u64> {
        let start = self.generations[..index].iter().sum();
        start..start + self.generations[index]
    }

    /// The buyers.
    pub(super) fn buyers(&self) -> Range<u64> {
        self.generation(2)
    }

    /// The participants who are paid at level 1, the most frequent first.
    pub(super) fn referrers(&self) -> Range<u64> {
        self.generation(1)
    }

    /// The referrer of a buyer, if each has a different one.
    pub(super) fn paired_referrer(&self, buyer: u64) -> u64 {
        self.referrers().start + (buyer - self.buyers().start) % self.generations[1].max(1)
    }

    /// The number of the referrer of the participant with this number, who is in the second or third
    /// generation.
    pub(super) fn referrer_of(&self, seed: u64, zipf: &Zipf, number: u64) -> u64 {
        let generation = if self.buyers().contains(&number) { 2 } else { 1 };
        let place = self.referrer(seed, zipf, generation, number);
        self.generation(generation - 1).start + u64::try_from(place).unwrap_or_default()
    }

    /// The referrer of the user with this number, as an index in the previous generation.
    fn referrer(&self, seed: u64, zipf: &Zipf, generation: usize, number: u64) -> usize {
        let before = usize::try_from(self.generations[generation - 1]).unwrap_or(usize::MAX);
        if self.is_paired {
            let place = number - self.generation(generation).start;
            return usize::try_from(place).unwrap_or_default() % before.max(1);
        }
        zipf.index(&mut Random::of(seed, number), before)
    }
}

/// The program: commissions on two levels, without the limits of the original, so that the last purchase of a
/// run pays as much as the first.
fn program() -> Result<Program, LoadError> {
    let unusable = |error: &dyn std::fmt::Display| LoadError::Unusable {
        what: "the program",
        reason: error.to_string(),
    };
    let mut program = parse_program(ORIGINAL).map_err(|error| unusable(&error))?;
    program.program_id = PROGRAM_ID.into();
    program.display_name = "Commissions without limits, for load".into();
    program.max_direct_referrals = None;
    for rule in &mut program.rewards {
        rule.cap_minor = None;
    }
    Ok(program)
}

/// Publishes the program, and returns a position of the log before everything that the run will write.
pub(super) async fn publish(world: &World) -> Result<i64, LoadError> {
    publish_with(world, None).await
}

/// As [`publish`]; the program holds rewards for some days.
pub(super) async fn publish_with(world: &World, hold_days: Option<i32>) -> Result<i64, LoadError> {
    let program = Program { hold_days, ..program()? };
    let mut client = ProgramServiceClient::new(world.connections.channel(0));
    let message = PublishProgramRequest { program: Some(program), ..Default::default() };
    let published = client.publish_program(world.connections.request(message)).await;
    let consistency_token =
        published.map_err(LoadError::call("publish the program"))?.into_inner().consistency_token;
    let message = ListProgramsRequest { consistency_token, page_size: 1, ..Default::default() };
    let listed = client.list_programs(world.connections.request(message)).await;
    Ok(listed.map_err(LoadError::call("read the programs"))?.into_inner().position)
}

/// Signs up all participants, one generation after the other, each with the code of a referrer in the
/// previous generation.
pub(super) async fn settle(world: &Arc<World>) -> Result<(), LoadError> {
    let largest = world.population.generations.iter().max().copied().unwrap_or_default();
    let zipf = Arc::new(Zipf::new(usize::try_from(largest).unwrap_or(usize::MAX)));
    let mut codes: Arc<[String]> = Arc::new([]);
    for generation in 0..world.population.generations.len() {
        codes = sign_up(world, &zipf, generation, codes).await?;
    }
    Ok(())
}

/// Signs up a generation with the codes of the previous one, and returns the new codes.
async fn sign_up(
    world: &Arc<World>,
    zipf: &Arc<Zipf>,
    generation: usize,
    codes_before: Arc<[String]>,
) -> Result<Arc<[String]>, LoadError> {
    let members = world.population.generation(generation);
    let count = members.end - members.start;
    let places = usize::try_from(count).unwrap_or_default();
    let codes = Arc::new(Mutex::new(vec![String::new(); places]));
    let shared = (world.clone(), zipf.clone(), codes.clone());
    // A count without warming up uses the numbers from 0, each once: they are indexes in the generation.
    let work = move |place| {
        let (world, zipf, codes) = shared.clone();
        let number = members.start + place;
        let code = if generation == 0 {
            String::new()
        } else {
            let referrer = world.population.referrer(world.seed, &zipf, generation, number);
            codes_before.get(referrer).cloned().unwrap_or_default()
        };
        async move {
            let code = world.ended(world.register(number, code).await)?;
            let mut codes = codes.lock().unwrap_or_else(PoisonError::into_inner);
            codes[usize::try_from(place).unwrap_or_default()] = code;
            Ok(())
        }
    };
    let measured = driver::run(&Plan::of_count(count, CONCURRENCY), work).await;
    if let Some((reason, times)) = measured.errors.iter().next() {
        let reason = format!("{reason} ({times} of {count})");
        return Err(LoadError::Call { what: "sign up the participants", reason });
    }
    let codes = std::mem::take(&mut *codes.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(codes.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn generations_follow_one_another_and_make_up_everybody() {
        let population = Population::of(Scenario::Purchase, 10_000, 0);
        assert_eq!(population.generations, [1_000, 3_000, 6_000]);
        assert_eq!(population.referrers(), 1_000..4_000);
        assert_eq!(population.buyers(), 4_000..10_000);
        assert_eq!(population.size(), 10_000);
        assert_eq!(Population::of(Scenario::Hot, 100, 0).referrers(), 1..2);
        assert_eq!(Population::of(Scenario::Mixed, 0, 0).generations, [1, 1, 1]);
        assert_eq!(Population::of(Scenario::SignUp, 100, 100).size(), 0);
    }

    #[test]
    fn a_stream_has_a_buyer_of_its_own() {
        let population = Population::of(Scenario::Streams, 0, 5);
        let zipf = Zipf::new(5);
        for (place, buyer) in population.buyers().enumerate() {
            assert_eq!(population.referrer(1, &zipf, 2, buyer), place);
            assert_eq!(
                population.paired_referrer(buyer),
                population.referrers().start + place as u64
            );
        }
        assert_eq!(population.referrer(1, &zipf, 1, 3), 0, "all have the same one at level 2");
    }

    #[test]
    fn the_program_pays_two_levels_without_limits() {
        let program = program().unwrap();
        assert_eq!(program.rewards.len(), 2);
        assert!(program.rewards.iter().all(|rule| rule.cap_minor.is_none()));
        assert_eq!((program.max_direct_referrals, program.max_uses_per_code), (None, None));
    }
}
