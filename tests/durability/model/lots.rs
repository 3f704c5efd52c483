//! What is available, and the parts of it that expire. These are followed entry by entry, because it depends on the
//! order of entries from which lot something is taken.

use std::collections::BTreeMap;

use super::rules::{Expiry, Moment};
use super::world::{Reward, User, World};

/// What a member has available.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub available: i64,
    pub expired: i64,
    /// How much of what is available expires, by when it does.
    pub lots: BTreeMap<Moment, i64>,
    /// Set aside for payouts, and what was paid.
    pub reserved: i64,
    pub paid: i64,
    /// In the store.
    pub spent: i64,
}

/// Parts of an amount, each with the lot from which it was taken, if it was from one; in that order.
pub type Parts = Vec<(Option<Moment>, i64)>;

/// Where these parts go if they come back: each to its own lot or, if that is over, to the present one.
fn back(parts: &Parts, now: Moment, present: Option<Moment>) -> Parts {
    let mut back = Parts::new();
    for (lot, part) in parts {
        let lot = lot.and_then(|lot| if lot > now { Some(lot) } else { present });
        match back.iter_mut().find(|(known, _)| *known == lot) {
            Some((_, of_lot)) => *of_lot += part,
            None => back.push((lot, *part)),
        }
    }
    back
}

impl Account {
    /// Something comes, into a lot or for good. What pays a debt does not expire.
    pub fn add(&mut self, amount: i64, lot: Option<Moment>) {
        self.available += amount;
        if let Some(lot) = lot.filter(|_| amount > 0) {
            *self.lots.entry(lot).or_default() += amount;
        }
        let excess = self.lots.values().sum::<i64>() - self.available.max(0);
        self.take_from_lots(excess.max(0), None);
    }

    /// Something goes: from a reward's own lot first, then from the next ones, and then from what does not expire.
    pub fn take(&mut self, amount: i64, own: Option<Moment>) {
        self.available -= amount;
        self.take_from_lots(amount, own);
    }

    /// Something that never was in a lot goes: first what does not expire, then the next lots.
    pub fn take_lasting(&mut self, amount: i64) {
        self.available -= amount;
        let excess = self.lots.values().sum::<i64>() - self.available.max(0);
        self.take_from_lots(excess.max(0), None);
    }

    /// Something that never was in a lot comes or goes.
    pub fn change(&mut self, amount: i64) {
        if amount < 0 {
            self.take_lasting(-amount);
        } else {
            self.add(amount, None);
        }
    }

    /// An operator takes something away, which is as if it was spent, or gives something for good.
    pub fn adjust(&mut self, amount: i64) {
        if amount < 0 {
            self.take(-amount, None);
        } else {
            self.add(amount, None);
        }
    }

    /// A part of a credit for a purchase goes. What lots lack because of that is noted.
    pub fn take_credit(&mut self, amount: i64, lacking: &mut BTreeMap<Moment, i64>) {
        let before = self.lots.clone();
        self.take_lasting(amount);
        for (lot, amount) in before {
            let gone = amount - self.lots.get(&lot).copied().unwrap_or(0);
            if gone > 0 {
                *lacking.entry(lot).or_default() += gone;
            }
        }
    }

    /// A part of a credit comes back, of which so much is away apart from what lots lack. It pays the debt first that
    /// it has left. Then lots get what they lack, the last one first, or the present lot does for one that is over.
    pub fn return_credit(
        &mut self,
        amount: i64,
        lasting: i64,
        lacking: &mut BTreeMap<Moment, i64>,
        now: Moment,
        present: Option<Moment>,
    ) {
        let debt = (-self.available).clamp(0, lasting.min(amount));
        let mut left = amount - debt;
        let mut parts = Parts::new();
        for (lot, lacks) in lacking.iter_mut().rev() {
            let part = left.min(*lacks);
            (left, *lacks) = (left - part, *lacks - part);
            parts.push((Some(*lot), part));
        }
        lacking.retain(|_, lacks| *lacks > 0);
        self.add(debt + left, None);
        self.take_in(&parts, now, present);
    }

    /// Something is spent: from the next lots first, and from what does not expire last.
    pub fn spend(&mut self, amount: i64) -> Parts {
        let before = self.lots.clone();
        self.take(amount, None);
        let gone = |(lot, had): (&Moment, &i64)| {
            (Some(*lot), had - self.lots.get(lot).copied().unwrap_or(0))
        };
        let mut parts: Parts = before.iter().map(gone).collect();
        parts.push((None, amount - parts.iter().map(|(_, part)| part).sum::<i64>()));
        parts.retain(|(_, part)| *part > 0);
        parts
    }

    /// What was spent comes back.
    pub fn take_in(&mut self, parts: &Parts, now: Moment, present: Option<Moment>) {
        for (lot, part) in back(parts, now, present) {
            self.add(part, lot);
        }
    }

    fn take_from_lots(&mut self, mut amount: i64, own: Option<Moment>) {
        let others: Vec<_> = self.lots.keys().copied().filter(|lot| Some(*lot) != own).collect();
        for lot in own.into_iter().chain(others) {
            if let Some(left) = self.lots.get_mut(&lot) {
                let taken = amount.min(*left);
                *left -= taken;
                amount -= taken;
            }
        }
        self.lots.retain(|_, left| *left > 0);
    }

    /// What is in lots that end until a moment is lost.
    fn expire(&mut self, until: Moment) {
        let lasting = self.lots.split_off(&(until + 1));
        let lost: i64 = std::mem::replace(&mut self.lots, lasting).values().sum();
        self.available -= lost;
        self.expired += lost;
    }
}

impl World {
    /// Another part of a reward is available now.
    pub fn follow_reward(&mut self, program: usize, before: &Reward, after: &mut Reward) {
        let change = after.available() - before.available();
        let expiry = self.programs[program].versions[after.version].expiry;
        let lasting = before.lot.filter(|lot| *lot > self.now);
        let lot = lasting.or_else(|| expiry.map(|of| of.lot(self.now)));
        let account = self.account(program, after.earner);
        if change < 0 {
            match before.lot {
                Some(lot) => account.take(-change, Some(lot)),
                None => account.take_lasting(-change),
            }
        } else if change > 0 {
            account.add(change, lot);
            after.lot = lot.or(after.lot);
        }
    }

    /// The lot of what becomes available now, by the rules in force.
    pub fn present_lot(&self, program: usize) -> Option<Moment> {
        self.programs[program].rules().expiry.map(|of| of.lot(self.now))
    }

    pub fn account(&mut self, program: usize, user: User) -> &mut Account {
        &mut self.programs[program].member_mut(user).account
    }

    /// All lots that have ended by now are lost.
    pub fn end_lots(&mut self) {
        let now = self.now;
        for member in self.programs.iter_mut().flat_map(|of| &mut of.members) {
            member.account.expire(now);
        }
    }
}

impl Expiry {
    /// The lot of what becomes available now: the end of the month so many months after the present one.
    pub fn lot(self, now: Moment) -> Moment {
        const MINUTE_US: Moment = 60 * 1_000_000;
        const DAY_US: Moment = 24 * 60 * MINUTE_US;
        let ahead = self.zone.ahead_minutes() * MINUTE_US;
        let today = (now + ahead).div_euclid(DAY_US);
        // Months are counted by walking through them.
        let (mut year, mut month, mut first_day) = (1970, 0, 0);
        let mut left = self.months + 1;
        loop {
            let days = days_of(year, month);
            first_day += days;
            (year, month) = if month == 11 { (year + 1, 0) } else { (year, month + 1) };
            if first_day > today {
                left -= 1;
            }
            if left == 0 {
                return first_day * DAY_US - ahead;
            }
        }
    }
}

/// The days of a month, which is counted from 0.
fn days_of(year: i64, month: usize) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 if is_leap => 29,
        _ => [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month],
    }
}

#[test]
fn lots_end_with_the_months_of_the_zone() {
    use super::rules::Zone;

    let lot = |now: Moment, months, zone| Expiry { months, zone }.lot(now * 1_000_000) / 1_000_000;
    // 2026-11-28T12:00:00Z.
    let now = 1_795_867_200;
    assert_eq!(lot(now, 1, Zone::Utc), 1_798_761_600, "2027-01-01T00:00:00Z");
    assert_eq!(lot(now, 3, Zone::Utc), 1_803_859_200, "2027-03-01T00:00:00Z");
    assert_eq!(lot(now, 12, Zone::Phoenix), 1_827_644_400, "2027-12-01T07:00:00Z");
    // 2026-11-30T18:29:59Z is the last second of November in Kolkata.
    assert_eq!(lot(1_796_063_399, 1, Zone::Kolkata), 1_798_741_800, "2026-12-31T18:30:00Z");
    assert_eq!(lot(1_796_063_400, 1, Zone::Kolkata), 1_801_420_200, "2027-01-31T18:30:00Z");
    assert_eq!(lot(1_796_063_400, 1, Zone::Utc), 1_798_761_600, "2027-01-01T00:00:00Z");
}
