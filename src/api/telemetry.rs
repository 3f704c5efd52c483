//! The outermost layer: counts, times and traces every call, to the end of its stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use opentelemetry::trace::FutureExt;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::permissions::rpc_of;
use crate::metrics::{Metrics, Rpc};
use crate::traces::{CallSpan, Traces};

#[derive(Clone)]
pub(super) struct TelemetryLayer {
    pub(super) metrics: Metrics,
    pub(super) traces: Traces,
}

impl<S> Layer<S> for TelemetryLayer {
    type Service = Telemetry<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Telemetry { inner, metrics: self.metrics.clone(), traces: self.traces.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Telemetry<S> {
    inner: S,
    metrics: Metrics,
    traces: Traces,
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, B> Service<Request<B>> for Telemetry<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let rpc = rpc_of(request.uri().path());
        let Some(rpc) = rpc else { return Box::pin(self.inner.call(request)) };
        let span = self.traces.call(&rpc, request.headers());
        let answering = self.inner.call(request);
        self.metrics.rpcs_started.get_or_create(&rpc).inc();
        let (metrics, began) = (self.metrics.clone(), Instant::now());
        let call = Call { metrics, rpc, span, began, code: None };
        Box::pin(async move {
            // A call that is abandoned before it is answered ends here.
            let mut call = call;
            let response = match call.span.context() {
                Some(context) => answering.with_context(context).await?,
                None => answering.await?,
            };
            call.note(response.headers());
            Ok(response.map(|inner| Body::new(Measured { inner, call })))
        })
    }
}

/// A call that has not ended yet; it is counted when this value is dropped.
struct Call {
    metrics: Metrics,
    rpc: Rpc,
    span: CallSpan,
    began: Instant,
    code: Option<Code>,
}

impl Call {
    fn note(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.code = Some(status.code());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.map_or("CANCELLED", code_name);
        self.metrics.handled(&self.rpc, code, self.began.elapsed());
        self.span.end(self.code.unwrap_or(Code::Cancelled));
    }
}

/// The body of an answer, whose trailers hold the outcome of the call.
struct Measured {
    inner: Body,
    call: Call,
}

impl http_body::Body for Measured {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.note(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The code as gRPC spells it.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
