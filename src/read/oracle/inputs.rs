//! What happens to a purchase after it was recorded: refunds, disputes, holds and rejected referrals. Here it is
//! checked whether that can happen, and taken over.

use domain::rules::MAX_LEVEL;
use domain::{PurchaseEvent, RewardGranted};

use super::deals::{DealIndex, short};
use super::rulebook::{CLOCK_DIFFERENCE_US, Moment};
use super::settle::Before;
use super::world::{PersonIndex, ProgramIndex, World};
use super::{Judgement, Oracle, RecordedEvent, split};

/// How much time may pass between a decision and its events in the log.
pub(super) const APPEND_US: Moment = 10 * 60 * 1_000_000;
const DAY_US: Moment = 24 * 60 * 60 * 1_000_000;

/// Takes in what happens to a purchase.
pub(super) fn sort(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    fact: &PurchaseEvent,
    judgement: &mut Judgement,
) {
    oracle.unless(judgement.changed.is_none(), event, || {
        "expected the consequences of one change of a purchase before the next, found none".into()
    });
    let before = Before::of(&oracle.world, &event.stream.id);
    judgement.changed.get_or_insert(before);
    match fact {
        PurchaseEvent::PurchaseRefunded(_)
        | PurchaseEvent::RefundCancelled(_)
        | PurchaseEvent::DisputeOpened(_)
        | PurchaseEvent::DisputeUpdated(_)
        | PurchaseEvent::DisputeClosed(_) => {
            let deals = &mut oracle.world.deals;
            let head = deals.of(deals.key(&event.stream.id)).next();
            // What had no consequences can have none now.
            let is_possible = head.is_none_or(|head| deals.money_back_mut(head).enter(fact));
            oracle.unless(is_possible, event, || {
                "expected no change of a refund or dispute that is none or is over, found one"
                    .into()
            });
        }
        PurchaseEvent::PurchaseRewardHeld(held) => {
            let program = oracle.world.program_index(held.program_id.as_str());
            hold(oracle, event, program, held.level, true);
        }
        PurchaseEvent::PurchaseRewardReleased(released) => {
            let program = oracle.world.program_index(released.program_id.as_str());
            hold(oracle, event, program, released.level, false);
        }
        PurchaseEvent::HoldPeriodEnded(ended) => {
            let program = oracle.world.program_index(ended.program_id.as_str());
            end_period(oracle, event, program, &ended.levels);
        }
        PurchaseEvent::PurchaseReferralRejected(rejected) => {
            let program = oracle.world.program_index(rejected.program_id.as_str());
            let from_level = rejected.from_level.map(short);
            let Some(index) = deal(oracle, event, program) else { return };
            let buyer = oracle.world.deals.get(index).buyer;
            let expected = rejected_from(&oracle.world, buyer, 0);
            oracle.unless(expected == from_level, event, || {
                format!("rejected from level: expected {expected:?}, found {from_level:?}")
            });
            oracle.world.deals.get_mut(index).rejected_from = from_level;
        }
        PurchaseEvent::PurchaseRecorded(_)
        | PurchaseEvent::RewardWithheld(_)
        | PurchaseEvent::PurchaseMadeUp(_) => {}
    }
}

/// The purchase in a program, in which it must have had consequences.
fn deal(oracle: &mut Oracle, event: &RecordedEvent, program: ProgramIndex) -> Option<DealIndex> {
    let deals = &oracle.world.deals;
    let index = deals.find(deals.key(&event.stream.id), program);
    oracle.unless(index.is_some(), event, || {
        "expected no change of what a purchase earned that earned nothing, found one".into()
    });
    index
}

fn hold(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    program: ProgramIndex,
    level: u32,
    is_held: bool,
) {
    let Some(index) = deal(oracle, event, program) else { return };
    let reward = oracle.world.deals.reward_mut(index, level);
    let changes = reward
        .as_ref()
        .is_some_and(|reward| if is_held { !reward.is_held } else { reward.waits() });
    if let Some(reward) = reward {
        reward.is_held = is_held;
        reward.release = reward.release.filter(|_| is_held);
    }
    oracle.unless(changes, event, || {
        format!("expected no change of a reward on level {level} that changes nothing, found one")
    });
}

/// The hold period ends of the rewards for which it is over, and of all of them.
fn end_period(oracle: &mut Oracle, event: &RecordedEvent, program: ProgramIndex, levels: &[u32]) {
    let Some(index) = deal(oracle, event, program) else { return };
    let rewards = oracle.world.deals.rewards(index);
    let waiting = rewards.iter().filter_map(|reward| Some((reward.level, reward.release?.get())));
    let named = waiting.clone().filter(|(level, _)| levels.contains(&(*level).into()));
    let latest = named.map(|(_, release)| release).max();
    let over = waiting.filter(|(_, release)| latest.is_some_and(|latest| *release <= latest));
    let mut expected: Vec<u32> = over.map(|(level, _)| level.into()).collect();
    expected.sort_unstable();
    oracle.unless(!expected.is_empty() && expected == levels, event, || {
        format!("expected an end of the hold period on levels {expected:?}, found {levels:?}")
    });
    let is_over = latest.is_none_or(|latest| is_reached(event, latest));
    oracle.unless(is_over, event, || {
        format!("expected a hold period until {}, found its end", latest.unwrap_or_default())
    });
    for level in levels {
        if let Some(reward) = oracle.world.deals.reward_mut(index, *level) {
            reward.release = None;
        }
    }
}

/// Whether a moment had come when an event was recorded.
pub(super) fn is_reached(event: &RecordedEvent, moment: Moment) -> bool {
    moment <= event.recorded_at.0.saturating_add(CLOCK_DIFFERENCE_US)
}

/// The lowest level that nobody keeps a reward of, because a referral in the line was rejected with what it had earned.
/// The line begins with `person`, who is `steps` above the source, and ends with the last one whom a rule can pay.
pub(super) fn rejected_from(world: &World, person: PersonIndex, steps: u8) -> Option<u8> {
    let mut at = Some(person);
    for step in steps..short(MAX_LEVEL) {
        let tie = at.and_then(|at| world.person(at).referral)?;
        if tie.is_taken_back() {
            // Without the source's own referral not even the source earns anything.
            return Some(if step == 0 { 0 } else { step.saturating_add(1) });
        }
        at = Some(tie.referrer);
    }
    None
}

/// A reward must be pending for the hold period of the version that grants it.
pub(super) fn check_release(oracle: &mut Oracle, event: &RecordedEvent, granted: &RewardGranted) {
    let program = oracle.world.program_index(split(&event.stream.id).0);
    let version = oracle.world.version(program, granted.program_version);
    let days = version.and_then(|version| version.rules.hold_days);
    let expected = days.map(|days| event.recorded_at.0.saturating_add(Moment::from(days) * DAY_US));
    let found = granted.release_time_us.map(|time| time.0);
    let is_right = match (expected, found) {
        (Some(expected), Some(found)) => {
            found <= expected.saturating_add(CLOCK_DIFFERENCE_US)
                && found >= expected.saturating_sub(APPEND_US)
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    oracle.unless(is_right, event, || {
        format!("pending until: expected about {expected:?}, found {found:?}")
    });
}
