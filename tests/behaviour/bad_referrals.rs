//! What does not exist, and referrals that cannot be: each has its reason, and nothing changes.

use contract::pb::*;
use tonic::Code;

use super::bad_input::{LINES, violations};
use super::support::{enroll, log_length, refer_by_code, refused, server_with};

#[tokio::test]
async fn unknown_users_programs_and_purchases_are_not_found() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up("", "outsider", "").await.unwrap();
    let before = log_length(&database).await;

    refused(client.user("nobody").await, Code::NotFound, "USER_NOT_FOUND");
    refused(client.deactivate("nobody").await, Code::NotFound, "USER_NOT_FOUND");
    refused(client.reactivate("nobody").await, Code::NotFound, "USER_NOT_FOUND");
    refused(enroll(&client, LINES, "nobody", "").await, Code::NotFound, "USER_NOT_FOUND");
    refused(enroll(&client, "none", "ada", "").await, Code::NotFound, "PROGRAM_NOT_FOUND");
    refused(client.purchase("none").await, Code::NotFound, "PURCHASE_NOT_FOUND");
    let code = refer_by_code(&client, "", "ada", "ZZZZZZZZ").await;
    refused(code, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    let apart = client.refer(LINES, "outsider", "ada").await;
    refused(apart, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    let apart = client.refer(LINES, "ada", "outsider").await;
    refused(apart, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    refused(client.refer("none", "ada", "outsider").await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let apart = client.watch(LINES, "outsider", "").await;
    refused(apart, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    let get = GetProgramRequest { program_id: "none".into(), ..Default::default() };
    let none = client.programs().get_program(client.request(get)).await;
    refused(none, Code::NotFound, "PROGRAM_NOT_FOUND");
    let get = GetProgramRequest { program_id: LINES.into(), version: 7, ..Default::default() };
    let none = client.programs().get_program(client.request(get)).await;
    refused(none, Code::NotFound, "PROGRAM_VERSION_NOT_FOUND");

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_unknown_user_is_told_apart_from_one_who_is_not_enrolled() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();

    let stream = client.watch(LINES, "nobody", "").await.map(|_| ());
    refused(stream, Code::NotFound, "USER_NOT_FOUND");
    let stream = client.watch("none", "ada", "").await.map(|_| ());
    refused(stream, Code::NotFound, "PROGRAM_NOT_FOUND");
    refused(client.refer(LINES, "nobody", "ada").await, Code::NotFound, "USER_NOT_FOUND");
    refused(client.refer(LINES, "ada", "nobody").await, Code::NotFound, "USER_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_code_is_not_looked_up_in_a_program_that_does_not_exist() {
    let (database, server, client) = server_with(&[LINES, "referral-count"]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    let validate = |program_id: &str| ValidateReferralCodeRequest {
        referral_code: ada.code.clone(),
        program_id: program_id.into(),
        ..Default::default()
    };

    let request = client.request(validate("referral-count"));
    let elsewhere = client.referrals().validate_referral_code(request).await.unwrap().into_inner();
    assert_eq!(elsewhere.reason(), CodeInvalidReason::Unknown);
    let none = client.referrals().validate_referral_code(client.request(validate("none"))).await;
    refused(none, Code::NotFound, "PROGRAM_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_referral_names_exactly_one_referrer() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", "").await.unwrap();
    let before = log_length(&database).await;
    let refer = |referrer: &str, code: &str| ApplyReferralRequest {
        program_id: LINES.into(),
        referee_user_id: "bob".into(),
        referrer_user_id: referrer.into(),
        referral_code: code.into(),
        ..Default::default()
    };

    let both = client.referrals().apply_referral(client.request(refer("ada", &ada.code))).await;
    let both = refused(both, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(violations(&both)[0].1, "FIELDS_EXCLUSIVE");
    let none = client.referrals().apply_referral(client.request(refer("", ""))).await;
    let none = refused(none, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(violations(&none)[0].1, "FIELD_REQUIRED");

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn nobody_refers_themselves() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    let before = log_length(&database).await;

    let own = client.refer(LINES, "ada", "ada").await;
    refused(own, Code::FailedPrecondition, "SELF_REFERRAL");
    let own = refer_by_code(&client, "", "ada", &ada.code.to_lowercase()).await;
    refused(own, Code::FailedPrecondition, "SELF_REFERRAL");

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_cycle_of_any_length_is_refused() {
    let (database, server, client) = server_with(&[LINES]).await;
    for length in [2, 3, 30] {
        let name = |index: usize| format!("of-{length}-{index}");
        let root = client.sign_up(LINES, &name(1), "").await.unwrap();
        let mut last = root;
        for index in 2..=length {
            last = client.sign_up(LINES, &name(index), &last.code).await.unwrap();
        }
        let before = log_length(&database).await;

        let closed = client.refer(LINES, &name(1), &name(length)).await;
        refused(closed, Code::FailedPrecondition, "REFERRAL_CYCLE");
        let closed = refer_by_code(&client, LINES, &name(1), &last.code).await;
        refused(closed, Code::FailedPrecondition, "REFERRAL_CYCLE");
        assert_eq!(log_length(&database).await, before);

        // A new user can still become the referrer at the top.
        let outsider = format!("above-{length}");
        client.sign_up(LINES, &outsider, "").await.unwrap();
        client.refer(LINES, &name(1), &outsider).await.unwrap();
        let closed = client.refer(LINES, &outsider, &name(length)).await;
        refused(closed, Code::FailedPrecondition, "REFERRAL_CYCLE");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_inactive_user_is_neither_enrolled_nor_referred() {
    let (database, server, client) = server_with(&[LINES, "referral-count"]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", "").await.unwrap();
    client.deactivate("bob").await.unwrap();
    let before = log_length(&database).await;

    let enrolled = enroll(&client, "referral-count", "bob", "").await;
    refused(enrolled, Code::FailedPrecondition, "USER_INACTIVE");
    let referred = client.refer(LINES, "bob", "ada").await;
    refused(referred, Code::FailedPrecondition, "USER_INACTIVE");

    assert_eq!(log_length(&database).await, before);
    server.stop().await;
    database.check().await;
}
