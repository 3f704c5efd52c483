//! API keys on two servers, and after a restart.

use std::time::{Duration, Instant};

use contract::pb::*;
use tonic::Code;

use testing::{Client, Pair, Server, TestDatabase, reason};

const LINES: &str = "multi-level-commission";
/// How soon another server knows that a key has ended.
const SOON: Duration = Duration::from_secs(1);

async fn create(client: &Client, name: &str) -> (String, String) {
    let message = CreateApiKeyRequest {
        name: name.into(),
        role: ApiKeyRole::Service.into(),
        ..Default::default()
    };
    let request = client.request(message);
    let created = client.accounts().create_api_key(request).await.unwrap().into_inner();
    (created.key.unwrap().key_id, created.api_key)
}

#[tokio::test]
async fn a_key_that_is_revoked_on_one_server_ends_on_the_other_within_a_second_with_its_streams() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let (first, second) = (pair.client(0), pair.client(1));
    first.publish_shipped(LINES).await;
    first.sign_up(LINES, "ada", "").await.unwrap();
    for round in 0..10 {
        let (key_id, key) = create(&first, &format!("key {round}")).await;
        let on = |client: &Client| Client::new(client.channel(), Some(&key));
        let (here, there) = (on(&first), on(&second));
        // A new key is good everywhere at once.
        there.user("ada").await.unwrap();
        here.user("ada").await.unwrap();
        let watch = WatchEarningsRequest {
            program_id: LINES.into(),
            user_id: "ada".into(),
            ..Default::default()
        };
        let mut rewards = there.rewards();
        let watching = rewards.watch_earnings(there.request(watch)).await;
        let mut stream = watching.unwrap().into_inner();
        stream.message().await.unwrap().expect("the stream has begun");

        let message = RevokeApiKeyRequest { key_id, ..Default::default() };
        first.accounts().revoke_api_key(first.request(message)).await.unwrap();
        let revoked_at = Instant::now();
        let answer = here.user("ada").await.unwrap_err();
        assert_eq!(reason(&answer), (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned()));
        let ended = async {
            while there.user("ada").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            loop {
                match stream.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the stream ended without a status"),
                    Err(status) => return status,
                }
            }
        };
        let ended = tokio::time::timeout(SOON, ended).await.expect("it ends within a second");
        assert_eq!(reason(&ended), (Code::Unauthenticated, "CREDENTIALS_ENDED".to_owned()));
        assert!(revoked_at.elapsed() < SOON);
    }
    pair.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_server_that_starts_knows_which_keys_are_good_and_who_is_an_operator() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "olga", "").await.unwrap();
    let message = SetUserRoleRequest {
        user_id: "olga".into(),
        role: UserRole::Operator.into(),
        ..Default::default()
    };
    client.accounts().set_user_role(client.request(message)).await.unwrap();
    let (_, good) = create(&client, "good").await;
    let (revoked_id, revoked) = create(&client, "revoked").await;
    let message = RevokeApiKeyRequest { key_id: revoked_id, ..Default::default() };
    client.accounts().revoke_api_key(client.request(message)).await.unwrap();
    server.kill().await;

    let server = Server::start(&database).await;
    let client = server.client();
    let (good, revoked) =
        (Client::new(client.channel(), Some(&good)), Client::new(client.channel(), Some(&revoked)));
    good.user("ada").await.unwrap();
    let of_operator = good.user("olga").await.unwrap_err();
    assert_eq!(reason(&of_operator), (Code::PermissionDenied, "PERMISSION_DENIED".to_owned()));
    let ended = revoked.user("ada").await.unwrap_err();
    assert_eq!(reason(&ended), (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned()));
    server.stop().await;
    database.check().await;
}
