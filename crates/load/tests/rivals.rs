//! The rivals of the comparison work correctly: a comparison with a rival that loses rewards, or pays them
//! twice, would be meaningless.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "tests; numbers of participants and purchases are small"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tributary_load::rivals::{
    EventSourced, HandWritten, Population, Rival, StoredFunction, pgbench,
};

use testing::TestDatabase;

const POOL_SIZE: u32 = 16;

/// Spread-out numbers that are the same in each run.
struct Spread(u64);

impl Spread {
    /// The next number, at least 0 and less than 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / (f64::from(u32::MAX) + 1.0)
    }
}

/// Cumulative weights of `count` choices by Zipf's law: choice n has a weight in proportion to 1 / n.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: u32) -> Self {
        let mut sum = 0.0;
        Self((1..=count).map(|rank| (sum += 1.0 / f64::from(rank), sum).1).collect())
    }

    fn choose(&self, spread: &mut Spread) -> usize {
        let point = spread.next() * self.0.last().unwrap();
        self.0.partition_point(|sum| *sum <= point)
    }
}

/// One percent of the participants are at the top, ten percent below them, and the rest buys. Referrers are
/// chosen by Zipf's law with an exponent of 1.
fn population(participants: u32) -> (Population, Vec<usize>) {
    let (top, middle) = (participants / 100, participants / 10);
    let (tops, middles) = (Zipf::new(top), Zipf::new(middle));
    let mut spread = Spread(1);
    let grandparents: Vec<_> = (0..middle).map(|_| tops.choose(&mut spread)).collect();
    let lines: Vec<_> = (top + middle..participants)
        .map(|buyer| {
            let parent = middles.choose(&mut spread);
            (buyer as usize, top as usize + parent, grandparents[parent])
        })
        .collect();
    let buyers = lines.iter().map(|line| line.0).collect();
    (Population::new(participants as usize, &lines).unwrap(), buyers)
}

fn amount_minor(number: u64) -> i64 {
    100_000 + number as i64 * 37 % 100_000
}

/// Lets 16 tasks make 200 purchases, each sent twice, and checks the tables.
async fn keeps_its_books(rival: impl Rival, buyers: Vec<usize>) {
    const PURCHASES: u64 = 200;
    let rival = Arc::new(rival);
    rival.check(0).await.unwrap();
    assert!(rival.check(1).await.is_err(), "nothing was bought yet");
    let next = Arc::new(AtomicU64::new(0));
    let buyers = Arc::new(buyers);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (rival, next, buyers) = (rival.clone(), next.clone(), buyers.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= PURCHASES {
                        return;
                    }
                    let buyer = buyers[number as usize * 7 % buyers.len()];
                    rival.purchase(number, buyer, amount_minor(number)).await.unwrap();
                    rival.purchase(number, buyer, amount_minor(number)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    rival.check(PURCHASES).await.unwrap();
    assert!(rival.check(PURCHASES + 1).await.is_err(), "one more than was bought");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_event_sourcing_keeps_its_books() {
    let database = TestDatabase::new().await;
    let (population, buyers) = population(200);
    let rival = EventSourced::connect(&database.url, POOL_SIZE, population).await.unwrap();
    keeps_its_books(rival, buyers).await;
    // The busiest streams are long enough for a snapshot.
    let snapshots = "select count(*) from rival_event_sourced.snapshots";
    assert!(database.count(snapshots).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hand_written_sql_keeps_its_books() {
    let database = TestDatabase::new().await;
    let (population, buyers) = population(200);
    let rival = HandWritten::connect(&database.url, POOL_SIZE, population).await.unwrap();
    keeps_its_books(rival, buyers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_function_keeps_its_books() {
    let database = TestDatabase::new().await;
    let (population, buyers) = population(200);
    let rival = StoredFunction::connect(&database.url, POOL_SIZE, population).await.unwrap();
    keeps_its_books(rival, buyers).await;
}

#[tokio::test]
async fn a_check_notices_a_reward_that_is_gone() {
    let database = TestDatabase::new().await;
    let (population, buyers) = population(100);
    let rival = HandWritten::connect(&database.url, 1, population).await.unwrap();
    rival.purchase(1, buyers[0], 100_000).await.unwrap();
    rival.check(1).await.unwrap();
    sqlx::query("delete from rival_hand_written.entries where amount_minor = 1000")
        .execute(&database.pool)
        .await
        .unwrap();
    let complaint = rival.check(1).await.unwrap_err();
    assert!(complaint.contains("should have"), "{complaint}");
}

#[tokio::test]
async fn all_rivals_store_the_same_payloads_for_the_same_purchases() {
    let database = TestDatabase::new().await;
    let (population, buyers) = population(100);
    let url = &database.url;
    let event_sourced = EventSourced::connect(url, 2, population.clone()).await.unwrap();
    let hand_written = HandWritten::connect(url, 2, population.clone()).await.unwrap();
    let stored_function = StoredFunction::connect(url, 2, population).await.unwrap();
    for (number, buyer) in (0..20).zip(&buyers) {
        let amount_minor = 100_050 + amount_minor(number);
        event_sourced.purchase(number, *buyer, amount_minor).await.unwrap();
        hand_written.purchase(number, *buyer, amount_minor).await.unwrap();
        stored_function.purchase(number, *buyer, amount_minor).await.unwrap();
    }
    let payloads = async |query: &str| -> Vec<Value> {
        sqlx::query_scalar(query).fetch_all(&database.pool).await.unwrap()
    };
    let in_log = payloads(
        "select payload from rival_event_sourced.events
         where event_type in ('RewardGranted', 'PurchaseRecorded')
         order by aggregate_type, aggregate_id, sequence",
    )
    .await;
    assert_eq!(in_log.len(), 60);
    for schema in ["rival_hand_written", "rival_stored_function"] {
        let in_tables = payloads(&format!(
            "select payload from (
                select 'Participant' as kind, 'comparison/' || user_id as id, number, payload
                from {schema}.entries
                union all
                select 'Purchase', purchase_id, 1, payload from {schema}.purchases
             ) as payloads order by kind, id collate \"C\", number",
        ))
        .await;
        assert_eq!(in_tables, in_log, "{schema}");
    }
}

#[tokio::test]
async fn pgbench_inserts_events() {
    let database = TestDatabase::new().await;
    let program = pgbench::find(None).await;
    let inserts = pgbench::single_inserts(&program, &database.url, turn(4, 1)).await.unwrap();
    assert!(inserts.count > 0 && inserts.per_second > 0.0, "{inserts:?}");
}

fn turn(clients: u32, seconds: u32) -> pgbench::Turn {
    pgbench::Turn { clients, threads: 2, warm_up_seconds: 1, seconds }
}
