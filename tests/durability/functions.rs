//! Database functions: each release has its own, they coexist, and a server creates those that are missing.

use sqlx::{Connection, Executor, PgConnection};
use tributary::store::functions::{self, DatabaseFunction};
use tributary::store::{Database, StoreError};

use testing::{Server, ServerOptions, TestDatabase};

/// The functions of a release that differs in one of them.
fn other_release(changed: &str) -> Vec<DatabaseFunction> {
    let files: Vec<(&'static str, String)> = functions::files()
        .iter()
        .map(|(base, sql)| {
            let note = if *base == changed { "-- As another release has it.\n" } else { "" };
            (*base, format!("{note}{sql}"))
        })
        .collect();
    let files: Vec<(&'static str, &str)> =
        files.iter().map(|(base, sql)| (*base, &**sql)).collect();
    functions::resolve(&files)
}

async fn in_database(database: &TestDatabase) -> Vec<String> {
    let query = "select proname::text from pg_proc where pronamespace = 'public'::regnamespace
        order by 1";
    sqlx::query_scalar(query).fetch_all(&database.pool).await.unwrap()
}

fn names(functions: &[DatabaseFunction]) -> Vec<String> {
    let mut names: Vec<String> = functions.iter().map(|function| function.name.clone()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn two_releases_have_their_functions_side_by_side_until_one_is_pruned() {
    let database = TestDatabase::new().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let ours = names(functions::all());
    let other = other_release("lock_log");
    functions::create_missing(&mut connection, &other).await.unwrap();
    let news: Vec<String> = names(&other).into_iter().filter(|name| !ours.contains(name)).collect();
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(news[0].starts_with("lock_log_"));
    // The names of functions also depend on the functions that they call.
    let callers: Vec<String> = names(&other_release("log_key"))
        .into_iter()
        .filter(|name| !ours.contains(name))
        .map(|name| name.rsplit_once('_').unwrap().0.to_owned())
        .collect();
    assert_eq!(callers, ["append", "enter_epoch", "lock_log", "log_key"]);

    // A server of this release works beside it.
    let server = Server::start(&database).await;
    server.client().sign_up("", "ada", "").await.unwrap();
    server.stop().await;
    let pruned = functions::prune(&mut connection).await.unwrap();
    assert_eq!(pruned, [(news[0].clone(), true)]);
    assert_eq!(in_database(&database).await, ours);
    database.check().await;
}

#[tokio::test]
async fn functions_are_kept_while_a_server_of_their_release_runs() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    // Prunes as a later release would, which knows none of these functions.
    let prune = async |connection: &mut PgConnection| {
        functions::prune_except(connection, &[]).await.unwrap()
    };
    let mut pruned = prune(&mut connection).await;
    // The server marks its functions as soon as it has a connection for that, and creates again those that
    // were dropped before.
    for _ in 0..500 {
        if pruned.len() == functions::all().len() && pruned.iter().all(|(_, dropped)| !dropped) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        pruned = prune(&mut connection).await;
    }
    assert_eq!(pruned.len(), functions::all().len());
    assert!(pruned.iter().all(|(_, dropped)| !dropped), "{pruned:?}");
    server.client().sign_up("", "ada", "").await.unwrap();
    server.stop().await;

    // It takes the database a moment to notice that the server is gone.
    let mut left = prune(&mut connection).await;
    for _ in 0..200 {
        left.retain(|(_, dropped)| !dropped);
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        left = prune(&mut connection).await;
    }
    assert_eq!(left, Vec::<(String, bool)>::new());
    assert_eq!(in_database(&database).await, Vec::<String>::new());
    // The next server creates its functions again.
    let server = Server::start(&database).await;
    server.client().sign_up("", "bob", "").await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn several_servers_that_start_at_once_make_each_function_once() {
    let database = TestDatabase::new().await;
    for name in in_database(&database).await {
        database.pool.execute(format!("drop function {name}").as_str()).await.unwrap();
    }
    let start = async || Database::new(&database.url, 1).unwrap().migrate().await.unwrap();
    tokio::join!(start(), start(), start(), start(), start(), start(), start(), start());
    assert_eq!(in_database(&database).await, names(functions::all()));
}

#[tokio::test]
async fn a_role_that_may_create_nothing_can_serve_where_nothing_is_missing() {
    let database = TestDatabase::new().await;
    // Creates the tables of the read models.
    Server::start(&database).await.stop().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for statement in [
        "create role may_not_create login",
        "revoke create on schema public from public",
        "grant usage on schema public to may_not_create",
        "grant select, insert, update, delete on all tables in schema public to may_not_create",
    ] {
        connection.execute(statement).await.unwrap();
    }
    let (scheme, rest) = database.url.split_once("://").unwrap();
    let (_, place) = rest.split_once('@').unwrap();
    let url = format!("{scheme}://may_not_create@{place}");

    let server = Server::start_with(&url, &ServerOptions::default()).await;
    server.client().sign_up("", "ada", "").await.unwrap();
    server.stop().await;
    let lost = functions::name("lock_log");
    connection.execute(format!("drop function {lost}").as_str()).await.unwrap();
    let failed = Database::new(&url, 1).unwrap().migrate().await;
    assert!(matches!(failed, Err(StoreError::Rights(_))), "{failed:?}");
    Database::new(&database.url, 1).unwrap().migrate().await.unwrap();
    Database::new(&url, 1).unwrap().migrate().await.unwrap();
    database.check().await;
}
