//! Traces of single calls, batches and folds, for OpenTelemetry. Not global, and off unless a collector is
//! configured.
//!
//! Spans record what happened and how long it took, never for whom: no ids, no names, no content of requests.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Uri};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceId,
    TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample, Span,
    SpanData,
};
use tonic::Code;
use tonic::transport::Endpoint;

use crate::metrics::Rpc;

/// How long connecting to the collector, and sending to it, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long sending the last spans may take when the server stops.
const FINISH_TIMEOUT: Duration = Duration::from_secs(4);
/// How often the loss of spans is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);
/// The maximum number of calls that the span of a batch links to, so that a message with many batches does
/// not become too large.
const MOST_LINKS: u32 = 128;

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The text is not the address of a collector.
    #[error("must be the address of a collector, as in http://127.0.0.1:4317, not {0}")]
    NoAddress(String),
    /// The address requires encryption.
    #[error("cannot be https: traces are sent unencrypted, so send them to a collector close by")]
    Encrypted,
    /// The number is not a share.
    #[error("must be 0 to 1, not {0}")]
    NoShare(f64),
    /// The exporter could not be built from the settings in the environment.
    #[error("cannot be sent to: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Sends traces to a collector, if there is one. Cheap to clone.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Sending>>);

struct Sending {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

impl fmt::Debug for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Traces(on)" } else { "Traces(off)" })
    }
}

impl Traces {
    /// Traces a share of the calls, and sends the traces to the collector at `endpoint`. Must be called
    /// within the runtime that is to send them.
    ///
    /// # Errors
    /// [`TracesError`] if traces could never arrive. Whether the collector is reachable is not checked.
    pub fn to(endpoint: &str, ratio: f64) -> Result<Self, TracesError> {
        check_ratio(ratio)?;
        let channel = Endpoint::from(address(endpoint)?)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(EXPORT_TIMEOUT)
            .connect_lazy();
        let exporter = SpanExporter::builder().with_tonic().with_channel(channel).build()?;
        let exporter = Exporter { exporter, complained_at: Mutex::default() };
        let resource = Resource::builder()
            .with_service_name("tributary")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let by_share = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .with_resource(resource)
            .with_sampler(Sampling(by_share))
            .with_max_links_per_span(MOST_LINKS)
            .build();
        let tracer = provider.tracer("tributary");
        let propagator = TraceContextPropagator::new();
        Ok(Self(Some(Arc::new(Sending { provider, tracer, propagator }))))
    }

    /// Begins the span of a call, below that of the caller if the headers name one.
    #[must_use]
    pub fn call(&self, rpc: &Rpc, headers: &HeaderMap) -> CallSpan {
        let Some(sending) = &self.0 else { return CallSpan(None) };
        let service = format!("tributary.v1.{}", rpc.service);
        let caller =
            sending.propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let span = SpanBuilder::from_name(format!("{service}/{}", rpc.rpc))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.service", service),
                KeyValue::new("rpc.method", rpc.rpc),
            ])
            .start_with_context(&sending.tracer, &caller);
        CallSpan(Some(caller.with_span(span)))
    }

    /// The call that the current future is part of, if it is traced.
    #[must_use]
    pub fn caller(&self) -> Option<SpanContext> {
        self.0.as_ref()?;
        Context::map_current(|context| {
            let span = context.span();
            let caller = span.span_context();
            // The trace state that upstream callers added is dropped, because it can be large.
            let (trace, state) = (caller.trace_id(), TraceState::default());
            let flags = caller.trace_flags();
            let caller = SpanContext::new(trace, caller.span_id(), flags, false, state);
            caller.is_sampled().then_some(caller)
        })
    }

    /// Begins the span of a batch that is about to be appended.
    pub fn batch<'a>(
        &self,
        commands: usize,
        callers: impl Iterator<Item = &'a SpanContext>,
    ) -> Work {
        self.work("append batch", |span| {
            let links = callers.take(MOST_LINKS as usize).cloned().map(Link::with_context);
            span.with_attributes([KeyValue::new("tributary.commands", number(commands))])
                .with_links(links.collect())
        })
    }

    /// Begins the span of a run of the projector.
    pub fn fold(&self) -> Work {
        self.work("fold", |span| span)
    }

    fn work(&self, name: &'static str, with: impl FnOnce(SpanBuilder) -> SpanBuilder) -> Work {
        Work(self.0.as_ref().map(|sending| {
            let span = SpanBuilder::from_name(name).with_kind(SpanKind::Internal);
            with(span).start_with_context(&sending.tracer, &Context::new())
        }))
    }

    /// Sends the remaining spans, and nothing after that. Does not wait long for a collector that is
    /// unavailable.
    pub async fn finish(&self) {
        let Some(sending) = &self.0 else { return };
        let provider = sending.provider.clone();
        // The call blocks its thread, for at most this long.
        let finished = tokio::task::spawn_blocking(move || {
            provider.shutdown_with_timeout(FINISH_TIMEOUT).is_ok()
        });
        if !matches!(tokio::time::timeout(FINISH_TIMEOUT, finished).await, Ok(Ok(true))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

/// Checks that a number is a share of calls.
///
/// # Errors
/// [`TracesError`] if it is not.
pub fn check_ratio(ratio: f64) -> Result<(), TracesError> {
    if (0.0..=1.0).contains(&ratio) { Ok(()) } else { Err(TracesError::NoShare(ratio)) }
}

/// The address of a collector. A path would be ignored, and probably belongs to another protocol.
fn address(endpoint: &str) -> Result<Uri, TracesError> {
    let no_address = || TracesError::NoAddress(endpoint.to_owned());
    let address: Uri = endpoint.parse().map_err(|_| no_address())?;
    match address.scheme_str() {
        Some("http") if matches!(address.path(), "" | "/") && address.query().is_none() => {
            Ok(address)
        }
        Some("https") => Err(TracesError::Encrypted),
        _ => Err(no_address()),
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The span of a call, if traces are on. The span ends when this is dropped.
#[derive(Default)]
pub struct CallSpan(Option<Context>);

impl CallSpan {
    /// The context in which the work of the call must run, so that its span is known there.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        self.0.clone()
    }

    /// Records how the call ended.
    pub fn end(&self, code: Code) {
        let Some(context) = &self.0 else { return };
        let span = context.span();
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))));
        if is_our_fault(code) {
            span.set_status(Status::error(code.description()));
        }
        span.end();
    }
}

/// Whether a call with this code is a failure of the server, not of the caller.
fn is_our_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The span of background work of the server, if traces are on. If `done` was not called before this is
/// dropped, the work has failed.
#[must_use]
pub struct Work(Option<Span>);

impl Work {
    /// Records that the work is done, with the number of events and the position that was reached.
    pub fn done(mut self, outcome: impl FnOnce() -> (i64, i64)) {
        if let Some(mut span) = self.0.take() {
            let (events, position) = outcome();
            span.set_attribute(KeyValue::new("tributary.events", events));
            span.set_attribute(KeyValue::new("tributary.position", position));
            span.end();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error("failed or given up"));
        }
    }
}

/// Samples by share where no caller has decided, and traces a batch if one of its calls is traced. An
/// independent choice would seldom select the batches of traced calls.
#[derive(Clone, Debug)]
struct Sampling(Sampler);

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_linked = links.iter().any(|link| link.span_context.is_sampled());
        let sampler = if is_linked { &Sampler::AlwaysOn } else { &self.0 };
        sampler.should_sample(parent_context, trace_id, name, span_kind, attributes, links)
    }
}

/// Sends spans, and logs failures occasionally: without any log line a wrong configuration would go
/// unnoticed, and a line for each attempt would flood the log.
#[derive(Debug)]
struct Exporter {
    exporter: SpanExporter,
    complained_at: Mutex<Option<Instant>>,
}

impl opentelemetry_sdk::trace::SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        if let Err(error) = &sent {
            let mut at = self.complained_at.lock().unwrap_or_else(PoisonError::into_inner);
            if at.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                tracing::warn!(%error, spans, "traces cannot be sent; these are lost");
                *at = Some(Instant::now());
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_collector_is_http_without_a_path() {
        for good in ["http://127.0.0.1:4317", "http://collector:4317/", "http://[::1]:4317"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:4317", "ftp://a:1", "http://a:4318/v1/traces", "http://a b"] {
            assert!(matches!(address(bad), Err(TracesError::NoAddress(_))), "{bad}");
        }
        assert!(matches!(address("https://a:4317"), Err(TracesError::Encrypted)));
    }

    #[test]
    fn a_share_is_0_to_1() {
        for (ratio, is_good) in
            [(0.0, true), (0.25, true), (1.0, true), (-0.1, false), (1.1, false), (f64::NAN, false)]
        {
            assert_eq!(check_ratio(ratio).is_ok(), is_good, "{ratio}");
        }
    }
}
