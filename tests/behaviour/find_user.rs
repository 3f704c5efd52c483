//! `FindUser`: back ends find a user by the one thing that they know.

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tributary::api::services;

use super::bad_input::at_fault;
use super::principals::{by, in_process, service, user};
use super::support::{enroll, refused, server_with};
use testing::Client;

const LINES: &str = "multi-level-commission";

async fn find(client: &Client, request: FindUserRequest) -> Result<FindUserResponse, Status> {
    Ok(client.accounts().find_user(client.request(request)).await?.into_inner())
}

fn by_email(email: &str) -> FindUserRequest {
    FindUserRequest { email: email.into(), ..Default::default() }
}

fn by_username(username: &str) -> FindUserRequest {
    FindUserRequest { username: username.into(), ..Default::default() }
}

fn by_code(code: &str) -> FindUserRequest {
    FindUserRequest { referral_code: code.into(), ..Default::default() }
}

#[tokio::test]
async fn a_user_is_found_by_address_username_and_every_code_in_any_letter_case() {
    let (database, server, client) = server_with(&[LINES, "referral-count"]).await;
    let request = RegisterUserRequest {
        user_id: "u-1".into(),
        username: "Ada.L".into(),
        email: "Ada@Example.com".into(),
        display_name: "Ada".into(),
        program_id: LINES.into(),
        ..Default::default()
    };
    let lines = client.register(request).await.unwrap().participants.remove(0).code;
    let other = enroll(&client, "referral-count", "u-1", "").await.unwrap();
    let other = other.participant.unwrap().code;
    client.sign_up(LINES, "bob", &lines).await.unwrap();

    let known = client.user("u-1").await.unwrap();
    for request in [
        by_email("ada@example.com"),
        by_email("ADA@EXAMPLE.COM"),
        by_username("ada.l"),
        by_code(&lines),
        by_code(&other.to_lowercase()),
    ] {
        let found = find(&client, request.clone()).await.unwrap();
        assert_eq!(found.user, known.user, "{request:?}");
        assert_eq!(found.participants, known.participants);
        assert!(found.position > 0);
    }
    assert_eq!(find(&client, by_username("bob")).await.unwrap().user.unwrap().user_id, "bob");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn whoever_does_not_exist_is_not_found_and_an_address_is_never_repeated() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();

    let status = find(&client, by_email("eve@example.com")).await;
    let status = refused(status, Code::NotFound, "USER_NOT_FOUND");
    let shown = format!("{} {:?}", status.message(), status.get_error_details());
    assert!(!shown.contains("eve"), "{shown}");
    // The id is no username here, and an address is no username.
    let status = find(&client, by_username("eve")).await;
    refused(status, Code::NotFound, "USER_NOT_FOUND");
    let status = find(&client, by_code("ZZZZZZZZ")).await;
    refused(status, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn exactly_one_thing_is_looked_for() {
    let (database, server, client) = server_with(&[]).await;
    at_fault(find(&client, FindUserRequest::default()).await, "email", "FIELD_REQUIRED");
    let both = FindUserRequest { username: "ada".into(), ..by_email("ada@example.com") };
    at_fault(find(&client, both).await, "email", "FIELDS_EXCLUSIVE");
    let both = FindUserRequest { referral_code: "K7Q2M9XA".into(), ..by_username("ada") };
    at_fault(find(&client, both).await, "username", "FIELDS_EXCLUSIVE");
    at_fault(find(&client, by_email("ada")).await, "email", "INVALID_EMAIL");
    at_fault(find(&client, by_username("a b")).await, "username", "INVALID_USERNAME");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn users_find_nobody_not_even_themselves() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    let local = in_process(&database).await;
    let mut accounts = AccountServiceClient::new(services(local.context()));

    let own = accounts.find_user(by(&user("ada"), by_username("ada"))).await;
    refused(own, Code::PermissionDenied, "PERMISSION_DENIED");
    let found = accounts.find_user(by(&service(), by_username("ada"))).await.unwrap();
    assert_eq!(found.into_inner().user.unwrap().user_id, "ada");
    let nobody = server.separate_client(None).await;
    let status = find(&nobody, by_username("ada")).await;
    refused(status, Code::Unauthenticated, "MISSING_CREDENTIALS");
    server.stop().await;
    database.check().await;
}
