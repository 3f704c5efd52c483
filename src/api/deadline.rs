//! The caller's deadline: what is not answered by then, nobody waits for.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderMap, Response, header};
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Status;
use tonic::body::Body;

use super::errors::status;
use super::pb::ErrorReason;

/// The header with the caller's timeout.
const HEADER: &str = "grpc-timeout";
/// How much of a malformed timeout is repeated in the answer, in characters.
const MAX_SHOWN_CHARS: usize = 40;

/// When the caller stops waiting. Among the extensions of a request that has a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    /// How long the caller waits, as the request says.
    pub(super) timeout: Duration,
    /// When that is over.
    pub(super) at: Instant,
}

impl Deadline {
    /// The deadline of a request that has just arrived; `None` if it has none, or one that this process cannot live
    /// to see.
    ///
    /// # Errors
    /// A status if the header is not as the gRPC protocol writes it, or there are several. The caller would
    /// otherwise wait for longer than it means to.
    #[allow(clippy::result_large_err, reason = "a status is what callers return")]
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Status> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(malformed("there are several grpc-timeout headers; send one"));
        }
        let Some(timeout) = value.to_str().ok().and_then(read) else {
            let shown: String = String::from_utf8_lossy(value.as_bytes())
                .escape_default()
                .take(MAX_SHOWN_CHARS)
                .collect();
            return Err(malformed(format!(
                "grpc-timeout '{shown}' must be 1 to 8 digits and a unit (H, M, S, m, u or n), as in 250m"
            )));
        };
        Ok(Instant::now().checked_add(timeout).map(|at| Self { timeout, at }))
    }

    /// The status of a call whose deadline has passed.
    pub(super) fn passed(self, message: &str, facts: &[(&str, &dyn Display)]) -> Status {
        let timeout_ms = self.timeout.as_millis();
        let facts = [&[("timeout_ms", &timeout_ms as &dyn Display)], facts].concat();
        status(ErrorReason::DeadlineExceeded, message, &facts)
    }
}

fn malformed(message: impl Into<String>) -> Status {
    status(ErrorReason::InvalidTimeout, message, &[])
}

/// A timeout as the gRPC protocol writes it: up to eight digits and a unit.
fn read(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Waits for the end of a deadline, which never comes if there is none.
pub(super) async fn end_of(deadline: Option<Deadline>) -> Deadline {
    match deadline {
        Some(deadline) => {
            sleep_until(deadline.at).await;
            deadline
        }
        None => std::future::pending().await,
    }
}

/// Waits for an answer, or the beginning of a stream, until the caller no longer does. Whether the caller may send
/// the call again depends on whether the call is a command.
pub(super) async fn in_time<E>(
    deadline: Option<Deadline>,
    is_command: bool,
    answering: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    let Some(deadline) = deadline else { return answering.await };
    timeout_at(deadline.at, answering).await.unwrap_or_else(|_| {
        let message = if is_command {
            "the deadline of the call has passed; whether the change was recorded is unknown, so send it again \
             with the same request_id"
        } else {
            "the deadline of the call has passed before the answer was ready"
        };
        Ok(deadline.passed(message, &[]).into_http())
    })
}

/// The body of an answer that ends at the deadline, for services whose streams know nothing of deadlines.
pub(super) struct Ending {
    inner: Body,
    deadline: Deadline,
    end: Pin<Box<Sleep>>,
    is_over: bool,
}

impl Ending {
    pub(super) fn new(inner: Body, deadline: Deadline) -> Self {
        Self { inner, deadline, end: Box::pin(sleep_until(deadline.at)), is_over: false }
    }
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.end.as_mut().poll(context).is_ready() {
            self.is_over = true;
            let passed = self.deadline.passed("the deadline of the call has passed", &[]);
            let mut trailers = passed.into_http::<Body>().into_parts().0.headers;
            trailers.remove(header::CONTENT_TYPE);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn a_timeout_is_read_as_the_grpc_protocol_writes_it() {
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        for nonsense in ["", "S", "5", "-5S", "+5S", "5s", "five S", "5 S", "100000000u", "1.5S"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_malformed_timeout_is_refused_and_a_missing_one_is_none() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, http::HeaderValue::from_bytes(value).unwrap());
            }
            Deadline::of(&headers).map(|deadline| deadline.map(|deadline| deadline.timeout))
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[b"250m"]).unwrap(), Some(Duration::from_millis(250)));
        for nonsense in [&[&b"5 seconds"[..]] as &[&[u8]], &[b"1S", b"2S"], &[b"\xff"], &[b""]] {
            let status = of(nonsense).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
        }
    }
}
