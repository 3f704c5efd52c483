//! Ids as other systems make them, as ids of users and of purchases, in all five programs.

use std::collections::BTreeSet;

use contract::pb::*;
use tonic::Code;

use super::bad_input::{at_fault, newcomer};
use super::support::{enroll, refused, server_with};
use testing::{Client, sign_up_request};

const PROGRAMS: [&str; 5] = [
    "tiered-points",
    "referral-count",
    "first-purchase-bonus",
    "multi-level-commission",
    "first-purchase-credits",
];

/// One id of each kind. Each user is referred by the one before.
fn kinds() -> Vec<String> {
    let mut kinds: Vec<String> = [
        "7",
        "ada",
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "us-east-1:4b9f5a1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b",
        "gid://shopify/Order/450789469",
        // Differ in what stands after the second slash only.
        "gid://shopify/Order/45078946",
        "gid://shopify/Order",
        "c29tZSBvcGFxdWUgaWQ/+w==",
        "/tiered-points/ada/",
        "~ada+shop=1/3",
        "018f2f5c-7d1a-7c3e-8a51-0a1b2c3d4e5f",
        "cs_live_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9",
    ]
    .map(Into::into)
    .into();
    kinds.push(format!("{}/x", "y".repeat(126)));
    kinds
}

/// The users with their codes, each enrolled in every program and referred by the one before.
async fn line(client: &Client, ids: &[String]) -> String {
    let mut codes = vec![String::new(); PROGRAMS.len()];
    let mut token = String::new();
    for (number, id) in ids.iter().enumerate() {
        let request = RegisterUserRequest {
            user_id: id.clone(),
            ..sign_up_request(PROGRAMS[0], &format!("user-{number}"), &codes[0])
        };
        let answer = client.register(request).await.expect(id);
        assert_eq!(answer.user.unwrap().user_id, *id);
        codes[0].clone_from(&answer.participants[0].code);
        for (program, code) in PROGRAMS.iter().zip(&mut codes).skip(1) {
            let answer = enroll(client, program, id, code).await.expect(id);
            *code = answer.participant.unwrap().code;
            token = answer.consistency_token;
        }
    }
    token
}

/// The purchases of each user: one that counts in the program in rupees, one for those in dollars.
fn purchases(id: &str) -> [(String, &'static str, i64); 2] {
    let other = format!("2:{}", &id[..id.len().min(126)]);
    [(id.to_owned(), "INR", 100_000), (other, "USD", 1_000)]
}

macro_rules! read {
    ($client:expr, $service:ident.$method:ident($request:expr)) => {
        $client.$service().$method($client.request($request)).await.unwrap().into_inner()
    };
}

#[tokio::test]
async fn ids_of_the_real_world_serve_as_users_and_purchases_in_every_program() {
    let (database, server, client) = server_with(&PROGRAMS).await;
    let ids = kinds();
    line(&client, &ids).await;

    // Streams of everybody, opened before anything is bought.
    let lines = "multi-level-commission";
    let (mut earnings, mut balances, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for id in &ids[..ids.len() - 2] {
        earnings.push(client.watch_earnings(lines, id, "").await.unwrap().rest);
        balances.push(client.watch_balances(lines, id, "").await.unwrap().rest);
        changes.push(client.watch_participant(lines, id, "").await.unwrap().rest);
        let tier = client.watch_tier(PROGRAMS[0], id, "").await.unwrap().first;
        assert_eq!(tier.tier, "Bronze");
    }
    let message = WatchLeaderboardRequest { program_id: lines.into(), ..Default::default() };
    let mut board = client.watch_leaderboard(message).await.unwrap().rest;
    let mut events = Vec::new();
    for id in &ids {
        events.push(client.watch_events(&["PurchaseRecorded"], id, "").await.unwrap().rest);
    }

    let mut token = String::new();
    for id in &ids[1..] {
        for (purchase_id, currency, amount) in purchases(id) {
            let answer = client.buy(&purchase_id, id, currency, amount).await.expect(&purchase_id);
            assert_eq!(answer.purchase.unwrap().purchase_id, purchase_id);
            token = answer.consistency_token;
        }
        // Delivered again, it counts once.
        let (purchase_id, currency, amount) = &purchases(id)[0];
        client.buy(purchase_id, id, currency, *amount).await.unwrap();
    }

    for (index, stream) in earnings.iter_mut().enumerate() {
        let mut sources = BTreeSet::new();
        for level in 1..=2 {
            let reward = stream.news().await.reward.unwrap();
            assert_eq!(reward.earner_user_id, ids[index]);
            assert_eq!((reward.level, &reward.purchase_id), (level, &reward.source_user_id));
            sources.insert(reward.source_user_id);
        }
        assert_eq!(sources, ids[index + 1..=index + 2].iter().cloned().collect());
        assert!(!balances[index].news().await.balances.is_empty());
        assert!(changes[index].news().await.change.is_some());
        // What was opened again from its token goes on where it was.
        let resumed = client.watch_earnings(lines, &ids[index], &stream.token).await.unwrap();
        assert!(resumed.first.reward.is_none());
        let other = &ids[(index + 1) % ids.len()];
        let refused_token = client.watch_earnings(lines, other, &stream.token).await.map(|_| ());
        at_fault(refused_token, "resume_token", "INVALID_RESUME_TOKEN");
    }
    let ranked = board.news().await;
    assert!(ranked.entries.iter().all(|entry| ids.contains(&entry.user_id)));
    for (id, stream) in ids.iter().zip(&mut events).skip(1) {
        for (purchase_id, ..) in purchases(id) {
            assert_eq!(stream.news().await.event.unwrap().aggregate_id, purchase_id);
        }
    }

    for (index, id) in ids.iter().enumerate() {
        reads_of_a_user(&client, &ids, index, &token).await;
        for program in PROGRAMS {
            referrals_of_a_participant(&client, program, &ids, index, &token).await;
            entries_of_a_participant(&client, program, id, &token).await;
            rewards_of_a_participant(&client, program, &ids, index, &token).await;
        }
        let unknown = client.user(&format!("{}/", id.trim_end_matches('/'))).await;
        if !id.ends_with('/') && id.len() < 128 {
            refused(unknown, Code::NotFound, "USER_NOT_FOUND");
        }
    }
    for program in PROGRAMS {
        reads_of_a_program(&client, program, &ids, &token).await;
    }
    server.stop().await;
    database.check().await;
}

async fn reads_of_a_user(client: &Client, ids: &[String], index: usize, token: &str) {
    let id = &ids[index];
    let user = client.user(id).await.unwrap();
    assert_eq!(user.user.unwrap().user_id, *id);
    let mut programs: Vec<_> = user.participants.iter().map(|of| &*of.program_id).collect();
    programs.sort_by_key(|program| PROGRAMS.iter().position(|of| of == program));
    assert_eq!(programs, PROGRAMS);
    let referrer = index.checked_sub(1).map_or("", |before| &*ids[before]);
    assert!(
        user.participants.iter().all(|of| of.user_id == *id && of.referrer_user_id == referrer)
    );

    let bought = if index == 0 { Vec::new() } else { purchases(id).to_vec() };
    let listed = ListPurchasesRequest {
        buyer_user_id: id.clone(),
        consistency_token: token.into(),
        ..Default::default()
    };
    let listed = read!(client, purchases.list_purchases(listed)).purchases;
    let of = |detail: &PurchaseDetail| detail.purchase.clone().unwrap().purchase_id;
    let listed: Vec<_> = listed.iter().rev().map(of).collect();
    let expected: Vec<_> = bought.iter().map(|(purchase_id, ..)| purchase_id.clone()).collect();
    assert_eq!(listed, expected);
    for (purchase_id, currency, amount) in bought {
        let found = client.purchase(&purchase_id).await.unwrap();
        let purchase = found.purchase.unwrap();
        assert_eq!((&purchase.purchase_id, &purchase.buyer_user_id), (&purchase_id, id));
        let money = Money { currency_code: currency.into(), minor_units: amount };
        assert_eq!((purchase.amount, found.outcomes.len()), (Some(money), PROGRAMS.len()));
    }

    let request = ReadEventsRequest { user_id: id.clone(), ..Default::default() };
    let mut stream = read!(client, operators.read_events(request));
    let mut streams = BTreeSet::new();
    while let Some(message) = stream.message().await.unwrap() {
        streams.extend(message.event.map(|event| (event.aggregate_type, event.aggregate_id)));
    }
    let own = |kind: &str, id: String| streams.contains(&(kind.to_owned(), id));
    assert!(own("User", id.clone()));
    assert!(PROGRAMS.iter().all(|program| own("Participant", format!("{program}/{id}"))));
}

async fn referrals_of_a_participant(
    client: &Client,
    program: &str,
    ids: &[String],
    index: usize,
    token: &str,
) {
    let (program_id, user_id, consistency_token) =
        (program.to_owned(), ids[index].clone(), token.to_owned());
    let below: Vec<&String> = ids[index + 1..].iter().take(1).collect();
    let stats = read!(
        client,
        referrals.get_referral_stats(GetReferralStatsRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            consistency_token: consistency_token.clone(),
        })
    );
    assert_eq!(stats.referral_count, i32::try_from(below.len()).unwrap());
    let verdict = client.validate(&stats.code, &user_id).await.unwrap();
    assert_eq!(verdict.reason(), CodeInvalidReason::OwnCode);
    let referrals = read!(
        client,
        referrals.list_referrals(ListReferralsRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            max_level: 10,
            page_size: 1_000,
            consistency_token: consistency_token.clone(),
            ..Default::default()
        })
    );
    let referees: Vec<String> = referrals
        .referrals
        .iter()
        .rev()
        .map(|detail| detail.referral.clone().unwrap().referee_user_id)
        .collect();
    assert_eq!(referees, ids[index + 1..].iter().take(10).cloned().collect::<Vec<_>>());
    let tree = read!(
        client,
        referrals.get_referral_tree(GetReferralTreeRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            depth: 1,
            consistency_token: consistency_token.clone(),
        })
    );
    let root = tree.root.unwrap();
    assert_eq!(root.user_id, user_id);
    assert_eq!(root.referrals.iter().map(|node| &node.user_id).collect::<Vec<_>>(), below);
}

async fn entries_of_a_participant(client: &Client, program: &str, user: &str, token: &str) {
    let (program_id, user_id, consistency_token) =
        (program.to_owned(), user.to_owned(), token.to_owned());
    let entries = read!(
        client,
        rewards.list_balance_entries(ListBalanceEntriesRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            consistency_token: consistency_token.clone(),
            ..Default::default()
        })
    );
    for entry in &entries.entries {
        // The sequence stands after the last slash.
        let (stream, sequence) = entry.entry_id.rsplit_once('/').unwrap();
        assert_eq!(stream, format!("{program_id}/{user_id}"));
        assert!(sequence.parse::<i64>().unwrap() > 0);
    }
    let balances = read!(
        client,
        rewards.get_balances(GetBalancesRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            consistency_token: consistency_token.clone(),
            ..Default::default()
        })
    );
    let sum: i64 = entries.entries.iter().map(|of| of.amount.as_ref().unwrap().minor_units).sum();
    assert_eq!(balances.balances[0].minor_units, sum);
}

async fn rewards_of_a_participant(
    client: &Client,
    program: &str,
    ids: &[String],
    index: usize,
    token: &str,
) {
    let (program_id, user_id, consistency_token) =
        (program.to_owned(), ids[index].clone(), token.to_owned());
    let rewards = read!(
        client,
        rewards.list_rewards(ListRewardsRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            consistency_token: consistency_token.clone(),
            ..Default::default()
        })
    )
    .rewards;
    assert!(!rewards.is_empty() || index + 1 == ids.len(), "{program} {user_id}");
    for reward in &rewards {
        assert_eq!(reward.earner_user_id, user_id);
        assert!(ids.contains(&reward.source_user_id));
        let same_source = ListRewardsRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            source_user_id: reward.source_user_id.clone(),
            ..Default::default()
        };
        assert!(read!(client, rewards.list_rewards(same_source)).rewards.contains(reward));
    }
    let earned = read!(
        client,
        rewards.get_earnings(GetEarningsRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            consistency_token: consistency_token.clone(),
            ..Default::default()
        })
    );
    assert_eq!(earned.rewards, rewards);
    let tier = GetTierRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    assert_eq!(!read!(client, rewards.get_tier(tier)).tier.is_empty(), program == PROGRAMS[0]);
    for metric in [LeaderboardMetric::Unspecified, LeaderboardMetric::Referrals] {
        let rank = GetRankRequest {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            metric: metric.into(),
            consistency_token: consistency_token.clone(),
        };
        let entry = read!(client, leaderboards.get_rank(rank)).entry;
        assert!(entry.is_none_or(|entry| entry.user_id == user_id && entry.username.starts_with("user-")));
    }
}

async fn reads_of_a_program(client: &Client, program: &str, ids: &[String], token: &str) {
    let everybody: BTreeSet<&String> = ids.iter().collect();
    let board = read!(
        client,
        leaderboards.get_leaderboard(GetLeaderboardRequest {
            program_id: program.into(),
            metric: LeaderboardMetric::Referrals.into(),
            consistency_token: token.into(),
            ..Default::default()
        })
    );
    let on_board: BTreeSet<_> = board.entries.iter().map(|entry| &entry.user_id).collect();
    assert_eq!(on_board, everybody);
    let users = read!(
        client,
        accounts.list_users(ListUsersRequest {
            program_id: program.into(),
            consistency_token: token.into(),
            ..Default::default()
        })
    );
    let listed: Vec<_> = users.users.iter().map(|of| of.user.clone().unwrap().user_id).collect();
    assert_eq!(listed.iter().collect::<BTreeSet<_>>(), everybody);
    let referrals = read!(
        client,
        referrals.list_referrals(ListReferralsRequest {
            program_id: program.into(),
            consistency_token: token.into(),
            ..Default::default()
        })
    );
    let pairs: BTreeSet<(String, String)> = referrals
        .referrals
        .iter()
        .map(|detail| detail.referral.clone().unwrap())
        .map(|referral| (referral.referrer_user_id, referral.referee_user_id))
        .collect();
    let expected = ids.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    assert_eq!(pairs, expected);
    let overview = read!(
        client,
        operators.get_overview(GetOverviewRequest {
            program_id: program.into(),
            consistency_token: token.into(),
        })
    );
    let count = i32::try_from(ids.len()).unwrap();
    assert_eq!((overview.registered, overview.referred), (count, count - 1));
}

#[tokio::test]
async fn punctuation_alone_is_no_id() {
    let (database, server, client) = server_with(&[]).await;
    for id in [".", "..", "-", "--", "/", "=="] {
        let request = RegisterUserRequest { user_id: id.into(), ..newcomer() };
        at_fault(client.register(request).await, "user_id", "INVALID_ID");
        at_fault(client.purchase(id).await, "purchase_id", "INVALID_ID");
    }
    for id in [".", "..", "-", "a/b", "a:b", &"a".repeat(65)] {
        let request = RegisterUserRequest { program_id: id.into(), ..newcomer() };
        at_fault(client.register(request).await, "program_id", "INVALID_ID");
    }
    for username in [".", "..", "-_-"] {
        let request = RegisterUserRequest { username: username.into(), ..newcomer() };
        at_fault(client.register(request).await, "username", "INVALID_USERNAME");
    }
    server.stop().await;
    database.check().await;
}
