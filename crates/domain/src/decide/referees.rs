//! What a participant must know of those whom they referred.

use crate::{
    Halt, Participant, ParticipantCommand, ParticipantId, ProgramId, RefereeAddressChanged, UserId,
    Work, each, load, tell,
};

/// Tells whoever referred a user, in each of the user's programs, that the user has another address or none any more.
///
/// A sign-up is compared with the addresses of its referrer's latest referees, which stand in a table. Of all the
/// streams that a sign-up reads, only the referrer's moves with the table. The change moves that stream too, so that a
/// sign-up decided on the address before is in conflict and is decided again. That costs the rare change an event, and
/// sign-ups nothing.
pub(super) fn tell_referrers(
    work: &mut dyn Work,
    user_id: &UserId,
    programs: &[ProgramId],
) -> Result<(), Halt> {
    each(programs, |program_id| {
        let referee = load::<Participant>(work, &ParticipantId::new(program_id, user_id))?;
        let Some(referral) = referee.referral() else { return Ok(()) };
        let referrer = ParticipantId::new(program_id, &referral.referrer_user_id);
        // Nobody signs up with the code of somebody who was erased.
        if load::<Participant>(work, &referrer)?.is_erased() {
            return Ok(());
        }
        let changed = RefereeAddressChanged { referee_user_id: user_id.clone() };
        let note = ParticipantCommand::NoteRefereeAddress(changed);
        tell::<Participant>(work, &referrer, note).map(drop)
    })
}
