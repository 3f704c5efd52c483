//! The freshness of answers: never older than requested, and never older than an earlier answer.

use std::any::type_name;

use contract::pb::*;

use super::ask::{Ask, OfParticipant, OfProgram, Read};
use crate::support::{log_length, server_with};
use testing::{Client, Server};

const PROGRAM: &str = "multi-level-commission";

/// A write and the position that the log had right after it.
struct Written {
    consistency_token: String,
    position: i64,
}

/// Reads around a write, on the server that took it and on another one.
async fn moves_forward<R: Read + Clone>(
    clients: [&Client; 2],
    write: impl AsyncFn() -> Written,
    request: R,
) {
    let name = type_name::<R>();
    let first = write().await;
    for client in clients {
        let answer = request.clone().after(&first.consistency_token).ask(client).await.unwrap();
        let seen = R::position(&answer);
        assert!(seen >= first.position, "{name}: {seen} is before {}", first.position);
        let second = write().await;
        // Without a token the read may miss the write, but never returns an older state than before.
        let again = R::position(&request.clone().ask(client).await.unwrap());
        assert!(again >= seen, "{name} went back from {seen} to {again}");
        // An older token does not make an answer older.
        let older = request.clone().after(&first.consistency_token).ask(client).await.unwrap();
        let older = R::position(&older);
        assert!(older >= again, "{name} went back from {again} to {older}");
        let newest = request.clone().after(&second.consistency_token).ask(client).await.unwrap();
        let newest = R::position(&newest);
        assert!(newest >= second.position && newest >= older, "{name}: {newest}");
    }
}

#[tokio::test]
async fn no_answer_is_older_than_asked_for_or_than_one_before() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let other = Server::start(&database).await;
    let clients = [&client, &other.client()];
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.buy("order-1", "bob", "INR", 100_000).await.unwrap();
    let write = async || {
        let bought = client.buy("", "bob", "INR", 100_000).await.unwrap();
        let position = log_length(&database).await;
        Written { consistency_token: bought.consistency_token, position }
    };

    let user = GetUserRequest { user_id: "ada".into(), ..Default::default() };
    moves_forward(clients, write, user).await;
    moves_forward(clients, write, ListUsersRequest::default()).await;
    moves_forward(clients, write, ListUsersRequest::of_program(PROGRAM)).await;
    moves_forward(clients, write, GetProgramRequest::of_program(PROGRAM)).await;
    moves_forward(clients, write, ListProgramVersionsRequest::of_program(PROGRAM)).await;
    moves_forward(clients, write, ListProgramsRequest::default()).await;
    let purchase = GetPurchaseRequest { purchase_id: "order-1".into(), ..Default::default() };
    moves_forward(clients, write, purchase).await;
    moves_forward(clients, write, ListPurchasesRequest::default()).await;
    let code = ValidateReferralCodeRequest { referral_code: ada.code, ..Default::default() };
    moves_forward(clients, write, code).await;
    moves_forward(clients, write, GetReferralStatsRequest::of(PROGRAM, "ada")).await;
    moves_forward(clients, write, ListReferralsRequest::of(PROGRAM, "ada")).await;
    let deep = ListReferralsRequest { max_level: 2, ..OfParticipant::of(PROGRAM, "ada") };
    moves_forward(clients, write, deep).await;
    moves_forward(clients, write, ListReferralsRequest::of_program(PROGRAM)).await;
    moves_forward(clients, write, GetReferralTreeRequest::of(PROGRAM, "ada")).await;
    moves_forward(clients, write, GetBalancesRequest::of(PROGRAM, "ada")).await;
    moves_forward(clients, write, ListBalanceEntriesRequest::of(PROGRAM, "ada")).await;
    moves_forward(clients, write, GetTierRequest::of(PROGRAM, "ada")).await;
    moves_forward(clients, write, GetEarningsRequest::of(PROGRAM, "ada")).await;
    moves_forward(clients, write, GetEarningsSeriesRequest::of(PROGRAM, "ada")).await;
    moves_forward(clients, write, ListRewardsRequest::of(PROGRAM, "ada")).await;
    moves_forward(clients, write, GetLeaderboardRequest::of_program(PROGRAM)).await;
    moves_forward(clients, write, GetRankRequest::of(PROGRAM, "ada")).await;
    moves_forward(clients, write, GetOverviewRequest::of_program(PROGRAM)).await;
    moves_forward(clients, write, GetConversionReportRequest::of_program(PROGRAM)).await;
    other.stop().await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_read_right_after_a_write_on_another_server_sees_it() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let other = Server::start(&database).await;
    let reader = other.client();
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    for paid in 1..=20 {
        let bought = client.buy("", "bob", "INR", 100_000).await.unwrap();
        let token = &bought.consistency_token;
        let earned = GetEarningsRequest::of(PROGRAM, "ada").after(token).ask(&reader).await;
        assert_eq!(earned.unwrap().total.unwrap().minor_units, paid * 5_000);
        let place = GetRankRequest::of(PROGRAM, "ada").after(token).ask(&reader).await.unwrap();
        assert_eq!(place.entry.unwrap().score, paid * 5_000);
    }
    other.stop().await;
    server.stop().await;
    database.check().await;
}
