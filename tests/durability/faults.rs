//! Faults during operation: a connection cut during an append, a database that becomes unavailable and
//! returns, a batch that the database refuses.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use domain::decide::{Command, RegisterUser};
use domain::{Profile, UserId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt;
use tributary::engine::{Engine, Environment, Failure, Limits, Submission};
use tributary::metrics::Metrics;
use tributary::store::{Actor, Database, Door, epoch};
use tributary::traces::Traces;

use testing::{Server, ServerOptions, TestDatabase, reason};

/// What the proxy does to the connection that carries the marked bytes to the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The bytes never arrive.
    Before,
    /// The bytes arrive, but the answer never comes back.
    After,
}

type Armed = Mutex<Option<(Cut, Vec<u8>)>>;

/// A proxy between a server and Postgres that cuts connections.
struct Proxy {
    directory: PathBuf,
    is_down: Arc<AtomicBool>,
    cut: Arc<Armed>,
}

impl Proxy {
    async fn start(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("tributary-proxy-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let listener = UnixListener::bind(directory.join(".s.PGSQL.5432")).unwrap();
        let proxy = Self { directory, is_down: Arc::default(), cut: Arc::new(Mutex::new(None)) };
        let (is_down, cut) = (proxy.is_down.clone(), proxy.cut.clone());
        let target: Arc<Mutex<Option<PathBuf>>> = Arc::default();
        *target.lock().unwrap() = Some(socket_of_the_cluster().await);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (is_down, cut) = (is_down.clone(), cut.clone());
                let target = target.lock().unwrap().clone().unwrap();
                tokio::spawn(async move { carry(client, &target, &is_down, &cut).await });
            }
        });
        proxy
    }

    /// The URL of a database, through the proxy.
    fn url(&self, database: &TestDatabase) -> String {
        let (base, _) = database.url.split_once('?').unwrap();
        format!("{base}?host={}&sslmode=disable", self.directory.display())
    }

    /// Cuts the connection that next carries `marker` to the database.
    fn cut_at(&self, cut: Cut, marker: &str) {
        *self.cut.lock().unwrap() = Some((cut, marker.as_bytes().to_vec()));
    }

    fn was_cut(&self) -> bool {
        self.cut.lock().unwrap().is_none()
    }

    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn socket_of_the_cluster() -> PathBuf {
    let database = TestDatabase::new().await;
    let (_, query) = database.url.split_once("host=").unwrap();
    let directory = query.split('&').next().unwrap();
    PathBuf::from(directory).join(".s.PGSQL.5432")
}

async fn carry(client: UnixStream, target: &PathBuf, is_down: &AtomicBool, cut: &Armed) {
    if is_down.load(Ordering::SeqCst) {
        return;
    }
    let Ok(server) = UnixStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let swallow = AtomicBool::new(false);
    let there = async {
        let mut buffer = vec![0; 1 << 20];
        let mut window: Vec<u8> = Vec::new();
        loop {
            let read = from_client.read(&mut buffer).await.unwrap_or(0);
            if read == 0 || is_down.load(Ordering::SeqCst) {
                return;
            }
            window.extend_from_slice(&buffer[..read]);
            let hit = {
                let mut armed = cut.lock().unwrap();
                let hit = armed.as_ref().is_some_and(|(_, marker)| {
                    window.windows(marker.len()).any(|bytes| bytes == &marker[..])
                });
                if hit { armed.take().map(|(cut, _)| cut) } else { None }
            };
            let keep = window.len().saturating_sub(4_096);
            window.drain(..keep);
            if hit == Some(Cut::Before) {
                return;
            }
            swallow.fetch_or(hit == Some(Cut::After), Ordering::SeqCst);
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = from_server.read(&mut buffer).await.unwrap_or(0);
            if read == 0 || is_down.load(Ordering::SeqCst) {
                return;
            }
            // The database has answered, so the statement was carried out, but the answer is lost.
            if swallow.load(Ordering::SeqCst) {
                return;
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_an_append_loses_nothing_and_repeats_nothing() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::start("cut").await;
    let server = Server::start_with(&proxy.url(&database), &ServerOptions::default()).await;
    let client = server.client();
    let program = client.publish_shipped("first-purchase-credits").await.program_id;
    let ada = client.sign_up(&program, "ada", "").await.unwrap();
    for round in 0..6 {
        let cut = if round % 2 == 0 { Cut::Before } else { Cut::After };
        let user = format!("user-{round}");
        client.sign_up(&program, &user, &ada.code).await.unwrap();
        let purchase = format!("cut-me-{round}");
        proxy.cut_at(cut, &purchase);
        let answer = client.buy(&purchase, &user, "USD", 5).await.unwrap();
        assert!(proxy.was_cut(), "the connection was not cut");
        assert_eq!(answer.outcomes[0].rewards.len(), 2);
        // A sign-up has neither a receipt nor a natural key.
        let name = format!("cut-too-{round}");
        proxy.cut_at(cut, &name);
        client.sign_up(&program, &name, &ada.code).await.unwrap();
        assert!(proxy.was_cut(), "the connection was not cut");
    }
    let recorded = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(recorded).await, 6);
    let rewards = "select count(*) from events where event_type = 'RewardGranted'";
    assert_eq!(database.count(rewards).await, 12);
    let users = "select count(*) from events where event_type = 'UserRegistered'";
    assert_eq!(database.count(users).await, 13);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn while_the_database_is_away_callers_are_told_and_when_it_is_back_all_goes_on() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::start("away").await;
    let options = ServerOptions { arguments: vec!["--database-patience-s".into(), "1".into()] };
    let server = Server::start_with(&proxy.url(&database), &options).await;
    let client = server.client();
    let program = client.publish_shipped("first-purchase-credits").await.program_id;
    client.sign_up(&program, "ada", "").await.unwrap();

    proxy.set_down(true);
    for number in 0..3 {
        let status = client.buy(&format!("lost-{number}"), "ada", "USD", 5).await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unavailable, "DATABASE_UNAVAILABLE".into()));
        let retry = status.get_details_retry_info().expect("a hint when to come back");
        assert!(retry.retry_delay.is_some());
        let status = client.user("ada").await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unavailable, "DATABASE_UNAVAILABLE".into()));
    }

    proxy.set_down(false);
    let mut earnings = None;
    for _ in 0..100 {
        match client.watch(&program, "ada", "").await {
            Ok(stream) => {
                earnings = Some(stream);
                break;
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
    assert!(earnings.is_some(), "reads have recovered");
    for number in 0..3 {
        client.buy(&format!("lost-{number}"), "ada", "USD", 5).await.unwrap();
    }
    let recorded = "select count(*) from events where event_type = 'PurchaseRecorded'";
    assert_eq!(database.count(recorded).await, 3);
    server.stop().await;
    database.check().await;
}

fn registration(user: &str, display_name: &str) -> Command {
    Command::RegisterUser(Box::new(RegisterUser {
        profile: Profile {
            user_id: UserId::parse(user).unwrap(),
            username: user.into(),
            email: format!("{user}@example.com"),
            display_name: display_name.into(),
            password_hash: None,
        },
        address_key: None,
        mailbox: None,
        client_ip: None,
        fingerprint_key: None,
        program_id: None,
        referral_code: None,
        api_key: None,
        is_address_confirmed: false,
    }))
}

fn submission(command: Command) -> Submission {
    Submission::new(command, Actor::SYSTEM, Door::job("test"))
}

#[tokio::test]
async fn a_command_that_the_database_refuses_does_not_take_its_batch_with_it() {
    let database = TestDatabase::new().await;
    let (handover, _handed_over) = tokio::sync::mpsc::channel(100);
    let store = Database::new(&database.url, 2).unwrap();
    let epoch = epoch::enter(&mut store.connect().await.unwrap()).await.unwrap();
    let (engine, worker) = Engine::new(
        store,
        epoch,
        Environment::of_this_machine().unwrap(),
        Limits::default(),
        handover,
        Metrics::default(),
        Traces::default(),
    );
    let worker = tokio::spawn(worker.run(CancellationToken::new()));
    // NUL cannot be stored in a text. The API refuses it, so these commands bypass the API. All of them wait
    // before the worker has its connection, so they form one batch.
    let mut commands = Vec::new();
    for number in 0..20 {
        let name = if number == 7 { "a\0b" } else { "fine" };
        let (engine, command) = (engine.clone(), registration(&format!("user-{number}"), name));
        commands.push(tokio::spawn(async move { engine.execute(submission(command)).await }));
    }
    for (number, command) in commands.into_iter().enumerate() {
        let outcome = command.await.unwrap();
        if number == 7 {
            assert!(matches!(outcome, Err(Failure::Internal)), "{outcome:?}");
        } else {
            outcome.unwrap();
        }
    }
    assert_eq!(database.count("select count(*) from events").await, 19);
    drop(engine);
    worker.await.unwrap().unwrap();
    database.check().await;
}

#[tokio::test]
async fn a_full_queue_turns_commands_away_and_loses_none_that_it_took() {
    let database = TestDatabase::new().await;
    let (handover, _handed_over) = tokio::sync::mpsc::channel(100);
    let limits = Limits { queue_commands: 8, ..Limits::default() };
    let store = Database::new(&database.url, 2).unwrap();
    let epoch = epoch::enter(&mut store.connect().await.unwrap()).await.unwrap();
    let (engine, worker) = Engine::new(
        store,
        epoch,
        Environment::of_this_machine().unwrap(),
        limits,
        handover,
        Metrics::default(),
        Traces::default(),
    );
    let worker = tokio::spawn(worker.run(CancellationToken::new()));
    let mut commands = Vec::new();
    for number in 0..200 {
        let (engine, command) = (engine.clone(), registration(&format!("user-{number}"), "x"));
        commands.push(tokio::spawn(async move { engine.execute(submission(command)).await }));
    }
    let (mut taken, mut turned_away) = (0, 0);
    for command in commands {
        match command.await.unwrap() {
            Ok(_) => taken += 1,
            Err(Failure::QueueFull(8)) => turned_away += 1,
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(taken >= 8 && turned_away > 0, "{taken} taken, {turned_away} turned away");
    assert_eq!(database.count("select count(*) from events").await, taken);
    drop(engine);
    worker.await.unwrap().unwrap();
    database.check().await;
}
