//! Approvals: what operators have asked for, and what others decide about it.

use axum::response::Response;
use console::pages::operator::approvals::{STATES, View, page};
use console::text;
use http::StatusCode;

use super::names::{Ids, knowing, of_approval};
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many approvals a page has.
const APPROVALS: i32 = 50;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    list(&visit, StatusCode::OK, None).await
}

pub(super) async fn decide(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let (request_id, approval_id) = (form.request_id(), form.get("approval_id").to_owned());
    let outcome = if form.get("step") == "approve" {
        let request = pb::ApproveRequest { request_id, approval_id };
        visit.call(request).await.map(|done| ("approved", done.consistency_token))
    } else {
        let request = pb::DeclineRequest { request_id, approval_id, note: form.text("note") };
        visit.call(request).await.map(|done| ("declined", done.consistency_token))
    };
    match outcome {
        Ok((done, changed)) => Ok(visit.see_other(back(form.get("back")), done, &changed)),
        Err(status) => {
            let (code, sent) = faults::placed(&status, form.sent(), &[]);
            let fault = sent.faults.first().map(|(_, fault)| fault.clone());
            list(&visit, code, sent.problem.or(fault)).await
        }
    }
}

/// The page that the form was on: one of operators, or else the list.
fn back(path: &str) -> &str {
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:|=+~%".contains(&byte);
    if path.starts_with("/o/") && path.bytes().all(is_path) { path } else { "/o/approvals" }
}

async fn list(
    visit: &Visit,
    code: StatusCode,
    problem: Option<String>,
) -> Result<Response, Refused> {
    let operator = visit.operator()?;
    let person = visit.person().await?;
    let (later, wanted) = (visit.query("page"), visit.query("state"));
    let (name, state, _) = STATES.iter().find(|(name, ..)| *name == wanted).unwrap_or(&STATES[0]);
    let request = pb::ListApprovalsRequest {
        state: (*state).into(),
        page_size: APPROVALS,
        page_token: later.into(),
        consistency_token: visit.changed(),
        ..Default::default()
    };
    let answer = visit.call(request).await?;
    let reader = knowing(visit, Ids::of(answer.approvals.iter().flat_map(of_approval))).await;
    let view = View {
        approvals: &answer.approvals,
        chosen: name,
        reader_is: &format!("user:{}", operator.user_id),
        keys: &|| visit.command(),
        problem: problem.as_deref(),
        done: text::done(visit.query("done")),
        next: next_page("/o/approvals", &[("state", name)], &answer.next_page_token),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, &reader)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_pages_of_operators_only() {
        for (given, expected) in [
            ("/o/payouts/spring/may-1", "/o/payouts/spring/may-1"),
            ("/o/users/ada%2Fb/spring", "/o/users/ada%2Fb/spring"),
            ("//evil.example", "/o/approvals"),
            ("https://evil.example/o/", "/o/approvals"),
            ("/o/\\evil", "/o/approvals"),
            ("/o/payouts?done=approved", "/o/approvals"),
            ("", "/o/approvals"),
        ] {
            assert_eq!(back(given), expected, "{given}");
        }
    }
}
