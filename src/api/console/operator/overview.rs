//! How things stand in all programs.

use axum::response::Response;
use console::page::Live;
use console::pages::operator::overview::{Count, Figures, View, page};
use console::text;
use prost_types::Timestamp;
use tonic::Status;

use crate::api::console::answers::Refused;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::{next_page, part, with_query};
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many programs a page has.
const PROGRAMS: i32 = 50;
/// How many flags and jobs are counted.
const COUNTED: i32 = 100;
/// The time of the conversion report, in seconds: 30 days.
const REPORTED: i64 = 30 * 24 * 60 * 60;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let (programs, flags, jobs, can_fill) =
        tokio::join!(programs(&visit), open_flags(&visit), parked_jobs(&visit), can_fill(&visit));
    let (programs, next_page_token) = programs?;
    let later = visit.query("page");
    let view = View {
        programs: &programs,
        flags: part(flags),
        parked_jobs: part(jobs),
        live: Live { path: with_query("/live/overview", &[("page", later)]), token: String::new() },
        next: next_page("/o", &[], &next_page_token),
        is_later: !later.is_empty(),
        done: text::done(visit.query("done")),
        sample: can_fill.then(|| visit.form()),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(&visit, &form_token);
    Ok(visit.page(page(view, &sidebar, visit.reader())))
}

/// Whether the page offers to fill the database with sample people: in `dev`, and once.
async fn can_fill(visit: &Visit) -> bool {
    let context = visit.console().context();
    match &context.settings.dev_pages {
        Some(dev) => matches!(dev.has_sample(context).await, Ok(false)),
        None => false,
    }
}

/// Fills the database with sample people. Only `dev` does.
pub(super) async fn fill(visit: Visit, _: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let context = visit.console().context();
    let dev = context.settings.dev_pages.as_ref().ok_or(Refused::NotFound)?;
    dev.fill(context);
    Ok(visit.see_other("/o", "sample", ""))
}

/// The programs of the page in figures, and the token of the next one.
pub(in crate::api::console) async fn programs(
    visit: &Visit,
) -> Result<(Vec<Figures>, String), Status> {
    let request = pb::ListProgramsRequest {
        page_size: PROGRAMS,
        page_token: visit.query("page").into(),
        ..Default::default()
    };
    let pb::ListProgramsResponse { programs, next_page_token, .. } = visit.look(request).await?;
    let now = (visit.console().context().environment.now)();
    let seconds = now.0.div_euclid(domain::Timestamp::PER_SECOND);
    let start_time = Some(Timestamp { seconds: seconds - REPORTED, nanos: 0 });
    let mut figures = Vec::with_capacity(programs.len());
    for program in programs {
        let program_id = program.program_id.clone();
        let (overview, visits, report) = tokio::join!(
            visit.look(pb::GetOverviewRequest {
                program_id: program.program_id.clone(),
                ..Default::default()
            }),
            visit.look(pb::GetVisitsRequest { program_id, ..Default::default() }),
            visit.look(pb::GetConversionReportRequest {
                program_id: program.program_id.clone(),
                start_time,
                ..Default::default()
            }),
        );
        figures.push(Figures {
            program,
            overview: part(overview),
            visits: part(visits.map(|found| found.visits_in_all)),
            report: part(report),
        });
    }
    Ok((figures, next_page_token))
}

async fn open_flags(visit: &Visit) -> Result<Count, Status> {
    let request = pb::ListFraudFlagsRequest {
        state: pb::FraudFlagState::Open.into(),
        page_size: COUNTED,
        ..Default::default()
    };
    let answer = visit.call(request).await?;
    Ok(counted(answer.flags.len(), &answer.next_page_token))
}

async fn parked_jobs(visit: &Visit) -> Result<Count, Status> {
    let request = pb::ListJobsRequest {
        state: pb::JobState::Parked.into(),
        page_size: COUNTED,
        ..Default::default()
    };
    let answer = visit.call(request).await?;
    Ok(counted(answer.jobs.len(), &answer.next_page_token))
}

/// So many as a page has, and whether there are more.
pub(super) fn counted(count: usize, next_page_token: &str) -> Count {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    Count { count, is_more: !next_page_token.is_empty() }
}
