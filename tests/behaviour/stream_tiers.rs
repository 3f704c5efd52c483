//! Live streams of tiers: first the present tier, then every change, each once.

use std::ops::RangeInclusive;

use contract::pb::WatchTierResponse;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::support::{refused, server_with};
use testing::{Begun, Client, Message, Watched, second_server};

const PROGRAM: &str = "tiered-points";

/// Signs up friends by their numbers, which count as one referral each.
async fn befriend(client: &Client, code: &str, numbers: RangeInclusive<usize>) {
    for number in numbers {
        client.sign_up(PROGRAM, &format!("friend-{number}"), code).await.unwrap();
    }
}

/// The content of a message: the previous and the present tier.
fn tiers(message: &WatchTierResponse) -> (&str, &str) {
    (&message.previous_tier, &message.tier)
}

/// Opens a stream from a token.
async fn resume(client: &Client, token: &str) -> Watched<WatchTierResponse> {
    let Begun { first, rest } = client.watch_tier(PROGRAM, "ada", token).await.unwrap();
    assert!(first.is_heartbeat() && first.previous_tier.is_empty(), "{first:?}");
    rest
}

#[tokio::test]
async fn the_present_tier_comes_first_and_then_every_change_of_it() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let other = second_server(&database, &["--heartbeat-s", "1"]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let eve = client.sign_up(PROGRAM, "eve", "").await.unwrap();
    let mut stream = client.watch_tier(PROGRAM, "ada", "").await.unwrap();
    assert_eq!(tiers(&stream.first), ("", "Bronze"));
    let mut of_eve = other.client().watch_tier(PROGRAM, "eve", "").await.unwrap();
    let start = stream.first.resume_token;

    befriend(&client, &ada.code, 1..=9).await;
    let mut elsewhere = other.client().watch_tier(PROGRAM, "ada", "").await.unwrap();
    assert_eq!(tiers(&elsewhere.first), ("", "Bronze"));
    assert!(elsewhere.rest.until_heartbeat().await.is_empty(), "nine are not enough");
    befriend(&client, &ada.code, 10..=10).await;
    client.sign_up(PROGRAM, "of-eve", &eve.code).await.unwrap();

    for stream in [&mut stream.rest, &mut elsewhere.rest] {
        assert_eq!(tiers(&stream.news().await), ("Bronze", "Silver"));
    }
    let at_silver = stream.rest.token.clone();
    let late = client.watch_tier(PROGRAM, "ada", "").await.unwrap();
    assert_eq!(tiers(&late.first), ("", "Silver"));

    // A resumed stream delivers exactly what was missed.
    let mut silent = resume(&other.client(), &at_silver).await;
    assert!(silent.until_heartbeat().await.is_empty());
    befriend(&client, &ada.code, 11..=51).await;
    let mut streams = vec![stream.rest, elsewhere.rest, late.rest, silent];
    for client in [&client, &other.client()] {
        streams.push(resume(client, &at_silver).await);
        let mut from_the_start = resume(client, &start).await;
        assert_eq!(tiers(&from_the_start.news().await), ("Bronze", "Silver"));
        streams.push(from_the_start);
    }
    for stream in &mut streams {
        assert_eq!(tiers(&stream.news().await), ("Silver", "Gold"));
    }
    assert!(of_eve.rest.until_heartbeat().await.is_empty(), "one friend changes no tier");
    server.stop().await;
    for stream in &mut streams[..1] {
        let (seen, status) = stream.end().await;
        assert!(seen.is_empty(), "{seen:?}");
        refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    }
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_present_tier_fits_what_follows_it_also_while_tiers_change() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let other = second_server(&database, &[]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let writer = client.clone();
    let writing = tokio::spawn(async move { befriend(&writer, &ada.code, 1..=60).await });
    let watch = |client: Client| async move {
        let Begun { first, mut rest } = client.watch_tier(PROGRAM, "ada", "").await.unwrap();
        assert_eq!(first.previous_tier, "");
        let mut tier = first.tier;
        while tier != "Gold" {
            let change = rest.news().await;
            assert_eq!(change.previous_tier, tier, "a change is missing or came twice");
            tier = change.tier;
        }
    };
    let mut watching = tokio::task::JoinSet::new();
    while !writing.is_finished() && watching.len() < 200 {
        watching.spawn(watch(client.clone()));
        watching.spawn(watch(other.client()));
        let _ = client.user("ada").await.unwrap();
    }
    writing.await.unwrap();
    watching.join_all().await;
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_tier_that_other_rules_bring_is_told_once() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    befriend(&client, &ada.code, 1..=3).await;
    let json = std::fs::read_to_string(testing::program(PROGRAM)).unwrap();
    let mut program = contract::parse_program(&json).unwrap();
    program.rewards[0].tiers[1].from_referrals = 2;
    client.publish(program).await.unwrap();
    let Begun { first, mut rest } = client.watch_tier(PROGRAM, "ada", "").await.unwrap();
    let mut tier = first.tier;

    befriend(&client, &ada.code, 4..=50).await;

    let mut changes = 0;
    while tier != "Gold" {
        let change = rest.news().await;
        assert_eq!(change.previous_tier, tier, "a change is missing or came twice");
        assert_ne!(change.tier, tier);
        tier = change.tier;
        changes += 1;
    }
    assert!(changes <= 2);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn where_there_is_no_tier_there_is_nothing_to_watch() {
    let (database, server, client) = server_with(&[PROGRAM, "referral-count"]).await;
    client.sign_up("referral-count", "ada", "").await.unwrap();

    let answer = client.watch_tier("referral-count", "ada", "").await.map(|_| ());
    let status = refused(answer, Code::FailedPrecondition, "NO_TIERS");
    let facts = status.get_error_details().error_info().cloned().unwrap().metadata;
    assert_eq!(facts.get("program_id").map(String::as_str), Some("referral-count"));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn who_does_not_exist_or_take_part_cannot_be_watched() {
    let (database, server, client) = server_with(&[PROGRAM, "referral-count"]).await;
    client.sign_up("referral-count", "ada", "").await.unwrap();
    let cases = [
        (PROGRAM, "nobody", Code::NotFound, "USER_NOT_FOUND"),
        ("nothing", "ada", Code::NotFound, "PROGRAM_NOT_FOUND"),
        (PROGRAM, "ada", Code::FailedPrecondition, "PARTICIPANT_NOT_FOUND"),
        (PROGRAM, "", Code::InvalidArgument, "INVALID_FIELD"),
        ("", "ada", Code::InvalidArgument, "INVALID_FIELD"),
        (PROGRAM, "no such\0id", Code::InvalidArgument, "INVALID_FIELD"),
    ];
    for (program_id, user_id, code, reason) in cases {
        // `PARTICIPANT_NOT_FOUND` has the same code in all calls.
        let check = |status: Status| {
            let found = testing::reason(&status);
            assert_eq!(found.1, reason, "{program_id}/{user_id}: {status:?}");
            assert!(found.0 == code || reason == "PARTICIPANT_NOT_FOUND", "{status:?}");
        };
        check(client.watch_earnings(program_id, user_id, "").await.map(|_| ()).unwrap_err());
        check(client.watch_balances(program_id, user_id, "").await.map(|_| ()).unwrap_err());
        check(client.watch_tier(program_id, user_id, "").await.map(|_| ()).unwrap_err());
        check(client.watch_participant(program_id, user_id, "").await.map(|_| ()).unwrap_err());
    }
    server.stop().await;
    database.check().await;
}
