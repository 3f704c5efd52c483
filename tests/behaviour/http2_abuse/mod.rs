//! Clients that misuse HTTP/2: headers without a body, floods of resets, pings and settings, windows that stay shut,
//! headers without end, frames that nobody knows. An ordinary client is answered all along, and memory stays bounded.

mod frames;
mod limits;

use std::time::{Duration, Instant};

use frames::*;
use prost::Message;
use testing::{Client, Server, ServerOptions, TestDatabase};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const CREDITS: &str = "first-purchase-credits";
/// An ordinary call is answered within this time while a server is misused, also on a slow machine.
const PATIENCE: Duration = Duration::from_secs(15);
/// How much memory a misuse may cost while it lasts, in MiB. A debug build takes some 35 KB for a call that waits.
const MAX_GROWTH_MIB: u64 = 240;
/// Connections of an abuser.
const CONNECTIONS: usize = 8;

/// The memory of a server, in MiB.
fn memory_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A server, an ordinary client, and what was measured of both.
struct Scene {
    database: TestDatabase,
    server: Server,
    client: Client,
    before_mib: u64,
}

/// What an ordinary client saw.
struct Seen {
    answers: usize,
    slowest: Duration,
    most_mib: u64,
}

impl Scene {
    async fn new() -> Self {
        Self::with(&ServerOptions::default()).await
    }

    /// A scene on a server with further options.
    async fn with(options: &ServerOptions) -> Self {
        let database = TestDatabase::new().await;
        let server = Server::start_with(&database.url, options).await;
        let client = server.client();
        client.publish_shipped(CREDITS).await;
        client.sign_up(CREDITS, "ada", "").await.unwrap();
        for number in 0..20 {
            client.buy(&format!("before-{number}"), "ada", "USD", 5).await.unwrap();
        }
        let before_mib = memory_mib(&server);
        Self { database, server, client, before_mib }
    }

    /// Misuses the server from several connections; meanwhile an ordinary client writes and reads.
    async fn while_misused<F: Future<Output = std::io::Result<()>> + Send + 'static>(
        &self,
        misuse: impl Fn(String) -> F,
    ) -> Seen {
        let abusers: Vec<_> =
            (0..CONNECTIONS).map(|_| tokio::spawn(misuse(self.server.address.clone()))).collect();
        let over = tokio::spawn(async move {
            for abuser in abusers {
                // That the server cuts an abuser off is one way to cope with them.
                let _ = abuser.await.unwrap();
            }
        });
        let mut seen = Seen { answers: 0, slowest: Duration::ZERO, most_mib: 0 };
        while !over.is_finished() || seen.answers < 10 {
            let begun = Instant::now();
            let id = format!("during-{}", seen.answers);
            let ordinary = async {
                retried(|| self.client.buy(&id, "ada", "USD", 5)).await;
                retried(|| self.client.user("ada")).await;
            };
            tokio::time::timeout(PATIENCE, ordinary).await.expect("an ordinary call is answered");
            seen.slowest = seen.slowest.max(begun.elapsed());
            seen.answers += 1;
            seen.most_mib = seen.most_mib.max(memory_mib(&self.server));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        over.await.unwrap();
        seen
    }

    /// Checks that the misuse cost little, and that all is well afterwards, on a new connection too.
    async fn end_unharmed(self, seen: &Seen) {
        let Seen { answers, slowest, most_mib } = seen;
        println!(
            "{answers} answers, the slowest {slowest:?}; {} to {most_mib} MiB",
            self.before_mib
        );
        assert!(
            *most_mib <= self.before_mib + MAX_GROWTH_MIB,
            "{} MiB before, {most_mib} MiB meanwhile",
            self.before_mib
        );
        let another = self.server.separate_client(Some(testing::ADMIN_KEY)).await;
        another.buy("after", "ada", "USD", 5).await.unwrap();
        self.server.stop().await;
        self.database.check().await;
    }
}

/// Repeats a call as long as the server asks for that, as every client should.
async fn retried<T, F: Future<Output = Result<T, Status>>>(call: impl Fn() -> F) -> T {
    loop {
        match call().await {
            Err(status) if status.code() == Code::ResourceExhausted => {
                assert!(status.get_details_retry_info().is_some(), "{status:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return answer.unwrap(),
        }
    }
}

/// The ids of the first streams of a client.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

#[tokio::test]
async fn streams_that_are_reset_as_soon_as_they_are_opened_harm_nobody() {
    let scene = Scene::new().await;
    let seen = scene
        .while_misused(async |address: String| {
            let mut connection = Connection::open(&address).await?;
            for chunk in streams(20_000).collect::<Vec<_>>().chunks(100) {
                let mut bytes = Vec::new();
                for stream in chunk {
                    let headers = call_headers("AccountService/GetUser");
                    bytes.extend(frame(HEADERS, END_HEADERS, *stream, &headers));
                    bytes.extend(frame(RST_STREAM, 0, *stream, &8_u32.to_be_bytes()));
                }
                connection.send(&bytes).await?;
            }
            Ok(())
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn calls_that_are_given_up_all_at_once_do_not_end_the_others_of_their_connection() {
    let scene = Scene::new().await;
    let user = contract::pb::GetUserRequest { user_id: "ada".into(), ..Default::default() };
    let mut connection = Connection::open(&scene.server.address).await.unwrap();
    let headers = call_headers("AccountService/GetUser");
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &headers);
    for stream in streams(900).skip(1) {
        bytes.extend(frame(HEADERS, END_HEADERS, stream, &headers));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    bytes.extend(frame(DATA, END_STREAM, 1, &grpc(&user.encode_to_vec())));
    connection.send(&bytes).await.unwrap();
    loop {
        let (kind, stream, payload) = connection.receive().await.expect("an answer");
        assert_ne!(kind, GOAWAY, "{}", String::from_utf8_lossy(&payload));
        if (kind, stream) == (DATA, 1) {
            break;
        }
    }
    scene.server.stop().await;
    scene.database.check().await;
}

#[tokio::test]
async fn calls_whose_body_never_ends_harm_nobody() {
    let scene = Scene::new().await;
    let seen = scene
        .while_misused(async |address: String| {
            let mut connection = Connection::open(&address).await?;
            for stream in streams(200) {
                let headers = call_headers("PurchaseService/RecordPurchase");
                connection.send(&frame(HEADERS, END_HEADERS, stream, &headers)).await?;
                // Half of a message that is said to have a thousand bytes.
                let half = [&[0, 0, 0, 3, 232][..], &[7; 500]].concat();
                connection.send(&frame(DATA, 0, stream, &half)).await?;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok(())
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn answers_that_a_shut_window_holds_back_harm_nobody() {
    let scene = Scene::new().await;
    let everything = contract::pb::ReadEventsRequest::default().encode_to_vec();
    let seen = scene
        .while_misused(move |address: String| {
            let everything = everything.clone();
            async move {
                let mut connection = Connection::without_window(&address).await?;
                for stream in streams(40) {
                    let headers = call_headers("OperatorService/ReadEvents");
                    connection.send(&frame(HEADERS, END_HEADERS, stream, &headers)).await?;
                    connection.send(&frame(DATA, END_STREAM, stream, &grpc(&everything))).await?;
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok(())
            }
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn headers_without_end_are_cut_off() {
    let scene = Scene::new().await;
    let seen = scene
        .while_misused(async |address: String| {
            let mut connection = Connection::open(&address).await?;
            let large = header("x-large", &"x".repeat(16_000));
            connection.send(&frame(HEADERS, 0, 1, &call_headers("AccountService/GetUser"))).await?;
            for _ in 0..2_000 {
                connection.send(&frame(CONTINUATION, 0, 1, &large)).await?;
            }
            panic!("32 MB of headers were taken");
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn frames_of_unknown_kinds_are_ignored_and_the_call_after_them_is_answered() {
    let scene = Scene::new().await;
    let user = contract::pb::GetUserRequest { user_id: "ada".into(), ..Default::default() };
    let message = user.encode_to_vec();
    let seen = scene
        .while_misused(move |address: String| {
            let message = message.clone();
            async move {
                let mut connection = Connection::open(&address).await?;
                for kind in 0x0b..=0xff {
                    connection.send(&frame(kind, 0xff, 0, &[kind; 1_000])).await?;
                }
                let headers = call_headers("AccountService/GetUser");
                connection.send(&frame(HEADERS, END_HEADERS, 1, &headers)).await?;
                connection.send(&frame(DATA, END_STREAM, 1, &grpc(&message))).await?;
                loop {
                    let (kind, stream, _) = connection.receive().await.expect("an answer");
                    assert_ne!(kind, GOAWAY, "unknown frames are no error");
                    if (kind, stream) == (DATA, 1) {
                        return Ok(());
                    }
                }
            }
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn floods_of_pings_and_settings_whose_answers_nobody_reads_harm_nobody() {
    let scene = Scene::new().await;
    let seen = scene
        .while_misused(async |address: String| {
            let mut connection = Connection::open(&address).await?;
            let one = [frame(PING, 0, 0, &[1; 8]), frame(SETTINGS, 0, 0, &[])].concat();
            let many = one.repeat(1_000);
            // A server that waits until its answers are read does not read on: that is an end, too.
            let flood = async {
                for _ in 0..200 {
                    connection.send(&many).await?;
                }
                Ok(())
            };
            tokio::time::timeout(Duration::from_secs(3), flood).await.unwrap_or(Ok(()))
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn what_is_not_http_at_all_is_cut_off() {
    let scene = Scene::new().await;
    let seen = scene
        .while_misused(async |address: String| {
            for garbage in [
                &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                b"GET / HTTP/9.9\r\n\r\n",
                b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ] {
                for _ in 0..50 {
                    let mut connection = Connection::silent(&address).await?;
                    let _ = connection.send(garbage).await;
                }
            }
            Ok(())
        })
        .await;
    scene.end_unharmed(&seen).await;
}

#[tokio::test]
async fn many_connections_that_do_little_harm_nobody() {
    let scene = Scene::new().await;
    let seen = scene
        .while_misused(async |address: String| {
            let mut connections = Vec::new();
            for number in 0..40 {
                let mut connection = Connection::open(&address).await?;
                if number % 2 == 0 {
                    let headers = call_headers("AccountService/GetUser");
                    connection.send(&frame(HEADERS, END_HEADERS, 1, &headers)).await?;
                }
                connections.push(tokio::spawn(connection.drain()));
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            for connection in &connections {
                connection.abort();
            }
            Ok(())
        })
        .await;
    scene.end_unharmed(&seen).await;
}
