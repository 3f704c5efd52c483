//! What is refused, and what is harmless.

use testing::second_server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use contract::pb::{LogoutRequest, SetUserRoleRequest, UserRole};

const PAGES: &[&str] = &[
    "/",
    "/sign-in",
    "/register",
    "/join/NOCODE12",
    "/forgot",
    "/programs",
    "/profile",
    "/p/referral-count",
    "/p/referral-count/earnings",
    "/p/referral-count/earnings.csv",
    "/p/referral-count/referrals",
    "/p/referral-count/tree",
    "/p/referral-count/leaderboard",
    "/p/referral-count/store",
    "/p/referral-count/rules",
    "/o",
    "/o/users",
    "/o/users/ada",
    "/o/purchases",
    "/o/record",
    "/o/fraud",
    "/o/payouts",
    "/o/approvals",
    "/o/items",
    "/o/items/redemptions",
    "/o/users/ada/balance/referral-count",
];

#[tokio::test]
async fn a_form_of_another_site_or_without_its_token_changes_nothing() {
    let (database, server, _) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    assert_eq!(ada.register("ada", "").await.status, 303);
    let length = log_length(&database).await;
    let html = ada.get("/programs").await.text();
    let token = hidden(&html, "/programs/referral-count", "form_token").unwrap();
    let good = format!("form_token={token}&request_id=r1");
    let line = "POST /programs/referral-count";
    for headers in [
        &[FORM, "sec-fetch-site: cross-site"][..],
        &[FORM, "sec-fetch-site: same-site"],
        &[FORM, "sec-fetch-site: none"],
        &[FORM, "origin: https://evil.example"],
        &[FORM, "origin: null"],
        // No browser leaves out both.
        &[FORM],
        &[SAME_ORIGIN, "content-type: text/plain"],
        &[SAME_ORIGIN, "content-type: application/json"],
    ] {
        let answer = ada.ask(line, headers, &good).await;
        assert_eq!(answer.status, 403, "{headers:?}");
    }
    // The token of somebody else, of the door, or none.
    let mut bob = Browser::new(&server.address);
    let door = hidden(&bob.get("/sign-in").await.text(), "/sign-in", "form_token").unwrap();
    assert_eq!(bob.register("bob", "").await.status, 303);
    let html = bob.get("/programs").await.text();
    let of_bob = hidden(&html, "/programs/referral-count", "form_token").unwrap();
    let length = length.max(log_length(&database).await);
    for token in ["", "x", &door, &of_bob, &token[1..]] {
        let body = format!("form_token={token}&request_id=r1");
        let answer = ada.ask(line, &[FORM, SAME_ORIGIN], &body).await;
        assert_eq!(answer.status, 403, "{token}");
    }
    let huge = format!("{good}&referral_code={}", "x".repeat(70_000));
    assert_eq!(ada.ask(line, &[FORM, SAME_ORIGIN], &huge).await.status, 413);
    assert_eq!(log_length(&database).await, length);

    // The same form, from its own page.
    let answer = ada.ask(line, &[FORM, SAME_ORIGIN], &good).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(log_length(&database).await > length);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn opening_pages_changes_nothing_and_no_answer_is_kept() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, "referral-count", "").await;
    let mut operator = Browser::new(&server.address);
    operator.register("olga", "").await;
    make_operator(&client, "olga").await;
    operator.sign_in("olga", PASSWORD).await;
    let length = log_length(&database).await;
    for browser in [&mut ada, &mut operator, &mut Browser::new(&server.address)] {
        for path in PAGES {
            for verb in ["GET", "HEAD"] {
                let answer = browser.ask(&format!("{verb} {path}"), &[], "").await;
                assert!(matches!(answer.status, 200 | 303 | 403 | 404), "{path}: {answer:?}");
                assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
                let policy = answer.header("content-security-policy").unwrap();
                assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
                assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
                assert!(!policy.contains("unsafe"), "{path}: {policy}");
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
                assert!(
                    answer.header("etag").is_none() && answer.header("last-modified").is_none()
                );
            }
        }
    }
    assert_eq!(log_length(&database).await, length);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn pages_are_for_those_who_may_see_what_is_on_them() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    let mut operator = Browser::new(&server.address);
    operator.register("olga", "").await;
    make_operator(&client, "olga").await;
    operator.sign_in("olga", PASSWORD).await;
    let mut anybody = Browser::new(&server.address);
    for path in PAGES.iter().filter(|path| path.starts_with("/o") || path.starts_with("/p")) {
        let answer = anybody.get(path).await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.exact_header("location").unwrap().starts_with("/sign-in"), "{path}");
    }
    for path in PAGES.iter().filter(|path| path.starts_with("/o")) {
        assert_eq!(ada.get(path).await.status, 403, "{path}");
    }
    // A program that one is not in does not exist, whether or not it does.
    for path in ["/p/referral-count", "/p/no-such-program", "/p/referral-count/store"] {
        assert_eq!(ada.get(path).await.status, 404, "{path}");
    }
    let user_id = user_id_of(&client, "ada").await;
    assert_eq!(operator.get("/o").await.status, 200);
    let page = Browser::shown(&operator.get(&format!("/o/users/{user_id}")).await);
    assert!(page.contains("ada") && page.contains("Deactivate"), "{page}");
    // An operator is no admin.
    assert!(!page.contains("name=\"role\""), "{page}");
    let role = format!("/o/users/{user_id}/role");
    let answer = operator.fill(&format!("/o/users/{user_id}"), &role, &[("role", "admin")]).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_session_that_was_ended_opens_no_page_and_a_cookie_is_no_credential_elsewhere() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    let signed_up = ada.register("ada", "").await;
    let set = signed_up.head.lines().find(|line| line.starts_with("set-cookie: session=")).unwrap();
    assert!(set.contains("; httponly") && set.contains("samesite=lax") && set.contains("path=/"));
    let cookie = ada.cookie.clone().unwrap();
    let text = cookie.strip_prefix("session=").unwrap();
    // It is kept as a hash, and neither a key nor a token.
    let known: i64 =
        database.count("select count(*) from refresh_tokens where octet_length(hash) = 32").await;
    assert_eq!(known, 1);
    let stranger = server.separate_client(Some(text)).await;
    let request = stranger.request(contract::pb::ListSessionsRequest::default());
    let refused_call = stranger.accounts().list_sessions(request).await;
    refused(refused_call, tonic::Code::Unauthenticated, "INVALID_CREDENTIALS");
    let request = contract::pb::RefreshSessionRequest { refresh_token: text.into() };
    let refreshed = client.accounts().refresh_session(client.request(request)).await;
    refused(refreshed, tonic::Code::Unauthenticated, "INVALID_CREDENTIALS");

    Browser::shown(&ada.get("/profile").await);
    let user_id = user_id_of(&client, "ada").await;
    let sessions = contract::pb::ListSessionsRequest { user_id: user_id.clone() };
    let sessions = client.accounts().list_sessions(client.request(sessions)).await.unwrap();
    let session_id = sessions.into_inner().sessions[0].session_id.clone();
    let logout = LogoutRequest { session_id, user_id };
    client.accounts().logout(client.request(logout)).await.unwrap();
    assert_eq!(ada.get("/profile").await.status, 303);

    // Signing out ends the session, so that the cookie is of no use to whoever has a copy.
    ada.sign_in("ada", PASSWORD).await;
    let copy = ada.cookie.clone();
    Browser::shown(&ada.get("/profile").await);
    let out = ada.fill("/profile", "/sign-out", &[]).await;
    assert_eq!((out.status, out.exact_header("location")), (303, Some("/sign-in?out=1")));
    assert!(ada.cookie.is_none());
    ada.cookie = copy;
    assert_eq!(ada.get("/profile").await.status, 303);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn script_in_a_name_is_text() {
    let (database, server, _) = server_with(&["referral-count"]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    enroll(&mut ada, "referral-count", "").await;
    let name = "<script>alert(1)</script>\"'&";
    let saved = ada
        .fill("/profile", "/profile/names", &[("username", "ada"), ("display_name", name)])
        .await;
    assert_eq!(saved.status, 303, "{}", saved.text());
    for path in ["/profile", "/p/referral-count", "/p/referral-count/leaderboard"] {
        let html = Browser::shown(&ada.get(path).await);
        assert!(html.contains("&lt;script&gt;alert(1)"), "{path}");
        assert!(!html.contains("<script>alert") && !html.contains("\"'&\""), "{path}");
    }
    // What comes with the address is text as well.
    for path in [
        "/register?ref=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "/join/%22%3E%3Cscript%3E",
        "/sign-in?next=%22%3E%3Cscript%3E",
        "/p/referral-count?done=%3Cscript%3E&at=%3Cscript%3E",
    ] {
        let html = ada.get(path).await.text();
        assert!(!html.contains("<script>"), "{path}: {html}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn whoever_signs_in_goes_on_with_what_they_asked_for() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut olga = operator(&server, &client).await;
    let mut anybody = Browser::new(&server.address);
    let asked = "/o/users?q=a%20b%2Bc&staff=1";
    let sent = anybody.get(&format!("{asked}&done=saved&at=x")).await;
    let place = sent.exact_header("location").unwrap().to_owned();
    let query = place.strip_prefix("/sign-in?").unwrap();
    let next = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next");
    assert_eq!(next.unwrap().1, asked);
    assert_eq!(olga.get(&place).await.exact_header("location"), Some(asked));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_address_that_is_no_text_has_nothing_behind_it() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut olga = operator(&server, &client).await;
    for path in
        ["/join/%FF", "/p/%FF", "/p/%C3%28/earnings", "/o/users/%FF", "/o/users/x/balance/%FF"]
    {
        let answer = olga.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert!(answer.text().contains("There is nothing here"), "{path}: {}", answer.text());
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn nobody_is_led_to_another_site() {
    let (database, server, _) = server_with(&[]).await;
    let mut ada = Browser::new(&server.address);
    ada.register("ada", "").await;
    for next in ["//evil.example", "https://evil.example", "/%5Cevil.example", "/%09/evil.example"]
    {
        let answer = ada.get(&format!("/sign-in?next={next}")).await;
        assert_eq!(answer.status, 404, "{next}: {answer:?}");
    }
    let answer = ada.get("/sign-in?next=/profile").await;
    assert_eq!(answer.exact_header("location"), Some("/profile"));
    server.stop().await;
    database.check().await;
}

/// The id of a user.
pub(super) async fn user_id_of(client: &Client, username: &str) -> String {
    let found = contract::pb::FindUserRequest { username: username.into(), ..Default::default() };
    let found = client.accounts().find_user(client.request(found)).await.unwrap();
    found.into_inner().user.unwrap().user_id
}

/// Makes somebody an operator, which ends their sessions.
pub(crate) async fn make_operator(client: &Client, username: &str) {
    let user_id = user_id_of(client, username).await;
    let role = UserRole::Operator.into();
    let request = SetUserRoleRequest { user_id, role, ..Default::default() };
    client.accounts().set_user_role(client.request(request)).await.unwrap();
}

#[tokio::test]
async fn forms_and_links_mean_whom_they_stand_for_whatever_the_id_is_like() {
    let (database, server, client) = server_with(&["multi-level-commission"]).await;
    let mut ada = operator(&server, &client).await;
    for (user_id, username) in [("victim", "zoe"), ("x/../victim", "xenia"), ("+victim", "plus")] {
        let request = contract::pb::RegisterUserRequest {
            user_id: user_id.into(),
            username: username.into(),
            email: format!("{username}@example.com"),
            ..Default::default()
        };
        client.accounts().register_user(client.request(request)).await.unwrap();
    }
    let path = "/o/users/x%2F..%2Fvictim";
    let page = Browser::shown(&ada.get(path).await);
    let action = format!("{path}/deactivate");
    assert!(page.contains(&format!("action=\"{action}\"")), "{page}");
    let answer = ada.fill(path, &action, &[]).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let status = async |user_id: &str| {
        let request =
            contract::pb::GetUserRequest { user_id: user_id.into(), ..Default::default() };
        let user = client.accounts().get_user(client.request(request)).await.unwrap();
        user.into_inner().user.unwrap().status()
    };
    assert_eq!(status("x/../victim").await, contract::pb::UserStatus::Inactive);
    assert_eq!(status("victim").await, contract::pb::UserStatus::Active);
    assert_eq!(ada.get(answer.exact_header("location").unwrap()).await.status, 200);

    let page = Browser::shown(&ada.get("/o/users/%2Bvictim").await);
    assert!(page.contains("/o/record?buyer=%2Bvictim\""), "{page}");
    // Nobody comes in between by taking the id of somebody else as a name.
    let mut eve = Browser::new(&server.address);
    eve.register("victim", "").await;
    let answer = ada.get("/o/users?q=victim").await;
    assert_eq!(answer.header("location"), Some("/o/users/victim"));
    assert_eq!(ada.get("/o/users?q=%00").await.status, 200);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_form_that_does_not_arrive_in_time_is_too_late_and_not_too_large() {
    let (database, server, _) = server_with(&[]).await;
    server.stop().await;
    let server = second_server(&database, &["--request-timeout-s", "1"]).await;
    let mut connection = TcpStream::connect(&server.address).await.unwrap();
    let request = format!(
        "POST /sign-in HTTP/1.1\r\nhost: x\r\n{FORM}\r\n{SAME_ORIGIN}\r\naccept: text/html\r\n\
         content-length: 100\r\n\r\nlogin=ada"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("This did not arrive in time"), "{answer}");
    server.stop().await;
    database.check().await;
}
