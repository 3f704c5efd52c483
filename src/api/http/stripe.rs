//! `POST /webhooks/stripe`: where Stripe tells of payments. Without the endpoint's secret it only says which setting is
//! missing.
//!
//! The signature is the only credential, so nothing of a body is read before it is checked. Stripe delivers an event
//! again until the answer is 200: that is given once the event is kept and what is due is recorded. What has begun is
//! done to its end, also if Stripe hangs up.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State as Extracted};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use http::{HeaderMap, StatusCode};

use super::{State, refusals};
use crate::payments::{MAX_BODY_BYTES, WebhookError, to_the_end};

const PATH: &str = "/webhooks/stripe";

/// What whoever sends an event without success finds in the answer, such as on the page of the event at Stripe.
const NOT_SET_UP: &str = "This server takes no events of Stripe, since STRIPE_WEBHOOK_SECRET is not set. Set it to the \
    signing secret of the endpoint at Stripe (whsec_...), and start the server again.";

/// What to do about an event that is too large. Those that are read have some kilobytes.
const TOO_LARGE: &str =
    "The events that are read here are far smaller: choose no others for the endpoint at Stripe.";

/// The route.
pub(super) fn routes(state: &State) -> Router<State> {
    if !state.context.payments.has_endpoint() {
        return Router::new().route(PATH, any(not_set_up));
    }
    Router::new().route(PATH, post(receive)).route_layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn not_set_up(headers: HeaderMap) -> Response {
    refusals::not_set_up(&headers, NOT_SET_UP)
}

async fn receive(
    Extracted(state): Extracted<State>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            tracing::warn!(
                limit_bytes = MAX_BODY_BYTES,
                "a request to the endpoint of Stripe was too large"
            );
            return refusals::body_too_large(&headers, MAX_BODY_BYTES, TOO_LARGE);
        }
        Err(rejection) => return rejection.into_response(),
    };
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    let (payments, signature) = (state.context.payments.clone(), signature.map(str::to_owned));
    let receiving = async move { payments.receive(signature.as_deref(), &body).await };
    let (code, text) = match to_the_end(receiving).await {
        Ok(taken) => (StatusCode::OK, format!("{taken}\n")),
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
