//! `tiered-points`: tiers, points, and the board by points.

use std::time::{Duration, Instant};

use contract::pb::*;

use super::ask::OfParticipant;
use super::{board, by_level, only, places, rank, see, token};
use crate::support::{enroll, minor, server_with};
use testing::{Client, SignUp};

const PROGRAM: &str = "tiered-points";

/// A tier and the distance to the next one: its name, referrals, points, the next tier, and how many more
/// referrals it requires.
fn tier(answer: &GetTierResponse) -> (&str, i32, i64, &str, i32) {
    (
        &answer.tier,
        answer.tier_referral_count,
        answer.points,
        &answer.next_tier,
        answer.referrals_to_next_tier,
    )
}

#[tokio::test]
async fn tier_points_and_balance_agree_at_every_threshold() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut last = token(&ada).to_owned();
    for referrals in 0..=51 {
        if referrals > 0 {
            let friend = format!("friend-{referrals}");
            let friend = client.sign_up(PROGRAM, &friend, &ada.code).await.unwrap();
            last = token(&friend).to_owned();
        }
        let expected = match referrals {
            0 => ("Bronze", 0, 0, "Silver", 10),
            9 => ("Bronze", 9, 90, "Silver", 1),
            10 => ("Silver", 10, 250, "Gold", 40),
            11 => ("Silver", 11, 265, "Gold", 39),
            49 => ("Silver", 49, 835, "Gold", 1),
            50 => ("Gold", 50, 1_750, "", 0),
            51 => ("Gold", 51, 1_775, "", 0),
            _ => continue,
        };
        let seen = see(&client, &last, GetTierRequest::of(PROGRAM, "ada")).await;
        assert_eq!((tier(&seen), seen.referral_count), (expected, referrals));
        let balances = see(&client, &last, GetBalancesRequest::of(PROGRAM, "ada")).await;
        assert_eq!(only(&balances.balances), ("POINTS", expected.2));
        let earnings = see(&client, &last, GetEarningsRequest::of(PROGRAM, "ada")).await;
        assert_eq!(minor(earnings.total.as_ref()), expected.2);
        assert_eq!(by_level(&earnings), [(1, expected.2, referrals)]);
        let stats = see(&client, &last, GetReferralStatsRequest::of(PROGRAM, "ada")).await;
        assert_eq!((stats.referral_count, stats.converted_count), (referrals, referrals));
        assert_eq!((stats.pending_count, stats.max_uses, stats.remaining_uses), (0, None, None));
        assert_eq!(minor(stats.earned.as_ref()), expected.2);
        assert_eq!(stats.recent_referrals.len(), usize::try_from(referrals.min(10)).unwrap());
    }
    let friend = see(&client, &last, GetTierRequest::of(PROGRAM, "friend-1")).await;
    assert_eq!(tier(&friend), ("Bronze", 0, 0, "Silver", 10));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_referral_that_was_made_while_the_referrer_was_inactive_does_not_count_for_tiers() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.deactivate("ada").await.unwrap();
    client.sign_up(PROGRAM, "cid", &ada.code).await.unwrap();
    let back = client.reactivate("ada").await.unwrap();

    let seen = see(&client, &back.consistency_token, GetTierRequest::of(PROGRAM, "ada")).await;

    assert_eq!(tier(&seen), ("Bronze", 1, 10, "Silver", 9));
    assert_eq!(seen.referral_count, 2, "as in the stats");
    let stats = GetReferralStatsRequest::of(PROGRAM, "ada");
    let stats = see(&client, &back.consistency_token, stats).await;
    assert_eq!((stats.referral_count, minor(stats.earned.as_ref())), (2, 10));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_program_without_tiers_has_an_empty_tier() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let ada = client.sign_up("referral-count", "ada", "").await.unwrap();
    let bob = client.sign_up("referral-count", "bob", &ada.code).await.unwrap();

    let seen = see(&client, token(&bob), GetTierRequest::of("referral-count", "ada")).await;

    assert_eq!((&*seen.tier, &*seen.next_tier, seen.referrals_to_next_tier), ("", "", 0));
    assert_eq!((seen.points, seen.referral_count, seen.tier_referral_count), (1, 1, 0));
    server.stop().await;
    database.check().await;
}

/// Zoe and ada have one referral each, bob two, cid and the friends none; ada was the first of all to
/// have one.
async fn four_and_their_friends(client: &Client) -> SignUp {
    let zoe = client.sign_up(PROGRAM, "zoe", "").await.unwrap();
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let bob = client.sign_up(PROGRAM, "bob", "").await.unwrap();
    client.sign_up(PROGRAM, "cid", "").await.unwrap();
    client.sign_up(PROGRAM, "friend-1", &ada.code).await.unwrap();
    client.sign_up(PROGRAM, "friend-2", &bob.code).await.unwrap();
    client.sign_up(PROGRAM, "friend-3", &bob.code).await.unwrap();
    client.sign_up(PROGRAM, "friend-4", &zoe.code).await.unwrap()
}

#[tokio::test]
async fn a_name_that_is_gone_is_soon_shown_no_longer() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let last = four_and_their_friends(&client).await;
    let names = async || {
        let metric = LeaderboardMetric::Points;
        let page = see(&client, token(&last), board(PROGRAM, metric)).await;
        let entry = see(&client, token(&last), rank(PROGRAM, "bob", metric)).await.entry.unwrap();
        let [bob, zoe, ..] = &page.entries[..] else { panic!("{page:?}") };
        [entry.username, bob.username.clone(), zoe.username.clone()]
    };
    assert_eq!(names().await, ["bob", "bob", "zoe"]);
    let erase = "delete from profiles where user_id = 'bob'";
    sqlx::query(erase).execute(&database.pool).await.unwrap();
    let erased_at = Instant::now();
    while names().await != ["", "", "zoe"] {
        assert!(erased_at.elapsed() < Duration::from_mins(1), "{:?}", names().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn ties_go_to_whoever_enrolled_in_the_program_first_however_old_the_accounts_are() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    for account in ["old", "new"] {
        client.sign_up("", account, "").await.unwrap();
    }
    let mut last = String::new();
    for account in ["new", "old"] {
        last = enroll(&client, PROGRAM, account, "").await.unwrap().consistency_token;
    }

    let points = see(&client, &last, board(PROGRAM, LeaderboardMetric::Points)).await;

    assert_eq!(places(&points.entries), [(1, "new", 0), (2, "old", 0)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_board_by_points_has_everybody_and_ties_go_to_whoever_registered_first() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let last = four_and_their_friends(&client).await;

    let points = see(&client, token(&last), board(PROGRAM, LeaderboardMetric::Unspecified)).await;
    assert_eq!(points.metric(), LeaderboardMetric::Points);
    assert_eq!(points.participant_count, 8);
    let expected = [
        (1, "bob", 20),
        (2, "zoe", 10),
        (3, "ada", 10),
        (4, "cid", 0),
        (5, "friend-1", 0),
        (6, "friend-2", 0),
        (7, "friend-3", 0),
        (8, "friend-4", 0),
    ];
    assert_eq!(places(&points.entries), expected);
    assert_eq!(points.entries[0].username, "bob");
    assert!(points.next_page_token.is_empty());
    for metric in [LeaderboardMetric::Referrals, LeaderboardMetric::Conversions] {
        let counts = see(&client, token(&last), board(PROGRAM, metric)).await;
        assert_eq!((counts.metric(), counts.participant_count), (metric, 8));
        let expected = expected.map(|(rank, user, points)| (rank, user, points / 10));
        assert_eq!(places(&counts.entries), expected);
    }
    let earnings = see(&client, token(&last), board(PROGRAM, LeaderboardMetric::Earnings)).await;
    assert_eq!(earnings.metric(), LeaderboardMetric::Earnings);
    assert_eq!(earnings.participant_count, 3);
    assert_eq!(places(&earnings.entries), expected[..3]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_rank_is_the_place_on_the_board_and_nobody_without_earnings_has_one_there() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let last = four_and_their_friends(&client).await;

    for metric in [
        LeaderboardMetric::Unspecified,
        LeaderboardMetric::Points,
        LeaderboardMetric::Referrals,
        LeaderboardMetric::Conversions,
        LeaderboardMetric::Earnings,
    ] {
        let on_board = see(&client, token(&last), board(PROGRAM, metric)).await;
        for entry in &on_board.entries {
            let own = see(&client, token(&last), rank(PROGRAM, &entry.user_id, metric)).await;
            assert_eq!(own.entry.as_ref(), Some(entry), "{metric:?}");
            assert_eq!(own.metric(), on_board.metric());
            assert_eq!(own.participant_count, on_board.participant_count);
        }
    }
    let nowhere = rank(PROGRAM, "cid", LeaderboardMetric::Earnings);
    let nowhere = see(&client, token(&last), nowhere).await;
    assert_eq!((nowhere.entry, nowhere.participant_count), (None, 3));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn whoever_pulls_level_stays_behind_those_who_registered_earlier() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let bob = client.sign_up(PROGRAM, "bob", "").await.unwrap();
    let friend = client.sign_up(PROGRAM, "friend-1", &bob.code).await.unwrap();
    let metric = LeaderboardMetric::Points;
    let first = see(&client, token(&friend), board(PROGRAM, metric)).await;
    assert_eq!(places(&first.entries[..2]), [(1, "bob", 10), (2, "ada", 0)]);

    let friend = client.sign_up(PROGRAM, "friend-2", &ada.code).await.unwrap();

    let level = see(&client, token(&friend), board(PROGRAM, metric)).await;
    assert_eq!(places(&level.entries[..2]), [(1, "ada", 10), (2, "bob", 10)]);
    server.stop().await;
    database.check().await;
}
