//! All programs.

use contract::pb::Program;
use maud::{Markup, html};

use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, empty, table, table_foot};
use crate::reader::Reader;
use crate::text::operator::{NO_PROGRAMS, PROGRAM};
use crate::text::program as text;

/// What the page shows.
pub struct View<'a> {
    /// The programs, as they are in force.
    pub programs: &'a [Program],
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let new = parts::link(reader, "/o/publish", text::NEW_PROGRAM, true);
    let main = html! {
        (parts::head(text::PROGRAMS, text::PROGRAMS_WORDS, &new))
        section.card.flush {
            @if view.programs.is_empty() {
                (empty(Icon::BOOK, NO_PROGRAMS, text::NO_PROGRAMS_WORDS, &html! {}))
            } @else {
                (list(view.programs, reader))
                (table_foot(
                    reader,
                    &text::so_many(view.programs.len()),
                    view.next.as_deref(),
                    view.is_later.then_some("/o/programs"),
                ))
            }
        }
    };
    let page = Page {
        reader,
        title: text::PROGRAMS,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn list(programs: &[Program], reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (PROGRAM) }
        th.wide scope="col" { (text::EARNS) }
        th scope="col" { (text::UNIT) }
        th.number scope="col" { (text::VERSION) }
        th.wide scope="col" { (text::PUBLISHED) }
    };
    let rows = html! {
        @for program in programs {
            @let path = format!("/o/programs/{}", program.program_id);
            tr {
                th scope="row" {
                    a href=(reader.to(&path)) { (program.display_name) }
                    small.break { (program.program_id) }
                    small { a href=(reader.to(&format!("{path}/view"))) { (text::FIGURES) } }
                }
                td.wide { (text::value(program.earn_on().as_str_name()).unwrap_or("–")) }
                td.whole { (program.unit) }
                td.number {
                    a href=(reader.to(&format!("{path}/versions")))
                        aria-label=(text::id_and_version(&program.program_id, program.version)) {
                        (reader.number(program.version))
                    }
                }
                td.wide { (reader.exact_time(program.publish_time.as_ref())) }
            }
        }
    };
    table(text::PROGRAMS, &head, &rows)
}
