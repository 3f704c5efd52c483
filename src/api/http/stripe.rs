//! `POST /webhooks/stripe`: where Stripe tells of payments. There is no such page without the endpoint's secret.
//!
//! The signature is the only credential, so nothing of a body is read before it is checked. Stripe delivers an event
//! again until the answer is 200: that is given once the event is kept and what is due is recorded.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Extracted};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};

use super::State;
use crate::payments::{MAX_BODY_BYTES, WebhookError};

/// The route, if there is an endpoint.
pub(super) fn routes(state: &State) -> Router<State> {
    if !state.context.payments.has_endpoint() {
        return Router::new();
    }
    Router::new()
        .route("/webhooks/stripe", post(receive))
        .route_layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn receive(Extracted(state): Extracted<State>, headers: HeaderMap, body: Bytes) -> Response {
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    let (code, text) = match state.context.payments.receive(signature, &body).await {
        Ok(()) => (StatusCode::OK, "received\n".to_owned()),
        Err(WebhookError::Failed(error)) => {
            tracing::warn!(%error, "an event of Stripe could not be taken in; Stripe sends it again");
            (StatusCode::SERVICE_UNAVAILABLE, "not now; send it again\n".to_owned())
        }
        Err(
            error @ (WebhookError::Unsigned
            | WebhookError::Signature(_)
            | WebhookError::Malformed(_)),
        ) => {
            // Names a field at most, never what is in it.
            tracing::warn!(%error, "a request to the endpoint of Stripe was refused");
            (StatusCode::BAD_REQUEST, format!("{error}\n"))
        }
    };
    (code, text).into_response()
}
