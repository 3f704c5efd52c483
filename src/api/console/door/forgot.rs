//! Asking for a mail with which one chooses another password.

use axum::response::Response;
use console::pages::door::forgot::{View, page};
use console::parts::Sent;
use http::StatusCode;

use crate::api::console::faults;
use crate::api::console::forms::SentForm;
use crate::api::console::visit::Visit;
use crate::api::pb::RequestPasswordResetRequest;

pub(in crate::api::console) async fn show(visit: Visit) -> Response {
    form(&visit, StatusCode::OK, Sent::default(), false)
}

pub(in crate::api::console) async fn ask(visit: Visit, sent: SentForm) -> Response {
    let request = RequestPasswordResetRequest { login: sent.text("login") };
    match visit.call(request).await {
        Ok(_) => form(&visit, StatusCode::OK, Sent::default(), true),
        Err(status) => {
            let (code, shown) = faults::placed(&status, sent.sent(), &[]);
            form(&visit, code, shown, false)
        }
    }
}

fn form(visit: &Visit, code: StatusCode, sent: Sent, is_done: bool) -> Response {
    let view = View { sent, keys: visit.form(), is_done };
    visit.page_with(code, page(&view, visit.reader()))
}
