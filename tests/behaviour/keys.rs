//! API keys: how they are made, what they are limited to, and how they end. Roles of people.

use std::time::Duration;

use contract::pb::*;
use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::support::{PATIENCE, enroll, next, only_outcome, refused, server_with};
use testing::{Client, Server, TestDatabase, reason, tributary};

const LINES: &str = "multi-level-commission";
const BONUS: &str = "first-purchase-bonus";

/// A request for a key of a back end.
fn wanted(name: &str, role: ApiKeyRole) -> CreateApiKeyRequest {
    CreateApiKeyRequest { name: name.into(), role: role.into(), ..Default::default() }
}

fn wanted_by_user(name: &str, user_id: &str) -> CreateApiKeyRequest {
    CreateApiKeyRequest { user_id: user_id.into(), ..wanted(name, ApiKeyRole::User) }
}

async fn create(
    client: &Client,
    message: CreateApiKeyRequest,
) -> Result<CreateApiKeyResponse, Status> {
    Ok(client.accounts().create_api_key(client.request(message)).await?.into_inner())
}

async fn revoke(client: &Client, key_id: &str) -> Result<RevokeApiKeyResponse, Status> {
    let message = RevokeApiKeyRequest { key_id: key_id.into(), ..Default::default() };
    Ok(client.accounts().revoke_api_key(client.request(message)).await?.into_inner())
}

async fn list(client: &Client, user_id: &str) -> Result<Vec<ApiKey>, Status> {
    let message = ListApiKeysRequest { user_id: user_id.into(), ..Default::default() };
    Ok(client.accounts().list_api_keys(client.request(message)).await?.into_inner().keys)
}

async fn set_role(
    client: &Client,
    user_id: &str,
    role: UserRole,
) -> Result<SetUserRoleResponse, Status> {
    let message =
        SetUserRoleRequest { user_id: user_id.into(), role: role.into(), ..Default::default() };
    Ok(client.accounts().set_user_role(client.request(message)).await?.into_inner())
}

/// A client with another key, on the same connection.
fn with(client: &Client, key: &str) -> Client {
    Client::new(client.channel(), Some(key))
}

/// A client with a new key.
async fn holder(client: &Client, message: CreateApiKeyRequest) -> (Client, String) {
    let created = create(client, message).await.unwrap();
    (with(client, &created.api_key), created.key.unwrap().key_id)
}

fn fact(status: &Status, name: &str) -> String {
    let info = status.get_error_details().error_info().cloned().unwrap();
    info.metadata.get(name).cloned().unwrap_or_default()
}

fn in_seconds(seconds: i64) -> Timestamp {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp { seconds: i64::try_from(since.as_secs()).unwrap() + seconds, nanos: 0 }
}

#[tokio::test]
async fn a_key_is_shown_once_and_the_server_keeps_its_hash_only() {
    let (database, server, client) = server_with(&[LINES]).await;
    let message = CreateApiKeyRequest {
        request_id: "rotate-1".into(),
        ..wanted("Zanzibar shop", ApiKeyRole::Service)
    };

    let created = create(&client, message.clone()).await.unwrap();
    let again = create(&client, message).await.unwrap();

    let key = created.key.clone().unwrap();
    assert!(created.api_key.starts_with(&format!("tributary_key_{}", key.key_id)));
    assert_eq!((again.key, &*again.api_key), (created.key, ""));
    assert_eq!((&*key.name, key.role()), ("Zanzibar shop", ApiKeyRole::Service));
    assert_eq!(list(&client, "").await.unwrap(), std::slice::from_ref(&key));
    let secret = &created.api_key["tributary_key_".len() + 12..];
    for (table, text) in [("events", secret), ("api_keys", secret), ("events", "Zanzibar")] {
        let rows = format!("select count(*) from {table} t where t::text like '%{text}%'");
        assert_eq!(database.count(&rows).await, 0, "{text} in {table}");
    }

    // The holder calls, and the time of the use appears within seconds.
    let shop = with(&client, &created.api_key);
    shop.sign_up(LINES, "ada", "").await.unwrap();
    let used = async {
        while list(&client, "").await.unwrap()[0].last_use_time.is_none() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, used).await.expect("the use is recorded");
    let actor = format!("key:service:{}", key.key_id);
    let by_shop = format!("select count(*) from events where metadata ->> 'actor' = '{actor}'");
    assert_eq!(database.count(&by_shop).await, 1);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_key_that_is_mistyped_unknown_expired_or_revoked_is_refused_and_open_calls_ignore_it() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    let (_, key_id) = holder(&client, wanted("revoked", ApiKeyRole::Service)).await;
    let created = create(&client, wanted("revoked too", ApiKeyRole::Service)).await.unwrap();
    let revoked = created.api_key;
    with(&client, &revoked).user("ada").await.unwrap();
    revoke(&client, &created.key.unwrap().key_id).await.unwrap();
    let mut short = wanted("short", ApiKeyRole::Service);
    short.expire_time = Some(in_seconds(2));
    let short = create(&client, short).await.unwrap().api_key;
    with(&client, &short).user("ada").await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;

    let mut mistyped = revoked.clone();
    let last = if mistyped.ends_with('x') { "y" } else { "x" };
    mistyped.replace_range(mistyped.len() - 1.., last);
    for key in ["", "x", &*mistyped, &*revoked, &*short, "tributary_key_", "a.b.c"] {
        let refused_client = with(&client, key);
        let answer = refused_client.user("ada").await;
        refused(answer, Code::Unauthenticated, "INVALID_CREDENTIALS");
        let open =
            ValidateReferralCodeRequest { referral_code: ada.code.clone(), ..Default::default() };
        let request = refused_client.request(open);
        assert!(
            client.referrals().validate_referral_code(request).await.unwrap().into_inner().valid
        );
    }

    // Ends that cannot be.
    let twice = revoke(&client, &key_id).await.and(revoke(&client, &key_id).await);
    let status = refused(twice, Code::FailedPrecondition, "API_KEY_ALREADY_REVOKED");
    assert_eq!(fact(&status, "key_id"), key_id);
    refused(revoke(&client, "nobody").await, Code::NotFound, "API_KEY_NOT_FOUND");
    let mut past = wanted("past", ApiKeyRole::Service);
    past.expire_time = Some(in_seconds(-1));
    refused(create(&client, past).await, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_revoked_or_expired_key_ends_its_open_streams() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    let (shop, key_id) = holder(&client, wanted("shop", ApiKeyRole::Service)).await;
    let mut short = wanted("short", ApiKeyRole::Service);
    short.expire_time = Some(in_seconds(3));
    let (short, _) = holder(&client, short).await;
    let watch = || WatchEarningsRequest {
        program_id: LINES.into(),
        user_id: "ada".into(),
        ..Default::default()
    };
    let mut rewards = client.rewards();
    let mut by_shop = rewards.watch_earnings(shop.request(watch())).await.unwrap().into_inner();
    let mut by_short = rewards.watch_earnings(short.request(watch())).await.unwrap().into_inner();
    next(&mut by_shop).await.unwrap().expect("the stream has begun");
    next(&mut by_short).await.unwrap().expect("the stream has begun");

    revoke(&client, &key_id).await.unwrap();
    for stream in [&mut by_shop, &mut by_short] {
        let ended = loop {
            match next(stream).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a status"),
                Err(status) => break status,
            }
        };
        assert_eq!(reason(&ended), (Code::Unauthenticated, "CREDENTIALS_ENDED".to_owned()));
        assert!(!fact(&ended, "resume_token").is_empty());
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_key_that_is_limited_to_rpcs_may_call_only_these() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    let limited = |rpcs: &[&str]| CreateApiKeyRequest {
        rpcs: rpcs.iter().map(|rpc| (*rpc).to_owned()).collect(),
        ..wanted("limited", ApiKeyRole::Service)
    };
    let denied = |answer: Result<(), Status>| {
        let status = refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
        assert_eq!(fact(&status, "limit"), "rpcs");
    };
    let (reader, _) = holder(&client, limited(&["read-only"])).await;
    reader.user("ada").await.unwrap();
    denied(reader.buy("order-1", "ada", "USD", 100).await.map(drop));
    denied(reader.sign_up(LINES, "bob", "").await.map(drop));
    let (till, _) = holder(&client, limited(&["purchases-only"])).await;
    till.buy("order-2", "ada", "USD", 100).await.unwrap();
    denied(till.user("ada").await.map(drop));
    let (one, _) = holder(&client, limited(&["RecordPurchase", "RecordPurchase"])).await;
    one.buy("order-3", "ada", "USD", 100).await.unwrap();
    denied(one.user("ada").await.map(drop));
    assert_eq!(list(&client, "").await.unwrap()[0].rpcs, ["RecordPurchase"]);

    let unknown = create(&client, limited(&["RecordPurchase", "RecordPurchases"])).await;
    let status = refused(unknown, Code::InvalidArgument, "INVALID_FIELD");
    let faults = status.get_error_details().bad_request().unwrap().field_violations.clone();
    assert_eq!((&*faults[0].field, &*faults[0].reason), ("rpcs[1]", "UNKNOWN_RPC"));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn purchases_by_a_key_that_is_limited_to_programs_count_only_there() {
    let (database, server, client) = server_with(&[LINES, BONUS]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    let enrolled = enroll(&client, BONUS, "ada", "").await.unwrap();
    enroll(&client, BONUS, "bob", &enrolled.participant.unwrap().code).await.unwrap();
    let limited = CreateApiKeyRequest {
        program_ids: vec![LINES.into()],
        ..wanted("limited", ApiKeyRole::Service)
    };
    let (shop, _) = holder(&client, limited.clone()).await;

    let bought = shop.buy("order-1", "bob", "INR", 200_000).await.unwrap();
    assert_eq!(only_outcome(&bought).program_id, LINES);
    assert!(!only_outcome(&bought).rewards.is_empty());
    // It is the same purchase for another key with the same limit, and another one for a key with another limit.
    let (rotated, _) = holder(&client, limited).await;
    assert_eq!(rotated.buy("order-1", "bob", "INR", 200_000).await.unwrap(), {
        let mut same = bought.clone();
        same.consistency_token.clone_from(
            &shop.buy("order-1", "bob", "INR", 200_000).await.unwrap().consistency_token,
        );
        same
    });
    let free = client.buy("order-1", "bob", "INR", 200_000).await;
    refused(free, Code::AlreadyExists, "PURCHASE_ID_REUSED");
    // The other program still waits for the first purchase.
    let elsewhere = client.buy("order-2", "bob", "INR", 200_000).await.unwrap();
    let programs: Vec<_> = elsewhere.outcomes.iter().map(|of| &*of.program_id).collect();
    assert_eq!(programs, [BONUS, LINES]);

    // What names no program, or another one, is refused.
    let balances = |program_id: &str| GetBalancesRequest {
        program_id: program_id.into(),
        user_id: "bob".into(),
        ..Default::default()
    };
    let mut rewards = client.rewards();
    rewards.get_balances(shop.request(balances(LINES))).await.unwrap();
    for denied in [
        rewards.get_balances(shop.request(balances(BONUS))).await.map(drop),
        rewards.get_balances(shop.request(balances(""))).await.map(drop),
        shop.user("bob").await.map(drop),
    ] {
        let status = refused(denied, Code::PermissionDenied, "PERMISSION_DENIED");
        assert_eq!(fact(&status, "limit"), "program_ids");
    }
    let lists = ListPurchasesRequest {
        program_id: LINES.into(),
        consistency_token: elsewhere.consistency_token.clone(),
        ..Default::default()
    };
    let listed = client.purchases().list_purchases(shop.request(lists)).await.unwrap().into_inner();
    let outcomes = listed.purchases.iter().flat_map(|of| &of.outcomes);
    assert!(outcomes.clone().count() == 2 && outcomes.clone().all(|of| of.program_id == LINES));
    let nowhere = CreateApiKeyRequest {
        program_ids: vec!["nowhere".into()],
        ..wanted("nowhere", ApiKeyRole::Service)
    };
    refused(create(&client, nowhere).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_key_that_took_the_place_of_another_repeats_nothing() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let request = EnrollParticipantRequest {
        program_id: LINES.into(),
        user_id: "ada".into(),
        request_id: "enroll-ada".into(),
        ..Default::default()
    };
    let (old, old_id) = holder(&client, wanted("old", ApiKeyRole::Service)).await;
    let (new, _) = holder(&client, wanted("new", ApiKeyRole::Service)).await;
    let mut programs = client.programs();

    let first = programs.enroll_participant(old.request(request.clone())).await.unwrap();
    revoke(&client, &old_id).await.unwrap();
    let again = programs.enroll_participant(new.request(request.clone())).await.unwrap();
    let by_admin = programs.enroll_participant(client.request(request.clone())).await.unwrap();
    assert_eq!(first.get_ref().participant, again.get_ref().participant);
    assert_eq!(first.get_ref().participant, by_admin.get_ref().participant);

    // The ids of users are their own.
    let (ada, _) = holder(&client, wanted_by_user("phone", "ada")).await;
    let own = programs.enroll_participant(ada.request(request)).await;
    refused(own, Code::AlreadyExists, "ALREADY_ENROLLED");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn users_manage_their_own_keys_and_no_key_creates_one_that_may_do_more() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "bob", "").await.unwrap();
    let sign_up = RegisterUserRequest {
        user_id: "ada".into(),
        username: "ada".into(),
        email: "ada@example.com".into(),
        issue_api_key: true,
        request_id: "sign-up".into(),
        ..Default::default()
    };
    let registered = client.register(sign_up.clone()).await.unwrap();
    assert!(registered.api_key.starts_with("tributary_key_"));
    assert_eq!(client.register(sign_up).await.unwrap().api_key, "");
    let ada = with(&client, &registered.api_key);
    assert_eq!(ada.user("ada").await.unwrap().user.unwrap().user_id, "ada");

    // The user's own.
    let mut own = wanted("phone", ApiKeyRole::Unspecified);
    own.request_id = "phone".into();
    let created = create(&ada, own).await.unwrap();
    let key = created.key.unwrap();
    assert_eq!((&*key.user_id, key.role()), ("ada", ApiKeyRole::User));
    let names = |keys: &[ApiKey]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&list(&ada, "").await.unwrap()), ["phone", "sign-up"]);
    revoke(&ada, &key.key_id).await.unwrap();
    assert!(list(&ada, "ada").await.unwrap()[0].revoke_time.is_some());

    // Not those of others, and nothing that may do more.
    let (_, bobs) = holder(&client, wanted_by_user("bob's", "bob")).await;
    let (shop, shops) = holder(&client, wanted("shop", ApiKeyRole::Service)).await;
    for key_id in [&*bobs, &*shops, "nobody"] {
        refused(revoke(&ada, key_id).await, Code::NotFound, "API_KEY_NOT_FOUND");
    }
    refused(list(&ada, "bob").await, Code::PermissionDenied, "PERMISSION_DENIED");
    for message in [
        wanted("service", ApiKeyRole::Service),
        wanted("admin", ApiKeyRole::Admin),
        wanted_by_user("bob's", "bob"),
    ] {
        refused(create(&ada, message).await, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    let by_shop = create(&shop, wanted_by_user("ada's", "ada")).await;
    refused(by_shop, Code::PermissionDenied, "PERMISSION_DENIED");
    refused(list(&shop, "").await, Code::PermissionDenied, "PERMISSION_DENIED");

    // Admin keys create keys, but none that lasts longer, and none if they are limited.
    let mut lasting = wanted("admin", ApiKeyRole::Admin);
    lasting.expire_time = Some(in_seconds(3_600));
    let (admin, _) = holder(&client, lasting.clone()).await;
    let created = create(&admin, wanted("made", ApiKeyRole::Service)).await.unwrap().key.unwrap();
    assert_eq!(created.expire_time, lasting.expire_time);
    let limited = CreateApiKeyRequest {
        rpcs: vec!["CreateApiKey".into()],
        ..wanted("limited", ApiKeyRole::Admin)
    };
    let (limited, _) = holder(&client, limited).await;
    let more = create(&limited, wanted("more", ApiKeyRole::Admin)).await;
    refused(more, Code::PermissionDenied, "PERMISSION_DENIED");

    // Requests that are not whole.
    for message in [
        wanted("", ApiKeyRole::Service),
        wanted("no role", ApiKeyRole::Unspecified),
        wanted("no user", ApiKeyRole::User),
        CreateApiKeyRequest { user_id: "ada".into(), ..wanted("user", ApiKeyRole::Service) },
    ] {
        refused(create(&client, message).await, Code::InvalidArgument, "INVALID_FIELD");
    }
    let nobodys = create(&client, wanted_by_user("nobody's", "nobody")).await;
    refused(nobodys, Code::NotFound, "USER_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

/// Signs up a user who can log in, and logs them in.
async fn log_in(client: &Client, user_id: &str) -> Client {
    with(client, &access_token(client, user_id).await)
}

async fn access_token(client: &Client, user_id: &str) -> String {
    let login =
        LoginRequest { login: user_id.into(), password: PASSWORD.into(), ..Default::default() };
    let answer = client.accounts().login(tonic::Request::new(login)).await.unwrap();
    answer.into_inner().access_token
}

const PASSWORD: &str = "Corr3ct-horse!";

async fn person(client: &Client, user_id: &str, role: UserRole) -> Client {
    let message = RegisterUserRequest {
        user_id: user_id.into(),
        username: user_id.into(),
        email: format!("{user_id}@example.com"),
        password: PASSWORD.into(),
        ..Default::default()
    };
    client.register(message).await.unwrap();
    if role != UserRole::Participant {
        set_role(client, user_id, role).await.unwrap();
    }
    log_in(client, user_id).await
}

#[tokio::test]
async fn people_have_roles_which_only_admins_give_and_a_new_role_ends_their_sessions() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = person(&client, "ada", UserRole::Participant).await;
    let olga = person(&client, "olga", UserRole::Operator).await;
    let alma = person(&client, "alma", UserRole::Admin).await;
    let (shop, _) = holder(&client, wanted("shop", ApiKeyRole::Service)).await;
    let role = |answer: GetUserResponse| answer.user.unwrap().role();
    assert_eq!(role(alma.user("olga").await.unwrap()), UserRole::Operator);
    assert_eq!(role(ada.user("ada").await.unwrap()), UserRole::Participant);

    // Only admins give roles and make keys of back ends.
    for client in [&ada, &olga, &shop] {
        let answer = set_role(client, "ada", UserRole::Admin).await;
        refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
        let answer = create(client, wanted("mine", ApiKeyRole::Admin)).await;
        refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    let status =
        |user_id: &str| DeactivateUserRequest { user_id: user_id.into(), ..Default::default() };
    let mut accounts = client.accounts();
    // Operators do not touch accounts of operators and admins, and service keys know nothing of them.
    accounts.deactivate_user(olga.request(status("ada"))).await.unwrap();
    let of_admin = accounts.deactivate_user(olga.request(status("alma"))).await;
    refused(of_admin, Code::PermissionDenied, "PERMISSION_DENIED");
    olga.user("alma").await.unwrap();
    refused(shop.user("olga").await, Code::PermissionDenied, "PERMISSION_DENIED");
    let find = FindUserRequest { username: "olga".into(), ..Default::default() };
    let found = accounts.find_user(shop.request(find)).await;
    refused(found, Code::NotFound, "USER_NOT_FOUND");

    // A new role ends sessions at once, and the next login has it.
    set_role(&alma, "olga", UserRole::Participant).await.unwrap();
    refused(olga.user("olga").await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let olga = log_in(&client, "olga").await;
    refused(olga.user("ada").await, Code::PermissionDenied, "PERMISSION_DENIED");
    shop.user("olga").await.unwrap();
    let same = set_role(&alma, "olga", UserRole::Participant).await;
    refused(same, Code::FailedPrecondition, "USER_ROLE_UNCHANGED");
    refused(set_role(&alma, "nobody", UserRole::Admin).await, Code::NotFound, "USER_NOT_FOUND");
    // The admin key is the last way in.
    set_role(&alma, "alma", UserRole::Participant).await.unwrap();
    refused(alma.user("alma").await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    set_role(&client, "alma", UserRole::Admin).await.unwrap();
    server.stop().await;
    database.check().await;
}

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

/// What `tributary keys` prints with these arguments.
async fn keys_command(database: &TestDatabase, arguments: &[&str]) -> Result<String, String> {
    let output = tributary()
        .arg("keys")
        .args(arguments)
        .env("DATABASE_URL", &database.url)
        .output()
        .await
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

#[tokio::test]
async fn an_operator_without_any_key_makes_lists_and_revokes_keys_in_the_database() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    let create = ["create", "--name", "way in", "--role", "admin", "--expires-in-days", "7"];

    let key = keys_command(&database, &create).await.unwrap().trim().to_owned();
    let admin = with(&client, &key);
    admin.user("ada").await.unwrap();
    let listed = keys_command(&database, &["list"]).await.unwrap();
    assert!(listed.contains("way in") && listed.contains("valid"), "{listed}");
    assert!(!listed.contains(&key), "{listed}");
    keys_command(&database, &["revoke", &key]).await.unwrap();
    let ended = async {
        while admin.user("ada").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), ended).await.expect("it ends within a second");
    let listed = keys_command(&database, &["list"]).await.unwrap();
    assert!(listed.contains("revoked"), "{listed}");

    for wrong in [
        &["create", "--name", "x", "--role", "user"][..],
        &["create", "--name", "x", "--role", "user", "--user", "nobody"],
        &["create", "--name", "x", "--role", "service", "--rpcs", "Nothing"],
        &["create", "--name", "x", "--role", "service", "--programs", "nowhere"],
        &["revoke", "nothing"],
    ] {
        keys_command(&database, wrong).await.unwrap_err();
    }
    let said: Vec<(String, String, String)> = sqlx::query_as(
        "select event_type, metadata ->> 'actor', metadata ->> 'door' from events
         where aggregate_type = 'ApiKey' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let said: Vec<_> = said.iter().map(|(one, two, three)| (&**one, &**two, &**three)).collect();
    let by_hand = |event_type| (event_type, "command_line", "command_line");
    assert_eq!(said, [by_hand("ApiKeyCreated"), by_hand("ApiKeyRevoked")]);
    assert_eq!(list(&client, "").await.unwrap()[0].created_by, "command_line");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn answers_to_a_user_leave_out_who_the_others_are() {
    let (database, server, client) = server_with(&[LINES]).await;
    let zoe = client.sign_up(LINES, "zoe-1", "").await.unwrap();
    let ada = client.sign_up(LINES, "ada", &zoe.code).await.unwrap();
    let bob = client.sign_up(LINES, "bob-2", &ada.code).await.unwrap();
    client.sign_up(LINES, "cid-3", &bob.code).await.unwrap();
    let bought = client.buy("order-1", "bob-2", "INR", 200_000).await.unwrap();
    client.buy("order-2", "ada", "INR", 200_000).await.unwrap();
    let (caller, _) = holder(&client, wanted_by_user("phone", "ada")).await;
    let token = bought.consistency_token;
    let answers = answers_about(&caller, "ada", &token).await;
    for (rpc, answer) in answers {
        for other in ["zoe-1", "bob-2", "cid-3"] {
            let is_username = other == "bob-2" && answer.contains("username: \"bob-2\"");
            let ids = format!("user_id: \"{other}\"");
            assert!(!answer.contains(&ids), "{other} in {rpc}: {answer}");
            let entries = format!("{LINES}/{other}/");
            assert!(!answer.contains(&entries), "{other} in {rpc}: {answer}");
            let is_referral =
                ["ListReferrals", "GetReferralTree", "GetReferralStats"].contains(&rpc);
            assert_eq!(is_username, other == "bob-2" && is_referral, "{other} in {rpc}: {answer}");
            assert!(!answer.contains(&format!("{other}@")), "{rpc}");
        }
        assert!(rpc == "ListPurchases" || answer.contains("ada") || rpc == "ListRewards", "{rpc}");
    }

    // Those who are not in the program do not see its leaderboard.
    client.sign_up("", "dan", "").await.unwrap();
    let (dan, _) = holder(&client, wanted_by_user("phone", "dan")).await;
    let board = GetLeaderboardRequest { program_id: LINES.into(), ..Default::default() };
    let seen = client.leaderboards().get_leaderboard(dan.request(board)).await;
    refused(seen, Code::NotFound, "PARTICIPANT_NOT_FOUND");
    let watch = WatchLeaderboardRequest { program_id: LINES.into(), ..Default::default() };
    let seen = client.leaderboards().watch_leaderboard(dan.request(watch)).await;
    refused(seen.map(drop), Code::NotFound, "PARTICIPANT_NOT_FOUND");

    // Nor do errors say who others are.
    let apply = ApplyReferralRequest {
        program_id: LINES.into(),
        referral_code: bob.code,
        ..Default::default()
    };
    let status = client.referrals().apply_referral(caller.request(apply)).await.unwrap_err();
    assert!(!format!("{status:?}").contains("bob-2"), "{status:?}");
    server.stop().await;
    database.check().await;
}

/// The answers that a user gets about themselves, as text, by the RPC.
async fn answers_about(caller: &Client, user_id: &str, token: &str) -> Vec<(&'static str, String)> {
    let (program_id, user_id) = (LINES.to_owned(), user_id.to_owned());
    let consistency_token = token.to_owned();
    let mut referrals = caller.referrals();
    let (mut rewards, mut boards) = (caller.rewards(), caller.leaderboards());
    let stats = GetReferralStatsRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        consistency_token: consistency_token.clone(),
    };
    let list = ListReferralsRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        max_level: 3,
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    let tree = GetReferralTreeRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    let of_rewards = ListRewardsRequest {
        program_id: program_id.clone(),
        user_id: user_id.clone(),
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    let board = GetLeaderboardRequest {
        program_id: program_id.clone(),
        consistency_token: consistency_token.clone(),
        ..Default::default()
    };
    let bought = ListPurchasesRequest {
        buyer_user_id: user_id.clone(),
        consistency_token,
        ..Default::default()
    };
    let watch =
        WatchParticipantRequest { program_id, user_id: user_id.clone(), ..Default::default() };
    let mut stream = rewards.watch_participant(caller.request(watch)).await.unwrap().into_inner();
    let watch = WatchLeaderboardRequest { program_id: LINES.into(), ..Default::default() };
    let mut places = boards.watch_leaderboard(caller.request(watch)).await.unwrap().into_inner();
    vec![
        ("GetUser", format!("{:?}", caller.user(&user_id).await.unwrap())),
        (
            "GetReferralStats",
            format!("{:?}", referrals.get_referral_stats(caller.request(stats)).await.unwrap()),
        ),
        (
            "ListReferrals",
            format!("{:?}", referrals.list_referrals(caller.request(list)).await.unwrap()),
        ),
        (
            "GetReferralTree",
            format!("{:?}", referrals.get_referral_tree(caller.request(tree)).await.unwrap()),
        ),
        (
            "ListRewards",
            format!("{:?}", rewards.list_rewards(caller.request(of_rewards)).await.unwrap()),
        ),
        (
            "GetLeaderboard",
            format!("{:?}", boards.get_leaderboard(caller.request(board)).await.unwrap()),
        ),
        (
            "ListPurchases",
            format!(
                "{:?}",
                caller.purchases().list_purchases(caller.request(bought)).await.unwrap()
            ),
        ),
        ("WatchParticipant", format!("{:?}", stream.message().await.unwrap())),
        ("WatchLeaderboard", format!("{:?}", places.message().await.unwrap())),
    ]
}

/// Credentials that are good for nothing: none, a malformed one, one that expired, one that was revoked.
pub(super) async fn bad_keys(server: &Server) -> Vec<Option<String>> {
    let client = server.client();
    let (_, key_id) = holder(&client, wanted("revoked", ApiKeyRole::Admin)).await;
    let created = create(&client, wanted("revoked", ApiKeyRole::Admin)).await.unwrap();
    revoke(&client, &key_id).await.unwrap();
    revoke(&client, &created.key.unwrap().key_id).await.unwrap();
    let mut short = wanted("short", ApiKeyRole::Admin);
    short.expire_time = Some(in_seconds(2));
    let short = create(&client, short).await.unwrap().api_key;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let mistyped = format!("{}x", created.api_key);
    vec![None, Some("wrong".into()), Some(mistyped), Some(created.api_key), Some(short)]
}

/// Credentials of each role: keys of a user, of a service and of an admin, and the session of an operator, `olga`, whom
/// this signs up.
pub(super) async fn credentials(server: &Server, user_id: &str) -> [String; 4] {
    let client = server.client();
    let mut keys = Vec::new();
    for message in [
        wanted_by_user("user", user_id),
        wanted("service", ApiKeyRole::Service),
        wanted("admin", ApiKeyRole::Admin),
    ] {
        keys.push(create(&client, message).await.unwrap().api_key);
    }
    person(&client, "olga", UserRole::Operator).await;
    keys.push(access_token(&client, "olga").await);
    keys.try_into().unwrap()
}
