//! Money that goes back: refunds and disputes are inputs of a purchase, and what its rewards must look like follows
//! from all of them.

use super::rules::{EarnsOn, Rules, points, share};
use super::world::{Dispute, Purchase, Refusal, Reward, Shape, Status, User, World};

impl Purchase {
    /// What went back: refunds that stand, and lost disputes.
    pub fn refunded(&self) -> i64 {
        let refunds = self.refunds.values().filter(|(_, cancelled)| !cancelled);
        let refunds: i64 = refunds.map(|(amount, _)| amount).sum();
        (refunds + self.in_disputes(Dispute::Lost)).min(self.paid)
    }

    /// What would have gone back if all open disputes were lost.
    pub fn at_risk(&self) -> i64 {
        (self.refunded() + self.in_disputes(Dispute::Open)).min(self.paid)
    }

    fn in_disputes(&self, state: Dispute) -> i64 {
        self.disputes.values().filter(|(_, of)| *of == state).map(|(amount, _)| amount).sum()
    }
}

/// The part of a reward that goes back with this part of the price.
fn taken(reward: &Reward, rules: &Rules, paid: i64, back: i64) -> i64 {
    if back == 0 {
        0
    } else if !rules.qualifies(paid, back) {
        reward.granted
    } else if reward.shape == Shape::Rate {
        share(reward.granted, back, paid)
    } else {
        0
    }
}

impl World {
    pub fn refund(&mut self, id: usize, refund: usize, amount: Option<i64>) -> Result<(), Refusal> {
        let purchase = self.purchases.get_mut(&id).ok_or("PURCHASE_NOT_FOUND")?;
        if let Some((known, _)) = purchase.refunds.get(&refund) {
            let same = amount.is_none_or(|amount| amount == *known);
            return if same { Ok(()) } else { Err("REFUND_ID_REUSED") };
        }
        let left = purchase.paid - purchase.refunded();
        let amount = amount.unwrap_or(left);
        if left == 0 || amount > left {
            return Err("REFUND_EXCEEDS_PURCHASE");
        }
        purchase.refunds.insert(refund, (amount, false));
        self.settle(id);
        Ok(())
    }

    pub fn cancel_refund(&mut self, id: usize, refund: usize) -> Result<(), Refusal> {
        let purchase = self.purchases.get_mut(&id).ok_or("PURCHASE_NOT_FOUND")?;
        let known = purchase.refunds.get_mut(&refund).ok_or("REFUND_NOT_FOUND")?;
        if !std::mem::replace(&mut known.1, true) {
            self.settle(id);
        }
        Ok(())
    }

    pub fn dispute(
        &mut self,
        id: usize,
        dispute: usize,
        amount: Option<i64>,
    ) -> Result<(), Refusal> {
        let purchase = self.purchases.get_mut(&id).ok_or("PURCHASE_NOT_FOUND")?;
        let amount = amount.unwrap_or(purchase.paid);
        if amount > purchase.paid {
            return Err("DISPUTE_EXCEEDS_PURCHASE");
        }
        match purchase.disputes.get(&dispute) {
            Some((known, _)) if *known == amount => return Ok(()),
            Some((_, state)) if *state != Dispute::Open => return Err("DISPUTE_ALREADY_CLOSED"),
            _ => purchase.disputes.insert(dispute, (amount, Dispute::Open)),
        };
        self.settle(id);
        Ok(())
    }

    pub fn close(&mut self, id: usize, dispute: usize, outcome: Dispute) -> Result<(), Refusal> {
        let purchase = self.purchases.get_mut(&id).ok_or("PURCHASE_NOT_FOUND")?;
        let (_, state) = purchase.disputes.get_mut(&dispute).ok_or("DISPUTE_NOT_FOUND")?;
        if *state == outcome {
            return Ok(());
        }
        if *state != Dispute::Open {
            return Err("DISPUTE_ALREADY_CLOSED");
        }
        *state = outcome;
        self.settle(id);
        Ok(())
    }

    /// Makes the rewards and the conversions of a purchase what its inputs say.
    fn settle(&mut self, id: usize) {
        let programs: Vec<usize> = self.purchases[&id].outcomes.keys().copied().collect();
        for program in programs {
            for index in 0..self.purchases[&id].outcomes[&program].rewards.len() {
                self.settle_reward(id, program, index);
            }
            self.settle_conversion(id, program);
        }
    }

    /// Whether another purchase has become the first.
    fn is_late(&self, id: usize, program: usize) -> bool {
        let of = &self.programs[program];
        let version = self.purchases[&id].outcomes[&program].version;
        let first = of.member(self.purchases[&id].buyer).unwrap().first;
        of.versions[version].earns_on == EarnsOn::FirstPurchase
            && first.is_some_and(|first| first != id)
    }

    fn settle_reward(&mut self, id: usize, program: usize, index: usize) {
        let purchase = &self.purchases[&id];
        let reward = &purchase.outcomes[&program].rewards[index];
        let rules = &self.programs[program].versions[reward.version];
        let target = taken(reward, rules, purchase.paid, purchase.refunded());
        let reversed = if target >= reward.reversed {
            target
        } else if self.is_late(id, program) {
            reward.reversed
        } else {
            let total = self.level_total(program, reward.earner, reward.level);
            let room = rules.cap(reward.level).map_or(i64::MAX, |cap| (cap - total).max(0));
            reward.reversed - (reward.reversed - target).min(room)
        };
        let outcomes = &mut self.purchases.get_mut(&id).unwrap().outcomes;
        outcomes.get_mut(&program).unwrap().rewards[index].reversed = reversed;
    }

    fn settle_conversion(&mut self, id: usize, program: usize) {
        let purchase = &self.purchases[&id];
        let (buyer, outcome) = (purchase.buyer, &purchase.outcomes[&program]);
        let rules = self.programs[program].versions[outcome.version].clone();
        let stood = outcome.stands;
        let earned_nothing = outcome.rewards.is_empty();
        let purchase_is_left = purchase.refunded() < purchase.paid;
        let stands = !outcome.rewards.is_empty()
            && rules.qualifies(purchase.paid, purchase.refunded())
            && !self.is_late(id, program);
        self.purchases.get_mut(&id).unwrap().outcomes.get_mut(&program).unwrap().stands = stands;
        let others = self.purchases.values().filter(|of| of.buyer == buyer);
        let any_stands =
            others.filter_map(|of| of.outcomes.get(&program)).any(|outcome| outcome.stands);
        // A purchase that earned nothing is the first as long as anything is left of it.
        let is_left = purchase_is_left && (stands || earned_nothing);
        let member = self.programs[program].member_mut(buyer);
        if !is_left && member.first == Some(id) {
            member.first = None;
        }
        if is_left && member.first.is_none() && member.firsts.contains(&id) {
            member.first = Some(id);
        }
        let status = &mut member.referral.as_mut().map(|of| &mut of.status);
        match status {
            Some(status) if **status == Status::Converted && stood && !any_stands => {
                **status = Status::Pending;
            }
            Some(status) if **status == Status::Pending && stands => **status = Status::Converted,
            _ => {}
        }
    }

    /// What of a reward of a purchase is pending. Points by tier are pending together.
    pub fn pending_of(&self, purchase: &Purchase, program: usize, reward: &Reward) -> i64 {
        let rules = &self.programs[program].versions[reward.version];
        if reward.held {
            return reward.granted - reward.reversed;
        }
        (taken(reward, rules, purchase.paid, purchase.at_risk()) - reward.reversed).max(0)
    }

    /// What a member has: what is pending, and all of it.
    pub fn balance(&self, program: usize, user: User) -> (i64, i64) {
        let of = &self.programs[program];
        let mut pending = 0;
        let mut credit = 0;
        let mut at_risk = 0;
        for purchase in self.purchases.values() {
            let Some(outcome) = purchase.outcomes.get(&program) else { continue };
            if outcome.credited && purchase.buyer == user {
                credit += purchase.paid - purchase.refunded();
                pending += purchase.at_risk() - purchase.refunded();
            }
            for reward in outcome.rewards.iter().filter(|of| of.earner == user) {
                let waits = self.pending_of(purchase, program, reward);
                if reward.shape == Shape::Tier && !reward.held {
                    at_risk += usize::from(waits > 0);
                } else if reward.shape != Shape::Tier {
                    pending += waits;
                }
            }
        }
        for reward in of.rewards.iter().filter(|reward| reward.earner == user) {
            if reward.held && reward.shape != Shape::Tier {
                pending += reward.granted - reward.reversed;
            }
        }
        if let Some(tiers) = of.rules().tiers() {
            let counted = self.counted(program, user);
            let held = self.rewards(program).filter(|reward| {
                reward.earner == user && reward.shape == Shape::Tier && reward.held
            });
            let held: i64 = held.map(|reward| reward.granted - reward.reversed).sum();
            let (all, sure) = (points(tiers, counted), points(tiers, counted - at_risk));
            pending += (all - sure + held).min(all);
        }
        let adjusted = of.adjustments.iter().filter(|((of, _), (_, made))| *of == user && *made);
        let adjusted: i64 = adjusted.map(|(_, (amount, _))| amount).sum();
        (pending, credit + adjusted + self.earned(program, user))
    }

    /// All that a member has earned, net of what went back.
    pub fn earned(&self, program: usize, user: User) -> i64 {
        (0..=10).map(|level| self.level_total(program, user, level)).sum()
    }
}
