//! What referrals themselves earned: the rewards stand on the referee's stream, too.

use std::num::NonZeroI64;
use std::sync::Arc;

use domain::{ParticipantEvent, ReferralConverted, ReferralRewardsChanged};

use super::deals::{Reward, short};
use super::effect::{Effect, Value};
use super::fields::{OwnReward, own_fields};
use super::inputs::{self, is_reached};
use super::price::Price;
use super::settle::{Settling, Standing};
use super::world::{PersonIndex, Tie, World};
use super::{AnyEvent, Judgement, Oracle, RecordedEvent, split};
use crate::store::Actor;

/// Where a referral itself earns, the referee's stream must say what, as the earners' streams do.
pub(super) fn check_converted(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    converted: &ReferralConverted,
    command: &[(RecordedEvent, AnyEvent)],
) {
    // Releases before holds did not say what.
    if converted.program_version.is_none() {
        return;
    }
    let (program_id, referee) = split(&event.stream.id);
    let granted = command.iter().filter_map(|(of, fact)| match fact {
        AnyEvent::Participant(ParticipantEvent::RewardGranted(granted))
            if granted.purchase_id.is_none()
                && granted.source_user_id.as_str() == referee
                && split(&of.stream.id).0 == program_id =>
        {
            Some(OwnReward {
                earner: split(&of.stream.id).1,
                level: granted.level,
                sequence: of.sequence,
                granted_minor: granted.posting.amount,
                reversed_minor: 0,
                pending_minor: granted.pending_minor(),
                release: granted.release_time_us.map(|time| time.0),
                is_held: false,
                lot: granted.posting.expire_time_us.map(|time| time.0),
            })
        }
        _ => None,
    });
    let referee_index = oracle.world.person_index(program_id, referee);
    let known = oracle.world.person(referee_index).own.as_ref();
    // One that has earned before, and converts again, has what it had.
    let expected = match known {
        Some(own) => own_rewards_fields(&oracle.world, &own.rewards),
        None => own_fields(granted),
    };
    let found = own_fields(converted.rewards.iter().map(OwnReward::of));
    oracle.unless(expected == found, event, || {
        format!("ReferralConverted: expected {expected:?}, found {found:?}")
    });
}

/// Takes in what holds the rewards that a referral itself earned, with what must follow.
pub(super) fn sort(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    changed: &ReferralRewardsChanged,
    judgement: &mut Judgement,
    is_by_server: bool,
) {
    let (program_id, user_id) = split(&event.stream.id);
    let referee = oracle.world.person_index(program_id, user_id);
    let Some(own) = &oracle.world.person(referee).own else { return };
    let (before, rejected_from) = (own.rewards.clone(), own.rejected_from);
    let mut after = before.clone();
    let mut is_early = false;
    for reward in &mut after {
        let found = changed.rewards.iter().find(|of| of.level == u32::from(reward.level));
        let Some(found) = found else { continue };
        reward.is_held = found.is_held;
        let release = found.release_time_us.map(|time| time.0);
        if release != reward.release.map(NonZeroI64::get) && release.is_none() {
            is_early |= reward.release.is_some_and(|release| !is_reached(event, release.get()));
            reward.release = None;
        }
    }
    oracle.unless(!(is_early && is_by_server), event, || {
        "expected a hold period that lasts longer, found its end".into()
    });
    let is_changed = before != after;
    let Some(tie) = oracle.world.person(referee).referral else { return };
    let now_rejected_from = changed.rejected_from_level.map(short);
    let is_lost_otherwise = now_rejected_from != rejected_from;
    let expected = inputs::rejected_from(&oracle.world, tie.referrer, 1);
    oracle.unless(!is_lost_otherwise || expected == now_rejected_from, event, || {
        format!("rejected from level: expected {expected:?}, found {now_rejected_from:?}")
    });
    if let Some(own) = &mut oracle.world.person_mut(referee).own {
        own.rewards.clone_from(&after);
        own.rejected_from = now_rejected_from;
    }
    if is_changed || is_lost_otherwise {
        judgement.own.push(OwnBefore { referee, rewards: before, tie, rejected_from });
    }
}

/// Takes in that a referral was rejected with what it had earned, or is so no longer.
pub(super) fn sort_standing(
    oracle: &Oracle,
    referee: PersonIndex,
    (before, after): (&Tie, &Tie),
    judgement: &mut Judgement,
) {
    if let Some(own) = &oracle.world.person(referee).own
        && before.is_taken_back() != after.is_taken_back()
    {
        let (rewards, rejected_from) = (own.rewards.clone(), own.rejected_from);
        judgement.own.push(OwnBefore { referee, rewards, tie: *before, rejected_from });
    }
}

/// What a referral itself earned, before something changed.
pub(super) struct OwnBefore {
    referee: PersonIndex,
    rewards: Vec<Reward>,
    tie: Tie,
    rejected_from: Option<u8>,
}

/// What must become of the rewards that a referral itself earned.
pub(super) fn of_own(world: &World, before: &OwnBefore) -> Vec<Effect> {
    let person = world.person(before.referee);
    let (Some(own), Some(tie)) = (&person.own, person.referral) else { return Vec::new() };
    let Some(version) = world.version(person.program, own.version) else { return Vec::new() };
    let standing = |tie: &Tie, lost_from| Standing {
        price: Price::OF_A_REFERRAL,
        stands: !tie.is_taken_back(),
        lost_from,
    };
    let was = standing(&before.tie, before.rejected_from);
    let now = standing(&tie, own.rejected_from);
    let source = before.referee;
    let settling = Settling { world, version, source, purchase_id: None, was, now, tie: None };
    let mut effects = Vec::new();
    let mut settled = own.rewards.clone();
    for (old, reward) in before.rewards.iter().zip(&mut settled) {
        let (of_reward, (reversed, pending)) = settling.settle(old, reward);
        effects.extend(of_reward);
        reward.reversed_minor = added(reward.reversed_minor, reversed);
        reward.pending_minor = added(reward.pending_minor, pending);
    }
    if settled != before.rewards || own.rejected_from != before.rejected_from {
        let fields = own_rewards_fields(world, &settled);
        effects.push(world.expect(source, "ReferralRewardsChanged", fields));
    }
    effects
}

fn own_rewards_fields(world: &World, rewards: &[Reward]) -> Vec<(&'static str, Value)> {
    let earners: Vec<Arc<str>> =
        rewards.iter().map(|reward| world.user_id(reward.earner).clone()).collect();
    own_fields(rewards.iter().zip(&earners).map(|(reward, earner)| OwnReward {
        earner,
        level: reward.level.into(),
        sequence: reward.sequence.into(),
        granted_minor: reward.granted_minor,
        reversed_minor: reward.reversed_minor,
        pending_minor: reward.pending_minor,
        release: reward.release.map(NonZeroI64::get),
        is_held: reward.is_held,
        lot: world.lots.of_reward(reward.earner, reward.sequence.into()),
    }))
}

fn added(amount_minor: i64, change: i128) -> i64 {
    i64::try_from(i128::from(amount_minor) + change).unwrap_or(i64::MAX)
}

/// Whether the server itself caused a command, without anybody who asked for it.
pub(super) fn is_by_server(command: &[(RecordedEvent, AnyEvent)]) -> bool {
    let envelope = command.first().and_then(|(event, _)| event.envelope.as_ref());
    envelope.is_some_and(|envelope| envelope.actor == Actor::SYSTEM)
}
