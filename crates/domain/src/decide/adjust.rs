//! Adjustments of balances by operators, and the approvals that large ones wait for.

use super::payout;
use crate::note::write_note;
use crate::participant::existing_participant;
use crate::{
    Adjustment, AdjustmentId, ApiKey, Approval, ApprovalCommand, ApprovalId, ApprovalState,
    ApprovalSubject, Asked, Halt, KeyMaker, NoteSubject, OwnEvent, Participant, ParticipantCommand,
    ParticipantId, PayoutKey, Personal, Program, Refusal, SelfApprovalWhy, Staff, StreamKey,
    UserId, Work, load, peek_new, tell,
};

/// An operator adjusts a balance.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct AdjustBalance {
    pub participant: ParticipantId,
    pub adjustment_id: AdjustmentId,
    /// The signed amount, not 0.
    pub amount_minor: i64,
    pub currency_code: String,
    pub reason_code: String,
    /// Why, in the operator's words.
    pub note: Option<Personal>,
    pub by: Staff,
    /// The largest amount, up or down, that nobody else has to approve.
    pub limit_minor: i64,
}

impl AdjustBalance {
    /// The stream of the approval that it may need.
    #[must_use]
    pub fn approval_id(&self) -> ApprovalId {
        ApprovalId::adjustment(self.participant.clone(), self.adjustment_id.clone())
    }
}

/// An operator approves what another one asked for.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Approve {
    pub approval_id: ApprovalId,
    pub by: Staff,
}

/// An operator declines what somebody asked for.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Decline {
    pub approval_id: ApprovalId,
    /// Why, in the operator's words.
    pub note: Option<Personal>,
    pub by: Staff,
}

/// Adjusts a balance, or asks for an approval. Nobody adjusts their own balance alone.
pub(super) fn adjust(work: &mut dyn Work, input: &AdjustBalance) -> Result<(), Halt> {
    let AdjustBalance { participant, amount_minor, currency_code, .. } = input;
    let approval_id = &input.approval_id();
    let asked = Asked::Adjustment {
        amount_minor: *amount_minor,
        unit: currency_code.clone(),
        reason_code: input.reason_code.clone(),
    };
    let approval = peek_new::<Approval>(work, approval_id)?;
    if let Some(known) = approval.asked() {
        if *known != asked {
            return Err(Refusal::AdjustmentIdReused(approval_id.clone()).into());
        }
        return Err(repeated(
            approval_id,
            match approval.state() {
                ApprovalState::Waived => "ApprovalWaived",
                ApprovalState::Pending | ApprovalState::Approved | ApprovalState::Declined => {
                    "ApprovalRequested"
                }
            },
        ));
    }
    existing_participant(work, participant)?;
    let program = load::<Program>(work, &participant.program_id)?;
    let version = program.current();
    let version = version.ok_or(Halt::Broken("a participant of a program that does not exist"))?;
    if version.rules.unit != *currency_code {
        let (program_id, unit) = (participant.program_id.clone(), version.rules.unit.clone());
        return Err(Refusal::NotTheUnit { field: "amount", program_id, unit }.into());
    }
    let is_own = person(work, &input.by)?.as_ref() == Some(&participant.user_id);
    let waits = is_own || amount_minor.unsigned_abs() > input.limit_minor.unsigned_abs();
    let id = approval_id.clone();
    let command = if waits {
        let asked_by = input.by.clone();
        ApprovalCommand::Request { approval_id: id, asked: asked.clone(), asked_by }
    } else {
        ApprovalCommand::Waive { approval_id: id, asked: asked.clone() }
    };
    tell::<Approval>(work, approval_id, command)?;
    if !waits {
        carry_out(work, approval_id, asked)?;
    }
    let (subject, id) = (NoteSubject::Request, approval_id.to_string());
    write_note(work, subject, id, Some(&participant.user_id), input.note.as_ref())
}

/// Approves, and does what was asked for.
pub(super) fn approve(work: &mut dyn Work, input: &Approve) -> Result<(), Halt> {
    let Approve { approval_id, by } = input;
    let approval = load::<Approval>(work, approval_id)?;
    let not_found = || Refusal::ApprovalNotFound(approval_id.clone());
    let asked = approval.asked().filter(|_| approval.state() != ApprovalState::Waived);
    let asked = asked.cloned().ok_or_else(not_found)?;
    let (approver, requester) = (answerable(work, by)?, answerable(work, &approval.asked_by())?);
    let is_own = matches!(
        (&approver, approval_id.user_id()),
        (Answerable::Person(approver), Some(own)) if approver == own
    );
    let why = match (&approver, approver == requester) {
        _ if is_own => Some(SelfApprovalWhy::OwnBalance),
        (Answerable::Person(_), true) => Some(SelfApprovalWhy::SamePerson),
        (Answerable::Holder(_), true) => Some(SelfApprovalWhy::SameKey),
        (Answerable::Person(_) | Answerable::Holder(_), false) => None,
    };
    if let Some(why) = why {
        return Err(Refusal::SelfApproval { approval_id: approval_id.clone(), why }.into());
    }
    if approval.state() == ApprovalState::Approved {
        return Err(repeated(approval_id, "ApprovalGranted"));
    }
    let grant = ApprovalCommand::Grant { approval_id: approval_id.clone(), by: by.clone() };
    tell::<Approval>(work, approval_id, grant)?;
    carry_out(work, approval_id, asked)
}

/// Declines. Whoever asked can do so, too: they take back what they asked for.
pub(super) fn decline(work: &mut dyn Work, input: &Decline) -> Result<(), Halt> {
    let Decline { approval_id, note, by } = input;
    if load::<Approval>(work, approval_id)?.state() == ApprovalState::Declined {
        return Err(repeated(approval_id, "ApprovalDeclined"));
    }
    let decline = ApprovalCommand::Decline { approval_id: approval_id.clone(), by: by.clone() };
    tell::<Approval>(work, approval_id, decline)?;
    let (subject, id) = (NoteSubject::Decline, approval_id.to_string());
    write_note(work, subject, id, approval_id.user_id(), note.as_ref())
}

/// Does what was asked for.
fn carry_out(work: &mut dyn Work, approval_id: &ApprovalId, asked: Asked) -> Result<(), Halt> {
    match (asked, &approval_id.0) {
        (
            Asked::Adjustment { amount_minor, unit, reason_code },
            ApprovalSubject::Adjustment { participant, adjustment_id },
        ) => {
            // Of somebody who was erased the balance is gone for good.
            existing_participant(work, participant)?;
            let adjust = ParticipantCommand::Adjust(Adjustment {
                user_id: participant.user_id.clone(),
                adjustment_id: adjustment_id.clone(),
                reason_code,
                amount_minor,
                unit,
            });
            tell::<Participant>(work, participant, adjust).map(drop)
        }
        (
            Asked::Payout { provider_reference, .. },
            ApprovalSubject::Payout { program_id, user_id, payout_id, .. },
        ) => {
            let payout = PayoutKey { program_id: program_id.clone(), payout_id: payout_id.clone() };
            payout::carry_out_confirmation(work, payout, user_id.as_ref(), provider_reference)
        }
        (Asked::Adjustment { .. }, ApprovalSubject::Payout { .. })
        | (Asked::Payout { .. }, ApprovalSubject::Adjustment { .. }) => {
            Err(Halt::Broken("an approval of something else than its id says"))
        }
    }
}

/// The answer to a repetition: that of the command which wrote the event of this type.
pub(super) fn repeated(approval_id: &ApprovalId, event_type: &'static str) -> Halt {
    let stream = StreamKey::of::<Approval>(approval_id);
    Halt::AlreadyRecorded(OwnEvent { stream, event_type, field: None })
}

/// Who answers for what a caller does. Two callers with the same one count as one.
#[derive(PartialEq, Eq)]
enum Answerable {
    /// Who has logged in, or has created the key.
    Person(UserId),
    /// Whoever holds the first of the keys that were created with each other, if no person is known.
    Holder(KeyMaker),
}

fn answerable(work: &mut dyn Work, staff: &Staff) -> Result<Answerable, Halt> {
    Ok(match staff {
        Staff { user_id: Some(user_id), .. } => Answerable::Person(user_id.clone()),
        Staff { key_id: Some(key_id), .. } => {
            let key = load::<ApiKey>(work, key_id)?;
            let created = key.created();
            if let Some(user_id) = created.and_then(|created| created.creator_user_id.clone()) {
                Answerable::Person(user_id)
            } else {
                let maker = created.and_then(|created| created.maker.clone());
                let itself = || KeyMaker::Key { key_id: key_id.clone() };
                Answerable::Holder(maker.unwrap_or_else(itself))
            }
        }
        Staff { user_id: None, key_id: None } => Answerable::Holder(KeyMaker::Settings),
    })
}

/// The person behind a caller: who has logged in, or has created the key; `None` if nobody is known to.
pub(super) fn person(work: &mut dyn Work, staff: &Staff) -> Result<Option<UserId>, Halt> {
    Ok(match answerable(work, staff)? {
        Answerable::Person(user_id) => Some(user_id),
        Answerable::Holder(_) => None,
    })
}
