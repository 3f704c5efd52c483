//! Redemptions: what is to be handed over, and saying that it was, or is not going to be.

use axum::response::Response;
use console::pages::operator::redemptions::{STATES, View, page};
use console::text;
use http::StatusCode;

use super::names::{Ids, knowing_items};
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::{next_page, with_query};
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many redemptions a page has.
const REDEMPTIONS: i32 = 50;
const PATH: &str = "/o/items/redemptions";

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    let wanted = visit.query("state");
    list(&visit, wanted, StatusCode::OK, None).await
}

pub(super) async fn decide(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let request_id = form.request_id();
    let program_id = form.get("program_id").to_owned();
    let redemption_id = form.get("redemption_id").to_owned();
    let outcome = if form.get("step") == "fulfil" {
        let request = pb::FulfilRedemptionRequest { request_id, program_id, redemption_id };
        visit.call(request).await.map(|done| ("fulfilled", done.consistency_token))
    } else {
        let request = pb::CancelRedemptionRequest { request_id, program_id, redemption_id };
        visit.call(request).await.map(|done| ("cancelled", done.consistency_token))
    };
    match outcome {
        Ok((done, changed)) => {
            let path = with_query(PATH, &[("state", chosen(form.get("state")).0)]);
            Ok(visit.see_other(&path, done, &changed))
        }
        Err(status) => {
            let problem = Some(faults::told(&status));
            list(&visit, form.get("state"), faults::code(&status), problem).await
        }
    }
}

fn chosen(wanted: &str) -> (&'static str, pb::RedemptionState) {
    let (name, state, _) = STATES.iter().find(|(name, ..)| *name == wanted).unwrap_or(&STATES[0]);
    (name, *state)
}

async fn list(
    visit: &Visit,
    wanted: &str,
    code: StatusCode,
    problem: Option<String>,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let later = visit.query("page");
    let (name, state) = chosen(wanted);
    let request = pb::ListRedemptionsRequest {
        state: state.into(),
        page_size: REDEMPTIONS,
        page_token: later.into(),
        consistency_token: visit.changed(),
        ..Default::default()
    };
    let answer = visit.call(request).await?;
    let people = Ids::of(answer.redemptions.iter().map(|of| &*of.user_id));
    let programs = Ids::of(answer.redemptions.iter().map(|of| &*of.program_id));
    let reader = knowing_items(visit, people, programs).await;
    let view = View {
        redemptions: &answer.redemptions,
        chosen: name,
        keys: &|| visit.command(),
        problem: problem.as_deref(),
        done: text::done(visit.query("done")),
        next: next_page(PATH, &[("state", name)], &answer.next_page_token),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, &reader)))
}
