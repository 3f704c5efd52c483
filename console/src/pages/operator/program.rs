//! One program, to be read and changed: as a form and as JSON, and what a change would be before it is published.

use contract::pb::Program;
use maud::{Markup, html};

use super::program_form::form;
use super::program_versions::table_of;
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, Field, FormKeys, Sent};
use crate::program::Difference;
use crate::reader::Reader;
use crate::text::log::LOG;
use crate::text::program as text;

/// Where both forms are sent.
const ACTION: &str = "/o/publish";
/// How many lines of JSON are seen at once.
const LINES: usize = 22;

/// What the page shows.
pub struct View<'a> {
    /// The program in force; `None` if it is a new one.
    pub current: Option<&'a Program>,
    /// The number of the version that is shown, if it is not the one in force.
    pub old: Option<i32>,
    /// The fields, and their faults. `None` if they cannot be read from the JSON.
    pub sent: Option<&'a Sent>,
    /// The same as JSON.
    pub json: &'a str,
    /// What is wrong with the JSON.
    pub json_fault: Option<&'a str>,
    /// Whether it was checked, and nothing is wrong.
    pub is_good: bool,
    /// What the forms carry.
    pub keys: &'a dyn Fn() -> FormKeys,
    /// What has just been done.
    pub done: Option<&'a str>,
}

/// The page on which a program is changed.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let title = view.current.map_or(text::NEW_PROGRAM, |program| &*program.display_name);
    let main = html! {
        (head(view.current, title, reader))
        @if let (Some(old), Some(current)) = (view.old, view.current) {
            (parts::notice(&text::old_version(old, current.version)))
        }
        @if view.is_good { (parts::good_notice(text::NOTHING_WRONG)) }
        @if view.json_fault.is_some() { (parts::bad_notice(text::JSON_UNREADABLE)) }
        @if let Some(sent) = view.sent { (parts::problems(sent)) }
        div.split.even {
            @if let Some(sent) = view.sent { (as_form(view, sent, reader)) }
            (as_json(view, reader))
        }
    };
    app(&page_of(title, view.done, reader), sidebar, &main)
}

fn page_of<'a>(title: &'a str, done: Option<&'a str>, reader: &'a Reader) -> Page<'a> {
    Page { reader, title, live: None, done, celebration: None, shared: None }
}

fn head(current: Option<&Program>, title: &str, reader: &Reader) -> Markup {
    let Some(program) = current else {
        return parts::head(title, text::NEW_PROGRAM_WORDS, &html! {});
    };
    let below = text::id_and_version(&program.program_id, program.version);
    let id = &program.program_id;
    let actions = html! {
        (parts::link(reader, &format!("/o/programs/{id}/view"), text::FIGURES, false))
        (parts::link(reader, &format!("/o/log?program={id}"), LOG, false))
        (parts::link(reader, &format!("/o/programs/{id}/versions"), text::VERSIONS, false))
    };
    parts::head(title, &below, &actions)
}

/// What both forms carry besides their fields.
fn carried(view: &View<'_>) -> Markup {
    let base = view.current.map(|program| program.version).unwrap_or_default();
    html! {
        ((view.keys)())
        input type="hidden" name="base" value=(base);
        @if let Some(program) = view.current { input type="hidden" name="of" value=(program.program_id); }
        // What the key for "send" in a field presses.
        button.button-of-key name="do" value="check" tabindex="-1" aria-hidden="true" { (text::CHECK) }
    }
}

fn buttons() -> Markup {
    html! {
        div.actions.at-foot {
            button.button name="do" value="check" { (text::CHECK) }
            button.button.first name="do" value="preview" { (text::PREVIEW) }
        }
    }
}

fn as_form(view: &View<'_>, sent: &Sent, reader: &Reader) -> Markup {
    html! {
        section.card {
            h2 { (text::THE_FORM) }
            form.form.wide #program-form data-mirror method="post" action=(reader.to(ACTION)) {
                (carried(view))
                (form(sent, view.current.is_some(), reader))
                (buttons())
            }
        }
    }
}

fn as_json(view: &View<'_>, reader: &Reader) -> Markup {
    let none = Sent::default();
    let sent = view.sent.unwrap_or(&none);
    let fault = view.json_fault.map(|fault| ("json".to_owned(), fault.to_owned()));
    let of_json = Sent { faults: fault.into_iter().collect(), ..Sent::default() };
    let json =
        Field { name: "json", label: text::THE_JSON, hint: text::JSON_WORDS, ..Field::default() };
    html! {
        section.card.beside {
            form.form.wide #program-json data-mirror method="post" action=(reader.to(ACTION)) {
                (carried(view))
                (json.area(view.json, LINES, &of_json))
                (faults(sent))
                (buttons())
            }
        }
    }
}

/// All faults with their places.
fn faults(sent: &Sent) -> Markup {
    html! {
        @if !sent.faults.is_empty() {
            div {
                h3 { (text::FAULTS) }
                ul.plain.below {
                    @for (path, fault) in &sent.faults {
                        li { a.code.break href={ "#" (path) } { (path) } " " (fault) }
                    }
                }
            }
        }
    }
}

/// What a program would change, before it is published.
pub struct Preview<'a> {
    /// The program in force; `None` if it is a new one.
    pub current: Option<&'a Program>,
    /// The program as it would be.
    pub next: &'a Program,
    /// What differs.
    pub differences: &'a [Difference],
    /// Whether another version was published since editing began.
    pub has_moved_on: bool,
    /// The program as JSON, which the form carries.
    pub json: &'a str,
    /// What the form carries.
    pub keys: &'a dyn Fn() -> FormKeys,
}

/// The page on which a change is published.
#[must_use]
pub fn preview(view: &Preview<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let (next, current) = (view.next, view.current.map(|program| program.version));
    let base = current.unwrap_or_default();
    let main = html! {
        (parts::head(&next.display_name, &text::becomes(&next.program_id, next.version), &html! {}))
        @if view.has_moved_on { (parts::bad_notice(&text::moved_on(base))) }
        @if view.differences.is_empty() {
            (parts::notice(text::NO_DIFFERENCE))
        } @else {
            section.card.flush {
                div.card-head { h2 { (text::DIFFERENCES) } p { (text::PREVIEW_WORDS) } }
                (table_of(view.differences, next, reader))
            }
        }
        form.actions method="post" action=(reader.to(ACTION)) {
            ((view.keys)())
            input type="hidden" name="base" value=(base);
            @if view.current.is_some() { input type="hidden" name="of" value=(next.program_id); }
            input type="hidden" name="json" value=(view.json);
            @if !view.differences.is_empty() {
                button.button.first name="do" value="publish" { (Icon::CHECK) (text::publish(next.version)) }
            }
            button.button name="do" value="edit" { (text::BACK) }
        }
    };
    app(&page_of(&next.display_name, None, reader), sidebar, &main)
}
