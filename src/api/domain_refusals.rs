//! What the domain refuses, as gRPC statuses.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::codes::code_of;
use super::errors::{ApiError, DOMAIN, internal, reason_name, retry_after, status};
use super::pb::ErrorReason;
use domain::{
    ApprovalSubject, DecidedAs, ParticipantId, PayoutKey, PayoutLineId, PayoutState,
    ProgramRedemptionId, Refusal, StoreItemId,
};

/// The maximum number of balances that an error names.
const MAX_OWED: usize = 8;

impl From<Refusal> for ApiError {
    #[allow(clippy::too_many_lines, reason = "one row for each refusal")]
    fn from(refusal: Refusal) -> Self {
        type R = ErrorReason;
        let message = refusal.to_string();
        let status = |reason, facts: &[(&str, &dyn Display)]| status(reason, &*message, facts);
        let of_referee = |reason, ParticipantId { program_id, user_id }: &ParticipantId| {
            status(reason, &[("program_id", program_id), ("referee_user_id", user_id)])
        };
        let of_participant = |reason, ParticipantId { program_id, user_id }: &ParticipantId| {
            status(reason, &[("program_id", program_id), ("user_id", user_id)])
        };
        let of_item = |reason, id: &StoreItemId, more: &[(&str, &dyn Display)]| {
            let own: [(&str, &dyn Display); 2] =
                [("program_id", &id.program_id), ("item_id", &id.item_id)];
            status(reason, &[&own[..], more].concat())
        };
        let of_redemption = |reason, id: &ProgramRedemptionId| {
            let facts: [(&str, &dyn Display); 2] =
                [("program_id", &id.program_id), ("redemption_id", &id.redemption_id)];
            status(reason, &facts)
        };
        Self(match &refusal {
            Refusal::UserNotFound(id) => status(R::UserNotFound, &[("user_id", id)]),
            Refusal::ProgramNotFound(id) => status(R::ProgramNotFound, &[("program_id", id)]),
            Refusal::ParticipantNotFound(id) => of_participant(R::ParticipantNotFound, id),
            Refusal::CodeNotFound(code) => {
                status(R::ReferralCodeNotFound, &[("referral_code", code)])
            }
            Refusal::PurchaseNotFound(id) => status(R::PurchaseNotFound, &[("purchase_id", id)]),
            Refusal::RewardNotFound(id) => status(R::RewardNotFound, &[("reward_id", id)]),
            Refusal::RefundNotFound(purchase, refund) => {
                status(R::RefundNotFound, &[("purchase_id", purchase), ("refund_id", refund)])
            }
            Refusal::RefundIdReused(purchase, refund) => {
                status(R::RefundIdReused, &[("purchase_id", purchase), ("refund_id", refund)])
            }
            Refusal::RefundExceedsPurchase { purchase_id, left_minor } => status(
                R::RefundExceedsPurchase,
                &[("purchase_id", purchase_id), ("left_minor", left_minor)],
            ),
            Refusal::TooManyRefunds { purchase_id, limit } => {
                status(R::TooManyRefunds, &[("purchase_id", purchase_id), ("limit", limit)])
            }
            Refusal::CurrencyMismatch { purchase_id, currency_code } => status(
                R::CurrencyMismatch,
                &[("purchase_id", purchase_id), ("currency_code", currency_code)],
            ),
            Refusal::DisputeNotFound { purchase_id, dispute_id } => status(
                R::DisputeNotFound,
                &[("purchase_id", purchase_id), ("dispute_id", dispute_id)],
            ),
            Refusal::DisputeClosedAlready { purchase_id, dispute_id, amount_minor, outcome } => {
                status(
                    R::DisputeAlreadyClosed,
                    &[
                        ("purchase_id", purchase_id),
                        ("dispute_id", dispute_id),
                        ("outcome", &outcome.as_str()),
                        ("amount_minor", amount_minor),
                    ],
                )
            }
            Refusal::DisputeExceedsPurchase { purchase_id, paid_minor } => status(
                R::DisputeExceedsPurchase,
                &[("purchase_id", purchase_id), ("paid_minor", paid_minor)],
            ),
            Refusal::TooManyDisputes { purchase_id, limit } => {
                status(R::TooManyDisputes, &[("purchase_id", purchase_id), ("limit", limit)])
            }
            Refusal::UserIdTaken(id) => status(R::UserIdTaken, &[("user_id", id)]),
            Refusal::Taken(fields) => taken(&message, fields),
            Refusal::PurchaseIdReused(id) => status(R::PurchaseIdReused, &[("purchase_id", id)]),
            Refusal::AlreadyEnrolled(id) => of_participant(R::AlreadyEnrolled, id),
            Refusal::AlreadyReferred(referee) => of_referee(R::AlreadyReferred, referee),
            Refusal::SelfReferral(id) => status(R::SelfReferral, &[("user_id", id)]),
            Refusal::ReferralCycle { referee, referrer } => status(
                R::ReferralCycle,
                &[("referee_user_id", referee), ("referrer_user_id", referrer)],
            ),
            Refusal::ReferralTooLate(referee) => of_referee(R::ReferralTooLate, referee),
            Refusal::AlreadyBought(referee) => of_referee(R::AlreadyBought, referee),
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
            Refusal::ProgramChanged { program_id, version, expected } => status(
                R::ProgramChanged,
                &[("program_id", program_id), ("version", version), ("expected_version", expected)],
            ),
            Refusal::TooManyDefaultPrograms { program_id, limit } => {
                status(R::TooManyDefaultPrograms, &[("program_id", program_id), ("limit", limit)])
            }
            // The caller reads again and retries; this is what is left if that does not help.
            Refusal::ProfileMoved(id) => status(R::Conflict, &[("user_id", id)]),
            Refusal::PurchaseMoved(id) => status(R::Conflict, &[("purchase_id", id)]),
            Refusal::TooManyAddressChanges { limit, wait_seconds, .. } => {
                let limited = status(
                    R::RateLimited,
                    &[("limit", &"address_changes"), ("max_per_hour", limit)],
                );
                let wait = u64::try_from(*wait_seconds).unwrap_or_default();
                retry_after(&limited, Duration::from_secs(wait))
            }
            Refusal::MailedTokenUsed => status(R::MailedTokenUsed, &[]),
            Refusal::SecondFactorOn(id) => status(R::SecondFactorOn, &[("user_id", id)]),
            Refusal::SecondFactorOff(id) => status(R::SecondFactorOff, &[("user_id", id)]),
            Refusal::TooManySignUps { program_id, limit, retry_seconds } => {
                let facts = [("program_id", program_id as &dyn Display), ("limit", limit)];
                retry_after(&status(R::TooManySignUps, &facts), Duration::from_secs(*retry_seconds))
            }
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
            Refusal::FraudFlagWithoutUser(id) => {
                status(R::FraudFlagWithoutUser, &[("flag_id", id)])
            }
            Refusal::AdjustmentIdReused(id) => match &id.0 {
                ApprovalSubject::Adjustment { participant, adjustment_id } => status(
                    R::AdjustmentIdReused,
                    &[
                        ("program_id", &participant.program_id),
                        ("user_id", &participant.user_id),
                        ("adjustment_id", adjustment_id),
                    ],
                ),
                // The decision has looked.
                ApprovalSubject::Payout { .. } => internal(),
            },
            Refusal::PayoutNotFound(payout) => status(R::PayoutNotFound, &payout_facts(payout)),
            Refusal::PayoutLineNotFound(PayoutLineId { payout, user_id }) => {
                let [program, payout] = payout_facts(payout);
                status(R::PayoutLineNotFound, &[program, payout, ("user_id", user_id)])
            }
            Refusal::PayoutIdReused(payout) => status(R::PayoutIdReused, &payout_facts(payout)),
            Refusal::PayoutCollecting(payout) => status(R::PayoutCollecting, &payout_facts(payout)),
            Refusal::PayoutsOff(id) => status(R::PayoutsOff, &[("program_id", id)]),
            Refusal::PayoutOfCredits(id) => status(R::PayoutOfCredits, &[("program_id", id)]),
            Refusal::PayoutDecided { payout, state, said } => {
                let [program, payout] = payout_facts(payout);
                let state = state.as_str();
                let facts = [&[program, payout, ("state", &state)][..], &said_facts(said)];
                status(R::PayoutDecided, &facts.concat())
            }
            Refusal::PayoutWasEmpty(payout) => {
                let [program, payout] = payout_facts(payout);
                let state = PayoutState::Confirmed.as_str();
                status(R::PayoutDecided, &[program, payout, ("state", &state)])
            }
            Refusal::PayoutLineDecided { line_id, state, said } => {
                let [program, payout] = payout_facts(&line_id.payout);
                let state = state.as_str();
                let own: [(&str, &dyn Display); 4] =
                    [program, payout, ("user_id", &line_id.user_id), ("state", &state)];
                status(R::PayoutLineDecided, &[&own[..], &said_facts(said)].concat())
            }
            Refusal::OwnPayoutLine(PayoutLineId { payout, user_id }) => {
                let [program, payout] = payout_facts(payout);
                status(R::OwnPayoutLine, &[program, payout, ("user_id", user_id as &dyn Display)])
            }
            Refusal::PayoutAwaitsApproval(id) => {
                status(R::PayoutAwaitsApproval, &[("approval_id", id)])
            }
            Refusal::PayoutPending { user_id, program_id } => {
                status(R::PayoutPending, &[("user_id", user_id), ("program_id", program_id)])
            }
            Refusal::NotTheUnit { field, program_id, unit } => {
                let facts: [(&str, &dyn Display); 2] =
                    [("program_id", program_id), ("currency_code", unit)];
                let field = format!("{field}.currency_code");
                at_field(&status(R::CurrencyMismatch, &facts), field, format!("must be {unit}"))
            }
            Refusal::ApprovalNotFound(id) => status(R::ApprovalNotFound, &[("approval_id", id)]),
            Refusal::ApprovalDecided { approval_id, state } => status(
                R::ApprovalDecided,
                &[("approval_id", approval_id), ("state", &state.as_str())],
            ),
            Refusal::SelfApproval { approval_id, why } => {
                status(R::SelfApproval, &[("approval_id", approval_id), ("why", &why.as_str())])
            }
            Refusal::ItemNotFound(id) => of_item(R::ItemNotFound, id, &[]),
            Refusal::ItemNotAvailable(id) => of_item(R::ItemNotAvailable, id, &[]),
            Refusal::ItemCostChanged { id, cost_minor, unit } => {
                of_item(R::ItemCostChanged, id, &[("cost_minor", cost_minor), ("unit", unit)])
            }
            Refusal::OutOfStock { id, stock } => of_item(R::OutOfStock, id, &[("stock", stock)]),
            Refusal::ItemLimitReached { id, limit } => {
                of_item(R::ItemLimitReached, id, &[("per_person_limit", limit)])
            }
            Refusal::TierTooLow { id, from_tier, tier } => {
                of_item(R::TierTooLow, id, &[("from_tier", from_tier), ("tier", tier)])
            }
            Refusal::TierNotFound { program_id, tier } => {
                status(R::TierNotFound, &[("program_id", program_id), ("tier", tier)])
            }
            Refusal::StockBelowTaken { id, taken } => {
                of_item(R::StockBelowTaken, id, &[("taken_count", taken)])
            }
            Refusal::TooManyItems { program_id, limit } => {
                status(R::TooManyItems, &[("program_id", program_id), ("limit", limit)])
            }
            Refusal::InsufficientBalance { id, available_minor, cost_minor } => status(
                R::InsufficientBalance,
                &[
                    ("program_id", &id.program_id),
                    ("user_id", &id.user_id),
                    ("available_minor", available_minor),
                    ("cost_minor", cost_minor),
                ],
            ),
            Refusal::ReferralFlagged(id) => of_participant(R::ReferralFlagged, id),
            Refusal::RedemptionNotFound(id) => of_redemption(R::RedemptionNotFound, id),
            Refusal::RedemptionIdReused(id) => of_redemption(R::RedemptionIdReused, id),
            Refusal::RedemptionIsFulfilled(id) => of_redemption(R::RedemptionFulfilled, id),
            Refusal::RedemptionIsCancelled(id) => of_redemption(R::RedemptionCancelled, id),
            // The session of somebody who is no admin any more ends within a second, too.
            Refusal::StaffAccount(id) | Refusal::CreatorIsNoAdmin(id) => {
                status(R::PermissionDenied, &[("user_id", id)])
            }
            Refusal::JobRetriedAlready(id) => {
                status(R::JobNotParked, &[("job_id", id), ("state", &"queued")])
            }
        })
    }
}

/// The facts that name a payout.
fn payout_facts(payout: &PayoutKey) -> [(&'static str, &dyn Display); 2] {
    [("program_id", &payout.program_id), ("payout_id", &payout.payout_id)]
}

/// What was said of a payout or a line before.
fn said_facts(said: &DecidedAs) -> Vec<(&'static str, &dyn Display)> {
    let DecidedAs { reason_code, provider_reference, paid_reference } = said;
    let reason_code = reason_code.as_ref().map(|code| ("reason_code", code as &dyn Display));
    let reference = provider_reference.as_ref();
    let reference = reference.map(|of| ("provider_reference", of as &dyn Display));
    let paid = paid_reference.as_ref();
    let paid = paid.map(|of| ("paid_provider_reference", of as &dyn Display));
    reason_code.into_iter().chain(reference).chain(paid).collect()
}

/// The status, with the field that it is about.
fn at_field(refused: &Status, field: String, description: String) -> Status {
    let mut details = refused.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let violation = FieldViolation { field, description, reason, ..FieldViolation::default() };
    details.set_bad_request(vec![violation]);
    Status::with_error_details(refused.code(), refused.message(), details)
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
