//! Operators who decide about one flag at the same time, on two servers.

use contract::pb::*;
use testing::{Client, Pair, TestDatabase, at_once, sign_up_request};

const POINTS: &str = "tiered-points";
const FLAGS: usize = 8;
/// What operators decide at once; nobody knows in which order.
const DECISIONS: [FraudDecision; 6] = [
    FraudDecision::Released,
    FraudDecision::Rejected,
    FraudDecision::Rejected,
    FraudDecision::RejectedAndDeactivated,
    FraudDecision::Released,
    FraudDecision::RejectedAndDeactivated,
];

async fn decide(client: Client, flag_id: String, decision: FraudDecision) {
    let request =
        ResolveFraudFlagRequest { flag_id, decision: decision.into(), ..Default::default() };
    client.fraud().resolve_fraud_flag(client.request(request)).await.unwrap();
}

async fn get(client: &Client, flag_id: &str, token: &str) -> FraudFlag {
    let request = GetFraudFlagRequest { flag_id: flag_id.into(), consistency_token: token.into() };
    let answer = client.fraud().get_fraud_flag(client.request(request)).await.unwrap();
    answer.into_inner().flag.unwrap()
}

/// The decisions about a flag in the order of the log, each with the one that it replaced.
async fn decided(database: &TestDatabase, flag_id: &str) -> Vec<(String, Option<String>)> {
    sqlx::query_as(
        "select payload ->> 'decision', payload ->> 'previous_decision' from events
         where aggregate_id = $1 and event_type = 'FraudFlagResolved' order by position",
    )
    .bind(flag_id)
    .fetch_all(&database.pool)
    .await
    .unwrap()
}

/// What becomes of a held referral and of its referee after these decisions.
fn outcome(decisions: &[(String, Option<String>)]) -> (ReferralStatus, UserStatus) {
    let (mut referral, mut user) = (ReferralStatus::Held, UserStatus::Active);
    for (decision, _) in decisions {
        match (decision.as_str(), referral) {
            ("released", _) => referral = ReferralStatus::Converted,
            (_, ReferralStatus::Converted) => {}
            _ => referral = ReferralStatus::Rejected,
        }
        if decision == "rejected_and_deactivated" {
            user = UserStatus::Inactive;
        }
    }
    (referral, user)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_different_decisions_at_once_each_is_an_event_in_order_and_the_last_one_holds() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(POINTS).await;
    let john = RegisterUserRequest {
        email: "john.smith@mail.example".into(),
        ..sign_up_request(POINTS, "john", "")
    };
    let code = pair.client(0).register(john).await.unwrap().participants[0].code.clone();
    for number in 0..FLAGS {
        let request = RegisterUserRequest {
            email: format!("john.smith{number}@mail.example"),
            ..sign_up_request(POINTS, &format!("referee-{number}"), &code)
        };
        pair.client(number).register(request).await.unwrap();
    }
    let flag_ids: Vec<String> = sqlx::query_scalar(
        "select aggregate_id from events where event_type = 'FraudFlagRaised' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(flag_ids.len(), FLAGS);
    // All of them at once, so that batches carry decisions about several flags.
    let calls = flag_ids.iter().enumerate().flat_map(|(index, flag_id)| {
        DECISIONS
            .into_iter()
            .enumerate()
            .map(move |(number, decision)| (index + number, flag_id, decision))
    });
    let calls: Vec<_> = calls
        .map(|(number, flag_id, decision)| decide(pair.client(number), flag_id.clone(), decision))
        .collect();
    at_once(calls).await;

    let marker = pair.client(0).register(sign_up_request("", "marker", "")).await.unwrap();
    let token = marker.consistency_token;
    let mut converted = 0;
    for (number, flag_id) in flag_ids.iter().enumerate() {
        let decisions = decided(&database, flag_id).await;
        assert!((1..=DECISIONS.len()).contains(&decisions.len()), "{decisions:?}");
        let mut before: Option<&String> = None;
        for (decision, previous) in &decisions {
            assert_eq!(previous.as_ref(), before, "{decisions:?}");
            assert_ne!(Some(decision), before, "the decision that holds changes nothing");
            before = Some(decision);
        }
        let (first, second) =
            tokio::join!(async { get(&pair.client(0), flag_id, &token).await }, async {
                get(&pair.client(1), flag_id, &token).await
            });
        assert_eq!(first, second, "both servers answer the same");
        let last = before.unwrap();
        let name =
            first.decision().as_str_name().trim_start_matches("FRAUD_DECISION_").to_lowercase();
        assert_eq!((first.state(), &name), (FraudFlagState::Resolved, last));
        let referee = format!("referee-{number}");
        let (status, user) = outcome(&decisions);
        assert_eq!(first.referral_status(), status, "{decisions:?}");
        for client in [pair.client(0), pair.client(1)] {
            let found = client.user(&referee).await.unwrap();
            assert_eq!(found.participants[0].referral_status(), status, "{decisions:?}");
            assert_eq!(found.user.unwrap().status(), user, "{decisions:?}");
        }
        // The pair is cleared exactly if the last decision says so.
        let cleared: Option<bool> = sqlx::query_scalar(
            "select (payload ->> 'is_cleared')::boolean from events
             where aggregate_id = $1 and event_type = 'UserPairReviewed'
                 and payload ->> 'other_user_id' = 'john'
             order by position desc limit 1",
        )
        .bind(&referee)
        .fetch_optional(&database.pool)
        .await
        .unwrap();
        assert_eq!(cleared.unwrap_or_default(), last == "released", "{decisions:?}");
        converted += i64::from(status == ReferralStatus::Converted);
    }
    assert!(converted > 0, "some were released");
    let balances = GetBalancesRequest {
        program_id: POINTS.into(),
        user_id: "john".into(),
        consistency_token: token,
        ..Default::default()
    };
    for client in [pair.client(0), pair.client(1)] {
        let answer = client.rewards().get_balances(client.request(balances.clone())).await.unwrap();
        assert_eq!(answer.into_inner().balances[0].minor_units, 10 * converted);
    }
    pair.stop().await;
    database.check().await;
}
