//! Reads after the rules have changed: the version in force determines what is shown of the past.

use contract::pb::*;

use super::ask::{OfParticipant, OfProgram, Paged, Read};
use super::multi_level_commission::line;
use super::{board, by_level, only, places, remaining, see, token};
use crate::support::server_with;

#[tokio::test]
async fn levels_without_a_rule_are_listed_where_something_was_earned_and_a_cap_leaves_at_least_0() {
    const PROGRAM: &str = "multi-level-commission";
    let (database, server, client) = server_with(&[]).await;
    let mut program = client.publish_shipped(PROGRAM).await;
    line(&client, &["ada", "bob", "cid"]).await;
    client.buy("", "cid", "INR", 100_130).await.unwrap();
    program.rewards.pop();
    program.rewards[0].cap_minor = Some(1_000);
    client.publish(program).await.unwrap();
    let bought = client.buy("", "cid", "INR", 100_130).await.unwrap();
    let last = &bought.consistency_token;
    assert!(bought.outcomes[0].rewards.is_empty());

    let of_bob = see(&client, last, GetEarningsRequest::of(PROGRAM, "bob")).await;
    assert_eq!(by_level(&of_bob), [(1, 5_007, 1)]);
    assert_eq!(remaining(&of_bob), [(1, 1_000, 0)]);
    let of_ada = see(&client, last, GetEarningsRequest::of(PROGRAM, "ada")).await;
    assert_eq!(by_level(&of_ada), [(1, 0, 0), (2, 1_001, 1)]);
    assert_eq!(remaining(&of_ada), [(1, 1_000, 1_000)]);
    let balances = see(&client, last, GetBalancesRequest::of(PROGRAM, "ada")).await;
    assert_eq!(only(&balances.balances), ("INR", 1_001));
    let rewards = ListRewardsRequest::of(PROGRAM, "ada").after(last).all(&client, 10).await;
    assert_eq!((rewards.len(), rewards[0].program_version), (1, 1));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_limit_below_the_uses_there_are_leaves_none() {
    const PROGRAM: &str = "first-purchase-bonus";
    let (database, server, client) = server_with(&[]).await;
    let mut program = client.publish_shipped(PROGRAM).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for friend in ["bob", "cid", "dan"] {
        client.sign_up(PROGRAM, friend, &ada.code).await.unwrap();
    }
    program.max_uses_per_code = Some(2);
    client.publish(program.clone()).await.unwrap();
    let late = client.sign_up(PROGRAM, "late", &ada.code).await.unwrap();
    assert_eq!(late.referrer_user_id, "");

    let stats = see(&client, token(&late), GetReferralStatsRequest::of(PROGRAM, "ada")).await;
    assert_eq!((stats.uses, stats.max_uses, stats.remaining_uses), (3, Some(2), Some(0)));

    // Of two limits the lower one applies; without limits the fields are absent.
    program.max_uses_per_code = Some(9);
    program.max_direct_referrals = Some(5);
    client.publish(program.clone()).await.unwrap();
    let eve = client.sign_up(PROGRAM, "eve", &ada.code).await.unwrap();
    let stats = see(&client, token(&eve), GetReferralStatsRequest::of(PROGRAM, "ada")).await;
    assert_eq!((stats.uses, stats.max_uses, stats.remaining_uses), (4, Some(5), Some(1)));
    (program.max_uses_per_code, program.max_direct_referrals) = (None, None);
    client.publish(program).await.unwrap();
    let fay = client.sign_up(PROGRAM, "fay", &ada.code).await.unwrap();
    let stats = see(&client, token(&fay), GetReferralStatsRequest::of(PROGRAM, "ada")).await;
    assert_eq!((stats.uses, stats.max_uses, stats.remaining_uses), (5, None, None));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_board_follows_the_metric_in_force() {
    const PROGRAM: &str = "first-purchase-credits";
    let (database, server, client) = server_with(&[]).await;
    let mut program = client.publish_shipped(PROGRAM).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let bob = client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.sign_up(PROGRAM, "cid", &ada.code).await.unwrap();
    client.sign_up(PROGRAM, "dan", &bob.code).await.unwrap();
    let bought = client.buy("", "dan", "USD", 1).await.unwrap();
    let metric = LeaderboardMetric::Unspecified;
    let points = see(&client, &bought.consistency_token, board(PROGRAM, metric)).await;
    assert_eq!(places(&points.entries[..2]), [(1, "bob", 2), (2, "dan", 2)]);

    program.set_leaderboard(LeaderboardMetric::Referrals);
    client.publish(program).await.unwrap();
    let eve = client.sign_up(PROGRAM, "eve", "").await.unwrap();

    let referrals = see(&client, token(&eve), board(PROGRAM, metric)).await;
    assert_eq!(referrals.metric(), LeaderboardMetric::Referrals);
    assert_eq!(places(&referrals.entries[..2]), [(1, "ada", 2), (2, "bob", 1)]);
    let version = see(&client, token(&eve), GetProgramRequest::of_program(PROGRAM)).await;
    assert_eq!(version.program.unwrap().version, 2);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_tier_under_new_rules_is_shown_by_the_new_names_from_the_next_referral_on() {
    const PROGRAM: &str = "tiered-points";
    let (database, server, client) = server_with(&[]).await;
    let mut program = client.publish_shipped(PROGRAM).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for index in 1..=3 {
        client.sign_up(PROGRAM, &format!("friend-{index}"), &ada.code).await.unwrap();
    }
    let tiers = &mut program.rewards[0].tiers;
    tiers[0].name = "Wood".into();
    tiers[1].from_referrals = 4;
    client.publish(program).await.unwrap();
    let friend = client.sign_up(PROGRAM, "friend-4", &ada.code).await.unwrap();

    let seen = see(&client, token(&friend), GetTierRequest::of(PROGRAM, "ada")).await;
    // Four at 15 and the bonus of 100; what was granted before counts towards it.
    assert_eq!((&*seen.tier, seen.referral_count, seen.points), ("Silver", 4, 160));
    assert_eq!((&*seen.next_tier, seen.referrals_to_next_tier), ("Gold", 46));
    let friend = see(&client, token(&friend), GetTierRequest::of(PROGRAM, "friend-4")).await;
    assert_eq!((&*friend.tier, &*friend.next_tier), ("Wood", "Silver"));
    assert_eq!(friend.referrals_to_next_tier, 4);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn tiers_go_by_referrals_whatever_earned_before() {
    const PROGRAM: &str = "tiered-points";
    let (database, server, client) = server_with(&[]).await;
    let tiered = client.publish_shipped(PROGRAM).await;
    let mut by_purchase = tiered.clone();
    by_purchase.set_earn_on(EarnOn::EveryPurchase);
    let point =
        RewardRule { rule: "point".into(), level: 1, flat_minor: Some(1), ..Default::default() };
    by_purchase.rewards = vec![RewardRule { kind: RewardKind::Points.into(), ..point }];
    client.publish(by_purchase).await.unwrap();
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.sign_up(PROGRAM, "cid", &ada.code).await.unwrap();
    for number in 0..60 {
        client.buy(&format!("order-{number}"), "bob", "USD", 100).await.unwrap();
    }
    client.publish(tiered).await.unwrap();
    let mut tiers = client.watch_tier(PROGRAM, "ada", "").await.unwrap();
    let mut earnings = client.watch(PROGRAM, "ada", "").await.unwrap();
    assert_eq!(tiers.first.tier, "Bronze");
    let dan = client.sign_up(PROGRAM, "dan", &ada.code).await.unwrap();

    // Bob, who bought sixty times, cid, who is pending, and dan: three at 10, beside 60 for the purchases.
    let reward = crate::support::next_reward(&mut earnings).await;
    assert_eq!(crate::support::figures(&reward), (30, 90, 90));
    let seen = see(&client, token(&dan), GetTierRequest::of(PROGRAM, "ada")).await;
    assert_eq!((&*seen.tier, seen.tier_referral_count, seen.points), ("Bronze", 3, 90));
    assert_eq!((&*seen.next_tier, seen.referrals_to_next_tier), ("Silver", 7));
    let stats = see(&client, token(&dan), GetReferralStatsRequest::of(PROGRAM, "ada")).await;
    assert_eq!((seen.referral_count, stats.referral_count, stats.pending_count), (3, 3, 1));
    let now = reward.reward.unwrap().create_time;
    let past = GetTierRequest { as_of_time: now, ..GetTierRequest::of(PROGRAM, "ada") };
    let past = see(&client, token(&dan), past).await;
    assert_eq!((past.tier_referral_count, past.referral_count, past.points), (3, 3, 90));
    for friend in 4..=10 {
        client.sign_up(PROGRAM, &format!("friend-{friend}"), &ada.code).await.unwrap();
    }
    let change = tiers.rest.news().await;
    assert_eq!((&*change.previous_tier, &*change.tier), ("Bronze", "Silver"));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_first_purchase_is_the_first_ever_whatever_the_rules_were() {
    const PROGRAM: &str = "first-purchase-credits";
    let (database, server, client) = server_with(&[]).await;
    let shipped = client.publish_shipped(PROGRAM).await;
    let mut every = shipped.clone();
    every.set_earn_on(EarnOn::EveryPurchase);
    every.set_first_purchase_used_by(FirstPurchaseUse::Unspecified);
    client.publish(every).await.unwrap();
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.deactivate("ada").await.unwrap();
    client.deactivate("bob").await.unwrap();
    let first = client.buy("order-1", "bob", "USD", 100).await.unwrap();
    assert!(!first.outcomes[0].converted, "everybody was inactive");
    client.reactivate("ada").await.unwrap();
    client.reactivate("bob").await.unwrap();
    client.publish(shipped).await.unwrap();

    let second = client.buy("order-2", "bob", "USD", 100).await.unwrap();

    crate::support::disqualified(&second, WithheldReason::NotFirstPurchase);
    server.stop().await;
    database.check().await;
}
