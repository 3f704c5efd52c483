//! The other commands, beside a running `dev` and without one: `program`, `migrate`, help, and settings.

use std::path::Path;

use super::{Dev, TempDir, failure, remote, run, text};
use testing::{ADMIN_KEY, TestDatabase, program, tributary};

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
    assert!(failure(other_key).await.contains("the credentials are not known or have ended"));
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
    let domains = directory.write("domains.txt", "# ours\nthrowaway.example\nno domain\n");
    for (file, fault) in [(&domains, "line 3"), (&directory.path("gone.txt"), "cannot read")] {
        let mut wrong_list = serve(&empty);
        wrong_list.env("TRIBUTARY_DISPOSABLE_DOMAINS", file);
        let said = failure(wrong_list).await;
        assert!(said.contains(fault) && said.contains("disposable-domains"), "{said}");
    }
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
    let mut wrong_variable = serve(&empty);
    wrong_variable.env("TRIBUTARY_METRICS_LISTEN", "9464");
    let output = run(wrong_variable).await;
    let said = text(&output.stderr);
    assert!(
        said.contains("'--metrics-listen") && said.contains("TRIBUTARY_METRICS_LISTEN"),
        "{said}"
    );
    let mut many_faults = serve(&empty);
    many_faults
        .args(["--streams", "0", "--heartbeat-s", "0", "--smtp-url", "smtp://127.0.0.1:1"])
        .env("TRIBUTARY_PASSWORD_RULES", "everything")
        .env("TRIBUTARY_ADMIN_KEY", "short");
    let said = failure(many_faults).await;
    for fault in [
        "error: 6 settings are wrong:",
        "--streams (TRIBUTARY_STREAMS): must be 1 to 1000000, not 0",
        "--heartbeat-s (TRIBUTARY_HEARTBEAT_S): must be 1 to 3600, not 0",
        "--password-rules (TRIBUTARY_PASSWORD_RULES): ",
        "--admin-key (TRIBUTARY_ADMIN_KEY): has 5 characters",
        "--smtp-url (SMTP_URL): needs --public-url (TRIBUTARY_PUBLIC_URL)",
        "--smtp-url (SMTP_URL): needs --mail-from (TRIBUTARY_MAIL_FROM)",
    ] {
        assert!(said.contains(fault), "{fault} is not in {said}");
    }
    let mut no_database = serve(&empty);
    no_database.env_remove("DATABASE_URL");
    let output = run(no_database).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--database-url"), "{}", text(&output.stderr));
}
