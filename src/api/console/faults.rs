//! Why a form could not be carried out, in words, and at the fields that it is about.

use console::parts::Sent;
use console::text::faults as words;
use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::api::errors::reason_name;
use crate::api::pb::ErrorReason;

/// Puts the faults of a status at the fields of a form. `names` pairs fields of the API with those of the form where
/// they differ.
pub(super) fn placed(
    status: &Status,
    mut sent: Sent,
    names: &[(&str, &str)],
) -> (StatusCode, Sent) {
    let details = status.get_error_details();
    let violations =
        details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    let is_of_fields = is(status, ErrorReason::InvalidField);
    for violation in &violations {
        let api = violation.field.as_str();
        let name = names.iter().find(|(of, _)| *of == api).map_or(api, |(_, name)| name);
        let said = if is_of_fields {
            words::field(&violation.reason).map(str::to_owned)
        } else {
            reason(status).and_then(words::reason).map(str::to_owned)
        };
        let said = said.unwrap_or_else(|| sentence(&violation.description));
        sent.faults.push((name.to_owned(), said));
    }
    if violations.is_empty() {
        sent.problem = Some(told(status));
    }
    (code(status), sent)
}

/// A failure in words.
pub(super) fn told(status: &Status) -> String {
    reason(status).and_then(words::reason).unwrap_or(words::AGAIN).to_owned()
}

/// Whether a status leaves it open whether a command was carried out, or says that it has to wait: the same command can
/// be sent again.
pub(super) fn leaves_open(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Internal
        | Code::Unknown
        | Code::DataLoss => true,
        Code::ResourceExhausted => {
            [ErrorReason::RateLimited, ErrorReason::QueueFull, ErrorReason::TooManyRequests]
                .into_iter()
                .any(|reason| is(status, reason))
        }
        _ => false,
    }
}

/// Whether a status has this reason.
pub(super) fn is(status: &Status, wanted: ErrorReason) -> bool {
    reason(status) == Some(wanted)
}

fn reason(status: &Status) -> Option<ErrorReason> {
    let details = status.get_error_details();
    let name = &details.error_info()?.reason;
    let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{name}"))?;
    debug_assert_eq!(reason_name(reason), name);
    Some(reason)
}

/// What the API says of a field, as a sentence.
fn sentence(description: &str) -> String {
    let mut chars = description.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// The code of the page that shows the form again.
pub(super) fn code(status: &Status) -> StatusCode {
    match status.code() {
        Code::InvalidArgument => StatusCode::UNPROCESSABLE_ENTITY,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::PermissionDenied | Code::Unauthenticated => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable | Code::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
