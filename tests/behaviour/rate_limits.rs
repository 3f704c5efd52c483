//! Callers have as many calls as the settings allow, and are told when the next one is due. Back ends have no limit.

use std::time::{Duration, Instant};

use contract::pb::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::support::{PATIENCE, refused};
use testing::plain_http::{get, send};
use testing::{Client, Server, ServerOptions, TestDatabase, reason};

/// A server with some settings, and where its metrics are.
async fn measured(arguments: &[&str]) -> (TestDatabase, Server, String) {
    let database = TestDatabase::new().await;
    let metrics = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let all = [&["--metrics-listen", &*metrics] as &[&str], arguments].concat();
    let arguments = all.iter().map(|&argument| argument.to_owned()).collect();
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    (database, server, metrics)
}

pub(super) fn forwarded<M>(message: M, addresses: &str) -> Request<M> {
    let mut request = Request::new(message);
    let addresses = MetadataValue::try_from(addresses).unwrap();
    request.metadata_mut().insert("x-forwarded-for", addresses);
    request
}

/// A sign-up that is at fault, from an address that a proxy forwards.
async fn sign_up(client: &Client, addresses: &str) -> Status {
    let request = forwarded(RegisterUserRequest::default(), addresses);
    client.accounts().register_user(request).await.unwrap_err()
}

/// How many of so many sign-ups from an address are looked at.
async fn looked_at(client: &Client, addresses: &str, of: usize) -> usize {
    let mut count = 0;
    for _ in 0..of {
        match reason(&sign_up(client, addresses).await) {
            (Code::InvalidArgument, name) if name == "INVALID_FIELD" => count += 1,
            (Code::ResourceExhausted, name) if name == "RATE_LIMITED" => {}
            other => panic!("{other:?}"),
        }
    }
    count
}

fn limit_and_wait(status: &Status) -> (String, Duration) {
    let details = status.get_error_details();
    let limit = details.error_info().unwrap().metadata["limit"].clone();
    (limit, details.retry_info().unwrap().retry_delay.unwrap())
}

#[tokio::test]
async fn an_open_rpc_has_a_limit_per_address_and_one_for_all_addresses() {
    let (database, server, metrics) = measured(&[
        "--trusted-proxies",
        "127.0.0.1,10.0.0.0/8",
        "--open-calls-per-address-per-minute",
        "3",
        "--open-calls-per-minute",
        "8",
    ])
    .await;
    let anybody = server.separate_client(None).await;
    assert_eq!(looked_at(&anybody, "203.0.113.1", 5).await, 3);
    let (limit, wait) = limit_and_wait(&sign_up(&anybody, "203.0.113.1").await);
    assert_eq!(limit, "open_address");
    assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(20), "{wait:?}");
    // Whatever the client writes to the left of its address makes no other client of it.
    assert_eq!(looked_at(&anybody, "192.0.2.7, 203.0.113.1", 2).await, 0);
    assert_eq!(looked_at(&anybody, "192.0.2.8, 203.0.113.1, 10.1.1.1", 2).await, 0);
    // All addresses of one network are one customer's.
    assert_eq!(looked_at(&anybody, "2001:db8::1", 2).await, 2);
    assert_eq!(looked_at(&anybody, "2001:db8::2:1", 2).await, 1);
    // Six are used; what was refused to an address does not count for all.
    assert_eq!(looked_at(&anybody, "203.0.113.2", 3).await, 2);
    let (limit, _) = limit_and_wait(&sign_up(&anybody, "203.0.113.3").await);
    assert_eq!(limit, "open");
    // Each RPC has limits of its own, and cheap ones have more.
    let check =
        ValidateReferralCodeRequest { referral_code: "NOBODYS1".into(), ..Default::default() };
    for _ in 0..30 {
        let request = forwarded(check.clone(), "203.0.113.1");
        anybody.referrals().validate_referral_code(request).await.unwrap();
    }
    let request = forwarded(check, "203.0.113.1");
    let checked = anybody.referrals().validate_referral_code(request).await;
    refused(checked, Code::ResourceExhausted, "RATE_LIMITED");

    // Back ends are not counted, and neither are health checks.
    let client = server.client();
    for number in 0..20 {
        client.sign_up("", &format!("user-{number}"), "").await.unwrap();
    }
    let told = get(&metrics, "/metrics", &[]).await.unwrap().text();
    for line in [r#"tributary_calls_limited_total{limit="open"} 2"#, r#"limit="open_address"}"#] {
        assert!(told.contains(line), "{line} is not in {told}");
    }
    assert!(!told.contains("203.0.113"), "an address is in {told}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_caller_who_waits_as_told_is_served_and_forwarded_addresses_of_strangers_count_for_nothing()
 {
    let (database, server, _) = measured(&["--address-calls-per-minute", "60"]).await;
    let anybody = server.separate_client(None).await;
    let mut wait = None;
    for number in 0..200 {
        // The connection comes from no trusted proxy, so its own address counts.
        let refused = sign_up(&anybody, &format!("203.0.113.{number}")).await;
        if reason(&refused).1 == "RATE_LIMITED" {
            wait = Some(limit_and_wait(&refused));
            break;
        }
    }
    let (limit, wait) = wait.expect("a limit");
    assert_eq!(limit, "address");
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    tokio::time::sleep(wait).await;
    assert_eq!(reason(&sign_up(&anybody, "203.0.113.1").await).1, "INVALID_FIELD");

    // Calls that fail for want of credentials count as well, so keys cannot be guessed quickly.
    let stranger = server.separate_client(Some("wrong")).await;
    let mut reasons = Vec::new();
    for _ in 0..3 {
        let request = stranger.request(ListProgramsRequest::default());
        let refused = stranger.programs().list_programs(request).await.unwrap_err();
        reasons.push(reason(&refused).1);
    }
    assert!(reasons.contains(&"RATE_LIMITED".to_owned()), "{reasons:?}");
    for _ in 0..100 {
        let request = server.client().request(ListProgramsRequest::default());
        server.client().programs().list_programs(request).await.unwrap();
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn one_site_with_many_ipv6_networks_cannot_use_up_what_all_share() {
    let (database, server, _) = measured(&[
        "--trusted-proxies",
        "127.0.0.1",
        "--open-calls-per-address-per-minute",
        "2",
        "--open-calls-per-minute",
        "20",
    ])
    .await;
    let anybody = server.separate_client(None).await;
    let mut from_site = 0;
    for network in 0..16 {
        // One call from each of many networks of 64 bits, first within one network of 56 bits.
        from_site += looked_at(&anybody, &format!("2001:db8:7:{network:x}::1"), 1).await;
    }
    assert_eq!(from_site, 4);
    assert_eq!(limit_and_wait(&sign_up(&anybody, "2001:db8:7:ff::1").await).0, "open_address");
    for network in 1..16 {
        from_site += looked_at(&anybody, &format!("2001:db8:7:{network:x}00::1"), 1).await;
    }
    assert_eq!(from_site, 8);
    // Others are served.
    assert_eq!(looked_at(&anybody, "2001:db8:8::1", 3).await, 2);
    assert_eq!(looked_at(&anybody, "203.0.113.1", 3).await, 2);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_pages_that_mails_link_to_have_the_limits_of_open_rpcs() {
    let (database, server, metrics) =
        measured(&["--trusted-proxies", "127.0.0.1", "--open-calls-per-address-per-minute", "2"])
            .await;
    let ask = async |line: &str, address: &str, accept: &str| {
        let headers = [
            "content-type: application/x-www-form-urlencoded",
            &format!("x-forwarded-for: {address}"),
            &format!("accept: {accept}"),
        ];
        send(&server.address, line, &headers, b"token=x&new_password=Corr3ct-horse").await.unwrap()
    };
    for (line, allowed) in [
        ("POST /reset-password", 2),
        ("POST /confirm-email", 20),
        ("POST /unsubscribe?token=x", 20),
        ("GET /reset-password?token=x", 20),
    ] {
        for _ in 0..allowed {
            let answer = ask(line, "203.0.113.1", "*/*").await;
            assert_ne!(answer.status, 429, "{line}");
        }
        let refused = ask(line, "203.0.113.1", "text/html").await;
        assert_eq!(refused.status, 429, "{line}");
        assert!(refused.text().contains("Try again in a moment"), "{}", refused.text());
        assert!(refused.header("content-type").unwrap().starts_with("text/html"));
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
        assert_ne!(ask(line, "203.0.113.2", "*/*").await.status, 429, "{line}");
    }
    // All pages that are only shown count as one, and a form counts as the RPC that does the same.
    assert_eq!(ask("GET /unsubscribe?token=x", "203.0.113.1", "*/*").await.status, 429);
    let anybody = server.separate_client(None).await;
    let reset = ResetPasswordRequest { token: "x".into(), new_password: "Corr3ct-horse".into() };
    let answer = anybody.accounts().reset_password(forwarded(reset, "203.0.113.1")).await;
    refused(answer, Code::ResourceExhausted, "RATE_LIMITED");
    // What is no such page has no such limit.
    assert_eq!(ask("GET /livez", "203.0.113.1", "*/*").await.status, 200);
    let told = get(&metrics, "/metrics", &[]).await.unwrap().text();
    assert!(told.contains(r#"tributary_calls_limited_total{limit="open_address"} 6"#), "{told}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_back_end_has_a_limit_if_the_setting_says_so() {
    let (database, server, _) = measured(&["--back-end-calls-per-minute", "5"]).await;
    let client = server.client();
    let call = async || {
        let request = client.request(ListProgramsRequest::default());
        client.programs().list_programs(request).await
    };
    for _ in 0..5 {
        call().await.unwrap();
    }
    let status = refused(call().await, Code::ResourceExhausted, "RATE_LIMITED");
    assert_eq!(limit_and_wait(&status).0, "back_end");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_call_above_the_limit_is_refused_before_its_body_has_arrived_and_over_grpc_web_too() {
    let (database, server, _) = measured(&["--open-calls-per-address-per-minute", "1"]).await;
    let anybody = server.separate_client(None).await;
    sign_up(&anybody, "203.0.113.1").await;

    let mut connection = TcpStream::connect(&server.address).await.unwrap();
    let began = Instant::now();
    let head = "POST /tributary.v1.AccountService/RegisterUser HTTP/1.1\r\nhost: x\r\n\
                content-length: 1000\r\ncontent-type: application/grpc-web+proto\r\n\r\n\0\0";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut said = vec![0; 4_096];
    let read = tokio::time::timeout(PATIENCE, connection.read(&mut said)).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&said[..read]).to_lowercase();
    assert!(said.contains("grpc-status: 8"), "{said}");
    assert!(said.contains("grpc-status-details-bin: "), "{said}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(connection);
    server.stop().await;
    database.check().await;
}
