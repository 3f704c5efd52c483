//! Jobs, with what they are about and why they failed.

use contract::pb::{Job, JobState};
use maud::{Markup, html};

use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::parts::{self, FormKeys, Tone, badge, empty, table, table_foot};
use crate::reader::Reader;
use crate::text::operator as text;

/// What the page shows.
pub struct View<'a> {
    /// The jobs, the newest first.
    pub jobs: &'a [Job],
    /// Whether only those are shown that wait for an operator.
    pub is_parked: bool,
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
    let (other, first) = if view.is_parked {
        (parts::link(reader, "/o/jobs", text::ALL_JOBS, false), "/o/jobs?state=parked")
    } else {
        (parts::link(reader, "/o/jobs?state=parked", text::PARKED_ONLY, false), "/o/jobs")
    };
    let main = html! {
        (parts::head(text::JOBS, text::JOBS_WORDS, &other))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        section.card.flush {
            @if view.jobs.is_empty() {
                (empty(Icon::CLOCK, text::NO_JOBS, text::NO_JOBS_WORDS, &html! {}))
            } @else {
                (list(view, reader))
                (table_foot(
                    reader,
                    &text::so_many_jobs(view.jobs.len()),
                    view.next.as_deref(),
                    view.is_later.then_some(first),
                ))
            }
        }
    };
    let page = Page {
        reader,
        title: text::JOBS,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn list(view: &View<'_>, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::KIND) }
        th scope="col" { (text::STATUS) }
        th.number.wide scope="col" { (text::ATTEMPTS) }
        th.wide scope="col" { (text::WHEN) }
    };
    let rows = html! {
        @for job in view.jobs {
            tr {
                th scope="row" {
                    (job.kind)
                    small.break { (job.dedupe_key) }
                    @if !job.last_error.is_empty() { small.bad.break { (job.last_error) } }
                }
                td {
                    @let (tone, words) = state(job.state());
                    (badge(tone, words))
                    @if job.state() == JobState::Parked {
                        (parts::act(
                            reader,
                            "/o/jobs",
                            &(view.keys)(),
                            &html! { button.button aria-label=(text::retry(&job.kind)) { (text::RETRY) } },
                            &[("job_id", &job.job_id)],
                        ))
                    }
                }
                td.number.wide { (reader.number(job.attempts)) }
                td.wide { (reader.exact_time(job.create_time.as_ref())) }
            }
        }
    };
    table(text::JOBS, &head, &rows)
}

fn state(state: JobState) -> (Tone, &'static str) {
    match state {
        JobState::Queued => (Tone::Plain, text::QUEUED),
        JobState::Running => (Tone::Info, text::RUNNING),
        JobState::Done => (Tone::Good, text::DONE),
        JobState::Parked => (Tone::Bad, text::PARKED),
        JobState::Unspecified => (Tone::Plain, "–"),
    }
}
