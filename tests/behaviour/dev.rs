//! The command line: `tributary dev` from its first start to its last, and the error messages of the other
//! commands.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contract::pb::ListProgramsRequest;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tonic::Code;
use tonic::transport::Endpoint;

use super::envelopes::log;
use testing::{ADMIN_KEY, Client, TestDatabase, clean_command, program, reason, tributary};

/// The commands that the walk-through of `dev` must have: once they are printed, everything that tests read
/// has been printed.
const WALK_THROUGH: [&str; 2] = ["PurchaseService/RecordPurchase", "RewardService/WatchEarnings"];
/// A first start creates a whole Postgres cluster, possibly while other tests do the same.
const START_TIMEOUT: Duration = Duration::from_mins(2);

const PROGRAMS: [&str; 5] = [
    "first-purchase-bonus",
    "first-purchase-credits",
    "multi-level-commission",
    "referral-count",
    "tiered-points",
];

/// A directory of one test, which every user of the machine can enter.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tributary-dev-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Stops what a failed test has left running.
        if let Some(pid) = postmaster(&self.path("data/postgres")) {
            let _ = std::process::Command::new("kill").args(["-QUIT", &pid]).status();
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The process id of the Postgres that runs on a cluster, or ran there until it was killed.
fn postmaster(cluster: &Path) -> Option<String> {
    let text = std::fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    text.lines().next().map(|pid| pid.trim().to_owned())
}

/// Whether a process runs. A process that has ended may still be listed if its parent has not waited for it.
fn is_alive(pid: &str) -> bool {
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        return !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z');
    }
    let probe = std::process::Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status();
    probe.unwrap().success()
}

/// `tributary dev` on the `data` directory below `directory`, on a port that is free.
fn dev(directory: &TempDir) -> Command {
    let mut command = tributary();
    command
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path("data"))
        .env("TRIBUTARY_LOG", "warn");
    command
}

/// A `dev` that serves.
struct Dev {
    child: Child,
    /// Kept open, as a terminal would be.
    lines: Lines<BufReader<ChildStdout>>,
    printed: String,
}

impl Dev {
    async fn start(directory: &TempDir) -> Self {
        Self::start_as(dev(directory)).await
    }

    async fn start_as(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        let reading = async {
            while !WALK_THROUGH.iter().all(|command| printed.contains(command)) {
                let line = lines.next_line().await.unwrap().expect("dev gets ready");
                printed.push_str(&line);
                printed.push('\n');
            }
        };
        tokio::time::timeout(START_TIMEOUT, reading).await.expect("dev gets ready in time");
        Self { child, lines, printed }
    }

    /// The rest of the line that begins with `start`.
    fn said(&self, start: &str) -> &str {
        let line = self.printed.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("dev says '{start}': {}", self.printed))
    }

    fn key(&self) -> &str {
        self.said("the admin key is ")
    }

    fn url(&self) -> String {
        format!("http://{}", self.said("tributary is ready on "))
    }

    /// The process id of its Postgres.
    fn postmaster(&self) -> String {
        postmaster(Path::new(self.said("the data is in "))).expect("Postgres runs")
    }

    async fn client_with(&self, key: &str) -> Client {
        let channel = Endpoint::from_shared(self.url()).unwrap().connect().await.unwrap();
        Client::new(channel, Some(key))
    }

    async fn client(&self) -> Client {
        self.client_with(self.key()).await
    }

    /// Sends a signal, and waits for a clean end that leaves no Postgres behind.
    async fn stop(mut self, signal: &str) {
        let (pid, postmaster) = (self.child.id().unwrap().to_string(), self.postmaster());
        assert!(is_alive(&postmaster));
        Command::new("kill").args([signal, &pid]).status().await.unwrap();
        let ended = tokio::time::timeout(START_TIMEOUT, self.child.wait()).await;
        let status = ended.expect("dev stops in time").unwrap();
        assert!(status.success(), "dev ended with {status}");
        while self.lines.next_line().await.unwrap().is_some() {}
        assert!(!is_alive(&postmaster), "Postgres still runs");
    }

    /// Kills the process without a chance to stop its Postgres.
    async fn kill(mut self) -> String {
        let postmaster = self.postmaster();
        self.child.kill().await.unwrap();
        postmaster
    }
}

/// Runs a command that must end by itself.
async fn run(mut command: Command) -> Output {
    tokio::time::timeout(START_TIMEOUT, command.output()).await.expect("it ends in time").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must fail, and returns its error output.
async fn failure(command: Command) -> String {
    let output = run(command).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: ") || said.contains("\nerror: "), "{said}");
    said
}

/// Another command on a running `dev`, which it finds as from another shell.
fn remote(dev: &Dev, directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = tributary();
    command
        .args(arguments)
        .args(["--server", &dev.url(), "--data-dir"])
        .arg(directory.path("data"));
    command
}

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
    let published = log(&client).await;
    assert_eq!(published.len(), 5);
    for (event_type, actor, door) in &published {
        assert_eq!((&**event_type, &**actor, &**door), ("ProgramPublished", "system", "dev"));
    }
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
async fn what_was_recorded_is_there_at_the_next_start_also_after_a_kill() {
    let directory = TempDir::new();
    let dev = Dev::start(&directory).await;
    let key = dev.key().to_owned();
    dev.client().await.sign_up("tiered-points", "ada", "").await.unwrap();
    let mails = PathBuf::from(dev.said("mails are kept in "));
    let welcome = || std::fs::read_dir(&mails).ok()?.next()?.ok().map(|entry| entry.path());
    for _ in 0..500 {
        if welcome().is_some_and(|path| path.extension().is_some_and(|ending| ending == "eml")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mail = std::fs::read_to_string(welcome().expect("a mail")).unwrap();
    assert!(mail.contains("To: ada@example.com") && mail.contains(&dev.url()), "{mail}");
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
async fn secrets_are_for_their_owner_only_whatever_the_umask() {
    let directory = TempDir::new();
    for umask in ["000", "077"] {
        let mut command = clean_command(Path::new("sh"));
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(tributary().as_std().get_program());
        command.args(dev(&directory).as_std().get_args()).env("TRIBUTARY_LOG", "warn");
        let dev = Dev::start_as(command).await;
        for name in ["admin.key", "database.url"] {
            let mode = std::fs::metadata(directory.path("data").join(name)).unwrap();
            assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{name} under {umask}");
        }
        // Postgres of another user passes through the directory, and cannot list it.
        let mode = std::fs::metadata(directory.path("data")).unwrap().permissions().mode();
        assert_eq!(mode & 0o066, 0, "{mode:o} under {umask}");
        dev.stop("-TERM").await;
        // A file of an earlier build may be open to all.
        let file = directory.path("data/database.url");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    }
}

#[tokio::test]
async fn dev_runs_without_a_path_with_empty_variables_and_with_less_memory() {
    let directory = TempDir::new();
    let mut command = dev(&directory);
    command.env("PATH", "/nonexistent").args(["--pg-memory-mb", "24"]);
    for name in [
        "TRIBUTARY_ADMIN_KEY",
        "TRIBUTARY_MAX_CONNECTIONS",
        "TRIBUTARY_METRICS_LISTEN",
        "TRIBUTARY_OTLP_ENDPOINT",
        "TRIBUTARY_TRUSTED_PROXIES",
        "TRIBUTARY_CONFIG",
        "TRIBUTARY_PG_BINDIR",
        "TRIBUTARY_LOG",
    ] {
        command.env(name, "");
    }
    let dev = Dev::start_as(command).await;
    let url = std::fs::read_to_string(directory.path("data/database.url")).unwrap();
    let mut connection: sqlx::PgConnection = sqlx::Connection::connect(url.trim()).await.unwrap();
    let buffers: String =
        sqlx::query_scalar("show shared_buffers").fetch_one(&mut connection).await.unwrap();
    assert_eq!(buffers, "24MB");
    drop(connection);
    let mut list = remote(&dev, &directory, &["program", "list"]);
    list.env("TRIBUTARY_ADMIN_KEY", "");
    assert!(run(list).await.status.success());
    dev.stop("-TERM").await;
}

#[tokio::test]
async fn a_data_directory_whose_path_is_not_text_is_refused_at_once() {
    use std::os::unix::ffi::OsStrExt;
    let directory = TempDir::new();
    for name in [&b"data\xff"[..], b"two\nlines"] {
        let mut command = tributary();
        command.args(["dev", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(directory.0.join(std::ffi::OsStr::from_bytes(name)));
        let began = std::time::Instant::now();
        let said = failure(command).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(said.contains("not UTF-8 or control characters"), "{said}");
        assert!(said.contains("--data-dir"), "{said}");
        assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0);
    }
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

#[tokio::test]
async fn programs_are_published_from_files_and_listed() {
    let directory = TempDir::new();
    let dev = Dev::start(&directory).await;
    let shipped = program("tiered-points");
    let publish =
        |file: &Path| remote(&dev, &directory, &["program", "publish", file.to_str().unwrap()]);

    // The same rules again do not create a new version; different rules do.
    let same = run(publish(&shipped)).await;
    assert!(same.status.success());
    assert_eq!(text(&same.stdout), "tiered-points version 1 is in force\n");
    let rules = std::fs::read_to_string(&shipped).unwrap();
    let changed = directory.write("changed.json", &rules.replace("Points by tier", "Metals"));
    let output = run(publish(&changed)).await;
    assert_eq!(text(&output.stdout), "tiered-points version 2 is in force\n");
    let listed = text(&run(remote(&dev, &directory, &["program", "list"])).await.stdout);
    assert_eq!(listed.lines().count(), 5, "{listed}");
    assert!(listed.contains("tiered-points\tversion 2\tMetals\n"), "{listed}");

    // A wrong program names every fault at once.
    let broken = directory.write(
        "broken.json",
        r#"{
            "program_id": "broken program",
            "unit": "points",
            "attach": "ATTACH_POLICY_ANY_TIME",
            "earn_on": "EARN_ON_REFERRAL",
            "max_uses_per_code": 0,
            "rewards": [{"rule": "share", "level": 11, "kind": "REWARD_KIND_BONUS", "rate_bps": 10001}]
        }"#,
    );
    let said = failure(publish(&broken)).await;
    for field in [
        "program.program_id:",
        "program.unit:",
        "program.leaderboard:",
        "program.max_uses_per_code:",
        "program.rewards[0].level:",
        "program.rewards[0].kind:",
        "program.rewards[0].rate_bps:",
    ] {
        assert!(said.contains(field), "{field} {said}");
    }

    // Several files at once: all are read before the first is published.
    let other = std::fs::read_to_string(program("referral-count")).unwrap();
    let other = directory.write("other.json", &format!("\u{feff}{other}"));
    let twice = "{\"program_id\": \"x\",\n\"unit\": \"USD\",\n\"unit\": \"EUR\"}";
    let twice = directory.write("twice.json", twice);
    let files = |files: &[&Path]| {
        let mut arguments = vec!["program", "publish"];
        arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
        remote(&dev, &directory, &arguments)
    };
    let said = failure(files(&[&shipped, &twice])).await;
    for part in ["twice.json is not a program", "'unit' is given twice", "line 3"] {
        assert!(said.contains(part), "{part} {said}");
    }
    let output = run(files(&[&shipped, &other])).await;
    assert_eq!(
        text(&output.stdout),
        "tiered-points version 3 is in force\nreferral-count version 1 is in force\n"
    );

    let misspelt = directory.write("misspelt.json", r#"{"program_id": "x", "uint": "USD"}"#);
    let said = failure(publish(&misspelt)).await;
    assert!(said.contains("misspelt.json is not a program") && said.contains("uint"), "{said}");
    let said = failure(publish(&directory.path("missing.json"))).await;
    assert!(said.contains("cannot read") && said.contains("missing.json"), "{said}");

    let mut other_key = remote(&dev, &directory, &["program", "list"]);
    other_key.env("TRIBUTARY_ADMIN_KEY", "not_the_key_of_this_server");
    assert!(failure(other_key).await.contains("the key is not known"));
    dev.stop("-TERM").await;
}

#[tokio::test]
async fn without_a_server_or_a_key_program_says_what_to_do() {
    let directory = TempDir::new();
    let list = |server: &str| {
        let mut command = tributary();
        command.args(["program", "list", "--server", server]).current_dir(&directory.0);
        command
    };

    let said = failure(list("http://127.0.0.1:1")).await;
    assert!(said.contains("TRIBUTARY_ADMIN_KEY") && said.contains("--data-dir"), "{said}");
    let mut with_key = list("http://127.0.0.1:1");
    with_key.env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
    let said = failure(with_key).await;
    assert!(said.contains("no server answers at http://127.0.0.1:1"), "{said}");
}

#[tokio::test]
async fn a_taken_port_is_named_before_anything_is_made() {
    let directory = TempDir::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = tributary();
    command.args(["dev", "--listen", &address, "--data-dir"]).arg(directory.path("data"));

    let said = failure(command).await;

    assert!(said.contains(&format!("cannot listen on {address}: another program does")), "{said}");
    assert!(said.contains("--listen"), "{said}");
    assert!(!directory.path("data").exists());
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_named() {
    let directory = TempDir::new();
    let file = directory.write("data", "not a directory");

    let said = failure(dev(&directory)).await;
    assert!(said.contains(&format!("{} is not a directory", file.display())), "{said}");
    assert!(said.contains("--data-dir"), "{said}");

    // Even root cannot write below a file.
    let mut below = tributary();
    below.args(["dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(file.join("deeper"));
    let said = failure(below).await;
    assert!(said.contains(&file.join("deeper").display().to_string()), "{said}");
    assert!(said.contains("--data-dir"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a directory");
}

#[tokio::test]
async fn without_a_postgres_dev_says_what_to_install() {
    let directory = TempDir::new();
    let empty = directory.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut command = dev(&directory);
    command.env("TRIBUTARY_PG_BINDIR", &empty);

    let said = failure(command).await;

    assert!(said.contains(&empty.display().to_string()), "{said}");
    assert!(said.contains("holds no usable Postgres server"), "{said}");
    assert!(said.contains("TRIBUTARY_PG_BINDIR"), "{said}");
}

#[tokio::test]
async fn help_and_version_suffice_for_a_stranger() {
    let output = |arguments: &'static [&str]| async move {
        let mut command = tributary();
        command.args(arguments);
        let output = run(command).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };

    let version = output(&["--version"]).await;
    assert_eq!(version.trim(), concat!("tributary ", env!("CARGO_PKG_VERSION")));
    let help = output(&["--help"]).await;
    for command in ["dev", "serve", "migrate", "program", "call"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    for command in [&["dev", "--help"] as &[&str], &["serve", "--help"]] {
        let help = output(command).await;
        for name in ["--listen", "TRIBUTARY_LISTEN", "127.0.0.1:50051", "TRIBUTARY_ADMIN_KEY"] {
            assert!(help.contains(name), "{name}: {help}");
        }
    }
    assert!(output(&["serve", "--help"]).await.contains("DATABASE_URL"));
    assert!(output(&["program", "publish", "--help"]).await.contains("--server"));

    let mut unknown = tributary();
    unknown.arg("begin");
    let unknown = run(unknown).await;
    assert_eq!(unknown.status.code(), Some(2), "a usage error, as everywhere");
}

#[tokio::test]
async fn migrate_makes_the_schema_and_may_be_repeated() {
    let database = TestDatabase::new().await;
    sqlx::raw_sql("create database migrated_by_hand").execute(&database.pool).await.unwrap();
    let (server, options) = database.url.split_once('?').unwrap();
    let (server, _) = server.rsplit_once('/').unwrap();
    let url = format!("{server}/migrated_by_hand?{options}");
    let migrate = || {
        let mut command = tributary();
        command.arg("migrate").env("DATABASE_URL", &url);
        command
    };

    for _ in 0..2 {
        let output = run(migrate()).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "the schema is up to date\n");
    }

    let mut nowhere = migrate();
    nowhere.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    let said = failure(nowhere).await;
    assert!(said.contains("database"), "{said}");
}

#[tokio::test]
async fn flags_beat_the_environment_which_beats_the_file() {
    let directory = TempDir::new();
    // Ports in use: the one that `serve` reports shows which setting took precedence.
    let taken: Vec<_> =
        (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |index: usize| taken[index].local_addr().unwrap().to_string();
    let file = directory.write("tributary.toml", &format!("listen = \"{}\"\n", address(0)));
    let serve = || {
        let mut command = tributary();
        command
            .args(["serve", "--config"])
            .arg(&file)
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
        command
    };
    let refused = |index: usize| format!("cannot listen on {}", address(index));

    let said = failure(serve()).await;
    assert!(said.contains(&refused(0)), "{said}");
    let mut with_environment = serve();
    with_environment.env("TRIBUTARY_LISTEN", address(1));
    let said = failure(with_environment).await;
    assert!(said.contains(&refused(1)), "{said}");
    let mut with_both = serve();
    with_both.env("TRIBUTARY_LISTEN", address(1)).args(["--listen", &address(2)]);
    let said = failure(with_both).await;
    assert!(said.contains(&refused(2)), "{said}");
}

#[tokio::test]
async fn a_setting_that_is_unknown_or_senseless_is_an_error() {
    let directory = TempDir::new();
    let serve = |config: &Path| {
        let mut command = tributary();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(config)
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
        command
    };

    let unknown = directory.write("unknown.toml", "lisen = \"127.0.0.1:0\"\n");
    let said = failure(serve(&unknown)).await;
    assert!(said.contains("unknown.toml") && said.contains("lisen"), "{said}");
    let senseless = directory.write("senseless.toml", "queue_commands = \"many\"\n");
    let said = failure(serve(&senseless)).await;
    assert!(said.contains("senseless.toml") && said.contains("queue_commands"), "{said}");
    let said = failure(serve(&directory.path("missing.toml"))).await;
    assert!(said.contains("cannot read") && said.contains("missing.toml"), "{said}");

    let empty = directory.write("empty.toml", "");
    let mut blank_key = serve(&empty);
    blank_key.env("TRIBUTARY_ADMIN_KEY", "a key with blanks");
    assert!(failure(blank_key).await.contains("printable ASCII without blanks"));
    let mut short_key = serve(&empty);
    short_key.env("TRIBUTARY_ADMIN_KEY", "fifteen_letters");
    let said = failure(short_key).await;
    assert!(said.contains("has 15 characters") && said.contains("at least 16"), "{said}");
    let mut no_key = serve(&empty);
    no_key.env("TRIBUTARY_ADMIN_KEY", "");
    let output = run(no_key).await;
    assert_eq!(output.status.code(), Some(2), "a variable that is empty counts as not set");
    assert!(text(&output.stderr).contains("--admin-key"), "{}", text(&output.stderr));
    for (url, fault) in [
        ("mysql://u:secret@localhost/db", "'mysql' is not a scheme of Postgres"),
        ("localhost/db", "does not begin with postgres://"),
        ("postgres://u:secret@localhost:port/db", "invalid port number"),
    ] {
        let mut wrong_url = serve(&empty);
        wrong_url.env("DATABASE_URL", url);
        let said = failure(wrong_url).await;
        assert!(said.contains(fault) && said.contains("DATABASE_URL"), "{said}");
        assert!(!said.contains("secret") && !said.contains("the database refused"), "{said}");
    }
    let mut wrong_address = serve(&empty);
    wrong_address.args(["--metrics-listen", "9464"]);
    let output = run(wrong_address).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("write HOST:PORT"), "{}", text(&output.stderr));
    let mut no_database = serve(&empty);
    no_database.env_remove("DATABASE_URL");
    let output = run(no_database).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--database-url"), "{}", text(&output.stderr));
}
