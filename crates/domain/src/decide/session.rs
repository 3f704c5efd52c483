//! Ending sessions, and changing a password, which ends sessions.

use crate::{
    Halt, PasswordHash, Refusal, SessionsEnded, SideRow, User, UserCommand, UserId, Work, load,
    tell,
};

/// Gives a user another password. All sessions of the user end, but one at most.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangePassword {
    /// The user.
    pub user_id: UserId,
    /// The hash of the new password.
    pub password_hash: PasswordHash,
    /// How often the password had been changed when the old one was verified. If it has been changed since, nothing
    /// happens. `None` if the old password does not matter.
    pub known_changes: Option<u32>,
    /// The sessions that end.
    pub ended: SessionsEnded,
}

/// Ends sessions of a user, as a part of whatever a command does.
pub(super) fn end(
    work: &mut dyn Work,
    user_id: &UserId,
    ended: &SessionsEnded,
) -> Result<(), Halt> {
    if !load::<User>(work, user_id)?.exists() {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    tell::<User>(work, user_id, UserCommand::EndSessions { ended: ended.clone() })?;
    work.write_row(SideRow::SessionEnds { user_id: user_id.clone(), ended: ended.clone() });
    Ok(())
}

pub(super) fn change_password(work: &mut dyn Work, input: &ChangePassword) -> Result<(), Halt> {
    let ChangePassword { user_id, password_hash, known_changes, ended } = input;
    let user = load::<User>(work, user_id)?;
    if !user.exists() {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    if known_changes.is_some_and(|known| known != user.password_changes()) {
        return Err(Refusal::PasswordChangedMeanwhile(user_id.clone()).into());
    }
    tell::<User>(work, user_id, UserCommand::ChangePassword)?;
    let (user_id, hash) = (user_id.clone(), password_hash.clone());
    work.write_row(SideRow::PasswordHash { user_id, hash });
    end(work, &input.user_id, ended)
}
