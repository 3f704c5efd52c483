//! The errors of a server, worded for the user of the command line.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use client::causes;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use crate::api::code_name;

/// The reason of a request with faults in its fields.
const INVALID_FIELD: &str = "INVALID_FIELD";

/// The code, the reason and the message on the first line, then every detail on a line of its own: the
/// fields at fault, the facts (a stream's `resume_token` is one of them), and when to try again.
pub(super) fn explain(status: &Status) -> String {
    let details = status.get_error_details();
    let mut words = code_name(status.code()).to_owned();
    if let Some(info) = details.error_info() {
        let _ = write!(words, " ({})", info.reason);
    }
    // The message of a request with faults only repeats the first of them.
    let names_faults =
        details.bad_request().is_some_and(|faults| !faults.field_violations.is_empty());
    let is_repeated =
        names_faults && details.error_info().is_some_and(|info| info.reason == INVALID_FIELD);
    if !status.message().is_empty() && !is_repeated {
        let _ = write!(words, ": {}", status.message());
    }
    // A status with a source was created by the client, because the connection failed.
    if status.source().is_some() {
        let _ = write!(words, ": {}", causes(status));
    }
    write_details(&mut words, &details);
    words
}

// Writing to a string cannot fail.
fn write_details(words: &mut String, details: &ErrorDetails) {
    for fault in details.bad_request().iter().flat_map(|faults| &faults.field_violations) {
        let _ = write!(words, "\n  {}: {}", fault.field, fault.description);
        if !fault.reason.is_empty() {
            let _ = write!(words, " ({})", fault.reason);
        }
    }
    let facts: BTreeMap<_, _> =
        details.error_info().iter().flat_map(|info| &info.metadata).collect();
    for (name, value) in facts {
        let _ = write!(words, "\n  {name} = {value}");
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        let _ = write!(words, "\n  retry after {} s", delay.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use tonic::Code;

    use super::*;

    #[test]
    fn every_detail_has_a_line_of_its_own() {
        let facts = HashMap::from([
            ("resume_token".to_owned(), "cgAAAAE".to_owned()),
            ("limit".to_owned(), "8".to_owned()),
        ]);
        let mut details = ErrorDetails::with_error_info("SLOW_CONSUMER", "tributary.v1", facts);
        details.add_bad_request_violation("amount.minor_units", "must be at least 1");
        details.set_retry_info(Some(Duration::from_millis(1_500)));
        let status =
            Status::with_error_details(Code::ResourceExhausted, "the stream was cut off", details);

        let lines = [
            "RESOURCE_EXHAUSTED (SLOW_CONSUMER): the stream was cut off",
            "  amount.minor_units: must be at least 1",
            "  limit = 8",
            "  resume_token = cgAAAAE",
            "  retry after 1.5 s",
        ];
        assert_eq!(explain(&status), lines.join("\n"));
        assert_eq!(explain(&Status::cancelled("")), "CANCELLED");

        let mut details =
            ErrorDetails::with_error_info(INVALID_FIELD, "tributary.v1", HashMap::new());
        details.add_bad_request_violation("user_id", "is required");
        let message = "invalid user_id: is required";
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        assert_eq!(explain(&status), "INVALID_ARGUMENT (INVALID_FIELD)\n  user_id: is required");
    }
}
