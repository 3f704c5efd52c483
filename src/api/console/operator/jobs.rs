//! Jobs: what is done beside the log, and what has to be tried again.

use axum::response::Response;
use console::pages::operator::jobs::{View, page};
use http::StatusCode;

use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many jobs a page has.
const JOBS: i32 = 50;
/// How jobs that are parked are asked for.
const PARKED: &str = "parked";

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    list(&visit, StatusCode::OK, None).await
}

pub(super) async fn retry(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    match visit.call(pb::RetryJobRequest { job_id: form.get("job_id").into() }).await {
        Ok(_) => Ok(visit.see_other("/o/jobs", "retried", "")),
        Err(status) => list(&visit, faults::code(&status), Some(faults::told(&status))).await,
    }
}

async fn list(
    visit: &Visit,
    code: StatusCode,
    problem: Option<String>,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let (later, state) = (visit.query("page"), visit.query("state"));
    let is_parked = state == PARKED;
    let wanted = if is_parked { pb::JobState::Parked } else { pb::JobState::Unspecified };
    let request = pb::ListJobsRequest {
        state: wanted.into(),
        page_size: JOBS,
        page_token: later.into(),
        ..Default::default()
    };
    let answer = visit.call(request).await?;
    let view = View {
        jobs: &answer.jobs,
        is_parked,
        keys: &|| visit.command(),
        problem: problem.as_deref(),
        done: console::text::done(visit.query("done")),
        next: next_page("/o/jobs", &[("state", state)], &answer.next_page_token),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, visit.reader())))
}
