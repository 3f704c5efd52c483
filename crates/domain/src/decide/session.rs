//! Ending sessions, and changing a password, which ends sessions.

use serde_json::json;

use super::profile;
use crate::{
    Halt, Mail, MailKind, PasswordHash, Refusal, SessionsEnded, SideRow, User, UserCommand, UserId,
    Work, load, tell,
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
    /// Whether it was chosen with a token that was mailed to the address of the account, so that whoever chose it reads
    /// the mails to that address.
    pub is_by_mail: bool,
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
    let ChangePassword { user_id, password_hash, known_changes, is_by_mail, ended } = input;
    let user = load::<User>(work, user_id)?;
    if !user.exists() {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    if known_changes.is_some_and(|known| known != user.password_changes()) {
        return Err(Refusal::PasswordChangedMeanwhile(user_id.clone()).into());
    }
    tell::<User>(work, user_id, UserCommand::ChangePassword)?;
    let row = SideRow::PasswordHash { user_id: user_id.clone(), hash: password_hash.clone() };
    work.write_row(row);
    let removed_factor = *is_by_mail && profile::prove_address(work, user_id)?;
    work.write_row(SideRow::Mail(announcement(user_id, &user, removed_factor)));
    end(work, user_id, ended)
}

/// Tells the owner of the address that the password was changed, as it may have been somebody else.
fn announcement(user_id: &UserId, before: &User, removed_factor: bool) -> Mail {
    let kind = MailKind::PasswordChanged;
    let number = before.password_changes().saturating_add(1);
    Mail {
        occasion: format!("{}/{user_id}/{number}", kind.as_str()),
        kind,
        user_id: Some(user_id.clone()),
        recipient: None,
        facts: json!({ "removed_second_factor": removed_factor }),
    }
}
