//! Style, script and icon. Their names change with their content, so that browsers keep them for good.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use console::assets::Asset;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::answers::takes_gzip;
use crate::api::http::refusals::refuse;

/// A year.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

pub(super) async fn show(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = Asset::find(&name) else { return refuse(&headers, StatusCode::NOT_FOUND) };
    let is_compressed = takes_gzip(&headers);
    let content = if is_compressed { asset.gzip } else { asset.plain };
    let mut response = content.into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type()));
    answer.insert(header::CACHE_CONTROL, FOR_GOOD);
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_compressed {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
