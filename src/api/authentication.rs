//! The layer that every call passes. It identifies the caller and checks whether the caller may use the RPC
//! at all. Access to the data of a user is checked once the message is known (`guard`). The layer also
//! converts the statuses that tonic generates to the form of all other statuses.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response, header};
use sha2::{Digest, Sha256};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::MAX_MESSAGE_BYTES;
use super::errors::status;
use super::guard::denied;
use super::pb::ErrorReason;
use super::permissions::{Route, route_of};
use super::principal::Principal;

/// How much of an unknown path is repeated in the answer, in characters.
const MAX_SHOWN_PATH_CHARS: usize = 100;

/// The keys that are accepted.
#[derive(Clone)]
pub(super) struct Keys {
    /// The hash of the admin key. Hashes are compared, so that the time of the comparison reveals nothing
    /// about the key.
    admin: Arc<[u8; 32]>,
}

impl Keys {
    pub(super) fn new(admin_key: &str) -> Self {
        Self { admin: Arc::new(Sha256::digest(admin_key).into()) }
    }

    /// The caller; `None` if the credentials are unknown, which differs from having none.
    fn principal(&self, headers: &HeaderMap) -> Option<Principal> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Some(Principal::Anonymous);
        };
        let key = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())?;
        let is_admin = <[u8; 32]>::from(Sha256::digest(key)) == *self.admin;
        is_admin.then_some(Principal::ADMIN_KEY)
    }
}

#[derive(Clone)]
pub(super) struct AuthenticationLayer {
    pub(super) keys: Keys,
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = Authentication<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authentication { inner, keys: self.keys.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Authentication<S> {
    inner: S,
    keys: Keys,
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
        match self.admit(&request) {
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
            Ok(principal) => {
                request.extensions_mut().insert(principal);
                // The service that was polled ready must be called; the clone replaces it.
                let clone = self.inner.clone();
                let mut ready = std::mem::replace(&mut self.inner, clone);
                Box::pin(async move { Ok(explained(ready.call(request).await?)) })
            }
        }
    }
}

impl<S> Authentication<S> {
    /// Rejects callers who may not use the RPC, before the request's body is read.
    #[allow(clippy::result_large_err, reason = "a status is what callers return")]
    fn admit<B>(&self, request: &Request<B>) -> Result<Principal, Status> {
        let path = request.uri().path();
        let Some(route) = route_of(path) else {
            let shown: String = path.escape_default().take(MAX_SHOWN_PATH_CHARS).collect();
            let message = format!("there is no method {shown}");
            return Err(status(ErrorReason::UnknownMethod, message, &[]));
        };
        let Some(principal) = self.keys.principal(request.headers()) else {
            let message = "the key is not known; send 'authorization: Bearer KEY' with a valid one";
            return Err(status(ErrorReason::InvalidCredentials, message, &[]));
        };
        match route {
            Route::Open => {}
            Route::Rpc(rule) => rule.admit_caller(&principal).map_err(denied)?,
        }
        Ok(principal)
    }
}

/// Replaces the statuses that tonic generates for messages that it cannot decode.
fn explained(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    if headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let Some(plain) = Status::from_header_map(headers) else { return response };
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
