//! Runs the load generator on a server of the test: its numbers must add up, and it must detect a log that
//! does not agree with the answers. Speed does not matter here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use tributary_load::check::{Checked, check};
use tributary_load::connections::Connections;
use tributary_load::ledger::{Answer, Ledger, Write};

use testing::tls::TlsProxy;
use testing::{ADMIN_KEY, Server, TestDatabase, check_books, clean_command};

/// The load generator.
fn load_command() -> tokio::process::Command {
    clean_command(std::path::Path::new(env!("CARGO_BIN_EXE_tributary-load")))
}

/// A file of one test, which is removed when dropped.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("tributary-load-{}-{name}", std::process::id())))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn load(server: &Server, arguments: &[&str]) -> Output {
    load_command()
        .args(arguments)
        .args(["--server", &format!("http://{}", server.address)])
        .args(["--connections", "2", "--concurrency", "8"])
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
        .output()
        .await
        .unwrap()
}

/// The report of a run of 60 operations, after checking that the log agrees with it.
async fn run(scenario: &str, arguments: &[&str]) -> Value {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let (json, plot) =
        (TempFile::new(&format!("{scenario}.json")), TempFile::new(&format!("{scenario}.svg")));
    let mut all = vec![scenario, "--count", "60", "--warm-up", "0s", "--participants", "30"];
    all.extend(["--json", json.0.to_str().unwrap(), "--plot", plot.0.to_str().unwrap()]);
    all.extend(arguments);
    let output = load(&server, &all).await;
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    for row in ["throughput", "latency", "read models", "purchases in the log"] {
        assert!(words.contains(row), "{row} in {words}");
    }
    let report: Value = serde_json::from_slice(&std::fs::read(&json.0).unwrap()).unwrap();
    assert!(std::fs::read_to_string(&plot.0).unwrap().ends_with("</svg>\n"));

    assert_eq!(report["count"], 60);
    assert_eq!(report["succeeded"], 60, "{report}");
    assert_eq!(report["latency"]["count"], 60);
    let seconds = report["seconds"].as_array().unwrap();
    assert_eq!(seconds.iter().map(|second| second["count"].as_u64().unwrap()).sum::<u64>(), 60);
    for (field, event_type) in [("sign_ups", "UserRegistered"), ("purchases", "PurchaseRecorded")] {
        let in_log = database
            .count(&format!("select count(*) from events where event_type = '{event_type}'"))
            .await;
        assert_eq!(report[field]["found"], in_log, "{field}");
        assert_eq!(report[field]["acknowledged"], in_log, "{field}");
        assert_eq!(report[field]["faults"], 0, "{field}");
    }
    check_books(&database).await;
    database.check().await;
    server.stop().await;
    report
}

/// How many writes the log check found.
fn found(report: &Value, field: &str) -> u64 {
    report[field]["found"].as_u64().unwrap()
}

#[tokio::test]
async fn a_load_of_sign_ups_adds_up() {
    let report = run("sign-up", &[]).await;
    assert_eq!((found(&report, "sign_ups"), found(&report, "purchases")), (60, 0));
    assert_eq!(report["settings"]["participants"], 0);
    assert!(report["live"].is_null());
}

#[tokio::test]
async fn a_server_behind_tls_is_called_over_tls_only() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let proxy = TlsProxy::start(&server.address).await;
    let run = async |more: &[&str]| {
        let mut command = load_command();
        command.args(["sign-up", "--count", "20", "--warm-up", "0s", "--server", &proxy.url()]);
        command.args(more).env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY).output().await.unwrap()
    };
    let output = run(&["--ca-file", proxy.ca_file.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = run(&[]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("certificate"), "{said}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_load_of_purchases_adds_up() {
    let report = run("purchase", &["--seed", "7", "--rate", "500"]).await;
    assert_eq!((found(&report, "sign_ups"), found(&report, "purchases")), (30, 60));
    assert_eq!((&report["settings"]["seed"], &report["unstarted"]), (&7.into(), &0.into()));
    assert!(!report["version"].as_str().unwrap().is_empty());
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_load_on_one_referrer_adds_up() {
    let report = run("hot", &[]).await;
    assert_eq!((found(&report, "sign_ups"), found(&report, "purchases")), (30, 60));
}

#[tokio::test]
async fn a_mixed_load_adds_up() {
    let report = run("mixed", &["--streams", "5"]).await;
    let written = found(&report, "sign_ups") - 30 + found(&report, "purchases");
    assert!((1..60).contains(&written), "some operations are reads: {written}");
    assert_eq!(report["live"]["streams"], 5);
}

#[tokio::test]
async fn a_rate_can_be_a_share_of_the_full_load() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let json = TempFile::new("share.json");
    let mut all = vec!["streams", "--streams", "10", "--rate", "50%", "--count", "40"];
    all.extend(["--warm-up", "200ms", "--json", json.0.to_str().unwrap()]);
    let output = load(&server, &all).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(&json.0).unwrap()).unwrap();
    let full = report["full_per_s"].as_f64().unwrap();
    let rate = report["settings"]["rate"].as_f64().unwrap();
    assert!(full > 0.0 && (full - 2.0 * rate).abs() < 0.01, "{rate} of {full}");
    assert_eq!(report["succeeded"], 40);
    // What came while the full load was measured, and while warming up, is not among the latencies.
    let (live, purchases) = (&report["live"], found(&report, "purchases"));
    assert_eq!(live["rewards"], purchases);
    assert!(live["delivery"]["count"].as_u64().unwrap() < purchases);
    check_books(&database).await;
    server.stop().await;
}

#[tokio::test]
async fn every_purchase_of_a_watched_load_arrives_on_its_stream_once() {
    let report = run("streams", &["--streams", "10"]).await;
    assert_eq!((found(&report, "sign_ups"), found(&report, "purchases")), (21, 60));
    let live = &report["live"];
    assert_eq!((&live["streams"], &live["rewards"]), (&10.into(), &60.into()));
    assert_eq!(live["delivery"]["count"], 60);
    // A read follows one in eight answers.
    assert_eq!(live["read_after_write"]["count"], 8);
    assert_eq!(
        (&live["missing"], &live["twice"], &live["unread"]),
        (&0.into(), &0.into(), &0.into())
    );
}

#[tokio::test]
async fn a_write_that_the_log_lacks_and_one_that_it_should_not_have_are_named() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let client = server.client();
    client.publish_shipped("multi-level-commission").await;
    let ledger = Ledger::new("load-1".into());
    for number in 0..3 {
        let user_id = ledger.id(Write::User, number);
        client.sign_up("multi-level-commission", &user_id, "").await.unwrap();
        ledger.note(Write::User, number, Answer::Acknowledged);
    }
    client.buy(&ledger.id(Write::Purchase, 0), "load-1-u0", "INR", 100_000).await.unwrap();
    client.buy("of-somebody-else", "load-1-u0", "INR", 100_000).await.unwrap();
    ledger.note(Write::Purchase, 0, Answer::Refused);
    ledger.note(Write::User, 3, Answer::Acknowledged);

    let url = format!("http://{}", server.address);
    let connections = Connections::open(&client::Server::at(url), ADMIN_KEY, 1).await.unwrap();
    let (users, purchases) = check(&connections, &ledger, 0).await.unwrap();
    let missing = "the sign-up of load-1-u3 was acknowledged and is not in the log".to_owned();
    let expected = Checked {
        acknowledged: 4,
        found: 3,
        found_unanswered: 0,
        faults: 1,
        first_fault: Some(missing),
    };
    assert_eq!(users, expected);
    let refused = "purchase load-1-p0 was refused and is in the log";
    assert_eq!((purchases.found, purchases.first_fault.as_deref()), (1, Some(refused)));
    server.stop().await;
}

#[tokio::test]
async fn a_second_run_on_the_same_server_is_no_harm() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    for _ in 0..2 {
        let arguments = ["purchase", "--count", "5", "--warm-up", "100ms", "--participants", "5"];
        let output = load(&server, &arguments).await;
        assert!(output.status.success(), "{output:?}");
    }
    database.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_load_without_a_server_or_with_a_wrong_key_says_so() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database).await;
    let wrong = load(&server, &["sign-up", "--count", "1", "--admin-key", "wrong"]).await;
    assert!(!wrong.status.success());
    let words = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(words.contains("cannot publish the program: INVALID_CREDENTIALS"), "{words}");

    let address = server.address.clone();
    server.stop().await;
    let nobody = load_command()
        .args(["sign-up", "--count", "1", "--server", &format!("http://{address}")])
        .args(["--admin-key", ADMIN_KEY])
        .output()
        .await
        .unwrap();
    assert!(!nobody.status.success());
    let words = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(words.contains("no server answers") && words.contains("--own"), "{words}");
}

#[tokio::test]
async fn a_load_can_bring_its_own_server_and_takes_it_away_again() {
    let json = TempFile::new("own.json");
    let output = load_command()
        .args(["purchase", "--own", "--count", "20", "--warm-up", "0s"])
        .args(["--participants", "10", "--json", json.0.to_str().unwrap()])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(&json.0).unwrap()).unwrap();
    assert_eq!((found(&report, "sign_ups"), found(&report, "purchases")), (10, 20));
    assert_eq!(report["settings"]["own_server"], true);
    if cfg!(target_os = "linux") {
        assert!(report["memory"]["resident_bytes"].as_u64().unwrap() > 0);
    }
    let address = report["settings"]["server"].as_str().unwrap().strip_prefix("http://").unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn purchases_and_their_refunds_are_measured_in_turn() {
    let output = load_command()
        .args(["refunds", "--participants", "50", "--rounds", "2", "--count", "40"])
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    for row in ["round 1: ", "round 2: ", "median: ", "a refund costs x"] {
        assert!(words.contains(row), "{row} in {words}");
    }
    assert!(!words.contains("round 3"), "{words}");
}

#[tokio::test]
async fn releases_are_measured_alone_and_beside_purchases() {
    let output = load_command()
        .args(["releases", "--participants", "50", "--count", "300", "--duration", "8s"])
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    let last = words.lines().last().unwrap();
    let most = last.split("at most ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!((1..=50).contains(&most.parse::<u32>().unwrap()), "{words}");
    assert!(words.contains("alone: ") && words.contains("beside each other"), "{words}");
}

#[tokio::test]
async fn a_payout_is_collected_and_confirmed_beside_purchases() {
    let output = load_command()
        .args(["payout", "--participants", "300", "--rate", "50", "--duration", "1s"])
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    for row in ["before: ", "300 lines collected in ", "300 lines confirmed in ", "p99 "] {
        assert!(words.contains(row), "{row} in {words}");
    }
}

#[tokio::test]
async fn live_pages_all_hear_of_a_purchase_once_and_first_pages_are_small() {
    let output = load_command()
        .args(["pages", "--participants", "30", "--people", "4", "--pages", "10", "--rate", "20"])
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "10 live pages of 4 people, opened",
        "10 pages heard of it, 0 did not, 0 heard of it twice",
        "memory of the server: ",
    ] {
        assert!(words.contains(line), "{line} in {words}");
    }
    // With style and script, compressed.
    for page in ["dashboard: ", "overview: ", "view of the program: "] {
        let line = words.lines().find_map(|line| line.strip_prefix(page)).unwrap();
        let kilobytes: f64 = line.split(' ').next().unwrap().parse().unwrap();
        assert!((5.0..50.0).contains(&kilobytes), "{page}{line}");
    }
}

#[tokio::test]
async fn the_engine_and_its_rivals_do_the_same_purchases_and_all_books_add_up() {
    let json = TempFile::new("compare.json");
    let output = load_command()
        .args(["compare", "--participants", "200", "--concurrency", "8", "--pool", "4"])
        .args(["--rounds", "2", "--warm-up", "0s", "--duration", "1s"])
        .args(["--json", json.0.to_str().unwrap()])
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    let compared: Value = serde_json::from_slice(&std::fs::read(&json.0).unwrap()).unwrap();
    assert_eq!(compared["faults"].as_array().unwrap().len(), 0);
    let contenders = compared["contenders"].as_array().unwrap();
    assert_eq!(contenders.len(), 5);
    for contender in contenders {
        let turns = contender["turns"].as_array().unwrap();
        assert_eq!(turns.len(), 2);
        for turn in turns {
            assert_eq!(turn["failed"], 0, "{contender}");
            assert!(turn["per_second"].as_f64().unwrap() > 0.0, "{contender}");
        }
        assert!(words.contains(contender["name"].as_str().unwrap()), "{words}");
    }
}
