//! Connections that go dead without an end: nothing arrives any more in either direction, or answers are not read. The
//! other servers go on as if the process had stopped, and the server itself recovers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::Executor;
use tributary::store::{Database, functions};

use crate::hung_servers::{check_answers, check_back, finish, free_address, metric};
use crate::projector::the_projector;
use crate::reads::{purchase, settle};
use testing::{Client, Proxy, Server, ServerOptions, TestDatabase, serve};

/// What the connection of the projector, and that which appends, have sent.
const PROJECTOR: &str = "prepare lock_copies";
const APPEND: &str = "select * from append_";

/// A server behind a proxy, which leads the projector, and another one, whose log and metrics are read.
struct Scene {
    database: TestDatabase,
    proxy: Proxy,
    cut_off: Server,
    other: Server,
    /// The address of the other's metrics.
    metrics: String,
    /// The file of the other's log.
    log: PathBuf,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let database = TestDatabase::new().await;
        let proxy = Proxy::start(&database).await;
        let cut_off = Server::start_with(&proxy.url, &ServerOptions::default()).await;
        settle(&cut_off.client()).await;
        the_projector(&database).await;
        let metrics = free_address();
        let arguments = vec!["--metrics-listen".into(), metrics.clone()];
        let mut command = serve(&database.url, &ServerOptions { arguments });
        let log = format!("tributary-log-{}-{name}", std::process::id());
        let log = std::env::temp_dir().join(log);
        command.stderr(File::create(&log).unwrap());
        let other = Server::start_command(command).await;
        purchase(&other.client()).await;
        purchase(&cut_off.client()).await;
        Self { database, proxy, cut_off, other, metrics, log }
    }

    /// Checks that the other server goes on, and the first one as soon as new connections reach the database.
    async fn check(self, cut_at: Instant) {
        check_answers(&self.other.client(), cut_at).await;
        self.proxy.heal();
        check_back(&self.cut_off.client()).await;
        check_answers(&self.other.client(), Instant::now()).await;
        let _ = std::fs::remove_file(&self.log);
        finish(&self.database, [self.cut_off, self.other]).await;
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_is_cut_off_from_the_database_the_others_go_on() {
    let scene = Scene::new("all").await;
    let client = scene.cut_off.client();
    // In the midst of work.
    let buy = |client: Client| async move {
        while client.buy("", "friend", "INR", 100_000).await.is_ok() {}
    };
    let buying: Vec<_> = (0..8).map(|_| tokio::spawn(buy(client.clone()))).collect();
    purchase(&client).await;
    scene.proxy.cut_off();
    let cut_at = Instant::now();
    check_answers(&scene.other.client(), cut_at).await;
    for task in buying {
        task.abort();
    }
    scene.check(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_connection_of_the_projector_goes_dead_another_server_takes_over() {
    let scene = Scene::new("projector").await;
    let leader = the_projector(&scene.database).await;
    assert_eq!(scene.proxy.silence(PROJECTOR), 1);
    let cut_at = Instant::now();
    check_answers(&scene.other.client(), cut_at).await;
    assert_ne!(the_projector(&scene.database).await, leader);
    // Its other connections are alive, so it answers as well.
    check_answers(&scene.cut_off.client(), cut_at).await;
    scene.check(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_connection_that_appends_goes_dead_the_others_go_on() {
    let scene = Scene::new("append").await;
    assert!(scene.proxy.silence(APPEND) > 0);
    let client = scene.cut_off.client();
    tokio::spawn(async move { client.buy("", "friend", "INR", 100_000).await });
    scene.check(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_last_message_is_lost_is_ended_and_counted_once() {
    let scene = Scene::new("half").await;
    let client = scene.cut_off.client();
    scene.proxy.cut_in("in-flight");
    let sent = tokio::spawn(async move { client.buy("in-flight", "friend", "INR", 100_000).await });
    let began = Instant::now();
    while !scene.proxy.has_cut() {
        assert!(began.elapsed() < Duration::from_secs(10), "the purchase was not sent");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let cut_at = Instant::now();
    // The append has been carried out, but not committed: it holds the lock of the log.
    let holding = "select count(*) from pg_stat_activity join pg_locks using (pid)
        where pg_stat_activity.datname = current_database() and state = 'active'
            and wait_event = 'ClientRead' and locktype = 'advisory' and mode = 'ExclusiveLock'";
    while scene.database.count(holding).await == 0 {
        assert!(cut_at.elapsed() < Duration::from_secs(1), "nothing holds the lock");
    }
    // So that the other server has to end the session.
    scene.proxy.cut_off();
    check_answers(&scene.other.client(), cut_at).await;
    assert!(metric(&scene.metrics, "tributary_sessions_ended_total").await >= 1.0);
    let log = read(&scene.log);
    assert!(log.contains("ended a session that held a lock and made no progress"), "{log}");
    assert!(log.contains("ClientRead") && log.contains("append_"), "{log}");

    scene.proxy.heal();
    check_back(&scene.cut_off.client()).await;
    let answered = sent.await.unwrap();
    let count = "select count(*) from events
        where event_type = 'PurchaseRecorded' and aggregate_id = 'in-flight'";
    assert!(answered.is_err() || scene.database.count(count).await == 1, "an answer is lost");
    scene.cut_off.client().buy("in-flight", "friend", "INR", 100_000).await.unwrap();
    assert_eq!(scene.database.count(count).await, 1);
    scene.check(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_holds_a_lock_and_whose_answer_nobody_reads_is_ended() {
    let scene = Scene::new("unread").await;
    // As with a server that loads under the lock of the log, and stops reading.
    let database = Database::new(&scene.proxy.url, 1).unwrap();
    let mut session = database.connect().await.unwrap();
    let lock = format!("begin; select {}(), 'marked'", functions::name("lock_log"));
    session.execute(sqlx::raw_sql(&lock)).await.unwrap();
    assert_eq!(scene.proxy.stall("'marked'"), 1);
    let loading = tokio::spawn(async move {
        session.execute("select repeat('x', 1000000) from generate_series(1, 50)").await
    });
    let began = Instant::now();
    let unread = "select count(*) from pg_stat_activity where datname = current_database()
        and state = 'active' and wait_event = 'ClientWrite'";
    while scene.database.count(unread).await == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "the answer was sent");
    }
    let stalled_at = Instant::now();
    // So that the other server has to end the session.
    scene.proxy.cut_off();
    check_answers(&scene.other.client(), stalled_at).await;
    let log = read(&scene.log);
    assert!(log.contains("ClientWrite"), "{log}");
    assert_eq!(scene.database.count(unread).await, 0);
    loading.abort();
    scene.check(Instant::now()).await;
}
