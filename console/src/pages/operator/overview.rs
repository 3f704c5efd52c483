//! How things stand in all programs.

use contract::pb::{GetConversionReportResponse, GetOverviewResponse, Program};
use maud::{Markup, html};

use super::program_view;
use crate::icons::Icon;
use crate::page::{Live, Page, Sidebar, app};
use crate::parts::{self, FormKeys, counter, empty, failed, live_mark, table_foot};
use crate::reader::Reader;
use crate::text::operator as text;
use crate::text::participant::granted_and_taken_back;
use crate::text::program as of_programs;

/// How many of something there are: exactly, or at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// So many.
    pub count: i64,
    /// Whether there are more.
    pub is_more: bool,
}

impl Count {
    /// The count for people, as in `12` or `100+`.
    #[must_use]
    pub fn words(&self, reader: &Reader) -> String {
        format!("{}{}", reader.number(self.count), if self.is_more { "+" } else { "" })
    }
}

/// What happens in a second, counted while the page follows: at most over ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Over how many seconds was counted; 0 before the page follows.
    pub seconds: u32,
    /// Purchases in that time.
    pub purchases: u32,
    /// Rewards in that time.
    pub rewards: u32,
}

/// A program in figures.
pub struct Figures {
    /// The program.
    pub program: Program,
    /// Its participants, rewards and liability; or why they could not be read.
    pub overview: Result<GetOverviewResponse, String>,
    /// How often links of the program were opened; or why it could not be read.
    pub visits: Result<i64, String>,
    /// The conversions of the last days; or why they could not be read.
    pub report: Result<GetConversionReportResponse, String>,
}

/// What the page shows.
pub struct View<'a> {
    /// The programs in figures.
    pub programs: &'a [Figures],
    /// Flags that nobody has decided about, or why they could not be read.
    pub flags: Result<Count, String>,
    /// Jobs that have failed for good, or why they could not be read.
    pub parked_jobs: Result<Count, String>,
    /// What the page follows.
    pub live: Live,
    /// The path of the next page of programs; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// What the form carries that fills the database with sample people; only `dev` has it.
    pub sample: Option<FormKeys>,
}

/// The page.
#[must_use]
pub fn page(view: View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let actions = html! {
        (live_mark())
        @if let Some(keys) = &view.sample {
            (parts::act(reader, "/o/sample", keys, &html! { button.button { (text::FILL_WITH_SAMPLE) } }, &[]))
        }
        (parts::link(reader, "/o/record", text::RECORD_PURCHASE, true))
    };
    let main = html! {
        (parts::head(text::OVERVIEW, text::OVERVIEW_WORDS, &actions))
        section.grid.small aria-label=(text::COUNTERS) {
            (rates(Rates::default(), reader))
            (so_many("flags", Icon::FLAG, text::OPEN_FLAGS, &view.flags, reader))
            (so_many("jobs", Icon::CLOCK, text::PARKED_JOBS, &view.parked_jobs, reader))
        }
        (programs(view.programs, reader))
        @if view.next.is_some() || view.is_later {
            section.card.flush {
                (table_foot(
                    reader,
                    &of_programs::so_many(view.programs.len()),
                    view.next.as_deref(),
                    view.is_later.then_some("/o"),
                ))
            }
        }
        p.soft { (text::SUMS_WORDS) " " (crate::text::VISITS_WORDS) }
    };
    let View { live, done, .. } = view;
    let page = Page {
        reader,
        title: text::OVERVIEW,
        live: Some(live),
        done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// The counters of what happens in a second, as the page shows them and as its stream sends them.
#[must_use]
pub fn rates(rates: Rates, reader: &Reader) -> Markup {
    let a_second = |count: u32| {
        let tenths = (u64::from(count) * 10).checked_div(rates.seconds.into());
        html! {
            @match tenths {
                Some(tenths) => { (reader.number(tenths / 10)) @if tenths < 1_000 { "." (tenths % 10) } }
                None => "–",
            }
        }
    };
    let note = text::over_seconds(rates.seconds);
    html! {
        (counter(
            "purchases-a-second",
            Icon::CART,
            text::PURCHASES_A_SECOND,
            &a_second(rates.purchases),
            &note,
        ))
        (counter(
            "rewards-a-second",
            Icon::COIN,
            text::REWARDS_A_SECOND,
            &a_second(rates.rewards),
            &note,
        ))
    }
}

fn so_many(
    id: &str,
    icon: Icon,
    label: &str,
    count: &Result<Count, String>,
    reader: &Reader,
) -> Markup {
    match count {
        Ok(count) => {
            let number = html! { (count.words(reader)) };
            let note = if count.count == 0 { text::ALL_IS_WELL } else { text::NEEDS_A_LOOK };
            counter(id, icon, label, &number, note)
        }
        Err(why) => counter(id, icon, label, &html! { "–" }, why),
    }
}

/// The programs, as the page shows them and as its stream sends them.
#[must_use]
pub fn programs(programs: &[Figures], reader: &Reader) -> Markup {
    html! {
        section.grid #programs aria-label=(text::PROGRAMS) {
            @if programs.is_empty() {
                section.card.flush { (empty(Icon::LIST, text::NO_PROGRAMS, text::NO_PROGRAMS_WORDS, &html! {})) }
            }
            @for figures in programs { (program(figures, reader)) }
        }
    }
}

fn program(figures: &Figures, reader: &Reader) -> Markup {
    let program = &figures.program;
    let below = text::id_and_version(&program.program_id, program.version);
    html! {
        section.card id={ "program-" (program.program_id) } {
            div.card-head {
                div { h2 { (program.display_name) } p { (below) } }
                a href=(reader.to(&program_view::path(&program.program_id)))
                    aria-label=(text::view_of(&program.display_name)) {
                    (text::VIEW)
                }
            }
            @match &figures.overview {
                Ok(overview) => (numbers(overview, figures, reader)),
                Err(why) => (failed(why)),
            }
        }
    }
}

fn numbers(overview: &GetOverviewResponse, figures: &Figures, reader: &Reader) -> Markup {
    let unit = &figures.program.unit;
    let (earned, of_earned) = earned(overview, unit, reader);
    let liability = overview.liability.clone().unwrap_or_default();
    let parts = [
        &liability.available_minor_units,
        &liability.pending_minor_units,
        &liability.reserved_minor_units,
    ];
    let parts = parts.map(|text| big(text));
    let [available, pending, reserved] = parts.map(|minor| reader.minor(minor, unit));
    let debt = big(&liability.debt_minor_units);
    // Those that count, as participants see them.
    let signed_up = i64::from(overview.pending) + i64::from(overview.converted);
    html! {
        (parts::funnel(&figures.visits, signed_up, overview.converted.into(), reader))
        dl.sums {
            div { dt { (text::REGISTERED) } dd.number data-marked { (reader.number(overview.registered)) } }
            div { dt { (text::ORGANIC) } dd.number data-marked { (reader.number(overview.organic)) } }
            div {
                dt { (text::REFERRED) }
                dd.number data-marked { (reader.number(overview.referred)) }
                dd.soft { (by_status(overview)) }
            }
            div { dt { (text::EARNED_BY_ALL) } dd data-marked { (earned) } dd.soft { (of_earned) } }
            div {
                dt { (text::LIABILITY) }
                dd data-marked { (reader.amount_of(parts.iter().sum::<i128>(), unit)) }
                dd.soft { (text::parts_of_liability(&available, &pending, &reserved)) }
            }
            @if debt > 0 { div { dt { (text::DEBT) } dd data-marked { (reader.amount_of(debt, unit)) } } }
            @if let Ok(report) = &figures.report {
                div { dt { (text::CONVERSION_RATE) } dd.number { (reader.percent(report.conversion_rate_bps)) } }
                @if let Some(average) = &report.average_time_to_first_purchase {
                    div { dt { (text::TIME_TO_FIRST) } dd { (text::duration(average.seconds)) } }
                }
            }
        }
    }
}

/// A sum that can be larger than amounts are.
fn big(text: &str) -> i128 {
    text.parse().unwrap_or_default()
}

/// What all participants of a program have earned, less what was taken back, and what that consists of.
#[must_use]
pub fn earned(overview: &GetOverviewResponse, unit: &str, reader: &Reader) -> (Markup, String) {
    let granted = big(&overview.rewards_granted_minor_units);
    let taken_back = big(&overview.rewards_reversed_minor_units);
    let of = match taken_back {
        0 => text::SINCE_THE_BEGINNING.into(),
        _ => granted_and_taken_back(&reader.minor(granted, unit), &reader.minor(taken_back, unit)),
    };
    (reader.amount_of(granted - taken_back, unit), of)
}

/// How many of those with a referrer are in which status.
#[must_use]
pub fn by_status(of: &GetOverviewResponse) -> String {
    text::by_status(of.pending, of.converted, of.held, of.rejected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Theme;

    #[test]
    fn rates_say_over_which_time_they_are() {
        let reader = Reader::new("en", None, Theme::System, String::new());
        for (seconds, purchases, shown) in [
            (0, 0, ["–", "counted while this page is open"]),
            (1, 5, [">5.0<", "over the last second"]),
            (4, 2, [">0.5<", "over the last 4 seconds"]),
            (10, 12_345, [">1,234<", "over the last 10 seconds"]),
        ] {
            let html = rates(Rates { seconds, purchases, rewards: 0 }, &reader).into_string();
            for shown in shown {
                assert!(html.contains(shown), "{shown}: {html}");
            }
        }
    }
}
