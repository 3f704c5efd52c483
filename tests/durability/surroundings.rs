//! What roles, databases and clusters can be set to: a server either is not affected, or says what to do.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use private_postgres::{Options, PrivatePostgres, TemporaryPostgres};
use sqlx::{Connection, Executor, PgConnection};

use testing::{Server, ServerOptions, TestDatabase, tributary};

const PATIENCE: Duration = Duration::from_mins(1);

/// The name of a database.
pub async fn name_of(database: &TestDatabase) -> String {
    sqlx::query_scalar("select current_database()").fetch_one(&database.pool).await.unwrap()
}

/// A URL of another database of the same cluster.
fn url_of(database: &TestDatabase, own: &str, other: &str) -> String {
    database.url.replacen(&format!("/{own}?"), &format!("/{other}?"), 1)
}

/// What `tributary migrate` does on a database. `serve` checks the same.
async fn migrate(url: &str) -> Output {
    let migrating = tributary().arg("migrate").env("DATABASE_URL", url).output();
    tokio::time::timeout(PATIENCE, migrating).await.expect("an answer in time").unwrap()
}

/// What `tributary migrate` says about a database that cannot be used.
pub async fn refusal(url: &str) -> String {
    let output = migrate(url).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    error
}

fn check(said: &str, expected: &[&str]) {
    for expected in expected {
        assert!(said.contains(expected), "'{expected}' is not in: {said}");
    }
}

/// Lets a server on a database do what needs every part of it.
pub async fn use_server(url: &str) {
    let server = Server::start_with(url, &ServerOptions::default()).await;
    let client = server.client();
    let program = client.publish_shipped("first-purchase-credits").await.program_id;
    let ada = client.sign_up(&program, "ada", "").await.unwrap();
    client.sign_up(&program, "bob", &ada.code).await.unwrap();
    let bought = client.buy("order", "bob", "USD", 5).await.unwrap();
    assert_eq!(bought.outcomes[0].rewards.len(), 2);
    assert_eq!(client.user("ada").await.unwrap().user.unwrap().user_id, "ada");
    server.stop().await;
}

#[tokio::test]
async fn settings_of_a_role_or_a_database_do_not_reach_the_connections_of_a_server() {
    let database = TestDatabase::new().await;
    let name = name_of(&database).await;
    // A session keeps the settings that it began with.
    let mut before = PgConnection::connect(&database.url).await.unwrap();
    for setting in [
        "default_transaction_isolation = serializable",
        "default_transaction_deferrable = on",
        "timezone = 'Asia/Kolkata'",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'sql_standard'",
        "bytea_output = 'escape'",
        "standard_conforming_strings = off",
        "array_nulls = off",
        "transform_null_equals = on",
        "client_encoding = 'LATIN1'",
        "statement_timeout = '300ms'",
        "lock_timeout = '300ms'",
        "idle_session_timeout = '300ms'",
        "idle_in_transaction_session_timeout = '300ms'",
        "enable_seqscan = on",
    ] {
        let statement = format!("alter database {name} set {setting}");
        before.execute(&*statement).await.unwrap();
    }
    use_server(&database.url).await;
    // The checks of the test use connections without settings.
    before.execute(&*format!("alter database {name} reset all")).await.unwrap();
    database.check().await;
}

#[tokio::test]
async fn a_database_that_does_not_hold_utf8_is_refused_with_the_remedy() {
    let database = TestDatabase::new().await;
    let (name, other) = (name_of(&database).await, "latin");
    let create = "create database latin encoding 'LATIN1' template template0 locale 'C'";
    database.pool.execute(create).await.unwrap();
    let said = refusal(&url_of(&database, &name, other)).await;
    check(&said, &["encoding is LATIN1", "encoding 'UTF8' template template0"]);
}

#[tokio::test]
async fn a_database_that_is_read_only_by_default_is_refused_with_the_remedy() {
    let database = TestDatabase::new().await;
    let name = name_of(&database).await;
    let set = format!("alter database {name} set default_transaction_read_only = on");
    database.pool.execute(&*set).await.unwrap();
    check(
        &refusal(&database.url).await,
        &["read-only by default", "default_transaction_read_only"],
    );
    use_server(&format!("{}&options=-cdefault_transaction_read_only%3Doff", database.url)).await;
}

#[tokio::test]
async fn a_search_path_without_a_schema_is_refused_and_the_schema_of_the_url_is_used() {
    let database = TestDatabase::new().await;
    let url = format!("{}&options=-csearch_path%3Dtenant", database.url);
    check(&refusal(&url).await, &["search path (tenant)", "create the schema"]);
    database.pool.execute("create schema tenant").await.unwrap();
    use_server(&url).await;
    assert!(database.count("select count(*) from tenant.events").await > 0);
    assert_eq!(database.count("select count(*) from public.events").await, 0);
}

#[tokio::test]
async fn a_url_that_cannot_be_honoured_is_refused_with_the_reason() {
    let database = TestDatabase::new().await;
    check(&refusal("postgres://user:secret@a:5432,b:5432/name").await, &["several hosts"]);
    let said = refusal(&format!("{}&sslrootcert=/x&sslmode=verify-ca", database.url)).await;
    check(&said, &["sslmode=verify-ca", "verify-full"]);
    check(&refusal(&format!("{}&search_path=x", database.url)).await, &["'search_path'"]);
    let said = refusal(&format!("{}&options=-cno_such_setting%3D1", database.url)).await;
    check(&said, &["no_such_setting"]);
}

#[tokio::test]
async fn pgoptions_of_the_shell_reach_no_connection() {
    let database = TestDatabase::new().await;
    let nonsense = "-c search_path=elsewhere -c no_such_setting=1";
    let output = tributary()
        .arg("migrate")
        .env("DATABASE_URL", &database.url)
        .env("PGOPTIONS", nonsense)
        .output()
        .await
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    check(&log, &["PGOPTIONS is ignored"]);

    // The cluster of `dev`, in a directory that the user of Postgres may not be able to reach.
    let directory = std::env::temp_dir().join(format!("tributary-options-{}", std::process::id()));
    let mut dev = tributary()
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&directory)
        .env("PGOPTIONS", nonsense)
        .env("TRIBUTARY_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(dev.stdout.take().unwrap());
    let ready = async {
        let mut text = String::new();
        while !text.contains("tributary is ready") {
            let read = tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut text).await.unwrap();
            assert!(read > 0, "{text}");
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("dev starts");
    let pid = dev.id().unwrap().to_string();
    tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(dev.wait().await.unwrap().success());
    let _ = std::fs::remove_dir_all(&directory);
}

#[tokio::test]
async fn settings_that_lose_acknowledged_changes_are_logged() {
    let settings = ["fsync", "full_page_writes", "synchronous_commit"]
        .map(|setting| (setting.to_owned(), "off".to_owned()));
    let options = Options { settings: settings.to_vec(), ..Options::default() };
    let cluster = TemporaryPostgres::start(&options).await.unwrap();
    let output = migrate(&cluster.url("postgres")).await;
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    check(&log, &["fsync", "full_page_writes", "synchronous_commit", "is off; turn it on"]);
}

/// The program of a running postmaster.
fn program_of(pid: u32) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

/// Starts Postgres on a cluster as its owner, with sockets in the cluster's directory.
fn start_by_hand(program: &Path, cluster: &Path) -> tokio::process::Child {
    let owner = std::fs::metadata(cluster).unwrap();
    let sockets = format!("unix_socket_directories={}", cluster.display());
    tokio::process::Command::new(program)
        .arg("-D")
        .arg(cluster)
        .args(["-c", &sockets, "-c", "listen_addresses=", "-c", "hot_standby=on"])
        .uid(owner.uid())
        .gid(owner.gid())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_standby_is_refused_with_the_remedy() {
    let directory = std::env::temp_dir().join(format!("tributary-standby-{}", std::process::id()));
    let primary = PrivatePostgres::start(&directory, &Options::default()).await.unwrap();
    let (cluster, program) = (primary.directory().to_owned(), program_of(primary.postmaster_pid()));
    primary.stop().await.unwrap();
    std::fs::write(cluster.join("standby.signal"), "").unwrap();
    let mut standby = start_by_hand(&program, &cluster);
    let url = format!(
        "postgres://tributary@localhost/postgres?host={}&sslmode=disable",
        cluster.display()
    );
    let connecting = async {
        while PgConnection::connect(&url).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, connecting).await.expect("the standby starts");
    check(&refusal(&url).await, &["it is a standby", "name the primary"]);
    standby.kill().await.unwrap();
    let _ = std::fs::remove_dir_all(&cluster);
    let _ = std::fs::remove_dir_all(&directory);
}
