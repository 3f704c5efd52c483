//! Asking for a mail with which one chooses another password.

use maud::html;

use crate::page::{Page, door};
use crate::parts::{Field, FormKeys, Sent, good_notice, problems};
use crate::reader::Reader;
use crate::text::{self, door as words};

/// What the page shows.
pub struct View {
    /// What was sent, and what is wrong with it.
    pub sent: Sent,
    /// What the form carries.
    pub keys: FormKeys,
    /// Whether a mail was asked for.
    pub is_done: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View, reader: &Reader) -> String {
    let page = Page {
        reader,
        title: words::FORGOT_TITLE,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    let login = Field {
        name: "login",
        label: words::LOGIN,
        autocomplete: "username",
        required: true,
        autofocus: true,
        ..Field::default()
    };
    let main = html! {
        div { h1 { (words::FORGOT_TITLE) } p.soft { (words::FORGOT_WORDS) } }
        @if view.is_done { (good_notice(words::FORGOT_DONE)) }
        (problems(&view.sent))
        form.form method="post" action=(reader.to("/forgot")) {
            (view.keys)
            (login.html(&view.sent))
            button.button.first.wide { (words::SEND_MAIL) }
        }
        p { a href=(reader.to("/sign-in")) { (text::SIGN_IN) } }
    };
    door(&page, &super::side(false), &main)
}
