//! The one place where a failure becomes a gRPC status.
//!
//! Every status carries an `ErrorInfo` whose reason is a value of the contract's `ErrorReason`, so
//! that clients need not read messages. Statuses stay below 4 KiB, as proxies drop larger
//! headers.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::pb::ErrorReason;
use crate::access::Unavailable;
use crate::access::logins::LoginError;
use crate::access::passwords::HashingError;
use crate::engine::Failure;
use crate::engine::query::QueryError;
use crate::read::ReadError;
use crate::store::StoreError;
use domain::{ParticipantId, Refusal};

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

/// The maximum number of balances that an error names.
const MAX_OWED: usize = 8;

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

/// The code of a reason.
#[must_use]
#[allow(clippy::too_many_lines, reason = "a line for each reason")]
pub fn code_of(reason: ErrorReason) -> Code {
    match reason {
        ErrorReason::UserNotFound
        | ErrorReason::ProgramNotFound
        | ErrorReason::ParticipantNotFound
        | ErrorReason::ReferralCodeNotFound
        | ErrorReason::PurchaseNotFound
        | ErrorReason::ProgramVersionNotFound
        | ErrorReason::MailedTokenUnknown
        | ErrorReason::JobNotFound
        | ErrorReason::ApiKeyNotFound
        | ErrorReason::FraudFlagNotFound
        | ErrorReason::SessionNotFound
        | ErrorReason::MailNotFound => Code::NotFound,
        ErrorReason::UsernameTaken
        | ErrorReason::EmailTaken
        | ErrorReason::UserIdTaken
        | ErrorReason::RequestIdReused
        | ErrorReason::PurchaseIdReused
        | ErrorReason::AlreadyEnrolled
        | ErrorReason::AlreadyReferred => Code::AlreadyExists,
        ErrorReason::SelfReferral
        | ErrorReason::ReferralCycle
        | ErrorReason::ReferralTooLate
        | ErrorReason::AlreadyBought
        | ErrorReason::CodeExhausted
        | ErrorReason::ReferrerLimitReached
        | ErrorReason::UserInactive
        | ErrorReason::UserAlreadyInactive
        | ErrorReason::UserAlreadyActive
        | ErrorReason::BalanceOwed
        | ErrorReason::AddressUsedBefore
        | ErrorReason::BalanceLimitReached
        | ErrorReason::UnitIsFixed
        | ErrorReason::TooManyVersions
        | ErrorReason::TooManyPrograms
        | ErrorReason::TooManyDefaultPrograms
        | ErrorReason::MailedTokenExpired
        | ErrorReason::MailedTokenUsed
        | ErrorReason::SecondFactorOn
        | ErrorReason::SecondFactorOff
        | ErrorReason::SigningKeyNotKept
        | ErrorReason::TokenAheadOfLog
        | ErrorReason::TokenOfOldEpoch
        | ErrorReason::NoTiers
        | ErrorReason::TooManyReferrals
        | ErrorReason::JobNotParked
        | ErrorReason::MailNotParked
        | ErrorReason::ApiKeyAlreadyRevoked
        | ErrorReason::TooManyApiKeys
        | ErrorReason::UserRoleUnchanged => Code::FailedPrecondition,
        ErrorReason::MessageTooLarge
        | ErrorReason::HeadersTooLarge
        | ErrorReason::QueueFull
        | ErrorReason::SlowConsumer
        | ErrorReason::TooManyStreams
        | ErrorReason::RateLimited
        | ErrorReason::TooManyRequests
        | ErrorReason::TooManyFailures => Code::ResourceExhausted,
        ErrorReason::RequestIncomplete | ErrorReason::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorReason::MissingCredentials
        | ErrorReason::InvalidCredentials
        | ErrorReason::SecondFactorWrong
        | ErrorReason::SecondFactorRequired
        | ErrorReason::LoginFailed
        | ErrorReason::CredentialsEnded => Code::Unauthenticated,
        ErrorReason::PermissionDenied | ErrorReason::SelfRegistrationClosed => {
            Code::PermissionDenied
        }
        ErrorReason::Conflict => Code::Aborted,
        ErrorReason::DatabaseUnavailable
        | ErrorReason::ShuttingDown
        | ErrorReason::ReadModelBehind
        | ErrorReason::ReadModelBuilding => Code::Unavailable,
        ErrorReason::UnknownMethod | ErrorReason::UnsupportedCompression => Code::Unimplemented,
        ErrorReason::Unspecified | ErrorReason::Internal => Code::Internal,
        // Faults in the request.
        ErrorReason::InvalidField
        | ErrorReason::MalformedMessage
        | ErrorReason::InvalidTimeout
        | ErrorReason::FieldRequired
        | ErrorReason::FieldTooLong
        | ErrorReason::InvalidId
        | ErrorReason::InvalidEmail
        | ErrorReason::InvalidUsername
        | ErrorReason::InvalidDisplayName
        | ErrorReason::WeakPassword
        | ErrorReason::PasswordWithoutUpper
        | ErrorReason::PasswordWithoutLower
        | ErrorReason::PasswordWithoutDigit
        | ErrorReason::PasswordWithoutSpecial
        | ErrorReason::InvalidReferralCode
        | ErrorReason::InvalidCurrency
        | ErrorReason::AmountNotPositive
        | ErrorReason::AmountTooLarge
        | ErrorReason::TimeInFuture
        | ErrorReason::InvalidTime
        | ErrorReason::InvalidIpAddress
        | ErrorReason::InvalidPageSize
        | ErrorReason::InvalidPageToken
        | ErrorReason::InvalidResumeToken
        | ErrorReason::InvalidProgram
        | ErrorReason::FieldsExclusive
        | ErrorReason::NulCharacter
        | ErrorReason::UnsupportedField
        | ErrorReason::InvalidConsistencyToken
        | ErrorReason::OutOfRange
        | ErrorReason::UnknownEventType
        | ErrorReason::UnknownRpc => Code::InvalidArgument,
    }
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

    /// Adds a fact that only the caller knows to the `ErrorInfo`, if the reason is this one.
    pub fn with_fact(self, reason: ErrorReason, name: &str, value: &str) -> Self {
        if self.is(reason) { self.with(name, value) } else { self }
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
            LoginError::Wrong => status(ErrorReason::LoginFailed, message, &[]).into(),
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

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        type R = ErrorReason;
        let message = refusal.to_string();
        let status = |reason, facts: &[(&str, &dyn Display)]| status(reason, &*message, facts);
        Self(match &refusal {
            Refusal::UserNotFound(id) => status(R::UserNotFound, &[("user_id", id)]),
            Refusal::ProgramNotFound(id) => status(R::ProgramNotFound, &[("program_id", id)]),
            Refusal::ParticipantNotFound(ParticipantId { program_id, user_id }) => {
                status(R::ParticipantNotFound, &[("program_id", program_id), ("user_id", user_id)])
            }
            Refusal::CodeNotFound(code) => {
                status(R::ReferralCodeNotFound, &[("referral_code", code)])
            }
            Refusal::PurchaseNotFound(id) => status(R::PurchaseNotFound, &[("purchase_id", id)]),
            Refusal::UserIdTaken(id) => status(R::UserIdTaken, &[("user_id", id)]),
            Refusal::Taken(fields) => taken(&message, fields),
            Refusal::PurchaseIdReused(id) => status(R::PurchaseIdReused, &[("purchase_id", id)]),
            Refusal::AlreadyEnrolled(ParticipantId { program_id, user_id }) => {
                status(R::AlreadyEnrolled, &[("program_id", program_id), ("user_id", user_id)])
            }
            Refusal::AlreadyReferred(ParticipantId { program_id, user_id }) => status(
                R::AlreadyReferred,
                &[("program_id", program_id), ("referee_user_id", user_id)],
            ),
            Refusal::SelfReferral(id) => status(R::SelfReferral, &[("user_id", id)]),
            Refusal::ReferralCycle { referee, referrer } => status(
                R::ReferralCycle,
                &[("referee_user_id", referee), ("referrer_user_id", referrer)],
            ),
            Refusal::ReferralTooLate(ParticipantId { program_id, user_id }) => status(
                R::ReferralTooLate,
                &[("program_id", program_id), ("referee_user_id", user_id)],
            ),
            Refusal::AlreadyBought(ParticipantId { program_id, user_id }) => status(
                R::AlreadyBought,
                &[("program_id", program_id), ("referee_user_id", user_id)],
            ),
            Refusal::CodeExhausted { code, limit } => {
                status(R::CodeExhausted, &[("referral_code", code), ("max_uses_per_code", limit)])
            }
            Refusal::ReferrerLimitReached { referrer, limit } => status(
                R::ReferrerLimitReached,
                &[("referrer_user_id", referrer), ("max_direct_referrals", limit)],
            ),
            Refusal::PasswordChangedMeanwhile(_) => status(R::Conflict, &[]),
            Refusal::UserInactive(id) => status(R::UserInactive, &[("user_id", id)]),
            Refusal::UserAlreadyInactive(id) => status(R::UserAlreadyInactive, &[("user_id", id)]),
            Refusal::UserAlreadyActive(id) => status(R::UserAlreadyActive, &[("user_id", id)]),
            Refusal::AddressUsedBefore(id) => {
                status(R::AddressUsedBefore, &[("referee_user_id", id)])
            }
            Refusal::BalanceOwed { user_id, owed } => {
                let named = owed.iter().take(MAX_OWED).map(String::as_str).collect::<Vec<_>>();
                status(
                    R::BalanceOwed,
                    &[
                        ("user_id", user_id),
                        ("owed", &named.join(", ")),
                        ("program_count", &owed.len()),
                    ],
                )
            }
            Refusal::BalanceLimitReached(id) => status(R::BalanceLimitReached, &[("user_id", id)]),
            Refusal::UnitIsFixed { program_id, unit } => {
                status(R::UnitIsFixed, &[("program_id", program_id), ("unit", unit)])
            }
            Refusal::TooManyVersions { program_id, limit } => {
                status(R::TooManyVersions, &[("program_id", program_id), ("limit", limit)])
            }
            Refusal::TooManyDefaultPrograms { program_id, limit } => {
                status(R::TooManyDefaultPrograms, &[("program_id", program_id), ("limit", limit)])
            }
            // The caller reads again and retries; this is what is left if that does not help.
            Refusal::ProfileMoved(id) => status(R::Conflict, &[("user_id", id)]),
            Refusal::MailedTokenUsed => status(R::MailedTokenUsed, &[]),
            Refusal::SecondFactorOn(id) => status(R::SecondFactorOn, &[("user_id", id)]),
            Refusal::SecondFactorOff(id) => status(R::SecondFactorOff, &[("user_id", id)]),
            Refusal::TooManyPrograms { user_id, limit } => {
                status(R::TooManyPrograms, &[("user_id", user_id), ("limit", limit)])
            }
            Refusal::UserRoleUnchanged { user_id, role } => {
                let role = role.as_str();
                status(R::UserRoleUnchanged, &[("user_id", user_id), ("role", &role)])
            }
            Refusal::ApiKeyNotFound(id) => status(R::ApiKeyNotFound, &[("key_id", id)]),
            Refusal::ApiKeyAlreadyRevoked(id) => status(R::ApiKeyAlreadyRevoked, &[("key_id", id)]),
            // Ids are drawn at random, so this is a defect of the source of randomness.
            Refusal::ApiKeyIdTaken(_) | Refusal::FraudFlagIdTaken(_) => internal(),
            Refusal::FraudFlagNotFound(id) => status(R::FraudFlagNotFound, &[("flag_id", id)]),
        })
    }
}

/// The status of values that belong to others: one reason, with every such field.
fn taken(message: &str, fields: &[&'static str]) -> Status {
    let reason_of = |field: &str| match field {
        "username" => ErrorReason::UsernameTaken,
        _ => ErrorReason::EmailTaken,
    };
    let reason = fields.first().map_or(ErrorReason::EmailTaken, |field| reason_of(field));
    let mut details =
        ErrorDetails::with_error_info(reason_name(reason), DOMAIN, HashMap::default());
    let violation = |field: &&str| FieldViolation {
        field: (*field).into(),
        description: "belongs to another user".into(),
        reason: reason_name(reason_of(field)).into(),
        ..FieldViolation::default()
    };
    details.set_bad_request(fields.iter().map(violation).collect::<Vec<_>>());
    Status::with_error_details(code_of(reason), message, details)
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
