//! The model: users, programs and purchases in plain maps, and what each command does to them. It is written from the
//! rule book and knows nothing of the server. Money that goes back is in [`super::back`].
//!
//! Every purchase is dated at the time of its recording, and referrals that are held are never made up for.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{EarnsOn, Level, Limit, Pays, Rules, SameMailbox, points, share};

pub type User = usize;
pub type Refusal = &'static str;

/// Above this, an adjustment waits for a second operator.
const ADJUSTMENT_LIMIT: i64 = 100_000;

/// Two users with one mailbox.
pub const TWINS: [User; 2] = [4, 5];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Held,
    Converted,
    Rejected,
}

/// Whose referral a member is.
#[derive(Clone, Debug)]
pub struct Referral {
    pub referrer: User,
    pub status: Status,
    /// Whether the referral was flagged, so that operators can decide about it.
    pub flagged: bool,
    /// The decision that holds: true to release.
    pub released: Option<bool>,
}

/// A user in one program.
#[derive(Clone, Debug)]
pub struct Member {
    pub user: User,
    pub referral: Option<Referral>,
    /// The purchase that used up the first.
    pub first: Option<usize>,
    /// The purchases that ever did.
    pub firsts: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A share of the purchase goes back with the price.
    Rate,
    /// Goes back whole or not at all.
    Whole,
    /// Counts or does not count for the tiers.
    Tier,
}

/// What one level was granted.
#[derive(Clone, Debug)]
pub struct Reward {
    pub level: usize,
    pub earner: User,
    pub shape: Shape,
    pub granted: i64,
    /// Of a tier: all of `granted` if it does not count any more.
    pub reversed: i64,
    /// An operator holds it, or the hold period lasts.
    pub held: bool,
    /// The version whose rules apply.
    pub version: usize,
}

/// What a purchase did in one program.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub version: usize,
    pub credited: bool,
    pub converted: bool,
    /// Why it does not qualify: any of these can be told.
    pub reasons: BTreeSet<Refusal>,
    pub rewards: Vec<Reward>,
    /// By level.
    pub withheld: Vec<(usize, Refusal)>,
    /// It has rewards, and they stand.
    pub stands: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispute {
    Open,
    Won,
    Withdrawn,
    Lost,
}

#[derive(Clone, Debug)]
pub struct Purchase {
    pub buyer: User,
    pub paid: i64,
    pub foreign: bool,
    /// By id: the amount, and whether it was cancelled.
    pub refunds: BTreeMap<usize, (i64, bool)>,
    pub disputes: BTreeMap<usize, (i64, Dispute)>,
    /// By program.
    pub outcomes: BTreeMap<usize, Outcome>,
}

#[derive(Clone, Debug)]
pub struct Program {
    pub versions: Vec<Rules>,
    /// In the order in which they came.
    pub members: Vec<Member>,
    /// Of referrals, where these earn.
    pub rewards: Vec<Reward>,
    /// By participant and id: the amount, and whether it was made or waits for a second operator.
    pub adjustments: BTreeMap<(User, usize), (i64, bool)>,
}

impl Program {
    pub fn rules(&self) -> &Rules {
        self.versions.last().unwrap()
    }

    pub fn member(&self, user: User) -> Option<&Member> {
        self.members.iter().find(|member| member.user == user)
    }

    pub fn member_mut(&mut self, user: User) -> &mut Member {
        self.members.iter_mut().find(|member| member.user == user).unwrap()
    }

    pub fn referral(&self, user: User) -> Option<&Referral> {
        self.member(user)?.referral.as_ref()
    }

    /// The statuses of the referrals by a member.
    pub fn referrals_by(&self, referrer: User) -> impl Iterator<Item = Status> {
        let referrals = self.members.iter().filter_map(|member| member.referral.as_ref());
        referrals.filter(move |of| of.referrer == referrer).map(|of| of.status)
    }

    /// Why a member can refer nobody any more.
    fn exhausted(&self, referrer: User) -> Option<Refusal> {
        let uses = self.referrals_by(referrer).filter(|status| *status != Status::Rejected).count();
        match self.rules().limit {
            Limit::UsesPerCode(limit) if uses >= limit => Some("CODE_EXHAUSTED"),
            Limit::DirectReferrals(limit) if uses >= limit => Some("REFERRER_LIMIT_REACHED"),
            _ => None,
        }
    }

    fn is_above(&self, user: User, below: User) -> bool {
        let mut at = Some(below);
        while let Some(now) = at {
            if now == user {
                return true;
            }
            at = self.referral(now).map(|of| of.referrer);
        }
        false
    }

    /// Who stands at a level above a user, and why nothing gets there.
    fn upline(&self, user: User, level: usize) -> Option<(User, Option<Refusal>)> {
        let (mut at, mut blocked) = (user, None);
        for _ in 0..level {
            let referral = self.referral(at)?;
            at = referral.referrer;
            blocked = blocked.or(match referral.status {
                Status::Held => Some("REFERRAL_HELD"),
                Status::Rejected => Some("REFERRAL_NOT_COUNTED"),
                Status::Pending | Status::Converted => None,
            });
        }
        Some((at, blocked))
    }
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub programs: Vec<Program>,
    /// In the order of registration, with whether they are active.
    pub users: Vec<(User, bool)>,
    pub purchases: BTreeMap<usize, Purchase>,
}

impl World {
    pub fn is_active(&self, user: User) -> Option<bool> {
        self.users.iter().find(|(known, _)| *known == user).map(|(_, active)| *active)
    }

    /// All rewards in a program.
    pub fn rewards(&self, program: usize) -> impl Iterator<Item = &Reward> {
        let outcomes = self.purchases.values().filter_map(move |of| of.outcomes.get(&program));
        self.programs[program].rewards.iter().chain(outcomes.flat_map(|of| &of.rewards))
    }

    /// How many referrals of an earner count for the tiers.
    pub fn counted(&self, program: usize, earner: User) -> usize {
        let tiers =
            self.rewards(program).filter(|of| of.earner == earner && of.shape == Shape::Tier);
        tiers.filter(|of| of.reversed == 0).count()
    }

    /// What an earner has at a level, net of what went back.
    pub fn level_total(&self, program: usize, earner: User, level: usize) -> i64 {
        let mine = self.rewards(program).filter(|of| of.earner == earner && of.level == level);
        let simple = mine.filter(|of| of.shape != Shape::Tier).map(|of| of.granted - of.reversed);
        let tiers = self.programs[program].rules().tiers().filter(|_| level == 1);
        simple.sum::<i64>() + tiers.map_or(0, |tiers| points(tiers, self.counted(program, earner)))
    }

    /// A user signs up in a program or, if known, is enrolled in it; with the code of `referrer` who, if not in the
    /// program, is somebody whose code is unknown.
    pub fn join(
        &mut self,
        program: usize,
        user: User,
        referrer: Option<User>,
    ) -> Result<(), Refusal> {
        let known = self.is_active(user);
        let of = &self.programs[program];
        if known == Some(false) {
            return Err("USER_INACTIVE");
        }
        if of.member(user).is_some() {
            return Err("ALREADY_ENROLLED");
        }
        let refused = match referrer {
            None => None,
            Some(referrer) if of.member(referrer).is_none() => {
                Some(("REFERRAL_CODE_NOT_FOUND", of.rules().reject_unknown))
            }
            Some(referrer) => {
                of.exhausted(referrer).map(|reason| (reason, of.rules().reject_exhausted))
            }
        };
        let referrer = match refused {
            Some((reason, true)) => return Err(reason),
            Some((_, false)) => None,
            None => referrer,
        };
        if known.is_none() {
            self.users.push((user, true));
        }
        self.programs[program].members.push(Member {
            user,
            referral: None,
            first: None,
            firsts: Vec::new(),
        });
        if let Some(referrer) = referrer {
            self.attach(program, user, referrer);
        }
        Ok(())
    }

    /// A member gets a referrer later. If refused, any of the reasons can be told.
    pub fn refer(
        &mut self,
        program: usize,
        user: User,
        referrer: User,
    ) -> Result<(), Vec<Refusal>> {
        let of = &self.programs[program];
        let mut refusals = Vec::new();
        for user in [user, referrer] {
            refusals.extend(self.is_active(user).is_none().then_some("USER_NOT_FOUND"));
            refusals.extend(of.member(user).is_none().then_some("PARTICIPANT_NOT_FOUND"));
        }
        refusals.extend((self.is_active(user) == Some(false)).then_some("USER_INACTIVE"));
        refusals.extend((user == referrer).then_some("SELF_REFERRAL"));
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let member = of.member(user).unwrap();
        let is_first_only = of.rules().earns_on == EarnsOn::FirstPurchase;
        // The first of these is told.
        let refusals = [
            (is_first_only && member.first.is_some()).then_some("ALREADY_BOUGHT"),
            member.referral.is_some().then_some("ALREADY_REFERRED"),
            of.exhausted(referrer),
            (!of.rules().attach_any_time).then_some("REFERRAL_TOO_LATE"),
            of.is_above(user, referrer).then_some("REFERRAL_CYCLE"),
        ];
        if let Some(refusal) = refusals.into_iter().flatten().next() {
            return Err(vec![refusal]);
        }
        self.attach(program, user, referrer);
        Ok(())
    }

    fn attach(&mut self, program: usize, user: User, referrer: User) {
        let has_twin = TWINS.contains(&user)
            && TWINS.iter().any(|twin| *twin != user && self.is_active(*twin).is_some());
        let check = self.programs[program].rules().same_mailbox;
        let check = if has_twin { check } else { SameMailbox::Unchecked };
        let status = match check {
            SameMailbox::Hold => Status::Held,
            SameMailbox::Reject => Status::Rejected,
            SameMailbox::Flag | SameMailbox::Unchecked => Status::Pending,
        };
        let flagged = check != SameMailbox::Unchecked;
        let referral = Referral { referrer, status, flagged, released: None };
        self.programs[program].member_mut(user).referral = Some(referral);
        self.referral_earns(program, user);
    }

    /// Where referrals earn, one that counts converts at once.
    fn referral_earns(&mut self, program: usize, user: User) {
        let of = &self.programs[program];
        let is_pending = of.referral(user).is_some_and(|of| of.status == Status::Pending);
        if of.rules().earns_on != EarnsOn::Referral || !is_pending {
            return;
        }
        let (rewards, _) = self.grant(program, user, 0);
        let of = &mut self.programs[program];
        of.rewards.extend(rewards);
        of.member_mut(user).referral.as_mut().unwrap().status = Status::Converted;
    }

    /// What each level gets, and why others get nothing.
    fn grant(
        &self,
        program: usize,
        source: User,
        paid: i64,
    ) -> (Vec<Reward>, Vec<(usize, Refusal)>) {
        let of = &self.programs[program];
        let (mut rewards, mut withheld) = (Vec::new(), Vec::new());
        for Level { level, pays, cap } in &of.rules().levels {
            let Some((earner, blocked)) = of.upline(source, *level) else { continue };
            let (shape, amount) = match pays {
                Pays::Flat(amount) => (Shape::Whole, *amount),
                Pays::Count => (Shape::Whole, 1),
                Pays::Rate(rate) => (Shape::Rate, share(paid, *rate, 10_000)),
                Pays::Tiers(tiers) => {
                    let counted = self.counted(program, earner);
                    (Shape::Tier, points(tiers, counted + 1) - points(tiers, counted))
                }
            };
            let total = self.level_total(program, earner, *level);
            let room = cap.map_or(i64::MAX, |cap| (cap - total).max(0));
            let inactive = (self.is_active(earner) == Some(false)).then_some("EARNER_INACTIVE");
            let zero = (amount == 0).then_some("ROUNDED_TO_ZERO");
            let full = (room == 0).then_some("CAP_REACHED");
            if let Some(reason) = blocked.or(inactive).or(zero).or(full) {
                withheld.push((*level, reason));
                continue;
            }
            let granted = amount.min(room);
            let version = of.versions.len() - 1;
            rewards.push(Reward {
                level: *level,
                earner,
                shape,
                granted,
                reversed: 0,
                held: of.rules().hold,
                version,
            });
        }
        (rewards, withheld)
    }

    /// Records a purchase. The same again changes nothing.
    pub fn buy(&mut self, id: usize, buyer: User, paid: i64, foreign: bool) -> Result<(), Refusal> {
        if let Some(known) = self.purchases.get(&id) {
            let same = known.buyer == buyer && known.paid == paid && known.foreign == foreign;
            return if same { Ok(()) } else { Err("PURCHASE_ID_REUSED") };
        }
        self.is_active(buyer).ok_or("USER_NOT_FOUND")?;
        let mut outcomes = BTreeMap::new();
        for program in 0..self.programs.len() {
            if self.programs[program].member(buyer).is_some() {
                outcomes.insert(program, self.outcome(program, id, buyer, paid, foreign));
            }
        }
        let (refunds, disputes) = (BTreeMap::new(), BTreeMap::new());
        self.purchases.insert(id, Purchase { buyer, paid, foreign, refunds, disputes, outcomes });
        Ok(())
    }

    fn outcome(
        &mut self,
        program: usize,
        id: usize,
        buyer: User,
        paid: i64,
        foreign: bool,
    ) -> Outcome {
        let of = &self.programs[program];
        let (rules, version) = (of.rules().clone(), of.versions.len() - 1);
        let member = of.member(buyer).unwrap();
        let status = member.referral.as_ref().map(|of| of.status);
        let first_only = rules.earns_on == EarnsOn::FirstPurchase;
        let is_large = paid >= rules.minimum && !foreign;
        let reasons = [
            (rules.earns_on == EarnsOn::Referral).then_some("REWARDS_REFERRALS_ONLY"),
            status.is_none().then_some("NOT_REFERRED"),
            (status == Some(Status::Held)).then_some("REFERRAL_HELD"),
            (status == Some(Status::Rejected)).then_some("REFERRAL_NOT_COUNTED"),
            (paid < rules.minimum).then_some("BELOW_MINIMUM"),
            foreign.then_some("CURRENCY_NOT_ACCEPTED"),
            (first_only && member.first.is_some()).then_some("NOT_FIRST_PURCHASE"),
        ];
        let reasons: BTreeSet<_> = reasons.into_iter().flatten().collect();
        let (rewards, withheld) =
            if reasons.is_empty() { self.grant(program, buyer, paid) } else { Default::default() };
        let member = self.programs[program].member_mut(buyer);
        // What is bought while the referral is held is as if it had been bought before the referral.
        let uses_first = rules.any_uses_first || (is_large && status != Some(Status::Held));
        if first_only && uses_first && member.first.is_none() {
            member.first = Some(id);
            member.firsts.push(id);
        }
        let stands = !rewards.is_empty();
        let converted = stands && status == Some(Status::Pending);
        if converted {
            member.referral.as_mut().unwrap().status = Status::Converted;
        }
        let credited = rules.credit_purchases && !foreign;
        Outcome { version, credited, converted, reasons, rewards, withheld, stands }
    }

    /// Deactivates a user, or lets them earn again.
    pub fn set_active(&mut self, user: User, active: bool) -> Result<(), Refusal> {
        let known = self.users.iter_mut().find(|(known, _)| *known == user);
        let (_, state) = known.ok_or("USER_NOT_FOUND")?;
        match (*state, active) {
            (true, true) => Err("USER_ALREADY_ACTIVE"),
            (false, false) => Err("USER_ALREADY_INACTIVE"),
            _ => {
                *state = active;
                Ok(())
            }
        }
    }

    /// An operator holds a reward of a purchase, or releases it.
    pub fn hold(&mut self, id: usize, program: usize, level: usize, hold: bool) {
        let outcomes = self.purchases.get_mut(&id).map(|of| &mut of.outcomes);
        let rewards = outcomes.and_then(|of| of.get_mut(&program)).map(|of| &mut of.rewards);
        if let Some(reward) = rewards.and_then(|of| of.iter_mut().find(|of| of.level == level)) {
            reward.held = hold;
        }
    }

    /// An operator corrects a balance.
    pub fn adjust(
        &mut self,
        program: usize,
        user: User,
        id: usize,
        amount: i64,
    ) -> Result<(), Refusal> {
        self.is_active(user).ok_or("USER_NOT_FOUND")?;
        let of = &mut self.programs[program];
        of.member(user).ok_or("PARTICIPANT_NOT_FOUND")?;
        match of.adjustments.get(&(user, id)) {
            Some((known, _)) if *known != amount => Err("ADJUSTMENT_ID_REUSED"),
            Some(_) => Ok(()),
            None => {
                of.adjustments.insert((user, id), (amount, amount.abs() <= ADJUSTMENT_LIMIT));
                Ok(())
            }
        }
    }

    /// An operator decides about a flagged referral.
    pub fn decide(&mut self, program: usize, user: User, release: bool) -> Result<(), Refusal> {
        let of = &mut self.programs[program];
        let Some(Referral { referrer, status, .. }) = of.referral(user).cloned() else {
            return Ok(());
        };
        let referral = of.member_mut(user).referral.clone().unwrap();
        if referral.released == Some(release) {
            return Ok(());
        }
        let status = match (status, release) {
            (Status::Rejected, true) => match of.exhausted(referrer) {
                Some(refusal) => return Err(refusal),
                None => Status::Pending,
            },
            (Status::Held, true) => Status::Pending,
            (Status::Held | Status::Pending, false) => Status::Rejected,
            (status, _) => status,
        };
        let released = Some(release);
        of.member_mut(user).referral = Some(Referral { status, released, ..referral });
        self.referral_earns(program, user);
        Ok(())
    }
}
