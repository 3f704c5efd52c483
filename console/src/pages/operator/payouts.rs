//! Payouts: all of them, and the form that creates one.

use contract::pb::{Payout, PayoutLineSum, PayoutState, Program};
use maud::{Markup, html};

use super::overview::Count;
use crate::icons::Icon;
use crate::names::short;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, Field, FormKeys, Sent, Tone, badge, empty, table, table_foot};
use crate::reader::{Reader, segment};
use crate::text::money as text;
use crate::text::with_unit;

/// A program that pays out, and what a payout of it would find.
pub struct Paying {
    /// The program.
    pub program: Program,
    /// What is available to all participants together, in minor units; why not, if it could not be read; `None` if it
    /// was not asked for.
    pub available_minor: Option<Result<i128, String>>,
}

/// What the page shows.
pub struct View<'a> {
    /// The payouts, the newest first.
    pub payouts: &'a [Payout],
    /// The programs that pay out.
    pub paying: &'a [Paying],
    /// How many approvals wait; nothing if that could not be read.
    pub waiting: Option<Count>,
    /// What was sent with the form, and what is wrong with it.
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
    let approvals = parts::link(reader, "/o/approvals", text::APPROVALS, false);
    let main = html! {
        (parts::head(text::PAYOUTS, text::PAYOUTS_WORDS, &approvals))
        @if let Some(waiting) = view.waiting.filter(|of| of.count > 0) {
            div.notice.warn {
                (Icon::CLOCK)
                p {
                    (text::so_many_approvals_wait(&waiting.words(reader))) " " a href=(reader.to("/o/approvals")) {
                        (text::LOOK_AT_THEM)
                    }
                }
            }
        }
        div.split {
            section.card.flush {
                @if view.payouts.is_empty() {
                    (empty(Icon::BANK, text::NO_PAYOUTS, text::NO_PAYOUTS_WORDS, &html! {}))
                } @else {
                    (list(view.payouts, reader))
                    (table_foot(
                        reader,
                        &text::so_many_payouts(view.payouts.len()),
                        view.next.as_deref(),
                        view.is_later.then_some("/o/payouts"),
                    ))
                }
            }
            (create(view, reader))
        }
    };
    let page = Page {
        reader,
        title: text::PAYOUTS,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn list(payouts: &[Payout], reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::PAYOUT) }
        th scope="col" { (text::STATE) }
        th.number.wide scope="col" { (text::RESERVED) }
        th.number scope="col" { (text::PAID) }
    };
    let amount = |sum: &Option<PayoutLineSum>| {
        let amount = sum.as_ref().and_then(|sum| sum.amount.as_ref());
        html! { (reader.amount(amount)) small { (text::so_many_people(sum.as_ref().map_or(0, |sum| sum.count))) } }
    };
    let rows = html! {
        @for payout in payouts {
            @let (tone, words) = state(payout);
            tr {
                th scope="row" {
                    a.break href=(reader.to(&path(payout))) { (short(&payout.payout_id)) }
                    small.break { (reader.names.program(&payout.program_id)) }
                    small { (reader.exact_time(payout.create_time.as_ref())) }
                }
                td { (badge(tone, words)) }
                td.number.wide { (amount(&payout.reserved)) }
                td.number { (amount(&payout.paid)) }
            }
        }
    };
    table(text::PAYOUTS, &head, &rows)
}

fn create(view: &View<'_>, reader: &Reader) -> Markup {
    let minimum = Field {
        name: "minimum",
        label: text::MINIMUM,
        hint: text::MINIMUM_HINT,
        inputmode: "decimal",
        autocomplete: "off",
        ..Field::default()
    };
    let id = Field {
        name: "payout_id",
        label: text::PAYOUT_ID,
        hint: text::PAYOUT_ID_HINT,
        autocomplete: "off",
        ..Field::default()
    };
    let with_its_unit = |of: &Paying| with_unit(&of.program.display_name, &of.program.unit);
    let names: Vec<String> = view.paying.iter().map(with_its_unit).collect();
    let ids = view.paying.iter().map(|of| &*of.program.program_id);
    let programs: Vec<(&str, &str)> = ids.zip(names.iter().map(|name| &**name)).collect();
    let found = view.paying.iter().filter_map(|of| Some((of, of.available_minor.as_ref()?)));
    html! {
        section.card {
            h2 { (text::CREATE_PAYOUT) }
            @if view.paying.is_empty() {
                p.soft { (text::NOBODY_PAYS) }
            } @else {
                (parts::problems(&view.sent))
                form.form method="post" action=(reader.to("/o/payouts")) {
                    (view.keys)
                    (parts::select("program_id", text::PROGRAM, &programs, view.sent.value("program_id")))
                    (minimum.html(&view.sent))
                    (id.html(&view.sent))
                    div.actions { button.button.first { (text::CREATE) } }
                }
                hr;
                h3 { (text::WOULD_FIND) }
                dl.pairs {
                    @for (of, available) in found {
                        dt { (of.program.display_name) }
                        dd {
                            @match available {
                                Ok(minor) => (reader.amount_of(*minor, &of.program.unit)),
                                Err(why) => (why),
                            }
                        }
                    }
                }
                p.soft {
                    (text::WOULD_FIND_WORDS)
                    @if view.paying.iter().any(|of| of.available_minor.is_none()) { " " (text::WOULD_FIND_FIRST) }
                }
            }
        }
    }
}

/// The path of a payout.
#[must_use]
pub fn path(payout: &Payout) -> String {
    format!("/o/payouts/{}/{}", payout.program_id, segment(&payout.payout_id))
}

/// How far a payout is, as a badge says it.
#[must_use]
pub fn state(payout: &Payout) -> (Tone, &'static str) {
    match payout.state() {
        PayoutState::Collecting => (Tone::Info, text::COLLECTING),
        PayoutState::Open => (Tone::Warn, text::OPEN),
        PayoutState::Confirming => (Tone::Info, text::CONFIRMING),
        PayoutState::Failing => (Tone::Info, text::FAILING),
        PayoutState::Confirmed if was_empty(payout) => (Tone::Plain, text::NOBODY_PAID),
        PayoutState::Confirmed => (Tone::Good, text::CONFIRMED),
        PayoutState::Failed => (Tone::Bad, text::FAILED),
        PayoutState::Unspecified => (Tone::Plain, "–"),
    }
}

/// Whether a payout has ended because nobody could be paid by it.
#[must_use]
pub fn was_empty(payout: &Payout) -> bool {
    let sums = [&payout.reserved, &payout.paid, &payout.failed, &payout.returned];
    let is_none = |sum: &Option<PayoutLineSum>| sum.as_ref().is_none_or(|sum| sum.count == 0);
    payout.state() == PayoutState::Confirmed && sums.into_iter().all(is_none)
}
