//! Fraud checks and the review of what they find, through the API.

mod checks;
mod confirmed;
mod erased;
mod purchases;
mod reversals;
mod review;
mod reviewers;
mod simulate;
mod watch;

use contract::parse_program;
use contract::pb::*;
use tonic::Status;

use testing::{Client, program};

/// The shipped program with every check.
const POINTS: &str = "tiered-points";
/// A shipped program without checks.
const COMMISSION: &str = "multi-level-commission";

/// A sign-up in the program with an address.
fn with_address(program_id: &str, user_id: &str, email: &str, code: &str) -> RegisterUserRequest {
    RegisterUserRequest {
        user_id: user_id.into(),
        username: user_id.into(),
        email: email.into(),
        program_id: program_id.into(),
        referral_code: code.into(),
        ..Default::default()
    }
}

/// Signs up a user of the points program with an address, and returns the participant.
async fn join(client: &Client, user_id: &str, email: &str, code: &str) -> Participant {
    let answer = client.register(with_address(POINTS, user_id, email, code)).await.unwrap();
    answer.participants[0].clone()
}

/// A shipped program with some checks.
fn checked(name: &str, fraud_checks: FraudChecks) -> Program {
    let json = std::fs::read_to_string(program(name)).unwrap();
    Program { fraud_checks: Some(fraud_checks), ..parse_program(&json).unwrap() }
}

#[allow(clippy::unnecessary_wraps, reason = "what is absent is off")]
fn with_policy(policy: FraudPolicy) -> Option<FraudCheck> {
    Some(FraudCheck { policy: policy.into() })
}

/// A token with which a read sees everything that is recorded so far.
async fn newest(client: &Client) -> String {
    let id = format!("marker-{}", client_marker());
    let answer = client.register(with_address("", &id, &format!("{id}@marker.example"), "")).await;
    answer.unwrap().consistency_token
}

fn client_marker() -> u128 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// All flags that a filter finds, as of now.
async fn list(client: &Client, filter: ListFraudFlagsRequest) -> Vec<FraudFlag> {
    let consistency_token = newest(client).await;
    let request = ListFraudFlagsRequest { consistency_token, ..filter };
    let answer = client.fraud().list_fraud_flags(client.request(request)).await.unwrap();
    answer.into_inner().flags
}

async fn flags(client: &Client) -> Vec<FraudFlag> {
    list(client, ListFraudFlagsRequest::default()).await
}

/// The only flag that there is.
async fn only_flag(client: &Client) -> FraudFlag {
    let mut flags = flags(client).await;
    assert_eq!(flags.len(), 1, "{flags:?}");
    flags.remove(0)
}

async fn resolve(
    client: &Client,
    flag_id: &str,
    decision: FraudDecision,
    note: &str,
) -> Result<FraudFlag, Status> {
    let request = ResolveFraudFlagRequest {
        flag_id: flag_id.into(),
        decision: decision.into(),
        note: note.into(),
        ..Default::default()
    };
    let answer = client.fraud().resolve_fraud_flag(client.request(request)).await?.into_inner();
    Ok(answer.flag.expect("the read models are up to date"))
}

/// Who a participant is, and how the referral stands.
async fn place(client: &Client, program_id: &str, user_id: &str) -> ReferralStatus {
    let user = client.user(user_id).await.unwrap();
    let place = user.participants.iter().find(|of| of.program_id == program_id).unwrap();
    place.referral_status()
}

/// What a participant has earned.
async fn earned(client: &Client, program_id: &str, user_id: &str) -> i64 {
    let request = GetBalancesRequest {
        program_id: program_id.into(),
        user_id: user_id.into(),
        consistency_token: newest(client).await,
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(request)).await.unwrap();
    answer.into_inner().balances.iter().map(|balance| balance.minor_units).sum()
}
