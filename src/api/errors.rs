//! The one place where a failure becomes a gRPC status. The code of each reason is in `codes.rs`, what the domain
//! refuses in `domain_refusals.rs`.
//!
//! Every status carries an `ErrorInfo` whose reason is a value of the contract's `ErrorReason`, so
//! that clients need not read messages. Statuses stay below 4 KiB, as proxies drop larger
//! headers.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

pub use super::codes::code_of;
use super::pb::ErrorReason;
use crate::access::Unavailable;
use crate::access::logins::LoginError;
use crate::access::passwords::HashingError;
use crate::access::turns::QueueFull;
use crate::engine::Failure;
use crate::engine::query::QueryError;
use crate::read::ReadError;
use crate::store::StoreError;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "tributary.v1";

/// The maximum size of the faults in the details of a status, in bytes. With the rest of the status, and encoded in
/// base64 in a header, it stays below 4 KiB.
const MAX_DETAIL_BYTES: usize = 1_800;

/// The maximum size of the faults in the message of a status, in bytes. A message is sent twice: as text, in which
/// blanks and characters beyond ASCII take three bytes each, and in the details.
const MAX_WORDS_BYTES: usize = 260;

/// What the encoding of one fault adds to its texts, in bytes.
const FRAMING_BYTES: usize = 16;

/// How long a client should wait before a retry that may succeed.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The reason as used in an `ErrorInfo`: the name of the enum's value without its prefix.
#[must_use]
pub fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// A status for a reason, with facts for `ErrorInfo.metadata`.
pub fn status(
    reason: ErrorReason,
    message: impl Into<String>,
    facts: &[(&str, &dyn Display)],
) -> Status {
    let facts: HashMap<String, String> =
        facts.iter().map(|(name, value)| ((*name).into(), value.to_string())).collect();
    let code = code_of(reason);
    let mut details = ErrorDetails::with_error_info(reason_name(reason), DOMAIN, facts);
    if matches!(code, Code::ResourceExhausted | Code::Unavailable | Code::Aborted)
        && !matches!(reason, ErrorReason::MessageTooLarge | ErrorReason::HeadersTooLarge)
    {
        details.set_retry_info(Some(RETRY_DELAY));
    }
    Status::with_error_details(code, message, details)
}

/// The status, for a client that knows how long to wait before a retry can succeed.
pub fn retry_after(status: &Status, wait: Duration) -> Status {
    let mut details = status.get_error_details();
    details.set_retry_info(Some(wait));
    Status::with_error_details(status.code(), status.message(), details)
}

/// The status of a request with faults in its fields. Its details list all of them, as far as they fit; its message
/// says the first ones in words, for tools that show nothing but the message.
pub fn invalid_fields(mut violations: Vec<FieldViolation>) -> Status {
    let mut size = 0;
    let fitting = violations
        .iter()
        .take_while(|violation| {
            size += violation.field.len() + violation.description.len();
            size += violation.reason.len() + FRAMING_BYTES;
            size <= MAX_DETAIL_BYTES
        })
        .count();
    let message = in_words(&violations);
    let kept = fitting.clamp(1, violations.len().max(1));
    let left_out = violations.len().saturating_sub(kept);
    violations.truncate(kept);
    let mut facts = HashMap::new();
    if left_out > 0 {
        facts.insert("left_out_violations".to_owned(), left_out.to_string());
    }
    let reason = ErrorReason::InvalidField;
    let mut details = ErrorDetails::with_error_info(reason_name(reason), DOMAIN, facts);
    details.set_bad_request(violations);
    Status::with_error_details(code_of(reason), message, details)
}

/// The first faults as a sentence, and how many others there are: `invalid user_id: is required; and 2 more`.
fn in_words(violations: &[FieldViolation]) -> String {
    let mut message = String::from("invalid ");
    for (index, FieldViolation { field, description, .. }) in violations.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let fault = format!("{separator}{field}: {description}");
        if message.len() + fault.len() <= MAX_WORDS_BYTES {
            message += &fault;
            continue;
        }
        if index == 0 {
            // The details hold all of it.
            let fits = fault.floor_char_boundary(MAX_WORDS_BYTES - message.len());
            message.extend([&fault[..fits], "..."]);
        }
        let more = violations.len() - index.max(1);
        if more > 0 {
            message = format!("{message}; and {more} more");
        }
        break;
    }
    message
}

/// The status of a bug in the server. The details are only in the log.
pub fn internal() -> Status {
    status(ErrorReason::Internal, "internal error; it has been logged", &[])
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the database failed");
        Self(match error {
            StoreError::Unavailable(_) => unavailable("the database is unavailable; try again"),
            error if error.may_pass() => {
                unavailable("the database lacks something that was dropped; try again")
            }
            _ => internal(),
        })
    }
}

fn unavailable(message: &str) -> Status {
    status(ErrorReason::DatabaseUnavailable, message, &[])
}

/// A status to be returned; makes `?` work on the failures of the layers below.
pub struct ApiError(pub Status);

impl ApiError {
    /// Whether this is the reason.
    pub fn is(&self, reason: ErrorReason) -> bool {
        let details = self.0.get_error_details();
        details.error_info().is_some_and(|info| info.reason == reason_name(reason))
    }

    /// A fact of the `ErrorInfo`, if the reason is this one.
    pub fn fact(&self, reason: ErrorReason, name: &str) -> Option<String> {
        let details = self.0.get_error_details();
        let info = details.error_info().filter(|info| info.reason == reason_name(reason))?;
        info.metadata.get(name).cloned()
    }

    /// Adds a fact that only the caller knows to the `ErrorInfo`, if the reason is this one.
    pub fn with_fact(self, reason: ErrorReason, name: &str, value: &str) -> Self {
        if self.is(reason) { self.with(name, value) } else { self }
    }

    /// Adds what to do about it to the message.
    pub fn advise(self, advice: &str) -> Self {
        let message = format!("{}; {advice}", self.0.message());
        let details = self.0.get_error_details();
        Self(Status::with_error_details(self.0.code(), message, details))
    }

    /// Adds a fact that only the caller knows to the `ErrorInfo`.
    pub fn with(self, name: &str, value: &str) -> Self {
        let mut details = self.0.get_error_details();
        let Some(mut info) = details.error_info().cloned() else { return self };
        info.metadata.insert(name.into(), value.into());
        details.set_error_info(info.reason, info.domain, info.metadata);
        Self(Status::with_error_details(self.0.code(), self.0.message(), details))
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        error.0
    }
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl From<HashingError> for ApiError {
    fn from(error: HashingError) -> Self {
        Self(match error {
            HashingError::QueueFull => status(ErrorReason::QueueFull, error.to_string(), &[]),
            HashingError::Failed => internal(),
        })
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        let message = error.to_string();
        match error {
            LoginError::Wrong | LoginError::WrongPassword(_) => {
                status(ErrorReason::LoginFailed, message, &[]).into()
            }
            LoginError::TooManyAtOnce | LoginError::QueueFull(_) => {
                status(ErrorReason::QueueFull, message, &[]).into()
            }
            LoginError::TooManyFailures(wait) => {
                let status = status(ErrorReason::TooManyFailures, message, &[]);
                let mut details = status.get_error_details();
                details.set_retry_info(Some(wait));
                Status::with_error_details(status.code(), status.message(), details).into()
            }
            LoginError::Hashing(error) => error.into(),
            LoginError::Store(error) => error.into(),
            LoginError::Internal => internal().into(),
        }
    }
}

impl From<QueueFull> for ApiError {
    fn from(full: QueueFull) -> Self {
        Self(status(ErrorReason::QueueFull, full.to_string(), &[]))
    }
}

impl From<Unavailable> for ApiError {
    fn from(unavailable: Unavailable) -> Self {
        Self(status(ErrorReason::DatabaseUnavailable, unavailable.to_string(), &[]))
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Refused(refusal) => refusal.into(),
            QueryError::Store(error) => error.into(),
            QueryError::Behind(lag) => Failure::Behind(lag).into(),
            QueryError::Broken(what) => {
                tracing::error!(what, "a query failed because of a bug");
                Self(internal())
            }
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let message = error.to_string();
        Self(match error {
            ReadError::Store(error) => return error.into(),
            ReadError::Behind { reached, wanted } => status(
                ErrorReason::ReadModelBehind,
                message,
                &[("reached_position", &reached), ("wanted_position", &wanted)],
            ),
            ReadError::LeaderboardUnread => status(ErrorReason::ReadModelBehind, message, &[]),
            ReadError::Building { reached, head } => status(
                ErrorReason::ReadModelBuilding,
                message,
                &[("reached_position", &reached), ("head_position", &head)],
            ),
        })
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        Self(match failure {
            Failure::Refused(refusal) => return refusal.into(),
            Failure::RequestIdReused => status(ErrorReason::RequestIdReused, message, &[]),
            Failure::QueueFull(_) => status(ErrorReason::QueueFull, message, &[]),
            Failure::Behind(lag) => status(
                ErrorReason::ReadModelBuilding,
                message,
                &[("reached_position", &lag.reached), ("head_position", &lag.head)],
            ),
            Failure::Conflict => status(ErrorReason::Conflict, message, &[]),
            Failure::DatabaseUnavailable => status(
                ErrorReason::DatabaseUnavailable,
                "the database is unavailable, and whether the command was carried out is unknown; \
                 send it again with the same request_id",
                &[],
            ),
            Failure::ShuttingDown => status(ErrorReason::ShuttingDown, message, &[]),
            Failure::Internal => internal(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(field: &str, description: &str) -> FieldViolation {
        FieldViolation {
            field: field.into(),
            description: description.into(),
            ..FieldViolation::default()
        }
    }

    #[test]
    fn the_message_says_the_first_faults_in_words_and_how_many_others_there_are() {
        let amount = fault("amount.minor_units", "must be at least 1 minor unit");
        let user = fault("user_id", "is required");
        let message = invalid_fields(vec![amount.clone(), user.clone()]).message().to_owned();
        let expected =
            "invalid amount.minor_units: must be at least 1 minor unit; user_id: is required";
        assert_eq!(message, expected);
        let many = vec![amount; 100];
        let message = invalid_fields(many).message().to_owned();
        assert!(message.ends_with(" minor unit; and 96 more"), "{message}");
        let long = fault("event_types[0]", &"é".repeat(1_000));
        let message = invalid_fields(vec![long.clone()]).message().to_owned();
        assert!(message.len() < 280 && message.ends_with("é..."), "{message}");
        let message = invalid_fields(vec![long, user]).message().to_owned();
        assert!(message.ends_with("é...; and 1 more"), "{message}");
    }

    #[test]
    fn faults_that_do_not_fit_into_the_details_are_counted() {
        let status = invalid_fields(vec![fault("rewards[0].level", "must be 0 or more"); 1_000]);
        let details = status.get_error_details();
        let listed = details.bad_request().map_or(0, |request| request.field_violations.len());
        let left_out = &details.error_info().map(|info| info.metadata.clone()).unwrap_or_default();
        assert_eq!(left_out["left_out_violations"], (1_000 - listed).to_string());
        assert!(
            listed > 20 && status.details().len() < 2_400,
            "{listed} {}",
            status.details().len()
        );
    }
}
