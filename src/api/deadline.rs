//! The caller's deadline: what is not answered by then, nobody waits for.

use std::time::Duration;

use http::{HeaderMap, Response};
use tonic::body::Body;

use super::errors::status;
use super::pb::ErrorReason;

/// The caller's timeout from the gRPC header: up to eight digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
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

/// Waits for an answer, or the beginning of a stream, until the caller no longer does.
pub(super) async fn in_time<E>(
    timeout: Option<Duration>,
    answering: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    let Some(timeout) = timeout else { return answering.await };
    tokio::time::timeout(timeout, answering).await.unwrap_or_else(|_| {
        let message = "the deadline of the call has passed; whether a change was recorded is unknown, so \
                       send it again with the same request_id";
        let facts: [(&str, &dyn std::fmt::Display); 1] = [("timeout_ms", &timeout.as_millis())];
        Ok(status(ErrorReason::DeadlineExceeded, message, &facts).into_http())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn a_timeout_is_read_as_the_grpc_protocol_writes_it() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!(read("100000000u"), None);
        for nonsense in ["S", "5", "-5S", "5s", "five S"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
