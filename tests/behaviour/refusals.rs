//! What the messages of refused calls say: not only that the caller may not, but what would be allowed.

use contract::pb::*;
use tonic::{Code, Status};

use super::support::{refused, server_with};
use testing::Client;

fn message_of<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    refused(result, Code::PermissionDenied, "PERMISSION_DENIED").message().to_owned()
}

#[tokio::test]
async fn a_key_is_told_that_people_log_in_and_an_empty_field_that_it_is_empty() {
    let (_database, server, client) = server_with(&["referral-count"]).await;
    client.sign_up("referral-count", "ada", "").await.unwrap();
    let key = CreateApiKeyRequest {
        name: "ada's".into(),
        role: ApiKeyRole::User.into(),
        user_id: "ada".into(),
        ..Default::default()
    };
    let key = client.accounts().create_api_key(client.request(key)).await.unwrap().into_inner();
    let own = Client::new(client.channel(), Some(&key.api_key));

    let change = ChangePasswordRequest { old_password: "x".into(), new_password: "y".into() };
    let enroll = EnrollSecondFactorRequest::default();
    let rename = UpdateProfileRequest { username: Some("eve".into()), ..Default::default() };
    for message in [
        message_of(client.accounts().change_password(client.request(change.clone())).await),
        message_of(own.accounts().change_password(own.request(change)).await),
        message_of(own.accounts().enroll_second_factor(own.request(enroll)).await),
        message_of(own.accounts().update_profile(own.request(rename)).await),
    ] {
        assert!(message.contains("call Login"), "{message}");
    }

    let everybody =
        ListReferralsRequest { program_id: "referral-count".into(), ..Default::default() };
    let message = message_of(own.referrals().list_referrals(own.request(everybody)).await);
    assert_eq!(message, "the role user must name a user in user_id");
    let other = GetUserRequest { user_id: "bob".into(), ..Default::default() };
    let message = message_of(own.accounts().get_user(own.request(other)).await);
    assert_eq!(message, "the role user does not allow this user_id");
    server.stop().await;
}
