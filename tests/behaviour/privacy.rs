//! No secret, token, password, address or name is where it does not belong: in logs, events, metrics, traces or errors.
//!
//! Every RPC is called, with credentials of every kind, and with secrets in every field that is text. Then everything
//! that the server has written or answered is read back.

use std::path::PathBuf;
use std::time::Duration;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, Value,
};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use contract::pb::*;
use testing::people::People;
use testing::{
    ADMIN_KEY, Client, Server, ServerOptions, TestDatabase, plain_http, serve, sign_up_request,
};

use super::raw;
use super::traces::Collector;

const LINES: &str = "multi-level-commission";
const ADDRESS: &str = "countess@lovelace.example";
const PASSWORD: &str = "Correct-Horse-Battery-7";
const DISPLAY_NAME: &str = "Augusta Ada King";
const USERNAME: &str = "augusta.login";
const CLIENT_IP: &str = "203.0.113.77";
const WRONG_KEY: &str = "tributary_wrong_key_98765432101234";
const WRONG_TOKEN: &str =
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJub2JvZHkifQ.bm90LWEtc2lnbmF0dXJlLWF0LWFsbA";

/// The tables in which personal data may be, and hashes of secrets.
const PERSONAL: &[&str] = &[
    "profiles",
    "claims",
    "sessions",
    "refresh_tokens",
    "api_keys",
    "mailed_tokens",
    "mails",
    "second_factors",
    "sign_ups",
    "sign_up_clients",
    "referee_addresses",
    "fraud_evidence",
    "fraud_notes",
    "notes",
    "stripe_payments",
    "stripe_events",
];

/// What is sent in fields of this name; other text fields get the address.
fn secret_for(field: &FieldDescriptor) -> &'static str {
    match field.name() {
        name if name.contains("password") => PASSWORD,
        "display_name" | "name" => DISPLAY_NAME,
        "username" | "login" => USERNAME,
        "client_ip" => CLIENT_IP,
        name if name.ends_with("token") => WRONG_TOKEN,
        _ => ADDRESS,
    }
}

/// A request with a secret in each text field.
fn full_of_secrets(rpc: &MethodDescriptor) -> Vec<u8> {
    let mut message = DynamicMessage::new(rpc.input());
    for field in rpc.input().fields() {
        let text = || Value::String(secret_for(&field).into());
        match field.kind() {
            Kind::String if field.is_list() => message.set_field(&field, Value::List(vec![text()])),
            Kind::String => message.set_field(&field, text()),
            _ => {}
        }
    }
    message.encode_to_vec()
}

fn rpcs() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
    let services = pool.services().filter(|service| service.package_name() == "tributary.v1");
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Calls every RPC with requests full of secrets, with this credential; what the errors say.
async fn call_all(client: &Client, credential: Option<&str>, said: &mut Vec<String>) {
    for rpc in rpcs() {
        let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
        let mut request = Request::new(full_of_secrets(&rpc));
        if let Some(credential) = credential {
            let value = format!("Bearer {credential}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        let limits = (3, Duration::from_millis(50));
        if let Err(status) = raw::some(client.channel(), &path, request, limits).await {
            said.push(in_words(&path, &status));
        }
    }
}

/// Everything that a status says.
fn in_words(path: &str, status: &Status) -> String {
    let details = status.get_error_details();
    format!("{path}: {} {details:?} {:?}", status.message(), status.metadata())
}

/// Uses the server as people and back ends do; the tokens that were given out.
async fn use_all_sorts(client: &Client, said: &mut Vec<String>) -> Vec<String> {
    client.publish_shipped(LINES).await;
    let sign_up = RegisterUserRequest {
        username: USERNAME.into(),
        email: ADDRESS.into(),
        display_name: DISPLAY_NAME.into(),
        password: PASSWORD.into(),
        client_ip: CLIENT_IP.into(),
        request_id: "sign-up-1".into(),
        ..sign_up_request(LINES, "u-1", "")
    };
    let ada = client.register(sign_up.clone()).await.unwrap();
    client.sign_up(LINES, "u-2", &ada.participants[0].code).await.unwrap();
    // Taken names, addresses and ids.
    for (user_id, username, email) in [
        ("u-3", USERNAME, "other@example.com"),
        ("u-4", "other", ADDRESS),
        ("u-1", "x", "x@y.example"),
    ] {
        let taken = RegisterUserRequest {
            user_id: user_id.into(),
            username: username.into(),
            email: email.into(),
            request_id: String::new(),
            ..sign_up.clone()
        };
        said.push(in_words("taken", &client.register(taken).await.unwrap_err()));
    }
    let people = People::of(client);
    let login = people.login(ADDRESS, PASSWORD).await.unwrap();
    let wrong = people.login(ADDRESS, "Wrong-Horse-Battery-7").await.unwrap_err();
    said.push(in_words("wrong password", &wrong));
    let refreshed = people.refresh(&login.refresh_token).await.unwrap();
    people.me(&refreshed.access_token).await.unwrap();
    client.buy("order-1", "u-2", "INR", 100_000).await.unwrap();
    for find in [
        FindUserRequest { email: ADDRESS.into(), ..Default::default() },
        FindUserRequest { username: USERNAME.into(), ..Default::default() },
    ] {
        client.accounts().find_user(client.request(find)).await.unwrap();
    }
    assert!(client.export("u-1").await.unwrap().contains(ADDRESS));
    said.push(in_words("owed", &client.erase("u-1", false).await.unwrap_err()));
    vec![
        login.access_token,
        login.refresh_token,
        refreshed.access_token.clone(),
        refreshed.refresh_token,
    ]
}

/// All rows of all tables that are not personal.
async fn rows(database: &TestDatabase) -> Vec<(String, String)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select quote_ident(tablename) from pg_tables where schemaname = current_schema()",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let mut all = Vec::new();
    for table in tables.into_iter().filter(|table| !PERSONAL.contains(&&**table)) {
        let query = format!("select rows::text from {table} as rows");
        let rows: Vec<String> = sqlx::query_scalar(&query).fetch_all(&database.pool).await.unwrap();
        all.push((format!("the table {table}"), rows.join("\n")));
    }
    all
}

fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

fn log_file() -> PathBuf {
    std::env::temp_dir().join(format!("tributary-log-{}-privacy", std::process::id()))
}

/// A server that logs everything, with traces and metrics.
async fn start(database: &TestDatabase, traces: &str, metrics: &str) -> Server {
    let arguments = ["--otlp-endpoint", traces, "--otlp-ratio", "1", "--metrics-listen", metrics];
    let arguments = arguments.into_iter().map(str::to_owned).collect();
    let mut command = serve(&database.url, &ServerOptions { arguments });
    let log = std::fs::File::create(log_file()).unwrap();
    command.env("TRIBUTARY_LOG", "debug").stderr(log);
    Server::start_command(command).await
}

#[tokio::test]
async fn nothing_personal_and_no_secret_is_in_logs_events_metrics_traces_or_errors() {
    let database = TestDatabase::new().await;
    let ((collector, traces), metrics) = (Collector::start().await, free_address());
    let server = start(&database, &traces, &metrics).await;
    let client = server.client();
    let mut said = Vec::new();
    let tokens = use_all_sorts(&client, &mut said).await;
    for credential in [None, Some(ADMIN_KEY), Some(WRONG_KEY), Some(WRONG_TOKEN), Some(&*tokens[2])]
    {
        call_all(&client, credential, &mut said).await;
    }
    let mut written = rows(&database).await;
    client.erase("u-1", true).await.unwrap();
    let measured = plain_http::get(&metrics, "/metrics", &[]).await.unwrap().text();
    // Failed logins and refused calls are counted.
    for (service, rpc, code) in [
        ("AccountService", "Login", "UNAUTHENTICATED"),
        ("AccountService", "GetUser", "UNAUTHENTICATED"),
        ("ProgramService", "PublishProgram", "PERMISSION_DENIED"),
    ] {
        let line = format!(
            r#"tributary_rpcs_handled_total{{service="{service}",rpc="{rpc}",code="{code}"}}"#
        );
        assert!(measured.contains(&line), "{line} is not in {measured}");
    }
    server.stop().await;
    let spans = format!("{:?}", collector.0.lock().unwrap());
    assert!(spans.contains("RegisterUser"));
    let log = std::fs::read_to_string(log_file()).unwrap();
    assert!(log.len() > 1_000, "the log is at the level debug");

    written.extend([
        ("the log".to_owned(), log),
        ("the metrics".to_owned(), measured),
        ("the traces".to_owned(), spans),
        ("the errors".to_owned(), said.join("\n")),
    ]);
    let secrets =
        [ADDRESS, "lovelace", PASSWORD, DISPLAY_NAME, CLIENT_IP, ADMIN_KEY, WRONG_KEY, WRONG_TOKEN];
    for (place, text) in &written {
        for secret in secrets.iter().copied().chain(tokens.iter().map(|token| &**token)) {
            let found = text.lines().find(|line| line.contains(secret));
            assert_eq!(found, None, "{secret} is in {place}");
        }
        // Errors repeat a username that the caller has sent.
        if place != "the errors" {
            assert!(!text.contains(USERNAME), "{USERNAME} is in {place}");
        }
    }
    std::fs::remove_file(log_file()).unwrap();
    database.check().await;
}
