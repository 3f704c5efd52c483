//! API keys, and the roles of people.

use super::referral::existing_program;
use super::session;
use crate::{
    ApiKey, ApiKeyCommand, ApiKeyCreated, ApiKeyId, Halt, KeyMaker, KeyRole, NewApiKey, Refusal,
    SessionsEnded, SideRow, User, UserCommand, UserId, UserRole, Work, each, load, peek_new, tell,
};

/// Creates a key. A key of a user needs the user, the programs that a key is limited to must exist, and a person who
/// creates a key of a back end must still be an admin: their keys end when they cease to be.
pub(super) fn create_key(work: &mut dyn Work, key: &NewApiKey) -> Result<(), Halt> {
    if let Some(creator) = &key.creator_user_id {
        let person = load::<User>(work, creator)?;
        if !person.exists() || person.role() != UserRole::Admin {
            return Err(Refusal::CreatorIsNoAdmin(creator.clone()).into());
        }
    }
    if let Some(user_id) = &key.user_id {
        existing_user(work, user_id)?;
    }
    each(key.program_ids.iter().flatten(), |program_id| existing_program(work, program_id))?;
    record_key(work, key)
}

/// Records a key whose user and programs are known to exist.
pub(super) fn record_key(work: &mut dyn Work, key: &NewApiKey) -> Result<(), Halt> {
    let maker = first_maker(work, key)?;
    let created = ApiKeyCreated {
        role: key.role,
        user_id: key.user_id.clone(),
        rpcs: key.rpcs.clone(),
        program_ids: key.program_ids.clone(),
        expire_time_us: key.expire_time,
        creator_user_id: key.creator_user_id.clone(),
        maker,
    };
    peek_new::<ApiKey>(work, &key.key_id)?;
    let create = ApiKeyCommand::Create { key_id: key.key_id.clone(), created };
    tell::<ApiKey>(work, &key.key_id, create)?;
    let create_time = work.now();
    work.write_row(SideRow::ApiKey { key: key.clone(), create_time });
    Ok(())
}

/// Who answers for a key that nobody is known to have created, and that does not belong to a user.
fn first_maker(work: &mut dyn Work, key: &NewApiKey) -> Result<Option<KeyMaker>, Halt> {
    if key.role == KeyRole::User || key.creator_user_id.is_some() {
        return Ok(None);
    }
    Ok(match &key.maker {
        Some(KeyMaker::Key { key_id }) => {
            let with = load::<ApiKey>(work, key_id)?;
            let before = with.created().and_then(|created| created.maker.clone());
            before.or_else(|| key.maker.clone())
        }
        Some(KeyMaker::Settings) | None => key.maker.clone(),
    })
}

pub(super) fn revoke_key(work: &mut dyn Work, key_id: &ApiKeyId) -> Result<(), Halt> {
    load::<ApiKey>(work, key_id)?;
    tell::<ApiKey>(work, key_id, ApiKeyCommand::Revoke { key_id: key_id.clone() })?;
    let revoke_time = work.now();
    work.write_row(SideRow::ApiKeyRevocation { key_id: key_id.clone(), revoke_time });
    Ok(())
}

pub(super) fn set_role(work: &mut dyn Work, user_id: &UserId, role: UserRole) -> Result<(), Halt> {
    existing_user(work, user_id)?;
    tell::<User>(work, user_id, UserCommand::ChangeRole { user_id: user_id.clone(), role })?;
    work.write_row(SideRow::UserRole { user_id: user_id.clone(), role });
    session::end(work, user_id, &SessionsEnded::ALL)
}

fn existing_user(work: &mut dyn Work, user_id: &UserId) -> Result<(), Halt> {
    if load::<User>(work, user_id)?.exists() {
        Ok(())
    } else {
        Err(Refusal::UserNotFound(user_id.clone()).into())
    }
}
