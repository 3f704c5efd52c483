//! The store of a program for operators: its items, and the form that publishes or changes one.

use contract::pb::{Item, ItemUnavailability, Program};
use maud::{Markup, html};

use super::{program_choice, redemptions};
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, Field, FormKeys, Sent, Tone, badge, empty, table, table_foot};
use crate::reader::{Reader, segment};
use crate::text::money as text;

/// What the page shows.
pub struct View<'a> {
    /// The programs that one can choose from.
    pub programs: &'a [Program],
    /// The one that was chosen; `None` if there is none.
    pub program: Option<&'a Program>,
    /// Its items, the newest first.
    pub items: &'a [Item],
    /// The item that is changed; `None` for a new one.
    pub changed: Option<&'a Item>,
    /// What the form shows, and what is wrong with it.
    pub sent: Sent,
    /// What the form carries.
    pub keys: FormKeys,
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
    let main = html! {
        (parts::head(text::STORE, text::STORE_WORDS, &html! {}))
        (redemptions::tabs(true, view.program, reader))
        (programs(view, reader))
        @if let Some(program) = view.program {
            div.split {
                section.card.flush { (items(view, program, reader)) }
                (form(view, program, reader))
            }
        } @else {
            section.card.flush { (empty(Icon::GIFT, text::NO_PROGRAM, text::NO_PROGRAM_WORDS, &html! {})) }
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

fn programs(view: &View<'_>, reader: &Reader) -> Markup {
    let chosen = view.program.map_or("", |program| &program.program_id);
    program_choice(view.programs, chosen, &html! {}, &path, "/o/items", reader)
}

/// The path of an item.
#[must_use]
pub fn item_path(program_id: &str, item_id: &str) -> String {
    format!("/o/items/{}/{}", segment(program_id), segment(item_id))
}

fn path(program_id: &str) -> String {
    format!("/o/items?program={program_id}")
}

fn items(view: &View<'_>, program: &Program, reader: &Reader) -> Markup {
    if view.items.is_empty() {
        return empty(Icon::GIFT, text::NO_ITEMS, text::NO_ITEMS_WORDS, &html! {});
    }
    let head = html! {
        th scope="col" { (text::ITEM) }
        th scope="col" { (text::STATE) }
        th.number.wide scope="col" { (text::REDEEMED) }
        th.number scope="col" { (text::COST) }
    };
    let rows = html! {
        @for item in view.items {
            tr {
                th scope="row" {
                    a href=(reader.to(&item_path(&program.program_id, &item.item_id))) { (item.name) }
                    small.break { (item.item_id) }
                    @if !item.from_tier.is_empty() { small { (text::from_tier(&item.from_tier)) } }
                    @if let Some(limit) = item.per_person_limit { small { (text::per_person(&reader.number(limit))) } }
                }
                td {
                    @let (tone, words) = state(item);
                    (badge(tone, words))
                }
                td.number.wide {
                    (reader.number(item.taken_count))
                    @if let Some(stock) = item.stock { small { (text::of_stock(&reader.number(stock))) } }
                }
                td.number { (reader.amount(item.cost.as_ref())) }
            }
        }
    };
    html! {
        (table(text::ITEMS, &head, &rows))
        (table_foot(
            reader,
            &text::so_many_items(view.items.len()),
            view.next.as_deref(),
            view.is_later.then_some(&*path(&program.program_id)),
        ))
    }
}

fn state(item: &Item) -> (Tone, &'static str) {
    match item.unavailability() {
        ItemUnavailability::OffSale => (Tone::Plain, text::TAKEN_OUT),
        ItemUnavailability::OutOfStock => (Tone::Bad, text::SOLD_OUT),
        ItemUnavailability::Unspecified => (Tone::Good, text::IN_STORE),
    }
}

fn form(view: &View<'_>, program: &Program, reader: &Reader) -> Markup {
    let field =
        |name, label, hint| Field { name, label, hint, autocomplete: "off", ..Field::default() };
    let id = Field { required: true, ..field("item_id", text::ITEM_ID, text::ITEM_ID_HINT) };
    let name = Field { required: true, ..field("name", text::ITEM_NAME, "") };
    let description = field("description", text::DESCRIPTION, "");
    let label = crate::text::in_unit(text::COST, &program.unit);
    let cost =
        Field { required: true, inputmode: "decimal", ..field("cost", &label, text::COST_HINT) };
    let stock = Field { inputmode: "numeric", ..field("stock", text::STOCK, text::STOCK_HINT) };
    let limit =
        Field { inputmode: "numeric", ..field("per_person_limit", text::LIMIT, text::LIMIT_HINT) };
    let tier = field("from_tier", text::FROM_TIER, text::FROM_TIER_HINT);
    let sent = &view.sent;
    let action = match view.changed {
        Some(item) => item_path(&program.program_id, &item.item_id),
        None => "/o/items".into(),
    };
    html! {
        section.card {
            div.card-head {
                h2 { @if let Some(item) = view.changed { (text::change_item(&item.name)) } @else { (text::NEW_ITEM) } }
                @if view.changed.is_some() {
                    a href=(reader.to(&path(&program.program_id))) { (text::NEW_ITEM_INSTEAD) }
                }
            }
            (parts::problems(sent))
            form.form method="post" action=(reader.to(&action)) {
                (view.keys)
                input type="hidden" name="program_id" value=(program.program_id);
                @if view.changed.is_none() { (id.html(sent)) }
                (name.html(sent))
                (description.html(sent))
                (cost.html(sent))
                div.columns { (stock.html(sent)) (limit.html(sent)) }
                (tier.html(sent))
                label.check {
                    input type="checkbox" name="unavailable" value="on" checked[!sent.value("unavailable").is_empty()];
                    span { (text::UNAVAILABLE) }
                }
                div.actions {
                    button.button.first { @if view.changed.is_some() { (text::SAVE) } @else { (text::PUBLISH) } }
                }
            }
        }
    }
}
