//! `multi-level-commission`: earnings by level and under their caps, and rewards by every filter.

use contract::pb::*;

use super::ask::{Ask, OfParticipant, Paged, Read};
use super::{board, by_level, only, places, remaining, see, token};
use crate::support::{just_before, minor, server_with};
use testing::Client;

const PROGRAM: &str = "multi-level-commission";

/// Signs up a line of users, each referred by the one before; returns the last one's token.
pub(super) async fn line(client: &Client, users: &[&str]) -> String {
    let (mut code, mut last) = (String::new(), String::new());
    for user in users {
        let next = client.sign_up(PROGRAM, user, &code).await.unwrap();
        last = token(&next).to_owned();
        code = next.code;
    }
    last
}

#[tokio::test]
async fn earnings_list_every_level_also_where_nothing_was_earned() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let last = line(&client, &["ada", "bob", "cid"]).await;
    for user in ["ada", "bob", "cid"] {
        let earnings = see(&client, &last, GetEarningsRequest::of(PROGRAM, user)).await;
        assert_eq!(earnings.total, Some(Money { currency_code: "INR".into(), minor_units: 0 }));
        assert_eq!(by_level(&earnings), [(1, 0, 0), (2, 0, 0)]);
        assert_eq!(remaining(&earnings), [(1, 100_000, 100_000), (2, 100_000, 100_000)]);
        assert!(earnings.rewards.is_empty());
    }

    let bought = client.buy("", "cid", "INR", 100_130).await.unwrap();
    let last = &bought.consistency_token;
    let rewards = &bought.outcomes[0].rewards;
    for (user, levels, left, paid) in [
        ("bob", [(1, 5_007, 1), (2, 0, 0)], [94_993, 100_000], &rewards[..1]),
        ("ada", [(1, 0, 0), (2, 1_001, 1)], [100_000, 98_999], &rewards[1..]),
        ("cid", [(1, 0, 0), (2, 0, 0)], [100_000, 100_000], &[]),
    ] {
        let earnings = see(&client, last, GetEarningsRequest::of(PROGRAM, user)).await;
        assert_eq!(by_level(&earnings), levels);
        assert_eq!(remaining(&earnings), [(1, 100_000, left[0]), (2, 100_000, left[1])]);
        assert_eq!(earnings.rewards, paid, "{user}");
        let total = levels[0].1 + levels[1].1;
        assert_eq!(minor(earnings.total.as_ref()), total);
        let balances = see(&client, last, GetBalancesRequest::of(PROGRAM, user)).await;
        assert_eq!(only(&balances.balances), ("INR", total));
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn ninety_five_thousand_and_ten_thousand_are_paid_up_to_the_cap_and_nothing_remains() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob", "cid", "dan"]).await;
    client.buy("", "cid", "INR", 1_900_000).await.unwrap();
    let bought = client.buy("", "cid", "INR", 200_000).await.unwrap();
    let last = &bought.consistency_token;
    let of_bob = see(&client, last, GetEarningsRequest::of(PROGRAM, "bob")).await;
    assert_eq!(by_level(&of_bob), [(1, 100_000, 2), (2, 0, 0)]);
    assert_eq!(remaining(&of_bob), [(1, 100_000, 0), (2, 100_000, 100_000)]);
    let amounts: Vec<_> = of_bob.rewards.iter().map(|of| minor(of.amount.as_ref())).collect();
    assert_eq!(amounts, [5_000, 95_000]);

    client.buy("", "cid", "INR", 200_000).await.unwrap();
    let bought = client.buy("", "dan", "INR", 100_000).await.unwrap();
    let last = &bought.consistency_token;
    let of_bob = see(&client, last, GetEarningsRequest::of(PROGRAM, "bob")).await;
    assert_eq!(by_level(&of_bob), [(1, 100_000, 2), (2, 1_000, 1)]);
    assert_eq!(remaining(&of_bob), [(1, 100_000, 0), (2, 100_000, 99_000)]);
    assert_eq!(minor(of_bob.total.as_ref()), 101_000);
    let of_ada = see(&client, last, GetEarningsRequest::of(PROGRAM, "ada")).await;
    assert_eq!(by_level(&of_ada), [(1, 0, 0), (2, 23_000, 3)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn earnings_show_their_sums_on_every_page_and_each_reward_once() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob", "cid", "dan"]).await;
    let mut last = String::new();
    for amount in [100_000, 110_000, 120_000, 130_000, 140_000] {
        client.buy("", "cid", "INR", amount).await.unwrap();
        last = client.buy("", "dan", "INR", amount).await.unwrap().consistency_token;
    }
    let request = GetEarningsRequest::of(PROGRAM, "bob").after(&last);
    let whole = request.clone().ask(&client).await.unwrap();
    assert_eq!(by_level(&whole), [(1, 30_000, 5), (2, 6_000, 5)]);
    assert_eq!(whole.rewards.len(), 10);

    let mut page = request.clone().page(3, "").ask(&client).await.unwrap();
    let mut rewards = Vec::new();
    loop {
        assert_eq!((&page.total, &page.by_level), (&whole.total, &whole.by_level));
        rewards.extend(page.rewards);
        if page.next_page_token.is_empty() {
            break;
        }
        page = request.clone().page(3, &page.next_page_token).ask(&client).await.unwrap();
    }
    assert_eq!(rewards, whole.rewards);

    // Rewards that are added in between do not appear on later pages.
    let mut page_token = None;
    let mut paged = request.clone().next(&client, 4, &mut page_token).await;
    while page_token.is_some() {
        client.buy("", "cid", "INR", 100_000).await.unwrap();
        paged.extend(request.clone().next(&client, 4, &mut page_token).await);
    }
    assert_eq!(paged, whole.rewards);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn rewards_are_listed_by_kind_level_source_and_time_the_newest_first() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob", "cid", "dan"]).await;
    let mut rewards = Vec::new();
    let mut last = String::new();
    for buyer in ["cid", "dan", "cid", "dan", "cid"] {
        let bought = client.buy("", buyer, "INR", 100_000).await.unwrap();
        last = bought.consistency_token;
        let of_bob = bought.outcomes.into_iter().flat_map(|of| of.rewards);
        rewards.extend(of_bob.filter(|reward| reward.earner_user_id == "bob"));
    }
    rewards.reverse();
    let sources: Vec<_> = rewards.iter().map(|of| (&*of.source_user_id, of.level)).collect();
    assert_eq!(sources, [("cid", 1), ("dan", 2), ("cid", 1), ("dan", 2), ("cid", 1)]);

    let all = ListRewardsRequest::of(PROGRAM, "bob").after(&last);
    let (start_time, end_time) = (rewards[3].create_time, rewards[1].create_time);
    let before_start = start_time.map(just_before);
    for (what, request, expected) in [
        ("all", all.clone(), &[0, 1, 2, 3, 4][..]),
        (
            "commissions",
            ListRewardsRequest { kind: RewardKind::Commission.into(), ..all.clone() },
            &[0, 1, 2, 3, 4],
        ),
        ("bonuses", ListRewardsRequest { kind: RewardKind::Bonus.into(), ..all.clone() }, &[]),
        ("level 0", ListRewardsRequest { level: Some(0), ..all.clone() }, &[]),
        ("level 1", ListRewardsRequest { level: Some(1), ..all.clone() }, &[0, 2, 4]),
        ("level 2", ListRewardsRequest { level: Some(2), ..all.clone() }, &[1, 3]),
        ("from dan", ListRewardsRequest { source_user_id: "dan".into(), ..all.clone() }, &[1, 3]),
        ("from nobody", ListRewardsRequest { source_user_id: "nobody".into(), ..all.clone() }, &[]),
        ("since", ListRewardsRequest { start_time, ..all.clone() }, &[0, 1, 2, 3]),
        ("until", ListRewardsRequest { end_time, ..all.clone() }, &[2, 3, 4]),
        ("between", ListRewardsRequest { start_time, end_time, ..all.clone() }, &[2, 3]),
        (
            "an instant",
            ListRewardsRequest { start_time: before_start, end_time: start_time, ..all.clone() },
            &[],
        ),
        (
            "everything at once",
            ListRewardsRequest {
                kind: RewardKind::Commission.into(),
                level: Some(1),
                source_user_id: "cid".into(),
                start_time,
                end_time,
                ..all.clone()
            },
            &[2],
        ),
        (
            "what excludes itself",
            ListRewardsRequest { level: Some(1), source_user_id: "dan".into(), ..all.clone() },
            &[],
        ),
    ] {
        let expected: Vec<_> = expected.iter().map(|index| rewards[*index].clone()).collect();
        for page_size in [1, 2, 1_000] {
            let listed = request.clone().all(&client, page_size).await;
            assert_eq!(listed, expected, "{what}, {page_size} a page");
        }
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_board_has_the_top_earners_only() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let last = line(&client, &["ada", "bob", "cid", "dan"]).await;
    let nobody = see(&client, &last, board(PROGRAM, LeaderboardMetric::Unspecified)).await;
    assert_eq!(nobody.metric(), LeaderboardMetric::Earnings);
    assert_eq!((nobody.entries.len(), nobody.participant_count), (0, 0));

    client.buy("", "cid", "INR", 100_000).await.unwrap();
    let bought = client.buy("", "dan", "INR", 500_000).await.unwrap();
    let last = &bought.consistency_token;
    let earners = see(&client, last, board(PROGRAM, LeaderboardMetric::Unspecified)).await;
    let expected = [(1, "cid", 25_000), (2, "bob", 10_000), (3, "ada", 1_000)];
    assert_eq!((places(&earners.entries), earners.participant_count), (expected.to_vec(), 3));

    // A deactivated user earns nothing more and keeps the balance.
    client.deactivate("cid").await.unwrap();
    let bought = client.buy("", "dan", "INR", 2_000_000).await.unwrap();
    let last = &bought.consistency_token;
    let earners = see(&client, last, board(PROGRAM, LeaderboardMetric::Earnings)).await;
    assert_eq!(
        places(&earners.entries),
        [(1, "bob", 30_000), (2, "cid", 25_000), (3, "ada", 1_000)]
    );
    server.stop().await;
    database.check().await;
}
