//! One payout: its lines, what the provider of payments has said of them, and the lines as a file.

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use console::page::Live;
use console::pages::operator::payout::{STATES, View, page};
use console::parts::Sent;
use console::text;
use http::StatusCode;
use tokio_stream::StreamExt;
use tonic::Status;

use super::names::{Ids, knowing, of_approval, user_of};
use crate::api::console::answers::{self, Refused};
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many lines a page has.
const LINES: i32 = 50;
/// How many approvals are searched for those of the payout.
const APPROVALS: i32 = 1_000;

pub(super) async fn show(visit: Visit, Path(at): Path<At>) -> Result<Response, Refused> {
    payout(&visit, &at, StatusCode::OK, None).await
}

/// The program and the payout, as in the path.
type At = (String, String);

fn path((program_id, payout_id): &At) -> String {
    format!("/o/payouts/{program_id}/{payout_id}")
}

/// Says what became of a line or, without a user, of all that are still reserved.
pub(super) async fn decide(
    visit: Visit,
    Path(at): Path<At>,
    form: SentForm,
) -> Result<Response, Refused> {
    visit.operator()?;
    match decided(&visit, &at, &form).await {
        Ok((done, changed)) => Ok(visit.see_other(&path(&at), done, &changed)),
        Err(status) => {
            let (user_id, step) = (form.get("user_id"), form.get("step"));
            let id = |name: &str| match user_id {
                "" => format!("all-{name}-{step}"),
                user_id => format!("{name}-{user_id}"),
            };
            let (reference, reason) = (id("reference"), id("reason"));
            let names = [("provider_reference", &*reference), ("reason_code", &*reason)];
            let (code, sent) = faults::placed(&status, form.sent(), &names);
            payout(&visit, &at, code, Some((user_id, sent))).await
        }
    }
}

async fn decided(
    visit: &Visit,
    (program_id, payout_id): &At,
    form: &SentForm,
) -> Result<(&'static str, String), Status> {
    let (program_id, payout_id) = (program_id.clone(), payout_id.clone());
    let (user_id, request_id) = (form.get("user_id").to_owned(), form.request_id());
    let (provider_reference, reason_code) =
        (form.text("provider_reference"), form.text("reason_code"));
    match form.get("step") {
        "confirm" => {
            let request = pb::ConfirmPayoutRequest {
                program_id,
                payout_id,
                user_id,
                provider_reference,
                request_id,
            };
            let answer = visit.call(request).await?;
            let waits = answer.state() == pb::ApprovalState::Pending;
            let done = if waits { "asked" } else { "payout-decided" };
            Ok((done, answer.consistency_token))
        }
        "return" => {
            let request = pb::ReturnPayoutLineRequest {
                program_id,
                payout_id,
                user_id,
                reason_code,
                provider_reference,
                request_id,
            };
            Ok(("payout-decided", visit.call(request).await?.consistency_token))
        }
        _ => {
            let request = pb::FailPayoutRequest {
                program_id,
                payout_id,
                user_id,
                reason_code,
                request_id,
                provider_reference,
            };
            Ok(("payout-decided", visit.call(request).await?.consistency_token))
        }
    }
}

/// The state in which lines are asked for, with its name; empty for any.
fn chosen_state(visit: &Visit) -> (&'static str, pb::PayoutLineState) {
    let chosen = STATES.iter().find(|(name, ..)| *name == visit.query("state"));
    chosen.map_or(("", pb::PayoutLineState::Unspecified), |(name, state, _)| (name, *state))
}

async fn payout(
    visit: &Visit,
    at: &At,
    code: StatusCode,
    sent: Option<(&str, Sent)>,
) -> Result<Response, Refused> {
    let operator = visit.operator()?;
    let person = visit.person().await?;
    let (program_id, payout_id) = at.clone();
    let (later, since) = (visit.query("page"), visit.changed());
    let (name, state) = chosen_state(visit);
    let (found, lines, approvals) = tokio::join!(
        visit.call(pb::GetPayoutRequest {
            program_id: program_id.clone(),
            payout_id: payout_id.clone(),
            consistency_token: since.clone(),
        }),
        visit.call(pb::ListPayoutLinesRequest {
            program_id: program_id.clone(),
            payout_id: payout_id.clone(),
            state: state.into(),
            page_size: LINES,
            page_token: later.into(),
            consistency_token: since.clone(),
            ..Default::default()
        }),
        visit.call(pb::ListApprovalsRequest {
            state: pb::ApprovalState::Pending.into(),
            program_id: program_id.clone(),
            page_size: APPROVALS,
            consistency_token: since.clone(),
            ..Default::default()
        }),
    );
    let (found, lines, mut approvals) = (found?, lines?, approvals?.approvals);
    approvals.retain(|approval| {
        matches!(&approval.asked, Some(pb::approval::Asked::Payout(of)) if of.payout_id == payout_id)
    });
    let path = path(at);
    let found = found.payout.ok_or(Refused::NotFound)?;
    let people = lines.lines.iter().map(|line| &*line.user_id);
    let people = people.chain(approvals.iter().flat_map(of_approval));
    let reader = knowing(visit, Ids::of(people.chain([user_of(&found.created_by)]))).await;
    let view = View {
        payout: &found,
        lines: &lines.lines,
        chosen: name,
        approvals: &approvals,
        reader_is: &format!("user:{}", operator.user_id),
        keys: &|| visit.command(),
        sent: sent.as_ref().map(|(user_id, sent)| (*user_id, sent)),
        done: text::done(visit.query("done")),
        next: next_page(&path, &[("state", name)], &lines.next_page_token),
        is_later: !later.is_empty(),
        live: Live {
            path: format!("/live/payout/{program_id}/{payout_id}?state={}", found.state),
            token: String::new(),
        },
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(view, &sidebar, &reader)))
}

/// The lines in the state of the query, or all, as a file, as the provider of payments takes them.
pub(super) async fn csv(visit: Visit, Path(at): Path<At>) -> Result<Response, Refused> {
    visit.operator()?;
    let (program_id, payout_id) = at;
    let (suffix, state) = chosen_state(&visit);
    let suffix = if suffix.is_empty() { String::new() } else { format!("-{suffix}") };
    let name = format!("{program_id}-{payout_id}{suffix}.csv");
    let state = state.into();
    let request = pb::ExportPayoutRequest { program_id, payout_id, state, ..Default::default() };
    let chunks = visit.call(request).await?;
    let chunks = chunks.map(|chunk| chunk.map(|chunk| chunk.csv));
    Ok(answers::download(&name, "text/csv; charset=utf-8", Body::from_stream(chunks)))
}
