//! What the oracle remembers of purchases, so that it can say what must follow when one is refunded much later.
//!
//! This is all that grows with the log. A purchase that had consequences takes one record for each program in which it
//! had them, and one for each reward. Ids are kept as digests of 16 bytes, everybody is an index, and the records of
//! one purchase are linked to each other by indexes. What only few purchases have, such as refunds, is beside them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::{NonZeroI64, NonZeroU32};

use super::price::{MoneyBack, Price};
use super::rulebook::Moment;
use super::world::{PersonIndex, ProgramIndex};

/// The place of a record in the list of records.
pub(super) type DealIndex = u32;

/// A digest of a purchase's id. Two are taken of each, with random keys, so that nobody can choose ids that collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

/// The place of the next record of a list, if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link(Option<NonZeroU32>);

impl Link {
    fn to(index: u32) -> Self {
        Self(NonZeroU32::new(index.saturating_add(1)))
    }

    fn index(self) -> Option<u32> {
        self.0.map(|place| place.get() - 1)
    }
}

/// How a purchase was the buyer's first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FirstUse {
    #[default]
    None,
    /// The first of all, and not enough.
    Insufficient,
    /// The first that was enough.
    Enough,
}

/// A purchase in one program of its buyer, where it had consequences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deal {
    pub(super) amount_minor: i64,
    pub(super) date: Moment,
    pub(super) buyer: PersonIndex,
    pub(super) program: ProgramIndex,
    /// The version that judged it; 0 if that made no difference.
    pub(super) version: u32,
    /// The first record of the same purchase, and the next one.
    head: DealIndex,
    next: Link,
    /// The record of an earlier purchase of the same buyer in the same program.
    earlier: Link,
    rewards: Link,
    /// The levels whose rewards were withheld because a referral did not count, and not made up for.
    cut_off: u16,
    pub(super) first_use: FirstUse,
    /// The level from which on nothing is earned, because a referral was rejected with what it had earned.
    pub(super) rejected_from: Option<u8>,
    /// Whether the price was added to the buyer's own balance.
    pub(super) is_credited: bool,
    /// Whether it converted the buyer's referral, and whether the referrer could not earn then.
    pub(super) converted: Option<bool>,
}

/// A reward of a purchase or of a referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reward {
    pub(super) granted_minor: i64,
    /// What of it was taken back.
    pub(super) reversed_minor: i64,
    /// What of it is pending; 0 of points by tier, which are pending together.
    pub(super) pending_minor: i64,
    /// When the hold period ends; `None` if the reward waits for none.
    pub(super) release: Option<NonZeroI64>,
    pub(super) earner: PersonIndex,
    /// The sequence on the earner's stream.
    pub(super) sequence: u32,
    next: Link,
    pub(super) level: u8,
    pub(super) is_held: bool,
}

impl Reward {
    pub(super) fn new(
        earner: PersonIndex,
        level: u32,
        granted_minor: i64,
        pending_minor: i64,
        sequence: i64,
        release: Option<Moment>,
    ) -> Self {
        Self {
            granted_minor,
            reversed_minor: 0,
            pending_minor,
            release: release.and_then(NonZeroI64::new),
            earner,
            sequence: u32::try_from(sequence).unwrap_or(u32::MAX),
            next: Link::default(),
            level: short(level),
            is_held: false,
        }
    }

    /// Whether it is pending, whatever becomes of the purchase.
    pub(super) fn waits(&self) -> bool {
        self.is_held || self.release.is_some()
    }
}

/// Levels are small numbers.
pub(super) fn short(level: u32) -> u8 {
    u8::try_from(level).unwrap_or(u8::MAX)
}

fn bit(level: u32) -> u16 {
    1_u16.checked_shl(level).unwrap_or(0)
}

impl Deal {
    pub(super) fn cut_off_levels(&self) -> Vec<u32> {
        (0..u16::BITS).filter(|level| self.cut_off & bit(*level) != 0).collect()
    }

    pub(super) fn cut_off(&mut self, level: u32) {
        self.cut_off |= bit(level);
    }

    pub(super) fn make_up(&mut self, level: u32) {
        self.cut_off &= !bit(level);
    }
}

/// All purchases that had consequences.
#[derive(Default)]
pub(super) struct Deals {
    digests: (RandomState, RandomState),
    heads: HashMap<Key, DealIndex>,
    all: Vec<Deal>,
    rewards: Vec<Reward>,
    /// By the first record of a purchase.
    money_back: HashMap<DealIndex, MoneyBack>,
    /// What of the credit for the price was taken back, and what of it is pending.
    credits: HashMap<DealIndex, (i64, i64)>,
}

fn count(length: usize) -> u32 {
    // Four billion purchases would not fit into memory either.
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Deals {
    pub(super) fn key(&self, purchase_id: &str) -> Key {
        let halves = [&self.digests.0, &self.digests.1].map(|state| state.hash_one(purchase_id));
        let mut key = [0; 16];
        for (bytes, half) in key.chunks_exact_mut(8).zip(halves) {
            bytes.copy_from_slice(&half.to_ne_bytes());
        }
        Key(key)
    }

    pub(super) fn get(&self, index: DealIndex) -> &Deal {
        &self.all[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: DealIndex) -> &mut Deal {
        &mut self.all[index as usize]
    }

    /// The records of a purchase, one for each program in which it had consequences.
    pub(super) fn of(&self, key: Key) -> impl Iterator<Item = DealIndex> {
        let head = self.heads.get(&key).copied();
        std::iter::successors(head, |index| self.get(*index).next.index())
    }

    pub(super) fn find(&self, key: Key, program: ProgramIndex) -> Option<DealIndex> {
        self.of(key).find(|index| self.get(*index).program == program)
    }

    /// Begins a record. `latest` is the buyer's latest one in the program.
    pub(super) fn begin(
        &mut self,
        key: Key,
        (buyer, program): (PersonIndex, ProgramIndex),
        (amount_minor, date): (i64, Moment),
        latest: &mut Link,
    ) -> DealIndex {
        let index = count(self.all.len());
        let last = self.of(key).last();
        let head = *self.heads.entry(key).or_insert(index);
        self.all.push(Deal {
            amount_minor,
            date,
            buyer,
            program,
            version: 0,
            head,
            next: Link::default(),
            earlier: *latest,
            rewards: Link::default(),
            cut_off: 0,
            first_use: FirstUse::None,
            rejected_from: None,
            is_credited: false,
            converted: None,
        });
        *latest = Link::to(index);
        if let Some(last) = last {
            self.get_mut(last).next = Link::to(index);
        }
        index
    }

    /// A record and those of earlier purchases of the same buyer in the same program.
    pub(super) fn back_from(&self, latest: Link) -> impl Iterator<Item = DealIndex> {
        std::iter::successors(latest.index(), |index| self.get(*index).earlier.index())
    }

    /// The rewards of a purchase in one program.
    pub(super) fn rewards(&self, index: DealIndex) -> Vec<Reward> {
        let places = self.places(self.get(index).rewards);
        places.map(|place| self.rewards[place as usize]).collect()
    }

    /// Whether the purchase was rewarded in the program.
    pub(super) fn is_rewarded(&self, index: DealIndex) -> bool {
        self.get(index).rewards != Link::default()
    }

    fn places(&self, first: Link) -> impl Iterator<Item = u32> {
        std::iter::successors(first.index(), |place| self.rewards[*place as usize].next.index())
    }

    pub(super) fn add_reward(&mut self, index: DealIndex, reward: Reward) {
        let place = Link::to(count(self.rewards.len()));
        self.rewards.push(reward);
        let last = self.places(self.get(index).rewards).last();
        match last {
            Some(last) => self.rewards[last as usize].next = place,
            None => self.get_mut(index).rewards = place,
        }
    }

    /// The reward on a level.
    pub(super) fn reward_mut(&mut self, index: DealIndex, level: u32) -> Option<&mut Reward> {
        let mut places = self.places(self.get(index).rewards);
        let on_level = |place: &u32| u32::from(self.rewards[*place as usize].level) == level;
        let place = places.find(on_level)?;
        drop(places);
        self.rewards.get_mut(place as usize)
    }

    /// The refunds and disputes of a purchase.
    pub(super) fn money_back_mut(&mut self, index: DealIndex) -> &mut MoneyBack {
        self.money_back.entry(self.get(index).head).or_default()
    }

    /// What the price of a purchase comes to.
    pub(super) fn price(&self, index: DealIndex) -> Price {
        let Deal { amount_minor, head, .. } = *self.get(index);
        let money_back = self.money_back.get(&head);
        money_back
            .map_or_else(|| MoneyBack::default().price(amount_minor), |of| of.price(amount_minor))
    }

    /// What of the credit for the price was taken back, and what of it is pending.
    pub(super) fn credit(&self, index: DealIndex) -> (i64, i64) {
        self.credits.get(&index).copied().unwrap_or_default()
    }

    /// What was added to the balance for the price changes, and what of it is pending.
    pub(super) fn change_credit(&mut self, index: DealIndex, change: i64, pending_change: i64) {
        let (reversed, pending) = self.credits.entry(index).or_default();
        *reversed -= change;
        *pending += pending_change;
    }

    /// The bytes that it takes, without what only few purchases have.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.all.capacity() * size_of::<Deal>()
            + self.rewards.capacity() * size_of::<Reward>()
            + self.heads.capacity() * (size_of::<(Key, DealIndex)>() + 1) * 8 / 7
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    /// The figures of `docs/operations.md`.
    #[test]
    fn a_purchase_with_a_reward_takes_about_130_bytes_and_less_than_260_when_lists_have_just_grown()
    {
        assert_eq!((size_of::<Deal>(), size_of::<Reward>()), (56, 48));
        for (purchases, most) in [(65_536, 160), (65_537, 260), (458_752, 150)] {
            let mut deals = Deals::default();
            let mut latest = Link::default();
            for number in 0..purchases {
                let key = deals.key(&format!("purchase-{number}"));
                let index = deals.begin(key, (0, 0), (1, 1), &mut latest);
                deals.add_reward(index, Reward::new(0, 1, 1, 0, 1, None));
            }
            let bytes = deals.bytes() / purchases;
            assert!(bytes <= most, "{bytes} for each of {purchases}");
        }
    }

    #[test]
    fn the_records_of_a_purchase_and_its_rewards_are_found_again() {
        let mut deals = Deals::default();
        let (mut one, mut other) = (Link::default(), Link::default());
        let key = deals.key("a");
        let first = deals.begin(key, (1, 10), (500, 7), &mut one);
        let unrelated = deals.begin(deals.key("b"), (1, 10), (600, 8), &mut one);
        let second = deals.begin(key, (2, 20), (500, 7), &mut other);
        assert_eq!(deals.of(key).collect::<Vec<_>>(), [first, second]);
        assert_eq!(deals.find(key, 20), Some(second));
        assert_eq!(deals.find(deals.key("b"), 20), None);
        assert_eq!(deals.back_from(one).collect::<Vec<_>>(), [unrelated, first]);
        for level in [1, 2] {
            deals.add_reward(second, Reward::new(level, level, 5, 0, 1, None));
        }
        deals.reward_mut(second, 2).unwrap().is_held = true;
        let held: Vec<_> = deals.rewards(second).iter().map(|reward| reward.is_held).collect();
        assert_eq!(held, [false, true]);
        assert!(deals.reward_mut(second, 3).is_none() && !deals.is_rewarded(first));
    }
}
