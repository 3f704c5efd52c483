//! Calls that are rejected before their fields are read: malformed messages, unknown methods, and calls
//! without a valid key.

use super::bad_input::{at_fault, newcomer};
use super::raw;
use super::support::{log_length, refused, server_with};
use contract::pb::*;
use testing::{Client, reason};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

#[tokio::test]
async fn a_message_of_5_megabytes_is_too_large_and_one_below_4_is_read() {
    let (database, server, client) = server_with(&[]).await;
    let named =
        |bytes: usize| RegisterUserRequest { display_name: "a".repeat(bytes), ..newcomer() };

    let status = refused(
        client.register(named(5_000_000)).await,
        Code::ResourceExhausted,
        "MESSAGE_TOO_LARGE",
    );
    let info = status.get_error_details().error_info().cloned().unwrap();
    assert_eq!(info.metadata.get("limit_bytes").map(String::as_str), Some("4194304"));
    at_fault(client.register(named(4_194_304 - 1_000)).await, "display_name", "FIELD_TOO_LONG");

    assert_eq!(log_length(&database).await, 0);
    server.stop().await;
    database.check().await;
}

/// Every RPC of the contract.
const RPCS: &[&str] = &[
    "AccountService/RegisterUser",
    "AccountService/GetUser",
    "AccountService/DeactivateUser",
    "AccountService/ReactivateUser",
    "ProgramService/PublishProgram",
    "ProgramService/GetProgram",
    "ProgramService/ListPrograms",
    "ProgramService/EnrollParticipant",
    "ReferralService/ApplyReferral",
    "ReferralService/ValidateReferralCode",
    "PurchaseService/RecordPurchase",
    "PurchaseService/GetPurchase",
    "RewardService/WatchEarnings",
];

async fn call(client: &Client, rpc: &str, bytes: &[u8]) -> Result<Vec<u8>, Status> {
    let request = client.request(bytes.to_vec());
    raw::call(client.channel(), &format!("/tributary.v1.{rpc}"), request).await
}

#[tokio::test]
async fn bytes_that_are_no_message_are_malformed() {
    let (database, server, client) = server_with(&[]).await;
    for rpc in RPCS {
        for bytes in [
            &[0xff, 0xff, 0xff][..],
            // A field that is longer than the message.
            &[0x0a, 0x7f, 0x61],
            // Text that is not UTF-8, in field 1 or 2.
            &[0x0a, 0x02, 0xc3, 0x28, 0x12, 0x02, 0xc3, 0x28],
            // A wire type that does not exist.
            &[0x0f],
        ] {
            let answer = call(&client, rpc, bytes).await;
            refused(answer, Code::InvalidArgument, "MALFORMED_MESSAGE");
        }
    }
    // Unknown fields are ignored, because a newer client may send them.
    let answer =
        call(&client, "AccountService/GetUser", &[0x0a, 0x01, 0x61, 0xf8, 0x07, 0x01]).await;
    refused(answer, Code::NotFound, "USER_NOT_FOUND");
    assert_eq!(log_length(&database).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unimplemented() {
    let (database, server, client) = server_with(&[]).await;
    for path in [
        "/tributary.v1.AccountService/GetUsers",
        "/tributary.v1.NoService/GetUser",
        "/tributary.v2.AccountService/GetUser",
        "/grpc.health.v1.Health/Cure",
        "/",
        "/a/b/c",
    ] {
        let answer = raw::call(client.channel(), path, client.request(Vec::new())).await;
        refused(answer, Code::Unimplemented, "UNKNOWN_METHOD");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn calls_without_a_good_key_are_turned_away_at_the_door() {
    let (database, server, client) = server_with(&[]).await;
    let anybody = server.separate_client(None).await;
    for rpc in RPCS {
        let open = rpc.ends_with("/RegisterUser") || rpc.ends_with("/ValidateReferralCode");
        let without = call(&anybody, rpc, &[]).await;
        if open {
            refused(without, Code::InvalidArgument, "INVALID_FIELD");
        } else {
            refused(without, Code::Unauthenticated, "MISSING_CREDENTIALS");
        }
        for credentials in [
            "Bearer wrong",
            "Bearer ",
            "Bearer",
            "",
            "Basic dGVzdF9hZG1pbl9rZXk=",
            "test_admin_key_0123456789",
            "Bearer test_admin_key_012345678",
            "Bearer test_admin_key_01234567890",
            "Bearer TEST_ADMIN_KEY_0123456789",
        ] {
            let mut request = Request::new(Vec::new());
            request.metadata_mut().insert("authorization", credentials.parse().unwrap());
            let answer =
                raw::call(anybody.channel(), &format!("/tributary.v1.{rpc}"), request).await;
            // A call that needs no key is answered as if there were none.
            if open {
                refused(answer, Code::InvalidArgument, "INVALID_FIELD");
            } else {
                refused(answer, Code::Unauthenticated, "INVALID_CREDENTIALS");
            }
        }
        // Which of two headers would count is not for the server to guess.
        for second in ["Bearer wrong", &*format!("Bearer {}", testing::ADMIN_KEY)] {
            let mut request = client.request(Vec::new());
            request.metadata_mut().append("authorization", second.parse().unwrap());
            let answer =
                raw::call(client.channel(), &format!("/tributary.v1.{rpc}"), request).await;
            let status = refused(answer, Code::Unauthenticated, "INVALID_CREDENTIALS");
            assert!(status.message().contains("send one"), "{status:?}");
        }
    }
    // The scheme is accepted in any letter case.
    let mut request = Request::new(Vec::new());
    let credentials = format!("bearer {}", testing::ADMIN_KEY);
    request.metadata_mut().insert("authorization", credentials.parse().unwrap());
    let path = "/tributary.v1.ProgramService/ListPrograms";
    raw::call(client.channel(), path, request).await.unwrap();
    assert_eq!(log_length(&database).await, 0);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_compressed_message_is_not_mistaken_for_an_unknown_method() {
    let (database, server, client) = server_with(&[]).await;
    let mut request = client.request(Vec::new());
    request.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());

    let path = "/tributary.v1.AccountService/GetUser";
    let status = raw::call(client.channel(), path, request).await.unwrap_err();

    assert_eq!(reason(&status), (Code::Unimplemented, "UNSUPPORTED_COMPRESSION".into()));
    server.stop().await;
    database.check().await;
}
