//! `first-purchase-bonus`: stats, balances entry by entry, and purchases with their consequences.

use contract::pb::*;

use super::ask::{OfParticipant, Paged, Read};
use super::{board, only, places, referees, see, token};
use crate::support::{granted, minor, only_outcome, server_with};

const PROGRAM: &str = "first-purchase-bonus";

fn with_status(status: ReferralStatus) -> ListReferralsRequest {
    ListReferralsRequest { status: status.into(), ..OfParticipant::of(PROGRAM, "ada") }
}

#[tokio::test]
async fn stats_count_uses_pending_and_converted_and_list_the_newest_first() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let stats = see(&client, token(&ada), GetReferralStatsRequest::of(PROGRAM, "ada")).await;
    assert_eq!(stats.code, ada.code);
    assert_eq!(stats.link, format!("https://example.com/join?ref={}", ada.code));
    assert_eq!((stats.uses, stats.max_uses, stats.remaining_uses), (0, Some(10), Some(10)));
    assert_eq!((stats.referral_count, stats.recent_referrals.len()), (0, 0));
    assert_eq!((only(&stats.balances), stats.earned), (("USD", 0), Some(usd(0))));

    for index in 1..=3 {
        client.sign_up(PROGRAM, &format!("friend-{index}"), &ada.code).await.unwrap();
    }
    client.buy("", "friend-1", "USD", 999).await.unwrap();
    client.buy("", "friend-3", "USD", 999).await.unwrap();
    let bought = client.buy("", "friend-1", "USD", 1_000).await.unwrap();

    let request = GetReferralStatsRequest::of(PROGRAM, "ada");
    let stats = see(&client, &bought.consistency_token, request).await;
    assert_eq!((stats.uses, stats.max_uses, stats.remaining_uses), (3, Some(10), Some(7)));
    assert_eq!((stats.referral_count, stats.pending_count), (3, 2));
    assert_eq!((stats.converted_count, stats.held_count), (1, 0));
    assert_eq!((stats.earned, only(&stats.balances)), (Some(usd(1_000)), ("USD", 1_000)));
    assert_eq!(stats.referrer_user_id, "");
    assert_eq!(referees(&stats.recent_referrals), ["friend-3", "friend-2", "friend-1"]);
    let brought_in = stats.recent_referrals.iter().map(|of| minor(of.brought_in.as_ref()));
    assert_eq!(brought_in.collect::<Vec<_>>(), [0, 0, 1_000]);
    let converted = &stats.recent_referrals[2];
    assert_eq!(converted.referral.as_ref().unwrap().status(), ReferralStatus::Converted);
    assert_eq!(converted.convert_time, bought.purchase.unwrap().create_time);
    assert_eq!(stats.recent_referrals[0].convert_time, None);

    let request = GetReferralStatsRequest::of(PROGRAM, "friend-1");
    let friend = see(&client, &bought.consistency_token, request).await;
    assert_eq!((&*friend.referrer_user_id, friend.referral_count), ("ada", 0));
    // The bonus is earned; the purchases are only in the balance.
    assert_eq!((friend.earned, only(&friend.balances)), (Some(usd(1_000)), ("USD", 2_999)));
    server.stop().await;
    database.check().await;
}

fn usd(minor_units: i64) -> Money {
    Money { currency_code: "USD".into(), minor_units }
}

#[tokio::test]
async fn stats_list_the_ten_newest_and_an_eleventh_sign_up_takes_no_use() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut last = String::new();
    for index in 1..=11 {
        let friend = client.sign_up(PROGRAM, &format!("friend-{index}"), &ada.code).await.unwrap();
        last = token(&friend).to_owned();
    }

    let stats = see(&client, &last, GetReferralStatsRequest::of(PROGRAM, "ada")).await;

    assert_eq!((stats.uses, stats.max_uses, stats.remaining_uses), (10, Some(10), Some(0)));
    assert_eq!((stats.referral_count, stats.pending_count), (10, 10));
    let expected: Vec<String> = (1..=10).rev().map(|index| format!("friend-{index}")).collect();
    assert_eq!(referees(&stats.recent_referrals), expected);
    let unreferred = see(&client, &last, GetReferralStatsRequest::of(PROGRAM, "friend-11")).await;
    assert_eq!(unreferred.referrer_user_id, "");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_of_1000_and_a_bonus_of_1000_are_a_balance_of_2000_entry_by_entry() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.sign_up(PROGRAM, "cid", &ada.code).await.unwrap();

    let bought = client.buy("order-1", "bob", "USD", 1_000).await.unwrap();
    let last = &bought.consistency_token;
    for (user, balance) in [("bob", 2_000), ("ada", 1_000), ("cid", 0)] {
        let balances = see(&client, last, GetBalancesRequest::of(PROGRAM, user)).await;
        assert_eq!(only(&balances.balances), ("USD", balance), "{user}");
    }
    // Bought later: it is credited and earns nothing more. Euros are not even credited.
    client.buy("order-2", "bob", "USD", 250).await.unwrap();
    client.buy("order-3", "bob", "EUR", 5_000).await.unwrap();
    // Ada, whom nobody referred, has her own purchases credited as well.
    client.buy("order-4", "ada", "USD", 70).await.unwrap();
    let bought = client.buy("order-5", "cid", "USD", 1_500).await.unwrap();
    let last = &bought.consistency_token;

    // The bonus, the credit, the later credit; of one purchase either can come first.
    let of_bob = see(&client, last, ListBalanceEntriesRequest::of(PROGRAM, "bob")).await.entries;
    assert_eq!(of_bob.len(), 3);
    assert_eq!((&*of_bob[0].purchase_id, of_bob[0].amount.clone()), ("order-2", Some(usd(250))));
    assert_eq!(of_bob[0].balance, Some(usd(2_250)));
    assert!(of_bob[1..].iter().all(|entry| entry.purchase_id == "order-1"));
    assert_eq!(of_bob.iter().filter(|entry| entry.reward.is_some()).count(), 1);

    let request = ListBalanceEntriesRequest::of(PROGRAM, "ada");
    let of_ada = see(&client, last, request).await.entries;
    let shown: Vec<_> = of_ada
        .iter()
        .map(|entry| {
            let source = entry.reward.as_ref().map(|reward| &*reward.source_user_id);
            (minor(entry.amount.as_ref()), minor(entry.balance.as_ref()), source)
        })
        .collect();
    assert_eq!(
        shown,
        [(1_000, 2_070, Some("cid")), (70, 1_070, None), (1_000, 1_000, Some("bob"))]
    );
    assert_eq!(of_ada[0].create_time, bought.purchase.as_ref().unwrap().create_time);

    for user in ["ada", "bob", "cid"] {
        let request = ListBalanceEntriesRequest::of(PROGRAM, user).after(last);
        let entries = request.clone().all(&client, 1_000).await;
        let mut balance = 0;
        for entry in entries.iter().rev() {
            balance += minor(entry.amount.as_ref());
            assert_eq!(entry.balance, Some(usd(balance)), "{user}");
            if let Some(reward) = &entry.reward {
                assert_eq!(reward.amount, entry.amount);
                assert_eq!(
                    (&reward.purchase_id, reward.create_time),
                    (&entry.purchase_id, entry.create_time)
                );
            }
        }
        let balances = see(&client, last, GetBalancesRequest::of(PROGRAM, user)).await;
        assert_eq!(only(&balances.balances), ("USD", balance), "{user}");
        assert_eq!(request.all(&client, 1).await, entries, "{user}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn purchases_are_listed_with_their_outcomes_and_reasons() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.sign_up("", "outsider", "").await.unwrap();

    let mut answers = vec![
        client.buy("order-1", "bob", "USD", 999).await.unwrap(),
        client.buy("order-2", "bob", "USD", 1_000).await.unwrap(),
        client.buy("order-3", "ada", "USD", 2_000).await.unwrap(),
        client.buy("order-4", "bob", "USD", 3_000).await.unwrap(),
        client.buy("order-5", "outsider", "USD", 4_000).await.unwrap(),
    ];
    let last = answers[4].consistency_token.clone();
    for answer in &answers {
        let purchase = answer.purchase.clone().unwrap();
        let request =
            GetPurchaseRequest { purchase_id: purchase.purchase_id, ..Default::default() };
        let read = see(&client, &last, request).await;
        assert_eq!((&read.purchase, &read.outcomes), (&answer.purchase, &answer.outcomes));
    }
    let small = only_outcome(&answers[0]);
    assert_eq!((small.qualified, small.reason()), (false, WithheldReason::BelowMinimum));
    let enough = only_outcome(&answers[1]);
    assert_eq!((enough.qualified, enough.converted), (true, true));
    assert_eq!(granted(enough), [("bob", 0, 1_000), ("ada", 1, 1_000)]);

    answers.reverse();
    for buyer in ["", "bob", "ada", "outsider"] {
        let expected: Vec<PurchaseDetail> = answers
            .iter()
            .filter(|of| buyer.is_empty() || of.purchase.as_ref().unwrap().buyer_user_id == buyer)
            .map(|of| PurchaseDetail {
                purchase: of.purchase.clone(),
                outcomes: of.outcomes.clone(),
            })
            .collect();
        let request = ListPurchasesRequest { buyer_user_id: buyer.into(), ..Default::default() };
        let request = request.after(&last);
        assert_eq!(request.clone().all(&client, 1_000).await, expected, "{buyer}");
        assert_eq!(request.all(&client, 2).await, expected, "{buyer}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn purchases_are_read_page_by_page_while_more_are_recorded() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "bob", "").await.unwrap();
    let mut last = String::new();
    for index in 1..=5 {
        let id = format!("order-{index}");
        last = client.buy(&id, "bob", "USD", 100).await.unwrap().consistency_token;
    }
    let purchases = ListPurchasesRequest { buyer_user_id: "bob".into(), ..Default::default() };
    let purchases = purchases.after(&last);
    let entries = ListBalanceEntriesRequest::of(PROGRAM, "bob").after(&last);
    let (mut of_purchases, mut of_entries) = (None, None);
    let mut listed = purchases.clone().next(&client, 2, &mut of_purchases).await;
    let mut credited = entries.clone().next(&client, 2, &mut of_entries).await;

    while of_purchases.is_some() || of_entries.is_some() {
        client.buy("", "bob", "USD", 100).await.unwrap();
        if of_purchases.is_some() {
            listed.extend(purchases.clone().next(&client, 2, &mut of_purchases).await);
        }
        if of_entries.is_some() {
            credited.extend(entries.clone().next(&client, 2, &mut of_entries).await);
        }
    }

    let expected = ["order-5", "order-4", "order-3", "order-2", "order-1"];
    let listed: Vec<_> =
        listed.iter().map(|of| &*of.purchase.as_ref().unwrap().purchase_id).collect();
    assert_eq!(listed, expected);
    let credited: Vec<_> = credited.iter().map(|entry| &*entry.purchase_id).collect();
    assert_eq!(credited, expected);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_board_is_by_conversions_and_pending_referrals_do_not_count_on_it() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let bob = client.sign_up(PROGRAM, "bob", "").await.unwrap();
    for (friend, code) in [("a-1", &ada.code), ("a-2", &ada.code), ("b-1", &bob.code)] {
        client.sign_up(PROGRAM, friend, code).await.unwrap();
    }
    let bought = client.buy("", "b-1", "USD", 1_000).await.unwrap();
    let last = &bought.consistency_token;

    let conversions = see(&client, last, board(PROGRAM, LeaderboardMetric::Unspecified)).await;
    assert_eq!(conversions.metric(), LeaderboardMetric::Conversions);
    assert_eq!(
        places(&conversions.entries),
        [(1, "bob", 1), (2, "ada", 0), (3, "a-1", 0), (4, "a-2", 0), (5, "b-1", 0)]
    );
    let referrals = see(&client, last, board(PROGRAM, LeaderboardMetric::Referrals)).await;
    assert_eq!(places(&referrals.entries[..2]), [(1, "ada", 2), (2, "bob", 1)]);
    // What was credited for the purchase itself is not earned.
    let earnings = see(&client, last, board(PROGRAM, LeaderboardMetric::Earnings)).await;
    assert_eq!(places(&earnings.entries), [(1, "bob", 1_000), (2, "b-1", 1_000)]);
    let points = see(&client, last, board(PROGRAM, LeaderboardMetric::Points)).await;
    assert_eq!(places(&points.entries[..3]), [(1, "bob", 1_000), (2, "b-1", 1_000), (3, "ada", 0)]);

    // An equal score is enough for the participant who registered first.
    client.buy("", "a-2", "USD", 999).await.unwrap();
    let bought = client.buy("", "a-2", "USD", 5_000).await.unwrap();
    let last = &bought.consistency_token;
    let conversions = see(&client, last, board(PROGRAM, LeaderboardMetric::Conversions)).await;
    assert_eq!(places(&conversions.entries[..2]), [(1, "ada", 1), (2, "bob", 1)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn referrals_are_listed_by_status_and_move_when_they_convert() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for index in 1..=6 {
        client.sign_up(PROGRAM, &format!("friend-{index}"), &ada.code).await.unwrap();
    }
    client.buy("", "friend-5", "USD", 1_000).await.unwrap();
    let bought = client.buy("", "friend-2", "USD", 1_000).await.unwrap();
    let last = &bought.consistency_token;

    let converted = see(&client, last, with_status(ReferralStatus::Converted)).await.referrals;
    assert_eq!(referees(&converted), ["friend-5", "friend-2"]);
    let pending = with_status(ReferralStatus::Pending).after(last);
    let listed = pending.clone().all(&client, 3).await;
    assert_eq!(referees(&listed), ["friend-6", "friend-4", "friend-3", "friend-1"]);

    // A referral on the first page converts, and one is added: the second page continues where the first
    // ended.
    let mut page_token = None;
    let mut paged = pending.clone().next(&client, 2, &mut page_token).await;
    client.buy("", "friend-6", "USD", 1_000).await.unwrap();
    let friend = client.sign_up(PROGRAM, "friend-7", &ada.code).await.unwrap();
    while page_token.is_some() {
        paged.extend(pending.clone().next(&client, 2, &mut page_token).await);
    }
    assert_eq!(referees(&paged), ["friend-6", "friend-4", "friend-3", "friend-1"]);
    let listed = with_status(ReferralStatus::Pending).after(token(&friend)).all(&client, 2).await;
    assert_eq!(referees(&listed), ["friend-7", "friend-4", "friend-3", "friend-1"]);
    for status in [ReferralStatus::Held, ReferralStatus::Rejected] {
        assert!(see(&client, last, with_status(status)).await.referrals.is_empty());
    }
    server.stop().await;
    database.check().await;
}
