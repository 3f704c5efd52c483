//! Publishing a program.

use std::sync::Arc;

use crate::decide::registration::default_programs;
use crate::rehearsal::Rehearsal;
use crate::rules::ProgramRules;
use crate::user::MAX_PROGRAMS_PER_USER;
use crate::{
    Claim, ClaimKind, Halt, Program, ProgramCommand, ProgramId, Refusal, Work, load, tell,
};

/// Puts rules into force. They must have no faults. With an expected version, they follow that one only, so that what
/// somebody else has published meanwhile is not overwritten unseen; rules that are in force overwrite nothing.
pub(super) fn publish(
    work: &mut dyn Work,
    program_id: &ProgramId,
    rules: &Arc<ProgramRules>,
    expected_version: Option<u32>,
) -> Result<(), Halt> {
    let before = load::<Program>(work, program_id)?;
    let version = before.current().map_or(0, |current| current.version);
    if let Some(expected) = expected_version
        && version != expected
        && before.current().is_none_or(|current| current.rules != *rules)
    {
        let program_id = program_id.clone();
        return Err(Refusal::ProgramChanged { program_id, version, expected }.into());
    }
    // What was credited may still be available.
    if rules.pays_out && before.versions().any(|version| version.rules.credit_purchases) {
        return Err(Refusal::PayoutOfCredits(program_id.clone()).into());
    }
    let publish = ProgramCommand::Publish {
        program_id: program_id.clone(),
        rules: rules.clone(),
        now: work.now(),
    };
    tell::<Program>(work, program_id, publish)?;
    if before.current().is_none() {
        let id = program_id.to_string();
        work.claim(Claim { kind: ClaimKind::Program, value: id.clone(), owner: id })?;
    }
    if rules.enroll_by_default && !before.enrolls_by_default() {
        begin_to_enroll_by_default(work, program_id)?;
    }
    Ok(())
}

/// Tries out a publication, and returns the program as it would then be.
///
/// # Errors
/// The refusal that the publication would get.
pub fn rehearse_publication(
    work: &mut dyn Work,
    program_id: &ProgramId,
    rules: &Arc<ProgramRules>,
    expected_version: Option<u32>,
) -> Result<Arc<Program>, Halt> {
    let mut work = Rehearsal::on(work);
    publish(&mut work, program_id, rules, expected_version)?;
    load::<Program>(&mut work, program_id)
}

/// Makes a program, which is published already, one that enrolls by default. A plain sign-up enters all of
/// these, so there cannot be more of them than one user can be in.
///
/// The count is exact although programs do not share a stream. Whoever begins claims the next number, and two
/// who begin at once cannot both have it. Whoever ceases changes a stream that was read here.
fn begin_to_enroll_by_default(work: &mut dyn Work, program_id: &ProgramId) -> Result<(), Halt> {
    let next = work.default_programs()?.len() + 1;
    let mut programs = default_programs(work)?;
    programs.insert(program_id.clone());
    if programs.len() > MAX_PROGRAMS_PER_USER as usize {
        return Err(Refusal::TooManyDefaultPrograms {
            program_id: program_id.clone(),
            limit: MAX_PROGRAMS_PER_USER,
        }
        .into());
    }
    let owner = program_id.to_string();
    work.claim(Claim { kind: ClaimKind::DefaultProgram, value: next.to_string(), owner })
}
