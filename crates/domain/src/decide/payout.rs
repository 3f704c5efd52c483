//! Payouts: what is decided about a whole payout, and what operators say about one line of it. What jobs do line by
//! line is in `payout_lines`.

use crate::decide::adjust::{person, repeated};
use crate::decide::payout_lines::{existing_line, fail_line, pay_line, send_back};
use crate::{
    Approval, ApprovalCommand, ApprovalId, ApprovalState, ApprovalSubject, Asked, DecidedAs, Halt,
    OwnEvent, Payout, PayoutApprovalWaived, PayoutCollected, PayoutCommand,
    PayoutConfirmationStarted, PayoutCreated, PayoutDesk, PayoutDeskCommand, PayoutFailureStarted,
    PayoutKey, PayoutLine, PayoutLineId, PayoutLineState, PayoutMethod, PayoutState, Program,
    ProviderReference, Refusal, SideRow, Staff, StreamKey, User, UserCommand, UserId, Work, load,
    peek_new, tell,
};

/// An operator pays out what is available.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct CreatePayout {
    pub payout: PayoutKey,
    /// The smallest amount that is paid out to somebody, at least 1.
    pub minimum_minor: i64,
    /// In which unit that is; `None` for the program's.
    pub unit: Option<String>,
}

/// An operator says that the provider has paid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct ConfirmPayout {
    pub payout: PayoutKey,
    /// Whose line; `None` for all that are reserved.
    pub user_id: Option<UserId>,
    pub provider_reference: Option<ProviderReference>,
    pub by: Staff,
    /// The largest amount that nobody else has to approve.
    pub limit_minor: i64,
}

/// An operator says that the provider has not paid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct FailPayout {
    pub payout: PayoutKey,
    /// Whose line; `None` for all that are reserved.
    pub user_id: Option<UserId>,
    pub reason_code: Option<String>,
    /// What the provider calls the transfer that has failed.
    pub provider_reference: Option<ProviderReference>,
    pub by: Staff,
}

/// An operator says that a transfer came back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct ReturnPayoutLine {
    pub line_id: PayoutLineId,
    pub reason_code: Option<String>,
    pub provider_reference: Option<ProviderReference>,
    pub by: Staff,
}

/// Notes how a user is paid. The details are written beside the log.
pub(super) fn set_method(
    work: &mut dyn Work,
    user_id: &UserId,
    method: Option<&PayoutMethod>,
) -> Result<(), Halt> {
    if !load::<User>(work, user_id)?.exists() {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    let set = UserCommand::SetPayoutMethod { user_id: user_id.clone(), is_set: method.is_some() };
    tell::<User>(work, user_id, set)?;
    let (user_id, set_time) = (user_id.clone(), work.now());
    work.write_row(SideRow::PayoutMethod { user_id, method: method.cloned(), set_time });
    Ok(())
}

/// Creates a payout, which collects from then on. While one of a program collects, there is no other.
pub(super) fn create(work: &mut dyn Work, input: &CreatePayout) -> Result<(), Halt> {
    let CreatePayout { payout: key, minimum_minor, unit } = input;
    let PayoutKey { program_id, payout_id } = key;
    if let Some(created) = peek_new::<Payout>(work, key)?.created() {
        let is_same = created.minimum_minor == *minimum_minor
            && unit.as_ref().is_none_or(|unit| *unit == created.unit);
        return Err(if is_same {
            done_before::<Payout>(key, "PayoutCreated")
        } else {
            Refusal::PayoutIdReused(key.clone()).into()
        });
    }
    let program = load::<Program>(work, program_id)?;
    let version = program.current();
    let version = version.ok_or_else(|| Refusal::ProgramNotFound(program_id.clone()))?;
    if !version.rules.pays_out {
        return Err(Refusal::PayoutsOff(program_id.clone()).into());
    }
    let own_unit = version.rules.unit.clone();
    if unit.as_ref().is_some_and(|unit| *unit != own_unit) {
        let program_id = program_id.clone();
        return Err(Refusal::NotTheUnit { field: "minimum", program_id, unit: own_unit }.into());
    }
    load::<PayoutDesk>(work, program_id)?;
    // First, as the first event of a command says by whom.
    let created = PayoutCreated { minimum_minor: *minimum_minor, unit: own_unit };
    tell::<Payout>(work, key, PayoutCommand::Create(created))?;
    let begin =
        PayoutDeskCommand::Begin { program_id: program_id.clone(), payout_id: payout_id.clone() };
    tell::<PayoutDesk>(work, program_id, begin).map(drop)
}

/// Ends the collecting, once: everybody is collected. A payout by which nobody is paid ends with it, since nobody has
/// anything to say about it.
pub(super) fn end_collection(
    work: &mut dyn Work,
    key: &PayoutKey,
    collected: &PayoutCollected,
) -> Result<(), Halt> {
    existing_payout(work, key)?;
    tell::<Payout>(work, key, PayoutCommand::Collected(collected.clone()))?;
    if load::<Payout>(work, key)?.is_empty() {
        tell::<Payout>(work, key, PayoutCommand::Complete)?;
    }
    let end = PayoutDeskCommand::End { payout_id: key.payout_id.clone() };
    tell::<PayoutDesk>(work, &key.program_id, end).map(drop)
}

/// Confirms a payout or a line, or asks for an approval. Nobody confirms a line of their own alone, be it with the
/// whole payout, nor by one line after the other more of a payout than by a line: what nobody else had to approve
/// counts together.
pub(super) fn confirm(work: &mut dyn Work, input: &ConfirmPayout) -> Result<(), Halt> {
    let ConfirmPayout { payout: key, user_id, provider_reference, by, limit_minor } = input;
    let reference = provider_reference.as_ref();
    let payout = existing_payout(work, key)?;
    let (amount_minor, counted_minor, is_own) = if let Some(user_id) = user_id {
        let line_id = PayoutLineId { payout: key.clone(), user_id: user_id.clone() };
        let line = existing_line(work, &line_id)?;
        if line.was_paid_as(reference) {
            return Err(done_before::<PayoutLine>(&line_id, "PayoutLinePaid"));
        }
        if line.state() != PayoutLineState::Reserved {
            return Err(line.decided(line_id).into());
        }
        let amount = line.amount_minor();
        let together = payout.waived_minor().saturating_add(amount);
        (amount, together, person(work, by)?.as_ref() == Some(user_id))
    } else {
        let is_same = payout.provider_reference() == reference;
        match payout.state() {
            PayoutState::Open => {}
            PayoutState::Confirming | PayoutState::Confirmed if is_same && !payout.is_empty() => {
                return Err(done_before::<Payout>(key, "PayoutConfirmationStarted"));
            }
            PayoutState::Collecting
            | PayoutState::Confirming
            | PayoutState::Failing
            | PayoutState::Confirmed
            | PayoutState::Failed => return Err(undecidable(key, &payout)),
        }
        let is_own = own_reserved_line(work, by, key)?.is_some();
        (payout.total_minor(), payout.total_minor(), is_own)
    };
    if !is_own && counted_minor <= *limit_minor {
        let (user_id, reference) = (user_id.as_ref(), provider_reference.clone());
        carry_out_confirmation(work, key.clone(), user_id, reference)?;
        return match user_id {
            Some(_) => {
                let waive = PayoutCommand::Waive(PayoutApprovalWaived { amount_minor });
                tell::<Payout>(work, key, waive).map(drop)
            }
            None => Ok(()),
        };
    }
    let unit = payout.created().map(|created| created.unit.clone()).unwrap_or_default();
    let asked =
        Asked::Payout { amount_minor, unit, provider_reference: provider_reference.clone() };
    ask(work, input, asked)
}

/// Asks for an approval: anew if the last one was declined.
fn ask(work: &mut dyn Work, input: &ConfirmPayout, asked: Asked) -> Result<(), Halt> {
    let ConfirmPayout { payout: PayoutKey { program_id, payout_id }, user_id, by, .. } = input;
    for number in 1.. {
        let approval_id = ApprovalId(ApprovalSubject::Payout {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            payout_id: payout_id.clone(),
            number,
        });
        let approval = peek_new::<Approval>(work, &approval_id)?;
        match (approval.asked(), approval.state()) {
            (None, _) => {
                let id = approval_id.clone();
                let request =
                    ApprovalCommand::Request { approval_id: id, asked, asked_by: by.clone() };
                return tell::<Approval>(work, &approval_id, request).map(drop);
            }
            (Some(_), ApprovalState::Declined | ApprovalState::Approved) => {}
            (Some(known), ApprovalState::Pending | ApprovalState::Waived) => {
                return Err(if *known == asked {
                    repeated(&approval_id, "ApprovalRequested")
                } else {
                    Refusal::PayoutAwaitsApproval(approval_id).into()
                });
            }
        }
    }
    Ok(())
}

/// Confirms a line, or begins to confirm all of them.
pub(super) fn carry_out_confirmation(
    work: &mut dyn Work,
    key: PayoutKey,
    user_id: Option<&UserId>,
    provider_reference: Option<ProviderReference>,
) -> Result<(), Halt> {
    if let Some(user_id) = user_id {
        let line_id = PayoutLineId { payout: key, user_id: user_id.clone() };
        return pay_line(work, &line_id, provider_reference);
    }
    let payout = existing_payout(work, &key)?;
    if payout.state() != PayoutState::Open {
        return Err(undecidable(&key, &payout));
    }
    let confirm = PayoutCommand::Confirm(PayoutConfirmationStarted { provider_reference });
    tell::<Payout>(work, &key, confirm).map(drop)
}

/// The line of the caller's own, if it is reserved.
fn own_reserved_line(
    work: &mut dyn Work,
    by: &Staff,
    key: &PayoutKey,
) -> Result<Option<PayoutLineId>, Halt> {
    let Some(user_id) = person(work, by)? else { return Ok(None) };
    let own = PayoutLineId { payout: key.clone(), user_id };
    let is_reserved = load::<PayoutLine>(work, &own)?.state() == PayoutLineState::Reserved;
    Ok(Some(own).filter(|_| is_reserved))
}

/// Nobody says alone that a transfer to themselves failed or came back: they would get the amount again.
fn refuse_own(work: &mut dyn Work, by: &Staff, line_id: &PayoutLineId) -> Result<(), Halt> {
    if person(work, by)?.as_ref() == Some(&line_id.user_id) {
        return Err(Refusal::OwnPayoutLine(line_id.clone()).into());
    }
    Ok(())
}

/// Fails a line, or begins to fail all of them. A line of the caller's own is for somebody else, also among all.
pub(super) fn fail(work: &mut dyn Work, input: &FailPayout) -> Result<(), Halt> {
    let FailPayout { payout: key, user_id, reason_code, provider_reference, by } = input;
    let reference = provider_reference.as_ref();
    let payout = existing_payout(work, key)?;
    if let Some(user_id) = user_id {
        let line_id = PayoutLineId { payout: key.clone(), user_id: user_id.clone() };
        let line = existing_line(work, &line_id)?;
        if line.has_failed_for(reason_code.as_deref(), reference) {
            return Err(done_before::<PayoutLine>(&line_id, "PayoutLineFailed"));
        }
        refuse_own(work, by, &line_id)?;
        return fail_line(work, &line_id, reason_code.clone(), provider_reference.clone());
    }
    let is_same =
        payout.reason_code() == reason_code.as_deref() && payout.provider_reference() == reference;
    match payout.state() {
        PayoutState::Open => {
            if let Some(own) = own_reserved_line(work, by, key)? {
                return Err(Refusal::OwnPayoutLine(own).into());
            }
            let (reason_code, provider_reference) =
                (reason_code.clone(), provider_reference.clone());
            let fail = PayoutFailureStarted { reason_code, provider_reference };
            tell::<Payout>(work, key, PayoutCommand::Fail(fail)).map(drop)
        }
        PayoutState::Failing | PayoutState::Failed if is_same => {
            Err(done_before::<Payout>(key, "PayoutFailureStarted"))
        }
        PayoutState::Collecting
        | PayoutState::Confirming
        | PayoutState::Failing
        | PayoutState::Confirmed
        | PayoutState::Failed => Err(undecidable(key, &payout)),
    }
}

/// A transfer came back after it was confirmed.
pub(super) fn return_line(work: &mut dyn Work, input: &ReturnPayoutLine) -> Result<(), Halt> {
    let ReturnPayoutLine { line_id, reason_code, provider_reference, by } = input;
    existing_payout(work, &line_id.payout)?;
    let line = existing_line(work, line_id)?;
    if line.was_returned_as(reason_code.as_deref(), provider_reference.as_ref()) {
        return Err(done_before::<PayoutLine>(line_id, "PayoutLineReturned"));
    }
    refuse_own(work, by, line_id)?;
    send_back(work, line_id, reason_code.clone(), provider_reference.clone())
}

/// Ends what was done to the whole payout, once.
pub(super) fn complete(work: &mut dyn Work, key: &PayoutKey) -> Result<(), Halt> {
    existing_payout(work, key)?;
    tell::<Payout>(work, key, PayoutCommand::Complete).map(drop)
}

pub(super) fn existing_payout(
    work: &mut dyn Work,
    key: &PayoutKey,
) -> Result<std::sync::Arc<Payout>, Halt> {
    let payout = load::<Payout>(work, key)?;
    if payout.created().is_some() {
        return Ok(payout);
    }
    Err(if load::<Program>(work, &key.program_id)?.current().is_some() {
        Refusal::PayoutNotFound(key.clone()).into()
    } else {
        Refusal::ProgramNotFound(key.program_id.clone()).into()
    })
}

/// Why nothing can be said about the whole payout.
fn undecidable(key: &PayoutKey, payout: &Payout) -> Halt {
    let state = payout.state();
    let refusal = match state {
        PayoutState::Collecting => Refusal::PayoutCollecting(key.clone()),
        PayoutState::Confirmed if payout.is_empty() => Refusal::PayoutWasEmpty(key.clone()),
        PayoutState::Open
        | PayoutState::Confirming
        | PayoutState::Failing
        | PayoutState::Confirmed
        | PayoutState::Failed => {
            let said = DecidedAs {
                reason_code: payout.reason_code().map(Into::into),
                provider_reference: payout.provider_reference().cloned(),
                paid_reference: None,
            };
            Refusal::PayoutDecided { payout: key.clone(), state, said: Box::new(said) }
        }
    };
    refusal.into()
}

/// The answer to a repetition: that of the command which wrote the event of this type.
fn done_before<A: crate::Stream>(id: &A::Id, event_type: &'static str) -> Halt {
    Halt::AlreadyRecorded(OwnEvent { stream: StreamKey::of::<A>(id), event_type, field: None })
}
