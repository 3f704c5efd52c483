//! Referrals that are held: for which reasons, and what happens when they are released or rejected.
//!
//! A held referral earns nothing and is not counted, but takes a use of the code. When the last reason is gone, the
//! referral counts as if it had just been made.

use crate::decide::referral::{self, room};
use crate::fraud::FraudPolicy;
use crate::rules::ProgramRules;
use crate::{
    Halt, HoldReason, Participant, ParticipantCommand, ParticipantId, Program, Referral,
    ReferralStandingChanged, ReferralStatus, ReferralUpdated, Refusal, SideRow, Standing, User,
    UserId, Work, each, existing_participant, load, tell,
};

/// How a referral stands that the rules permit, with what follows from its fraud checks, if they found something.
pub(super) fn initial(
    work: &mut dyn Work,
    rules: &ProgramRules,
    referee: &ParticipantId,
    consequence: Option<FraudPolicy>,
) -> Result<Standing, Halt> {
    if consequence == Some(FraudPolicy::Reject) {
        return Ok(Standing::Rejected);
    }
    let is_unconfirmed = rules.require_confirmed_email
        && !load::<User>(work, &referee.user_id)?.profile().is_email_confirmed();
    let unconfirmed = is_unconfirmed.then_some(HoldReason::UnconfirmedEmail);
    let review = (consequence == Some(FraudPolicy::Hold)).then_some(HoldReason::Review);
    Ok(Standing::held_for(unconfirmed.into_iter().chain(review).collect()))
}

/// Mails a link to a referee whose referral waits for the confirmation of their address.
pub(super) fn ask_for_confirmation(
    work: &mut dyn Work,
    referee: &ParticipantId,
    standing: &Standing,
) {
    let Standing::Held(reasons) = standing else { return };
    if reasons.contains(&HoldReason::UnconfirmedEmail) {
        let mut token_id = [0; 16];
        work.random(&mut token_id);
        let user_id = referee.user_id.clone();
        work.write_row(SideRow::RequestedConfirmation { token_id, user_id });
    }
}

/// Releases the referrals of a user that wait for nothing but the confirmation of the address, in every program.
pub(super) fn confirmed(work: &mut dyn Work, user_id: &UserId) -> Result<(), Halt> {
    let user = load::<User>(work, user_id)?;
    each(user.programs(), |program_id| {
        lift(work, &ParticipantId::new(program_id, user_id), HoldReason::UnconfirmedEmail)
    })
}

/// Somebody has decided that a referral counts. One that was rejected can be released, too.
pub(super) fn release(work: &mut dyn Work, referee: &ParticipantId) -> Result<(), Halt> {
    let Referral { status, hold_reasons, referrer_user_id, .. } = reviewed(work, referee)?;
    if status == ReferralStatus::Held {
        if !hold_reasons.contains(&HoldReason::Review) {
            return Err(Refusal::ReferralUnconfirmed(referee.clone()).into());
        }
        return lift(work, referee, HoldReason::Review);
    }
    // A rejected referral has given its use of the code back.
    let program = load::<Program>(work, &referee.program_id)?;
    let rules = &program.current().ok_or(NO_PROGRAM)?.rules;
    let referrer_id = ParticipantId::new(&referee.program_id, &referrer_user_id);
    room(rules, &referrer_user_id, &*load::<Participant>(work, &referrer_id)?)?;
    match initial(work, rules, referee, None)? {
        Standing::Pending => begin_to_count(work, referee, status),
        standing => {
            ask_for_confirmation(work, referee, &standing);
            let status = standing.status();
            let hold_reasons = standing.hold_reasons();
            tell_referee(work, referee, status, hold_reasons)?;
            let before = ReferralStatus::Rejected;
            tell_referrer(work, referee, &referrer_user_id, before, status, false)
        }
    }
}

/// Somebody has decided that a held referral does not count.
pub(super) fn reject(work: &mut dyn Work, referee: &ParticipantId) -> Result<(), Halt> {
    let Referral { status, .. } = reviewed(work, referee)?;
    if status != ReferralStatus::Held {
        return Err(Refusal::ReferralNotHeld(referee.clone()).into());
    }
    cease_to_count(work, referee, ReferralStatus::Rejected, Vec::new())
}

/// Somebody has decided that a referral does not count. What it has earned stays, and one that has converted goes on.
pub(super) fn reject_unless_converted(
    work: &mut dyn Work,
    referee: &ParticipantId,
) -> Result<(), Halt> {
    match status_of(work, referee)? {
        Some(ReferralStatus::Held | ReferralStatus::Pending) => {
            cease_to_count(work, referee, ReferralStatus::Rejected, Vec::new())
        }
        Some(ReferralStatus::Converted | ReferralStatus::Rejected) | None => Ok(()),
    }
}

/// Somebody has decided that a referral counts, as far as it depends on that.
pub(super) fn release_if_held_for_review(
    work: &mut dyn Work,
    referee: &ParticipantId,
) -> Result<(), Halt> {
    match status_of(work, referee)? {
        Some(ReferralStatus::Held) => lift(work, referee, HoldReason::Review),
        Some(ReferralStatus::Rejected) => release(work, referee),
        Some(ReferralStatus::Converted | ReferralStatus::Pending) | None => Ok(()),
    }
}

/// A referral that has not earned anything yet waits for a review.
pub(super) fn hold(work: &mut dyn Work, referee: &ParticipantId) -> Result<(), Halt> {
    cease_to_count(work, referee, ReferralStatus::Held, vec![HoldReason::Review])
}

/// The status of the participant's own referral; `None` if there is none, or the participant was erased.
fn status_of(work: &mut dyn Work, referee: &ParticipantId) -> Result<Option<ReferralStatus>, Halt> {
    let participant = load::<Participant>(work, referee)?;
    let referral = participant.referral().filter(|_| !participant.is_erased());
    Ok(referral.map(|referral| referral.status))
}

/// A referral has a status from now on under which it does not count.
fn cease_to_count(
    work: &mut dyn Work,
    referee: &ParticipantId,
    status: ReferralStatus,
    hold_reasons: Vec<HoldReason>,
) -> Result<(), Halt> {
    let referral = load::<Participant>(work, referee)?.referral().cloned();
    let Some(Referral { status: before, referrer_user_id, made_while_inactive, .. }) = referral
    else {
        return Err(Halt::Broken("a referral that was never made"));
    };
    tell_referee(work, referee, status, hold_reasons)?;
    let was_made_while_inactive = made_while_inactive && before == ReferralStatus::Pending;
    tell_referrer(work, referee, &referrer_user_id, before, status, was_made_while_inactive)
}

const NO_PROGRAM: Halt = Halt::Broken("a participant of a program that does not exist");

/// A referral that is held or was rejected.
fn reviewed(work: &mut dyn Work, referee: &ParticipantId) -> Result<Referral, Halt> {
    let participant = existing_participant(work, referee)?;
    let referral = participant.referral().filter(|referral| {
        matches!(referral.status, ReferralStatus::Held | ReferralStatus::Rejected)
    });
    Ok(referral.cloned().ok_or_else(|| Refusal::ReferralNotHeld(referee.clone()))?)
}

/// A reason to hold a referral is gone. Nothing happens if the referral is not held for it.
fn lift(work: &mut dyn Work, referee: &ParticipantId, reason: HoldReason) -> Result<(), Halt> {
    let participant = load::<Participant>(work, referee)?;
    let Some(Referral { status: ReferralStatus::Held, hold_reasons, .. }) = participant.referral()
    else {
        return Ok(());
    };
    let left: Vec<_> = hold_reasons.iter().copied().filter(|other| *other != reason).collect();
    if left.len() == hold_reasons.len() {
        Ok(())
    } else if left.is_empty() {
        begin_to_count(work, referee, ReferralStatus::Held)
    } else {
        tell_referee(work, referee, ReferralStatus::Held, left)
    }
}

/// The referral counts from now on, as if it had just been made.
fn begin_to_count(
    work: &mut dyn Work,
    referee: &ParticipantId,
    previous_status: ReferralStatus,
) -> Result<(), Halt> {
    let program = load::<Program>(work, &referee.program_id)?;
    let version = program.current().ok_or(NO_PROGRAM)?;
    let Some(referral) = load::<Participant>(work, referee)?.referral().cloned() else {
        return Err(Halt::Broken("a released referral that was never made"));
    };
    let referrer = ParticipantId::new(&referee.program_id, &referral.referrer_user_id);
    let made_while_inactive = !load::<Participant>(work, &referrer)?.is_active();
    let status = ReferralStatus::Pending;
    let changed = ReferralStandingChanged {
        status,
        hold_reasons: Vec::new(),
        release_time_us: Some(work.now()),
        made_while_inactive,
    };
    tell::<Participant>(work, referee, ParticipantCommand::ChangeStanding(changed))?;
    let updated = ReferralUpdated {
        referee_user_id: referee.user_id.clone(),
        previous_status,
        status,
        made_while_inactive,
        converted_while_inactive: false,
    };
    tell::<Participant>(work, &referrer, ParticipantCommand::UpdateReferral(updated))?;
    referral::earn(work, version, referee)
}

fn tell_referee(
    work: &mut dyn Work,
    referee: &ParticipantId,
    status: ReferralStatus,
    hold_reasons: Vec<HoldReason>,
) -> Result<(), Halt> {
    let changed = ReferralStandingChanged {
        status,
        hold_reasons,
        release_time_us: None,
        made_while_inactive: false,
    };
    tell::<Participant>(work, referee, ParticipantCommand::ChangeStanding(changed)).map(drop)
}

/// Tells the referrer of a status under which the referral does not count.
fn tell_referrer(
    work: &mut dyn Work,
    referee: &ParticipantId,
    referrer_user_id: &UserId,
    previous_status: ReferralStatus,
    status: ReferralStatus,
    made_while_inactive: bool,
) -> Result<(), Halt> {
    let referrer = ParticipantId::new(&referee.program_id, referrer_user_id);
    load::<Participant>(work, &referrer)?;
    let updated = ReferralUpdated {
        referee_user_id: referee.user_id.clone(),
        previous_status,
        status,
        made_while_inactive,
        converted_while_inactive: false,
    };
    tell::<Participant>(work, &referrer, ParticipantCommand::UpdateReferral(updated)).map(drop)
}
