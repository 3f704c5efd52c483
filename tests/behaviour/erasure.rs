//! Erasing a user: what goes, what stays, and what the address of an erased user is good for.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tributary::api::services;

use super::bad_input::at_fault;
use super::principals::{by, in_process, service, user};
use super::support::{PATIENCE, enroll, minor, refer_by_code, refused, server_with};
use testing::people::People;
use testing::{Client, sign_up_request};

const LINES: &str = "multi-level-commission";
const COUNT: &str = "referral-count";
const BONUS: &str = "first-purchase-bonus";

fn facts(status: &Status) -> HashMap<String, String> {
    status.get_error_details().error_info().map(|info| info.metadata.clone()).unwrap_or_default()
}

/// Ada, who has earned 5000 through a purchase of Bob's. Returns her code.
async fn ada_has_earned(client: &Client) -> String {
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    client.buy("order-1", "bob", "INR", 100_000).await.unwrap();
    ada.code
}

async fn entries(client: &Client, token: &str) -> Vec<(EntryKind, i64)> {
    let request = ListBalanceEntriesRequest {
        program_id: LINES.into(),
        user_id: "ada".into(),
        consistency_token: token.into(),
        ..Default::default()
    };
    let answer = client.rewards().list_balance_entries(client.request(request)).await.unwrap();
    let entries = answer.into_inner().entries.into_iter();
    entries.map(|entry| (entry.kind(), minor(entry.amount.as_ref()))).collect()
}

async fn balance(client: &Client, user_id: &str, token: &str) -> i64 {
    let request = GetBalancesRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        consistency_token: token.into(),
        ..Default::default()
    };
    let answer = client.rewards().get_balances(client.request(request)).await.unwrap();
    answer.into_inner().balances[0].minor_units
}

#[tokio::test]
async fn who_is_owed_something_is_erased_only_if_it_is_forfeited_by_an_entry() {
    let (database, server, client) = server_with(&[LINES, COUNT]).await;
    ada_has_earned(&client).await;
    enroll(&client, COUNT, "ada", "").await.unwrap();

    let status =
        refused(client.erase("ada", false).await, Code::FailedPrecondition, "BALANCE_OWED");
    let facts = facts(&status);
    assert_eq!(facts["user_id"], "ada");
    assert_eq!(facts["owed"], format!("5000 minor units of INR in '{LINES}'"));
    assert_eq!(facts["program_count"], "1");
    assert!(status.message().contains("forfeit_balances"), "{status}");
    client.user("ada").await.unwrap();

    let erased = client.erase("ada", true).await.unwrap();
    let [lost] = &*erased.forfeited else { panic!("{erased:?}") };
    assert_eq!((&*lost.program_id, minor(lost.amount.as_ref())), (LINES, 5_000));
    // The ledger stays, for those who keep the books.
    let token = &erased.consistency_token;
    assert_eq!(balance(&client, "ada", token).await, 0);
    let expected = [(EntryKind::Expiry, -5_000), (EntryKind::Reward, 5_000)];
    assert_eq!(entries(&client, token).await, expected);
    // Who is owed nothing needs to forfeit nothing.
    assert_eq!(client.erase("bob", false).await.unwrap().forfeited, []);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn writes_and_accounts_do_not_know_an_erased_user_and_the_id_stays_taken() {
    let (database, server, client) = server_with(&[LINES, COUNT]).await;
    let code = ada_has_earned(&client).await;
    client.sign_up(LINES, "cid", "").await.unwrap();
    client.erase("ada", true).await.unwrap();

    let not_found = |answer: Result<(), Status>| {
        refused(answer, Code::NotFound, "USER_NOT_FOUND");
    };
    not_found(client.user("ada").await.map(drop));
    not_found(client.erase("ada", true).await.map(drop));
    not_found(client.export("ada").await.map(drop));
    not_found(client.deactivate("ada").await.map(drop));
    not_found(client.reactivate("ada").await.map(drop));
    not_found(client.buy("order-2", "ada", "INR", 100_000).await.map(drop));
    not_found(client.refer(LINES, "ada", "cid").await.map(drop));
    not_found(client.refer(LINES, "cid", "ada").await.map(drop));
    not_found(enroll(&client, COUNT, "ada", "").await.map(drop));
    let find = |request: FindUserRequest| {
        let (client, request) = (client.clone(), client.request(request));
        async move { client.accounts().find_user(request).await.map(drop) }
    };
    not_found(find(FindUserRequest { username: "ada".into(), ..Default::default() }).await);
    let email = "ada@example.com".into();
    not_found(find(FindUserRequest { email, ..Default::default() }).await);
    let by_code = find(FindUserRequest { referral_code: code.clone(), ..Default::default() }).await;
    refused(by_code, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");

    // The code is an unknown one.
    let answer = client.sign_up(LINES, "dan", &code).await;
    refused(answer, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    let answer = refer_by_code(&client, "", "cid", &code).await;
    refused(answer, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    let verdict = client.validate(&code, "").await.unwrap();
    assert_eq!((verdict.valid, verdict.reason()), (false, CodeInvalidReason::Unknown));

    let again = RegisterUserRequest {
        username: "other".into(),
        email: "other@example.com".into(),
        ..sign_up_request("", "ada", "")
    };
    refused(client.register(again).await, Code::AlreadyExists, "USER_ID_TAKEN");
    server.stop().await;
    database.check().await;
}

/// The user in the list of all users, and in that of the program.
async fn listed(client: &Client, user_id: &str, token: &str) -> Vec<User> {
    let mut found = Vec::new();
    for program_id in ["", LINES] {
        let request = ListUsersRequest {
            program_id: program_id.into(),
            consistency_token: token.into(),
            ..Default::default()
        };
        let answer = client.accounts().list_users(client.request(request)).await.unwrap();
        let users = answer.into_inner().users.into_iter().filter_map(|detail| detail.user);
        found.extend(users.filter(|user| user.user_id == user_id));
    }
    found
}

#[tokio::test]
async fn an_erased_user_stays_in_lists_and_on_boards_without_a_name() {
    let (database, server, client) = server_with(&[LINES]).await;
    let named = RegisterUserRequest {
        display_name: "Ada Lovelace".into(),
        ..sign_up_request(LINES, "ada", "")
    };
    let code = client.register(named).await.unwrap().participants[0].code.clone();
    client.sign_up(LINES, "bob", &code).await.unwrap();
    let bought = client.buy("order-1", "bob", "INR", 100_000).await.unwrap();
    for shown in listed(&client, "ada", &bought.consistency_token).await {
        assert_eq!((&*shown.display_name, shown.status()), ("Ada Lovelace", UserStatus::Active));
    }

    let token = client.erase("ada", true).await.unwrap().consistency_token;
    let shown = listed(&client, "ada", &token).await;
    assert_eq!(shown.len(), 2);
    for shown in shown {
        assert_eq!((&*shown.username, &*shown.display_name), ("", ""));
        assert_eq!(shown.status(), UserStatus::Erased);
    }
    // Names on boards are remembered for a second.
    let began = Instant::now();
    loop {
        let request = GetLeaderboardRequest { program_id: LINES.into(), ..Default::default() };
        let answer = client.leaderboards().get_leaderboard(client.request(request)).await.unwrap();
        let entries = answer.into_inner().entries;
        let ada = entries.iter().find(|entry| entry.user_id == "ada").expect("a place");
        if ada.display_name.is_empty() && ada.username.is_empty() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{ada:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn what_others_earned_stays_and_the_line_above_goes_on_earning() {
    let (database, server, client) = server_with(&[LINES]).await;
    let top = client.sign_up(LINES, "top", "").await.unwrap();
    let ada = client.sign_up(LINES, "ada", &top.code).await.unwrap();
    client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    client.buy("order-1", "bob", "INR", 100_000).await.unwrap();
    client.erase("ada", true).await.unwrap();
    let bought = client.buy("order-2", "bob", "INR", 100_000).await.unwrap();
    let outcome = &bought.outcomes[0];
    assert_eq!(super::support::granted(outcome), [("top", 2, 1_000)]);
    assert_eq!(super::support::withheld(outcome), [("ada", 1, WithheldReason::EarnerInactive)]);
    assert_eq!(balance(&client, "top", &bought.consistency_token).await, 2_000);
    // The purchase of the time before can be read as it was.
    let before = client.purchase("order-1").await.unwrap();
    assert_eq!(
        super::support::granted(&before.outcomes[0]),
        [("ada", 1, 5_000), ("top", 2, 1_000)]
    );
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_address_of_an_erased_user_makes_an_account_and_no_referral_in_any_program() {
    let (database, server, client) = server_with(&[LINES, COUNT, BONUS]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    client.sign_up(COUNT, "eve", "").await.unwrap();
    let in_count = enroll(&client, COUNT, "ada", "").await.unwrap().participant.unwrap().code;
    client.erase("bob", false).await.unwrap();
    // Written in another way, the address is the same.
    let again = RegisterUserRequest {
        email: " BOB@Example.COM ".into(),
        username: "Bob".into(),
        request_id: "again".into(),
        ..sign_up_request(COUNT, "bob-2", &in_count)
    };
    let answer = client.register(again.clone()).await.unwrap();
    assert_eq!(answer.code_passed_over(), CodeInvalidReason::AddressUsedBefore);
    assert_eq!(answer.participants[0].referrer_user_id, "");
    assert_eq!(answer.rewards, []);
    assert_eq!(client.register(again).await.unwrap(), answer);

    // Nor later, and not by any other way.
    let enrolled = enroll(&client, LINES, "bob-2", &ada.code).await.unwrap();
    assert_eq!(enrolled.code_passed_over(), CodeInvalidReason::AddressUsedBefore);
    let verdict = client.validate(&ada.code, "bob-2").await.unwrap();
    assert_eq!((verdict.valid, verdict.reason()), (false, CodeInvalidReason::AddressUsedBefore));
    for answer in [
        refer_by_code(&client, LINES, "bob-2", &ada.code).await,
        client.refer(LINES, "bob-2", "ada").await,
    ] {
        let status = refused(answer, Code::FailedPrecondition, "ADDRESS_USED_BEFORE");
        assert_eq!(facts(&status)["referee_user_id"], "bob-2");
    }
    // Erased once more, the address is remembered all the same.
    client.erase("bob-2", false).await.unwrap();
    let third = RegisterUserRequest {
        email: "bob@example.com".into(),
        ..sign_up_request(LINES, "bob-3", &ada.code)
    };
    let third = client.register(third).await.unwrap();
    assert_eq!(third.code_passed_over(), CodeInvalidReason::AddressUsedBefore);
    // Other addresses are not concerned.
    let cid = client.sign_up(LINES, "cid", &ada.code).await.unwrap();
    assert_eq!(cid.referrer_user_id, "ada");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn nothing_personal_is_left_in_the_database_but_a_keyed_hash() {
    let (database, server, client) = server_with(&[LINES]).await;
    let secret = RegisterUserRequest {
        username: "lovelace.login".into(),
        email: "countess@lovelace.example".into(),
        display_name: "Ada Lovelace".into(),
        password: "Correct horse 1".into(),
        ..sign_up_request(LINES, "u-1", "")
    };
    client.register(secret).await.unwrap();
    client.sign_up(LINES, "u-2", "").await.unwrap();
    client.erase("u-1", false).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select quote_ident(tablename) from pg_tables where schemaname = current_schema()",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(tables.iter().any(|table| table == "claims"));
    for table in tables {
        let query = format!(
            "select count(*) from {table} as rows
             where lower(rows::text) like '%lovelace%' or rows::text like '%argon2id%'"
        );
        assert_eq!(database.count(&query).await, 0, "{table}");
    }
    let kept: Vec<(String, String)> =
        sqlx::query_as("select value, owner from claims where kind = 'erased_email'")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    let [(hash, owner)] = &*kept else { panic!("{kept:?}") };
    assert!(hash.len() == 64 && owner.is_empty(), "{kept:?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_sessions_of_an_erased_user_end() {
    let (database, server, client) = server_with(&[LINES]).await;
    let password = "Correct-horse-1";
    let ada =
        RegisterUserRequest { password: password.into(), ..sign_up_request(LINES, "ada", "") };
    client.register(ada).await.unwrap();
    let people = People::of(&client);
    let session = people.login("ada", password).await.unwrap();
    people.me(&session.access_token).await.unwrap();

    client.erase("ada", false).await.unwrap();

    let me = people.me(&session.access_token).await;
    refused(me, Code::Unauthenticated, "INVALID_CREDENTIALS");
    people.refresh(&session.refresh_token).await.unwrap_err();
    people.login("ada", password).await.unwrap_err();
    let left = "select (select count(*) from refresh_tokens)
        + (select count(*) from sessions where ended_at is null or user_agent <> '')";
    assert_eq!(database.count(left).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_repeated_erasure_gets_the_first_answer() {
    let (database, server, client) = server_with(&[LINES]).await;
    ada_has_earned(&client).await;
    let request = EraseUserRequest {
        user_id: "ada".into(),
        forfeit_balances: true,
        request_id: "once".into(),
    };
    let erase = |request: EraseUserRequest| {
        let (client, request) = (client.clone(), client.request(request));
        async move { client.accounts().erase_user(request).await.map(tonic::Response::into_inner) }
    };
    let first = erase(request.clone()).await.unwrap();
    assert_eq!(erase(request.clone()).await.unwrap(), first);
    let other = EraseUserRequest { forfeit_balances: false, ..request };
    refused(erase(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn users_erase_and_export_themselves_and_nobody_else() {
    let (database, server, client) = server_with(&[LINES]).await;
    for name in ["ada", "bob", "cid"] {
        client.sign_up(LINES, name, "").await.unwrap();
    }
    let local = in_process(&database).await;
    let mut accounts = AccountServiceClient::new(services(local.context()));
    let erase = |user_id: &str| EraseUserRequest { user_id: user_id.into(), ..Default::default() };
    let export =
        |user_id: &str| ExportUserRequest { user_id: user_id.into(), ..Default::default() };
    let other = accounts.erase_user(by(&user("ada"), erase("bob"))).await;
    refused(other, Code::PermissionDenied, "PERMISSION_DENIED");
    let other = accounts.export_user(by(&user("ada"), export("bob"))).await.map(drop);
    refused(other, Code::PermissionDenied, "PERMISSION_DENIED");

    // Without a name, the caller is meant; but nobody is erased without a name.
    let mut parts = accounts.export_user(by(&user("ada"), export(""))).await.unwrap().into_inner();
    let part = parts.message().await.unwrap().unwrap();
    assert!(part.json_part.contains("ada@example.com"), "{part:?}");
    let unnamed = accounts.erase_user(by(&user("ada"), erase(""))).await;
    at_fault(unnamed, "user_id", "FIELD_REQUIRED");
    accounts.erase_user(by(&user("ada"), erase("ada"))).await.unwrap();
    refused(client.user("ada").await, Code::NotFound, "USER_NOT_FOUND");
    accounts.export_user(by(&service(), export("bob"))).await.unwrap();
    accounts.erase_user(by(&service(), erase("bob"))).await.unwrap();
    client.user("cid").await.unwrap();
    let exported: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', aggregate_id, metadata ->> 'actor', metadata ->> 'door') from events
         where event_type = 'UserExported' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(exported, ["ada user:ada ExportUser", "bob key:service:k_1 ExportUser"]);
    let by_whom = "select count(*) from events where event_type = 'UserErased'
        and metadata ->> 'actor' in ('user:ada', 'key:service:k_1')";
    assert_eq!(database.count(by_whom).await, 2);
    server.stop().await;
    database.check().await;
}
