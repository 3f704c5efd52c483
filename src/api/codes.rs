//! The gRPC code of each reason.

use tonic::Code;

use super::pb::ErrorReason;

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
        | ErrorReason::RefundNotFound
        | ErrorReason::RewardNotFound
        | ErrorReason::DisputeNotFound
        | ErrorReason::ProgramVersionNotFound
        | ErrorReason::MailedTokenUnknown
        | ErrorReason::JobNotFound
        | ErrorReason::ApiKeyNotFound
        | ErrorReason::FraudFlagNotFound
        | ErrorReason::ApprovalNotFound
        | ErrorReason::PayoutNotFound
        | ErrorReason::PayoutLineNotFound
        | ErrorReason::SessionNotFound
        | ErrorReason::PaymentNotFound
        | ErrorReason::MailNotFound
        | ErrorReason::ItemNotFound
        | ErrorReason::RedemptionNotFound
        | ErrorReason::TierNotFound => Code::NotFound,
        ErrorReason::UsernameTaken
        | ErrorReason::EmailTaken
        | ErrorReason::UserIdTaken
        | ErrorReason::RequestIdReused
        | ErrorReason::PurchaseIdReused
        | ErrorReason::AdjustmentIdReused
        | ErrorReason::PayoutIdReused
        | ErrorReason::RefundIdReused
        | ErrorReason::AlreadyEnrolled
        | ErrorReason::AlreadyReferred
        | ErrorReason::RedemptionIdReused => Code::AlreadyExists,
        ErrorReason::SelfReferral
        | ErrorReason::ReferralCycle
        | ErrorReason::ReferralNotHeld
        | ErrorReason::ReferralUnconfirmed
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
        | ErrorReason::PaymentRecorded
        | ErrorReason::ProviderNotConfigured
        | ErrorReason::ProviderRefused
        | ErrorReason::UnitIsFixed
        | ErrorReason::TooManyVersions
        | ErrorReason::ProgramChanged
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
        | ErrorReason::FraudFlagWithoutUser
        | ErrorReason::RefundExceedsPurchase
        | ErrorReason::DisputeExceedsPurchase
        | ErrorReason::DisputeAlreadyClosed
        | ErrorReason::CurrencyMismatch
        | ErrorReason::ApprovalDecided
        | ErrorReason::SelfApproval
        | ErrorReason::PayoutCollecting
        | ErrorReason::PayoutUnsettled
        | ErrorReason::PayoutsOff
        | ErrorReason::PayoutOfCredits
        | ErrorReason::PayoutDecided
        | ErrorReason::PayoutLineDecided
        | ErrorReason::OwnPayoutLine
        | ErrorReason::PayoutAwaitsApproval
        | ErrorReason::PayoutPending
        | ErrorReason::TooManyRefunds
        | ErrorReason::TooManyDisputes
        | ErrorReason::UserRoleUnchanged
        | ErrorReason::ItemNotAvailable
        | ErrorReason::ItemCostChanged
        | ErrorReason::OutOfStock
        | ErrorReason::ItemLimitReached
        | ErrorReason::TierTooLow
        | ErrorReason::InsufficientBalance
        | ErrorReason::RedemptionFulfilled
        | ErrorReason::RedemptionCancelled
        | ErrorReason::StockBelowTaken
        | ErrorReason::TooManyItems
        | ErrorReason::ReferralFlagged => Code::FailedPrecondition,
        ErrorReason::MessageTooLarge
        | ErrorReason::HeadersTooLarge
        | ErrorReason::QueueFull
        | ErrorReason::SlowConsumer
        | ErrorReason::TooManyStreams
        | ErrorReason::RateLimited
        | ErrorReason::TooManySignUps
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
        | ErrorReason::ProviderUnavailable
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
        | ErrorReason::AmountIsZero
        | ErrorReason::InvalidReasonCode
        | ErrorReason::InvalidNote
        | ErrorReason::TimeInFuture
        | ErrorReason::InvalidTime
        | ErrorReason::InvalidTimeZone
        | ErrorReason::InvalidIpAddress
        | ErrorReason::InvalidUrl
        | ErrorReason::AmountNotPayable
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
