//! Signing up, and enrolling in a program later.

use std::collections::BTreeSet;

use crate::code::normalize;
use crate::decide::referral;
use crate::rules::{InvalidCodePolicy, ProgramRules};
use crate::{
    Claim, ClaimKind, Halt, Participant, ParticipantCommand, ParticipantEnrolled, ParticipantId,
    Profile, Program, ProgramId, Refusal, SideRow, User, UserCommand, UserId, UserStatus, Work,
    each, load, peek_new, tell,
};

/// How often a code is drawn before the decision gives up. There are at least a million codes, so even the
/// second draw is rare.
const MAX_DRAWS: usize = 100;

/// Registers a new account. It is enrolled in the given program or the program of the given code, otherwise
/// in all programs that enroll by default.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct RegisterUser {
    pub profile: Profile,
    pub program_id: Option<ProgramId>,
    /// As the caller wrote it.
    pub referral_code: Option<String>,
}

/// Enrolls an existing user in a program.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct EnrollParticipant {
    pub program_id: ProgramId,
    pub user_id: UserId,
    /// As the caller wrote it.
    pub referral_code: Option<String>,
}

pub(super) fn register(work: &mut dyn Work, input: &RegisterUser) -> Result<(), Halt> {
    let Profile { user_id, username, email, .. } = &input.profile;
    if peek_new::<User>(work, user_id)?.exists() {
        return Err(Refusal::UserIdTaken(user_id.clone()).into());
    }
    let code = input.referral_code.as_deref().map(normalize).filter(|code| !code.is_empty());
    let programs = match (&input.program_id, &code) {
        (Some(program_id), _) => BTreeSet::from([program_id.clone()]),
        (None, Some(code)) => {
            let owner = work.code_owner(code)?;
            let owner = owner.ok_or_else(|| Refusal::CodeNotFound(code.clone()))?;
            BTreeSet::from([owner.program_id])
        }
        (None, None) => default_programs(work)?,
    };
    for (kind, value) in [(ClaimKind::Username, username), (ClaimKind::Email, email)] {
        let owner = user_id.to_string();
        work.claim(Claim { kind, value: value.to_lowercase(), owner })?;
    }
    let register = UserCommand::Register { user_id: user_id.clone(), now: work.now() };
    tell::<User>(work, user_id, register)?;
    work.write_row(SideRow::Profile(input.profile.clone()));
    each(programs, |program_id| {
        enter(work, &ParticipantId { program_id, user_id: user_id.clone() }, code.as_deref())
    })
}

pub(super) fn enroll(work: &mut dyn Work, input: &EnrollParticipant) -> Result<(), Halt> {
    let EnrollParticipant { program_id, user_id, .. } = input;
    let user = load::<User>(work, user_id)?;
    if !user.exists() {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    if user.status() == UserStatus::Inactive {
        return Err(Refusal::UserInactive(user_id.clone()).into());
    }
    let participant = ParticipantId::new(program_id, user_id);
    if user.programs().contains(program_id) {
        return Err(Refusal::AlreadyEnrolled(participant).into());
    }
    let code = input.referral_code.as_deref().map(normalize).filter(|code| !code.is_empty());
    enter(work, &participant, code.as_deref())
}

/// The programs that enroll by default at present, in the order of their ids.
pub(super) fn default_programs(work: &mut dyn Work) -> Result<BTreeSet<ProgramId>, Halt> {
    let mut programs = BTreeSet::new();
    each(work.default_programs()?, |program_id| {
        if load::<Program>(work, &program_id)?.enrolls_by_default() {
            programs.insert(program_id);
        }
        Ok(())
    })?;
    Ok(programs)
}

/// Makes an already loaded user a participant; with a usable code, a referred one.
fn enter(work: &mut dyn Work, id: &ParticipantId, code: Option<&str>) -> Result<(), Halt> {
    let program = load::<Program>(work, &id.program_id)?;
    let version =
        program.current().ok_or_else(|| Refusal::ProgramNotFound(id.program_id.clone()))?;
    let rules = &version.rules;
    let referrer = match code {
        Some(code) => usable_referrer(work, &id.program_id, rules, code)?,
        None => None,
    };

    let own_code = claim_code(work, rules, id)?;
    let enroll =
        UserCommand::Enroll { user_id: id.user_id.clone(), program_id: id.program_id.clone() };
    tell::<User>(work, &id.user_id, enroll)?;
    peek_new::<Participant>(work, id)?;
    let enrolled = ParticipantEnrolled { link: rules.link(&own_code), code: own_code };
    tell::<Participant>(work, id, ParticipantCommand::Enroll { id: id.clone(), enrolled })?;
    work.write_row(SideRow::Enrollment(id.clone()));
    if let Some(referrer) = referrer {
        referral::attach(work, version, id, &referrer)?;
    }
    Ok(())
}

/// Draws a code that is free as far as is known here. If it turns out to be taken, the append reports that,
/// and the decision runs again with another draw.
fn claim_code(
    work: &mut dyn Work,
    rules: &ProgramRules,
    owner: &ParticipantId,
) -> Result<String, Halt> {
    for _ in 0..MAX_DRAWS {
        let code = rules.code.draw(&mut |bytes| work.random(bytes));
        let owner = owner.to_string();
        let claim = Claim { kind: ClaimKind::Code, value: code.clone(), owner };
        match work.claim(claim) {
            Err(Halt::Refused(Refusal::Taken(_))) => {}
            claimed => return claimed.map(|()| code),
        }
    }
    Err(Halt::Broken("no free code was drawn; the program's codes are too short"))
}

/// The referrer who owns the code; `None` if the code cannot be used and the program accepts that.
fn usable_referrer(
    work: &mut dyn Work,
    program_id: &ProgramId,
    rules: &ProgramRules,
    code: &str,
) -> Result<Option<UserId>, Halt> {
    let owner = work.code_owner(code)?.filter(|owner| owner.program_id == *program_id);
    let Some(owner) = owner else {
        return match rules.unknown_code {
            InvalidCodePolicy::Reject => Err(Refusal::CodeNotFound(code.into()).into()),
            InvalidCodePolicy::RegisterUnreferred => Ok(None),
        };
    };
    let referrer = load::<Participant>(work, &owner)?;
    match referral::room(rules, &owner.user_id, &referrer) {
        Ok(_) => Ok(Some(owner.user_id)),
        Err(_) if rules.exhausted_code == InvalidCodePolicy::RegisterUnreferred => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}
