//! Decisions that take back what was granted because of a referral.

use contract::pb::*;
use testing::check_books;

use super::*;
use crate::support::{PATIENCE, granted, only_outcome, server_with};

const PRICE: i64 = 200_000;

/// Referrals between users of one device are flagged, and count all the same.
fn flagging_devices() -> FraudChecks {
    FraudChecks { fingerprint: with_policy(FraudPolicy::Flag), ..Default::default() }
}

/// Signs somebody up, and returns their code.
async fn sign_up(
    client: &Client,
    program_id: &str,
    user_id: &str,
    fingerprint: &str,
    code: &str,
) -> String {
    let email = format!("{user_id}@corp.example");
    let request = RegisterUserRequest {
        fingerprint: fingerprint.into(),
        ..with_address(program_id, user_id, &email, code)
    };
    client.register(request).await.unwrap().participants[0].code.clone()
}

async fn decide(
    client: &Client,
    flag_id: &str,
    decision: FraudDecision,
    reverse_rewards: bool,
) -> FraudFlag {
    let request = ResolveFraudFlagRequest {
        flag_id: flag_id.into(),
        decision: decision.into(),
        reverse_rewards,
        ..Default::default()
    };
    let answer = client.fraud().resolve_fraud_flag(client.request(request)).await.unwrap();
    answer.into_inner().flag.expect("the read models are up to date")
}

/// Waits until all jobs of decisions are done, of which there are so many.
async fn settled(database: &testing::TestDatabase, jobs: i64) {
    let done = "select count(*) from jobs where kind = 'settle_line' and state = 'done'";
    let end = tokio::time::Instant::now() + PATIENCE;
    while database.count(done).await < jobs {
        assert!(tokio::time::Instant::now() < end, "the jobs are not done");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(database.count(done).await, jobs);
}

async fn uses(client: &Client, user_id: &str) -> i32 {
    let request = GetReferralStatsRequest {
        program_id: COMMISSION.into(),
        user_id: user_id.into(),
        consistency_token: newest(client).await,
    };
    let answer = client.referrals().get_referral_stats(client.request(request)).await.unwrap();
    answer.into_inner().uses
}

#[tokio::test]
async fn a_rejected_referral_loses_what_it_has_earned_on_every_level_and_gets_it_back() {
    let (database, server, client) = server_with(&[]).await;
    client.publish(checked(COMMISSION, flagging_devices())).await.unwrap();
    let mut code = String::new();
    for (name, device) in [("ada", "one device"), ("bob", "one device"), ("cem", "another")] {
        code = sign_up(&client, COMMISSION, name, device, &code).await;
    }
    for buyer in ["bob", "cem"] {
        let answer = client.buy(&format!("of-{buyer}"), buyer, "INR", PRICE).await.unwrap();
        assert!(only_outcome(&answer).qualified);
    }
    let now = async || {
        let of_ada = earned(&client, COMMISSION, "ada").await;
        (of_ada, earned(&client, COMMISSION, "bob").await)
    };
    assert_eq!(now().await, (12_000, 10_000));
    let flag = only_flag(&client).await;
    assert_eq!(flag.referral_status(), ReferralStatus::Converted);

    // Rejected without more, a referral that has converted goes on.
    let rejected = decide(&client, &flag.flag_id, FraudDecision::Rejected, false).await;
    assert_eq!(rejected.referral_status(), ReferralStatus::Converted);
    assert!(!rejected.reverses_rewards);
    assert_eq!((now().await, uses(&client, "ada").await), ((12_000, 10_000), 1));

    let taken = decide(&client, &flag.flag_id, FraudDecision::Rejected, true).await;
    assert!(taken.reverses_rewards);
    assert_eq!(taken.referral_status(), ReferralStatus::Rejected);
    settled(&database, 1).await;
    // Of bob's purchase all, of cem's what bob's referral had brought up to ada.
    assert_eq!((now().await, uses(&client, "ada").await), ((0, 10_000), 0));
    let of_cem = client.purchase("of-cem").await.unwrap().outcomes.remove(0);
    let reversed: Vec<_> = of_cem
        .rewards
        .iter()
        .map(|of| (of.level, of.reversed.as_ref().map_or(0, |of| of.minor_units)))
        .collect();
    assert_eq!(reversed, [(1, 0), (2, 2_000)]);
    let doors = "select count(*) from events where metadata ->> 'door' = 'job:settle_line'";
    assert_eq!(database.count(doors).await, 2, "one command for each purchase");
    // The same again is the same decision.
    decide(&client, &flag.flag_id, FraudDecision::Rejected, true).await;
    let decisions = "select count(*) from events where event_type = 'FraudFlagResolved'";
    assert_eq!(database.count(decisions).await, 2);

    let released = decide(&client, &flag.flag_id, FraudDecision::Released, false).await;
    assert!(!released.reverses_rewards);
    settled(&database, 2).await;
    assert_eq!((now().await, uses(&client, "ada").await), ((12_000, 10_000), 1));
    assert_eq!(place(&client, COMMISSION, "bob").await, ReferralStatus::Converted);
    let later = client.buy("later", "bob", "INR", PRICE).await.unwrap();
    assert_eq!(granted(only_outcome(&later)), [("ada", 1, 10_000)]);
    check_books(&database).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn points_by_tier_go_down_with_the_referral_and_up_again() {
    let (database, server, client) = server_with(&[]).await;
    client.publish(checked(POINTS, flagging_devices())).await.unwrap();
    let code = sign_up(&client, POINTS, "ada", "one device", "").await;
    let mut points = vec![0];
    for number in 1..=6 {
        let name = format!("referee-{number}");
        sign_up(&client, POINTS, &name, "one device", &code).await;
        points.push(earned(&client, POINTS, "ada").await);
    }
    let flags = flags(&client).await;
    assert_eq!(flags.len(), 6);
    for (taken, flag) in flags.iter().take(3).enumerate() {
        let after = decide(&client, &flag.flag_id, FraudDecision::Rejected, true).await;
        assert_eq!(after.referral_status(), ReferralStatus::Rejected);
        assert_eq!(earned(&client, POINTS, "ada").await, points[5 - taken]);
    }
    for (given, flag) in flags.iter().take(3).enumerate() {
        let after = decide(&client, &flag.flag_id, FraudDecision::Released, false).await;
        assert_eq!(after.referral_status(), ReferralStatus::Converted);
        assert_eq!(earned(&client, POINTS, "ada").await, points[4 + given]);
    }
    settled(&database, 6).await;
    assert_eq!(earned(&client, POINTS, "ada").await, points[6]);
    check_books(&database).await;
    server.stop().await;
    database.check().await;
}
