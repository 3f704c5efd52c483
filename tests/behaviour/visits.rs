//! Visits of the page that shared links lead to: who counts, how often, and who may know.

use std::time::Duration;

use contract::pb::referral_service_client::ReferralServiceClient;
use contract::pb::*;
use prost_types::Timestamp;
use tokio::time::{Instant, sleep};
use tonic::Code;
use tributary::api::services;

use testing::plain_http::{get, send};
use testing::{Client, Server, ServerOptions, TestDatabase};

use super::bad_input::at_fault;
use super::console::security::make_operator;
use super::console::{Browser, PASSWORD};
use super::principals::{by, in_process, service, user};
use super::support::{PATIENCE, refused, server_with};

const LINES: &str = "multi-level-commission";
const BROWSER: &str =
    "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A server that takes addresses from the header of a proxy on this machine.
async fn start(database: &TestDatabase) -> Server {
    let arguments = ["--trusted-proxies", "127.0.0.1"].map(String::from).into();
    Server::start_with(&database.url, &ServerOptions { arguments }).await
}

/// Somebody with this address opens a page.
async fn open(server: &Server, path: &str, from: &str, more: &[&str]) {
    let from = format!("x-forwarded-for: {from}");
    let mut headers = vec!["accept: text/html", &*from];
    headers.extend(more);
    let answer = get(&server.address, path, &headers).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.head);
}

async fn visits(client: &Client, user_id: &str) -> GetVisitsResponse {
    let request = GetVisitsRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        ..Default::default()
    };
    client.referrals().get_visits(client.request(request)).await.unwrap().into_inner()
}

/// Waits until there are so many visits, and no more.
async fn until(client: &Client, user_id: &str, count: i64) -> GetVisitsResponse {
    let began = Instant::now();
    loop {
        let found = visits(client, user_id).await;
        if found.visits_in_all == count {
            return found;
        }
        assert!(found.visits_in_all < count, "{found:?}");
        assert!(began.elapsed() < PATIENCE, "{found:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_address_counts_once_per_code_and_day_and_crawlers_and_previews_do_not() {
    let database = TestDatabase::new().await;
    let server = start(&database).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap().code;
    let bob = client.sign_up(LINES, "bob", &ada).await.unwrap().code;
    let (of_ada, of_bob) = (format!("/join/{ada}"), format!("/join?ref={}", bob.to_lowercase()));
    for (from, more) in [
        ("203.0.113.1", &[][..]),
        ("203.0.113.2", &["sec-purpose: prefetch;prerender"]),
        ("203.0.113.3", &["purpose: prefetch"]),
        ("203.0.113.4", &["user-agent: Twitterbot/1.0"]),
        ("203.0.113.5", &["user-agent: Mozilla/5.0 (compatible; Baiduspider/2.0)"]),
    ] {
        let own = more.iter().any(|line| line.starts_with("user-agent"));
        // The first does not even say what it is.
        let browser = if own || more.is_empty() { &[][..] } else { &[BROWSER][..] };
        open(&server, &of_ada, from, &[more, browser].concat()).await;
    }
    let head = ["x-forwarded-for: 203.0.113.6", BROWSER];
    send(&server.address, &format!("HEAD {of_ada}"), &head, b"").await.unwrap();
    // A code that nobody has, and a page that is not shared.
    open(&server, "/join/NOBODY123", "203.0.113.7", &[BROWSER]).await;
    open(&server, &format!("/register?ref={ada}"), "203.0.113.7", &[BROWSER]).await;
    // These count: three by the code of ada, one of them twice, and one by the code of bob.
    for from in ["203.0.113.1", "203.0.113.2", "203.0.113.1", "2001:db8::1", "2001:db8::2"] {
        open(&server, &of_ada, from, &[BROWSER]).await;
    }
    open(&server, &of_ada.to_lowercase(), "203.0.113.2", &[BROWSER]).await;
    open(&server, &of_bob, "203.0.113.1", &[BROWSER]).await;

    let all = until(&client, "", 4).await;
    let (of_ada, of_bob) = (visits(&client, "ada").await, visits(&client, "bob").await);
    assert_eq!((of_ada.visits_in_all, of_bob.visits_in_all), (3, 1));
    assert_eq!((all.visits, all.days.len()), (4, 30));
    assert_eq!(all.days.iter().map(|day| day.visits).sum::<i64>(), 4);
    let mut dates: Vec<_> = of_ada.days.iter().map(|day| day.date.clone()).collect();
    dates.dedup();
    assert!(dates.len() == 30 && dates.is_sorted(), "{dates:?}");
    // No row says who came.
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns
         where table_schema = current_schema() and table_name in ('visits', 'program_visits') order by 1",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let expected =
        ["day", "day", "program_id", "program_id", "user_id", "visit_count", "visit_count"];
    assert_eq!(columns, expected);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn several_servers_add_up_and_one_that_stops_writes_what_it_has_counted() {
    let database = TestDatabase::new().await;
    let (one, other) = (start(&database).await, start(&database).await);
    let client = other.client();
    client.publish_shipped(LINES).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap().code;
    let path = format!("/join/{ada}");
    for number in 0..20 {
        let from = format!("198.51.100.{number}");
        open(if number % 2 == 0 { &one } else { &other }, &path, &from, &[BROWSER]).await;
    }
    // Well before the next time that counts are written.
    one.stop().await;
    until(&client, "ada", 20).await;
    until(&client, "", 20).await;
    // While they cannot be written, visits wait.
    let mut holding = database.pool.begin().await.unwrap();
    sqlx::query("lock table visits in exclusive mode").execute(&mut *holding).await.unwrap();
    open(&other, &path, "198.51.100.77", &[BROWSER]).await;
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(visits(&client, "ada").await.visits_in_all, 20);
    holding.rollback().await.unwrap();
    until(&client, "ada", 21).await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_user_reads_the_visits_of_their_own_link_and_operators_those_of_all() {
    let database = TestDatabase::new().await;
    let server = start(&database).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    client.publish_shipped("referral-count").await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap().code;
    client.sign_up("referral-count", "bob", "").await.unwrap();
    open(&server, &format!("/join/{ada}"), "203.0.113.1", &[BROWSER]).await;
    until(&client, "ada", 1).await;

    let local = in_process(&database).await;
    let mut referrals = ReferralServiceClient::new(services(local.context()));
    let of = |user_id: &str| GetVisitsRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        ..Default::default()
    };
    let own = referrals.get_visits(by(&user("ada"), of("ada"))).await.unwrap().into_inner();
    assert_eq!(own, visits(&client, "ada").await);
    assert_eq!(own.visits_in_all, 1);
    for named in ["ada", ""] {
        let status = referrals.get_visits(by(&user("bob"), of(named))).await;
        refused(status, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    let for_ada = referrals.get_visits(by(&service(), of("ada"))).await.unwrap().into_inner();
    assert_eq!(for_ada, own);
    let status = referrals.get_visits(by(&service(), of(""))).await;
    refused(status, Code::PermissionDenied, "PERMISSION_DENIED");

    let ask = async |request: GetVisitsRequest| {
        client
            .referrals()
            .get_visits(client.request(request))
            .await
            .map(tonic::Response::into_inner)
    };
    refused(ask(of("bob")).await, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    refused(ask(of("eve")).await, Code::NotFound, "USER_NOT_FOUND");
    let elsewhere = GetVisitsRequest { program_id: "nowhere".into(), ..of("") };
    refused(ask(elsewhere).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    at_fault(ask(GetVisitsRequest::default()).await, "program_id", "FIELD_REQUIRED");
    let day = |day: i64| Some(Timestamp { seconds: day * 24 * 60 * 60, nanos: 0 });
    let span = |start, end| GetVisitsRequest { start_time: start, end_time: end, ..of("ada") };
    at_fault(ask(span(day(9), day(8))).await, "end_time", "INVALID_TIME");
    at_fault(ask(span(day(0), day(367))).await, "end_time", "INVALID_TIME");
    let past = ask(span(day(0), day(2))).await.unwrap();
    let dates: Vec<_> = past.days.iter().map(|day| (&*day.date, day.visits)).collect();
    assert_eq!(dates, [("1970-01-01", 0), ("1970-01-02", 0)]);
    assert_eq!((past.visits, past.visits_in_all), (0, 1));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_visits_of_an_erased_user_stay_in_the_sum_of_the_program_only() {
    let database = TestDatabase::new().await;
    let server = start(&database).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap().code;
    let path = format!("/join/{ada}");
    open(&server, &path, "203.0.113.1", &[BROWSER]).await;
    until(&client, "ada", 1).await;
    // One is in memory when the user is erased, and one comes later.
    open(&server, &path, "203.0.113.2", &[BROWSER]).await;
    client.erase("ada", false).await.unwrap();
    open(&server, &path, "203.0.113.3", &[BROWSER]).await;
    until(&client, "", 2).await;
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(visits(&client, "").await.visits_in_all, 2, "an erased user's code is none");
    assert_eq!(database.count("select count(*) from visits").await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn people_who_have_signed_in_do_not_count_and_the_funnel_is_on_the_dashboard() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap().code;
    let mut bob = Browser::new(&server.address);
    let join = format!("GET /join/{ada}");
    assert_eq!(bob.ask(&join, &[BROWSER], "").await.status, 200);
    until(&client, "ada", 1).await;
    bob.register("bob", &ada).await;
    assert_eq!(bob.ask(&join, &[BROWSER], "").await.status, 200);
    let page = Browser::shown(&bob.get(&format!("/p/{LINES}")).await);
    let funnel = |page: &str| {
        let after = page.split("class=\"funnel\"").nth(1).unwrap().to_owned();
        let numbers = after.split("strong class=\"number\">").skip(1).take(3);
        numbers.map(|of| of.split('<').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(page.contains("Visits"), "{page}");
    assert_eq!(funnel(&page), ["0", "0", "0"]);
    make_operator(&client, "bob").await;
    bob.sign_in("bob", PASSWORD).await;
    let page = Browser::shown(&bob.get("/o").await);
    assert_eq!(funnel(&page), ["1", "1", "0"]);
    assert_eq!(visits(&client, "").await.visits_in_all, 1, "who has signed in is no visitor");
    server.stop().await;
    database.check().await;
}
