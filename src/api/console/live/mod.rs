//! What pages follow: streams of server-sent events, whose ids are the tokens of our own streams. A browser that comes
//! back goes on after the last id that it has seen, with neither a gap nor a repetition.
//!
//! A message is one of five, as `console/assets/live.js` says: `part` has elements for the page, `beat` says that the
//! stream is alive, `reload` that the page has to be fetched again, `wait` that other pages of the session have taken
//! its place, and `end` where to go as the session has ended. A stream that ends otherwise is opened again by the page.

pub(super) mod fraud;
mod leaderboard;
mod log;
mod overview;
mod participant;
mod payout;
pub(super) mod places;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::visit::Visit;
use super::{Console, faults};
use crate::api::http::refusals::whole_seconds;
use crate::api::pb::ErrorReason;

/// How many messages may wait for one browser.
const QUEUED_MESSAGES: usize = 16;
/// The longest token that is taken, in bytes.
const MAX_TOKEN_BYTES: usize = 256;

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/live/participant/{program}", get(participant::follow))
        .route("/live/earnings/{program}", get(participant::follow_earnings))
        .route("/live/leaderboard/{program}", get(leaderboard::follow))
        .route("/live/log", get(log::follow))
        .route("/live/overview", get(overview::follow))
        .route("/live/fraud", get(fraud::follow))
        .route("/live/payout/{program}/{payout}", get(payout::follow))
        .route("/live/fraud/{flag}", get(fraud::follow_one))
        .route_layer(from_fn(places::bounded))
}

/// The token after which a stream goes on: the id of the last message, or what the page says.
fn resume_token(visit: &Visit, headers: &HeaderMap) -> String {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let token = last.filter(|token| !token.is_empty()).unwrap_or(visit.query("resume_token"));
    if token.len() <= MAX_TOKEN_BYTES { token.into() } else { String::new() }
}

/// Where the messages of a stream are put.
struct Messages(mpsc::Sender<Bytes>);

/// The browser has gone.
struct Gone;

impl Messages {
    /// Elements for the page. `token` is what the page shows from then on.
    async fn part(&self, html: String, token: &str) -> Result<(), Gone> {
        self.send(event("part", &html, token)).await
    }

    /// The stream is alive.
    async fn beat(&self, token: &str) -> Result<(), Gone> {
        self.send(event("beat", "", token)).await
    }

    /// The page has to be fetched again.
    async fn reload(&self) -> Result<(), Gone> {
        self.send(event("reload", "", "")).await
    }

    async fn send(&self, message: String) -> Result<(), Gone> {
        self.0.send(message.into()).await.map_err(|_| Gone)
    }

    /// The last message, about why a stream has ended; none if the page should just come back.
    async fn last(&self, visit: &Visit, status: &Status) {
        if let Some(message) = last(visit, status) {
            let _ = self.send(message).await;
        }
    }

    /// Resolves when the browser has gone.
    async fn gone(&self) {
        self.0.closed().await;
    }
}

/// A message.
fn event(name: &str, data: &str, id: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!("id: {id}\n") };
    let data = data.replace("\r\n", "\n").replace(['\r', '\n'], "\ndata: ");
    format!("{id}event: {name}\ndata: {data}\n\n")
}

/// The message about why a stream has ended, or cannot begin.
fn last(visit: &Visit, status: &Status) -> Option<String> {
    let is = |reason| faults::is(status, reason);
    if status.code() == Code::Unauthenticated {
        Some(event("end", &visit.reader().to("/sign-in?ended=1"), ""))
    } else if is(ErrorReason::TokenOfOldEpoch)
        || is(ErrorReason::TokenAheadOfLog)
        || is(ErrorReason::InvalidField)
        || is(ErrorReason::InvalidResumeToken)
    {
        Some(event("reload", "", ""))
    } else {
        None
    }
}

/// Answers with a stream that `feed` fills.
fn stream<F>(feed: impl FnOnce(Messages) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUED_MESSAGES);
    tokio::spawn(feed(Messages(sender)));
    // The first bytes go out at once, so that the browser knows that it is connected.
    let begun = tokio_stream::once(Bytes::from_static(b":\n\n"));
    let messages = begun.chain(ReceiverStream::new(receiver)).map(Ok::<_, Infallible>);
    answer(Body::from_stream(messages))
}

/// Answers that a stream cannot begin. Browsers do not tell the script the code of an answer, so that what it has to
/// know is a message.
fn cannot_begin(visit: &Visit, status: &Status) -> Response {
    match last(visit, status) {
        Some(message) => answer(Body::from(message)),
        None if status.code() == Code::NotFound => StatusCode::NOT_FOUND.into_response(),
        None if is_of_caller(status) => {
            let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
            too_many(wait.unwrap_or_default())
        }
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Whether a status is about what the caller may do, and not about what the server can do now.
fn is_of_caller(status: &Status) -> bool {
    let details = status.get_error_details();
    let limit_of = details.error_info().and_then(|info| info.metadata.get("limit_of"));
    faults::is(status, ErrorReason::RateLimited)
        || faults::is(status, ErrorReason::TooManyStreams)
            && limit_of.is_some_and(|limit_of| limit_of == "caller")
}

/// The answer to somebody who has as much as they may have.
fn too_many(wait: Duration) -> Response {
    let retry_after = [(header::RETRY_AFTER, whole_seconds(wait))];
    (StatusCode::TOO_MANY_REQUESTS, retry_after).into_response()
}

/// The answer to somebody who has not signed in, or may not follow this.
fn ended(visit: &Visit) -> Response {
    answer(Body::from(event("end", &visit.reader().to("/sign-in?ended=1"), "")))
}

fn answer(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Proxies pass on what they get, when they get it.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::errors::status;

    #[test]
    fn a_message_has_its_id_and_every_line_of_its_data() {
        assert_eq!(
            event("part", "<p>a\nb</p>", "t1"),
            "id: t1\nevent: part\ndata: <p>a\ndata: b</p>\n\n"
        );
        assert_eq!(event("beat", "", ""), "event: beat\ndata: \n\n");
    }

    #[test]
    fn a_limit_of_the_caller_is_not_a_fault_of_the_server() {
        let refused = |reason, limit_of: &str| {
            is_of_caller(&status(reason, "refused", &[("limit_of", &limit_of)]))
        };
        assert!(refused(ErrorReason::TooManyStreams, "caller"));
        assert!(refused(ErrorReason::RateLimited, ""));
        assert!(!refused(ErrorReason::TooManyStreams, "server"));
        assert!(!refused(ErrorReason::QueueFull, "caller"));
    }
}
