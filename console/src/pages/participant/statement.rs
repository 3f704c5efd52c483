//! A month of a participant on paper: what there was before and after, and every entry in between. In UTC, so that a
//! statement is the same wherever it is printed.

use contract::pb::{BalanceEntry, BucketBalances, GetStatementResponse, Money, Program};
use maud::{Markup, html};

use super::Scene;
use super::entries::{self, Rules};
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, badge, empty, failed, table};
use crate::reader::{Reader, month_name};
use crate::text::statement as text;

/// What the page shows.
pub struct View<'a> {
    /// Whose page it is.
    pub scene: Scene<'a>,
    /// The id of the user.
    pub user_id: &'a str,
    /// The month, as `2026-11`.
    pub month: &'a str,
    /// What is wrong with the month that was asked for.
    pub fault: Option<&'a str>,
    /// The months before and after, as far as there are.
    pub around: [Option<String>; 2],
    /// Whether the month is over. If not, the statement ends when it was made.
    pub is_over: bool,
    /// When the statement was made.
    pub made: prost_types::Timestamp,
    /// Other versions of the program, by which something was granted in the month.
    pub others: &'a [Program],
    /// The statement, with all its entries, the newest first; or why it could not be read.
    pub statement: Result<GetStatementResponse, String>,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let title = match view.fault {
        None => text::of_month(&month_name(view.month)),
        Some(_) => text::STATEMENT.into(),
    };
    let main = html! {
        (parts::head(&title, &view.scene.program.display_name, &actions(view, reader)))
        (choice(view, reader))
        @if view.fault.is_none() {
            @match &view.statement {
                Ok(statement) => (self::statement(statement, view, reader)),
                Err(why) => { section.card.flush { (failed(why)) } }
            }
        }
    };
    let page =
        Page { reader, title: &title, live: None, done: None, celebration: None, shared: None };
    app(&page, sidebar, &main)
}

fn actions(view: &View<'_>, reader: &Reader) -> Markup {
    html! {
        a.button href=(reader.to(&view.scene.path("earnings"))) { (text::TO_EARNINGS) }
        // Without a script, browsers have it in their menu.
        button.button.first type="button" hidden data-print { (Icon::BOOK) (text::PRINT) }
    }
}

/// The choice of the month.
fn choice(view: &View<'_>, reader: &Reader) -> Markup {
    let action = reader.to(&view.scene.path("statement"));
    let described = view.fault.map(|_| "month-fault");
    let [before, after] = &view.around;
    html! {
        section.card.no-print {
            form.row method="get" action=(action) {
                label for="month" { (text::MONTH) }
                input.input.short #month name="month" type="month" value=(view.month)
                    aria-invalid=[described.map(|_| "true")] aria-describedby=[described];
                button.button { (text::SHOW) }
                @if let Some(before) = before { a.button.quiet href={ (action) "?month=" (before) } { (text::BEFORE) } }
                @if let Some(after) = after { a.button.quiet href={ (action) "?month=" (after) } { (text::AFTER) } }
            }
            @if let Some(fault) = view.fault { p.bad #month-fault { (fault) } }
        }
    }
}

fn statement(statement: &GetStatementResponse, view: &View<'_>, reader: &Reader) -> Markup {
    let (opening, closing) = (
        statement.opening.clone().unwrap_or_default(),
        statement.closing.clone().unwrap_or_default(),
    );
    let unit = &view.scene.program.unit;
    let until = if view.is_over {
        text::until(&reader.day_before(statement.end_time.as_ref()))
    } else {
        text::SO_FAR.into()
    };
    html! {
        section.card {
            dl.sums {
                div { dt { (text::FOR) } dd { (view.scene.name) } }
                div { dt { (text::CODE) } dd.code { (view.scene.participant.code) } }
                div { dt { (text::FROM) } dd { (reader.day(statement.start_time.as_ref())) } }
                div { dt { (text::UNTIL) } dd { (until) } }
            }
            p.soft {
                (text::IN_UTC) " " (text::ACCOUNT) " " span.code.break { (view.user_id) } ", "
                (text::made(&reader.minute(Some(&view.made))))
            }
        }
        section.card.flush {
            div.card-head { h2 { (text::BALANCES) } }
            (balances(&opening, &closing, unit, reader))
        }
        section.card {
            h2 { (text::IN_BETWEEN) }
            (sums(&opening, &closing, unit, reader))
        }
        section.card.flush {
            div.card-head { h2 { (text::ENTRIES) } }
            @if !statement.next_page_token.is_empty() { div.padded { (parts::notice(text::TOO_MANY)) } }
            (list(&statement.entries, view, reader))
        }
    }
}

fn minor(amount: Option<&Money>) -> i64 {
    amount.map_or(0, |amount| amount.minor_units)
}

/// The parts of the balance before and after.
fn balances(
    opening: &BucketBalances,
    closing: &BucketBalances,
    unit: &str,
    reader: &Reader,
) -> Markup {
    let parts = |of: &BucketBalances| {
        let parts = [&of.available, &of.pending, &of.reserved].map(|part| minor(part.as_ref()));
        let [available, pending, reserved] = parts.map(i128::from);
        [available, pending, reserved, available + pending + reserved]
    };
    let names = [text::AVAILABLE, text::ON_ITS_WAY, text::SET_ASIDE, text::BALANCE];
    let head = html! {
        th scope="col" { (text::PART) }
        th.number scope="col" { (text::OPENING) }
        th.number scope="col" { (text::CLOSING) }
    };
    let rows = html! {
        @for (name, (before, after)) in names.into_iter().zip(parts(opening).into_iter().zip(parts(closing))) {
            tr {
                th.whole scope="row" { @if name == text::BALANCE { strong { (name) } } @else { (name) } }
                td.number { (reader.amount_of(before, unit)) }
                td.number { (reader.amount_of(after, unit)) }
            }
        }
    };
    table(text::BALANCES, &head, &rows)
}

/// What the sums grew by in the month: together they are the change of the balance.
fn sums(opening: &BucketBalances, closing: &BucketBalances, unit: &str, reader: &Reader) -> Markup {
    type Sum = fn(&BucketBalances) -> Option<&Money>;
    let sums: [(&str, Sum, i128); 7] = [
        (text::GRANTED, |of| of.earned.as_ref(), 1),
        (text::CREDITED, |of| of.credited.as_ref(), 1),
        (text::ADJUSTED, |of| of.adjusted.as_ref(), 1),
        (text::TAKEN_BACK, |of| of.reversed.as_ref(), -1),
        (text::SPENT, |of| of.spent.as_ref(), -1),
        (text::PAID_OUT, |of| of.paid.as_ref(), -1),
        (text::EXPIRED, |of| of.expired.as_ref(), -1),
    ];
    let grown = sums.map(|(name, of, sign)| {
        (name, sign * (i128::from(minor(of(closing))) - i128::from(minor(of(opening)))))
    });
    let grown: Vec<_> = grown.into_iter().filter(|(_, change)| *change != 0).collect();
    html! {
        @if grown.is_empty() { p.soft { (text::NOTHING) } }
        @else {
            dl.sums {
                @for (name, change) in grown {
                    div { dt { (name) } dd { @if change > 0 { "+" } (reader.amount_of(change, unit)) } }
                }
            }
        }
    }
}

/// The entries, the oldest first.
fn list(entries: &[BalanceEntry], view: &View<'_>, reader: &Reader) -> Markup {
    if entries.is_empty() {
        return empty(Icon::COIN, text::NO_ENTRIES, text::NO_ENTRIES_WORDS, &html! {});
    }
    let head = html! {
        th.wide.when scope="col" { (text::WHEN) }
        th scope="col" { (text::WHAT) }
        th.wide scope="col" { (text::PART) }
        th.number scope="col" { (text::AMOUNT) }
        th.number.wide scope="col" { (text::BALANCE) }
    };
    let rows = html! { @for entry in entries.iter().rev() { (row(entry, view, reader)) } };
    table(text::ENTRIES, &head, &rows)
}

fn row(entry: &BalanceEntry, view: &View<'_>, reader: &Reader) -> Markup {
    let rules = Rules { program: view.scene.program, others: view.others };
    let words = entries::words(entry, rules, reader);
    let explained = words.explained();
    let (tone, bucket) = entries::bucket(entry.bucket());
    html! {
        tr {
            td.wide.when { (reader.exact_time(entry.create_time.as_ref())) }
            td {
                (words.title)
                small.phone.when { (reader.exact_time(entry.create_time.as_ref())) }
                @if !explained.is_empty() { small { (explained) } }
                @if !entry.purchase_id.is_empty() { small.break { (text::purchase(&entry.purchase_id)) } }
            }
            td.wide { (badge(tone, bucket)) }
            (entries::amount_cell(entry, reader))
            td.number.wide { (reader.amount(entry.balance.as_ref())) }
        }
    }
}
