//! Signing in, by a password or by the link that `dev` prints.

use axum::response::Response;
use console::pages::door::sign_in::{View, page};
use console::parts::Sent;
use console::text::{door as words, faults as fault_words};
use http::{HeaderMap, Method, StatusCode};

use crate::api::console::answers::Refused;
use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::session::next;
use crate::api::console::visit::Visit;
use crate::api::pb::{ErrorReason, LoginRequest};
use crate::api::visits::is_ahead;

pub(in crate::api::console) async fn show(
    visit: Visit,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let once = visit.query("once");
    if !once.is_empty() {
        return by_link(&visit, once, &method, &headers).await;
    }
    let next = next(visit.query("next"))?;
    if visit.signed_in().is_ok() {
        return Ok(visit.see_other(next, "", ""));
    }
    let said = match (visit.query("ended"), visit.query("out"), visit.query("erased")) {
        ("1", _, _) => Some((words::ENDED, false)),
        (_, "1", _) => Some((words::SIGNED_OUT, true)),
        (_, _, "1") => Some((words::ERASED, true)),
        _ => None,
    };
    Ok(form(&visit, StatusCode::OK, View { next, said, ..View::default() }))
}

/// Signs in with a link, which is good once. Opening it ahead, as browsers do on their own, does not use it up.
async fn by_link(
    visit: &Visit,
    token: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    if is_ahead(method, headers) {
        return Ok(visit.page_with(StatusCode::NO_CONTENT, String::new()));
    }
    let context = visit.console().context();
    let dev = context.settings.dev_pages.as_ref();
    let request = dev.and_then(|dev| dev.use_link(token));
    let view = View { said: Some((words::LINK_USED, false)), ..View::default() };
    match request {
        Some(request) => match visit.sign_in(request, "/", "").await {
            Ok(response) => Ok(response),
            Err(_) => Ok(form(visit, StatusCode::FORBIDDEN, view)),
        },
        None => Ok(form(visit, StatusCode::GONE, view)),
    }
}

pub(in crate::api::console) async fn sign_in(
    visit: Visit,
    sent: SentForm,
) -> Result<Response, Refused> {
    let next = next(sent.get("next"))?;
    let request = LoginRequest {
        login: sent.text("login"),
        password: sent.get("password").into(),
        second_factor_code: sent.text("second_factor_code"),
        ..Default::default()
    };
    let status = match visit.sign_in(request, next, "").await {
        Ok(response) => return Ok(response),
        Err(status) => status,
    };
    let is = |reason| faults::is(&status, reason);
    let asks = is(ErrorReason::SecondFactorRequired) || is(ErrorReason::SecondFactorWrong);
    let (code, mut shown) = faults::placed(&status, sent.sent(), &[]);
    if is(ErrorReason::InvalidField) {
        // What cannot be a login or a password is wrong like any other.
        shown = Sent { problem: Some(fault_words::LOGIN.into()), ..sent.sent() };
    }
    if is(ErrorReason::SecondFactorRequired) {
        shown.faults.clear();
    }
    let second_factor = asks.then(|| sent.get("password"));
    Ok(form(&visit, code, View { sent: shown, next, second_factor, ..View::default() }))
}

fn form(visit: &Visit, code: StatusCode, view: View<'_>) -> Response {
    let view = View {
        keys: visit.form(),
        may_register: super::may_register(visit),
        next: if view.next == "/" { "" } else { view.next },
        ..view
    };
    visit.page_with(code, page(&view, visit.reader()))
}
