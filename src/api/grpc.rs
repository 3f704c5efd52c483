//! The gRPC side of the port: every service with its layers, as routes of the outermost router.
//!
//! A service is wrapped with its layers before it becomes a route, not after. A call is therefore routed once,
//! and the only extra cost over a gRPC-only port is one check of the content type. Layers around a router of
//! the services, below the outermost one, would cost a second routing, a boxed future, and two more boxed
//! bodies in each direction.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use axum::Router;
use http::{Method, Request, Response, Version, header};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service, ServiceExt};

use super::Context;
use super::authentication::{Authentication, AuthenticationLayer};
use super::http::media::Grpc;
use super::http::refusals;
use super::reflection;
use super::services::{Mount, mount_all};
use super::telemetry::{Telemetry, TelemetryLayer};
use crate::access::Access;
use crate::metrics::Metrics;
use crate::traces::Traces;

/// The routes of all services.
pub(super) fn routes(
    context: &Context,
    layers: &Layers,
    health: HealthServer<impl Health>,
) -> Result<Router, tonic_reflection::server::Error> {
    let none = Services { router: Router::new(), layers };
    Ok(mount_all(none, context)
        .mount(health)
        .mount(reflection::described()?.build_v1()?)
        .mount(reflection::described()?.build_v1alpha()?)
        .router)
}

/// The services that are mounted so far.
struct Services<'a> {
    router: Router,
    layers: &'a Layers,
}

impl Mount for Services<'_> {
    fn mount<S>(self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let service = self.layers.wrap(service);
        let service = service.map_request(|request: axum::extract::Request| request.map(Body::new));
        let router = self.router.route_service(&format!("/{}/{{*rpc}}", S::NAME), service);
        Self { router, ..self }
    }
}

/// The layers that every gRPC call passes, outermost first: the check of the content type, telemetry, the
/// translation of gRPC-Web, authentication.
pub(super) struct Layers {
    telemetry: TelemetryLayer,
    authentication: AuthenticationLayer,
}

/// A service with all layers.
pub(super) type Layered<S> = GrpcOnly<Telemetry<GrpcWebService<Authentication<S>>>>;

impl Layers {
    pub(super) fn new(metrics: Metrics, traces: Traces, access: Access) -> Self {
        Self {
            telemetry: TelemetryLayer { metrics, traces },
            authentication: AuthenticationLayer { access },
        }
    }

    pub(super) fn wrap<S>(&self, service: S) -> Layered<S> {
        let service = self.authentication.layer(service);
        GrpcOnly(self.telemetry.layer(GrpcWebLayer::new().layer(service)))
    }
}

/// Answers gRPC calls of methods that do not exist. The authentication layer normally rejects them earlier,
/// with a reason.
#[derive(Clone)]
pub(super) struct UnknownMethod;

impl Service<Request<Body>> for UnknownMethod {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Status::unimplemented("").into_http()))
    }
}

/// Which call of gRPC or gRPC-Web a request is: a POST, in a version of HTTP that can carry it.
fn call_of<B>(request: &Request<B>) -> Option<Grpc> {
    let kind = Grpc::of(request.headers())?;
    let is_carried = request.version() >= Version::HTTP_2 || matches!(kind, Grpc::Web(_));
    (request.method() == Method::POST && is_carried).then_some(kind)
}

/// Passes only gRPC calls on to a service, and answers everything else in the form that the client accepts.
#[derive(Clone)]
pub(super) struct GrpcOnly<S>(S);

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for GrpcOnly<S>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            // The same type as that of the inner service, so that a call is not boxed again.
            Future = Answering,
        >,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(kind) = call_of(&request) {
            // The layer for gRPC-Web compares the whole header.
            if let Grpc::Web(_) = kind {
                request.headers_mut().insert(header::CONTENT_TYPE, kind.content_type());
            }
            return self.0.call(request);
        }
        let answer = refusals::not_a_call(&request);
        Box::pin(ready(Ok(answer.map(Body::new))))
    }
}
