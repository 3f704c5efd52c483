//! `tributary serve` as a process: how it stops, and its metrics.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use testing::{ADMIN_KEY, Server, ServerOptions, TestDatabase, tributary};

/// How long a server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_server_that_is_told_to_stop_the_moment_it_is_ready_stops_in_good_order() {
    let database = TestDatabase::new().await;
    for _ in 0..10 {
        let mut child = tributary()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("DATABASE_URL", &database.url)
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
            .env("TRIBUTARY_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        assert!(line.starts_with("tributary is ready on "), "{line}");
        let pid = child.id().unwrap().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        let ended = tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "the server ended with {ended}");
    }
}

#[tokio::test]
async fn a_server_listens_on_a_name_and_hints_at_programs_while_there_are_none() {
    let database = TestDatabase::new().await;
    for is_empty in [true, false] {
        let mut child = tributary()
            .args(["serve", "--listen", "localhost:0"])
            .env("DATABASE_URL", &database.url)
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let address = line.strip_prefix("tributary is ready on ").unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        if is_empty {
            let url = format!("http://{address}");
            let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await;
            let client = testing::Client::new(channel.unwrap(), Some(ADMIN_KEY));
            client.publish_shipped("referral-count").await;
        }
        let pid = child.id().unwrap().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        let output = tokio::time::timeout(STOP_TIMEOUT, child.wait_with_output()).await.unwrap();
        let log = String::from_utf8(output.unwrap().stderr).unwrap();
        assert_eq!(log.contains("no program is published yet"), is_empty, "{log}");
    }
    database.check().await;
}

#[tokio::test]
async fn what_a_server_does_is_counted_for_prometheus() {
    let database = TestDatabase::new().await;
    let metrics = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let arguments = vec!["--metrics-listen".into(), metrics.clone()];
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let client = server.client();
    client.publish_shipped("referral-count").await;
    let ada = client.sign_up("referral-count", "ada", "").await.unwrap();
    client.sign_up("referral-count", "bob", &ada.code).await.unwrap();
    client.sign_up("referral-count", "cleo", "NOBODYS1").await.unwrap_err();
    let stream = client.watch("referral-count", "ada", "").await.unwrap();

    let told = async || {
        let mut connection = TcpStream::connect(&metrics).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
        connection.write_all(request).await.unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).await.unwrap();
        text
    };
    let text = told().await;
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    for line in [
        r#"tributary_rpcs_started_total{service="AccountService",rpc="RegisterUser"} 3"#,
        r#"tributary_rpcs_handled_total{service="AccountService",rpc="RegisterUser",code="OK"} 2"#,
        r#"tributary_rpcs_handled_total{service="AccountService",rpc="RegisterUser",code="NOT_FOUND"} 1"#,
        r#"tributary_rpcs_started_total{service="RewardService",rpc="WatchEarnings"} 1"#,
        "tributary_streams 1",
        "tributary_commit_seconds_count",
        "tributary_projection_lag_events",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    // A stream that its client closes ends as well.
    drop(stream);
    let ended = r#"rpc="WatchEarnings",code="CANCELLED"} 1"#;
    while !told().await.contains(ended) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn second_factors_that_are_required_need_keys_that_are_kept() {
    let database = TestDatabase::new().await;
    let mut command = tributary();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--require-second-factor=true"])
        .env("DATABASE_URL", &database.url)
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
    let ended = tokio::time::timeout(STOP_TIMEOUT, command.output()).await.unwrap().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success(), "{error}");
    assert!(error.contains("require_second_factor needs signing_keys"), "{error}");
    let keys = testing::second_factors::KeyFile::new();
    let mut options = keys.options();
    options.arguments.push("--require-second-factor=true".into());
    Server::start_with(&database.url, &options).await.stop().await;
}
