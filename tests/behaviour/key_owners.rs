//! Who created a key, what it may do at most, and which calls of it were refused.

use std::time::Duration;

use contract::pb::*;
use tonic::Code;

use super::keys::{fact, holder, in_seconds, list, revoke, wanted, wanted_by_user, with};
use super::roles::{person, set_role};
use super::support::{PATIENCE, refused, server_with};
use testing::Client;

const LINES: &str = "multi-level-commission";

/// The key with this id, as admins see it.
async fn listed(client: &Client, key_id: &str) -> ApiKey {
    let mut keys = list(client, "").await.unwrap();
    keys.retain(|key| key.key_id == key_id);
    keys.pop().expect("the key is listed")
}

#[tokio::test]
async fn keys_of_back_ends_end_with_the_role_or_the_account_of_the_admin_who_created_them() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    let (settings_key, _) = holder(&client, wanted("by nobody", ApiKeyRole::Service)).await;
    for (name, ends_by_erasure) in [("alma", false), ("anna", true)] {
        let admin = person(&client, name, UserRole::Admin).await;
        let (shop, shop_id) = holder(&admin, wanted("shop", ApiKeyRole::Service)).await;
        let (made, made_id) = holder(&admin, wanted("admin", ApiKeyRole::Admin)).await;
        let (child, child_id) = holder(&made, wanted("child", ApiKeyRole::Service)).await;
        let (phone, phone_id) = holder(&admin, wanted_by_user("phone", "ada")).await;
        for key in [&shop, &made, &child, &phone] {
            key.user("ada").await.unwrap();
        }
        let by_person = format!("user:{name}");
        assert_eq!(listed(&client, &shop_id).await.created_by, by_person);
        assert_eq!(listed(&client, &child_id).await.created_by, format!("key:admin:{made_id}"));
        // Users do not learn who else has created a key of theirs.
        let own = list(&phone, "").await.unwrap();
        assert!(own.iter().all(|key| key.created_by.is_empty()), "{own:?}");

        // What only ends sessions ends no keys of back ends.
        let logout = LogoutRequest::default();
        admin.accounts().logout(admin.request(logout)).await.unwrap();
        shop.user("ada").await.unwrap();

        if ends_by_erasure {
            client.erase(name, false).await.unwrap();
        } else {
            set_role(&client, name, UserRole::Operator).await.unwrap();
        }
        for key in [&shop, &made, &child] {
            let ended = async {
                while key.user("ada").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(1), ended).await.expect("within a second");
            refused(key.user("ada").await, Code::Unauthenticated, "INVALID_CREDENTIALS");
        }
        for key_id in [&shop_id, &made_id, &child_id] {
            assert!(listed(&client, key_id).await.revoke_time.is_some());
        }
        // The key of a user is the user's, and one that nobody created stays.
        phone.user("ada").await.unwrap();
        settings_key.user("ada").await.unwrap();
        assert!(listed(&client, &phone_id).await.revoke_time.is_none());
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_key_that_a_sign_up_issues_may_do_no_more_and_lasts_no_longer_than_the_one_it_came_by() {
    let (database, server, client) = server_with(&[LINES]).await;
    let limited = CreateApiKeyRequest {
        rpcs: vec!["GetBalances".into(), "RegisterUser".into()],
        program_ids: vec![LINES.into()],
        expire_time: Some(in_seconds(3_600)),
        ..wanted("limited", ApiKeyRole::Service)
    };
    let (shop, _) = holder(&client, limited.clone()).await;
    let sign_up =
        RegisterUserRequest { issue_api_key: true, ..testing::sign_up_request(LINES, "ada", "") };
    let issued = shop.register(sign_up).await.unwrap().api_key;
    let ada = with(&client, &issued);
    let key = list(&client, "ada").await.unwrap().remove(0);
    assert_eq!((&key.rpcs, &key.program_ids), (&limited.rpcs, &limited.program_ids));
    assert_eq!(key.expire_time, limited.expire_time);
    let answer = ada.user("ada").await;
    assert_eq!(
        fact(&refused(answer, Code::PermissionDenied, "PERMISSION_DENIED"), "limit"),
        "rpcs"
    );
    let balances = GetBalancesRequest {
        program_id: LINES.into(),
        user_id: "ada".into(),
        ..Default::default()
    };
    ada.rewards().get_balances(ada.request(balances)).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn refused_calls_of_a_key_are_counted_and_shown_also_after_its_end() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", "").await.unwrap();
    let limited = CreateApiKeyRequest {
        rpcs: vec!["read-only".into()],
        ..wanted("reader", ApiKeyRole::Service)
    };
    let (reader, reader_id) = holder(&client, limited).await;
    let (phone, phone_id) = holder(&client, wanted_by_user("phone", "ada")).await;
    let (ended, ended_id) = holder(&client, wanted("ended", ApiKeyRole::Service)).await;
    let mut short = wanted("short", ApiKeyRole::Service);
    short.expire_time = Some(in_seconds(2));
    let (short, short_id) = holder(&client, short).await;
    let (good, good_id) = holder(&client, wanted("good", ApiKeyRole::Service)).await;
    revoke(&client, &ended_id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;

    // Beyond the limit, beyond the role, about somebody else, and in the handler.
    reader.buy("order-1", "ada", "USD", 100).await.unwrap_err();
    reader.user("ada").await.unwrap();
    phone.buy("order-1", "ada", "USD", 100).await.unwrap_err();
    phone.user("bob").await.unwrap_err();
    let rename = UpdateProfileRequest { username: Some("zoe".into()), ..Default::default() };
    phone.accounts().update_profile(phone.request(rename)).await.unwrap_err();
    phone.user("ada").await.unwrap();
    for _ in 0..2 {
        ended.user("ada").await.unwrap_err();
        short.user("ada").await.unwrap_err();
    }
    // A call that fails for another reason was not refused to the key.
    good.user("nobody").await.unwrap_err();
    let expected = [(&reader_id, 1), (&phone_id, 3), (&ended_id, 2), (&short_id, 2), (&good_id, 0)];
    let counted = async {
        loop {
            let mut counts = Vec::new();
            for (key_id, _) in expected {
                let key = listed(&client, key_id).await;
                assert_eq!(key.last_refused_time.is_some(), key.refused_calls > 0);
                counts.push((key_id, key.refused_calls));
            }
            if counts == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("the refusals are recorded");
    server.stop().await;
    database.check().await;
}
