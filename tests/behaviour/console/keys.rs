//! API keys in the console, for admins.

use super::security::user_id_of;
use super::*;
use contract::pb::{ListApiKeysRequest, SetUserRoleRequest, UserRole};

#[tokio::test]
async fn an_admin_creates_a_key_which_is_shown_once_and_ends_it() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut ada = operator(&server, &client).await;
    assert_eq!(ada.get("/o/keys").await.status, 403, "operators are no admins");
    let page = Browser::shown(&ada.get("/o").await);
    assert!(!page.contains("href=\"/o/keys\""), "{page}");
    let request = SetUserRoleRequest {
        user_id: user_id_of(&client, "ada").await,
        role: UserRole::Admin.into(),
        ..Default::default()
    };
    client.accounts().set_user_role(client.request(request)).await.unwrap();
    ada.sign_in("ada", PASSWORD).await;
    let page = Browser::shown(&ada.get("/o/keys").await);
    assert!(page.contains("No keys yet") && page.contains("href=\"/o/keys\""), "{page}");

    let wrong = [
        ("name", ""),
        ("role", "user"),
        ("user", ""),
        ("rpcs", "RecordPurchase, NoSuchCall"),
        ("programs", "nothing-here"),
        ("expires", "2001-01-01"),
    ];
    let refused = ada.fill("/o/keys", "/o/keys", &wrong).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    for place in ["name", "user", "rpcs", "expires"] {
        assert!(
            refused.text().contains(&format!("id=\"{place}-fault\"")),
            "{place}: {}",
            refused.text()
        );
    }
    assert!(refused.text().contains("NoSuchCall"), "what was typed is kept");

    let right = [
        ("name", "shop"),
        ("role", "service"),
        ("rpcs", "RecordPurchase read-only"),
        ("programs", "referral-count"),
        ("expires", "2999-12-31"),
    ];
    let created = Browser::shown(&ada.fill("/o/keys", "/o/keys", &right).await);
    let key = created.split("id=\"new-key\">").nth(1).unwrap().split('<').next().unwrap();
    // Users of no program of the key do not exist for it, and a call that it is not limited to is refused.
    let shop = crate::keys::with(&client, key);
    assert_eq!(shop.user("ada").await.unwrap_err().code(), tonic::Code::PermissionDenied);
    let keys = ListApiKeysRequest::default();
    let keys = client.accounts().list_api_keys(client.request(keys)).await.unwrap().into_inner();
    assert_eq!(keys.keys[0].rpcs, ["RecordPurchase", "read-only"]);
    assert!(keys.keys[0].expire_time.is_some());
    let page = Browser::shown(&ada.get("/o/keys").await);
    assert!(page.contains("shop") && !page.contains(key), "a key is shown once: {page}");

    let key_id = hidden(&page, "/o/keys/revoke", "key_id").unwrap();
    let revoked = ada.fill("/o/keys", "/o/keys/revoke", &[("key_id", &*key_id)]).await;
    assert_eq!(revoked.status, 303, "{}", revoked.text());
    let page = Browser::shown(&ada.get("/o/keys?done=revoked").await);
    assert!(page.contains("Revoked") && hidden(&page, "/o/keys/revoke", "key_id").is_none());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn operators_and_admins_are_a_list_of_their_own() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    let mut ada = operator(&server, &client).await;
    client.sign_up("referral-count", "bob", "").await.unwrap();
    let page = Browser::shown(&ada.get("/o/users?staff=1").await);
    assert!(page.contains("1 person") && page.contains("Operator"), "{page}");
    assert!(!page.contains(">bob<"), "{page}");
    server.stop().await;
    database.check().await;
}
