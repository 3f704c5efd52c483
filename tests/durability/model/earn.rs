//! What purchases and referrals earn.

use std::collections::BTreeMap;

use super::rules::{EarnsOn, Level, Pays, points, share, tier};
use super::world::{
    Dated, FirstUse, Member, Outcome, Purchase, Refusal, Reward, Shape, Status, User, World,
    cut_off,
};

/// Who would get what of a purchase or a referral, and why not.
struct Would {
    rule: Level,
    earner: User,
    blocked: Option<Refusal>,
}

/// A purchase of which something is shared: what was paid, and what of it was not shared yet.
#[derive(Clone, Copy)]
struct Bought {
    paid: i64,
    unshared: i64,
    dated: Dated,
}

impl Member {
    /// A purchase uses up the first one, as far as none has.
    pub fn use_first(&mut self, id: usize, first_use: FirstUse) {
        match first_use {
            FirstUse::None => {}
            FirstUse::TooSmall => _ = self.first.get_or_insert(id),
            FirstUse::Enough => {
                self.first.get_or_insert(id);
                self.first_enough.get_or_insert(id);
            }
        }
    }

    pub fn is_first(&self, id: usize) -> bool {
        self.first == Some(id) || self.first_enough == Some(id)
    }
}

impl World {
    /// All rewards in a program.
    pub fn rewards(&self, program: usize) -> impl Iterator<Item = &Reward> {
        let outcomes = self.purchases.values().filter_map(move |of| of.outcomes.get(&program));
        self.programs[program].rewards.iter().chain(outcomes.flat_map(|of| &of.rewards))
    }

    /// What an earner has at a level, net of what went back.
    pub fn level_total(&self, program: usize, earner: User, level: usize) -> i64 {
        let mine = self.rewards(program).filter(|of| of.earner == earner && of.level == level);
        let simple = mine.filter(|of| of.shape != Shape::Tier).map(|of| of.granted - of.reversed);
        let points = self.programs[program].member(earner).map_or(0, |member| member.points);
        simple.sum::<i64>() + if level == 1 { points } else { 0 }
    }

    /// Each rule of a version with who stands at its level.
    fn line(&self, program: usize, source: User, version: usize, dated: Dated) -> Vec<Would> {
        let of = &self.programs[program];
        let mut line = Vec::new();
        for rule in &of.versions[version].levels {
            let rules = &of.versions[version];
            let (mut at, mut blocked) = (Some(source), None);
            for step in 0..rule.level {
                let referral = at.and_then(|at| of.referral(at));
                // The referral of the source itself is judged with the purchase.
                if step > 0 {
                    blocked = blocked.or(referral.and_then(|of| cut_off(of, dated, rules)));
                }
                at = referral.map(|of| of.referrer);
            }
            if let Some(earner) = at {
                line.push(Would { rule: rule.clone(), earner, blocked });
            }
        }
        line
    }

    /// Grants what the rules of a version pay to this line, of a purchase of which a part was not shared yet.
    fn grant(
        &mut self,
        program: usize,
        source: User,
        version: usize,
        line: Vec<Would>,
        bought: Option<Bought>,
    ) -> (Vec<Reward>, Vec<(usize, Refusal)>) {
        let (mut rewards, mut withheld) = (Vec::new(), Vec::new());
        let occasion = bought.unwrap_or(Bought { paid: 0, unshared: 0, dated: Dated::Now });
        let Bought { paid, mut unshared, dated } = occasion;
        let rules = self.programs[program].versions[version].clone();
        let referral = self.programs[program].referral(source).cloned();
        for Would { rule: Level { level, pays, cap }, earner, blocked } in line {
            let member = self.programs[program].member(earner).unwrap();
            let mut counted = self.programs[program].counted(earner, rules.earns_on);
            let mut barred = self.bar(program, earner, dated);
            let (shape, amount) = match &pays {
                Pays::Flat(amount) => (Shape::Whole, *amount),
                Pays::Count => (Shape::Whole, 1),
                Pays::Rate(rate) => (Shape::Rate, share(paid, *rate, 10_000).min(unshared)),
                Pays::Tiers(tiers) => {
                    let made = referral.as_ref().is_some_and(|of| of.made_while_inactive);
                    barred = barred.or(made.then_some("EARNER_INACTIVE"));
                    // The purchase is about to convert the referral, which counts then.
                    let pending = referral.as_ref().map(|of| of.status) == Some(Status::Pending);
                    counted += usize::from(bought.is_some() && pending);
                    (Shape::Tier, (points(tiers, counted) - member.points).max(0))
                }
            };
            let total = self.level_total(program, earner, level);
            let room = cap.map_or(i64::MAX, |cap| (cap - total).max(0));
            let zero = (amount == 0 && shape != Shape::Tier).then_some("ROUNDED_TO_ZERO");
            let full = (room == 0).then_some("CAP_REACHED");
            if let Some(reason) = blocked.or(barred).or(zero).or(full) {
                withheld.push((level, reason));
                continue;
            }
            let granted = amount.min(room);
            if shape == Shape::Rate {
                unshared -= granted;
            }
            let is_by_tier = shape == Shape::Tier;
            let mut reward = Reward {
                level,
                source,
                earner,
                shape,
                granted,
                reversed: 0,
                pending: if rules.hold && !is_by_tier { granted } else { 0 },
                lot: None,
                counts: true,
                disputed: false,
                held: false,
                in_period: rules.hold,
                version,
            };
            if !rules.hold {
                reward.lot = rules.expiry.map(|of| of.lot(self.now));
                self.account(program, earner).add(granted, reward.lot);
            }
            if let Pays::Tiers(tiers) = &pays {
                let member = self.programs[program].member_mut(earner);
                member.points += granted;
                let pending_points = member.pending_points + if rules.hold { granted } else { 0 };
                member.points_version = Some(version);
                let reached = tier(tiers, counted);
                if member.tier.unwrap_or(0) != reached {
                    member.tier = Some(reached);
                }
                self.reckon_pending_points(program, earner, Some(&reward), tiers, counted);
                let member = self.programs[program].member_mut(earner);
                member.account.change(pending_points - member.pending_points);
            }
            rewards.push(reward);
        }
        (rewards, withheld)
    }

    /// Where referrals earn, one that counts converts at once.
    pub fn referral_earns(&mut self, program: usize, user: User) {
        let of = &self.programs[program];
        let is_pending = of.referral(user).is_some_and(|of| of.status == Status::Pending);
        if of.rules().earns_on != EarnsOn::Referral || !is_pending {
            return;
        }
        let version = of.versions.len() - 1;
        let line = self.line(program, user, version, Dated::Now);
        let (rewards, _) = self.grant(program, user, version, line, None);
        self.programs[program].rewards.extend(rewards);
        self.convert(program, user, Dated::Now, true);
    }

    /// Converts a pending referral. Says whether the referrer could not earn then, or nothing if it was not pending.
    pub fn convert(
        &mut self,
        program: usize,
        user: User,
        dated: Dated,
        by_itself: bool,
    ) -> Option<bool> {
        let referrer = self.programs[program].referral(user)?.referrer;
        let inactive = self.bar(program, referrer, dated).is_some();
        let referral = self.programs[program].referral_mut(user);
        if referral.status != Status::Pending {
            return None;
        }
        referral.status = Status::Converted;
        referral.converted_while_inactive = inactive;
        referral.converted_by_itself = by_itself;
        Some(inactive)
    }

    /// Records a purchase. The same again changes nothing.
    pub fn buy(
        &mut self,
        id: usize,
        buyer: User,
        paid: i64,
        foreign: bool,
        dated: Dated,
    ) -> Result<(), Refusal> {
        if let Some(known) = self.purchases.get(&id) {
            let same_time = dated == Dated::Now || dated == known.dated;
            let same = known.buyer == buyer && known.paid == paid && known.foreign == foreign;
            return if same && same_time { Ok(()) } else { Err("PURCHASE_ID_REUSED") };
        }
        self.is_active(buyer).ok_or("USER_NOT_FOUND")?;
        let mut outcomes = BTreeMap::new();
        for program in 0..self.programs.len() {
            if self.programs[program].member(buyer).is_some() {
                let outcome = self.outcome(program, id, buyer, (paid, foreign), dated);
                outcomes.insert(program, outcome);
            }
        }
        let order = self.purchases.len();
        let (refunds, disputes) = (BTreeMap::new(), BTreeMap::new());
        let purchase = Purchase {
            order,
            buyer,
            paid,
            foreign,
            dated,
            era: self.era,
            refunds,
            disputes,
            outcomes,
        };
        self.purchases.insert(id, purchase);
        Ok(())
    }

    fn outcome(
        &mut self,
        program: usize,
        id: usize,
        buyer: User,
        (paid, foreign): (i64, bool),
        dated: Dated,
    ) -> Outcome {
        let of = &self.programs[program];
        let version = of.version_at(dated);
        let rules = of.versions[version].clone();
        let referral = of.referral(buyer);
        let is_accepted = !foreign || rules.earns_on == EarnsOn::Referral;
        let cut = referral.and_then(|of| cut_off(of, dated, &rules));
        // The first of these is told.
        let reasons = [
            (rules.earns_on == EarnsOn::Referral).then_some("REWARDS_REFERRALS_ONLY"),
            (!is_accepted).then_some("CURRENCY_NOT_ACCEPTED"),
            (paid < rules.minimum).then_some("BELOW_MINIMUM"),
            of.has_bought(&rules, buyer).then_some("NOT_FIRST_PURCHASE"),
            referral.is_none().then_some("NOT_REFERRED"),
            cut,
        ];
        let reason = reasons.into_iter().flatten().next();
        // What cannot be made up for is as if it had been bought before the referral.
        let is_too_early = match cut {
            None => false,
            Some("BEFORE_REFERRAL") => true,
            Some(_) => !rules.make_up,
        };
        let is_enough = is_accepted && paid >= rules.minimum && !is_too_early;
        let credited = rules.credit_purchases && !foreign;
        if credited {
            self.account(program, buyer).add(paid, None);
        }
        let line = self.line(program, buyer, version, dated);
        let is_of_standing = |reason| matches!(reason, "REFERRAL_HELD" | "REFERRAL_NOT_COUNTED");
        let (mut rewards, mut withheld, mut cut_off) = (Vec::new(), Vec::new(), Vec::new());
        match reason {
            None => {
                let bought = Some(Bought { paid, unshared: paid, dated });
                (rewards, withheld) = self.grant(program, buyer, version, line, bought);
                let of_standing = withheld.iter().filter(|(_, reason)| is_of_standing(*reason));
                cut_off.extend(of_standing.map(|(level, _)| *level));
            }
            Some(reason) if is_of_standing(reason) => {
                cut_off.extend(line.iter().map(|would| would.rule.level));
            }
            Some(_) => {}
        }
        let member = self.programs[program].member_mut(buyer);
        let mut first_use = FirstUse::None;
        if is_enough && (member.first.is_none() || member.first_enough.is_none()) {
            first_use = FirstUse::Enough;
        } else if member.first.is_none() {
            first_use = FirstUse::TooSmall;
        }
        member.use_first(id, first_use);
        let mut outcome = Outcome {
            version,
            credited,
            credit_back: (0, 0),
            credit_lots: BTreeMap::new(),
            converted: None,
            reason,
            rewards,
            withheld,
            cut_off,
            first_use,
            lost_from: None,
            stands: true,
        };
        self.purchase_converts(program, id, (buyer, dated), &mut outcome);
        outcome
    }

    /// A purchase that earned something converts.
    fn purchase_converts(
        &mut self,
        program: usize,
        id: usize,
        (buyer, dated): (User, Dated),
        outcome: &mut Outcome,
    ) {
        if outcome.rewards.is_empty() {
            return;
        }
        if let Some(inactive) = self.convert(program, buyer, dated, false) {
            outcome.converted = Some(inactive);
            outcome.first_use = FirstUse::Enough;
            self.programs[program].member_mut(buyer).use_first(id, FirstUse::Enough);
        }
    }

    /// A purchase converts again what it once converted, or what is pending by now, and remembers it.
    pub fn convert_again(&mut self, program: usize, id: usize) {
        let buyer = self.purchases[&id].buyer;
        let Some(inactive) = self.convert(program, buyer, Dated::Now, false) else { return };
        let outcomes = &mut self.purchases.get_mut(&id).unwrap().outcomes;
        let outcome = outcomes.get_mut(&program).unwrap();
        let inactive = *outcome.converted.get_or_insert(inactive);
        outcome.first_use = FirstUse::Enough;
        self.programs[program].referral_mut(buyer).converted_while_inactive = inactive;
        self.programs[program].member_mut(buyer).use_first(id, FirstUse::Enough);
    }

    /// After a release: what purchases of the referee, and of those below, did not earn because the referral did not
    /// count is granted now, the oldest first.
    pub fn make_up(&mut self, program: usize, referee: User) {
        let mut ids: Vec<_> = self.purchases.iter().map(|(id, of)| (of.order, *id)).collect();
        ids.sort_unstable();
        for (_, id) in ids {
            let buyer = self.purchases[&id].buyer;
            if self.programs[program].is_above(referee, buyer) {
                self.make_up_purchase(program, id);
            }
        }
    }

    fn make_up_purchase(&mut self, program: usize, id: usize) {
        let purchase = &self.purchases[&id];
        let (buyer, paid) = (purchase.buyer, purchase.paid);
        let dated = match purchase.dated {
            // No version is looked up any more, so that it does not matter which one that was.
            Dated::Now => Dated::At { publication: 0, era: purchase.era },
            dated => dated,
        };
        let Some(outcome) = purchase.outcomes.get(&program) else { return };
        let of = &self.programs[program];
        let rules = &of.versions[outcome.version];
        let referral = of.referral(buyer);
        if outcome.cut_off.is_empty()
            || !rules.make_up
            || !rules.qualifies(paid, purchase.refunded())
            || self.is_late(id, program)
            || referral.is_none_or(|of| cut_off(of, dated, rules).is_some())
        {
            return;
        }
        let mut line = self.line(program, buyer, outcome.version, dated);
        line.retain(|of| of.blocked.is_none() && outcome.cut_off.contains(&of.rule.level));
        if line.is_empty() {
            return;
        }
        let levels: Vec<_> = line.iter().map(|of| of.rule.level).collect();
        let shares = outcome.rewards.iter().filter(|of| of.shape == Shape::Rate);
        let unshared = paid - shares.map(|of| of.granted).sum::<i64>();
        let version = outcome.version;
        let bought = Some(Bought { paid, unshared, dated });
        let (rewards, withheld) = self.grant(program, buyer, version, line, bought);
        let of = self.purchases.get_mut(&id).unwrap().outcomes.get_mut(&program).unwrap();
        let mut outcome = of.clone();
        outcome.reason = None;
        outcome.cut_off.retain(|level| !levels.contains(level));
        outcome.withheld.retain(|(level, _)| !levels.contains(level));
        outcome.withheld.extend(withheld);
        let has_made_up = !rewards.is_empty();
        outcome.rewards.extend(rewards);
        if has_made_up {
            self.purchase_converts(program, id, (buyer, dated), &mut outcome);
        }
        outcome.withheld.sort_unstable();
        self.purchases.get_mut(&id).unwrap().outcomes.insert(program, outcome);
        for index in 0..self.purchases[&id].outcomes[&program].rewards.len() {
            let level = self.purchases[&id].outcomes[&program].rewards[index].level;
            if levels.contains(&level) {
                self.settle_reward(id, program, index, false);
            }
        }
    }
}
