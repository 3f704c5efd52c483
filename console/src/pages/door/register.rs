//! Creating an account, with or without an invitation. The page that links to share lead to.

use maud::{Markup, html};

use crate::icons::Icon;
use crate::page::{Page, Shared, door};
use crate::parts::{Field, FormKeys, PasswordRule, Sent, notice, problems};
use crate::reader::Reader;
use crate::text::{self, door as words};

/// An invitation: what its code leads to.
pub enum Invitation {
    /// The code works. The name of who invites may be empty.
    Good {
        /// The name that the owner of the code chose to be shown.
        name: String,
        /// How many more people can come by it, if that is limited.
        left: Option<i32>,
    },
    /// The code does not work, and why.
    Bad(String),
}

/// What the page shows.
pub struct View<'a> {
    /// What was sent, and what is wrong with it.
    pub sent: Sent,
    /// What the form carries.
    pub keys: FormKeys,
    /// The invitation, if there is a code.
    pub invitation: Option<Invitation>,
    /// What passwords must be like.
    pub rules: &'a [PasswordRule],
    /// Whether people may sign up by themselves.
    pub may_register: bool,
    /// The address of the page that is shared, if it is that of an invitation.
    pub url: Option<&'a str>,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, reader: &Reader) -> String {
    let name = match &view.invitation {
        Some(Invitation::Good { name, .. }) => name.as_str(),
        Some(Invitation::Bad(_)) | None => "",
    };
    let invited = words::invited_by(name);
    let shared =
        view.url.map(|url| Shared { title: &invited, description: words::INVITATION_WORDS, url });
    let page = Page {
        reader,
        title: words::CREATE_ACCOUNT,
        live: None,
        done: None,
        celebration: None,
        shared,
    };
    let main = html! {
        div {
            h1 { (words::CREATE_ACCOUNT) }
            p.soft { (words::HAVE_ACCOUNT) " " a href=(reader.to("/sign-in")) { (text::SIGN_IN) } }
        }
        @if view.may_register { (form(view, reader)) } @else { (notice(words::REGISTRATION_CLOSED)) }
    };
    door(&page, &side(view, &invited), &main)
}

fn side(view: &View<'_>, invited: &str) -> Markup {
    match &view.invitation {
        Some(Invitation::Good { left, .. }) => html! {
            h2 { (invited) }
            p.lead { (words::INVITATION_WORDS) }
            ul.both role="list" {
                li { (Icon::GIFT) div { strong { (words::BOTH_GAIN) } small { (words::BOTH_GAIN_WORDS) } } }
                @if let Some(left) = left {
                    li { (Icon::PEOPLE) div { strong { (words::places_left(*left)) } small { (words::PLACES_WORDS) } } }
                }
            }
        },
        Some(Invitation::Bad(_)) | None => super::side(),
    }
}

fn form(view: &View<'_>, reader: &Reader) -> Markup {
    let sent = &view.sent;
    let fields = [
        Field {
            name: "display_name",
            label: words::DISPLAY_NAME,
            hint: words::DISPLAY_NAME_HINT,
            autocomplete: "name",
            ..Field::default()
        },
        Field {
            name: "username",
            label: words::USERNAME,
            hint: words::USERNAME_HINT,
            autocomplete: "username",
            required: true,
            ..Field::default()
        },
        Field {
            name: "email",
            label: words::EMAIL,
            kind: "email",
            autocomplete: "email",
            required: true,
            ..Field::default()
        },
        Field {
            name: "password",
            label: words::PASSWORD,
            kind: "password",
            autocomplete: "new-password",
            required: true,
            rules: view.rules,
            ..Field::default()
        },
        Field {
            name: "referral_code",
            label: words::CODE,
            hint: words::CODE_HINT,
            autocomplete: "off",
            ..Field::default()
        },
    ];
    html! {
        @if let Some(Invitation::Bad(why)) = &view.invitation { (notice(why)) }
        (problems(sent))
        form.form method="post" action=(reader.to("/register")) {
            (view.keys)
            @for field in fields { (field.html(sent)) }
            button.button.first.wide { (words::CREATE_ACCOUNT) }
        }
    }
}
