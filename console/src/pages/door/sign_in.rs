//! Signing in.

use maud::html;

use crate::page::{Page, door};
use crate::parts::{Field, FormKeys, Sent, good_notice, notice, problems};
use crate::reader::Reader;
use crate::text::{self, door as words};

/// What the page shows.
#[derive(Default)]
pub struct View<'a> {
    /// What was sent, and what is wrong with it.
    pub sent: Sent,
    /// What the form carries.
    pub keys: FormKeys,
    /// Where to go on; empty for the dashboard.
    pub next: &'a str,
    /// Whether the account asks for the code of a second factor, and what the password was: it was right.
    pub second_factor: Option<&'a str>,
    /// What has just happened, and whether it is good news.
    pub said: Option<(&'static str, bool)>,
    /// Whether people may sign up by themselves.
    pub may_register: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, reader: &Reader) -> String {
    let page = Page {
        reader,
        title: text::SIGN_IN,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    let (sent, asks) = (&view.sent, view.second_factor.is_some());
    let login = Field {
        name: "login",
        label: words::LOGIN,
        autocomplete: "username",
        required: true,
        autofocus: !asks,
        ..Field::default()
    };
    let password = Field {
        name: "password",
        label: words::PASSWORD,
        kind: "password",
        autocomplete: "current-password",
        required: true,
        ..Field::default()
    };
    let code = Field {
        name: "second_factor_code",
        label: words::SECOND_FACTOR_CODE,
        hint: words::SECOND_FACTOR_HINT,
        autocomplete: "one-time-code",
        required: true,
        autofocus: true,
        ..Field::default()
    };
    let main = html! {
        div {
            h1 { (text::SIGN_IN) }
            @if view.may_register {
                p.soft {
                    (words::NO_ACCOUNT) " " a href=(reader.to("/register")) { (words::CREATE_ONE) }
                }
            }
        }
        @match view.said {
            Some((said, true)) => (good_notice(said)),
            Some((said, false)) => (notice(said)),
            None => {}
        }
        (problems(sent))
        form.form method="post" action=(reader.to("/sign-in")) {
            (view.keys)
            @if !view.next.is_empty() { input type="hidden" name="next" value=(view.next); }
            (login.html(sent))
            // Whoever gave the right password need not type it again to add the code.
            (password.with_value(view.second_factor.unwrap_or_default(), sent))
            @if asks { (code.html(sent)) }
            button.button.first.wide { (text::SIGN_IN) }
        }
        p { a href=(reader.to("/forgot")) { (words::FORGOT) } }
    };
    door(&page, &super::side(false), &main)
}
