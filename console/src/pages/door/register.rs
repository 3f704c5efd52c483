//! Creating an account, with or without an invitation. The page that links to share lead to.

use contract::pb::{Program, ProgramOffer};
use maud::{Markup, html};

use crate::icons::Icon;
use crate::page::{Page, Shared, door};
use crate::pages::participant::rules::rewards;
use crate::parts::{Field, FormKeys, PasswordRule, Sent, notice, problems};
use crate::reader::Reader;
use crate::text::rules::To;
use crate::text::{self, door as words};

/// An invitation: what its code leads to.
pub enum Invitation {
    /// The code works. The name of who invites may be empty.
    Good {
        /// The name that the owner of the code chose to be shown.
        name: String,
        /// How many more people can come by it, if that is limited.
        left: Option<i32>,
        /// What the program grants.
        offer: ProgramOffer,
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
    let said = match &view.invitation {
        Some(Invitation::Good { name, offer, .. }) => grants(name, offer, reader).join(" "),
        Some(Invitation::Bad(_)) | None => String::new(),
    };
    let said = if said.is_empty() { words::INVITATION_WORDS } else { &said };
    let shared = view.url.map(|url| Shared { title: &invited, description: said, url });
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
    door(&page, &side(view, &invited, reader), &main)
}

/// What both sides get, a sentence for each: first whoever comes, then whoever has brought them.
fn grants(name: &str, offer: &ProgramOffer, reader: &Reader) -> Vec<String> {
    let mut program = Program {
        unit: offer.unit.clone(),
        earn_on: offer.earn_on,
        rewards: offer.rewards.clone(),
        credit_purchases: offer.credit_purchases,
        ..Program::default()
    };
    let referrer = if name.is_empty() { words::YOUR_FRIEND } else { name };
    program.rewards.sort_by_key(|rule| rule.level);
    rewards(To::Invited(referrer), &program, reader)
}

fn side(view: &View<'_>, invited: &str, reader: &Reader) -> Markup {
    match &view.invitation {
        Some(Invitation::Good { name, left, offer }) => html! {
            h2 { (invited) }
            p.lead { (words::invitation_to(&offer.display_name)) }
            ul.both role="list" {
                @for said in grants(name, offer, reader) { li { (Icon::GIFT) div { strong { (said) } } } }
                li { (Icon::SHARE) div { strong { (words::OWN_CODE) } small { (words::OWN_CODE_WORDS) } } }
                @if let Some(left) = left {
                    li { (Icon::PEOPLE) div { strong { (words::places_left(*left)) } small { (words::PLACES_WORDS) } } }
                }
            }
        },
        Some(Invitation::Bad(_)) | None => super::side(false),
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
