//! Pages in place of those that cannot be shown.

use maud::{Markup, html};

use super::door::side;
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app, door};
use crate::parts::empty;
use crate::reader::Reader;
use crate::text;

/// What the page says.
pub struct View<'a> {
    /// What is the matter.
    pub title: &'a str,
    /// What to do.
    pub words: &'a str,
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
                &html! { a.button.first href=(reader.to("/")) { (text::HOME) } },
            ))
        }
    }
}
