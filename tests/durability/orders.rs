//! Reports about one purchase, delivered to two servers in many orders, end in the same state. All orders are tried on
//! the decisions themselves, in `crates/domain/src/tests/properties/orders.rs`.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;

use contract::pb::*;
use tonic::Status;

use testing::{Client, Pair, TestDatabase, check_books};

const PROGRAM: &str = "multi-level-commission";
/// How many orders are tried.
const ORDERS: usize = 30;
const PAID: i64 = 1_000_000;

/// Something that is reported about a purchase.
#[derive(Clone, Copy, Debug)]
enum Report {
    Refund(&'static str, i64),
    CancelRefund(&'static str),
    Open(&'static str, i64),
    Close(&'static str, DisputeState),
    Hold,
    Release,
}

/// All reports, each with the number of the one without which it is about something unknown.
const REPORTS: [(Report, Option<usize>); 10] = [
    (Report::Refund("part-1", 100_130), None),
    (Report::Refund("part-2", 200_001), None),
    (Report::CancelRefund("part-1"), Some(0)),
    (Report::Open("dispute-1", 650_000), None),
    (Report::Open("dispute-1", 333_333), Some(3)),
    (Report::Close("dispute-1", DisputeState::Lost), Some(4)),
    (Report::Open("dispute-2", 400_000), None),
    (Report::Close("dispute-2", DisputeState::Won), Some(6)),
    (Report::Hold, None),
    (Report::Release, Some(8)),
];

/// Numbers without a pattern, the same in every run: a linear congruential generator with the numbers of Knuth's MMIX.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// One of the orders in which nothing unknown is reported.
fn any_order(random: &mut Random) -> Vec<Report> {
    let mut taken = BTreeSet::new();
    let mut order = Vec::new();
    while order.len() < REPORTS.len() {
        let number = random.below(REPORTS.len());
        let (report, after) = REPORTS[number];
        if after.is_none_or(|after| taken.contains(&after)) && taken.insert(number) {
            order.push(report);
        }
    }
    order
}

#[allow(clippy::unnecessary_wraps, reason = "the type of the fields")]
fn inr(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "INR".into(), minor_units })
}

async fn send(client: &Client, purchase_id: &str, report: Report) -> Result<(), Status> {
    let mut purchases = client.purchases();
    let purchase_id = purchase_id.to_owned();
    match report {
        Report::Refund(refund_id, amount) => {
            let refund_id = refund_id.into();
            let amount = inr(amount);
            let message =
                RefundPurchaseRequest { purchase_id, refund_id, amount, ..Default::default() };
            purchases.refund_purchase(client.request(message)).await.map(drop)
        }
        Report::CancelRefund(refund_id) => {
            let refund_id = refund_id.into();
            let message = CancelRefundRequest { purchase_id, refund_id, ..Default::default() };
            purchases.cancel_refund(client.request(message)).await.map(drop)
        }
        Report::Open(dispute_id, amount) => {
            let (dispute_id, amount) = (dispute_id.into(), inr(amount));
            let message =
                OpenDisputeRequest { purchase_id, dispute_id, amount, ..Default::default() };
            purchases.open_dispute(client.request(message)).await.map(drop)
        }
        Report::Close(dispute_id, outcome) => {
            let (dispute_id, outcome) = (dispute_id.into(), outcome.into());
            let message =
                CloseDisputeRequest { purchase_id, dispute_id, outcome, ..Default::default() };
            purchases.close_dispute(client.request(message)).await.map(drop)
        }
        Report::Hold => {
            let reward_id = reward_id(client, &purchase_id).await?;
            let message = HoldRewardRequest { reward_id, ..Default::default() };
            client.rewards().hold_reward(client.request(message)).await.map(drop)
        }
        Report::Release => {
            let reward_id = reward_id(client, &purchase_id).await?;
            let message = ReleaseRewardRequest { reward_id, ..Default::default() };
            client.rewards().release_reward(client.request(message)).await.map(drop)
        }
    }
}

/// The direct commission for a purchase.
async fn reward_id(client: &Client, purchase_id: &str) -> Result<String, Status> {
    let outcome = client.purchase(purchase_id).await?.outcomes.remove(0);
    Ok(outcome.rewards.into_iter().find(|of| of.level == 1).unwrap().reward_id)
}

fn minor(money: Option<Money>) -> i64 {
    money.map_or(0, |of| of.minor_units)
}

/// What is left of a purchase: refunded and disputed, each reward with what was reversed of it and what is pending, and
/// each participant with what is pending and what is available.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    price: (i64, i64),
    rewards: BTreeSet<(i32, i64, i64, i64)>,
    buckets: Vec<(i64, i64)>,
    status: i32,
}

async fn left(client: &Client, names: &[String], purchase_id: &str) -> Left {
    let answer = client.purchase(purchase_id).await.unwrap();
    let purchase = answer.purchase.unwrap();
    let rewards = answer.outcomes[0].rewards.iter().cloned();
    let rewards = rewards
        .map(|of| (of.level, minor(of.amount), minor(of.reversed), minor(of.pending)))
        .collect();
    let mut buckets = Vec::new();
    for name in names {
        // The stream of each was changed by the last report, so what it has by now is read from there.
        let message = GetBalancesRequest {
            program_id: PROGRAM.into(),
            user_id: name.clone(),
            consistency_token: token(client, name).await,
            ..Default::default()
        };
        let balances = client.rewards().get_balances(client.request(message)).await.unwrap();
        let of = balances.into_inner().buckets.remove(0);
        buckets.push((minor(of.pending), minor(of.available)));
    }
    let buyer = client.user(names.last().unwrap()).await.unwrap();
    Left {
        price: (minor(purchase.refunded), minor(purchase.disputed)),
        rewards,
        buckets,
        status: buyer.participants[0].referral_status,
    }
}

/// A token that sees everything so far, which is the one of a change.
async fn token(client: &Client, name: &str) -> String {
    let message = UpdateProfileRequest {
        user_id: name.into(),
        display_name: Some(format!("{name}, once more")),
        ..Default::default()
    };
    let answer = client.accounts().update_profile(client.request(message)).await.unwrap();
    answer.into_inner().consistency_token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_that_reach_two_servers_in_any_order_end_in_the_same_state() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(PROGRAM).await;
    let mut random = Random(7);
    let mut first: Option<Left> = None;
    for number in 0..ORDERS {
        let names = ["top", "owner", "buyer"].map(|name| format!("{name}-{number}"));
        let mut code = String::new();
        for name in &names {
            let user = pair.client(0).sign_up(PROGRAM, name, &code).await.unwrap();
            code.clone_from(&user.response.participants[0].code);
        }
        let purchase_id = format!("order-{number}");
        pair.client(number).buy(&purchase_id, &names[2], "INR", PAID).await.unwrap();
        let order = any_order(&mut random);
        for report in &order {
            // Some are delivered again, perhaps to the other server.
            let deliveries = if random.below(4) == 0 { 2 } else { 1 };
            for _ in 0..deliveries {
                let client = pair.client(random.below(2));
                send(&client, &purchase_id, *report).await.unwrap();
            }
        }
        let left = left(&pair.client(number), &names, &purchase_id).await;
        assert_eq!(left.price, (533_334, 0), "{order:?}");
        match &first {
            Some(first) => assert_eq!(left, *first, "{order:?}"),
            None => first = Some(left),
        }
    }
    check_books(&database).await;
    pair.stop().await;
    database.check().await;
}
