//! Refunds that race, on two servers: with each other, with purchases, and with repetitions of themselves.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use contract::parse_program;
use contract::pb::*;
use tonic::Status;

use testing::{Client, Pair, TestDatabase, at_once, check_books, events_in, program};

const COMMISSION: &str = "multi-level-commission";

async fn refund(
    client: Client,
    purchase_id: &'static str,
    refund_id: String,
    minor_units: i64,
) -> Result<RefundPurchaseResponse, Status> {
    let amount = Money { currency_code: "INR".into(), minor_units };
    let message = RefundPurchaseRequest {
        purchase_id: purchase_id.into(),
        refund_id,
        amount: Some(amount).filter(|amount| amount.minor_units > 0),
        ..RefundPurchaseRequest::default()
    };
    Ok(client.purchases().refund_purchase(client.request(message)).await?.into_inner())
}

/// Two servers, and a line of participants in the program.
async fn line(names: &[&str]) -> (TestDatabase, Pair) {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(COMMISSION).await;
    let mut code = String::new();
    for name in names {
        let user = pair.client(0).sign_up(COMMISSION, name, &code).await.unwrap();
        code.clone_from(&user.response.participants[0].code);
    }
    (database, pair)
}

/// Waits until the balance of a participant is what it must be, and stays so.
async fn comes_to(client: &Client, user_id: &str, expected: i64) {
    let mut found = 0;
    for _ in 0..500 {
        let message = GetBalancesRequest {
            program_id: COMMISSION.into(),
            user_id: user_id.into(),
            ..GetBalancesRequest::default()
        };
        let balances = client.rewards().get_balances(client.request(message)).await.unwrap();
        found = balances.into_inner().balances[0].minor_units;
        if found == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{user_id} has {found} instead of {expected}");
}

async fn status(client: &Client, user_id: &str) -> ReferralStatus {
    let user = client.user(user_id).await.unwrap();
    user.participants[0].referral_status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_refund_delivered_ten_times_at_once_counts_once() {
    let (database, pair) = line(&["ana", "bea"]).await;
    pair.client(0).buy("order", "bea", "INR", 200_000).await.unwrap();
    let calls = (0..10).map(|number| refund(pair.client(number), "order", "re-1".into(), 50_000));
    let answers = at_once(calls).await;
    let first = answers[0].as_ref().unwrap();
    for answer in &answers {
        let answer = answer.as_ref().unwrap();
        assert_eq!((&answer.refund, &answer.reversals), (&first.refund, &first.reversals));
    }
    comes_to(&pair.client(0), "ana", 7_500).await;
    assert_eq!(events_in(&database, "order", "PurchaseRefunded").await, 1);
    check_books(&database).await;
    database.check().await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_at_once_never_exceed_what_was_paid() {
    let (database, pair) = line(&["ana", "bea"]).await;
    pair.client(0).buy("order", "bea", "INR", 200_000).await.unwrap();
    let calls =
        (0..14).map(|number| refund(pair.client(number), "order", format!("re-{number}"), 20_000));
    let answers = at_once(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    comes_to(&pair.client(0), "ana", 0).await;
    assert_eq!(status(&pair.client(1), "bea").await, ReferralStatus::Pending);
    database.check().await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_that_races_with_the_refund_of_the_only_other_one_keeps_or_makes_the_conversion()
{
    let (database, pair) = line(&["ana", "bea"]).await;
    let orders: Vec<&'static str> =
        (0..30).map(|number| &*Box::leak(format!("order-{number}").into_boxed_str())).collect();
    pair.client(0).buy(orders[0], "bea", "INR", 200_000).await.unwrap();
    for (number, pair_of) in orders.windows(2).enumerate() {
        let (old, new) = (pair_of[0], pair_of[1]);
        let (buyer, shop) = (pair.client(number), pair.client(number + 1));
        let (bought, given_back) = tokio::join!(
            async move { buyer.buy(new, "bea", "INR", 200_000).await },
            refund(shop, old, "all".into(), 0),
        );
        bought.unwrap();
        given_back.unwrap();
        // Whichever was first, one purchase stands.
        assert_eq!(status(&pair.client(0), "bea").await, ReferralStatus::Converted, "{number}");
        comes_to(&pair.client(0), "ana", 10_000).await;
    }
    let last = *orders.last().unwrap();
    let answer = refund(pair.client(0), last, "all".into(), 0).await.unwrap();
    assert_eq!(answer.unconverted_program_ids, [COMMISSION]);
    assert_eq!(status(&pair.client(1), "bea").await, ReferralStatus::Pending);
    check_books(&database).await;
    database.check().await;
    pair.stop().await;
}

async fn cancel(client: Client, purchase_id: &'static str) {
    let (purchase_id, refund_id) = (purchase_id.into(), "all".into());
    let message = CancelRefundRequest { purchase_id, refund_id, ..CancelRefundRequest::default() };
    client.purchases().cancel_refund(client.request(message)).await.unwrap();
}

/// The cap is full, so that nothing can be given back: only the buyer's stream moves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_is_cancelled_while_the_only_other_purchase_is_refunded_keeps_the_conversion()
{
    let (database, pair) = line(&["ana", "bea"]).await;
    let name = |kind, number| &*Box::leak(format!("{kind}-{number}").into_boxed_str());
    for number in 0..20 {
        let (small, large): (&'static str, &'static str) = (name("a", number), name("b", number));
        let (one, other) = (pair.client(number), pair.client(number + 1));
        one.buy(small, "bea", "INR", 100_000).await.unwrap();
        refund(one.clone(), small, "all".into(), 0).await.unwrap();
        assert_eq!(status(&one, "bea").await, ReferralStatus::Pending, "{number}");
        one.buy(large, "bea", "INR", 2_000_000).await.unwrap();
        let (given_back, ()) =
            tokio::join!(refund(other, large, "all".into(), 0), cancel(one.clone(), small),);
        given_back.unwrap();
        assert_eq!(status(&one, "bea").await, ReferralStatus::Converted, "{number}");
        refund(one, small, "again".into(), 0).await.unwrap();
    }
    check_books(&database).await;
    database.check().await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_purchases_of_a_buyer_refunded_at_once_undo_the_conversion_once() {
    let (database, pair) = line(&["ana", "bea"]).await;
    let orders: Vec<&'static str> =
        (0..40).map(|number| &*Box::leak(format!("order-{number}").into_boxed_str())).collect();
    for order in &orders {
        pair.client(0).buy(order, "bea", "INR", 100_000).await.unwrap();
    }
    let calls = orders.iter().enumerate();
    let calls = calls.map(|(number, order)| refund(pair.client(number), order, "all".into(), 0));
    let answers = at_once(calls).await;
    let unconverted = answers.iter().flat_map(|of| &of.as_ref().unwrap().unconverted_program_ids);
    assert_eq!(unconverted.count(), 1);
    comes_to(&pair.client(0), "ana", 0).await;
    assert_eq!(events_in(&database, &format!("{COMMISSION}/bea"), "ReferralUnconverted").await, 1);
    database.check().await;
    pair.stop().await;
}

/// The refund is decided on the purchase, which is loaded, and on a program that was in memory before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_reaches_a_server_that_has_not_seen_the_version_of_the_purchase_yet() {
    let (database, pair) = line(&["ana", "bea"]).await;
    let (first, second) = (pair.client(0), pair.client(1));
    second.buy("known", "bea", "INR", 100_000).await.unwrap();
    for number in 0..5 {
        let json = std::fs::read_to_string(program(COMMISSION)).unwrap();
        let version =
            Program { max_direct_referrals: Some(100 + number), ..parse_program(&json).unwrap() };
        first.publish(version).await.unwrap();
        let order = &*Box::leak(format!("order-{number}").into_boxed_str());
        first.buy(order, "bea", "INR", 200_000).await.unwrap();
        refund(second.clone(), order, "all".into(), 0).await.unwrap();
        comes_to(&second, "ana", 5_000).await;
    }
    database.check().await;
    pair.stop().await;
}
