//! What the port answers besides gRPC. The router built here is the outermost one: gRPC services are routes
//! of it, with their layers inside.
//!
//! - [`health`] reports whether the server is alive and ready, [`page`] says at `/` what this is.
//! - [`account_pages`] are what the links in mails lead to.
//! - [`public_keys`] are those of access tokens.
//! - [`stripe`] is where Stripe tells of payments.
//! - [`unsubscribe`] is the page by which people switch mails off.
//! - Pages for people are in [`console`].
//! - [`form`] determines the form of answer that a client accepts, [`media`] whether it speaks gRPC, and
//!   [`refusals`] refuses requests in that form.

mod account_pages;
pub(super) mod form;
mod health;
pub(super) mod media;
pub(super) mod page;
mod public_keys;
pub(super) mod refusals;
mod stripe;
mod unsubscribe;

use axum::Router;
use axum::extract::{Request, State as Extracted};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tonic::body::Body;
use tower::ServiceExt;

use self::form::Form;
use self::media::Grpc;
use super::Context;
use super::console::{self, Console};
use super::grpc::{Layers, UnknownMethod};
use super::limits::{SHOW_PAGE, UNSUBSCRIBE};
use super::peer::ClientAddress;
use super::readiness::Readiness;
use crate::access::Access;
use crate::mails::unsubscribing::Unsubscribing;
use crate::store::Database;

/// Every route that is not gRPC. To add one, write a file beside this one and add its handler here. Security
/// headers, HEAD, 404 and 405 are handled for all routes.
fn routes(state: State) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/.well-known/jwks.json", get(public_keys::show))
        .merge(linked_pages(&state))
        .merge(stripe::routes(&state))
        .with_state(state.clone())
        .merge(console::routes(state.console))
}

/// The pages that mails link to. Everybody may open them, so requests for them are counted as calls of open RPCs are.
fn linked_pages(state: &State) -> Router<State> {
    let counting = from_fn_with_state(state.clone(), counted);
    account_pages::routes()
        .route("/unsubscribe", get(unsubscribe::show).post(unsubscribe::unsubscribe))
        .route_layer(counting)
}

/// Counts a request for a page before it is answered.
async fn counted(Extracted(state): Extracted<State>, request: Request, next: Next) -> Response {
    let does = match (request.method(), request.uri().path()) {
        (&Method::POST, "/confirm-email") => "ConfirmEmail",
        (&Method::POST, "/reset-password") => "ResetPassword",
        (&Method::POST, _) => UNSUBSCRIBE,
        _ => SHOW_PAGE,
    };
    let address = request.extensions().get::<ClientAddress>().copied();
    match state.context.limits.admit_page(address, does) {
        Ok(()) => next.run(request).await,
        Err(limited) => refusals::too_many(request.headers(), limited.pause().await),
    }
}

/// The state of the handlers.
#[derive(Clone)]
pub(super) struct State {
    pub(super) readiness: Readiness,
    pub(super) access: Access,
    pub(super) database: Database,
    pub(super) unsubscribing: Unsubscribing,
    pub(super) context: Context,
    pub(super) console: Console,
}

/// The outermost router: the routes above, the gRPC services, and an answer to everything else.
pub(super) fn router(state: State, grpc: Router, layers: &Layers) -> Router {
    let unknown = layers.wrap(UnknownMethod);
    let nothing = console::nothing(state.console.clone());
    let unknown_method = async move |request: Request| {
        let Ok(response) = if is_of_person(&request) {
            nothing.oneshot(request).await
        } else {
            unknown.oneshot(request.map(Body::new)).await.map(IntoResponse::into_response)
        };
        response
    };
    let wrong_method = unknown_method.clone();
    let wrong_method = async move |request: Request| {
        if Grpc::of(request.headers()).is_some() {
            wrong_method(request).await
        } else {
            refusals::refuse(request.headers(), StatusCode::METHOD_NOT_ALLOWED)
        }
    };
    routes(state)
        .layer(map_response(async |response: Response| safe(response)))
        .method_not_allowed_fallback(wrong_method)
        .merge(grpc)
        .fallback(unknown_method)
}

/// Whether somebody looks for a page.
fn is_of_person(request: &Request) -> bool {
    let headers = request.headers();
    matches!(*request.method(), Method::GET | Method::HEAD)
        && Grpc::of(headers).is_none()
        && Form::asked_for(headers) == Form::Html
}

/// Headers that keep browsers from misusing an answer. A handler that needs others sets them itself.
const SAFE_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

fn safe(mut response: Response) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    for (name, value) in SAFE_HEADERS {
        headers.entry(name).or_insert(value);
    }
    response
}
