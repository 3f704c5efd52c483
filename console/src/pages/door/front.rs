//! The page at `/`, for those who have not signed in.

use maud::html;

use crate::page::{Page, door};
use crate::parts::link;
use crate::reader::Reader;
use crate::text::{self, door as words};

/// What the page shows.
pub struct View {
    /// The version of the server.
    pub version: &'static str,
    /// Whether people may sign up by themselves.
    pub may_register: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View, reader: &Reader) -> String {
    let page = Page {
        reader,
        title: words::WELCOME,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    let main = html! {
        div { h1 { (words::WELCOME) } p.soft { (words::WELCOME_WORDS) } }
        div.stack {
            a.button.first.wide href=(reader.to("/sign-in")) { (text::SIGN_IN) }
            @if view.may_register {
                a.button.wide href=(reader.to("/register")) { (words::CREATE_ACCOUNT) }
            }
        }
        details.fold {
            summary { (words::FOR_PROGRAMS) }
            div.stack {
                p { (words::API_WORDS) }
                p {
                    (words::HEALTH_WORDS) " " a href=(reader.to("/livez")) { code { "/livez" } } ", "
                    a href=(reader.to("/readyz")) { code { "/readyz" } } "."
                }
                p { "Tributary " (view.version) }
            }
        }
    };
    door(&page, &super::side(true), &main)
}

/// A link to the page, for pages that lead nowhere else.
#[must_use]
pub fn way_back(reader: &Reader) -> maud::Markup {
    link(reader, "/", words::TO_THE_FRONT, true)
}
