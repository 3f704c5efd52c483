//! What becomes of the buyer's referral when a purchase no longer earns, or earns again.

use crate::decide::referral::{self, By};
use crate::decide::settle::{earns, pays_repeatedly};
use crate::{
    FirstUse, Halt, Participant, ParticipantCommand, ParticipantId, Program, PurchaseId,
    PurchaseOutcome, Referral, ReferralStatus, ReferralUpdated, Work, has_earning_purchase, load,
    tell,
};

/// A purchase that earned something in a program, and whether it does so before and after an input has changed.
pub(super) struct Standing<'a> {
    pub(super) purchase_id: &'a PurchaseId,
    pub(super) buyer_id: &'a ParticipantId,
    pub(super) outcome: &'a PurchaseOutcome,
    pub(super) program: &'a Program,
    pub(super) stood: bool,
    pub(super) stands: bool,
}

/// Undoes what the purchase meant for the buyer, or makes it so again.
pub(super) fn follow(work: &mut dyn Work, standing: &Standing<'_>) -> Result<(), Halt> {
    match (standing.stood, standing.stands) {
        (true, false) => {
            if load::<Participant>(work, standing.buyer_id)?.is_first(standing.purchase_id) {
                let free = ParticipantCommand::FreeFirstPurchase(standing.purchase_id.clone());
                tell::<Participant>(work, standing.buyer_id, free)?;
            }
            unconvert(work, standing)
        }
        (false, true) => {
            reinstate(work, standing)?;
            convert(work, standing.buyer_id, standing.purchase_id, standing.outcome)?;
            use_first(work, standing)
        }
        _ => Ok(()),
    }
}

/// The referral is converted no longer, unless something else has converted it that stands.
fn unconvert(work: &mut dyn Work, standing: &Standing<'_>) -> Result<(), Halt> {
    let buyer = load::<Participant>(work, standing.buyer_id)?;
    let Some(referral) = buyer.referral().filter(|referral| is_by_purchase(referral)) else {
        return Ok(());
    };
    if standing.outcome.rewards.is_empty() || another_earns(work, standing)? {
        return Ok(());
    }
    let referrer = ParticipantId::new(&standing.buyer_id.program_id, &referral.referrer_user_id);
    load::<Participant>(work, &referrer)?;
    let unconvert = ParticipantCommand::Unconvert(Some(standing.purchase_id.clone()));
    tell::<Participant>(work, standing.buyer_id, unconvert)?;
    let updated = ReferralUpdated {
        referee_user_id: standing.buyer_id.user_id.clone(),
        previous_status: ReferralStatus::Converted,
        status: referral.unconverted().status(),
        made_while_inactive: referral.made_while_inactive,
        converted_while_inactive: referral.converted_while_inactive,
    };
    tell::<Participant>(work, &referrer, ParticipantCommand::UpdateReferral(updated)).map(drop)
}

fn is_by_purchase(referral: &Referral) -> bool {
    referral.status == ReferralStatus::Converted && !referral.converted_by_itself
}

fn can_another_earn(program: &Program) -> bool {
    program.versions().any(|version| pays_repeatedly(&version.rules))
}

/// Says on the buyer's stream that the purchase earns again, if that changes nothing else there. A decision that the
/// referral is not converted any more must not miss it.
fn reinstate(work: &mut dyn Work, standing: &Standing<'_>) -> Result<(), Halt> {
    let Standing { purchase_id, buyer_id, outcome, program, .. } = standing;
    let buyer = load::<Participant>(work, buyer_id)?;
    if outcome.rewards.is_empty()
        || !buyer.referral().is_some_and(is_by_purchase)
        || !can_another_earn(program)
    {
        return Ok(());
    }
    let reinstate = ParticipantCommand::ReinstatePurchase((*purchase_id).clone());
    tell::<Participant>(work, buyer_id, reinstate).map(drop)
}

/// Whether the buyer has another purchase that earns in the program.
fn another_earns(work: &mut dyn Work, standing: &Standing<'_>) -> Result<bool, Halt> {
    let Standing { purchase_id, buyer_id, program, .. } = standing;
    if !can_another_earn(program) {
        // The first one has earned, and there is no other first one.
        return Ok(false);
    }
    read_earners(work, buyer_id, program)?;
    has_earning_purchase(work, &buyer_id.user_id, |other_id, other| {
        let outcome = other.outcome_in(&buyer_id.program_id);
        other_id != *purchase_id && outcome.is_some_and(|outcome| earns(other, program, outcome))
    })
}

/// Reads the streams of all whom purchases of a buyer can pay, before purchases are looked for. If one begins to earn
/// after that, one of these streams has moved when the decision is appended.
fn read_earners(
    work: &mut dyn Work,
    buyer_id: &ParticipantId,
    program: &Program,
) -> Result<(), Halt> {
    let levels = program.versions().flat_map(|version| &version.rules.rewards);
    let top_level = levels.map(|reward| reward.level).max().unwrap_or_default();
    let mut at = buyer_id.clone();
    for _ in 0..top_level {
        let Some(referral) = load::<Participant>(work, &at)?.referral().cloned() else { break };
        at.user_id = referral.referrer_user_id;
    }
    load::<Participant>(work, &at).map(drop)
}

/// The purchase converts the referral again, if it is pending, as it did then.
pub(super) fn convert(
    work: &mut dyn Work,
    buyer_id: &ParticipantId,
    purchase_id: &PurchaseId,
    outcome: &PurchaseOutcome,
) -> Result<(), Halt> {
    if outcome.rewards.is_empty() {
        return Ok(());
    }
    let while_inactive = outcome.converted.then_some(outcome.converted_while_inactive);
    referral::convert(work, buyer_id, By::PurchaseAgain { purchase_id, while_inactive })
}

/// The purchase is the first again, as far as no other one is.
fn use_first(work: &mut dyn Work, standing: &Standing<'_>) -> Result<(), Halt> {
    let is_insufficient = match standing.outcome.first_use {
        FirstUse::None => return Ok(()),
        FirstUse::Insufficient => true,
        FirstUse::Enough => false,
    };
    let purchase_id = standing.purchase_id.clone();
    let used = ParticipantCommand::UseFirstPurchase { purchase_id, is_insufficient };
    tell::<Participant>(work, standing.buyer_id, used).map(drop)
}
