//! Repeated requests get the first answer, and nothing happens a second time.

use contract::pb::*;
use tonic::Code;

use super::support::{log_length, refused, server_with};
use testing::{Server, sign_up_request};

const LINES: &str = "multi-level-commission";

/// Sends a request, sends it again, and sends another one under its id.
macro_rules! repeats {
    ($database:ident, $client:ident, $service:ident.$rpc:ident, $request:expr, $other:expr) => {{
        let request = $request;
        let first = $client.$service().$rpc($client.request(request.clone())).await.unwrap();
        let first = first.into_inner();
        let before = log_length(&$database).await;
        for _ in 0..2 {
            let again = $client.$service().$rpc($client.request(request.clone())).await.unwrap();
            assert_eq!(again.into_inner(), first, stringify!($rpc));
        }
        let other = $client.$service().$rpc($client.request($other)).await;
        let status = refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert!(status.message().len() < 500);
        assert_eq!(log_length(&$database).await, before, stringify!($rpc));
        first
    }};
}

#[tokio::test]
async fn every_change_that_is_sent_again_gets_the_same_answer_and_happens_once() {
    let (database, server, client) = server_with(&["first-purchase-credits"]).await;
    let request_id = "request 1".to_owned();

    let mut program = client.publish_shipped("first-purchase-credits").await;
    program.program_id = "lines".into();
    program.attach = AttachPolicy::AnyTime.into();
    let publish = PublishProgramRequest {
        program: Some(program.clone()),
        request_id: request_id.clone(),
        ..Default::default()
    };
    program.display_name = "Other".into();
    let other = PublishProgramRequest {
        program: Some(program),
        request_id: request_id.clone(),
        ..Default::default()
    };
    let published = repeats!(database, client, programs.publish_program, publish, other);
    assert_eq!(published.program.unwrap().version, 1);

    let ada = client.sign_up("lines", "ada", "").await.unwrap();
    // Without an id from the caller, the generated id is part of the answer.
    let sign_up = RegisterUserRequest {
        user_id: String::new(),
        request_id: request_id.clone(),
        ..sign_up_request("lines", "bob", &ada.code)
    };
    let other = RegisterUserRequest { display_name: "Bob".into(), ..sign_up.clone() };
    let bob = repeats!(database, client, accounts.register_user, sign_up, other);
    assert_eq!(bob.participants[0].referrer_user_id, "ada");
    let bob = bob.user.unwrap().user_id;

    let enroll = EnrollParticipantRequest {
        program_id: "first-purchase-credits".into(),
        user_id: bob.clone(),
        referral_code: String::new(),
        request_id: request_id.clone(),
    };
    let other = EnrollParticipantRequest { user_id: "ada".into(), ..enroll.clone() };
    repeats!(database, client, programs.enroll_participant, enroll, other);

    client.sign_up("lines", "cid", "").await.unwrap();
    let refer = ApplyReferralRequest {
        program_id: "lines".into(),
        referee_user_id: "cid".into(),
        referrer_user_id: bob.clone(),
        request_id: request_id.clone(),
        ..Default::default()
    };
    let other = ApplyReferralRequest { referrer_user_id: "ada".into(), ..refer.clone() };
    repeats!(database, client, referrals.apply_referral, refer, other);

    let purchase = RecordPurchaseRequest {
        buyer_user_id: bob.clone(),
        amount: Some(Money { currency_code: "USD".into(), minor_units: 100 }),
        request_id: request_id.clone(),
        ..Default::default()
    };
    let other = RecordPurchaseRequest {
        amount: Some(Money { currency_code: "USD".into(), minor_units: 101 }),
        ..purchase.clone()
    };
    let bought = repeats!(database, client, purchases.record_purchase, purchase, other);
    assert_eq!(bought.outcomes.len(), 2);

    let change = DeactivateUserRequest { user_id: bob.clone(), request_id: request_id.clone() };
    let other = DeactivateUserRequest { user_id: "ada".into(), ..change.clone() };
    repeats!(database, client, accounts.deactivate_user, change, other);
    let change = ReactivateUserRequest { user_id: bob.clone(), request_id: request_id.clone() };
    let other = ReactivateUserRequest { user_id: "ada".into(), ..change.clone() };
    repeats!(database, client, accounts.reactivate_user, change, other);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_change_of_status_that_is_sent_again_later_gets_its_first_answer() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let leave = DeactivateUserRequest { user_id: "ada".into(), request_id: "leave".into() };
    let first = client.accounts().deactivate_user(client.request(leave.clone())).await.unwrap();
    client.reactivate("ada").await.unwrap();

    let again = client.accounts().deactivate_user(client.request(leave)).await.unwrap();

    assert_eq!(again.into_inner(), first.into_inner());
    let now = client.user("ada").await.unwrap().user.unwrap();
    assert_eq!(now.status(), UserStatus::Active, "nothing has happened a second time");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_publication_that_is_sent_again_later_gets_its_first_answer() {
    let (database, server, client) = server_with(&[]).await;
    let mut program = client.publish_shipped(LINES).await;
    program.display_name = "Second".into();
    let publish = PublishProgramRequest {
        program: Some(program.clone()),
        request_id: "second".into(),
        ..Default::default()
    };
    let first = client.programs().publish_program(client.request(publish.clone())).await.unwrap();
    program.display_name = "Third".into();
    assert_eq!(client.publish(program).await.unwrap().version, 3);

    let again = client.programs().publish_program(client.request(publish)).await.unwrap();

    let (first, again) = (first.into_inner(), again.into_inner());
    assert_eq!(first.program.as_ref().unwrap().version, 2);
    assert_eq!(again, first);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_sign_up_that_is_sent_again_after_the_referral_converted_gets_its_first_answer() {
    let (database, server, client) = server_with(&["first-purchase-credits"]).await;
    let ada = client.sign_up("first-purchase-credits", "ada", "").await.unwrap();
    let sign_up = RegisterUserRequest {
        request_id: "sign-up".into(),
        ..sign_up_request("first-purchase-credits", "bob", &ada.code)
    };
    let first = client.register(sign_up.clone()).await.unwrap();
    client.buy("order-1", "bob", "USD", 100).await.unwrap();
    client.deactivate("bob").await.unwrap();

    assert_eq!(client.register(sign_up).await.unwrap(), first);
    assert_eq!(first.participants[0].referral_status(), ReferralStatus::Pending);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_repetition_is_known_to_another_server_and_after_a_restart() {
    let (database, server, client) = server_with(&["first-purchase-bonus"]).await;
    let sign_up = RegisterUserRequest {
        user_id: String::new(),
        request_id: "sign-up".into(),
        ..sign_up_request("first-purchase-bonus", "ada", "")
    };
    let first = client.register(sign_up.clone()).await.unwrap();
    let bought = client.buy("order-1", &first.user.as_ref().unwrap().user_id, "USD", 5).await;

    let other = Server::start(&database).await;
    assert_eq!(other.client().register(sign_up.clone()).await.unwrap(), first);
    server.stop().await;
    other.kill().await;
    let server = Server::start(&database).await;
    let client = server.client();
    assert_eq!(client.register(sign_up.clone()).await.unwrap(), first);
    let again = client.buy("order-1", &first.user.as_ref().unwrap().user_id, "USD", 5).await;
    assert_eq!(again.unwrap(), bought.unwrap());
    let changed = RegisterUserRequest { username: "eve".into(), ..sign_up };
    refused(client.register(changed).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_refused_request_leaves_its_id_unused() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let sign_up = RegisterUserRequest {
        request_id: "sign-up".into(),
        ..sign_up_request("referral-count", "bob", "ZZZZZZZZ")
    };
    let unknown = client.register(sign_up.clone()).await;
    refused(unknown, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");

    let without_code = RegisterUserRequest { referral_code: String::new(), ..sign_up };

    assert_eq!(client.register(without_code).await.unwrap().user.unwrap().user_id, "bob");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn request_ids_of_different_callers_and_the_password_are_not_compared() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let anybody = server.separate_client(None).await;
    let sign_up = |user: &str, password: &str| RegisterUserRequest {
        password: password.into(),
        request_id: "sign-up".into(),
        ..sign_up_request("referral-count", user, "")
    };

    let own =
        |password: &str| RegisterUserRequest { user_id: String::new(), ..sign_up("ada", password) };
    let ada = anybody.register(own("Corr3ct horse")).await.unwrap();
    let bob = client.register(sign_up("bob", "Battery-stap1e")).await.unwrap();

    assert_eq!(anybody.register(own("An0ther word")).await.unwrap(), ada);
    assert_eq!(client.register(sign_up("bob", "An0ther word")).await.unwrap(), bob);
    server.stop().await;
    database.check().await;
}
