//! Heartbeats of streams, and how streams end.

use contract::pb::ReadEventsRequest;
use contract::pb::watch_participant_response::Change;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::stream_leaderboards::{board, server_with_boards};
use super::support::{PATIENCE, log_length, refused, server_with};
use testing::{
    ADMIN_KEY, Begun, Client, Logged, Message, Server, Watched, at_once, in_log, second_server,
};

/// A program that every kind of stream supports.
const PROGRAM: &str = "tiered-points";

/// The token in the status at the end of a stream.
fn last_token(status: &Status) -> String {
    let details = status.get_error_details();
    assert!(details.retry_info().is_some(), "no word on when to come back: {status:?}");
    let info = details.error_info().cloned().unwrap();
    info.metadata.get("resume_token").cloned().expect("a token")
}

/// A client whose connection buffers little that was not read.
pub async fn narrow_client(server: &Server) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let narrow = endpoint.initial_stream_window_size(4_096).initial_connection_window_size(65_535);
    Client::new(narrow.connect().await.unwrap(), Some(ADMIN_KEY))
}

/// Signs up a number of friends of a user, all at once.
async fn befriend(client: &Client, name: &str, code: &str, count: usize) {
    at_once((0..count).map(|number| {
        let (client, code) = (client.clone(), code.to_owned());
        let friend = format!("{name}-{number}");
        async move { client.sign_up(PROGRAM, &friend, &code).await.unwrap() }
    }))
    .await;
}

/// Reads a few heartbeats and nothing else; the token of the last one.
async fn heartbeats<M: Message>(stream: &mut Watched<M>) -> String {
    for _ in 0..3 {
        let message = stream.next().await.unwrap();
        assert!(message.is_heartbeat(), "{message:?}");
    }
    stream.token.clone()
}

#[tokio::test]
async fn silent_streams_of_every_kind_have_heartbeats_whose_tokens_work() {
    let (database, server, client) = server_with_boards(&[PROGRAM]).await;
    server.stop().await;
    drop(client);
    let server = second_server(&database, &["--heartbeat-s", "1"]).await;
    let other = second_server(&database, &[]).await;
    let client = server.client();
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut earnings = client.watch_earnings(PROGRAM, "ada", "").await.unwrap().rest;
    let mut balances = client.watch_balances(PROGRAM, "ada", "").await.unwrap().rest;
    let mut tier = client.watch_tier(PROGRAM, "ada", "").await.unwrap().rest;
    let mut all = client.watch_participant(PROGRAM, "ada", "").await.unwrap().rest;
    let mut events = client.watch_events(&["TierChanged"], "", "").await.unwrap().rest;
    // The board may not reflect the sign-up yet.
    let Begun { first, rest: mut leaderboard } =
        client.watch_leaderboard(board(PROGRAM, "")).await.unwrap();
    if first.entries.is_empty() {
        assert_eq!(leaderboard.news().await.entries[0].user_id, "ada");
    }
    let (earnings_token, balances_token, tier_token, all_token, events_token, board_token) = tokio::join!(
        heartbeats(&mut earnings),
        heartbeats(&mut balances),
        heartbeats(&mut tier),
        heartbeats(&mut all),
        heartbeats(&mut events),
        heartbeats(&mut leaderboard),
    );
    befriend(&client, "friend", &ada.code, 10).await;

    let client = other.client();
    let mut resumed = client.watch_earnings(PROGRAM, "ada", &earnings_token).await.unwrap().rest;
    for stream in [&mut earnings, &mut resumed] {
        for _ in 0..10 {
            stream.news().await;
        }
        assert_eq!(stream.token.len(), earnings_token.len());
    }
    let mut resumed = client.watch_balances(PROGRAM, "ada", &balances_token).await.unwrap().rest;
    for stream in [&mut balances, &mut resumed] {
        for _ in 0..9 {
            stream.news().await;
        }
        assert_eq!(stream.news().await.balances[0].minor_units, 250);
    }
    let mut resumed = client.watch_tier(PROGRAM, "ada", &tier_token).await.unwrap().rest;
    for stream in [&mut tier, &mut resumed] {
        assert_eq!(stream.news().await.tier, "Silver");
    }
    let mut resumed = client.watch_participant(PROGRAM, "ada", &all_token).await.unwrap().rest;
    for stream in [&mut all, &mut resumed] {
        // Ten referrals that are made and converted, ten rewards, and the tier before the last conversion.
        for _ in 0..29 {
            assert!(!matches!(stream.news().await.change, Some(Change::Tier(_) | Change::Rank(_))));
        }
        assert!(matches!(stream.news().await.change, Some(Change::Tier(_))));
        assert!(matches!(stream.news().await.change, Some(Change::Referral(_))));
    }
    let mut resumed = client.watch_events(&["TierChanged"], "", &events_token).await.unwrap().rest;
    for stream in [&mut events, &mut resumed] {
        assert_eq!(stream.news().await.event.unwrap().event_type, "TierChanged");
    }
    let resumed = client.watch_leaderboard(board(PROGRAM, &board_token)).await.unwrap().first;
    assert!(resumed.snapshot && resumed.entries[0].user_id == "ada");
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_server_that_stops_ends_every_kind_of_stream_with_a_token_from_which_another_goes_on() {
    let (database, server, client) = server_with_boards(&[PROGRAM]).await;
    let other = second_server(&database, &[]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut earnings = client.watch_earnings(PROGRAM, "ada", "").await.unwrap().rest;
    let mut balances = client.watch_balances(PROGRAM, "ada", "").await.unwrap().rest;
    let mut tier = client.watch_tier(PROGRAM, "ada", "").await.unwrap().rest;
    let mut all = client.watch_participant(PROGRAM, "ada", "").await.unwrap().rest;
    let mut events = client.watch_events(&[], "", "").await.unwrap().rest;
    let mut leaderboard = client.watch_leaderboard(board(PROGRAM, "")).await.unwrap().rest;
    let before = log_length(&database).await;
    befriend(&client, "early", &ada.code, 9).await;
    // Some has been read, some has not.
    for _ in 0..4 {
        earnings.news().await;
        balances.news().await;
        all.news().await;
        events.news().await;
    }
    server.stop().await;
    let client = other.client();
    befriend(&client, "late", &ada.code, 1).await;

    let (mut early, status) = earnings.end().await;
    let status = refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    let token = last_token(&status);
    let mut resumed = client.watch_earnings(PROGRAM, "ada", &token).await.unwrap().rest;
    while early.len() < 6 {
        early.push(resumed.news().await);
    }
    let totals: Vec<_> = early.iter().map(|of| of.total.as_ref().unwrap().minor_units).collect();
    assert_eq!(totals, [50, 60, 70, 80, 90, 250]);

    let (mut early, status) = balances.end().await;
    let status = refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    let token = last_token(&status);
    let mut resumed = client.watch_balances(PROGRAM, "ada", &token).await.unwrap().rest;
    while early.len() < 6 {
        early.push(resumed.news().await);
    }
    let totals: Vec<_> = early.iter().map(|of| of.balances[0].minor_units).collect();
    assert_eq!(totals, [50, 60, 70, 80, 90, 250]);

    let (early, status) = tier.end().await;
    assert!(early.is_empty());
    let status = refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    let token = last_token(&status);
    let mut resumed = client.watch_tier(PROGRAM, "ada", &token).await.unwrap().rest;
    assert_eq!(resumed.news().await.tier, "Silver");

    let (mut early, status) = all.end().await;
    let status = refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    let token = last_token(&status);
    let mut resumed = client.watch_participant(PROGRAM, "ada", &token).await.unwrap().rest;
    while early.len() < 27 {
        early.push(resumed.news().await);
    }
    let of_tier = early.iter().filter(|of| matches!(of.change, Some(Change::Tier(_)))).count();
    assert_eq!(of_tier, 1, "{early:?}");

    let (mut early, status) = events.end().await;
    let status = refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    let token = last_token(&status);
    let mut resumed = client.watch_events(&[], "", &token).await.unwrap().rest;
    let expected = in_log(&database, &format!("position > {}", before + 4)).await;
    while early.len() < expected.len() {
        early.push(resumed.news().await);
    }
    let seen: Vec<Logged> = early.iter().map(|of| of.event.as_ref().unwrap().into()).collect();
    assert_eq!(seen, expected);

    let (_, status) = leaderboard.end().await;
    let status = refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    let token = last_token(&status);
    let Begun { first, mut rest } = client.watch_leaderboard(board(PROGRAM, &token)).await.unwrap();
    assert!(first.snapshot);
    let mut best = first.entries[0].clone();
    while best.score < 250 {
        best = rest.news().await.entries[0].clone();
    }
    assert_eq!((&*best.user_id, best.score), ("ada", 250));
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_read_of_the_log_that_a_stop_cuts_short_goes_on_elsewhere() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let other = second_server(&database, &[]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for batch in 0..5 {
        befriend(&client, &format!("friend-{batch}"), &ada.code, 100).await;
    }
    let narrow = narrow_client(&server).await;
    let request = narrow.request(ReadEventsRequest::default());
    let mut stream = narrow.operators().read_events(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    let mut seen = vec![Logged::from(first.event.as_ref().unwrap())];

    let stopping = tokio::spawn(server.stop());
    // Messages that the server has begun to send still arrive; others do not.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let status = loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time") {
            Ok(Some(message)) => seen.extend(message.event.iter().map(Logged::from)),
            Ok(None) => panic!("it was not cut short"),
            Err(status) => break status,
        }
    };
    refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    drop((client, narrow));
    stopping.await.unwrap();

    let request =
        ReadEventsRequest { after_position: seen.last().unwrap().position, ..Default::default() };
    let client = other.client();
    let request = client.request(request);
    let mut stream = client.operators().read_events(request).await.unwrap().into_inner();
    while let Some(message) = stream.message().await.unwrap() {
        seen.extend(message.event.iter().map(Logged::from));
    }
    assert_eq!(seen, in_log(&database, "true").await);
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_reader_of_events_that_does_not_read_is_cut_off_while_another_gets_everything() {
    const COUNT: usize = 400;
    let (database, server, client) = server_with(&[PROGRAM]).await;
    server.stop().await;
    drop(client);
    // One server on which a stream soon falls behind, and one on which it hardly can.
    let server = second_server(&database, &["--queued-events", "500"]).await;
    let client = server.client();
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let narrow = narrow_client(&server).await;
    let before = log_length(&database).await;
    let mut slow = narrow.watch_events(&[], "", "").await.unwrap().rest;
    let mut fast = client.watch_events(&[], "", "").await.unwrap().rest;
    let start = slow.token.clone();
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let event = fast.news().await.event.unwrap();
            seen.push(Logged::from(&event));
            if event.aggregate_id == "end" {
                return seen;
            }
        }
    });

    for number in 0..COUNT {
        client.sign_up(PROGRAM, &format!("friend-{number}"), &ada.code).await.unwrap();
    }
    client.sign_up("", "end", "").await.unwrap();

    let expected = in_log(&database, &format!("position > {before}")).await;
    let seen = tokio::time::timeout(PATIENCE, reader).await.unwrap().unwrap();
    assert_eq!(seen, expected);
    let (sent, status) = slow.end().await;
    let status = refused::<()>(Err(status), Code::ResourceExhausted, "SLOW_CONSUMER");
    let token = last_token(&status);
    assert_eq!(token, sent.last().map_or(start, |last| last.resume_token.clone()));
    let mut seen: Vec<Logged> = sent.iter().map(|of| of.event.as_ref().unwrap().into()).collect();
    assert!(!seen.is_empty() && seen.len() < expected.len(), "{} were sent", seen.len());
    let mut resumed = client.watch_events(&[], "", &token).await.unwrap().rest;
    while seen.len() < expected.len() {
        seen.push(resumed.news().await.event.as_ref().unwrap().into());
    }
    assert_eq!(seen, expected);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn clients_that_read_nothing_do_not_keep_a_server_from_stopping() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let start = client.watch_events(&[], "", "").await.unwrap().rest.token;
    for batch in 0..5 {
        befriend(&client, &format!("friend-{batch}"), &ada.code, 100).await;
    }
    let narrow = narrow_client(&server).await;
    let request = narrow.request(ReadEventsRequest::default());
    let log = narrow.operators().read_events(request).await.unwrap();
    let narrower = narrow_client(&server).await;
    let events = narrower.watch_events(&[], "", &start).await.unwrap();

    server.stop().await;

    drop((log, events));
    database.check().await;
}

#[tokio::test]
async fn a_stream_that_is_cut_off_again_and_again_still_gets_everything() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let small = second_server(&database, &["--queued-events", "8"]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let before = log_length(&database).await;
    let mut stream = small.client().watch_events(&[], "", "").await.unwrap().rest;
    let writing = tokio::spawn({
        let client = client.clone();
        async move {
            for batch in 0..10 {
                // More at a time than may wait.
                befriend(&client, &format!("friend-{batch}"), &ada.code, 20).await;
            }
            client.sign_up("", "end", "").await.unwrap();
        }
    });

    let (mut seen, mut cuts) = (Vec::<Logged>::new(), 0);
    while seen.last().is_none_or(|last| last.aggregate.1 != "end") {
        match stream.try_news().await {
            Ok(message) => seen.push(message.event.as_ref().unwrap().into()),
            Err(status) => {
                let status = refused::<()>(Err(status), Code::ResourceExhausted, "SLOW_CONSUMER");
                assert_eq!(last_token(&status), stream.token);
                let token = stream.token;
                stream = small.client().watch_events(&[], "", &token).await.unwrap().rest;
                cuts += 1;
            }
        }
    }
    writing.await.unwrap();

    assert!(cuts > 0, "it was never cut off");
    assert_eq!(seen, in_log(&database, &format!("position > {before}")).await);
    server.stop().await;
    small.stop().await;
    database.check().await;
}
