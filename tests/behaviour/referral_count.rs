//! `referral-count`: one for each referral, at sign-up.

use std::collections::HashSet;

use contract::pb::{ReferralStatus, RegisterUserRequest};
use tonic::Code;

use super::support::{figures, is_code, log_length, next_reward, refused, server_with};
use testing::sign_up_request;

const PROGRAM: &str = "referral-count";

#[tokio::test]
async fn every_sign_up_with_a_code_counts_one_at_once() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut earnings = client.watch(PROGRAM, "ada", "").await.unwrap();
    for count in 1..=12 {
        let friend = client.sign_up(PROGRAM, &format!("friend-{count}"), &ada.code).await.unwrap();
        assert_eq!(friend.referrer_user_id, "ada");
        let participant = &friend.response.participants[0];
        assert_eq!(participant.referral_status(), ReferralStatus::Converted);
        let seen = next_reward(&mut earnings).await;
        assert_eq!(figures(&seen), (1, count, count));
        assert_eq!(seen.reward.unwrap().source_user_id, friend.user_id);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn codes_are_8_characters_of_a_to_z_and_0_to_9_and_none_comes_twice() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let mut codes = HashSet::new();
    for index in 0..30 {
        let user = client.sign_up(PROGRAM, &format!("user-{index}"), "").await.unwrap();
        is_code(&user.code, 8);
        let participant = &user.response.participants[0];
        assert_eq!(participant.link, format!("https://example.com/join?ref={}", user.code));
        assert!(codes.insert(user.code), "a code came twice");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_unknown_code_is_not_found_and_creates_no_account() {
    let (database, server, client) = server_with(&[PROGRAM, "tiered-points"]).await;
    let ada = client.sign_up("tiered-points", "ada", "").await.unwrap();
    let before = log_length(&database).await;

    let unknown = client.sign_up(PROGRAM, "bob", "AAAAAAAA").await;
    refused(unknown, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    // A code of another program is unknown in this one.
    let elsewhere = client.sign_up(PROGRAM, "bob", &ada.code).await;
    refused(elsewhere, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");

    refused(client.user("bob").await, Code::NotFound, "USER_NOT_FOUND");
    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_email_address_can_be_referred_once_in_whatever_letter_case() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut earnings = client.watch(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    assert_eq!(figures(&next_reward(&mut earnings).await).1, 1);
    let before = log_length(&database).await;

    let again = RegisterUserRequest {
        email: "BOB@Example.COM".into(),
        ..sign_up_request(PROGRAM, "bob-2", &ada.code)
    };
    refused(client.register(again).await, Code::AlreadyExists, "EMAIL_TAKEN");
    let namesake = RegisterUserRequest {
        username: "BoB".into(),
        ..sign_up_request(PROGRAM, "bob-3", &ada.code)
    };
    refused(client.register(namesake).await, Code::AlreadyExists, "USERNAME_TAKEN");
    refused(client.sign_up(PROGRAM, "bob", &ada.code).await, Code::AlreadyExists, "USER_ID_TAKEN");
    assert_eq!(log_length(&database).await, before);

    client.sign_up(PROGRAM, "cid", &ada.code).await.unwrap();
    assert_eq!(figures(&next_reward(&mut earnings).await), (1, 2, 2));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_code_counts_in_any_letter_case_and_enrolls_in_its_program_only() {
    let (database, server, client) = server_with(&[PROGRAM, "tiered-points"]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();

    let bob = client.sign_up("", "bob", &ada.code.to_lowercase()).await.unwrap();

    assert_eq!(bob.referrer_user_id, "ada");
    assert_eq!(bob.response.participants.len(), 1);
    assert_eq!(bob.response.participants[0].program_id, PROGRAM);
    let verdict = client.validate(&ada.code.to_lowercase(), "").await.unwrap();
    assert!(verdict.valid);
    assert_eq!((&*verdict.program_id, &*verdict.referrer_username), (PROGRAM, "ada"));
    assert_eq!(verdict.remaining_uses, None);
    server.stop().await;
    database.check().await;
}
