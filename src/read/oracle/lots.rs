//! Lots: what is available and expires, by the moment at which it does. Lots are reckoned here from the entries of a
//! participant, and from the rules it is reckoned to which lot an entry must belong.

use std::collections::HashMap;

use domain::rules::ProgramRules;
use domain::{Bucket, ParticipantEvent, Posting, Posts as _};
use jiff::ToSpan as _;
use jiff::tz::TimeZoneDatabase;

use super::inputs::{APPEND_US, is_reached};
use super::rulebook::Moment;
use super::world::PersonIndex;
use super::{Oracle, RecordedEvent, split};

/// The most lots that a participant has.
const MOST_LOTS: usize = 62;

/// What is known of all lots.
#[derive(Default)]
pub(super) struct Lots {
    /// Of each participant who has any, the next one first.
    accounts: HashMap<PersonIndex, Account>,
    /// The lot to which a reward was last added, by its earner and its sequence on their stream.
    rewards: HashMap<(PersonIndex, i64), Moment>,
}

impl Lots {
    pub(super) fn of_reward(&self, earner: PersonIndex, sequence: i64) -> Option<Moment> {
        self.rewards.get(&(earner, sequence)).copied()
    }
}

#[derive(Default)]
struct Account(Vec<(Moment, i64)>);

impl Account {
    /// Follows an entry, after which so much is available. What is taken back of something that never was in a lot
    /// comes from what does not expire, as far as there is any.
    fn enter(&mut self, change: i64, lot: Option<Moment>, available: i64, is_taken_back: bool) {
        if change < 0 {
            if lot.is_some() || !is_taken_back {
                self.take(change.saturating_neg(), lot);
            }
        } else if let Some(lot) = lot {
            self.put(lot, change);
        }
        let total: i64 = self.0.iter().map(|(_, amount)| *amount).sum();
        // What pays a debt does not expire.
        self.take((total - available.max(0)).max(0), None);
    }

    fn put(&mut self, lot: Moment, amount: i64) {
        let place = self.0.partition_point(|(end, _)| *end < lot);
        match self.0.get_mut(place).filter(|(end, _)| *end == lot) {
            Some((_, known)) => *known += amount,
            None => self.0.insert(place, (lot, amount)),
        }
        if self.0.len() > MOST_LOTS {
            let gap = |later: &usize| self.0[*later].0 - self.0[*later - 1].0;
            let later = (1..self.0.len()).min_by_key(gap).unwrap_or(1);
            let (_, amount) = self.0.remove(later);
            self.0[later - 1].1 += amount;
        }
    }

    fn take(&mut self, mut amount: i64, first: Option<Moment>) {
        let own = self.0.iter().position(|(end, _)| Some(*end) == first);
        for place in own.into_iter().chain(0..self.0.len()) {
            let taken = amount.min(self.0[place].1);
            self.0[place].1 -= taken;
            amount -= taken;
        }
        self.0.retain(|(_, left)| *left > 0);
    }
}

/// The lots to which something can go that became available when an event was decided: two, if a month has just ended.
fn present_lots(event: &RecordedEvent, rules: Option<&ProgramRules>) -> Vec<Option<Moment>> {
    let end = |moment| {
        let rules = rules?;
        month_end(moment, rules.expire_months?, &rules.time_zone)
    };
    let now = event.recorded_at.0;
    let mut lots = vec![end(now), end(now.saturating_sub(APPEND_US))];
    lots.dedup();
    lots
}

/// When expires what becomes available now: when the month begins that follows the last one.
fn month_end(now: Moment, months: u32, zone: &str) -> Option<Moment> {
    let zone = TimeZoneDatabase::bundled().get(zone).ok()?;
    let today = jiff::Timestamp::from_microsecond(now).ok()?.to_zoned_datetime(zone.clone()).date();
    let ahead = (i64::from(months) + 1).months();
    let first = today.first_of_month().checked_add(ahead).ok()?;
    Some(first.to_zoned_datetime(zone).ok()?.timestamp().as_microsecond())
}

/// The reward of an entry.
struct OfReward {
    version: u32,
    /// Its sequence on the earner's stream.
    sequence: Option<i64>,
    is_granted: bool,
    is_by_tier: bool,
}

fn of_reward(event: &RecordedEvent, fact: &ParticipantEvent) -> Option<OfReward> {
    let (version, sequence, is_granted, is_by_tier) = match fact {
        ParticipantEvent::RewardGranted(of) => {
            (of.program_version, Some(event.sequence), true, of.tier_referrals.is_some())
        }
        ParticipantEvent::RewardReversed(of) => {
            (of.program_version, Some(of.reward_sequence), false, of.tier_pot.is_some())
        }
        ParticipantEvent::RewardMoved(of) => {
            (of.program_version, of.reward_sequence, false, of.tier_pot.is_some())
        }
        ParticipantEvent::ParticipantEnrolled(_)
        | ParticipantEvent::ReferralApplied(_)
        | ParticipantEvent::ReferralStandingChanged(_)
        | ParticipantEvent::ReferralMade(_)
        | ParticipantEvent::ReferralUpdated(_)
        | ParticipantEvent::ReferralConverted(_)
        | ParticipantEvent::ReferralUnconverted(_)
        | ParticipantEvent::ReferralRewardsChanged(_)
        | ParticipantEvent::FirstPurchaseUsed(_)
        | ParticipantEvent::FirstPurchaseFreed(_)
        | ParticipantEvent::PurchaseReinstated(_)
        | ParticipantEvent::PurchaseCredited(_)
        | ParticipantEvent::RewardWithheld(_)
        | ParticipantEvent::TierChanged(_)
        | ParticipantEvent::RefereeAddressChanged(_)
        | ParticipantEvent::ParticipantDeactivated(_)
        | ParticipantEvent::ParticipantReactivated(_)
        | ParticipantEvent::BalanceAdjusted(_)
        | ParticipantEvent::BalanceExpired(_)
        | ParticipantEvent::BalanceForfeited(_)
        | ParticipantEvent::BalanceSpent(_)
        | ParticipantEvent::SpendingReturned(_)
        | ParticipantEvent::PayoutReserved(_)
        | ParticipantEvent::PayoutPaid(_)
        | ParticipantEvent::PayoutReleased(_)
        | ParticipantEvent::PayoutReturned(_)
        | ParticipantEvent::ParticipantErased(_) => return None,
    };
    Some(OfReward { version, sequence, is_granted, is_by_tier })
}

/// Takes in an entry, which must name the lot that it concerns, and the end of a lot, which must be over.
pub(super) fn sort(oracle: &mut Oracle, event: &RecordedEvent, fact: &ParticipantEvent) {
    let Some(posting) = fact.posting() else { return };
    let (program_id, user_id) = split(&event.stream.id);
    let person = oracle.world.person_index(program_id, user_id);
    let change = available_change(posting);
    let found = posting.expire_time_us.map(|time| time.0);
    let reward = of_reward(event, fact);
    if let ParticipantEvent::BalanceExpired(_) = fact {
        check_end(oracle, event, person, found, change);
    } else if reward.is_none() {
        check_part(oracle, event, fact, person, (found, change));
    } else {
        let expected = expected(oracle, event, reward.as_ref(), person, change);
        oracle.unless(expected.contains(&found), event, || {
            let expected = shown(expected.first().copied().flatten());
            format!("expires: expected {expected}, found {}", shown(found))
        });
    }
    let is_taken_back = match fact {
        ParticipantEvent::PurchaseCredited(_) => true,
        _ => reward.is_some(),
    };
    let lots = &mut oracle.world.lots;
    let sequence = reward.and_then(|reward| reward.sequence);
    if let (Some(lot), Some(sequence), 1..) = (found, sequence, change) {
        lots.rewards.insert((person, sequence), lot);
    }
    if found.is_some() || lots.accounts.contains_key(&person) {
        let account = lots.accounts.entry(person).or_default();
        account.enter(change, found, posting.after.available, is_taken_back);
        if account.0.is_empty() {
            lots.accounts.remove(&person);
        }
    }
}

fn available_change(posting: &Posting) -> i64 {
    let gained = if posting.to == Bucket::Available { posting.amount } else { 0 };
    let lost = if posting.from == Some(Bucket::Available) { posting.amount } else { 0 };
    gained - lost
}

fn shown(lot: Option<Moment>) -> String {
    lot.map_or_else(|| "never".into(), |lot| lot.to_string())
}

/// Which lot a part of something names that is no reward: of what is spent, the next one; of what is given back, one
/// that is not over; of a credit that goes back, one that there is. Everything else names none.
fn check_part(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    fact: &ParticipantEvent,
    person: PersonIndex,
    (found, change): (Option<Moment>, i64),
) {
    let known = oracle.world.lots.accounts.get(&person).map_or(&[][..], |account| &account.0);
    let next = known.first().copied();
    let is_lasting = found.is_none_or(|lot| lot > event.recorded_at.0.saturating_sub(APPEND_US));
    let is_right = match fact {
        ParticipantEvent::BalanceSpent(_) | ParticipantEvent::PayoutReserved(_) => match next {
            Some((lot, amount)) => found == Some(lot) && change.saturating_neg() <= amount,
            None => found.is_none(),
        },
        ParticipantEvent::PurchaseCredited(_) if change < 0 => {
            found.is_none_or(|found| known.iter().any(|(lot, _)| *lot == found))
        }
        ParticipantEvent::PurchaseCredited(_)
        | ParticipantEvent::SpendingReturned(_)
        | ParticipantEvent::PayoutReleased(_)
        | ParticipantEvent::PayoutReturned(_) => is_lasting,
        // What is paid was taken of its lots before.
        ParticipantEvent::PayoutPaid(_) => change == 0,
        _ => found.is_none(),
    };
    oracle.unless(is_right, event, || {
        let next = next.map_or_else(|| "none".into(), |(lot, amount)| format!("{amount} at {lot}"));
        format!("a lot: the next is {next}, found {change} at {}", shown(found))
    });
}

/// The lots that the entry of a reward can name: of what is added or granted, that to which it goes; of what is taken
/// from it, its own. Points by tier have none, because they never expire.
fn expected(
    oracle: &Oracle,
    event: &RecordedEvent,
    reward: Option<&OfReward>,
    person: PersonIndex,
    change: i64,
) -> Vec<Option<Moment>> {
    let Some(reward) = reward.filter(|reward| !reward.is_by_tier) else { return vec![None] };
    let world = &oracle.world;
    let own = reward.sequence.and_then(|sequence| world.lots.of_reward(person, sequence));
    match change {
        ..0 => vec![own],
        0 => vec![None],
        1.. => {
            let version = world.version(world.person(person).program, reward.version);
            let mut lots = present_lots(event, version.map(|version| &*version.rules));
            if let Some(own) = own.filter(|_| !reward.is_granted) {
                // What is over when an event is recorded can have lasted when it was decided.
                if own > event.recorded_at.0 {
                    lots.clear();
                }
                if own > event.recorded_at.0.saturating_sub(APPEND_US) {
                    lots.push(Some(own));
                }
            }
            lots
        }
    }
}

/// The next lot expires, and all of it, once it is over.
fn check_end(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    person: PersonIndex,
    found: Option<Moment>,
    change: i64,
) {
    let account = oracle.world.lots.accounts.get(&person);
    let next = account.and_then(|account| account.0.first().copied());
    let is_next = next.is_some_and(|(lot, amount)| found == Some(lot) && change == -amount);
    oracle.unless(is_next, event, || {
        let (lot, amount) = next.unwrap_or_default();
        format!(
            "expected the end of {amount} that expire at {lot}, found that of {} at {}",
            -change,
            found.unwrap_or_default()
        )
    });
    oracle.unless(found.is_none_or(|lot| is_reached(event, lot)), event, || {
        format!("expected a lot until {}, found its end", found.unwrap_or_default())
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn the_examples_of_the_rule_book_come_out() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        for (now, months, zone, end) in [
            ("2026-01-01T00:00:00Z", 3, "UTC", "2026-05-01T00:00:00Z"),
            ("2026-01-31T23:59:59Z", 3, "UTC", "2026-05-01T00:00:00Z"),
            ("2026-01-31T23:59:59Z", 1, "UTC", "2026-03-01T00:00:00Z"),
            ("2026-02-28T22:59:59Z", 1, "Europe/Berlin", "2026-03-31T22:00:00Z"),
            ("2026-02-28T23:00:00Z", 60, "Europe/Berlin", "2031-03-31T22:00:00Z"),
        ] {
            assert_eq!(month_end(at(now), months, zone), Some(at(end)), "{now} {months} {zone}");
        }
    }

    #[test]
    fn the_next_lot_is_taken_from_first_unless_a_reward_has_its_own() {
        let mut account = Account::default();
        account.enter(20, Some(2), 20, false);
        account.enter(10, Some(1), 30, false);
        account.enter(-5, Some(2), 25, true);
        account.enter(-12, None, 13, false);
        assert_eq!(account.0, [(2, 13)]);
        account.enter(-20, None, -7, false);
        account.enter(10, Some(3), 3, false);
        assert_eq!(account.0, [(3, 3)]);
        // Something without a lot leaves lots alone while there is enough besides them.
        account.enter(7, None, 10, false);
        account.enter(-7, None, 3, true);
        assert_eq!(account.0, [(3, 3)]);
        account.enter(-1, None, 2, true);
        assert_eq!(account.0, [(3, 2)]);
    }
}
