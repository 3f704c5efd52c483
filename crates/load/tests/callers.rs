//! Runs in which somebody else than the admin key records the purchases, and runs with a storm.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use serde_json::Value;
use testing::{ADMIN_KEY, Server, TestDatabase, check_books, clean_command};

/// Runs the load generator on a server, and returns its report.
async fn load(server: &Server, scenario: &str, arguments: &[&str]) -> Value {
    let name = format!("tributary-load-{}-{}.json", std::process::id(), arguments.join(""));
    let json = std::env::temp_dir().join(name);
    let output = clean_command(std::path::Path::new(env!("CARGO_BIN_EXE_tributary-load")))
        .args([scenario, "--server", &format!("http://{}", server.address)])
        .args(["--count", "40", "--warm-up", "0s", "--participants", "20"])
        .args(["--connections", "2", "--concurrency", "8", "--json", json.to_str().unwrap()])
        .args(arguments)
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    std::fs::remove_file(json).unwrap();
    report
}

/// How many purchases each kind of caller has recorded.
async fn purchases_by(database: &TestDatabase, actor: &str) -> i64 {
    let like = format!(
        "select count(*) from events where event_type = 'PurchaseRecorded' and metadata ->> 'actor' like '{actor}%'"
    );
    database.count(&like).await
}

#[tokio::test]
async fn purchases_by_a_key_or_a_person_add_up_and_leave_no_credential_behind() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    for (caller, actor) in [("service-key", "key:service:"), ("person", "user:")] {
        let report = load(&server, "purchase", &["--caller", caller]).await;
        assert_eq!(report["settings"]["caller"], caller);
        assert_eq!((&report["succeeded"], &report["purchases"]["found"]), (&40.into(), &40.into()));
        assert_eq!(purchases_by(&database, actor).await, 40, "{caller}");
    }
    for left in [
        "select count(*) from api_keys where revoked_at is null",
        "select count(*) from sessions where ended_at is null",
        "select count(*) from user_roles where role <> 'participant'",
    ] {
        assert_eq!(database.count(left).await, 0, "{left}");
    }
    assert_eq!(database.count("select count(*) from api_keys").await, 1);
    assert_eq!(database.count("select count(*) from sessions").await, 1);
    check_books(&database).await;
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_storm_of_logins_or_of_sign_ups_is_measured_beside_purchases() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    for (scenario, answer) in [("login", "OK"), ("taken-names", "USERNAME_TAKEN")] {
        let report = load(&server, scenario, &["--storm", "3"]).await;
        // Before the storm, and in it.
        assert_eq!((&report["succeeded"], &report["purchases"]["found"]), (&40.into(), &80.into()));
        let storm = &report["storm"];
        let answers = storm["answers"].as_object().unwrap();
        assert_eq!(answers.keys().collect::<Vec<_>>(), [answer], "{answers:?}");
        assert!(answers[answer].as_u64().unwrap() >= 3);
        assert_eq!(
            (&storm["before"]["count"], &report["latency"]["count"]),
            (&40.into(), &40.into())
        );
        for ratio in ["p50_ratio", "p99_ratio"] {
            assert!(storm[ratio].as_f64().unwrap() > 0.0, "{storm}");
        }
    }
    database.check().await;
    server.stop().await;
}
