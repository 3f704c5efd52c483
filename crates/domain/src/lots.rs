//! Lots: the parts of what is available that expire, by the moment at which they do.
//!
//! A lot is named by its moment, the end of a month. What has no lot does not expire. Lots are kept by postings alone:
//! a posting that adds to what is available says to which lot, and one that takes from it can say from which lot first.

use serde::{Deserialize, Serialize};

use crate::purchase::RewardShare;
use crate::rules::{MAX_EXPIRE_MONTHS, ProgramRules};
use crate::{Bucket, EntryKind, Posting, Timestamp};

/// The most lots of a participant: a month's end for each month that rewards can last, that of the present month, and
/// one that is over and has not expired yet. Only a change of the time zone can make for more.
const MAX_LOTS: usize = MAX_EXPIRE_MONTHS as usize + 2;

/// A part of what is available that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lot {
    /// When it expires.
    pub expire_time: Timestamp,
    /// How much, in minor units; above zero.
    pub amount_minor: i64,
}

/// The lots of a participant, the next one first. Together they are never more than what is available.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Lots(Vec<Lot>);

/// A part of an amount that is taken from what is available or goes back there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LotPart {
    /// How much, in minor units; above zero.
    pub amount_minor: i64,
    /// The lot; none if the part does not expire.
    #[serde(default)]
    pub expire_time: Option<Timestamp>,
}

impl LotPart {
    /// The parts in which what was taken goes back: each to its own lot or, if that is over, to the present one. At
    /// most one part for each lot, in the order in which they were taken.
    pub(crate) fn back(parts: &[Self], now: Timestamp, present: Option<Timestamp>) -> Vec<Self> {
        let mut back = Vec::with_capacity(parts.len());
        for part in parts {
            let of = |lot| if lot > now { Some(lot) } else { present };
            Self::join(&mut back, Self { expire_time: part.expire_time.and_then(of), ..*part });
        }
        back
    }

    /// Adds a part to that of the same lot.
    fn join(parts: &mut Vec<Self>, part: Self) {
        match parts.iter_mut().find(|of| of.expire_time == part.expire_time) {
            Some(known) => {
                known.amount_minor = known.amount_minor.saturating_add(part.amount_minor);
            }
            None => parts.push(part),
        }
    }
}

/// The lots that a change of a reward concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewardLots {
    /// The lot from which is taken first what is taken from what is available.
    pub own: Option<Timestamp>,
    /// The lot to which goes what becomes available.
    pub next: Option<Timestamp>,
}

impl RewardShare {
    /// The lots that a change of the reward concerns now, by the rules of its version. What comes back goes to the lot
    /// that it came from or, if that is over, to the present one.
    pub(crate) fn lots(&self, rules: &ProgramRules, now: Timestamp) -> RewardLots {
        let lasting = self.lot.filter(|lot| *lot > now);
        RewardLots { own: self.lot, next: lasting.or_else(|| rules.expire_time(now)) }
    }

    /// Takes over the lot to which a posting has added the reward or a part of it.
    pub(crate) fn enter_lot(&mut self, posting: &Posting) {
        self.lot = posting.lot_added_to().or(self.lot);
    }
}

impl Lots {
    /// All lots, the next one first.
    #[must_use]
    pub fn as_slice(&self) -> &[Lot] {
        &self.0
    }

    /// How much is in the lot of that moment.
    #[must_use]
    pub fn amount_minor(&self, expire_time: Timestamp) -> i64 {
        self.0.iter().find(|lot| lot.expire_time == expire_time).map_or(0, |lot| lot.amount_minor)
    }

    /// The lots whose time has come.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = Lot> {
        self.0.iter().copied().take_while(move |lot| lot.expire_time <= now)
    }

    /// What is in all of them.
    pub(crate) fn total_minor(&self) -> i64 {
        self.0.iter().fold(0, |sum, lot| sum.saturating_add(lot.amount_minor))
    }

    /// The parts in which an amount is spent: the next lot first, and what does not expire last.
    pub(crate) fn parts_of(&self, amount_minor: i64) -> Vec<LotPart> {
        let mut left = amount_minor;
        let mut parts: Vec<_> = self.0.iter().map(|lot| take_part(lot, &mut left)).collect();
        parts.push(LotPart { amount_minor: left, expire_time: None });
        parts.retain(|part| part.amount_minor > 0);
        parts
    }

    /// The parts in which something is taken back that never was in a lot, out of so much that is available: what does
    /// not expire first, then the next lot, and the rest is a debt. In the order in which they are posted.
    pub(crate) fn taken_back(&self, amount_minor: i64, available_minor: i64) -> Vec<LotPart> {
        let lasting = available_minor.saturating_sub(self.total_minor()).max(0);
        let own = amount_minor.min(lasting);
        let mut parts = self.parts_of(amount_minor - own);
        LotPart::join(&mut parts, LotPart { amount_minor: own, expire_time: None });
        parts.retain(|part| part.amount_minor > 0);
        parts
    }

    /// The parts in which an amount is given back of what [`Lots::taken_back`] has taken, in the order in which they
    /// are posted. These lots are what was taken of lots, and `lasting_minor` is the rest. What was taken last goes
    /// back first: what became a debt that still stands, then the last lot, and then what does not expire.
    pub(crate) fn given_back(
        &self,
        amount_minor: i64,
        available_minor: i64,
        lasting_minor: i64,
    ) -> Vec<LotPart> {
        let debt = available_minor.min(0).saturating_neg();
        let debt = debt.min(lasting_minor).min(amount_minor);
        let mut left = amount_minor - debt;
        let mut parts = vec![LotPart { amount_minor: debt, expire_time: None }];
        parts.extend(self.0.iter().rev().map(|lot| take_part(lot, &mut left)));
        parts[0].amount_minor += left;
        parts.retain(|part| part.amount_minor > 0);
        parts
    }

    /// Notes what a posting takes of lots, or gives back to them, of something that never was in a lot; in all no more
    /// than `out_minor`. What was taken last goes back first.
    pub(crate) fn note(&mut self, posting: &Posting, out_minor: i64) {
        let change = posting.available_change();
        match posting.expire_time_us {
            Some(expire_time) if change < 0 => self.add(expire_time, change.saturating_neg()),
            Some(_) if change > 0 => self.take_last(change),
            Some(_) | None => {}
        }
        self.take_last(self.total_minor().saturating_sub(out_minor));
    }

    fn take_last(&mut self, amount_minor: i64) {
        let mut left = amount_minor.max(0);
        for lot in self.0.iter_mut().rev() {
            lot.amount_minor -= take_part(lot, &mut left).amount_minor;
        }
        self.0.retain(|lot| lot.amount_minor > 0);
    }

    /// Follows a posting.
    ///
    /// What is spent comes from the lot that the posting names, then from the others, the next one first, and then from
    /// what does not expire. What is taken back of something that has no lot comes from what does not expire first. Of
    /// what is added to a debt, only what is above zero afterwards is left to expire.
    pub(crate) fn post(&mut self, posting: &Posting) {
        let change = posting.available_change();
        match posting.expire_time_us {
            Some(expire_time) if change > 0 => self.add(expire_time, change),
            _ if self.0.is_empty() => return,
            None if !is_spent(posting) => {}
            own if change < 0 => self.take(own, change.saturating_neg()),
            _ => {}
        }
        let excess = self.total_minor().saturating_sub(posting.after.available.max(0));
        if excess > 0 {
            self.take(None, excess);
        }
    }

    fn add(&mut self, expire_time: Timestamp, amount_minor: i64) {
        match self.0.binary_search_by_key(&expire_time, |lot| lot.expire_time) {
            Ok(index) => {
                let lot = &mut self.0[index];
                lot.amount_minor = lot.amount_minor.saturating_add(amount_minor);
            }
            Err(index) => self.0.insert(index, Lot { expire_time, amount_minor }),
        }
        if self.0.len() > MAX_LOTS {
            self.merge_closest();
        }
    }

    /// Of the two lots that are closest to each other, makes one that expires with the earlier.
    fn merge_closest(&mut self) {
        let gap = |index: &usize| self.0[*index].expire_time.0 - self.0[*index - 1].expire_time.0;
        if let Some(index) = (1..self.0.len()).min_by_key(gap) {
            let later = self.0.remove(index);
            let earlier = &mut self.0[index - 1];
            earlier.amount_minor = earlier.amount_minor.saturating_add(later.amount_minor);
        }
    }

    fn take(&mut self, own: Option<Timestamp>, amount_minor: i64) {
        let mut left = amount_minor;
        let mut take = |lot: &mut Lot| {
            lot.amount_minor -= take_part(lot, &mut left).amount_minor;
        };
        self.0.iter_mut().filter(|lot| Some(lot.expire_time) == own).for_each(&mut take);
        self.0.iter_mut().for_each(take);
        self.0.retain(|lot| lot.amount_minor > 0);
    }
}

/// As much of an amount as is in a lot.
fn take_part(lot: &Lot, left: &mut i64) -> LotPart {
    let amount_minor = lot.amount_minor.min(*left);
    *left -= amount_minor;
    LotPart { amount_minor, expire_time: Some(lot.expire_time) }
}

/// Whether what a posting takes is spent, lost or corrected, and not taken back of something that was granted.
fn is_spent(posting: &Posting) -> bool {
    match posting.kind {
        EntryKind::PurchaseCredit | EntryKind::Reversal => false,
        // What is set aside for a payout is spent, and what waits is taken back for the time being.
        EntryKind::Transfer => posting.to == Bucket::Reserved,
        EntryKind::Points
        | EntryKind::Credit
        | EntryKind::Bonus
        | EntryKind::Commission
        | EntryKind::Redemption
        | EntryKind::Payout
        | EntryKind::Adjustment
        | EntryKind::Expiry => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use proptest::prelude::*;

    use super::*;
    use crate::{Bucket, Buckets, EntryKind};

    /// An account that postings change.
    #[derive(Default)]
    struct Account {
        buckets: Buckets,
        lots: Lots,
    }

    impl Account {
        fn post(&mut self, amount: i64, lot: Option<i64>) {
            let kind = EntryKind::Adjustment;
            let posting = self.buckets.post(kind, amount, Bucket::Available, "USD").unwrap();
            self.follow(&posting.in_lot(lot.map(Timestamp)));
        }

        fn follow(&mut self, posting: &Posting) {
            self.lots.post(posting);
            self.buckets = posting.after;
        }

        fn lots(&self) -> Vec<(i64, i64)> {
            let pair = |lot: &Lot| (lot.expire_time.0, lot.amount_minor);
            self.lots.as_slice().iter().map(pair).collect()
        }
    }

    #[test]
    fn the_next_lot_is_spent_first_and_what_does_not_expire_last() {
        let mut account = Account::default();
        account.post(50, None);
        account.post(20, Some(2));
        account.post(10, Some(1));
        account.post(5, Some(2));
        assert_eq!(account.lots(), [(1, 10), (2, 25)]);
        account.post(-12, None);
        assert_eq!(account.lots(), [(2, 23)]);
        account.post(-30, None);
        assert_eq!((account.lots(), account.buckets.available), (vec![], 43));
    }

    #[test]
    fn a_lot_that_is_named_is_taken_from_first() {
        let mut account = Account::default();
        account.post(10, Some(1));
        account.post(20, Some(2));
        account.post(-15, Some(2));
        assert_eq!(account.lots(), [(1, 10), (2, 5)]);
        account.post(-7, Some(2));
        assert_eq!(account.lots(), [(1, 8)]);
        account.post(-3, Some(9));
        assert_eq!(account.lots(), [(1, 5)]);
    }

    fn part(amount_minor: i64, lot: Option<i64>) -> LotPart {
        LotPart { amount_minor, expire_time: lot.map(Timestamp) }
    }

    #[test]
    fn an_amount_is_spent_in_parts_of_which_each_goes_back_to_its_lot_or_to_the_present_one() {
        let mut account = Account::default();
        account.post(50, None);
        account.post(20, Some(3));
        account.post(10, Some(2));
        account.post(5, Some(1));
        assert_eq!(account.lots.parts_of(12), [part(5, Some(1)), part(7, Some(2))]);
        let all = account.lots.parts_of(36);
        let own = [part(5, Some(1)), part(10, Some(2)), part(20, Some(3)), part(1, None)];
        assert_eq!(all, own);
        assert_eq!(LotPart::back(&all, Timestamp(0), Some(Timestamp(9))), own);
        let back =
            |now, present: Option<i64>| LotPart::back(&all, Timestamp(now), present.map(Timestamp));
        assert_eq!(back(2, Some(9)), [part(15, Some(9)), part(20, Some(3)), part(1, None)]);
        assert_eq!(back(2, Some(3)), [part(35, Some(3)), part(1, None)]);
        assert_eq!(back(3, None), [part(36, None)]);
    }

    #[test]
    fn what_is_taken_back_of_something_without_a_lot_leaves_the_lots_as_far_as_it_can() {
        for kind in [EntryKind::PurchaseCredit, EntryKind::Reversal, EntryKind::Transfer] {
            let mut account = Account::default();
            account.post(30, None);
            account.post(20, Some(1));
            let (unit, to) = ("USD", Bucket::Pending);
            let mut take = |amount: i64| {
                let posting = if kind == EntryKind::Transfer {
                    account.buckets.transfer(amount, Bucket::Available, to, unit)
                } else {
                    account.buckets.post(kind, -amount, Bucket::Available, unit)
                };
                account.follow(&posting.unwrap());
                (account.lots(), account.buckets.available)
            };
            assert_eq!(take(25), (vec![(1, 20)], 25), "{kind:?}");
            assert_eq!(take(10), (vec![(1, 15)], 15), "{kind:?}");
        }
    }

    #[test]
    fn what_pays_a_debt_does_not_expire() {
        let mut account = Account::default();
        account.post(-30, None);
        account.post(20, Some(1));
        assert_eq!(account.lots(), []);
        account.post(25, Some(2));
        assert_eq!((account.lots(), account.buckets.available), (vec![(2, 15)], 15));
    }

    #[test]
    fn of_too_many_lots_the_two_that_are_closest_are_one() {
        let mut account = Account::default();
        for month in 0..i64::try_from(MAX_LOTS).unwrap() {
            account.post(1, Some(1_000 * month));
        }
        assert_eq!(account.lots().len(), MAX_LOTS);
        account.post(7, Some(5_001));
        assert_eq!(account.lots().len(), MAX_LOTS);
        assert_eq!(account.lots.amount_minor(Timestamp(5_000)), 8);
        assert_eq!(account.lots.amount_minor(Timestamp(5_001)), 0);
    }

    proptest! {
        #[test]
        fn lots_are_above_zero_in_order_and_never_more_than_what_is_available(
            postings in proptest::collection::vec(
                (-1_000_i64..1_000, proptest::option::of(0_i64..90), any::<bool>(), any::<bool>()),
                0..200,
            ),
        ) {
            let mut account = Account::default();
            for (amount, lot, moves, up) in postings {
                if moves {
                    let (from, to) = (Bucket::Available, Bucket::Pending);
                    let (from, to) = if up { (to, from) } else { (from, to) };
                    let posting = account.buckets.transfer(amount.abs(), from, to, "USD").unwrap();
                    account.follow(&posting.in_lot(lot.map(Timestamp)));
                } else {
                    account.post(amount, lot);
                }
                let lots = account.lots();
                prop_assert!(lots.iter().all(|(_, amount)| *amount > 0), "{lots:?}");
                prop_assert!(lots.is_sorted_by(|one, other| one.0 < other.0), "{lots:?}");
                prop_assert!(lots.len() <= MAX_LOTS);
                let total: i64 = lots.iter().map(|(_, amount)| amount).sum();
                prop_assert!(total <= account.buckets.available.max(0), "{lots:?}");
            }
        }

        #[test]
        fn everything_that_was_given_a_lot_expires_if_nothing_is_taken(
            amounts in proptest::collection::vec((1_i64..1_000, 0_i64..60), 0..100),
        ) {
            let mut account = Account::default();
            for (amount, lot) in &amounts {
                account.post(*amount, Some(*lot));
            }
            for lot in account.lots.clone().due(Timestamp(60)) {
                account.post(-lot.amount_minor, Some(lot.expire_time.0));
            }
            prop_assert_eq!((account.lots(), account.buckets.available), (vec![], 0));
        }
    }
}
