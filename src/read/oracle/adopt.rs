//! Taking over consequences as the log has them, so that one fault is named once and not with everything after it.

use std::sync::Arc;

use domain::{
    AnyEvent, Bucket, ParticipantEvent, Posting, Posts as _, PurchaseEvent, ReferralReward,
    ReferralStatus, RewardGranted, TierPot,
};

use super::deals::{Reward, short};
use super::remember::Recorded;
use super::rulebook::tiers_of;
use super::world::{Awaited, Level, OwnRewards, PersonIndex, Tie, World};
use super::{RecordedEvent, split};

/// The change of what is pending.
pub(super) fn pending_change(posting: &Posting) -> i64 {
    let is_pending = |bucket: Option<Bucket>| i64::from(bucket == Some(Bucket::Pending));
    (is_pending(Some(posting.to)) - is_pending(posting.from)) * posting.amount
}

impl World {
    pub(super) fn adopt(&mut self, event: &RecordedEvent, fact: &AnyEvent, recorded: Recorded<'_>) {
        match fact {
            AnyEvent::Participant(fact) => {
                let (program_id, user_id) = split(&event.stream.id);
                let person = self.person_index(program_id, user_id);
                if let Some(posting) = fact.posting() {
                    self.adopt_posting(person, posting);
                }
                self.adopt_of_participant(person, event, fact, recorded);
            }
            AnyEvent::Purchase(PurchaseEvent::RewardWithheld(withheld)) => {
                self.remember_withheld(&event.stream.id, withheld, recorded);
            }
            AnyEvent::Purchase(PurchaseEvent::PurchaseMadeUp(made_up)) => {
                self.remember_made_up(&event.stream.id, made_up);
            }
            // Inputs, which were taken over when they were read.
            AnyEvent::Purchase(
                PurchaseEvent::PurchaseRecorded(_)
                | PurchaseEvent::PurchaseRefunded(_)
                | PurchaseEvent::RefundCancelled(_)
                | PurchaseEvent::DisputeOpened(_)
                | PurchaseEvent::DisputeUpdated(_)
                | PurchaseEvent::DisputeClosed(_)
                | PurchaseEvent::PurchaseRewardHeld(_)
                | PurchaseEvent::PurchaseRewardReleased(_)
                | PurchaseEvent::HoldPeriodEnded(_)
                | PurchaseEvent::PurchaseReferralRejected(_),
            )
            | AnyEvent::User(_)
            | AnyEvent::Program(_)
            | AnyEvent::ApiKey(_)
            | AnyEvent::SignUpOrigin(_)
            | AnyEvent::Job(_)
            | AnyEvent::Catalog(_)
            | AnyEvent::StoreItem(_)
            | AnyEvent::Redemption(_)
            | AnyEvent::Payout(_)
            | AnyEvent::PayoutDesk(_)
            | AnyEvent::PayoutLine(_)
            | AnyEvent::FraudFlag(_)
            | AnyEvent::Approval(_) => {}
        }
    }

    fn adopt_posting(&mut self, person: PersonIndex, posting: &Posting) {
        for (bucket, amount) in &mut self.person_mut(person).parts {
            let taken = posting.from == Some(*bucket);
            let given = posting.to == *bucket;
            *amount += i64::from(given) * posting.amount - i64::from(taken) * posting.amount;
        }
    }

    /// Changes the status of a referral and, of one that converts, whether the referrer could earn.
    fn set_status(&mut self, referee: PersonIndex, status: ReferralStatus, able: Option<bool>) {
        let Some(before) = self.person(referee).referral else { return };
        let converted_while_able = able.unwrap_or(before.converted_while_able);
        let awaits =
            if status == ReferralStatus::Held { before.awaits } else { Awaited::default() };
        self.replace(referee, &before, Tie { status, awaits, converted_while_able, ..before });
    }

    fn adopt_of_participant(
        &mut self,
        person: PersonIndex,
        event: &RecordedEvent,
        fact: &ParticipantEvent,
        recorded: Recorded<'_>,
    ) {
        let program_id = split(&event.stream.id).0;
        match fact {
            ParticipantEvent::ReferralConverted(converted) => {
                self.remember_conversion(person, converted, recorded);
                let able = Some(!converted.converted_while_inactive);
                self.set_status(person, ReferralStatus::Converted, able);
                let rewards = self.own_rewards(program_id, &converted.rewards);
                let person = self.person_mut(person);
                if let Some(tie) = &mut person.referral {
                    tie.converted_by_itself = converted.purchase_id.is_none();
                }
                if let Some(version) = converted.program_version {
                    // Converting again does not change what is taken back because of others.
                    let rejected_from = person.own.as_ref().and_then(|own| own.rejected_from);
                    person.own = Some(Box::new(OwnRewards { version, rewards, rejected_from }));
                }
            }
            ParticipantEvent::ReferralUpdated(updated) => {
                let referee = self.person_index(program_id, updated.referee_user_id.as_str());
                let is_converted = updated.status == ReferralStatus::Converted;
                let able = is_converted.then_some(!updated.converted_while_inactive);
                self.set_status(referee, updated.status, able);
            }
            ParticipantEvent::ReferralUnconverted(_) => {
                if let Some(tie) = self.person(person).referral {
                    let status = tie.against.status();
                    let review = status == ReferralStatus::Held;
                    let awaits = Awaited { confirmation: false, review };
                    self.replace(person, &tie, Tie { status, awaits, ..tie });
                }
            }
            ParticipantEvent::ReferralRewardsChanged(changed) => {
                let rewards = self.own_rewards(program_id, &changed.rewards);
                if let Some(own) = &mut self.person_mut(person).own {
                    own.rewards = rewards;
                    own.rejected_from = changed.rejected_from_level.map(short);
                }
            }
            ParticipantEvent::RewardGranted(granted) => {
                self.adopt_reward(person, granted);
                self.remember_reward(person, event.sequence, granted, recorded);
            }
            ParticipantEvent::RewardReversed(reversed) => {
                self.remember_reversal(person, reversed);
                let (pot, posting) = (reversed.tier_pot, &reversed.posting);
                let known = self.person_mut(person);
                let mut levels = known.levels.iter_mut();
                if let Some(level) = levels.find(|level| level.number == reversed.level) {
                    level.total_minor = reversed.level_total_minor();
                }
                if pot.is_some() {
                    known.tier_points = known.tier_points.saturating_add(posting.amount);
                }
                self.adopt_pot(person, pot, posting);
            }
            ParticipantEvent::RewardMoved(moved) => {
                self.remember_move(person, moved);
                self.adopt_pot(person, moved.tier_pot, &moved.posting);
            }
            ParticipantEvent::TierChanged(change) => {
                let name: Arc<str> = change.to_tier.as_str().into();
                let name = self.tier_names.entry(name.clone()).or_insert(name).clone();
                self.person_mut(person).tier = Some(name);
            }
            ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantErased(_) => {
                self.person_mut(person).is_inactive = true;
            }
            ParticipantEvent::ParticipantReactivated(reactivated) => {
                let person = self.person_mut(person);
                person.is_inactive = false;
                person.reactivated = Some(reactivated.reactivate_time_us.0);
            }
            ParticipantEvent::FirstPurchaseUsed(used) => {
                self.remember_first_use(person, used, recorded);
            }
            ParticipantEvent::PurchaseCredited(credited) => {
                self.remember_credit(person, credited, recorded);
            }
            ParticipantEvent::FirstPurchaseFreed(freed) => {
                let key = self.deals.key(freed.purchase_id.as_str());
                self.person_mut(person).bought.forget(key);
            }
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::PurchaseReinstated(_)
            | ParticipantEvent::ReferralApplied(_)
            | ParticipantEvent::ReferralStandingChanged(_)
            | ParticipantEvent::ReferralMade(_)
            | ParticipantEvent::BalanceAdjusted(_)
            | ParticipantEvent::BalanceExpired(_)
            | ParticipantEvent::BalanceForfeited(_)
            | ParticipantEvent::BalanceSpent(_)
            | ParticipantEvent::SpendingReturned(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutPaid(_)
            | ParticipantEvent::PayoutReleased(_)
            | ParticipantEvent::PayoutReturned(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::RewardWithheld(_) => {}
        }
    }

    fn own_rewards(&mut self, program_id: &str, rewards: &[ReferralReward]) -> Vec<Reward> {
        let known = rewards.iter().map(|of| {
            let earner = self.person_index(program_id, of.earner_user_id.as_str());
            let (granted, pending) = (of.amount_minor, of.pending_minor);
            let release = of.release_time_us.map(|time| time.0);
            let mut reward =
                Reward::new(earner, of.level, granted, pending, of.reward_sequence, release);
            reward.reversed_minor = of.reversed_minor;
            reward.is_held = of.is_held;
            reward
        });
        known.collect()
    }

    fn adopt_pot(&mut self, person: PersonIndex, pot: Option<TierPot>, posting: &Posting) {
        if let Some(pot) = pot {
            let person = self.person_mut(person);
            person.pot = pot;
            person.pot_minor = person.pot_minor.saturating_add(pending_change(posting));
        }
    }

    /// Whether a version paid a level by tier.
    pub(super) fn is_by_tier(&self, person: PersonIndex, version: u32, level: u32) -> bool {
        let version = self.version(self.person(person).program, version);
        version.is_some_and(|version| {
            let rule = version.rules.rewards.iter().find(|rule| rule.level == level);
            rule.is_some_and(|rule| tiers_of(&rule.pay).is_some())
        })
    }

    fn adopt_reward(&mut self, person: PersonIndex, granted: &RewardGranted) {
        let is_by_tier = self.is_by_tier(person, granted.program_version, granted.level);
        let person = self.person_mut(person);
        let reached = Level {
            number: granted.level,
            total_minor: granted.level_total_minor(),
            rewards: granted.level_count,
        };
        match person.levels.iter_mut().find(|known| known.number == reached.number) {
            Some(known) => *known = reached,
            None => person.levels.push(reached),
        }
        if is_by_tier {
            let held = pending_change(&granted.posting);
            person.tier_points = person.tier_points.saturating_add(granted.posting.amount);
            person.tier_version = granted.program_version;
            person.pot.held_minor = person.pot.held_minor.saturating_add(held);
            person.pot_minor = person.pot_minor.saturating_add(held);
        }
    }
}
