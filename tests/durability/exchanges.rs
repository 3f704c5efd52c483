//! Copies of read models that are exchanged while the projector is about to fold into them: it goes on with the
//! new ones, and says nothing of a fault.

use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use crate::expected::{caught_up, table};
use testing::{ADMIN_KEY, Client, TestDatabase, tributary};

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that locks a copy as a rebuild does before it exchanges it.
async fn exchange(database: &TestDatabase, copy: &str) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection.execute("begin").await.unwrap();
    connection.execute(&*lock(copy)).await.unwrap();
    connection
}

fn lock(copy: &str) -> String {
    format!("select from read_model_copies where copy = '{copy}' for no key update")
}

/// Moves the copy to the next position, as an exchange does, and commits. The copy must have nothing to fold
/// there.
async fn complete(connection: &mut PgConnection, copy: &str) {
    let step = format!(
        "insert into checkpoints (copy, position, folded_at)
         select '{copy}', max(position) + 1, now() from checkpoints where copy = '{copy}'"
    );
    connection.execute(&*step).await.unwrap();
    connection.execute("commit").await.unwrap();
}

/// Waits until so many backends of a database wait for locks.
async fn waiting(database: &TestDatabase, expected: i64) {
    let began = Instant::now();
    let query = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'
            and wait_event <> 'advisory'";
    while database.count(query).await < expected {
        assert!(began.elapsed() < PATIENCE, "{expected} backends that wait");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_exchanged_again_and_again_is_not_called_stalled() {
    const EXCHANGES: i64 = 6;
    let database = TestDatabase::new().await;
    let mut server = tributary()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", &database.url)
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
        .env("TRIBUTARY_LOG", "warn")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut line).await.unwrap();
    let address = line.trim().strip_prefix("tributary is ready on ").unwrap();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let client = Client::new(endpoint.connect().await.unwrap(), Some(ADMIN_KEY));
    client.sign_up("", "ada", "").await.unwrap();
    caught_up(&database).await;

    // Sign-ups do not concern the programs.
    let copy = table(&database, "programs").await;
    let mut holder = exchange(&database, &copy).await;
    for number in 0..EXCHANGES {
        // More events than an exchange skips, so that the copy is always behind and the projector folds it.
        for event in 0..3 {
            client.sign_up("", &format!("user-{number}-{event}"), "").await.unwrap();
        }
        // The projector waits for the lock, and the next exchange behind it: it will be the first to get the
        // lock when the projector's step has been refused.
        waiting(&database, 1).await;
        let (url, copy) = (database.url.clone(), copy.clone());
        let name = copy.clone();
        let next = tokio::spawn(async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            connection.execute("begin").await.unwrap();
            connection.execute(&*lock(&name)).await.unwrap();
            connection
        });
        waiting(&database, 2).await;
        complete(&mut holder, &copy).await;
        holder = next.await.unwrap();
    }
    holder.execute("rollback").await.unwrap();
    caught_up(&database).await;

    let pid = server.id().unwrap().to_string();
    tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    let output = server.wait_with_output().await.unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(!log.contains("stalled"), "{log}");
    database.check().await;
}
