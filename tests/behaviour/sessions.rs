//! Sessions of people: logging in, staying logged in, and logging out.

use std::fs::File;
use std::time::{Duration, Instant};

use contract::pb::*;
use serde_json::Value;
use tonic::Code;
use tonic_types::StatusExt;

use super::support::{refused, server_with};
use testing::people::{People, with};
use testing::{Client, Server, ServerOptions, TestDatabase, plain_http, serve, sign_up_request};

const PASSWORD: &str = "Corr3ct-horse";
const POINTS: &str = "tiered-points";

/// Signs somebody up with a password.
async fn sign_up(client: &Client, user: &str) {
    let request =
        RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request(POINTS, user, "") };
    client.register(request).await.unwrap();
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[tokio::test]
async fn a_person_logs_in_with_a_username_or_an_address_and_is_who_they_are() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let accounts = People::of(&server.client());
    sign_up(&client, "Ada").await;
    sign_up(&client, "bob").await;

    let before = std::time::SystemTime::now();
    let by_name = accounts.login("aDA", PASSWORD).await.unwrap();
    let by_address = accounts.login(" ADA@example.com ", PASSWORD).await.unwrap();

    assert_ne!(by_name.session_id, by_address.session_id);
    assert_ne!(by_name.refresh_token, by_address.refresh_token);
    for session in [&by_name, &by_address] {
        let user = session.user.clone().unwrap();
        assert_eq!(user.user_id, "Ada");
        assert_eq!(accounts.me(&session.access_token).await.unwrap(), user);
        let expires = std::time::SystemTime::try_from(session.expire_time.unwrap()).unwrap();
        let lifetime = expires.duration_since(before).unwrap();
        assert!((890..=910).contains(&lifetime.as_secs()), "{lifetime:?}");
        let claims = claims(&session.access_token);
        assert_eq!(claims["sub"], "Ada");
        assert_eq!(claims["sid"], session.session_id);
        assert_eq!(claims["role"], "user");
        assert_eq!(claims["iss"], "tributary");
    }
    let request =
        with(&by_name.access_token, GetUserRequest { user_id: "bob".into(), ..Default::default() });
    refused(
        accounts.service().get_user(request).await,
        Code::PermissionDenied,
        "PERMISSION_DENIED",
    );
    // The database has neither tokens nor passwords.
    let rows: Vec<String> = sqlx::query_scalar(
        "select t::text from sessions t union all select t::text from refresh_tokens t \
         union all select t::text from profiles t union all select payload::text from events",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    for row in rows {
        for secret in [&by_name.access_token, &by_name.refresh_token, PASSWORD] {
            assert!(!row.contains(secret), "{row}");
        }
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_unknown_account_and_a_wrong_password_get_the_same_answer_after_the_same_time() {
    let (database, server, client) = server_with(&[]).await;
    let accounts = People::of(&server.client());
    let ada = RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request("", "ada", "") };
    client.register(ada).await.unwrap();
    client.register(sign_up_request("", "ben", "")).await.unwrap();
    accounts.login("ada", PASSWORD).await.unwrap();

    let mut times = [Duration::ZERO; 3];
    let mut answers = Vec::new();
    for _ in 0..3 {
        // Known, known without a password, unknown.
        for (time, login) in times.iter_mut().zip(["ada", "ben", "nobody@example.com"]) {
            let began = Instant::now();
            let status = accounts.login(login, "Wr0ng-horse").await.unwrap_err();
            *time += began.elapsed();
            assert_eq!(status.code(), Code::Unauthenticated);
            answers.push((status.message().to_owned(), status.details().to_vec()));
        }
    }

    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let (shortest, longest) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*longest < *shortest * 2 + Duration::from_millis(100), "{times:?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn failures_slow_down_and_the_account_stays_open_to_its_owner() {
    let (database, server, client) = server_with(&[]).await;
    let accounts = People::of(&server.client());
    for user in ["ada", "bob"] {
        let request =
            RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request("", user, "") };
        client.register(request).await.unwrap();
    }

    let began = Instant::now();
    for _ in 0..7 {
        let status = accounts.login("ada", "Wr0ng-horse").await;
        refused(status, Code::Unauthenticated, "LOGIN_FAILED");
    }

    // After 4 failures: half a second, one, two.
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    let began = Instant::now();
    accounts.login("bob", PASSWORD).await.unwrap();
    let bobs = began.elapsed();
    accounts.login("ada", PASSWORD).await.unwrap();
    assert!(began.elapsed() < bobs + Duration::from_secs(10));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_and_a_used_one_ends_the_session() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let accounts = People::of(&server.client());
    sign_up(&client, "ada").await;
    let first = accounts.login("ada", PASSWORD).await.unwrap();

    let second = accounts.refresh(&first.refresh_token).await.unwrap();
    // The answer was lost, or another tab has the token too.
    let third = accounts.refresh(&first.refresh_token).await.unwrap();
    for refreshed in [&second, &third] {
        assert_eq!(refreshed.session_id, first.session_id);
        assert_eq!(accounts.me(&refreshed.access_token).await.unwrap().user_id, "ada");
    }
    // Each tab goes on with its own.
    let fourth = accounts.refresh(&second.refresh_token).await.unwrap();
    let fifth = accounts.refresh(&third.refresh_token).await.unwrap();
    assert_eq!(accounts.me(&fifth.access_token).await.unwrap().user_id, "ada");

    // A token whose successor was used is a copy.
    let stolen = accounts.refresh(&first.refresh_token).await;
    refused(stolen, Code::Unauthenticated, "INVALID_CREDENTIALS");
    for token in [&first.access_token, &fourth.access_token, &fifth.access_token] {
        refused(accounts.me(token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    }
    let after = accounts.refresh(&fourth.refresh_token).await;
    refused(after, Code::Unauthenticated, "INVALID_CREDENTIALS");

    // So is one that was used more than 30 seconds ago.
    let first = accounts.login("ada", PASSWORD).await.unwrap();
    let second = accounts.refresh(&first.refresh_token).await.unwrap();
    let later = "update refresh_tokens set used_at = used_at - interval '31 seconds', \
                 reusable_until = reusable_until - interval '31 seconds'";
    sqlx::query(later).execute(&database.pool).await.unwrap();
    let stolen = accounts.refresh(&first.refresh_token).await;
    refused(stolen, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let after = accounts.refresh(&second.refresh_token).await;
    refused(after, Code::Unauthenticated, "INVALID_CREDENTIALS");

    // Texts that are no tokens of this server end nothing.
    let session = accounts.login("ada", PASSWORD).await.unwrap();
    for token in ["x", "tributary_refresh_x", &session.access_token] {
        let refresh = accounts.refresh(token).await;
        refused(refresh, Code::Unauthenticated, "INVALID_CREDENTIALS");
    }
    accounts.refresh(&session.refresh_token).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn logging_out_ends_one_session_its_streams_and_its_refresh_token() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let accounts = People::of(&server.client());
    sign_up(&client, "ada").await;
    sign_up(&client, "bob").await;
    let here = accounts.login("ada", PASSWORD).await.unwrap();
    let there = accounts.login("ada", PASSWORD).await.unwrap();
    let bobs = accounts.login("bob", PASSWORD).await.unwrap();
    let mut rewards = client.rewards();
    let watch = WatchEarningsRequest { program_id: POINTS.into(), ..Default::default() };
    let mut streams = Vec::new();
    for session in [&here, &there, &bobs] {
        let request = with(&session.access_token, watch.clone());
        let mut stream = rewards.watch_earnings(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        streams.push(stream);
    }

    let listed = accounts.sessions(&here.access_token).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|session| &*session.session_id).collect();
    assert_eq!(ids, [&*there.session_id, &here.session_id]);
    assert_eq!(listed.iter().map(|session| session.is_current).collect::<Vec<_>>(), [false, true]);
    assert!(listed[0].user_agent.contains("tonic"), "{listed:?}");
    let unknown = accounts.logout(&here.access_token, &bobs.session_id).await;
    refused(unknown, Code::NotFound, "SESSION_NOT_FOUND");

    accounts.logout(&here.access_token, &there.session_id).await.unwrap();

    refused(accounts.me(&there.access_token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let refresh = accounts.refresh(&there.refresh_token).await;
    refused(refresh, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let end = tokio::time::timeout(Duration::from_secs(5), streams[1].message()).await.unwrap();
    let status = refused(end, Code::Unauthenticated, "CREDENTIALS_ENDED");
    let details = status.get_error_details();
    assert!(details.error_info().unwrap().metadata.contains_key("resume_token"));
    // Ending it again changes nothing, and an open RPC takes no notice of a token that has ended.
    accounts.logout(&here.access_token, &there.session_id).await.unwrap();
    let login =
        LoginRequest { login: "ada".into(), password: PASSWORD.into(), ..Default::default() };
    accounts.service().login(with(&there.access_token, login)).await.unwrap();

    accounts.logout(&here.access_token, "").await.unwrap();
    refused(accounts.me(&here.access_token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let end = tokio::time::timeout(Duration::from_secs(5), streams[0].message()).await.unwrap();
    refused(end, Code::Unauthenticated, "CREDENTIALS_ENDED");
    assert_eq!(accounts.me(&bobs.access_token).await.unwrap().user_id, "bob");
    let open = tokio::time::timeout(Duration::from_millis(300), streams[2].message()).await;
    assert!(open.is_err(), "{open:?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let accounts = People::of(&server.client());
    sign_up(&client, "ada").await;
    let here = accounts.login("ada", PASSWORD).await.unwrap();
    let there = accounts.login("ada", PASSWORD).await.unwrap();

    let wrong = accounts.change(&here.access_token, "Wr0ng-horse", "B4ttery-staple").await;
    let wrong = refused(wrong, Code::Unauthenticated, "LOGIN_FAILED");
    assert_eq!(wrong.message(), "the old password is wrong");
    let weak = accounts.change(&here.access_token, PASSWORD, "weak").await;
    refused(weak, Code::InvalidArgument, "INVALID_FIELD");
    let by_key = ChangePasswordRequest {
        old_password: PASSWORD.into(),
        new_password: "B4ttery-staple".into(),
    };
    let by_key = accounts.service().change_password(with(testing::ADMIN_KEY, by_key)).await;
    refused(by_key, Code::PermissionDenied, "PERMISSION_DENIED");

    accounts.change(&here.access_token, PASSWORD, "B4ttery-staple").await.unwrap();

    assert_eq!(accounts.me(&here.access_token).await.unwrap().user_id, "ada");
    accounts.refresh(&here.refresh_token).await.unwrap();
    refused(accounts.me(&there.access_token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let refresh = accounts.refresh(&there.refresh_token).await;
    refused(refresh, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let old = accounts.login("ada", PASSWORD).await;
    refused(old, Code::Unauthenticated, "LOGIN_FAILED");
    let new = accounts.login("ada", "B4ttery-staple").await.unwrap();
    assert_eq!(accounts.sessions(&new.access_token).await.unwrap().len(), 2);
    server.stop().await;
    database.check().await;
}

async fn password_hash(database: &TestDatabase) -> String {
    sqlx::query_scalar("select password_hash from profiles")
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_expired_token_is_refused_and_the_session_goes_on() {
    let database = TestDatabase::new().await;
    let arguments = vec!["--access-token-s=2".into(), "--password-memory-kib=64".into()];
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let client = server.client();
    let accounts = People::of(&server.client());
    let ada = RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request("", "ada", "") };
    client.register(ada).await.unwrap();
    assert!(password_hash(&database).await.contains("$m=64,t=2,"));
    let session = accounts.login("ada", PASSWORD).await.unwrap();
    assert_eq!(accounts.me(&session.access_token).await.unwrap().user_id, "ada");

    tokio::time::sleep(Duration::from_secs(3)).await;

    let expired = accounts.me(&session.access_token).await;
    refused(expired, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let refreshed = accounts.refresh(&session.refresh_token).await.unwrap();
    assert_eq!(accounts.me(&refreshed.access_token).await.unwrap().user_id, "ada");
    server.stop().await;

    // A server that demands more work hashes the password again at the next login.
    let arguments = vec!["--password-memory-kib=128".into()];
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let accounts = People::of(&server.client());
    accounts.login("ada", PASSWORD).await.unwrap();
    assert!(password_hash(&database).await.contains("$m=128,t=2,"));
    accounts.login("ada", PASSWORD).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_public_keys_are_on_the_port_and_verify_access_tokens() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let (database, server, client) = server_with(&[]).await;
    let accounts = People::of(&server.client());
    let ada = RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request("", "ada", "") };
    client.register(ada).await.unwrap();
    let token = accounts.login("ada", PASSWORD).await.unwrap().access_token;

    let answer = plain_http::get(&server.address, "/.well-known/jwks.json", &[]).await.unwrap();

    let keys: Value = serde_json::from_slice(&answer.body).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let key =
        keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!((&key["kty"], &key["crv"]), (&"OKP".into(), &"Ed25519".into()));
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let signed = format!("{}.{}", parts[0], parts[1]);
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public)
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn no_secret_of_a_person_is_in_the_log_of_the_server() {
    let database = TestDatabase::new().await;
    let path = std::env::temp_dir().join(format!("tributary-log-{}-secrets", std::process::id()));
    let mut command = serve(&database.url, &ServerOptions::default());
    command.env("TRIBUTARY_LOG", "debug").stderr(File::create(&path).unwrap());
    let server = Server::start_command(command).await;
    let client = server.client();
    let people = People::of(&client);
    let ada = RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request("", "ada", "") };
    client.register(ada).await.unwrap();
    let session = people.login("ada@example.com", PASSWORD).await.unwrap();
    let refreshed = people.refresh(&session.refresh_token).await.unwrap();
    people.login("ada@example.com", "Wr0ng-horse").await.unwrap_err();
    people.change(&session.access_token, PASSWORD, "B4ttery-staple").await.unwrap();
    people.logout(&refreshed.access_token, "").await.unwrap();
    server.stop().await;

    let log = std::fs::read_to_string(&path).unwrap();
    assert!(!log.is_empty());
    for secret in [
        PASSWORD,
        "Wr0ng-horse",
        "B4ttery-staple",
        "ada@example.com",
        "$argon2id",
        &session.access_token,
        &session.refresh_token,
        &refreshed.access_token,
        &refreshed.refresh_token,
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    std::fs::remove_file(path).unwrap();
    database.check().await;
}
