//! Choosing another password by mail.

use std::time::{Duration, Instant};

use contract::pb::*;
use tonic::{Code, Status};

use super::support::{log_length, refused, server_with, server_with_mails};
use testing::people::People;
use testing::plain_http::{get, send};
use testing::{Client, TestDatabase, issue_token, mailed_tokens_come_to};

const OLD_PASSWORD: &str = "Corr3ct-horse";
const PASSWORD: &str = "A new passw0rd!";
const FORM: &str = "content-type: application/x-www-form-urlencoded";

async fn ask(client: &Client, login: &str) -> Result<(), Status> {
    let request = RequestPasswordResetRequest { login: login.into() };
    client.accounts().request_password_reset(client.request(request)).await.map(|_| ())
}

async fn reset(client: &Client, token: &str, password: &str) -> Result<(), Status> {
    let request = ResetPasswordRequest { token: token.into(), new_password: password.into() };
    client.accounts().reset_password(client.request(request)).await.map(|_| ())
}

async fn token_for(database: &TestDatabase, client: &Client, user_id: &str) -> String {
    ask(client, user_id).await.unwrap();
    issue_token(database, user_id, "reset_password", 900.0).await
}

async fn hash_of(database: &TestDatabase, user_id: &str) -> Option<String> {
    sqlx::query_scalar("select password_hash from profiles where user_id = $1")
        .bind(user_id)
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_token_sets_a_password_once_and_ends_all_sessions() {
    let (database, server, client) = server_with(&[]).await;
    let mut request = testing::sign_up_request("", "ada", "");
    request.password = OLD_PASSWORD.into();
    client.register(request).await.unwrap();
    let people = People::of(&client);
    let session = people.login("ada", OLD_PASSWORD).await.unwrap();
    let anyone = server.separate_client(None).await;
    let token = token_for(&database, &anyone, "ada").await;
    let before = hash_of(&database, "ada").await;

    // What is too weak can be tried again.
    let status = refused(reset(&anyone, &token, "x").await, Code::InvalidArgument, "INVALID_FIELD");
    let details = tonic_types::StatusExt::get_error_details(&status);
    let fault = details.bad_request().unwrap().field_violations[0].clone();
    assert_eq!(fault.field, "new_password");
    assert_eq!(hash_of(&database, "ada").await, before);
    people.me(&session.access_token).await.unwrap();

    reset(&anyone, &token, PASSWORD).await.unwrap();
    refused(people.me(&session.access_token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    assert!(people.refresh(&session.refresh_token).await.is_err());
    refused(people.login("ada", OLD_PASSWORD).await, Code::Unauthenticated, "LOGIN_FAILED");
    people.login("ada", PASSWORD).await.unwrap();
    let after = hash_of(&database, "ada").await;
    assert!(after != before && after.unwrap().starts_with("$argon2id$"));
    let events: Vec<(String, String)> = sqlx::query_as(
        "select event_type, payload::text from events
         where aggregate_id = 'ada' and event_type <> 'UserRegistered' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let types: Vec<&str> = events.iter().map(|(event_type, _)| event_type.as_str()).collect();
    // Whoever has the token reads the mails to the address.
    assert_eq!(types, ["UserPasswordChanged", "UserEmailConfirmed", "UserSessionsEnded"]);
    assert!(!format!("{events:?}").contains("argon2"));

    let length = log_length(&database).await;
    let again = reset(&anyone, &token, "Another passw0rd!").await;
    refused(again, Code::FailedPrecondition, "MAILED_TOKEN_USED");
    assert_eq!(log_length(&database).await, length);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_token_ends_with_its_time_with_another_password_and_with_another_address() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    ask(&client, "ada").await.unwrap();
    let late = issue_token(&database, "ada", "reset_password", -1.0).await;
    let expired = reset(&client, &late, PASSWORD).await;
    refused(expired, Code::FailedPrecondition, "MAILED_TOKEN_EXPIRED");

    let first = token_for(&database, &client, "ada").await;
    let second = token_for(&database, &client, "ada").await;
    reset(&client, &second, PASSWORD).await.unwrap();
    let ended = reset(&client, &first, "Another passw0rd!").await;
    refused(ended, Code::FailedPrecondition, "MAILED_TOKEN_USED");

    // Whoever reads the mails of an address that was given up cannot take the account.
    let third = token_for(&database, &client, "ada").await;
    let change = UpdateProfileRequest {
        user_id: "ada".into(),
        email: Some("new@example.com".into()),
        ..Default::default()
    };
    client.accounts().update_profile(client.request(change)).await.unwrap();
    let token = issue_token(&database, "ada", "change_email", 900.0).await;
    let confirm = ConfirmEmailRequest { token: token.clone() };
    client.accounts().confirm_email(client.request(confirm)).await.unwrap();
    let ended = reset(&client, &third, "Another passw0rd!").await;
    refused(ended, Code::FailedPrecondition, "MAILED_TOKEN_USED");

    for unknown in ["x", &token] {
        let refusal = reset(&client, unknown, PASSWORD).await;
        refused(refusal, Code::NotFound, "MAILED_TOKEN_UNKNOWN");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn asking_tells_nothing_takes_the_same_time_and_is_limited() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let anyone = server.separate_client(None).await;
    for login in ["ada", "Ada@Example.com", "nobody", "nobody@example.com", " "] {
        let began = Instant::now();
        ask(&anyone, login).await.unwrap();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(250), "{login}: {took:?}");
    }
    let asked: Vec<_> = (0..8).map(|_| ask(&anyone, "ada")).collect();
    for answer in futures_of(asked).await {
        answer.unwrap();
    }
    mailed_tokens_come_to(&database, "ada", "reset_password", 5).await;
    assert_eq!(database.count("select count(*) from mailed_tokens").await, 5);
    let queued = "select count(*) from mails where kind = 'password_reset' and user_id = 'ada'";
    assert_eq!(database.count(queued).await, 5);
    refused(ask(&anyone, "").await, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
    database.check().await;
}

/// All at once.
async fn futures_of<T>(calls: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut calls: Vec<_> = calls.into_iter().map(Box::pin).collect();
    let mut answers = Vec::new();
    std::future::poll_fn(|context| {
        calls.retain_mut(|call| match call.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if calls.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

#[tokio::test]
async fn a_user_without_a_password_gets_one_by_mail() {
    let (database, server, client) = server_with(&[]).await;
    let mut request = testing::sign_up_request("", "ada", "");
    request.password = String::new();
    client.register(request).await.unwrap();
    assert_eq!(hash_of(&database, "ada").await, None);
    let token = token_for(&database, &client, "ada").await;
    reset(&client, &token, PASSWORD).await.unwrap();
    assert!(hash_of(&database, "ada").await.is_some());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_page_sets_the_password_and_can_be_tried_again_if_it_is_too_weak() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let token = token_for(&database, &client, "ada").await;
    let before = hash_of(&database, "ada").await;
    let path = format!("/reset-password?token={token}");
    let page = get(&server.address, &path, &[]).await.unwrap();
    assert_eq!((page.status, page.header("referrer-policy")), (200, Some("no-referrer")));
    assert!(page.text().contains("type=\"password\"") && page.text().contains(&token));
    assert_eq!(hash_of(&database, "ada").await, before, "opening the page changes nothing");

    let press = async |password: &str| {
        let form = format!("token={token}&new_password={password}");
        send(&server.address, "POST /reset-password", &[FORM], form.as_bytes()).await.unwrap()
    };
    let weak = press("x").await;
    assert_eq!(weak.status, 400);
    assert!(weak.text().contains("The password must") && weak.text().contains(&token), "{weak:?}");
    let done = press("A+new+passw0rd%21").await;
    assert_eq!((done.status, done.text().contains(&token)), (200, false));
    assert_ne!(hash_of(&database, "ada").await, before);
    assert_eq!(press("Another+passw0rd%21").await.status, 410);
    let page = get(&server.address, &path, &[]).await.unwrap();
    assert_eq!(page.status, 410, "a link that was used asks for nothing: {page:?}");
    assert!(page.text().contains("was used already"), "{page:?}");
    assert!(!page.text().contains("type=\"password\""), "{page:?}");
    let page = get(&server.address, "/reset-password?token=unknown", &[]).await.unwrap();
    assert_eq!(page.status, 404, "{page:?}");
    let actor = "select metadata ->> 'actor' from events where event_type = 'UserPasswordChanged'";
    let actor: String = sqlx::query_scalar(actor).fetch_one(&database.pool).await.unwrap();
    assert_eq!(actor, "user:ada", "the log names the user whose link it was");
    // Whoever has credentials acts under their own name.
    let token = token_for(&database, &client, "ada").await;
    reset(&client, &token, "Another passw0rd!").await.unwrap();
    let by_key = "select count(*) from events where event_type = 'UserPasswordChanged'
        and metadata ->> 'actor' = 'key:admin'";
    assert_eq!(database.count(by_key).await, 1);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_link_in_the_mail_leads_to_a_page_that_sets_the_password() {
    let (database, server, client, mail_server) = server_with_mails(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    ask(&client, "ada").await.unwrap();
    let mails = mail_server.mails_to("ada@example.com", 2).await;
    let mail = mails.iter().find(|mail| mail.header("Subject").contains("password")).unwrap();
    assert!(mail.text().contains("15 minutes"), "{}", mail.text());
    let link = mail.link("/reset-password");
    let (_, path) = link.split_once("example.com").unwrap();
    let page = get(&server.address, path, &[]).await.unwrap();
    let (_, token) = path.split_once("token=").unwrap();
    assert!(page.status == 200 && page.text().contains(token), "{page:?}");
    let form = format!("token={token}&new_password=A+new+passw0rd%21");
    let done = send(&server.address, "POST /reset-password", &[FORM], form.as_bytes()).await;
    assert_eq!(done.unwrap().status, 200);
    People::of(&client).login("ada", PASSWORD).await.unwrap();
    let mails = mail_server.mails_to("ada@example.com", 3).await;
    let told = mails.iter().find(|mail| mail.header("Subject").contains("was changed")).unwrap();
    assert!(told.text().contains("If it was not you"), "{}", told.text());
    assert!(!told.text().contains("second factor"), "{}", told.text());

    // The database has what can check the token, and not the token.
    let rows: Vec<String> = sqlx::query_scalar(
        "select t::text from mailed_tokens t union all select t::text from mails t \
         union all select payload::text from jobs union all select payload::text from events",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(rows.len() > 4 && rows.iter().all(|row| !row.contains(token)), "{rows:?}");
    server.stop().await;
    database.check().await;
}
