//! The programs that somebody can take part in.

use contract::pb::Program;
use maud::{Markup, html};

use super::rules::rewards;
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, Field, FormKeys, Sent, empty};
use crate::reader::Reader;
use crate::text::participant as text;
use crate::text::rules::To;

/// What the page shows.
pub struct View<'a> {
    /// The programs that the reader is not in.
    pub programs: &'a [Program],
    /// What was sent with the form of a program, and what is wrong with it.
    pub sent: Option<(String, Sent)>,
    /// What the forms carry, one for each program.
    pub keys: &'a dyn Fn() -> FormKeys,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let main = html! {
        (parts::head(text::JOIN_PROGRAM, text::PROGRAMS_WORDS, &html! {}))
        @if view.programs.is_empty() {
            section.card.flush { (empty(Icon::LIST, text::NO_PROGRAM_LEFT, text::NO_PROGRAM_LEFT_WORDS, &html! {})) }
        } @else {
            section.grid { @for program in view.programs { (self::program(program, view, reader)) } }
        }
    };
    let page = Page {
        reader,
        title: text::JOIN_PROGRAM,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn program(program: &Program, view: &View<'_>, reader: &Reader) -> Markup {
    let sent = view.sent.as_ref().filter(|(of, _)| *of == program.program_id);
    let sent = sent.map(|(_, sent)| sent.clone()).unwrap_or_default();
    let id = format!("code-of-{}", program.program_id);
    let faults = sent.faults.iter().filter(|(name, _)| name == "referral_code");
    let sent =
        Sent { faults: faults.map(|(_, fault)| (id.clone(), fault.clone())).collect(), ..sent };
    // The form has one field; its id is that of the program, its name is always the same.
    let code = Field {
        name: "referral_code",
        id: &id,
        label: text::CODE,
        autocomplete: "off",
        ..Field::default()
    };
    html! {
        section.card.item {
            div.stack {
                h2 { (program.display_name) }
                ul.facts { @for said in rewards(To::Participant, program, reader) { li { (said) } } }
            }
            (parts::problems(&sent))
            form.form method="post" action=(reader.to(&format!("/programs/{}", program.program_id))) {
                ((view.keys)())
                (code.html(&sent))
                button.button.first { (text::JOIN) }
            }
        }
    }
}
