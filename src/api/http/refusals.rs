//! Refusals of requests, in the form that the client accepts.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use tonic::{Code, Status};

use super::form::Form;
use super::media::Grpc;
use super::safe;
use crate::api::errors::status;
use crate::api::pb::ErrorReason;
use crate::api::permissions::route_of;

/// Refuses a request with a problem document (RFC 9457), a page, or a line of text.
pub(in crate::api) fn refuse(headers: &HeaderMap, code: StatusCode) -> Response {
    explain(headers, code, detail(code))
}

/// Refuses a request of a client that has made too many; the next one is admitted after `wait`.
pub(super) fn too_many(headers: &HeaderMap, wait: Duration) -> Response {
    let mut response = refuse(headers, StatusCode::TOO_MANY_REQUESTS);
    response.headers_mut().insert(header::RETRY_AFTER, whole_seconds(wait));
    response
}

/// The value of `Retry-After`: whole seconds, at least one.
pub(in crate::api) fn whole_seconds(wait: Duration) -> HeaderValue {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    HeaderValue::from(seconds.max(1))
}

/// What a code means here, for readers who need more than the code.
fn detail(code: StatusCode) -> &'static str {
    match code {
        StatusCode::NOT_FOUND => "There is nothing here. The page at / says where to go on.",
        StatusCode::METHOD_NOT_ALLOWED => {
            "This cannot be done here with that method. The Allow header names those that can."
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            "This is a gRPC method: send application/grpc or application/grpc+proto over HTTP/2; or send \
             application/grpc-web, application/grpc-web-text, or one of them with +proto, over any HTTP."
        }
        StatusCode::TOO_MANY_REQUESTS => {
            "Too many requests have come from your network. Try again in a moment."
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "All headers together are limited to 16 KiB."
        }
        _ => "",
    }
}

fn explain(headers: &HeaderMap, code: StatusCode, detail: &str) -> Response {
    let title = code.canonical_reason().unwrap_or("Refused");
    let form = Form::asked_for(headers);
    let body = match form {
        Form::Json => {
            let body = serde_json::json!({
                "type": "about:blank",
                "title": title,
                "status": code.as_u16(),
                "detail": detail,
            });
            format!("{body}\n")
        }
        Form::Html => format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <h1>{title}</h1>\n<p>{detail}</p>\n<p><a href=\"/\">Tributary</a></p>\n</html>\n"
        ),
        Form::Text => format!("{title}. {detail}\n"),
    };
    let mut response = form.answer(code, body);
    if form == Form::Json {
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
    }
    safe(response)
}

/// A status as the only content of an answer, in the kind of gRPC that the client speaks.
fn grpc(headers: &HeaderMap, refused: &Status) -> Response {
    let kind = Grpc::of(headers).unwrap_or(Grpc::Plain);
    let mut response = refused.clone().into_http::<tonic::body::Body>().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind.content_type());
    response
}

/// Refuses a request that has not arrived whole.
pub(in crate::api) fn incomplete(headers: &HeaderMap, refused: &Status) -> Response {
    if Grpc::of(headers).is_some() {
        return grpc(headers, refused);
    }
    let code = match refused.code() {
        Code::DeadlineExceeded => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    explain(headers, code, &format!("Error: {}.", refused.message()))
}

/// Refuses a request whose headers are too large.
pub(in crate::api) fn too_large(headers: &HeaderMap, limit_bytes: usize) -> Response {
    if Grpc::of(headers).is_some() {
        let message = format!("the headers are larger than {limit_bytes} bytes");
        let facts: [(&str, &dyn std::fmt::Display); 1] = [("limit_bytes", &limit_bytes)];
        return grpc(headers, &status(ErrorReason::HeadersTooLarge, message, &facts));
    }
    refuse(headers, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

/// Answers a request that is not a gRPC call, to a gRPC service or to an unknown path.
pub(in crate::api) fn not_a_call<B>(request: &Request<B>) -> Response {
    let is_method = route_of(request.uri().path()).is_some();
    let headers = request.headers();
    let is_post = request.method() == Method::POST;
    if Grpc::of(headers).is_some() && (is_post || !is_method) {
        // Only requests over HTTP/1.1, and those to unknown paths, get here.
        return if is_method {
            let detail = "gRPC needs HTTP/2. Over HTTP/1.1, send application/grpc-web.";
            explain(headers, StatusCode::BAD_REQUEST, detail)
        } else {
            let refused = status(ErrorReason::UnknownMethod, "there is no such method", &[]);
            grpc(headers, &refused)
        };
    }
    if !is_method {
        return refuse(headers, StatusCode::NOT_FOUND);
    }
    let (code, name, value) = if is_post {
        let accepted = "application/grpc, application/grpc-web";
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "accept-post", accepted)
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, "allow", "POST")
    };
    let mut response = refuse(headers, code);
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}
