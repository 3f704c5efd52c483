//! The rewards store on two servers: never below zero, never more than the stock, one effect for each redemption, and
//! nobody else pays for a rush.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contract::pb::*;
use tonic::{Code, Status};

use testing::{
    ADMIN_KEY, Client, Pair, Server, TestDatabase, at_once, check_books, events_in, reason,
};

use crate::expected::check_read_models;

const LINES: &str = "multi-level-commission";

fn item(item_id: &str, cost: i64, stock: Option<i32>) -> PublishItemRequest {
    PublishItemRequest {
        program_id: LINES.into(),
        item_id: item_id.into(),
        name: "A mug".into(),
        cost: Some(Money { currency_code: "INR".into(), minor_units: cost }),
        stock,
        ..Default::default()
    }
}

async fn publish(client: &Client, message: PublishItemRequest) {
    client.store().publish_item(client.request(message)).await.unwrap();
}

async fn redeem(
    client: Client,
    user_id: String,
    redemption_id: String,
    item_id: &str,
) -> Result<RedeemResponse, Status> {
    let message = RedeemRequest {
        program_id: LINES.into(),
        user_id,
        redemption_id,
        item_id: item_id.into(),
        ..Default::default()
    };
    // Under contention a command may have to be sent again, as the contract says.
    loop {
        match client.store().redeem(client.request(message.clone())).await {
            Err(status) if status.code() == Code::Aborted => {}
            answer => return Ok(answer?.into_inner()),
        }
    }
}

async fn cancel(client: Client, redemption_id: String) -> Result<(), Status> {
    let program_id = LINES.into();
    let message = CancelRedemptionRequest { program_id, redemption_id, ..Default::default() };
    loop {
        match client.store().cancel_redemption(client.request(message.clone())).await {
            Err(status) if status.code() == Code::Aborted => {}
            answer => return answer.map(drop),
        }
    }
}

/// Signs somebody up and gives them something to spend.
async fn rich(client: &Client, user_id: &str, minor_units: i64) {
    client.sign_up(LINES, user_id, "").await.unwrap();
    let message = AdjustBalanceRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        adjustment_id: "gift".into(),
        amount: Some(Money { currency_code: "INR".into(), minor_units }),
        reason_code: "test".into(),
        ..Default::default()
    };
    let made = client.rewards().adjust_balance(client.request(message)).await.unwrap();
    assert_eq!(made.into_inner().state(), ApprovalState::Waived);
}

async fn scene() -> (TestDatabase, Pair) {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(LINES).await;
    (database, pair)
}

/// What is available to somebody, by their last entry.
async fn available(database: &TestDatabase, user_id: &str) -> i64 {
    let last = format!(
        "select coalesce((payload -> 'posting' -> 'after' ->> 'available')::bigint, 0) from events
         where aggregate_id = '{LINES}/{user_id}' and payload ? 'posting' order by position desc limit 1"
    );
    database.count(&last).await
}

/// How many balances were ever below zero.
async fn below_zero(database: &TestDatabase) -> i64 {
    let below = "select count(*) from events
        where (payload -> 'posting' -> 'after' ->> 'available')::bigint < 0";
    database.count(below).await
}

async fn finish(database: TestDatabase, pair: Pair) {
    assert_eq!(below_zero(&database).await, 0);
    check_read_models(&database).await;
    pair.stop().await;
    check_books(&database).await;
    database.check().await;
}

fn refusals(answers: &[Result<RedeemResponse, Status>]) -> Vec<String> {
    answers.iter().filter_map(|answer| Some(reason(answer.as_ref().err()?).1)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_forty_who_redeem_at_once_ten_get_the_ten_pieces() {
    let (database, pair) = scene().await;
    publish(&pair.client(0), item("mug", 500, Some(10))).await;
    for number in 0..40 {
        rich(&pair.client(number), &format!("u{number}"), 500).await;
    }
    let calls = (0..40).map(|number| {
        redeem(pair.client(number), format!("u{number}"), format!("r{number}"), "mug")
    });
    let answers = at_once(calls).await;
    assert_eq!(refusals(&answers), vec!["OUT_OF_STOCK"; 30]);
    assert_eq!(events_in(&database, &format!("{LINES}/mug"), "ItemTaken").await, 10);
    let spendings = "select count(*) from events where event_type = 'BalanceSpent'";
    assert_eq!(database.count(spendings).await, 10);
    finish(database, pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_can_pay_three_gets_three_of_twenty_at_once() {
    let (database, pair) = scene().await;
    publish(&pair.client(0), item("mug", 500, None)).await;
    rich(&pair.client(0), "ana", 1_999).await;
    let calls = (0..20)
        .map(|number| redeem(pair.client(number), "ana".into(), format!("r{number}"), "mug"));
    let answers = at_once(calls).await;
    assert_eq!(refusals(&answers), vec!["INSUFFICIENT_BALANCE"; 17]);
    assert_eq!(available(&database, "ana").await, 499);
    finish(database, pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_more_than_a_person_can_have_in_a_race() {
    let (database, pair) = scene().await;
    let limited = PublishItemRequest { per_person_limit: Some(2), ..item("mug", 5, None) };
    publish(&pair.client(0), limited).await;
    rich(&pair.client(0), "ana", 5_000).await;
    let calls = (0..16)
        .map(|number| redeem(pair.client(number), "ana".into(), format!("r{number}"), "mug"));
    let answers = at_once(calls).await;
    assert_eq!(refusals(&answers), vec!["ITEM_LIMIT_REACHED"; 14]);
    assert_eq!(available(&database, "ana").await, 4_990);
    finish(database, pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_redemption_ten_times_at_once_is_paid_once() {
    let (database, pair) = scene().await;
    publish(&pair.client(0), item("mug", 500, Some(1))).await;
    rich(&pair.client(0), "ana", 5_000).await;
    let calls = (0..10).map(|number| redeem(pair.client(number), "ana".into(), "r".into(), "mug"));
    let answers: Vec<_> = at_once(calls).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.redemption == answers[0].redemption));
    assert!(answers.iter().all(|answer| answer.entries == answers[0].entries));
    assert_eq!(available(&database, "ana").await, 4_500);
    // And another one with its id is refused, on whichever server.
    publish(&pair.client(0), item("cap", 500, None)).await;
    for number in 0..2 {
        let other = redeem(pair.client(number), "ana".into(), "r".into(), "cap").await;
        let known = (Code::AlreadyExists, "REDEMPTION_ID_REUSED".to_owned());
        assert_eq!(reason(&other.unwrap_err()), known);
    }
    finish(database, pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellations_and_redemptions_at_once_leave_one_owner_and_every_amount() {
    let (database, pair) = scene().await;
    publish(&pair.client(0), item("mug", 500, Some(1))).await;
    for user_id in ["ana", "bob"] {
        rich(&pair.client(0), user_id, 500).await;
    }
    let mut owner = "ana".to_owned();
    redeem(pair.client(0), owner.clone(), "r0".into(), "mug").await.unwrap();
    for round in 1..=6 {
        let other = if owner == "ana" { "bob" } else { "ana" };
        let before = format!("r{}", round - 1);
        let cancelling = (0..4).map(|number| cancel(pair.client(number), before.clone()));
        let redeeming = redeem(pair.client(1), other.into(), format!("r{round}"), "mug");
        let (cancelled, redeemed) = tokio::join!(at_once(cancelling), redeeming);
        assert!(cancelled.iter().all(Result::is_ok), "{cancelled:?}");
        // Whether the piece came back in time is open; that one of them has it at most is not.
        if let Err(refusal) = redeemed {
            assert_eq!(reason(&refusal).1, "OUT_OF_STOCK");
            redeem(pair.client(0), other.into(), format!("r{round}"), "mug").await.unwrap();
        }
        owner = other.to_owned();
        let sum = available(&database, "ana").await + available(&database, "bob").await;
        assert_eq!((sum, available(&database, &owner).await), (500, 0), "round {round}");
        let returned = format!(
            "select count(*) from events where event_type = 'SpendingReturned'
                and payload ->> 'redemption_id' = '{before}'"
        );
        assert_eq!(database.count(&returned).await, 1);
    }
    finish(database, pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fulfilment_and_a_cancellation_at_once_are_one_of_the_two() {
    let (database, pair) = scene().await;
    publish(&pair.client(0), item("mug", 100, None)).await;
    rich(&pair.client(0), "ana", 1_000).await;
    for round in 0..6 {
        let id = format!("r{round}");
        redeem(pair.client(round), "ana".into(), id.clone(), "mug").await.unwrap();
        let before = available(&database, "ana").await;
        let fulfil = async |client: Client| loop {
            let message = FulfilRedemptionRequest {
                program_id: LINES.into(),
                redemption_id: id.clone(),
                ..Default::default()
            };
            match client.store().fulfil_redemption(client.request(message)).await {
                Err(status) if status.code() == Code::Aborted => {}
                answer => return answer.map(drop),
            }
        };
        let (fulfilled, cancelled) =
            tokio::join!(fulfil(pair.client(0)), cancel(pair.client(1), id.clone()));
        let returned = available(&database, "ana").await - before;
        match (fulfilled, cancelled) {
            (Ok(()), Err(late)) => {
                assert_eq!((reason(&late).1.as_str(), returned), ("REDEMPTION_FULFILLED", 0));
            }
            (Err(late), Ok(())) => {
                assert_eq!((reason(&late).1.as_str(), returned), ("REDEMPTION_CANCELLED", 100));
            }
            both => panic!("{both:?}"),
        }
    }
    finish(database, pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_in_the_middle_leaves_each_redemption_whole_or_none() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let client = pair.client(0);
    client.publish_shipped(LINES).await;
    publish(&client, item("mug", 10, Some(150))).await;
    for number in 0..10 {
        rich(&client, &format!("u{number}"), 1_000).await;
    }
    // Each caller goes on with the other server when its own is gone, and repeats what it has no answer to.
    let second = pair.client(1);
    let first = pair.client(0);
    let tasks: Vec<_> = (0..10)
        .map(|caller| {
            let (first, second) = (first.clone(), second.clone());
            tokio::spawn(async move {
                let mut got = 0;
                for number in 0..30 {
                    let (user, id) = (format!("u{caller}"), format!("r{caller}-{number}"));
                    let mut answer = redeem(first.clone(), user.clone(), id.clone(), "mug").await;
                    while let Err(status) = &answer {
                        if reason(status).1 == "OUT_OF_STOCK" {
                            break;
                        }
                        answer = redeem(second.clone(), user.clone(), id.clone(), "mug").await;
                    }
                    got += u32::from(answer.is_ok());
                }
                got
            })
        })
        .collect();
    let made = "select count(*) from events where event_type = 'RedemptionMade'";
    while database.count(made).await < 20 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let Pair { first: killed, second: survivor, .. } = pair;
    killed.kill().await;
    let before = database.count(made).await;
    assert!(before < 150, "the server was killed after the last piece was gone");
    let mut got = 0;
    for task in tasks {
        got += task.await.unwrap();
    }
    assert_eq!(got, 150);
    let whole = "select count(*) from events as made
        join events as spent on spent.event_type = 'BalanceSpent'
            and spent.payload ->> 'redemption_id' = substr(made.aggregate_id, strpos(made.aggregate_id, '/') + 1)
        join events as taken on taken.event_type = 'ItemTaken'
            and taken.payload ->> 'redemption_id' = spent.payload ->> 'redemption_id'
        where made.event_type = 'RedemptionMade'";
    assert_eq!(database.count(whole).await, 150);
    for event_type in ["RedemptionMade", "BalanceSpent", "ItemTaken"] {
        let all = format!("select count(*) from events where event_type = '{event_type}'");
        assert_eq!(database.count(&all).await, 150, "{event_type}");
    }
    assert_eq!(below_zero(&database).await, 0);
    check_read_models(&database).await;
    drop((first, second));
    survivor.stop().await;
    check_books(&database).await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_for_the_last_piece_keep_nobody_from_buying() {
    const RUSH: usize = 1_000;
    let (database, pair) = scene().await;
    publish(&pair.client(0), item("mug", 10, Some(1))).await;
    for number in 0..20 {
        rich(&pair.client(number), &format!("u{number}"), 1_000).await;
    }
    pair.client(0).sign_up(LINES, "buyer", "").await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let buying = {
        let (client, is_over) = (buyer_client(&pair.second).await, is_over.clone());
        tokio::spawn(async move {
            let mut bought = 0;
            while !is_over.load(Ordering::Relaxed) {
                client.buy(&format!("order-{bought}"), "buyer", "INR", 1_000).await.unwrap();
                bought += 1;
            }
            bought
        })
    };
    let begin = std::time::Instant::now();
    let calls = (0..RUSH).map(|number| {
        redeem(pair.client(number), format!("u{}", number % 20), format!("r{number}"), "mug")
    });
    let answers = at_once(calls).await;
    let took = begin.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let bought: u32 = buying.await.unwrap();
    println!("{RUSH} at once for the last piece took {took:?}; {bought} purchases meanwhile");
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(refusals(&answers), vec!["OUT_OF_STOCK"; RUSH - 1]);
    assert!(bought > 0, "no purchase was recorded during the rush");
    assert_eq!(events_in(&database, &format!("{LINES}/mug"), "ItemTaken").await, 1);
    finish(database, pair).await;
}

/// A connection of one's own.
async fn buyer_client(server: &Server) -> Client {
    server.separate_client(Some(ADMIN_KEY)).await
}
