//! Purchases: with the fingerprint of somebody else, and while a referral is held.

use contract::pb::*;

use super::*;
use crate::support::{disqualified, granted, only_outcome, server_with};

const CURRENCY: &str = "INR";

async fn buy(client: &Client, id: &str, buyer: &str, fingerprint: &str) -> RecordPurchaseResponse {
    let request = RecordPurchaseRequest {
        purchase_id: id.into(),
        buyer_user_id: buyer.into(),
        amount: Some(Money { currency_code: CURRENCY.into(), minor_units: 200_000 }),
        fingerprint: fingerprint.into(),
        ..Default::default()
    };
    client.record(request).await.unwrap()
}

async fn join_with(client: &Client, user_id: &str, code: &str, fingerprint: &str) -> Participant {
    let request = RegisterUserRequest {
        fingerprint: fingerprint.into(),
        ..with_address(COMMISSION, user_id, &format!("{user_id}@corp.example"), code)
    };
    client.register(request).await.unwrap().participants[0].clone()
}

#[tokio::test]
async fn a_purchase_with_the_fingerprint_of_another_holds_the_referral_before_it_earns() {
    let (database, server, client) = server_with(&[]).await;
    let checks =
        FraudChecks { fingerprint: with_policy(FraudPolicy::Unspecified), ..Default::default() };
    client.publish(checked(COMMISSION, checks)).await.unwrap();
    let code = join_with(&client, "ada", "", "card of ada").await.code;
    let bob = join_with(&client, "bob", &code, "").await;
    assert_eq!(bob.referral_status(), ReferralStatus::Pending);
    // At a sign-up, too.
    let eve = join_with(&client, "eve", &code, "card of ada").await;
    assert_eq!(eve.referral_status(), ReferralStatus::Held);

    let first = buy(&client, "order-1", "bob", " card of ada ").await;
    disqualified(&first, WithheldReason::ReferralHeld);
    let flag = list(&client, ListFraudFlagsRequest { user_id: "bob".into(), ..Default::default() })
        .await
        .remove(0);
    assert_eq!(flag.kind(), FraudFlagKind::Fingerprint);
    assert_eq!((flag.occasion(), flag.consequence()), (FraudOccasion::Purchase, FraudPolicy::Hold));
    assert_eq!(flag.other.clone().unwrap().user_id, "ada");
    // The same two are flagged once.
    disqualified(
        &buy(&client, "order-2", "bob", "card of ada").await,
        WithheldReason::ReferralHeld,
    );
    assert_eq!(flags(&client).await.len(), 2);
    let stored = "select count(*) from events where payload::text like '%card of%'";
    assert_eq!(database.count(stored).await, 0);

    resolve(&client, &flag.flag_id, FraudDecision::Released, "a couple").await.unwrap();
    // What was withheld meanwhile is made up for, and the next purchase earns at once.
    let third = buy(&client, "order-3", "bob", "card of ada").await;
    let each = granted(only_outcome(&third))[0].2;
    let end = std::time::Instant::now() + crate::support::PATIENCE;
    while earned(&client, COMMISSION, "ada").await < 3 * each {
        assert!(std::time::Instant::now() < end, "purchases were not made up for");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(earned(&client, COMMISSION, "ada").await, 3 * each);

    // A referral that has earned is flagged and goes on.
    let cid = join_with(&client, "cid", &code, "").await;
    assert_eq!(cid.referral_status(), ReferralStatus::Pending);
    buy(&client, "order-4", "cid", "card of cid").await;
    let again = buy(&client, "order-5", "cid", "card of ada").await;
    assert_eq!(granted(only_outcome(&again)).len(), 1);
    let of_cid = ListFraudFlagsRequest { user_id: "cid".into(), ..Default::default() };
    let flag = list(&client, of_cid).await.remove(0);
    assert_eq!(
        (flag.consequence(), flag.referral_status()),
        (FraudPolicy::Flag, ReferralStatus::Converted)
    );
    server.stop().await;
    database.check().await;
}
