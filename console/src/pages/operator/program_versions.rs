//! The versions of a program, and what differs between two of them.

use contract::pb::{Money, Program};
use maud::{Markup, html};

use crate::page::{Page, Sidebar, app};
use crate::parts::{self, Tone, badge, table, table_foot};
use crate::program::{Difference, ON};
use crate::reader::Reader;
use crate::text::program as text;

/// What the page shows.
pub struct View<'a> {
    /// The program in force.
    pub current: &'a Program,
    /// A page of its versions, the newest first.
    pub versions: &'a [Program],
    /// The two versions that are compared, by their numbers, and what differs.
    pub compared: Option<(i32, i32, &'a [Difference])>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
    /// What has just been done.
    pub done: Option<&'a str>,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let path = format!("/o/programs/{}", view.current.program_id);
    let main = html! {
        (parts::head(&view.current.display_name, text::VERSIONS_WORDS, &parts::link(reader, &path, text::EDIT, true)))
        @if let Some((from, to, differences)) = view.compared {
            section.card.flush {
                div.card-head {
                    h2 { (text::between(from, to)) }
                    (choose(view.current.version, from, to, &path, reader))
                }
                @if differences.is_empty() {
                    p.soft.padded { (text::SAME) }
                } @else {
                    (table_of(differences, view.current, reader))
                }
            }
        }
        section.card.flush {
            div.card-head { h2 { (text::VERSIONS) } }
            (list(view, &path, reader))
            (table_foot(
                reader,
                &text::so_many_versions(view.versions.len()),
                view.next.as_deref(),
                view.is_later.then_some(&*format!("{path}/versions")),
            ))
        }
    };
    let page = Page {
        reader,
        title: &view.current.display_name,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// The choice of two versions.
fn choose(last: i32, from: i32, to: i32, path: &str, reader: &Reader) -> Markup {
    let number = |name: &'static str, label: &'static str, value: i32| {
        html! {
            label.row {
                (label)
                input.input.short.number type="number" name=(name) min="1" max=(last) value=(value) required;
            }
        }
    };
    html! {
        form.row method="get" action=(reader.to(&format!("{path}/versions"))) {
            (number("from", text::FROM, from))
            (number("to", text::TO, to))
            button.button { (text::COMPARE) }
        }
    }
}

fn list(view: &View<'_>, path: &str, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::VERSION) }
        th.wide scope="col" { (text::PUBLISHED) }
        th scope="col" { span.unseen { (text::DIFFERENCES) } }
    };
    let rows = html! {
        @for of in view.versions {
            tr {
                th scope="row" {
                    a href=(reader.to(&format!("{path}?version={}", of.version))) { (text::version(of.version)) }
                    @if of.version == view.current.version { " " (badge(Tone::Good, text::IN_FORCE)) }
                    small.phone { (reader.exact_time(of.publish_time.as_ref())) }
                }
                td.wide { (reader.exact_time(of.publish_time.as_ref())) }
                td {
                    @if of.version > 1 {
                        @let (from, to) = (of.version - 1, of.version);
                        a href=(reader.to(&format!("{path}/versions?from={from}&to={to}"))) { (text::changes_of(to)) }
                    }
                }
            }
        }
    };
    table(text::VERSIONS, &head, &rows)
}

/// A table of differences.
#[must_use]
pub fn table_of(differences: &[Difference], program: &Program, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::FIELD) }
        th scope="col" { (text::BEFORE) }
        th scope="col" { (text::AFTER) }
    };
    let rows = html! {
        @for of in differences {
            tr {
                th scope="row" {
                    (text::field(&of.key).map_or(&*of.path, |(label, _)| label))
                    small.code.break { (of.path) }
                }
                td.break { (value(of.before.as_deref(), &of.key, program, reader)) }
                td.break { (value(of.after.as_deref(), &of.key, program, reader)) }
            }
        }
    };
    table(text::DIFFERENCES, &head, &rows)
}

/// A value as it is in the JSON, with what it means where that can be said better.
fn value(value: Option<&str>, key: &str, program: &Program, reader: &Reader) -> Markup {
    let Some(value) = value else { return html! { span.soft { "–" } } };
    let number = value.parse::<i64>().ok();
    let words = match (number, value) {
        (_, ON | "true") => Some(text::YES.to_owned()),
        (_, "false") => Some(text::NO.to_owned()),
        (Some(number), _) if key.ends_with("_bps") => Some(reader.percent(number)),
        (Some(number), _) if key.ends_with("_minor") => {
            let of_purchase = key == "Program.minimum_purchase_minor";
            let unit = if of_purchase { &program.purchase_currency_code } else { &program.unit };
            let amount = Money { currency_code: unit.clone(), minor_units: number };
            Some(reader.words(Some(&amount)))
        }
        _ => text::value(value).map(str::to_owned),
    };
    html! {
        @match words {
            Some(words) => { (words) @if number.is_some() { small { (value) } } }
            None => (value)
        }
    }
}
