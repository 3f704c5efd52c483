//! Sessions on several servers: what ends on one ends on all, refreshes race without harm, and nothing that has ended
//! comes back.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use contract::pb::*;
use serde_json::Value;
use tonic::{Code, Status};
use tributary::access::signing::SigningKeys;
use tributary::engine::Environment;
use tributary::store::sessions;

use testing::people::{People, with};
use testing::{
    Client, Proxy, Server, ServerOptions, TestDatabase, at_once, plain_http, reason, serve,
    sign_up_request,
};

const POINTS: &str = "tiered-points";
const PASSWORD: &str = "Corr3ct-horse";
/// How soon every server knows that a session has ended.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// A file with signing keys, removed when it is dropped.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new() -> Self {
        let environment = Environment::of_this_machine().unwrap();
        let path = std::env::temp_dir().join(format!("tributary-keys-{}", environment.fresh_id()));
        let file = Self(path);
        file.write(&[&Self::key()]);
        file
    }

    /// A new key as PEM.
    fn key() -> String {
        SigningKeys::fresh_pem(&Environment::of_this_machine().unwrap())
    }

    fn write(&self, keys: &[&str]) {
        std::fs::write(&self.0, keys.join("\n")).unwrap();
    }

    fn options(&self) -> ServerOptions {
        ServerOptions { arguments: vec!["--signing-keys".into(), self.0.display().to_string()] }
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Two servers with the same keys, and people who have signed up.
struct Scene {
    database: TestDatabase,
    keys: KeyFile,
    first: Server,
    second: Server,
}

impl Scene {
    async fn new() -> Self {
        let (database, keys) = (TestDatabase::new().await, KeyFile::new());
        let options = keys.options();
        let first = Server::start_with(&database.url, &options).await;
        let second = Server::start_with(&database.url, &options).await;
        first.client().publish_shipped(POINTS).await;
        for user in ["ada", "bob"] {
            sign_up(&first.client(), user).await;
        }
        Self { database, keys, first, second }
    }

    fn people(&self) -> (People, People) {
        (People::of(&self.first.client()), People::of(&self.second.client()))
    }

    async fn finish(self) {
        self.first.stop().await;
        self.second.stop().await;
        self.database.check().await;
    }
}

async fn sign_up(client: &Client, user: &str) {
    let request =
        RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request(POINTS, user, "") };
    client.register(request).await.unwrap();
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, name: &str) {
    let status = result.expect_err(name);
    assert_eq!(reason(&status), (code, name.to_owned()), "{status:?}");
}

/// Waits until a token is refused, which must be soon.
async fn until_refused(people: &People, token: &str, since: Instant) {
    loop {
        match people.me(token).await {
            Ok(_) => {
                let took = since.elapsed();
                assert!(took < KNOWN_WITHIN, "still good after {took:?}");
            }
            Err(status) => {
                let expected = (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned());
                return assert_eq!(reason(&status), expected, "{status:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_session_that_ends_on_one_server_ends_on_the_others_within_a_second() {
    let scene = Scene::new().await;
    let (here, there) = scene.people();
    let session = here.login("ada", PASSWORD).await.unwrap();
    let other = there.login("ada", PASSWORD).await.unwrap();
    let bobs = there.login("bob", PASSWORD).await.unwrap();
    assert_eq!(there.me(&session.access_token).await.unwrap().user_id, "ada");
    let watch = WatchEarningsRequest { program_id: POINTS.into(), ..Default::default() };
    let mut rewards = scene.second.client().rewards();
    let mut streams = Vec::new();
    for token in [&session.access_token, &other.access_token, &bobs.access_token] {
        let stream = rewards.watch_earnings(with(token, watch.clone())).await.unwrap();
        let mut stream = stream.into_inner();
        stream.message().await.unwrap().unwrap();
        streams.push(stream);
    }

    here.logout(&session.access_token, "").await.unwrap();
    let ended = Instant::now();
    refused(here.me(&session.access_token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    until_refused(&there, &session.access_token, ended).await;
    let end = tokio::time::timeout(KNOWN_WITHIN, streams[0].message()).await.unwrap();
    refused(end, Code::Unauthenticated, "CREDENTIALS_ENDED");
    assert_eq!(there.me(&other.access_token).await.unwrap().user_id, "ada");

    // A changed password ends all others.
    let session = here.login("ada", PASSWORD).await.unwrap();
    here.change(&session.access_token, PASSWORD, "B4ttery-staple").await.unwrap();
    until_refused(&there, &other.access_token, Instant::now()).await;
    let end = tokio::time::timeout(KNOWN_WITHIN, streams[1].message()).await.unwrap();
    refused(end, Code::Unauthenticated, "CREDENTIALS_ENDED");
    let open = tokio::time::timeout(Duration::from_millis(300), streams[2].message()).await;
    assert!(open.is_err(), "{open:?}");
    for people in [&here, &there] {
        assert_eq!(people.me(&session.access_token).await.unwrap().user_id, "ada");
        let fresh = people.login("ada", "B4ttery-staple").await.unwrap();
        for people in [&here, &there] {
            assert_eq!(people.me(&fresh.access_token).await.unwrap().user_id, "ada");
        }
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_session_that_has_ended_stays_ended_after_a_restart() {
    let scene = Scene::new().await;
    let (here, there) = scene.people();
    let ended = here.login("ada", PASSWORD).await.unwrap();
    let all_but = there.login("bob", PASSWORD).await.unwrap();
    let kept = here.login("bob", PASSWORD).await.unwrap();
    here.logout(&ended.access_token, "").await.unwrap();
    here.change(&kept.access_token, PASSWORD, "B4ttery-staple").await.unwrap();
    let Scene { database, keys, first, second } = scene;
    first.kill().await;
    second.stop().await;

    let server = Server::start_with(&database.url, &keys.options()).await;

    let people = People::of(&server.client());
    for session in [&ended, &all_but] {
        let token = &session.access_token;
        refused(people.me(token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
        let refresh = people.refresh(&session.refresh_token).await;
        refused(refresh, Code::Unauthenticated, "INVALID_CREDENTIALS");
    }
    assert_eq!(people.me(&kept.access_token).await.unwrap().user_id, "bob");
    people.refresh(&kept.refresh_token).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_that_refresh_at_once_on_two_servers_stay_logged_in() {
    let scene = Scene::new().await;
    let (here, there) = scene.people();
    let session = here.login("ada", PASSWORD).await.unwrap();

    let mut tokens = [session.refresh_token.clone(), session.refresh_token.clone()];
    let mut access_token = session.access_token;
    // Each goes on with its own token, and both refresh again at the same time.
    for _ in 0..5 {
        let refreshes = [&here, &there].into_iter().zip(&tokens).map(|(people, token)| {
            let (people, token) = (people.clone(), token.clone());
            async move { people.refresh(&token).await }
        });
        let tabs: Vec<_> = at_once(refreshes).await.into_iter().map(Result::unwrap).collect();
        for tab in &tabs {
            assert_eq!(there.me(&tab.access_token).await.unwrap().user_id, "ada");
        }
        access_token.clone_from(&tabs[0].access_token);
        tokens = [tabs[0].refresh_token.clone(), tabs[1].refresh_token.clone()];
    }
    // Now the first token is a copy, whichever server it comes to. One of several attempts ends the session.
    let thefts = [&here, &there, &here, &there].map(|people| {
        let (people, token) = (people.clone(), session.refresh_token.clone());
        async move { people.refresh(&token).await }
    });
    for theft in at_once(thefts).await {
        refused(theft, Code::Unauthenticated, "INVALID_CREDENTIALS");
    }
    let stolen = Instant::now();
    for people in [&here, &there] {
        until_refused(people, &access_token, stolen).await;
    }
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_during_a_change_of_the_password_leaves_no_session_of_the_old_one() {
    let scene = Scene::new().await;
    let (here, there) = scene.people();
    let mut password = PASSWORD.to_owned();
    for round in 0..3 {
        let session = here.login("ada", &password).await.unwrap();
        let next = format!("B4ttery-staple-{round}");
        let changing = here.change(&session.access_token, &password, &next);
        let logging_in = there.login("ada", &password);
        let (changed, logged_in) = tokio::join!(changing, logging_in);
        changed.unwrap();
        let changed = Instant::now();
        if let Ok(old) = logged_in {
            for people in [&here, &there] {
                until_refused(people, &old.access_token, changed).await;
                let refresh = people.refresh(&old.refresh_token).await;
                refused(refresh, Code::Unauthenticated, "INVALID_CREDENTIALS");
            }
        }
        password = next;
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_server_that_does_not_see_the_log_trusts_no_session() {
    let (database, keys) = (TestDatabase::new().await, KeyFile::new());
    let proxy = Proxy::start(&database).await;
    let server = Server::start_with(&proxy.url, &keys.options()).await;
    let client = server.client();
    let ada = RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request("", "ada", "") };
    client.register(ada).await.unwrap();
    let people = People::of(&client);
    let session = people.login("ada", PASSWORD).await.unwrap();
    // A call that fails before it needs the database, once the caller is known.
    let nobody = || GetUserRequest { user_id: "a b".into(), ..Default::default() };
    let by_session = || people.service();
    let request = with(&session.access_token, ListSessionsRequest::default());
    by_session().list_sessions(request).await.unwrap();

    proxy.cut_off();
    let cut_at = Instant::now();
    loop {
        let request = with(&session.access_token, nobody());
        let status = by_session().get_user(request).await.unwrap_err();
        if reason(&status) == (Code::Unavailable, "DATABASE_UNAVAILABLE".into()) {
            break;
        }
        assert!(cut_at.elapsed() < Duration::from_secs(3), "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // The admin key and open calls go on, even with the token.
    let status = client.accounts().get_user(client.request(nobody())).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_FIELD".into()), "{status:?}");
    let empty = with(&session.access_token, LoginRequest::default());
    let status = by_session().login(empty).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_FIELD".into()), "{status:?}");
    proxy.heal();
    let healed = Instant::now();
    while let Err(status) = people.me(&session.access_token).await {
        assert!(healed.elapsed() < Duration::from_secs(30), "{status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
    database.check().await;
}

/// The ids of the keys that a server verifies with.
async fn key_ids(server: &Server) -> Vec<String> {
    let answer = plain_http::get(&server.address, "/.well-known/jwks.json", &[]).await.unwrap();
    let keys: Value = serde_json::from_slice(&answer.body).unwrap();
    let keys = keys["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a server has so many keys.
async fn until_keys(server: &Server, count: usize) -> Vec<String> {
    let began = Instant::now();
    loop {
        let ids = key_ids(server).await;
        if ids.len() == count {
            return ids;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{ids:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn signing_keys_are_exchanged_while_sessions_go_on() {
    let scene = Scene::new().await;
    let (here, there) = scene.people();
    let session = here.login("ada", PASSWORD).await.unwrap();
    let old = std::fs::read_to_string(&scene.keys.0).unwrap();
    let [old_id] = &*key_ids(&scene.first).await else { panic!("several keys") };

    // A file that cannot be used changes nothing.
    scene.keys.write(&["-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(key_ids(&scene.first).await, [&**old_id]);
    let new = KeyFile::key();
    scene.keys.write(&[&new, &old]);
    for server in [&scene.first, &scene.second] {
        let ids = until_keys(server, 2).await;
        assert_eq!(ids[1], *old_id);
    }
    let fresh = there.login("ada", PASSWORD).await.unwrap();
    for people in [&here, &there] {
        for token in [&session.access_token, &fresh.access_token] {
            assert_eq!(people.me(token).await.unwrap().user_id, "ada");
        }
    }
    scene.keys.write(&[&new]);
    for server in [&scene.first, &scene.second] {
        until_keys(server, 1).await;
    }
    for people in [&here, &there] {
        refused(
            people.me(&session.access_token).await,
            Code::Unauthenticated,
            "INVALID_CREDENTIALS",
        );
        assert_eq!(people.me(&fresh.access_token).await.unwrap().user_id, "ada");
    }
    // A session outlives the key.
    let refreshed = here.refresh(&session.refresh_token).await.unwrap();
    assert_eq!(there.me(&refreshed.access_token).await.unwrap().user_id, "ada");
    scene.finish().await;
}

#[tokio::test]
async fn tokens_of_another_installation_with_the_same_keys_are_unknown() {
    let scene = Scene::new().await;
    let (here, _) = scene.people();
    let session = here.login("ada", PASSWORD).await.unwrap();
    let other = TestDatabase::new().await;
    // The template of the tests has one secret; another installation has another one.
    let fresh = "update secrets set value = sha256(value)";
    sqlx::query(fresh).execute(&other.pool).await.unwrap();
    let server = Server::start_with(&other.url, &scene.keys.options()).await;
    let client = server.client();
    let ada = RegisterUserRequest { password: PASSWORD.into(), ..sign_up_request("", "ada", "") };
    client.register(ada).await.unwrap();
    let people = People::of(&client);
    refused(people.me(&session.access_token).await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let refresh = people.refresh(&session.refresh_token).await;
    refused(refresh, Code::Unauthenticated, "INVALID_CREDENTIALS");
    server.stop().await;
    other.check().await;
    scene.finish().await;
}

#[tokio::test]
async fn old_sessions_and_tokens_are_cleaned_away_and_no_others() {
    let scene = Scene::new().await;
    let (here, _) = scene.people();
    let old = here.login("ada", PASSWORD).await.unwrap();
    let ended = here.login("ada", PASSWORD).await.unwrap();
    let open = here.login("ada", PASSWORD).await.unwrap();
    for session in [&old, &ended] {
        here.logout(&session.access_token, "").await.unwrap();
    }
    let age = "update sessions set ended_at = ended_at - interval '31 days' where session_id = $1";
    let pool = &scene.database.pool;
    sqlx::query(age).bind(&old.session_id).execute(pool).await.unwrap();
    let expire =
        "update refresh_tokens set expires_at = now() - interval '1 s' where session_id = $1";
    sqlx::query(expire).bind(&ended.session_id).execute(pool).await.unwrap();

    let kept = Duration::from_hours(30 * 24);
    assert_eq!(sessions::delete_old(pool, kept, 1_000).await.unwrap(), 2);

    let left: Vec<String> =
        sqlx::query_scalar("select session_id from sessions order by created_at")
            .fetch_all(pool)
            .await
            .unwrap();
    assert_eq!(left, [&*ended.session_id, &open.session_id]);
    assert_eq!(sessions::delete_old(pool, kept, 1_000).await.unwrap(), 0);
    here.refresh(&open.refresh_token).await.unwrap();
    scene.finish().await;
}

#[tokio::test]
async fn a_server_without_usable_keys_does_not_start() {
    let (database, keys) = (TestDatabase::new().await, KeyFile::new());
    keys.write(&["no key"]);
    let mut command: Command = serve(&database.url, &keys.options()).into_std();
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success());
    assert!(said.contains("signing keys") && said.contains("there is none"), "{said}");
    database.check().await;
}
