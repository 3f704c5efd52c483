//! Redemptions: who took what from the stores, and what is to be handed over.

use contract::pb::{Program, Redemption, RedemptionState};
use maud::{Markup, html};

use super::items::item_path;
use super::user_link;
use crate::icons::Icon;
use crate::names::short;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, FormKeys, Tone, badge, empty, table, table_foot};
use crate::reader::Reader;
use crate::text::money as text;

/// States as addresses name them; empty for those that are to be handed over.
pub const STATES: [(&str, RedemptionState, &str); 4] = [
    ("", RedemptionState::Made, text::TO_HAND_OVER),
    ("fulfilled", RedemptionState::Fulfilled, text::FULFILLED),
    ("cancelled", RedemptionState::Cancelled, text::CANCELLED),
    ("all", RedemptionState::Unspecified, text::ALL),
];

/// What the page shows.
pub struct View<'a> {
    /// The redemptions, the newest first.
    pub redemptions: &'a [Redemption],
    /// The state that was asked for, by its name in [`STATES`].
    pub chosen: &'a str,
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

/// The way between items and redemptions.
#[must_use]
pub fn tabs(is_items: bool, program: Option<&Program>, reader: &Reader) -> Markup {
    let items = match program {
        Some(program) => format!("/o/items?program={}", program.program_id),
        None => "/o/items".into(),
    };
    html! {
        nav.segments aria-label=(text::STORE) {
            a href=(reader.to(&items)) aria-current=[is_items.then_some("page")] { (text::ITEMS) }
            a href=(reader.to("/o/items/redemptions")) aria-current=[(!is_items).then_some("page")] {
                (text::REDEMPTIONS)
            }
        }
    }
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let path = |name: &str| {
        if name.is_empty() {
            "/o/items/redemptions".to_owned()
        } else {
            format!("/o/items/redemptions?state={name}")
        }
    };
    let first = path(view.chosen);
    let main = html! {
        (parts::head(text::REDEMPTIONS, text::REDEMPTIONS_WORDS, &html! {}))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        (tabs(false, None, reader))
        nav.segments.scroll aria-label=(text::STATE) {
            @for (name, _, words) in STATES {
                a href=(reader.to(&path(name))) aria-current=[(view.chosen == name).then_some("true")] { (words) }
            }
        }
        section.card.flush {
            @if view.redemptions.is_empty() {
                (empty(Icon::GIFT, text::NO_REDEMPTIONS, text::NO_REDEMPTIONS_WORDS, &html! {}))
            } @else {
                (list(view, reader))
                (table_foot(
                    reader,
                    &text::so_many_redemptions(view.redemptions.len()),
                    view.next.as_deref(),
                    view.is_later.then_some(&*first),
                ))
            }
        }
    };
    let page = Page {
        reader,
        title: text::REDEMPTIONS,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn list(view: &View<'_>, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::ITEM) }
        th.wide scope="col" { (text::WHO) }
        th scope="col" { (text::STATE) }
        th.number.wide scope="col" { (text::COST) }
    };
    let rows = html! { @for redemption in view.redemptions { (row(redemption, view, reader)) } };
    table(text::REDEMPTIONS, &head, &rows)
}

fn row(redemption: &Redemption, view: &View<'_>, reader: &Reader) -> Markup {
    let (tone, words) = state(redemption.state());
    let item = item_path(&redemption.program_id, &redemption.item_id);
    let ended = redemption.fulfil_time.as_ref().or(redemption.cancel_time.as_ref());
    html! {
        tr {
            th scope="row" {
                a.break href=(reader.to(&item)) title=(redemption.item_id) { (item_name(redemption, reader)) }
                small.break { (reader.names.program(&redemption.program_id)) }
                small { (reader.exact_time(redemption.redeem_time.as_ref())) }
                small.phone { (user_link(&redemption.user_id, reader)) }
            }
            td.wide { (user_link(&redemption.user_id, reader)) small.break { (short(&redemption.redemption_id)) } }
            td {
                (badge(tone, words))
                @if ended.is_some() { small { (reader.exact_time(ended)) } }
                @if redemption.state() == RedemptionState::Made { (decide(redemption, view, reader)) }
            }
            td.number.wide { (reader.amount(redemption.cost.as_ref())) }
        }
    }
}

/// The name of what was redeemed, else its id.
fn item_name<'a>(redemption: &'a Redemption, reader: &'a Reader) -> &'a str {
    let known = reader.names.item(&redemption.program_id, &redemption.item_id);
    known.unwrap_or(&redemption.item_id)
}

fn decide(redemption: &Redemption, view: &View<'_>, reader: &Reader) -> Markup {
    let id = &redemption.redemption_id;
    let item = item_name(redemption, reader);
    let name = reader.names.user(&redemption.user_id).unwrap_or(&redemption.user_id);
    let form = |button: Markup| {
        html! {
            form.row.below method="post" action=(reader.to("/o/items/redemptions")) {
                ((view.keys)())
                input type="hidden" name="program_id" value=(redemption.program_id);
                input type="hidden" name="redemption_id" value=(id);
                input type="hidden" name="state" value=(view.chosen);
                (button)
            }
        }
    };
    html! {
        (form(html! {
            button.button name="step" value="fulfil" aria-label=(text::fulfil(item, name)) { (text::FULFIL) }
        }))
        details {
            summary { (text::CANCEL) "…" }
            p.soft { (text::CANCEL_WORDS) }
            (form(html! {
                button.button.danger name="step" value="cancel" aria-label=(text::cancel(item, name)) {
                    (text::CANCEL)
                }
            }))
        }
    }
}

fn state(state: RedemptionState) -> (Tone, &'static str) {
    let tone = match state {
        RedemptionState::Made => Tone::Warn,
        RedemptionState::Fulfilled => Tone::Good,
        RedemptionState::Cancelled => Tone::Bad,
        RedemptionState::Unspecified => Tone::Plain,
    };
    let known = STATES.iter().find(|(_, of, _)| *of == state);
    (tone, known.map_or("–", |(_, _, words)| words))
}
