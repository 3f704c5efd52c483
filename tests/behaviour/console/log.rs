//! The log in the console: backwards, by filters, one event, and live.

use super::live::{Stream, attribute};
use super::*;
use crate::stream_events::about;

const PROGRAM: &str = "referral-count";

/// The positions of the events on a page, in its order.
fn positions(html: &str) -> Vec<i64> {
    let rows = html.split("id=\"event-").skip(1);
    rows.map(|row| row.split('"').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn the_log_is_read_backwards_by_filters_and_one_event_in_full() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let mut ada = operator(&server, &client).await;
    let mut stranger = Browser::new(&server.address);
    stranger.register("stranger", "").await;
    for path in ["/o/log", "/o/log/1"] {
        assert_eq!(stranger.get(path).await.status, 403, "{path}");
    }
    for number in 0..40 {
        client.sign_up(PROGRAM, &format!("user-{number}"), "").await.unwrap();
    }
    let head = log_length(&database).await;
    let page = Browser::shown(&ada.get("/o/log").await);
    let shown = positions(&page);
    assert_eq!(shown, (head - 49..=head).rev().collect::<Vec<_>>());
    // The next page goes on where this one ends, down to the first event.
    let mut rest = shown;
    let mut before = *rest.last().unwrap();
    while before > 1 {
        let path = format!("/o/log?before={before}");
        assert!(page.contains("/o/log?before="), "{page}");
        let older = positions(&Browser::shown(&ada.get(&path).await));
        before = *older.last().unwrap();
        rest.extend(older);
    }
    assert_eq!(rest, (1..=head).rev().collect::<Vec<_>>());

    let mine = Browser::shown(&ada.get("/o/log?user=user-7").await);
    let expected = format!("select count(*) from events where {}", about("user-7"));
    assert_eq!(i64::try_from(positions(&mine).len()).unwrap(), database.count(&expected).await);
    let published = Browser::shown(&ada.get("/o/log?type=ProgramPublished").await);
    assert_eq!(positions(&published).len(), 1, "{published}");
    let stream = Browser::shown(&ada.get(&format!("/o/log?stream={PROGRAM}/user-3")).await);
    let expected = format!("select count(*) from events where aggregate_id = '{PROGRAM}/user-3'");
    assert_eq!(i64::try_from(positions(&stream).len()).unwrap(), database.count(&expected).await);
    let none = Browser::shown(&ada.get("/o/log?program=other").await);
    assert!(none.contains("No such events") && none.contains("value=\"other\""), "{none}");
    for place in ["actor", "type", "program"] {
        let refused = ada.get(&format!("/o/log?{place}=no/such")).await;
        assert_eq!(refused.status, 422, "{place}");
        assert!(refused.text().contains(&format!("id=\"{place}-fault\"")), "{}", refused.text());
    }
    let refused = ada.get("/o/log?before=soon").await.text();
    assert!(refused.contains("id=\"before-fault\""), "{refused}");
    // By a day: all that was recorded until its end, which is nothing or everything.
    let past = Browser::shown(&ada.get("/o/log?until=2001-01-01").await);
    assert!(positions(&past).is_empty(), "{past}");
    let future = Browser::shown(&ada.get("/o/log?until=2999-01-01").await);
    assert_eq!(positions(&future)[0], head);

    let position = positions(&stream)[0];
    let event = Browser::shown(&ada.get(&format!("/o/log/{position}")).await);
    for shown in ["/o/users/user-3", "/o/programs/referral-count", "ParticipantEnrolled"] {
        assert!(event.contains(shown), "{shown}: {event}");
    }
    for path in ["/o/log/0", "/o/log/x", &format!("/o/log/{}", head + 100)] {
        assert_eq!(ada.get(path).await.status, 404, "{path}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_log_follows_what_is_recorded_without_a_gap_and_by_its_filters() {
    let (database, server, client) = server_with(&[PROGRAM]).await;
    let mut ada = operator(&server, &client).await;
    let page = Browser::shown(&ada.get("/o/log?user=bob").await);
    let path = attribute(&page, "data-live");
    // Between the page and its stream.
    client.sign_up(PROGRAM, "bob", "").await.unwrap();
    client.sign_up(PROGRAM, "cleo", "").await.unwrap();
    let mut stream = Stream::open(&ada, &path, "").await;
    stream.until("referral-count/bob").await;
    stream.until("id: ").await;
    let token = stream.token();
    drop(stream);
    client.deactivate("bob").await.unwrap();
    client.deactivate("cleo").await.unwrap();
    let mut again = Stream::open(&ada, &path, &token).await;
    again.until("UserDeactivated").await;
    client.reactivate("bob").await.unwrap();
    again.until("UserReactivated").await;
    assert!(!again.text.contains("UserRegistered"), "nothing comes twice: {}", again.text);
    assert!(!again.text.contains("cleo"), "{}", again.text);
    let later = Browser::shown(&ada.get("/o/log?before=5").await);
    assert!(!later.contains("data-live"), "older pages stay as they are: {later}");
    let mut stranger = Browser::new(&server.address);
    stranger.register("stranger", "").await;
    let mut refused = Stream::open(&stranger, "/live/log", "").await;
    refused.until("event: end").await;
    server.stop().await;
    database.check().await;
}
