//! Mails: what was sent, what was not and why, and sending again.

use contract::pb::{Mail, MailState};
use maud::{Markup, html};

use super::user_path;
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, FormKeys, Tone, badge, empty, table, table_foot};
use crate::reader::Reader;
use crate::text::operator as text;

/// The states by their names in the address.
pub const STATES: [(&str, MailState); 6] = [
    ("", MailState::Unspecified),
    ("queued", MailState::Queued),
    ("sending", MailState::Sending),
    ("sent", MailState::Sent),
    ("skipped", MailState::Skipped),
    ("parked", MailState::Parked),
];

/// What the page shows.
pub struct View<'a> {
    /// The mails, the newest first.
    pub mails: &'a [Mail],
    /// In which state they are.
    pub state: MailState,
    /// To whom alone; empty for everybody.
    pub user_id: &'a str,
    /// What a form carries.
    pub keys: &'a dyn Fn() -> FormKeys,
    /// Why something could not be done.
    pub problem: Option<&'a str>,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let everybody = html! {
        @if !view.user_id.is_empty() { (parts::link(reader, "/o/mails", text::MAILS_TO_ALL, false)) }
    };
    let below = if view.user_id.is_empty() {
        text::MAILS_WORDS.into()
    } else {
        text::mails_to(view.user_id)
    };
    let first = path(view.user_id, name(view.state));
    let main = html! {
        (parts::head(text::MAILS, &below, &everybody))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        nav.segments.scroll aria-label=(text::STATUS) {
            @for (name, of) in STATES {
                a href=(reader.to(&path(view.user_id, name))) aria-current=[(of == view.state).then_some("true")] {
                    (if name.is_empty() { text::ALL } else { state(of).1 })
                }
            }
        }
        section.card.flush {
            @if view.mails.is_empty() {
                (empty(Icon::MAIL, text::NO_MAILS, text::NO_SUCH_MAILS_WORDS, &html! {}))
            } @else {
                (list(view, reader))
                (table_foot(
                    reader,
                    &text::so_many_mails(view.mails.len()),
                    view.next.as_deref(),
                    view.is_later.then_some(&*first),
                ))
            }
        }
    };
    let page = Page {
        reader,
        title: text::MAILS,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// The name of a state in the address.
#[must_use]
pub fn name(state: MailState) -> &'static str {
    STATES.iter().find(|(_, of)| *of == state).map_or("", |(name, _)| name)
}

/// The path of the list of mails to somebody, in a state. Ids need no escaping.
#[must_use]
pub fn path(user_id: &str, state: &str) -> String {
    let given = [("user", user_id), ("state", state)].into_iter().filter(|(_, of)| !of.is_empty());
    let query: Vec<String> = given.map(|(name, value)| format!("{name}={value}")).collect();
    if query.is_empty() { "/o/mails".into() } else { format!("/o/mails?{}", query.join("&")) }
}

fn list(view: &View<'_>, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::KIND) }
        th scope="col" { (text::STATUS) }
        th.number.wide scope="col" { (text::ATTEMPTS) }
        th.wide scope="col" { (text::WHEN) }
    };
    let rows = html! {
        @for mail in view.mails {
            tr {
                th scope="row" {
                    (text::mail_kind(mail.kind()))
                    small { a.break href=(reader.to(&user_path(&mail.user_id))) { (mail.user_id) } }
                    @if !mail.email.is_empty() { small.break { (mail.email) } }
                }
                td {
                    (state_and_reason(mail))
                    @if matches!(mail.state(), MailState::Parked | MailState::Skipped) {
                        (parts::act(
                            reader,
                            "/o/mails",
                            &(view.keys)(),
                            &html! {
                                button.button aria-label=(text::send_again(text::mail_kind(mail.kind()))) {
                                    (text::SEND_AGAIN)
                                }
                            },
                            &[("mail_id", &mail.mail_id), ("state", name(view.state)), ("user", view.user_id)],
                        ))
                    }
                }
                td.number.wide { (reader.number(mail.attempts)) }
                td.wide {
                    (reader.exact_time(mail.create_time.as_ref()))
                    @if mail.next_attempt_time.is_some() {
                        small { (text::NEXT_ATTEMPT) " " (reader.exact_time(mail.next_attempt_time.as_ref())) }
                    }
                }
            }
        }
    };
    table(text::MAILS, &head, &rows)
}

/// The state of a mail, with why it was not sent.
#[must_use]
pub fn state_and_reason(mail: &Mail) -> Markup {
    let (tone, words) = state(mail.state());
    html! {
        (badge(tone, words))
        @if !mail.skip_reason.is_empty() {
            small.break { (text::skip_reason(&mail.skip_reason).unwrap_or(&mail.skip_reason)) }
        }
        @if !mail.last_error.is_empty() { small.bad.break { (mail.last_error) } }
    }
}

fn state(state: MailState) -> (Tone, &'static str) {
    match state {
        MailState::Queued => (Tone::Info, text::QUEUED),
        MailState::Sending => (Tone::Info, text::SENDING),
        MailState::Sent => (Tone::Good, text::SENT),
        MailState::Skipped => (Tone::Plain, text::SKIPPED),
        MailState::Parked => (Tone::Bad, text::PARKED),
        MailState::Unspecified => (Tone::Plain, "–"),
    }
}
