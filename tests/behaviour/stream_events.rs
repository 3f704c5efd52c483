//! The log as it grows: every event or those that match, in order, each once.

use contract::pb::{RegisterUserRequest, WatchEventsResponse};
use tonic::Code;
use tonic_types::StatusExt;

use super::support::{log_length, refused, server_with};
use testing::{Begun, Client, Logged, Message, TestDatabase, Watched, in_log, second_server};

/// Two programs, in which purchases and referrals cause events of every kind.
const BONUS: &str = "first-purchase-bonus";
const POINTS: &str = "tiered-points";

/// Runs some of every command that writes events.
pub async fn do_all_sorts(client: &Client, round: usize) {
    let name = |name: &str| format!("{name}-{round}");
    let ada = client.sign_up(BONUS, &name("ada"), "").await.unwrap();
    client.sign_up(BONUS, &name("bob"), &ada.code).await.unwrap();
    super::support::enroll(client, POINTS, &name("ada"), "").await.unwrap();
    client.buy(&name("small"), &name("bob"), "USD", 999).await.unwrap();
    client.buy(&name("first"), &name("bob"), "USD", 1_000).await.unwrap();
    client.buy(&name("later"), &name("bob"), "USD", 7_000).await.unwrap();
    // A purchase that has the name of a user.
    client.buy(&name("ada"), &name("bob"), "EUR", 7_000).await.unwrap();
    client.deactivate(&name("bob")).await.unwrap();
    client.reactivate(&name("bob")).await.unwrap();
}

/// The SQL condition for events about a user, as the contract defines them.
pub fn about(user_id: &str) -> String {
    format!(
        "((aggregate_type = 'User' and aggregate_id = '{user_id}')
          or (aggregate_type = 'Participant' and substr(aggregate_id, strpos(aggregate_id, '/') + 1) = '{user_id}')
          or exists (select from jsonb_each_text(payload) as field
                     where field.key like '%user_id' and field.value = '{user_id}'))"
    )
}

/// Reads the expected number of events, and checks that they equal those of the log.
async fn expect(stream: &mut Watched<WatchEventsResponse>, expected: &[Logged]) -> Vec<String> {
    let mut tokens = Vec::new();
    for logged in expected {
        let message = stream.news().await;
        assert_eq!(&Logged::from(message.event.as_ref().unwrap()), logged);
        tokens.push(message.resume_token);
    }
    tokens
}

async fn open(
    client: &Client,
    event_types: &[&str],
    user_id: &str,
    token: &str,
) -> Watched<WatchEventsResponse> {
    let Begun { first, rest } = client.watch_events(event_types, user_id, token).await.unwrap();
    assert!(first.is_heartbeat(), "{first:?}");
    rest
}

async fn after(database: &TestDatabase, position: i64, condition: &str) -> Vec<Logged> {
    in_log(database, &format!("position > {position} and {condition}")).await
}

#[tokio::test]
async fn every_event_comes_in_the_order_of_the_log_without_a_gap() {
    let (database, server, client) = server_with(&[BONUS, POINTS]).await;
    let other = second_server(&database, &[]).await;
    let before = log_length(&database).await;
    let mut here = open(&client, &[], "", "").await;
    let mut there = open(&other.client(), &[], "", "").await;

    for (round, client) in [&client, &other.client(), &client].into_iter().enumerate() {
        do_all_sorts(client, round).await;
    }

    let expected = after(&database, before, "true").await;
    let positions = expected.iter().map(|event| event.position);
    assert!(positions.eq(before + 1..=log_length(&database).await));
    for stream in [&mut here, &mut there] {
        expect(stream, &expected).await;
    }
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn filters_take_what_matches_all_of_them_and_nothing_else() {
    let (database, server, client) = server_with(&[BONUS, POINTS]).await;
    let other = second_server(&database, &[]).await;
    do_all_sorts(&client, 0).await;
    let before = log_length(&database).await;
    let filters: [(&[&str], &str, String); 7] = [
        (&["RewardGranted"], "", "event_type = 'RewardGranted'".into()),
        (
            &["UserRegistered", "PurchaseRecorded", "UserRegistered"],
            "",
            "event_type in ('UserRegistered', 'PurchaseRecorded')".into(),
        ),
        (&[], "ada-1", about("ada-1")),
        (&[], "bob-2", about("bob-2")),
        (
            &["RewardGranted"],
            "bob-1",
            format!("event_type = 'RewardGranted' and {}", about("bob-1")),
        ),
        (&[], "ada", "false".into()),
        (&["ProgramPublished"], "ada-1", "false".into()),
    ];
    let mut streams = Vec::new();
    for (event_types, user_id, _) in &filters {
        streams.push(open(&client, event_types, user_id, "").await);
        streams.push(open(&other.client(), event_types, user_id, "").await);
    }
    for round in 1..=2 {
        do_all_sorts(&client, round).await;
    }
    for (number, (event_types, user_id, condition)) in filters.iter().enumerate() {
        let expected = after(&database, before, condition).await;
        assert_eq!(expected.is_empty(), condition == "false", "{condition}");
        for stream in &mut streams[2 * number..2 * number + 2] {
            expect(stream, &expected).await;
            // After the token of the last event, nothing more comes.
            let mut resumed = open(&client, event_types, user_id, &stream.token).await;
            do_nothing_more(&mut resumed, &database).await;
        }
    }
    server.stop().await;
    for stream in streams.iter_mut().step_by(2) {
        let (seen, status) = stream.end().await;
        assert!(seen.is_empty(), "{seen:?}");
        refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
    }
    other.stop().await;
    database.check().await;
}

/// Checks that a stream delivers nothing for a moment.
async fn do_nothing_more(stream: &mut Watched<WatchEventsResponse>, database: &TestDatabase) {
    let length = log_length(database).await;
    let wait = std::time::Duration::from_millis(30);
    if let Ok(message) = tokio::time::timeout(wait, stream.next()).await {
        let message = message.unwrap();
        assert!(message.is_heartbeat(), "{message:?} of {length}");
    }
}

#[tokio::test]
async fn events_resumed_from_any_token_on_any_server_have_neither_gap_nor_repetition() {
    let (database, server, client) = server_with(&[BONUS, POINTS]).await;
    let before = log_length(&database).await;
    let mut all = open(&client, &[], "", "").await;
    let mut some = open(&client, &[], "bob-1", "").await;
    let (mut of_all, mut of_some) = (vec![all.token.clone()], vec![some.token.clone()]);
    for round in 0..3 {
        do_all_sorts(&client, round).await;
    }
    // Token number n is the token after n events.
    of_all.extend(expect(&mut all, &after(&database, before, "true").await).await);
    of_some.extend(expect(&mut some, &after(&database, before, &about("bob-1")).await).await);

    let other = second_server(&database, &[]).await;
    server.kill().await;
    let restarted = second_server(&database, &[]).await;
    for (round, client) in [&other.client(), &restarted.client()].into_iter().enumerate() {
        let mut streams = Vec::new();
        for (tokens, user_id) in [(&of_all, ""), (&of_some, "bob-1")] {
            let condition = if user_id.is_empty() { "true".into() } else { about(user_id) };
            let past = after(&database, before, &condition).await;
            for (number, token) in tokens.iter().enumerate() {
                let mut stream = open(client, &[], user_id, token).await;
                expect(&mut stream, &past[number..]).await;
                streams.push((stream, condition.clone()));
            }
        }
        // New events follow directly after past ones.
        let length = log_length(&database).await;
        client.buy(&format!("live-{round}"), "bob-1", "USD", 5).await.unwrap();
        for (stream, condition) in &mut streams {
            expect(stream, &after(&database, length, condition).await).await;
        }
    }
    other.stop().await;
    restarted.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_stream_of_events_that_begins_far_back_comes_to_what_is_live() {
    let (database, server, client) = server_with(&[BONUS, POINTS]).await;
    let other = second_server(&database, &[]).await;
    let before = log_length(&database).await;
    let filters: [(&[&str], &str, String); 3] = [
        (&[], "", "true".into()),
        (&[], "bob-24", about("bob-24")),
        (&["TierChanged"], "", "event_type = 'TierChanged'".into()),
    ];
    let mut begins = Vec::new();
    for (event_types, user_id, _) in &filters {
        begins.push(open(&client, event_types, user_id, "").await.token);
    }
    // Events in between that do not match are not a gap, and cause no delay.
    let writing = {
        let client = client.clone();
        tokio::spawn(async move {
            for round in 0..25 {
                do_all_sorts(&client, round).await;
            }
        })
    };
    while log_length(&database).await < before + 450 {
        tokio::task::yield_now().await;
    }
    let mut streams = Vec::new();
    for client in [&client, &other.client()] {
        for ((event_types, user_id, condition), begin) in filters.iter().zip(&begins) {
            streams.push((open(client, event_types, user_id, begin).await, condition));
        }
    }
    writing.await.unwrap();
    for (stream, condition) in &mut streams {
        expect(stream, &after(&database, before, condition).await).await;
    }
    server.stop().await;
    other.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_type_that_does_not_exist_cannot_be_watched() {
    let (database, server, client) = server_with(&[BONUS]).await;
    for name in ["RewardGiven", "rewardgranted", "", "RewardGranted ", "*"] {
        let answer = client.watch_events(&["RewardGranted", name], "", "").await.map(|_| ());
        let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        let violations = status.get_error_details().bad_request().cloned().unwrap();
        let violation = &violations.field_violations[0];
        let found = (&*violation.field, &*violation.reason);
        assert_eq!(found, ("event_types[1]", "UNKNOWN_EVENT_TYPE"));
    }
    let answer = client.watch_events(&["RewardGranted"; 1_000], "", "").await.map(|_| ());
    let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    let violations = status.get_error_details().bad_request().cloned().unwrap();
    assert_eq!(violations.field_violations[0].reason, "OUT_OF_RANGE");
    let answer = client.watch_events(&[], "no such\0user", "").await.map(|_| ());
    refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn no_event_holds_what_is_personal() {
    let (database, server, client) = server_with(&[POINTS]).await;
    let stream = open(&client, &[], "", "").await;
    let before = log_length(&database).await;
    let mut code = String::new();
    for number in 1..=3 {
        let request = RegisterUserRequest {
            user_id: format!("id-{number}"),
            username: format!("Zaphod-{number}"),
            display_name: format!("Mr. Beeblebrox {number}"),
            email: format!("trillian.{number}@magrathea.example"),
            password: format!("Heart of gold {number}"),
            client_ip: format!("203.0.113.{number}"),
            program_id: POINTS.into(),
            referral_code: code,
            ..Default::default()
        };
        code = client.register(request).await.unwrap().participants[0].code.clone();
    }
    // Once handed over within the process, and once read from the log.
    let expected = after(&database, before, "true").await;
    let again = open(&client, &[], "", &stream.token).await;
    for mut stream in [stream, again] {
        for _ in &expected {
            let event = stream.news().await.event.unwrap();
            let text = format!("{event:?}").to_lowercase();
            for secret in ["zaphod", "beeblebrox", "trillian", "magrathea", "heart", "203.0.113"] {
                assert!(!text.contains(secret), "{secret} is in {event:?}");
            }
        }
    }
    server.stop().await;
    database.check().await;
}
