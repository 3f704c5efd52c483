//! The log: searched backwards from its end, or from a position or a day.

use std::collections::VecDeque;

use axum::extract::Path;
use axum::response::Response;
use console::page::Live;
use console::pages::operator::event;
use console::pages::operator::log::{EVENTS, FILTERS, View, page};
use console::parts::Sent;
use domain::event_types;
use http::StatusCode;
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use url::form_urlencoded;

use super::search::find;
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::participant::earnings::end_of_day;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many events are looked at first, as most of the newest match most filters.
const FIRST_WINDOW: i64 = 200;
/// How many more with each further step.
const GROWTH: i64 = 4;
/// How many events one page looks at, at most.
const MAX_SEARCHED: i64 = 50_000;

/// Which events are wanted, by the texts of the form.
pub(in crate::api::console) struct Filter {
    event_types: Vec<String>,
    program_id: String,
    user_id: String,
    aggregate_id: String,
    actor: String,
}

impl Filter {
    pub(in crate::api::console) async fn of(visit: &Visit) -> Result<Self, Status> {
        let text = |name| visit.query(name).trim().to_owned();
        // Whoever was erased has their id only.
        let user_id = find(visit, visit.query("user")).await?.unwrap_or_else(|| text("user"));
        Ok(Self {
            event_types: Some(text("type")).filter(|name| !name.is_empty()).into_iter().collect(),
            program_id: text("program"),
            user_id,
            aggregate_id: text("stream"),
            actor: text("actor"),
        })
    }

    /// Asks for the events after a position.
    pub(in crate::api::console) fn read(
        &self,
        after_position: i64,
        limit: i32,
    ) -> pb::ReadEventsRequest {
        pb::ReadEventsRequest {
            after_position,
            limit,
            event_types: self.event_types.clone(),
            program_id: self.program_id.clone(),
            user_id: self.user_id.clone(),
            aggregate_id: self.aggregate_id.clone(),
            actor: self.actor.clone(),
            ..Default::default()
        }
    }

    /// Asks for the events that are still to come.
    pub(in crate::api::console) fn watch(&self, resume_token: String) -> pb::WatchEventsRequest {
        pb::WatchEventsRequest {
            resume_token,
            event_types: self.event_types.clone(),
            program_id: self.program_id.clone(),
            user_id: self.user_id.clone(),
            aggregate_id: self.aggregate_id.clone(),
            actor: self.actor.clone(),
        }
    }
}

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let mut sent = Sent::default();
    for name in FILTERS.into_iter().chain(["before", "until"]) {
        sent = sent.or(name, visit.query(name));
    }
    let filter = Filter::of(&visit).await?;
    let end = head(&visit).await? + 1;
    let end_wanted = wanted_end(&visit, &mut sent, end).await?;
    let is_newest = end_wanted.is_none() && sent.faults.is_empty();
    let mut found = if sent.faults.is_empty() {
        search(&visit, &filter, end_wanted.unwrap_or(end)).await
    } else {
        Ok(Found::default())
    };
    let mut code = StatusCode::OK;
    if let Err(status) = &found
        && status.code() == Code::InvalidArgument
    {
        let names = [
            ("event_types[0]", "type"),
            ("program_id", "program"),
            ("user_id", "user"),
            ("aggregate_id", "stream"),
        ];
        (code, sent) = faults::placed(status, sent, &names);
        found = Ok(Found::default());
    }
    let found = found?;
    let live = Live { path: path_of(&visit, "/live/log", "after", end - 1), token: String::new() };
    let view = View {
        events: &found.events,
        sent: &sent,
        types: &event_types(),
        searched: found.rest.filter(|_| found.events.len() < EVENTS),
        next: found.rest.map(|before| path_of(&visit, "/o/log", "before", before)),
        first: (!is_newest).then(|| path_of(&visit, "/o/log", "", 0)),
        live: (is_newest && code == StatusCode::OK).then_some(live),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(&visit, &form_token);
    Ok(visit.page_with(code, page(view, &sidebar, visit.reader())))
}

pub(super) async fn one(visit: Visit, Path(position): Path<String>) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let position: i64 = position.parse().map_err(|_| Refused::NotFound)?;
    let request = pb::ReadEventsRequest {
        after_position: position.checked_sub(1).ok_or(Refused::NotFound)?,
        limit: 2,
        ..Default::default()
    };
    let mut messages = visit.call(request).await?;
    let mut events = Vec::new();
    while let Some(message) = messages.next().await.transpose()? {
        events.extend(message.event);
    }
    let found = events.first().filter(|event| event.position == position);
    let found = found.ok_or(Refused::NotFound)?;
    let form_token = visit.form_token();
    let sidebar = person.sidebar(&visit, &form_token);
    Ok(visit.page(event::page(found, events.len() > 1, &sidebar, visit.reader())))
}

/// The address of the log with the same filters, and a position.
fn path_of(visit: &Visit, path: &str, name: &str, position: i64) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let filters = FILTERS.into_iter().map(|name| (name, visit.query(name)));
    query.extend_pairs(filters.filter(|(_, value)| !value.is_empty()));
    if !name.is_empty() {
        query.append_pair(name, &position.to_string());
    }
    format!("{path}?{}", query.finish())
}

/// The position of the last event.
async fn head(visit: &Visit) -> Result<i64, Status> {
    let request = pb::ListProgramsRequest { page_size: 1, ..Default::default() };
    Ok(visit.call(request).await?.position)
}

/// The position before which events are wanted: by a position or by a day. `None`: the newest are wanted.
async fn wanted_end(visit: &Visit, sent: &mut Sent, end: i64) -> Result<Option<i64>, Status> {
    let (before, until) = (sent.value("before").trim(), sent.value("until").trim());
    if !before.is_empty() {
        return Ok(match before.parse::<i64>() {
            Ok(position) if position > 0 => Some(position.min(end)),
            _ => {
                sent.faults.push(("before".into(), console::text::log::NO_POSITION.into()));
                None
            }
        });
    }
    if until.is_empty() {
        return Ok(None);
    }
    let Some(moment) = end_of_day(until, visit.reader().zone()) else {
        sent.faults.push(("until".into(), console::text::log::NO_DAY.into()));
        return Ok(None);
    };
    // Times never decrease along the log, so that the place is found by halves.
    let (mut low, mut high) = (0, end - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let request =
            pb::ReadEventsRequest { after_position: middle, limit: 1, ..Default::default() };
        let mut messages = visit.look(request).await?;
        let next = messages.next().await.transpose()?.and_then(|message| message.event);
        let time = next.and_then(|event| event.create_time);
        let is_later =
            time.is_none_or(|time| (time.seconds, time.nanos) > (moment.seconds, moment.nanos));
        if is_later { high = middle } else { low = middle + 1 }
    }
    Ok(Some(low + 1))
}

/// What a search has found.
#[derive(Default)]
struct Found {
    /// The newest first.
    events: Vec<pb::Event>,
    /// The position before which it can be continued; `None` if the beginning was reached.
    rest: Option<i64>,
}

/// Looks backwards for events before a position, in windows that grow, until there is a page of them.
async fn search(visit: &Visit, filter: &Filter, end: i64) -> Result<Found, Status> {
    let (mut end, mut window, mut searched) = (end, FIRST_WINDOW, 0);
    let mut found = Found::default();
    loop {
        let after = (end - 1 - window).max(0);
        let mut matches = between(visit, filter, after, end).await?;
        searched += end - 1 - after;
        matches.reverse();
        found.events.extend(matches);
        if found.events.len() >= EVENTS {
            // There may be none before the last one, which the next page then says.
            found.events.truncate(EVENTS);
            let last = found.events.last().map_or(1, |event| event.position);
            found.rest = Some(last).filter(|position| *position > 1);
            return Ok(found);
        }
        if after == 0 || searched >= MAX_SEARCHED {
            found.rest = (after > 0).then_some(after + 1);
            return Ok(found);
        }
        end = after + 1;
        window = (window * GROWTH).min(MAX_SEARCHED - searched);
    }
}

/// The last matches, a page of them, after one position and before another one.
async fn between(
    visit: &Visit,
    filter: &Filter,
    after: i64,
    end: i64,
) -> Result<Vec<pb::Event>, Status> {
    let mut messages = visit.look(filter.read(after, 0)).await?;
    let mut matches = VecDeque::new();
    while let Some(message) = messages.next().await.transpose()? {
        if message.position >= end {
            break;
        }
        matches.extend(message.event);
        if matches.len() > EVENTS {
            matches.pop_front();
        }
        if message.position == end - 1 {
            break;
        }
    }
    Ok(matches.into())
}
