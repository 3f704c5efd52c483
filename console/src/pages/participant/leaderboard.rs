//! The leaderboard of a program, with the reader's own place always in sight.

use contract::pb::{LeaderboardEntry, LeaderboardMetric, Program};
use maud::{Markup, html};

use super::Scene;
use crate::icons::Icon;
use crate::page::{Live, Page, Sidebar, app};
use crate::parts::{self, empty, live_mark, table, table_foot};
use crate::reader::Reader;
use crate::text::participant as text;

/// A page of a leaderboard.
pub struct Board {
    /// The entries.
    pub entries: Vec<LeaderboardEntry>,
    /// The reader's own entry.
    pub own: LeaderboardEntry,
    /// What counts.
    pub metric: LeaderboardMetric,
    /// How many participants there are.
    pub participant_count: i64,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// What the page shows.
pub struct View<'a> {
    /// Whose page it is.
    pub scene: Scene<'a>,
    /// The board.
    pub board: &'a Board,
    /// What the page follows; later pages follow nothing.
    pub live: Option<Live>,
}

/// The page.
#[must_use]
pub fn page(view: View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let View { scene, board, live } = view;
    let words = ranked_by(board.metric);
    let mark = if live.is_some() {
        live_mark()
    } else {
        html! {}
    };
    let main = html! {
        (parts::head(text::LEADERBOARD, words, &mark))
        (self::board(board, scene.program, &scene.path("leaderboard"), reader))
    };
    let page = Page {
        reader,
        title: text::LEADERBOARD,
        live,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// The board itself, as the page shows it and as its stream sends it.
#[must_use]
pub fn board(board: &Board, program: &Program, path: &str, reader: &Reader) -> Markup {
    let own = &board.own;
    let is_shown = board.entries.iter().any(|entry| entry.rank == own.rank && is_own(entry, own));
    let head = html! {
        th.number.narrow scope="col" { (text::RANK) }
        th scope="col" { (text::NAME) }
        th.number scope="col" { (metric(board.metric)) }
    };
    let rows = html! {
        @if !is_shown && own.rank > 0 && own.rank < board.entries.first().map_or(i64::MAX, |first| first.rank) {
            (row(own, board, true, program, reader))
        }
        @for entry in &board.entries { (row(entry, board, is_own(entry, own), program, reader)) }
        @if !is_shown && own.rank > board.entries.last().map_or(0, |last| last.rank) {
            (row(own, board, true, program, reader))
        }
    };
    html! {
        section.card.flush #board {
            @if board.entries.is_empty() {
                (empty(Icon::TROPHY, text::NOBODY_RANKED, text::NOBODY_RANKED_WORDS, &html! {}))
            } @else {
                (table(text::LEADERBOARD, &head, &rows))
                @if own.rank == 0 { p.padded.soft { (text::NOT_RANKED) } }
                (table_foot(
                    reader,
                    &of_all(board, reader),
                    board.next.as_deref(),
                    board.is_later.then_some(path),
                ))
            }
        }
    }
}

/// How many participants there are, and how many of them the page shows if it has not all.
fn of_all(board: &Board, reader: &Reader) -> String {
    let all = reader.number(board.participant_count);
    if board.next.is_none() && !board.is_later {
        text::participants(&all, board.participant_count)
    } else {
        let shown = i64::try_from(board.entries.len()).unwrap_or(i64::MAX);
        text::participants_of(&reader.number(shown), &all)
    }
}

/// Whether an entry is the reader's own. Ids of others are left out, so that the own one is the only one with an id.
fn is_own(entry: &LeaderboardEntry, own: &LeaderboardEntry) -> bool {
    !own.user_id.is_empty() && entry.user_id == own.user_id
}

fn row(
    entry: &LeaderboardEntry,
    board: &Board,
    is_own: bool,
    program: &Program,
    reader: &Reader,
) -> Markup {
    let names = [&*entry.display_name, &*entry.username];
    let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or(text::SOMEBODY);
    let score = match board.metric {
        LeaderboardMetric::Earnings | LeaderboardMetric::Points => {
            reader.amount_of(entry.score, &program.unit)
        }
        LeaderboardMetric::Referrals
        | LeaderboardMetric::Conversions
        | LeaderboardMetric::Unspecified => {
            html! { (reader.number(entry.score)) }
        }
    };
    html! {
        tr.own[is_own] aria-current=[is_own.then_some("true")] {
            td.number data-marked { (reader.number(entry.rank)) }
            th scope="row" { (name) @if is_own { " " span.badge.brand { (text::YOU) } } }
            td.number data-marked { (score) }
        }
    }
}

fn metric(metric: LeaderboardMetric) -> &'static str {
    match metric {
        LeaderboardMetric::Points => text::POINTS,
        LeaderboardMetric::Referrals => text::REFERRALS,
        LeaderboardMetric::Conversions => crate::text::CONVERSIONS,
        LeaderboardMetric::Earnings | LeaderboardMetric::Unspecified => text::EARNED,
    }
}

fn ranked_by(metric: LeaderboardMetric) -> &'static str {
    match metric {
        LeaderboardMetric::Points => text::RANKED_BY_POINTS,
        LeaderboardMetric::Referrals => text::RANKED_BY_REFERRALS,
        LeaderboardMetric::Conversions => text::RANKED_BY_CONVERSIONS,
        LeaderboardMetric::Earnings | LeaderboardMetric::Unspecified => text::RANKED_BY_EARNINGS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Theme;

    #[test]
    fn a_page_of_the_board_says_how_many_of_all_it_shows() {
        let reader = Reader::new("en", None, Theme::System, String::new());
        let of = |shown: usize, participant_count, next: Option<&str>| {
            let shown = Board {
                entries: vec![LeaderboardEntry::default(); shown],
                own: LeaderboardEntry::default(),
                metric: LeaderboardMetric::Points,
                participant_count,
                next: next.map(str::to_owned),
                is_later: false,
            };
            board(&shown, &Program::default(), "/p/p/leaderboard", &reader).into_string()
        };
        assert!(of(25, 63, Some("/x")).contains("25 of 63 participants on this page<"));
        assert!(of(2, 2, None).contains(">2 participants<"));
        assert!(of(1, 1, None).contains(">1 participant<"));
    }
}
