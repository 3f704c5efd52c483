//! What a running `dev` does: it serves the five programs, keeps what was recorded, and prints how to try it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use contract::pb::{ListProgramsRequest, RegisterUserRequest};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tonic::Code;

use super::{Dev, PROGRAMS, TempDir, dev, is_alive, remote, run, text};
use crate::documents::{commands_of, confirming_commands_of, shells};
use crate::envelopes::log;
use testing::{ADMIN_KEY, clean_command, reason, tributary};

#[tokio::test]
async fn dev_serves_the_five_programs_under_a_key_that_only_its_owner_can_read() {
    let directory = TempDir::new();
    let dev = Dev::start(&directory).await;

    let key_file = directory.path("data/admin.key");
    assert_eq!(std::fs::read_to_string(&key_file).unwrap().trim(), dev.key());
    let mode = std::fs::metadata(&key_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(dev.printed.contains(&format!("KEY='{}'", dev.key())), "{}", dev.printed);
    assert!(!dev.printed.contains("@KEY@") && !dev.printed.contains("@ADDRESS@"));

    let client = dev.client().await;
    let request = client.request(ListProgramsRequest::default());
    let programs = client.programs().list_programs(request).await.unwrap().into_inner().programs;
    let ids: Vec<&str> = programs.iter().map(|program| program.program_id.as_str()).collect();
    assert_eq!(ids, PROGRAMS);

    let stranger = dev.client_with("tributary_admin_guessed").await;
    let refused = stranger.user("ada").await.unwrap_err();
    assert_eq!(reason(&refused), (Code::Unauthenticated, "INVALID_CREDENTIALS".into()));
    // Nobody counts the calls of the machine's own user.
    for _ in 0..100 {
        let request = stranger.request(RegisterUserRequest::default());
        let at_fault = stranger.accounts().register_user(request).await.unwrap_err();
        assert_eq!(reason(&at_fault).1, "INVALID_FIELD");
    }
    let recorded = log(&client).await;
    let (published, of_operator) = recorded.split_at(5);
    for (event_type, actor, door) in published {
        assert_eq!((&**event_type, &**actor, &**door), ("ProgramPublished", "system", "dev"));
    }
    // Besides, there is an operator, for the console.
    let types: Vec<&str> = of_operator.iter().map(|(event_type, _, _)| &**event_type).collect();
    assert_eq!(types, ["UserRegistered", "UserRoleChanged", "UserSessionsEnded"]);
    dev.stop("-TERM").await;
}

#[tokio::test]
async fn the_walk_through_ends_with_a_commission_in_bash_and_in_zsh() {
    let directory = TempDir::new();
    let dev = Dev::start(&directory).await;
    let printed = dev.printed.split("Try it: ").nth(1).unwrap();
    let commands: String = printed
        .lines()
        .filter(|line| line.starts_with("    "))
        .fold(String::new(), |commands, line| commands + line + "\n");
    // The last command does not end by itself.
    let commands =
        commands.replace("call RewardService/Watch", "call --timeout 20 RewardService/Watch");
    for shell in ["bash", "zsh"] {
        let mut command = clean_command(Path::new(shell));
        command.arg("-c").arg(&commands).current_dir(&directory.0);
        // The stream outlives the shell for a moment, and then reports that the server has stopped.
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else {
            assert_ne!(shell, "bash", "bash is not installed");
            continue;
        };
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = String::new();
        while !seen.contains(r#""minorUnits": "5007""#) {
            let line = lines.next_line().await.unwrap();
            seen.push_str(&line.unwrap_or_else(|| panic!("{shell}: no commission in {seen}")));
        }
        child.kill().await.unwrap();
        // The user ids of the walk-through contain the current second.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    dev.stop("-TERM").await;
}

#[tokio::test]
async fn the_commands_for_people_who_log_in_work_as_pasted_and_again() {
    let directory = TempDir::new();
    let dev = Dev::start(&directory).await;
    for shell in shells().await {
        paste(shell, &directory, &dev, &commands_of("docs/people.md").await).await;
    }
    // A second time in a fresh shell, beside the mails and accounts of the first.
    paste(shells().await[0], &directory, &dev, &commands_of("docs/people.md").await).await;
    dev.stop("-TERM").await;
}

#[tokio::test]
async fn the_commands_for_people_who_confirm_their_sign_up_work_as_pasted_and_again() {
    let directory = TempDir::new();
    let mut command = dev(&directory);
    command.args(["--confirm-sign-ups", "on"]);
    let dev = Dev::start_as(command).await;
    let commands = confirming_commands_of("docs/people.md");
    assert!(commands.contains("mailed confirm_sign_up"), "{commands}");
    for shell in shells().await {
        paste(shell, &directory, &dev, &format!("{commands}sleep 1\n{commands}")).await;
        // The usernames have the current second in them.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    dev.stop("-TERM").await;
}

/// Pastes commands that have to succeed into a shell in the directory of a running `dev`.
async fn paste(shell: &[&str], directory: &TempDir, dev: &Dev, commands: &str) {
    // Where the commands look for the data of `dev`.
    let _ = std::os::unix::fs::symlink("data", directory.path(".tributary"));
    let binary = PathBuf::from(tributary().as_std().get_program());
    let paths =
        format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = clean_command(Path::new(shell[0]));
    command.args(&shell[1..]).arg(commands).current_dir(&directory.0);
    command.env("PATH", &paths).env("TRIBUTARY_SERVER", dev.url());
    let output = run(command).await;
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shell:?}\n{said}\n{complained}");
}

#[tokio::test]
async fn what_was_recorded_is_there_at_the_next_start_also_after_a_kill() {
    let directory = TempDir::new();
    let dev = Dev::start(&directory).await;
    let key = dev.key().to_owned();
    dev.client().await.sign_up("tiered-points", "ada", "").await.unwrap();
    let mails = PathBuf::from(dev.said("mails are kept in "));
    // The operator of `dev` gets a mail as well.
    let to_ada = || {
        let files = std::fs::read_dir(&mails).ok()?.filter_map(Result::ok);
        let files = files.map(|entry| entry.path());
        let mut whole = files.filter(|path| path.extension().is_some_and(|ending| ending == "eml"));
        whole.find_map(|path| {
            let mail = std::fs::read_to_string(path).ok()?;
            mail.contains("To: ada@example.com").then_some(mail)
        })
    };
    let mut mail = None;
    for _ in 0..500 {
        mail = to_ada();
        if mail.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mail = mail.expect("a mail");
    assert!(mail.contains(&dev.url()), "{mail}");
    let mode = std::fs::metadata(&mails).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
    dev.stop("-INT").await;

    let dev = Dev::start(&directory).await;
    assert_eq!(dev.key(), key);
    let client = dev.client().await;
    client.user("ada").await.unwrap();
    client.sign_up("tiered-points", "bob", "").await.unwrap();
    let mut changed = client.publish_shipped("referral-count").await;
    changed.display_name = "Changed by somebody".into();
    client.publish(changed).await.unwrap();
    let orphan = dev.kill().await;

    let dev = Dev::start(&directory).await;
    assert!(!is_alive(&orphan) || orphan == dev.postmaster(), "two servers on one cluster");
    let client = dev.client().await;
    client.user("ada").await.unwrap();
    let bob = client.user("bob").await.unwrap();
    assert_eq!(bob.participants.len(), 1);
    let listed = run(remote(&dev, &directory, &["program", "list"])).await;
    let listed = text(&listed.stdout);
    assert!(listed.contains("referral-count\tversion 2\tChanged by somebody\n"), "{listed}");
    dev.stop("-TERM").await;
}

#[tokio::test]
async fn dev_serves_on_when_nobody_reads_what_it_prints() {
    let directory = TempDir::new();
    let mut child = dev(&directory).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());

    let ended = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;

    assert!(ended.is_err(), "dev ended with {ended:?}");
    let pid = child.id().unwrap().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn the_key_of_the_environment_is_used_and_not_written_down() {
    let directory = TempDir::new();
    let mut command = dev(&directory);
    command.env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
    let dev = Dev::start_as(command).await;

    assert_eq!(dev.key(), ADMIN_KEY);
    assert!(!directory.path("data/admin.key").exists());
    dev.client().await.sign_up("tiered-points", "ada", "").await.unwrap();
    dev.stop("-TERM").await;
}
