//! Signing up, and enrolling in a program later.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::code::{self, CodeFault};
use crate::decide::screening::Subject;
use crate::decide::{access, referral, screening, standing};
use crate::fraud::Mailbox;
use crate::rehearsal::Rehearsal;
use crate::rules::{InvalidCodePolicy, ProgramRules};
use crate::{
    Claim, ClaimKind, Halt, MAX_PROGRAMS_PER_USER, NewApiKey, Participant, ParticipantCommand,
    ParticipantEnrolled, ParticipantId, Profile, ProfileCommand, Program, ProgramId, Refusal,
    SideRow, User, UserCommand, UserId, Work, each, load, peek_new, tell,
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
    /// A keyed hash of the address in its comparable form, by which it is recognised as that of an erased user.
    pub address_key: Option<String>,
    pub program_id: Option<ProgramId>,
    /// As the caller wrote it.
    pub referral_code: Option<String>,
    /// The mailbox that the address leads to; `None` if nobody else's could be the same.
    pub mailbox: Option<Mailbox>,
    /// From where the user signs up, if it is known.
    pub client_ip: Option<IpAddr>,
    /// A keyed hash of what recognises the device or the means of payment.
    pub fingerprint_key: Option<String>,
    /// A key of the new user, if one is wanted.
    pub api_key: Option<NewApiKey>,
    /// Whether the sign-up has waited until its address was confirmed.
    pub is_address_confirmed: bool,
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

/// Returns why the code was passed over, if it was.
pub(super) fn register(
    work: &mut dyn Work,
    input: &RegisterUser,
) -> Result<Option<CodeFault>, Halt> {
    let Profile { user_id, username, email, .. } = &input.profile;
    if peek_new::<User>(work, user_id)?.is_registered() {
        return Err(Refusal::UserIdTaken(user_id.clone()).into());
    }
    let code = given(input.referral_code.as_ref());
    let programs = match (&input.program_id, &code) {
        (Some(program_id), _) => BTreeSet::from([program_id.clone()]),
        (None, Some(code)) => {
            let owner = referral::owner_of(work, code, None)?;
            let owner = owner.ok_or_else(|| Refusal::CodeNotFound(code::shown(code)))?;
            BTreeSet::from([owner.program_id])
        }
        (None, None) => default_programs(work)?,
    };
    for (kind, value) in [(ClaimKind::Username, username), (ClaimKind::Email, email)] {
        let owner = user_id.to_string();
        work.claim(Claim { kind, value: kind.normal_form(value), owner })?;
    }
    // Both are tried before either halts, so that they are looked up together.
    let (mailbox, fingerprint_key) = (input.mailbox.as_ref(), input.fingerprint_key.as_deref());
    let subject = Subject::signing_up(work, user_id, mailbox, input.client_ip, fingerprint_key);
    let address_key = input.address_key.as_ref();
    let is_known = address_key.map(|key| work.is_erased_address(key)).transpose();
    let subject = subject?;
    let has_known_address = is_known?.unwrap_or_default();
    let now = work.now();
    let register = UserCommand::Register { user_id: user_id.clone(), has_known_address, now };
    tell::<User>(work, user_id, register)?;
    work.write_row(SideRow::Profile(input.profile.clone()));
    if let Some(client) = subject.client(user_id, now) {
        work.write_row(SideRow::SignUpClient(client));
    }
    if input.is_address_confirmed {
        // Before the enrolments: a program may ask whether the address is confirmed.
        tell::<User>(work, user_id, UserCommand::Profile(ProfileCommand::ConfirmEmail))?;
        work.write_row(SideRow::ConfirmedSignUp(user_id.clone()));
    }
    if let Some(key) = &input.api_key {
        access::record_key(work, key)?;
    }
    let mut passed_over = None;
    each(programs, |program_id| {
        let id = ParticipantId { program_id, user_id: user_id.clone() };
        passed_over = passed_over.or(enter(work, &id, code, Some(&subject))?);
        Ok(())
    })?;
    Ok(passed_over)
}

/// Tries out a sign-up, but for its username and address, which others may have.
///
/// # Errors
/// A refusal if the sign-up would be refused for another reason.
pub fn rehearse_sign_up(work: &mut dyn Work, input: &RegisterUser) -> Result<(), Halt> {
    register(&mut Rehearsal::on(work), input).map(drop)
}

/// The code that was given, as the caller wrote it. Blanks are no code.
fn given(code: Option<&String>) -> Option<&str> {
    code.map(String::as_str).filter(|code| !code.trim().is_empty())
}

/// Returns why the code was passed over, if it was.
pub(super) fn enroll(
    work: &mut dyn Work,
    input: &EnrollParticipant,
) -> Result<Option<CodeFault>, Halt> {
    let EnrollParticipant { program_id, user_id, .. } = input;
    let user = referral::active_user(work, user_id)?;
    let participant = ParticipantId::new(program_id, user_id);
    if user.programs().contains(program_id) {
        return Err(Refusal::AlreadyEnrolled(participant).into());
    }
    if user.programs().len() >= MAX_PROGRAMS_PER_USER as usize {
        let limit = MAX_PROGRAMS_PER_USER;
        return Err(Refusal::TooManyPrograms { user_id: user_id.clone(), limit }.into());
    }
    enter(work, &participant, given(input.referral_code.as_ref()), None)
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

/// Makes an already loaded user a participant; with a usable code, a referred one. `signing_up` is for a user who is
/// being registered. Returns why the code was passed
/// over, if it was.
fn enter(
    work: &mut dyn Work,
    id: &ParticipantId,
    code: Option<&str>,
    signing_up: Option<&Subject>,
) -> Result<Option<CodeFault>, Halt> {
    let program = load::<Program>(work, &id.program_id)?;
    let version =
        program.current().ok_or_else(|| Refusal::ProgramNotFound(id.program_id.clone()))?;
    let rules = &version.rules;
    let known;
    let (subject, sign_ups_from_address) = match signing_up {
        Some(subject) => (subject, screening::count_sign_up(work, rules, id, subject)?),
        None => {
            known = Subject::known(work, &id.user_id, &rules.fraud_checks)?;
            (&known, screening::count_enrolment(work, rules, id, &known)?)
        }
    };
    let (referrer, passed_over) = match code {
        None => (None, None),
        Some(code) => match usable_referrer(work, id, rules, code)? {
            Ok(referrer) => (Some(referrer), None),
            Err(fault) => (None, Some(fault)),
        },
    };

    let own_code = claim_code(work, rules, id)?;
    let enroll =
        UserCommand::Enroll { user_id: id.user_id.clone(), program_id: id.program_id.clone() };
    tell::<User>(work, &id.user_id, enroll)?;
    peek_new::<Participant>(work, id)?;
    let link = rules.link(&own_code);
    let enrolled = ParticipantEnrolled { link, code: own_code, code_passed_over: passed_over };
    tell::<Participant>(work, id, ParticipantCommand::Enroll { id: id.clone(), enrolled })?;
    work.write_row(SideRow::Enrollment(id.clone()));
    if let Some(referrer) = referrer {
        let count = sign_ups_from_address;
        let flag = screening::screen_referral(work, rules, id, &referrer, subject, count)?;
        let standing = standing::initial(work, rules, id, flag)?;
        referral::attach(work, version, id, &referrer, standing)?;
    }
    Ok(passed_over)
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

/// The referrer who owns the code, or why the code cannot be used although the program accepts the sign-up.
fn usable_referrer(
    work: &mut dyn Work,
    id: &ParticipantId,
    rules: &ProgramRules,
    code: &str,
) -> Result<Result<UserId, CodeFault>, Halt> {
    let Some(owner) = referral::owner_of(work, code, Some(&id.program_id))? else {
        return match rules.unknown_code {
            InvalidCodePolicy::Reject => Err(Refusal::CodeNotFound(code::shown(code)).into()),
            InvalidCodePolicy::RegisterUnreferred => Ok(Err(CodeFault::Unknown)),
        };
    };
    if load::<User>(work, &id.user_id)?.has_known_address() {
        return Ok(Err(CodeFault::AddressUsedBefore));
    }
    screening::look_ahead(work, rules, &owner);
    let referrer = load::<Participant>(work, &owner)?;
    match referral::room(rules, &owner.user_id, &referrer) {
        Ok(_) => Ok(Ok(owner.user_id)),
        Err(_) if rules.exhausted_code == InvalidCodePolicy::RegisterUnreferred => {
            Ok(Err(CodeFault::Exhausted))
        }
        Err(refusal) => Err(refusal.into()),
    }
}
