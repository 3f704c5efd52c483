//! What `dev` finds: the umask, variables, ports, directories, and a Postgres or none.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::{Dev, TempDir, dev, failure, remote, run};
use testing::{clean_command, tributary};

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
