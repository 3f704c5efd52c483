//! Purchases that are made up for. That one is made up for is an input; what it grants is not. Of that, refunds and
//! disputes before take back at once what they would have taken back of anything granted before them.

use std::sync::Arc;

use domain::{ParticipantEvent, PurchaseMadeUp};

use super::deals::DealIndex;
use super::reckon::{self, Purchase};
use super::{AnyEvent, Judgement, Oracle, RecordedEvent};

/// What is made up for.
pub(super) struct MadeUp {
    pub(super) purchase_id: Arc<str>,
    pub(super) index: DealIndex,
    pub(super) levels: Vec<u32>,
}

/// Takes in that a purchase is made up for, with what must follow.
pub(super) fn sort(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    made_up: &PurchaseMadeUp,
    judgement: &mut Judgement,
) {
    let program = oracle.world.program_index(made_up.program_id.as_str());
    let world = &oracle.world;
    let index = world.deals.find(world.deals.key(&event.stream.id), program);
    let reckoned = index.and_then(|index| {
        let deal = world.deals.get(index);
        let version = world.version(program, deal.version)?;
        let purchase = Purchase {
            id: event.stream.id.clone(),
            amount_minor: deal.amount_minor,
            // It was judged when the purchase was recorded.
            currency_code: String::new(),
            date: deal.date,
        };
        Some(reckon::of_making_up(world, index, &purchase, version))
    });
    let (levels, effects) = reckoned.unwrap_or_default();
    oracle.unless(!levels.is_empty() && levels == made_up.levels, event, || {
        format!("expected levels {levels:?} to be made up for, found {:?}", made_up.levels)
    });
    judgement.expected.extend(effects);
    judgement.made_up = index.map(|index| MadeUp {
        purchase_id: event.stream.id.clone(),
        index,
        levels: made_up.levels.clone(),
    });
}

/// How many of a command's events are about what is granted; those that follow are about what is taken back of it.
pub(super) fn granting(command: &[(RecordedEvent, AnyEvent)]) -> usize {
    let takes_back = |(_, fact): &(RecordedEvent, AnyEvent)| {
        let AnyEvent::Participant(fact) = fact else { return false };
        let is_reversed = matches!(fact, ParticipantEvent::RewardReversed(_));
        // Points by tier that wait for an earlier reward are part of what is granted.
        let is_moved = matches!(
            fact, ParticipantEvent::RewardMoved(moved) if moved.reward_sequence.is_some()
        );
        is_reversed || is_moved
    };
    command.iter().position(takes_back).unwrap_or(command.len())
}
