//! `/.well-known/jwks.json`: the public keys of access tokens, for others who verify them.

use axum::extract::State as Extracted;
use axum::response::{IntoResponse, Response};
use http::header;

use super::State;

/// How long others may keep the keys. A key that is to sign is added behind the old one longer before.
const CACHE: &str = "public, max-age=300";

const CONTENT_TYPE: &str = "application/jwk-set+json";

pub(super) async fn show(Extracted(state): Extracted<State>) -> Response {
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, CACHE)];
    (headers, state.access.public_keys().to_string()).into_response()
}
