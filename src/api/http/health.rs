//! `/livez` and `/readyz`: for orchestrators and load balancers that do not speak gRPC.

use axum::extract::State as Extracted;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::State;
use super::form::Form;

/// The process answers. The database is not checked, because a restart of the process would not repair it.
pub(super) async fn live(headers: HeaderMap) -> Response {
    answer(&headers, StatusCode::OK, "alive", &[])
}

/// Reports that the server is ready for calls, or why it is not.
pub(super) async fn ready(Extracted(state): Extracted<State>, headers: HeaderMap) -> Response {
    let reasons = state.readiness.reasons();
    if reasons.is_empty() {
        answer(&headers, StatusCode::OK, "ready", &[])
    } else {
        answer(&headers, StatusCode::SERVICE_UNAVAILABLE, "not ready", &reasons)
    }
}

fn answer(headers: &HeaderMap, code: StatusCode, status: &str, reasons: &[String]) -> Response {
    match Form::asked_for(headers) {
        Form::Json => {
            let body = serde_json::json!({ "status": status, "reasons": reasons });
            Form::Json.answer(code, format!("{body}\n"))
        }
        Form::Html | Form::Text => {
            let lines = std::iter::once(status).chain(reasons.iter().map(String::as_str));
            let text: String = lines.flat_map(|line| [line, "\n"]).collect();
            Form::Text.answer(code, text)
        }
    }
}
