//! Thousands of streams in one process: each gets exactly its own messages, without additional load on the
//! database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contract::parse_program;
use contract::pb::watch_participant_response::Change;
use contract::pb::{
    WatchBalancesResponse, WatchEarningsResponse, WatchParticipantResponse, WatchTierResponse,
};
use tokio::task::JoinSet;

use testing::{
    ADMIN_KEY, Client, Message, TestDatabase, Watched, check_books, program, second_server,
};

const PROGRAM: &str = "tiered-points";
const PARTICIPANTS: usize = 200;
/// The numbers of streams of every participant: of earnings, of balances, of the tier and of everything.
const OF_EACH: (usize, usize, usize, usize) = (3, 3, 2, 2);
/// Connections that the server may have to the database for reading.
const CONNECTIONS: usize = 5;
/// Its other connections: two of the command path, one for notices, one of the projector, one for reactions, one for
/// notices of jobs, one that watches for hung processes.
const FURTHER_CONNECTIONS: usize = 7;

/// A stream of one kind; one of earnings knows the number of its participant.
enum Stream {
    Earnings(usize, Watched<WatchEarningsResponse>),
    Balances(Watched<WatchBalancesResponse>),
    Tier(Watched<WatchTierResponse>),
    Participant(Watched<WatchParticipantResponse>),
}

impl Stream {
    /// Opens the stream with a number, from a token or from now on.
    async fn open(client: &Client, number: usize, token: &str) -> Self {
        let (participant, which) = (number % PARTICIPANTS, number / PARTICIPANTS);
        let user_id = format!("member-{participant}");
        let (earnings, balances, tiers, _) = OF_EACH;
        if which < earnings {
            let begun = client.watch_earnings(PROGRAM, &user_id, token).await.unwrap();
            assert!(begun.first.is_heartbeat());
            Self::Earnings(participant, begun.rest)
        } else if which < earnings + balances {
            let begun = client.watch_balances(PROGRAM, &user_id, token).await.unwrap();
            assert_eq!(begun.first.is_heartbeat(), !token.is_empty());
            assert!(begun.first.balances.iter().all(|balance| balance.minor_units == 0));
            Self::Balances(begun.rest)
        } else if which < earnings + balances + tiers {
            let begun = client.watch_tier(PROGRAM, &user_id, token).await.unwrap();
            assert_eq!(begun.first.tier, if token.is_empty() { "Bronze" } else { "" });
            Self::Tier(begun.rest)
        } else {
            let begun = client.watch_participant(PROGRAM, &user_id, token).await.unwrap();
            let is_present = matches!(begun.first.change, Some(Change::Present(_)));
            assert_eq!(is_present, token.is_empty());
            Self::Participant(begun.rest)
        }
    }

    fn token(&self) -> String {
        match self {
            Self::Earnings(_, stream) => stream.token.clone(),
            Self::Balances(stream) => stream.token.clone(),
            Self::Tier(stream) => stream.token.clone(),
            Self::Participant(stream) => stream.token.clone(),
        }
    }

    /// Checks that the next messages are those for two friends of this participant.
    async fn expect_two_friends(&mut self) {
        // Ten points for the first one; with the second, fifteen for each and a hundred for the tier.
        match self {
            Self::Earnings(participant, stream) => {
                for (friend, total) in [(1, 10), (2, 130)] {
                    let message = stream.news().await;
                    let reward = message.reward.unwrap();
                    assert_eq!(reward.earner_user_id, format!("member-{participant}"));
                    assert_eq!(reward.source_user_id, format!("friend-{participant}-{friend}"));
                    assert_eq!(message.total.unwrap().minor_units, total);
                }
            }
            Self::Balances(stream) => {
                for (change, balance) in [(10, 10), (120, 130)] {
                    let message = stream.news().await;
                    assert_eq!(message.change.unwrap().minor_units, change);
                    assert_eq!(message.balances[0].minor_units, balance);
                }
            }
            Self::Tier(stream) => {
                let change = stream.news().await;
                assert_eq!((&*change.previous_tier, &*change.tier), ("Bronze", "Silver"));
            }
            Self::Participant(stream) => {
                // Each friend's referral is made and converts.
                let (mut balances, mut referrals, mut tiers) = (Vec::new(), 0, 0);
                while balances.len() + referrals + tiers < 7 {
                    match stream.news().await.change {
                        Some(Change::Entry(entry)) => {
                            balances.push(entry.balance.unwrap().minor_units);
                        }
                        Some(Change::Referral(_)) => referrals += 1,
                        Some(Change::Tier(_)) => tiers += 1,
                        // Two hundred participants move up the board at the same time.
                        Some(Change::Rank(_)) => {}
                        other => panic!("{other:?} is not expected here"),
                    }
                }
                assert_eq!((&*balances, referrals, tiers), (&[10, 130][..], 4, 1));
            }
        }
    }
}

/// Makes calls, a hundred at a time, and returns the answers in the order of the calls.
async fn all<Call, Answer>(calls: impl IntoIterator<Item = Call>) -> Vec<Answer>
where
    Call: Future<Output = Answer> + Send + 'static,
    Answer: Send + 'static,
{
    let turns = Arc::new(tokio::sync::Semaphore::new(100));
    let mut tasks = JoinSet::new();
    for (number, call) in calls.into_iter().enumerate() {
        let turns = turns.clone();
        tasks.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            (number, call.await)
        });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The tiered program, with the second tier from two referrals on.
async fn publish(client: &Client) {
    let json = std::fs::read_to_string(program(PROGRAM)).unwrap();
    let mut program = parse_program(&json).unwrap();
    program.rewards[0].tiers[1].from_referrals = 2;
    client.publish(program).await.unwrap();
}

/// Repeatedly lists the connections of the server; returns the largest list.
async fn most_connections(database: Arc<TestDatabase>, over: Arc<AtomicBool>) -> Vec<String> {
    let query = "select concat_ws(' ', state, left(query, 80)) from pg_stat_activity
        where datname = current_database() and application_name = 'tributary'
            and backend_type = 'client backend'";
    let mut most = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let now: Vec<String> = sqlx::query_scalar(query).fetch_all(&database.pool).await.unwrap();
        if now.len() > most.len() {
            most = now;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_streams_each_get_their_own_over_a_few_connections_to_the_database() {
    let (earnings, balances, tiers, everything) = OF_EACH;
    let count = (earnings + balances + tiers + everything) * PARTICIPANTS;
    assert_eq!(count, 2_000);
    let database = Arc::new(TestDatabase::new().await);
    let server = second_server(&database, &["--max-connections", &CONNECTIONS.to_string()]).await;
    let client = server.client();
    publish(&client).await;
    let over = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn(most_connections(database.clone(), over.clone()));
    let codes =
        all(
            (0..PARTICIPANTS).map(|number| {
                let client = client.clone();
                async move {
                    client.sign_up(PROGRAM, &format!("member-{number}"), "").await.unwrap().code
                }
            }),
        )
        .await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(server.separate_client(Some(ADMIN_KEY)).await);
    }

    let streams = all((0..count).map(|number| {
        let client = connections[number % connections.len()].clone();
        async move { Stream::open(&client, number, "").await }
    }))
    .await;
    let tokens: Vec<String> = streams.iter().map(Stream::token).collect();
    for friend in 1..=2 {
        all(codes.iter().cloned().enumerate().map(|(number, code)| {
            let client = client.clone();
            let user_id = format!("friend-{number}-{friend}");
            async move { client.sign_up(PROGRAM, &user_id, &code).await.unwrap() }
        }))
        .await;
    }
    let streams = all(streams.into_iter().map(|mut stream| async move {
        stream.expect_two_friends().await;
        stream
    }))
    .await;

    // All streams are lost, resume, and read what they missed.
    drop((streams, connections));
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(server.separate_client(Some(ADMIN_KEY)).await);
    }
    all(tokens.into_iter().enumerate().map(|(number, token)| {
        let client = connections[number % connections.len()].clone();
        async move {
            let mut stream = Stream::open(&client, number, &token).await;
            stream.expect_two_friends().await;
        }
    }))
    .await;

    over.store(true, Ordering::Relaxed);
    let most = looking.await.unwrap();
    let bound = CONNECTIONS + FURTHER_CONNECTIONS;
    assert!(most.len() <= bound, "more than {bound} connections of the server: {most:#?}");
    drop((client, connections));
    server.stop().await;
    check_books(&database).await;
    database.check().await;
}
