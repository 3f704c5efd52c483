//! The short form of the chaos run; `tributary-load chaos --duration 10m` is the long one.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::Path;

use testing::clean_command;

#[tokio::test]
async fn twenty_seconds_of_faults_of_every_kind_lose_nothing_and_double_nothing() {
    let output = clean_command(Path::new(env!("CARGO_BIN_EXE_tributary-load")))
        .args(["chaos", "--duration", "20s", "--clients", "8"])
        // The server of this build is there; nothing is to be built again.
        .env_remove("CARGO")
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    println!("{words}");
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    assert!(words.starts_with("seed "), "{words}");
    // Every kind of fault was made at least once.
    for kind in [
        "Postgres crashes",
        "servers killed",
        "servers paused",
        "backends terminated",
        "long snapshots",
        "rebuilds",
        "program changes",
    ] {
        let line = words.lines().find(|line| line.starts_with(kind)).unwrap();
        assert!(!line.contains(" 0 times"), "{line}");
    }
    assert!(words.contains("verify: clean"), "{words}");
}
