//! Deactivating and reactivating a user, and exporting what is held about one.
//!
//! The first two mark the user's participants in the same append, so that a reward needs to look at
//! participants only.
//!
//! Deactivating an operator or admin also ends their sessions and keys: what they may do rests on the role that a
//! session has from its login, and a login of somebody who is inactive gets no more than a participant's.

use super::session;
use crate::{
    Halt, Participant, ParticipantCommand, ParticipantId, Refusal, SessionsEnded, User,
    UserCommand, UserId, UserRole, Work, each, load, tell,
};

pub(super) fn deactivate(work: &mut dyn Work, user_id: &UserId) -> Result<(), Halt> {
    let for_user = UserCommand::Deactivate { user_id: user_id.clone() };
    let role = change(work, user_id, for_user, &ParticipantCommand::Deactivate)?;
    if role == UserRole::Participant {
        return Ok(());
    }
    session::end(work, user_id, &SessionsEnded::ALL)
}

pub(super) fn reactivate(work: &mut dyn Work, user_id: &UserId) -> Result<(), Halt> {
    let now = work.now();
    let for_user = UserCommand::Reactivate { user_id: user_id.clone() };
    change(work, user_id, for_user, &ParticipantCommand::Reactivate { now }).map(drop)
}

/// Records that everything held about a user is given out.
pub(super) fn export(work: &mut dyn Work, user_id: &UserId) -> Result<(), Halt> {
    if !load::<User>(work, user_id)?.exists() {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    tell::<User>(work, user_id, UserCommand::Export).map(drop)
}

/// Returns the role of the user.
fn change(
    work: &mut dyn Work,
    user_id: &UserId,
    for_user: UserCommand,
    for_participants: &ParticipantCommand,
) -> Result<UserRole, Halt> {
    let user = load::<User>(work, user_id)?;
    if !user.exists() {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    tell::<User>(work, user_id, for_user)?;
    each(user.programs(), |program_id| {
        let participant = ParticipantId::new(program_id, user_id);
        load::<Participant>(work, &participant)?;
        tell::<Participant>(work, &participant, for_participants.clone()).map(|_| ())
    })?;
    Ok(user.role())
}
