//! Confirming an e-mail address, by call and by the page that the link in the mail leads to.

use std::time::{Duration, Instant};

use contract::pb::*;
use tonic::{Code, Status};

use super::support::{log_length, refused, server_with};
use testing::plain_http::{get, send};
use testing::{Client, issue_token, mailed_tokens, mailed_tokens_come_to};

const FORM: &str = "content-type: application/x-www-form-urlencoded";

async fn confirm(client: &Client, token: &str) -> Result<ConfirmEmailResponse, Status> {
    let request = ConfirmEmailRequest { token: token.into() };
    Ok(client.accounts().confirm_email(client.request(request)).await?.into_inner())
}

async fn resend(client: &Client, login: &str) -> Result<(), Status> {
    let request = ResendConfirmationRequest { login: login.into() };
    client.accounts().resend_confirmation(client.request(request)).await.map(|_| ())
}

#[tokio::test]
async fn an_address_is_confirmed_once_by_anybody_with_the_token() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    assert!(!client.user("ada").await.unwrap().email_confirmed);
    let anyone = server.separate_client(None).await;
    resend(&anyone, "ada").await.unwrap();
    let token = issue_token(&database, "ada", "confirm_email", 900.0).await;

    assert_eq!(confirm(&anyone, &token).await.unwrap().user_id, "ada");
    assert!(client.user("ada").await.unwrap().email_confirmed);
    let length = log_length(&database).await;
    refused(confirm(&anyone, &token).await, Code::FailedPrecondition, "MAILED_TOKEN_USED");

    for unknown in ["x", "token of a test", &"x".repeat(10_000), "\u{0}"] {
        let status = confirm(&anyone, unknown).await.unwrap_err();
        let expected = if unknown == "\u{0}" { Code::InvalidArgument } else { Code::NotFound };
        assert_eq!(status.code(), expected, "{status:?}");
    }
    refused(confirm(&anyone, "").await, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(log_length(&database).await, length);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_token_is_good_for_a_time_and_for_its_purpose() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    resend(&client, "ada").await.unwrap();
    let late = issue_token(&database, "ada", "confirm_email", -1.0).await;
    refused(confirm(&client, &late).await, Code::FailedPrecondition, "MAILED_TOKEN_EXPIRED");
    let request = RequestPasswordResetRequest { login: "ada".into() };
    client.accounts().request_password_reset(client.request(request)).await.unwrap();
    let other = issue_token(&database, "ada", "reset_password", 900.0).await;
    refused(confirm(&client, &other).await, Code::NotFound, "MAILED_TOKEN_UNKNOWN");

    // A token for an address that the user has no longer.
    resend(&client, "ada").await.unwrap();
    let old = issue_token(&database, "ada", "confirm_email", 900.0).await;
    let change = UpdateProfileRequest {
        user_id: "ada".into(),
        email: Some("new@example.com".into()),
        ..Default::default()
    };
    client.accounts().update_profile(client.request(change)).await.unwrap();
    let new = issue_token(&database, "ada", "change_email", 900.0).await;
    confirm(&client, &new).await.unwrap();
    refused(confirm(&client, &old).await, Code::FailedPrecondition, "MAILED_TOKEN_USED");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn asking_for_the_mail_again_tells_nothing_and_is_limited() {
    let (database, server, client) = server_with(&[]).await;
    for user_id in ["ada", "bob"] {
        client.sign_up("", user_id, "").await.unwrap();
    }
    resend(&client, "bob").await.unwrap();
    let token = issue_token(&database, "bob", "confirm_email", 900.0).await;
    confirm(&client, &token).await.unwrap();
    let anyone = server.separate_client(None).await;
    let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
    for login in ["ada", "ADA@example.com", "bob", "nobody", "nobody@example.com"] {
        let began = Instant::now();
        resend(&anyone, login).await.unwrap();
        least = least.min(began.elapsed());
        most = most.max(began.elapsed());
    }
    assert!(least >= Duration::from_millis(250), "{least:?}");
    for _ in 0..6 {
        resend(&anyone, "ada").await.unwrap();
    }
    mailed_tokens_come_to(&database, "ada", "confirm_email", 5).await;
    assert_eq!(mailed_tokens(&database, "bob", "confirm_email").await, 1);
    refused(resend(&anyone, "").await, Code::InvalidArgument, "INVALID_FIELD");
    refused(resend(&anyone, &"x".repeat(2_000)).await, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_page_confirms_by_its_button_and_not_by_being_opened() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    resend(&client, "ada").await.unwrap();
    let token = issue_token(&database, "ada", "confirm_email", 900.0).await;
    let length = log_length(&database).await;
    let path = format!("/confirm-email?token={token}");
    for line in ["GET", "HEAD"] {
        let page = send(&server.address, &format!("{line} {path}"), &[], b"").await.unwrap();
        assert_eq!(page.status, 200);
        for (header, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(page.header(header), Some(value), "{page:?}");
        }
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("form-action 'self'"));
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
    let page = get(&server.address, &path, &[]).await.unwrap().text();
    assert!(page.contains("method=\"post\"") && page.contains(&token), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
    assert_eq!(log_length(&database).await, length);

    let pressed = format!("token={token}");
    let press = async || {
        send(&server.address, "POST /confirm-email", &[FORM], pressed.as_bytes()).await.unwrap()
    };
    let done = press().await;
    assert_eq!((done.status, done.text().contains("is confirmed")), (200, true));
    assert!(client.user("ada").await.unwrap().email_confirmed);
    let again = press().await;
    assert_eq!((again.status, again.text().contains("used already")), (410, true));
    // The log names the user whose link it was.
    let said: (String, String) = sqlx::query_as(
        "select metadata ->> 'actor', metadata ->> 'door' from events where event_type = 'UserEmailConfirmed'",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap();
    assert_eq!(said, ("user:ada".into(), "page".into()));

    for (line, headers, body, status) in [
        ("GET /confirm-email", "accept: */*", "", 400),
        ("GET /confirm-email?token=%3Cb%3E", "accept: */*", "", 400),
        ("POST /confirm-email", FORM, "token=wrong", 404),
        ("POST /confirm-email", FORM, "", 404),
        ("POST /confirm-email", "content-type: text/plain", "token=x", 415),
        ("PUT /confirm-email", FORM, "token=x", 405),
    ] {
        let answer = send(&server.address, line, &[headers], body.as_bytes()).await.unwrap();
        assert_eq!(answer.status, status, "{line} {body}");
        assert!(!answer.text().contains("<b>"));
    }
    let large = vec![b'x'; 20_000];
    let answer = send(&server.address, "POST /confirm-email", &[FORM], &large).await.unwrap();
    assert_eq!(answer.status, 413);
    server.stop().await;
    database.check().await;
}
