//! Processes that stop while they hold a lock: the others answer commands again within 5 seconds and reads within 10,
//! nothing is lost, and the process that comes back does no harm.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::process::Child;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tributary::store::functions;

use crate::expected::check_read_models;
use crate::projector::the_projector;
use crate::reads::{position, purchase, settle};
use testing::{
    Client, Server, ServerOptions, StopPoint, TestDatabase, at_once, check_books, plain_http,
    serve, signal, tributary,
};

/// The promise, from the moment at which a process stops.
const COMMANDS_AGAIN: Duration = Duration::from_secs(5);
const READS_AGAIN: Duration = Duration::from_secs(10);
/// How long a process that goes on may take to answer again.
const BACK_AGAIN: Duration = Duration::from_secs(30);
/// The sessions of ours that wait for a lock.
const WAITING: &str = "select count(*) from pg_stat_activity where datname = current_database()
    and application_name = 'tributary' and wait_event_type = 'Lock'";

/// A number that no other purchase has.
fn unique() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Checks that a server answers commands and reads in time, although another process has stopped.
pub async fn check_answers(client: &Client, stopped_at: Instant) {
    let id = format!("after-{}", unique());
    let token = loop {
        match client.buy(&id, "friend", "INR", 100_000).await {
            Ok(bought) => break bought.consistency_token,
            Err(status) => {
                let took = stopped_at.elapsed();
                assert!(took < COMMANDS_AGAIN, "no command for {took:?}: {status:?}");
            }
        }
    };
    let took = stopped_at.elapsed();
    assert!(took < COMMANDS_AGAIN, "commands were answered after {took:?}");
    for read in ["GetBalances", "GetOverview", "ListPurchases", "GetRank"] {
        while let Err(status) = position(client, read, "owner", &token, None).await {
            let took = stopped_at.elapsed();
            assert!(took < READS_AGAIN, "no {read} for {took:?}: {status:?}");
        }
    }
    let reads_took = stopped_at.elapsed();
    assert!(reads_took < READS_AGAIN, "reads were answered after {reads_took:?}");
    eprintln!("commands were answered after {took:?}, reads after {reads_took:?}");
}

/// Waits until a server that was stopped or cut off answers commands and reads again.
pub async fn check_back(client: &Client) {
    let began = Instant::now();
    let id = format!("back-{}", unique());
    loop {
        let failed = match client.buy(&id, "friend", "INR", 100_000).await {
            Ok(bought) => {
                let token = bought.consistency_token;
                match position(client, "GetBalances", "owner", &token, None).await {
                    Ok(_) => return,
                    Err(status) => status,
                }
            }
            Err(status) => status,
        };
        assert!(began.elapsed() < BACK_AGAIN, "{failed:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Checks what the servers have left behind.
pub async fn finish(database: &TestDatabase, servers: impl IntoIterator<Item = Server>) {
    check_read_models(database).await;
    check_books(database).await;
    for server in servers {
        server.stop().await;
    }
    database.check().await;
}

/// A server that stops at a point, and another one that must go on.
struct Scene {
    database: TestDatabase,
    point: StopPoint,
    hanging: Server,
    other: Server,
}

impl Scene {
    /// The server that will hang leads the projector.
    async fn new(point: &'static str) -> Self {
        let database = TestDatabase::new().await;
        let point = StopPoint::new(point);
        let mut command = serve(&database.url, &ServerOptions::default());
        point.tell(&mut command);
        let hanging = Server::start_command(command).await;
        settle(&hanging.client()).await;
        the_projector(&database).await;
        let other = Server::start(&database).await;
        purchase(&other.client()).await;
        Self { database, point, hanging, other }
    }

    /// Waits until the server has stopped, checks that the other goes on, and lets the first go on.
    async fn check(self) {
        let stopped_at = self.point.reached().await;
        self.check_since(stopped_at).await;
    }

    async fn check_since(self, stopped_at: Instant) {
        let Self { database, hanging, other, .. } = self;
        check_answers(&other.client(), stopped_at).await;
        hanging.signal("-CONT").await;
        check_back(&hanging.client()).await;
        check_answers(&other.client(), Instant::now()).await;
        finish(&database, [hanging, other]).await;
    }
}

/// Checks the log for a purchase that was sent to a server that stopped, and that it can be sent again.
async fn check_in_flight(
    scene: &str,
    database: &TestDatabase,
    client: &Client,
    id: &str,
    answered: Result<Result<impl Sized, tonic::Status>, tokio::task::JoinError>,
) {
    let count = format!(
        "select count(*) from events where event_type = 'PurchaseRecorded' and aggregate_id = '{id}'"
    );
    if answered.unwrap().is_ok() {
        assert_eq!(database.count(&count).await, 1, "{scene}: an answered purchase is lost");
    }
    client.buy(id, "friend", "INR", 100_000).await.unwrap();
    assert_eq!(database.count(&count).await, 1, "{scene}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_of_the_read_models_stops_another_server_takes_over() {
    let scene = Scene::new("nowhere").await;
    let leader = the_projector(&scene.database).await;
    scene.hanging.signal("-STOP").await;
    let stopped_at = Instant::now();
    check_answers(&scene.other.client(), stopped_at).await;
    assert_ne!(the_projector(&scene.database).await, leader);
    scene.check_since(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_on_after_a_standstill_says_what_may_have_happened_to_its_sessions() {
    let database = TestDatabase::new().await;
    let log = std::env::temp_dir().join(format!("tributary-standstill-{}.log", std::process::id()));
    let mut command = serve(&database.url, &ServerOptions::default());
    command.stderr(std::fs::File::create(&log).unwrap());
    let server = Server::start_command(command).await;
    settle(&server.client()).await;
    the_projector(&database).await;
    server.signal("-STOP").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    server.signal("-CONT").await;
    check_back(&server.client()).await;
    let began = Instant::now();
    let said = loop {
        let said = std::fs::read_to_string(&log).unwrap();
        if said.contains("this process stood still") {
            break said;
        }
        assert!(began.elapsed() < BACK_AGAIN, "{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(said.contains("ended its sessions"), "{said}");
    assert!(!said.contains("pool timed out"), "{said}");
    server.stop().await;
    database.check().await;
    std::fs::remove_file(&log).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_leader_stops_in_the_midst_of_a_fold_another_server_takes_over() {
    let scene = Scene::new("projector.folding").await;
    scene.point.arm();
    purchase(&scene.other.client()).await;
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_stops_as_soon_as_it_leads_another_server_takes_over() {
    let scene = Scene::new("projector.elected").await;
    scene.point.arm();
    crate::projector::cut_off(&scene.database).await;
    let began = Instant::now();
    // The other server may be elected first.
    while !scene.point.is_reached() {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(700)).await;
        if !scene.point.is_reached() {
            crate::projector::cut_off(&scene.database).await;
        }
    }
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_stops_in_the_midst_of_an_append_the_others_go_on() {
    let scene = Scene::new("engine.appending").await;
    scene.point.arm();
    let (database, client) = (&scene.database, scene.hanging.client());
    let sent = {
        let client = client.clone();
        tokio::spawn(async move { client.buy("in-flight", "friend", "INR", 100_000).await })
    };
    let stopped_at = scene.point.reached().await;
    check_answers(&scene.other.client(), stopped_at).await;
    scene.hanging.signal("-CONT").await;
    check_in_flight("appending", database, &client, "in-flight", sent.await).await;
    scene.check().await;
}

/// Lets a server take the lock of the log before it loads, which it does after a conflict, and stop at a point of that.
async fn stop_with_the_lock_of_the_log(point: &'static str) {
    let scene = Scene::new(point).await;
    scene.point.arm();
    let (client, other) = (scene.hanging.client(), scene.other.client());
    let mut sent = Vec::new();
    let began = Instant::now();
    while !scene.point.is_reached() {
        assert!(began.elapsed() < Duration::from_secs(30), "there is no conflict");
        let id = format!("in-flight-{}", sent.len());
        let ours = {
            let (client, id) = (client.clone(), id.clone());
            tokio::spawn(async move { client.buy(&id, "friend", "INR", 100_000).await })
        };
        sent.push((id, ours));
        // Not awaited, because it waits for the lock once the first server has stopped.
        let other = other.clone();
        tokio::spawn(async move { other.buy("", "friend", "INR", 100_000).await });
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let stopped_at = scene.point.reached().await;
    check_answers(&other, stopped_at).await;
    scene.hanging.signal("-CONT").await;
    check_back(&client).await;
    for (id, answered) in sent {
        check_in_flight(point, &scene.database, &client, &id, answered.await).await;
    }
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_stops_with_the_lock_of_the_log_the_others_go_on() {
    stop_with_the_lock_of_the_log("engine.locked").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_stops_between_its_append_and_the_commit_the_others_go_on() {
    stop_with_the_lock_of_the_log("engine.locked.appended").await;
}

/// Starts a process that stops at a point, and checks that a server goes on, also one that starts afterwards. Returns
/// the process, which goes on.
async fn stop_beside(
    database: &TestDatabase,
    other: &Server,
    point: StopPoint,
    mut command: tokio::process::Command,
) -> Child {
    point.tell(&mut command);
    point.arm();
    let child = command.spawn().unwrap();
    let stopped_at = point.reached().await;
    check_answers(&other.client(), stopped_at).await;
    let third = Server::start(database).await;
    let took = stopped_at.elapsed();
    assert!(took < READS_AGAIN, "another server was ready after {took:?}");
    third.stop().await;
    signal(&child, "-CONT").await;
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_stops_while_it_enters_the_epoch_the_others_go_on() {
    let database = TestDatabase::new().await;
    let other = Server::start(&database).await;
    settle(&other.client()).await;
    let command = serve(&database.url, &ServerOptions::default());
    let point = StopPoint::new("epoch.entering");
    let mut child = stop_beside(&database, &other, point, command).await;
    signal(&child, "-TERM").await;
    child.wait().await.unwrap();
    finish(&database, [other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_stops_while_it_creates_what_is_missing_others_can_start() {
    let database = TestDatabase::new().await;
    let other = Server::start(&database).await;
    settle(&other.client()).await;
    // As with a new release. Servers that run do not call this function any more.
    let drop = format!("drop function {}", functions::name("enter_epoch"));
    sqlx::query(&drop).execute(&database.pool).await.unwrap();
    let command = serve(&database.url, &ServerOptions::default());
    let point = StopPoint::new("functions.creating");
    let mut child = stop_beside(&database, &other, point, command).await;
    // It has lost its connection before it was ready, and ends.
    assert!(!child.wait().await.unwrap().success());
    finish(&database, [other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_rebuild_stops_with_the_read_models_locked_the_servers_go_on() {
    for point in ["rebuild.holding", "rebuild.switching"] {
        let database = TestDatabase::new().await;
        let other = Server::start(&database).await;
        settle(&other.client()).await;
        purchase(&other.client()).await;
        let mut command = tributary();
        command
            .args(["projections", "rebuild", "all"])
            .env("DATABASE_URL", &database.url)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = stop_beside(&database, &other, StopPoint::new(point), command).await;
        // It may have lost its locks, and then says so.
        child.wait().await.unwrap();
        // The database has yet to notice that the process has ended.
        let ended_at = Instant::now();
        loop {
            let again = tributary()
                .args(["projections", "rebuild", "all"])
                .env("DATABASE_URL", &database.url)
                .output()
                .await
                .unwrap();
            if again.status.success() {
                break;
            }
            let said = String::from_utf8_lossy(&again.stderr);
            assert!(said.contains("another rebuild"), "{point}: {said}");
            assert!(ended_at.elapsed() < READS_AGAIN, "{point}: {said}");
        }
        finish(&database, [other]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_stops_while_it_completes_a_job_the_others_go_on() {
    let database = TestDatabase::new().await;
    let point = StopPoint::new("job.completing");
    let mut command = serve(&database.url, &ServerOptions::default());
    point.tell(&mut command);
    point.arm();
    // The first job of a day is inserted when a server starts.
    let mut child = command.spawn().unwrap();
    let stopped_at = point.reached().await;
    let other = Server::start(&database).await;
    settle(&other.client()).await;
    check_answers(&other.client(), stopped_at).await;
    signal(&child, "-CONT").await;
    signal(&child, "-TERM").await;
    child.wait().await.unwrap();
    finish(&database, [other]).await;
}

/// An address for metrics.
pub fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

/// The value of a metric.
pub async fn metric(address: &str, name: &str) -> f64 {
    let text = plain_http::get(address, "/metrics", &[]).await.unwrap().text();
    let line =
        text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    let value = line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("{text}"));
    value.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_reports_the_lag_of_the_read_models_while_their_leader_stands_still() {
    let database = TestDatabase::new().await;
    let leader = Server::start(&database).await;
    settle(&leader.client()).await;
    the_projector(&database).await;
    let metrics = free_address();
    let arguments = vec!["--metrics-listen".into(), metrics.clone()];
    let follower = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let client = follower.client();
    let token = purchase(&client).await;
    position(&client, "GetBalances", "owner", &token, None).await.unwrap();
    let mut health = HealthClient::new(client.channel());
    let mut read_models = async || {
        let message = HealthCheckRequest { service: "tributary.read_models".into() };
        health.check(message).await.unwrap().into_inner().status()
    };
    let ready = async || {
        let answer = plain_http::get(&follower.address, "/readyz", &[]).await.unwrap();
        assert_eq!(answer.status, 200);
        answer.text()
    };
    while metric(&metrics, "tributary_projection_lag_events").await > 0.0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(read_models().await, ServingStatus::Serving);
    assert!(!ready().await.contains("warning"));

    leader.signal("-STOP").await;
    let stopped_at = Instant::now();
    let token = purchase(&client).await;
    let (mut is_measured, mut is_reported, mut is_warned) = (false, false, false);
    while !(is_measured && is_reported && is_warned) {
        assert!(stopped_at.elapsed() < READS_AGAIN, "{is_measured} {is_reported} {is_warned}");
        is_measured |= metric(&metrics, "tributary_projection_lag_events").await > 0.0
            && metric(&metrics, "tributary_projection_lag_seconds").await > 1.0;
        is_reported |= read_models().await == ServingStatus::NotServing;
        is_warned |= ready().await.contains("seconds behind the log");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while position(&client, "GetBalances", "owner", &token, None).await.is_err() {
        assert!(stopped_at.elapsed() < READS_AGAIN);
    }
    while metric(&metrics, "tributary_projection_lag_events").await > 0.0
        || read_models().await != ServingStatus::Serving
    {
        assert!(stopped_at.elapsed() < READS_AGAIN);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    leader.signal("-CONT").await;
    check_back(&leader.client()).await;
    finish(&database, [leader, follower]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_wait_in_vain_for_the_lock_of_the_log_leave_no_sessions_behind() {
    let database = TestDatabase::new().await;
    let servers = [Server::start(&database).await, Server::start(&database).await];
    settle(&servers[0].client()).await;
    // A session of somebody else is never ended, whatever it does.
    let mut holder = database.pool.begin().await.unwrap();
    let lock = format!("select {}()", functions::name("lock_log"));
    sqlx::query(&lock).execute(&mut *holder).await.unwrap();
    let began = Instant::now();
    let buying = servers.iter().map(Server::client).map(|client| {
        tokio::spawn(async move {
            let mut failed = 0;
            while began.elapsed() < Duration::from_secs(12) {
                let buys = (0..20).map(|_| {
                    let client = client.clone();
                    async move { client.buy("", "friend", "INR", 100_000).await }
                });
                for answer in at_once(buys).await {
                    let status = answer.unwrap_err();
                    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
                    failed += 1;
                }
            }
            failed
        })
    });
    let buying: Vec<_> = buying.collect();
    let mut most = 0;
    while !buying.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(database.count(WAITING).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut failed = 0;
    for task in buying {
        failed += task.await.unwrap();
    }
    // One that waits, and one of the attempt before, whose end the database has yet to notice.
    assert!((1..=4).contains(&most), "{most} sessions waited at one moment, {failed} calls failed");
    holder.rollback().await.unwrap();
    for server in &servers {
        check_answers(&server.client(), Instant::now()).await;
    }
    finish(&database, servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_answered_while_a_rebuild_waits_for_a_reader_that_does_not_end() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    settle(&server.client()).await;
    let token = purchase(&server.client()).await;
    let mut reader = database.pool.begin().await.unwrap();
    let table = crate::expected::table(&database, "participants").await;
    sqlx::query(&format!("select from {table}")).execute(&mut *reader).await.unwrap();
    let rebuild = tributary()
        .args(["projections", "rebuild", "participants"])
        .env("DATABASE_URL", &database.url)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let exclusive =
        "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and not granted
        and database = (select oid from pg_database where datname = current_database())";
    let began = Instant::now();
    while database.count(exclusive).await == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "the rebuild does not switch");
    }
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < Duration::from_secs(4) {
        let reads = (0..30).map(|_| {
            let (client, token) = (server.client(), token.clone());
            async move {
                let began = Instant::now();
                position(&client, "GetBalances", "owner", &token, None).await.unwrap();
                began.elapsed()
            }
        });
        slowest = slowest.max(at_once(reads).await.into_iter().max().unwrap());
    }
    assert!(slowest < Duration::from_secs(2), "a read took {slowest:?}");
    reader.rollback().await.unwrap();
    let ended = rebuild.wait_with_output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    finish(&database, [server]).await;
}
