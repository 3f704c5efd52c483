//! The services that tonic calls, generated from the contract by `build/services.rs`.

use std::convert::Infallible;

use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tower::Service;

use super::enums::{EnumFields, FieldPath, UnknownNumbers};
use super::guard::{Guarded, admit, bounded, caught};
use super::pages::Paged;
use super::permissions::{NamedFields, Rule, TextFields, rule_of};
use super::redaction::{self, Redact};
use super::watch::Messages;
use super::writes::Repeatable;
use super::{Context, MAX_MESSAGE_BYTES, pb};

/// Something that services can be mounted on.
pub(super) trait Mount {
    /// Mounts a service.
    fn mount<S>(self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static;
}

impl Mount for RoutesBuilder {
    fn mount<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.add_service(service);
        self
    }
}

/// A request that can be made within the process: it passes the guard as calls from outside do, but none of the layers
/// before it, which is what the console's `calls` are for.
pub(super) trait InProcess: Sized {
    /// The answer, or the stream of answers.
    type Answer;
    /// The row of the RPC.
    const RULE: &'static Rule;

    /// Makes the request. The principal is among its extensions.
    fn make(
        context: Context,
        request: tonic::Request<Self>,
    ) -> impl Future<Output = Result<Self::Answer, tonic::Status>> + Send;
}

/// All services without a network and without the layers, for programs that call them in process.
#[must_use]
pub fn services(context: &Context) -> Routes {
    mount_all(Routes::builder(), context).routes()
}

include!(concat!(env!("OUT_DIR"), "/services.rs"));
