//! Accounts under attack: how owners get them back, what guessing in bursts achieves, and what a flood of logins
//! leaves to others.

use std::time::{Duration, Instant};

use contract::pb::*;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use tributary::access::{Principal, Role};
use tributary::api::services;
use tributary::store::mailed_tokens as tokens;

use super::principals::{by, in_process};
use super::support::{log_length, refused, server_with};
use testing::people::{People, with};
use testing::second_factors::{App, KeyFile, set_up};
use testing::{
    Client, Server, ServerOptions, TestDatabase, at_once, issue_token, mailed_tokens,
    mailed_tokens_come_to, reason, sign_up_request,
};

const POINTS: &str = "tiered-points";
const PASSWORD: &str = "Corr3ct-horse";
const NEW_PASSWORD: &str = "A new passw0rd!";
/// Hashes that take no time.
const FAST_HASHES: &str = "--password-memory-kib=64";

async fn sign_up(client: &Client, user_id: &str) {
    let request =
        RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request("", user_id, "") };
    client.register(request).await.unwrap();
}

/// A server on a fresh database that keeps its keys and hashes fast.
async fn server_of(keys: &KeyFile) -> (TestDatabase, Server, Client) {
    let database = TestDatabase::new().await;
    let mut options = keys.options();
    options.arguments.push(FAST_HASHES.into());
    let server = Server::start_with(&database.url, &options).await;
    let client = server.client();
    (database, server, client)
}

async fn ask_for_reset(client: &Client, login: &str) {
    let request = RequestPasswordResetRequest { login: login.into() };
    client.accounts().request_password_reset(Request::new(request)).await.unwrap();
}

/// Chooses another password by mail.
async fn reset(database: &TestDatabase, client: &Client, user_id: &str) -> ResetPasswordResponse {
    ask_for_reset(client, user_id).await;
    let token = issue_token(database, user_id, "reset_password", 900.0).await;
    let request = ResetPasswordRequest { token, new_password: NEW_PASSWORD.into() };
    client.accounts().reset_password(Request::new(request)).await.unwrap().into_inner()
}

async fn kinds_of_mails(database: &TestDatabase, user_id: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select kind from mails where user_id = $1 and kind <> 'welcome' order by job_id",
    )
    .bind(user_id)
    .fetch_all(&database.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_reset_by_mail_gives_an_account_back_to_the_owner_of_the_address() {
    let keys = KeyFile::new();
    let (database, server, client) = server_of(&keys).await;
    // Somebody makes an account with an address that is not theirs, and locks the owner out.
    sign_up(&client, "ada").await;
    let people = People::of(&client);
    let squatter = people.login("ada", PASSWORD).await.unwrap();
    let key = CreateApiKeyRequest {
        name: "back door".into(),
        role: ApiKeyRole::User.into(),
        ..Default::default()
    };
    let key = people.service().create_api_key(with(&squatter.access_token, key)).await.unwrap();
    set_up(&people, &squatter.access_token).await;
    let enroll = with(&squatter.access_token, EnrollSecondFactorRequest {});
    let begun = people.service().enroll_second_factor(enroll).await;
    refused(begun, Code::FailedPrecondition, "SECOND_FACTOR_ON");

    assert!(reset(&database, &client, "ada").await.second_factor_removed);

    let owner = people.login("ada", NEW_PASSWORD).await.unwrap();
    let user = client.user("ada").await.unwrap();
    assert_eq!((user.email_confirmed, user.has_second_factor), (true, false));
    for credential in [&squatter.access_token, &key.into_inner().api_key] {
        refused(people.me(credential).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    }
    assert!(people.refresh(&squatter.refresh_token).await.is_err());
    let reasons: Vec<Option<String>> = sqlx::query_scalar(
        "select payload ->> 'reason' from events where event_type = 'UserSecondFactorChanged'
         order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(reasons, [None, Some("password_reset".into())]);

    // What the owner sets up from now on stays.
    let (app, _) = set_up(&people, &owner.access_token).await;
    assert!(!reset(&database, &client, "ada").await.second_factor_removed);
    let without = people.login("ada", NEW_PASSWORD).await;
    refused(without, Code::Unauthenticated, "SECOND_FACTOR_REQUIRED");
    let owner = people.login_with("ada", NEW_PASSWORD, &app.code(1)).await.unwrap();
    client
        .accounts()
        .remove_second_factor(
            client
                .request(RemoveSecondFactorRequest { user_id: "ada".into(), ..Default::default() }),
        )
        .await
        .unwrap();

    // A factor that was begun before is not finished after.
    let enroll = with(&owner.access_token, EnrollSecondFactorRequest {});
    let begun = people.service().enroll_second_factor(enroll).await.unwrap().into_inner();
    reset(&database, &client, "ada").await;
    let owner = people.login("ada", NEW_PASSWORD).await.unwrap();
    let code = ConfirmSecondFactorRequest { code: App::of(&begun.secret).code(0) };
    let late = people.service().confirm_second_factor(with(&owner.access_token, code)).await;
    refused(late, Code::FailedPrecondition, "SECOND_FACTOR_OFF");

    // The address is told of each change.
    let expected = [
        "password_reset",
        "password_changed",
        "password_reset",
        "password_changed",
        "second_factor_removed",
        "password_reset",
        "password_changed",
    ];
    assert_eq!(kinds_of_mails(&database, "ada").await, expected);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn address_changes_beyond_the_limit_are_refused_and_the_last_link_works() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let ask = async |number: usize| {
        let change = UpdateProfileRequest {
            user_id: "ada".into(),
            email: Some(format!("new-{number}@example.com")),
            ..Default::default()
        };
        let answer = client.accounts().update_profile(client.request(change)).await?;
        Ok::<_, Status>(answer.into_inner().confirmation_mailed)
    };
    for number in 0..5 {
        assert!(ask(number).await.unwrap());
    }
    let length = log_length(&database).await;
    let status = refused(ask(5).await, Code::ResourceExhausted, "RATE_LIMITED");
    let wait = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!((3_500..=3_601).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(log_length(&database).await, length);
    assert_eq!(mailed_tokens(&database, "ada", "change_email").await, 5);

    // Each mail has a link, and the last one is good.
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from mailed_tokens order by created_at")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    let life = Duration::from_mins(15);
    for (number, id) in ids.iter().enumerate() {
        let issued = tokens::issue(&database.pool, *id, &format!("token-{number}"), life).await;
        assert!(issued.unwrap().is_some(), "mail {number}");
    }
    let confirm = async |token: &str| {
        let request = ConfirmEmailRequest { token: token.into() };
        client.accounts().confirm_email(client.request(request)).await.map(drop)
    };
    refused(confirm("token-3").await, Code::FailedPrecondition, "MAILED_TOKEN_USED");
    confirm("token-4").await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn whoever_asks_for_a_reset_has_a_link_that_works_however_often_others_have_asked() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let at_once = (0..7).map(|_| ask_for_reset(&client, "ada"));
    for asked in at_once.collect::<Vec<_>>() {
        asked.await;
    }
    let has = async |expected: i64| {
        mailed_tokens_come_to(&database, "ada", "reset_password", expected).await;
    };
    has(5).await;
    // All of them were mailed. The last one still has most of its time.
    let mailed = async |seconds: i32| {
        let sent = "update mailed_tokens set expires_at = now() + make_interval(secs => $1)";
        sqlx::query(sent).bind(f64::from(seconds)).execute(&database.pool).await.unwrap();
    };
    mailed(460).await;
    ask_for_reset(&client, "ada").await;
    has(5).await;
    // Now it has less than half.
    mailed(440).await;
    for _ in 0..3 {
        ask_for_reset(&client, "ada").await;
    }
    has(6).await;
    mailed(-1).await;
    ask_for_reset(&client, "ada").await;
    has(7).await;
    assert_eq!(kinds_of_mails(&database, "ada").await.len(), 7);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_token_is_exchanged_twice_at_most_and_its_successors_stand_for_each_other() {
    let keys = KeyFile::new();
    let (database, server, client) = server_of(&keys).await;
    sign_up(&client, "ada").await;
    let people = People::of(&client);
    let ended = async |token: &str| {
        let answer = people.refresh(token).await;
        refused(answer, Code::Unauthenticated, "INVALID_CREDENTIALS");
    };

    // A third exchange within the 30 seconds is theft.
    let first = people.login("ada", PASSWORD).await.unwrap();
    let second = people.refresh(&first.refresh_token).await.unwrap();
    let third = people.refresh(&first.refresh_token).await.unwrap();
    ended(&first.refresh_token).await;
    for access in [&first.access_token, &second.access_token, &third.access_token] {
        refused(people.me(access).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    }
    ended(&second.refresh_token).await;

    // So is the third one of its two successors, whichever they are.
    let first = people.login("ada", PASSWORD).await.unwrap();
    let second = people.refresh(&first.refresh_token).await.unwrap();
    let third = people.refresh(&first.refresh_token).await.unwrap();
    people.refresh(&second.refresh_token).await.unwrap();
    let fourth = people.refresh(&second.refresh_token).await.unwrap();
    ended(&third.refresh_token).await;
    ended(&fourth.refresh_token).await;

    // The first exchange of one begins the time of both: whoever has a copy comes in it, or is noticed.
    let first = people.login("ada", PASSWORD).await.unwrap();
    let second = people.refresh(&first.refresh_token).await.unwrap();
    let third = people.refresh(&first.refresh_token).await.unwrap();
    let fourth = people.refresh(&second.refresh_token).await.unwrap();
    let later = "update refresh_tokens set used_at = used_at - interval '31 seconds', \
                 reusable_until = reusable_until - interval '31 seconds'";
    sqlx::query(later).execute(&database.pool).await.unwrap();
    ended(&third.refresh_token).await;
    refused(people.me(&fourth.access_token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn operators_and_admins_who_are_deactivated_have_the_rights_of_users() {
    let keys = KeyFile::new();
    let (database, server, client) = server_of(&keys).await;
    let people = People::of(&client);
    for (user_id, role) in [("olga", UserRole::Operator), ("alma", UserRole::Admin)] {
        sign_up(&client, user_id).await;
        let role =
            SetUserRoleRequest { user_id: user_id.into(), role: role.into(), ..Default::default() };
        client.accounts().set_user_role(client.request(role)).await.unwrap();
        let before = people.login(user_id, PASSWORD).await.unwrap();
        let list = async |token: &str| {
            people.service().list_users(with(token, ListUsersRequest::default())).await.map(drop)
        };
        list(&before.access_token).await.unwrap();

        client.deactivate(user_id).await.unwrap();

        let ended = list(&before.access_token).await;
        refused(ended, Code::Unauthenticated, "INVALID_CREDENTIALS");
        assert!(people.refresh(&before.refresh_token).await.is_err());
        let inactive = people.login(user_id, PASSWORD).await.unwrap();
        refused(list(&inactive.access_token).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let own = people.me(&inactive.access_token).await.unwrap();
        assert_eq!((own.status(), own.role()), (UserStatus::Inactive, role_of(user_id)));
        let refreshed = people.refresh(&inactive.refresh_token).await.unwrap();
        let again = ReactivateUserRequest { user_id: user_id.into(), ..Default::default() };
        let own = people.service().reactivate_user(with(&refreshed.access_token, again)).await;
        refused(own, Code::PermissionDenied, "PERMISSION_DENIED");

        client.reactivate(user_id).await.unwrap();
        let active = people.login(user_id, PASSWORD).await.unwrap();
        list(&active.access_token).await.unwrap();
    }

    // Operators do not deactivate admins, and an operator whose session has not ended everywhere yet does not
    // reactivate themselves.
    let olga = people.login("olga", PASSWORD).await.unwrap();
    let of =
        |user_id: &str| DeactivateUserRequest { user_id: user_id.into(), ..Default::default() };
    let admin = people.service().deactivate_user(with(&olga.access_token, of("alma"))).await;
    refused(admin, Code::PermissionDenied, "PERMISSION_DENIED");
    people.service().deactivate_user(with(&olga.access_token, of("olga"))).await.unwrap();
    refused(people.me(&olga.access_token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let local = in_process(&database).await;
    let mut accounts = account_service_client::AccountServiceClient::new(services(local.context()));
    let operator = Principal::User {
        user_id: domain::UserId::parse("olga").unwrap(),
        session_id: "s_1".into(),
        role: Role::Operator,
    };
    let own = ReactivateUserRequest { user_id: "olga".into(), ..Default::default() };
    let own = accounts.reactivate_user(by(&operator, own)).await;
    refused(own, Code::PermissionDenied, "PERMISSION_DENIED");

    // Participants keep their sessions.
    sign_up(&client, "ada").await;
    let ada = people.login("ada", PASSWORD).await.unwrap();
    client.deactivate("ada").await.unwrap();
    people.me(&ada.access_token).await.unwrap();
    server.stop().await;
    database.check().await;
}

fn role_of(user_id: &str) -> UserRole {
    if user_id == "olga" { UserRole::Operator } else { UserRole::Admin }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_guesses_gets_no_further_than_guesses_one_after_the_other() {
    let keys = KeyFile::new();
    let (database, server, client) = server_of(&keys).await;
    let people = People::of(&client);
    for user_id in ["ada", "bob"] {
        sign_up(&client, user_id).await;
    }
    let session = people.login("ada", PASSWORD).await.unwrap();
    set_up(&people, &session.access_token).await;
    // Codes with the right password, and passwords, all at once.
    let guesses = (0..300).map(|number| {
        let people = people.clone();
        async move {
            let answer = match number % 2 {
                0 => people.login_with("ada", PASSWORD, "000000").await,
                _ => people.login("bob", "Wr0ng-horse").await,
            };
            reason(&answer.unwrap_err()).1
        }
    });
    let answers = at_once(guesses).await;
    for checked in ["SECOND_FACTOR_WRONG", "LOGIN_FAILED"] {
        let count = answers.iter().filter(|reason| *reason == checked).count();
        // One after the other: five at once, the others after 0.5, 1.5, 3.5 and 7.5 seconds.
        assert!((4..=9).contains(&count), "{count} guesses were answered {checked}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn failures_of_a_back_ends_logins_count_for_its_clients() {
    let keys = KeyFile::new();
    let (database, server, client) = server_of(&keys).await;
    sign_up(&client, "ada").await;
    let anyone = server.separate_client(None).await;
    let login = async |client: &Client, password: &str, client_ip: &str| {
        let login = LoginRequest {
            login: "ada".into(),
            password: password.into(),
            client_ip: client_ip.into(),
            ..Default::default()
        };
        client.accounts().login(client.request(login)).await
    };
    let bad = login(&client, PASSWORD, "somewhere").await;
    let status = refused(bad, Code::InvalidArgument, "INVALID_FIELD");
    let details = status.get_error_details();
    let fault = &details.bad_request().unwrap().field_violations[0];
    assert_eq!((&*fault.field, &*fault.reason), ("client_ip", "INVALID_IP_ADDRESS"));

    // Seven failures of one client: the next login from there waits for two seconds.
    let began = Instant::now();
    for _ in 0..7 {
        login(&client, "Wr0ng-horse", "192.0.2.1").await.unwrap_err();
    }
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    let began = Instant::now();
    login(&client, PASSWORD, "192.0.2.2").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    login(&client, PASSWORD, "::ffff:192.0.2.1").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());

    // Nobody else says where they are.
    let began = Instant::now();
    for number in 0..7 {
        let elsewhere = format!("192.0.2.{}", 10 + number);
        login(&anyone, "Wr0ng-horse", &elsewhere).await.unwrap_err();
    }
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn guesses_count_for_one_account_however_its_address_is_written() {
    let keys = KeyFile::new();
    let (database, server, client) = server_of(&keys).await;
    let request = RegisterUserRequest {
        email: "Ada@Straße.example".into(),
        password: PASSWORD.into(),
        ..sign_up_request("", "ada", "")
    };
    client.register(request).await.unwrap();
    let people = People::of(&client);
    let spellings = [
        "ada@straße.example",
        "ADA@STRAßE.EXAMPLE",
        "ada@xn--strae-oqa.example",
        "ADA@XN--STRAE-OQA.EXAMPLE",
        " ada@straße.example ",
        "ada@STRAẞE.example",
        "ada@straße.EXAMPLE",
    ];
    let began = Instant::now();
    for spelling in spellings {
        let wrong = people.login(spelling, "Wr0ng-horse").await;
        refused(wrong, Code::Unauthenticated, "LOGIN_FAILED");
    }
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    for spelling in spellings {
        people.login(spelling, PASSWORD).await.unwrap();
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_and_mails_that_wait_in_the_database_leave_connections_to_other_reads() {
    let database = TestDatabase::new().await;
    let options = ServerOptions { arguments: vec![FAST_HASHES.into()] };
    let server = Server::start_with(&database.url, &options).await;
    let client = server.client();
    client.publish_shipped(POINTS).await;
    sign_up(&client, "ada").await;
    client.sign_up(POINTS, "bob", "").await.unwrap();
    let people = People::of(&client);
    let session = people.login("ada", PASSWORD).await.unwrap();
    // Whatever touches the account waits.
    let mut blocking = database.pool.begin().await.unwrap();
    for table in ["profiles", "sessions"] {
        let lock = format!("select from {table} where user_id = 'ada' for update");
        sqlx::query(&lock).execute(&mut *blocking).await.unwrap();
    }
    let calls: Vec<_> = (0..90)
        .map(|number| {
            let (people, client) = (people.clone(), client.clone());
            let token = session.refresh_token.clone();
            tokio::spawn(async move {
                match number % 3 {
                    0 => people.login("ada", PASSWORD).await.map(drop),
                    1 => people.refresh(&token).await.map(drop),
                    _ => {
                        ask_for_reset(&client, "ada").await;
                        Ok(())
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..5 {
        let balances = GetBalancesRequest {
            program_id: POINTS.into(),
            user_id: "bob".into(),
            ..Default::default()
        };
        let mut rewards = client.rewards();
        let read = rewards.get_balances(client.request(balances));
        let read = tokio::time::timeout(Duration::from_secs(1), read).await;
        read.expect("an answer while logins wait").unwrap();
    }
    blocking.rollback().await.unwrap();
    for (number, call) in calls.into_iter().enumerate() {
        let answer = call.await.unwrap();
        // One token that is exchanged thirty times is stolen.
        assert!(answer.is_ok() || number % 3 == 1, "{answer:?}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_logins_delays_reads_by_little() {
    let database = TestDatabase::new().await;
    let options = ServerOptions { arguments: vec![FAST_HASHES.into()] };
    let server = Server::start_with(&database.url, &options).await;
    let client = server.client();
    client.publish_shipped(POINTS).await;
    for number in 0..10 {
        sign_up(&client, &format!("user-{number}")).await;
    }
    client.sign_up(POINTS, "bob", "").await.unwrap();
    let people = People::of(&client);
    let logins: Vec<_> = (0..500)
        .map(|number| {
            let people = people.clone();
            let login = format!("user-{}", number % 10);
            tokio::spawn(async move { people.login(&login, PASSWORD).await.map(drop) })
        })
        .collect();
    let mut longest = Duration::ZERO;
    let mut reads = 0;
    while logins.iter().any(|login| !login.is_finished()) {
        let balances = GetBalancesRequest {
            program_id: POINTS.into(),
            user_id: "bob".into(),
            ..Default::default()
        };
        let began = Instant::now();
        client.rewards().get_balances(client.request(balances)).await.unwrap();
        longest = longest.max(began.elapsed());
        reads += 1;
    }
    let mut done = 0;
    for login in logins {
        match login.await.unwrap() {
            Ok(()) => done += 1,
            Err(status) => assert_eq!(reason(&status).1, "QUEUE_FULL"),
        }
    }
    assert!(done >= 200, "{done} logins succeeded");
    assert!(reads > 0 && longest < Duration::from_secs(2), "{reads} reads, {longest:?}");
    server.stop().await;
    database.check().await;
}
