//! What the log follows: events as they are recorded, those that match its filters.

use std::collections::VecDeque;
use std::time::Duration;

use axum::response::Response;
use console::pages::operator::log::{EVENTS, row};
use http::HeaderMap;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::StreamExt;
use tonic::Status;

use super::{Messages, cannot_begin, ended, resume_token, stream};
use crate::api::console::operator::log::Filter;
use crate::api::console::visit::Visit;
use crate::api::pb;
use crate::api::watch;

/// For so long, events that come together are put into one message.
const TOGETHER: Duration = Duration::from_millis(50);
/// How long after a message the next one comes at the earliest.
const PAUSE: Duration = Duration::from_millis(250);
/// How many events are taken for one message. The page has room for fewer, which are the last ones.
const MAX_EVENTS: usize = 10_000;
/// How many events between the page and its stream are read.
const MAX_MISSED: i32 = 1_000;

type Events = watch::Messages<pb::WatchEventsResponse>;

pub(super) async fn follow(visit: Visit, headers: HeaderMap) -> Response {
    if visit.operator().is_err() {
        return ended(&visit);
    }
    let token = resume_token(&visit, &headers);
    let is_new = token.is_empty();
    let begun = async {
        let filter = Filter::of(&visit).await?;
        let events = visit.call(filter.watch(token)).await?;
        Ok::<_, Status>((filter, events))
    };
    let (filter, events) = match begun.await {
        Ok(begun) => begun,
        Err(status) => return cannot_begin(&visit, &status),
    };
    // The stream begins now; the page shows everything up to this position.
    let shown = visit.query("after").parse().ok().filter(|_| is_new);
    stream(|messages| async move {
        tokio::select! {
            () = messages.gone() => {}
            outcome = run(&visit, &filter, events, shown, &messages) => {
                if let Err(status) = outcome {
                    messages.last(&visit, &status).await;
                }
            }
        }
    })
}

/// Sends events as rows of the page. Returns when the browser has gone.
async fn run(
    visit: &Visit,
    filter: &Filter,
    mut events: Events,
    shown: Option<i64>,
    messages: &Messages,
) -> Result<(), Status> {
    let mut missed = match shown {
        // The stream has begun, so that what is recorded from now on is in it; what is in both, the page shows once.
        Some(after) => read(visit, filter, after).await?,
        None => VecDeque::new(),
    };
    loop {
        let Some(first) = events.next().await.transpose()? else { return Ok(()) };
        let began = Instant::now();
        let mut token = first.resume_token;
        let mut rows = std::mem::take(&mut missed);
        rows.extend(first.event);
        for _ in 0..MAX_EVENTS {
            let Ok(next) = timeout_at(began + TOGETHER, events.next()).await else { break };
            let Some(next) = next.transpose()? else { break };
            token = next.resume_token;
            rows.extend(next.event);
            if rows.len() > EVENTS {
                rows.pop_front();
            }
        }
        let sent = if rows.is_empty() {
            messages.beat(&token).await
        } else {
            let reader = visit.reader();
            let html = rows.iter().map(|event| row(event, reader).into_string()).collect();
            messages.part(html, &token).await
        };
        if sent.is_err() {
            return Ok(());
        }
        sleep_until(began + PAUSE).await;
    }
}

/// The last events after a position, as many as the page has room for.
async fn read(visit: &Visit, filter: &Filter, after: i64) -> Result<VecDeque<pb::Event>, Status> {
    let mut messages = visit.look(filter.read(after, MAX_MISSED)).await?;
    let mut events = VecDeque::new();
    while let Some(message) = messages.next().await.transpose()? {
        events.extend(message.event);
        if events.len() > EVENTS {
            events.pop_front();
        }
    }
    Ok(events)
}
