//! Mails: by their state, and sending them again.

use axum::response::Response;
use console::pages::operator::mails::{STATES, View, name, page, path};
use http::StatusCode;

use super::search::find;
use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::participant::next_page;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many mails a page has.
const MAILS: i32 = 50;

pub(super) async fn show(visit: Visit) -> Result<Response, Refused> {
    let user_id = find(&visit, visit.query("user")).await?;
    let user_id = user_id.unwrap_or_else(|| visit.query("user").trim().into());
    list(&visit, &user_id, state(visit.query("state")), StatusCode::OK, None).await
}

pub(super) async fn retry(visit: Visit, form: SentForm) -> Result<Response, Refused> {
    visit.operator()?;
    let (user_id, state) = (form.get("user"), state(form.get("state")));
    match visit.call(pb::RetryMailRequest { mail_id: form.get("mail_id").into() }).await {
        Ok(_) => Ok(visit.see_other(&path(user_id, name(state)), "mailed", "")),
        Err(status) => {
            let told = faults::told(&status);
            list(&visit, user_id, state, faults::code(&status), Some(told)).await
        }
    }
}

/// A state by its name in the address.
fn state(name: &str) -> pb::MailState {
    let found = STATES.iter().find(|(of, _)| *of == name);
    found.map_or(pb::MailState::Unspecified, |(_, state)| *state)
}

async fn list(
    visit: &Visit,
    user_id: &str,
    state: pb::MailState,
    code: StatusCode,
    problem: Option<String>,
) -> Result<Response, Refused> {
    visit.operator()?;
    let person = visit.person().await?;
    let later = visit.query("page");
    let request = pb::ListMailsRequest {
        state: state.into(),
        user_id: user_id.into(),
        page_size: MAILS,
        page_token: later.into(),
        ..Default::default()
    };
    let answer = visit.call(request).await?;
    let chosen = [("user", user_id), ("state", name(state))];
    let view = View {
        mails: &answer.mails,
        state,
        user_id,
        keys: &|| visit.command(),
        problem: problem.as_deref(),
        done: console::text::done(visit.query("done")),
        next: next_page("/o/mails", &chosen, &answer.next_page_token),
        is_later: !later.is_empty(),
    };
    let form_token = visit.form_token();
    let sidebar = person.sidebar(visit, &form_token);
    Ok(visit.page_with(code, page(&view, &sidebar, visit.reader())))
}
