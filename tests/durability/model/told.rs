//! What a provider of payments tells, in the model: facts in any order and as often as it likes. What is recorded
//! follows from the set of what was told, except for what cannot be taken back.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use super::world::{Dated, Dispute, User, World};

/// Purchases from this number on are payments of the provider.
pub const FIRST_PAYMENT: usize = 8;
/// How many payments there are in a sequence.
pub const PAYMENTS: usize = 2;
/// How many refunds a payment has, and how many disputes.
pub const REFUNDS: usize = 3;
pub const DISPUTES: usize = 2;
/// Refunds from this number on stand for running totals.
pub const FIRST_TOTAL: usize = 100;

/// What is told, by numbers of what there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// A session of a checkout is paid: it names the buyer.
    Session,
    /// The money was received.
    Intent,
    Refund(usize),
    RefundFails(usize),
    /// What all refunds come to.
    Total(usize),
    /// A dispute, and how it stands.
    Dispute(usize, usize),
}

/// When a session was paid, and when the money was received, in seconds after the beginning.
pub const SESSION_SECONDS: i64 = 2;
pub const INTENT_SECONDS: i64 = 1;

/// When a refund was made and when it fails, in seconds after the beginning, and how much it is, in sixths.
pub const REFUND: [(i64, i64, i64); REFUNDS] = [(10, 30, 1), (11, 12, 3), (14, 34, 2)];
/// When a total was told, and what it is, in sixths.
pub const TOTALS: [(i64, i64); 4] = [(12, 2), (13, 5), (35, 3), (36, 6)];
/// When it was told how a dispute stands, of how much, in sixths, and in what words.
pub const STANDS: [(i64, i64, &str); 6] = [
    (20, 2, "needs_response"),
    (21, 4, "under_review"),
    (22, 3, "prevented"),
    (23, 3, "won"),
    (24, 3, "lost"),
    (25, 7, "warning_closed"),
];

/// A part of what was paid.
pub fn part(paid: i64, sixths: i64) -> i64 {
    (paid * sixths / 6).max(1)
}

impl World {
    /// The provider tells a fact about a payment: by whom, how much, and how a purchase is dated so many seconds after
    /// its beginning.
    pub fn tell(
        &mut self,
        payment: usize,
        fact: Fact,
        (buyer, paid): (User, i64),
        dated: impl Fn(i64) -> Dated,
    ) {
        let id = FIRST_PAYMENT + payment;
        self.told.entry(payment).or_default().insert(fact);
        let told = self.told[&payment].clone();
        if !self.purchases.contains_key(&id) {
            // Nobody else names the buyer, whom the log must know.
            if !told.contains(&Fact::Session) || self.is_active(buyer).is_none() {
                return;
            }
            let has_intent = told.contains(&Fact::Intent);
            let seconds = if has_intent { INTENT_SECONDS } else { SESSION_SECONDS };
            self.buy(id, buyer, paid, false, dated(seconds)).unwrap();
        }
        for refund in (0..REFUNDS).filter(|refund| told.contains(&Fact::RefundFails(*refund))) {
            if self.purchases[&id].refunds.contains_key(&refund) {
                self.cancel_refund(id, refund).unwrap();
            }
        }
        self.follow_total(id, paid, &told);
        for (refund, (.., sixths)) in REFUND.into_iter().enumerate() {
            let stands = !told.contains(&Fact::RefundFails(refund));
            if told.contains(&Fact::Refund(refund)) && stands {
                self.report_refund(id, refund, part(paid, sixths));
            }
        }
        for dispute in 0..DISPUTES {
            self.follow_dispute(id, dispute, &told);
        }
    }

    /// What went back by refunds that nobody has told of is what the latest total is more than those known then.
    fn follow_total(&mut self, id: usize, paid: i64, told: &BTreeSet<Fact>) {
        let totals = (0..TOTALS.len()).filter(|total| told.contains(&Fact::Total(*total)));
        let Some((at, sixths)) = totals.max().map(|total| TOTALS[total]) else { return };
        let mut unknown = part(paid, sixths);
        for (refund, (made, fails, sixths)) in REFUND.into_iter().enumerate() {
            let has_failed = told.contains(&Fact::RefundFails(refund));
            let is_told = has_failed || told.contains(&Fact::Refund(refund));
            if is_told && made <= at && !(has_failed && fails < at) {
                unknown -= part(paid, sixths);
            }
        }
        let unknown = unknown.max(0);
        let of_totals = self.purchases[&id].refunds.range(FIRST_TOTAL..);
        let of_totals: Vec<_> = of_totals.map(|(id, of)| (*id, *of)).collect();
        let mut standing: i64 = 0;
        for (_, (amount, is_cancelled)) in &of_totals {
            standing += if *is_cancelled { 0 } else { *amount };
        }
        // The latest ones are undone until there is not too much.
        for (refund, (amount, is_cancelled)) in of_totals.iter().rev() {
            if standing > unknown && !is_cancelled {
                standing -= amount;
                self.cancel_refund(id, *refund).unwrap();
            }
        }
        if standing < unknown {
            self.report_refund(id, FIRST_TOTAL + of_totals.len(), unknown - standing);
        }
    }

    /// A refund has happened, whether or not so much is left.
    fn report_refund(&mut self, id: usize, refund: usize, amount: i64) {
        let purchase = self.purchases.get_mut(&id).unwrap();
        if let Entry::Vacant(unknown) = purchase.refunds.entry(refund) {
            unknown.insert((amount, false));
            self.settle(id);
        }
    }

    fn follow_dispute(&mut self, id: usize, dispute: usize, told: &BTreeSet<Fact>) {
        let stands =
            (0..STANDS.len()).filter(|stands| told.contains(&Fact::Dispute(dispute, *stands)));
        let Some((_, sixths, words)) = stands.max().map(|stands| STANDS[stands]) else { return };
        let paid = self.purchases[&id].paid;
        let known = self.purchases[&id].disputes.get(&dispute).map(|(_, state)| *state);
        // What is decided stays so.
        if known.is_some_and(|state| state != Dispute::Open) {
            return;
        }
        self.dispute(id, dispute, Some(part(paid, sixths).min(paid))).unwrap();
        match words {
            "won" | "warning_closed" => self.close(id, dispute, Dispute::Won).unwrap(),
            "lost" => self.close(id, dispute, Dispute::Lost).unwrap(),
            _ => {}
        }
    }
}
