//! Rewards that decisions about referrals take back and give back, while purchases arrive and servers are killed.

use std::time::Duration;

use contract::pb::*;

use crate::contention::uncapped;
use testing::{Client, Pair, TestDatabase, at_once, check_books, sign_up_request};

const COMMISSION: &str = "multi-level-commission";
const BUYERS: usize = 6;
const PRICE: i64 = 100_000;

/// `top` referred `owner` from the same device, and `owner` referred the buyers. Returns the flag of owner's referral.
async fn flagged_line(pair: &Pair, database: &TestDatabase) -> String {
    let check = Some(FraudCheck { policy: FraudPolicy::Flag.into() });
    let checks = FraudChecks { fingerprint: check, ..Default::default() };
    let program = Program { fraud_checks: Some(checks), ..uncapped() };
    pair.client(0).publish(program).await.unwrap();
    let mut code = String::new();
    for name in ["top", "owner"] {
        let request = RegisterUserRequest {
            fingerprint: "one device".into(),
            ..sign_up_request(COMMISSION, name, &code)
        };
        let answer = pair.client(0).register(request).await.unwrap();
        code.clone_from(&answer.participants[0].code);
    }
    for buyer in 0..BUYERS {
        let name = format!("buyer-{buyer}");
        pair.client(buyer).sign_up(COMMISSION, &name, &code).await.unwrap();
    }
    let flag = "select aggregate_id from events where event_type = 'FraudFlagRaised'";
    sqlx::query_scalar(flag).fetch_one(&database.pool).await.unwrap()
}

async fn decide(client: Client, flag_id: String, takes_back: bool) {
    let decision = if takes_back { FraudDecision::Rejected } else { FraudDecision::Released };
    let request = ResolveFraudFlagRequest {
        flag_id,
        decision: decision.into(),
        reverse_rewards: takes_back,
        ..Default::default()
    };
    client.fraud().resolve_fraud_flag(client.request(request)).await.unwrap();
}

async fn buy(client: Client, buyer: String, first: usize, count: usize) {
    for number in first..first + count {
        client.buy(&format!("{buyer}-{number}"), &buyer, "INR", PRICE).await.unwrap();
    }
}

/// Waits until a job was done for each decision.
async fn settled(database: &TestDatabase) {
    let open = "select (select count(*) from jobs where kind = 'settle_line' and state in ('queued', 'running'))
        + (select count(*) from events where event_type = 'ReferralStandingChanged'
            and payload ? 'settles_purchases' and position > (
                select max(position) from reaction_checkpoints where reaction = 'settle_line'))";
    for _ in 0..2_400 {
        if database.count(open).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} jobs are left", database.count(open).await);
}

/// What `top` has earned by level: from purchases by owner, and from those by the buyers.
async fn of_top(database: &TestDatabase) -> (i64, i64) {
    let level = |level: i32| {
        format!(
            "select coalesce(sum((payload -> 'posting' ->> 'amount')::bigint), 0)::bigint from events
             where aggregate_id = '{COMMISSION}/top' and payload ? 'posting'
                 and (payload ->> 'level')::integer = {level} and not payload -> 'posting' ? 'from'"
        )
    };
    (database.count(&level(1)).await, database.count(&level(2)).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rejected_referral_has_earned_is_taken_back_wholly_though_a_server_is_killed() {
    const BEFORE: usize = 40;
    const MEANWHILE: usize = 30;
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let flag_id = flagged_line(&pair, &database).await;
    let names = || (0..BUYERS).map(|buyer| format!("buyer-{buyer}")).chain(["owner".to_owned()]);
    at_once(names().enumerate().map(|(number, name)| buy(pair.client(number), name, 0, BEFORE)))
        .await;
    let all = i64::try_from(BUYERS * BEFORE).unwrap();
    assert_eq!(of_top(&database).await, (40 * 5_000, all * 1_000));

    // Purchases go on while the decision is made: each is before it, or finds the referral rejected.
    let buying = names().map(|name| buy(pair.client(1), name, BEFORE, MEANWHILE));
    let buying = tokio::spawn(at_once(buying.collect::<Vec<_>>()));
    decide(pair.client(1), flag_id.clone(), true).await;
    let Pair { first, second, .. } = pair;
    let done = "select count(*) from events where event_type = 'PurchaseReferralRejected'";
    while database.count(done).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.kill().await;
    // If it was doing the job, another one begins it again when its time is over.
    let over = "update jobs set run_after = now() where kind = 'settle_line' and state = 'running'";
    sqlx::query(over).execute(&database.pool).await.unwrap();
    buying.await.unwrap();
    settled(&database).await;
    assert_eq!(of_top(&database).await, (0, 0));
    let twice = "select count(*) from (
            select aggregate_id from events where event_type = 'PurchaseReferralRejected'
            group by aggregate_id having count(*) > 1) as twice";
    assert_eq!(database.count(twice).await, 0, "each purchase is settled once");

    decide(second.client(), flag_id, false).await;
    settled(&database).await;
    // What was bought before the decision is given back; what was bought meanwhile earned, or was withheld and made up.
    let made_up =
        "select count(*) from jobs where kind = 'make_up' and state in ('queued', 'running')";
    for _ in 0..1_200 {
        if database.count(made_up).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let bought = i64::try_from(BEFORE + MEANWHILE).unwrap();
    let buyers = i64::try_from(BUYERS).unwrap();
    assert_eq!(of_top(&database).await, (bought * 5_000, bought * buyers * 1_000));
    check_books(&database).await;
    second.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_contrary_decisions_at_once_the_rewards_are_those_of_the_last_one() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let flag_id = flagged_line(&pair, &database).await;
    let names = || (0..BUYERS).map(|buyer| format!("buyer-{buyer}")).chain(["owner".to_owned()]);
    at_once(names().enumerate().map(|(number, name)| buy(pair.client(number), name, 0, 5))).await;
    for round in 0..4 {
        let decisions = (0..6)
            .map(|number| decide(pair.client(number), flag_id.clone(), (number + round) % 2 == 0));
        at_once(decisions.collect::<Vec<_>>()).await;
    }
    settled(&database).await;
    let last = "select (payload ? 'reverses_rewards')::integer::bigint from events
        where event_type = 'FraudFlagResolved' order by position desc limit 1";
    let is_taken = database.count(last).await == 1;
    let buyers = i64::try_from(BUYERS).unwrap();
    let expected = if is_taken { (0, 0) } else { (25_000, buyers * 5 * 1_000) };
    assert_eq!(of_top(&database).await, expected);
    let status = pair.client(0).user("owner").await.unwrap().participants[0].referral_status();
    let expected = if is_taken { ReferralStatus::Rejected } else { ReferralStatus::Converted };
    assert_eq!(status, expected);
    check_books(&database).await;
    pair.stop().await;
    database.check().await;
}
