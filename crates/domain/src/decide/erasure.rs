//! Erasing a user.
//!
//! The personal data of the user is deleted with the append; what the user did stays in the log under the user's id.
//! All participants of the user are marked in the same append, so that rewards and codes need to look at
//! participants only.

use crate::decide::referees;
use crate::{
    Halt, Participant, ParticipantCommand, ParticipantId, Program, ProgramId, Refusal,
    SessionsEnded, SideRow, User, UserCommand, UserId, Work, each, load, tell,
};

/// Erases a user. A user who is owed something is refused, unless the request says that it is forfeited.
pub(super) fn erase(
    work: &mut dyn Work,
    user_id: &UserId,
    forfeits_balances: bool,
) -> Result<(), Halt> {
    let user = load::<User>(work, user_id)?;
    if !user.exists() {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    let mut owed = Vec::new();
    let mut pending = None;
    each(user.programs(), |program_id| {
        let participant = load::<Participant>(work, &ParticipantId::new(program_id, user_id));
        let unit = unit_of(work, program_id)?;
        let participant = participant?;
        // The provider may be paying it just now, so that it can be neither forfeited nor forgotten.
        if participant.buckets().reserved != 0 {
            pending.get_or_insert_with(|| program_id.clone());
        }
        match participant.buckets().owed() {
            0 => {}
            amount => owed.push(format!("{amount} minor units of {unit} in '{program_id}'")),
        }
        Ok(())
    })?;
    if let Some(program_id) = pending {
        return Err(Refusal::PayoutPending { user_id: user_id.clone(), program_id }.into());
    }
    let forfeited = !owed.is_empty();
    if forfeited && !forfeits_balances {
        return Err(Refusal::BalanceOwed { user_id: user_id.clone(), owed }.into());
    }
    tell::<User>(work, user_id, UserCommand::Erase { user_id: user_id.clone(), forfeited })?;
    let ended = SessionsEnded::AllBut(Vec::new());
    tell::<User>(work, user_id, UserCommand::EndSessions { ended: ended.clone() })?;
    work.write_row(SideRow::SessionEnds { user_id: user_id.clone(), ended });
    each(user.programs(), |program_id| {
        let unit = unit_of(work, program_id)?;
        let erase = ParticipantCommand::Erase { user_id: user_id.clone(), unit };
        tell::<Participant>(work, &ParticipantId::new(program_id, user_id), erase).map(drop)
    })?;
    referees::tell_referrers(work, user_id, user.programs())?;
    work.write_row(SideRow::Erasure(user_id.clone()));
    Ok(())
}

/// The unit in which a program keeps its balances.
pub(super) fn unit_of(work: &mut dyn Work, program_id: &ProgramId) -> Result<String, Halt> {
    let program = load::<Program>(work, program_id)?;
    let version = program.current();
    let version = version.ok_or(Halt::Broken("a participant of a program that does not exist"))?;
    Ok(version.rules.unit.clone())
}
