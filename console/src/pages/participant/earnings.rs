//! What a participant has earned: by level, over time, by person, and the ledger.

use contract::pb::{
    BalanceEntry, BucketBalances, LevelEarnings, Money, Program, ReferralDetail, WithheldReward,
};
use maud::{Markup, html};

use super::entries::{self, Rules};
use super::{Scene, earned, other_sums, path};
use crate::charts::{self, Bar, Point};
use crate::icons::Icon;
use crate::page::{Live, Page, Sidebar, app};
use crate::parts::{self, badge, empty, failed, live_mark, table, table_foot};
use crate::reader::{Reader, long_date};
use crate::text::{participant as text, statement};

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

/// What changes while the page is shown.
pub struct Figures {
    /// The balance, at present or as of a day.
    pub buckets: Result<BucketBalances, String>,
    /// What each level has brought.
    pub levels: Result<Vec<LevelEarnings>, String>,
    /// What was earned week by week.
    pub weeks: Result<Vec<Point>, String>,
    /// What each person has brought.
    pub people: Result<Vec<ReferralDetail>, String>,
    /// What was not granted of late.
    pub withheld: Result<Vec<WithheldReward>, String>,
    /// The ledger.
    pub ledger: Result<Ledger, String>,
    /// Other versions of the program, by which something in the ledger was granted, or something was withheld.
    pub others: Vec<Program>,
}

impl Figures {
    fn rules<'a>(&'a self, program: &'a Program) -> Rules<'a> {
        Rules { program, others: &self.others }
    }
}

/// What the page shows.
pub struct View<'a> {
    /// Whose page it is.
    pub scene: Scene<'a>,
    /// The day as of which the figures are, as `2026-11-28`; empty for the present.
    pub as_of: &'a str,
    /// What is wrong with the day that was asked for.
    pub as_of_fault: Option<&'a str>,
    /// The figures.
    pub figures: Figures,
    /// What the page follows; the past, and later pages of the ledger, follow nothing.
    pub live: Option<Live>,
}

/// The page.
#[must_use]
pub fn page(view: View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let View { scene, as_of, as_of_fault, figures, live } = view;
    let program = scene.program;
    let csv = reader.to(&scene.path("earnings.csv"));
    // What is by week and by person, what was not granted, and the ledger are of the present.
    let is_past = !as_of.is_empty();
    let of_weeks = if is_past { text::OF_PRESENT } else { text::LAST_WEEKS };
    let all = if is_past { None } else { figures.levels.as_deref().ok() };
    let actions = html! {
        @if live.is_some() { (live_mark()) }
        a.button href=(reader.to(&scene.path("statement"))) { (Icon::BOOK) (statement::STATEMENT) }
        a.button href=(csv) download { (text::CSV) }
    };
    let main = html! {
        (parts::head(text::EARNINGS, text::EARNINGS_WORDS, &actions))
        section.card {
            (choice(&scene, as_of, as_of_fault, reader))
            (sums(&figures.buckets, program, reader))
        }
        div.split {
            section.card {
                div.card-head { div { h2 { (text::EARNED_BY_WEEK) } p { (of_weeks) } } }
                (weeks(&figures.weeks, program, reader))
            }
            div.stack {
                section.card {
                    h2 { (text::BY_LEVEL) }
                    (by_level(&figures.levels, reader))
                }
                section.card {
                    h2 { (text::BY_PERSON) }
                    @if is_past { p.soft { (text::OF_PRESENT) } }
                    (by_person(&figures.people, all, program, reader))
                }
            }
        }
        (withheld(&figures.withheld, is_past, figures.rules(program), reader))
        (ledger(&figures.ledger, is_past, figures.rules(program), reader))
    };
    let page =
        Page { reader, title: text::EARNINGS, live, done: None, celebration: None, shared: None };
    app(&page, sidebar, &main)
}

/// Everything that changes, as the stream of the page sends it.
#[must_use]
pub fn changed(figures: &Figures, program: &Program, reader: &Reader) -> Markup {
    html! {
        (sums(&figures.buckets, program, reader))
        (weeks(&figures.weeks, program, reader))
        (by_level(&figures.levels, reader))
        (by_person(&figures.people, figures.levels.as_deref().ok(), program, reader))
        (withheld(&figures.withheld, false, figures.rules(program), reader))
        (ledger(&figures.ledger, false, figures.rules(program), reader))
    }
}

fn weeks(weeks: &Result<Vec<Point>, String>, program: &Program, reader: &Reader) -> Markup {
    html! {
        div #weeks {
            @match weeks {
                Ok(weeks) => (charts::line(weeks, &program.unit, text::EARNED, reader)),
                Err(why) => (failed(why)),
            }
        }
    }
}

/// What was not granted of late, and why; an empty place if nothing was withheld.
fn withheld(
    found: &Result<Vec<WithheldReward>, String>,
    is_past: bool,
    rules: Rules<'_>,
    reader: &Reader,
) -> Markup {
    let found = match found {
        Ok(found) => found,
        Err(why) => return html! { section.card.flush #withheld { (failed(why)) } },
    };
    html! {
        section.card.flush #withheld hidden[found.is_empty()] {
            div.card-head {
                div {
                    h2 { (text::WITHHELD) }
                    p { (text::WITHHELD_WORDS) }
                    @if is_past { p { (text::OF_PRESENT) } }
                }
            }
            ul.feed role="list" {
                @for of in found { (entries::withheld_happening(of, true, rules, reader).html(None)) }
            }
        }
    }
}

/// The choice of a day.
fn choice(scene: &Scene<'_>, as_of: &str, as_of_fault: Option<&str>, reader: &Reader) -> Markup {
    let action = reader.to(&scene.path("earnings"));
    let described = as_of_fault.map(|_| "as-of-fault");
    html! {
        div.card-head {
            h2 { @if as_of.is_empty() { (text::AT_PRESENT) } @else { (text::as_of(&long_date(as_of))) } }
            form.row method="get" action=(action) {
                label.unseen for="as_of" { (text::AS_OF_DAY) }
                input.input.short #as_of name="as_of" type="date" value=(as_of)
                    aria-invalid=[described.map(|_| "true")] aria-describedby=[described];
                button.button { (text::SHOW) }
                @if !as_of.is_empty() { a.button.quiet href=(action) { (text::PRESENT) } }
            }
        }
        @if let Some(fault) = as_of_fault { p.bad #as-of-fault { (fault) } }
    }
}

/// The parts of a balance and how they came about.
fn sums(buckets: &Result<BucketBalances, String>, program: &Program, reader: &Reader) -> Markup {
    let buckets = match buckets {
        Ok(buckets) => buckets,
        Err(why) => return html! { div #sums { (failed(why)) } },
    };
    let earned = Some(earned(buckets, &program.unit));
    let always = [
        (text::AVAILABLE, &buckets.available),
        (text::ON_ITS_WAY, &buckets.pending),
        (text::EARNED, &earned),
    ];
    let taken_back = text::minor(buckets.reversed.as_ref()) != 0;
    html! {
        div #sums {
            dl.sums {
                @for (words, amount) in always.into_iter().chain(other_sums(buckets)) {
                    div {
                        dt { (words) }
                        dd data-marked { (reader.amount(amount.as_ref())) }
                        @if taken_back && words == text::EARNED {
                            @let of = |amount: &Option<Money>| reader.words(amount.as_ref());
                            dd.soft { (text::granted_and_taken_back(&of(&buckets.earned), &of(&buckets.reversed))) }
                        }
                    }
                }
            }
        }
    }
}

fn by_level(levels: &Result<Vec<LevelEarnings>, String>, reader: &Reader) -> Markup {
    let levels = match levels {
        Ok(levels) => levels,
        Err(why) => return html! { div #by-level { (failed(why)) } },
    };
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
    html! { div #by-level { (bars_or_none(&bars)) } }
}

/// What each person has brought. With `levels`, what those have brought who are not among them is there, too, so that
/// all of it adds up.
fn by_person(
    people: &Result<Vec<ReferralDetail>, String>,
    levels: Option<&[LevelEarnings]>,
    program: &Program,
    reader: &Reader,
) -> Markup {
    let people = match people {
        Ok(people) => people,
        Err(why) => return html! { div #by-person { (failed(why)) } },
    };
    let minor = |of: &ReferralDetail| of.brought_in.as_ref().map_or(0, |amount| amount.minor_units);
    let mut people: Vec<&ReferralDetail> = people.iter().filter(|of| minor(of) > 0).collect();
    people.sort_by_key(|of| std::cmp::Reverse(minor(of)));
    people.truncate(SHOWN_PEOPLE);
    let of_people: i64 = people.iter().map(|of| minor(of)).sum();
    let sum = |is_wanted: fn(&&LevelEarnings) -> bool| -> i64 {
        let wanted = levels.unwrap_or_default().iter().filter(is_wanted);
        wanted.map(|of| text::minor(of.total.as_ref())).sum()
    };
    let own = sum(|of| of.level == 0);
    let others = sum(|of| of.level > 0) - of_people;
    let others = if levels.is_some() { others } else { 0 };
    let bar = |label: &str, minor_units: i64| Bar {
        label: html! { (label) },
        value: reader.amount_of(minor_units, &program.unit),
        minor_units,
    };
    let rest = [(text::YOU, own), (text::OTHERS, others)];
    let rest = rest.into_iter().filter(|(_, minor_units)| *minor_units != 0);
    let bars: Vec<Bar> = people
        .iter()
        .map(|of| Bar {
            label: html! { (name(of)) @if of.level > 1 { " " span.soft { (text::level(of.level)) } } },
            value: reader.amount(of.brought_in.as_ref()),
            minor_units: minor(of),
        })
        .chain(rest.map(|(label, minor_units)| bar(label, minor_units)))
        .collect();
    html! { div #by-person { (bars_or_none(&bars)) } }
}

fn bars_or_none(bars: &[Bar]) -> Markup {
    if bars.is_empty() {
        html! { p.soft { (text::NOTHING_EARNED) } }
    } else {
        charts::bars(bars)
    }
}

/// The name of somebody who was referred: the one that they chose, else their username if the reader may see it.
#[must_use]
pub fn name(of: &ReferralDetail) -> &str {
    [&*of.referee_display_name, &*of.referee_username]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or(text::SOMEBODY)
}

fn ledger(
    ledger: &Result<Ledger, String>,
    is_past: bool,
    rules: Rules<'_>,
    reader: &Reader,
) -> Markup {
    html! {
        section.card.flush #ledger {
            div.card-head { div { h2 { (text::LEDGER) } @if is_past { p { (text::OF_PRESENT) } } } }
            @match ledger {
                Ok(ledger) => (entries_of(ledger, rules, reader)),
                Err(why) => (failed(why)),
            }
        }
    }
}

fn entries_of(ledger: &Ledger, rules: Rules<'_>, reader: &Reader) -> Markup {
    if ledger.entries.is_empty() {
        return empty(Icon::COIN, text::NOTHING_EARNED, text::NOTHING_EARNED_WORDS, &html! {});
    }
    let head = html! {
        th.wide.when scope="col" { (text::WHEN) }
        th scope="col" { (text::WHAT) }
        th.wide scope="col" { (text::PART) }
        th.number scope="col" { (text::AMOUNT) }
        th.number.wide scope="col" { (text::BALANCE) }
    };
    let rows = html! { @for entry in &ledger.entries { (row(entry, rules, reader)) } };
    let first = path(&rules.program.program_id, "earnings");
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

fn row(entry: &BalanceEntry, rules: Rules<'_>, reader: &Reader) -> Markup {
    let words = entries::words(entry, rules, reader);
    let explained = words.explained();
    let (tone, bucket) = entries::bucket(entry.bucket());
    html! {
        tr id=(entries::entry_id(entry)) {
            td.wide.when { (reader.exact_time(entry.create_time.as_ref())) }
            td {
                (words.title)
                small.phone.when { (reader.exact_time(entry.create_time.as_ref())) }
                @if !explained.is_empty() { small { (explained) } }
                @if !entry.purchase_id.is_empty() { small.break { (text::purchase(&entry.purchase_id)) } }
                @if !entry.note.is_empty() { small.break { (entry.note) } }
                @if entry.expire_time.is_some() { small { (text::expires(&reader.day(entry.expire_time.as_ref()))) } }
            }
            td.wide { (badge(tone, bucket)) }
            (entries::amount_cell(entry, reader))
            td.number.wide { (reader.amount(entry.balance.as_ref())) }
        }
    }
}
