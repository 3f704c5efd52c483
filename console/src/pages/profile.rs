//! The account of a person: names, address, password, sessions, mails, and the way out.

use contract::pb::{GetUserResponse, MailPreferences, Session};
use maud::{Markup, html};

use crate::page::{Page, Sidebar, app};
use crate::parts::{self, Field, FormKeys, PasswordRule, Sent, Tone, badge, failed};
use crate::reader::Reader;
use crate::text::profile as text;

/// Which form of the page was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Names.
    Names,
    /// The address.
    Email,
    /// The password.
    Password,
    /// Which mails are sent.
    Mails,
    /// How payouts are paid.
    Payout,
    /// Erasing the account.
    Erase,
}

impl Part {
    /// The last part of the path that the form is sent to.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Names => "/profile/names",
            Self::Email => "/profile/email",
            Self::Password => "/profile/password",
            Self::Mails => "/profile/mails",
            Self::Payout => "/profile/payout",
            Self::Erase => "/profile/erase",
        }
    }
}

/// What the page shows.
pub struct View<'a> {
    /// The person.
    pub user: &'a GetUserResponse,
    /// The sessions, or why they could not be read.
    pub sessions: Result<Vec<Session>, String>,
    /// What the forms carry, one for each form.
    pub keys: &'a dyn Fn() -> FormKeys,
    /// What was sent with one of the forms, and what is wrong with it.
    pub sent: Option<(Part, Sent)>,
    /// What passwords must be like.
    pub rules: &'a [PasswordRule],
    /// What has just been done.
    pub done: Option<&'a str>,
}

impl View<'_> {
    /// What was sent with a form.
    fn sent(&self, part: Part) -> Sent {
        let sent = self.sent.as_ref().filter(|(of, _)| *of == part);
        sent.map(|(_, sent)| sent.clone()).unwrap_or_default()
    }
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let main = html! {
        (parts::head(text::TITLE, text::WORDS, &html! {}))
        div.split {
            div.stack {
                (names(view, reader))
                (email(view, reader))
                (password(view, reader))
                (mails(view, reader))
                (payout(view, reader))
            }
            div.stack {
                (sessions(view, reader))
                section.card {
                    h2 { (text::EXPORT) }
                    p.soft { (text::EXPORT_WORDS) }
                    form method="post" action=(reader.to("/profile/export")) data-plain {
                        ((view.keys)())
                        button.button { (text::EXPORT_BUTTON) }
                    }
                }
                (erase(view, reader))
            }
        }
    };
    let page = Page {
        reader,
        title: text::TITLE,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// A card with a form.
fn card(
    view: &View<'_>,
    reader: &Reader,
    part: Part,
    title: &str,
    words: &str,
    fields: &Markup,
    button: &str,
) -> Markup {
    html! {
        section.card {
            div { h2 { (title) } @if !words.is_empty() { p.soft { (words) } } }
            (form(view, reader, part, fields, button))
        }
    }
}

/// A form of the page, with what is wrong with what was sent by it.
fn form(view: &View<'_>, reader: &Reader, part: Part, fields: &Markup, button: &str) -> Markup {
    html! {
        (parts::problems(&view.sent(part)))
        form.form method="post" action=(reader.to(part.path())) {
            ((view.keys)())
            (fields)
            div.actions { button.button.first { (button) } }
        }
    }
}

fn names(view: &View<'_>, reader: &Reader) -> Markup {
    let user = view.user.user.clone().unwrap_or_default();
    let sent = view
        .sent(Part::Names)
        .or("display_name", &user.display_name)
        .or("username", &user.username);
    let display_name = Field {
        name: "display_name",
        label: text::DISPLAY_NAME,
        hint: text::DISPLAY_NAME_HINT,
        autocomplete: "name",
        ..Field::default()
    };
    let username = Field {
        name: "username",
        label: text::USERNAME,
        hint: text::USERNAME_HINT,
        autocomplete: "username",
        required: true,
        ..Field::default()
    };
    let fields = html! { div.columns { (display_name.html(&sent)) (username.html(&sent)) } };
    card(view, reader, Part::Names, text::NAMES, "", &fields, text::SAVE)
}

fn email(view: &View<'_>, reader: &Reader) -> Markup {
    let sent = view.sent(Part::Email);
    let email = Field {
        name: "email",
        label: text::NEW_EMAIL,
        kind: "email",
        autocomplete: "email",
        required: true,
        ..Field::default()
    };
    let password = Field {
        name: "email_password",
        label: text::PASSWORD,
        kind: "password",
        autocomplete: "current-password",
        required: true,
        ..Field::default()
    };
    let (tone, word, said) = if view.user.email_confirmed {
        (Tone::Good, text::CONFIRMED, text::EMAIL_CONFIRMED)
    } else {
        (Tone::Warn, text::NOT_CONFIRMED, text::EMAIL_NOT_CONFIRMED)
    };
    let fields = html! {
        @if !view.user.pending_email.is_empty() { (parts::notice(&text::waits_for(&view.user.pending_email))) }
        div.columns { (email.html(&sent)) (password.html(&sent)) }
    };
    html! {
        section.card {
            h2 { (text::EMAIL) }
            div.stack {
                p { strong.break #address { (view.user.email) } " " (badge(tone, word)) }
                p.soft { (said) }
                @if !view.user.email_confirmed {
                    form.actions method="post" action=(reader.to("/profile/confirmation")) {
                        ((view.keys)())
                        button.button { (text::MAIL_THE_LINK) }
                    }
                }
            }
            p.soft { (text::EMAIL_WORDS) }
            (form(view, reader, Part::Email, &fields, text::CHANGE))
        }
    }
}

fn password(view: &View<'_>, reader: &Reader) -> Markup {
    let sent = view.sent(Part::Password);
    let old = Field {
        name: "old_password",
        label: text::OLD_PASSWORD,
        kind: "password",
        autocomplete: "current-password",
        required: true,
        ..Field::default()
    };
    let new = Field {
        name: "new_password",
        label: text::NEW_PASSWORD,
        kind: "password",
        autocomplete: "new-password",
        required: true,
        rules: view.rules,
        ..Field::default()
    };
    let fields = html! { div.columns { (old.html(&sent)) (new.html(&sent)) } };
    card(view, reader, Part::Password, text::PASSWORD, text::PASSWORD_WORDS, &fields, text::CHANGE)
}

/// The kinds of mails that people can switch off, by the names of their fields.
#[must_use]
pub fn kinds(preferences: &MailPreferences) -> [(&'static str, &'static str, bool); 7] {
    let is_on = |wanted: Option<bool>| wanted.unwrap_or(true);
    [
        ("welcome", text::MAIL_WELCOME, is_on(preferences.welcome)),
        ("referral", text::MAIL_REFERRAL, is_on(preferences.referral)),
        ("conversion", text::MAIL_CONVERSION, is_on(preferences.conversion)),
        ("tier", text::MAIL_TIER, is_on(preferences.tier)),
        ("reversal", text::MAIL_REVERSAL, is_on(preferences.reversal)),
        ("release", text::MAIL_RELEASE, is_on(preferences.release)),
        ("expiry", text::MAIL_EXPIRY, is_on(preferences.expiry)),
    ]
}

fn mails(view: &View<'_>, reader: &Reader) -> Markup {
    let preferences = view.user.mail_preferences.unwrap_or_default();
    let fields = html! {
        fieldset.checks {
            legend.unseen { (text::MAILS) }
            @for (name, words, is_on) in kinds(&preferences) {
                label.check { input type="checkbox" name=(name) value="on" checked[is_on]; span { (words) } }
            }
        }
    };
    card(view, reader, Part::Mails, text::MAILS, text::MAILS_WORDS, &fields, text::SAVE)
}

fn payout(view: &View<'_>, reader: &Reader) -> Markup {
    let sent = view.sent(Part::Payout);
    let kind = Field {
        name: "kind",
        label: text::PAYOUT_KIND,
        hint: text::PAYOUT_KIND_HINT,
        usual: &text::PAYOUT_KINDS,
        autocomplete: "off",
        required: true,
        ..Field::default()
    };
    let reference = Field {
        name: "reference",
        label: text::PAYOUT_REFERENCE,
        hint: text::PAYOUT_REFERENCE_HINT,
        autocomplete: "off",
        required: true,
        ..Field::default()
    };
    let fields = html! { div.columns { (kind.html(&sent)) (reference.html(&sent)) } };
    let is_set = view.user.has_payout_method;
    html! {
        section.card {
            div { h2 { (text::PAYOUT) } p.soft { (text::PAYOUT_WORDS) } }
            p { (if is_set { text::PAYOUT_IS_SET } else { text::PAYOUT_IS_NOT_SET }) }
            (form(view, reader, Part::Payout, &fields, text::SAVE))
            @if is_set {
                (parts::act(
                    reader,
                    Part::Payout.path(),
                    &(view.keys)(),
                    &html! { button.button.danger { (text::TAKE_PAYOUT_BACK) } },
                    &[],
                ))
            }
        }
    }
}

fn sessions(view: &View<'_>, reader: &Reader) -> Markup {
    let end = |session: &Session| {
        parts::act(
            reader,
            "/profile/sessions",
            &(view.keys)(),
            &html! { button.button { (text::END_SESSION) } },
            &[("session_id", &session.session_id)],
        )
    };
    html! {
        section.card {
            div { h2 { (text::SESSIONS) } p.soft { (text::SESSIONS_WORDS) } }
            @match &view.sessions {
                Ok(sessions) => {
                    ul.sessions role="list" {
                        @for session in sessions {
                            li.row.apart {
                                div {
                                    strong.break { (client(&session.user_agent)) } " "
                                    @if session.is_current { (badge(Tone::Good, text::THIS_ONE)) }
                                    br;
                                    span.soft {
                                        (text::LAST_USED) " "
                                        (reader.time(session.refresh_time.as_ref().or(session.create_time.as_ref())))
                                    }
                                }
                                @if !session.is_current { (end(session)) }
                            }
                        }
                    }
                }
                Err(why) => (failed(why)),
            }
        }
    }
}

/// What a client is: the browser and the system that it names, or what it says of itself.
#[must_use]
pub fn client(user_agent: &str) -> String {
    let browsers = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let find = |names: &[(&str, &'static str)]| {
        names.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
    };
    match (find(&browsers), find(&systems)) {
        (Some(browser), Some(system)) => text::browser_on(browser, system),
        (Some(one), None) | (None, Some(one)) if user_agent.starts_with("Mozilla/") => one.into(),
        _ if user_agent.is_empty() => text::UNKNOWN_CLIENT.into(),
        _ => user_agent.chars().take(60).collect(),
    }
}

fn erase(view: &View<'_>, reader: &Reader) -> Markup {
    let sent = view.sent(Part::Erase);
    let username = view.user.user.as_ref().map_or("", |user| &user.username);
    let hint = text::type_username(username);
    let confirm = Field {
        name: "confirm",
        label: text::ERASE_CONFIRM,
        hint: &hint,
        autocomplete: "off",
        required: true,
        ..Field::default()
    };
    html! {
        section.card {
            div { h2 { (text::ERASE) } p.soft { (text::ERASE_WORDS) } }
            details open[view.sent.as_ref().is_some_and(|(part, _)| *part == Part::Erase)] {
                summary.bad { (text::ERASE_OPEN) }
                div.stack.below {
                    (parts::problems(&sent))
                    form.form method="post" action=(reader.to(Part::Erase.path())) {
                        ((view.keys)())
                        (confirm.html(&sent))
                        label.check {
                            input type="checkbox" name="forfeit_balances" value="on"; span { (text::FORFEIT) }
                        }
                        div.actions { button.button.danger { (text::ERASE_BUTTON) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_and_other_clients_say_what_they_are() {
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/140.0 Safari/537.36",
                "Chrome on Windows",
            ),
            ("grpc-rust/1.0", "grpc-rust/1.0"),
            ("", "An unknown client"),
        ] {
            assert_eq!(client(user_agent), expected);
        }
    }
}
