//! What the links in mails lead to: confirming an address, choosing another password, and which mails are not wanted.
//! The forms have no token but that of the link, and no cookie.

use maud::html;

use crate::page::{Page, door};
use crate::parts::{Field, PasswordRule, Sent};
use crate::reader::Reader;
use crate::text::{self, door as words};

/// What can be done on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An address can be confirmed.
    Confirm,
    /// Another password can be chosen.
    Password,
}

/// What the page shows.
pub struct View<'a> {
    /// The title.
    pub title: &'a str,
    /// What it says.
    pub words: &'a str,
    /// What can be done, with the token of the link.
    pub form: Option<(Form, &'a str)>,
    /// What passwords must be like.
    pub rules: &'a [PasswordRule],
    /// What can be chosen, by the value that is sent as `which`.
    pub choices: &'a [(&'a str, String)],
    /// Whether it is time to sign in.
    pub is_done: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, reader: &Reader) -> String {
    let page =
        Page { reader, title: view.title, live: None, done: None, celebration: None, shared: None };
    let password = Field {
        name: "new_password",
        label: words::NEW_PASSWORD,
        kind: "password",
        autocomplete: "new-password",
        required: true,
        autofocus: true,
        rules: view.rules,
        ..Field::default()
    };
    let main = html! {
        div { h1 { (view.title) } p.soft { (view.words) } }
        @match view.form {
            Some((form, token)) => {
                // Relative, so that it leads here also below another path.
                form.form method="post" action=(form.path()) {
                    input type="hidden" name="token" value=(token);
                    @if form == Form::Password { (password.html(&Sent::default())) }
                    button.button.first.wide { (form.button()) }
                }
            }
            None if view.is_done => { p { a.button.first.wide href=(reader.to("/sign-in")) { (text::SIGN_IN) } } }
            None => {}
        }
        @if !view.choices.is_empty() {
            // Without an action: it is sent to where the link leads.
            form.form method="post" {
                @for (which, label) in view.choices {
                    button.button.wide name="which" value=(which) { (label) }
                }
            }
        }
    };
    door(&page, &super::side(false), &main)
}

impl Form {
    /// Where the form is sent.
    fn path(self) -> &'static str {
        match self {
            Self::Confirm => "confirm-email",
            Self::Password => "reset-password",
        }
    }

    fn button(self) -> &'static str {
        match self {
            Self::Confirm => words::CONFIRM,
            Self::Password => words::SET_PASSWORD,
        }
    }
}
