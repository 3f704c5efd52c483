//! The lines of payouts: a line and the money of its participant move together, in one append.

use std::sync::Arc;

use crate::decide::expire::expire;
use crate::decide::payout::existing_payout;
use crate::{
    Halt, LotPart, Participant, ParticipantCommand, PayoutLine, PayoutLineCommand, PayoutLineId,
    PayoutLineReserved, PayoutLineSkipped, PayoutLineState, PayoutMove, PayoutPart, PayoutState,
    PayoutStep, Program, ProviderReference, Refusal, SkipReason, User, Work, load, tell,
};

/// What a participant gets by a payout that collects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct CollectPayoutLine {
    pub line_id: PayoutLineId,
    /// What was available after the participant's last event at or before the creation of the payout.
    pub available_then_minor: i64,
}

/// Reserves the smaller of what was available then and what is now, or notes why nothing is. A line is made once.
///
/// What was available then follows from the log, and so do those who have a line: an attempt that was believed dead and
/// goes on, or the same attempt on another server, makes no line that would not be made anyway.
///
/// Lots that are over expire first: that they do must not hang on when the loop comes that lets them.
pub(super) fn collect(work: &mut dyn Work, input: &CollectPayoutLine) -> Result<(), Halt> {
    let CollectPayoutLine { line_id, available_then_minor } = input;
    let payout = existing_payout(work, &line_id.payout)?;
    let is_collecting = payout.state() == PayoutState::Collecting;
    let is_new = load::<PayoutLine>(work, line_id)?.state() == PayoutLineState::None;
    let (Some(created), true, true) = (payout.created(), is_collecting, is_new) else {
        return Ok(());
    };
    let participant_id = line_id.participant();
    expire(work, &participant_id)?;
    let participant = load::<Participant>(work, &participant_id)?;
    let user = load::<User>(work, &line_id.user_id)?;
    let available = participant.buckets().available;
    let amount_minor = available.min(*available_then_minor);
    let reason = if participant.is_erased() {
        Some(SkipReason::Erased)
    } else if !participant.is_active() {
        Some(SkipReason::Inactive)
    } else if participant.is_flagged() {
        Some(SkipReason::Flagged)
    } else if amount_minor < 0 {
        Some(SkipReason::InDebt)
    } else if !user.has_payout_method() {
        Some(SkipReason::NoMethod)
    } else if amount_minor < created.minimum_minor.max(1) {
        Some(SkipReason::BelowMinimum)
    } else {
        None
    };
    let available_then_minor = *available_then_minor;
    if let Some(reason) = reason {
        let skipped = PayoutLineSkipped { reason, available_then_minor };
        return tell::<PayoutLine>(work, line_id, PayoutLineCommand::Skip(skipped)).map(drop);
    }
    let reserved = PayoutLineReserved {
        amount_minor,
        unit: created.unit.clone(),
        available_then_minor,
        parts: participant
            .lots()
            .parts_of(amount_minor)
            .into_iter()
            .map(PayoutPart::from)
            .collect(),
    };
    tell::<PayoutLine>(work, line_id, PayoutLineCommand::Reserve(reserved))?;
    move_money(work, line_id, PayoutStep::Reserve)
}

/// Does to a line what is being done to the whole payout. Nothing happens if the line is decided already.
pub(super) fn settle(work: &mut dyn Work, line_id: &PayoutLineId) -> Result<(), Halt> {
    let payout = existing_payout(work, &line_id.payout)?;
    if load::<PayoutLine>(work, line_id)?.state() != PayoutLineState::Reserved {
        return Ok(());
    }
    match payout.state() {
        PayoutState::Confirming => pay_line(work, line_id, payout.provider_reference().cloned()),
        PayoutState::Failing => {
            let reason_code = payout.reason_code().map(Into::into);
            fail_line(work, line_id, reason_code, payout.provider_reference().cloned())
        }
        PayoutState::Collecting
        | PayoutState::Open
        | PayoutState::Confirmed
        | PayoutState::Failed => Ok(()),
    }
}

pub(super) fn pay_line(
    work: &mut dyn Work,
    line_id: &PayoutLineId,
    provider_reference: Option<ProviderReference>,
) -> Result<(), Halt> {
    existing_line(work, line_id)?;
    let pay = PayoutLineCommand::Pay { line_id: line_id.clone(), provider_reference };
    tell::<PayoutLine>(work, line_id, pay)?;
    move_money(work, line_id, PayoutStep::Pay)
}

pub(super) fn fail_line(
    work: &mut dyn Work,
    line_id: &PayoutLineId,
    reason_code: Option<String>,
    provider_reference: Option<ProviderReference>,
) -> Result<(), Halt> {
    existing_line(work, line_id)?;
    let fail =
        PayoutLineCommand::Fail { line_id: line_id.clone(), reason_code, provider_reference };
    tell::<PayoutLine>(work, line_id, fail)?;
    move_money(work, line_id, PayoutStep::Release)
}

pub(super) fn send_back(
    work: &mut dyn Work,
    line_id: &PayoutLineId,
    reason_code: Option<String>,
    provider_reference: Option<ProviderReference>,
) -> Result<(), Halt> {
    existing_line(work, line_id)?;
    let line_id_of = line_id.clone();
    let back = PayoutLineCommand::Return { line_id: line_id_of, reason_code, provider_reference };
    tell::<PayoutLine>(work, line_id, back)?;
    move_money(work, line_id, PayoutStep::Return)
}

pub(super) fn existing_line(
    work: &mut dyn Work,
    line_id: &PayoutLineId,
) -> Result<Arc<PayoutLine>, Halt> {
    let line = load::<PayoutLine>(work, line_id)?;
    if line.state() == PayoutLineState::None {
        return Err(Refusal::PayoutLineNotFound(line_id.clone()).into());
    }
    Ok(line)
}

/// Moves the amount of a line on the stream of its participant. It is taken from the oldest lots, and what comes back
/// goes to its own.
fn move_money(work: &mut dyn Work, line_id: &PayoutLineId, step: PayoutStep) -> Result<(), Halt> {
    let line = load::<PayoutLine>(work, line_id)?;
    let participant_id = line_id.participant();
    load::<Participant>(work, &participant_id)?;
    let parts = match step {
        PayoutStep::Reserve => line.parts().iter().cloned().map(LotPart::from).collect(),
        PayoutStep::Pay => vec![LotPart { amount_minor: line.amount_minor(), expire_time: None }],
        PayoutStep::Release | PayoutStep::Return => {
            let program = load::<Program>(work, &line_id.payout.program_id)?;
            let version = program.current();
            let version = version.ok_or(Halt::Broken("a line of a program that does not exist"))?;
            line.parts_back(&version.rules, work.now())
        }
    };
    let moved = ParticipantCommand::Payout(PayoutMove {
        user_id: line_id.user_id.clone(),
        payout_id: line_id.payout.payout_id.clone(),
        step,
        parts,
        unit: line.unit().into(),
    });
    tell::<Participant>(work, &participant_id, moved).map(drop)
}
