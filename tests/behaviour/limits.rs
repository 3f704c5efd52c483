//! What a client can take from the others: connections, requests that it does not finish, answers that it does not
//! read. Each has a limit, and whoever stays within it is served meanwhile.

use std::process::Stdio;
use std::time::{Duration, Instant};

use contract::pb::{
    ListProgramsRequest, ListUsersRequest, ReadEventsRequest, WatchEarningsRequest,
};
use prost::Message;
use prost::bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tonic::Code;

use super::raw_http2::RawHttp2;
use super::support::{PATIENCE, refused, server_with};
use testing::plain_http::{get, send};
use testing::{ADMIN_KEY, Client, Server, ServerOptions, TestDatabase, at_once, tributary};

const PROGRAM: &str = "referral-count";
/// Open to anyone, so that nothing but its limits protects it.
const OPEN: &str = "AccountService/RegisterUser";

async fn server_on(database: &TestDatabase, arguments: &[&str]) -> Server {
    let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    Server::start_with(&database.url, &ServerOptions { arguments }).await
}

fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

/// A server with some settings, and where its metrics are.
async fn measured(arguments: &[&str]) -> (TestDatabase, Server, String) {
    let (database, metrics) = (TestDatabase::new().await, free_address());
    let all = [&["--metrics-listen", &*metrics] as &[&str], arguments].concat();
    let server = server_on(&database, &all).await;
    (database, server, metrics)
}

/// Waits until the metrics have a line.
async fn counted(metrics: &str, line: &str) {
    let waiting = async {
        while !get(metrics, "/metrics", &[]).await.unwrap().text().contains(line) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no {line}"));
}

/// Waits until the other side closes a connection, and returns how long that took and what was said before.
async fn closed(mut stream: TcpStream) -> (Duration, Vec<u8>) {
    let (began, mut said) = (Instant::now(), Vec::new());
    let reading = stream.read_to_end(&mut said);
    // A connection that is reset is closed, too.
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("it is closed in time");
    (began.elapsed(), said)
}

async fn is_served(client: &Client) {
    let request = client.request(ListProgramsRequest::default());
    client.programs().list_programs(request).await.unwrap();
}

/// The memory of a server, in MiB.
fn memory_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn a_client_that_says_nothing_or_speaks_slowly_is_cut_off_in_time() {
    let (database, server, metrics) = measured(&["--request-timeout-s", "1"]).await;
    let connect = async || TcpStream::connect(&server.address).await.unwrap();
    let in_time =
        |took: Duration| took > Duration::from_millis(500) && took < Duration::from_secs(8);

    let (took, said) = closed(connect().await).await;
    assert!(in_time(took) && said.is_empty(), "{took:?} {said:?}");
    counted(&metrics, r#"tributary_connections_cut_total{limit="silent"} 1"#).await;

    let mut slow_headers = connect().await;
    slow_headers.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    let (took, _) = closed(slow_headers).await;
    assert!(in_time(took), "{took:?}");

    // A body that ends halfway, before and after the first part of a message.
    for body in ["", "\0\0\0"] {
        let mut slow_body = connect().await;
        let head = format!(
            "POST /tributary.v1.{OPEN} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\
             content-type: application/grpc-web+proto\r\n\r\n{body}"
        );
        slow_body.write_all(head.as_bytes()).await.unwrap();
        let (took, said) = closed(slow_body).await;
        let said = String::from_utf8_lossy(&said).to_lowercase();
        assert!(in_time(took), "{took:?} {said}");
        assert!(said.contains("content-type: application/grpc-web+proto"), "{said}");
        assert!(said.contains("grpc-status: 4") || said.contains("grpc-status:4"), "{said}");
    }
    counted(&metrics, r#"tributary_requests_cut_total{limit="time"} 2"#).await;
    is_served(&server.client()).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_call_that_is_not_complete_in_time_is_answered_with_its_reason() {
    let database = TestDatabase::new().await;
    let server = server_on(&database, &["--request-timeout-s", "1"]).await;
    let raw = RawHttp2::connect(&server.address).await;
    let headers_only = raw.begin(OPEN, &[], false).await;
    let mut halfway = raw.begin(OPEN, &[], false).await;
    halfway.request.send_data(Bytes::from_static(b"\0\0\0\0\x64abc"), false).unwrap();
    for call in [headers_only, halfway] {
        let RawHttp2Call { status, took } = ended(call).await;
        refused::<()>(Err(status), Code::DeadlineExceeded, "REQUEST_INCOMPLETE");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    // A call that needs a key is refused before its body arrives, as far as it has arrived.
    let mut without_key = raw.begin("AccountService/GetUser", &[], false).await;
    without_key.request.send_data(Bytes::from_static(b"\0"), false).unwrap();
    let status = ended(without_key).await.status;
    refused::<()>(Err(status), Code::Unauthenticated, "MISSING_CREDENTIALS");
    server.stop().await;
    database.check().await;
}

struct RawHttp2Call {
    status: tonic::Status,
    took: Duration,
}

/// The status with which a call ends whose request never does.
async fn ended(call: super::raw_http2::RawCall) -> RawHttp2Call {
    let began = Instant::now();
    // Dropping the request would end it.
    let super::raw_http2::RawCall { response, request } = call;
    let answer = tokio::time::timeout(PATIENCE, response).await.expect("it ends").unwrap();
    let status = super::raw_http2::status(answer.headers());
    drop(request);
    RawHttp2Call { status, took: began.elapsed() }
}

#[tokio::test]
async fn twenty_thousand_calls_without_a_body_take_little_memory_and_are_answered_in_time() {
    const CONNECTIONS: usize = 20;
    const CALLS: usize = 1_000;
    let database = TestDatabase::new().await;
    let server = server_on(&database, &["--request-timeout-s", "5"]).await;
    let client = server.client();
    is_served(&client).await;
    let before_mib = memory_mib(&server);
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let raw = RawHttp2::connect(&server.address).await;
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            calls.push(raw.begin(OPEN, &[], false).await);
        }
        held.push((raw, calls));
    }
    let began = Instant::now();
    is_served(&client).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let grown_mib = memory_mib(&server).saturating_sub(before_mib);
    assert!(grown_mib < 100, "{grown_mib} MiB for {} calls", CONNECTIONS * CALLS);
    for (_raw, calls) in held {
        for call in calls {
            let reason = testing::reason(&ended(call).await.status).1;
            assert!(["REQUEST_INCOMPLETE", "TOO_MANY_REQUESTS"].contains(&&*reason), "{reason}");
        }
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_connection_without_a_call_ends_and_one_with_a_stream_stays() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    server.stop().await;
    let server = server_on(&database, &["--idle-timeout-s", "1"]).await;
    let authorization = format!("Bearer {ADMIN_KEY}");
    let key = [("authorization", &*authorization)];

    let idle = RawHttp2::connect(&server.address).await;
    let watching = RawHttp2::connect(&server.address).await;
    let request = WatchEarningsRequest {
        program_id: PROGRAM.into(),
        user_id: "ada".into(),
        ..Default::default()
    };
    let watch = watching.call("RewardService/WatchEarnings", &key, &request.encode_to_vec()).await;
    let mut stream = watch.answered().await.into_body();
    stream.data().await.unwrap().unwrap();

    let began = Instant::now();
    tokio::time::timeout(PATIENCE, idle.connection).await.expect("it ends").unwrap().ok();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!watching.connection.is_finished());
    // Clients of gRPC connect again without being told.
    is_served(&server.client()).await;
    drop(stream);
    tokio::time::timeout(PATIENCE, watching.connection).await.expect("it ends").unwrap().ok();
    server.stop().await;
    database.check().await;
}

/// Whether the server keeps a connection that speaks.
async fn is_admitted(server: &Server) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = [0; 8];
    let admitted =
        stream.write_all(request).await.is_ok() && stream.read_exact(&mut first).await.is_ok();
    admitted.then_some(stream)
}

#[tokio::test]
async fn connections_above_the_limit_of_an_address_or_of_all_are_refused_and_counted() {
    // One connection is that of the client that the server was started with.
    let (database, server, metrics) = measured(&["--connections-per-address", "3"]).await;
    let held = [is_admitted(&server).await.unwrap(), is_admitted(&server).await.unwrap()];
    assert!(is_admitted(&server).await.is_none());
    counted(&metrics, r#"tributary_connections_refused_total{limit="address"} 1"#).await;
    counted(&metrics, "tributary_connections 3").await;
    is_served(&server.client()).await;
    drop(held);
    counted(&metrics, "tributary_connections 1").await;
    is_admitted(&server).await.unwrap();
    server.stop().await;

    let proxy = ["--connections-per-address", "3", "--trusted-proxies", "192.0.2.1,127.0.0.0/8"];
    let arguments = [&["--connections", "5"] as &[&str], &proxy].concat();
    let server = server_on(&database, &arguments).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(is_admitted(&server).await.expect("a proxy has no limit of its own"));
    }
    assert!(is_admitted(&server).await.is_none(), "the limit of all connections holds for a proxy");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn headers_above_16_kib_are_refused_over_http_1_as_well() {
    let database = TestDatabase::new().await;
    let server = server_on(&database, &[]).await;
    let with = async |bytes: usize| {
        let header = format!("x-long: {}", "a".repeat(bytes));
        get(&server.address, "/livez", &[&header]).await
    };
    assert_eq!(with(15 * 1024).await.unwrap().status, 200);
    for bytes in [17 * 1024, 200 * 1024] {
        match with(bytes).await {
            Ok(answer) => assert_eq!(answer.status, 431, "{answer:?}"),
            // The server has answered and closed the connection before everything was sent.
            Err(error) => assert!(bytes > 20 * 1024, "{error}"),
        }
    }
    server.stop().await;
    database.check().await;
}

/// The log as a stream of small messages, and a list as one large answer.
fn whole_log() -> (&'static str, Vec<u8>) {
    let request = ReadEventsRequest { limit: i32::MAX, ..Default::default() };
    ("OperatorService/ReadEvents", request.encode_to_vec())
}

fn long_list() -> (&'static str, Vec<u8>) {
    let request = ListUsersRequest { page_size: 1_000, ..Default::default() };
    ("AccountService/ListUsers", request.encode_to_vec())
}

/// Makes calls and reads none of the answers; none if the connection is cut.
async fn read_nothing(
    server: &Server,
    (rpc, request): (&str, Vec<u8>),
    calls: usize,
) -> Option<(RawHttp2, Vec<http::Response<h2::RecvStream>>)> {
    let authorization = format!("Bearer {ADMIN_KEY}");
    let key = [("authorization", &*authorization)];
    let raw = RawHttp2::connect(&server.address).await;
    let mut held = Vec::new();
    for _ in 0..calls {
        let call = raw.try_call(rpc, &key, &request).await.ok()?;
        held.push(call.response.await.ok()?);
    }
    Some((raw, held))
}

/// A log of more than a thousand events.
async fn long_log() -> TestDatabase {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for batch in 0..4 {
        at_once((0..100).map(|number| {
            let (client, code) = (client.clone(), ada.code.clone());
            let friend = format!("friend-{batch}-{number}");
            async move { client.sign_up(PROGRAM, &friend, &code).await.unwrap() }
        }))
        .await;
    }
    server.stop().await;
    database
}

#[tokio::test]
async fn an_answer_that_nobody_reads_takes_little_memory() {
    const STREAMS: usize = 800;
    let database = long_log().await;
    let server = server_on(&database, &[]).await;
    let client = server.client();
    is_served(&client).await;
    let before_mib = memory_mib(&server);
    let held = read_nothing(&server, whole_log(), STREAMS).await.expect("nobody is cut");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown_mib = memory_mib(&server).saturating_sub(before_mib);
    assert!(grown_mib < 80, "{grown_mib} MiB for {STREAMS} streams");
    is_served(&client).await;
    drop(held);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn when_too_much_is_unread_the_connection_with_most_of_it_is_cut() {
    let database = long_log().await;
    let metrics = free_address();
    let arguments = ["--metrics-listen", &*metrics, "--unread-answers-mb", "1"];
    let server = server_on(&database, &arguments).await;
    let client = server.client();
    let modest = read_nothing(&server, whole_log(), 2).await.expect("little is unread");
    let cut = async {
        let mut held = Vec::new();
        while let Some(more) = read_nothing(&server, long_list(), 100).await {
            held.push(more);
        }
    };
    tokio::time::timeout(PATIENCE, cut).await.expect("a connection is cut");
    counted(&metrics, r#"tributary_connections_cut_total{limit="unread"} "#).await;
    is_served(&client).await;
    assert!(!modest.0.connection.is_finished(), "another connection had more");
    server.stop().await;
    database.check().await;
}

/// Time on a processor that a process has used, in seconds.
fn processor_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Fields 14 and 15 of all, in hundredths of a second.
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

#[tokio::test]
async fn a_server_at_its_limit_of_files_waits_says_so_and_recovers() {
    let database = TestDatabase::new().await;
    let mut child = tributary()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", &database.url)
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("tributary is ready on ").unwrap().to_owned();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let pid = child.id().unwrap();
    let limit = async |files: &str| {
        let arguments = ["--pid", &pid.to_string(), &format!("--nofile={files}:4096")];
        assert!(Command::new("prlimit").args(arguments).status().await.unwrap().success());
    };

    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files: Vec<&str> = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(files[3], files[4], "the soft limit was raised to the hard one: {limits}");

    limit("10").await;
    let waiting = TcpStream::connect(&address).await.unwrap();
    let begun_s = processor_s(pid);
    let complaint = async {
        loop {
            let line = log.next_line().await.unwrap().expect("a log");
            if line.contains("no connection can be accepted") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, complaint).await.expect("the log says so");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used_s = processor_s(pid) - begun_s;
    assert!(used_s < 1.0, "{used_s} s on a processor");

    limit("1024").await;
    drop(waiting);
    let answer = get(&address, "/livez", &[]).await.unwrap();
    assert_eq!(answer.status, 200);
    Command::new("kill").args(["-TERM", &pid.to_string()]).status().await.unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    assert!(tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());
    database.check().await;
}

#[tokio::test]
async fn a_media_type_of_grpc_is_compared_as_a_whole_and_without_regard_to_case() {
    let (database, server, _) = server_with(&[PROGRAM]).await;
    let key = format!("authorization: Bearer {ADMIN_KEY}");
    let path = "POST /tributary.v1.ProgramService/ListPrograms";
    let ask = async |kind: &str| {
        let kind = format!("content-type: {kind}");
        send(&server.address, path, &[&kind, &key], &super::raw_http2::framed(&[])).await.unwrap()
    };
    for kind in [
        "Application/gRPC-Web",
        "application/grpc-web+Proto",
        "application/grpc-web+proto; charset=utf-8",
        "application/grpc-web;v=1",
    ] {
        let answer = ask(kind).await;
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
        assert!(answer.text().contains(PROGRAM), "{kind}: {answer:?}");
    }
    for kind in
        ["application/grpcfoo", "application/grpc-web+json", "application/grpc+json", "text/grpc"]
    {
        let answer = ask(kind).await;
        assert_eq!(answer.status, 415, "{kind}: {answer:?}");
        assert!(answer.text().contains("application/grpc-web-text"), "{kind}: {answer:?}");
        assert_eq!(answer.header("accept-post"), Some("application/grpc, application/grpc-web"));
    }
    server.stop().await;
    database.check().await;
}
