//! `/livez` and `/readyz`: for orchestrators and load balancers that do not speak gRPC.

use std::fmt::Write;

use axum::extract::State as Extracted;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::State;
use super::form::Form;

/// The process answers. The database is not checked, because a restart of the process would not repair it.
pub(super) async fn live(headers: HeaderMap) -> Response {
    answer(&headers, StatusCode::OK, "alive", &[], None)
}

/// Reports that the server is ready for calls, or why it is not. A server that is ready may have a warning.
pub(super) async fn ready(Extracted(state): Extracted<State>, headers: HeaderMap) -> Response {
    let reasons = state.readiness.reasons();
    if reasons.is_empty() {
        answer(&headers, StatusCode::OK, "ready", &[], state.readiness.warning())
    } else {
        answer(&headers, StatusCode::SERVICE_UNAVAILABLE, "not ready", &reasons, None)
    }
}

fn answer(
    headers: &HeaderMap,
    code: StatusCode,
    status: &str,
    reasons: &[String],
    warning: Option<String>,
) -> Response {
    match Form::asked_for(headers) {
        Form::Json => {
            let mut body = serde_json::json!({ "status": status, "reasons": reasons });
            if let Some(warning) = warning {
                body["warning"] = warning.into();
            }
            Form::Json.answer(code, format!("{body}\n"))
        }
        Form::Html | Form::Text => {
            let lines = std::iter::once(status).chain(reasons.iter().map(String::as_str));
            let mut text: String = lines.flat_map(|line| [line, "\n"]).collect();
            if let Some(warning) = warning {
                let _ = writeln!(text, "warning: {warning}");
            }
            Form::Text.answer(code, text)
        }
    }
}
