//! The layer that every call passes: who calls, and may they? It also gives the statuses that tonic
//! makes by itself the form that all of ours have.

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
use super::pb::ErrorReason;
use super::permissions::{Caller, audience_of};

/// How much of an unknown path is said back, in characters.
const MAX_SHOWN_PATH_CHARS: usize = 100;

/// The keys that are let in.
#[derive(Clone)]
pub(super) struct Keys {
    /// The hash of the admin key. Hashes are compared, so that the time it takes says nothing about
    /// the key.
    admin: Arc<[u8; 32]>,
}

impl Keys {
    pub(super) fn new(admin_key: &str) -> Self {
        Self { admin: Arc::new(Sha256::digest(admin_key).into()) }
    }

    /// Who calls. A key that is not known is not the same as none.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, ErrorReason> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(Caller::Anonymous) };
        let key = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim());
        match key {
            Some(key) if <[u8; 32]>::from(Sha256::digest(key)) == *self.admin => Ok(Caller::Admin),
            _ => Err(ErrorReason::InvalidCredentials),
        }
    }
}

/// Who makes a call that has passed the layer.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Caller {
    request.extensions().get::<Caller>().copied().unwrap_or(Caller::Anonymous)
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
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                // The service that is ready is the one to call; the clone takes its place.
                let clone = self.inner.clone();
                let mut ready = std::mem::replace(&mut self.inner, clone);
                Box::pin(async move { Ok(explained(ready.call(request).await?)) })
            }
        }
    }
}

impl<S> Authentication<S> {
    #[allow(clippy::result_large_err, reason = "a status is what callers return")]
    fn admit<B>(&self, request: &Request<B>) -> Result<Caller, Status> {
        let path = request.uri().path();
        let Some(audience) = audience_of(path) else {
            let shown: String = path.escape_default().take(MAX_SHOWN_PATH_CHARS).collect();
            let message = format!("there is no method {shown}");
            return Err(status(ErrorReason::UnknownMethod, message, &[]));
        };
        let admitted = self
            .keys
            .caller(request.headers())
            .and_then(|caller| audience.admit(caller).map(|()| caller));
        admitted.map_err(|reason| {
            let message = match reason {
                ErrorReason::MissingCredentials => {
                    "this call needs a key: send 'authorization: Bearer KEY'"
                }
                ErrorReason::InvalidCredentials => {
                    "the key is not known; send 'authorization: Bearer KEY' with a valid one"
                }
                _ => "the key does not allow this call",
            };
            status(reason, message, &[])
        })
    }
}

/// Replaces the statuses that tonic gives to what it cannot decode.
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
        // The only other thing that tonic does not do for us.
        Code::Unimplemented => {
            status(ErrorReason::UnsupportedCompression, "send messages uncompressed", &[])
        }
        _ => return response,
    };
    explained.into_http()
}
