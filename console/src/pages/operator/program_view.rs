//! One program as its operators look at it: who came, who brought them, what they were granted, and how referrals
//! convert.

use contract::pb::{
    ConversionDay, GetConversionReportResponse, GetLeaderboardResponse, GetOverviewResponse,
    LeaderboardEntry, LeaderboardMetric, Program, ReferralDetail, UserDetail, UserStatus,
};
use maud::{Markup, html};

use super::{name, overview, program_choice, user_path, user_status};
use crate::charts::{self, Point, percent};
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::pages::participant::status;
use crate::parts::{self, badge, counter, empty, failed, table, table_foot};
use crate::reader::{Reader, short_date};
use crate::text::operator as text;
use crate::text::program::RULES;

/// What top referrers can be ranked by, as addresses name it.
pub const METRICS: [(&str, LeaderboardMetric, &str); 3] = [
    ("", LeaderboardMetric::Referrals, text::BY_REFERRALS),
    ("conversions", LeaderboardMetric::Conversions, text::BY_CONVERSIONS),
    ("earnings", LeaderboardMetric::Earnings, text::BY_EARNINGS),
];

/// How many days the report can be over, the usual ones first.
pub const SPANS: [i64; 3] = [30, 90, 365];

/// The path of the page about a program.
#[must_use]
pub fn path(program_id: &str) -> String {
    format!("/o/programs/{program_id}/view")
}

/// What was chosen on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What top referrers are ranked by.
    pub metric: LeaderboardMetric,
    /// How many days the report is over.
    pub days: i64,
}

impl Chosen {
    /// What an address names; anything unknown is as if it were not there.
    #[must_use]
    pub fn parse(by: &str, days: &str) -> Self {
        let metric = METRICS.iter().find(|(name, ..)| *name == by);
        let days = days.parse().ok().filter(|days| SPANS.contains(days));
        Self {
            metric: metric.map_or(METRICS[0].1, |(_, metric, _)| *metric),
            days: days.unwrap_or(SPANS[0]),
        }
    }

    /// The choices as an address has them, without those that are the usual ones.
    #[must_use]
    pub fn query(self) -> Vec<(&'static str, String)> {
        let by = METRICS.iter().find(|(_, metric, _)| *metric == self.metric);
        let by = by.map_or("", |(name, ..)| name);
        let days = if self.days == SPANS[0] { String::new() } else { self.days.to_string() };
        let mut query = vec![("by", by.to_owned()), ("days", days)];
        query.retain(|(_, value)| !value.is_empty());
        query
    }

    fn path(self, program_id: &str, place: &str) -> String {
        let query: Vec<_> =
            self.query().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{mark}{}#{place}", path(program_id), query.join("&"))
    }
}

/// What the page shows. What could not be read says why.
pub struct View<'a> {
    /// The program.
    pub program: &'a Program,
    /// All programs, for the way to another one.
    pub programs: &'a [Program],
    /// What was chosen.
    pub chosen: Chosen,
    /// The program in figures.
    pub overview: Result<GetOverviewResponse, String>,
    /// How its referrals convert.
    pub report: Result<GetConversionReportResponse, String>,
    /// The first places by what was chosen.
    pub top: Result<GetLeaderboardResponse, String>,
    /// The newest referrals.
    pub recent: Result<Vec<ReferralDetail>, String>,
    /// A page of the participants, the newest first.
    pub participants: Result<Vec<UserDetail>, String>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let program = view.program;
    let below = text::id_and_version(&program.program_id, program.version);
    let rules = format!("/o/programs/{}", program.program_id);
    let rules = parts::link(reader, &rules, RULES, false);
    let main = html! {
        (parts::head(title(program), &below, &rules))
        (program_choice(
            view.programs,
            &program.program_id,
            &html! {},
            &path,
            &path(&program.program_id),
            reader,
        ))
        (counters(view, reader))
        div.split {
            section.card.stack #report { (report(view, reader)) }
            section.card.flush #top { (top(view, reader)) }
        }
        section.card.flush #recent {
            div.card-head { h2 { (text::RECENT_REFERRALS) } }
            @match &view.recent {
                Ok(recent) => (referrals(recent, reader)),
                Err(why) => (failed(why)),
            }
        }
        section.card.flush #participants {
            div.card-head { h2 { (text::ITS_USERS) } }
            @match &view.participants {
                Ok(people) => (participants(people, view, reader)),
                Err(why) => (failed(why)),
            }
        }
    };
    let page = Page {
        reader,
        title: title(program),
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn title(program: &Program) -> &str {
    let names = [&*program.display_name, &*program.program_id];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or(text::PROGRAM)
}

fn counters(view: &View<'_>, reader: &Reader) -> Markup {
    let overview = match &view.overview {
        Ok(overview) => overview,
        Err(why) => return html! { section.card.flush { (failed(why)) } },
    };
    let number = |count: i32| html! { (reader.number(count)) };
    let share = |count: i32| {
        let share = percent(count.into(), overview.registered.into());
        text::share_of_all(&reader.percent(share * 100))
    };
    let (earned, of_earned) = overview::earned(overview, &view.program.unit, reader);
    let statuses = overview::by_status(overview);
    let of_referred = match &*statuses {
        "" => share(overview.referred),
        statuses => format!("{}: {statuses}", share(overview.referred)),
    };
    let (registered, referred, organic) =
        (overview.registered, overview.referred, overview.organic);
    html! {
        section.grid.small aria-label=(text::COUNTERS) {
            (counter("registered", Icon::PEOPLE, text::REGISTERED, &number(registered), text::SINCE_THE_BEGINNING))
            (counter("referred", Icon::SHARE, text::REFERRED, &number(referred), &of_referred))
            (counter("organic", Icon::USER, text::ORGANIC, &number(organic), &share(organic)))
            (counter("granted", Icon::COIN, text::EARNED_BY_ALL, &earned, &of_earned))
        }
    }
}

fn report(view: &View<'_>, reader: &Reader) -> Markup {
    let program_id = &view.program.program_id;
    let span = |days: i64| Chosen { days, ..view.chosen }.path(program_id, "report");
    html! {
        div.row.apart {
            h2 { (text::CONVERTING) }
            nav.segments aria-label=(text::SPAN) {
                @for days in SPANS {
                    a href=(reader.to(&span(days))) aria-current=[(days == view.chosen.days).then_some("true")] {
                        (text::days(days))
                    }
                }
            }
        }
        @match &view.report {
            Ok(report) => {
                dl.sums {
                    div { dt { (text::REFERRALS_COUNTED) } dd.number { (reader.number(report.referrals)) } }
                    div { dt { (text::OF_THEM_CONVERTED) } dd.number { (reader.number(report.converted)) } }
                    div {
                        dt { (text::OF_REFERRALS_CONVERT) } dd.number #rate {
                            (reader.percent(report.conversion_rate_bps))
                        }
                    }
                    div {
                        dt { (text::TIME_TO_FIRST) }
                        dd #time-to-first {
                            @match &report.average_time_to_first_purchase {
                                Some(average) => (text::duration(average.seconds)),
                                None => "–",
                            }
                        }
                    }
                }
                (charts::line(&points(&report.days), "", text::REFERRALS_COUNTED, reader))
                p.soft { (text::REFERRALS_COUNTED_WORDS) }
            }
            Err(why) => (failed(why)),
        }
    }
}

/// The referrals of each day or, in long spans, of each week.
fn points(days: &[ConversionDay]) -> Vec<Point> {
    let together = if days.len() > 31 { 7 } else { 1 };
    // Whole weeks, counted back from today: the first one is left out if it is not whole.
    let weeks = days.rchunks_exact(together).rev();
    weeks
        .map(|days| Point {
            label: days.first().map(|day| short_date(&day.date)).unwrap_or_default(),
            minor_units: days.iter().map(|day| i64::from(day.referrals)).sum(),
        })
        .collect()
}

fn top(view: &View<'_>, reader: &Reader) -> Markup {
    let program_id = &view.program.program_id;
    let by = |metric| Chosen { metric, ..view.chosen }.path(program_id, "top");
    html! {
        div.card-head {
            h2 { (text::TOP_REFERRERS) }
            nav.segments aria-label=(text::TOP_BY) {
                @for (_, metric, words) in METRICS {
                    a href=(reader.to(&by(metric))) aria-current=[(metric == view.chosen.metric).then_some("true")] {
                        (words)
                    }
                }
            }
        }
        @match &view.top {
            Ok(board) => (places(&board.entries, view, reader)),
            Err(why) => (failed(why)),
        }
    }
}

fn places(entries: &[LeaderboardEntry], view: &View<'_>, reader: &Reader) -> Markup {
    // Boards by number have everybody, also with nothing.
    let entries: Vec<_> = entries.iter().filter(|entry| entry.score > 0).collect();
    if entries.is_empty() {
        return empty(Icon::TROPHY, text::NO_TOP, text::NO_TOP_WORDS, &html! {});
    }
    let is_amount = view.chosen.metric == LeaderboardMetric::Earnings;
    let score = |score: i64| {
        html! { @if is_amount { (reader.amount_of(score, &view.program.unit)) } @else { (reader.number(score)) } }
    };
    html! {
        ol.bars.padded role="list" {
            @for entry in &entries {
                li {
                    span.break { (person(&entry.user_id, &entry.display_name, &entry.username, reader)) }
                    span.number { (score(entry.score)) }
                    (charts::length(entry.score, entries[0].score))
                }
            }
        }
    }
}

fn referrals(referrals: &[ReferralDetail], reader: &Reader) -> Markup {
    if referrals.is_empty() {
        return empty(Icon::PEOPLE, text::NO_REFERRALS, text::NO_REFERRALS_WORDS, &html! {});
    }
    let head = html! {
        th scope="col" { (text::NAME) }
        th.wide scope="col" { (text::REFERRED_BY) }
        th.wide scope="col" { (text::STATUS) }
        th.number scope="col" { (text::BROUGHT_IN) }
        th.wide scope="col" { (text::WHEN) }
    };
    let rows = html! {
        @for of in referrals {
            @let referral = of.referral.clone().unwrap_or_default();
            @let (tone, words) = status(referral.status());
            @let referrer =
                person(&referral.referrer_user_id, &of.referrer_display_name, &of.referrer_username, reader);
            tr {
                th scope="row" {
                    (person(&referral.referee_user_id, &of.referee_display_name, &of.referee_username, reader))
                    small.phone { (text::REFERRED_BY) " " (referrer) }
                    div.phone { (badge(tone, words)) }
                }
                td.wide { (referrer) }
                td.wide { (badge(tone, words)) }
                td.number { (reader.amount(of.brought_in.as_ref())) }
                td.wide { (reader.exact_time(referral.create_time.as_ref())) }
            }
        }
    };
    table(text::RECENT_REFERRALS, &head, &rows)
}

fn participants(people: &[UserDetail], view: &View<'_>, reader: &Reader) -> Markup {
    if people.is_empty() && !view.is_later {
        return empty(
            Icon::PEOPLE,
            text::NOBODY_TAKES_PART,
            text::NOBODY_TAKES_PART_WORDS,
            &html! {},
        );
    }
    let head = html! {
        th scope="col" { (text::NAME) }
        th.wide scope="col" { (text::CODE) }
        th.wide scope="col" { (text::REFERRER) }
        th.number scope="col" { (text::EARNED) }
        th.number scope="col" { (text::BALANCE) }
        th.wide scope="col" { (text::SINCE) }
    };
    let rows = html! { @for detail in people { (participant(detail, reader)) } };
    let first = view.chosen.path(&view.program.program_id, "participants");
    html! {
        (table(text::ITS_USERS, &head, &rows))
        (table_foot(
            reader,
            &text::so_many_participants(people.len()),
            view.next.as_deref(),
            view.is_later.then_some(&*first),
        ))
    }
}

fn participant(detail: &UserDetail, reader: &Reader) -> Markup {
    let user = detail.user.clone().unwrap_or_default();
    let of = detail.participant.clone().unwrap_or_default();
    let referrer = person(
        &of.referrer_user_id,
        &detail.referrer_display_name,
        &detail.referrer_username,
        reader,
    );
    html! {
        tr {
            th scope="row" {
                a href=(reader.to(&user_path(&user.user_id))) { (name(&user)) }
                @if user.status() != UserStatus::Active {
                    @let (tone, words) = user_status(user.status());
                    " " (badge(tone, words))
                }
                small.phone { code { (of.code) } }
                @if !of.referrer_user_id.is_empty() { small.phone { (text::REFERRED_BY) " " (referrer) } }
            }
            td.wide { code { (of.code) } }
            td.wide { (referrer) }
            td.number { (reader.amount(detail.earned.as_ref())) }
            td.number { (reader.amount(detail.balances.first())) }
            td.wide { (reader.exact_time(user.create_time.as_ref())) }
        }
    }
}

/// Somebody by name, with the way to them; a dash for nobody.
fn person(user_id: &str, display_name: &str, username: &str, reader: &Reader) -> Markup {
    let names = [display_name, username, user_id];
    let name = names.into_iter().find(|name| !name.is_empty());
    html! {
        @match name {
            Some(name) => a href=(reader.to(&user_path(user_id))) { (name) },
            None => "–",
        }
    }
}
