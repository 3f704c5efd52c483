//! Live leaderboards: a snapshot, then changes that keep a client's copy up to date.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use contract::pb::{
    GetLeaderboardRequest, GetOverviewRequest, LeaderboardEntry, LeaderboardMetric,
    WatchLeaderboardRequest, WatchLeaderboardResponse,
};
use tonic::Code;
use tonic_types::StatusExt;

use super::support::{PATIENCE, refused, server_with};
use testing::{Begun, Client, Message, Server, TestDatabase, Watched, at_once, second_server};

/// The program that ranks by points; every sign-up with a code earns some.
const PROGRAM: &str = "tiered-points";

/// The leaderboard of a program, from a token.
pub fn board(program_id: &str, token: &str) -> WatchLeaderboardRequest {
    WatchLeaderboardRequest {
        program_id: program_id.into(),
        resume_token: token.into(),
        ..Default::default()
    }
}

fn board_by(program_id: &str, metric: LeaderboardMetric) -> WatchLeaderboardRequest {
    WatchLeaderboardRequest { metric: metric.into(), ..board(program_id, "") }
}

/// What a client that follows a stream shows.
struct Shown {
    request: WatchLeaderboardRequest,
    entries: BTreeMap<i64, LeaderboardEntry>,
    stream: Watched<WatchLeaderboardResponse>,
    /// How many messages that were no heartbeats there have been.
    messages: u32,
}

impl Shown {
    async fn open(client: &Client, request: WatchLeaderboardRequest) -> Self {
        let Begun { first, rest } = client.watch_leaderboard(request.clone()).await.unwrap();
        assert!(first.snapshot, "{first:?}");
        let mut shown = Self { request, entries: BTreeMap::new(), stream: rest, messages: 0 };
        shown.take(&first);
        shown
    }

    fn top(&self) -> i64 {
        if self.request.top == 0 { 10 } else { self.request.top.into() }
    }

    fn take(&mut self, message: &WatchLeaderboardResponse) {
        if message.is_heartbeat() {
            return;
        }
        self.messages += 1;
        if message.snapshot {
            self.entries.clear();
        }
        let ranks: Vec<_> = message.entries.iter().map(|entry| entry.rank).collect();
        assert!(ranks.is_sorted_by(|one, other| one < other), "{message:?}");
        for entry in &message.entries {
            assert!((1..=self.top()).contains(&entry.rank), "{message:?}");
            assert!(!entry.username.is_empty());
            self.entries.insert(entry.rank, entry.clone());
        }
        // The occupied places are the first ones.
        assert!(self.entries.keys().copied().eq((1..).take(self.entries.len())));
    }

    /// The users at the places, with their scores.
    fn places(&self) -> Vec<(&str, i64)> {
        self.entries.values().map(|entry| (&*entry.user_id, entry.score)).collect()
    }

    /// Reads until the expected entries are shown.
    async fn until(&mut self, expected: &[(&str, i64)]) {
        let settle = async {
            while self.places() != expected {
                let message = self.stream.next().await.unwrap();
                self.take(&message);
            }
        };
        let settled = tokio::time::timeout(PATIENCE, settle).await.is_ok();
        assert!(settled, "{:?} is shown instead of {expected:?}", self.places());
    }

    /// Reads until the shown entries equal those of a read with a token.
    async fn until_as_read(&mut self, client: &Client, consistency_token: &str) {
        let expected = read(client, &self.request, self.top(), consistency_token).await;
        let expected: Vec<_> =
            expected.iter().map(|entry| (&*entry.user_id, entry.score)).collect();
        self.until(&expected).await;
    }
}

/// The top of the board according to a read.
async fn read(
    client: &Client,
    watched: &WatchLeaderboardRequest,
    top: i64,
    consistency_token: &str,
) -> Vec<LeaderboardEntry> {
    let message = GetLeaderboardRequest {
        program_id: watched.program_id.clone(),
        metric: watched.metric,
        page_size: i32::try_from(top).unwrap(),
        consistency_token: consistency_token.into(),
        ..Default::default()
    };
    let answer = client.leaderboards().get_leaderboard(client.request(message)).await.unwrap();
    answer.into_inner().entries
}

/// Signs up a user; returns their code.
async fn join(client: &Client, user_id: &str, code: &str) -> String {
    client.sign_up(PROGRAM, user_id, code).await.unwrap().code
}

/// A server on a fresh database with programs that the read models know.
pub async fn server_with_boards(programs: &[&str]) -> (TestDatabase, Server, Client) {
    let (database, server, client) = server_with(programs).await;
    let outsider = client.sign_up("", "outsider", "").await.unwrap();
    for program_id in programs {
        let message = GetOverviewRequest {
            program_id: (*program_id).into(),
            consistency_token: outsider.response.consistency_token.clone(),
        };
        client.operators().get_overview(client.request(message)).await.unwrap();
    }
    (database, server, client)
}

/// Signs up a number of friends of a user, all at once, and then one more user without a referrer. Returns a
/// consistency token that covers all of them.
async fn befriend(client: &Client, name: &str, code: &str, count: usize) -> String {
    let sign_ups = (1..=count).map(|number| {
        let (client, code) = (client.clone(), code.to_owned());
        let friend = format!("{name}-{number}");
        async move { client.sign_up(PROGRAM, &friend, &code).await.unwrap() }
    });
    at_once(sign_ups).await;
    let last = client.sign_up(PROGRAM, &format!("{name}-last"), "").await.unwrap();
    last.response.consistency_token
}

#[tokio::test]
async fn a_board_is_shown_as_a_whole_and_then_kept_true() {
    let (database, server, client) = server_with_boards(&[PROGRAM]).await;
    let other = second_server(&database, &[]).await;
    let request = WatchLeaderboardRequest { top: 3, ..board(PROGRAM, "") };
    let mut empty = Shown::open(&other.client(), request.clone()).await;
    assert_eq!(empty.places(), []);
    let ada = join(&client, "ada", "").await;
    let bob = join(&client, "bob", "").await;
    empty.until(&[("ada", 0), ("bob", 0)]).await;

    let cid = join(&client, "cid", &bob).await;
    empty.until(&[("bob", 10), ("ada", 0), ("cid", 0)]).await;
    let mut late = Shown::open(&client, request).await;
    assert_eq!(late.places().len(), 3);
    late.until(&[("bob", 10), ("ada", 0), ("cid", 0)]).await;
    let mut whole = Shown::open(&client, board(PROGRAM, "")).await;
    // Among equal scores, the participant who enrolled first ranks higher.
    join(&client, "dan", &cid).await;
    join(&client, "eve", &ada).await;
    for shown in [&mut empty, &mut late] {
        shown.until(&[("ada", 10), ("bob", 10), ("cid", 10)]).await;
    }
    whole.until(&[("ada", 10), ("bob", 10), ("cid", 10), ("dan", 0), ("eve", 0)]).await;
    join(&client, "fay", &cid).await;
    let token = befriend(&client, "guest", &bob, 12).await;
    for shown in [&mut empty, &mut late] {
        shown.until(&[("bob", 295), ("cid", 20), ("ada", 10)]).await;
        shown.until_as_read(&client, &token).await;
    }
    whole.until_as_read(&client, &token).await;
    assert_eq!(whole.entries.len(), 10, "ten unless asked otherwise");
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_board_resumed_on_any_server_starts_with_all_that_the_token_stands_for() {
    let (database, server, client) = server_with_boards(&[PROGRAM]).await;
    let other = second_server(&database, &[]).await;
    let ada = join(&client, "ada", "").await;
    let mut shown = Shown::open(&client, board(PROGRAM, "")).await;
    // The boards of both servers exist already, so that neither is fresh only because it was just built.
    Shown::open(&other.client(), board(PROGRAM, "")).await;
    for round in 1..=15 {
        let (writer, reader) =
            if round % 2 == 0 { (&client, &other) } else { (&other.client(), &server) };
        writer.sign_up(PROGRAM, &format!("friend-{round}"), &ada).await.unwrap();
        let points = if round < 10 { round * 10 } else { round * 15 + 100 };
        while shown.places().first() != Some(&("ada", points)) {
            let message = shown.stream.next().await.unwrap();
            shown.take(&message);
        }

        let request = board(PROGRAM, &shown.stream.token);
        let resumed = Shown::open(&reader.client(), request).await;
        assert_eq!(resumed.places()[0], ("ada", points), "older than the token");
        assert_eq!(resumed.messages, 1);
        shown = resumed;
    }
    // A board that did not exist before answers as well, with the token of another server.
    let third = second_server(&database, &[]).await;
    let resumed = Shown::open(&third.client(), board(PROGRAM, &shown.stream.token)).await;
    assert_eq!(resumed.places()[0], ("ada", 325));
    server.stop().await;
    other.stop().await;
    third.stop().await;
    database.check().await;
}

#[tokio::test]
async fn many_writes_make_few_messages() {
    const COUNT: usize = 400;
    let (database, server, client) = server_with_boards(&[PROGRAM]).await;
    let ada = join(&client, "ada", "").await;
    let bob = join(&client, "bob", "").await;
    let begin = Instant::now();
    let mut shown = Shown::open(&client, board(PROGRAM, "")).await;

    tokio::join!(
        befriend(&client, "of-ada", &ada, COUNT / 2),
        befriend(&client, "of-bob", &bob, COUNT / 2),
    );
    let end = client.sign_up(PROGRAM, "end", "").await.unwrap().response.consistency_token;
    shown.until_as_read(&client, &end).await;

    assert_eq!(shown.places()[..2], [("ada", 5_500), ("bob", 5_500)]);
    let most = begin.elapsed().as_millis() / Duration::from_millis(250).as_millis() + 2;
    assert!(u128::from(shown.messages) <= most, "{} messages, not {most}", shown.messages);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_board_by_another_metric_shows_that() {
    const PROGRAM: &str = "first-purchase-bonus";
    let (database, server, client) = server_with_boards(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let eve = client.sign_up(PROGRAM, "eve", "").await.unwrap();
    let mut own = Shown::open(&client, board(PROGRAM, "")).await;
    let mut conversions =
        Shown::open(&client, board_by(PROGRAM, LeaderboardMetric::Conversions)).await;
    let mut referrals = Shown::open(&client, board_by(PROGRAM, LeaderboardMetric::Referrals)).await;
    let mut earnings = Shown::open(&client, board_by(PROGRAM, LeaderboardMetric::Earnings)).await;
    let mut points = Shown::open(&client, board_by(PROGRAM, LeaderboardMetric::Points)).await;
    assert_eq!(earnings.places(), [], "nobody is on it with nothing");

    client.sign_up(PROGRAM, "bob", &eve.code).await.unwrap();
    client.sign_up(PROGRAM, "cid", &eve.code).await.unwrap();
    client.sign_up(PROGRAM, "dan", &ada.code).await.unwrap();
    referrals.until(&[("eve", 2), ("ada", 1), ("bob", 0), ("cid", 0), ("dan", 0)]).await;
    client.buy("order-1", "dan", "USD", 1_000).await.unwrap();
    let nobody = [("eve", 0), ("bob", 0), ("cid", 0)];
    earnings.until(&[("ada", 1_000), ("dan", 1_000)]).await;
    points.until(&[&[("ada", 1_000), ("dan", 1_000)][..], &nobody].concat()).await;
    let by_conversions = [&[("ada", 1)][..], &nobody, &[("dan", 0)]].concat();
    own.until(&by_conversions).await;
    conversions.until(&by_conversions).await;
    client.buy("order-2", "cid", "USD", 1_000).await.unwrap();
    earnings.until(&[("ada", 1_000), ("eve", 1_000), ("cid", 1_000), ("dan", 1_000)]).await;
    own.until(&[("ada", 1), ("eve", 1), ("bob", 0), ("cid", 0), ("dan", 0)]).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_board_that_cannot_be_watched_is_refused() {
    let (database, server, client) = server_with_boards(&[PROGRAM, "referral-count"]).await;
    let answer = client.watch_leaderboard(board("nothing", "")).await.map(|_| ());
    refused(answer, Code::NotFound, "PROGRAM_NOT_FOUND");
    for top in [-1, 101, i32::MAX, i32::MIN] {
        let request = WatchLeaderboardRequest { top, ..board(PROGRAM, "") };
        let answer = client.watch_leaderboard(request).await.map(|_| ());
        let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        let violations = status.get_error_details().bad_request().cloned().unwrap();
        let violation = &violations.field_violations[0];
        assert_eq!((&*violation.field, &*violation.reason), ("top", "OUT_OF_RANGE"));
    }
    for top in [1, 100] {
        Shown::open(&client, WatchLeaderboardRequest { top, ..board(PROGRAM, "") }).await;
    }
    let token = Shown::open(&client, board("referral-count", "")).await.stream.token;
    let answer = client.watch_leaderboard(board(PROGRAM, &token)).await.map(|_| ());
    refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn there_is_a_board_as_soon_as_there_is_a_program() {
    let (database, server, client) = server_with(&[]).await;
    let other = second_server(&database, &[]).await;
    let json = std::fs::read_to_string(testing::program(PROGRAM)).unwrap();
    let program = contract::parse_program(&json).unwrap();
    for round in 1..=30 {
        let program_id = format!("{PROGRAM}-{round}");
        let program = contract::pb::Program { program_id: program_id.clone(), ..program.clone() };
        client.publish(program).await.unwrap();
        let here = Shown::open(&client, board(&program_id, "")).await;
        let there = Shown::open(&other.client(), board(&program_id, "")).await;
        assert!(here.entries.is_empty() && there.entries.is_empty());
        assert!(read(&client, &here.request, 10, "").await.is_empty());
    }
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_board_stays_true_where_streams_may_fall_behind_by_a_few_events_only() {
    let (database, server, client) = server_with_boards(&[PROGRAM]).await;
    let small = second_server(&database, &["--queued-events", "4"]).await;
    let ada = join(&client, "ada", "").await;
    let mut shown = Shown::open(&small.client(), board(PROGRAM, "")).await;
    for round in 1..=8 {
        // Bursts that exceed a board's own queue.
        let token = befriend(&client, &format!("round-{round}"), &ada, 60).await;
        read(&small.client(), &shown.request, 1, &token).await;
        if round % 2 == 0 {
            shown.until_as_read(&small.client(), &token).await;
        }
    }
    assert_eq!(shown.places()[0], ("ada", 480 * 25 + 500));
    server.stop().await;
    small.stop().await;
    database.check().await;
}
