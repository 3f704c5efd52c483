//! Payments of which something waits for an event or an operator.

use contract::pb::{PaymentIssueKind, UnmatchedPayment};
use maud::{Markup, html};

use super::{purchase_path, user_path};
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, FormKeys, Tone, badge, empty, table_foot};
use crate::reader::Reader;
use crate::text::operator as text;

/// What the page shows.
pub struct View<'a> {
    /// The payments, the one first heard of last first.
    pub payments: &'a [UnmatchedPayment],
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
    let main = html! {
        (parts::head(text::PAYMENTS, text::PAYMENTS_WORDS, &html! {}))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        @if view.payments.is_empty() {
            section.card.flush { (empty(Icon::COIN, text::NO_PAYMENTS, text::NO_PAYMENTS_WORDS, &html! {})) }
        } @else {
            div.stack { @for payment in view.payments { (self::payment(payment, view, reader)) } }
            section.card.flush {
                (table_foot(
                    reader,
                    &text::so_many_payments(view.payments.len()),
                    view.next.as_deref(),
                    view.is_later.then_some("/o/payments"),
                ))
            }
        }
    };
    let page = Page {
        reader,
        title: text::PAYMENTS,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn payment(payment: &UnmatchedPayment, view: &View<'_>, reader: &Reader) -> Markup {
    let issues: Vec<&str> = payment.issues.iter().map(|issue| &*issue.issue_id).collect();
    let seen =
        html! { button.button aria-label=(text::seen(&payment.payment_id)) { (text::SEEN) } };
    let exists = payment.issues.iter().all(|of| of.kind() != PaymentIssueKind::UnknownBuyer);
    let hidden = [("payment_id", &*payment.payment_id), ("issues", &*issues.join(" "))];
    html! {
        section.card.stack {
            div.row.apart {
                div {
                    h2.break {
                        @if payment.recorded {
                            a href=(reader.to(&purchase_path(&payment.payment_id))) { (payment.payment_id) }
                        } @else { (payment.payment_id) }
                    }
                    span.soft {
                        (text::FIRST_HEARD_OF) " " (reader.exact_time(payment.create_time.as_ref()))
                        @if !payment.buyer_user_id.is_empty() {
                            " · " (text::BUYER) " "
                            @if exists {
                                a.break href=(reader.to(&user_path(&payment.buyer_user_id))) {
                                    (payment.buyer_user_id)
                                }
                            } @else { span.break { (payment.buyer_user_id) } }
                        }
                    }
                }
                @match &payment.amount {
                    Some(amount) => strong { (reader.amount(Some(amount))) },
                    None => span.soft { (text::AMOUNT_NOT_KNOWN) },
                }
            }
            @for issue in &payment.issues {
                div {
                    (badge(Tone::Warn, text::issue(issue.kind()))) " " span.break { (issue.detail) }
                    @let help = text::issue_help(issue.kind());
                    @if !help.is_empty() { p.soft { (help) } }
                }
            }
            // The buyer of what is recorded stays.
            @if !payment.recorded { (attach(payment, view, reader)) }
            (parts::act(reader, "/o/payments/seen", &(view.keys)(), &seen, &hidden))
        }
    }
}

/// Says who bought.
fn attach(payment: &UnmatchedPayment, view: &View<'_>, reader: &Reader) -> Markup {
    html! {
            form.row method="post" action=(reader.to("/o/payments")) {
                ((view.keys)())
                input type="hidden" name="payment_id" value=(payment.payment_id);
                div.search {
                    (Icon::SEARCH)
                    input.input name="buyer" required autocomplete="off" placeholder=(text::BUYER_HINT)
                        aria-label=(text::who_bought(&payment.payment_id));
                }
                button.button.first { (text::ATTACH) }
            }
    }
}
