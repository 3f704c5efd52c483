//! The layer that every call passes. It identifies the caller and checks whether the caller may use the RPC
//! at all. Access to the data of a user is checked once the message is known (`guard`). The layer also
//! converts the statuses that tonic generates to the form of all other statuses.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response, header};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::MAX_MESSAGE_BYTES;
use super::deadline::{in_time, timeout};
use super::errors::{ApiError, status};
use super::guard::denied;
use super::pb::ErrorReason;
use super::permissions::{Route, route_of};
use super::transport::Arrival;
use crate::access::{Access, Caller, Principal};

/// How much of an unknown path is repeated in the answer, in characters.
const MAX_SHOWN_PATH_CHARS: usize = 100;

/// The credential that the headers carry.
fn presented(headers: &HeaderMap) -> Presented<'_> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Presented::Nothing };
    // Proxies and servers differ in which of two headers they take.
    if values.next().is_some() {
        return Presented::Several;
    }
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map_or(Presented::Malformed, |(_, credential)| Presented::Credential(credential.trim()))
}

/// What a caller presents.
enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// The text of a credential.
    Credential(&'a str),
    /// A header that is not of the form `Bearer KEY`.
    Malformed,
    /// More than one header with credentials.
    Several,
}

/// Among the extensions of a request by an anonymous caller: the caller presented credentials, but they are
/// unknown or have ended. A call that needs none is answered all the same, as a client keeps its key in all calls and may be the
/// last to learn that the key has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnknownCredentials;

/// The status of a call that needs credentials and has unknown ones.
pub(super) fn unknown_credentials() -> Status {
    let message = "the key is not known; send 'authorization: Bearer KEY' with a valid one";
    status(ErrorReason::InvalidCredentials, message, &[])
}

#[derive(Clone)]
pub(super) struct AuthenticationLayer {
    pub(super) access: Access,
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = Authentication<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authentication { inner, access: self.access.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Authentication<S> {
    inner: S,
    access: Access,
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, B> Service<Request<B>> for Authentication<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was polled ready must be called; the clone replaces it.
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        let access = self.access.clone();
        Box::pin(async move {
            if let Err(status) = admit(&access, &mut request).await {
                return Ok(status.into_http());
            }
            let timeout = timeout(request.headers());
            let arrival = request.extensions_mut().remove::<Arrival>().unwrap_or_default();
            Ok(explained(in_time(timeout, ready.call(request)).await?, &arrival))
        })
    }
}

/// Rejects callers who may not use the RPC, before the request's body is read.
async fn admit<B>(access: &Access, request: &mut Request<B>) -> Result<(), Status> {
    let path = request.uri().path();
    let Some(route) = route_of(path) else {
        let shown: String = path.escape_default().take(MAX_SHOWN_PATH_CHARS).collect();
        let message = format!("there is no method {shown}");
        return Err(status(ErrorReason::UnknownMethod, message, &[]));
    };
    let identified = match presented(request.headers()) {
        Presented::Nothing => Identified::Anonymous,
        Presented::Malformed => Identified::Unknown,
        Presented::Several => {
            let message = "there are several authorization headers; send one";
            return Err(status(ErrorReason::InvalidCredentials, message, &[]));
        }
        Presented::Credential(credential) => match access.identify(credential).await {
            Ok(Some(caller)) => Identified::Known(caller),
            Ok(None) => Identified::Unknown,
            // Who needs no credentials to call is answered without them.
            Err(_) if route.is_open() => Identified::Unknown,
            Err(unavailable) => return Err(ApiError::from(unavailable).into()),
        },
    };
    let is_unknown = matches!(identified, Identified::Unknown);
    let (principal, credential) = match identified {
        Identified::Known(Caller { principal, credential }) => (principal, Some(credential)),
        Identified::Anonymous | Identified::Unknown => (Principal::Anonymous, None),
    };
    if let Route::Rpc(rule) = route {
        let admitted = rule.admit_caller(&principal);
        admitted
            .map_err(|reason| if is_unknown { unknown_credentials() } else { denied(reason) })?;
    }
    let extensions = request.extensions_mut();
    if is_unknown {
        extensions.insert(UnknownCredentials);
    }
    if let Some(credential) = credential {
        extensions.insert(credential);
    }
    extensions.insert(principal);
    Ok(())
}

/// Who the caller turned out to be.
enum Identified {
    /// A caller with valid credentials.
    Known(Caller),
    /// A caller with credentials that are malformed, unknown or have ended.
    Unknown,
    /// A caller without credentials.
    Anonymous,
}

/// Replaces the statuses that tonic generates for messages that it cannot decode, or that did not arrive.
fn explained(response: Response<Body>, arrival: &Arrival) -> Response<Body> {
    let headers = response.headers();
    if headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let Some(plain) = Status::from_header_map(headers) else { return response };
    if let Some(failed) = arrival.failed() {
        return failed.into_http();
    }
    let explained = match plain.code() {
        Code::OutOfRange => status(
            ErrorReason::MessageTooLarge,
            format!("the message is larger than {MAX_MESSAGE_BYTES} bytes"),
            &[("limit_bytes", &MAX_MESSAGE_BYTES)],
        ),
        Code::Internal => {
            status(ErrorReason::MalformedMessage, "the message cannot be decoded", &[])
        }
        Code::Unimplemented if plain.message().is_empty() => {
            status(ErrorReason::UnknownMethod, "there is no such method", &[])
        }
        // The only other status that tonic generates here.
        Code::Unimplemented => {
            status(ErrorReason::UnsupportedCompression, "send messages uncompressed", &[])
        }
        _ => return response,
    };
    explained.into_http()
}
