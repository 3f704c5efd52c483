//! Random sequences of commands on two servers, compared with a plain model that is written separately from the domain.
//!
//! Each sequence has its own programs and users, so that thousands of them run against the same two servers. Those in
//! which as much time passes run together, because it passes for the whole log. A sequence that comes out otherwise
//! than in the model is shrunk, and the shortest one that still does is shown. `TRIBUTARY_SEQUENCES` says how many
//! sequences to run, `TRIBUTARY_FIRST_SEQUENCE` the number of the first one, and `TRIBUTARY_SHRUNK_SEQUENCES` how many
//! of those that differ are shrunk.

#![allow(
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::match_same_arms,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::ref_option,
    clippy::similar_names,
    clippy::single_match_else,
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    clippy::too_many_lines,
    clippy::unnecessary_wraps,
    reason = "the model reads like the rules; it runs in tests only"
)]

mod back;
mod calls;
mod commands;
mod compare;
mod desk;
mod earn;
mod likely;
mod lots;
mod passing;
mod payouts;
mod provider;
mod publish;
mod race;
mod rules;
mod run;
mod spend;
mod told;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use commands::{Command, Sequence, sequences};
use passing::{Clock, Jump};
use run::{Run, Servers};
use testing::stripe_events::serve_with_endpoint;
use testing::{Client, Pair, ServerOptions, TestDatabase};

/// How many sequences run in the ordinary suite.
const SEQUENCES: usize = 120;
/// How many sequences run at the same time on a pair of servers.
const AT_ONCE: usize = 24;
/// How many sequences live through the same time.
const GROUP: usize = 96;
/// How many steps the search for a shorter sequence takes, and how long at most.
const MAX_SHRINKS: usize = 400;
const SHRINKING: Duration = Duration::from_mins(4);

/// What happens in some of so many sequences, or they would show nothing of it.
const MUST_HAPPEN: [&str; 16] = [
    "event_type = 'HoldPeriodEnded'",
    "event_type = 'BalanceExpired'",
    "event_type = 'FraudFlagResolved'",
    "event_type = 'BalanceAdjusted'",
    "event_type = 'RedemptionMade'",
    "event_type = 'RedemptionFulfilled'",
    "event_type = 'RedemptionCancelled'",
    "event_type = 'PayoutLineReserved'",
    "event_type = 'PayoutLinePaid'",
    "event_type = 'PayoutLineFailed'",
    "event_type = 'PayoutLineReturned'",
    "event_type = 'PurchaseRecorded' and aggregate_id like 'pi!_%' escape '!'",
    "event_type = 'PurchaseRefunded' and payload ->> 'refund_id' like 're!_%' escape '!'",
    "event_type = 'PurchaseRefunded' and payload ->> 'refund_id' like 'charge:%'",
    "event_type = 'RefundCancelled' and payload ->> 'refund_id' like 'charge:%'",
    "event_type = 'DisputeClosed' and payload ->> 'dispute_id' like 'du!_%' escape '!'",
];

/// How time passes in the sequence of this number. Neighbours live through the same time.
fn jumps(number: usize) -> Vec<Jump> {
    use Jump::{Days, Months};
    match number / 10 % 6 {
        0 => vec![],
        1 => vec![Days],
        2 => vec![Months(2)],
        3 => vec![Days, Months(2)],
        4 => vec![Months(4), Months(2)],
        _ => vec![Months(2), Days, Months(13)],
    }
}

/// The same sequence for the same number.
fn tree(number: usize) -> impl ValueTree<Value = Sequence> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    sequences(jumps(number)).new_tree(&mut runner).unwrap()
}

fn text_of(number: usize, sequence: &Sequence, failure: &str) -> String {
    let mut text = format!("sequence {number}: {failure}\n");
    for (program, rules) in sequence.programs.iter().enumerate() {
        text += &format!("  program {program}: {rules:?}\n");
    }
    text += &format!("  payments {:?}\n", sequence.payments);
    for (part, commands) in sequence.parts.iter().enumerate() {
        for command in commands {
            text += &format!("  {command:?}\n");
        }
        if let Some(jump) = sequence.jumps.get(part) {
            text += &format!("  Time passes: {jump:?}\n");
        }
    }
    text
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Two servers on a database of their own, and its clock.
struct Place {
    database: TestDatabase,
    pair: Pair,
    clock: Clock,
}

/// A sequence under way, or how it differs.
type UnderWay = (usize, Arc<Sequence>, Result<Run, String>);

impl Place {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        // A second operator has tests of their own.
        let arguments = ["--payout-limit".to_owned(), "1000000000".to_owned()].into();
        let options = ServerOptions { arguments };
        let command = || serve_with_endpoint(&database, &options);
        let pair = Pair::start_commands([command(), command()]).await;
        let clock = Clock::of(&database.pool).await;
        Self { database, pair, clock }
    }

    /// The servers, over the connections of a number.
    fn servers(&self, number: usize) -> Servers {
        Servers {
            clients: [self.pair.client(2 * number), self.pair.client(2 * number + 1)],
            addresses: [self.pair.first.address.clone(), self.pair.second.address.clone()],
            database: self.database.pool.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Runs sequences in which time passes alike, and returns how those differ that do.
    async fn run(&self, sequences: Vec<(usize, Sequence)>) -> Vec<(usize, String)> {
        // Each run has ids that no other has.
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let Some(jumps) = sequences.first().map(|(_, of)| of.jumps.clone()) else {
            return Vec::new();
        };
        let clients = self.servers(0).clients;
        let begun = self.clock.begin_month(&clients).await;
        let begin = |(number, sequence): (usize, Sequence)| {
            let (servers, sequence) = (self.servers(number), Arc::new(sequence));
            let begun = begun.clone();
            async move {
                let prefix = format!("s{}", RUNS.fetch_add(1, Ordering::Relaxed));
                let run = match begun {
                    Ok(()) => Run::begin(&servers, prefix, &sequence).await,
                    Err(failure) => Err(failure),
                };
                (number, sequence, run)
            }
        };
        let mut runs = each(sequences, begin).await;
        for part in 0..=jumps.len() {
            let head = match part.checked_sub(1).map(|before| jumps[before]) {
                Some(jump) => self.clock.jump(&clients, jump).await.map(Some),
                None => Ok(None),
            };
            let is_last = part == jumps.len();
            let go_on = |(number, sequence, run): UnderWay| {
                let (clients, head) = (self.servers(number).clients, head.clone());
                async move {
                    let run = match run {
                        Ok(run) => go_on(run, &clients, head, &sequence.parts[part], is_last).await,
                        failed => failed,
                    };
                    (number, sequence, run)
                }
            };
            runs = each(runs, go_on).await;
        }
        let failed = runs.into_iter().filter_map(|(number, _, run)| Some((number, run.err()?)));
        failed.collect()
    }

    /// Whether a sequence differs, and how.
    async fn difference(&self, number: usize, sequence: &Sequence) -> Option<String> {
        self.run(vec![(number, sequence.clone())]).await.pop().map(|(_, failure)| failure)
    }

    /// The shortest sequence that still differs, and how it does.
    async fn shrink(&self, number: usize, failure: String) -> String {
        let until = Instant::now() + SHRINKING;
        let mut tree = tree(number);
        let mut shortest = (tree.current(), failure);
        let mut can_go_on = tree.simplify();
        for _ in 0..MAX_SHRINKS {
            if !can_go_on || Instant::now() > until {
                break;
            }
            let sequence = tree.current();
            can_go_on = match self.difference(number, &sequence).await {
                None => tree.complicate(),
                Some(failure) => {
                    shortest = (sequence, failure);
                    tree.simplify()
                }
            };
        }
        for index in (0..shortest.0.jumps.len()).rev() {
            let shorter = shortest.0.without_jump(index);
            if let Some(failure) = self.difference(number, &shorter).await {
                shortest = (shorter, failure);
            }
        }
        text_of(number, &shortest.0, &shortest.1)
    }
}

/// Runs groups of sequences at a place of its own, as long as there are some. Returns how those differ that do.
async fn run_some(groups: &Mutex<Vec<Vec<usize>>>) -> (Place, Vec<(usize, String)>) {
    let place = Place::new().await;
    let mut failed = Vec::new();
    loop {
        let Some(numbers) = groups.lock().unwrap().pop() else { break };
        let sequences = numbers.iter().map(|number| (*number, tree(*number).current()));
        let of_group = place.run(sequences.collect()).await;
        for (number, failure) in &of_group {
            eprintln!("sequence {number} differs: {failure}");
        }
        failed.extend(of_group);
    }
    (place, failed)
}

/// Goes on with a sequence after time has passed, if it has.
async fn go_on(
    mut run: Run,
    clients: &[Client; 2],
    head: Result<Option<i64>, String>,
    commands: &[Command],
    is_last: bool,
) -> Result<Run, String> {
    if let Some(head) = head? {
        passing::time_has_passed(&mut run, head).await?;
    }
    run.take_part(clients, commands).await?;
    if is_last {
        run.end(clients).await?;
    }
    Ok(run)
}

/// Does something with each of these, with so many at once as may be.
async fn each<T, Doing>(all: Vec<T>, mut act: impl FnMut(T) -> Doing) -> Vec<Doing::Output>
where
    Doing: Future<Output: Send> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    for one in all {
        let (doing, turns) = (act(one), turns.clone());
        under_way.spawn(async move {
            let _turn = turns.acquire_owned().await.unwrap();
            doing.await
        });
    }
    under_way.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_sequences_come_out_as_in_the_model() {
    let first = setting("TRIBUTARY_FIRST_SEQUENCE", 0);
    let end = first + setting("TRIBUTARY_SEQUENCES", SEQUENCES);
    let mut alike: Vec<(Vec<Jump>, Vec<usize>)> = Vec::new();
    for number in first..end {
        let jumps = jumps(number);
        match alike.iter_mut().find(|(known, _)| *known == jumps) {
            Some((_, numbers)) => numbers.push(number),
            None => alike.push((jumps, vec![number])),
        }
    }
    let groups = alike.iter().flat_map(|(_, numbers)| numbers.chunks(GROUP).map(<[_]>::to_vec));
    let groups = Mutex::new(groups.collect::<Vec<_>>());
    // One place works while the other waits.
    let places: [_; 2] = tokio::join!(run_some(&groups), run_some(&groups)).into();
    let mut happened = [0; MUST_HAPPEN.len()];
    let mut shown = String::new();
    let mut left_to_shrink = setting("TRIBUTARY_SHRUNK_SEQUENCES", 3);
    for (place, mut failed) in places {
        for (happened, what) in happened.iter_mut().zip(MUST_HAPPEN) {
            let count = format!("select count(*) from events where {what}");
            *happened += place.database.count(&count).await;
        }
        if !failed.is_empty() {
            shown += &format!("{} differ\n", failed.len());
        }
        failed.sort_unstable();
        for (number, failure) in failed.iter().cloned() {
            if left_to_shrink > 0 {
                left_to_shrink -= 1;
                shown += &place.shrink(number, failure).await;
            }
        }
        let Place { database, pair, .. } = place;
        pair.stop().await;
        if failed.is_empty() {
            database.check().await;
        }
    }
    assert!(shown.is_empty(), "{shown}");
    for (happened, what) in happened.iter().zip(MUST_HAPPEN) {
        eprintln!("{happened:>8} {what}");
        assert!(*happened > 0 || end - first < SEQUENCES, "this never happens: {what}");
    }
}
