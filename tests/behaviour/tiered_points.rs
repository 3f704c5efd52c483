//! `tiered-points`: points by tier, for every referral made so far.

use contract::pb::{CodeInvalidReason, ReferralStatus, RewardKind, WithheldReason};
use tonic::Code;

use super::support::{
    disqualified, enroll, figures, is_code, log_length, minor, next_reward, refer_by_code, refused,
    server_with,
};

const PROGRAM: &str = "tiered-points";

/// The points for a number of referrals, according to the rules.
fn points(referrals: i64) -> i64 {
    match referrals {
        0..10 => referrals * 10,
        10..50 => referrals * 15 + 100,
        _ => referrals * 25 + 500,
    }
}

#[tokio::test]
async fn a_hundred_referrals_climb_all_tiers_to_3000_points() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut earnings = client.watch(PROGRAM, "ada", "").await.unwrap();
    let mut before = 0;
    for referrals in 1..=100 {
        let friend = format!("friend-{referrals}");
        let friend = client.sign_up(PROGRAM, &friend, &ada.code).await.unwrap();
        assert_eq!(friend.referrer_user_id, "ada");
        assert_eq!(friend.response.participants[0].referral_status(), ReferralStatus::Converted);

        let seen = next_reward(&mut earnings).await;
        let total = points(referrals);
        assert_eq!(figures(&seen), (total - before, total, total), "{referrals} referrals");
        match referrals {
            9 => assert_eq!(figures(&seen), (10, 90, 90)),
            10 => assert_eq!(figures(&seen), (160, 250, 250)),
            11 => assert_eq!(figures(&seen), (15, 265, 265)),
            49 => assert_eq!(figures(&seen), (15, 835, 835)),
            50 => assert_eq!(figures(&seen), (915, 1_750, 1_750)),
            100 => assert_eq!(figures(&seen), (25, 3_000, 3_000)),
            _ => {}
        }
        let reward = seen.reward.unwrap();
        assert_eq!(reward.source_user_id, friend.user_id);
        assert_eq!((reward.level, reward.kind()), (1, RewardKind::Points));
        assert_eq!(reward.amount.unwrap().currency_code, "POINTS");
        assert!(reward.purchase_id.is_empty());
        before = total;
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_unknown_code_rejects_the_sign_up_and_makes_no_account() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let before = log_length(&database).await;

    for code in ["ZZZZZZZZ", "nobody"] {
        let answer = client.sign_up(PROGRAM, "bob", code).await;
        refused(answer, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    }
    refused(client.sign_up("", "bob", "ZZZZZZZZ").await, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");

    refused(client.user("bob").await, Code::NotFound, "USER_NOT_FOUND");
    assert_eq!(log_length(&database).await, before);
    // The refused sign-up has claimed nothing: the same id, name and address are still free.
    let bob = client.sign_up(PROGRAM, "bob", "").await.unwrap();
    is_code(&bob.code, 8);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_referrer_is_attached_at_registration_only() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", "").await.unwrap();

    let late = client.refer(PROGRAM, "bob", "ada").await;
    refused(late, Code::FailedPrecondition, "REFERRAL_TOO_LATE");
    let late = refer_by_code(&client, "", "bob", &ada.code).await;
    refused(late, Code::FailedPrecondition, "REFERRAL_TOO_LATE");
    let verdict = client.validate(&ada.code, "bob").await.unwrap();
    assert_eq!((verdict.valid, verdict.reason()), (false, CodeInvalidReason::TooLate));

    // Enrolling in the program with a code counts as registration, too.
    client.sign_up("", "cid", "").await.unwrap();
    let verdict = client.validate(&ada.code, "cid").await.unwrap();
    assert!(verdict.valid, "{verdict:?}");
    let enrolled = enroll(&client, PROGRAM, "cid", &ada.code).await.unwrap();
    let cid = enrolled.participant.unwrap();
    assert_eq!(cid.referrer_user_id, "ada");
    assert_eq!(cid.referral_status(), ReferralStatus::Converted);
    assert_eq!(enrolled.rewards.len(), 1);
    assert_eq!(enrolled.rewards[0].earner_user_id, "ada");
    assert_eq!(minor(enrolled.rewards[0].amount.as_ref()), 10);

    client.sign_up("", "dan", "").await.unwrap();
    let unknown = enroll(&client, PROGRAM, "dan", "ZZZZZZZZ").await;
    refused(unknown, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    assert!(client.user("dan").await.unwrap().participants.is_empty());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn purchases_earn_no_points() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();

    let answer = client.buy("order-1", "bob", "USD", 100_000).await.unwrap();

    disqualified(&answer, WithheldReason::RewardsReferralsOnly);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_referral_made_while_the_referrer_is_inactive_earns_nothing_then_or_later() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let mut earnings = client.watch(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    assert_eq!(figures(&next_reward(&mut earnings).await), (10, 10, 10));

    client.deactivate("ada").await.unwrap();
    let cid = client.sign_up(PROGRAM, "cid", &ada.code).await.unwrap();
    assert_eq!(cid.referrer_user_id, "ada");
    client.reactivate("ada").await.unwrap();
    client.sign_up(PROGRAM, "dan", &ada.code).await.unwrap();

    let seen = next_reward(&mut earnings).await;
    assert_eq!(seen.reward.as_ref().unwrap().source_user_id, "dan");
    assert_eq!(figures(&seen), (10, 20, 20));
    server.stop().await;
    database.check().await;
}
