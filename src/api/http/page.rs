//! The page at `/`: what this server is, and where to find more.

use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::form::Form;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn show(headers: HeaderMap) -> Response {
    let form = Form::asked_for(&headers);
    let page = match form {
        Form::Html => include_str!("page.html").replace("{version}", VERSION),
        Form::Text => include_str!("page.txt").replace("{version}", VERSION),
        Form::Json => {
            let body = serde_json::json!({
                "name": "tributary",
                "version": VERSION,
                "api": "gRPC and gRPC-Web on this port, with reflection",
                "health": { "alive": "/livez", "ready": "/readyz" },
            });
            format!("{body}\n")
        }
    };
    form.answer(StatusCode::OK, page)
}
