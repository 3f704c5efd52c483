//! Mails about rewards that are taken back or become available; and that nothing is celebrated twice.

use std::time::Duration;

use contract::parse_program;
use contract::pb::*;

use super::support::{PATIENCE, server_with_mails};
use testing::{Client, MailServer, Received, TestDatabase, address_of, program};

const BONUS: &str = "first-purchase-bonus";
const COMMISSION: &str = "multi-level-commission";
const POINTS: &str = "tiered-points";

/// Waits until every event has called for its mails, and none is still to be sent.
async fn settled(database: &TestDatabase) {
    let open =
        "select (select count(*) from jobs where kind in ('mail', 'make_up') and state <> 'done')
        + (select max(position) from events)
        - (select max(position) from reaction_checkpoints where reaction = 'mails')";
    let end = tokio::time::Instant::now() + PATIENCE;
    while database.count(open).await != 0 {
        assert!(tokio::time::Instant::now() < end, "mails are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The mails to a user whose subject has these words, after everything that was called for has been sent.
async fn about(
    database: &TestDatabase,
    mail_server: &MailServer,
    user_id: &str,
    words: &str,
) -> Vec<Received> {
    settled(database).await;
    let address = address_of(user_id);
    let mut mails = mail_server.received();
    mails.retain(|mail| mail.to == address && mail.header("Subject").contains(words));
    mails
}

async fn refund(client: &Client, purchase_id: &str, refund_id: &str, amount: Option<Money>) {
    let message = RefundPurchaseRequest {
        purchase_id: purchase_id.into(),
        refund_id: refund_id.into(),
        amount,
        ..Default::default()
    };
    client.purchases().refund_purchase(client.request(message)).await.unwrap();
}

async fn dispute(client: &Client, purchase_id: &str, dispute_id: &str, amount: Option<Money>) {
    let message = OpenDisputeRequest {
        purchase_id: purchase_id.into(),
        dispute_id: dispute_id.into(),
        amount,
        ..Default::default()
    };
    client.purchases().open_dispute(client.request(message)).await.unwrap();
}

async fn close(client: &Client, purchase_id: &str, dispute_id: &str, outcome: DisputeState) {
    let message = CloseDisputeRequest {
        purchase_id: purchase_id.into(),
        dispute_id: dispute_id.into(),
        outcome: outcome.into(),
        ..Default::default()
    };
    client.purchases().close_dispute(client.request(message)).await.unwrap();
}

#[tokio::test]
async fn a_refund_mails_everyone_who_loses_by_it_and_another_conversion_is_not_celebrated_again() {
    let (database, server, client, mail_server) = server_with_mails(&[BONUS]).await;
    let name = client.publish_shipped(BONUS).await.display_name;
    let ada = client.sign_up(BONUS, "ada", "").await.unwrap();
    client.sign_up(BONUS, "bo", &ada.code).await.unwrap();
    client.buy("order-1", "bo", "USD", 2_000).await.unwrap();
    refund(&client, "order-1", "r1", None).await;
    refund(&client, "order-1", "r1", None).await;
    for user_id in ["ada", "bo"] {
        let mails = about(&database, &mail_server, user_id, "taken back").await;
        assert_eq!(mails.len(), 1, "{mails:#?}");
        let subject = mails[0].header("Subject");
        assert_eq!(subject, format!("10.00 USD of your rewards in {name} were taken back"));
        let text = mails[0].text();
        for words in [
            "because a purchase was refunded",
            "- 10.00 USD for the purchase order-1\n",
            "<li>10.00 USD for the purchase order-1</li>",
            "Your balance is now 0.00 USD, of which 0.00 USD can be used.",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(mails[0].header("List-Unsubscribe").starts_with('<'));
    }

    // The refund did not happen after all: what is given back is no occasion.
    let message = CancelRefundRequest {
        purchase_id: "order-1".into(),
        refund_id: "r1".into(),
        ..Default::default()
    };
    client.purchases().cancel_refund(client.request(message)).await.unwrap();
    refund(&client, "order-1", "r2", None).await;
    // Another purchase converts the referral again and pays again.
    let again = client.buy("order-2", "bo", "USD", 3_000).await.unwrap();
    assert_eq!(again.outcomes[0].rewards.len(), 2, "{again:?}");
    dispute(&client, "order-2", "d1", None).await;
    close(&client, "order-2", "d1", DisputeState::Lost).await;
    for user_id in ["ada", "bo"] {
        let mails = about(&database, &mail_server, user_id, "taken back").await;
        assert_eq!(mails.len(), 3, "{mails:#?}");
        let disputed = mails.iter().filter(|mail| mail.text().contains("was right in a dispute"));
        assert_eq!(disputed.count(), 1, "{mails:#?}");
        let earned = about(&database, &mail_server, user_id, "earned").await;
        assert_eq!(earned.len(), 1, "{earned:#?}");
        assert_eq!(about(&database, &mail_server, user_id, "available now").await.len(), 0);
    }
    let all = mail_server.received().len();
    assert_eq!(all, 2 + 1 + 2 + 2 * 3, "welcomes, referral, conversion, reversals");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_reward_that_waited_is_told_once_it_is_available_and_a_debt_is_said() {
    let (database, server, client, mail_server) = server_with_mails(&[COMMISSION]).await;
    let inr = |minor_units| Some(Money { currency_code: "INR".into(), minor_units });
    let top = client.sign_up(COMMISSION, "top", "").await.unwrap();
    let ana = client.sign_up(COMMISSION, "ana", &top.code).await.unwrap();
    client.sign_up(COMMISSION, "bea", &ana.code).await.unwrap();
    let bought = client.buy("order", "bea", "INR", 400_000).await.unwrap();
    let reward_id = bought.outcomes[0].rewards[0].reward_id.clone();
    let message = HoldRewardRequest { reward_id: reward_id.clone(), ..Default::default() };
    client.rewards().hold_reward(client.request(message)).await.unwrap();
    dispute(&client, "order", "d", inr(100_000)).await;
    let message =
        ReleaseRewardRequest { reward_id, note: "looked at it".into(), ..Default::default() };
    client.rewards().release_reward(client.request(message)).await.unwrap();
    // What an open dispute could take goes on waiting.
    let mails = about(&database, &mail_server, "ana", "available now").await;
    assert_eq!(mails.len(), 1, "{mails:#?}");
    let text = mails[0].text();
    for words in [
        "150.00 INR of your rewards",
        "because the hold on it was lifted",
        "- 150.00 INR for the purchase order\n",
        "Your balance is now 200.00 INR, of which 150.00 INR can be used.",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert_eq!(about(&database, &mail_server, "top", "available now").await.len(), 0);

    close(&client, "order", "d", DisputeState::Won).await;
    for (user_id, amount) in [("ana", "50.00 INR"), ("top", "10.00 INR")] {
        let mails = about(&database, &mail_server, user_id, "available now").await;
        let of_dispute: Vec<_> =
            mails.iter().filter(|mail| mail.text().contains("a dispute about")).collect();
        assert_eq!(of_dispute.len(), 1, "{mails:#?}");
        assert!(of_dispute[0].header("Subject").starts_with(amount), "{of_dispute:#?}");
    }

    // One mail and one line for what a refund takes out of two parts of the balance; a debt is said.
    let message = AdjustBalanceRequest {
        program_id: COMMISSION.into(),
        user_id: "ana".into(),
        adjustment_id: "a1".into(),
        amount: inr(-15_000),
        reason_code: "correction".into(),
        ..Default::default()
    };
    client.rewards().adjust_balance(client.request(message)).await.unwrap();
    dispute(&client, "order", "d2", inr(100_000)).await;
    refund(&client, "order", "r", None).await;
    let mails = about(&database, &mail_server, "ana", "taken back").await;
    assert_eq!(mails.len(), 1, "{mails:#?}");
    let text = mails[0].text();
    for words in [
        "- 200.00 INR for the purchase order\n",
        "Your balance is now -150.00 INR.\nIt is below zero",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert_eq!(text.matches("- 200.00 INR for").count(), 1, "{text}");
    assert_eq!(about(&database, &mail_server, "bea", "taken back").await.len(), 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_tier_that_is_lost_and_reached_again_is_told_once() {
    let (database, server, client, mail_server) = server_with_mails(&[]).await;
    let json = std::fs::read_to_string(program(POINTS)).unwrap();
    let mut by_purchases = parse_program(&json).unwrap();
    by_purchases.earn_on = EarnOn::FirstPurchase.into();
    by_purchases.first_purchase_used_by = FirstPurchaseUse::AnyPurchase.into();
    by_purchases.rewards[0].tiers[1].from_referrals = 1;
    client.publish(by_purchases).await.unwrap();
    let ada = client.sign_up(POINTS, "ada", "").await.unwrap();
    client.sign_up(POINTS, "kim", &ada.code).await.unwrap();
    client.buy("order-1", "kim", "USD", 2_000).await.unwrap();
    refund(&client, "order-1", "r1", None).await;
    client.buy("order-2", "kim", "USD", 2_000).await.unwrap();
    let reached = "select count(*) from events where event_type = 'TierChanged'";
    assert_eq!(database.count(reached).await, 3, "up, down and up again");
    let tiers = about(&database, &mail_server, "ada", "reached").await;
    assert_eq!(tiers.len(), 1, "{tiers:#?}");
    assert_eq!(about(&database, &mail_server, "ada", "earned").await.len(), 1);
    let taken = about(&database, &mail_server, "ada", "taken back").await;
    assert_eq!(taken.len(), 1, "{taken:#?}");
    assert!(taken[0].header("Subject").starts_with("115 POINTS"), "{taken:#?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn who_does_not_want_such_mails_gets_none_and_a_silent_program_sends_none() {
    let (database, server, client, mail_server) = server_with_mails(&[]).await;
    let json = std::fs::read_to_string(program(BONUS)).unwrap();
    let shipped = parse_program(&json).unwrap();
    let silent = Program { program_id: "silent".into(), mails: false, ..shipped.clone() };
    client.publish(shipped).await.unwrap();
    client.publish(silent).await.unwrap();
    for (program_id, referrer, referee) in [(BONUS, "ada", "bo"), ("silent", "cy", "di")] {
        let code = client.sign_up(program_id, referrer, "").await.unwrap().code;
        client.sign_up(program_id, referee, &code).await.unwrap();
    }
    let message = UpdateProfileRequest {
        user_id: "bo".into(),
        mail_preferences: Some(MailPreferences { reversal: Some(false), ..Default::default() }),
        ..Default::default()
    };
    client.accounts().update_profile(client.request(message)).await.unwrap();
    for (purchase_id, buyer) in [("order-b", "bo"), ("order-d", "di")] {
        client.buy(purchase_id, buyer, "USD", 1_000).await.unwrap();
        refund(&client, purchase_id, "r", None).await;
    }
    assert_eq!(about(&database, &mail_server, "ada", "taken back").await.len(), 1);
    assert_eq!(about(&database, &mail_server, "bo", "taken back").await.len(), 0);
    let message = ListMailsRequest { kind: MailKind::Reversal.into(), ..Default::default() };
    let listed = client.operators().list_mails(client.request(message)).await.unwrap();
    let mut listed: Vec<_> = listed
        .into_inner()
        .mails
        .into_iter()
        .map(|mail| (mail.user_id.clone(), mail.state(), mail.skip_reason))
        .collect();
    listed.sort_by(|one, other| one.0.cmp(&other.0));
    let of = |user_id: &str, state, reason: &str| (user_id.to_owned(), state, reason.to_owned());
    let sent = of("ada", MailState::Sent, "");
    assert_eq!(listed, [sent, of("bo", MailState::Skipped, "UNSUBSCRIBED")]);
    server.stop().await;
    database.check().await;
}
