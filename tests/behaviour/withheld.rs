//! Rewards that are withheld for the earner's own sake: on the earner's streams, and in the purchase.

use contract::pb::watch_participant_response::Change;
use contract::pb::{
    GetPurchaseRequest, PurchaseOutcome, WatchEarningsResponse, WithheldReason, WithheldReward,
};

use super::support::{granted, minor, only_outcome, server_with, withheld};
use testing::{Client, Message, SignUp};

const LINES: &str = "multi-level-commission";
const TIERED: &str = "tiered-points";

/// Ada referred bob, who referred cid.
async fn line(client: &Client) -> SignUp {
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    let bob = client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    client.sign_up(LINES, "cid", &bob.code).await.unwrap()
}

async fn buy(client: &Client, purchase_id: &str, amount: i64) -> PurchaseOutcome {
    let answer = client.buy(purchase_id, "cid", "INR", amount).await.unwrap();
    let message =
        GetPurchaseRequest { purchase_id: purchase_id.into(), ..GetPurchaseRequest::default() };
    let read = client.purchases().get_purchase(client.request(message)).await.unwrap();
    assert_eq!(read.into_inner().outcomes, answer.outcomes, "read as it was answered");
    only_outcome(&answer).clone()
}

/// Reason, level and computed amount.
fn facts(withheld: &WithheldReward) -> (WithheldReason, i32, i64) {
    (withheld.reason(), withheld.level, minor(withheld.computed_amount.as_ref()))
}

#[tokio::test]
async fn a_cap_that_withholds_is_told_to_the_earner_and_explained_by_the_purchase() {
    let (database, server, client) = server_with(&[LINES]).await;
    line(&client).await;
    let mut earnings = client.watch_earnings(LINES, "bob", "").await.unwrap().rest;
    let mut participant = client.watch_participant(LINES, "bob", "").await.unwrap().rest;
    let mut of_ada = client.watch_earnings(LINES, "ada", "").await.unwrap().rest;

    buy(&client, "order-1", 1_900_000).await;
    let partly = buy(&client, "order-2", 200_000).await;
    let full = buy(&client, "order-3", 300_000).await;

    // Of 10000 the last 5000 under the cap.
    assert_eq!(granted(&partly), [("bob", 1, 5_000), ("ada", 2, 2_000)]);
    assert_eq!(minor(partly.rewards[0].computed_amount.as_ref()), 10_000);
    assert_eq!(partly.rewards[1].computed_amount, None);
    assert!(full.qualified);
    assert_eq!(granted(&full), [("ada", 2, 3_000)]);
    assert_eq!(withheld(&full), [("bob", 1, WithheldReason::CapReached)]);
    let told = &full.withheld[0];
    assert_eq!(facts(told), (WithheldReason::CapReached, 1, 15_000));
    assert_eq!(
        (&*told.program_id, &*told.source_user_id, &*told.purchase_id, &*told.rule),
        (LINES, "cid", "order-3", "direct-commission")
    );
    assert_eq!(told.computed_amount.as_ref().unwrap().currency_code, "INR");

    for amount in [95_000, 5_000] {
        let reward = earnings.news().await.reward.unwrap();
        assert_eq!(minor(reward.amount.as_ref()), amount);
    }
    let message = earnings.news().await;
    assert_eq!(message.withheld.as_ref(), Some(told));
    assert_eq!((message.reward, message.level_total, message.total), (None, None, None));
    let is_withheld = |change: &Change| matches!(change, Change::Withheld(_));
    let change = loop {
        let change = participant.news().await.change.unwrap();
        if is_withheld(&change) {
            break change;
        }
    };
    assert_eq!(change, Change::Withheld(told.clone()));
    for _ in 0..3 {
        assert!(of_ada.news().await.reward.is_some(), "nothing is withheld from ada");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_stream_resumed_around_withheld_rewards_has_each_once() {
    let (database, server, client) = server_with(&[LINES]).await;
    line(&client).await;
    let mut stream = client.watch_earnings(LINES, "bob", "").await.unwrap().rest;
    let start = stream.token.clone();
    buy(&client, "order-1", 100_000).await;
    client.deactivate("bob").await.unwrap();
    buy(&client, "order-2", 200_000).await;
    client.reactivate("bob").await.unwrap();
    buy(&client, "order-3", 1_900_000).await;
    buy(&client, "order-4", 100_000).await;

    let mut history: Vec<(String, WatchEarningsResponse)> = vec![];
    for _ in 0..4 {
        let message = stream.news().await;
        history.push((stream.token.clone(), message));
    }

    let shown: Vec<_> = history.iter().map(|(_, message)| message.withheld.as_ref()).collect();
    assert_eq!(shown[0], None);
    assert_eq!(shown[1].map(facts), Some((WithheldReason::EarnerInactive, 1, 10_000)));
    assert_eq!(shown[2], None);
    assert_eq!(shown[3].map(facts), Some((WithheldReason::CapReached, 1, 5_000)));
    let tokens = [&start].into_iter().chain(history.iter().map(|(token, _)| token));
    for (seen, token) in tokens.enumerate() {
        let begun = client.watch_earnings(LINES, "bob", token).await.unwrap();
        assert!(begun.first.is_heartbeat());
        let mut resumed = begun.rest;
        for (_, expected) in &history[seen..] {
            assert_eq!(&resumed.news().await, expected, "from message {seen}");
        }
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_referral_that_earns_an_inactive_referrer_nothing_is_told_to_the_referrer() {
    let (database, server, client) = server_with(&[TIERED]).await;
    let ada = client.sign_up(TIERED, "ada", "").await.unwrap();
    client.deactivate("ada").await.unwrap();
    let mut stream = client.watch_earnings(TIERED, "ada", "").await.unwrap().rest;
    client.sign_up(TIERED, "bob", &ada.code).await.unwrap();

    let told = stream.news().await.withheld.unwrap();
    assert_eq!(facts(&told), (WithheldReason::EarnerInactive, 1, 10));
    assert_eq!((&*told.source_user_id, &*told.purchase_id), ("bob", ""));
    assert_eq!((&*told.earner_user_id, &*told.rule), ("ada", "tier-points"));
    server.stop().await;
    database.check().await;
}
