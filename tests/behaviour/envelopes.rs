//! Who caused a command, and how it came in, according to the log.

use contract::pb::*;
use testing::sign_up_request;

use super::support::{PATIENCE, server_with};

const PROGRAM: &str = "first-purchase-bonus";

/// The whole log according to `ReadEvents`, as `(event type, actor, door)`.
pub async fn log(client: &testing::Client) -> Vec<(String, String, String)> {
    let request = client.request(ReadEventsRequest::default());
    let mut stream = client.operators().read_events(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(message) =
        tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap()
    {
        events.extend(message.event.map(|event| (event.event_type, event.actor, event.door)));
    }
    events
}

#[tokio::test]
async fn the_log_says_who_caused_each_command_and_through_which_rpc() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let anybody = server.separate_client(None).await;
    let watch = client.request(WatchEventsRequest::default());
    let mut watch = client.operators().watch_events(watch).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().event.is_none());

    let sign_up = RegisterUserRequest {
        password: "Corr3ct horse".into(),
        ..sign_up_request(PROGRAM, "ada", "")
    };
    let sign_up = RegisterUserRequest { user_id: String::new(), ..sign_up };
    let ada = anybody.register(sign_up).await.unwrap();
    client.sign_up(PROGRAM, "bob", &ada.participants[0].code).await.unwrap();
    client.buy("order-1", "bob", "USD", 10_000).await.unwrap();
    client.deactivate("bob").await.unwrap();
    client.reactivate("bob").await.unwrap();

    let events = log(&client).await;
    let first: Vec<(&str, &str, &str)> = events
        .iter()
        .filter(|(_, actor, _)| !actor.is_empty())
        .map(|(event_type, actor, door)| (&**event_type, &**actor, &**door))
        .collect();
    assert_eq!(
        first,
        [
            ("ProgramPublished", "key:admin", "PublishProgram"),
            ("UserRegistered", "anonymous", "RegisterUser"),
            ("UserRegistered", "key:admin", "RegisterUser"),
            ("PurchaseRecorded", "key:admin", "RecordPurchase"),
            ("UserDeactivated", "key:admin", "DeactivateUser"),
            ("UserReactivated", "key:admin", "ReactivateUser"),
        ]
    );
    assert!(events.iter().all(|(_, actor, door)| actor.is_empty() == door.is_empty()));
    assert!(events.len() > first.len(), "commands of several events");

    // A stream delivers the same for events that this process handed over without reading them from the log.
    let mut watched = Vec::new();
    while watched.len() < events.len() - 1 {
        let message = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap().unwrap();
        let event = message.unwrap().event;
        watched.extend(event.map(|event| (event.event_type, event.actor, event.door)));
    }
    assert_eq!(watched, events[1..]);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_request_of_a_command_is_named_by_the_key_of_its_receipt() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let sign_up =
        RegisterUserRequest { request_id: "once".into(), ..sign_up_request(PROGRAM, "ada", "") };
    client.register(sign_up.clone()).await.unwrap();
    client.register(sign_up).await.unwrap();
    client.sign_up(PROGRAM, "bob", "").await.unwrap();

    let named: Vec<(String, bool)> = sqlx::query_as(
        "select aggregate_id, exists (
             select from receipts where receipts.key = (metadata ->> 'request')::uuid
                 and receipts.first_position = events.position)
         from events where event_type = 'UserRegistered' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(named, [("ada".to_owned(), true), ("bob".to_owned(), false)]);
    assert_eq!(database.count("select count(*) from events where metadata ? 'request'").await, 1);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn metadata_holds_no_personal_data_and_no_secret() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let anybody = server.separate_client(None).await;
    let secrets = RegisterUserRequest {
        user_id: String::new(),
        username: "name-of-ada".into(),
        display_name: "Ada Lovelace".into(),
        email: "ada@lovelace.example".into(),
        password: "Corr3ct horse".into(),
        request_id: "request-of-ada".into(),
        ..sign_up_request(PROGRAM, "ada", "")
    };
    let registered = anybody.register(secrets.clone()).await.unwrap();
    let user_id = registered.user.unwrap().user_id;
    client.buy("order-1", &user_id, "USD", 10_000).await.unwrap();

    let metadata: Vec<String> = sqlx::query_scalar("select metadata::text from events")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    assert!(metadata.iter().any(|metadata| metadata.contains("anonymous")));
    for text in [
        &*secrets.username,
        &secrets.display_name,
        &secrets.email,
        "lovelace",
        &secrets.password,
        &secrets.request_id,
        testing::ADMIN_KEY,
    ] {
        let found = metadata.iter().find(|metadata| metadata.contains(text));
        assert_eq!(found, None, "{text}");
    }
    server.stop().await;
    database.check().await;
}
