//! How `dev` ends, and that its Postgres ends with it.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tonic::Code;

use super::{Dev, START_TIMEOUT, TempDir, dev, failure, is_alive, postmaster};
use testing::reason;

#[tokio::test]
async fn a_stop_while_dev_is_starting_leaves_no_postgres_behind() {
    let directory = TempDir::new();
    let mut child = dev(&directory).stdout(Stdio::null()).spawn().unwrap();
    let cluster = directory.path("data/postgres");
    let starting = async {
        loop {
            if let Some(pid) = postmaster(&cluster) {
                return pid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let postmaster = tokio::time::timeout(START_TIMEOUT, starting).await.expect("Postgres starts");

    let pid = child.id().unwrap().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();

    tokio::time::timeout(START_TIMEOUT, child.wait()).await.expect("dev stops in time").unwrap();
    assert!(!is_alive(&postmaster), "Postgres still runs");
}

/// Whether this process ignores a signal, and its children therefore do.
fn is_ignored(signal: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal - 1) & 1 == 1
}

#[tokio::test]
async fn a_closed_terminal_stops_dev_and_its_postgres() {
    for (number, signal) in [(1, "-HUP"), (3, "-QUIT")] {
        // As under `nohup`: such a process must not stop.
        if is_ignored(number) {
            continue;
        }
        let directory = TempDir::new();
        let mut command = dev(&directory);
        command.env("TRIBUTARY_LOG", "info").stderr(Stdio::piped());
        let mut dev = Dev::start_as(command).await;
        // Nothing can be written to a terminal that is closed.
        drop(dev.child.stderr.take());
        let client = dev.client().await;
        client.sign_up("tiered-points", "ada", "").await.unwrap();
        let mut stream = client.watch("tiered-points", "ada", "").await.unwrap();
        let ended = tokio::spawn(async move {
            loop {
                if let Err(status) = stream.message().await {
                    return reason(&status);
                }
            }
        });
        dev.stop(signal).await;
        assert_eq!(ended.await.unwrap(), (Code::Unavailable, "SHUTTING_DOWN".into()), "{signal}");
    }
}

#[tokio::test]
async fn a_second_dev_on_the_same_data_is_turned_away_and_the_first_goes_on() {
    let directory = TempDir::new();
    let first = Dev::start(&directory).await;
    let pid = first.child.id().unwrap();

    let said = failure(dev(&directory)).await;

    assert!(said.contains(&format!("is in use by process {pid}")), "{said}");
    assert!(said.contains("--data-dir"), "{said}");
    first.client().await.sign_up("tiered-points", "ada", "").await.unwrap();
    first.stop("-TERM").await;
}
