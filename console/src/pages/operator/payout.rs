//! One payout: its sums, which follow what happens, its lines, and what the provider of payments has said of them.

use contract::pb::{
    Approval, Payout, PayoutLine, PayoutLineState, PayoutLineSum, PayoutSkipReason, PayoutState,
};
use maud::{Markup, html};

use super::payouts::{path, state, was_empty};
use super::{actor, approvals, copyable, user_link};
use crate::icons::Icon;
use crate::names::short_text;
use crate::page::{Live, Page, Sidebar, app};
use crate::parts::{self, Field, FormKeys, Sent, Tone, badge, empty, live_mark, table, table_foot};
use crate::reader::Reader;
use crate::text::money as text;

/// States of lines as addresses name them.
pub const STATES: [(&str, PayoutLineState, &str); 5] = [
    ("reserved", PayoutLineState::Reserved, text::RESERVED),
    ("paid", PayoutLineState::Paid, text::PAID),
    ("failed", PayoutLineState::Failed, text::FAILED),
    ("returned", PayoutLineState::Returned, text::RETURNED),
    ("skipped", PayoutLineState::Skipped, text::SKIPPED),
];

/// What the page shows.
pub struct View<'a> {
    /// The payout.
    pub payout: &'a Payout,
    /// Its lines by user.
    pub lines: &'a [PayoutLine],
    /// The state that lines were asked for in; empty for any.
    pub chosen: &'a str,
    /// What waits for somebody else, and who reads.
    pub approvals: &'a [Approval],
    /// Who reads, as the log names them.
    pub reader_is: &'a str,
    /// What a form carries.
    pub keys: &'a dyn Fn() -> FormKeys,
    /// Whose line a form was about that was refused (empty: the whole payout), and what was sent.
    pub sent: Option<(&'a str, &'a Sent)>,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
    /// What the page follows.
    pub live: Live,
}

/// The page.
#[must_use]
pub fn page(view: View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let payout = view.payout;
    let is_collecting = payout.state() == PayoutState::Collecting;
    let actions = html! {
        (live_mark())
        @if !is_collecting { (files(&view, reader)) }
    };
    let first = in_state(&path(payout), view.chosen);
    let title = text::payout(&short_text(&payout.payout_id));
    let main = html! {
        (parts::head(&title, reader.names.program(&payout.program_id), &actions))
        @if let Some((_, sent)) = view.sent { (parts::problems(sent)) }
        (sums(payout, reader))
        (waiting(&view, reader))
        div.split {
            section.card.flush {
                div.card-head { h2 { (text::LINES) } (states(&view, reader)) }
                @if view.lines.is_empty() {
                    (empty(
                        Icon::BANK,
                        text::NO_LINES,
                        if is_collecting { text::NO_LINES_YET } else { text::NO_LINES_WORDS },
                        &html! {},
                    ))
                } @else {
                    (lines(&view, reader))
                    (table_foot(
                        reader,
                        &text::so_many_lines(view.lines.len()),
                        view.next.as_deref(),
                        view.is_later.then_some(&*first),
                    ))
                }
            }
            div.stack {
                @if payout.state() == PayoutState::Open { (whole(&view, reader)) }
                (facts(payout, reader))
            }
        }
    };
    let page = Page {
        reader,
        title: &title,
        live: Some(view.live),
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// The path of a page of the payout, with the state in which lines are asked for; empty for any.
fn in_state(path: &str, state: &str) -> String {
    if state.is_empty() { path.to_owned() } else { format!("{path}?state={state}") }
}

/// Lines as files: what the provider has to transfer, and what the page shows. The first one never has what was paid
/// already.
fn files(view: &View<'_>, reader: &Reader) -> Markup {
    let payout = view.payout;
    let path = format!("{}/lines.csv", path(payout));
    let is_due = payout.state() == PayoutState::Open
        && payout.reserved.as_ref().is_some_and(|sum| sum.count > 0);
    let shown = STATES.iter().find(|(name, ..)| *name == view.chosen);
    // Nobody gets anything by those that were skipped, and there is a button for those that are due.
    let has_file =
        !matches!(shown, Some((_, PayoutLineState::Skipped | PayoutLineState::Reserved, _)));
    let words = shown.map_or(text::ALL, |(_, _, words)| words);
    html! {
        @if has_file {
            a.button href=(reader.to(&in_state(&path, view.chosen))) download { (text::csv_of(words)) }
        }
        @if is_due {
            a.button.first href=(reader.to(&in_state(&path, "reserved"))) download { (text::CSV_FOR_PROVIDER) }
        }
    }
}

/// How far the payout is, as the page shows it and as its stream sends it.
#[must_use]
pub fn sums(payout: &Payout, reader: &Reader) -> Markup {
    let (tone, words) = state(payout);
    let count = |sum: &Option<PayoutLineSum>| sum.as_ref().map_or(0, |sum| sum.count);
    let sum = |name: &str, sum: &Option<PayoutLineSum>| {
        html! {
            div {
                dt { (name) }
                dd data-marked { (reader.amount(sum.as_ref().and_then(|sum| sum.amount.as_ref()))) }
                dd.soft { (text::so_many_people(count(sum))) }
            }
        }
    };
    let settled = count(&payout.paid) + count(&payout.failed) + count(&payout.returned);
    let all = settled + count(&payout.reserved);
    html! {
        section.card #payout-sums {
            div.card-head { h2 { (text::SO_FAR) } (badge(tone, words)) }
            dl.sums {
                (sum(text::RESERVED, &payout.reserved))
                (sum(text::PAID, &payout.paid))
                (sum(text::FAILED, &payout.failed))
                (sum(text::RETURNED, &payout.returned))
                div { dt { (text::SKIPPED) } dd.number data-marked { (reader.number(payout.skipped_count)) } }
            }
            @match payout.state() {
                PayoutState::Collecting => p.soft { (text::COLLECTING_WORDS) },
                PayoutState::Confirming | PayoutState::Failing => (progress(settled, all, reader)),
                PayoutState::Confirmed if was_empty(payout) => p.soft {
                    (if payout.skipped_count > 0 { text::NOBODY_PAID_WORDS } else { text::NOBODY_HAD_ANYTHING })
                },
                _ => {}
            }
        }
    }
}

fn progress(settled: i64, all: i64, reader: &Reader) -> Markup {
    let share = if all > 0 { settled.saturating_mul(100) / all } else { 0 };
    html! {
        div.meter {
            div {
                span { (text::SETTLING) } span.number {
                    (text::so_many_of(&reader.number(settled), &reader.number(all)))
                }
            }
            svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" { rect width=(share) height="4" {} }
        }
    }
}

fn waiting(view: &View<'_>, reader: &Reader) -> Markup {
    html! {
        @for approval in view.approvals {
            (approvals::card(approval, view.reader_is, &path(view.payout), view.keys, reader))
        }
    }
}

fn states(view: &View<'_>, reader: &Reader) -> Markup {
    let path = path(view.payout);
    html! {
        nav.segments.scroll aria-label=(text::STATE) {
            a href=(reader.to(&path)) aria-current=[view.chosen.is_empty().then_some("true")] { (text::ALL) }
            @for (name, _, words) in STATES {
                a href=(reader.to(&in_state(&path, name)))
                    aria-current=[(view.chosen == name).then_some("true")] {
                    (words)
                }
            }
        }
    }
}

fn lines(view: &View<'_>, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::WHO) }
        th scope="col" { (text::STATE) }
        th.number scope="col" { (text::AMOUNT) }
    };
    let rows = html! { @for line in view.lines { (self::line(line, view, reader)) } };
    table(text::LINES, &head, &rows)
}

fn line(line: &PayoutLine, view: &View<'_>, reader: &Reader) -> Markup {
    let (tone, words) = line_state(line.state());
    let notes = [&*line.reason_code, &*line.provider_reference];
    let is_decided = matches!(line.state(), PayoutLineState::Failed | PayoutLineState::Returned);
    let can_decide = match line.state() {
        PayoutLineState::Reserved => view.payout.state() == PayoutState::Open,
        PayoutLineState::Paid => true,
        _ => false,
    };
    html! {
        tr {
            th scope="row" {
                (user_link(&line.user_id, reader))
                small.wide { (reader.exact_time(line.change_time.as_ref().or(line.create_time.as_ref()))) }
                @if can_decide { (decide(line, view, reader)) }
            }
            td {
                (badge(tone, words))
                @if line.state() == PayoutLineState::Skipped { small { (skip_reason(line.skip_reason())) } }
                @for note in notes { @if !note.is_empty() { small.break { (note) } } }
            }
            td.number {
                @match &line.amount {
                    Some(amount) => span.soft[is_decided] { (reader.amount(Some(amount))) },
                    None => span.soft { (reader.amount(line.available_then.as_ref())) },
                }
            }
        }
    }
}

/// What the provider has said of one line.
fn decide(line: &PayoutLine, view: &View<'_>, reader: &Reader) -> Markup {
    let name = reader.names.user(&line.user_id).unwrap_or(&line.user_id);
    let unsent = Sent::default();
    let sent = view.sent.filter(|(of, _)| *of == line.user_id).map(|(_, sent)| sent);
    let ids = ["reference", "reason"].map(|name| format!("{name}-{}", line.user_id));
    let steps: &[_] = if line.state() == PayoutLineState::Reserved {
        &[("confirm", text::WAS_PAID, "button"), ("fail", text::WAS_NOT_PAID, "button danger")]
    } else {
        &[("return", text::CAME_BACK, "button danger")]
    };
    html! {
        details open[sent.is_some()] {
            summary { (text::SAY_WHAT_BECAME) span.unseen { " " (text::of_line(name)) } }
            form.form.below method="post" action=(reader.to(&path(view.payout))) {
                ((view.keys)())
                input type="hidden" name="user_id" value=(line.user_id);
                (reference(&ids[0], sent.unwrap_or(&unsent)))
                (reason(&ids[1], sent.unwrap_or(&unsent)))
                div.actions {
                    @for (step, words, class) in steps { button class=(class) name="step" value=(step) { (words) } }
                }
            }
        }
    }
}

/// What the provider has said of all lines that nobody has decided about; without any, that the payout is done.
fn whole(view: &View<'_>, reader: &Reader) -> Markup {
    if view.payout.reserved.as_ref().is_none_or(|sum| sum.count == 0) {
        let button =
            html! { button.button.first name="step" value="confirm" { (text::CLOSE_PAYOUT) } };
        return html! {
            section.card {
                h2 { (text::WHOLE) }
                p.soft { (text::NOTHING_RESERVED) }
                (parts::act(reader, &path(view.payout), &(view.keys)(), &button, &[]))
            }
        };
    }
    let unsent = Sent::default();
    let sent = view.sent.filter(|(of, _)| of.is_empty()).map(|(_, sent)| sent);
    let all = reader.words(view.payout.reserved.as_ref().and_then(|sum| sum.amount.as_ref()));
    // Neither can be taken back, so that each takes a second step.
    let choices = [
        ("confirm", text::ALL_PAID, text::all_paid_words(&all), "button first"),
        ("fail", text::NONE_PAID, text::none_paid_words(&all), "button danger"),
    ];
    html! {
        section.card {
            h2 { (text::WHOLE) }
            p.soft { (text::WHOLE_WORDS) }
            @for (step, words, meaning, class) in choices {
                @let sent = sent.filter(|sent| sent.value("step") == step);
                details open[sent.is_some()] {
                    summary { (words) "…" }
                    form.form.below method="post" action=(reader.to(&path(view.payout))) {
                        ((view.keys)())
                        p.soft { (meaning) }
                        (reference(&format!("all-reference-{step}"), sent.unwrap_or(&unsent)))
                        @if step == "fail" { (reason(&format!("all-reason-{step}"), sent.unwrap_or(&unsent))) }
                        div.actions { button class=(class) name="step" value=(step) { (words) } }
                    }
                }
            }
        }
    }
}

fn reference(id: &str, sent: &Sent) -> Markup {
    let field = Field {
        name: "provider_reference",
        id,
        label: text::REFERENCE,
        hint: text::REFERENCE_HINT,
        autocomplete: "off",
        ..Field::default()
    };
    field.html(sent)
}

fn reason(id: &str, sent: &Sent) -> Markup {
    let field = Field {
        name: "reason_code",
        id,
        label: text::REASON,
        hint: text::REASON_HINT,
        autocomplete: "off",
        ..Field::default()
    };
    field.html(sent)
}

fn facts(payout: &Payout, reader: &Reader) -> Markup {
    let either = |text: &str| if text.is_empty() { "–".to_owned() } else { text.to_owned() };
    html! {
        section.card {
            h2 { (text::FACTS) }
            dl.pairs {
                dt { (text::ID) } dd { (copyable(&payout.payout_id)) }
                dt { (text::CREATED) } dd { (reader.exact_time(payout.create_time.as_ref())) }
                dt { (text::CREATED_BY) } dd { (actor(&payout.created_by, reader)) }
                dt { (text::COLLECTED) } dd { (reader.exact_time(payout.collect_time.as_ref())) }
                dt { (text::MINIMUM) } dd { (reader.amount(payout.minimum.as_ref())) }
                dt { (text::REFERENCE) } dd { (either(&payout.provider_reference)) }
                dt { (text::REASON) } dd { (either(&payout.reason_code)) }
            }
        }
    }
}

fn line_state(state: PayoutLineState) -> (Tone, &'static str) {
    let tone = match state {
        PayoutLineState::Reserved => Tone::Warn,
        PayoutLineState::Paid => Tone::Good,
        PayoutLineState::Failed | PayoutLineState::Returned => Tone::Bad,
        PayoutLineState::Skipped | PayoutLineState::Unspecified => Tone::Plain,
    };
    let known = STATES.iter().find(|(_, of, _)| *of == state);
    (tone, known.map_or("–", |(_, _, words)| words))
}

fn skip_reason(reason: PayoutSkipReason) -> &'static str {
    match reason {
        PayoutSkipReason::Erased => text::SKIP_ERASED,
        PayoutSkipReason::Inactive => text::SKIP_INACTIVE,
        PayoutSkipReason::Flagged => text::SKIP_FLAGGED,
        PayoutSkipReason::InDebt => text::SKIP_IN_DEBT,
        PayoutSkipReason::NoMethod => text::SKIP_NO_METHOD,
        PayoutSkipReason::BelowMinimum => text::SKIP_BELOW_MINIMUM,
        PayoutSkipReason::Unspecified => "–",
    }
}
