//! Random sequences of commands on two servers, compared with a plain model that is written separately from the domain.
//!
//! Each sequence has its own programs and users, so that thousands of them run against the same two servers. A sequence
//! that comes out otherwise than in the model is shrunk, and the shortest one that still does is shown.
//! `TRIBUTARY_SEQUENCES` says how many sequences to run, `TRIBUTARY_FIRST_SEQUENCE` the number of the first one, and
//! `TRIBUTARY_SHRUNK_SEQUENCES` how many of those that differ are shrunk.

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

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use commands::{Sequence, sequences};
use run::Servers;
use testing::stripe_events::serve_with_endpoint;
use testing::{Pair, ServerOptions, TestDatabase};

/// How many sequences run in the ordinary suite.
const SEQUENCES: usize = 120;
/// How many sequences run at the same time.
const AT_ONCE: usize = 24;
/// How many steps the search for a shorter sequence takes.
const MAX_SHRINKS: usize = 400;

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

/// The same sequence for the same number.
fn tree(number: usize) -> impl ValueTree<Value = Sequence> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    sequences().new_tree(&mut TestRunner::new_with_rng(Config::default(), random)).unwrap()
}

/// Runs a sequence with ids that no other run has. An error says where server and model differ.
async fn run_afresh(servers: &Servers, sequence: &Sequence) -> Result<(), String> {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let prefix = format!("s{}", RUNS.fetch_add(1, Ordering::Relaxed));
    run::run(servers, prefix, sequence).await
}

/// The shortest sequence that still fails, and its failure.
async fn shrink(servers: &Servers, number: usize, failure: String) -> String {
    let mut tree = tree(number);
    let mut shortest = (tree.current(), failure);
    let mut can_go_on = tree.simplify();
    for _ in 0..MAX_SHRINKS {
        if !can_go_on {
            break;
        }
        let sequence = tree.current();
        can_go_on = match run_afresh(servers, &sequence).await {
            Ok(()) => tree.complicate(),
            Err(failure) => {
                shortest = (sequence, failure);
                tree.simplify()
            }
        };
    }
    let (sequence, failure) = shortest;
    let mut text = format!("sequence {number}: {failure}\n");
    for (program, rules) in sequence.programs.iter().enumerate() {
        text += &format!("  program {program}: {rules:?}\n");
    }
    text += &format!("  payments {:?}\n", sequence.payments);
    for command in &sequence.commands {
        text += &format!("  {command:?}\n");
    }
    text
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Two servers on a database of their own.
struct Place {
    database: TestDatabase,
    pair: Pair,
}

impl Place {
    async fn new(options: &ServerOptions) -> Self {
        let database = TestDatabase::new().await;
        let command = || serve_with_endpoint(&database, options);
        let pair = Pair::start_commands([command(), command()]).await;
        Self { database, pair }
    }

    /// The servers, over the connections of a number.
    fn servers(&self, number: usize) -> Servers {
        Servers {
            clients: [self.pair.client(2 * number), self.pair.client(2 * number + 1)],
            addresses: [self.pair.first.address.clone(), self.pair.second.address.clone()],
            database: self.database.pool.clone(),
        }
    }

    /// Runs these sequences, and returns how those differ that do.
    async fn run(&self, numbers: Vec<usize>) -> Vec<(usize, String)> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut runs = JoinSet::new();
        let all = numbers.len();
        for number in numbers {
            let (turns, servers) = (turns.clone(), self.servers(number));
            runs.spawn(async move {
                let _turn = turns.acquire_owned().await.unwrap();
                let sequence = tree(number).current();
                (number, run_afresh(&servers, &sequence).await)
            });
        }
        let mut failed = Vec::new();
        let mut done = 0;
        while let Some(run) = runs.join_next().await {
            let (number, result) = run.unwrap();
            done += 1;
            if done % 500 == 0 {
                eprintln!("{done} of {all} sequences, {} failed", failed.len());
            }
            if let Err(failure) = result {
                eprintln!("sequence {number} differs: {failure}");
                failed.push((number, failure));
            }
        }
        failed.sort_unstable();
        failed
    }

    /// The shortest sequences that still differ, of as many as are to be shrunk.
    async fn shrink(&self, failed: &[(usize, String)]) -> String {
        let servers = self.servers(0);
        let mut shown = String::new();
        for (number, failure) in failed.iter().take(setting("TRIBUTARY_SHRUNK_SEQUENCES", 3)) {
            shown += &shrink(&servers, *number, failure.clone()).await;
        }
        shown
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_sequences_come_out_as_in_the_model() {
    let first = setting("TRIBUTARY_FIRST_SEQUENCE", 0);
    let end = first + setting("TRIBUTARY_SEQUENCES", SEQUENCES);
    let (moving, still): (Vec<_>, Vec<_>) =
        (first..end).partition(|number| tree(*number).current().moves_time());
    // Where times in the log are moved, servers must not know the old ones.
    let forgetful = ["--cached-streams".to_owned(), "1".to_owned()];
    let mut shown = String::new();
    let mut happened = [0; MUST_HAPPEN.len()];
    for (numbers, forgetful) in [(still, &[][..]), (moving, &forgetful[..])] {
        // A second operator has tests of their own.
        let limit = ["--payout-limit".to_owned(), "1000000000".to_owned()];
        let options = ServerOptions { arguments: [&limit, forgetful].concat() };
        let all = numbers.len();
        let place = Place::new(&options).await;
        let failed = place.run(numbers).await;
        for (happened, what) in happened.iter_mut().zip(MUST_HAPPEN) {
            let count = format!("select count(*) from events where {what}");
            *happened += place.database.count(&count).await;
        }
        shown += &place.shrink(&failed).await;
        let Place { database, pair } = place;
        pair.stop().await;
        if !failed.is_empty() {
            shown += &format!("{} of {all} differ\n", failed.len());
        } else if forgetful.is_empty() {
            database.check().await;
        } else {
            // Not what the rules demand: they do not agree with times that were moved.
            database.check_whatever_the_rules().await;
        }
    }
    assert!(shown.is_empty(), "{shown}");
    for (happened, what) in happened.iter().zip(MUST_HAPPEN) {
        eprintln!("{happened:>8} {what}");
        assert!(*happened > 0 || end - first < SEQUENCES, "this never happens: {what}");
    }
}
