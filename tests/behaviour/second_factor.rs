//! Second factors: setting one up, its codes, and removing it.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::*;
use tonic::Code;
use tonic::service::Routes;
use totp_rs::{Builder, Secret, Totp};
use tributary::access::Settings;
use tributary::access::signing::SigningKeys;
use tributary::api::{Server, services};
use tributary::engine::Environment;

use super::principals::{by, in_process, in_process_with, service, user};
use super::support::{refused, server_with};
use testing::TestDatabase;

/// A file with a signing key, as servers keep it.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(name: &str) -> Self {
        let name = format!("tributary-second-factor-{name}-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        let environment = Environment::of_this_machine().unwrap();
        std::fs::write(&path, SigningKeys::fresh_pem(&environment)).unwrap();
        Self(path)
    }

    /// A server in this process that keeps its keys.
    async fn server(&self, database: &TestDatabase) -> Server {
        let access = Settings { signing_keys: Some(self.0.clone()), ..Settings::default() };
        in_process_with(database, access).await
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

type Accounts = AccountServiceClient<Routes>;

/// An app that knows a secret.
fn app(secret: &str) -> Totp {
    Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap()
}

/// The code that the app shows so many periods from now.
fn code(app: &Totp, periods: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    app.generate(now.saturating_add_signed(30 * periods)).to_string()
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
    let keys = KeyFile::new("on");
    let local = keys.server(&database).await;
    let mut accounts = Accounts::new(services(local.context()));

    let begun = enroll(&mut accounts).await;
    assert!(begun.url.starts_with("otpauth://totp/Tributary:ada?secret="), "{}", begun.url);
    assert!(begun.url.contains(&begun.secret) && begun.url.contains("issuer=Tributary"));
    assert!(!client.user("ada").await.unwrap().has_second_factor);
    // Beginning anew forgets the first secret.
    let second = enroll(&mut accounts).await;
    assert_ne!(begun.secret, second.secret);
    let (old, app) = (app(&begun.secret), app(&second.secret));
    for wrong in [code(&old, 0), "000000".into(), code(&app, 10), "12345".into()] {
        let refusal = accounts.confirm_second_factor(by(&user("ada"), confirmation(&wrong))).await;
        refused(refusal, Code::Unauthenticated, "SECOND_FACTOR_WRONG");
    }
    let confirm = confirmation(&code(&app, 0));
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
        refused(refusal, Code::Unauthenticated, "SECOND_FACTOR_WRONG");
    }
    let nothing = accounts.remove_second_factor(by(&user("ada"), removal("", ""))).await;
    refused(nothing, Code::InvalidArgument, "INVALID_FIELD");
    accounts.remove_second_factor(by(&user("ada"), removal("", &code(&app, 1)))).await.unwrap();
    assert!(!client.user("ada").await.unwrap().has_second_factor);
    let gone = accounts.remove_second_factor(by(&user("ada"), removal("", &code(&app, 1)))).await;
    refused(gone, Code::FailedPrecondition, "SECOND_FACTOR_OFF");
    let of_nobody = confirmation(&code(&app, 1));
    let nothing = accounts.confirm_second_factor(by(&user("ada"), of_nobody)).await;
    refused(nothing, Code::FailedPrecondition, "SECOND_FACTOR_OFF");

    let events: Vec<String> = sqlx::query_scalar(
        "select payload::text from events where event_type = 'UserSecondFactorChanged'
         order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(events.len(), 2);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn neither_the_secret_nor_a_recovery_code_can_be_read_from_the_database() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let keys = KeyFile::new("sealed");
    let local = keys.server(&database).await;
    let mut accounts = Accounts::new(services(local.context()));
    let begun = enroll(&mut accounts).await;
    let app = app(&begun.secret);
    let confirm = confirmation(&code(&app, 0));
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
    let app = super::second_factor::app(&begun.secret);
    let other = in_process(&database).await;
    let mut strangers = Accounts::new(services(other.context()));
    let lost =
        strangers.confirm_second_factor(by(&user("ada"), confirmation(&code(&app, 0)))).await;
    refused(lost, Code::Internal, "INTERNAL");
    let second = keys.server(&database).await;
    let mut same = Accounts::new(services(second.context()));
    same.confirm_second_factor(by(&user("ada"), confirmation(&code(&app, 0)))).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn factors_are_for_people_and_back_ends_remove_those_of_their_users() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let keys = KeyFile::new("people");
    let local = keys.server(&database).await;
    let mut accounts = Accounts::new(services(local.context()));
    let enroll_by_key = accounts.enroll_second_factor(by(&service(), EnrollSecondFactorRequest {}));
    refused(enroll_by_key.await, Code::FailedPrecondition, "SESSION_REQUIRED");
    let confirm_by_key = accounts.confirm_second_factor(by(&service(), confirmation("000000")));
    refused(confirm_by_key.await, Code::FailedPrecondition, "SESSION_REQUIRED");
    let own = accounts.remove_second_factor(by(&service(), removal("", "000000"))).await;
    refused(own, Code::FailedPrecondition, "SESSION_REQUIRED");

    let app = app(&enroll(&mut accounts).await.secret);
    let confirm = confirmation(&code(&app, 0));
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
