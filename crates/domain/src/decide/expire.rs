//! What is not used in time.

use crate::decide::erasure::unit_of;
use crate::{Halt, Participant, ParticipantCommand, ParticipantId, Work, load, tell};

/// What is in the lots of a participant whose time has come expires; nothing happens if there are none. It does so too
/// if the participant is inactive.
pub(super) fn expire(work: &mut dyn Work, id: &ParticipantId) -> Result<(), Halt> {
    let participant = load::<Participant>(work, id)?;
    let now = work.now();
    if participant.is_erased() || participant.lots().due(now).next().is_none() {
        return Ok(());
    }
    let unit = unit_of(work, &id.program_id)?;
    let expire = ParticipantCommand::Expire { user_id: id.user_id.clone(), unit, now };
    tell::<Participant>(work, id, expire).map(drop)
}
