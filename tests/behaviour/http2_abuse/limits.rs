//! Misuse that only limits of connections, requests and unread answers stop.

use std::time::{Duration, Instant};

use prost::Message;
use testing::ServerOptions;

use super::frames::*;
use super::{Scene, streams};

/// How many calls one connection begins before it opens the next one.
const STREAMS_PER_CONNECTION: u32 = 200;

async fn scene_with(arguments: &[&str]) -> Scene {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Scene::with(&ServerOptions { arguments }).await
}

#[tokio::test]
async fn calls_of_which_only_headers_come_are_ended_and_cost_little() {
    let scene = scene_with(&["--request-timeout-s", "2"]).await;
    let seen = scene
        .while_misused(async |address: String| {
            // 24,000 calls in all.
            for _ in 0..(24_000 / 8 / STREAMS_PER_CONNECTION) {
                let mut connection = Connection::open(&address).await?;
                let headers = call_headers("AccountService/GetUser");
                let calls = streams(STREAMS_PER_CONNECTION)
                    .flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &headers));
                connection.send(&calls.collect::<Vec<_>>()).await?;
                // Pings are answered, so the connection is alive.
                tokio::spawn(connection.drain());
            }
            tokio::time::sleep(Duration::from_secs(6)).await;
            Ok(())
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn connections_on_which_nothing_is_said_are_closed() {
    let scene = scene_with(&["--request-timeout-s", "2", "--idle-timeout-s", "2"]).await;
    let seen = scene
        .while_misused(async |address: String| {
            let begun = Instant::now();
            let mut connections = Vec::new();
            for number in 0..50 {
                connections.push(if number % 2 == 0 {
                    Connection::silent(&address).await?
                } else {
                    Connection::open(&address).await?
                });
            }
            for connection in connections {
                let closed = tokio::time::timeout(Duration::from_secs(15), connection.drain());
                assert!(closed.await.expect("it is closed").is_err());
            }
            assert!(begun.elapsed() >= Duration::from_secs(1), "closed before anybody could speak");
            Ok(())
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn a_thousand_streams_that_nobody_reads_stay_small() {
    let scene = scene_with(&["--unread-answers-mb", "64"]).await;
    let everything = contract::pb::ReadEventsRequest::default().encode_to_vec();
    let seen = scene
        .while_misused(move |address: String| {
            let everything = everything.clone();
            async move {
                // 1,200 in all.
                let mut connections = Vec::new();
                for _ in 0..3 {
                    let mut connection = Connection::without_window(&address).await?;
                    for stream in streams(50) {
                        let headers = call_headers("OperatorService/ReadEvents");
                        connection.send(&frame(HEADERS, END_HEADERS, stream, &headers)).await?;
                        let body = frame(DATA, END_STREAM, stream, &grpc(&everything));
                        connection.send(&body).await?;
                        // Each reads the log once; that is for the database to bear, and not what is tested.
                        tokio::time::sleep(Duration::from_millis(40)).await;
                    }
                    connections.push(connection);
                }
                tokio::time::sleep(Duration::from_secs(3)).await;
                Ok(())
            }
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn thousands_of_reads_of_the_log_at_once_leave_the_database_to_others() {
    /// Begun at once, by each of the abusers.
    const STREAMS: u32 = 600;
    let scene = scene_with(&[]).await;
    let everything = contract::pb::ReadEventsRequest::default().encode_to_vec();
    let seen = scene
        .while_misused(move |address: String| {
            let everything = everything.clone();
            async move {
                let mut connection = Connection::open(&address).await?;
                let headers = call_headers("OperatorService/ReadEvents");
                let calls = streams(STREAMS).flat_map(|stream| {
                    let body = frame(DATA, END_STREAM, stream, &grpc(&everything));
                    [frame(HEADERS, END_HEADERS, stream, &headers), body].concat()
                });
                connection.send(&calls.collect::<Vec<_>>()).await?;
                // Whatever is answered is read.
                let reading = tokio::time::timeout(Duration::from_secs(8), connection.drain());
                reading.await.unwrap_or(Ok(()))
            }
        })
        .await;
    println!("{} ordinary calls, the slowest took {:?}", seen.answers, seen.slowest);
    assert!(seen.slowest < Duration::from_secs(5), "{:?}", seen.slowest);
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let scene = scene_with(&["--connections-per-address", "100"]).await;
    let seen = scene
        .while_misused(async |address: String| {
            let mut refused = 0;
            let mut connections = Vec::new();
            for _ in 0..50 {
                let mut connection = Connection::open(&address).await?;
                // The settings of the server, or nothing: it is closed at once.
                match tokio::time::timeout(Duration::from_secs(5), connection.receive()).await {
                    Ok(Ok(_)) => connections.push(connection),
                    _ => refused += 1,
                }
            }
            assert!(refused > 0, "all 400 connections of one address were taken");
            Ok(())
        })
        .await;
    scene.end_unharmed(&seen).await;
}
