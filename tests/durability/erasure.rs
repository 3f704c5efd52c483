//! Erasing users while others write: on two servers, in the same batch, and with every table that holds something
//! personal.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::pb::*;
use domain::{MailedToken, Personal, TokenPurpose, UserId};
use tonic::Code;
use tributary::store::personal::{self, address_key};
use tributary::store::{functions, mailed_tokens};

use crate::expected;
use crate::rivals::lock_log;
use testing::{Pair, Server, TestDatabase, at_once, reason, sign_up_request};

const LINES: &str = "multi-level-commission";

/// Tables without anything personal: users are in them by id only, or not at all.
const IMPERSONAL: &[&str] = &[
    "_sqlx_migrations",
    "checkpoints",
    "database_functions",
    "enrollments",
    "epochs",
    "events",
    "expirations",
    "jobs",
    "program_visits",
    "reaction_checkpoints",
    "reactions",
    "read_model_copies",
    "receipts",
    "referrals",
    "releases",
    "secrets",
    // Hashes only.
    "sign_up_requests",
    "snapshots",
    // Ids of the provider.
    "stripe_event_keys",
    "stripe_payment_keys",
    "writers",
];

/// Personal tables whose rows are no user's alone: `erase_user` treats them in their own way.
const SPECIAL: &[&str] = &["claims", "refresh_tokens"];

async fn tables(database: &TestDatabase) -> BTreeSet<String> {
    let all: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = current_schema()
            and tablename not in (select copy from read_model_copies)",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    all.into_iter().collect()
}

#[tokio::test]
async fn every_table_is_known_to_hold_something_personal_or_not() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let personal = personal::TABLES.iter().map(|table| table.name);
    let known: BTreeSet<String> =
        IMPERSONAL.iter().chain(SPECIAL).copied().chain(personal).map(Into::into).collect();
    assert_eq!(tables(&database).await, known, "add a new table to one of the lists");
    server.stop().await;
}

#[tokio::test]
async fn every_personal_table_is_named_in_the_function_that_erases_and_shows_no_secret() {
    let database = TestDatabase::new().await;
    let (_, function) =
        functions::files().iter().find(|(name, _)| *name == "erase_user").expect("a function");
    for table in personal::TABLES {
        let lines = function.lines().map(str::trim);
        let of_table = lines.filter(|line| line.ends_with(" where user_id = erased_user_id;"));
        let begins =
            [format!("delete from {} ", table.name), format!("update {} set ", table.name)];
        let count = of_table.filter(|line| begins.iter().any(|begin| line.starts_with(begin)));
        assert_eq!(count.count(), 1, "the line of {} in erase_user", table.name);
        let columns: Vec<String> = sqlx::query_scalar(
            "select column_name::text from information_schema.columns
             where table_schema = current_schema() and table_name = $1",
        )
        .bind(table.name)
        .fetch_all(&database.pool)
        .await
        .unwrap();
        assert!(columns.iter().any(|column| column == "user_id"), "{table:?}");
        for column in &columns {
            let is_secret = ["hash", "secret", "token", "password"];
            let is_secret = is_secret.iter().any(|word| column.contains(word));
            let is_hidden = table.secrets.contains(&&**column);
            assert!(is_hidden || !is_secret, "{column} of {table:?} is shown");
        }
        for hidden in table.secrets {
            assert!(columns.iter().any(|column| column == hidden), "{hidden} of {table:?}");
        }
    }
    // Read models hold ids only.
    let personal_columns = "select count(*) from information_schema.columns
        where table_schema = current_schema() and table_name in (select copy from read_model_copies)
            and column_name ~ 'name|email|address|phone|password'";
    assert_eq!(database.count(personal_columns).await, 0);
}

#[tokio::test]
async fn the_database_and_the_server_make_the_same_key_of_an_address() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let secret: Vec<u8> = sqlx::query_scalar("select value from secrets where name = 'addresses'")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    for address in ["ada@example.com", "josé@bücher.example", "", &*"x".repeat(1_000)] {
        let query = format!("select {}($1)", functions::name("address_key"));
        let made: String =
            sqlx::query_scalar(&query).bind(address).fetch_one(&database.pool).await.unwrap();
        assert_eq!(address_key(&secret, address), Some(made), "{address}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_erased_by_one_server_is_erased_on_the_other_at_once() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    let (one, other) = (pair.client(0), pair.client(1));
    one.publish_shipped(LINES).await;
    let ada = one.sign_up(LINES, "ada", "").await.unwrap();
    // A referrer has room for 8.
    for round in 0..8 {
        let name = format!("user-{round}");
        let code = one.sign_up(LINES, &name, &ada.code).await.unwrap().code;
        // The other server has all of it in memory.
        other.buy(&format!("order-{round}"), &name, "USD", 5).await.unwrap();
        other.sign_up(LINES, &format!("below-{round}"), &code).await.unwrap();

        one.erase(&name, false).await.unwrap();

        let bought = other.buy("", &name, "USD", 5).await.unwrap_err();
        assert_eq!(reason(&bought), (Code::NotFound, "USER_NOT_FOUND".into()));
        let referred = other.sign_up(LINES, "somebody", &code).await.unwrap_err();
        assert_eq!(reason(&referred), (Code::NotFound, "REFERRAL_CODE_NOT_FOUND".into()));
        let again = RegisterUserRequest {
            username: name.clone(),
            email: testing::address_of(&name),
            ..sign_up_request(LINES, &format!("again-{round}"), &ada.code)
        };
        let again = other.register(again).await.unwrap();
        assert_eq!(again.code_passed_over(), CodeInvalidReason::AddressUsedBefore);
    }
    expected::caught_up(&database).await;
    expected::check_read_models(&database).await;
    pair.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_not_referred_again_however_sign_ups_and_erasures_race() {
    let database = TestDatabase::new().await;
    let pair = Pair::start(&database).await;
    pair.client(0).publish_shipped(LINES).await;
    let mut referred_again = 0;
    for round in 0..20 {
        // A referrer has room for 8.
        let top = pair.client(0).sign_up(LINES, &format!("top-{round}"), "").await.unwrap();
        let name = format!("user-{round}");
        pair.client(round).sign_up(LINES, &name, &top.code).await.unwrap();
        let calls: Vec<_> = (0..6)
            .map(|number| {
                let (client, name) = (pair.client(number), name.clone());
                let request = RegisterUserRequest {
                    email: testing::address_of(&name),
                    ..sign_up_request(LINES, &format!("{name}-{number}"), &top.code)
                };
                async move {
                    if number == 2 {
                        client.erase(&name, false).await.unwrap();
                        return None;
                    }
                    Some(client.register(request).await)
                }
            })
            .collect();
        for answer in at_once(calls).await.into_iter().flatten() {
            match answer {
                Ok(made) => {
                    referred_again +=
                        usize::from(!made.participants[0].referrer_user_id.is_empty());
                }
                Err(status) => {
                    assert_eq!(reason(&status), (Code::AlreadyExists, "EMAIL_TAKEN".into()));
                }
            }
        }
    }
    assert_eq!(referred_again, 0);
    pair.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_registered_and_erased_in_one_batch_leaves_nothing_personal() {
    const ROUNDS: i64 = 4;
    const APART: Duration = Duration::from_millis(150);
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    let mut erased = 0;
    for round in 0..ROUNDS {
        // Another sign-up keeps the server busy, so that the two commands meet in the batch after it.
        let lock = lock_log(&database).await;
        let sign_up = |name: String| {
            let client = client.clone();
            tokio::spawn(async move { client.sign_up(LINES, &name, "").await.map(drop) })
        };
        let busy = sign_up(format!("other-{round}"));
        tokio::time::sleep(APART).await;
        let registering = sign_up(format!("user-{round}"));
        tokio::time::sleep(APART).await;
        let erasing = {
            let client = client.clone();
            tokio::spawn(
                async move { client.erase(&format!("user-{round}"), false).await.map(drop) },
            )
        };
        tokio::time::sleep(APART).await;
        lock.rollback().await.unwrap();
        busy.await.unwrap().unwrap();
        registering.await.unwrap().unwrap();
        match erasing.await.unwrap() {
            Ok(()) => erased += 1,
            Err(status) => assert_eq!(reason(&status).1, "USER_NOT_FOUND"),
        }
    }
    let together =
        "select count(*) from events as one join events as other using (aggregate_id, recorded_at)
        where one.event_type = 'UserRegistered' and other.event_type = 'UserErased'";
    assert!(database.count(together).await > 0, "no two commands met in a batch");
    let left = "select count(*) from profiles where user_id in
        (select aggregate_id from events where event_type = 'UserErased')";
    assert_eq!(database.count(left).await, 0);
    let claims = "select count(*) from claims where kind in ('email', 'username') and owner in
        (select aggregate_id from events where event_type = 'UserErased')";
    assert_eq!(database.count(claims).await, 0);
    let known = "select count(*) from claims where kind = 'erased_email'";
    assert_eq!(database.count(known).await, erased);
    assert_eq!(database.count("select count(*) from profiles").await, 2 * ROUNDS - erased);
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_erasures_is_rebuilt_and_verified() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.publish_shipped(LINES).await;
    client.publish_shipped("first-purchase-bonus").await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    let bob = client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    client.sign_up(LINES, "cid", &bob.code).await.unwrap();
    client.buy("order-1", "cid", "INR", 100_000).await.unwrap();
    client.deactivate("ada").await.unwrap();
    client.erase("ada", true).await.unwrap();
    client.buy("order-2", "cid", "INR", 100_000).await.unwrap();
    client.erase("bob", true).await.unwrap();
    client.erase("cid", true).await.unwrap();
    expected::caught_up(&database).await;
    expected::check_read_models(&database).await;
    let output = testing::tributary()
        .args(["projections", "rebuild", "all"])
        .env("DATABASE_URL", &database.url)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    expected::check_read_models(&database).await;
    testing::check_books(&database).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_entered_for_a_user_while_they_are_erased_is_not_kept() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    server.client().sign_up("", "ada", "").await.unwrap();
    let ada = UserId::parse("ada").unwrap();
    let token = MailedToken {
        id: [7; 16],
        purpose: TokenPurpose::ResetPassword,
        user_id: ada,
        email: Personal("ada@example.com".into()),
        version: 0,
    };
    // What an erasure does, before it is committed.
    let mut erasing = database.pool.begin().await.unwrap();
    let erase = format!("select {}('ada')", functions::name("erase_user"));
    sqlx::query(&erase).execute(&mut *erasing).await.unwrap();
    let entering = {
        let pool = database.pool.clone();
        tokio::spawn(async move {
            let mut transaction = pool.begin().await.unwrap();
            let life = Duration::from_mins(15);
            let entered = mailed_tokens::enter(&mut transaction, &token, life).await.unwrap();
            transaction.commit().await.unwrap();
            entered
        })
    };
    // It waits for the erasure.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!entering.is_finished());
    erasing.commit().await.unwrap();
    assert!(!entering.await.unwrap(), "a token of an erased user");
    for table in ["mailed_tokens", "mails"] {
        let rows = database.count(&format!("select count(*) from {table}")).await;
        assert_eq!(rows, 0, "{table}");
    }
    server.stop().await;
}
