//! People: all of them, the participants of a program, or the one that was searched for.

use contract::pb::{Program, UserDetail, UserRole, UserStatus};
use maud::{Markup, html};

use super::{name, program_choice, role, user_path, user_status};
use crate::icons::Icon;
use crate::names::short;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, badge, empty, table, table_foot};
use crate::reader::Reader;
use crate::text::operator as text;

/// What the page shows.
pub struct View<'a> {
    /// The people, the newest first.
    pub users: &'a [UserDetail],
    /// The programs that one can choose from.
    pub programs: &'a [Program],
    /// The program that was chosen; empty for all people.
    pub program_id: &'a str,
    /// Whether they are operators and admins.
    pub is_staff: bool,
    /// What was searched for and not found.
    pub not_found: Option<&'a str>,
    /// The name that all of these chose, if they were searched by it.
    pub named: Option<&'a str>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let main = html! {
        (parts::head(text::USERS, text::USERS_WORDS, &html! {}))
        form.row method="get" action=(reader.to("/o/users")) role="search" {
            div.search {
                (Icon::SEARCH)
                input.input type="search" name="q" value=(view.not_found.or(view.named).unwrap_or_default())
                    placeholder=(text::SEARCH_FOR) aria-label=(text::SEARCH_FOR);
            }
            button.button { (text::SEARCH) }
        }
        @if let Some(name) = view.named { (parts::notice(&text::several_have_the_name(name))) }
        @if let Some(wanted) = view.not_found { (parts::notice(&text::nobody_found(wanted))) }
        @let is_all = view.program_id.is_empty() && !view.is_staff;
        @let links = html! {
            a href=(reader.to("/o/users")) aria-current=[is_all.then_some("true")] { (text::ALL) }
            a href=(reader.to("/o/users?staff=1")) aria-current=[view.is_staff.then_some("true")] { (text::STAFF) }
        };
        (program_choice(
            view.programs,
            if view.is_staff { "" } else { view.program_id },
            &links,
            &|program_id| format!("/o/users?program={program_id}"),
            "/o/users",
            reader,
        ))
        @if view.not_found.is_none() { section.card.flush { (list(view, reader)) } }
    };
    let page = Page {
        reader,
        title: text::USERS,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn list(view: &View<'_>, reader: &Reader) -> Markup {
    if view.users.is_empty() && view.is_staff {
        return empty(Icon::PEOPLE, text::NO_STAFF, text::NO_STAFF_WORDS, &html! {});
    }
    if view.users.is_empty() {
        return empty(Icon::PEOPLE, text::NOBODY, text::NOBODY_WORDS, &html! {});
    }
    let in_program = !view.program_id.is_empty() && !view.is_staff;
    let head = html! {
        th scope="col" { (text::NAME) }
        th.wide scope="col" { (text::STATUS) }
        @if in_program {
            th.wide scope="col" { (text::CODE) }
            th.number scope="col" { (text::BALANCE) }
        }
        th.wide scope="col" { (text::SINCE) }
    };
    let rows = html! { @for detail in view.users { (row(detail, in_program, reader)) } };
    let first = if view.is_staff {
        "/o/users?staff=1".into()
    } else if in_program {
        format!("/o/users?program={}", view.program_id)
    } else {
        "/o/users".into()
    };
    html! {
        (table(text::USERS, &head, &rows))
        (table_foot(reader, &text::people(view.users.len()), view.next.as_deref(), view.is_later.then_some(&*first)))
    }
}

fn row(detail: &UserDetail, in_program: bool, reader: &Reader) -> Markup {
    let user = detail.user.clone().unwrap_or_default();
    let (tone, words) = user_status(user.status());
    html! {
        tr {
            th scope="row" {
                a href=(reader.to(&user_path(&user.user_id))) { (name(&user)) }
                @if user.status() == UserStatus::Erased { small.break { (short(&user.user_id)) } }
                small.break { (user.username) }
                @if user.status() != UserStatus::Active { small.phone { (words) } }
            }
            td.wide {
                (badge(tone, words))
                @if user.role() != UserRole::Participant {
                    @let (tone, words) = role(user.role());
                    " " (badge(tone, words))
                }
            }
            @if in_program {
                td.wide { @if let Some(of) = &detail.participant { code { (of.code) } } }
                td.number { (reader.amount(detail.balances.first())) }
            }
            td.wide { (reader.exact_time(user.create_time.as_ref())) }
        }
    }
}
