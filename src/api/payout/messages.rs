//! Payouts as the contract has them.

use crate::api::errors::{ApiError, internal};
use crate::api::pb;
use crate::api::responses::{money, time};
use crate::read::{ListedLine, ListedPayout};
use crate::store::RecordedEvent;
use domain::{PayoutLineState, PayoutState, SkipReason};

pub(super) fn payout_message(listed: ListedPayout) -> pb::Payout {
    let unit = listed.unit;
    let sum = |(count, minor_units)| {
        Some(pb::PayoutLineSum { count, amount: Some(money(&unit, minor_units)) })
    };
    pb::Payout {
        program_id: listed.payout.program_id.to_string(),
        payout_id: listed.payout.payout_id.to_string(),
        state: match listed.state {
            PayoutState::Collecting => pb::PayoutState::Collecting,
            PayoutState::Open => pb::PayoutState::Open,
            PayoutState::Confirming => pb::PayoutState::Confirming,
            PayoutState::Failing => pb::PayoutState::Failing,
            PayoutState::Confirmed => pb::PayoutState::Confirmed,
            PayoutState::Failed => pb::PayoutState::Failed,
        }
        .into(),
        minimum: Some(money(&unit, listed.minimum_minor)),
        created_by: listed.created_by,
        create_time: Some(time(listed.create_time)),
        collect_time: listed.collect_time.map(time),
        provider_reference: listed.provider_reference.unwrap_or_default(),
        reason_code: listed.reason_code.unwrap_or_default(),
        skipped_count: listed.skipped_count,
        reserved: sum(listed.reserved),
        paid: sum(listed.paid),
        failed: sum(listed.failed),
        returned: sum(listed.returned),
        looked_at_count: 0,
        participant_count: 0,
    }
}

pub(super) fn line_message(line: ListedLine, unit: &str) -> pb::PayoutLine {
    let is_skipped = line.state == PayoutLineState::Skipped;
    let skip_reason = match line.skip_reason {
        None => pb::PayoutSkipReason::Unspecified,
        Some(SkipReason::Erased) => pb::PayoutSkipReason::Erased,
        Some(SkipReason::Inactive) => pb::PayoutSkipReason::Inactive,
        Some(SkipReason::Flagged) => pb::PayoutSkipReason::Flagged,
        Some(SkipReason::InDebt) => pb::PayoutSkipReason::InDebt,
        Some(SkipReason::NoMethod) => pb::PayoutSkipReason::NoMethod,
        Some(SkipReason::BelowMinimum) => pb::PayoutSkipReason::BelowMinimum,
    };
    pb::PayoutLine {
        user_id: line.user_id.to_string(),
        state: match line.state {
            PayoutLineState::None => pb::PayoutLineState::Unspecified,
            PayoutLineState::Skipped => pb::PayoutLineState::Skipped,
            PayoutLineState::Reserved => pb::PayoutLineState::Reserved,
            PayoutLineState::Paid => pb::PayoutLineState::Paid,
            PayoutLineState::Failed => pb::PayoutLineState::Failed,
            PayoutLineState::Returned => pb::PayoutLineState::Returned,
        }
        .into(),
        amount: (!is_skipped).then(|| money(unit, line.amount_minor)),
        available_then: Some(money(unit, line.available_then_minor)),
        skip_reason: skip_reason.into(),
        reason_code: line.reason_code.unwrap_or_default(),
        provider_reference: line.provider_reference.unwrap_or_default(),
        create_time: Some(time(line.create_time)),
        change_time: Some(time(line.change_time)),
    }
}

pub(super) fn line_state(state: pb::PayoutLineState) -> Option<PayoutLineState> {
    match state {
        pb::PayoutLineState::Unspecified => None,
        pb::PayoutLineState::Skipped => Some(PayoutLineState::Skipped),
        pb::PayoutLineState::Reserved => Some(PayoutLineState::Reserved),
        pb::PayoutLineState::Paid => Some(PayoutLineState::Paid),
        pb::PayoutLineState::Failed => Some(PayoutLineState::Failed),
        pb::PayoutLineState::Returned => Some(PayoutLineState::Returned),
    }
}

pub(super) fn skip_reason(reason: pb::PayoutSkipReason) -> Option<SkipReason> {
    match reason {
        pb::PayoutSkipReason::Unspecified => None,
        pb::PayoutSkipReason::Erased => Some(SkipReason::Erased),
        pb::PayoutSkipReason::Inactive => Some(SkipReason::Inactive),
        pb::PayoutSkipReason::Flagged => Some(SkipReason::Flagged),
        pb::PayoutSkipReason::InDebt => Some(SkipReason::InDebt),
        pb::PayoutSkipReason::NoMethod => Some(SkipReason::NoMethod),
        pb::PayoutSkipReason::BelowMinimum => Some(SkipReason::BelowMinimum),
    }
}

/// What became of a confirmation, and the approval that it needs or needed.
pub(super) fn confirmed(events: &[RecordedEvent]) -> Result<(pb::ApprovalState, String), ApiError> {
    let mut approval = None;
    let mut is_done = false;
    for event in events {
        let own_id = || event.stream.id.to_string();
        match &*event.event_type {
            "ApprovalRequested" => approval = Some((pb::ApprovalState::Pending, own_id())),
            "ApprovalGranted" => approval = Some((pb::ApprovalState::Approved, own_id())),
            "PayoutConfirmationStarted" | "PayoutLinePaid" => is_done = true,
            _ => {}
        }
    }
    match approval {
        Some(approval) => Ok(approval),
        None if is_done => Ok((pb::ApprovalState::Waived, String::new())),
        None => Err(internal().into()),
    }
}
