//! API keys: how they are made, what they are limited to, and how they end.

use std::time::Duration;

use contract::pb::*;
use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::roles::{access_token, person};
use super::support::{PATIENCE, enroll, next, only_outcome, refused, server_with};
use testing::{Client, Server, TestDatabase, reason, tributary};

const LINES: &str = "multi-level-commission";
const BONUS: &str = "first-purchase-bonus";

/// A request for a key of a back end.
pub(super) fn wanted(name: &str, role: ApiKeyRole) -> CreateApiKeyRequest {
    CreateApiKeyRequest { name: name.into(), role: role.into(), ..Default::default() }
}

pub(super) fn wanted_by_user(name: &str, user_id: &str) -> CreateApiKeyRequest {
    CreateApiKeyRequest { user_id: user_id.into(), ..wanted(name, ApiKeyRole::User) }
}

pub(super) async fn create(
    client: &Client,
    message: CreateApiKeyRequest,
) -> Result<CreateApiKeyResponse, Status> {
    Ok(client.accounts().create_api_key(client.request(message)).await?.into_inner())
}

pub(super) async fn revoke(client: &Client, key_id: &str) -> Result<RevokeApiKeyResponse, Status> {
    let message = RevokeApiKeyRequest { key_id: key_id.into(), ..Default::default() };
    Ok(client.accounts().revoke_api_key(client.request(message)).await?.into_inner())
}

pub(super) async fn list(client: &Client, user_id: &str) -> Result<Vec<ApiKey>, Status> {
    let message = ListApiKeysRequest { user_id: user_id.into(), ..Default::default() };
    Ok(client.accounts().list_api_keys(client.request(message)).await?.into_inner().keys)
}

/// A client with another key, on the same connection.
pub(super) fn with(client: &Client, key: &str) -> Client {
    Client::new(client.channel(), Some(key))
}

/// A client with a new key.
pub(super) async fn holder(client: &Client, message: CreateApiKeyRequest) -> (Client, String) {
    let created = create(client, message).await.unwrap();
    (with(client, &created.api_key), created.key.unwrap().key_id)
}

pub(super) fn fact(status: &Status, name: &str) -> String {
    let info = status.get_error_details().error_info().cloned().unwrap();
    info.metadata.get(name).cloned().unwrap_or_default()
}

pub(super) fn in_seconds(seconds: i64) -> Timestamp {
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
    // What names no program at all needs another key, which the refusal says.
    let unlimited = refused(shop.user("bob").await, Code::PermissionDenied, "PERMISSION_DENIED");
    assert!(unlimited.message().contains("this RPC is about none"), "{unlimited}");
    let nowhere = CreateApiKeyRequest {
        program_ids: vec!["nowhere".into()],
        ..wanted("nowhere", ApiKeyRole::Service)
    };
    refused(create(&client, nowhere).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_key_that_is_limited_to_programs_reads_its_purchases_and_uses_codes_of_its_programs() {
    let (database, server, client) = server_with(&[LINES, BONUS]).await;
    let of_lines = client.sign_up(LINES, "ada", "").await.unwrap().code;
    let of_bonus = enroll(&client, BONUS, "ada", "").await.unwrap().participant.unwrap().code;
    let limited = |rpcs: &[&str]| CreateApiKeyRequest {
        program_ids: vec![LINES.into()],
        rpcs: rpcs.iter().map(|rpc| (*rpc).to_owned()).collect(),
        ..wanted("limited", ApiKeyRole::Service)
    };
    let beyond = |answer: Result<(), Status>| {
        let status = refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
        assert_eq!(fact(&status, "limit"), "program_ids");
    };
    let (shop, _) = holder(&client, limited(&[])).await;

    // A sign-up by a code alone, or by a program; not by the code of another program, nor by neither.
    let sign_up = |name: &str, code: &str| RegisterUserRequest {
        user_id: name.into(),
        username: name.into(),
        email: format!("{name}@example.com"),
        referral_code: code.into(),
        ..Default::default()
    };
    let bob = shop.register(sign_up("bob", &of_lines)).await.unwrap();
    assert_eq!(bob.participants[0].program_id, LINES);
    assert_eq!(bob.participants[0].referrer_user_id, "ada");
    for code in [&*of_bonus, "", " "] {
        beyond(shop.register(sign_up("eve", code)).await.map(drop));
    }
    let unknown = shop.register(sign_up("eve", "NOBODYS1")).await;
    refused(unknown, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    client.sign_up(LINES, "cy", "").await.unwrap();
    enroll(&client, BONUS, "cy", "").await.unwrap();
    let apply = |code: &str| ApplyReferralRequest {
        referee_user_id: "cy".into(),
        referral_code: code.into(),
        ..Default::default()
    };
    let mut referrals = client.referrals();
    beyond(referrals.apply_referral(shop.request(apply(&of_bonus))).await.map(drop));
    referrals.apply_referral(shop.request(apply(&of_lines))).await.unwrap();
    let validate = |code: &str| ValidateReferralCodeRequest {
        referral_code: code.into(),
        ..Default::default()
    };
    let valid = referrals.validate_referral_code(shop.request(validate(&of_lines))).await.unwrap();
    assert!(valid.into_inner().valid);
    beyond(referrals.validate_referral_code(shop.request(validate(&of_bonus))).await.map(drop));

    // Purchases are read back, in the programs of the key.
    let (till, _) = holder(&client, limited(&["purchases-only"])).await;
    till.buy("order-1", "cy", "INR", 200_000).await.unwrap();
    client.buy("order-2", "cy", "INR", 200_000).await.unwrap();
    let get = |purchase_id: &str| GetPurchaseRequest {
        purchase_id: purchase_id.into(),
        ..Default::default()
    };
    let mut purchases = client.purchases();
    for purchase_id in ["order-1", "order-2"] {
        let read = purchases.get_purchase(till.request(get(purchase_id))).await.unwrap();
        let outcomes = read.into_inner().outcomes;
        assert_eq!(outcomes.iter().map(|of| &*of.program_id).collect::<Vec<_>>(), [LINES]);
    }
    // One's own although its buyer is in no program of the key, and not those of others.
    client.sign_up(BONUS, "di", "").await.unwrap();
    till.buy("order-3", "di", "USD", 2_000).await.unwrap();
    client.buy("order-4", "di", "USD", 2_000).await.unwrap();
    let own = purchases.get_purchase(till.request(get("order-3"))).await.unwrap().into_inner();
    assert!(own.purchase.is_some() && own.outcomes.is_empty(), "{own:?}");
    let foreign = purchases.get_purchase(till.request(get("order-4"))).await;
    refused(foreign, Code::NotFound, "PURCHASE_NOT_FOUND");

    // What is open to anyone is open with such a key, too.
    let login =
        LoginRequest { login: "ada".into(), password: "Wr0ng-horse".into(), ..Default::default() };
    let answer = client.accounts().login(shop.request(login)).await;
    refused(answer, Code::Unauthenticated, "LOGIN_FAILED");
    let resend = ResendConfirmationRequest { login: "ada".into() };
    client.accounts().resend_confirmation(shop.request(resend)).await.unwrap();
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
    let status = refused(more, Code::PermissionDenied, "PERMISSION_DENIED");
    assert!(status.message().contains("a key that is limited creates no other"), "{status}");

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
    assert!(key.starts_with("tributary_key_") && !key.contains(char::is_whitespace), "{key}");
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
