//! A role that lacks rights: the server says at its start which right on which object is missing.

use sqlx::{Connection, Executor, PgConnection};
use tributary::store::Database;

use testing::{Server, ServerOptions, TestDatabase};

/// The rights that a server needs where it creates nothing, besides those on the tables of read models.
const RIGHTS: &str = "
    grant usage on schema public to weak;
    grant select on all tables in schema public to weak;
    grant insert on events, snapshots, receipts, claims, profiles, enrollments, referrals, writers, epochs, checkpoints,
        jobs, reactions, reaction_checkpoints, api_keys, user_roles, sessions, refresh_tokens, mailed_tokens,
        second_factors, mails, mail_opt_outs, sign_ups, sign_up_requests, sign_up_clients, referee_addresses,
        fraud_evidence, fraud_notes, notes, releases, expirations, visits, program_visits,
        seen_tiers to weak;
    grant update on snapshots, profiles, read_model_copies, jobs, reactions, api_keys, user_roles, sessions,
        refresh_tokens, mailed_tokens, second_factors, mails, sign_ups, referee_addresses, fraud_evidence,
        releases, expirations, visits, program_visits to weak;
    grant delete on claims, profiles, writers, checkpoints, jobs, reaction_checkpoints, user_roles, sessions,
        refresh_tokens, mailed_tokens, second_factors, mails, mail_opt_outs, sign_ups, sign_up_requests,
        referee_addresses, sign_up_clients, fraud_evidence, fraud_notes, notes, releases, expirations,
        visits, seen_tiers to weak;";

/// The same database for a role without any rights yet.
async fn weak(database: &TestDatabase) -> (PgConnection, String) {
    let mut owner = PgConnection::connect(&database.url).await.unwrap();
    // The role may be left from another test of this cluster.
    for statement in [
        "do $$ begin create role weak login; exception when duplicate_object then null; end $$",
        "revoke all on schema public from public",
    ] {
        owner.execute(statement).await.unwrap();
    }
    let (scheme, rest) = database.url.split_once("://").unwrap();
    let (_, place) = rest.split_once('@').unwrap();
    (owner, format!("{scheme}://weak@{place}"))
}

/// Why the database cannot be used.
async fn refusal(url: &str) -> String {
    let refused = Database::new(url, 1).unwrap().migrate().await;
    refused.expect_err("a role that lacks something").to_string()
}

#[tokio::test]
async fn a_role_that_lacks_a_right_is_told_which_and_on_what_and_how_to_get_it() {
    let database = TestDatabase::new().await;
    // Creates the tables of the read models.
    Server::start(&database).await.stop().await;
    let (mut owner, url) = weak(&database).await;
    let said = refusal(&url).await;
    assert!(said.contains("search path") && said.contains("may use"), "{said}");

    owner.execute("grant usage on schema public to weak").await.unwrap();
    let said = refusal(&url).await;
    assert!(said.contains("SELECT on table _sqlx_migrations"), "{said}");
    assert!(
        said.contains("CREATE on schema public") && said.contains("tributary migrate"),
        "{said}"
    );

    owner.execute(sqlx::raw_sql(RIGHTS)).await.unwrap();
    let copies: Vec<String> = sqlx::query_scalar("select copy from read_model_copies")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let grant = format!("grant all on {} to weak", copies.join(", "));
    owner.execute(grant.as_str()).await.unwrap();
    Database::new(&url, 1).unwrap().migrate().await.unwrap();

    for (right, table) in [("INSERT", "events"), ("UPDATE", "profiles"), ("DELETE", "claims")] {
        owner.execute(format!("revoke {right} on {table} from weak").as_str()).await.unwrap();
        let said = refusal(&url).await;
        let expected = format!(
            "the role weak lacks rights in the schema public:\n  {right} on table {table}\n\
             let the owner of the schema and its tables grant them:\n  grant {right} on table {table} to weak;"
        );
        assert_eq!(said, expected);
        owner.execute(format!("grant {right} on {table} to weak").as_str()).await.unwrap();
    }
}

#[tokio::test]
async fn the_rights_that_are_checked_are_all_that_a_server_needs() {
    let database = TestDatabase::new().await;
    Server::start(&database).await.stop().await;
    let (mut owner, url) = weak(&database).await;
    owner.execute(sqlx::raw_sql(RIGHTS)).await.unwrap();
    let copies: Vec<String> = sqlx::query_scalar("select copy from read_model_copies")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let grant = format!("grant insert, update, delete on {} to weak", copies.join(", "));
    owner.execute(grant.as_str()).await.unwrap();

    let server = Server::start_with(&url, &ServerOptions::default()).await;
    let client = server.client();
    client.publish_shipped("multi-level-commission").await;
    let ada = client.sign_up("multi-level-commission", "ada", "").await.unwrap();
    client.sign_up("multi-level-commission", "bob", &ada.code).await.unwrap();
    let bought = client.buy("order-1", "bob", "INR", 100_000).await.unwrap();
    assert_eq!(bought.outcomes[0].rewards.len(), 1);
    let request = contract::pb::GetBalancesRequest {
        program_id: "multi-level-commission".into(),
        user_id: "ada".into(),
        consistency_token: bought.consistency_token,
        ..Default::default()
    };
    client.rewards().get_balances(client.request(request)).await.unwrap();
    // The daily job cleans.
    let done = "select count(*) from jobs where kind = 'clean' and state = 'done'";
    for _ in 0..500 {
        if database.count(done).await > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(database.count(done).await, 1);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_role_that_may_create_nothing_is_told_so_where_something_is_missing() {
    let database = TestDatabase::unused().await;
    let (mut owner, url) = weak(&database).await;
    owner.execute(sqlx::raw_sql(RIGHTS)).await.unwrap();
    // The schema is complete, but the tables of the read models do not exist yet.
    Database::new(&url, 1).unwrap().migrate().await.unwrap();
    let output = testing::tributary()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", &url)
        .env("TRIBUTARY_ADMIN_KEY", testing::ADMIN_KEY)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for words in
        ["the role weak lacks rights", "CREATE on schema public", "projections rebuild all"]
    {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
}

#[tokio::test]
async fn a_role_that_may_create_but_not_record_or_change_what_exists_is_told_so() {
    let database = TestDatabase::new().await;
    Server::start(&database).await.stop().await;
    let (mut owner, url) = weak(&database).await;
    owner.execute(sqlx::raw_sql(RIGHTS)).await.unwrap();
    owner.execute("grant create on schema public to weak").await.unwrap();
    let name = tributary::store::functions::name("append");
    owner.execute(format!("drop function {name}").as_str()).await.unwrap();
    let said = refusal(&url).await;
    for words in ["the role weak lacks rights", "grant INSERT on table database_functions to weak;"]
    {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    Database::new(&database.url, 1).unwrap().migrate().await.unwrap();

    // The tables of the read models belong to another role.
    owner
        .execute(sqlx::raw_sql(
            "grant insert, delete on read_model_copies to weak;
             grant insert on database_functions, _sqlx_migrations to weak;
             do $$ declare copy text; begin
                 for copy in select read_model_copies.copy from read_model_copies loop
                     execute 'grant all on ' || copy || ' to weak';
                 end loop;
             end $$",
        ))
        .await
        .unwrap();
    let output = testing::tributary()
        .args(["projections", "rebuild", "users"])
        .env("DATABASE_URL", &url)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for words in ["the role weak may not create or change", "must be owner of", "let the owner run"]
    {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
}
