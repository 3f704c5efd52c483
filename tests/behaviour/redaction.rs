//! What answers to users leave out about other people.

use contract::pb::*;
use tonic::Code;

use super::keys::{holder, wanted_by_user};
use super::support::{refused, server_with};
use testing::Client;

const LINES: &str = "multi-level-commission";

#[tokio::test]
async fn answers_to_a_user_leave_out_who_the_others_are() {
    let (database, server, client) = server_with(&[LINES]).await;
    let zoe = client.sign_up(LINES, "zoe-1", "").await.unwrap();
    let ada = client.sign_up(LINES, "ada", &zoe.code).await.unwrap();
    let bob = client.sign_up(LINES, "bob-2", &ada.code).await.unwrap();
    client.sign_up(LINES, "cid-3", &bob.code).await.unwrap();
    let bought = client.buy("order-1", "bob-2", "INR", 200_000).await.unwrap();
    client.buy("order-2", "ada", "INR", 200_000).await.unwrap();
    let (caller, _) = holder(&client, wanted_by_user("phone", "ada")).await;
    let token = bought.consistency_token;
    let answers = answers_about(&caller, "ada", &token).await;
    for (rpc, answer) in answers {
        for other in ["zoe-1", "bob-2", "cid-3"] {
            let is_username = other == "bob-2" && answer.contains("username: \"bob-2\"");
            let ids = format!("user_id: \"{other}\"");
            assert!(!answer.contains(&ids), "{other} in {rpc}: {answer}");
            let entries = format!("{LINES}/{other}/");
            assert!(!answer.contains(&entries), "{other} in {rpc}: {answer}");
            let is_referral =
                ["ListReferrals", "GetReferralTree", "GetReferralStats"].contains(&rpc);
            assert_eq!(is_username, other == "bob-2" && is_referral, "{other} in {rpc}: {answer}");
            assert!(!answer.contains(&format!("{other}@")), "{rpc}");
        }
        assert!(rpc == "ListPurchases" || answer.contains("ada") || rpc == "ListRewards", "{rpc}");
    }

    // Those who are not in the program do not see its leaderboard.
    client.sign_up("", "dan", "").await.unwrap();
    let (dan, _) = holder(&client, wanted_by_user("phone", "dan")).await;
    let board = GetLeaderboardRequest { program_id: LINES.into(), ..Default::default() };
    let seen = client.leaderboards().get_leaderboard(dan.request(board)).await;
    refused(seen, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    let watch = WatchLeaderboardRequest { program_id: LINES.into(), ..Default::default() };
    let seen = client.leaderboards().watch_leaderboard(dan.request(watch)).await;
    refused(seen.map(drop), Code::NotFound, "PARTICIPANT_NOT_FOUND");

    // Nor do errors say who others are.
    let apply = ApplyReferralRequest {
        program_id: LINES.into(),
        referral_code: bob.code,
        ..Default::default()
    };
    let status = client.referrals().apply_referral(caller.request(apply)).await.unwrap_err();
    assert!(!format!("{status:?}").contains("bob-2"), "{status:?}");
    server.stop().await;
    database.check().await;
}

/// The answers that a user gets about themselves, as text, by the RPC.
async fn answers_about(caller: &Client, user_id: &str, token: &str) -> Vec<(&'static str, String)> {
    let (program_id, user_id) = (LINES.to_owned(), user_id.to_owned());
    let consistency_token = token.to_owned();
    let mut referrals = caller.referrals();
    let (mut rewards, mut boards) = (caller.rewards(), caller.leaderboards());
    let stats = GetReferralStatsRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        consistency_token: consistency_token.clone(),
    };
    let list = ListReferralsRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        max_level: 3,
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    let tree = GetReferralTreeRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    let of_rewards = ListRewardsRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    let board = GetLeaderboardRequest {
        program_id: program_id.clone(),
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    let bought = ListPurchasesRequest {
        buyer_user_id: user_id.clone(),
        consistency_token,
        ..Default::default()
    };
    let watch =
        WatchParticipantRequest { program_id, user_id: user_id.clone(), ..Default::default() };
    let mut stream = rewards.watch_participant(caller.request(watch)).await.unwrap().into_inner();
    let watch = WatchLeaderboardRequest { program_id: LINES.into(), ..Default::default() };
    let mut places = boards.watch_leaderboard(caller.request(watch)).await.unwrap().into_inner();
    vec![
        ("GetUser", format!("{:?}", caller.user(&user_id).await.unwrap())),
        (
            "GetReferralStats",
            format!("{:?}", referrals.get_referral_stats(caller.request(stats)).await.unwrap()),
        ),
        (
            "ListReferrals",
            format!("{:?}", referrals.list_referrals(caller.request(list)).await.unwrap()),
        ),
        (
            "GetReferralTree",
            format!("{:?}", referrals.get_referral_tree(caller.request(tree)).await.unwrap()),
        ),
        (
            "ListRewards",
            format!("{:?}", rewards.list_rewards(caller.request(of_rewards)).await.unwrap()),
        ),
        (
            "GetLeaderboard",
            format!("{:?}", boards.get_leaderboard(caller.request(board)).await.unwrap()),
        ),
        (
            "ListPurchases",
            format!(
                "{:?}",
                caller.purchases().list_purchases(caller.request(bought)).await.unwrap()
            ),
        ),
        ("WatchParticipant", format!("{:?}", stream.message().await.unwrap())),
        ("WatchLeaderboard", format!("{:?}", places.message().await.unwrap())),
    ]
}
