//! One program as its operators look at it.

use axum::extract::Path;
use axum::response::Response;
use console::pages::operator::program_view::{Chosen, View, page, path};
use console::reader::segment;
use prost_types::Timestamp;

use crate::api::console::answers::Refused;
use crate::api::console::lists::all_programs;
use crate::api::console::participant::{next_page, part};
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many participants a page has.
const PARTICIPANTS: i32 = 25;
/// How many places and referrals are shown.
const FEW: i32 = 10;
const DAY_SECONDS: i64 = 24 * 60 * 60;

pub(super) async fn show(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    visit.operator()?;
    let other = visit.query("program");
    if !other.is_empty() && other != program_id {
        // Where there are many programs, one is chosen from a list.
        return Ok(visit.see_other(&path(&segment(other)), "", ""));
    }
    let (person, program) = tokio::join!(visit.person(), visit.program(&program_id));
    let (person, program) = (person?, program?);
    let chosen = Chosen::parse(visit.query("by"), visit.query("days"));
    let later = visit.query("page");
    let now = (visit.console().context().environment.now)();
    let today = now.0.div_euclid(domain::Timestamp::PER_SECOND).div_euclid(DAY_SECONDS);
    // Today is the last day of the report, and one of them.
    let start = Timestamp { seconds: (today + 1 - chosen.days) * DAY_SECONDS, nanos: 0 };
    let (programs, overview, report, top, recent, participants) = tokio::join!(
        all_programs(&visit),
        visit.call(pb::GetOverviewRequest { program_id: program_id.clone(), ..Default::default() }),
        visit.call(pb::GetConversionReportRequest {
            program_id: program_id.clone(),
            start_time: Some(start),
            ..Default::default()
        }),
        visit.call(pb::GetLeaderboardRequest {
            program_id: program_id.clone(),
            metric: chosen.metric.into(),
            page_size: FEW,
            ..Default::default()
        }),
        visit.call(pb::ListReferralsRequest {
            program_id: program_id.clone(),
            page_size: FEW,
            ..Default::default()
        }),
        visit.call(pb::ListUsersRequest {
            program_id: program_id.clone(),
            page_size: PARTICIPANTS,
            page_token: later.into(),
            ..Default::default()
        }),
    );
    let query = chosen.query();
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let token = participants.as_ref().map_or("", |listed| &listed.next_page_token);
    let next = next_page(&path(&program_id), &query, token);
    let view = View {
        program: &program,
        programs: &programs?,
        chosen,
        overview: part(overview),
        report: part(report),
        top: part(top),
        recent: part(recent.map(|listed| listed.referrals)),
        next: next.map(|path| format!("{path}#participants")),
        participants: part(participants.map(|listed| listed.users)),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(&visit, &form_token);
    Ok(visit.page(page(&view, &sidebar, visit.reader())))
}
