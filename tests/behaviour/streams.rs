//! Live streams of earnings: everything, in order, each once, whatever happens in between.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::pb::{WatchEarningsRequest, WatchEarningsResponse};
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::support::{Earnings, PATIENCE, another_epoch, next, next_reward, refused, server_with};
use testing::{ADMIN_KEY, Client, Server, ServerOptions, TestDatabase, sign_up_request};

/// The program in which every sign-up with a code is one reward.
const PROGRAM: &str = "referral-count";

/// Signs up friends by their numbers; each earns the owner of the code a reward.
async fn befriend(client: &Client, code: &str, numbers: RangeInclusive<usize>) {
    for number in numbers {
        client.sign_up(PROGRAM, &format!("friend-{number}"), code).await.unwrap();
    }
}

/// Opens a stream and reads its first message.
async fn open(client: &Client, user_id: &str, token: &str) -> (String, Earnings) {
    let message = WatchEarningsRequest {
        program_id: PROGRAM.into(),
        user_id: user_id.into(),
        resume_token: token.into(),
    };
    let stream = client.rewards().watch_earnings(client.request(message)).await.unwrap();
    let mut stream = stream.into_inner();
    let first = next(&mut stream).await.unwrap().unwrap();
    assert!(first.reward.is_none() && first.total.is_none() && first.level_total.is_none());
    assert!(!first.resume_token.is_empty());
    (first.resume_token, stream)
}

/// Checks that the next rewards of a stream are those for the friends of these numbers.
async fn expect(stream: &mut Earnings, numbers: RangeInclusive<usize>) -> Vec<String> {
    let mut tokens = Vec::new();
    for number in numbers {
        let message = next_reward(stream).await;
        assert_eq!(source(&message), format!("friend-{number}"));
        let total = i64::try_from(number).unwrap();
        assert_eq!(message.total.as_ref().unwrap().minor_units, total);
        assert_eq!(message.level_total.as_ref().unwrap().minor_units, total);
        assert!(!message.resume_token.is_empty());
        tokens.push(message.resume_token);
    }
    tokens
}

fn source(message: &WatchEarningsResponse) -> &str {
    &message.reward.as_ref().expect("a reward").source_user_id
}

/// Reads rewards until the stream ends with a status.
async fn read_to_the_end(stream: &mut Earnings) -> (Vec<WatchEarningsResponse>, Status) {
    let mut messages = Vec::new();
    loop {
        match next(stream).await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => panic!("the stream ended without a reason"),
            Err(status) => return (messages, status),
        }
    }
}

/// The last token, which the status at the end of a stream names.
fn last_token(status: &Status) -> String {
    let details = status.get_error_details();
    assert!(details.retry_info().is_some(), "no word on when to come back: {status:?}");
    let info = details.error_info().cloned().unwrap();
    info.metadata.get("resume_token").cloned().expect("a token")
}

async fn second_server(database: &TestDatabase, arguments: &[&str]) -> Server {
    let arguments = arguments.iter().map(|&argument| argument.into()).collect();
    Server::start_with(&database.url, &ServerOptions { arguments }).await
}

#[tokio::test]
async fn several_streams_of_a_user_each_get_everything_on_any_server() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let other = second_server(&database, &[]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let eve = client.sign_up(PROGRAM, "eve", "").await.unwrap();
    befriend(&client, &ada.code, 1..=2).await;
    let separate = server.separate_client(Some(ADMIN_KEY)).await;
    let mut streams = Vec::new();
    for from in [&client, &client, &separate, &other.client(), &other.client()] {
        streams.push(open(from, "ada", "").await.1);
    }
    let (_, leaves) = open(&client, "ada", "").await;
    let (_, mut of_eve) = open(&client, "eve", "").await;

    befriend(&client, &ada.code, 3..=5).await;
    // A subscriber that hangs up does not affect the others.
    drop(leaves);
    befriend(&other.client(), &ada.code, 6..=9).await;
    client.sign_up(PROGRAM, "of-eve", &eve.code).await.unwrap();

    for stream in &mut streams {
        let tokens = expect(stream, 3..=9).await;
        assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), 7, "a token came twice");
    }
    // And no stream delivers the earnings of others.
    assert_eq!(source(&next_reward(&mut of_eve).await), "of-eve");
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_silent_stream_has_heartbeats_whose_tokens_work() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    server.stop().await;
    drop(client);
    let server = second_server(&database, &["--heartbeat-s", "1"]).await;
    let client = server.client();
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let (_, mut stream) = open(&client, "ada", "").await;

    let mut token = String::new();
    for _ in 0..2 {
        let heartbeat = next(&mut stream).await.unwrap().unwrap();
        assert!(heartbeat.reward.is_none() && heartbeat.total.is_none());
        token = heartbeat.resume_token;
        assert!(!token.is_empty());
    }
    befriend(&client, &ada.code, 1..=3).await;

    let (_, mut resumed) = open(&client, "ada", &token).await;
    expect(&mut resumed, 1..=3).await;
    expect(&mut stream, 1..=3).await;
    // The token of the heartbeat after a reward is after that reward.
    let token = loop {
        let message = next(&mut stream).await.unwrap().unwrap();
        if message.reward.is_none() {
            break message.resume_token;
        }
    };
    befriend(&client, &ada.code, 4..=4).await;
    expect(&mut open(&client, "ada", &token).await.1, 4..=4).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_stream_resumed_from_any_token_on_any_server_has_neither_gap_nor_repetition() {
    const COUNT: usize = 12;
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let (first, mut stream) = open(&client, "ada", "").await;
    befriend(&client, &ada.code, 1..=COUNT).await;
    // Token number n is the token after n rewards.
    let mut tokens = vec![first];
    tokens.extend(expect(&mut stream, 1..=COUNT).await);

    let other = second_server(&database, &[]).await;
    server.kill().await;
    let restarted = second_server(&database, &[]).await;
    for (round, client) in [other.client(), restarted.client()].iter().enumerate() {
        let before = COUNT + round;
        let mut streams = Vec::new();
        for (number, token) in tokens.iter().enumerate() {
            let (_, mut stream) = open(client, "ada", token).await;
            expect(&mut stream, number + 1..=before).await;
            streams.push(stream);
        }
        // New events follow directly after past ones.
        befriend(client, &ada.code, before + 1..=before + 1).await;
        for stream in &mut streams {
            expect(stream, before + 1..=before + 1).await;
        }
    }
    other.stop().await;
    restarted.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_stream_resumed_far_back_gets_hundreds_of_rewards_and_then_what_is_live() {
    const COUNT: usize = 450;
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let (first, stream) = open(&client, "ada", "").await;
    drop(stream);
    let sign_ups = (1..=COUNT).map(|number| {
        let client = client.clone();
        let request = sign_up_request(PROGRAM, &format!("friend-{number}"), &ada.code);
        async move { client.register(request).await.unwrap() }
    });
    let mut tasks = tokio::task::JoinSet::new();
    for sign_up in sign_ups {
        tasks.spawn(sign_up);
        if tasks.len() >= 50 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    // It is opened while the last sign-ups are still being recorded.
    let (_, mut stream) = open(&client, "ada", &first).await;
    tasks.join_all().await;

    let mut sources = HashSet::new();
    for number in 1..=COUNT {
        let message = next_reward(&mut stream).await;
        assert_eq!(message.total.as_ref().unwrap().minor_units, i64::try_from(number).unwrap());
        assert!(sources.insert(source(&message).to_owned()), "a reward came twice");
    }
    client.sign_up(PROGRAM, "last", &ada.code).await.unwrap();
    assert_eq!(source(&next_reward(&mut stream).await), "last");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_token_that_is_not_of_this_stream_is_refused() {
    let (database, server, client) = server_with(&[PROGRAM, "tiered-points"]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "eve", "").await.unwrap();
    super::support::enroll(&client, "tiered-points", "ada", "").await.unwrap();
    let (good, _) = open(&client, "ada", "").await;
    let (of_eve, _) = open(&client, "eve", "").await;
    let invalid = [
        of_eve,
        ada.response.consistency_token.clone(),
        "42".into(),
        "ä\0".into(),
        "=".into(),
        good[1..].into(),
        good[..good.len() - 1].into(),
        format!("{good}A"),
        format!("{good}{good}"),
        "A".repeat(100_000),
    ];
    for token in &invalid {
        let answer = client.watch(PROGRAM, "ada", token).await.map(|_| ());
        let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        let violations = status.get_error_details().bad_request().cloned().unwrap();
        let violation = &violations.field_violations[0];
        assert_eq!(
            (&*violation.field, &*violation.reason),
            ("resume_token", "INVALID_RESUME_TOKEN")
        );
    }
    let elsewhere = client.watch("tiered-points", "ada", &good).await.map(|_| ());
    refused(elsewhere, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_token_of_another_database_is_not_taken_for_one_of_this() {
    let (longer, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    befriend(&client, &ada.code, 1..=5).await;
    let (ahead, _) = open(&client, "ada", "").await;
    server.stop().await;
    another_epoch().await;
    let (shorter, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();

    let elsewhere = client.watch(PROGRAM, "ada", &ahead).await.map(|_| ());
    refused(elsewhere, Code::FailedPrecondition, "TOKEN_OF_OLD_EPOCH");
    // A token with made-up numbers: no number breaks the server.
    let (good, _) = open(&client, "ada", "").await;
    let bytes = URL_SAFE_NO_PAD.decode(good).unwrap();
    // A position of the present epoch that the log has not reached. (The kind and the epoch come before it.)
    let mut ahead = bytes.clone();
    ahead[5 + 6] = 1;
    let ahead = client.watch(PROGRAM, "ada", &URL_SAFE_NO_PAD.encode(ahead)).await.map(|_| ());
    refused(ahead, Code::FailedPrecondition, "TOKEN_AHEAD_OF_LOG");
    for at in 0..bytes.len() {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut forged = bytes.clone();
            forged[at] = value;
            let forged = URL_SAFE_NO_PAD.encode(forged);
            if let Err(status) = client.watch(PROGRAM, "ada", &forged).await {
                let code = status.code();
                let known = [Code::InvalidArgument, Code::FailedPrecondition];
                assert!(known.contains(&code), "byte {at} = {value}: {status:?}");
            }
        }
    }
    let (_, mut stream) = open(&client, "ada", "").await;
    befriend(&client, &ada.code, 1..=1).await;
    expect(&mut stream, 1..=1).await;
    server.stop().await;
    shorter.check().await;
    longer.check().await;
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams_with_a_token_from_which_another_goes_on() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let other = second_server(&database, &[]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let (_, mut read) = open(&client, "ada", "").await;
    let (_, mut unread) = open(&client, "ada", "").await;
    let (start, mut silent) = open(&client, "ada", "").await;
    befriend(&client, &ada.code, 1..=4).await;
    let tokens = expect(&mut read, 1..=4).await;
    expect(&mut silent, 1..=4).await;

    server.stop().await;
    befriend(&other.client(), &ada.code, 5..=6).await;

    let (rest, status) = read_to_the_end(&mut read).await;
    assert!(rest.iter().all(|message| message.reward.is_none()));
    let status = refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    let last = rest.last().map_or(&tokens[3], |message| &message.resume_token);
    assert_eq!(&last_token(&status), last);
    let (_, mut resumed) = open(&other.client(), "ada", &last_token(&status)).await;
    expect(&mut resumed, 5..=6).await;

    // A client that has not read yet still gets what was sent, and then a token directly after that.
    let (sent, status) = read_to_the_end(&mut unread).await;
    let status = refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    let read = sent.iter().filter(|message| message.reward.is_some()).count();
    let (_, mut resumed) = open(&other.client(), "ada", &last_token(&status)).await;
    expect(&mut resumed, read + 1..=6).await;
    expect(&mut open(&other.client(), "ada", &start).await.1, 1..=6).await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_while_another_gets_everything() {
    const COUNT: usize = 300;
    let (database, server, client) = server_with(&[PROGRAM]).await;
    server.stop().await;
    drop(client);
    let server = second_server(&database, &["--queued-events", "64"]).await;
    let client = server.client();
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    // A connection that buffers no more than this without being read.
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let narrow = endpoint.initial_stream_window_size(4_096).initial_connection_window_size(65_535);
    let narrow = Client::new(narrow.connect().await.unwrap(), Some(ADMIN_KEY));
    let (start, mut slow) = open(&narrow, "ada", "").await;
    let (_, mut fast) = open(&client, "ada", "").await;
    let reader = tokio::spawn(async move { expect(&mut fast, 1..=COUNT).await });

    befriend(&client, &ada.code, 1..=COUNT).await;

    let tokens = tokio::time::timeout(PATIENCE, reader).await.unwrap().unwrap();
    assert_eq!(tokens.len(), COUNT);
    let (sent, status) = read_to_the_end(&mut slow).await;
    let status = refused::<()>(Err(status), Code::ResourceExhausted, "SLOW_CONSUMER");
    assert_eq!(last_token(&status), sent.last().map_or(start, |last| last.resume_token.clone()));
    let sent: Vec<_> = sent.into_iter().filter(|message| message.reward.is_some()).collect();
    assert!(!sent.is_empty() && sent.len() < COUNT, "{} were sent", sent.len());
    for (index, message) in sent.iter().enumerate() {
        assert_eq!(source(message), format!("friend-{}", index + 1));
    }
    let (_, mut resumed) = open(&client, "ada", &last_token(&status)).await;
    expect(&mut resumed, sent.len() + 1..=COUNT).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_first_message_of_a_stream_is_a_heartbeat_however_much_there_is_to_say() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let (start, _) = open(&client, "ada", "").await;
    befriend(&client, &ada.code, 1..=20).await;

    for _ in 0..30 {
        let (token, mut stream) = open(&client, "ada", &start).await;
        expect(&mut stream, 1..=20).await;
        // Its token works like the one of a message.
        expect(&mut open(&client, "ada", &token).await.1, 1..=20).await;
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_stream_that_starts_without_a_token_starts_now() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    befriend(&client, &ada.code, 1..=3).await;
    let (_, mut stream) = open(&client, "ada", "").await;
    befriend(&client, &ada.code, 4..=4).await;
    expect(&mut stream, 4..=4).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_server_holds_as_many_streams_as_it_is_set_to() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    server.stop().await;
    drop(client);
    let server = second_server(&database, &["--streams", "2"]).await;
    let client = server.client();
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let (_, first) = open(&client, "ada", "").await;
    let (_, mut second) = open(&client, "ada", "").await;

    let third = client.watch(PROGRAM, "ada", "").await.map(|_| ());
    let status = refused(third, Code::ResourceExhausted, "TOO_MANY_STREAMS");
    assert!(status.get_error_details().retry_info().is_some());

    // A permit that was released can be used by another stream.
    drop(first);
    let mut third = tokio::time::timeout(PATIENCE, async {
        loop {
            match client.watch(PROGRAM, "ada", "").await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    })
    .await
    .expect("a place in time");
    befriend(&client, &ada.code, 1..=1).await;
    expect(&mut second, 1..=1).await;
    expect(&mut third, 1..=1).await;
    server.stop().await;
    database.check().await;
}
