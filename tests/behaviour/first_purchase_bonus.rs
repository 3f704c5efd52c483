//! `first-purchase-bonus`: 1000 to both sides.

use contract::pb::{CodeInvalidReason, ReferralStatus, RewardKind, WithheldReason};
use tonic::Code;

use super::support::{
    dated, disqualified, figures, granted, is_code, minor, minutes_before, next_reward,
    only_outcome, referral_status, refused, server_with,
};
use testing::Client;

const PROGRAM: &str = "first-purchase-bonus";

/// Uses up a code with ten sign-ups, `{prefix}-1` and so on.
async fn use_up(client: &Client, code: &str, prefix: &str) {
    for index in 1..=10 {
        let friend = client.sign_up(PROGRAM, &format!("{prefix}-{index}"), code).await.unwrap();
        assert!(!friend.referrer_user_id.is_empty());
    }
}

#[track_caller]
fn invalid(verdict: &contract::pb::ValidateReferralCodeResponse, why: CodeInvalidReason) {
    assert_eq!((verdict.valid, verdict.reason()), (false, why), "{verdict:?}");
    assert!(!verdict.message.is_empty());
}

#[tokio::test]
async fn a_purchase_of_999_leaves_the_chance_and_one_of_1000_pays_1000_to_both() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    is_code(&ada.code, 8);
    let bob = client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    assert_eq!(bob.response.participants[0].referral_status(), ReferralStatus::Pending);
    let mut of_ada = client.watch(PROGRAM, "ada", "").await.unwrap();
    let mut of_bob = client.watch(PROGRAM, "bob", "").await.unwrap();

    let small = client.buy("order-1", "bob", "USD", 999).await.unwrap();
    disqualified(&small, WithheldReason::BelowMinimum);
    assert_eq!(minor(only_outcome(&small).credited.as_ref()), 999);
    assert_eq!(referral_status(&client, PROGRAM, "bob").await, ReferralStatus::Pending);

    let enough = client.buy("order-2", "bob", "USD", 1_000).await.unwrap();
    let outcome = only_outcome(&enough);
    assert!(outcome.converted && outcome.qualified);
    assert_eq!(granted(outcome), [("bob", 0, 1_000), ("ada", 1, 1_000)]);
    assert!(outcome.rewards.iter().all(|reward| reward.kind() == RewardKind::Bonus));
    // The paid amount is added to the buyer's own balance, besides the bonus.
    assert_eq!(minor(outcome.credited.as_ref()), 1_000);
    assert_eq!(referral_status(&client, PROGRAM, "bob").await, ReferralStatus::Converted);
    assert_eq!(figures(&next_reward(&mut of_ada).await), (1_000, 1_000, 1_000));
    assert_eq!(figures(&next_reward(&mut of_bob).await), (1_000, 1_000, 1_000));

    let later = client.buy("order-3", "bob", "USD", 5_000).await.unwrap();
    disqualified(&later, WithheldReason::NotFirstPurchase);
    assert_eq!(minor(only_outcome(&later).credited.as_ref()), 5_000);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_in_another_currency_neither_earns_nor_uses_up_the_chance() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();

    let euros = client.buy("order-1", "bob", "EUR", 50_000).await.unwrap();
    disqualified(&euros, WithheldReason::CurrencyNotAccepted);
    assert_eq!(only_outcome(&euros).credited, None);

    let dollars = client.buy("order-2", "bob", "USD", 1_000).await.unwrap();
    assert!(only_outcome(&dollars).converted);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_eleventh_sign_up_and_one_with_an_unknown_code_succeed_unreferred() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    for index in 1..=12 {
        // Validation predicts the result of the sign-up.
        let verdict = client.validate(&ada.code, "").await.unwrap();
        assert_eq!(verdict.remaining_uses, Some((11 - index).max(0)));
        let friend = client.sign_up(PROGRAM, &format!("friend-{index}"), &ada.code).await.unwrap();
        assert_eq!(verdict.valid, !friend.referrer_user_id.is_empty());
        assert_eq!(verdict.valid, index <= 10);
        if !verdict.valid {
            invalid(&verdict, CodeInvalidReason::Exhausted);
            let participant = &friend.response.participants[0];
            assert_eq!(participant.referral_status(), ReferralStatus::Unspecified);
        }
    }
    let verdict = client.validate("ZZZZZZZZ", "").await.unwrap();
    invalid(&verdict, CodeInvalidReason::Unknown);
    assert!(verdict.program_id.is_empty() && verdict.referrer_username.is_empty());
    let stranger = client.sign_up(PROGRAM, "stranger", "ZZZZZZZZ").await.unwrap();
    assert_eq!(stranger.referrer_user_id, "");
    is_code(&stranger.code, 8);
    // Without a program, no policy for an unknown code is known.
    let lost = client.sign_up("", "lost", "ZZZZZZZZ").await;
    refused(lost, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");

    let unreferred = client.buy("", "friend-11", "USD", 1_000).await.unwrap();
    disqualified(&unreferred, WithheldReason::NotReferred);
    assert_eq!(minor(only_outcome(&unreferred).credited.as_ref()), 1_000);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn validation_gives_each_user_the_first_reason_that_matches() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let eve = client.sign_up(PROGRAM, "eve", "").await.unwrap();
    client.sign_up("", "outsider", "").await.unwrap();
    client.sign_up(PROGRAM, "unreferred", "").await.unwrap();
    client.sign_up(PROGRAM, "of-eve", &eve.code).await.unwrap();
    client.sign_up(PROGRAM, "of-eve-bought", &eve.code).await.unwrap();
    client.buy("", "of-eve-bought", "USD", 1_000).await.unwrap();
    client.sign_up(PROGRAM, "bought", "").await.unwrap();
    client.buy("", "bought", "USD", 1_000).await.unwrap();
    client.sign_up(PROGRAM, "bought-little", "").await.unwrap();
    client.buy("", "bought-little", "USD", 999).await.unwrap();

    for (user, reason) in [
        ("ada", Some(CodeInvalidReason::OwnCode)),
        ("bought", Some(CodeInvalidReason::AlreadyBought)),
        ("of-eve-bought", Some(CodeInvalidReason::AlreadyBought)),
        ("of-eve", Some(CodeInvalidReason::AlreadyReferred)),
        ("unreferred", Some(CodeInvalidReason::TooLate)),
        ("bought-little", Some(CodeInvalidReason::TooLate)),
        ("outsider", None),
        ("", None),
    ] {
        let verdict = client.validate(&ada.code, user).await.unwrap();
        assert_eq!(verdict.valid, reason.is_none(), "{user}: {verdict:?}");
        assert_eq!(verdict.reason(), reason.unwrap_or_default(), "{user}");
    }

    // Exhausted comes after what concerns the user's past, and before "too late".
    use_up(&client, &ada.code, "of-ada").await;
    client.buy("", "of-ada-1", "USD", 1_000).await.unwrap();
    client.buy("", "ada", "USD", 1_000).await.unwrap();
    for (user, reason) in [
        ("ada", Some(CodeInvalidReason::OwnCode)),
        ("bought", Some(CodeInvalidReason::AlreadyBought)),
        ("of-eve-bought", Some(CodeInvalidReason::AlreadyBought)),
        ("of-ada-1", Some(CodeInvalidReason::AlreadyBought)),
        ("of-eve", Some(CodeInvalidReason::AlreadyReferred)),
        ("unreferred", Some(CodeInvalidReason::Exhausted)),
        ("outsider", Some(CodeInvalidReason::Exhausted)),
        ("", Some(CodeInvalidReason::Exhausted)),
        ("of-ada-2", None),
    ] {
        let verdict = client.validate(&ada.code, user).await.unwrap();
        assert_eq!(verdict.valid, reason.is_none(), "{user}: {verdict:?}");
        assert_eq!(verdict.reason(), reason.unwrap_or_default(), "{user}");
    }
    refused(client.validate(&ada.code, "nobody").await, Code::NotFound, "USER_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_users_own_use_of_a_code_does_not_count_against_them() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    use_up(&client, &ada.code, "friend").await;

    let own = client.validate(&ada.code, "friend-1").await.unwrap();

    assert!(own.valid, "{own:?}");
    assert_eq!(own.remaining_uses, Some(1), "the use that is the user's own");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn what_a_code_means_to_a_user_is_told_to_back_ends_only() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let anybody = server.separate_client(None).await;

    for user in ["ada", "nobody", ""] {
        let verdict = anybody.validate(&ada.code, user).await.unwrap();
        assert!(verdict.valid, "{user}: {verdict:?}");
        assert_eq!(verdict.remaining_uses, Some(10));
        assert_eq!(verdict.referrer_username, "");
    }
    assert_eq!(client.validate(&ada.code, "").await.unwrap().referrer_username, "ada");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_first_purchase_of_an_inactive_referrers_friend_pays_the_friend_alone() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.deactivate("ada").await.unwrap();

    let answer = client.buy("order-1", "bob", "USD", 1_000).await.unwrap();

    let outcome = only_outcome(&answer);
    assert!(outcome.converted);
    assert_eq!(granted(outcome), [("bob", 0, 1_000)]);
    assert_eq!(super::support::withheld(outcome), [("ada", 1, WithheldReason::EarnerInactive)]);
    client.reactivate("ada").await.unwrap();
    let later = client.buy("order-2", "bob", "USD", 1_000).await.unwrap();
    disqualified(&later, WithheldReason::NotFirstPurchase);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_purchase_dated_more_than_five_minutes_before_the_referral_pays_nothing_and_uses_up_nothing()
 {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let bob = client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    let signed_up = bob.response.user.unwrap().create_time.unwrap();

    let early = dated("order-1", "bob", "USD", 1_000, minutes_before(signed_up, 6));
    let early = client.record(early).await.unwrap();

    disqualified(&early, WithheldReason::BeforeReferral);
    assert_eq!(referral_status(&client, PROGRAM, "bob").await, ReferralStatus::Pending);
    // A shop that makes the account at checkout: the purchase is dated a little before the sign-up.
    let at_checkout = dated("order-2", "bob", "USD", 1_000, minutes_before(signed_up, 4));
    let at_checkout = client.record(at_checkout).await.unwrap();
    assert!(only_outcome(&at_checkout).converted);
    server.stop().await;
    database.check().await;
}
