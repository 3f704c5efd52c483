//! A user who was erased: what is left of them is an id.

use maud::html;
use prost_types::Timestamp;

use super::copyable;
use crate::page::{Page, Sidebar, app};
use crate::parts;
use crate::reader::{Reader, segment};
use crate::text::log::LOG;
use crate::text::operator as text;

/// What the page shows.
pub struct View<'a> {
    /// The id of the user.
    pub user_id: &'a str,
    /// When the user was erased; `None` if that cannot be read now.
    pub erased: Option<Timestamp>,
    /// What has just been done.
    pub done: Option<&'a str>,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let main = html! {
        (parts::head(text::ERASED_USER, text::ERASED_USER_WORDS, &html! {}))
        section.card {
            h2 { (text::ACCOUNT) }
            dl.pairs {
                dt { (text::ID) } dd { (copyable(view.user_id)) }
                dt { (text::ERASED) } dd { (reader.exact_time(view.erased.as_ref())) }
                dt { (LOG) } dd {
                    a href=(reader.to(&format!("/o/log?user={}", segment(view.user_id)))) { (text::EVENTS_ABOUT) }
                }
            }
        }
    };
    let page = Page {
        reader,
        title: text::ERASED_USER,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}
