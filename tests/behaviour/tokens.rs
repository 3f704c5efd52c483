//! Tokens of pages and of consistency: they are good where they were given out, and nowhere else.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::pb::*;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, Value};
use tonic::Code;

use super::bad_input::at_fault;
use super::raw;
use super::support::{another_epoch, refused, server_with};
use testing::{Client, reason, sign_up_request};

/// Two lists of one RPC that differ in one field, as JSON, and where the page token is in the answer.
const LISTS: &[(&str, &str, &str)] = &[
    ("AccountService/ListUsers", "{}", r#"{"program_id": "multi-level-commission"}"#),
    ("AccountService/ListApiKeys", "{}", r#"{"user_id": "bob"}"#),
    ("PurchaseService/ListPurchases", "{}", r#"{"buyer_user_id": "bob"}"#),
    ("PurchaseService/ListPurchases", "{}", r#"{"program_id": "multi-level-commission"}"#),
    ("PurchaseService/ListPurchases", "{}", r#"{"start_time": "2020-01-01T00:00:00Z"}"#),
    ("PurchaseService/ListPurchases", "{}", r#"{"end_time": "2120-01-01T00:00:00Z"}"#),
    ("RewardService/ListRewards", REWARDS, r#"{"kind": "REWARD_KIND_COMMISSION"}"#),
    ("RewardService/ListRewards", REWARDS, r#"{"level": 1}"#),
    ("RewardService/ListRewards", REWARDS, r#"{"user_id": "bob"}"#),
    ("RewardService/ListWithheldRewards", REWARDS, r#"{"user_id": "bob"}"#),
    ("RewardService/ListBalanceEntries", REWARDS, r#"{"user_id": "bob"}"#),
    ("RewardService/GetEarnings", REWARDS, r#"{"user_id": "bob"}"#),
    ("ProgramService/ListProgramVersions", BOARD, r#"{"program_id": "referral-count"}"#),
    ("RewardService/ListApprovals", "{}", r#"{"state": "APPROVAL_STATE_PENDING"}"#),
    ("RewardService/ListApprovals", "{}", r#"{"user_id": "ada"}"#),
    ("StoreService/ListItems", BOARD, r#"{"program_id": "referral-count"}"#),
    ("StoreService/ListItems", BOARD, r#"{"available_only": true}"#),
    ("StoreService/ListRedemptions", "{}", r#"{"state": "REDEMPTION_STATE_MADE"}"#),
    ("StoreService/ListRedemptions", "{}", r#"{"user_id": "ada"}"#),
    ("ReferralService/ListReferrals", REWARDS, r#"{"status": "REFERRAL_STATUS_CONVERTED"}"#),
    ("ReferralService/ListReferrals", REWARDS, r#"{"max_level": 2}"#),
    ("LeaderboardService/GetLeaderboard", BOARD, r#"{"metric": "LEADERBOARD_METRIC_REFERRALS"}"#),
    ("LeaderboardService/GetLeaderboard", BOARD, r#"{"program_id": "referral-count"}"#),
    ("FraudService/ListFraudFlags", "{}", r#"{"kind": "FRAUD_FLAG_KIND_LOOK_ALIKE"}"#),
    ("FraudService/ListFraudFlags", "{}", r#"{"user_id": "bob"}"#),
    ("FraudService/ListFraudFlags", "{}", r#"{"state": "FRAUD_FLAG_STATE_OPEN"}"#),
    ("PayoutService/ListPayouts", "{}", BOARD),
    ("PayoutService/ListPayoutLines", PAYOUT, r#"{"state": "PAYOUT_LINE_STATE_SKIPPED"}"#),
    ("RewardService/GetStatement", STATEMENT, r#"{"user_id": "bob"}"#),
    ("OperatorService/ListMails", "{}", r#"{"kind": "MAIL_KIND_WELCOME"}"#),
    ("OperatorService/ListMails", "{}", r#"{"user_id": "bob"}"#),
    ("OperatorService/ListJobs", "{}", r#"{"kind": "test"}"#),
    ("OperatorService/ListJobs", "{}", r#"{"state": "JOB_STATE_QUEUED"}"#),
];
const REWARDS: &str = r#"{"program_id": "multi-level-commission", "user_id": "ada"}"#;
const BOARD: &str = r#"{"program_id": "multi-level-commission"}"#;
const PAYOUT: &str = r#"{"program_id": "multi-level-commission", "payout_id": "may"}"#;
const STATEMENT: &str =
    r#"{"program_id": "multi-level-commission", "user_id": "ada", "month": "THIS"}"#;
/// Lists without a field by which two of them could differ.
const ONE_LIST: &[&str] = &["ProgramService/ListPrograms", "PurchaseService/ListUnmatchedPayments"];

/// A request from JSON; the fields of `other` replace those of `base`.
fn request(pool: &DescriptorPool, rpc: &str, base: &str, other: &str) -> DynamicMessage {
    let (service, name) = rpc.split_once('/').unwrap();
    let service = pool.get_service_by_name(&format!("tributary.v1.{service}")).unwrap();
    let input = service.methods().find(|method| method.name() == name).unwrap().input();
    let now = time::OffsetDateTime::now_utc();
    let base = base.replace("THIS", &format!("{:04}-{:02}", now.year(), u8::from(now.month())));
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&base).unwrap();
    fields.extend(serde_json::from_str::<serde_json::Map<_, _>>(other).unwrap());
    DynamicMessage::deserialize(input, serde_json::Value::Object(fields)).unwrap()
}

/// The answer of an RPC that answers once.
async fn call(
    client: &Client,
    pool: &DescriptorPool,
    rpc: &str,
    request: &DynamicMessage,
) -> Result<DynamicMessage, tonic::Status> {
    let (service, name) = rpc.split_once('/').unwrap();
    let service = pool.get_service_by_name(&format!("tributary.v1.{service}")).unwrap();
    let output = service.methods().find(|method| method.name() == name).unwrap().output();
    let path = format!("/tributary.v1.{rpc}");
    let message = client.request(request.encode_to_vec());
    let answer = raw::call(client.channel(), &path, message).await?;
    Ok(DynamicMessage::decode(output, &*answer).unwrap())
}

/// The RPCs of lists.
fn lists(pool: &DescriptorPool) -> BTreeSet<String> {
    let services = pool.services().filter(|service| service.package_name() == "tributary.v1");
    let rpcs = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    rpcs.filter(|rpc| rpc.input().get_field_by_name("page_token").is_some())
        .map(|rpc| format!("{}/{}", rpc.parent_service().name(), rpc.name()))
        .collect()
}

#[expect(clippy::too_many_lines, reason = "a list of all lists")]
#[tokio::test]
async fn the_page_token_of_a_list_is_refused_by_the_same_rpc_with_another_filter() {
    let (database, server, client) =
        server_with(&["multi-level-commission", "referral-count"]).await;
    let program = "multi-level-commission";
    let ada = client.sign_up(program, "ada", "").await.unwrap();
    let bob = client.sign_up(program, "bob", &ada.code).await.unwrap();
    client.sign_up(program, "cem", &bob.code).await.unwrap();
    client.sign_up(program, "dan", &ada.code).await.unwrap();
    for number in 0..3 {
        client.buy(&format!("order-{number}"), "bob", "INR", 100_000).await.unwrap();
        client.buy(&format!("other-{number}"), "cem", "INR", 100_000).await.unwrap();
    }
    sqlx::query(
        "insert into jobs (kind, dedupe_key, payload)
         select 'test', number::text, '{}' from generate_series(1, 3) as number",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    sqlx::query(
        "with queued as (
             insert into jobs (kind, dedupe_key, payload, run_after)
             select 'mail', number::text, '{}', now() + interval '1 day' from generate_series(1, 3) as number
             returning id)
         insert into mails (job_id, kind, user_id) select id, 'welcome', 'bob' from queued",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    for number in 0..3 {
        let key = CreateApiKeyRequest {
            name: format!("key {number}"),
            role: ApiKeyRole::User.into(),
            user_id: "bob".into(),
            ..Default::default()
        };
        client.accounts().create_api_key(client.request(key)).await.unwrap();
    }
    for number in 0..3 {
        let large = AdjustBalanceRequest {
            program_id: program.into(),
            user_id: "ada".into(),
            adjustment_id: format!("large-{number}"),
            amount: Some(Money { currency_code: "INR".into(), minor_units: 1_000_000 }),
            reason_code: "goodwill".into(),
            ..Default::default()
        };
        client.rewards().adjust_balance(client.request(large)).await.unwrap();
    }
    for number in 0..3 {
        let item = PublishItemRequest {
            program_id: program.into(),
            item_id: format!("item-{number}"),
            name: "A pen".into(),
            cost: Some(Money { currency_code: "INR".into(), minor_units: 1 }),
            ..Default::default()
        };
        client.store().publish_item(client.request(item)).await.unwrap();
        let wish = RedeemRequest {
            program_id: program.into(),
            user_id: "ada".into(),
            item_id: format!("item-{number}"),
            ..Default::default()
        };
        client.store().redeem(client.request(wish)).await.unwrap();
    }
    let published = client.publish_shipped(program).await;
    let again = Program { display_name: "Again".into(), pays_out: true, ..published };
    client.publish(again).await.unwrap();
    for payout_id in ["may", "june", "july"] {
        let payout = CreatePayoutRequest {
            program_id: program.into(),
            payout_id: payout_id.into(),
            ..Default::default()
        };
        // One after the other: the next is refused until the last has collected.
        while client.payouts().create_payout(client.request(payout.clone())).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    // The first of these reaches ada's cap, so that nothing is granted for the others.
    for number in 0..4 {
        client.buy(&format!("large-{number}"), "bob", "INR", 3_000_000).await.unwrap();
    }
    client.publish_shipped("tiered-points").await;
    let owner = client.sign_up("tiered-points", "owner", "").await.unwrap();
    for tag in 1..=3 {
        let twin = RegisterUserRequest {
            email: format!("owner+{tag}@example.com"),
            ..sign_up_request("tiered-points", &format!("twin-{tag}"), &owner.code)
        };
        client.register(twin).await.unwrap();
    }
    let newest = client.sign_up(program, "eve", "").await.unwrap().response.consistency_token;
    let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
    let tried: BTreeSet<String> = LISTS
        .iter()
        .map(|(rpc, ..)| *rpc)
        .chain(ONE_LIST.iter().copied())
        .map(Into::into)
        .collect();
    assert_eq!(tried, lists(&pool), "each list is tried");
    for (rpc, base, other) in LISTS {
        let page = |other: &str, token: &str, size: i32| {
            let mut request = request(&pool, rpc, base, other);
            request.set_field_by_name("page_size", Value::I32(size));
            request.set_field_by_name("page_token", Value::String(token.into()));
            if request.descriptor().get_field_by_name("consistency_token").is_some() {
                let token = Value::String(newest.clone());
                request.set_field_by_name("consistency_token", token);
            }
            request
        };
        let first = call(&client, &pool, rpc, &page("{}", "", 1)).await.unwrap();
        let token = first.get_field_by_name("next_page_token").unwrap();
        let token = token.as_str().unwrap().to_owned();
        assert!(!token.is_empty(), "{rpc} has a second page");
        // The size of the page is free.
        call(&client, &pool, rpc, &page("{}", &token, 2)).await.unwrap();

        let elsewhere = call(&client, &pool, rpc, &page(other, &token, 1)).await;

        let elsewhere = elsewhere.map(|_| ());
        assert!(elsewhere.is_err(), "{rpc} with {other}");
        at_fault(elsewhere, "page_token", "INVALID_PAGE_TOKEN");
    }
    let programs = ListProgramsRequest { page_size: 1, ..Default::default() };
    let programs = client.programs().list_programs(client.request(programs)).await.unwrap();
    let token = programs.into_inner().next_page_token;
    let users = ListUsersRequest { page_token: token, ..Default::default() };
    let users = client.accounts().list_users(client.request(users)).await.unwrap_err();
    assert_eq!(reason(&users), (Code::InvalidArgument, "INVALID_FIELD".into()));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn pages_and_tokens_that_nobody_gave_out_are_refused() {
    let (database, server, client) = server_with(&[]).await;
    let list = |page_size: i32, page_token: &str, consistency_token: &str| ListProgramsRequest {
        page_size,
        page_token: page_token.into(),
        consistency_token: consistency_token.into(),
    };
    for size in [-1, 1_001, i32::MIN] {
        let answer = client.programs().list_programs(client.request(list(size, "", ""))).await;
        at_fault(answer, "page_size", "INVALID_PAGE_SIZE");
    }
    let answer = client.programs().list_programs(client.request(list(0, "?", ""))).await;
    at_fault(answer, "page_token", "INVALID_PAGE_TOKEN");
    for token in ["42", "ä", "\0", "Y2Nj", &"A".repeat(10_000)] {
        let answer = client.programs().list_programs(client.request(list(0, "", token))).await;
        at_fault(answer, "consistency_token", "INVALID_CONSISTENCY_TOKEN");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_consistency_token_of_another_log_is_of_another_epoch_and_a_forged_one_ahead_of_the_log()
{
    let (longer, server, client) = server_with(&["referral-count"]).await;
    let mut last = client.sign_up("referral-count", "ada", "").await.unwrap();
    for index in 0..3 {
        last = client.sign_up("", &format!("user-{index}"), &last.code).await.unwrap();
    }
    let good = last.response.consistency_token;
    let read =
        |user_id: &str| GetUserRequest { user_id: user_id.into(), consistency_token: good.clone() };
    client.accounts().get_user(client.request(read("ada"))).await.unwrap();
    server.stop().await;
    another_epoch().await;
    let (shorter, server, client) = server_with(&["referral-count"]).await;
    let ada = client.sign_up("referral-count", "ada", "").await.unwrap();

    let ahead = client.accounts().get_user(client.request(read("ada"))).await;

    refused(ahead, Code::FailedPrecondition, "TOKEN_OF_OLD_EPOCH");
    // A position of the present epoch that the log has not reached. (The kind and the epoch come before it.)
    let mut forged = URL_SAFE_NO_PAD.decode(&ada.response.consistency_token).unwrap();
    forged[5 + 6] = 1;
    let consistency_token = URL_SAFE_NO_PAD.encode(forged);
    let request = GetUserRequest { user_id: "ada".into(), consistency_token };
    let ahead = client.accounts().get_user(client.request(request)).await;
    refused(ahead, Code::FailedPrecondition, "TOKEN_AHEAD_OF_LOG");
    server.stop().await;
    shorter.check().await;
    longer.check().await;
}
