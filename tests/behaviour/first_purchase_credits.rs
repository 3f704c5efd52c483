//! `first-purchase-credits`: 2 credits to both sides for the first purchase of anything.

use contract::pb::{CodeInvalidReason, ReferralStatus, RewardKind, WithheldReason};
use tonic::Code;

use super::support::{
    disqualified, enroll, figures, granted, is_code, log_length, next_reward, only_outcome,
    referral_status, refused, server_with,
};

const PROGRAM: &str = "first-purchase-credits";

#[tokio::test]
async fn the_first_purchase_of_anything_brings_2_credits_to_both() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    is_code(&ada.code, 6);
    let mut earnings = client.watch(PROGRAM, "ada", "").await.unwrap();
    // Any amount in any currency is a purchase.
    for (index, (currency, amount)) in
        [("USD", 1), ("JPY", 250), ("INR", 1_000_000_000_000_000)].into_iter().enumerate()
    {
        let friend = format!("friend-{index}");
        let signed_up = client.sign_up(PROGRAM, &friend, &ada.code).await.unwrap();
        is_code(&signed_up.code, 6);
        assert_eq!(referral_status(&client, PROGRAM, &friend).await, ReferralStatus::Pending);

        let first = client.buy("", &friend, currency, amount).await.unwrap();
        let outcome = only_outcome(&first);
        assert!(outcome.converted && outcome.credited.is_none());
        assert_eq!(granted(outcome), [(&*friend, 0, 2), ("ada", 1, 2)]);
        for reward in &outcome.rewards {
            assert_eq!(reward.kind(), RewardKind::Credit);
            assert_eq!(reward.amount.as_ref().unwrap().currency_code, "CREDITS");
        }
        assert_eq!(referral_status(&client, PROGRAM, &friend).await, ReferralStatus::Converted);
        let credits = 2 * (i64::try_from(index).unwrap() + 1);
        assert_eq!(figures(&next_reward(&mut earnings).await), (2, credits, credits));

        let second = client.buy("", &friend, currency, amount).await.unwrap();
        disqualified(&second, WithheldReason::NotFirstPurchase);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_empty_code_is_no_code_and_an_unknown_one_rejects_the_sign_up() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let before = log_length(&database).await;
    let unknown = client.sign_up(PROGRAM, "bob", "ABC123").await;
    refused(unknown, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    refused(client.user("bob").await, Code::NotFound, "USER_NOT_FOUND");
    assert_eq!(log_length(&database).await, before);

    let bob = client.sign_up(PROGRAM, "bob", "").await.unwrap();
    assert_eq!(bob.referrer_user_id, "");
    let answer = client.buy("", "bob", "USD", 100).await.unwrap();
    disqualified(&answer, WithheldReason::NotReferred);
    // An empty code cannot be validated.
    refused(client.validate("", "").await, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_referrer_is_attached_at_registration_only_and_codes_take_any_letter_case() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", "").await.unwrap();
    let late = client.refer(PROGRAM, "bob", "ada").await;
    refused(late, Code::FailedPrecondition, "REFERRAL_TOO_LATE");
    let verdict = client.validate(&ada.code, "bob").await.unwrap();
    assert_eq!(verdict.reason(), CodeInvalidReason::TooLate);

    let mixed: String = ada
        .code
        .char_indices()
        .map(|(at, letter)| if at % 2 == 0 { letter.to_ascii_lowercase() } else { letter })
        .collect();
    let cid = client.sign_up(PROGRAM, "cid", &mixed).await.unwrap();
    assert_eq!(cid.referrer_user_id, "ada");
    client.sign_up("", "dan", "").await.unwrap();
    let dan = enroll(&client, PROGRAM, "dan", &mixed).await.unwrap().participant.unwrap();
    assert_eq!(dan.referrer_user_id, "ada");
    assert_eq!(dan.referral_status(), ReferralStatus::Pending);
    let again = enroll(&client, PROGRAM, "dan", &mixed).await;
    refused(again, Code::AlreadyExists, "ALREADY_ENROLLED");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_first_purchase_that_is_delivered_again_brings_credits_once() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();

    let first = client.buy("order-1", "bob", "USD", 500).await.unwrap();
    let before = log_length(&database).await;
    for _ in 0..3 {
        assert_eq!(client.buy("order-1", "bob", "USD", 500).await.unwrap(), first);
    }

    assert_eq!(log_length(&database).await, before);
    let other = client.buy("order-1", "bob", "USD", 501).await;
    refused(other, Code::AlreadyExists, "PURCHASE_ID_REUSED");
    server.stop().await;
    database.check().await;
}
