//! What pages follow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use testing::second_server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::security::user_id_of;
use super::*;
use contract::pb::{LogoutRequest, SetUserRoleRequest};

/// An open stream of server-sent events.
pub(super) struct Stream {
    connection: TcpStream,
    pub(super) text: String,
}

impl Stream {
    pub(super) async fn open(browser: &Browser, path: &str, token: &str) -> Self {
        let mut connection = TcpStream::connect(&browser.address).await.unwrap();
        let separator = if path.contains('?') { '&' } else { '?' };
        let request = format!(
            "GET {path}{separator}resume_token={token} HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\
             accept: text/event-stream\r\naccept-encoding: gzip\r\n\r\n",
            browser.cookie.clone().unwrap_or_default(),
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        Self { connection, text: String::new() }
    }

    /// Reads until the text is there.
    pub(super) async fn until(&mut self, wanted: &str) {
        let reading = async {
            let mut bytes = vec![0; 64 * 1024];
            while !self.text.contains(wanted) {
                let count = self.connection.read(&mut bytes).await.unwrap();
                assert!(count > 0, "the stream ended without {wanted}: {}", self.text);
                self.text += &String::from_utf8_lossy(&bytes[..count]);
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reading).await;
        assert!(in_time.is_ok(), "{wanted} is not in {}", self.text);
    }

    /// The id of the last message that has one.
    pub(super) fn token(&self) -> String {
        let mut ids = self.text.lines().filter_map(|line| line.strip_prefix("id: "));
        ids.next_back().expect("an id").trim().to_owned()
    }
}

pub(super) fn token_of(page: &str) -> String {
    attribute(page, "data-token")
}

/// The first attribute of this name on a page.
pub(super) fn attribute(page: &str, name: &str) -> String {
    let value = page.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
    value.replace("&amp;", "&")
}

#[tokio::test]
async fn a_dashboard_follows_what_happens_and_goes_on_after_a_cut_without_a_gap() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, "referral-count", "").await;
    let code = code_of(&client, "ada", "referral-count").await;
    let page = Browser::shown(&ada.get("/p/referral-count").await);
    // Somebody comes after the page and before the stream.
    client.sign_up("referral-count", "bob", &code).await.unwrap();
    let path = "/live/participant/referral-count";
    let mut stream = Stream::open(&ada, path, &token_of(&page)).await;
    stream.until("bob has converted").await;
    stream.until("id: ").await;
    assert!(stream.text.contains("content-type: text/event-stream"), "{}", stream.text);
    assert!(!stream.text.contains("content-encoding"), "{}", stream.text);
    let began = Instant::now();
    client.sign_up("referral-count", "cleo", &code).await.unwrap();
    stream.until("cleo has converted").await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    stream.until(">2<").await;
    // The whole message, with its id.
    client.sign_up("referral-count", "dan", &code).await.unwrap();
    stream.until("dan has converted").await;
    let seen = stream.token();
    drop(stream);

    client.sign_up("referral-count", "eve", &code).await.unwrap();
    let mut again = Stream::open(&ada, path, &seen).await;
    again.until("eve has converted").await;
    assert!(!again.text.contains("bob has converted"), "{}", again.text);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_with_another_role() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, "referral-count", "").await;
    let user_id = user_id_of(&client, "ada").await;
    let path = "/live/participant/referral-count";
    for round in 0..2 {
        let page = Browser::shown(&ada.get("/p/referral-count").await);
        let mut stream = Stream::open(&ada, path, &token_of(&page)).await;
        stream.until("event: part").await;
        if round == 0 {
            let request = contract::pb::ListSessionsRequest { user_id: user_id.clone() };
            let sessions = client.accounts().list_sessions(client.request(request)).await.unwrap();
            let session_id = sessions.into_inner().sessions[0].session_id.clone();
            let request = LogoutRequest { session_id, user_id: user_id.clone() };
            client.accounts().logout(client.request(request)).await.unwrap();
        } else {
            let role = contract::pb::UserRole::Operator.into();
            let request =
                SetUserRoleRequest { user_id: user_id.clone(), role, ..Default::default() };
            client.accounts().set_user_role(client.request(request)).await.unwrap();
        }
        stream.until("event: end\ndata: /sign-in?ended=1").await;
        ada.sign_in("ada", PASSWORD).await;
    }
    // Who has not signed in is told so, as browsers do not tell the script the code of an answer.
    let stranger = Browser::new(&server.address);
    let mut stream = Stream::open(&stranger, path, "").await;
    stream.until("event: end\ndata: /sign-in?ended=1").await;
    // A token of nowhere: the page has to be fetched again.
    ada.cookie = None;
    let mut bob = Browser::new(&server.address);
    bob.register("bob", "").await;
    enroll(&mut bob, "referral-count", "").await;
    let mut stream = Stream::open(&bob, path, "nonsense").await;
    stream.until("event: reload").await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_tier_that_is_reached_is_celebrated_while_one_watches() {
    let (database, server, client) = server_with(&["tiered-points"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, "tiered-points", "").await;
    let code = code_of(&client, "ada", "tiered-points").await;
    let page = Browser::shown(&ada.get("/p/tiered-points").await);
    let path = "/live/participant/tiered-points";
    let mut stream = Stream::open(&ada, path, &token_of(&page)).await;
    for number in 0..10 {
        client.sign_up("tiered-points", &format!("friend-{number}"), &code).await.unwrap();
    }
    stream.until("data-into=\"celebrations\"").await;
    stream.until("You have reached Silver").await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn earnings_follow_what_happens() {
    let (database, server, client) = server_with(&["multi-level-commission"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, "multi-level-commission", "").await;
    let code = code_of(&client, "ada", "multi-level-commission").await;
    client.sign_up("multi-level-commission", "bob", &code).await.unwrap();
    let path = "/p/multi-level-commission/earnings";
    let page = Browser::shown(&ada.get(path).await);
    let live = "/live/earnings/multi-level-commission";
    assert!(page.contains(&format!("data-live=\"{live}\"")), "{page}");
    let mut stream = Stream::open(&ada, live, &token_of(&page)).await;
    client.buy("order-1", "bob", "INR", 200_000).await.unwrap();
    stream.until("Purchase order-1").await;
    for part in
        ["id=\"sums\"", "id=\"by-level\"", "id=\"by-person\"", "id=\"weeks\"", "id=\"ledger\""]
    {
        assert!(stream.text.contains(part), "{part}: {}", stream.text);
    }
    // The past stands still.
    let past = Browser::shown(&ada.get(&format!("{path}?as_of=2020-01-01")).await);
    assert!(!past.contains("data-live"), "{past}");
    assert!(past.contains("At the end of 1 January 2020"), "{past}");
    // The weeks, the people and the ledger are not of that day, and say so.
    let of_present = "At present, whatever day is chosen above";
    assert!(past.matches(of_present).count() >= 3, "{past}");
    let ledger = past.split("id=\"ledger\"").nth(1).unwrap();
    assert!(ledger.contains(of_present) && ledger.contains("order-1"), "{past}");
    server.stop().await;
    database.check().await;
}

/// How many streams one session opens, so many of them at the same time.
const FLOOD: usize = 400;
const AT_ONCE: usize = 50;
/// How many a session may have.
const OF_SESSION: usize = 8;

#[tokio::test]
async fn nobody_is_refused_because_of_a_session_that_opens_hundreds_of_streams() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let (mut ada, mut bob) = (Browser::new(&server.address), Browser::new(&server.address));
    for (browser, name) in [(&mut ada, "ada"), (&mut bob, "bob")] {
        browser.register(name, "").await;
        enroll(browser, "referral-count", "").await;
    }
    let code = code_of(&client, "bob", "referral-count").await;
    let (path, page) = ("/live/participant/referral-count", "/p/referral-count");
    let token = token_of(&Browser::shown(&bob.get(page).await));
    let mut watched = Stream::open(&bob, path, &token).await;
    watched.until("event: part").await;

    let token = token_of(&Browser::shown(&ada.get(page).await));
    let (ada, places) = (Arc::new(ada), Arc::new(Semaphore::new(AT_ONCE)));
    let mut flood = JoinSet::new();
    for _ in 0..FLOOD {
        let (ada, places, token) = (ada.clone(), places.clone(), token.clone());
        flood.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            // The one that lost its place comes back later.
            Stream::open(&ada, path, &token).await.until("event: wait\ndata: 15").await;
        });
    }
    for number in 0.. {
        while flood.try_join_next().is_some_and(|lost| lost.is_ok()) {}
        if flood.len() <= OF_SESSION {
            break;
        }
        let html = Browser::shown(&bob.get(page).await);
        let mut other = Stream::open(&bob, path, &token_of(&html)).await;
        other.until("event: part").await;
        if number == 0 {
            client.sign_up("referral-count", "cleo", &code).await.unwrap();
            watched.until("cleo has converted").await;
        }
    }
    // Those that are left stay, until their time to wait for a message is over.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(flood.try_join_next().is_none());
    assert_eq!(flood.len(), OF_SESSION);
    flood.shutdown().await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_stream_above_the_limits_of_its_caller_is_refused_with_the_time_to_wait() {
    let (database, server, _) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, "referral-count", "").await;
    let token = token_of(&Browser::shown(&ada.get("/p/referral-count").await));
    server.stop().await;
    let path = format!("/live/participant/referral-count?resume_token={token}");
    let server = second_server(&database, &["--user-calls-per-minute", "1"]).await;
    ada.address.clone_from(&server.address);
    let mut stream = Stream::open(&ada, "/live/participant/referral-count", &token).await;
    stream.until("HTTP/1.1 200").await;
    let refused = ada.get(&path).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    server.stop().await;
    // What the server has too little of is no fault of the caller.
    let server = second_server(&database, &["--streams", "1"]).await;
    ada.address.clone_from(&server.address);
    let _held = server.client().watch_events(&[], "", "").await.unwrap();
    assert_eq!(ada.get(&path).await.status, 503);
    server.stop().await;
    database.check().await;
}
