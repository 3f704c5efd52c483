//! What becomes of rewards after they were granted, wherever rewards are shown, and what was written about it.

use contract::pb::*;
use tonic::Status;

use super::adjustments::newest;
use super::keys::{holder, wanted, wanted_by_user};
use super::refunds::{close, dispute, hold, inr, line, refund};
use super::support::{minor, next, server_with};
use testing::Client;

const COMMISSION: &str = "multi-level-commission";
const COUNT: &str = "referral-count";

async fn rewards(client: &Client, program_id: &str, user_id: &str) -> Vec<Reward> {
    let message = ListRewardsRequest {
        program_id: program_id.into(),
        user_id: user_id.into(),
        consistency_token: newest(client).await,
        ..Default::default()
    };
    client.rewards().list_rewards(client.request(message)).await.unwrap().into_inner().rewards
}

async fn listed(client: &Client, buyer_user_id: &str, token: String) -> Vec<PurchaseDetail> {
    let message = ListPurchasesRequest {
        buyer_user_id: buyer_user_id.into(),
        consistency_token: token,
        ..Default::default()
    };
    client.purchases().list_purchases(client.request(message)).await.unwrap().into_inner().purchases
}

fn state(reward: &Reward) -> (i64, i64, Vec<RewardHoldReason>) {
    let minor = |amount: &Option<Money>| amount.as_ref().map_or(0, |of| of.minor_units);
    (minor(&reward.reversed), minor(&reward.pending), reward.hold_reasons().collect())
}

async fn hold_with(client: &Client, reward_id: &str, note: &str) -> Result<(), Status> {
    let (reward_id, note) = (reward_id.into(), note.into());
    let message = HoldRewardRequest { reward_id, note, ..Default::default() };
    client.rewards().hold_reward(client.request(message)).await.map(drop)
}

#[tokio::test]
async fn wherever_rewards_are_listed_they_say_what_was_taken_back_what_waits_and_why() {
    use RewardHoldReason::{Dispute, Operator};
    let (database, server, client) = server_with(&[COMMISSION]).await;
    line(&client, COMMISSION, &["ana", "bea"]).await;
    client.buy("order", "bea", "INR", 400_000).await.unwrap();
    client.buy("other", "bea", "INR", 200_000).await.unwrap();
    refund(&client, "order", "r", inr(100_000)).await.unwrap();
    let opened = dispute(&client, "order", "d", inr(100_000)).await.unwrap();
    let token = opened.consistency_token;
    let newest_first = rewards(&client, COMMISSION, "ana").await;
    assert_eq!(state(&newest_first[0]), (0, 0, vec![]));
    assert_eq!(state(&newest_first[1]), (5_000, 5_000, vec![Dispute]));
    // A list of purchases knows what went back of them, as a single one does.
    let purchases = listed(&client, "bea", token).await;
    let found = client.purchase("order").await.unwrap();
    assert_eq!(purchases[1].purchase, found.purchase);
    assert_eq!(purchases[1].outcomes, found.outcomes);
    assert_eq!(state(&purchases[1].outcomes[0].rewards[0]), (5_000, 5_000, vec![Dispute]));

    let reward_id = &newest_first[1].reward_id;
    hold(&client, reward_id).await.unwrap();
    let message = GetEarningsRequest {
        program_id: COMMISSION.into(),
        user_id: "ana".into(),
        consistency_token: newest(&client).await,
        ..Default::default()
    };
    let earnings = client.rewards().get_earnings(client.request(message)).await.unwrap();
    let earnings = earnings.into_inner();
    assert_eq!(state(&earnings.rewards[1]), (5_000, 15_000, vec![Operator, Dispute]));
    assert_eq!(minor(earnings.total.as_ref()), 25_000);

    // The account of somebody who was erased is closed, whatever becomes of the dispute.
    client.erase("ana", true).await.unwrap();
    close(&client, "order", "d", DisputeState::Lost).await.unwrap();
    let found = client.purchase("order").await.unwrap();
    assert_eq!(state(&found.outcomes[0].rewards[0]), (5_000, 0, vec![]));
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn so_they_do_if_a_referral_itself_earned_them() {
    let (database, server, client) = server_with(&[COUNT]).await;
    line(&client, COUNT, &["ana", "bea"]).await;
    let reward = rewards(&client, COUNT, "ana").await.remove(0);
    assert_eq!(state(&reward), (0, 0, vec![]));
    hold(&client, &reward.reward_id).await.unwrap();
    let reward = rewards(&client, COUNT, "ana").await.remove(0);
    let amount = minor(reward.amount.as_ref());
    assert_eq!(state(&reward), (0, amount, vec![RewardHoldReason::Operator]));
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn operators_read_what_was_written_about_refunds_holds_and_adjustments() {
    let (database, server, client) = server_with(&[COMMISSION]).await;
    line(&client, COMMISSION, &["ana", "bea"]).await;
    let (service, _) = holder(&client, wanted("shop", ApiKeyRole::Service)).await;
    client.buy("order", "bea", "INR", 400_000).await.unwrap();
    let message = RefundPurchaseRequest {
        purchase_id: "order".into(),
        refund_id: "r".into(),
        amount: inr(1_000),
        reason: "a scratch".into(),
        ..Default::default()
    };
    client.purchases().refund_purchase(client.request(message)).await.unwrap();
    let reward_id = rewards(&client, COMMISSION, "ana").await.remove(0).reward_id;
    hold_with(&client, &reward_id, "looks odd").await.unwrap();
    let message = AdjustBalanceRequest {
        program_id: COMMISSION.into(),
        user_id: "ana".into(),
        amount: inr(5),
        reason_code: "goodwill".into(),
        note: "she was right".into(),
        ..Default::default()
    };
    let adjusted = client.rewards().adjust_balance(client.request(message)).await.unwrap();
    let token = adjusted.into_inner().consistency_token;
    let entries = async |client: &Client| {
        let message = ListBalanceEntriesRequest {
            program_id: COMMISSION.into(),
            user_id: "ana".into(),
            consistency_token: token.clone(),
            ..Default::default()
        };
        let answer = client.rewards().list_balance_entries(client.request(message)).await;
        answer.unwrap().into_inner().entries
    };
    let reason = async |client: &Client| {
        let found = client.purchase("order").await.unwrap();
        let hold_note = found.outcomes[0].rewards[0].hold_note.clone();
        (found.purchase.unwrap().refunds[0].reason.clone(), hold_note)
    };
    assert_eq!(reason(&client).await, ("a scratch".into(), "looks odd".into()));
    assert_eq!(reason(&service).await, ("a scratch".into(), String::new()));
    assert_eq!(rewards(&client, COMMISSION, "ana").await[0].hold_note, "looks odd");
    assert_eq!(rewards(&service, COMMISSION, "ana").await[0].hold_note, "");
    assert_eq!(entries(&client).await[0].note, "she was right");
    assert!(entries(&service).await.iter().all(|entry| entry.note.is_empty()));
    // The buyer reads no reason.
    let (bea, _) = holder(&client, wanted_by_user("own", "bea")).await;
    assert_eq!(reason(&bea).await, Default::default());

    client.erase("bea", true).await.unwrap();
    client.erase("ana", true).await.unwrap();
    assert_eq!(reason(&client).await, Default::default());
    assert!(entries(&client).await.iter().all(|entry| entry.note.is_empty()));
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_stream_of_earnings_says_what_is_taken_back_and_given_back() {
    let (database, server, client) = server_with(&[COMMISSION]).await;
    line(&client, COMMISSION, &["ana", "bea"]).await;
    let mut stream = client.watch(COMMISSION, "ana", "").await.unwrap();
    client.buy("order", "bea", "INR", 400_000).await.unwrap();
    let granted = next(&mut stream).await.unwrap().unwrap();
    assert_eq!(minor(granted.total.as_ref()), 20_000);
    refund(&client, "order", "r", inr(100_000)).await.unwrap();
    let message = CancelRefundRequest {
        purchase_id: "order".into(),
        refund_id: "r".into(),
        ..Default::default()
    };
    client.purchases().cancel_refund(client.request(message)).await.unwrap();
    for (change, total) in [(-5_000, 15_000), (5_000, 20_000)] {
        let message = next(&mut stream).await.unwrap().unwrap();
        let reversal = message.reversal.as_ref().expect("a reversal");
        assert_eq!(reversal.reward_id, granted.reward.as_ref().unwrap().reward_id);
        assert_eq!((&*reversal.user_id, reversal.level), ("ana", 1));
        assert_eq!(minor(reversal.amount.as_ref()), change);
        let totals = (minor(message.total.as_ref()), minor(message.level_total.as_ref()));
        assert_eq!(totals, (total, total));
    }
    database.check().await;
    server.stop().await;
}
