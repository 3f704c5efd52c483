//! Shared test helpers: a private Postgres, a fresh database per test, server processes on it, and clients.
//!
//! Tests use the public API: real server processes, real gRPC, a real Postgres with fsync on.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "a test may stop at the first surprise, and its helpers are named after what they do"
)]

mod client;
mod expiring;
mod mail_server;
mod mailed;
pub mod people;
pub mod plain_http;
mod processes;
mod proxy;
pub mod second_factors;
mod several;
mod stopping;
pub mod stripe_events;
pub mod tls;
mod watching;

use std::sync::atomic::{AtomicU32, Ordering};

use private_postgres::{Options, TemporaryPostgres};
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::sync::OnceCell;
use tributary::read::Verdict;
use tributary::read::models::Purpose;
use tributary::store::Database;

pub use client::{Client, Reason, SignUp, address_of, reason, sign_up_request, uses};
pub use mail_server::{Act, MailServer, Received};
pub use mailed::{issue_token, mailed_tokens, mailed_tokens_come_to};
pub use processes::{
    ADMIN_KEY, Server, ServerOptions, clean_command, program, serve, signal, tributary,
};
pub use proxy::Proxy;
pub use several::{Grants, Pair, at_once, check_books, events_in, granted};
pub use stopping::StopPoint;
pub use watching::{Begun, Logged, Message, Watched, in_log, second_server};

/// The database with the schema in it, from which others are copied.
const MIGRATED: &str = "template_migrated";
/// The same with the tables of the read models.
const SERVED: &str = "template_served";

/// The Postgres of this test process. It is removed when the process ends, however it ends.
async fn cluster() -> &'static TemporaryPostgres {
    static CLUSTER: OnceCell<TemporaryPostgres> = OnceCell::const_new();
    CLUSTER
        .get_or_init(async || {
            let options = Options {
                max_connections: 400,
                settings: vec![
                    ("shared_buffers".into(), "256MB".into()),
                    // The statistics of some 700 databases. Elsewhere they would be in `/dev/shm`, which has 64 MB in a
                    // container: too little, and Postgres goes down.
                    ("min_dynamic_shared_memory".into(), "256MB".into()),
                ],
                ..Options::default()
            };
            let cluster = TemporaryPostgres::start(&options).await.expect("Postgres starts");
            create(&cluster, MIGRATED, None).await;
            let template = Database::new(&cluster.url(MIGRATED), 1).unwrap();
            template.migrate().await.expect("the migrations run");
            template.pool().close().await;
            create(&cluster, SERVED, Some(MIGRATED)).await;
            let template = Database::new(&cluster.url(SERVED), 1).unwrap();
            let mut connection = template.connect().await.unwrap();
            for copy in tributary::read::models::copies(Purpose::Serve) {
                copy.create(&mut connection).await.expect("the read models get their tables");
            }
            connection.close().await.unwrap();
            template.pool().close().await;
            cluster
        })
        .await
}

/// A connection that belongs to no test. If there is none, the log of Postgres says why.
async fn connect(cluster: &TemporaryPostgres) -> PgConnection {
    match PgConnection::connect(&cluster.url("postgres")).await {
        Ok(connection) => connection,
        Err(error) => {
            let log = std::fs::read_to_string(cluster.log()).unwrap_or_default();
            let unusual =
                log.lines().filter(|line| line.contains("PANIC") || !line.contains("FATAL"));
            let unusual: Vec<&str> = unusual.collect();
            let last = &unusual[unusual.len().saturating_sub(40)..];
            panic!("no connection: {error}; the log of Postgres:\n{}", last.join("\n"))
        }
    }
}

async fn create(cluster: &TemporaryPostgres, name: &str, template: Option<&str>) {
    // One at a time: a template can only be copied while no other session uses it.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    let mut connection = connect(cluster).await;
    let template = template.map(|name| format!("template {name}")).unwrap_or_default();
    connection.execute(format!("create database {name} {template}").as_str()).await.unwrap();
    connection.close().await.unwrap();
}

/// Ignores progress.
struct Unwatched;

impl tributary::read::Watcher for Unwatched {
    fn begin(&mut self, _: &str, _: i64) {}
    fn reach(&mut self, _: i64) {}
    fn end(&mut self) {}
}

/// A database of one test. It stays, some ten megabytes, until the process ends: dropping a database waits for a
/// checkpoint, which takes up to seconds, and nobody can begin meanwhile. Call [`TestDatabase::check`] at the end.
pub struct TestDatabase {
    name: String,
    pub url: String,
    pub pool: PgPool,
}

impl TestDatabase {
    /// A fresh database with the schema in it, and the tables of the read models, which every server would create at its
    /// start.
    pub async fn new() -> Self {
        Self::copied_from(SERVED).await
    }

    /// A fresh database with nothing in it but the schema: no server has ever used it.
    pub async fn unused() -> Self {
        Self::copied_from(MIGRATED).await
    }

    /// Another database with the current content of this one, like one that was restored from a backup. Cuts
    /// all connections to this one.
    pub async fn copy(&self) -> Self {
        let cluster = cluster().await;
        let mut connection = connect(cluster).await;
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(&self.name)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        Self::copied_from(&self.name).await
    }

    /// A key of the role `admin` that nobody is known to have created: somebody else than the key of the settings.
    pub async fn key_of_another(&self) -> String {
        let create = ["keys", "create", "--name", "the other", "--role", "admin"];
        let output =
            tributary().args(create).env("DATABASE_URL", &self.url).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn copied_from(template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cluster = cluster().await;
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        create(cluster, &name, Some(template)).await;
        let url = cluster.url(&name);
        let pool =
            sqlx::postgres::PgPoolOptions::new().max_connections(4).connect_lazy(&url).unwrap();
        Self { name, url, pool }
    }

    /// Replaces this database with an empty one, and cuts all connections to it.
    pub async fn replace(&self) {
        let cluster = cluster().await;
        let mut connection = connect(cluster).await;
        let drop = format!("drop database {} with (force)", self.name);
        connection.execute(drop.as_str()).await.unwrap();
        connection.close().await.unwrap();
        create(cluster, &self.name, Some(SERVED)).await;
    }

    /// Checks what must always hold: the invariants of the log, and that the log and the read models pass
    /// `tributary verify`.
    pub async fn check(&self) {
        let verdict = self.verify().await;
        assert!(verdict.is_good(), "{verdict:#?}");
    }

    /// Checks what must hold of a log into which a test has written what the rules do not lead to: everything that
    /// [`check`](Self::check) checks, but for the consequences that the rules demand.
    pub async fn check_whatever_the_rules(&self) {
        let verdict = self.verify().await;
        let is_good = verdict.finding_count == verdict.deviation_count
            && verdict.comparison.differing_rows == 0;
        assert!(is_good, "{verdict:#?}");
    }

    async fn verify(&self) -> Verdict {
        self.check_log().await;
        let database = Database::new(&self.url, 1).unwrap();
        tributary::read::verify(&database, &mut Unwatched).await.unwrap()
    }

    /// Checks what must hold for any log, even one with meaningless events: positions have no gaps, times
    /// never decrease, the sequences of every stream are 1, 2, 3, ..., and commands have their envelopes.
    pub async fn check_log(&self) {
        let (gaps, backwards, holes): (i64, i64, i64) = sqlx::query_as(
            "select
                (select count(*) - coalesce(max(position), 0) from events),
                (select count(*) from (
                    select recorded_at < lag(recorded_at) over (order by position) as backwards
                    from events
                ) as steps where backwards),
                (select count(*) from (
                    select sequence <> row_number() over (
                        partition by aggregate_type, aggregate_id order by position) as hole
                    from events
                ) as steps where hole)",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert_eq!(
            (gaps, backwards, holes),
            (0, 0, 0),
            "gaps in the log, steps back in time, streams out of order"
        );
        self.check_envelopes().await;
    }

    /// Checks that the first event of each command, and no other, records who caused the command and how it
    /// came in, and names the receipt if there is one.
    async fn check_envelopes(&self) {
        let wrong = self
            .count(
                "select
                    (select count(*) from events
                        where (metadata ? 'command_events') <> (metadata ?& array['actor', 'door'])
                            or (metadata ? 'request' and not metadata ? 'actor'))
                    + (select count(*) from receipts
                        join events on events.position = receipts.first_position
                        where receipts.last_position >= receipts.first_position
                            and (events.metadata ->> 'request')::uuid is distinct from receipts.key)",
            )
            .await;
        assert_eq!(wrong, 0, "commands whose envelope is not in the log");
    }

    /// One number from the database.
    pub async fn count(&self, query: &str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }
}
