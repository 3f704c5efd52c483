//! The store of a program: what one has, what it buys, and what one has bought.

use contract::pb::{Item, Money, Redemption, RedemptionState};
use maud::{Markup, html};

use super::Scene;
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, FormKeys, Tone, badge, empty, table, table_foot};
use crate::reader::Reader;
use crate::text::money::so_many_redemptions;
use crate::text::participant as text;

/// What the page shows.
pub struct View<'a> {
    /// Whose page it is.
    pub scene: Scene<'a>,
    /// What is available.
    pub available: Money,
    /// The items that can be had.
    pub items: Vec<Item>,
    /// What was redeemed, the newest first, with the names of the items.
    pub redemptions: Vec<(Redemption, String)>,
    /// What the form of an item carries, by the id of the item.
    pub keys: &'a dyn Fn(&str) -> FormKeys,
    /// Why something could not be redeemed.
    pub problem: Option<&'a str>,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// The path of the next page of what was redeemed; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let available = html! {
        div.balance-tag { span.soft { (text::AVAILABLE) } strong { (reader.amount(Some(&view.available))) } }
    };
    let main = html! {
        (parts::head(text::STORE, text::STORE_WORDS, &available))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        @if view.items.is_empty() {
            section.card.flush { (empty(Icon::GIFT, text::NO_ITEMS, text::NO_ITEMS_WORDS, &html! {})) }
        } @else {
            section.grid aria-label=(text::ITEMS) { @for item in &view.items { (self::item(item, view, reader)) } }
        }
        section.card.flush {
            div.card-head { h2 { (text::REDEEMED_SO_FAR) } }
            (history(&view.redemptions, reader))
            @if view.next.is_some() || view.is_later {
                (table_foot(
                    reader,
                    &so_many_redemptions(view.redemptions.len()),
                    view.next.as_deref(),
                    view.is_later.then_some(&*view.scene.path("store")),
                ))
            }
        }
    };
    let page = Page {
        reader,
        title: text::STORE,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn item(item: &Item, view: &View<'_>, reader: &Reader) -> Markup {
    let shown = item.cost.as_ref();
    let cost = shown.map_or(0, |cost| cost.minor_units);
    let unit = shown.map_or("", |cost| &cost.currency_code);
    let missing = cost - view.available.minor_units;
    let left = item.stock.map(|stock| (stock - item.taken_count).max(0));
    html! {
        section.card.item {
            div.stack {
                h2 { (item.name) }
                @if !item.description.is_empty() { p.soft { (item.description) } }
                div.row {
                    @if !item.from_tier.is_empty() { (badge(Tone::Brand, &text::from_tier(&item.from_tier))) }
                    @if let Some(limit) = item.per_person_limit { (badge(Tone::Plain, &text::per_person(limit))) }
                    @match left {
                        Some(0) => (badge(Tone::Bad, text::SOLD_OUT)),
                        Some(left) => (badge(Tone::Plain, &text::in_stock(&reader.number(left)))),
                        None => {}
                    }
                }
            }
            div.row.apart {
                strong.price { (reader.amount(item.cost.as_ref())) }
                @if missing > 0 {
                    span.soft { (text::missing(&reader.minor(missing, &view.available.currency_code))) }
                } @else if left == Some(0) {
                    span.soft { (text::COME_BACK) }
                } @else {
                    // What is spent cannot be taken back here, so that it takes a second step.
                    details.asks {
                        summary.button.first { (text::REDEEM) }
                        (parts::act(
                            reader,
                            &view.scene.path("store"),
                            &(view.keys)(&item.item_id),
                            &html! {
                                button.button.first { (text::spend(&reader.words(item.cost.as_ref()))) }
                            },
                            &[
                                ("item_id", &item.item_id),
                                ("cost_minor", &cost.to_string()),
                                ("cost_unit", unit),
                            ],
                        ))
                    }
                }
            }
        }
    }
}

fn history(redemptions: &[(Redemption, String)], reader: &Reader) -> Markup {
    if redemptions.is_empty() {
        return empty(Icon::GIFT, text::NOTHING_REDEEMED, text::NOTHING_REDEEMED_WORDS, &html! {});
    }
    let head = html! {
        th scope="col" { (text::WHAT) }
        th scope="col" { (text::STATUS) }
        th.wide scope="col" { (text::WHEN) }
        th.number scope="col" { (text::COST) }
    };
    let rows = html! {
        @for (redemption, name) in redemptions {
            @let (tone, words) = state(redemption.state());
            tr {
                th scope="row" { (name) }
                td { (badge(tone, words)) }
                td.wide { (reader.exact_time(redemption.redeem_time.as_ref())) }
                td.number { (reader.amount(redemption.cost.as_ref())) }
            }
        }
    };
    table(text::REDEEMED_SO_FAR, &head, &rows)
}

fn state(state: RedemptionState) -> (Tone, &'static str) {
    match state {
        RedemptionState::Made => (Tone::Warn, text::ORDERED),
        RedemptionState::Fulfilled => (Tone::Good, text::DELIVERED),
        RedemptionState::Cancelled => (Tone::Bad, text::CANCELLED),
        RedemptionState::Unspecified => (Tone::Plain, "–"),
    }
}
