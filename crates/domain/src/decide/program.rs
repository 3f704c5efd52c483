//! Publishing a program.

use std::sync::Arc;

use crate::rules::ProgramRules;
use crate::{Claim, ClaimKind, Halt, Program, ProgramCommand, ProgramId, Work, load, tell};

/// Puts rules into force. They must have no faults.
pub(super) fn publish(
    work: &mut dyn Work,
    program_id: &ProgramId,
    rules: &Arc<ProgramRules>,
) -> Result<(), Halt> {
    let is_first = load::<Program>(work, program_id)?.current().is_none();
    let publish = ProgramCommand::Publish {
        program_id: program_id.clone(),
        rules: rules.clone(),
        now: work.now(),
    };
    let events = tell::<Program>(work, program_id, publish)?;
    let mut claim = |kind| {
        let id = program_id.to_string();
        work.claim(Claim { kind, value: id.clone(), owner: id })
    };
    if is_first {
        claim(ClaimKind::Program)?;
    }
    if events > 0 && rules.enroll_by_default {
        claim(ClaimKind::DefaultProgram)?;
    }
    Ok(())
}
