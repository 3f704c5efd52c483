//! Limits on the number of streams, over all kinds of streams.

use std::time::Duration;

use contract::pb::ReadEventsRequest;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::stream_leaderboards::board;
use super::support::{PATIENCE, refused, server_with};
use testing::{ADMIN_KEY, Client, Server, at_once, second_server};

/// A program that every kind of stream supports.
const PROGRAM: &str = "tiered-points";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Earnings,
    Balances,
    Tier,
    Participant,
    Leaderboard,
    Events,
    Log,
}

const KINDS: [Kind; 7] = [
    Kind::Earnings,
    Kind::Balances,
    Kind::Tier,
    Kind::Participant,
    Kind::Leaderboard,
    Kind::Events,
    Kind::Log,
];

/// A stream of any kind that is held open.
type Held = Box<dyn Send>;

/// Opens a stream about ada and reads its first message.
async fn open(client: &Client, kind: Kind) -> Result<Held, Status> {
    Ok(match kind {
        Kind::Earnings => Box::new(client.watch_earnings(PROGRAM, "ada", "").await?.rest),
        Kind::Balances => Box::new(client.watch_balances(PROGRAM, "ada", "").await?.rest),
        Kind::Tier => Box::new(client.watch_tier(PROGRAM, "ada", "").await?.rest),
        Kind::Participant => Box::new(client.watch_participant(PROGRAM, "ada", "").await?.rest),
        Kind::Leaderboard => Box::new(client.watch_leaderboard(board(PROGRAM, "")).await?.rest),
        Kind::Events => Box::new(client.watch_events(&[], "", "").await?.rest),
        Kind::Log => {
            let request = client.request(ReadEventsRequest::default());
            let mut stream = client.operators().read_events(request).await?.into_inner();
            first(&mut stream).await?;
            Box::new(stream)
        }
    })
}

async fn first<M>(stream: &mut Streaming<M>) -> Result<M, Status>
where
    Streaming<M>: Stream<Item = Result<M, Status>> + Unpin,
{
    stream.next().await.expect("a first message")
}

/// A client whose connection buffers little that was not read, so that reading the log takes as long as the
/// client delays it.
async fn narrow_client(server: &Server) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let narrow = endpoint.initial_stream_window_size(4_096).initial_connection_window_size(65_535);
    Client::new(narrow.connect().await.unwrap(), Some(ADMIN_KEY))
}

/// Opens a stream as soon as a permit is free.
async fn open_in_time(client: &Client, kind: Kind) -> Held {
    let open = async {
        loop {
            match open(client, kind).await {
                Ok(stream) => return stream,
                Err(status) => {
                    refused::<()>(Err(status), Code::ResourceExhausted, "TOO_MANY_STREAMS");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, open).await.expect("a place in time")
}

/// Checks that no permit is free for a stream of any kind, and that the limit is this one.
async fn expect_full(client: &Client, limit: &str, whose: &str) {
    for kind in KINDS {
        let answer = open(client, kind).await.map(|_| ());
        let status = refused(answer, Code::ResourceExhausted, "TOO_MANY_STREAMS");
        let details = status.get_error_details();
        assert!(details.retry_info().is_some(), "{status:?}");
        let facts = &details.error_info().unwrap().metadata;
        assert_eq!(facts.get("limit_streams").map(String::as_str), Some(limit), "{facts:?}");
        assert_eq!(facts.get("limit_of").map(String::as_str), Some(whose), "{facts:?}");
    }
}

/// Makes the log long enough that reading it takes a while.
async fn fill(client: &Client) {
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for batch in 0..6 {
        at_once((0..100).map(|number| {
            let (client, code) = (client.clone(), ada.code.clone());
            let friend = format!("friend-{batch}-{number}");
            async move { client.sign_up(PROGRAM, &friend, &code).await.unwrap() }
        }))
        .await;
    }
}

async fn all_kinds_share_places(flag: &str, whose: &str) {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    fill(&client).await;
    server.stop().await;
    drop(client);
    let server = second_server(&database, &[flag, "7"]).await;
    let client = narrow_client(&server).await;
    let mut held = Vec::new();
    for kind in KINDS {
        held.push(open(&client, kind).await.unwrap());
    }
    expect_full(&client, "7", whose).await;

    // Whichever stream ends frees a permit, which a stream of another kind can use.
    for kind in KINDS.into_iter().cycle().skip(1).take(KINDS.len()) {
        drop(held.remove(0));
        held.push(open_in_time(&client, kind).await);
        expect_full(&client, "7", whose).await;
    }
    // Calls that need no permit still succeed.
    client.user("ada").await.unwrap();
    drop(held);
    for kind in KINDS {
        open_in_time(&client, kind).await;
    }
    drop(client);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn streams_of_all_kinds_share_the_places_of_a_caller() {
    all_kinds_share_places("--streams-per-caller", "caller").await;
}

#[tokio::test]
async fn streams_of_all_kinds_share_the_places_of_a_server() {
    all_kinds_share_places("--streams", "server").await;
}

#[tokio::test]
async fn a_stream_that_is_refused_or_over_holds_no_place() {
    let (database, server, client) = server_with(&[PROGRAM, "referral-count"]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up("referral-count", "bob", "").await.unwrap();
    server.stop().await;
    drop(client);
    let server = second_server(&database, &["--streams", "1"]).await;
    let client = server.client();
    for _ in 0..5 {
        client.watch_earnings(PROGRAM, "nobody", "").await.map(|_| ()).unwrap_err();
        client.watch_balances(PROGRAM, "ada", "bad").await.map(|_| ()).unwrap_err();
        client.watch_participant(PROGRAM, "ada", "bad").await.map(|_| ()).unwrap_err();
        let answer = client.watch_tier("referral-count", "bob", "").await.map(|_| ());
        refused(answer, Code::FailedPrecondition, "NO_TIERS");
        let answer = client.watch_leaderboard(board("nothing", "")).await.map(|_| ());
        refused(answer, Code::NotFound, "PROGRAM_NOT_FOUND");
        let answer = client.watch_events(&["Nothing"], "", "").await.map(|_| ());
        refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        let request = ReadEventsRequest { limit: -1, ..Default::default() };
        let answer = client.operators().read_events(client.request(request)).await;
        refused(answer.map(|_| ()), Code::InvalidArgument, "INVALID_FIELD");
        // A stream that has ended by itself.
        let request = client.request(ReadEventsRequest::default());
        let mut stream = client.operators().read_events(request).await.unwrap().into_inner();
        while stream.message().await.unwrap().is_some() {}
    }
    open(&client, Kind::Tier).await.unwrap();
    server.stop().await;
    database.check().await;
}
