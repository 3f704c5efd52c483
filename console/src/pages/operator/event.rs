//! One event in full.

use contract::pb::Event;
use jiff::Timestamp as Moment;
use maud::{Markup, html};
use prost_types::Timestamp;
use serde_json::Value;
use url::form_urlencoded;

use crate::page::{Page, Sidebar, app};
use crate::parts;
use crate::reader::{Reader, segment};
use crate::text::log as text;

/// The page.
#[must_use]
pub fn page(event: &Event, has_later: bool, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let title = text::event(&reader.number(event.position));
    let to = |position: i64| format!("/o/log/{position}");
    let actions = html! {
        @if event.position > 1 { (parts::link(reader, &to(event.position - 1), text::EARLIER, false)) }
        @if has_later { (parts::link(reader, &to(event.position + 1), text::LATER, false)) }
        (parts::link(reader, "/o/log", text::LOG, false))
    };
    let main = html! {
        (parts::head(&title, &event.event_type, &actions))
        div.split {
            section.card {
                h2 { (text::PAYLOAD) }
                pre.json.code tabindex="0" role="region" aria-label=(text::PAYLOAD) { (payload(event, reader)) }
            }
            section.card {
                h2 { (text::METADATA) }
                dl.pairs {
                    dt { (text::WHEN) } dd { (reader.exact_time(event.create_time.as_ref())) }
                    dt { (text::TYPE) } dd { code { (event.event_type) } " " span.soft { (event.event_version) } }
                    dt { (text::ABOUT) } dd { (about(event, reader)) }
                    dt { (text::STREAM) }
                    dd {
                        a href=(reader.to(&stream_path(event))) {
                            (event.aggregate_type) " " (event.aggregate_id)
                        }
                        ", " (reader.number(event.sequence))
                    }
                    dt { (text::ACTOR) }
                    dd {
                        @if event.actor.is_empty() { span.soft { (text::SAME_COMMAND) } } @else {
                            code { (event.actor) }
                        }
                    }
                    @if !event.door.is_empty() { dt { (text::DOOR) } dd { code { (event.door) } } }
                }
            }
        }
    };
    let page =
        Page { reader, title: &title, live: None, done: None, celebration: None, shared: None };
    app(&page, sidebar, &main)
}

/// The path of all events of the event's stream.
fn stream_path(event: &Event) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("stream", &event.aggregate_id);
    format!("/o/log?{}", query.finish())
}

/// Whom or what an event is about, as a link to the page of it where there is one.
#[must_use]
pub fn about(event: &Event, reader: &Reader) -> Markup {
    let id = &event.aggregate_id;
    // The id of a participant: the first `/` ends the program.
    let (program, user) = id.split_once('/').unwrap_or(("", ""));
    match &*event.aggregate_type {
        "User" => to("/o/users/", id, reader),
        "Program" => to("/o/programs/", id, reader),
        "Purchase" => to("/o/purchases/", id, reader),
        "Participant" if !user.is_empty() => {
            html! { (to("/o/users/", user, reader)) " · " (to("/o/programs/", program, reader)) }
        }
        _ => html! { (id) },
    }
}

fn to(path: &str, id: &str, reader: &Reader) -> Markup {
    html! { a href=(reader.to(&format!("{path}{}", segment(id)))) { (id) } }
}

/// The payload as JSON, with links from ids to pages, and what times are.
fn payload(event: &Event, reader: &Reader) -> Markup {
    if let Ok(fields) = serde_json::from_str::<Value>(&event.payload_json) {
        json(&fields, "", 0, reader)
    } else {
        html! { (event.payload_json) }
    }
}

fn json(value: &Value, name: &str, depth: usize, reader: &Reader) -> Markup {
    let line = |depth: usize| format!("\n{}", "  ".repeat(depth));
    match value {
        Value::Object(fields) if !fields.is_empty() => html! {
            "{"
            @for (index, (name, value)) in fields.iter().enumerate() {
                @if index > 0 { "," }
                (line(depth + 1)) span.soft { "\"" (name) "\"" } ": " (json(value, name, depth + 1, reader))
            }
            (line(depth)) "}"
        },
        Value::Array(items) if !items.is_empty() => html! {
            "["
            @for (index, item) in items.iter().enumerate() {
                @if index > 0 { "," }
                (line(depth + 1)) (json(item, name, depth + 1, reader))
            }
            (line(depth)) "]"
        },
        Value::String(text) => {
            let quoted = value.to_string();
            match page_of(name) {
                Some(path) if is_id(text) => {
                    html! { a href=(reader.to(&format!("{path}{text}"))) { (quoted) } }
                }
                _ => html! { (quoted) },
            }
        }
        Value::Number(number) => html! {
            (number)
            @if let Some(time) = number.as_i64().filter(|_| name.ends_with("_us")).and_then(moment) {
                span.soft { "  " (reader.exact_time(Some(&time))) }
            }
        },
        other => html! { (other) },
    }
}

/// The pages of what a field names.
fn page_of(name: &str) -> Option<&'static str> {
    let pages = [
        ("user_id", "/o/users/"),
        ("purchase_id", "/o/purchases/"),
        ("program_id", "/o/programs/"),
    ];
    pages.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, path)| path)
}

/// Whether a text can stand in a path as it is.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn moment(microseconds: i64) -> Option<Timestamp> {
    let moment = Moment::from_microsecond(microseconds).ok()?;
    Some(Timestamp { seconds: moment.as_second(), nanos: moment.subsec_nanosecond() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Theme;

    #[test]
    fn a_payload_links_to_whom_it_names_and_says_when_times_are() {
        let reader = Reader::new("en", Some("UTC"), Theme::System, "/below".into());
        let event = Event {
            payload_json:
                "{\"amounts\":[1,{\"rate_bps\":5}],\"buyer_user_id\":\"ada\",\"none\":{},\
                           \"other_user_id\":\"<b>\",\"time_us\":1795887000000000}"
                    .into(),
            ..Event::default()
        };
        let html = payload(&event, &reader).into_string();
        assert!(html.contains(r#"<a href="/below/o/users/ada">&quot;ada&quot;</a>"#), "{html}");
        assert!(html.contains("28 Nov 2026, 17:30"), "{html}");
        assert!(html.contains("&quot;&lt;b&gt;&quot;") && !html.contains("users/&lt;"), "{html}");
        let text = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        let text: String = text.collect();
        assert!(text.contains("[\n    1,\n    {\n      "), "{text}");
    }
}
