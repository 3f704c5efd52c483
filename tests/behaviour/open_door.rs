//! Sign-ups by anybody: what they are told, in which order, and what they cost. And that no header of a request is
//! ever logged.

use std::process::Stdio;
use std::time::{Duration, Instant};

use contract::pb::*;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::support::{log_length, refused};
use testing::plain_http::{get, send};
use testing::tls::Certificate;
use testing::{ADMIN_KEY, Client, Server, ServerOptions, TestDatabase, at_once, serve};

const PASSWORD: &str = "Correct-Horse-7";
/// An unknown code fails a sign-up here.
const STRICT: &str = "tiered-points";

async fn server(arguments: &[&str]) -> (TestDatabase, Server, Client) {
    let database = TestDatabase::new().await;
    let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let anybody = server.separate_client(None).await;
    (database, server, anybody)
}

fn sign_up(username: &str, email: &str) -> RegisterUserRequest {
    RegisterUserRequest {
        username: username.into(),
        email: email.into(),
        password: PASSWORD.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn that_an_address_has_an_account_is_told_last_and_counted() {
    let metrics = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let (database, server, anybody) = server(&["--metrics-listen", &metrics]).await;
    server.client().publish_shipped(STRICT).await;
    anybody.register(sign_up("ada", "ada@example.com")).await.unwrap();
    let before = log_length(&database).await;

    // A known username with an address to be probed.
    let status = refused(
        anybody.register(sign_up("ADA", "ada@example.com")).await,
        Code::AlreadyExists,
        "USERNAME_TAKEN",
    );
    let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
    let fields: Vec<_> = violations.iter().map(|violation| &*violation.field).collect();
    assert_eq!(fields, ["username"]);
    assert!(!status.message().contains("mail"), "{status:?}");
    // A code that the program does not accept, and a password that is too weak.
    let unknown = RegisterUserRequest {
        program_id: STRICT.into(),
        referral_code: "NOBODYS1".into(),
        ..sign_up("bob", "ada@example.com")
    };
    refused(anybody.register(unknown).await, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    let nowhere =
        RegisterUserRequest { program_id: "none".into(), ..sign_up("bob", "ada@example.com") };
    refused(anybody.register(nowhere).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let weak = RegisterUserRequest { password: "a".into(), ..sign_up("bob", "ada@example.com") };
    refused(anybody.register(weak).await, Code::InvalidArgument, "INVALID_FIELD");
    let counted = async |count: u32| {
        let told = get(&metrics, "/metrics", &[]).await.unwrap().text();
        let line = format!("tributary_addresses_told_total {count}\n");
        assert!(told.contains(&line), "{line} is not in {told}");
    };
    counted(0).await;

    // Only who would otherwise have made an account is told, and is counted.
    refused(
        anybody.register(sign_up("bob", "Ada@Example.com")).await,
        Code::AlreadyExists,
        "EMAIL_TAKEN",
    );
    counted(1).await;
    assert_eq!(log_length(&database).await, before);

    // A back end, which knows the addresses of its users, is told everything at once.
    let both = server.client().register(sign_up("ada", "ada@example.com")).await;
    let status = refused(both, Code::AlreadyExists, "USERNAME_TAKEN");
    let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
    assert_eq!(violations.len(), 2, "{violations:?}");
    counted(1).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_sign_up_that_is_refused_costs_no_hash() {
    let (database, server, anybody) = server(&[]).await;
    let began = Instant::now();
    anybody.register(sign_up("ada", "ada@example.com")).await.unwrap();
    let with_hash = began.elapsed();
    let began = Instant::now();
    let taken = at_once((0..32).map(|number| {
        let anybody = anybody.clone();
        async move { anybody.register(sign_up("ada", &format!("{number}@example.com"))).await }
    }))
    .await;
    let took = began.elapsed();
    for answer in taken {
        refused(answer, Code::AlreadyExists, "USERNAME_TAKEN");
    }
    assert!(took < 8 * with_hash, "32 refusals took {took:?}, one sign-up {with_hash:?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn sign_ups_at_once_get_exact_answers_and_a_repetition_the_first_one() {
    let (database, server, anybody) = server(&[]).await;
    let answers =
        at_once(
            (0..6).map(|number| {
                let anybody = anybody.clone();
                async move {
                    anybody.register(sign_up(&format!("user-{number}"), "one@example.com")).await
                }
            }),
        )
        .await;
    let (made, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), others.len()), (1, 5));
    for answer in others {
        refused(answer, Code::AlreadyExists, "EMAIL_TAKEN");
    }
    let repeatable =
        RegisterUserRequest { request_id: "once".into(), ..sign_up("eve", "eve@example.com") };
    let first = anybody.register(repeatable.clone()).await.unwrap();
    let again = anybody.register(repeatable.clone()).await.unwrap();
    assert_eq!(again, first);
    let other = RegisterUserRequest { display_name: "Eve".into(), ..repeatable };
    refused(anybody.register(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn with_self_registration_off_only_back_ends_sign_up_users() {
    let (database, server, anybody) = server(&["--self-registration", "off"]).await;
    refused(
        anybody.register(sign_up("ada", "ada@example.com")).await,
        Code::PermissionDenied,
        "SELF_REGISTRATION_CLOSED",
    );
    // Not even whether the request is right.
    refused(
        anybody.register(RegisterUserRequest::default()).await,
        Code::PermissionDenied,
        "SELF_REGISTRATION_CLOSED",
    );
    server.client().register(sign_up("ada", "ada@example.com")).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_address_that_a_stranger_names_is_ignored() {
    let (database, server, anybody) = server(&[]).await;
    let named = |client_ip: &str| RegisterUserRequest {
        client_ip: client_ip.into(),
        ..sign_up("ada", "ada@example.com")
    };
    refused(anybody.register(named("nowhere")).await, Code::InvalidArgument, "INVALID_FIELD");
    anybody.register(named("203.0.113.1")).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn no_header_of_a_request_is_logged_at_any_level() {
    let (database, certificate) = (TestDatabase::new().await, Certificate::new());
    for is_encrypted in [false, true] {
        let log = certificate.file().with_file_name(format!("log-{is_encrypted}"));
        let arguments = if is_encrypted { certificate.arguments().to_vec() } else { Vec::new() };
        let mut command = serve(&database.url, &ServerOptions { arguments });
        command.env("TRIBUTARY_LOG", "trace");
        command.stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
        let secrets = ["needle-in-a-header", "needle-of-a-key", ADMIN_KEY];
        if is_encrypted {
            let mut child = command.spawn().unwrap();
            let mut lines = {
                use tokio::io::{AsyncBufReadExt, BufReader};
                BufReader::new(child.stdout.take().unwrap()).lines()
            };
            let line = lines.next_line().await.unwrap().unwrap();
            let url = format!("https://localhost:{}", line.rsplit_once(':').unwrap().1);
            let called =
                client::Server { ca_file: Some(certificate.file()), ..client::Server::at(url) };
            let channel = called.endpoint().unwrap().connect().await.unwrap();
            calls(&channel, secrets).await;
            testing::signal(&child, "-TERM").await;
            assert!(child.wait().await.unwrap().success());
        } else {
            let server = Server::start_command(command).await;
            calls(&server.client().channel(), secrets).await;
            for key in &secrets[1..] {
                let headers = [
                    &*format!("authorization: Bearer {key}"),
                    &*format!("x-secret: {}", secrets[0]),
                    "content-type: application/grpc-web+proto",
                ];
                let line = "POST /tributary.v1.ProgramService/ListPrograms";
                let answer = send(&server.address, line, &headers, &[0; 5]).await.unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            server.stop().await;
        }
        let logged = std::fs::read_to_string(&log).unwrap();
        assert!(logged.lines().count() > 10, "{logged}");
        for secret in secrets {
            let line = logged.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in the log");
        }
    }
}

/// Calls with secrets in headers: one with a key that is not known, one with the admin key.
async fn calls(channel: &tonic::transport::Channel, [secret, key, admin_key]: [&str; 3]) {
    for key in [key, admin_key] {
        let client = Client::new(channel.clone(), Some(key));
        let mut request: Request<ListProgramsRequest> =
            client.request(ListProgramsRequest::default());
        let secret = MetadataValue::try_from(secret).unwrap();
        request.metadata_mut().insert("x-secret", secret);
        let answer = client.programs().list_programs(request).await;
        assert_eq!(answer.is_ok(), key == admin_key, "{answer:?}");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
}
