//! Calls and connections that no client library makes.

use std::time::{Duration, Instant};

use contract::pb::GetUserRequest;
use prost::Message;
use prost::bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::StatusExt;

use super::raw_http2::{RawHttp2, framed};
use super::support::{PATIENCE, log_length, refused, server_with};
use testing::{ADMIN_KEY, Server, ServerOptions, TestDatabase, sign_up_request};

fn user(user_id: &str) -> Vec<u8> {
    GetUserRequest { user_id: user_id.into(), ..Default::default() }.encode_to_vec()
}

#[tokio::test]
async fn a_call_with_two_messages_is_refused_and_does_nothing() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let before = log_length(&database).await;
    let raw = RawHttp2::connect(&server.address).await;
    let authorization = format!("Bearer {ADMIN_KEY}");
    let key = [("authorization", &*authorization)];
    let sign_up = |user: &str| framed(&sign_up_request("", user, "").encode_to_vec());
    for (rpc, messages) in [
        ("AccountService/RegisterUser", vec![sign_up("ben"), sign_up("cid")]),
        ("AccountService/GetUser", vec![framed(&user("ada")), framed(&[])]),
        ("OperatorService/WatchEvents", vec![framed(&[]), framed(&[])]),
    ] {
        let last = messages.len() - 1;
        // In one piece, in two, and with the second one cut off.
        let whole = Bytes::from(messages.concat());
        for pieces in [vec![whole.clone()], messages, vec![whole.slice(..whole.len() - last)]] {
            let mut call = raw.begin(rpc, &key, false).await;
            let count = pieces.len();
            for (index, piece) in pieces.into_iter().enumerate() {
                // The answer may come before the last piece.
                let _ = call.request.send_data(piece, index + 1 == count);
            }
            let status = call.refused().await;
            let status = refused::<()>(Err(status), Code::InvalidArgument, "MALFORMED_MESSAGE");
            assert!(status.message().contains("one message"), "{rpc}: {status}");
        }
    }
    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_message_that_is_marked_as_compressed_is_refused_for_its_compression() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let raw = RawHttp2::connect(&server.address).await;
    let authorization = format!("Bearer {ADMIN_KEY}");
    let mut message = framed(&user("ada")).to_vec();
    message[0] = 1;
    for encoding in ["", "identity", "gzip", "snappy"] {
        let mut headers = vec![("authorization", &*authorization)];
        headers.extend((!encoding.is_empty()).then_some(("grpc-encoding", encoding)));
        let mut call = raw.begin("AccountService/GetUser", &headers, false).await;
        let _ = call.request.send_data(message.clone().into(), true);
        let status = call.refused().await;
        refused::<()>(Err(status), Code::Unimplemented, "UNSUPPORTED_COMPRESSION");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn headers_above_the_limit_are_refused_over_http_2_with_a_reason() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let raw = RawHttp2::connect(&server.address).await;
    let authorization = format!("Bearer {ADMIN_KEY}");
    let call = async |bytes: usize| {
        let long = "x".repeat(bytes);
        let headers = [("authorization", &*authorization), ("x-long", &*long)];
        raw.call("AccountService/GetUser", &headers, &user("ada")).await.answered().await
    };
    let answer = call(15 * 1024).await;
    assert!(answer.headers().get("grpc-status").is_none(), "{answer:?}");
    for bytes in [17 * 1024, 60 * 1024] {
        let answer = call(bytes).await;
        assert_eq!(answer.status(), 200);
        let status = super::raw_http2::status(answer.headers());
        let status = refused::<()>(Err(status), Code::ResourceExhausted, "HEADERS_TOO_LARGE");
        let details = status.get_error_details();
        assert!(details.retry_info().is_none(), "a retry cannot help");
        assert_eq!(details.error_info().unwrap().metadata["limit_bytes"], "16384");
    }
    // Nobody reads headers without end.
    assert_eq!(call(100 * 1024).await.status(), 431);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_connection_that_does_not_finish_its_greeting_is_cut_off_in_time() {
    let database = TestDatabase::new().await;
    let arguments = ["--request-timeout-s", "1"].map(str::to_owned).to_vec();
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // A part of the preface; the preface without settings; with half the head of a frame.
    let whole = [&preface[..], &[0, 0, 0, 4]].concat();
    for length in [1, 3, 10, preface.len() - 1, preface.len(), whole.len()] {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(&whole[..length]).await.unwrap();
        let began = Instant::now();
        let mut said = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said));
        let _ = closed.await.expect("it is closed");
        let took = began.elapsed();
        let in_time = took > Duration::from_millis(500) && took < Duration::from_secs(8);
        assert!(in_time, "{length} bytes: {took:?}");
    }
    // One that has finished it stays.
    let raw = RawHttp2::connect(&server.address).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!raw.connection.is_finished());
    server.stop().await;
    database.check().await;
}
