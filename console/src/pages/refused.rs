//! Pages in place of those that cannot be shown.

use maud::{Markup, html};

use super::door::side;
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app, door};
use crate::parts::{Field, Sent, empty};
use crate::reader::Reader;
use crate::text;

/// What the page says.
pub struct View<'a> {
    /// What is the matter.
    pub title: &'a str,
    /// What to do.
    pub words: &'a str,
    /// The form that was sent, if it can be sent again.
    pub again: Option<Again<'a>>,
}

/// A form that sends again what was sent: the same command, so that it is carried out once.
pub struct Again<'a> {
    /// The path that it was sent to, below the root.
    pub action: &'a str,
    /// Says that the form is one of ours.
    pub form_token: String,
    /// Its fields by name, with the id of its command.
    pub fields: Vec<(&'a str, &'a str)>,
    /// What no page carries, by name and label: it has to be typed once more.
    pub secrets: Vec<(&'a str, &'a str)>,
}

/// The page, with the sidebar of who has signed in.
#[must_use]
pub fn page(view: &View<'_>, sidebar: Option<&Sidebar<'_>>, reader: &Reader) -> String {
    let page =
        Page { reader, title: view.title, live: None, done: None, celebration: None, shared: None };
    match sidebar {
        Some(sidebar) => app(&page, sidebar, &main(view, reader)),
        None => door(&page, &side(false), &main(view, reader)),
    }
}

fn main(view: &View<'_>, reader: &Reader) -> Markup {
    html! {
        h1.unseen { (view.title) }
        section.card.flush {
            (empty(
                Icon::WARN,
                view.title,
                view.words,
                &html! {
                    @if let Some(again) = &view.again { (self::again(again, reader)) }
                    @else { a.button.first href=(reader.to("/")) { (text::HOME) } }
                },
            ))
        }
    }
}

fn again(again: &Again<'_>, reader: &Reader) -> Markup {
    html! {
        form.form #again method="post" action=(reader.to(again.action)) {
            input type="hidden" name="form_token" value=(again.form_token);
            @for (name, value) in &again.fields { input type="hidden" name=(name) value=(value); }
            @for (name, label) in &again.secrets {
                (Field { name, label, kind: "password", required: true, ..Field::default() }.html(&Sent::default()))
            }
            button.button.first { (text::TRY_AGAIN) }
        }
    }
}
