//! Second factors: setting one up, its codes, and removing it.

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::*;
use tonic::Code;
use tonic::service::Routes;
use totp_rs::Secret;
use tributary::access::Settings;
use tributary::api::{Server, services};

use super::principals::{by, in_process, in_process_with, service, user};
use super::support::{refused, server_with};
use testing::people::People;
use testing::second_factors::{App, KeyFile, set_up};
use testing::{Client, Server as Process, TestDatabase, sign_up_request};

type Accounts = AccountServiceClient<Routes>;

/// A server in this process that keeps its keys in a file.
async fn server_of(keys: &KeyFile, database: &TestDatabase) -> Server {
    let access = Settings { signing_keys: Some(keys.path()), ..Settings::default() };
    in_process_with(database, access).await
}

async fn enroll(accounts: &mut Accounts) -> EnrollSecondFactorResponse {
    let enroll = by(&user("ada"), EnrollSecondFactorRequest {});
    accounts.enroll_second_factor(enroll).await.unwrap().into_inner()
}

fn confirmation(code: &str) -> ConfirmSecondFactorRequest {
    ConfirmSecondFactorRequest { code: code.into() }
}

fn removal(user_id: &str, code: &str) -> RemoveSecondFactorRequest {
    RemoveSecondFactorRequest { user_id: user_id.into(), code: code.into() }
}

#[tokio::test]
async fn a_factor_is_on_once_the_app_has_shown_a_code_and_off_once_a_code_removes_it() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let keys = KeyFile::new();
    let local = server_of(&keys, &database).await;
    let mut accounts = Accounts::new(services(local.context()));

    let begun = enroll(&mut accounts).await;
    assert!(begun.url.starts_with("otpauth://totp/Tributary:ada?secret="), "{}", begun.url);
    assert!(begun.url.contains(&begun.secret) && begun.url.contains("issuer=Tributary"));
    assert!(!client.user("ada").await.unwrap().has_second_factor);
    // Beginning anew forgets the first secret.
    let second = enroll(&mut accounts).await;
    assert_ne!(begun.secret, second.secret);
    let (old, app) = (App::of(&begun.secret), App::of(&second.secret));
    for wrong in [old.code(0), "000000".into(), app.code(10), "12345".into()] {
        let refusal = accounts.confirm_second_factor(by(&user("ada"), confirmation(&wrong))).await;
        refused(refusal, Code::Unauthenticated, "SECOND_FACTOR_WRONG");
    }
    let confirm = confirmation(&app.code(0));
    let confirmed = accounts.confirm_second_factor(by(&user("ada"), confirm.clone())).await;
    let recovery_codes = confirmed.unwrap().into_inner().recovery_codes;
    assert_eq!(recovery_codes.len(), 10);
    assert!(client.user("ada").await.unwrap().has_second_factor);
    let again = accounts.confirm_second_factor(by(&user("ada"), confirm.clone())).await;
    refused(again, Code::FailedPrecondition, "SECOND_FACTOR_ON");
    let anew = accounts.enroll_second_factor(by(&user("ada"), EnrollSecondFactorRequest {})).await;
    refused(anew, Code::FailedPrecondition, "SECOND_FACTOR_ON");

    // The code that confirmed is used up.
    for wrong in [&*confirm.code, "000000", "AAAA-AAAA-AAAA-AAAA"] {
        let refusal = accounts.remove_second_factor(by(&user("ada"), removal("", wrong))).await;
        let refusal = refused(refusal, Code::Unauthenticated, "SECOND_FACTOR_WRONG");
        let is_recovery = wrong.contains('-');
        assert_eq!(refusal.message().contains("the recovery code"), is_recovery, "{refusal}");
    }
    let nothing = accounts.remove_second_factor(by(&user("ada"), removal("", ""))).await;
    refused(nothing, Code::InvalidArgument, "INVALID_FIELD");
    accounts.remove_second_factor(by(&user("ada"), removal("", &app.code(1)))).await.unwrap();
    assert!(!client.user("ada").await.unwrap().has_second_factor);
    let gone = accounts.remove_second_factor(by(&user("ada"), removal("", &app.code(1)))).await;
    refused(gone, Code::FailedPrecondition, "SECOND_FACTOR_OFF");
    let gone = accounts.remove_second_factor(by(&user("ada"), removal("", ""))).await;
    refused(gone, Code::FailedPrecondition, "SECOND_FACTOR_OFF");
    let of_nobody = confirmation(&app.code(1));
    let nothing = accounts.confirm_second_factor(by(&user("ada"), of_nobody)).await;
    refused(nothing, Code::FailedPrecondition, "SECOND_FACTOR_OFF");

    let events: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', event_type, metadata ->> 'actor', metadata ->> 'door') from events
         where event_type like 'UserSecondFactor%' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let expected = [
        "UserSecondFactorBegun user:ada EnrollSecondFactor",
        "UserSecondFactorBegun user:ada EnrollSecondFactor",
        "UserSecondFactorChanged user:ada ConfirmSecondFactor",
        "UserSecondFactorChanged user:ada RemoveSecondFactor",
    ];
    assert_eq!(events, expected);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn neither_the_secret_nor_a_recovery_code_can_be_read_from_the_database() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let keys = KeyFile::new();
    let local = server_of(&keys, &database).await;
    let mut accounts = Accounts::new(services(local.context()));
    let begun = enroll(&mut accounts).await;
    let app = App::of(&begun.secret);
    let confirm = confirmation(&app.code(0));
    let confirmed = accounts.confirm_second_factor(by(&user("ada"), confirm)).await;
    let recovery_codes = confirmed.unwrap().into_inner().recovery_codes;

    let stored: (Vec<u8>, Vec<Vec<u8>>) =
        sqlx::query_as("select sealed_secret, recovery_hashes from second_factors")
            .fetch_one(&database.pool)
            .await
            .unwrap();
    let secret = Secret::try_from_base32(&begun.secret).unwrap();
    let secret = secret.as_bytes();
    assert!(!stored.0.windows(secret.len()).any(|bytes| bytes == secret));
    assert_eq!(stored.1.len(), 10);

    // Each recovery code is good once, however it is typed.
    let typed = recovery_codes[0].to_lowercase().replace('-', " ");
    accounts.remove_second_factor(by(&user("ada"), removal("", &typed))).await.unwrap();
    // Another server with the key takes over, one without it cannot.
    let begun = enroll(&mut accounts).await;
    let app = App::of(&begun.secret);
    let other = in_process(&database).await;
    let mut strangers = Accounts::new(services(other.context()));
    let lost = strangers.confirm_second_factor(by(&user("ada"), confirmation(&app.code(0)))).await;
    refused(lost, Code::Internal, "INTERNAL");
    let second = server_of(&keys, &database).await;
    let mut same = Accounts::new(services(second.context()));
    same.confirm_second_factor(by(&user("ada"), confirmation(&app.code(0)))).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn factors_are_for_people_and_back_ends_remove_those_of_their_users() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let keys = KeyFile::new();
    let local = server_of(&keys, &database).await;
    let mut accounts = Accounts::new(services(local.context()));
    let enroll_by_key = accounts.enroll_second_factor(by(&service(), EnrollSecondFactorRequest {}));
    refused(enroll_by_key.await, Code::PermissionDenied, "PERMISSION_DENIED");
    let confirm_by_key = accounts.confirm_second_factor(by(&service(), confirmation("000000")));
    refused(confirm_by_key.await, Code::PermissionDenied, "PERMISSION_DENIED");
    let own = accounts.remove_second_factor(by(&service(), removal("", "000000"))).await;
    refused(own, Code::InvalidArgument, "INVALID_FIELD");

    let app = App::of(&enroll(&mut accounts).await.secret);
    let confirm = confirmation(&app.code(0));
    accounts.confirm_second_factor(by(&user("ada"), confirm)).await.unwrap();
    let by_other = accounts.remove_second_factor(by(&user("bob"), removal("ada", ""))).await;
    refused(by_other, Code::PermissionDenied, "PERMISSION_DENIED");
    accounts.remove_second_factor(by(&service(), removal("ada", ""))).await.unwrap();
    let gone = accounts.remove_second_factor(by(&service(), removal("ada", ""))).await;
    refused(gone, Code::FailedPrecondition, "SECOND_FACTOR_OFF");
    let nobody = accounts.remove_second_factor(by(&service(), removal("nobody", ""))).await;
    refused(nobody, Code::NotFound, "USER_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_server_whose_key_ends_with_it_sets_up_no_factor() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let local = in_process(&database).await;
    let mut accounts = Accounts::new(services(local.context()));
    let refusal = accounts.enroll_second_factor(by(&user("ada"), EnrollSecondFactorRequest {}));
    refused(refusal.await, Code::FailedPrecondition, "SIGNING_KEY_NOT_KEPT");
    server.stop().await;
    database.check().await;
}

const PASSWORD: &str = "Corr3ct-horse";

async fn sign_up(client: &Client, user_id: &str) {
    let request =
        RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request("", user_id, "") };
    client.register(request).await.unwrap();
}

#[tokio::test]
async fn a_login_with_a_second_factor_needs_a_code_that_was_not_used() {
    let (database, keys) = (TestDatabase::new().await, KeyFile::new());
    let server = Process::start_with(&database.url, &keys.options()).await;
    let client = server.client();
    for user_id in ["ada", "bob"] {
        sign_up(&client, user_id).await;
    }
    let people = People::of(&client);
    let session = people.login("ada", PASSWORD).await.unwrap();
    let (app, recovery_codes) = set_up(&people, &session.access_token).await;

    let login = async |code: &str| people.login_with("ada", PASSWORD, code).await;
    refused(login("").await, Code::Unauthenticated, "SECOND_FACTOR_REQUIRED");
    refused(login(&app.confirmed_with).await, Code::Unauthenticated, "SECOND_FACTOR_WRONG");
    refused(login("000000").await, Code::Unauthenticated, "SECOND_FACTOR_WRONG");
    let next = app.code(1);
    login(&next).await.unwrap();
    refused(login(&next).await, Code::Unauthenticated, "SECOND_FACTOR_WRONG");
    login(&recovery_codes[3]).await.unwrap();
    refused(login(&recovery_codes[3]).await, Code::Unauthenticated, "SECOND_FACTOR_WRONG");
    // Who does not know the password learns nothing of the second factor.
    let guess = people.login_with("ada", "Wr0ng-horse", &recovery_codes[4]).await;
    refused(guess, Code::Unauthenticated, "LOGIN_FAILED");
    login(&recovery_codes[4]).await.unwrap();
    // Of two logins at once with one code, one gets in.
    let (one, other) = tokio::join!(login(&recovery_codes[5]), login(&recovery_codes[5]));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let uses: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', aggregate_id, metadata ->> 'actor', metadata ->> 'door') from events
         where event_type = 'UserRecoveryCodeUsed'",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(uses, ["ada user:ada Login"; 3]);
    // Others need none, and a code that is not asked for does not matter.
    people.login_with("bob", PASSWORD, "000000").await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn wrong_codes_slow_down_wherever_they_come_from() {
    let (database, keys) = (TestDatabase::new().await, KeyFile::new());
    let server = Process::start_with(&database.url, &keys.options()).await;
    sign_up(&server.client(), "ada").await;
    let people = People::of(&server.client());
    let session = people.login("ada", PASSWORD).await.unwrap();
    let (_, recovery_codes) = set_up(&people, &session.access_token).await;
    let began = std::time::Instant::now();
    for _ in 0..7 {
        let wrong = people.login_with("ada", PASSWORD, "000000").await;
        refused(wrong, Code::Unauthenticated, "SECOND_FACTOR_WRONG");
    }
    // Half a second after the fifth, a whole one after the sixth.
    assert!(began.elapsed() >= std::time::Duration::from_millis(1_500), "{:?}", began.elapsed());
    people.login_with("ada", PASSWORD, &recovery_codes[0]).await.unwrap();
    server.stop().await;
    database.check().await;
}
