//! Refunds and disputes: what is taken back, what waits, and what answers say of it.

use contract::parse_program;
use contract::pb::*;
use tonic::{Code, Status};

use super::support::{PATIENCE, minor, referral_status, refused, server_with};
use testing::{Client, program};

const COMMISSION: &str = "multi-level-commission";
const BONUS: &str = "first-purchase-bonus";

#[allow(clippy::unnecessary_wraps, reason = "as a message has it")]
pub fn inr(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "INR".into(), minor_units })
}

pub async fn refund(
    client: &Client,
    purchase_id: &str,
    refund_id: &str,
    amount: Option<Money>,
) -> Result<RefundPurchaseResponse, Status> {
    let message = RefundPurchaseRequest {
        purchase_id: purchase_id.into(),
        refund_id: refund_id.into(),
        amount,
        ..Default::default()
    };
    Ok(client.purchases().refund_purchase(client.request(message)).await?.into_inner())
}

async fn preview(
    client: &Client,
    purchase_id: &str,
    amount: Option<Money>,
) -> Result<PreviewRefundResponse, Status> {
    let message = PreviewRefundRequest { purchase_id: purchase_id.into(), amount };
    Ok(client.purchases().preview_refund(client.request(message)).await?.into_inner())
}

async fn cancel(
    client: &Client,
    purchase_id: &str,
    refund_id: &str,
) -> Result<CancelRefundResponse, Status> {
    let (purchase_id, refund_id) = (purchase_id.into(), refund_id.into());
    let message = CancelRefundRequest { purchase_id, refund_id, ..Default::default() };
    Ok(client.purchases().cancel_refund(client.request(message)).await?.into_inner())
}

pub async fn dispute(
    client: &Client,
    purchase_id: &str,
    dispute_id: &str,
    amount: Option<Money>,
) -> Result<OpenDisputeResponse, Status> {
    let message = OpenDisputeRequest {
        purchase_id: purchase_id.into(),
        dispute_id: dispute_id.into(),
        amount,
        ..Default::default()
    };
    Ok(client.purchases().open_dispute(client.request(message)).await?.into_inner())
}

pub async fn close(
    client: &Client,
    purchase_id: &str,
    dispute_id: &str,
    outcome: DisputeState,
) -> Result<CloseDisputeResponse, Status> {
    let message = CloseDisputeRequest {
        purchase_id: purchase_id.into(),
        dispute_id: dispute_id.into(),
        outcome: outcome.into(),
        ..Default::default()
    };
    Ok(client.purchases().close_dispute(client.request(message)).await?.into_inner())
}

/// Who lost how much on which level, and what of the change was pending.
fn reversals(reversals: &[RewardReversal]) -> Vec<(&str, i32, i64, i64)> {
    let reversals = reversals.iter();
    reversals
        .map(|of| {
            let (amount, pending) = (minor(of.amount.as_ref()), minor(of.pending_change.as_ref()));
            (&*of.user_id, of.level, amount, pending)
        })
        .collect()
}

/// Waits until the balance of a participant, and the sum of its entries, are what they must be.
async fn comes_to(client: &Client, program_id: &str, user_id: &str, expected: i64) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let message = ListBalanceEntriesRequest {
            program_id: program_id.into(),
            user_id: user_id.into(),
            ..Default::default()
        };
        let entries = client.rewards().list_balance_entries(client.request(message)).await.unwrap();
        let entries = entries.into_inner().entries;
        let is_move = |entry: &&BalanceEntry| entry.kind() != EntryKind::Transfer;
        let amounts = entries.iter().filter(is_move).map(|entry| minor(entry.amount.as_ref()));
        let sum: i64 = amounts.sum();
        let message = GetBalancesRequest {
            program_id: program_id.into(),
            user_id: user_id.into(),
            ..Default::default()
        };
        let balances = client.rewards().get_balances(client.request(message)).await.unwrap();
        let balance = minor(balances.into_inner().balances.first());
        if (balance, sum) == (expected, expected) {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "{user_id} has {balance}, entries of {sum}, and not {expected}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Ana referred Bea, who referred Cem.
pub async fn line(client: &Client, program_id: &str, names: &[&str]) {
    let mut code = String::new();
    for name in names {
        let user = client.sign_up(program_id, name, &code).await.unwrap();
        code.clone_from(&user.response.participants[0].code);
    }
}

#[tokio::test]
async fn partial_refunds_take_back_shares_that_add_up() {
    let (database, server, client) = server_with(&[COMMISSION]).await;
    line(&client, COMMISSION, &["ana", "bea", "cem"]).await;
    client.buy("order", "cem", "INR", 300_390).await.unwrap();

    let expected = preview(&client, "order", inr(100_130)).await.unwrap();
    let one = refund(&client, "order", "one", inr(100_130)).await.unwrap();
    assert_eq!(reversals(&one.reversals), [("bea", 1, -5_007, 0), ("ana", 2, -1_001, 0)]);
    assert_eq!(expected.reversals, one.reversals);
    assert_eq!(
        (expected.amount, one.refund.as_ref().unwrap().amount.clone()),
        (inr(100_130), inr(100_130))
    );
    assert_eq!(
        refund(&client, "order", "one", inr(100_130)).await.unwrap().reversals,
        one.reversals
    );

    refund(&client, "order", "two", inr(100_130)).await.unwrap();
    let rest = refund(&client, "order", "three", None).await.unwrap();
    assert_eq!(rest.refund.as_ref().unwrap().amount, inr(100_130));
    assert_eq!(rest.unconverted_program_ids, [COMMISSION]);
    assert_eq!(referral_status(&client, COMMISSION, "cem").await, ReferralStatus::Pending);
    comes_to(&client, COMMISSION, "bea", 0).await;
    comes_to(&client, COMMISSION, "ana", 0).await;

    let found = client.purchase("order").await.unwrap();
    let purchase = found.purchase.unwrap();
    assert_eq!((purchase.refunded, purchase.disputed), (inr(300_390), None));
    let ids: Vec<_> = purchase.refunds.iter().map(|refund| &*refund.refund_id).collect();
    assert_eq!(ids, ["one", "two", "three"]);
    let outcome = &found.outcomes[0];
    let reversed: Vec<_> =
        outcome.rewards.iter().map(|of| (of.amount.clone(), of.reversed.clone())).collect();
    assert_eq!(reversed, [(inr(15_020), inr(15_020)), (inr(3_004), inr(3_004))]);
    assert!(!outcome.converted);

    // A refund that did not happen.
    let cancelled = cancel(&client, "order", "two").await.unwrap();
    assert!(cancelled.refund.as_ref().unwrap().cancelled);
    assert_eq!(cancelled.converted_program_ids, [COMMISSION]);
    comes_to(&client, COMMISSION, "bea", 5_007).await;
    assert_eq!(cancel(&client, "order", "two").await.unwrap().reversals, cancelled.reversals);
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_refunded_is_refused_with_its_reason() {
    let (database, server, client) = server_with(&[COMMISSION]).await;
    line(&client, COMMISSION, &["ana", "bea"]).await;
    client.buy("order", "bea", "INR", 200_000).await.unwrap();
    let usd = Some(Money { currency_code: "USD".into(), minor_units: 1 });

    let unknown = refund(&client, "nothing", "one", None).await;
    refused(unknown, Code::NotFound, "PURCHASE_NOT_FOUND");
    let more = refund(&client, "order", "one", inr(200_001)).await;
    refused(more, Code::FailedPrecondition, "REFUND_EXCEEDS_PURCHASE");
    let foreign = refund(&client, "order", "one", usd).await;
    refused(foreign, Code::FailedPrecondition, "CURRENCY_MISMATCH");
    let zero = refund(&client, "order", "one", inr(0)).await;
    refused(zero, Code::InvalidArgument, "INVALID_FIELD");
    refused(cancel(&client, "order", "one").await, Code::NotFound, "REFUND_NOT_FOUND");
    refused(
        preview(&client, "order", inr(200_001)).await,
        Code::FailedPrecondition,
        "REFUND_EXCEEDS_PURCHASE",
    );
    refund(&client, "order", "one", inr(1)).await.unwrap();
    let reused = refund(&client, "order", "one", inr(2)).await;
    refused(reused, Code::AlreadyExists, "REFUND_ID_REUSED");

    let close_unknown = close(&client, "order", "d", DisputeState::Won).await;
    refused(close_unknown, Code::NotFound, "DISPUTE_NOT_FOUND");
    let above = dispute(&client, "order", "d", inr(200_001)).await;
    refused(above, Code::FailedPrecondition, "DISPUTE_EXCEEDS_PURCHASE");
    dispute(&client, "order", "d", inr(5)).await.unwrap();
    let open = close(&client, "order", "d", DisputeState::Open).await;
    refused(open, Code::InvalidArgument, "INVALID_FIELD");
    close(&client, "order", "d", DisputeState::Lost).await.unwrap();
    let won = close(&client, "order", "d", DisputeState::Won).await;
    refused(won, Code::FailedPrecondition, "DISPUTE_ALREADY_CLOSED");
    // One paid 200,000; 1 is refunded, and 5 are lost.
    let left = refund(&client, "order", "two", inr(199_995)).await;
    refused(left, Code::FailedPrecondition, "REFUND_EXCEEDS_PURCHASE");
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn what_a_dispute_could_take_is_pending_until_it_is_decided() {
    let (database, server, client) = server_with(&[COMMISSION]).await;
    line(&client, COMMISSION, &["ana", "bea"]).await;
    client.buy("order", "bea", "INR", 400_000).await.unwrap();
    let opened = dispute(&client, "order", "d", inr(100_000)).await.unwrap();
    assert_eq!(reversals(&opened.reversals), [("ana", 1, 0, 5_000)]);
    assert_eq!(opened.dispute.unwrap().state(), DisputeState::Open);
    let updated = dispute(&client, "order", "d", inr(200_000)).await.unwrap();
    assert_eq!(reversals(&updated.reversals), [("ana", 1, 0, 5_000)]);
    let found = client.purchase("order").await.unwrap();
    assert_eq!(found.purchase.unwrap().disputed, inr(200_000));
    assert_eq!(found.outcomes[0].rewards[0].pending, inr(10_000));
    comes_to(&client, COMMISSION, "ana", 20_000).await;
    let lost = close(&client, "order", "d", DisputeState::Lost).await.unwrap();
    assert_eq!(reversals(&lost.reversals), [("ana", 1, -10_000, -10_000)]);
    assert_eq!(lost.dispute.as_ref().unwrap().state(), DisputeState::Lost);
    assert!(lost.dispute.unwrap().close_time.is_some());
    comes_to(&client, COMMISSION, "ana", 10_000).await;
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn the_price_that_was_credited_goes_back_with_it() {
    let (database, server, client) = server_with(&[BONUS]).await;
    line(&client, BONUS, &["ana", "bea"]).await;
    client.buy("order", "bea", "USD", 5_000).await.unwrap();
    comes_to(&client, BONUS, "bea", 6_000).await;
    let usd = |minor_units| Some(Money { currency_code: "USD".into(), minor_units });
    refund(&client, "order", "one", usd(4_001)).await.unwrap();
    comes_to(&client, BONUS, "bea", 999).await;
    comes_to(&client, BONUS, "ana", 0).await;
    let found = client.purchase("order").await.unwrap();
    assert_eq!(found.outcomes[0].credited, usd(999));
    database.check().await;
    server.stop().await;
}

/// Publishes a shipped program that holds rewards for a number of days.
async fn publish_holding(client: &Client, name: &str, days: i32) {
    let json = std::fs::read_to_string(program(name)).unwrap();
    let holding = Program { hold_days: Some(days), ..parse_program(&json).unwrap() };
    assert_eq!(client.publish(holding).await.unwrap().hold_days, Some(days));
}

pub async fn hold(client: &Client, reward_id: &str) -> Result<Vec<RewardReversal>, Status> {
    let message = HoldRewardRequest { reward_id: reward_id.into(), ..Default::default() };
    Ok(client.rewards().hold_reward(client.request(message)).await?.into_inner().changes)
}

async fn release(client: &Client, reward_id: &str) -> Result<Vec<RewardReversal>, Status> {
    let message = ReleaseRewardRequest {
        reward_id: reward_id.into(),
        note: "looked at it".into(),
        ..Default::default()
    };
    Ok(client.rewards().release_reward(client.request(message)).await?.into_inner().changes)
}

#[tokio::test]
async fn a_repeated_request_is_answered_with_the_id_that_was_made_up_for_the_first() {
    let (database, server, client) = server_with(&[COMMISSION]).await;
    line(&client, COMMISSION, &["ana", "bea"]).await;
    client.buy("order", "bea", "INR", 400_000).await.unwrap();
    let send = async || {
        let message = RefundPurchaseRequest {
            purchase_id: "order".into(),
            amount: inr(1_000),
            request_id: "once".into(),
            ..Default::default()
        };
        client.purchases().refund_purchase(client.request(message)).await.unwrap().into_inner()
    };
    let (first, again) = (send().await.refund.unwrap(), send().await.refund.unwrap());
    assert_eq!(first, again);
    let known = client.purchase("order").await.unwrap().purchase.unwrap().refunds;
    assert_eq!(
        known.iter().map(|refund| &refund.refund_id).collect::<Vec<_>>(),
        [&first.refund_id]
    );
    cancel(&client, "order", &again.refund_id).await.unwrap();
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn an_operator_holds_and_releases_a_reward() {
    let (database, server, client) = server_with(&[COMMISSION]).await;
    line(&client, COMMISSION, &["ana", "bea"]).await;
    let bought = client.buy("order", "bea", "INR", 400_000).await.unwrap();
    let reward_id = bought.outcomes[0].rewards[0].reward_id.clone();
    assert_eq!(reversals(&hold(&client, &reward_id).await.unwrap()), [("ana", 1, 0, 20_000)]);
    assert_eq!(hold(&client, &reward_id).await.unwrap(), []);
    dispute(&client, "order", "d", inr(100_000)).await.unwrap();
    // What an open dispute could take goes on waiting.
    assert_eq!(reversals(&release(&client, &reward_id).await.unwrap()), [("ana", 1, 0, -15_000)]);
    close(&client, "order", "d", DisputeState::Withdrawn).await.unwrap();
    let found = client.purchase("order").await.unwrap();
    assert_eq!(found.outcomes[0].rewards[0].pending, None);
    refused(hold(&client, "nonsense").await, Code::InvalidArgument, "INVALID_FIELD");
    let unknown = format!("{COMMISSION}/ana/99");
    refused(release(&client, &unknown).await, Code::NotFound, "REWARD_NOT_FOUND");
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn rewards_of_a_program_with_hold_days_are_pending_and_say_until_when() {
    let (database, server, client) = server_with(&[]).await;
    publish_holding(&client, COMMISSION, 14).await;
    publish_holding(&client, "referral-count", 3).await;
    line(&client, COMMISSION, &["ana", "bea"]).await;
    let bought = client.buy("order", "bea", "INR", 400_000).await.unwrap();
    let reward = &bought.outcomes[0].rewards[0];
    assert_eq!(reward.pending, inr(20_000));
    let (granted, released) = (reward.create_time.unwrap(), reward.release_time.unwrap());
    assert!((14 * 86_400 - 60..=14 * 86_400).contains(&(released.seconds - granted.seconds)));
    let changes = release(&client, &reward.reward_id).await.unwrap();
    assert_eq!(reversals(&changes), [("ana", 1, 0, -20_000)]);
    line(&client, "referral-count", &["eva", "flo"]).await;
    let end = tokio::time::Instant::now() + PATIENCE;
    let reward_id = loop {
        let message = ListRewardsRequest {
            program_id: "referral-count".into(),
            user_id: "eva".into(),
            ..Default::default()
        };
        let rewards = client.rewards().list_rewards(client.request(message)).await.unwrap();
        if let Some(reward) = rewards.into_inner().rewards.first() {
            break reward.reward_id.clone();
        }
        assert!(tokio::time::Instant::now() < end, "the reward is not listed");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(reversals(&release(&client, &reward_id).await.unwrap()), [("eva", 1, 0, -1)]);
    database.check().await;
    server.stop().await;
}
