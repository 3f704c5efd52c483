//! The caller's deadline, when it passes on the server.

use std::time::{Duration, Instant};

use contract::pb::*;
use prost::Message;
use sqlx::Executor;
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::raw_http2::RawHttp2;
use super::stream_ends::narrow_client;
use super::support::{PATIENCE, refused, server_with};
use testing::{ADMIN_KEY, Client, at_once, sign_up_request};

/// A program that every kind of stream supports.
const PROGRAM: &str = "tiered-points";

#[tokio::test]
async fn a_deadline_that_passes_on_the_server_is_answered_with_its_reason() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    client.sign_up("referral-count", "ada", "").await.unwrap();
    let mut blocking = database.pool.begin().await.unwrap();
    blocking.execute("lock table events in access exclusive mode").await.unwrap();

    // A client library would end the call by itself at the same moment.
    let raw = RawHttp2::connect(&server.address).await;
    let authorization = format!("Bearer {ADMIN_KEY}");
    let headers = [("grpc-timeout", "300m"), ("authorization", &*authorization)];
    // Nobody has this id, so the log is asked.
    let request = GetUserRequest { user_id: "nobody".into(), ..Default::default() };
    let began = Instant::now();
    let call = raw.call("AccountService/GetUser", &headers, &request.encode_to_vec()).await;
    let status = call.refused().await;
    let took = began.elapsed();

    let status = refused::<()>(Err(status), Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let info = status.get_error_details().error_info().cloned().unwrap();
    assert_eq!(info.metadata.get("timeout_ms").map(String::as_str), Some("300"));
    assert!(!status.message().contains("request_id"), "a read has none: {status}");
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(3), "{took:?}");

    let request = sign_up_request("referral-count", "ben", "").encode_to_vec();
    let call = raw.call("AccountService/RegisterUser", &headers, &request).await;
    let status = call.refused().await;
    let status = refused::<()>(Err(status), Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    assert!(status.message().contains("send it again with the same request_id"), "{status}");
    blocking.rollback().await.unwrap();
    server.stop().await;
    database.check().await;
}

/// A request with a timeout for the server. The client library, which reads it too, ends only calls that have not been
/// answered yet.
fn timed<M>(client: &Client, message: M, timeout: &str) -> Request<M> {
    let mut request = client.request(message);
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

/// How a stream ends, and when.
async fn end<M>(mut stream: Streaming<M>) -> (Status, Duration) {
    let began = Instant::now();
    loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await.expect("it ends") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a reason"),
            Err(status) => return (status, began.elapsed()),
        }
    }
}

/// Checks that a stream has ended at its deadline; returns its last token.
#[track_caller]
fn ended_in_time((status, took): (Status, Duration)) -> String {
    let status = refused::<()>(Err(status), Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let info = status.get_error_details().error_info().cloned().unwrap();
    assert_eq!(info.metadata.get("timeout_ms").map(String::as_str), Some("900"));
    info.metadata.get("resume_token").cloned().unwrap_or_default()
}

#[tokio::test]
async fn streams_of_every_kind_end_at_their_deadline_with_a_token_from_which_they_go_on() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let (program_id, user_id) = (PROGRAM.to_owned(), "ada".to_owned());
    macro_rules! check {
        ($service:ident.$rpc:ident, $request:expr) => {{
            let request_from = $request;
            let request = timed(&client, request_from(String::new()), "900m");
            let stream = client.$service().$rpc(request).await.unwrap().into_inner();
            let resume_token = ended_in_time(end(stream).await);
            assert!(!resume_token.is_empty(), stringify!($rpc));
            let request = client.request(request_from(resume_token));
            let mut stream = client.$service().$rpc(request).await.unwrap().into_inner();
            stream.message().await.unwrap().expect("it goes on");
        }};
    }
    let (program, user) = (&program_id, &user_id);
    tokio::join!(
        async {
            check!(rewards.watch_earnings, |resume_token| WatchEarningsRequest {
                program_id: program.clone(),
                user_id: user.clone(),
                resume_token,
            });
        },
        async {
            check!(rewards.watch_balances, |resume_token| WatchBalancesRequest {
                program_id: program.clone(),
                user_id: user.clone(),
                resume_token,
            });
        },
        async {
            check!(rewards.watch_tier, |resume_token| WatchTierRequest {
                program_id: program.clone(),
                user_id: user.clone(),
                resume_token,
            });
        },
        async {
            check!(rewards.watch_participant, |resume_token| WatchParticipantRequest {
                program_id: program.clone(),
                user_id: user.clone(),
                resume_token,
            });
        },
        async {
            check!(leaderboards.watch_leaderboard, |resume_token| WatchLeaderboardRequest {
                program_id: program.clone(),
                resume_token,
                ..Default::default()
            });
        },
        async {
            check!(operators.watch_events, |resume_token| WatchEventsRequest {
                resume_token,
                ..Default::default()
            });
        },
        async {
            let request = timed(&client, HealthCheckRequest { service: String::new() }, "900m");
            let health = HealthClient::new(client.channel()).watch(request).await;
            assert_eq!(ended_in_time(end(health.unwrap().into_inner()).await), "");
        },
    );
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_read_of_the_log_ends_at_its_deadline_though_its_reader_is_slow() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    at_once((0..200).map(|number| {
        let (client, code) = (client.clone(), ada.code.clone());
        let friend = format!("friend-{number}");
        async move { client.sign_up(PROGRAM, &friend, &code).await.unwrap() }
    }))
    .await;
    let narrow = narrow_client(&server).await;
    let request = timed(&narrow, ReadEventsRequest::default(), "900m");
    let mut stream = narrow.operators().read_events(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    ended_in_time(end(stream).await);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_malformed_timeout_is_refused_by_every_kind_of_call() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for timeout in ["5 seconds", "5", "123456789m", "-1S", "+1S"] {
        let read = GetUserRequest { user_id: "ada".into(), ..Default::default() };
        let refusal = client.accounts().get_user(timed(&client, read, timeout)).await;
        let status = refused(refusal, Code::InvalidArgument, "INVALID_TIMEOUT");
        assert!(status.message().contains(timeout), "{status}");
        let stream = timed(&client, WatchEventsRequest::default(), timeout);
        let refusal = client.operators().watch_events(stream).await;
        refused(refusal.map(|_| ()), Code::InvalidArgument, "INVALID_TIMEOUT");
        let command = timed(&client, sign_up_request(PROGRAM, "ben", ""), timeout);
        let refusal = client.accounts().register_user(command).await;
        refused(refusal, Code::InvalidArgument, "INVALID_TIMEOUT");
    }
    let mut twice = timed(&client, WatchEventsRequest::default(), "5S");
    twice.metadata_mut().append("grpc-timeout", "6S".parse().unwrap());
    let refusal = client.operators().watch_events(twice).await.map(|_| ());
    refused(refusal, Code::InvalidArgument, "INVALID_TIMEOUT");
    server.stop().await;
    database.check().await;
}
