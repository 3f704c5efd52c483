//! Tables and functions that disappear, and logs that are replaced, while a server runs and between two.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use contract::pb::GetUserRequest;
use sqlx::Executor;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tributary::store::{Database, functions, schema};

use crate::surroundings::refusal;
use testing::plain_http::get;
use testing::{Server, ServerOptions, TestDatabase, reason};

/// Within this time a server notices.
const NOTICED: Duration = Duration::from_secs(8);

/// Waits until `/readyz` has a status and, if it is not 200, gives a reason.
async fn readiness(server: &Server, status: u16, expected: &str) {
    let began = Instant::now();
    loop {
        let answer = get(&server.address, "/readyz", &[]).await.unwrap();
        if answer.status == status && answer.text().contains(expected) {
            return;
        }
        assert!(began.elapsed() < NOTICED, "not {status} '{expected}' but {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Checks that a call failed because the database lacks something, and may be repeated.
#[track_caller]
fn lacking(status: &Status) {
    assert_eq!(reason(status), (Code::Unavailable, "DATABASE_UNAVAILABLE".into()), "{status:?}");
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
}

#[tokio::test]
async fn the_list_of_tables_is_that_of_the_migrations() {
    let database = TestDatabase::unused().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'public'
         and tablename <> '_sqlx_migrations' order by 1",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(tables, schema::TABLES);
}

#[tokio::test]
async fn a_server_without_a_table_is_not_ready_until_the_table_is_back() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    server.client().sign_up("", "ada", "").await.unwrap();
    readiness(&server, 200, "").await;
    for table in ["claims", "reaction_checkpoints", "events"] {
        let rename = |from: &str, to: &str| format!("alter table {from} rename to {to}");
        database.pool.execute(&*rename(table, "away")).await.unwrap();
        let expected = format!("the table '{table}' is missing");
        readiness(&server, 503, &expected).await;
        if table != "reaction_checkpoints" {
            lacking(&server.client().sign_up("", "eve", "").await.unwrap_err());
        }
        if table == "events" {
            lacking(&server.client().user("nobody").await.unwrap_err());
        }
        let said = refusal(&database.url).await;
        assert!(said.contains(&expected) && said.contains("restore it"), "{said}");
        database.pool.execute(&*rename("away", table)).await.unwrap();
        readiness(&server, 200, "").await;
    }
    server.client().sign_up("", "bob", "").await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_read_model_without_its_table_makes_servers_unready_until_it_is_rebuilt() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    server.client().sign_up("", "ada", "").await.unwrap();
    let table = crate::expected::table(&database, "users").await;
    database.pool.execute(&*format!("drop table {table}")).await.unwrap();
    readiness(&server, 503, &format!("the table '{table}' is missing")).await;
    let rebuilt = testing::tributary()
        .args(["projections", "rebuild", "users"])
        .env("DATABASE_URL", &database.url)
        .output()
        .await
        .unwrap();
    assert!(rebuilt.status.success(), "{rebuilt:?}");
    readiness(&server, 200, "").await;
    server.client().user("ada").await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_function_that_was_dropped_is_created_again_while_the_server_runs() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    server.client().sign_up("", "ada", "").await.unwrap();
    for function in ["append", "write_profiles"] {
        let name = functions::name(function);
        database.pool.execute(&*format!("drop function {name}")).await.unwrap();
        let (began, user) = (Instant::now(), function.replace('_', "-"));
        let mut failures = 0;
        while let Err(status) = server.client().sign_up("", &user, "").await {
            lacking(&status);
            failures += 1;
            assert!(began.elapsed() < NOTICED);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(failures > 0, "{function} was not missed");
    }
    readiness(&server, 200, "").await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_server_that_may_not_create_functions_is_not_ready_until_somebody_does() {
    let database = TestDatabase::new().await;
    Server::start(&database).await.stop().await;
    for statement in [
        "create role may_only_write login",
        "revoke create on schema public from public",
        "grant usage on schema public to may_only_write",
        "grant select, insert, update, delete on all tables in schema public to may_only_write",
    ] {
        database.pool.execute(statement).await.unwrap();
    }
    let url = database.url.replacen("tributary@", "may_only_write@", 1);
    let server = Server::start_with(&url, &ServerOptions::default()).await;
    let name = functions::name("append");
    database.pool.execute(&*format!("drop function {name}")).await.unwrap();
    readiness(&server, 503, &format!("the function '{name}' is missing")).await;
    Database::new(&database.url, 1).unwrap().migrate().await.unwrap();
    readiness(&server, 200, "").await;
    server.client().sign_up("", "ada", "").await.unwrap();
    server.stop().await;
}

/// A program of the installed Postgres.
async fn postgres_program(database: &TestDatabase, name: &str) -> tokio::process::Command {
    let directory: String =
        sqlx::query_scalar("select setting from pg_config where name = 'BINDIR'")
            .fetch_one(&database.pool)
            .await
            .unwrap();
    tokio::process::Command::new(PathBuf::from(directory).join(name))
}

/// A schema with a log of its own in a database, and a backup of it.
struct Tenant {
    database: TestDatabase,
    url: String,
    backup: PathBuf,
}

impl Tenant {
    async fn new(name: &str) -> Self {
        let database = TestDatabase::new().await;
        database.pool.execute("create schema tenant").await.unwrap();
        let url = format!("{}&options=-csearch_path%3Dtenant", database.url);
        let backup = format!("tributary-{name}-{}.dump", std::process::id());
        Self { database, url, backup: std::env::temp_dir().join(backup) }
    }

    async fn run(&self, program: &str, arguments: &[&str]) {
        // A restore may run into a deadlock with a server that runs.
        for attempt in 1.. {
            let mut command = postgres_program(&self.database, program).await;
            let output = command.args(arguments).output().await.unwrap();
            if output.status.success() {
                return;
            }
            assert!(attempt < 5, "{program}: {output:?}");
        }
    }

    async fn back_up(&self) {
        let backup = self.backup.to_str().unwrap();
        let url = &self.database.url;
        self.run("pg_dump", &["-Fc", "-n", "tenant", "-f", backup, url]).await;
    }

    async fn restore(&self, how: &[&str]) {
        let arguments = [how, &["-d", &self.database.url, self.backup.to_str().unwrap()]].concat();
        self.run("pg_restore", &arguments).await;
        std::fs::remove_file(&self.backup).unwrap();
    }

    async fn server(&self) -> Server {
        Server::start_with(&self.url, &ServerOptions::default()).await
    }

    /// Signs up somebody; returns the token.
    async fn sign_up(&self, server: &Server, user: &str) -> String {
        let answer = server.client().sign_up("", user, "").await.unwrap();
        answer.response.consistency_token
    }

    /// Checks that the token of a change that was lost is refused although the log has grown past it, and that
    /// of a change that was kept is accepted.
    async fn check_tokens(&self, kept: String, lost: String) {
        let server = self.server().await;
        for user in ["dan", "eve", "fay"] {
            self.sign_up(&server, user).await;
        }
        let client = server.client();
        let read = async |consistency_token| {
            let request = GetUserRequest { user_id: "ada".into(), consistency_token };
            client.accounts().get_user(client.request(request)).await
        };
        read(kept).await.unwrap();
        let refused = read(lost).await.unwrap_err();
        assert_eq!(reason(&refused), (Code::FailedPrecondition, "TOKEN_OF_OLD_EPOCH".into()));
        server.stop().await;
    }
}

#[tokio::test]
async fn a_schema_that_was_restored_into_its_database_begins_a_new_epoch() {
    let truncate = "truncate tenant.events, tenant.claims, tenant.profiles, tenant.epochs, \
        tenant.writers, tenant.snapshots";
    for (round, (clear, how)) in [
        ("drop schema tenant cascade", vec![]),
        ("select", vec!["--clean", "--if-exists"]),
        (
            truncate,
            vec!["--data-only", "-t", "events", "-t", "claims", "-t", "profiles", "-t", "epochs"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let tenant = Tenant::new(&format!("restored-{round}")).await;
        let server = tenant.server().await;
        let kept = tenant.sign_up(&server, "ada").await;
        tenant.back_up().await;
        let lost = tenant.sign_up(&server, "bob").await;
        server.stop().await;
        tenant.database.pool.execute(clear).await.unwrap();
        tenant.restore(&how).await;
        tenant.check_tokens(kept, lost).await;
        let epochs = "select count(*) from tenant.epochs";
        assert_eq!(tenant.database.count(epochs).await, 2, "{clear} {how:?}");
    }
}

#[tokio::test]
async fn a_server_whose_schema_is_restored_under_it_ends() {
    let tenant = Tenant::new("under").await;
    let server = tenant.server().await;
    let kept = tenant.sign_up(&server, "ada").await;
    tenant.back_up().await;
    let lost = tenant.sign_up(&server, "bob").await;
    tenant.restore(&["--clean", "--if-exists", "--single-transaction"]).await;
    assert_eq!(server.ended().await.code(), Some(1));
    tenant.check_tokens(kept, lost).await;
}
