//! Which web pages may call the API from a browser (CORS, the Fetch standard).
//!
//! Only gRPC-Web is shared with other origins: browsers cannot speak plain gRPC, and the answers of the few HTTP
//! routes are for people and load balancers. Calls carry their credentials in a header that pages set themselves, so
//! cookies stay out of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use tonic::body::Body;
use url::Url;

/// The headers of gRPC-Web and of tracing that a page may send.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, grpc-timeout, traceparent, tracestate, x-grpc-web, x-user-agent",
);
/// The headers with the outcome of a call that a page may read.
const EXPOSED_HEADERS: HeaderValue =
    HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");
/// How long a browser may remember the answer to a preflight, in seconds: the longest that browsers accept.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");

/// An origin as browsers send it, such as `https://app.example.com` or `http://localhost:3000`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let origin = Url::parse(text).ok().filter(|url| {
            // A browser sends no wildcard.
            matches!(url.scheme(), "http" | "https") && !text.contains('*')
        });
        let exact = origin.map(|url| url.origin().ascii_serialization());
        match exact {
            Some(exact) if exact == text => Ok(Self(exact)),
            Some(exact) => {
                Err(format!("'{text}' is not an origin as browsers send it; write {exact}"))
            }
            None => Err(format!("'{text}' is not an origin such as https://app.example.com")),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The origins whose pages may call the API. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<[HeaderValue]>);

impl FromIterator<Origin> for Origins {
    fn from_iter<I: IntoIterator<Item = Origin>>(origins: I) -> Self {
        // An origin is ASCII, so each of them is a header.
        let headers =
            origins.into_iter().filter_map(|Origin(text)| HeaderValue::try_from(text).ok());
        Self(headers.collect())
    }
}

/// The origin of a page that may call the API.
pub(super) struct Allowed(HeaderValue);

impl Origins {
    /// Whether no web page may call the API.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The origin of a request, if its pages may call the API.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<Allowed> {
        if self.0.is_empty() {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        self.0.contains(origin).then(|| Allowed(origin.clone()))
    }

    /// The answer to a browser that asks whether a page may make a call; none to any other request.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let headers = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let Allowed(origin) = self.of(headers).filter(|_| is_preflight)?;
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        answer.headers_mut().extend([
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST")),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S),
            (header::VARY, HeaderValue::from_static("origin")),
        ]);
        Some(answer)
    }
}

impl Allowed {
    /// The answer to a call, readable for the page that made it.
    pub(super) fn share<B>(self, mut answer: Response<B>) -> Response<B> {
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.0);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_exactly_as_browsers_send_it() {
        for good in ["https://app.example.com", "http://localhost:3000", "https://[::1]:8443"] {
            assert_eq!(good.parse::<Origin>().map(String::from), Ok(good.to_owned()));
        }
        for (bad, right) in [
            ("https://app.example.com/", Some("https://app.example.com")),
            ("https://app.example.com/page", Some("https://app.example.com")),
            ("https://App.Example.com", Some("https://app.example.com")),
            ("https://app.example.com:443", Some("https://app.example.com")),
            ("https://bücher.example", Some("https://xn--bcher-kva.example")),
            ("*", None),
            ("null", None),
            ("app.example.com", None),
            ("https://*", None),
            ("ftp://app.example.com", None),
            ("file:///tmp", None),
            ("", None),
        ] {
            let refused = bad.parse::<Origin>();
            match (refused, right) {
                (Err(message), Some(right)) => assert!(message.ends_with(right), "{message}"),
                (Err(message), None) => assert!(message.contains("such as"), "{message}"),
                (Ok(origin), _) => panic!("{bad} is {origin}"),
            }
        }
    }
}
