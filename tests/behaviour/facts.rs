//! The facts in errors, as the contract promises for each reason.

use contract::parse_program;
use contract::pb::*;
use tonic::Status;
use tonic_types::StatusExt;

use super::support::{enroll, refer_by_code, server_with};
use testing::{Server, ServerOptions, program, sign_up_request};

/// What a status lacks compared with a reason and facts.
fn lacks(status: &Status, reason: &str, facts: &[(&str, &str)]) -> Vec<String> {
    let info = status.get_error_details().error_info().cloned().expect("a reason");
    assert_eq!(info.reason, reason, "{status:?}");
    assert_eq!(info.domain, "tributary.v1");
    assert!(!status.message().is_empty());
    facts
        .iter()
        .filter(|(name, value)| info.metadata.get(*name).is_none_or(|given| given != value))
        .map(|(name, value)| format!("{reason}: {name} = {value} is not in {:?}", info.metadata))
        .collect()
}

#[tokio::test]
async fn an_error_carries_the_facts_that_its_reason_promises() {
    let (database, server, client) = server_with(&["tiered-points"]).await;
    let json = std::fs::read_to_string(program("first-purchase-bonus")).unwrap();
    let narrow = Program {
        program_id: "narrow".into(),
        attach: AttachPolicy::AnyTime.into(),
        exhausted_code: InvalidCodePolicy::Reject.into(),
        max_uses_per_code: Some(1),
        ..parse_program(&json).unwrap()
    };
    client.publish(narrow.clone()).await.unwrap();
    let places = Program {
        program_id: "places".into(),
        max_uses_per_code: None,
        max_direct_referrals: Some(1),
        ..narrow
    };
    client.publish(places).await.unwrap();
    let ada = client.sign_up("narrow", "ada", "").await.unwrap();
    client.sign_up("narrow", "bob", &ada.code).await.unwrap();
    client.sign_up("narrow", "cid", "").await.unwrap();
    client.buy("order-1", "cid", "USD", 1_000).await.unwrap();
    client.sign_up("narrow", "eve", "").await.unwrap();
    let first = client.sign_up("places", "first", "").await.unwrap();
    client.sign_up("places", "second", &first.code).await.unwrap();
    client.sign_up("places", "third", "").await.unwrap();
    client.sign_up("tiered-points", "late", "").await.unwrap();
    let known =
        RegisterUserRequest { request_id: "signup-17".into(), ..sign_up_request("", "known", "") };
    client.register(known.clone()).await.unwrap();

    let mut missing = Vec::new();
    let mut check = |status: Status, reason: &str, facts: &[(&str, &str)]| {
        missing.extend(lacks(&status, reason, facts));
    };
    let status = client.refer("narrow", "bob", "eve").await.unwrap_err();
    check(status, "ALREADY_REFERRED", &[("program_id", "narrow"), ("referee_user_id", "bob")]);
    let status = client.refer("narrow", "cid", "eve").await.unwrap_err();
    check(status, "ALREADY_BOUGHT", &[("program_id", "narrow"), ("referee_user_id", "cid")]);
    let status = client.refer("tiered-points", "late", "late").await.unwrap_err();
    check(status, "SELF_REFERRAL", &[("user_id", "late")]);
    client.sign_up("tiered-points", "other", "").await.unwrap();
    let status = client.refer("tiered-points", "late", "other").await.unwrap_err();
    let facts = [("program_id", "tiered-points"), ("referee_user_id", "late")];
    check(status, "REFERRAL_TOO_LATE", &facts);
    let status = refer_by_code(&client, "narrow", "eve", &ada.code).await.unwrap_err();
    let facts = [("referral_code", &*ada.code), ("max_uses_per_code", "1")];
    check(status, "CODE_EXHAUSTED", &facts);
    let status = client.refer("places", "third", "first").await.unwrap_err();
    let facts = [("referrer_user_id", "first"), ("max_direct_referrals", "1")];
    check(status, "REFERRER_LIMIT_REACHED", &facts);
    let status = client.refer("narrow", "late", "eve").await.unwrap_err();
    check(status, "PARTICIPANT_NOT_FOUND", &[("program_id", "narrow"), ("user_id", "late")]);
    let status = enroll(&client, "narrow", "eve", "").await.unwrap_err();
    check(status, "ALREADY_ENROLLED", &[("program_id", "narrow"), ("user_id", "eve")]);
    let status = enroll(&client, "none", "eve", "").await.unwrap_err();
    check(status, "PROGRAM_NOT_FOUND", &[("program_id", "none")]);
    let status = client.sign_up("tiered-points", "new", "ZZZZZZZZ").await.unwrap_err();
    check(status, "REFERRAL_CODE_NOT_FOUND", &[("referral_code", "ZZZZZZZZ")]);
    let status = client.sign_up("", "eve", "").await.unwrap_err();
    check(status, "USER_ID_TAKEN", &[("user_id", "eve")]);
    let namesake = RegisterUserRequest { username: "Eve".into(), ..sign_up_request("", "new", "") };
    let status = client.register(namesake).await.unwrap_err();
    check(status, "USERNAME_TAKEN", &[("username", "Eve")]);
    let changed = RegisterUserRequest { display_name: "Other".into(), ..known };
    let status = client.register(changed).await.unwrap_err();
    check(status, "REQUEST_ID_REUSED", &[("request_id", "signup-17")]);
    let status = client.buy("order-1", "eve", "USD", 1_000).await.unwrap_err();
    check(status, "PURCHASE_ID_REUSED", &[("purchase_id", "order-1")]);
    let status = client.purchase("order-2").await.unwrap_err();
    check(status, "PURCHASE_NOT_FOUND", &[("purchase_id", "order-2")]);
    let status = client.user("nobody").await.unwrap_err();
    check(status, "USER_NOT_FOUND", &[("user_id", "nobody")]);
    client.deactivate("eve").await.unwrap();
    let status = client.deactivate("eve").await.unwrap_err();
    check(status, "USER_ALREADY_INACTIVE", &[("user_id", "eve")]);
    let status = client.refer("narrow", "eve", "bob").await.unwrap_err();
    check(status, "USER_INACTIVE", &[("user_id", "eve")]);
    let status = client.reactivate("bob").await.unwrap_err();
    check(status, "USER_ALREADY_ACTIVE", &[("user_id", "bob")]);

    let arguments = vec!["--streams".into(), "1".into()];
    let small = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let stream = small.client().watch("narrow", "bob", "").await.unwrap();
    let status = small.client().watch("narrow", "bob", "").await.map(|_| ()).unwrap_err();
    check(status, "TOO_MANY_STREAMS", &[("limit_streams", "1")]);
    drop(stream);

    assert!(missing.is_empty(), "{missing:#?}");
    small.stop().await;
    server.stop().await;
    database.check().await;
}
