//! `tributary call`: any RPC from the command line, and its error messages.

use std::process::{Output, Stdio};
use std::time::Duration;

use contract::pb::WatchEarningsResponse;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};

use super::support::{PATIENCE, server_with};
use testing::{ADMIN_KEY, Server, tributary};

const PROGRAM: &str = "multi-level-commission";

/// `tributary call` on a server, with its key in the environment.
fn call(server: &Server, arguments: &[&str]) -> Command {
    let mut command = tributary();
    command
        .args(["call", "--server", &format!("http://{}", server.address)])
        .args(arguments)
        .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
    command
}

async fn run(mut command: Command) -> Output {
    tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends in time").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The output of a successful call.
async fn answer(command: Command) -> String {
    let output = run(command).await;
    let (said, printed) = (text(&output.stderr), text(&output.stdout));
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{printed}");
    printed
}

/// The error output of a call that must fail with this exit code.
async fn failure(command: Command, code: i32) -> String {
    let output = run(command).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(text(&output.stdout), "");
    assert!(said.starts_with("error: "), "{said}");
    said
}

/// A call that runs for as long as its stream.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the call starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next message, as soon as it is printed.
    async fn next(&mut self) -> String {
        let message = async {
            let mut message = String::new();
            while !message.ends_with("\n}\n") {
                message.push_str(&self.lines.next_line().await.unwrap().expect("a message"));
                message.push('\n');
            }
            message
        };
        tokio::time::timeout(PATIENCE, message).await.expect("a message arrives in time")
    }

    async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
    }

    /// The exit code and the error output of the call.
    async fn end(self) -> (Option<i32>, String) {
        let output = tokio::time::timeout(PATIENCE, self.child.wait_with_output()).await;
        let output = output.expect("it ends in time").unwrap();
        (output.status.code(), text(&output.stderr))
    }
}

#[tokio::test]
async fn any_rpc_can_be_called_with_json_from_an_argument_from_stdin_or_with_none() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();

    let request = format!(r#"{{"program_id":"{PROGRAM}","userId":"ada"}}"#);
    for name in ["RewardService/GetBalances", "tributary.v1.RewardService/GetBalances"] {
        let printed = answer(call(&server, &[name, &request])).await;
        // Names in camel case, 64-bit numbers as texts, and no field that is 0.
        let position = printed.split("\"position\": \"").nth(1).expect("a position");
        let position = position.split('"').next().unwrap();
        let expected = format!(
            "{{\n  \"balances\": [\n    {{\n      \"currencyCode\": \"INR\"\n    }}\n  ],\n  \
             \"position\": \"{position}\",\n  \"buckets\": [\n"
        );
        assert!(printed.starts_with(&expected), "{printed}");
    }

    let mut from_stdin = call(&server, &["AccountService/GetUser", "-"]);
    from_stdin.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = from_stdin.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"user_id\":\n\"ada\"}\n").await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("\"userId\": \"ada\""), "{}", text(&output.stdout));

    let printed = answer(call(&server, &["ProgramService/ListPrograms"])).await;
    assert!(printed.contains("\"programId\": \"multi-level-commission\""), "{printed}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn each_message_of_a_stream_is_printed_when_it_arrives_and_ctrl_c_ends_it_quietly() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let ada = client.sign_up(PROGRAM, "ada", "").await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    let request = format!(r#"{{"program_id":"{PROGRAM}","user_id":"ada"}}"#);
    let mut watching = Watching::start(call(&server, &["RewardService/WatchEarnings", &request]));

    let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
    let message = pool.get_message_by_name("tributary.v1.WatchEarningsResponse").unwrap();
    let parse = |json: &str| -> WatchEarningsResponse {
        let mut json = serde_json::Deserializer::from_str(json);
        let message = DynamicMessage::deserialize(message.clone(), &mut json).unwrap();
        assert_eq!(message.descriptor().name(), "WatchEarningsResponse");
        message.transcode_to().unwrap()
    };
    let heartbeat = parse(&watching.next().await);
    assert!(heartbeat.reward.is_none() && !heartbeat.resume_token.is_empty());
    for (number, total) in [(1, 5_007), (2, 10_014)] {
        client.buy(&format!("order-{number}"), "bob", "INR", 100_130).await.unwrap();
        let earned = parse(&watching.next().await);
        assert_eq!(earned.reward.unwrap().purchase_id, format!("order-{number}"));
        assert_eq!(earned.total.unwrap().minor_units, total);
    }

    watching.signal("-INT").await;
    assert_eq!(watching.end().await, (Some(0), String::new()));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_stream_that_the_server_ends_says_where_to_go_on_from() {
    let (_database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let request = format!(r#"{{"program_id":"{PROGRAM}","user_id":"ada"}}"#);
    let mut watching = Watching::start(call(&server, &["RewardService/WatchEarnings", &request]));
    let first = watching.next().await;

    server.stop().await;

    let (code, said) = watching.end().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("error: UNAVAILABLE (SHUTTING_DOWN): "), "{said}");
    let token = said.split("\n  resume_token = ").nth(1).expect(&said).lines().next().unwrap();
    assert!(first.contains(&format!("\"resumeToken\": \"{token}\"")), "{first} {said}");
    assert!(said.contains("\n  retry after 1 s"), "{said}");
}

#[tokio::test]
async fn a_stream_lasts_no_longer_than_its_timeout_or_its_reader() {
    let (_database, server, client) = server_with(&[PROGRAM]).await;
    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let request = format!(r#"{{"program_id":"{PROGRAM}","user_id":"ada"}}"#);
    let watch = ["RewardService/WatchEarnings", &request];

    let timed =
        Watching::start(call(&server, &[watch[0], watch[1], "--timeout", "0.5"])).end().await;
    let expected = "error: DEADLINE_EXCEEDED: no end within 0.5 s\n".to_owned();
    assert_eq!(timed, (Some(1), expected));

    let mut left = Watching::start(call(&server, &watch));
    left.next().await;
    let Watching { child, lines } = left;
    drop(lines);
    client.buy("order-1", "ada", "INR", 100_130).await.unwrap();
    let ada = client.user("ada").await.unwrap().participants.remove(0);
    client.sign_up(PROGRAM, "bob", &ada.code).await.unwrap();
    client.buy("order-2", "bob", "INR", 100_130).await.unwrap();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    server.stop().await;
}

#[tokio::test]
async fn errors_of_the_server_are_shown_with_all_their_details() {
    let (_database, server, client) = server_with(&[PROGRAM]).await;
    let empty = r#"{"amount":{"currency_code":"rupees","minor_units":"-5"}}"#;
    let said = failure(call(&server, &["PurchaseService/RecordPurchase", empty]), 1).await;
    assert!(said.starts_with("error: INVALID_ARGUMENT (INVALID_FIELD)\n"), "{said}");
    for (field, reason) in [
        ("buyer_user_id", "FIELD_REQUIRED"),
        ("amount.currency_code", "INVALID_CURRENCY"),
        ("amount.minor_units", "AMOUNT_NOT_POSITIVE"),
    ] {
        let mut lines = said.lines();
        let is_line = |line: &str| {
            line.starts_with(&format!("  {field}: ")) && line.ends_with(&format!(" ({reason})"))
        };
        assert!(lines.any(is_line), "{field}: {said}");
    }

    client.sign_up(PROGRAM, "ada", "").await.unwrap();
    let said = failure(call(&server, &["AccountService/GetUser", r#"{"user_id":"bob"}"#]), 1).await;
    assert!(said.starts_with("error: NOT_FOUND (USER_NOT_FOUND): "), "{said}");
    assert!(said.contains("\n  user_id = bob\n"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn the_key_is_sent_unless_the_call_is_anonymous_or_brings_credentials_of_its_own() {
    let (_database, server, _) = server_with(&[]).await;
    let list = |more: &[&str]| {
        let arguments = [&["ProgramService/ListPrograms"], more].concat();
        call(&server, &arguments)
    };

    let said = failure(list(&["--anonymous"]), 1).await;
    assert!(said.starts_with("error: UNAUTHENTICATED (MISSING_CREDENTIALS): "), "{said}");
    let said = failure(list(&["-H", "Authorization: Bearer guessed"]), 1).await;
    assert!(said.starts_with("error: UNAUTHENTICATED (INVALID_CREDENTIALS): "), "{said}");
    let with_key = format!("authorization:Bearer {ADMIN_KEY}");
    assert_eq!(answer(list(&["--anonymous", "-H", &with_key])).await, "{}\n");

    // Open to anyone, so this gets as far as the code.
    let validate = ["ReferralService/ValidateReferralCode", r#"{"referral_code":"NOBODYS1"}"#];
    let printed = answer(call(&server, &[validate[0], validate[1], "--anonymous"])).await;
    assert!(!printed.contains("\"valid\": true"), "{printed}");

    let mut without = list(&["--data-dir", "/nonexistent"]);
    without.env_remove("TRIBUTARY_ADMIN_KEY");
    let said = failure(without, 2).await;
    assert!(said.contains("TRIBUTARY_ADMIN_KEY") && said.contains("--data-dir"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_rpc_is_answered_with_those_there_are_the_close_ones_first() {
    let unknown = |name: &'static str| async move {
        let mut command = tributary();
        command.args(["call", name]);
        failure(command, 2).await
    };

    let said = unknown("RewardService/GetTeir").await;
    let names: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(said.starts_with("error: there is no RPC 'RewardService/GetTeir'"), "{said}");
    assert_eq!(names[0], "RewardService/GetTier", "{said}");
    let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
    for service in pool.services() {
        for rpc in service.methods() {
            let name = format!("{}/{}", service.name(), rpc.name());
            assert_eq!(names.iter().filter(|known| **known == name).count(), 1, "{name}: {said}");
        }
    }

    assert!(unknown("gettier").await.contains("names like it:\n  RewardService/GetTier\n"));
    assert!(unknown("NoService/Nothing").await.contains("PurchaseService/RecordPurchase"));
}

#[tokio::test]
async fn a_request_that_is_no_json_or_has_an_unknown_field_is_not_sent() {
    // No server listens there: a call that was sent would fail with another exit code.
    let request = |json: &'static str| async move {
        let mut command = tributary();
        command
            .args(["call", "--server", "http://127.0.0.1:1", "RewardService/GetTier", json])
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
        run(command).await
    };
    for json in [
        "{",
        "[]",
        "{} {}",
        r#"{"program":"x"}"#,
        r#"{"program_id":7}"#,
        r#"{"program_id":"x","program_id":"y"}"#,
        r#"{"program_id":"x","programId":"y"}"#,
    ] {
        let output = request(json).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{json}: {said}");
        assert!(said.starts_with("error: the request is not a GetTierRequest: "), "{said}");
        let fields = "its fields: program_id, user_id, as_of_time, consistency_token\n";
        assert!(said.contains(fields), "{said}");
    }
    for (json, expected) in [
        (r#"{"program":"x"}"#, "program: GetTierRequest has no such field, at line 1"),
        (r#"{"program_id":7}"#, "program_id: must be a string in quotes, not a number, at line 1"),
        (
            r#"{"as_of_time":"now"}"#,
            "as_of_time: must be a time, as in \"2026-03-01T12:00:00Z\", not \"now\"",
        ),
    ] {
        let said = text(&request(json).await.stderr);
        assert!(said.contains(expected), "{json}: {said}");
    }
    let output = request("{}").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no server answers at http://127.0.0.1:1"));
}

#[tokio::test]
async fn without_an_rpc_all_are_listed_and_one_can_be_described() {
    let printed = |arguments: &'static [&str]| async move {
        let mut command = tributary();
        command.arg("call").args(arguments);
        answer(command).await
    };

    let list = printed(&[]).await;
    assert_eq!(list, printed(&["--list"]).await);
    let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
    for service in pool.services() {
        for rpc in service.methods() {
            assert!(list.contains(&format!("{}/{}", service.name(), rpc.name())), "{list}");
        }
    }
    let watch =
        "RewardService/WatchEarnings (stream)\n    Streams every reward that one participant";
    assert!(list.contains(watch), "{list}");

    let tier = printed(&["--describe", "RewardService/GetTier"]).await;
    for part in [
        "Reads which tier a participant has",
        "Request: GetTierRequest",
        "  program_id: string\n    The program. Required.",
        "  as_of_time: time, as in \"2026-03-01T12:00:00Z\"",
        "Answer: GetTierResponse",
        "  next_tier: string",
    ] {
        assert!(tier.contains(part), "{part}: {tier}");
    }
    let publish = printed(&["--describe", "ProgramService/PublishProgram"]).await;
    for part in ["Message Program\n", "  rewards: list of RewardRule\n", "Enum EarnOn\n"] {
        assert!(publish.contains(part), "{part}: {publish}");
    }
}

#[tokio::test]
async fn https_never_speaks_plain_text_and_other_schemes_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let hearing = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut heard = [0; 3];
        connection.read_exact(&mut heard).await.unwrap();
        heard
    });
    let on = |url: &str| {
        let mut command = tributary();
        command
            .args(["call", "ProgramService/ListPrograms", "--server", url])
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
        command
    };

    let said = failure(on(&url), 1).await;
    assert!(said.contains(&format!("no server answers at {url}")), "{said}");
    let heard = tokio::time::timeout(Duration::from_secs(10), hearing).await.unwrap().unwrap();
    assert_eq!(heard[..2], [0x16, 0x03], "a TLS handshake begins with these bytes");

    for url in ["ftp://127.0.0.1:1", "localhost", "grpc://x"] {
        let said = failure(on(url), 2).await;
        assert!(said.contains("is not the address of a server"), "{url}: {said}");
    }
}

#[tokio::test]
async fn arguments_that_mean_nothing_are_usage_errors() {
    for arguments in [
        &["AccountService/GetUser", "-H", "no-colon"] as &[&str],
        &["AccountService/GetUser", "-H", "bad name:value"],
        &["AccountService/GetUser", "--timeout", "0"],
        &["AccountService/GetUser", "--timeout", "soon"],
        &["--describe"],
        &["--list", "AccountService/GetUser"],
    ] {
        let mut command = tributary();
        command.arg("call").args(arguments);
        failure(command, 2).await;
    }
}

#[tokio::test]
async fn a_login_by_the_command_line_is_listed_as_such() {
    let (_database, server, _) = server_with(&[]).await;
    let sign_up = r#"{"user_id":"ada","username":"ada","email":"ada@example.com","password":"Corr3ct-horse"}"#;
    answer(call(&server, &["AccountService/RegisterUser", sign_up])).await;
    let login = r#"{"login":"ada","password":"Corr3ct-horse"}"#;
    answer(call(&server, &["AccountService/Login", login, "--anonymous"])).await;
    let sessions =
        answer(call(&server, &["AccountService/ListSessions", r#"{"user_id":"ada"}"#])).await;
    let called = concat!("\"userAgent\": \"tributary/", env!("CARGO_PKG_VERSION"));
    assert!(sessions.contains(called), "{sessions}");
    server.stop().await;
}
