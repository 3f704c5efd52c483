//! What this server is, for programs that ask at `/`. People get the page of the console.

use super::form::Form;

pub(in crate::api) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What this server is, and where to find more.
pub(in crate::api) fn of_programs(form: Form) -> String {
    if form != Form::Json {
        return include_str!("page.txt").replace("{version}", VERSION);
    }
    let body = serde_json::json!({
        "name": "tributary",
        "version": VERSION,
        "api": "gRPC and gRPC-Web on this port, with reflection",
        "health": { "alive": "/livez", "ready": "/readyz" },
    });
    format!("{body}\n")
}
