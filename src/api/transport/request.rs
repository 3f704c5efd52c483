//! Requests that are not complete: how many there may be, how much they may hold, and how long they may take.
//!
//! Until the first part of its body has arrived, a request is not passed on, because a call that a handler waits
//! for takes several times the memory of a request that nobody has looked at.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::api::errors::status;
use crate::api::pb::ErrorReason;
use crate::metrics::{LimitOf, Metrics};

/// The number of requests that may be incomplete at the same time. A client usually sends a request in one
/// packet, so only a few are ever incomplete. One more cuts off the one that has waited longest, so that a client
/// that never completes its requests takes no place from others.
const MAX_INCOMPLETE_REQUESTS: usize = 10_000;
/// The bytes that incomplete requests may hold in all: those of 64 of the largest messages.
const MAX_INCOMPLETE_BYTES: usize = 256 << 20;

/// All requests that are not complete.
pub(super) struct Incomplete {
    waiting: Mutex<Waiting>,
    bytes: AtomicUsize,
    metrics: Metrics,
}

/// The requests that are waited for, in the order in which the wait began.
#[derive(Default)]
struct Waiting {
    begun: u64,
    requests: BTreeMap<u64, CancellationToken>,
}

impl Incomplete {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { waiting: Mutex::default(), bytes: AtomicUsize::new(0), metrics }
    }

    /// Begins to wait for a request. Cuts off the one that has waited longest if there are too many.
    fn wait(self: &Arc<Self>, deadline: Instant) -> Wait {
        let cut = CancellationToken::new();
        let (number, longest) = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let number = waiting.begun;
            waiting.begun += 1;
            waiting.requests.insert(number, cut.clone());
            let too_many = waiting.requests.len() > MAX_INCOMPLETE_REQUESTS;
            (number, too_many.then(|| waiting.requests.pop_first()).flatten())
        };
        if let Some((_, longest)) = longest {
            longest.cancel();
        }
        let end = Box::pin(async move {
            tokio::select! {
                () = sleep_until(deadline) => Fault::TooLate,
                () = cut.cancelled() => Fault::TooMany,
            }
        });
        Wait { number, end, incomplete: self.clone() }
    }

    fn count(&self, fault: Fault) -> Fault {
        let limit = match fault {
            Fault::TooLate => "time",
            Fault::TooMany => "number",
        };
        self.metrics.connections.requests_cut.get_or_create(&LimitOf { limit }).inc();
        fault
    }
}

/// The wait for a request, which is over when this is dropped.
struct Wait {
    number: u64,
    /// Completes when the request must not be waited for any longer.
    end: Pin<Box<dyn Future<Output = Fault> + Send>>,
    incomplete: Arc<Incomplete>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        let waiting = &self.incomplete.waiting;
        waiting.lock().unwrap_or_else(PoisonError::into_inner).requests.remove(&self.number);
    }
}

/// What is wrong with an incomplete request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request took too long to arrive.
    TooLate,
    /// Too many others are incomplete, and this one has waited longest; or all hold too much.
    TooMany,
}

impl Fault {
    pub(super) fn status(self) -> Status {
        match self {
            Self::TooLate => status(
                ErrorReason::RequestIncomplete,
                "the request was not complete in time; send it in one piece",
                &[],
            ),
            Self::TooMany => status(
                ErrorReason::TooManyRequests,
                "too many requests are incomplete, and this one has waited longest; send it in one piece",
                &[],
            ),
        }
    }
}

/// Whether a request arrives. Passed among the extensions of the request, because layers on the way turn the
/// error of a body into one of their own.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct Arrival(Arc<[AtomicBool; 2]>);

impl Arrival {
    /// The status of a request that cannot arrive any more.
    pub(in crate::api) fn failed(&self) -> Option<Status> {
        let [too_late, too_many] = &*self.0;
        let fault = if too_late.load(Ordering::Relaxed) {
            Fault::TooLate
        } else if too_many.load(Ordering::Relaxed) {
            Fault::TooMany
        } else {
            return None;
        };
        Some(fault.status())
    }

    fn fail(&self, fault: Fault) {
        let [too_late, too_many] = &*self.0;
        let flag = if fault == Fault::TooLate { too_late } else { too_many };
        flag.store(true, Ordering::Relaxed);
    }
}

/// The body of a request, which has to arrive in time.
pub(super) struct Arriving<B> {
    inner: B,
    /// What was read already.
    first: Option<Result<Frame<Bytes>, BoxError>>,
    incomplete: Arc<Incomplete>,
    /// The wait for the request, once it makes somebody wait.
    wait: Option<Wait>,
    /// How many bytes have arrived.
    bytes: usize,
    deadline: Instant,
    arrival: Arrival,
}

impl<B> Arriving<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// Waits for the first part of a body.
    pub(super) async fn begun(
        mut inner: B,
        incomplete: &Arc<Incomplete>,
        deadline: Instant,
    ) -> Result<Self, Fault> {
        let (mut first, mut wait) = (None, None);
        if !inner.is_end_stream() {
            let mut next = poll_fn(|context| Pin::new(&mut inner).poll_frame(context));
            let frame =
                match poll_fn(|context| Poll::Ready(Pin::new(&mut next).poll(context))).await {
                    Poll::Ready(frame) => frame,
                    Poll::Pending => {
                        let begun = wait.insert(incomplete.wait(deadline));
                        tokio::select! {
                            frame = next => frame,
                            fault = &mut begun.end => return Err(incomplete.count(fault)),
                        }
                    }
                };
            first = frame;
        }
        let mut body = Self {
            inner,
            first: None,
            incomplete: incomplete.clone(),
            wait,
            bytes: 0,
            deadline,
            arrival: Arrival::default(),
        };
        if let Some(Ok(frame)) = &first {
            body.arrived(frame)?;
        }
        body.first = first.map(|frame| frame.map_err(Into::into));
        Ok(body)
    }

    /// Whether the request has arrived, and if not, why it never will.
    pub(super) fn arrival(&self) -> Arrival {
        self.arrival.clone()
    }

    /// Counts the bytes of a frame, unless it is the last one.
    fn arrived(&mut self, frame: &Frame<Bytes>) -> Result<(), Fault> {
        if self.inner.is_end_stream() {
            self.ended();
            return Ok(());
        }
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.bytes += length;
        let in_all = self.incomplete.bytes.fetch_add(length, Ordering::Relaxed) + length;
        if in_all > MAX_INCOMPLETE_BYTES {
            return Err(self.incomplete.count(Fault::TooMany));
        }
        Ok(())
    }

    fn fail(&mut self, fault: Fault) -> Status {
        self.arrival.fail(fault);
        fault.status()
    }
}

impl<B> Arriving<B> {
    fn ended(&mut self) {
        self.wait = None;
        self.incomplete.bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl<B> Drop for Arriving<B> {
    fn drop(&mut self) {
        self.ended();
    }
}

impl<B> Body for Arriving<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(first));
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(match this.arrived(&frame) {
                Ok(()) => Ok(frame),
                Err(fault) => Err(this.fail(fault).into()),
            })),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                this.ended();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let (incomplete, deadline) = (&this.incomplete, this.deadline);
                let wait = this.wait.get_or_insert_with(|| incomplete.wait(deadline));
                match wait.end.as_mut().poll(context) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(fault) => {
                        this.wait = None;
                        let fault = this.incomplete.count(fault);
                        Poll::Ready(Some(Err(this.fail(fault).into())))
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok()?.data_ref());
        let first = first.map_or(0, |bytes| bytes.len() as u64);
        let rest = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + first);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + first);
        }
        hint
    }
}
