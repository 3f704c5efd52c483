//! Tests with a real Postgres, as root or as an ordinary user.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::user::User;
use super::{Options, PrivatePostgres, PrivatePostgresError, TemporaryPostgres};

/// Tells the test binary, when it is run again as a separate process, what to start.
const OWNER: &str = "TRIBUTARY_TEST_CLUSTER_OWNER";

/// A directory for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("trib-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o711)).unwrap();
        Self(path)
    }

    fn data_dir(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn small() -> Options {
    let settings = [("shared_buffers", "8MB"), ("fsync", "off")];
    Options {
        max_connections: 10,
        settings: settings.map(|(name, value)| (name.into(), value.into())).into(),
        ..Options::default()
    }
}

async fn start(data_dir: &Path) -> Result<PrivatePostgres, PrivatePostgresError> {
    PrivatePostgres::start_at(data_dir, &small(), false).await
}

fn sql(cluster: &PrivatePostgres, statement: &str) -> String {
    psql(&cluster.url("postgres"), statement)
}

fn psql(url: &str, statement: &str) -> String {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "-qAt", "-c", statement, url])
        // The URL must be sufficient.
        .envs([("PGPORT", "1"), ("PGSSLMODE", "require"), ("PGHOST", "/nowhere")])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn exists(pid: u32) -> bool {
    Command::new("kill").args(["-0", &pid.to_string()]).output().unwrap().status.success()
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A separate process that owns a cluster. It ends when its input is closed.
struct Owner {
    child: Child,
    /// Kept open, because otherwise the test harness of that process fails.
    _output: BufReader<ChildStdout>,
    cluster: PathBuf,
    postmaster: u32,
}

impl Owner {
    fn run(what: &Path) -> Self {
        let (_, module) = module_path!().split_once("::").unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&format!("{module}::owner"), "--exact", "--ignored", "--nocapture"])
            .env(OWNER, what)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let said = output
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("READY ")?.1.to_owned()))
            .expect("the owner starts");
        let (postmaster, cluster) = said.split_once(' ').unwrap();
        Self {
            child,
            _output: output,
            postmaster: postmaster.parse().unwrap(),
            cluster: cluster.into(),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[tokio::test]
#[ignore = "a process of its own for other tests"]
async fn owner() {
    static TEMPORARY: OnceLock<TemporaryPostgres> = OnceLock::new();
    let Some(what) = std::env::var_os(OWNER) else {
        return;
    };
    let _cluster = if what == "temporary" {
        let cluster = TemporaryPostgres::start(&small()).await.unwrap();
        println!("READY {} {}", cluster.postmaster_pid(), cluster.directory().display());
        TEMPORARY.set(cluster).unwrap();
        None
    } else {
        let cluster = start(Path::new(&what)).await.unwrap();
        println!("READY {} {}", cluster.postmaster_pid(), cluster.directory().display());
        Some(cluster)
    };
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test]
async fn data_survives_stops_and_drops() {
    let scratch = Scratch::new();
    // As callers do, with fsync on.
    let cluster = PrivatePostgres::start(&scratch.data_dir(), &Options::default()).await.unwrap();
    sql(&cluster, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)");
    assert_eq!(sql(&cluster, "SHOW data_checksums"), "on");
    assert_eq!(sql(&cluster, "SHOW fsync"), "on");
    assert_eq!(sql(&cluster, "SHOW server_encoding"), "UTF8");
    assert_eq!(sql(&cluster, "SHOW lc_collate"), "C");
    cluster.stop().await.unwrap();

    let cluster = start(&scratch.data_dir()).await.unwrap();
    assert_eq!(sql(&cluster, "SHOW fsync"), "off", "the caller's settings count");
    sql(&cluster, "INSERT INTO kept VALUES (2)");
    let postmaster = cluster.postmaster_pid();
    drop(cluster);
    assert!(!exists(postmaster));

    let cluster = start(&scratch.data_dir()).await.unwrap();
    assert_eq!(sql(&cluster, "SELECT sum(n) FROM kept"), "3");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_owner_is_succeeded_and_a_living_one_is_not() {
    let scratch = Scratch::new();
    let mut owner = Owner::run(&scratch.data_dir());
    let refused = start(&scratch.data_dir()).await.unwrap_err().to_string();
    let holder = format!("is in use by process {};", owner.child.id());
    assert!(refused.contains(&holder), "{refused}");

    owner.child.kill().unwrap();
    assert!(exists(owner.postmaster), "Postgres outlives its owner");
    let cluster = start(&scratch.data_dir()).await.unwrap();
    assert_ne!(cluster.postmaster_pid(), owner.postmaster);
    assert_eq!(sql(&cluster, "SELECT 1"), "1");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_postgres_is_noticed_and_recovers() {
    let scratch = Scratch::new();
    let mut cluster = start(&scratch.data_dir()).await.unwrap();
    sql(&cluster, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)");
    kill(cluster.postmaster_pid());
    let error = cluster.exited().await.to_string();
    assert!(error.contains("signal: 9"), "{error}");
    drop(cluster);

    // After a crash of the machine, the process id in the pid file may belong to an unrelated process.
    let pid_file = scratch.data_dir().join("postgres/postmaster.pid");
    let user = User::for_cluster(&scratch.data_dir().join("postgres")).unwrap();
    let mut stranger = user.command(Path::new("/bin/sleep")).arg("60").spawn().unwrap();
    let text = fs::read_to_string(&pid_file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&pid_file, format!("{}\n{rest}", stranger.id())).unwrap();

    let cluster = start(&scratch.data_dir()).await.unwrap();
    assert_eq!(sql(&cluster, "SELECT n FROM kept"), "1");
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger is left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    kill(cluster.postmaster_pid());
    drop(cluster);

    fs::write(&pid_file, "").unwrap();
    let cluster = start(&scratch.data_dir()).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let scratch = Scratch::new();
    let mut options = small();
    options.settings.push(("no_such_setting".to_owned(), "1".to_owned()));
    let error = PrivatePostgres::start_at(&scratch.data_dir(), &options, false).await.unwrap_err();
    assert!(matches!(error, PrivatePostgresError::Exited { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");

    // The directory has no owner now, and its data is intact.
    start(&scratch.data_dir()).await.unwrap().stop().await.unwrap();

    options.bin_dir = Some(scratch.0.clone());
    let error = PrivatePostgres::start(&scratch.data_dir(), &options).await.unwrap_err();
    assert!(matches!(error, PrivatePostgresError::BadBinDir { .. }), "{error}");

    fs::write(scratch.data_dir().join("postgres/PG_VERSION"), "8\n").unwrap();
    let error = start(&scratch.data_dir()).await.unwrap_err().to_string();
    assert!(error.contains("was made by Postgres 8, but"), "{error}");

    fs::remove_file(scratch.data_dir().join("postgres/PG_VERSION")).unwrap();
    let error = start(&scratch.data_dir()).await.unwrap_err();
    assert!(matches!(error, PrivatePostgresError::NotACluster { .. }), "{error}");

    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    let error = start(&file).await.unwrap_err();
    assert!(matches!(error, PrivatePostgresError::NotADirectory { .. }), "{error}");
    let error = start(&file.join("below")).await.unwrap_err().to_string();
    assert!(error.contains(&format!("{}/below", file.display())), "{error}");
}

#[tokio::test]
async fn a_long_or_odd_path_is_no_hindrance() {
    let scratch = Scratch::new();
    let data_dir = scratch.0.join("with 'quotes', spaces & more").join("x".repeat(80));
    let cluster = start(&data_dir).await.unwrap();
    let sockets = cluster.sockets.clone();
    assert_ne!(sockets, cluster.directory());
    assert_eq!(sql(&cluster, "SELECT 1"), "1");
    cluster.stop().await.unwrap();
    assert!(!sockets.exists());
}

#[tokio::test]
async fn root_finds_a_place_that_postgres_can_reach() {
    if !User::for_new_cluster().unwrap().is_switched() {
        return;
    }
    let scratch = Scratch::new();
    fs::set_permissions(&scratch.0, Permissions::from_mode(0o700)).unwrap();
    let cluster = start(&scratch.data_dir()).await.unwrap();
    let elsewhere = Scratch(cluster.directory().parent().unwrap().to_owned());
    assert!(elsewhere.0.starts_with("/var/tmp"));
    sql(&cluster, "CREATE TABLE kept ()");
    cluster.stop().await.unwrap();

    let cluster = start(&scratch.data_dir()).await.unwrap();
    sql(&cluster, "TABLE kept");
    cluster.stop().await.unwrap();

    // A moved data directory must not start with an empty cluster.
    let moved = scratch.0.join("moved");
    fs::rename(scratch.data_dir(), &moved).unwrap();
    let error = start(&moved).await.unwrap_err();
    assert!(matches!(error, PrivatePostgresError::Moved { .. }), "{error}");

    // A removed one must.
    let cluster = start(&scratch.data_dir()).await.unwrap();
    assert_eq!(sql(&cluster, "SELECT to_regclass('kept') IS NULL"), "t");
    assert!(elsewhere.0.join("postgres.old/PG_VERSION").exists());
    drop(cluster);

    // Another user could have put a directory, or a link, there.
    fs::remove_dir_all(&elsewhere.0).unwrap();
    symlink("/etc", &elsewhere.0).unwrap();
    let error = start(&scratch.data_dir()).await.unwrap_err();
    assert!(matches!(error, PrivatePostgresError::Untrusted { .. }), "{error}");
    fs::remove_file(&elsewhere.0).unwrap();
}

#[test]
fn a_temporary_cluster_goes_with_its_owner() {
    let killed = || {
        let mut owner = Owner::run(Path::new("temporary"));
        owner.child.kill().unwrap();
        owner
    };
    let ended = || Owner::run(Path::new("temporary"));
    for end in [&killed as &dyn Fn() -> Owner, &ended] {
        let owner = end();
        let (cluster, postmaster) = (owner.cluster.clone(), owner.postmaster);
        drop(owner);
        eventually("Postgres ends", || !exists(postmaster));
        eventually("its directory goes", || !cluster.parent().unwrap().exists());
    }
}

#[tokio::test]
async fn a_temporary_cluster_goes_when_dropped() {
    let temporary = TemporaryPostgres::start(&small()).await.unwrap();
    assert_eq!(psql(&temporary.url("template1"), "SELECT 1"), "1");
    let directory = temporary.directory().to_owned();
    let postmaster = temporary.postmaster_pid();
    drop(temporary);
    assert!(!directory.parent().unwrap().exists());
    assert!(!exists(postmaster));
}
