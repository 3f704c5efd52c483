//! A server behind a pooler (`PgBouncer`): session mode works, other modes are refused.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tokio::process::{Child, Command};

use crate::surroundings::{refusal, use_server};
use testing::TestDatabase;

const PROGRAMS: [&str; 2] = ["/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer"];

/// `PgBouncer`, or `None` where it is not installed. CI installs it.
fn program() -> Option<&'static Path> {
    let found = PROGRAMS.into_iter().map(Path::new).find(|program| program.exists());
    let is_ci = std::env::var_os("CI").is_some();
    assert!(found.is_some() || !is_ci, "PgBouncer is missing: apt-get install pgbouncer");
    if found.is_none() {
        eprintln!("skipped: PgBouncer is not installed (apt-get install pgbouncer)");
    }
    found
}

/// A `PgBouncer` in front of the cluster of a test.
struct Pooler {
    process: Child,
    directory: PathBuf,
}

impl Pooler {
    /// Starts `PgBouncer` in a mode, as the user of the cluster, because it refuses to run as root. No startup
    /// parameter is ignored.
    async fn start(program: &Path, database: &TestDatabase, mode: &str, extra: &str) -> Self {
        let (_, query) = database.url.split_once("host=").unwrap();
        let cluster = query.split('&').next().unwrap();
        let owner = std::fs::metadata(cluster).unwrap();
        let name = format!("tributary-pooler-{}-{mode}-{}", std::process::id(), extra.len());
        let directory = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let at = directory.display();
        let settings = format!(
            "[databases]\n* = host={cluster} port=5432\n[pgbouncer]\nlisten_port = 6432\n\
             unix_socket_dir = {at}\npool_mode = {mode}\nauth_type = trust\nauth_file = {at}/users\n\
             max_client_conn = 200\ndefault_pool_size = 60\nlogfile = {at}/log\n{extra}\n"
        );
        std::fs::write(directory.join("settings"), settings).unwrap();
        let users = "\"tributary\" \"\"\n\"may_not_make\" \"\"\n";
        std::fs::write(directory.join("users"), users).unwrap();
        for path in [&directory, &directory.join("settings"), &directory.join("users")] {
            chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let process = Command::new(program)
            .arg("-q")
            .arg(directory.join("settings"))
            .uid(owner.uid())
            .gid(owner.gid())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pooler = Self { process, directory };
        let socket = pooler.directory.join(".s.PGSQL.6432");
        for _ in 0..500 {
            if socket.exists() {
                return pooler;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{}", std::fs::read_to_string(pooler.directory.join("log")).unwrap_or_default());
    }

    /// The URL of a database, through the pooler.
    fn url(&self, database: &TestDatabase, user: &str) -> String {
        let (_, rest) = database.url.split_once('@').unwrap();
        let name = rest.split(['/', '?']).nth(1).unwrap();
        let host = self.directory.display();
        format!("postgres://{user}@localhost:6432/{name}?host={host}&sslmode=disable")
    }

    async fn stop(mut self) {
        self.process.kill().await.unwrap();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn a_server_behind_a_pooler_in_session_mode_works_and_keeps_to_its_schema() {
    let Some(program) = program() else { return };
    let database = TestDatabase::new().await;
    let pooler = Pooler::start(program, &database, "session", "").await;
    let url = pooler.url(&database, "tributary");
    use_server(&url).await;
    database.check().await;

    database.pool.execute("create schema tenant").await.unwrap();
    let before = database.count("select count(*) from public.events").await;
    let url = format!("{url}&options=-csearch_path%3Dtenant");
    use_server(&url).await;
    assert!(database.count("select count(*) from tenant.events").await > 0);
    assert_eq!(database.count("select count(*) from public.events").await, before);

    // Where nothing is missing, a role that may create nothing is enough.
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for statement in [
        "create role may_not_make login",
        "revoke create on schema public from public",
        "grant usage on schema tenant to may_not_make",
        "grant select, insert, update, delete on all tables in schema tenant to may_not_make",
    ] {
        connection.execute(statement).await.unwrap();
    }
    let url = format!("{}&options=-csearch_path%3Dtenant", pooler.url(&database, "may_not_make"));
    let server = testing::Server::start_with(&url, &testing::ServerOptions::default()).await;
    server.client().sign_up("", "cyd", "").await.unwrap();
    server.stop().await;
    pooler.stop().await;
}

#[tokio::test]
async fn a_pooler_that_gives_each_transaction_another_session_is_refused() {
    let Some(program) = program() else { return };
    for mode in ["transaction", "statement"] {
        for more in ["", "server_round_robin = 1\nmin_pool_size = 5"] {
            let database = TestDatabase::new().await;
            let pooler = Pooler::start(program, &database, mode, more).await;
            let url = pooler.url(&database, "tributary");
            let said = refusal(&url).await;
            assert!(said.contains("pool_mode = session"), "{mode} {more}: {said}");
            pooler.stop().await;
        }
    }
}
