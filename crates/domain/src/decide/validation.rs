//! Whether a code could be used, and by whom.

use crate::code::CodeFault;
use crate::decide::referral::{self, ApplyReferral, Referrer, owner_of, room};
use crate::decide::registration::{self, EnrollParticipant, RegisterUser};
use crate::rehearsal::Rehearsal;
use crate::{
    Halt, Participant, ParticipantId, Profile, Program, ProgramId, User, UserId, Work, load,
};

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

/// Checks a code, for a particular user or for a new one, by trying out the command that would use it: the sign-up
/// of a new user, the enrollment of a user who is not in the program, the referral of one who is. So the verdict
/// can only be that of the command.
///
/// In one case the verdict is another: the code through which a user came stays good for them until they have
/// bought, although it cannot be used twice.
///
/// # Errors
/// A refusal if there is no such user or program.
pub fn validate_code(
    work: &mut dyn Work,
    code: &str,
    program_id: Option<&ProgramId>,
    user_id: Option<&UserId>,
) -> Result<CodeVerdict, Halt> {
    let owner = owner_of(work, code, program_id)?;
    let tried = match user_id {
        None => sign_up(work, code, program_id),
        Some(user_id) => {
            let program_id = owner.as_ref().map(|owner| &owner.program_id).or(program_id);
            join(work, code, program_id, user_id)
        }
    };
    let mut fault = match tried {
        Ok(passed_over) => passed_over,
        Err(Halt::Refused(refusal)) => Some(CodeFault::of(&refusal).ok_or(refusal)?),
        Err(halt) => return Err(halt),
    };
    let Some(owner) = owner else {
        return Ok(CodeVerdict { fault, owner: None, remaining_uses: None });
    };
    let mut remaining_uses = remaining_uses(work, &owner)?;
    if fault == Some(CodeFault::AlreadyReferred)
        && let Some(user_id) = user_id
    {
        let id = ParticipantId::new(&owner.program_id, user_id);
        let participant = load::<Participant>(work, &id)?;
        if participant.referral().is_some_and(|by| by.referrer_user_id == owner.user_id) {
            fault = None;
            // The user's own use does not count against the code.
            remaining_uses = remaining_uses.map(|others| others.saturating_add(1));
        }
    }
    Ok(CodeVerdict { fault, owner: Some(owner), remaining_uses })
}

/// Tries out the sign-up of a new user. Nobody has the empty id, so the user is new.
fn sign_up(
    work: &mut dyn Work,
    code: &str,
    program_id: Option<&ProgramId>,
) -> Result<Option<CodeFault>, Halt> {
    let profile = Profile {
        user_id: UserId::default(),
        username: String::new(),
        email: String::new(),
        display_name: String::new(),
        password_hash: None,
    };
    let command = RegisterUser {
        profile,
        address_key: None,
        mailbox: None,
        client_ip: None,
        fingerprint_key: None,
        program_id: program_id.cloned(),
        referral_code: Some(code.into()),
        api_key: None,
        is_address_confirmed: false,
    };
    registration::register(&mut Rehearsal::on(work), &command)
}

/// Tries out the referral of a user who is in the program, or the enrollment of one who is not.
fn join(
    work: &mut dyn Work,
    code: &str,
    program_id: Option<&ProgramId>,
    user_id: &UserId,
) -> Result<Option<CodeFault>, Halt> {
    let user = load::<User>(work, user_id)?;
    let mut work = Rehearsal::on(work);
    let newly = program_id.filter(|program_id| !user.programs().contains(program_id));
    if let Some(program_id) = newly {
        let command = EnrollParticipant {
            program_id: program_id.clone(),
            user_id: user_id.clone(),
            referral_code: Some(code.into()),
        };
        return registration::enroll(&mut work, &command);
    }
    let command = ApplyReferral {
        program_id: program_id.cloned(),
        referee_user_id: user_id.clone(),
        referrer: Referrer::Code(code.into()),
    };
    referral::apply(&mut work, &command).map(|()| None)
}

fn remaining_uses(work: &mut dyn Work, owner: &ParticipantId) -> Result<Option<u32>, Halt> {
    let program = load::<Program>(work, &owner.program_id)?;
    let rules = &program.current().ok_or(Halt::Broken("a code without a program"))?.rules;
    let referrer = load::<Participant>(work, owner)?;
    Ok(room(rules, &owner.user_id, &referrer).unwrap_or(Some(0)))
}
