//! The people whom a participant has brought, as a list.

use contract::pb::{ReferralDetail, ReferralStatus};
use maud::{Markup, html};

use super::earnings::name;
use super::{Scene, status};
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, badge, empty, table, table_foot};
use crate::reader::Reader;
use crate::text::participant as text;

/// The choices of a status, as addresses name them.
pub const STATUSES: [(&str, ReferralStatus); 5] = [
    ("", ReferralStatus::Unspecified),
    ("pending", ReferralStatus::Pending),
    ("converted", ReferralStatus::Converted),
    ("held", ReferralStatus::Held),
    ("rejected", ReferralStatus::Rejected),
];

/// What the page shows.
pub struct View<'a> {
    /// Whose page it is.
    pub scene: Scene<'a>,
    /// The status of the referrals that are shown.
    pub status: ReferralStatus,
    /// The referrals, the newest first.
    pub referrals: Vec<ReferralDetail>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let scene = &view.scene;
    let actions = html! { a.button href=(reader.to(&scene.path("tree"))) { (text::AS_A_TREE) } };
    let main = html! {
        (parts::head(text::REFERRALS, text::REFERRALS_WORDS, &actions))
        nav.segments.scroll aria-label=(text::STATUS) {
            @for (name, of) in STATUSES {
                a href=(reader.to(&filtered(scene, name))) aria-current=[(of == view.status).then_some("true")] {
                    (if name.is_empty() { text::ALL } else { status(of).1 })
                }
            }
        }
        section.card.flush { (list(view, reader)) }
    };
    let page = Page {
        reader,
        title: text::REFERRALS,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn filtered(scene: &Scene<'_>, name: &str) -> String {
    let path = scene.path("referrals");
    if name.is_empty() { path } else { format!("{path}?status={name}") }
}

fn list(view: &View<'_>, reader: &Reader) -> Markup {
    if view.referrals.is_empty() {
        let share = html! { a.button.first href=(reader.to(&view.scene.path(""))) { (text::SHARE_YOUR_LINK) } };
        return if view.status == ReferralStatus::Unspecified {
            empty(Icon::PEOPLE, text::NOBODY_REFERRED, text::NOBODY_REFERRED_WORDS, &share)
        } else {
            empty(Icon::PEOPLE, text::NOBODY_IN_STATUS, text::NOBODY_IN_STATUS_WORDS, &html! {})
        };
    }
    let head = html! {
        th scope="col" { (text::NAME) }
        th.wide scope="col" { (text::STATUS) }
        th.wide scope="col" { (text::SINCE) }
        th.number scope="col" { (text::BROUGHT_IN) }
    };
    let rows = html! { @for of in &view.referrals { (row(of, reader)) } };
    let name = STATUSES.iter().find(|(_, of)| *of == view.status).map_or("", |(name, _)| name);
    let first = filtered(&view.scene, name);
    html! {
        (table(text::REFERRALS, &head, &rows))
        (table_foot(
            reader,
            &text::people(view.referrals.len()),
            view.next.as_deref(),
            view.is_later.then_some(&*first),
        ))
    }
}

fn row(of: &ReferralDetail, reader: &Reader) -> Markup {
    let referral = of.referral.clone().unwrap_or_default();
    let (tone, words) = status(referral.status());
    html! {
        tr {
            th scope="row" {
                (name(of))
                @if !of.referee_username.is_empty() && !of.referee_display_name.is_empty() {
                    small.break { (of.referee_username) }
                }
                @if !of.active { small.bad { (text::NOT_ACTIVE) } }
                div.phone { (badge(tone, words)) }
            }
            td.wide { (badge(tone, words)) }
            td.wide { (reader.exact_time(referral.create_time.as_ref())) }
            td.number { (reader.amount(of.brought_in.as_ref())) }
        }
    }
}
