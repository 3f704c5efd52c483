//! Referrals that are held: for which reasons, and what happens when they are released or rejected.
//!
//! A held referral earns nothing and is not counted, but takes a use of the code. When the last reason is gone, the
//! referral counts as if it had just been made. Several flags can be against one referral: it is rejected as long as
//! one of them rejects it, and held as long as one of them holds it.
//!
//! A converted referral goes on, and only remembers its flags, until it is converted no longer. It is rejected at once
//! if what it has earned is to be taken back; see [`settle_line`](super::settle_line).

use crate::decide::referral::{self, By, room};
use crate::decide::settle;
use crate::rules::ProgramRules;
use crate::{
    FlagAgainst, FraudFlagId, Halt, HoldReason, Participant, ParticipantCommand, ParticipantId,
    Program, Referral, ReferralStandingChanged, ReferralStatus, ReferralUpdated, SideRow, Standing,
    User, UserId, Work, each, load, tell,
};

/// How a referral stands that the rules permit, with the flag that its fraud checks raised against it, if they did.
pub(super) fn initial(
    work: &mut dyn Work,
    rules: &ProgramRules,
    referee: &ParticipantId,
    flag: Option<FlagAgainst>,
) -> Result<Standing, Halt> {
    let is_unconfirmed = rules.require_confirmed_email
        && !load::<User>(work, &referee.user_id)?.profile().is_email_confirmed();
    Ok(Standing { is_unconfirmed, flags: flag.into_iter().collect() })
}

/// Mails a link to a referee whose referral waits for the confirmation of their address.
pub(super) fn ask_for_confirmation(
    work: &mut dyn Work,
    referee: &ParticipantId,
    standing: &Standing,
) {
    if standing.hold_reasons().contains(&HoldReason::UnconfirmedEmail) {
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
        let referee = ParticipantId::new(program_id, user_id);
        let referral = load::<Participant>(work, &referee)?.referral().cloned();
        let is_held = |of: &Referral| of.status == ReferralStatus::Held;
        let Some(referral) = referral.filter(is_held) else { return Ok(()) };
        let standing = Standing { is_unconfirmed: false, flags: referral.flags.clone() };
        change(work, &referee, &referral, &standing)
    })
}

/// A flag is against a referral from now on, or no more. That of somebody who was erased can only cease to count.
pub(super) fn weigh(
    work: &mut dyn Work,
    referee: &ParticipantId,
    flag_id: &FraudFlagId,
    against: Option<FlagAgainst>,
) -> Result<(), Halt> {
    let participant = load::<Participant>(work, referee)?;
    let Some(referral) = participant.referral() else { return Ok(()) };
    let others = referral.flags.iter().filter(|flag| flag.flag_id != *flag_id);
    let flags: Vec<_> = others.cloned().chain(against).collect();
    let is_unconfirmed = match referral.status {
        ReferralStatus::Pending | ReferralStatus::Converted => false,
        ReferralStatus::Held => referral.hold_reasons.contains(&HoldReason::UnconfirmedEmail),
        // What the rules demand by now, as of a new referral.
        ReferralStatus::Rejected => {
            let program = load::<Program>(work, &referee.program_id)?;
            let rules = &program.current().ok_or(NO_PROGRAM)?.rules;
            initial(work, rules, referee, None)?.is_unconfirmed
        }
    };
    let standing = Standing { is_unconfirmed, flags };
    if participant.is_erased() && standing.status() != ReferralStatus::Rejected {
        return Ok(());
    }
    change(work, referee, referral, &standing)
}

/// A referral stands otherwise from now on.
fn change(
    work: &mut dyn Work,
    referee: &ParticipantId,
    referral: &Referral,
    standing: &Standing,
) -> Result<(), Halt> {
    let (before, after) = (referral.status, standing.status());
    if before == ReferralStatus::Converted {
        return change_converted(work, referee, referral, standing);
    }
    if before == ReferralStatus::Rejected && after != before {
        // It has given its use of the code back.
        let program = load::<Program>(work, &referee.program_id)?;
        let rules = &program.current().ok_or(NO_PROGRAM)?.rules;
        let referrer = ParticipantId::new(&referee.program_id, &referral.referrer_user_id);
        room(rules, &referrer.user_id, &*load::<Participant>(work, &referrer)?)?;
    }
    match after {
        ReferralStatus::Pending if before == after => Ok(()),
        ReferralStatus::Pending => begin_to_count(work, referee, referral),
        _ if before == after => tell_referee(work, referee, referral, after, standing),
        _ => {
            if before == ReferralStatus::Rejected {
                ask_for_confirmation(work, referee, standing);
            }
            tell_referee(work, referee, referral, after, standing)?;
            tell_referrer(work, referee, referral, after, counted_while_inactive(referral))
        }
    }?;
    settle_own(work, referee, referral)
}

/// A converted referral remembers its flags. It is rejected if one of them takes back what it has earned.
fn change_converted(
    work: &mut dyn Work,
    referee: &ParticipantId,
    referral: &Referral,
    standing: &Standing,
) -> Result<(), Halt> {
    tell_referee(work, referee, referral, ReferralStatus::Converted, standing)?;
    if !standing.takes_back() {
        return Ok(());
    }
    tell::<Participant>(work, referee, ParticipantCommand::Unconvert(None))?;
    let rejected = ReferralStatus::Rejected;
    tell_referrer(work, referee, referral, rejected, counted_while_inactive(referral))?;
    settle_own(work, referee, referral)
}

/// Takes back what the referral itself has earned, or gives it back.
fn settle_own(work: &mut dyn Work, referee: &ParticipantId, before: &Referral) -> Result<(), Halt> {
    let participant = load::<Participant>(work, referee)?;
    match participant.referral() {
        Some(after) if before.is_taken_back() != after.is_taken_back() => {
            settle::settle_referral(work, referee, before, after)
        }
        _ => Ok(()),
    }
}

/// Whether a referral that counts was made when the referrer was inactive.
fn counted_while_inactive(referral: &Referral) -> bool {
    let counts = matches!(referral.status, ReferralStatus::Pending | ReferralStatus::Converted);
    counts && referral.made_while_inactive
}

const NO_PROGRAM: Halt = Halt::Broken("a participant of a program that does not exist");

/// The referral counts from now on, as if it had just been made.
fn begin_to_count(
    work: &mut dyn Work,
    referee: &ParticipantId,
    referral: &Referral,
) -> Result<(), Halt> {
    let program = load::<Program>(work, &referee.program_id)?;
    let version = program.current().ok_or(NO_PROGRAM)?;
    let referrer = ParticipantId::new(&referee.program_id, &referral.referrer_user_id);
    let made_while_inactive = !load::<Participant>(work, &referrer)?.is_active();
    let changed = ReferralStandingChanged {
        status: ReferralStatus::Pending,
        hold_reasons: Vec::new(),
        flags: Vec::new(),
        release_time_us: Some(work.now()),
        made_while_inactive,
        settles_purchases: referral.status == ReferralStatus::Rejected,
    };
    tell::<Participant>(work, referee, ParticipantCommand::ChangeStanding(changed))?;
    tell_referrer(work, referee, referral, ReferralStatus::Pending, made_while_inactive)?;
    if !referral.converted_by_itself {
        return referral::earn(work, version, referee);
    }
    // It has earned before, and gets that back instead.
    let rewards = referral.rewards.iter().cloned().map(Into::into).collect();
    referral::convert(work, referee, By::Itself { version: referral.program_version, rewards })
}

/// Tells the referee of a status, which is no release, and of the flags, unless all is known.
fn tell_referee(
    work: &mut dyn Work,
    referee: &ParticipantId,
    referral: &Referral,
    after: ReferralStatus,
    standing: &Standing,
) -> Result<(), Halt> {
    let is_held = after == ReferralStatus::Held;
    let changed = ReferralStandingChanged {
        status: after,
        hold_reasons: if is_held { standing.hold_reasons() } else { Vec::new() },
        flags: standing.flags.clone(),
        release_time_us: None,
        made_while_inactive: false,
        settles_purchases: referral.is_taken_back() != standing.takes_back(),
    };
    let Referral { status, hold_reasons, flags, .. } = referral;
    if (*status, hold_reasons, flags) == (changed.status, &changed.hold_reasons, &changed.flags) {
        return Ok(());
    }
    tell::<Participant>(work, referee, ParticipantCommand::ChangeStanding(changed)).map(drop)
}

/// Tells the referrer of a new status of the referral.
fn tell_referrer(
    work: &mut dyn Work,
    referee: &ParticipantId,
    referral: &Referral,
    status: ReferralStatus,
    made_while_inactive: bool,
) -> Result<(), Halt> {
    let referrer = ParticipantId::new(&referee.program_id, &referral.referrer_user_id);
    load::<Participant>(work, &referrer)?;
    let was_converted = referral.status == ReferralStatus::Converted;
    let updated = ReferralUpdated {
        referee_user_id: referee.user_id.clone(),
        previous_status: referral.status,
        status,
        made_while_inactive,
        converted_while_inactive: was_converted && referral.converted_while_inactive,
    };
    tell::<Participant>(work, &referrer, ParticipantCommand::UpdateReferral(updated)).map(drop)
}
