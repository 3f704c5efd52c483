//! What a participant has earned: by level, over time, by person, and the ledger.

use contract::pb::{BalanceEntry, BucketBalances, LevelEarnings, Program, ReferralDetail};
use maud::{Markup, html};

use super::{Scene, entries};
use crate::charts::{self, Bar, Point};
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, badge, empty, failed, table, table_foot};
use crate::reader::Reader;
use crate::text::participant as text;

/// How many people the bars show.
const SHOWN_PEOPLE: usize = 5;

/// A page of the ledger.
pub struct Ledger {
    /// The entries, the newest first.
    pub entries: Vec<BalanceEntry>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// What the page shows.
pub struct View<'a> {
    /// Whose page it is.
    pub scene: Scene<'a>,
    /// The balance, at present or as of a day.
    pub buckets: Result<BucketBalances, String>,
    /// The day as of which the figures are, as `2026-11-28`; empty for the present.
    pub as_of: &'a str,
    /// What is wrong with the day that was asked for.
    pub as_of_fault: Option<&'a str>,
    /// What each level has brought.
    pub levels: Result<Vec<LevelEarnings>, String>,
    /// What was earned week by week.
    pub weeks: Result<Vec<Point>, String>,
    /// What each person has brought.
    pub people: Result<Vec<ReferralDetail>, String>,
    /// The ledger.
    pub ledger: Result<Ledger, String>,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let (scene, program) = (&view.scene, view.scene.program);
    let csv = reader.to(&scene.path("earnings.csv"));
    let actions = html! { a.button href=(csv) download { (text::CSV) } };
    let main = html! {
        (parts::head(text::EARNINGS, text::EARNINGS_WORDS, &actions))
        (as_of(view, reader))
        div.split {
            section.card {
                div.card-head { div { h2 { (text::EARNED_BY_WEEK) } p { (text::LAST_WEEKS) } } }
                @match &view.weeks {
                    Ok(weeks) => (charts::line(weeks, &program.unit, text::EARNED, reader)),
                    Err(why) => (failed(why)),
                }
            }
            div.stack {
                section.card {
                    h2 { (text::BY_LEVEL) }
                    @match &view.levels { Ok(levels) => (by_level(levels, reader)), Err(why) => (failed(why)) }
                }
                section.card {
                    h2 { (text::BY_PERSON) }
                    @match &view.people { Ok(people) => (by_person(people, reader)), Err(why) => (failed(why)) }
                }
            }
        }
        section.card.flush #ledger {
            div.card-head { h2 { (text::LEDGER) } }
            @match &view.ledger {
                Ok(ledger) => (self::ledger(ledger, scene, reader)),
                Err(why) => (failed(why)),
            }
        }
    };
    let page = Page {
        reader,
        title: text::EARNINGS,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// The balance, with the choice of a day.
fn as_of(view: &View<'_>, reader: &Reader) -> Markup {
    let action = reader.to(&view.scene.path("earnings"));
    let described = view.as_of_fault.map(|_| "as-of-fault");
    html! {
        section.card {
            div.card-head {
                h2 { @if view.as_of.is_empty() { (text::AT_PRESENT) } @else { (text::as_of(view.as_of)) } }
                form.row method="get" action=(action) {
                    label.unseen for="as_of" { (text::AS_OF_DAY) }
                    input.input.short #as_of name="as_of" type="date" value=(view.as_of) aria-invalid=[described.map(|_| "true")] aria-describedby=[described];
                    button.button { (text::SHOW) }
                    @if !view.as_of.is_empty() { a.button.quiet href=(action) { (text::PRESENT) } }
                }
            }
            @if let Some(fault) = view.as_of_fault { p.bad #as-of-fault { (fault) } }
            @match &view.buckets { Ok(buckets) => (sums(buckets, reader)), Err(why) => (failed(why)) }
        }
    }
}

/// The parts of a balance and how they came about.
fn sums(buckets: &BucketBalances, reader: &Reader) -> Markup {
    let always = [
        (text::AVAILABLE, &buckets.available),
        (text::ON_ITS_WAY, &buckets.pending),
        (text::EARNED, &buckets.earned),
    ];
    let others = [
        (text::SET_ASIDE, &buckets.reserved),
        (text::CREDITED, &buckets.credited),
        (text::ADJUSTED, &buckets.adjusted),
        (text::TAKEN_BACK, &buckets.reversed),
        (text::SPENT, &buckets.spent),
        (text::PAID_OUT, &buckets.paid),
        (text::EXPIRED, &buckets.expired),
    ];
    let others = others
        .into_iter()
        .filter(|(_, amount)| amount.as_ref().is_some_and(|amount| amount.minor_units != 0));
    html! {
        dl.sums {
            @for (words, amount) in always.into_iter().chain(others) {
                div { dt { (words) } dd { (reader.amount(amount.as_ref())) } }
            }
        }
    }
}

fn by_level(levels: &[LevelEarnings], reader: &Reader) -> Markup {
    let bars: Vec<Bar> = levels
        .iter()
        .map(|level| Bar {
            label: html! {
                (text::level_in_words(level.level)) " "
                span.soft { (text::rewards(&reader.number(level.count), level.count)) }
            },
            value: reader.amount(level.total.as_ref()),
            minor_units: level.total.as_ref().map_or(0, |total| total.minor_units),
        })
        .collect();
    if bars.is_empty() { none_yet() } else { charts::bars(&bars) }
}

fn by_person(people: &[ReferralDetail], reader: &Reader) -> Markup {
    let minor = |of: &ReferralDetail| of.brought_in.as_ref().map_or(0, |amount| amount.minor_units);
    let mut people: Vec<&ReferralDetail> = people.iter().filter(|of| minor(of) > 0).collect();
    people.sort_by_key(|of| std::cmp::Reverse(minor(of)));
    people.truncate(SHOWN_PEOPLE);
    let bars: Vec<Bar> = people
        .iter()
        .map(|of| Bar {
            label: html! { (name(of)) @if of.level > 1 { " " span.soft { (text::level(of.level)) } } },
            value: reader.amount(of.brought_in.as_ref()),
            minor_units: minor(of),
        })
        .collect();
    if bars.is_empty() { none_yet() } else { charts::bars(&bars) }
}

fn none_yet() -> Markup {
    html! { p.soft { (text::NOTHING_EARNED) } }
}

/// The name of somebody who was referred: the one that they chose, else their username if the reader may see it.
#[must_use]
pub fn name(of: &ReferralDetail) -> &str {
    [&*of.referee_display_name, &*of.referee_username]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or(text::SOMEBODY)
}

fn ledger(ledger: &Ledger, scene: &Scene<'_>, reader: &Reader) -> Markup {
    if ledger.entries.is_empty() {
        return empty(Icon::COIN, text::NOTHING_EARNED, text::NOTHING_EARNED_WORDS, &html! {});
    }
    let head = html! {
        th.wide scope="col" { (text::WHEN) }
        th scope="col" { (text::WHAT) }
        th.wide scope="col" { (text::PART) }
        th.number scope="col" { (text::AMOUNT) }
        th.number.wide scope="col" { (text::BALANCE) }
    };
    let rows = html! { @for entry in &ledger.entries { (row(entry, scene.program, reader)) } };
    let first = scene.path("earnings");
    html! {
        (table(text::LEDGER, &head, &rows))
        (table_foot(
            reader,
            &text::entries(ledger.entries.len()),
            ledger.next.as_deref(),
            ledger.is_later.then_some(&*first),
        ))
    }
}

fn row(entry: &BalanceEntry, program: &Program, reader: &Reader) -> Markup {
    let words = entries::words(entry, program, reader);
    let (tone, bucket) = entries::bucket(entry.bucket());
    html! {
        tr {
            td.wide { (reader.exact_time(entry.create_time.as_ref())) }
            td {
                (words.title)
                small.phone { (reader.exact_time(entry.create_time.as_ref())) }
                @if !words.detail.is_empty() { small { (words.detail) } }
                @if !entry.purchase_id.is_empty() { small.break { (text::purchase(&entry.purchase_id)) } }
                @if !entry.note.is_empty() { small.break { (entry.note) } }
                @if entry.expire_time.is_some() { small { (text::expires(&reader.day(entry.expire_time.as_ref()))) } }
            }
            td.wide { (badge(tone, bucket)) }
            td.number { (reader.change(entry.amount.as_ref())) }
            td.number.wide { (reader.amount(entry.balance.as_ref())) }
        }
    }
}
