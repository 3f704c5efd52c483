//! The past: a participant's balance, tier and earnings at an earlier moment.

use contract::pb::*;
use prost_types::Timestamp;

use super::ask::{Ask, OfParticipant, Paged, Read};
use super::multi_level_commission::line;
use super::{by_level, only, remaining, see, token};
use crate::bad_input::at_fault;
use crate::support::{just_before, minor, server_with};

fn balances(program_id: &str, user_id: &str, time: Timestamp) -> GetBalancesRequest {
    GetBalancesRequest { as_of_time: Some(time), ..OfParticipant::of(program_id, user_id) }
}

fn tier(user_id: &str, time: Timestamp) -> GetTierRequest {
    GetTierRequest { as_of_time: Some(time), ..OfParticipant::of("tiered-points", user_id) }
}

fn earnings(user_id: &str, time: Timestamp) -> GetEarningsRequest {
    let participant = OfParticipant::of("multi-level-commission", user_id);
    GetEarningsRequest { as_of_time: Some(time), ..participant }
}

#[tokio::test]
async fn a_balance_of_the_past_has_every_entry_up_to_that_moment_and_none_after() {
    const PROGRAM: &str = "first-purchase-bonus";
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    let mut times = Vec::new();
    let mut last = String::new();
    for amount in [999, 1_000, 70] {
        let bought = client.buy("", "bob", "USD", amount).await.unwrap();
        times.push(bought.purchase.unwrap().create_time.unwrap());
        last = bought.consistency_token;
    }
    let mut before = 0;
    for (time, balance) in times.iter().zip([999, 2_999, 3_069]) {
        let request = balances(PROGRAM, "bob", just_before(*time));
        assert_eq!(only(&see(&client, &last, request).await.balances), ("USD", before));
        let request = balances(PROGRAM, "bob", *time);
        assert_eq!(only(&see(&client, &last, request).await.balances), ("USD", balance));
        before = balance;
    }
    // Every entry says what the balance was when it was made.
    let entries = ListBalanceEntriesRequest::of(PROGRAM, "ada").after(&last);
    let entries = entries.all(&client, 1_000).await;
    assert_eq!(entries.len(), 1);
    let time = entries[0].create_time.unwrap();
    let at_entry = see(&client, &last, balances(PROGRAM, "ada", time)).await.balances;
    assert_eq!(at_entry, [entries[0].balance.clone().unwrap()]);
    let earlier = see(&client, &last, balances(PROGRAM, "ada", just_before(time))).await;
    assert_eq!(only(&earlier.balances), ("USD", 0));
    assert!(earlier.position < at_entry_position(&client, &last, time).await);
    server.stop().await;
    database.check().await;
}

async fn at_entry_position(client: &testing::Client, last: &str, time: Timestamp) -> i64 {
    see(client, last, balances("first-purchase-bonus", "ada", time)).await.position
}

#[tokio::test]
async fn a_tier_of_the_past_is_the_one_reached_by_then() {
    let (database, server, client) = server_with(&["tiered-points"]).await;
    let ada = client.sign_up("tiered-points", "ada", "").await.unwrap();
    let mut last = String::new();
    for index in 1..=12 {
        let friend = format!("friend-{index}");
        let friend = client.sign_up("tiered-points", &friend, &ada.code).await.unwrap();
        last = token(&friend).to_owned();
    }
    let rewards = ListRewardsRequest::of("tiered-points", "ada").after(&last);
    let mut rewards = rewards.all(&client, 1_000).await;
    rewards.reverse();
    assert_eq!(rewards.len(), 12);
    let mut points = 0;
    for (referrals, reward) in (1..).zip(&rewards) {
        let time = reward.create_time.unwrap();
        let earlier = see(&client, &last, tier("ada", just_before(time))).await;
        assert_eq!((earlier.points, earlier.referral_count), (points, referrals - 1));
        points += minor(reward.amount.as_ref());
        let seen = see(&client, &last, tier("ada", time)).await;
        assert_eq!((seen.points, seen.referral_count), (points, referrals));
        assert_eq!(seen.tier_referral_count, referrals);
        let expected = if referrals < 10 { ("Bronze", "Silver") } else { ("Silver", "Gold") };
        assert_eq!((&*seen.tier, &*seen.next_tier), expected, "{referrals}");
        let next = if referrals < 10 { 10 } else { 50 };
        assert_eq!(seen.referrals_to_next_tier, next - referrals);
    }
    assert_eq!(points, 280);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn earnings_of_the_past_have_their_sums_their_caps_and_their_pages() {
    let (database, server, client) = server_with(&["multi-level-commission"]).await;
    line(&client, &["ada", "bob", "cid", "dan"]).await;
    let mut times = Vec::new();
    let mut last = String::new();
    for (buyer, amount) in
        [("cid", 100_130), ("dan", 100_000), ("cid", 1_800_000), ("cid", 200_000), ("dan", 100_000)]
    {
        let bought = client.buy("", buyer, "INR", amount).await.unwrap();
        times.push(bought.purchase.unwrap().create_time.unwrap());
        last = bought.consistency_token;
    }
    let now = see(&client, &last, GetEarningsRequest::of("multi-level-commission", "bob")).await;
    let mut rewards = now.rewards.clone();
    rewards.reverse();
    let direct = [5_007, 5_007, 95_007, 100_000, 100_000];
    let indirect = [0, 1_000, 1_000, 1_000, 2_000];
    let counts = [(1, 0), (1, 1), (2, 1), (3, 1), (3, 2)];
    for (index, time) in times.iter().enumerate() {
        let seen = see(&client, &last, earnings("bob", *time)).await;
        let (of_one, of_two) = counts[index];
        assert_eq!(
            by_level(&seen),
            [(1, direct[index], of_one), (2, indirect[index], of_two)],
            "{index}"
        );
        assert_eq!(
            remaining(&seen),
            [(1, 100_000, 100_000 - direct[index]), (2, 100_000, 100_000 - indirect[index])]
        );
        assert_eq!(minor(seen.total.as_ref()), direct[index] + indirect[index]);
        let mut expected = rewards[..=index].to_vec();
        expected.reverse();
        assert_eq!(seen.rewards, expected);
        assert_eq!(earnings("bob", *time).after(&last).all(&client, 2).await, expected);
        let earlier = see(&client, &last, earnings("bob", just_before(*time))).await;
        assert_eq!(earlier.rewards, expected[1..]);
    }
    let first = see(&client, &last, earnings("bob", just_before(times[0]))).await;
    assert_eq!(by_level(&first), [(1, 0, 0), (2, 0, 0)]);
    assert_eq!(remaining(&first), [(1, 100_000, 100_000), (2, 100_000, 100_000)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn before_the_enrolment_there_was_nothing() {
    let programs = ["multi-level-commission", "tiered-points", "first-purchase-bonus"];
    let (database, server, client) = server_with(&programs).await;
    let ada = client.sign_up("tiered-points", "ada", "").await.unwrap();
    let mut last = token(&client.sign_up("tiered-points", "bob", &ada.code).await.unwrap()).into();
    for program in [programs[0], programs[2]] {
        last = crate::support::enroll(&client, program, "ada", "").await.unwrap().consistency_token;
    }
    let signed_up = ada.response.user.unwrap().create_time.unwrap();
    let long_ago = Timestamp { seconds: 0, nanos: 0 };
    let first_year = Timestamp { seconds: -62_135_596_800, nanos: 0 };
    for time in [just_before(signed_up), long_ago, first_year] {
        for (program, unit) in programs.into_iter().zip(["INR", "POINTS", "USD"]) {
            let seen = see(&client, &last, balances(program, "ada", time)).await;
            assert_eq!(only(&seen.balances), (unit, 0), "{time:?}");
        }
        let seen = see(&client, &last, tier("ada", time)).await;
        assert_eq!((&*seen.tier, seen.referral_count, seen.points), ("Bronze", 0, 0));
        assert_eq!((&*seen.next_tier, seen.referrals_to_next_tier), ("Silver", 10));
        let seen = see(&client, &last, earnings("ada", time)).await;
        assert_eq!(by_level(&seen), [(1, 0, 0), (2, 0, 0)]);
        assert!(seen.rewards.is_empty() && seen.next_page_token.is_empty());
    }
    // Also at the exact moment of the sign-up, and in a later program.
    let seen = see(&client, &last, tier("ada", signed_up)).await;
    assert_eq!((seen.referral_count, seen.points), (0, 0));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_future_is_refused_and_the_present_is_what_there_is_now() {
    let (database, server, client) =
        server_with(&["tiered-points", "multi-level-commission"]).await;
    let ada = client.sign_up("tiered-points", "ada", "").await.unwrap();
    let bob = client.sign_up("tiered-points", "bob", &ada.code).await.unwrap();
    let now = bob.response.user.as_ref().unwrap().create_time.unwrap();
    // Clocks differ a little, which is no fault.
    let soon = Timestamp { seconds: now.seconds + 120, nanos: 0 };
    let seen = see(&client, token(&bob), balances("tiered-points", "ada", soon)).await;
    assert_eq!(only(&seen.balances), ("POINTS", 10));
    assert_eq!(see(&client, token(&bob), tier("ada", soon)).await.points, 10);

    let last = crate::support::enroll(&client, "multi-level-commission", "ada", "").await.unwrap();
    assert!(!last.consistency_token.is_empty());
    let tomorrow = Timestamp { seconds: now.seconds + 86_400, nanos: 0 };
    let last_year = Timestamp { seconds: 253_402_300_799, nanos: 0 };
    let no_time = Timestamp { seconds: 253_402_300_800, nanos: 0 };
    let no_nanos = Timestamp { seconds: 0, nanos: 1_000_000_000 };
    for (time, reason) in [
        (tomorrow, "TIME_IN_FUTURE"),
        (last_year, "TIME_IN_FUTURE"),
        (no_time, "INVALID_TIME"),
        (no_nanos, "INVALID_TIME"),
    ] {
        let field = "as_of_time";
        at_fault(balances("tiered-points", "ada", time).ask(&client).await, field, reason);
        at_fault(tier("ada", time).ask(&client).await, field, reason);
        at_fault(earnings("ada", time).ask(&client).await, field, reason);
    }
    server.stop().await;
    database.check().await;
}
