//! The page at `/`: where to go from here. Programs get what this server is, in the form that they ask for.

use axum::response::Response;
use console::pages::door::front;
use console::pages::participant::path;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::access::Role;
use crate::api::console::answers::Refused;
use crate::api::console::visit::Visit;
use crate::api::http::form::Form;
use crate::api::http::page;

pub(in crate::api::console) async fn show(
    visit: Visit,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let mut response = match Form::asked_for(&headers) {
        Form::Html => of_people(&visit).await?,
        form @ (Form::Json | Form::Text) => form.answer(StatusCode::OK, page::of_programs(form)),
    };
    let answer = response.headers_mut();
    answer.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer.insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

async fn of_people(visit: &Visit) -> Result<Response, Refused> {
    let Ok(signed_in) = visit.signed_in() else {
        let may_register = super::may_register(visit);
        let view = front::View { version: page::VERSION, may_register };
        return Ok(visit.page(front::page(&view, visit.reader())));
    };
    if matches!(signed_in.role, Role::Admin | Role::Operator) {
        return Ok(visit.see_other("/o", visit.query("done"), ""));
    }
    let person = visit.person().await?;
    let home = match person.programs.first() {
        Some(program) => path(&program.program_id, ""),
        None => "/programs".into(),
    };
    Ok(visit.see_other(&home, visit.query("done"), visit.query("at")))
}
