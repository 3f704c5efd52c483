//! The caller's deadline, when it passes on the server.

use std::time::{Duration, Instant};

use contract::pb::GetUserRequest;
use prost::Message;
use sqlx::Executor;
use tonic::Code;
use tonic_types::StatusExt;

use super::raw_http2::RawHttp2;
use super::support::{refused, server_with};
use testing::ADMIN_KEY;

#[tokio::test]
async fn a_deadline_that_passes_on_the_server_is_answered_with_its_reason() {
    let (database, server, client) = server_with(&["referral-count"]).await;
    client.sign_up("referral-count", "ada", "").await.unwrap();
    let mut blocking = database.pool.begin().await.unwrap();
    blocking.execute("lock table events in access exclusive mode").await.unwrap();

    // A client library would end the call by itself at the same moment.
    let raw = RawHttp2::connect(&server.address).await;
    let authorization = format!("Bearer {ADMIN_KEY}");
    let headers = [("grpc-timeout", "300m"), ("authorization", &*authorization)];
    // Nobody has this id, so the log is asked.
    let request = GetUserRequest { user_id: "nobody".into(), ..Default::default() };
    let began = Instant::now();
    let call = raw.call("AccountService/GetUser", &headers, &request.encode_to_vec()).await;
    let status = call.refused().await;
    let took = began.elapsed();

    let status = refused::<()>(Err(status), Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let info = status.get_error_details().error_info().cloned().unwrap();
    assert_eq!(info.metadata.get("timeout_ms").map(String::as_str), Some("300"));
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(3), "{took:?}");
    blocking.rollback().await.unwrap();
    server.stop().await;
    database.check().await;
}
