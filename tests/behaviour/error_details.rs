//! The details of errors, as tools see them that know nothing but what reflection says.

use std::path::Path;

use contract::pb::*;
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::FileDescriptorProto;
use tonic::transport::Channel;

use super::reflection::{v1, v1alpha};
use super::support::server_with;
use testing::{ADMIN_KEY, Client, clean_command};

/// The status of a purchase in which the currency, the amount and the buyer are at fault.
async fn bad_purchase(client: &Client) -> tonic::Status {
    client.buy("", "", "usd", 0).await.unwrap_err()
}

/// Everything that a file of reflection needs, the file last.
macro_rules! with_imports {
    ($version:ident, $channel:expr, $symbol:expr) => {{
        let mut files: Vec<FileDescriptorProto> =
            $version::with_symbol($channel.clone(), $symbol).await;
        let mut next = 0;
        while let Some(file) = files.get(next).cloned() {
            next += 1;
            for import in &file.dependency {
                if files.iter().all(|known| known.name() != import) {
                    files.extend($version::named($channel.clone(), import).await);
                }
            }
        }
        files.reverse();
        files
    }};
}

/// The details of a status as JSON, decoded by the descriptors of one version of reflection.
macro_rules! decoded {
    ($version:ident, $channel:expr, $status:expr) => {{
        let channel: Channel = $channel;
        let mut pool = DescriptorPool::new();
        for symbol in ["google.rpc.Status", "google.rpc.ErrorInfo"] {
            for file in with_imports!($version, channel, symbol) {
                if pool.get_file_by_name(file.name()).is_none() {
                    pool.add_file_descriptor_proto(file).unwrap();
                }
            }
        }
        let of_status = pool.get_message_by_name("google.rpc.Status").unwrap();
        let decoded = DynamicMessage::decode(of_status, $status.details()).unwrap();
        // The JSON form of what is in the details needs the types of all of them.
        serde_json::to_value(&decoded).unwrap()
    }};
}

fn is_complete(status: &serde_json::Value) {
    let details = status["details"].as_array().unwrap();
    let of = |name: &str| {
        let name = format!("type.googleapis.com/google.rpc.{name}");
        details.iter().find(|detail| detail["@type"] == *name).unwrap_or_else(|| panic!("{status}"))
    };
    assert_eq!(of("ErrorInfo")["reason"], "INVALID_FIELD");
    let violations = of("BadRequest")["fieldViolations"].as_array().unwrap();
    let named: Vec<_> = violations.iter().map(|of| of["field"].as_str().unwrap()).collect();
    assert_eq!(named, ["amount.currency_code", "amount.minor_units", "buyer_user_id"]);
}

#[tokio::test]
async fn reflection_describes_the_details_of_errors() {
    let (database, server, client) = server_with(&[]).await;
    let status = bad_purchase(&client).await;
    let channel = server.separate_client(None).await.channel();
    is_complete(&decoded!(v1, channel.clone(), status));
    is_complete(&decoded!(v1alpha, channel.clone(), status));
    for message in ["BadRequest.FieldViolation", "RetryInfo"] {
        let symbol = format!("google.rpc.{message}");
        let files = v1::with_symbol(channel.clone(), &symbol).await;
        assert_eq!(files[0].name(), "google/rpc/error_details.proto");
    }
    let file = v1::named(channel.clone(), "google/rpc/status.proto").await;
    assert_eq!(file[0].package(), "google.rpc");
    // They are messages only: the list of services is as before.
    let services = v1::services(channel).await;
    assert!(services.iter().all(|service| !service.starts_with("google.")), "{services:?}");
    server.stop().await;
    database.check().await;
}

/// Runs where buf is installed, as in CI. It shows details as base64 whatever the server describes, so that its users
/// depend on the message.
#[tokio::test]
async fn buf_shows_in_words_what_is_wrong_and_what_is_right() {
    let mut which = clean_command(Path::new("bash"));
    if !which.args(["-c", "command -v buf"]).output().await.unwrap().status.success() {
        eprintln!("skipped: buf is not installed");
        return;
    }
    let (database, server, _) = server_with(&[]).await;
    let url = format!("http://{}/tributary.v1.PurchaseService/RecordPurchase", server.address);
    let mut buf = clean_command(Path::new("buf"));
    let request = r#"{"amount": {"currency_code": "usd"}}"#;
    let output = buf
        .args(["curl", "--protocol", "grpc", "--http2-prior-knowledge", "-H"])
        .arg(format!("authorization: Bearer {ADMIN_KEY}"))
        .args(["-d", request, &url])
        .output()
        .await
        .unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for words in ["google.rpc.BadRequest", "amount.minor_units: must be at least 1 minor unit"] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_message_alone_says_what_is_wrong_and_what_is_right() {
    let (database, server, client) = server_with(&[]).await;
    let status = bad_purchase(&client).await;
    let expected = "invalid amount.currency_code: must be an ISO 4217 code in capitals, such as USD; \
                    amount.minor_units: must be at least 1 minor unit; buyer_user_id: is required";
    assert_eq!(status.message(), expected);
    let one = RecordPurchaseRequest {
        buyer_user_id: "ada".into(),
        amount: Some(Money { currency_code: "USD".into(), minor_units: -5 }),
        ..Default::default()
    };
    let status = client.record(one).await.unwrap_err();
    assert_eq!(status.message(), "invalid amount.minor_units: must be at least 1 minor unit");
    server.stop().await;
    database.check().await;
}
