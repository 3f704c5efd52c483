//! The log: what was recorded, the newest first, and live.

use contract::pb::Event;
use maud::{Markup, html};

use super::event::about;
use crate::icons::Icon;
use crate::page::{Live, Page, Sidebar, app};
use crate::parts::{self, Field, Sent, Tone, badge, live_table, table_foot};
use crate::reader::Reader;
use crate::text::log as text;

/// The id of the list of events.
pub const LIST: &str = "log";
/// How many events a page has.
pub const EVENTS: usize = 50;
/// The names of the filters in addresses.
pub const FILTERS: [&str; 5] = ["type", "program", "user", "stream", "actor"];

/// What the page shows.
pub struct View<'a> {
    /// The events, the newest first.
    pub events: &'a [Event],
    /// The filters, and what is wrong with them.
    pub sent: &'a Sent,
    /// All types of events.
    pub types: &'a [&'a str],
    /// The position down to which the log was searched, if that is not its beginning and there are fewer events than
    /// a page has.
    pub searched: Option<i64>,
    /// The path of the older ones; `None` if there are none.
    pub next: Option<String>,
    /// The path of the newest ones; `None` if these are they.
    pub first: Option<String>,
    /// What the page follows: nothing unless it shows the newest.
    pub live: Option<Live>,
}

/// The page.
#[must_use]
pub fn page(view: View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let mark = if view.live.is_some() {
        parts::live_mark()
    } else {
        html! {}
    };
    let main = html! {
        (parts::head(text::LOG, text::LOG_WORDS, &mark))
        (filters(&view, reader))
        section.card.flush {
            (list(&view, reader))
            @if view.events.is_empty() {
                div.empty id={ (LIST) "-empty" } { (Icon::LIST) h2 { (text::NOTHING) } p { (text::NOTHING_WORDS) } }
            }
            (table_foot(reader, &foot(&view, reader), view.next.as_deref(), view.first.as_deref()))
        }
    };
    let page = Page {
        reader,
        title: text::LOG,
        live: view.live,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn foot(view: &View<'_>, reader: &Reader) -> String {
    match view.searched {
        Some(position) => text::searched(view.events.len(), &reader.number(position)),
        None => text::so_many(view.events.len()),
    }
}

fn filters(view: &View<'_>, reader: &Reader) -> Markup {
    let sent = view.sent;
    let field =
        |name, label, hint| Field { name, label, hint, autocomplete: "off", ..Field::default() };
    let mut types = vec![("", text::ANY_TYPE)];
    types.extend(view.types.iter().map(|name| (*name, *name)));
    let is_filtered = FILTERS.iter().any(|name| !sent.value(name).is_empty());
    html! {
        section.card {
            details open[is_filtered || !sent.faults.is_empty()] {
                summary.strong { (text::FILTER) }
                form.form.wide.below method="get" action=(reader.to("/o/log")) role="search" {
                    div.columns {
                        (field("type", text::TYPE, "").choice(&types, sent))
                        (field("program", text::PROGRAM, text::PROGRAM_HINT).html(sent))
                        (field("user", text::USER, text::USER_HINT).html(sent))
                        (field("stream", text::STREAM, text::STREAM_HINT).html(sent))
                        (field("actor", text::ACTOR, text::ACTOR_HINT).html(sent))
                        (Field { inputmode: "numeric", ..field("before", text::BEFORE, text::BEFORE_HINT) }.html(sent))
                        (Field { kind: "date", ..field("until", text::UNTIL, text::UNTIL_HINT) }.html(sent))
                    }
                    div.actions {
                        button.button.first { (text::APPLY) }
                        a.button href=(reader.to("/o/log")) { (text::SHOW_ALL) }
                    }
                }
            }
        }
    }
}

fn list(view: &View<'_>, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::POSITION) }
        th scope="col" { (text::TYPE) }
        th.wide scope="col" { (text::ABOUT) }
        th.wide scope="col" { (text::ACTOR) }
    };
    let rows = html! { @for event in view.events { (row(event, reader)) } };
    live_table(text::LOG, &head, &rows, LIST, EVENTS)
}

/// An event as a row of the list. The script puts it first.
#[must_use]
pub fn row(event: &Event, reader: &Reader) -> Markup {
    html! {
        tr id={ "event-" (event.position) } data-into=(LIST) {
            th scope="row" {
                a href=(reader.to(&format!("/o/log/{}", event.position))) { (reader.number(event.position)) }
                small { (reader.exact_time(event.create_time.as_ref())) }
            }
            td {
                (badge(Tone::Plain, &event.event_type))
                small.phone.break { (event.aggregate_id) }
            }
            td.wide.break {
                (about(event, reader))
                small { (event.aggregate_type) " " (reader.number(event.sequence)) }
            }
            td.wide.break { (event.actor) @if !event.door.is_empty() { small { (event.door) } } }
        }
    }
}
