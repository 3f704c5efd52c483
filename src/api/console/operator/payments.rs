//! Payments of which something waits: an operator says who bought, or has seen what nothing can settle.

use axum::response::Response;
use console::pages::operator::payments::{View, page};
use http::StatusCode;

use super::search::find;
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb::{self, ErrorReason};

/// How many payments a page has.
const PAYMENTS: i32 = 50;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    list(&visit, StatusCode::OK, None).await
}

pub(super) async fn attach(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let buyer = find(&visit, form.get("buyer")).await?;
    let Some(buyer_user_id) = buyer else {
        let said = console::text::faults::reason(ErrorReason::UserNotFound);
        return list(&visit, StatusCode::UNPROCESSABLE_ENTITY, said.map(str::to_owned)).await;
    };
    let payment_id = form.get("payment_id").into();
    let request =
        pb::AttachPaymentRequest { payment_id, buyer_user_id, acknowledged_issue_ids: Vec::new() };
    change(&visit, request, "attached").await
}

pub(super) async fn acknowledge(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let request = pb::AttachPaymentRequest {
        payment_id: form.get("payment_id").into(),
        buyer_user_id: String::new(),
        // What the page has shown: what has come since is listed still.
        acknowledged_issue_ids: form.get("issues").split_whitespace().map(Into::into).collect(),
    };
    change(&visit, request, "seen").await
}

async fn change(
    visit: &Visit,
    request: pb::AttachPaymentRequest,
    done: &str,
) -> Result<Response, Refused> {
    match visit.call(request).await {
        Ok(changed) => Ok(visit.see_other("/o/payments", done, &changed.consistency_token)),
        Err(status) => list(visit, faults::code(&status), Some(faults::told(&status))).await,
    }
}

async fn list(
    visit: &Visit,
    code: StatusCode,
    problem: Option<String>,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let later = visit.query("page");
    let request =
        pb::ListUnmatchedPaymentsRequest { page_size: PAYMENTS, page_token: later.into() };
    let answer = visit.call(request).await?;
    let view = View {
        payments: &answer.payments,
        keys: &|| visit.command(),
        problem: problem.as_deref(),
        done: console::text::done(visit.query("done")),
        next: next_page("/o/payments", &[], &answer.next_page_token),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, visit.reader())))
}
