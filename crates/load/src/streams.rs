//! Live streams that are open during a run, and how soon rewards and reads follow the answer to a purchase.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::driver::{histogram, micros, record};
use super::ledger::{Answer, Ledger, Write};
use super::world::World;
use super::{LoadError, reason};
use contract::pb::WatchEarningsRequest;
use contract::pb::reward_service_client::RewardServiceClient;

/// How many streams are opened at the same time.
const OPENING: usize = 64;
/// How long to wait for the last rewards of a run.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(30);
/// A read follows one in this many answers.
const ANSWERS_PER_READ: u64 = 8;
/// How many reads can be in progress besides the purchases. If all are in use, no read follows a purchase.
const MOST_READS: u32 = 1_000;

/// What the streams have delivered, and what is still expected.
#[derive(Debug)]
pub(super) struct Watching {
    /// Whether rewards are matched with answers, or only counted.
    is_matching: bool,
    halves: Mutex<Halves>,
    reads: Arc<Semaphore>,
}

/// An answered purchase waits here for its reward, or a reward that came first for the answer.
#[derive(Debug)]
struct Halves {
    rewards: u64,
    answered: HashMap<u64, Instant>,
    arrived: HashMap<u64, u64>,
    delivery: Histogram<u64>,
    before_answer: u64,
    read: Histogram<u64>,
    unread: u64,
    faults: Vec<String>,
}

/// The results.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// Rewards that the streams have delivered.
    pub(super) rewards: u64,
    /// The time from the answer to the reward on the stream, in microseconds; 0 if the reward came first.
    pub(super) delivery: Histogram<u64>,
    /// Rewards that were on the stream before the answer arrived.
    pub(super) before_answer: u64,
    /// The time from the answer to the answer of a read with its token, in microseconds.
    pub(super) read: Histogram<u64>,
    /// Answers after which no read was made, because too many were in progress.
    pub(super) unread: u64,
    /// How many rewards should have been on a stream and never came.
    pub(super) missing: u64,
    /// How many came twice.
    pub(super) twice: u64,
    /// Streams that ended, and reads that failed.
    pub(super) faults: Vec<String>,
}

impl Watching {
    pub(super) fn new(is_matching: bool) -> Arc<Self> {
        let halves = Halves {
            rewards: 0,
            answered: HashMap::new(),
            arrived: HashMap::new(),
            delivery: histogram(),
            before_answer: 0,
            read: histogram(),
            unread: 0,
            faults: Vec::new(),
        };
        let reads = Arc::new(Semaphore::new(MOST_READS as usize));
        Arc::new(Self { is_matching, halves: Mutex::new(halves), reads })
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Discards what was measured so far. Rewards that are still expected stay expected.
    pub(super) fn forget(&self) {
        let mut halves = self.lock();
        halves.delivery.reset();
        halves.read.reset();
        (halves.before_answer, halves.unread) = (0, 0);
    }

    fn arrived(&self, purchase: u64, at: Instant) {
        let mut halves = self.lock();
        halves.rewards += 1;
        if !self.is_matching {
            return;
        }
        if let Some(answered) = halves.answered.remove(&purchase) {
            record(&mut halves.delivery, micros(at.saturating_duration_since(answered)));
            halves.before_answer += u64::from(at < answered);
        } else {
            *halves.arrived.entry(purchase).or_default() += 1;
        }
    }

    fn answered(&self, purchase: u64, at: Instant) {
        let mut halves = self.lock();
        if let Some(times) = halves.arrived.remove(&purchase) {
            if times > 1 {
                halves.arrived.insert(purchase, times - 1);
            }
            record(&mut halves.delivery, 0);
            halves.before_answer += 1;
        } else {
            halves.answered.insert(purchase, at);
        }
    }

    /// A purchase. Some are followed, in the background, by a read of the referrer's balances that must show
    /// the purchase.
    pub(super) async fn purchase(
        self: Arc<Self>,
        world: Arc<World>,
        number: u64,
    ) -> Result<(), Status> {
        let answer = world.purchase(number).await?;
        let answered = Instant::now();
        self.answered(number, answered);
        // Measuring must not become the load.
        if !number.is_multiple_of(ANSWERS_PER_READ) {
            return Ok(());
        }
        let Ok(permit) = self.reads.clone().try_acquire_owned() else {
            self.lock().unread += 1;
            return Ok(());
        };
        tokio::spawn(async move {
            let referrer = world.population.paired_referrer(world.buyer(number));
            let user_id = world.member(referrer);
            let read = world.balances(number, user_id, answer.consistency_token).await;
            let took = answered.elapsed();
            let mut halves = self.lock();
            match read {
                Ok(()) => record(&mut halves.read, micros(took)),
                Err(status) => halves.faults.push(format!("a read failed: {}", reason(&status))),
            }
            drop(halves);
            drop(permit);
        });
        Ok(())
    }

    /// Waits for the rewards that are still expected, and returns the results. Rewards of purchases that were
    /// never answered are not expected.
    pub(super) async fn end(&self, ledger: &Ledger) -> Watched {
        // All permits are free once all reads are over; each read ends by itself.
        let _all = self.reads.acquire_many(MOST_READS).await;
        let begun = Instant::now();
        while !self.lock().answered.is_empty() && begun.elapsed() < ARRIVAL_PATIENCE {
            sleep(Duration::from_millis(10)).await;
        }
        let answers = ledger.answers(Write::Purchase);
        let is_acknowledged = |number: u64| {
            let answer = usize::try_from(number).ok().and_then(|index| answers.get(index));
            answer == Some(&Answer::Acknowledged)
        };
        let halves = self.lock();
        let left = halves.arrived.iter().filter(|(number, _)| is_acknowledged(**number));
        Watched {
            rewards: halves.rewards,
            delivery: halves.delivery.clone(),
            before_answer: halves.before_answer,
            read: halves.read.clone(),
            unread: halves.unread,
            missing: halves.answered.len() as u64,
            twice: left.map(|(_, times)| times).sum(),
            faults: halves.faults.clone(),
        }
    }
}

/// Open streams. They end when this is dropped.
pub(super) struct Open(JoinSet<()>);

impl Open {
    /// The number of open streams.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Opens `count` streams of the earnings of users who are paid at level 1, and waits until all have begun:
/// nothing that is recorded later can be missed.
pub(super) async fn open(
    world: &Arc<World>,
    watching: &Arc<Watching>,
    count: u64,
) -> Result<Open, LoadError> {
    let mut streams = JoinSet::new();
    let mut opening = JoinSet::new();
    let places = Arc::new(Semaphore::new(OPENING));
    let users = world.population.referrers();
    for user in users.clone().take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let (world, places) = (world.clone(), places.clone());
        opening.spawn(async move {
            let _place = places.acquire().await;
            let message = WatchEarningsRequest {
                program_id: world.program_id.to_string(),
                user_id: world.member(user),
                ..Default::default()
            };
            let mut client = RewardServiceClient::new(world.connections.channel(user));
            let response = client.watch_earnings(world.connections.stream(message)).await?;
            let mut stream = response.into_inner();
            stream.message().await?;
            Ok::<_, Status>(stream)
        });
    }
    while let Some(opened) = opening.join_next().await {
        let opened = opened.map_err(|error| Status::internal(error.to_string())).flatten();
        let mut stream = opened.map_err(LoadError::call("open the live streams"))?;
        let (world, watching) = (world.clone(), watching.clone());
        streams.spawn(async move {
            let why = loop {
                match stream.message().await {
                    Ok(Some(message)) => {
                        let purchase_id = message.reward.map(|reward| reward.purchase_id);
                        let number = world
                            .ledger
                            .number(Write::Purchase, purchase_id.as_deref().unwrap_or_default());
                        if let Some(number) = number {
                            watching.arrived(number, Instant::now());
                        }
                    }
                    Ok(None) => break "without a reason".to_owned(),
                    Err(status) => break reason(&status),
                }
            };
            watching.lock().faults.push(format!("a stream ended: {why}"));
        });
    }
    Ok(Open(streams))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reward_and_an_answer_are_matched_whichever_is_first() {
        let (watching, ledger) = (Watching::new(true), Ledger::new("load".into()));
        let start = Instant::now();
        watching.answered(1, start);
        watching.arrived(1, start + Duration::from_millis(5));
        watching.arrived(2, start);
        watching.answered(2, start + Duration::from_millis(5));
        let watched = watching.end(&ledger).await;
        assert_eq!((watched.rewards, watched.before_answer, watched.missing), (2, 1, 0));
        assert_eq!(watched.delivery.len(), 2);
        assert_eq!(watched.delivery.max(), watched.delivery.highest_equivalent(5_000));
        assert_eq!(watched.delivery.min(), 0);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_not_measured_but_owed() {
        let (watching, ledger) = (Watching::new(true), Ledger::new("load".into()));
        let start = Instant::now();
        watching.arrived(1, start);
        watching.answered(1, start);
        watching.answered(2, start);
        watching.forget();
        watching.arrived(2, start + Duration::from_millis(5));
        let watched = watching.end(&ledger).await;
        assert_eq!((watched.rewards, watched.before_answer, watched.missing), (2, 0, 0));
        assert_eq!(watched.delivery.len(), 1);
    }

    #[tokio::test]
    async fn a_reward_that_comes_twice_is_told_from_one_whose_answer_was_lost() {
        let (watching, ledger) = (Watching::new(true), Ledger::new("load".into()));
        let now = Instant::now();
        watching.answered(1, now);
        ledger.note(Write::Purchase, 1, Answer::Acknowledged);
        for purchase in [1, 1, 2] {
            watching.arrived(purchase, now);
        }
        let watched = watching.end(&ledger).await;
        assert_eq!((watched.rewards, watched.twice), (3, 1));
    }
}
