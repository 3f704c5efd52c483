//! Purchases, with what became of each.

use contract::pb::{Purchase, PurchaseDetail, PurchaseOutcome};
use maud::{Markup, html};

use super::{purchase_path, user_link};
use crate::icons::Icon;
use crate::names::short;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, Tone, badge, empty, table, table_foot};
use crate::reader::Reader;
use crate::text::operator as text;
use crate::text::participant::minor;

/// What the page shows.
pub struct View<'a> {
    /// The purchases, the newest first.
    pub purchases: &'a [PurchaseDetail],
    /// What was searched for and not found.
    pub not_found: Option<&'a str>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let record = parts::link(reader, "/o/record", text::RECORD_PURCHASE, true);
    let main = html! {
        (parts::head(text::PURCHASES, text::PURCHASES_WORDS, &record))
        form.row method="get" action=(reader.to("/o/purchases")) role="search" {
            div.search {
                (Icon::SEARCH)
                input.input type="search" name="q" value=(view.not_found.unwrap_or_default())
                    placeholder=(text::PURCHASE_ID) aria-label=(text::PURCHASE_ID);
            }
            button.button { (text::SEARCH) }
        }
        @if let Some(wanted) = view.not_found { (parts::notice(&text::no_purchase_found(wanted))) }
        section.card.flush {
            @if view.purchases.is_empty() {
                (empty(Icon::CART, text::NO_PURCHASES, text::NO_PURCHASES_WORDS, &html! {}))
            } @else {
                (list(view.purchases, true, reader))
                (table_foot(
                    reader,
                    &text::so_many_purchases(view.purchases.len()),
                    view.next.as_deref(),
                    view.is_later.then_some("/o/purchases"),
                ))
            }
        }
    };
    let page = Page {
        reader,
        title: text::PURCHASES,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// A table of purchases, with or without who bought.
#[must_use]
pub fn list(purchases: &[PurchaseDetail], with_buyer: bool, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::PURCHASE) }
        @if with_buyer { th.wide scope="col" { (text::BUYER) } }
        th.wide scope="col" { (text::OUTCOME) }
        th.number scope="col" { (text::AMOUNT) }
    };
    let rows = html! { @for detail in purchases { (row(detail, with_buyer, reader)) } };
    table(text::PURCHASES, &head, &rows)
}

fn row(detail: &PurchaseDetail, with_buyer: bool, reader: &Reader) -> Markup {
    let purchase = detail.purchase.clone().unwrap_or_default();
    let refunded = purchase.refunded.as_ref().is_some_and(|refunded| refunded.minor_units > 0);
    html! {
        tr {
            th scope="row" {
                a.break href=(reader.to(&purchase_path(&purchase.purchase_id))) { (short(&purchase.purchase_id)) }
                small { (reader.exact_time(purchase.purchase_time.as_ref())) }
            }
            @if with_buyer { td.wide { (user_link(&purchase.buyer_user_id, reader)) } }
            td.wide {
                @let (tone, words) = outcome(&purchase, &detail.outcomes);
                (badge(tone, &words))
                @if is_disputed(&purchase) { " " (badge(Tone::Warn, text::DISPUTED)) }
            }
            td.number {
                (reader.amount(purchase.amount.as_ref()))
                @if refunded { small.bad { (text::refunded(&reader.words(purchase.refunded.as_ref()))) } }
            }
        }
    }
}

/// Whether nothing is left of a purchase: all of it went back to the buyer.
#[must_use]
pub fn is_refunded(purchase: &Purchase) -> bool {
    let refunded = minor(purchase.refunded.as_ref());
    refunded > 0 && refunded >= minor(purchase.amount.as_ref())
}

/// Whether a dispute about the purchase is open.
#[must_use]
pub fn is_disputed(purchase: &Purchase) -> bool {
    minor(purchase.disputed.as_ref()) > 0
}

/// What became of a purchase, in all programs.
fn outcome(purchase: &Purchase, outcomes: &[PurchaseOutcome]) -> (Tone, String) {
    let rewards: usize = outcomes.iter().map(|outcome| outcome.rewards.len()).sum();
    if is_refunded(purchase) {
        (Tone::Plain, text::REFUNDED.into())
    } else if rewards > 0 {
        (Tone::Good, text::so_many_rewards(rewards))
    } else if outcomes.iter().any(|outcome| minor(outcome.credited.as_ref()) > 0) {
        (Tone::Info, text::BUYER_CREDITED.into())
    } else if outcomes.iter().any(|outcome| outcome.qualified) {
        (Tone::Info, text::QUALIFIED.into())
    } else {
        (Tone::Plain, text::NO_REWARD.into())
    }
}

#[cfg(test)]
mod tests {
    use contract::pb::{Money, Reward};

    use super::*;

    #[test]
    fn what_became_of_a_purchase_is_what_is_true_of_it_now() {
        let inr = |minor_units| Some(Money { currency_code: "INR".into(), minor_units });
        let purchase =
            |refunded| Purchase { amount: inr(100), refunded: inr(refunded), ..Default::default() };
        let earned = PurchaseOutcome {
            qualified: true,
            rewards: vec![Reward::default()],
            ..Default::default()
        };
        let credited = PurchaseOutcome { credited: inr(100), ..Default::default() };
        let both = [earned, credited.clone()];
        assert_eq!(outcome(&purchase(99), &both), (Tone::Good, "1 reward".into()));
        assert_eq!(outcome(&purchase(100), &both), (Tone::Plain, "Refunded".into()));
        let credited = outcome(&purchase(0), &[credited, PurchaseOutcome::default()]);
        assert_eq!(credited, (Tone::Info, "Credited to the buyer".into()));
        assert_eq!(outcome(&purchase(0), &[]), (Tone::Plain, "No reward".into()));
    }
}
