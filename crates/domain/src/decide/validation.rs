//! Whether a code could be used, and by whom: the rules of a sign-up, checked in advance.

use crate::code::normalize;
use crate::decide::referral::{existing_program, has_bought, room};
use crate::rules::AttachPolicy;
use crate::{
    Halt, Participant, ParticipantId, Program, ProgramId, Refusal, User, UserId, Work, load,
};

/// Why a code cannot be used. If several reasons apply, the first in this order is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeFault {
    /// The code does not exist.
    Unknown,
    /// The code is the user's own.
    OwnCode,
    /// The user has made the purchase that the program rewards.
    AlreadyBought,
    /// The user was referred by somebody else.
    AlreadyReferred,
    /// The code has no uses left, or its owner cannot have more direct referrals.
    Exhausted,
    /// The user is in the program, which takes referrers at registration only.
    TooLate,
}

/// The result of checking a code.
#[derive(Clone, Debug)]
pub struct CodeVerdict {
    /// Why the code cannot be used; `None` if it can.
    pub fault: Option<CodeFault>,
    /// The participant who owns the code.
    pub owner: Option<ParticipantId>,
    /// How many more times the code can be used; `None` if there is no limit.
    pub remaining_uses: Option<u32>,
}

/// Checks a code; for a particular user, if one is given.
///
/// # Errors
/// [`Refusal::UserNotFound`] or [`Refusal::ProgramNotFound`] if there is no such user or program.
pub fn validate_code(
    work: &mut dyn Work,
    code: &str,
    program_id: Option<&ProgramId>,
    user_id: Option<&UserId>,
) -> Result<CodeVerdict, Halt> {
    if let Some(user_id) = user_id
        && !load::<User>(work, user_id)?.exists()
    {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    if let Some(program_id) = program_id {
        existing_program(work, program_id)?;
    }
    let owner = work
        .code_owner(&normalize(code))?
        .filter(|owner| program_id.is_none_or(|program_id| owner.program_id == *program_id));
    let Some(owner) = owner else {
        return Ok(CodeVerdict {
            fault: Some(CodeFault::Unknown),
            owner: None,
            remaining_uses: None,
        });
    };
    let program = load::<Program>(work, &owner.program_id)?;
    let rules = &program.current().ok_or(Halt::Broken("a code without a program"))?.rules;
    let referrer = load::<Participant>(work, &owner)?;
    let room = room(rules, &owner.user_id, &referrer);
    let exhausted = room.is_err().then_some(CodeFault::Exhausted);
    let mut remaining_uses = room.unwrap_or(Some(0));
    let fault = match user_id {
        None => exhausted,
        Some(user_id) if *user_id == owner.user_id => Some(CodeFault::OwnCode),
        Some(user_id) => {
            let id = ParticipantId::new(&owner.program_id, user_id);
            let user = load::<Participant>(work, &id)?;
            match user.referral() {
                _ if has_bought(rules, &user) => Some(CodeFault::AlreadyBought),
                // The code that referred the user stays usable: the user's own earlier use does not count
                // against it.
                Some(referral) if referral.referrer_user_id == owner.user_id => {
                    remaining_uses = remaining_uses.map(|others| others.saturating_add(1));
                    None
                }
                Some(_) => Some(CodeFault::AlreadyReferred),
                None if exhausted.is_some() => exhausted,
                None if user.exists() && rules.attach == AttachPolicy::RegistrationOnly => {
                    Some(CodeFault::TooLate)
                }
                None => None,
            }
        }
    };
    Ok(CodeVerdict { fault, owner: Some(owner), remaining_uses })
}
