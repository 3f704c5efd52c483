//! What was earned through referrals that were rejected with what they had earned: it is taken back, and given back
//! when such a decision changes.
//!
//! A purchase earns through the buyer's referral, and on higher levels through the referrals further up the line. Who
//! is in the line never changes, so what of its rewards is lost is a function of the referrals as they stand. A job
//! sends one of these commands for each purchase and each referral below the one that was decided about.

use crate::decide::{conversions, settle};
use crate::purchase::PurchaseReferralRejected;
use crate::rules::MAX_LEVEL;
use crate::{
    Halt, Participant, ParticipantId, Program, ProgramId, Purchase, PurchaseCommand, PurchaseId,
    ReferralStatus, Refusal, Work, load, tell,
};

/// Takes back from the rewards of a purchase what the referrals in its line demand, or gives it back.
pub(super) fn settle_purchase(
    work: &mut dyn Work,
    purchase_id: &PurchaseId,
    program_id: &ProgramId,
) -> Result<(), Halt> {
    let purchase = load::<Purchase>(work, purchase_id)?;
    let recorded = purchase.recorded();
    let recorded = recorded.ok_or_else(|| Refusal::PurchaseNotFound(purchase_id.clone()))?;
    let earned = purchase.outcome_in(program_id).filter(|outcome| !outcome.rewards.is_empty());
    let Some(outcome) = earned else { return Ok(()) };
    let buyer_id = ParticipantId::new(program_id, &recorded.buyer_user_id);
    let from_level = rejected_from_level(work, &buyer_id, 0)?;
    if from_level != outcome.rejected_from_level {
        let rejected = PurchaseReferralRejected { program_id: program_id.clone(), from_level };
        return settle::change(work, purchase_id, PurchaseCommand::RejectReferral(rejected));
    }
    // A referral that counts again without having lost anything is converted by what it has earned, unless another
    // purchase took the place of the first one: what that one took is not given back either, even if it is gone now.
    let program = load::<Program>(work, program_id)?;
    let version = program.version(outcome.program_version);
    let version = version.ok_or(Halt::Broken("a reward by no version of a program"))?;
    let buyer = load::<Participant>(work, &buyer_id)?;
    let is_pending = buyer.referral().is_some_and(|of| of.status == ReferralStatus::Pending);
    let is_first = settle::is_first(&version.rules, outcome, &buyer, purchase_id);
    if !is_pending || !is_first || !settle::earns(&purchase, &program, outcome) {
        return Ok(());
    }
    conversions::convert(work, &buyer_id, purchase_id, outcome)?;
    // A purchase remembers what the commands with an event of its own did. It must know that it has converted the
    // referral, to undo that and to give it back as it was.
    let counts_again = PurchaseReferralRejected { program_id: program_id.clone(), from_level };
    tell::<Purchase>(work, purchase_id, PurchaseCommand::RejectReferral(counts_again)).map(drop)
}

/// Takes back from what a referral itself earned what the referrals further up its line demand, or gives it back.
pub(super) fn settle_referral(work: &mut dyn Work, referee_id: &ParticipantId) -> Result<(), Halt> {
    let referee = load::<Participant>(work, referee_id)?;
    let earned = referee.referral().filter(|referral| !referral.rewards.is_empty());
    let Some(before) = earned else { return Ok(()) };
    let referrer_id = ParticipantId::new(&referee_id.program_id, &before.referrer_user_id);
    let mut after = before.clone();
    after.rejected_from_level = rejected_from_level(work, &referrer_id, 1)?;
    settle::settle_referral(work, referee_id, before, &after)
}

/// The lowest level that nobody keeps a reward of, because a referral was rejected with what it had earned. The
/// referral of `first`, who is `depth` steps above the source, is the first that is looked at.
fn rejected_from_level(
    work: &mut dyn Work,
    first: &ParticipantId,
    depth: u32,
) -> Result<Option<u32>, Halt> {
    let mut at = first.clone();
    for depth in depth..MAX_LEVEL {
        let participant = load::<Participant>(work, &at)?;
        let Some(referral) = participant.referral() else { return Ok(None) };
        if referral.is_taken_back() {
            // Without the source's own referral nothing is earned, not even by the source.
            return Ok(Some(if depth == 0 { 0 } else { depth + 1 }));
        }
        at.user_id = referral.referrer_user_id.clone();
    }
    Ok(None)
}
