//! `multi-level-commission`: the upline earns, level by level.

use contract::pb::{ReferralStatus, RewardKind, UserStatus, WithheldReason};
use prost_types::Timestamp;
use tonic::Code;

use super::support::{
    dated, disqualified, enroll, figures, granted, just_before, log_length, minutes_before,
    next_reward, only_outcome, refer_by_code, refused, server_with, withheld,
};
use testing::Client;

const PROGRAM: &str = "multi-level-commission";

/// Signs up a line of users, each referred by the one before, and returns their codes.
async fn line(client: &Client, users: &[&str]) -> Vec<String> {
    let mut codes: Vec<String> = Vec::new();
    for user in users {
        let code = codes.last().cloned().unwrap_or_default();
        codes.push(client.sign_up(PROGRAM, user, &code).await.unwrap().code);
    }
    codes
}

async fn buy(client: &Client, buyer: &str, amount: i64) -> contract::pb::PurchaseOutcome {
    let answer = client.buy("", buyer, "INR", amount).await.unwrap();
    only_outcome(&answer).clone()
}

#[tokio::test]
async fn a_purchase_pays_5_and_1_percent_to_the_two_levels_above() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["top", "ada", "bob", "cid"]).await;

    let outcome = buy(&client, "cid", 100_130).await;
    assert_eq!(granted(&outcome), [("bob", 1, 5_007), ("ada", 2, 1_001)]);
    assert!(outcome.converted && outcome.qualified && outcome.withheld.is_empty());
    for reward in &outcome.rewards {
        assert_eq!(reward.kind(), RewardKind::Commission);
        assert_eq!((&*reward.source_user_id, reward.program_version), ("cid", 1));
        assert_eq!(reward.amount.as_ref().unwrap().currency_code, "INR");
    }
    // Every purchase earns; only the first one converts.
    let outcome = buy(&client, "cid", 100_000).await;
    assert_eq!(granted(&outcome), [("bob", 1, 5_000), ("ada", 2, 1_000)]);
    assert!(!outcome.converted);
    // If the line is short, only one level is paid.
    assert_eq!(granted(&buy(&client, "ada", 100_000).await), [("top", 1, 5_000)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_that_does_not_count_is_recorded_with_its_reason() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob", "cid"]).await;

    let small = client.buy("small", "cid", "INR", 99_999).await.unwrap();
    disqualified(&small, WithheldReason::BelowMinimum);
    let dollars = client.buy("dollars", "cid", "USD", 100_000).await.unwrap();
    disqualified(&dollars, WithheldReason::CurrencyNotAccepted);
    let unreferred = client.buy("unreferred", "ada", "INR", 100_000).await.unwrap();
    disqualified(&unreferred, WithheldReason::NotReferred);
    client.sign_up("", "outsider", "").await.unwrap();
    let outside = client.buy("outside", "outsider", "INR", 100_000).await.unwrap();
    assert!(outside.outcomes.is_empty());

    for (id, answer) in
        [("small", small), ("dollars", dollars), ("unreferred", unreferred), ("outside", outside)]
    {
        let read = client.purchase(id).await.unwrap();
        assert_eq!((read.purchase, read.outcomes), (answer.purchase, answer.outcomes), "{id}");
    }
    // The minimum itself is enough.
    assert_eq!(buy(&client, "cid", 100_000).await.rewards.len(), 2);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_that_does_not_count_says_so_as_a_whole_and_for_every_level() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob", "cid"]).await;

    let small = client.buy("small", "cid", "INR", 99_999).await.unwrap();

    let outcome = only_outcome(&small);
    assert_eq!((outcome.qualified, outcome.reason()), (false, WithheldReason::BelowMinimum));
    let below = WithheldReason::BelowMinimum;
    assert_eq!(withheld(outcome), [("bob", 1, below), ("ada", 2, below)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_commission_that_reaches_the_cap_is_paid_in_part_and_the_other_level_goes_on() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob", "cid", "dan"]).await;
    let mut earnings = client.watch(PROGRAM, "bob", "").await.unwrap();

    assert_eq!(
        granted(&buy(&client, "cid", 1_900_000).await),
        [("bob", 1, 95_000), ("ada", 2, 19_000)]
    );
    assert_eq!(
        granted(&buy(&client, "cid", 200_000).await),
        [("bob", 1, 5_000), ("ada", 2, 2_000)]
    );
    let full = buy(&client, "cid", 200_000).await;
    assert_eq!(granted(&full), [("ada", 2, 2_000)]);
    assert_eq!(withheld(&full), [("bob", 1, WithheldReason::CapReached)]);
    assert!(full.qualified);
    // The cap is per level: bob's earnings on level 2 do not count against the cap of level 1.
    assert_eq!(
        granted(&buy(&client, "dan", 100_000).await),
        [("cid", 1, 5_000), ("bob", 2, 1_000)]
    );

    assert_eq!(figures(&next_reward(&mut earnings).await), (95_000, 95_000, 95_000));
    assert_eq!(figures(&next_reward(&mut earnings).await), (5_000, 100_000, 100_000));
    let second_level = next_reward(&mut earnings).await;
    assert_eq!(figures(&second_level), (1_000, 1_000, 101_000));
    assert_eq!(second_level.reward.unwrap().level, 2);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_single_commission_above_the_cap_is_paid_up_to_it() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob", "cid"]).await;

    let outcome = buy(&client, "cid", 1_000_000_000_000_000).await;

    assert_eq!(granted(&outcome), [("bob", 1, 100_000), ("ada", 2, 100_000)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_inactive_earner_is_skipped_and_nothing_moves_up_or_is_paid_later() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob", "cid"]).await;

    let gone = client.deactivate("bob").await.unwrap().user.unwrap();
    assert_eq!(gone.status(), UserStatus::Inactive);
    let missed = client.buy("missed", "cid", "INR", 100_000).await.unwrap();
    let outcome = only_outcome(&missed);
    assert_eq!(granted(outcome), [("ada", 2, 1_000)]);
    assert_eq!(withheld(outcome), [("bob", 1, WithheldReason::EarnerInactive)]);
    refused(client.deactivate("bob").await, Code::FailedPrecondition, "USER_ALREADY_INACTIVE");

    let back = client.reactivate("bob").await.unwrap().user.unwrap();
    assert_eq!(back.status(), UserStatus::Active);
    refused(client.reactivate("bob").await, Code::FailedPrecondition, "USER_ALREADY_ACTIVE");
    // A repetition has the first outcome, but a purchase that is dated at most five minutes before the
    // reactivation counts as after it.
    assert_eq!(client.buy("missed", "cid", "INR", 100_000).await.unwrap(), missed);
    let while_away = missed.purchase.unwrap().create_time.unwrap();
    let late = dated("late", "cid", "INR", 100_000, while_away);
    let late = client.record(late).await.unwrap();
    assert_eq!(granted(only_outcome(&late)), [("bob", 1, 5_000), ("ada", 2, 1_000)]);
    // And from now on bob earns as before.
    assert_eq!(
        granted(&buy(&client, "cid", 100_000).await),
        [("bob", 1, 5_000), ("ada", 2, 1_000)]
    );
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_inactive_buyer_still_makes_the_upline_earn() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob", "cid"]).await;
    client.deactivate("cid").await.unwrap();

    let outcome = buy(&client, "cid", 100_000).await;

    assert_eq!(granted(&outcome), [("bob", 1, 5_000), ("ada", 2, 1_000)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_ninth_direct_referral_is_refused_in_every_way() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for index in 1..=4 {
        client.sign_up(PROGRAM, &format!("friend-{index}"), &ada.code).await.unwrap();
    }
    for index in 5..=8 {
        let friend = format!("friend-{index}");
        client.sign_up(PROGRAM, &friend, "").await.unwrap();
        assert_eq!(
            client.validate(&ada.code, &friend).await.unwrap().remaining_uses,
            Some(9 - index)
        );
        client.refer(PROGRAM, &friend, "ada").await.unwrap();
    }
    // Deactivated referees still count against the limit.
    client.deactivate("friend-1").await.unwrap();
    client.sign_up(PROGRAM, "ninth", "").await.unwrap();
    client.sign_up("", "outsider", "").await.unwrap();
    let before = log_length(&database).await;

    let (code, reason) = (Code::FailedPrecondition, "REFERRER_LIMIT_REACHED");
    refused(client.sign_up(PROGRAM, "new", &ada.code).await, code, reason);
    refused(client.sign_up("", "new", &ada.code).await, code, reason);
    refused(enroll(&client, PROGRAM, "outsider", &ada.code).await, code, reason);
    refused(client.refer(PROGRAM, "ninth", "ada").await, code, reason);
    refused(refer_by_code(&client, "", "ninth", &ada.code).await, code, reason);

    refused(client.user("new").await, Code::NotFound, "USER_NOT_FOUND");
    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_referrer_is_attached_at_any_time_but_once_and_for_good() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let eve = client.sign_up(PROGRAM, "eve", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", "").await.unwrap();
    let early = buy(&client, "bob", 100_000).await;
    assert_eq!(early.reason(), WithheldReason::NotReferred);

    let answer = refer_by_code(&client, "", "bob", &ada.code.to_lowercase()).await.unwrap();
    let referral = answer.referral.unwrap();
    assert_eq!(
        (&*referral.program_id, &*referral.referrer_user_id, &*referral.referee_user_id),
        (PROGRAM, "ada", "bob")
    );
    assert_eq!(referral.status(), ReferralStatus::Pending);
    assert!(answer.rewards.is_empty());
    assert_eq!(granted(&buy(&client, "bob", 100_000).await), [("ada", 1, 5_000)]);

    for again in [
        client.refer(PROGRAM, "bob", "ada").await,
        client.refer(PROGRAM, "bob", "eve").await,
        refer_by_code(&client, "", "bob", &eve.code).await,
    ] {
        refused(again, Code::AlreadyExists, "ALREADY_REFERRED");
    }
    // At registration an unknown code rejects the sign-up.
    let unknown = client.sign_up(PROGRAM, "new", "ZZZZZZZZ").await;
    refused(unknown, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn nothing_is_paid_for_purchases_made_before_the_referral() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada"]).await;
    client.sign_up(PROGRAM, "bob", "").await.unwrap();
    let referral = client.refer(PROGRAM, "bob", "ada").await.unwrap().referral.unwrap();
    let referred = referral.create_time.unwrap();

    let before = dated("before", "bob", "INR", 100_000, minutes_before(referred, 6));
    let before = client.record(before).await.unwrap();
    disqualified(&before, WithheldReason::BeforeReferral);
    let long_ago = Timestamp { seconds: 86_400, nanos: 0 };
    let long_ago = client.record(dated("old", "bob", "INR", 100_000, long_ago)).await.unwrap();
    disqualified(&long_ago, WithheldReason::BeforeReferral);
    for (purchase_id, time) in [("at-once", referred), ("just-before", minutes_before(referred, 4))]
    {
        let paid = dated(purchase_id, "bob", "INR", 100_000, time);
        let paid = client.record(paid).await.unwrap();
        assert_eq!(granted(only_outcome(&paid)), [("ada", 1, 5_000)]);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_at_most_five_minutes_before_a_referral_up_the_line_is_paid_there() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    line(&client, &["bob", "cid"]).await;
    let earlier = client.buy("earlier", "cid", "INR", 100_000).await.unwrap();
    assert_eq!(granted(only_outcome(&earlier)), [("bob", 1, 5_000)]);
    let before = earlier.purchase.unwrap().create_time.unwrap();
    client.refer(PROGRAM, "bob", "ada").await.unwrap();

    // Reported late: bob had no referrer yet, but got one within five minutes.
    let late = client.record(dated("late", "cid", "INR", 100_000, before)).await.unwrap();

    assert_eq!(granted(only_outcome(&late)), [("bob", 1, 5_000), ("ada", 2, 1_000)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_version_in_force_at_the_time_of_the_purchase_decides() {
    let (database, server, client) = server_with(&[]).await;
    let first = client.publish_shipped(PROGRAM).await;
    line(&client, &["ada", "bob"]).await;
    let mut generous = first.clone();
    generous.rewards[0].rate_bps = Some(1_000);
    let second = client.publish(generous.clone()).await.unwrap();
    assert_eq!((first.version, second.version), (1, 2));
    // Rules that are already in force do not create a version.
    assert_eq!(client.publish(generous).await.unwrap().version, 2);
    let since = second.publish_time.unwrap();

    let before =
        client.record(dated("1", "bob", "INR", 100_000, just_before(since))).await.unwrap();
    assert_eq!(granted(only_outcome(&before)), [("ada", 1, 5_000)]);
    assert_eq!(only_outcome(&before).program_version, 1);
    assert_eq!(only_outcome(&before).rewards[0].program_version, 1);
    let after = client.record(dated("2", "bob", "INR", 100_000, since)).await.unwrap();
    assert_eq!(granted(only_outcome(&after)), [("ada", 1, 10_000)]);
    assert_eq!(only_outcome(&after).program_version, 2);
    assert_eq!(granted(&buy(&client, "bob", 100_000).await), [("ada", 1, 10_000)]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_counts_in_every_program_of_the_buyer() {
    let (database, server, client) =
        server_with(&[PROGRAM, "first-purchase-credits", "tiered-points"]).await;
    line(&client, &["ada", "bob"]).await;
    let eve = client.sign_up("first-purchase-credits", "eve", "").await.unwrap();
    enroll(&client, "first-purchase-credits", "bob", &eve.code).await.unwrap();

    let answer = client.buy("order-1", "bob", "INR", 100_000).await.unwrap();

    let programs: Vec<&str> = answer.outcomes.iter().map(|of| &*of.program_id).collect();
    assert_eq!(programs, ["first-purchase-credits", PROGRAM]);
    assert_eq!(granted(&answer.outcomes[0]), [("bob", 0, 2), ("eve", 1, 2)]);
    assert_eq!(granted(&answer.outcomes[1]), [("ada", 1, 5_000)]);
    let read = client.purchase("order-1").await.unwrap();
    assert_eq!((read.purchase, read.outcomes), (answer.purchase, answer.outcomes));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_id_names_one_purchase_only() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    line(&client, &["ada", "bob"]).await;
    let first = client.buy("order-1", "bob", "INR", 100_000).await.unwrap();
    let before = log_length(&database).await;

    assert_eq!(client.buy("order-1", "bob", "INR", 100_000).await.unwrap(), first);
    let time = first.purchase.as_ref().unwrap().purchase_time.unwrap();
    let same = client.record(dated("order-1", "bob", "INR", 100_000, time)).await.unwrap();
    assert_eq!(same, first);
    for other in [
        dated("order-1", "ada", "INR", 100_000, time),
        dated("order-1", "bob", "INR", 100_001, time),
        dated("order-1", "bob", "USD", 100_000, time),
        dated("order-1", "bob", "INR", 100_000, just_before(time)),
    ] {
        refused(client.record(other).await, Code::AlreadyExists, "PURCHASE_ID_REUSED");
    }

    assert_eq!(log_length(&database).await, before);
    refused(client.purchase("order-2").await, Code::NotFound, "PURCHASE_NOT_FOUND");
    server.stop().await;
    database.check().await;
}
