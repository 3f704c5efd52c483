//! The stream of what happens to flags.

use contract::pb::*;
use tonic::Streaming;

use super::*;
use crate::support::{PATIENCE, refused, server_with};
use testing::second_server;

async fn watch(
    client: &Client,
    program_id: &str,
    resume_token: &str,
) -> Streaming<WatchFraudFlagsResponse> {
    let request =
        WatchFraudFlagsRequest { program_id: program_id.into(), resume_token: resume_token.into() };
    let answer = client.fraud().watch_fraud_flags(client.request(request)).await.unwrap();
    let mut stream = answer.into_inner();
    let first = stream.message().await.unwrap().expect("a heartbeat");
    assert!(first.change.is_none());
    stream
}

async fn next(stream: &mut Streaming<WatchFraudFlagsResponse>) -> (FraudFlagChange, String) {
    loop {
        let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time");
        let message = message.unwrap().expect("another message");
        if let Some(change) = message.change {
            return (change, message.resume_token);
        }
    }
}

#[tokio::test]
async fn the_queue_is_watched_live_and_resumed_on_another_server_without_gap_or_repetition() {
    let (database, server, client) = server_with(&[POINTS, COMMISSION]).await;
    let other = second_server(&database, &[]).await;
    let elsewhere = other.client();
    let unknown = WatchFraudFlagsRequest {
        program_id: "nothing".into(),
        ..WatchFraudFlagsRequest::default()
    };
    let answer = client.fraud().watch_fraud_flags(client.request(unknown)).await;
    refused(answer.map(drop), tonic::Code::NotFound, "PROGRAM_NOT_FOUND");
    let mut all = watch(&client, "", "").await;
    let mut of_another = watch(&client, COMMISSION, "").await;
    let code = join(&client, "john", "john.smith@mail.example", "").await.code;
    join(&client, "one", "john.smith1@mail.example", &code).await;
    let (raised, after_raised) = next(&mut all).await;
    assert_eq!(raised.kind(), FraudFlagKind::SelfReferral);
    assert_eq!(
        [&*raised.program_id, &*raised.referee_user_id, &*raised.referrer_user_id],
        [POINTS, "one", "john"]
    );
    assert_eq!((raised.count, raised.decision()), (1, FraudDecision::Unspecified));
    let request = GetFraudFlagRequest {
        flag_id: raised.flag_id.clone(),
        consistency_token: raised.consistency_token.clone(),
    };
    let read = elsewhere.fraud().get_fraud_flag(elsewhere.request(request)).await.unwrap();
    assert_eq!(read.into_inner().flag.unwrap().flag_id, raised.flag_id);
    drop(all);

    resolve(&elsewhere, &raised.flag_id, FraudDecision::Rejected, "").await.unwrap();
    join(&client, "two", "john.smiht@mail.example", &code).await;
    let mut resumed = watch(&elsewhere, "", &after_raised).await;
    let (resolved, _) = next(&mut resumed).await;
    assert_eq!(
        (&resolved.flag_id, resolved.decision()),
        (&raised.flag_id, FraudDecision::Rejected)
    );
    let (second, _) = next(&mut resumed).await;
    assert_eq!(second.referee_user_id, "two");
    // Nothing has happened in the other program.
    let quiet = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(quiet, next(&mut of_another)).await.is_err());
    other.stop().await;
    server.stop().await;
    database.check().await;
}
