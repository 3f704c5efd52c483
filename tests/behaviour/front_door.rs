//! One port for gRPC, gRPC-Web and plain HTTP: each client gets the answer in the form that it accepts.

use std::time::Duration;

use contract::pb::ListProgramsRequest;
use prost::Message;
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use tonic::Code;
use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;

use super::raw;
use super::support::{PATIENCE, refused, server_with};
use testing::plain_http::{Answer, get, send};
use testing::{ADMIN_KEY, Server, TestDatabase};

const HTML: &str = "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const JSON: &str = "accept: application/json";
const CURL: &str = "accept: */*";

/// A message of gRPC-Web.
fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat()
}

async fn web_call(server: &Server, path: &str, headers: &[&str]) -> Answer {
    let kind = "content-type: application/grpc-web+proto";
    let headers = [&[kind, "x-grpc-web: 1"], headers].concat();
    let message = framed(&ListProgramsRequest::default());
    send(&server.address, &format!("POST {path}"), &headers, &message).await.unwrap()
}

#[track_caller]
fn problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["status"], status);
    assert!(!problem["title"].as_str().unwrap().is_empty(), "{problem}");
    assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
}

#[track_caller]
fn is_html(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{answer:?}");
    assert!(answer.text().starts_with("<!doctype html>"), "{answer:?}");
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let referrer = answer.header("referrer-policy");
    assert!(matches!(referrer, Some("no-referrer" | "same-origin")), "{referrer:?}");
}

#[track_caller]
fn is_text(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{answer:?}");
    assert!(answer.text().ends_with('\n'), "{answer:?}");
}

#[tokio::test]
async fn one_port_speaks_grpc_and_grpc_web_and_plain_http_in_both_versions() {
    let (database, server, client) = server_with(&["referral-count"]).await;

    let request = client.request(ListProgramsRequest::default());
    let listed = client.programs().list_programs(request).await.unwrap().into_inner();
    assert_eq!(listed.programs.len(), 1);

    let key = format!("authorization: Bearer {ADMIN_KEY}");
    let answer = web_call(&server, "/tributary.v1.ProgramService/ListPrograms", &[&key]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/grpc-web+proto"));
    assert!(answer.text().contains("referral-count"), "{answer:?}");
    assert!(answer.text().contains("grpc-status:0"), "{answer:?}");

    let answer = get(&server.address, "/livez", &[]).await.unwrap();
    assert_eq!((answer.status, &*answer.text()), (200, "alive\n"));

    // The same over HTTP/2, on the connection of a gRPC client.
    let request = http::Request::get("/livez").body(Body::empty()).unwrap();
    let answer = client.channel().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("grpc-status"));

    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_page_says_what_this_is_in_the_form_that_the_client_prefers() {
    let (database, server, _) = server_with(&[]).await;
    let version = env!("CARGO_PKG_VERSION");
    let page = async |accept: &str| get(&server.address, "/", &[accept]).await.unwrap();

    let html = page(HTML).await;
    is_html(&html);
    let text = page(CURL).await;
    is_text(&text);
    let json = page(JSON).await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    let parsed: Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(parsed["version"], version);
    for answer in [&html, &text, &json] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("vary"), Some("accept"));
        for word in [version, "gRPC", "eflection", "/livez", "/readyz"] {
            assert!(answer.text().contains(word), "{word} is not in {answer:?}");
        }
    }

    // HEAD returns the same without the body.
    let head = send(&server.address, "HEAD /", &[HTML], b"").await.unwrap();
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty(), "{head:?}");
    let length = html.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
    assert_eq!(head.header("content-type"), Some("text/html; charset=utf-8"));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_form_that_the_client_asked_for() {
    let (database, server, client) = server_with(&[]).await;
    for path in ["/nothing", "/a/b/c", "/livez/", "/tributary.v1.AccountService/GetUsers"] {
        let ask = async |headers: &[&str]| get(&server.address, path, headers).await.unwrap();
        problem(&ask(&[JSON]).await, 404);
        problem(&ask(&["content-type: application/json"]).await, 404);
        let html = ask(&[HTML]).await;
        assert_eq!(html.status, 404);
        is_html(&html);
        // Nobody looks for a page below the name of a service.
        let is_page = html.text().contains("<h2>There is nothing here</h2>");
        assert_eq!(is_page, !path.starts_with("/tributary."), "{html:?}");
        let text = ask(&[CURL]).await;
        assert_eq!(text.status, 404);
        is_text(&text);
        let head = send(&server.address, &format!("HEAD {path}"), &[], b"").await.unwrap();
        assert_eq!((head.status, head.body.len()), (404, 0));

        let answer = raw::call(client.channel(), path, client.request(Vec::new())).await;
        refused(answer, Code::Unimplemented, "UNKNOWN_METHOD");
        let web = web_call(&server, path, &[]).await;
        assert_eq!(web.status, 200, "{web:?}");
        assert_eq!(web.header("content-type"), Some("application/grpc-web+proto"));
        assert_eq!(web.header("grpc-status"), Some("12"), "{web:?}");
        // gRPC needs HTTP/2; a client without it is told so.
        let old = ask(&["content-type: application/grpc"]).await;
        assert_eq!(old.header("grpc-status"), Some("12"), "{old:?}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_wrong_method_or_kind_of_content_is_refused_with_what_would_be_right() {
    let (database, server, client) = server_with(&[]).await;
    let ask = async |line: &str, headers: &[&str]| {
        send(&server.address, line, headers, b"").await.unwrap()
    };
    for path in ["/", "/livez", "/readyz"] {
        let answer = ask(&format!("POST {path}"), &[JSON]).await;
        problem(&answer, 405);
        assert_eq!(answer.header("allow"), Some("get,head"));
        let answer = ask(&format!("DELETE {path}"), &[HTML]).await;
        assert_eq!(answer.status, 405);
        is_html(&answer);
        let answer = ask(&format!("PUT {path}"), &[CURL]).await;
        assert_eq!(answer.status, 405);
        is_text(&answer);
        // To a gRPC client these are methods that do not exist.
        let answer = raw::call(client.channel(), path, client.request(Vec::new())).await;
        refused(answer, Code::Unimplemented, "UNKNOWN_METHOD");
        let web = web_call(&server, path, &[]).await;
        assert_eq!(web.header("grpc-status"), Some("12"), "{web:?}");
    }
    let method = "/tributary.v1.ProgramService/ListPrograms";
    let answer = ask(&format!("GET {method}"), &[JSON]).await;
    problem(&answer, 405);
    assert_eq!(answer.header("allow"), Some("post"));
    for verb in ["GET", "DELETE"] {
        let answer =
            ask(&format!("{verb} {method}"), &["content-type: application/grpc-web+proto"]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("post")), "{verb}");
    }
    let answer = ask(&format!("POST {method}"), &["content-type: application/json"]).await;
    problem(&answer, 415);
    assert_eq!(answer.header("accept-post"), Some("application/grpc, application/grpc-web"));
    let answer = ask(&format!("POST {method}"), &["content-type: application/grpc"]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("HTTP/2"), "{answer:?}");
    server.stop().await;
    database.check().await;
}

/// Waits until `/readyz` answers with a status.
async fn readiness(server: &Server, status: u16) -> Answer {
    let waiting = async {
        loop {
            let answer = get(&server.address, "/readyz", &[]).await.unwrap();
            if answer.status == status {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the status in time")
}

async fn health(server: &Server) -> ServingStatus {
    let mut client = HealthClient::new(server.separate_client(None).await.channel());
    let answer = client.check(HealthCheckRequest::default()).await.unwrap();
    answer.into_inner().status()
}

/// A connection to another database of the cluster, for changes to the database of the test.
async fn beside(database: &TestDatabase) -> (PgConnection, String) {
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&database.pool).await.unwrap();
    let url = database.url.replace(&name, "postgres");
    (PgConnection::connect(&url).await.unwrap(), name)
}

#[tokio::test]
async fn a_server_without_its_database_is_alive_but_not_ready_until_the_database_is_back() {
    let (database, server, client) = server_with(&[]).await;
    readiness(&server, 200).await;
    assert_eq!(health(&server).await, ServingStatus::Serving);

    let (mut postgres, name) = beside(&database).await;
    let refuse = format!("alter database {name} allow_connections false");
    postgres.execute(&*refuse).await.unwrap();
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
    sqlx::query(cut).bind(&name).execute(&mut postgres).await.unwrap();

    let answer = readiness(&server, 503).await;
    is_text(&answer);
    assert!(answer.text().starts_with("not ready\nthe database has not answered"), "{answer:?}");
    assert_eq!(health(&server).await, ServingStatus::NotServing);
    let answer = get(&server.address, "/readyz", &[JSON]).await.unwrap();
    assert_eq!(answer.status, 503);
    let parsed: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(parsed["status"], "not ready");
    assert_eq!(parsed["reasons"].as_array().unwrap().len(), 1, "{parsed}");
    let answer = get(&server.address, "/livez", &[]).await.unwrap();
    assert_eq!(answer.status, 200);

    let admit = format!("alter database {name} allow_connections true");
    postgres.execute(&*admit).await.unwrap();
    let answer = readiness(&server, 200).await;
    assert_eq!(answer.text(), "ready\n");
    assert_eq!(health(&server).await, ServingStatus::Serving);
    client.publish_shipped("referral-count").await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_silent_connections_of_browsers() {
    let (database, server, _) = server_with(&[]).await;
    let silent = tokio::net::TcpStream::connect(&server.address).await.unwrap();
    let answer = get(&server.address, "/", &[HTML]).await.unwrap();
    assert_eq!(answer.status, 200);
    let began = std::time::Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(9), "it took {:?}", began.elapsed());
    drop(silent);
    database.check().await;
}
