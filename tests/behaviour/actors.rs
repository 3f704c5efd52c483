//! Who did what: the log filtered by actor.

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::*;
use tonic::Code;
use tributary::api::services;

use super::bad_input::at_fault;
use super::principals::{by, in_process, service, user};
use super::support::{PATIENCE, refused, server_with};
use testing::Client;

const LINES: &str = "multi-level-commission";

/// The types of the events that `ReadEvents` finds, with their positions, and how far it has searched.
async fn read(client: &Client, request: ReadEventsRequest) -> (Vec<(i64, String)>, i64) {
    let request = client.request(request);
    let mut stream = client.operators().read_events(request).await.unwrap().into_inner();
    let (mut found, mut position) = (Vec::new(), 0);
    while let Some(message) = stream.message().await.unwrap() {
        position = message.position;
        found.extend(message.event.map(|event| (event.position, event.event_type)));
    }
    (found, position)
}

fn of(actor: &str) -> ReadEventsRequest {
    ReadEventsRequest { actor: actor.into(), ..Default::default() }
}

fn types(found: &[(i64, String)]) -> Vec<&str> {
    found.iter().map(|(_, event_type)| &**event_type).collect()
}

#[tokio::test]
async fn the_log_is_read_and_watched_by_actor_command_by_command() {
    let (database, server, client) = server_with(&[LINES]).await;
    for name in ["ada", "bob", "cid"] {
        client.sign_up(LINES, name, "").await.unwrap();
    }
    let watch = WatchEventsRequest { actor: "key:service:k_1".into(), ..Default::default() };
    let watch = client.operators().watch_events(client.request(watch)).await.unwrap();
    let mut watch = watch.into_inner();
    let begin = watch.message().await.unwrap().unwrap().resume_token;
    let local = in_process(&database).await;
    let mut accounts = AccountServiceClient::new(services(local.context()));
    let rename = UpdateProfileRequest {
        user_id: "ada".into(),
        display_name: Some("Ada".into()),
        ..Default::default()
    };
    accounts.update_profile(by(&service(), rename)).await.unwrap();
    let erase = |user_id: &str| EraseUserRequest { user_id: user_id.into(), ..Default::default() };
    accounts.erase_user(by(&user("bob"), erase("bob"))).await.unwrap();
    accounts.erase_user(by(&service(), erase("cid"))).await.unwrap();
    client.deactivate("ada").await.unwrap();
    client.reactivate("ada").await.unwrap();

    let (found, position) = read(&client, of("key:service:k_1")).await;
    let expected = ["UserProfileUpdated", "UserErased", "UserSessionsEnded", "ParticipantErased"];
    assert_eq!(types(&found), expected);
    assert_eq!(position, database.count("select max(position) from events").await);
    let (by_bob, _) = read(&client, of("user:bob")).await;
    assert_eq!(types(&by_bob), ["UserErased", "UserSessionsEnded", "ParticipantErased"]);
    assert_eq!(read(&client, of("key:service:k_2")).await.0, []);
    let (by_admin, _) = read(&client, of("key:admin")).await;
    assert_eq!(types(&by_admin)[0], "ProgramPublished");
    assert!(types(&by_admin).ends_with(&["UserReactivated", "ParticipantReactivated"]));

    // From the middle of a command on, and with the other filters.
    let (rest, _) =
        read(&client, ReadEventsRequest { after_position: found[1].0, ..of("key:service:k_1") })
            .await;
    assert_eq!(rest, found[2..]);
    let erased = ReadEventsRequest {
        event_types: vec!["UserErased".into()],
        user_id: "cid".into(),
        ..of("key:service:k_1")
    };
    assert_eq!(read(&client, erased).await.0, found[1..2]);
    let limited = read(&client, ReadEventsRequest { limit: 1, ..of("key:service:k_1") }).await.0;
    assert_eq!(limited, found[..1]);

    // A stream shows the same, also when it is resumed between two events of a command.
    let mut watched = Vec::new();
    let mut tokens = vec![begin];
    while watched.len() < found.len() {
        let message = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap().unwrap();
        let message = message.unwrap();
        if let Some(event) = message.event {
            watched.push((event.position, event.event_type));
            tokens.push(message.resume_token);
        }
    }
    assert_eq!(watched, found);
    for (seen, token) in tokens.into_iter().enumerate().take(found.len()) {
        let resumed = WatchEventsRequest {
            actor: "key:service:k_1".into(),
            resume_token: token,
            ..Default::default()
        };
        let resumed = client.operators().watch_events(client.request(resumed)).await.unwrap();
        let mut resumed = resumed.into_inner();
        let next = loop {
            let message = tokio::time::timeout(PATIENCE, resumed.message()).await.unwrap().unwrap();
            if let Some(event) = message.unwrap().event {
                break (event.position, event.event_type);
            }
        };
        assert_eq!(next, found[seen]);
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_search_for_an_actor_who_did_nothing_says_how_far_it_has_come() {
    let (database, server, client) = server_with(&[LINES]).await;
    let signing_up: Vec<_> = (0..700)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                client.sign_up(LINES, &format!("user-{number}"), "").await.unwrap();
            })
        })
        .collect();
    for signed_up in signing_up {
        signed_up.await.unwrap();
    }
    let request = client.request(of("key:service:k_1"));
    let mut stream = client.operators().read_events(request).await.unwrap().into_inner();
    let mut steps = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(message.event.is_none());
        steps.push(message.position);
    }
    // Never more than 1000 events without a message.
    let mut before = 0;
    for step in &steps {
        assert!((1..=1_000).contains(&(step - before)), "{steps:?}");
        before = *step;
    }
    assert!(steps.len() > 2, "{steps:?}");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_actor_is_written_as_in_events_and_is_part_of_the_stream_that_a_token_resumes() {
    let (database, server, client) = server_with(&[]).await;
    let long = format!("user:{}", "x".repeat(129));
    // Nobody is written like these, so that a search for them would find nothing, and say so for the whole log.
    for actor in [
        "user:ädä",
        "user: ada",
        "user:",
        "users:ada",
        "ada",
        "\u{7}",
        "System",
        "key",
        "key:",
        "key:service",
        "key:operator:k_1",
        "key:service:",
        "service:k_1",
        "admin",
        &*long,
    ] {
        let answer = client.operators().read_events(client.request(of(actor))).await;
        at_fault(answer.map(drop), "actor", "INVALID_ID");
        let watch = WatchEventsRequest { actor: actor.into(), ..Default::default() };
        let answer = client.operators().watch_events(client.request(watch)).await;
        at_fault(answer.map(drop), "actor", "INVALID_ID");
    }
    let watch = WatchEventsRequest { actor: "system".into(), ..Default::default() };
    let answer = client.operators().watch_events(client.request(watch)).await.unwrap();
    let token = answer.into_inner().message().await.unwrap().unwrap().resume_token;
    let other = WatchEventsRequest { resume_token: token, ..Default::default() };
    let answer = client.operators().watch_events(client.request(other)).await.map(drop);
    refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
    database.check().await;
}
