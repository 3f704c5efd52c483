//! What reads refuse: unknown programs, users, participants and purchases, and bad tokens.

use std::any::type_name;

use contract::pb::*;
use tonic::Code;

use super::ask::{Ask, OfParticipant, OfProgram, Read};
use super::token;
use crate::support::{another_epoch, refused, server_with};
use testing::{Client, reason};

const PROGRAM: &str = "tiered-points";

/// Checks that a read of something that does not exist names what is missing.
pub(super) async fn missing<R: Ask>(client: &Client, what: &str, request: R) {
    let answer = request.ask(client).await;
    let status = answer.err().unwrap_or_else(|| panic!("{what} of {}", type_name::<R>()));
    assert_eq!(reason(&status), (Code::NotFound, what.to_owned()), "{}", type_name::<R>());
}

async fn tells_participants_apart<R: OfParticipant>(client: &Client) {
    missing(client, "PROGRAM_NOT_FOUND", R::of("nowhere", "ada")).await;
    missing(client, "USER_NOT_FOUND", R::of(PROGRAM, "nobody")).await;
    missing(client, "PARTICIPANT_NOT_FOUND", R::of(PROGRAM, "outsider")).await;
    // Existing ones are answered.
    let answer = R::of(PROGRAM, "ada").ask(client).await;
    assert!(answer.is_ok(), "{}", type_name::<R>());
}

#[tokio::test]
async fn every_read_of_a_participant_tells_program_user_and_participant_apart() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up("", "outsider", "").await.unwrap();
    tells_participants_apart::<GetBalancesRequest>(&client).await;
    tells_participants_apart::<ListBalanceEntriesRequest>(&client).await;
    tells_participants_apart::<GetTierRequest>(&client).await;
    tells_participants_apart::<GetEarningsRequest>(&client).await;
    tells_participants_apart::<GetEarningsSeriesRequest>(&client).await;
    tells_participants_apart::<ListRewardsRequest>(&client).await;
    tells_participants_apart::<GetReferralStatsRequest>(&client).await;
    tells_participants_apart::<ListReferralsRequest>(&client).await;
    tells_participants_apart::<GetReferralTreeRequest>(&client).await;
    tells_participants_apart::<GetRankRequest>(&client).await;
    tells_participants_apart::<WatchEarningsRequest>(&client).await;
    tells_participants_apart::<WatchBalancesRequest>(&client).await;
    tells_participants_apart::<WatchTierRequest>(&client).await;
    tells_participants_apart::<WatchParticipantRequest>(&client).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_past_of_somebody_who_is_not_there_is_not_there_either() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up("", "outsider", "").await.unwrap();
    let as_of_time = ada.response.user.unwrap().create_time;
    for (program, user, what) in [
        ("nowhere", "ada", "PROGRAM_NOT_FOUND"),
        (PROGRAM, "nobody", "USER_NOT_FOUND"),
        (PROGRAM, "outsider", "PARTICIPANT_NOT_FOUND"),
    ] {
        let request = GetBalancesRequest { as_of_time, ..OfParticipant::of(program, user) };
        missing(&client, what, request).await;
        let request = GetTierRequest { as_of_time, ..OfParticipant::of(program, user) };
        missing(&client, what, request).await;
        let request = GetEarningsRequest { as_of_time, ..OfParticipant::of(program, user) };
        missing(&client, what, request).await;
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn every_read_of_a_program_says_that_there_is_none() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let what = "PROGRAM_NOT_FOUND";
    missing(&client, what, ListUsersRequest::of_program("nowhere")).await;
    missing(&client, what, GetProgramRequest::of_program("nowhere")).await;
    missing(&client, what, ListProgramVersionsRequest::of_program("nowhere")).await;
    missing(&client, what, ListReferralsRequest::of_program("nowhere")).await;
    missing(&client, what, GetLeaderboardRequest::of_program("nowhere")).await;
    missing(&client, what, WatchLeaderboardRequest::of_program("nowhere")).await;
    missing(&client, what, GetOverviewRequest::of_program("nowhere")).await;
    missing(&client, what, GetConversionReportRequest::of_program("nowhere")).await;
    let code = ValidateReferralCodeRequest {
        referral_code: "ZZZZZZZZ".into(),
        program_id: "nowhere".into(),
        ..Default::default()
    };
    missing(&client, what, code.clone()).await;
    let code =
        ValidateReferralCodeRequest { program_id: String::new(), user_id: "nobody".into(), ..code };
    missing(&client, "USER_NOT_FOUND", code).await;
    let version = GetProgramRequest { version: 2, ..OfProgram::of_program(PROGRAM) };
    missing(&client, "PROGRAM_VERSION_NOT_FOUND", version).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn users_buyers_and_purchases_that_there_are_not_are_not_found() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let user = GetUserRequest { user_id: "nobody".into(), ..Default::default() };
    missing(&client, "USER_NOT_FOUND", user).await;
    let buyer = ListPurchasesRequest { buyer_user_id: "nobody".into(), ..Default::default() };
    missing(&client, "USER_NOT_FOUND", buyer).await;
    let purchase = GetPurchaseRequest { purchase_id: "order-1".into(), ..Default::default() };
    missing(&client, "PURCHASE_NOT_FOUND", purchase).await;
    // No purchases at all is an answer, not an error.
    let none = ListPurchasesRequest::default().ask(&client).await.unwrap();
    assert!(none.purchases.is_empty() && none.next_page_token.is_empty());
    let none = ListUsersRequest::default().ask(&client).await.unwrap();
    assert!(none.users.is_empty() && none.next_page_token.is_empty());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn tiers_are_watched_only_where_there_are_some() {
    let (database, server, client) = server_with(&[PROGRAM, "referral-count"]).await;
    client.sign_up("referral-count", "ada", "").await.unwrap();
    let watched = WatchTierRequest::of("referral-count", "ada").ask(&client).await;
    refused(watched, Code::FailedPrecondition, "NO_TIERS");
    server.stop().await;
    database.check().await;
}

/// Checks that a read refuses the token of another log.
async fn refuses_token<R: Read>(client: &Client, ahead: &str, request: R) {
    let status = request.after(ahead).ask(client).await.err();
    let status = status.unwrap_or_else(|| panic!("{}", type_name::<R>()));
    let expected = (Code::FailedPrecondition, "TOKEN_OF_OLD_EPOCH".to_owned());
    assert_eq!(reason(&status), expected, "{}", type_name::<R>());
}

#[tokio::test]
async fn every_read_refuses_a_token_of_another_log() {
    let (longer, server, client) = server_with(&[PROGRAM]).await;
    let mut last = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for index in 0..5 {
        last = client.sign_up(PROGRAM, &format!("user-{index}"), &last.code).await.unwrap();
    }
    let ahead = token(&last).to_owned();
    server.stop().await;
    another_epoch().await;
    let (shorter, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.buy("order-1", "ada", "USD", 1).await.unwrap();
    let purchase = GetPurchaseRequest { purchase_id: "order-1".into(), ..Default::default() };
    let code = ValidateReferralCodeRequest { referral_code: ada.code, ..Default::default() };
    let user = GetUserRequest { user_id: "ada".into(), ..Default::default() };

    refuses_token(&client, &ahead, user).await;
    refuses_token(&client, &ahead, ListUsersRequest::default()).await;
    refuses_token(&client, &ahead, ListUsersRequest::of_program(PROGRAM)).await;
    refuses_token(&client, &ahead, GetProgramRequest::of_program(PROGRAM)).await;
    refuses_token(&client, &ahead, ListProgramVersionsRequest::of_program(PROGRAM)).await;
    refuses_token(&client, &ahead, ListProgramsRequest::default()).await;
    refuses_token(&client, &ahead, purchase).await;
    refuses_token(&client, &ahead, ListPurchasesRequest::default()).await;
    refuses_token(&client, &ahead, code).await;
    refuses_token(&client, &ahead, GetReferralStatsRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, ListReferralsRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, GetReferralTreeRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, GetBalancesRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, ListBalanceEntriesRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, GetTierRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, GetEarningsRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, GetEarningsSeriesRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, ListRewardsRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, GetLeaderboardRequest::of_program(PROGRAM)).await;
    refuses_token(&client, &ahead, GetRankRequest::of(PROGRAM, "ada")).await;
    refuses_token(&client, &ahead, GetOverviewRequest::of_program(PROGRAM)).await;
    refuses_token(&client, &ahead, GetConversionReportRequest::of_program(PROGRAM)).await;
    let events =
        ReadEventsRequest { consistency_token: ahead, ..Default::default() }.ask(&client).await;
    refused(events.map(|_| ()), Code::FailedPrecondition, "TOKEN_OF_OLD_EPOCH");
    server.stop().await;
    shorter.check().await;
    longer.check().await;
}
