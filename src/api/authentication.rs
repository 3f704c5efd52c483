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
use super::deadline::{Deadline, Ending, in_time};
use super::errors::{ApiError, status};
use super::guard::denied;
use super::limits::Limits;
use super::one_message::OneMessage;
use super::pb::ErrorReason;
use super::peer::ClientAddress;
use super::permissions::{Route, route_of};
use super::services::COMMANDS;
use super::transport::Arrival;
use crate::access::{Access, Caller, Credential, Principal};

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
/// unknown or have ended. A call that needs none is answered all the same, as a client keeps its key in all calls
/// and may be the last to learn that the key has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnknownCredentials;

/// The status of a call that needs credentials and has unknown ones.
pub(super) fn unknown_credentials() -> Status {
    let message = "the credentials are not known or have ended; log in again, or send 'authorization: Bearer KEY' \
                   with a valid key";
    status(ErrorReason::InvalidCredentials, message, &[])
}

#[derive(Clone)]
pub(super) struct AuthenticationLayer {
    pub(super) access: Access,
    pub(super) limits: Limits,
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = Authentication<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authentication { inner, access: self.access.clone(), limits: self.limits.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Authentication<S> {
    inner: S,
    access: Access,
    limits: Limits,
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Authentication<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The service that was polled ready must be called; the clone replaces it.
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        let (access, limits) = (self.access.clone(), self.limits.clone());
        Box::pin(async move {
            let Admitted { rpc, deadline } = match admit(&access, &limits, &mut request).await {
                Ok(admitted) => admitted,
                Err(status) => return Ok(status.into_http()),
            };
            let key =
                request.extensions().get::<Credential>().filter(|of| of.is_api_key()).cloned();
            let arrival = request.extensions_mut().remove::<Arrival>().unwrap_or_default();
            let Some(rpc) = rpc else {
                // The services of others, whose streams know nothing of deadlines.
                let answer = in_time(deadline, false, ready.call(request)).await?;
                let answer = explained(answer, &arrival);
                let Some(deadline) = deadline else { return Ok(answer) };
                return Ok(answer.map(|body| Body::new(Ending::new(body, deadline))));
            };
            let is_command = COMMANDS.contains(&rpc);
            let request = request.map(|body| Body::new(OneMessage::new(body)));
            let answer = in_time(deadline, is_command, ready.call(request)).await?;
            if let Some(key) = key.filter(|_| lacks_permission(answer.headers())) {
                access.note_refusal(&key);
            }
            Ok(explained(answer, &arrival))
        })
    }
}

/// A call that may go on.
struct Admitted {
    /// The RPC, without the service; `None` for a service that is not of the contract.
    rpc: Option<&'static str>,
    deadline: Option<Deadline>,
}

/// Rejects callers who may not use the RPC, before the request's body is read.
async fn admit<B>(
    access: &Access,
    limits: &Limits,
    request: &mut Request<B>,
) -> Result<Admitted, Status> {
    let path = request.uri().path();
    let Some(route) = route_of(path) else {
        let shown: String = path.escape_default().take(MAX_SHOWN_PATH_CHARS).collect();
        let message = format!("there is no method {shown}");
        return Err(status(ErrorReason::UnknownMethod, message, &[]));
    };
    let deadline = Deadline::of(request.headers())?;
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
    let address = request.extensions().get::<ClientAddress>().copied();
    let counted = match route {
        Route::Rpc(rule) => limits.admit(&principal, address, Some(rule)),
        Route::Open if is_health(path) => Ok(()),
        Route::Open => limits.admit(&principal, address, None),
    };
    if let Err(limited) = counted {
        if let Some(credential) = &credential {
            access.note_refusal(credential);
        }
        return Err(limited.status().await);
    }
    let mut rpc = None;
    if let Route::Rpc(rule) = route {
        rpc = Some(rule.rpc);
        rule.admit_caller(&principal).map_err(|reason| {
            if let Some(credential) = &credential {
                access.note_refusal(credential);
            }
            if is_unknown { unknown_credentials() } else { denied(reason) }
        })?;
    }
    let extensions = request.extensions_mut();
    if is_unknown {
        extensions.insert(UnknownCredentials);
    }
    if let Some(credential) = credential {
        extensions.insert(credential);
    }
    if let Some(deadline) = deadline {
        extensions.insert(deadline);
    }
    extensions.insert(principal);
    Ok(Admitted { rpc, deadline })
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

/// Whether a path is of the health service, which load balancers call as often as they want.
fn is_health(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/")
}

/// Whether a call was refused because the caller lacks a permission. (The status of a call that was answered comes
/// after the answer.)
fn lacks_permission(headers: &HeaderMap) -> bool {
    let status = headers.get("grpc-status");
    status.is_some_and(|status| Code::from_bytes(status.as_bytes()) == Code::PermissionDenied)
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
        // A message that is marked as compressed, without a header that says how.
        Code::Internal if plain.message().contains("compressed-flag") => uncompressed(),
        Code::Internal => {
            status(ErrorReason::MalformedMessage, "the message cannot be decoded", &[])
        }
        Code::Unimplemented if plain.message().is_empty() => {
            status(ErrorReason::UnknownMethod, "there is no such method", &[])
        }
        // The only other status that tonic generates here.
        Code::Unimplemented => uncompressed(),
        _ => return response,
    };
    explained.into_http()
}

fn uncompressed() -> Status {
    status(ErrorReason::UnsupportedCompression, "send messages uncompressed", &[])
}
