//! Reading the log to its end: pages of all events or those that match.

use contract::pb::{Event, ReadEventsRequest, ReadEventsResponse};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::stream_events::{about, do_all_sorts};
use super::support::{PATIENCE, log_length, refused, server_with};
use testing::{Client, Logged, at_once, in_log, second_server};

const PROGRAMS: [&str; 2] = ["first-purchase-bonus", "tiered-points"];

async fn open(
    client: &Client,
    request: ReadEventsRequest,
) -> Result<Streaming<ReadEventsResponse>, Status> {
    Ok(client.operators().read_events(client.request(request)).await?.into_inner())
}

/// The result of one call: the events, how far the log was searched, and the number of progress messages.
struct Page {
    events: Vec<Logged>,
    position: i64,
    progress: usize,
}

/// Reads to the end, and checks what must hold for any answer.
async fn read(client: &Client, request: ReadEventsRequest) -> Page {
    let mut page = Page { events: Vec::new(), position: request.after_position, progress: 0 };
    let mut stream = open(client, request).await.unwrap();
    while let Some(message) =
        tokio::time::timeout(PATIENCE, stream.message()).await.expect("a message in time").unwrap()
    {
        assert!(message.position > page.position, "{message:?} after {}", page.position);
        page.position = message.position;
        match &message.event {
            Some(event) => {
                assert_eq!(event.position, message.position);
                page.events.push(event.into());
            }
            None => page.progress += 1,
        }
    }
    page
}

fn all() -> ReadEventsRequest {
    ReadEventsRequest::default()
}

#[tokio::test]
async fn the_log_is_read_from_any_position_to_its_end() {
    let (database, server, client) = server_with(&PROGRAMS).await;
    let other = second_server(&database, &[]).await;
    for round in 0..3 {
        do_all_sorts(&client, round).await;
    }
    let head = log_length(&database).await;
    let expected = in_log(&database, "true").await;
    for after_position in [0, 1, 17, head - 1] {
        for client in [&client, &other.client()] {
            let page = read(client, ReadEventsRequest { after_position, ..all() }).await;
            let from = usize::try_from(after_position).unwrap();
            assert_eq!(page.events, expected[from..]);
            assert_eq!(page.position, head);
        }
    }
    // After the end there is nothing, which is not an error.
    for after_position in [head, head + 1, i64::MAX] {
        let page = read(&client, ReadEventsRequest { after_position, ..all() }).await;
        assert!(page.events.is_empty() && page.progress == 0);
    }
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn pages_of_any_length_add_up_to_the_log() {
    let (database, server, client) = server_with(&PROGRAMS).await;
    for round in 0..2 {
        do_all_sorts(&client, round).await;
    }
    let head = log_length(&database).await;
    for (user_id, condition) in [("", "true".to_owned()), ("bob-1", about("bob-1"))] {
        let expected = in_log(&database, &condition).await;
        for limit in [1, 7, i32::MAX] {
            let mut read_events = Vec::new();
            let mut after_position = 0;
            loop {
                let request =
                    ReadEventsRequest { after_position, limit, user_id: user_id.into(), ..all() };
                let page = read(&client, request).await;
                let count = page.events.len();
                assert!(count <= usize::try_from(limit).unwrap());
                read_events.extend(page.events);
                after_position = page.position;
                if count < usize::try_from(limit).unwrap() {
                    break;
                }
            }
            assert_eq!(read_events, expected, "{limit} at a time");
            assert_eq!(after_position, head);
        }
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_search_that_finds_little_says_how_far_it_has_come() {
    let (database, server, client) = server_with(&PROGRAMS).await;
    let ada = client.sign_up("tiered-points", "ada", "").await.unwrap();
    for batch in 0..5 {
        at_once((0..100).map(|number| {
            let (client, code) = (client.clone(), ada.code.clone());
            let friend = format!("friend-{batch}-{number}");
            async move { client.sign_up("tiered-points", &friend, &code).await.unwrap() }
        }))
        .await;
    }
    client.sign_up("first-purchase-bonus", "bob", "").await.unwrap();
    client.buy("order", "bob", "USD", 1).await.unwrap();
    let head = log_length(&database).await;
    assert!(head > 2_500, "{head}");

    let search = |event_types: &[&str], user_id: &str| ReadEventsRequest {
        event_types: event_types.iter().map(|&name| name.into()).collect(),
        user_id: user_id.into(),
        ..all()
    };
    let found = read(&client, search(&["PurchaseRecorded"], "")).await;
    assert_eq!(found.events, in_log(&database, "event_type = 'PurchaseRecorded'").await);
    assert_eq!(found.position, head);
    assert!(found.progress >= 2, "{} words on how far", found.progress);
    let tiers = read(&client, search(&["TierChanged"], "ada")).await;
    assert_eq!(tiers.events, in_log(&database, "event_type = 'TierChanged'").await);
    assert_eq!(tiers.events.len(), 2);
    let of_bob = read(&client, search(&[], "bob")).await;
    assert_eq!(of_bob.events, in_log(&database, &about("bob")).await);
    let nobody = read(&client, search(&[], "nobody")).await;
    assert!(nobody.events.is_empty());
    assert_eq!(nobody.position, head);
    // With a limit the search ends at the last match.
    let request = ReadEventsRequest { limit: 1, ..search(&["TierChanged"], "") };
    let first = read(&client, request.clone()).await;
    assert_eq!(
        (first.events.as_slice(), first.position),
        (&tiers.events[..1], first.events[0].position)
    );
    let rest =
        read(&client, ReadEventsRequest { after_position: first.position, limit: 0, ..request })
            .await;
    assert_eq!((rest.events.as_slice(), rest.position), (&tiers.events[1..], head));
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_read_ends_while_the_log_goes_on_and_sees_the_write_of_its_token() {
    let (database, server, client) = server_with(&PROGRAMS).await;
    let other = second_server(&database, &[]).await;
    client.sign_up("first-purchase-bonus", "bob", "").await.unwrap();
    let writer = client.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut stopped = stopped;
        let mut count = 0;
        while stopped.try_recv().is_err() {
            count += 1;
            writer.buy(&format!("busy-{count}"), "bob", "USD", 1).await.unwrap();
        }
    });
    for round in 0..20 {
        let purchase_id = format!("order-{round}");
        let bought = client.buy(&purchase_id, "bob", "USD", 5).await.unwrap();
        let request = ReadEventsRequest { consistency_token: bought.consistency_token, ..all() };
        let page = read(&other.client(), request).await;
        let positions = page.events.iter().map(|event| event.position);
        assert!(positions.eq(1..=page.position));
        let is_it = |event: &Logged| event.aggregate == ("Purchase".into(), purchase_id.clone());
        assert!(page.events.iter().any(is_it), "{purchase_id} is not there");
    }
    stop.send(()).unwrap();
    writing.await.unwrap();
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let (database, server, client) = server_with(&PROGRAMS).await;
    let cases = [
        (ReadEventsRequest { after_position: -1, ..all() }, "after_position", "OUT_OF_RANGE"),
        (ReadEventsRequest { after_position: i64::MIN, ..all() }, "after_position", "OUT_OF_RANGE"),
        (ReadEventsRequest { limit: -1, ..all() }, "limit", "OUT_OF_RANGE"),
        (
            ReadEventsRequest { event_types: vec!["RewardGiven".into()], ..all() },
            "event_types[0]",
            "UNKNOWN_EVENT_TYPE",
        ),
        (
            ReadEventsRequest { event_types: vec!["UserRegistered".into(); 65], ..all() },
            "event_types",
            "OUT_OF_RANGE",
        ),
        (ReadEventsRequest { user_id: "ä".into(), ..all() }, "user_id", "INVALID_ID"),
        (
            ReadEventsRequest { consistency_token: "x".into(), ..all() },
            "consistency_token",
            "INVALID_CONSISTENCY_TOKEN",
        ),
    ];
    for (request, field, reason) in cases {
        let answer = open(&client, request).await.map(|_| ());
        let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        let violations = status.get_error_details().bad_request().cloned().unwrap();
        let violation = &violations.field_violations[0];
        assert_eq!((&*violation.field, &*violation.reason), (field, reason));
    }
    let stranger = server.separate_client(None).await;
    let answer = open(&stranger, all()).await.map(|_| ());
    refused(answer, Code::Unauthenticated, "MISSING_CREDENTIALS");
    let answer = stranger.watch_events(&[], "", "").await.map(|_| ());
    refused(answer, Code::Unauthenticated, "MISSING_CREDENTIALS");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_event_is_the_same_to_the_last_character_wherever_it_is_read_or_watched() {
    let (database, server, client) = server_with(&PROGRAMS).await;
    let other = second_server(&database, &[]).await;
    let before = log_length(&database).await;
    // One server is handed the events that it appends, the other reads them.
    let mut here = client.watch_events(&[], "", "").await.unwrap().rest;
    let mut there = other.client().watch_events(&[], "", "").await.unwrap().rest;
    do_all_sorts(&client, 0).await;

    let mut stream =
        open(&client, ReadEventsRequest { after_position: before, ..all() }).await.unwrap();
    let mut read: Vec<Event> = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        read.extend(message.event);
    }
    assert!(read.len() > 20 && read.iter().all(|event| event.payload_json.starts_with('{')));
    for event in read {
        assert_eq!(here.news().await.event.as_ref(), Some(&event));
        assert_eq!(there.news().await.event, Some(event));
    }
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_log_is_searched_for_a_program_and_for_a_stream() {
    let (database, server, client) = server_with(&PROGRAMS).await;
    for round in 0..2 {
        do_all_sorts(&client, round).await;
    }
    let of = |program_id: &str, aggregate_id: &str| ReadEventsRequest {
        program_id: program_id.into(),
        aggregate_id: aggregate_id.into(),
        ..all()
    };
    for program_id in PROGRAMS {
        let found = read(&client, of(program_id, "")).await;
        let condition = format!(
            "((aggregate_type = 'Program' and aggregate_id = '{program_id}')
              or (aggregate_type = 'Participant' and split_part(aggregate_id, '/', 1) = '{program_id}')
              or exists (select from jsonb_each_text(payload) as field
                         where field.key like '%program_id' and field.value = '{program_id}'))"
        );
        assert_eq!(found.events, in_log(&database, &condition).await);
        assert!(found.events.len() > 2, "{program_id}");
    }
    // A user and a purchase have this id: both streams are meant.
    let found = read(&client, of("", "ada-1")).await;
    assert_eq!(found.events, in_log(&database, "aggregate_id = 'ada-1'").await);
    let bonus = "first-purchase-bonus/ada-1";
    let found = read(&client, of("first-purchase-bonus", bonus)).await;
    assert_eq!(found.events, in_log(&database, &format!("aggregate_id = '{bonus}'")).await);
    assert!(!found.events.is_empty());
    assert!(read(&client, of("tiered-points", bonus)).await.events.is_empty());
    assert!(read(&client, of("no-such-program", "")).await.events.is_empty());
    let wrong = open(&client, of("a/b", &"x".repeat(321))).await.map(drop).unwrap_err();
    let expected = [("aggregate_id", "FIELD_TOO_LONG"), ("program_id", "INVALID_ID")];
    let expected = expected.map(|(field, reason)| (field.to_owned(), reason.to_owned()));
    assert_eq!(super::bad_input::violations(&wrong), expected);
    server.stop().await;
    database.check().await;
}
