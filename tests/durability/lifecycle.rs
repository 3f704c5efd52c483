//! The tasks of a server: if one of them dies, the server ends and names it instead of continuing without it.

use std::process::Stdio;
use std::time::Duration;

use sqlx::Executor;
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tributary::api::{Server, ServerError, ServerOptions, ServerSettings};
use tributary::engine::{Environment, Limits};
use tributary::lifecycle::{Stage, TaskEnded};
use tributary::store::Database;
use tributary::traces::Traces;

use testing::plain_http::{Answer, get};
use testing::{ADMIN_KEY, TestDatabase, tributary};

const PATIENCE: Duration = Duration::from_secs(30);

async fn server(database: &TestDatabase) -> Server {
    let options = ServerOptions {
        database: Database::new(&database.url, 4).unwrap(),
        admin_key: ADMIN_KEY.into(),
        access: tributary::access::Settings::default(),
        environment: Environment::of_this_machine().unwrap(),
        settings: ServerSettings::default(),
        engine: Limits::default(),
        live: tributary::live::Limits::default(),
        jobs: tributary::jobs::Limits::default(),
        mail: tributary::mails::MailSettings::nowhere().unwrap(),
        payments: tributary::payments::Settings::default(),
        transport: tributary::api::transport::Limits::default(),
        metrics_listener: None,
        traces: Traces::default(),
    };
    Server::start(options).await.unwrap()
}

/// Serves until the server ends by itself.
async fn served(server: Server) -> Result<(), ServerError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = server.serve(listener, std::future::pending(), |_| {});
    tokio::time::timeout(PATIENCE, serving).await.expect("the server ends in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_ends_the_server_with_its_name_and_the_message() {
    let database = TestDatabase::new().await;
    let server = server(&database).await;
    server.tasks().spawn(Stage::Background, "doomed", |_| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(std::env::args().count() == 0, "the {} was lost", "thread");
        Ok::<_, std::convert::Infallible>(())
    });
    let error = served(server).await.unwrap_err();
    let ServerError::TaskEnded(TaskEnded { task, reason }) = &error else { panic!("{error}") };
    assert_eq!((*task, &**reason), ("doomed", "it panicked: the thread was lost"));
    assert_eq!(error.to_string(), "the task 'doomed' ended: it panicked: the thread was lost");
    database.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_gives_its_tasks_time_in_the_order_of_its_stages() {
    let database = TestDatabase::new().await;
    let server = server(&database).await;
    let (ended, mut endings) = tokio::sync::mpsc::unbounded_channel();
    for (stage, name) in [
        (Stage::Background, "background"),
        (Stage::Commands, "commands"),
        (Stage::Readiness, "readiness"),
    ] {
        let ended = ended.clone();
        server.tasks().spawn(stage, name, |stop| async move {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let _ = ended.send(name);
            Ok::<_, std::convert::Infallible>(())
        });
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let soon = tokio::time::sleep(Duration::from_millis(100));
    let serving = server.serve(listener, soon, |_| {});
    tokio::time::timeout(PATIENCE, serving).await.expect("the server ends in time").unwrap();
    drop(ended);
    let mut order = Vec::new();
    while let Some(name) = endings.recv().await {
        order.push(name);
    }
    assert_eq!(order, ["readiness", "commands", "background"]);
    database.check().await;
}

/// What `/readyz` answers once it has this status.
async fn readiness(address: &str, status: u16) -> Answer {
    let waiting = async {
        loop {
            let answer = get(address, "/readyz", &[]).await.unwrap();
            if answer.status == status {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the status in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_is_not_ready_before_it_turns_anybody_away() {
    let database = TestDatabase::new().await;
    let server = server(&database).await;
    // The stage lasts until the test has seen it, or for a second.
    let (seen, seeing) = tokio::sync::oneshot::channel();
    server.tasks().spawn(Stage::Readiness, "witness", |stop| async move {
        stop.cancelled().await;
        let _ = seeing.await;
        Ok::<_, std::convert::Infallible>(())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(listener, stop.clone().cancelled_owned(), |_| {}));
    readiness(&address, 200).await;
    let channel = Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut status = async || watch.message().await.unwrap().unwrap().status();
    assert_eq!(status().await, ServingStatus::Serving);

    stop.cancel();
    let answer = readiness(&address, 503).await;
    assert!(answer.text().contains("stopping"), "{answer:?}");
    assert_eq!(get(&address, "/livez", &[]).await.unwrap().status, 200);
    assert_eq!(status().await, ServingStatus::NotServing);
    seen.send(()).unwrap();
    drop((watch, health));
    tokio::time::timeout(PATIENCE, serving).await.expect("in time").unwrap().unwrap();
    assert!(get(&address, "/livez", &[]).await.is_err());
    database.check().await;
}

/// A server process whose output is read.
async fn process(database: &TestDatabase) -> (Child, String) {
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let child = tributary()
        .args(["serve", "--listen", &address])
        .env("DATABASE_URL", &database.url)
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
        .env("TRIBUTARY_LOG", "warn")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = async {
        while !get(&address, "/readyz", &[]).await.is_ok_and(|answer| answer.status == 200) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("a server that is ready");
    (child, address)
}

/// Makes the database look like another one to new connections.
async fn disguise(database: &TestDatabase) {
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&database.pool).await.unwrap();
    let function = "create function pg_control_system() \
         returns table (system_identifier bigint) \
         language sql as 'select system_identifier + 1 from pg_catalog.pg_control_system()'";
    database.pool.execute(function).await.unwrap();
    let search = format!("alter database {name} set search_path = public, pg_catalog");
    database.pool.execute(&*search).await.unwrap();
}

/// Cuts connections for which only one task checks the database after reconnecting. Checks that the server
/// ends, and names that task.
async fn ends_with(backends: &str, task: &str) {
    let database = TestDatabase::new().await;
    let (child, address) = process(&database).await;
    disguise(&database).await;
    let cut = format!("select count(pg_terminate_backend(pid)) from ({backends}) as backends");
    assert!(database.count(&cut).await > 0, "backends of the {task}");
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("the server ends in time").unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    let expected = format!("error: the task '{task}' ended: the database is not the one that");
    assert!(last.starts_with(&expected), "{log}");
    assert!(get(&address, "/livez", &[]).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_finds_another_database_ends_the_server_with_its_name() {
    ends_with(crate::projector::PROJECTORS, "projector").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_finds_another_database_ends_the_server_with_its_name() {
    // The connection that listens, and those for reading, one of which the listener uses for its check. The
    // command path has no connection yet.
    let others = format!(
        "select pid from pg_stat_activity where datname = current_database() \
         and pid <> pg_backend_pid() and pid not in (select pid from ({}) as projectors)",
        crate::projector::PROJECTORS
    );
    ends_with(&others, "notice listener").await;
}
