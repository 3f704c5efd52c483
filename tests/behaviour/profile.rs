//! Changing names, the e-mail address and the mails that one gets.

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::*;
use tonic::{Code, Status};
use tributary::api::services;

use super::principals::{by, in_process, user};
use super::support::{log_length, refused, server_with, server_with_mails};
use testing::{Client, TestDatabase, issue_token, mailed_tokens};

const PASSWORD: &str = "Corr3ct-horse";

async fn update(
    client: &Client,
    request: UpdateProfileRequest,
) -> Result<UpdateProfileResponse, Status> {
    Ok(client.accounts().update_profile(client.request(request)).await?.into_inner())
}

async fn confirm(client: &Client, token: &str) -> Result<ConfirmEmailResponse, Status> {
    let request = ConfirmEmailRequest { token: token.into() };
    Ok(client.accounts().confirm_email(client.request(request)).await?.into_inner())
}

fn of(user_id: &str) -> UpdateProfileRequest {
    UpdateProfileRequest { user_id: user_id.into(), ..Default::default() }
}

async fn email_of(database: &TestDatabase, user_id: &str) -> String {
    sqlx::query_scalar("select email from profiles where user_id = $1")
        .bind(user_id)
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn names_change_at_once_and_the_old_username_is_free() {
    let (database, server, client) = server_with(&[]).await;
    for user_id in ["ada", "bob"] {
        client.sign_up("", user_id, "").await.unwrap();
    }
    let renamed = UpdateProfileRequest {
        username: Some("Countess".into()),
        display_name: Some("  Ada Lovelace ".into()),
        ..of("ada")
    };
    let updated = update(&client, renamed).await.unwrap();
    let ada = updated.user.unwrap();
    assert_eq!((&*ada.username, &*ada.display_name), ("Countess", "Ada Lovelace"));
    assert!(!updated.confirmation_mailed);
    let read = client.user("ada").await.unwrap().user.unwrap();
    assert_eq!(read.username, "Countess");

    let taken = UpdateProfileRequest { username: Some("COUNTESS".into()), ..of("bob") };
    let status = refused(update(&client, taken).await, Code::AlreadyExists, "USERNAME_TAKEN");
    let info = tonic_types::StatusExt::get_error_details(&status).error_info().cloned().unwrap();
    assert_eq!(info.metadata["username"], "COUNTESS");
    let freed = UpdateProfileRequest { username: Some("ADA".into()), ..of("bob") };
    assert_eq!(update(&client, freed).await.unwrap().user.unwrap().username, "ADA");

    // Absent is not empty: an empty display name removes it, an empty username is none.
    let cleared = UpdateProfileRequest { display_name: Some(String::new()), ..of("ada") };
    let cleared = update(&client, cleared).await.unwrap().user.unwrap();
    assert_eq!((&*cleared.username, &*cleared.display_name), ("Countess", ""));
    let before = log_length(&database).await;
    update(&client, of("ada")).await.unwrap();
    assert_eq!(log_length(&database).await, before, "nothing changed");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn all_faults_are_named_at_once_and_unknown_users_are_refused() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let faulty = UpdateProfileRequest {
        username: Some("no name".into()),
        display_name: Some("x".repeat(129)),
        email: Some("nowhere".into()),
        ..of("ada")
    };
    let status = refused(update(&client, faulty).await, Code::InvalidArgument, "INVALID_FIELD");
    let details = tonic_types::StatusExt::get_error_details(&status);
    let violations = &details.bad_request().unwrap().field_violations;
    let named: Vec<_> = violations.iter().map(|fault| (&*fault.field, &*fault.reason)).collect();
    let expected = [
        ("username", "INVALID_USERNAME"),
        ("display_name", "FIELD_TOO_LONG"),
        ("email", "INVALID_EMAIL"),
    ];
    assert_eq!(named, expected);
    let nobody = UpdateProfileRequest { display_name: Some("x".into()), ..of("nobody") };
    refused(update(&client, nobody).await, Code::NotFound, "USER_NOT_FOUND");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_address_becomes_the_users_when_it_is_confirmed() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let old = email_of(&database, "ada").await;
    let ask = |email: &str| UpdateProfileRequest { email: Some(email.into()), ..of("ada") };
    let asked = update(&client, ask("new@example.com")).await.unwrap();
    assert!(asked.confirmation_mailed);
    assert_eq!(email_of(&database, "ada").await, old);
    assert_eq!(client.user("ada").await.unwrap().pending_email, "new@example.com");
    // Nobody's yet: whoever owns it can sign up with it.
    let mut sign_up = testing::sign_up_request("", "eve", "");
    sign_up.email = "other@example.com".into();
    client.register(sign_up).await.unwrap();

    let first = issue_token(&database, "ada", "change_email", 900.0).await;
    update(&client, ask("newer@example.com")).await.unwrap();
    refused(confirm(&client, &first).await, Code::FailedPrecondition, "MAILED_TOKEN_USED");
    let second = issue_token(&database, "ada", "change_email", 900.0).await;
    assert_eq!(client.user("ada").await.unwrap().pending_email, "newer@example.com");
    let confirmed = confirm(&client, &second).await.unwrap();
    assert_eq!(confirmed.user_id, "ada");
    assert_eq!(client.user("ada").await.unwrap().pending_email, "");
    assert_eq!(email_of(&database, "ada").await, "newer@example.com");
    assert!(client.user("ada").await.unwrap().email_confirmed);
    refused(confirm(&client, &second).await, Code::FailedPrecondition, "MAILED_TOKEN_USED");

    // The old address is free, and was told.
    let mut sign_up = testing::sign_up_request("", "zoe", "");
    sign_up.email = old.clone();
    client.register(sign_up).await.unwrap();
    let told: Vec<String> =
        sqlx::query_scalar("select recipient from mails where kind = 'email_changed'")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert_eq!(told, [old]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_taken_address_is_told_to_back_ends_at_once_and_to_users_when_it_is_theirs() {
    let (database, server, client) = server_with(&[]).await;
    for user_id in ["ada", "bob"] {
        let mut sign_up = testing::sign_up_request("", user_id, "");
        sign_up.password = PASSWORD.into();
        client.register(sign_up).await.unwrap();
    }
    let of_bob = email_of(&database, "bob").await.to_uppercase();
    let ask = UpdateProfileRequest { email: Some(of_bob), ..of("ada") };
    let status = refused(update(&client, ask.clone()).await, Code::AlreadyExists, "EMAIL_TAKEN");
    assert!(!status.message().contains('@'), "{status}");

    let local = in_process(&database).await;
    let mut accounts = AccountServiceClient::new(services(local.context()));
    let without = accounts.update_profile(by(&user("ada"), ask.clone())).await;
    refused(without, Code::InvalidArgument, "INVALID_FIELD");
    let wrong = UpdateProfileRequest { password: "Wr0ng-battery".into(), ..ask.clone() };
    let wrong = accounts.update_profile(by(&user("ada"), wrong)).await;
    refused(wrong, Code::Unauthenticated, "LOGIN_FAILED");
    let ask = UpdateProfileRequest { password: PASSWORD.into(), ..ask };
    let asked = accounts.update_profile(by(&user("ada"), ask)).await.unwrap().into_inner();
    assert!(asked.confirmation_mailed);
    let token = issue_token(&database, "ada", "change_email", 900.0).await;
    refused(confirm(&client, &token).await, Code::AlreadyExists, "EMAIL_TAKEN");
    assert_ne!(email_of(&database, "ada").await, email_of(&database, "bob").await);

    let other = UpdateProfileRequest { display_name: Some("x".into()), ..of("bob") };
    let denied = accounts.update_profile(by(&user("ada"), other)).await;
    refused(denied, Code::PermissionDenied, "PERMISSION_DENIED");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_new_password_or_role_ends_what_somebody_else_may_have_begun() {
    let (database, server, client) = server_with(&[]).await;
    for (user_id, is_reset) in [("ada", true), ("bob", false)] {
        client.sign_up("", user_id, "").await.unwrap();
        let key = CreateApiKeyRequest {
            name: "mine".into(),
            role: ApiKeyRole::User.into(),
            user_id: user_id.into(),
            ..Default::default()
        };
        let key = client.accounts().create_api_key(client.request(key)).await.unwrap();
        let by_key = Client::new(client.channel(), Some(&key.into_inner().api_key));
        // A key neither renames its user nor gives them another address.
        for change in [
            UpdateProfileRequest { email: Some("thief@example.com".into()), ..of("") },
            UpdateProfileRequest { username: Some("thief".into()), ..of("") },
        ] {
            refused(update(&by_key, change).await, Code::PermissionDenied, "PERMISSION_DENIED");
        }
        let name = UpdateProfileRequest { display_name: Some("Ada".into()), ..of("") };
        update(&by_key, name).await.unwrap();
        let email = Some(format!("new-{user_id}@example.com"));
        update(&client, UpdateProfileRequest { email, ..of(user_id) }).await.unwrap();
        let pending = issue_token(&database, user_id, "change_email", 900.0).await;
        if is_reset {
            let ask = RequestPasswordResetRequest { login: user_id.into() };
            client.accounts().request_password_reset(client.request(ask)).await.unwrap();
            let token = issue_token(&database, user_id, "reset_password", 900.0).await;
            let reset = ResetPasswordRequest { token, new_password: "N3w-battery-staple".into() };
            client.accounts().reset_password(client.request(reset)).await.unwrap();
        } else {
            let role = SetUserRoleRequest {
                user_id: user_id.into(),
                role: UserRole::Operator.into(),
                ..Default::default()
            };
            client.accounts().set_user_role(client.request(role)).await.unwrap();
        }
        refused(confirm(&client, &pending).await, Code::FailedPrecondition, "MAILED_TOKEN_USED");
        let own = UpdateProfileRequest { display_name: Some("Eve".into()), ..of("") };
        refused(update(&by_key, own).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_repeated_update_has_one_effect() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let request = UpdateProfileRequest {
        username: Some("countess".into()),
        email: Some("new@example.com".into()),
        request_id: "rename".into(),
        ..of("ada")
    };
    let first = update(&client, request.clone()).await.unwrap();
    let length = log_length(&database).await;
    let second = update(&client, request.clone()).await.unwrap();
    assert_eq!((first.user, true), (second.user, second.confirmation_mailed));
    assert_eq!(log_length(&database).await, length);
    assert_eq!(mailed_tokens(&database, "ada", "change_email").await, 1);
    let other = UpdateProfileRequest { username: Some("other".into()), ..request };
    refused(update(&client, other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn kinds_of_mail_are_switched_off_and_on() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let unwanted = async || -> Vec<String> {
        sqlx::query_scalar("select kind from mail_opt_outs where user_id = 'ada' order by kind")
            .fetch_all(&database.pool)
            .await
            .unwrap()
    };
    let set = |welcome, referral, tier| UpdateProfileRequest {
        mail_preferences: Some(MailPreferences { welcome, referral, tier, ..Default::default() }),
        ..of("ada")
    };
    update(&client, set(Some(false), Some(false), None)).await.unwrap();
    assert_eq!(unwanted().await, ["referral", "welcome"]);
    update(&client, set(None, Some(true), Some(false))).await.unwrap();
    assert_eq!(unwanted().await, ["tier", "welcome"]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_log_says_what_changed_and_never_to_what() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let everything = UpdateProfileRequest {
        username: Some("secret-name".into()),
        display_name: Some("Secret Name".into()),
        email: Some("secret@example.com".into()),
        mail_preferences: Some(MailPreferences { tier: Some(false), ..Default::default() }),
        ..of("ada")
    };
    update(&client, everything).await.unwrap();
    let token = issue_token(&database, "ada", "change_email", 900.0).await;
    confirm(&client, &token).await.unwrap();
    let log: Vec<(String, String)> = sqlx::query_as(
        "select event_type, payload::text || metadata::text from events
         where aggregate_id = 'ada' and event_type <> 'UserRegistered' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let types: Vec<&str> = log.iter().map(|(event_type, _)| event_type.as_str()).collect();
    assert_eq!(types, ["UserProfileUpdated", "UserEmailChanged", "UserEmailConfirmed"]);
    let said = format!("{log:?}").to_lowercase();
    assert!(!said.contains("secret") && !said.contains("@example"), "{said}");
    for field in ["username", "display_name", "email", "mail_preferences"] {
        assert!(log[0].1.contains(field), "{said}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_new_address_gets_the_link_and_the_old_one_is_told_afterwards() {
    let (database, server, client, mail_server) = server_with_mails(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    mail_server.mails_to("ada@example.com", 1).await;
    let ask = UpdateProfileRequest { email: Some("new@example.com".into()), ..of("ada") };
    update(&client, ask).await.unwrap();
    let mail = mail_server.mails_to("new@example.com", 1).await.remove(0);
    let link = mail.link("/confirm-email");
    // The address may be a stranger's, who is not to read what somebody calls themselves.
    let text = mail.text();
    assert!(text.contains("Hello,"), "{text}");
    confirm(&client, link.split_once("token=").unwrap().1).await.unwrap();
    let told = mail_server.mails_to("ada@example.com", 2).await;
    assert!(told.iter().any(|mail| mail.header("Subject").contains("was changed")), "{told:?}");

    // A session is no means to send mail to others without end, and every mail that was promised comes with a link that
    // works until another one is mailed.
    for number in 0..7 {
        let email = Some(format!("other-{number}@example.com"));
        let asked = update(&client, UpdateProfileRequest { email, ..of("ada") }).await;
        if number < 4 {
            assert!(asked.unwrap().confirmation_mailed);
        } else {
            refused(asked, Code::ResourceExhausted, "RATE_LIMITED");
        }
    }
    let mail = mail_server.mails_to("other-3@example.com", 1).await.remove(0);
    let link = mail.link("/confirm-email");
    confirm(&client, link.split_once("token=").unwrap().1).await.unwrap();
    assert_eq!(email_of(&database, "ada").await, "other-3@example.com");
    let skipped = "select count(*) from mails where reason = 'NO_TOKEN'";
    assert_eq!(database.count(skipped).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_user_and_back_ends_read_which_mails_are_wanted() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let wanted = |read: GetUserResponse| {
        let wanted = read.mail_preferences.unwrap();
        let MailPreferences { welcome, referral, conversion, tier, reversal, release, expiry } =
            wanted;
        [welcome, referral, conversion, tier, reversal, release, expiry]
    };
    assert_eq!(wanted(client.user("ada").await.unwrap()), [Some(true); 7]);
    let (tier, release) = (Some(false), Some(false));
    let preferences = MailPreferences { tier, release, ..Default::default() };
    let change = UpdateProfileRequest { mail_preferences: Some(preferences), ..of("ada") };
    update(&client, change).await.unwrap();
    let (yes, no) = (Some(true), Some(false));
    let expected = [yes, yes, yes, no, yes, no, yes];
    assert_eq!(wanted(client.user("ada").await.unwrap()), expected);
    let known = FindUserRequest { username: "ada".into(), ..Default::default() };
    let found = client.accounts().find_user(client.request(known)).await.unwrap().into_inner();
    assert_eq!(found.mail_preferences.unwrap().tier, Some(false));
    server.stop().await;
    database.check().await;
}
