//! A server that speaks TLS on its port, with a certificate from files.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use client::Server as Called;
use contract::pb::ListProgramsRequest;
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;
use tonic::transport::Endpoint;

use super::support::PATIENCE;
use testing::tls::Certificate;
use testing::{ADMIN_KEY, Client, ServerOptions, TestDatabase, program, serve, signal, tributary};

/// A server with a certificate, and its log.
struct TlsServer {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl TlsServer {
    async fn start(database: &TestDatabase, certificate: &Certificate, more: &[&str]) -> Self {
        let mut arguments = certificate.arguments().to_vec();
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let log = certificate.file().with_file_name("log");
        let mut child = serve(&database.url, &ServerOptions { arguments })
            .env("TRIBUTARY_LOG", "info")
            .stderr(Stdio::from(std::fs::File::create(&log).unwrap()))
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        let line = line.expect("the server starts");
        let port = line.rsplit_once(':').unwrap().1.parse().unwrap();
        Self { child, port, log }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// A gRPC client that trusts a certificate.
    async fn client(&self, certificate: &Certificate) -> Client {
        let called = Called { ca_file: Some(certificate.file()), ..Called::at(self.url()) };
        let channel = called.endpoint().unwrap().connect().await.unwrap();
        Client::new(channel, Some(ADMIN_KEY))
    }

    /// Waits until the log has some words.
    async fn says(&self, words: &str) {
        let saying = async {
            while !std::fs::read_to_string(&self.log).unwrap().contains(words) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, saying).await.unwrap_or_else(|_| panic!("no '{words}'"));
    }

    async fn stop(mut self) {
        signal(&self.child, "-TERM").await;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "the server ended with {ended}");
    }
}

async fn is_served(client: &Client) {
    let request = client.request(ListProgramsRequest::default());
    client.programs().list_programs(request).await.unwrap();
}

#[tokio::test]
async fn one_port_speaks_tls_to_grpc_over_http2_and_to_grpc_web_over_http1_and_not_in_clear() {
    let (database, certificate) = (TestDatabase::new().await, Certificate::new());
    let server = TlsServer::start(&database, &certificate, &[]).await;
    let client = server.client(&certificate).await;
    client.publish_shipped("referral-count").await;
    is_served(&client).await;

    // A client that speaks both versions gets HTTP/2.
    let both = certificate.connect(server.port, &["http/1.1", "h2"]).await.unwrap();
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    drop(both);
    for protocols in [&["http/1.1"] as &[&str], &[]] {
        let mut old = certificate.connect(server.port, protocols).await.unwrap();
        let message = ListProgramsRequest::default().encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let head = format!(
            "POST /tributary.v1.ProgramService/ListPrograms HTTP/1.1\r\nhost: localhost\r\n\
             authorization: Bearer {ADMIN_KEY}\r\ncontent-type: application/grpc-web+proto\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            message.len() + 5
        );
        old.write_all(&[head.as_bytes(), &[0], &length, &message].concat()).await.unwrap();
        let mut said = Vec::new();
        old.read_to_end(&mut said).await.unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("HTTP/1.1 200") && said.contains("referral-count"), "{said}");
        assert!(said.contains("grpc-status:0"), "{said}");
    }

    let plain = Endpoint::from_shared(format!("http://127.0.0.1:{}", server.port)).unwrap();
    let answered = async {
        let client = Client::new(plain.connect().await?, Some(ADMIN_KEY));
        let request = client.request(ListProgramsRequest::default());
        client.programs().list_programs(request).await?;
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let answered = tokio::time::timeout(PATIENCE, answered).await.expect("it ends in time");
    assert!(answered.is_err(), "the server answered without TLS");
    is_served(&client).await;
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn command_lines_of_ours_call_a_server_that_speaks_tls() {
    let (database, certificate) = (TestDatabase::new().await, Certificate::new());
    let server = TlsServer::start(&database, &certificate, &[]).await;
    let (ca_file, shipped) = (certificate.file(), program("referral-count"));
    let mut publish = tributary();
    publish.args(["program", "publish"]).arg(shipped).args(["--server", &server.url()]);
    publish.arg("--ca-file").arg(&ca_file).env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
    let output = publish.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_handshake_that_is_not_complete_in_time_is_cut_off() {
    let (database, certificate) = (TestDatabase::new().await, Certificate::new());
    let server = TlsServer::start(&database, &certificate, &["--request-timeout-s", "1"]).await;
    // The first byte of a handshake, and then nothing.
    let mut silent = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    silent.write_all(&[0x16]).await.unwrap();
    let began = Instant::now();
    let mut said = Vec::new();
    let reading = silent.read_to_end(&mut said);
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("it is closed in time");
    let took = began.elapsed();
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(8), "{took:?}");
    is_served(&server.client(&certificate).await).await;
    server.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let (database, certificate) = (TestDatabase::new().await, Certificate::new());
    let server = TlsServer::start(&database, &certificate, &[]).await;
    let open = server.client(&certificate).await;

    certificate.renew();
    server.says("the TLS certificate was loaded again").await;
    is_served(&server.client(&certificate).await).await;
    // A connection that was open before stays.
    is_served(&open).await;

    let good = std::fs::read(certificate.key_file()).unwrap();
    std::fs::write(certificate.key_file(), &good[..good.len() / 2]).unwrap();
    server.says("the TLS certificate cannot be loaded again").await;
    is_served(&server.client(&certificate).await).await;

    // Another key than that of the certificate.
    std::fs::write(certificate.key_file(), std::fs::read(Certificate::new().key_file()).unwrap())
        .unwrap();
    server.says("cannot be used: ").await;
    is_served(&server.client(&certificate).await).await;

    certificate.renew();
    let renewed = async {
        while certificate.connect(server.port, &["h2"]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the newest certificate is used");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_server_does_not_start_with_a_certificate_that_it_cannot_use() {
    let (one, other) = (Certificate::new(), Certificate::new());
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (file, key) = (text(one.file()), text(one.key_file()));
    let missing = text(one.file().with_file_name("missing.pem"));
    for (given, said) in [
        (vec!["--tls-cert", &file], "--tls-cert (TRIBUTARY_TLS_CERT): needs --tls-key"),
        (vec!["--tls-key", &key], "--tls-key (TRIBUTARY_TLS_KEY): needs --tls-cert"),
        (vec!["--tls-cert", &missing, "--tls-key", &key], "cannot read "),
        (vec!["--tls-cert", &key, "--tls-key", &key], "has no certificate in PEM"),
        (vec!["--tls-cert", &file, "--tls-key", &file], "has no private key in PEM"),
        (vec!["--tls-cert", &file, "--tls-key", &text(other.key_file())], "cannot be used: "),
    ] {
        let arguments = given.iter().map(|&argument| argument.to_owned()).collect();
        let mut command = serve("postgres://127.0.0.1:1/none", &ServerOptions { arguments });
        let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{given:?}: {error}");
        assert!(error.contains(said), "{given:?}: {error}");
    }
}
