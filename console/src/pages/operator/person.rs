//! One person on one page.

use contract::pb::{
    GetReferralStatsResponse, GetUserResponse, Mail, Money, Participant, PurchaseDetail,
    ReferralStatus, Reward, Session, UserRole, UserStatus,
};
use maud::{Markup, html};

use super::mails::{path as mails_path, state_and_reason};
use super::overview::Count;
use super::{balance, brought, copyable, name, role, user_link, user_path, user_status};
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::pages::participant::status;
use crate::pages::profile::client;
use crate::parts::{self, FormKeys, badge, empty, failed, table};
use crate::reader::{Reader, segment};
use crate::text::log::LOG;
use crate::text::operator as text;

/// A program that the person is in, with what they have there.
pub struct Membership {
    /// The program's name.
    pub program: String,
    /// The participant.
    pub participant: Participant,
    /// What they have, or why it could not be read.
    pub balances: Result<Vec<Money>, String>,
    /// Whom they have brought: how many, and the last ones; or why it could not be read.
    pub referrals: Result<GetReferralStatsResponse, String>,
    /// The last rewards that they were granted, or why these could not be read.
    pub rewards: Result<Vec<Reward>, String>,
}

/// What the page shows.
pub struct View<'a> {
    /// The person.
    pub user: &'a GetUserResponse,
    /// The programs that they are in.
    pub memberships: &'a [Membership],
    /// What they bought, the newest first.
    pub purchases: Result<Vec<PurchaseDetail>, String>,
    /// Where they have signed in; nothing if the reader may not see it.
    pub sessions: Option<Result<Vec<Session>, String>>,
    /// The mails to them, the newest first.
    pub mails: Result<Vec<Mail>, String>,
    /// How many fraud flags are about them.
    pub flags: Result<Count, String>,
    /// Where these are.
    pub flags_path: String,
    /// What the forms carry, one for each form.
    pub keys: &'a dyn Fn() -> FormKeys,
    /// Whether the reader may change what the person may do.
    pub may_set_role: bool,
    /// Why something could not be done.
    pub problem: Option<&'a str>,
    /// What has just been done.
    pub done: Option<&'a str>,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let user = view.user.user.clone().unwrap_or_default();
    let (tone, words) = user_status(user.status());
    let (role_tone, role_words) = role(user.role());
    let badges = html! { (badge(tone, words)) (badge(role_tone, role_words)) };
    let main = html! {
        (parts::head(name(&user), &user.username, &badges))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        div.split {
            div.stack {
                (memberships(view.memberships, reader))
                (brought::referrals(view.memberships, reader))
                (brought::rewards(view.memberships, reader))
                section.card.flush {
                    div.card-head {
                        h2 { (text::PURCHASES) }
                        a href=(reader.to(&format!("/o/record?buyer={}", segment(&user.user_id)))) {
                            (text::RECORD_ONE)
                        }
                    }
                    @match &view.purchases { Ok(found) => (purchases(found, reader)), Err(why) => (failed(why)) }
                }
                section.card.flush {
                    div.card-head {
                        h2 { (text::MAILS) }
                        a href=(reader.to(&mails_path(&user.user_id, ""))) { (text::ALL_MAILS) }
                    }
                    @match &view.mails { Ok(found) => (mails(found, reader)), Err(why) => (failed(why)) }
                }
            }
            div.stack {
                (account(view, reader))
                (self::actions(view, &user.user_id, user.status(), user.role(), reader))
                @if let Some(found) = &view.sessions {
                    section.card {
                        h2 { (text::SESSIONS) }
                        @match found { Ok(found) => (sessions(found, reader)), Err(why) => (failed(why)) }
                    }
                }
            }
        }
    };
    let page = Page {
        reader,
        title: name(&user),
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// The address that the last mail was sent to, as operators may see it.
fn mailed_to<'a>(view: &'a View<'_>) -> Option<&'a str> {
    let mails = view.mails.iter().flatten();
    mails.map(|mail| &*mail.email).find(|address| !address.is_empty())
}

fn account(view: &View<'_>, reader: &Reader) -> Markup {
    let user = view.user.user.clone().unwrap_or_default();
    let yes = |is: bool| if is { text::YES } else { text::NO };
    html! {
        section.card {
            h2 { (text::ACCOUNT) }
            dl.pairs {
                dt { (text::ID) } dd { (copyable(&user.user_id)) }
                dt { (text::SINCE) } dd { (reader.exact_time(user.create_time.as_ref())) }
                @if let Some(address) = mailed_to(view) {
                    dt { (text::MAILED_TO) } dd.break { (address) }
                }
                @if !view.user.pending_email.is_empty() {
                    dt { (text::PENDING_EMAIL) } dd.break { (view.user.pending_email) }
                }
                dt { (text::EMAIL_CONFIRMED) } dd { (yes(view.user.email_confirmed)) }
                dt { (text::SECOND_FACTOR) } dd { (yes(view.user.has_second_factor)) }
                dt { (text::PAYOUT_METHOD) } dd { (yes(view.user.has_payout_method)) }
                dt { (LOG) } dd {
                    a href=(reader.to(&format!("/o/log?user={}", segment(&user.user_id)))) { (text::EVENTS_ABOUT) }
                }
                dt { (text::FLAGS) } dd {
                    @match &view.flags {
                        Ok(Count { count: 0, .. }) => "0",
                        Ok(count) => a href=(reader.to(&view.flags_path)) { (count.words(reader)) },
                        Err(_) => "–",
                    }
                }
            }
        }
    }
}

fn actions(
    view: &View<'_>,
    user_id: &str,
    status: UserStatus,
    role: UserRole,
    reader: &Reader,
) -> Markup {
    let path = |what: &str| format!("{}/{what}", user_path(user_id));
    let roles = [
        ("participant", text::PARTICIPANT, UserRole::Participant),
        ("operator", text::OPERATOR, UserRole::Operator),
        ("admin", text::ADMIN, UserRole::Admin),
    ];
    html! {
        section.card {
            h2 { (text::ACTIONS) }
            @match status {
                UserStatus::Inactive => {
                    p.soft { (text::REACTIVATE_WORDS) }
                    (parts::act(
                        reader,
                        &path("reactivate"),
                        &(view.keys)(),
                        &html! { button.button { (text::REACTIVATE) } },
                        &[],
                    ))
                }
                UserStatus::Active => {
                    p.soft { (text::DEACTIVATE_WORDS) }
                    (parts::act(
                        reader,
                        &path("deactivate"),
                        &(view.keys)(),
                        &html! { button.button.danger { (text::DEACTIVATE) } },
                        &[],
                    ))
                }
                UserStatus::Erased | UserStatus::Unspecified => { p.soft { (text::ERASED_WORDS) } }
            }
            @if view.may_set_role && status != UserStatus::Erased {
                hr;
                form.form method="post" action=(reader.to(&path("role"))) {
                    ((view.keys)())
                    div.field {
                        label for="role" { (text::ROLE) }
                        select.input #role name="role" {
                            @for (value, words, of) in roles { option value=(value) selected[of == role] { (words) } }
                        }
                        span.hint { (text::ROLE_HINT) }
                    }
                    div.actions { button.button { (text::SET_ROLE) } }
                }
            }
            @if status != UserStatus::Erased {
                hr;
                details {
                    summary.bad { (text::ERASE) }
                    form.stack.below method="post" action=(reader.to(&path("erase"))) {
                        ((view.keys)())
                        p.soft { (text::ERASE_WORDS) }
                        label.check {
                            input type="checkbox" name="forfeit_balances" value="on"; span { (text::FORFEIT) }
                        }
                        div.actions { button.button.danger { (text::ERASE_FOR_GOOD) } }
                    }
                }
            }
        }
    }
}

fn memberships(memberships: &[Membership], reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::PROGRAM) }
        th scope="col" { (text::CODE) }
        th.wide scope="col" { (text::REFERRER) }
        th.number scope="col" { (text::BALANCE) }
    };
    let rows = html! {
        @for of in memberships {
            @let (tone, words) = status(of.participant.referral_status());
            tr {
                th scope="row" { (of.program) }
                td { code { (of.participant.code) } }
                td.wide {
                    @if of.participant.referrer_user_id.is_empty() { "–" } @else {
                        (user_link(&of.participant.referrer_user_id, reader))
                        @if of.participant.referral_status() != ReferralStatus::Unspecified { " " (badge(tone, words)) }
                    }
                }
                td.number {
                    a href=(reader.to(&balance::path(&of.participant.user_id, &of.participant.program_id))) {
                        @match &of.balances { Ok(balances) => (reader.amount(balances.first())), Err(_) => "–" }
                    }
                }
            }
        }
    };
    html! {
        section.card.flush {
            div.card-head { h2 { (text::PROGRAMS) } }
            @if memberships.is_empty() {
                (empty(Icon::LIST, text::IN_NO_PROGRAM, text::IN_NO_PROGRAM_WORDS, &html! {}))
            } @else {
                (table(text::PROGRAMS, &head, &rows))
            }
        }
    }
}

fn purchases(found: &[PurchaseDetail], reader: &Reader) -> Markup {
    if found.is_empty() {
        return empty(Icon::CART, text::NO_PURCHASES, text::NO_PURCHASES_OF_PERSON, &html! {});
    }
    super::purchases::list(found, false, reader)
}

fn sessions(found: &[Session], reader: &Reader) -> Markup {
    html! {
        @if found.is_empty() { p.soft { (text::NO_SESSIONS) } }
        ul.sessions role="list" {
            @for session in found {
                li {
                    strong.break { (client(&session.user_agent)) } br;
                    span.soft { (reader.time(session.refresh_time.as_ref().or(session.create_time.as_ref()))) }
                }
            }
        }
    }
}

fn mails(found: &[Mail], reader: &Reader) -> Markup {
    if found.is_empty() {
        return empty(Icon::MAIL, text::NO_MAILS, text::NO_MAILS_WORDS, &html! {});
    }
    let head = html! {
        th scope="col" { (text::KIND) }
        th scope="col" { (text::STATUS) }
        th.wide scope="col" { (text::WHEN) }
    };
    let rows = html! {
        @for mail in found {
            tr {
                th scope="row" { (text::mail_kind(mail.kind())) }
                td { (state_and_reason(mail)) }
                td.wide { (reader.exact_time(mail.create_time.as_ref())) }
            }
        }
    };
    table(text::MAILS, &head, &rows)
}
