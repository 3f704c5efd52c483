//! What a decision about a flag may do, by whom, and what is kept of it.

use contract::pb::*;
use tonic::{Code, Status};

use super::*;
use crate::keys::{holder, wanted};
use crate::support::{refused, server_with};
use testing::sign_up_request;

/// A held referral of `john`, with the given referee, and the id of its flag.
async fn held(client: &Client, code: &str, user_id: &str, email: &str) -> String {
    let joined = join(client, user_id, email, code).await;
    assert_eq!(joined.referral_status(), ReferralStatus::Held);
    let filter = ListFraudFlagsRequest { user_id: user_id.into(), ..Default::default() };
    list(client, filter).await.remove(0).flag_id
}

async fn get(client: &Client, flag_id: &str) -> Result<FraudFlag, Status> {
    let request = GetFraudFlagRequest { flag_id: flag_id.into(), ..Default::default() };
    let answer = client.fraud().get_fraud_flag(client.request(request)).await?;
    Ok(answer.into_inner().flag.expect("a flag"))
}

#[tokio::test]
async fn a_refused_sign_up_has_nobody_to_deactivate() {
    let (database, server, client) = server_with(&[POINTS]).await;
    for number in 0..6 {
        let request = RegisterUserRequest {
            client_ip: "192.0.2.1".into(),
            ..sign_up_request(POINTS, &format!("user-{number}"), "")
        };
        let is_refused = client.register(request).await.is_err();
        assert_eq!(is_refused, number == 5);
    }
    let flag_id = only_flag(&client).await.flag_id;
    let answer = resolve(&client, &flag_id, FraudDecision::RejectedAndDeactivated, "").await;
    refused(answer, Code::FailedPrecondition, "FRAUD_FLAG_WITHOUT_USER");
    resolve(&client, &flag_id, FraudDecision::Rejected, "").await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn notes_go_with_each_user_of_a_flag_and_none_is_kept_afterwards() {
    let (database, server, client) = server_with(&[]).await;
    let checks = FraudChecks {
        disposable_domain: None,
        referral_burst: Some(ReferralBurstCheck {
            max_referrals_per_hour: Some(1),
            ..Default::default()
        }),
        ..Default::default()
    };
    client.publish(checked(POINTS, checks)).await.unwrap();
    let code = join(&client, "john", "john@mail.example", "").await.code;
    join(&client, "first", "wanda@one.example", &code).await;
    // A burst is about no second user but the referrer.
    let flag_id = held(&client, &code, "second", "otto@two.example").await;
    let flag = get(&client, &flag_id).await.unwrap();
    assert!(flag.other.is_none(), "{flag:?}");
    resolve(&client, &flag_id, FraudDecision::Rejected, "about john").await.unwrap();
    let notes = "select count(*) from fraud_notes";
    assert_eq!(database.count(notes).await, 1);
    client.erase("john", true).await.unwrap();
    assert_eq!(database.count(notes).await, 0);
    resolve(&client, &flag_id, FraudDecision::RejectedAndDeactivated, "again").await.unwrap();
    assert_eq!(database.count(notes).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_key_that_is_limited_to_programs_reviews_flags_of_its_programs_only() {
    let (database, server, client) = server_with(&[POINTS, COMMISSION]).await;
    let code = join(&client, "john", "john.smith@mail.example", "").await.code;
    let flag_id = held(&client, &code, "one", "john.smith1@mail.example").await;
    let limited = |program_id: &str| CreateApiKeyRequest {
        program_ids: vec![program_id.into()],
        ..wanted("reviewer", ApiKeyRole::Admin)
    };
    let (own, _) = holder(&client, limited(POINTS)).await;
    let (other, _) = holder(&client, limited(COMMISSION)).await;
    assert_eq!(get(&own, &flag_id).await.unwrap().flag_id, flag_id);
    refused(get(&other, &flag_id).await, Code::NotFound, "FRAUD_FLAG_NOT_FOUND");
    let rejected = FraudDecision::Rejected;
    let answer = resolve(&other, &flag_id, rejected, "").await;
    refused(answer, Code::NotFound, "FRAUD_FLAG_NOT_FOUND");
    let answer = resolve(&own, &flag_id, FraudDecision::RejectedAndDeactivated, "").await;
    refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
    resolve(&own, &flag_id, rejected, "").await.unwrap();
    server.stop().await;
    database.check().await;
}
