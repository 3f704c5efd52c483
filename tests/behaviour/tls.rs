//! Clients of ours on a server behind TLS: they speak TLS for `https`, check the certificate, and never send a key
//! in clear.

use std::process::Output;

use tokio::process::Command;

use super::support::{PATIENCE, server_with};
use testing::tls::TlsProxy;
use testing::{ADMIN_KEY, program, tributary};

async fn run(mut command: Command) -> (Option<i32>, String, String) {
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let Output { status, stdout, stderr } = ended.expect("it ends in time").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn client(arguments: &[&str], server: &str) -> Command {
    let mut command = tributary();
    command.args(arguments).args(["--server", server]).env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY);
    command
}

#[tokio::test]
async fn every_client_speaks_tls_for_https_and_trusts_the_authority_that_it_is_given() {
    let (database, server, _) = server_with(&[]).await;
    let proxy = TlsProxy::start(&server.address).await;
    let ca_file = proxy.ca_file.to_str().unwrap();

    let shipped = program("referral-count");
    let publish = ["program", "publish", shipped.to_str().unwrap(), "--ca-file", ca_file];
    let (code, printed, said) = run(client(&publish, &proxy.url())).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(printed, "referral-count version 1 is in force\n");
    let mut list = client(&["program", "list"], &proxy.url());
    list.env("TRIBUTARY_CA_FILE", ca_file);
    let (code, printed, said) = run(list).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.starts_with("referral-count\tversion 1\t"), "{printed}");
    let call = ["call", "ProgramService/ListPrograms", "--ca-file", ca_file];
    let (code, printed, said) = run(client(&call, &proxy.url())).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("\"programId\": \"referral-count\""), "{printed}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (_database, server, _) = server_with(&[]).await;
    let proxy = TlsProxy::start(&server.address).await;
    for arguments in [&["program", "list"] as &[&str], &["call", "ProgramService/ListPrograms"]] {
        let (code, _, said) = run(client(arguments, &proxy.url())).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is not trusted") && said.contains("--ca-file"), "{said}");
    }
    // The certificate is of localhost only.
    let ca_file = proxy.ca_file.to_str().unwrap();
    let by_address = format!("https://127.0.0.1:{}", proxy.port);
    let (code, _, said) =
        run(client(&["program", "list", "--ca-file", ca_file], &by_address)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it is for another name"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn what_keeps_a_client_from_a_server_that_answers_is_told() {
    let (_database, server, _) = server_with(&[]).await;
    let proxy = TlsProxy::start(&server.address).await;
    let of_authority = TlsProxy::with_the_certificate_of_an_authority(&server.address).await;
    let tls_in_clear = format!("http://localhost:{}", proxy.port);
    let clear_by_tls = format!("https://{}", server.address);
    let authority = of_authority.ca_file.to_str().unwrap();
    let lists = [&["program", "list"] as &[&str], &["call", "ProgramService/ListPrograms"]];
    for arguments in lists {
        let trusting = [arguments, &["--ca-file", authority]].concat();
        for (arguments, address, expected) in [
            (arguments, &tls_in_clear, "speaks TLS; write https://"),
            (arguments, &clear_by_tls, "does not speak TLS; write http://"),
            (&trusting, &of_authority.url(), "CA:FALSE"),
        ] {
            let (code, _, said) = run(client(arguments, address)).await;
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains(expected) && !said.contains("start one"), "{said}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_host_with_a_port_is_an_address_and_another_scheme_is_none() {
    let (_database, server, _) = server_with(&["referral-count"]).await;
    let port = server.address.rsplit_once(':').unwrap().1;
    for address in [server.address.clone(), format!("localhost:{port}")] {
        let (code, printed, said) = run(client(&["program", "list"], &address)).await;
        assert_eq!(code, Some(0), "{address}: {said}");
        assert!(printed.starts_with("referral-count\t"), "{printed}");
    }
    for address in ["ftp://localhost:1", "grpc://localhost:1", "localhost"] {
        let (code, _, said) = run(client(&["program", "list"], address)).await;
        assert_eq!(code, Some(1), "{address}: {said}");
        assert!(said.contains("is not the address of a server"), "{said}");
    }
    server.stop().await;
}
