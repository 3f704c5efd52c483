//! Money that goes back: refunds and disputes are inputs of a purchase, and what its rewards must look like follows
//! from all of them.

use super::rules::{EarnsOn, Rules, points, share, tier};
use super::world::{
    Against, Dispute, FirstUse, Purchase, Refusal, Reward, Shape, Status, User, World,
};

/// What earned rewards whose hold period ends: a purchase or, without one, a referral, in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Purchase(usize, usize),
    Referral(usize, User),
}

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

    /// An operator holds a reward of a purchase, or releases it from whatever holds it but disputes.
    pub fn hold(&mut self, id: usize, program: usize, level: usize, hold: bool) {
        let outcomes = self.purchases.get_mut(&id).map(|of| &mut of.outcomes);
        let rewards = outcomes.and_then(|of| of.get_mut(&program)).map(|of| &mut of.rewards);
        if let Some(reward) = rewards.and_then(|of| of.iter_mut().find(|of| of.level == level)) {
            reward.held = hold;
            reward.in_period &= hold;
            self.settle(id);
        }
    }

    /// All hold periods are over: first these, in this order, then the others.
    pub fn pass_time(&mut self, first: &[Source]) {
        let mut sources = first.to_vec();
        for program in 0..self.programs.len() {
            let members = self.programs[program].members.iter();
            sources.extend(members.map(|member| Source::Referral(program, member.user)));
            sources.extend(self.purchases.keys().map(|id| Source::Purchase(program, *id)));
        }
        for source in sources {
            match source {
                Source::Referral(program, user) => self.end_period_of_referral(program, user),
                Source::Purchase(program, id) => self.end_period_of_purchase(program, id),
            }
        }
    }

    fn end_period_of_referral(&mut self, program: usize, user: User) {
        for index in 0..self.programs[program].rewards.len() {
            let reward = self.programs[program].rewards[index].clone();
            if reward.source != user || !reward.in_period {
                continue;
            }
            let mut settled = reward.clone();
            settled.in_period = false;
            if reward.shape != Shape::Tier && !settled.waits() {
                settled.pending = 0;
                self.follow_reward(program, &reward, &mut settled);
            }
            self.programs[program].rewards[index] = settled;
            if reward.shape == Shape::Tier {
                self.reckon_points(program, reward.earner, None, false);
            }
        }
    }

    fn end_period_of_purchase(&mut self, program: usize, id: usize) {
        let purchase = self.purchases.get_mut(&id).unwrap();
        let Some(outcome) = purchase.outcomes.get_mut(&program) else { return };
        let mut is_over = false;
        for reward in outcome.rewards.iter_mut().filter(|of| of.in_period) {
            (reward.in_period, is_over) = (false, true);
        }
        if is_over {
            self.settle(id);
        }
    }

    /// Makes the rewards and the conversions of a purchase what its inputs say.
    pub fn settle(&mut self, id: usize) {
        let programs: Vec<usize> = self.purchases[&id].outcomes.keys().copied().collect();
        for program in programs {
            self.settle_in(id, program);
        }
    }

    fn settle_in(&mut self, id: usize, program: usize) {
        let is_late = self.is_late(id, program);
        self.settle_conversion(id, program, is_late);
        for index in 0..self.purchases[&id].outcomes[&program].rewards.len() {
            self.settle_reward(id, program, index, is_late);
        }
        self.settle_credit(id, program);
    }

    /// The credit for the price goes back with the price.
    fn settle_credit(&mut self, id: usize, program: usize) {
        let purchase = self.purchases.get_mut(&id).unwrap();
        let (buyer, back, at_risk) = (purchase.buyer, purchase.refunded(), purchase.at_risk());
        let outcome = purchase.outcomes.get_mut(&program).unwrap();
        if outcome.credited {
            let settled = (back, at_risk - back);
            let (back_before, pending_before) =
                std::mem::replace(&mut outcome.credit_back, settled);
            let away = back_before + pending_before;
            let mut lots = std::mem::take(&mut outcome.credit_lots);
            let lasting = away - lots.values().sum::<i64>();
            let now = self.now;
            let present = self.present_lot(program);
            let account = self.account(program, buyer);
            if at_risk > away {
                account.take_credit(at_risk - away, &mut lots);
            } else {
                account.return_credit(away - at_risk, lasting, &mut lots, now, present);
            }
            let outcomes = &mut self.purchases.get_mut(&id).unwrap().outcomes;
            outcomes.get_mut(&program).unwrap().credit_lots = lots;
        }
    }

    /// What the referral of somebody itself earned is taken back or given back, by how it and those above stand.
    pub fn settle_referral(&mut self, program: usize, user: User) {
        let referral = self.programs[program].referral(user).unwrap().clone();
        for index in 0..self.programs[program].rewards.len() {
            let reward = self.programs[program].rewards[index].clone();
            if reward.source != user {
                continue;
            }
            let is_lost = referral.is_taken_back()
                || referral.lost_from.is_some_and(|from| from <= reward.level);
            let mut settled = reward.clone();
            if reward.shape == Shape::Tier {
                settled.counts = !is_lost;
            } else {
                let rules = &self.programs[program].versions[reward.version];
                let total = self.level_total(program, reward.earner, reward.level);
                let room = rules.cap(reward.level).map_or(i64::MAX, |cap| (cap - total).max(0));
                let target = if is_lost { reward.granted } else { 0 };
                settled.reversed = target.max(reward.reversed.saturating_sub(room));
                settled.pending =
                    if reward.waits() { reward.granted - settled.reversed } else { 0 };
                self.follow_reward(program, &reward, &mut settled);
            }
            let recounts = settled.counts != reward.counts;
            self.programs[program].rewards[index] = settled;
            if recounts {
                self.reckon_points(program, reward.earner, Some(reward.version), true);
            }
        }
    }

    /// The level from which on nothing is left of what somebody's purchase or, from 1 on, referral earned: without
    /// their own referral nothing is, and without one further up nothing above it.
    fn lost_from(&self, program: usize, user: User, first: usize) -> Option<usize> {
        let (mut at, mut steps) = (user, 0);
        loop {
            let referral = self.programs[program].referral(at)?;
            if steps >= first && referral.is_taken_back() {
                return Some(if steps == 0 { 0 } else { steps + 1 });
            }
            (at, steps) = (referral.referrer, steps + 1);
        }
    }

    /// What was earned through a referral is settled: by purchases of the referee and of those below, of each the
    /// newest first, and by the referrals of those below. Who was referred last comes first.
    pub fn settle_line(&mut self, program: usize, referee: User) {
        let mut next = vec![referee];
        while let Some(user) = next.pop() {
            if user != referee {
                let lost_from = self.lost_from(program, user, 1);
                self.programs[program].referral_mut(user).lost_from = lost_from;
                self.settle_referral(program, user);
            }
            let mut ids: Vec<_> = self
                .purchases
                .iter()
                .filter(|(_, of)| of.buyer == user)
                .map(|(id, of)| (of.order, *id))
                .collect();
            ids.sort_unstable();
            for (_, id) in ids.into_iter().rev() {
                self.settle_in_line(id, program);
            }
            let referees = self.programs[program].referees.iter();
            next.extend(referees.filter(|(by, _)| *by == user).map(|(_, referee)| *referee));
        }
    }

    fn settle_in_line(&mut self, id: usize, program: usize) {
        let buyer = self.purchases[&id].buyer;
        let Some(outcome) = self.purchases[&id].outcomes.get(&program).cloned() else { return };
        if outcome.rewards.is_empty() {
            return;
        }
        let lost_from = self.lost_from(program, buyer, 0);
        if lost_from != outcome.lost_from {
            let outcomes = &mut self.purchases.get_mut(&id).unwrap().outcomes;
            outcomes.get_mut(&program).unwrap().lost_from = lost_from;
            self.settle_in(id, program);
        } else if outcome.stands {
            // A referral that counts again without having lost anything is converted by what it has earned.
            self.convert_again(program, id);
        }
    }

    /// Whether another purchase has become the first, where the first earns.
    pub fn is_late(&self, id: usize, program: usize) -> bool {
        let of = &self.programs[program];
        let (buyer, outcome) = (self.purchases[&id].buyer, &self.purchases[&id].outcomes[&program]);
        let rules = &of.versions[outcome.version];
        rules.earns_on == EarnsOn::FirstPurchase
            && outcome.first_use != FirstUse::None
            && !of.member(buyer).unwrap().is_first(id)
            && of.has_bought(rules, buyer)
    }

    pub fn settle_reward(&mut self, id: usize, program: usize, index: usize, is_lost: bool) {
        let purchase = &self.purchases[&id];
        let reward = purchase.outcomes[&program].rewards[index].clone();
        let rules = self.programs[program].versions[reward.version].clone();
        let (paid, back, at_risk) = (purchase.paid, purchase.refunded(), purchase.at_risk());
        let lost_from = purchase.outcomes[&program].lost_from;
        let is_lost = is_lost || lost_from.is_some_and(|from| from <= reward.level);
        let mut settled = reward.clone();
        if reward.shape == Shape::Tier {
            settled.counts = !is_lost && rules.qualifies(paid, back);
            settled.disputed = settled.counts && !rules.qualifies(paid, at_risk);
        } else {
            let target = if is_lost { reward.granted } else { taken(&reward, &rules, paid, back) };
            let total = self.level_total(program, reward.earner, reward.level);
            let room = rules.cap(reward.level).map_or(i64::MAX, |cap| (cap - total).max(0));
            settled.reversed = target.max(reward.reversed.saturating_sub(room));
            settled.pending = self.pending_of(&self.purchases[&id], program, &settled);
            self.follow_reward(program, &reward, &mut settled);
        }
        let recounts = settled.counts != reward.counts;
        let outcomes = &mut self.purchases.get_mut(&id).unwrap().outcomes;
        outcomes.get_mut(&program).unwrap().rewards[index] = settled;
        if reward.shape == Shape::Tier {
            self.reckon_points(program, reward.earner, Some(reward.version), recounts);
        }
    }

    /// Points follow the formula of the version that granted the latest, if another number of referrals counts; and
    /// what waits of them follows from the rewards that wait and from open disputes.
    fn reckon_points(
        &mut self,
        program: usize,
        earner: User,
        version: Option<usize>,
        recounts: bool,
    ) {
        let of = &mut self.programs[program];
        let version = of.member(earner).unwrap().points_version.or(version).unwrap();
        let rules = of.versions[version].clone();
        let tiers = rules.tiers().unwrap();
        let counted = of.counted(earner, rules.earns_on);
        let member = of.member_mut(earner);
        let available = member.points - member.pending_points;
        if recounts {
            member.points = points(tiers, counted);
            let reached = tier(tiers, counted);
            if member.tier.unwrap_or(0) != reached {
                member.tier = Some(reached);
            }
        }
        self.reckon_pending_points(program, earner, None, tiers, counted);
        let member = self.programs[program].member_mut(earner);
        member.account.change(member.points - member.pending_points - available);
    }

    /// Points are pending together: those of rewards that wait, and those that open disputes would undo.
    pub fn reckon_pending_points(
        &mut self,
        program: usize,
        earner: User,
        new: Option<&Reward>,
        tiers: &[(usize, i64, i64)],
        counted: usize,
    ) {
        let mine = self.rewards(program).chain(new);
        let mine = mine.filter(|of| of.earner == earner && of.shape == Shape::Tier && of.counts);
        let (mut held, mut disputed) = (0, 0);
        for reward in mine {
            if reward.waits() {
                held += reward.granted;
            } else {
                disputed += usize::from(reward.disputed);
            }
        }
        let undone = points(tiers, counted.saturating_sub(disputed));
        let at_risk = points(tiers, counted) - undone;
        let member = self.programs[program].member_mut(earner);
        member.pending_points = (at_risk + held).clamp(0, member.points.max(0));
    }

    fn settle_conversion(&mut self, id: usize, program: usize, is_late: bool) {
        let purchase = &self.purchases[&id];
        let (buyer, outcome) = (purchase.buyer, purchase.outcomes[&program].clone());
        let rules = &self.programs[program].versions[outcome.version];
        // A purchase that earned nothing is the first as long as anything is left of it.
        let stands = if outcome.rewards.is_empty() {
            purchase.refunded() < purchase.paid
        } else {
            let is_rejected = outcome.lost_from == Some(0);
            rules.qualifies(purchase.paid, purchase.refunded()) && !is_late && !is_rejected
        };
        let of = self.purchases.get_mut(&id).unwrap().outcomes.get_mut(&program).unwrap();
        of.stands = stands;
        match (outcome.stands, stands) {
            (true, false) => {
                let member = self.programs[program].member_mut(buyer);
                member.first.take_if(|first| *first == id);
                member.first_enough.take_if(|first| *first == id);
                if !outcome.rewards.is_empty() {
                    self.undo_conversion(program, buyer);
                }
            }
            (false, true) => {
                if !outcome.rewards.is_empty() {
                    self.convert_again(program, id);
                }
                self.programs[program].member_mut(buyer).use_first(id, outcome.first_use);
            }
            _ => {}
        }
    }

    /// The referral is pending again once no other purchase stands that earned something.
    fn undo_conversion(&mut self, program: usize, buyer: User) {
        let others = self.purchases.values().filter(|of| of.buyer == buyer);
        let mut outcomes = others.filter_map(|of| of.outcomes.get(&program));
        if outcomes.any(|outcome| outcome.stands && !outcome.rewards.is_empty()) {
            return;
        }
        let Some(referral) = &mut self.programs[program].member_mut(buyer).referral else { return };
        if referral.status == Status::Converted && !referral.converted_by_itself {
            referral.status = match referral.against {
                Against::Nothing => Status::Pending,
                Against::Holds => Status::Held,
                Against::Rejects | Against::TakesBack => Status::Rejected,
            };
        }
    }

    /// What of a reward of a purchase is pending, if it is not by tier.
    pub fn pending_of(&self, purchase: &Purchase, program: usize, reward: &Reward) -> i64 {
        let rules = &self.programs[program].versions[reward.version];
        if reward.waits() {
            return reward.granted - reward.reversed;
        }
        (taken(reward, rules, purchase.paid, purchase.at_risk()) - reward.reversed).max(0)
    }

    /// What a member has: what is pending, and all of it.
    pub fn balance(&self, program: usize, user: User) -> (i64, i64) {
        let of = &self.programs[program];
        let mut pending = of.member(user).unwrap().pending_points;
        let mut credit = 0;
        for purchase in self.purchases.values() {
            let Some(outcome) = purchase.outcomes.get(&program) else { continue };
            if outcome.credited && purchase.buyer == user {
                credit += purchase.paid - purchase.refunded();
                pending += purchase.at_risk() - purchase.refunded();
            }
            let mine = outcome.rewards.iter().filter(|of| of.earner == user);
            let simple = mine.filter(|of| of.shape != Shape::Tier);
            pending += simple.map(|of| self.pending_of(purchase, program, of)).sum::<i64>();
        }
        let mine = of.rewards.iter().filter(|of| of.earner == user && of.shape != Shape::Tier);
        pending += mine.filter(|of| of.waits()).map(|of| of.granted - of.reversed).sum::<i64>();
        let adjusted = of.adjustments.iter().filter(|((of, _), (_, made))| *of == user && *made);
        let adjusted: i64 = adjusted.map(|(_, (amount, _))| amount).sum();
        let account = &of.member(user).unwrap().account;
        let gone = account.expired + account.paid + account.spent;
        (pending, credit + adjusted + self.earned(program, user) - gone)
    }

    /// All that a member has earned, net of what went back.
    pub fn earned(&self, program: usize, user: User) -> i64 {
        (0..=10).map(|level| self.level_total(program, user, level)).sum()
    }
}
