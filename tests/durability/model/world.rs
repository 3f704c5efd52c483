//! The model: users, programs and purchases in plain maps, and what each command does to them. It is written from the
//! rule book and knows nothing of the server. What is earned is in [`super::earn`], money that goes back in
//! [`super::back`].

use std::collections::{BTreeMap, BTreeSet};

use super::lots::Account;
use super::payouts::Payout;
use super::rules::{EarnsOn, Limit, Moment, Rules, SameMailbox};
use super::spend::{Redemption, Terms};
use super::told::Fact;

pub type User = usize;
pub type Refusal = &'static str;

/// Above this, an adjustment waits for a second operator.
const ADJUSTMENT_LIMIT: i64 = 100_000;

/// Two users with one mailbox.
pub const TWINS: [User; 2] = [4, 5];

/// Somebody whose code nobody knows.
pub const NOBODY: User = usize::MAX;

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
    /// What the flag does to the referral.
    pub against: Against,
    pub decision: Option<Decision>,
    /// When it was made, and when it was released.
    pub era: usize,
    pub released_era: Option<usize>,
    /// Whether the referrer was inactive when it was made or, if later, released.
    pub made_while_inactive: bool,
    pub converted_while_inactive: bool,
    /// Where the referral itself earned, no purchase undoes that.
    pub converted_by_itself: bool,
    /// Of what the referral itself earned: the level from which on nothing is left, because of a referral above.
    pub lost_from: Option<usize>,
}

impl Referral {
    /// Whether it was rejected together with what was granted because of it.
    pub fn is_taken_back(&self) -> bool {
        self.status == Status::Rejected && self.against == Against::TakesBack
    }
}

/// What a flag does to a referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    Nothing,
    Holds,
    Rejects,
    /// Rejects, and takes back what was granted because of the referral.
    TakesBack,
}

/// What an operator says about a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Release,
    Reject,
    RejectAndTakeBack,
}

/// What follows a decision by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    MakeUp,
    SettleLine,
}

/// A user in one program.
#[derive(Clone, Debug)]
pub struct Member {
    pub user: User,
    pub referral: Option<Referral>,
    /// The purchase that was the first of all, and the first that was enough.
    pub first: Option<usize>,
    pub first_enough: Option<usize>,
    /// What tiers granted in all, by the formula when it last applied, and in which version that was.
    pub points: i64,
    pub points_version: Option<usize>,
    /// What of that is pending.
    pub pending_points: i64,
    /// The tier reached, if it ever was another one than the first.
    pub tier: Option<usize>,
    pub account: Account,
    /// In which era the user was last reactivated, if ever since being here.
    pub reactivated_era: Option<usize>,
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
    /// Whose purchase or referral earned it.
    pub source: User,
    pub earner: User,
    pub shape: Shape,
    pub granted: i64,
    /// Of what is not by tier.
    pub reversed: i64,
    pub pending: i64,
    /// The lot to which it was last added.
    pub lot: Option<Moment>,
    /// Of what is by tier: whether its referral counts, and whether an open dispute could undo that.
    pub counts: bool,
    pub disputed: bool,
    /// An operator holds it.
    pub held: bool,
    /// The hold period lasts.
    pub in_period: bool,
    /// The version whose rules apply.
    pub version: usize,
}

impl Reward {
    pub fn waits(&self) -> bool {
        self.held || self.in_period
    }

    /// What of it is available, if it is not by tier.
    pub fn available(&self) -> i64 {
        self.granted - self.reversed - self.pending
    }
}

/// Whether a purchase was the first of all, or the first that was enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstUse {
    None,
    TooSmall,
    Enough,
}

/// What a purchase did in one program.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The version that judged it.
    pub version: usize,
    pub credited: bool,
    /// Of the credit: what went back, and what is pending.
    pub credit_back: (i64, i64),
    /// What of both was taken from lots.
    pub credit_lots: BTreeMap<Moment, i64>,
    /// Whether it ever converted the referral, and whether the referrer was inactive then.
    pub converted: Option<bool>,
    /// Why it does not qualify.
    pub reason: Option<Refusal>,
    pub rewards: Vec<Reward>,
    /// By level.
    pub withheld: Vec<(usize, Refusal)>,
    /// The levels that got nothing because a referral was held or rejected.
    pub cut_off: Vec<usize>,
    pub first_use: FirstUse,
    /// The level from which on nothing is left, because a referral was rejected with what it had earned.
    pub lost_from: Option<usize>,
    /// Whether it earns, if it earned something at all.
    pub stands: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispute {
    Open,
    Won,
    Withdrawn,
    Lost,
}

/// When a purchase happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    Now,
    /// At a publication, in an era.
    At {
        publication: usize,
        era: usize,
    },
    /// Before everything.
    LongAgo,
}

impl Dated {
    /// Whether it happened before something of an era.
    pub fn is_before(self, since: usize) -> bool {
        match self {
            Self::Now => false,
            // Within an era are minutes at most, which do not matter.
            Self::At { era, .. } => era < since,
            Self::LongAgo => true,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Purchase {
    /// How many purchases were recorded before.
    pub order: usize,
    pub buyer: User,
    pub paid: i64,
    pub foreign: bool,
    pub dated: Dated,
    /// In which era it was recorded.
    pub era: usize,
    /// By id: the amount, and whether it was cancelled.
    pub refunds: BTreeMap<usize, (i64, bool)>,
    pub disputes: BTreeMap<usize, (i64, Dispute)>,
    /// By program.
    pub outcomes: BTreeMap<usize, Outcome>,
}

#[derive(Clone, Debug)]
pub struct Program {
    pub versions: Vec<Rules>,
    /// Since which publication of the sequence each version is in force.
    pub since: Vec<usize>,
    /// In the order in which they came.
    pub members: Vec<Member>,
    /// Who was referred by whom, in the order of the referrals.
    pub referees: Vec<(User, User)>,
    /// Of referrals, where these earn.
    pub rewards: Vec<Reward>,
    /// By participant and id: the amount, and whether it was made or waits for a second operator.
    pub adjustments: BTreeMap<(User, usize), (i64, bool)>,
    pub items: BTreeMap<usize, Terms>,
    pub redemptions: BTreeMap<usize, Redemption>,
    pub payouts: BTreeMap<usize, Payout>,
}

impl Program {
    pub fn rules(&self) -> &Rules {
        self.versions.last().unwrap()
    }

    /// The version that judges a purchase.
    pub fn version_at(&self, dated: Dated) -> usize {
        let latest = self.versions.len() - 1;
        match dated {
            Dated::Now => latest,
            Dated::At { publication, .. } => {
                self.since.iter().rposition(|since| *since <= publication).unwrap_or(0)
            }
            Dated::LongAgo => 0,
        }
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

    pub fn referral_mut(&mut self, user: User) -> &mut Referral {
        self.member_mut(user).referral.as_mut().unwrap()
    }

    /// The referrals that somebody made.
    pub fn referred_by(&self, referrer: User) -> impl Iterator<Item = &Referral> {
        let referrals = self.members.iter().filter_map(|member| member.referral.as_ref());
        referrals.filter(move |of| of.referrer == referrer)
    }

    /// The statuses of the referrals that somebody made.
    pub fn referrals_by(&self, referrer: User) -> impl Iterator<Item = Status> {
        self.referred_by(referrer).map(|of| of.status)
    }

    /// How many of somebody's referrals count for tiers where this earns.
    pub fn counted(&self, referrer: User, earns_on: EarnsOn) -> usize {
        let made = self.referred_by(referrer).filter(|of| !of.made_while_inactive);
        made.filter(|of| match (of.status, earns_on) {
            (Status::Pending, EarnsOn::Referral) => true,
            (Status::Converted, EarnsOn::Referral) => true,
            (Status::Converted, EarnsOn::FirstPurchase | EarnsOn::EveryPurchase) => {
                !of.converted_while_inactive
            }
            (Status::Pending, EarnsOn::FirstPurchase | EarnsOn::EveryPurchase) => false,
            (Status::Held | Status::Rejected, _) => false,
        })
        .count()
    }

    /// Whether somebody has made the purchase for which the rules pay once.
    pub fn has_bought(&self, rules: &Rules, user: User) -> bool {
        let member = self.member(user).unwrap();
        match (rules.earns_on, rules.any_uses_first) {
            (EarnsOn::FirstPurchase, true) => {
                member.first.is_some() || member.first_enough.is_some()
            }
            (EarnsOn::FirstPurchase, false) => member.first_enough.is_some(),
            (EarnsOn::Referral | EarnsOn::EveryPurchase, _) => false,
        }
    }

    /// Why a member can refer nobody any more.
    pub fn exhausted(&self, referrer: User) -> Option<Refusal> {
        let uses = self.referrals_by(referrer).filter(|status| *status != Status::Rejected).count();
        match self.rules().limit {
            Limit::UsesPerCode(limit) if uses >= limit => Some("CODE_EXHAUSTED"),
            Limit::DirectReferrals(limit) if uses >= limit => Some("REFERRER_LIMIT_REACHED"),
            _ => None,
        }
    }

    pub fn is_above(&self, user: User, below: User) -> bool {
        let mut at = Some(below);
        while let Some(now) = at {
            if now == user {
                return true;
            }
            at = self.referral(now).map(|of| of.referrer);
        }
        false
    }
}

/// Why nothing is earned through a referral.
pub fn cut_off(referral: &Referral, dated: Dated, rules: &Rules) -> Option<Refusal> {
    let released = referral.released_era.filter(|_| !rules.make_up);
    let since = released.unwrap_or(referral.era);
    match referral.status {
        _ if dated.is_before(since) => Some("BEFORE_REFERRAL"),
        Status::Held => Some("REFERRAL_HELD"),
        Status::Rejected => Some("REFERRAL_NOT_COUNTED"),
        Status::Pending | Status::Converted => None,
    }
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub programs: Vec<Program>,
    /// In the order of registration, with whether they are active.
    pub users: Vec<(User, bool)>,
    pub purchases: BTreeMap<usize, Purchase>,
    /// In which era each version of a program was published.
    pub publications: Vec<usize>,
    /// How often days or months have passed.
    pub era: usize,
    /// When the present command is carried out.
    pub now: Moment,
    /// Whether the two with one mailbox were cleared, so that they are not flagged with each other again.
    pub are_cleared: bool,
    /// Whether users have said how they are paid.
    pub methods: BTreeMap<User, bool>,
    /// What a provider has told of its payments.
    pub told: BTreeMap<usize, BTreeSet<Fact>>,
}

impl World {
    pub fn is_active(&self, user: User) -> Option<bool> {
        self.users.iter().find(|(known, _)| *known == user).map(|(_, active)| *active)
    }

    /// A version comes into force: of a new program, if the number is the next. What was credited to buyers is never
    /// paid out.
    pub fn publish(&mut self, program: usize, rules: Rules) -> Result<(), Refusal> {
        let versions = self.programs.get(program).map(|of| &of.versions);
        if rules.pays_out && versions.is_some_and(|of| of.iter().any(|of| of.credit_purchases)) {
            return Err("PAYOUT_OF_CREDITS");
        }
        if program == self.programs.len() {
            self.programs.push(Program {
                versions: Vec::new(),
                since: Vec::new(),
                members: Vec::new(),
                referees: Vec::new(),
                rewards: Vec::new(),
                adjustments: BTreeMap::new(),
                items: BTreeMap::new(),
                redemptions: BTreeMap::new(),
                payouts: BTreeMap::new(),
            });
        }
        let of = &mut self.programs[program];
        of.versions.push(rules);
        of.since.push(self.publications.len());
        self.publications.push(self.era);
        Ok(())
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
            first_enough: None,
            points: 0,
            points_version: None,
            pending_points: 0,
            tier: None,
            account: Account::default(),
            reactivated_era: None,
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
        // The first of these is told.
        let refusals = [
            of.has_bought(of.rules(), user).then_some("ALREADY_BOUGHT"),
            of.referral(user).is_some().then_some("ALREADY_REFERRED"),
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
        // The mailbox is known as that of the first of the two who signed up.
        let first = self.users.iter().map(|(of, _)| *of).find(|of| TWINS.contains(of));
        let has_twin = TWINS.contains(&user) && first != Some(user) && !self.are_cleared;
        let check = self.programs[program].rules().same_mailbox;
        let check = if has_twin { check } else { SameMailbox::Unchecked };
        let (status, against) = match check {
            SameMailbox::Hold => (Status::Held, Against::Holds),
            SameMailbox::Reject => (Status::Rejected, Against::Rejects),
            SameMailbox::Flag | SameMailbox::Unchecked => (Status::Pending, Against::Nothing),
        };
        let referral = Referral {
            referrer,
            status,
            flagged: check != SameMailbox::Unchecked,
            against,
            decision: None,
            era: self.era,
            released_era: None,
            made_while_inactive: self.is_active(referrer) == Some(false),
            converted_while_inactive: false,
            converted_by_itself: false,
            lost_from: None,
        };
        self.programs[program].member_mut(user).referral = Some(referral);
        self.programs[program].referees.push((referrer, user));
        self.referral_earns(program, user);
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
                let of_user = self.programs.iter_mut().flat_map(|of| &mut of.members);
                for member in of_user.filter(|member| active && member.user == user) {
                    member.reactivated_era = Some(self.era);
                }
                Ok(())
            }
        }
    }

    /// Why somebody earns nothing, if so, by what happened then.
    pub fn bar(&self, program: usize, earner: User, dated: Dated) -> Option<Refusal> {
        let reactivated_era = self.programs[program].member(earner).unwrap().reactivated_era;
        let is_before = reactivated_era.is_some_and(|since| dated.is_before(since));
        let is_inactive = self.is_active(earner) == Some(false);
        let inactive = is_inactive.then_some("EARNER_INACTIVE");
        inactive.or(is_before.then_some("BEFORE_REACTIVATION"))
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
                let is_made = amount.abs() <= ADJUSTMENT_LIMIT;
                of.adjustments.insert((user, id), (amount, is_made));
                if is_made {
                    self.account(program, user).adjust(amount);
                }
                Ok(())
            }
        }
    }

    /// An operator decides about a flagged referral. What follows by itself is returned.
    pub fn decide(
        &mut self,
        program: usize,
        user: User,
        decision: Decision,
    ) -> Result<Vec<Job>, Refusal> {
        let of = &self.programs[program];
        let Some(before) = of.referral(user).cloned() else { return Ok(Vec::new()) };
        if before.decision == Some(decision) {
            return Ok(Vec::new());
        }
        let is_release = decision == Decision::Release;
        if is_release && before.status == Status::Rejected {
            of.exhausted(before.referrer).map_or(Ok(()), Err)?;
        }
        let is_active = self.is_active(before.referrer) == Some(true);
        self.are_cleared = is_release;
        let era = self.era;
        let referral = self.programs[program].referral_mut(user);
        referral.decision = Some(decision);
        referral.against = match decision {
            Decision::Release => Against::Nothing,
            Decision::Reject => Against::Rejects,
            Decision::RejectAndTakeBack => Against::TakesBack,
        };
        let mut jobs = Vec::new();
        match (before.status, decision) {
            (Status::Held | Status::Rejected, Decision::Release) => {
                referral.status = Status::Pending;
                referral.released_era = Some(era);
                referral.made_while_inactive = !is_active;
                if before.converted_by_itself {
                    self.convert(program, user, Dated::Now, true);
                } else {
                    self.referral_earns(program, user);
                }
                jobs.push(Job::MakeUp);
                jobs.extend((before.status == Status::Rejected).then_some(Job::SettleLine));
            }
            (Status::Converted, Decision::Release | Decision::Reject)
            | (Status::Pending, Decision::Release) => {}
            (_, Decision::Reject | Decision::RejectAndTakeBack) => {
                referral.status = Status::Rejected;
                let is_changed = before.is_taken_back() != referral.is_taken_back();
                jobs.extend(is_changed.then_some(Job::SettleLine));
            }
        }
        let after = self.programs[program].referral(user).unwrap();
        if before.is_taken_back() != after.is_taken_back() {
            self.settle_referral(program, user);
        }
        Ok(jobs)
    }

    /// Does what follows a decision.
    pub fn follow(&mut self, program: usize, user: User, job: Job) {
        match job {
            Job::MakeUp => self.make_up(program, user),
            Job::SettleLine => self.settle_line(program, user),
        }
    }
}
