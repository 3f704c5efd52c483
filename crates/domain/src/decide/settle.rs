//! What becomes of rewards after refunds, disputes, holds and rejected referrals.
//!
//! The stream of a purchase holds these inputs and, where a referral itself earns, the stream of the referee. What each
//! reward must look like is a function of them, so that the order in which they came does not matter. A command changes
//! an input; then the purchase or the referral is *settled*: what differs from what each reward must look like is
//! posted on the earners' streams.
//!
//! Only what is given back depends on more: on the room that caps have left, and on whether another purchase has become
//! the buyer's first.

use crate::decide::conversions;
use crate::purchase::terms::Terms;
use crate::rules::{EarnOn, Pay, ProgramRules, RewardRule};
use crate::{
    CreditChange, FirstUse, Halt, Participant, ParticipantCommand, ParticipantId, Program,
    ProgramId, ProgramVersion, Purchase, PurchaseCommand, PurchaseId, PurchaseOutcome, Referral,
    ReferralRewardsChanged, RewardChange, RewardLots, RewardRef, RewardShare, Work, each, load,
    tell,
};

/// Changes an input of a purchase, and settles it in every program in which it had consequences.
pub(super) fn change(
    work: &mut dyn Work,
    purchase_id: &PurchaseId,
    input: PurchaseCommand,
) -> Result<(), Halt> {
    let before = load::<Purchase>(work, purchase_id)?;
    tell::<Purchase>(work, purchase_id, input)?;
    let after = load::<Purchase>(work, purchase_id)?;
    each(after.outcomes(), |outcome| settle_purchase(work, purchase_id, &before, &after, outcome))
}

/// What earned rewards: a purchase or, without one, the referral of the source.
struct Source<'a> {
    id: &'a ParticipantId,
    purchase_id: Option<&'a PurchaseId>,
    program: &'a Program,
    /// The version of the rules by which the rewards were granted; `None` if there are none.
    version: Option<&'a ProgramVersion>,
}

/// How it stands, before an input has changed or afterwards.
#[derive(Clone, Copy)]
struct Standing {
    terms: Terms,
    /// Whether it earns at all.
    stands: bool,
    /// The level from which on nothing is earned, because a referral was rejected.
    rejected_from_level: Option<u32>,
}

impl Standing {
    /// Whether nothing is left of the reward on a level, whatever it amounts to.
    fn is_lost(&self, level: u32) -> bool {
        !self.stands || self.rejected_from_level.is_some_and(|from| from <= level)
    }
}

fn settle_purchase(
    work: &mut dyn Work,
    purchase_id: &PurchaseId,
    before: &Purchase,
    after: &Purchase,
    outcome: &PurchaseOutcome,
) -> Result<(), Halt> {
    let Some(recorded) = after.recorded() else {
        return Err(Halt::Broken("a purchase that was not recorded is settled"));
    };
    let program_id = &outcome.program_id;
    let outcome_before = before.outcome_in(program_id).unwrap_or(outcome);
    let program = load::<Program>(work, program_id)?;
    let version = program.version(outcome.program_version);
    let buyer_id = ParticipantId::new(program_id, &recorded.buyer_user_id);
    let buyer = load::<Participant>(work, &buyer_id)?;
    let may_be_first = version
        .is_none_or(|version| self::may_be_first(&version.rules, outcome, &buyer, purchase_id));
    let was_first =
        version.is_none_or(|version| is_first(&version.rules, outcome, &buyer, purchase_id));
    let was = standing(before, version, outcome_before, was_first);
    let now = standing(after, version, outcome, may_be_first);
    let follow = conversions::Standing {
        purchase_id,
        buyer_id: &buyer_id,
        outcome,
        program: &program,
        stood: was.stands,
        stands: now.stands,
    };
    conversions::follow(work, &follow)?;
    let source =
        Source { id: &buyer_id, purchase_id: Some(purchase_id), program: &program, version };
    each(&outcome.rewards, |reward| {
        let reward_before = outcome_before.reward_on(reward.level).unwrap_or(reward);
        settle_reward(work, &source, (&was, reward_before), (&now, reward)).map(drop)
    })?;
    settle_credit(work, &source, &recorded.currency_code, (now.terms, outcome))
}

/// Whether a purchase is the first where the first one earns, if it ever was.
pub(super) fn is_first(
    rules: &ProgramRules,
    outcome: &PurchaseOutcome,
    buyer: &Participant,
    purchase_id: &PurchaseId,
) -> bool {
    match rules.earn_on {
        EarnOn::FirstPurchase { .. } if outcome.first_use != FirstUse::None => {
            buyer.is_first(purchase_id)
        }
        EarnOn::FirstPurchase { .. } | EarnOn::EveryPurchase | EarnOn::Referral => true,
    }
}

/// Whether no other purchase has become the first where the first one earns, if this one was it.
pub(super) fn may_be_first(
    rules: &ProgramRules,
    outcome: &PurchaseOutcome,
    buyer: &Participant,
    purchase_id: &PurchaseId,
) -> bool {
    match rules.earn_on {
        EarnOn::FirstPurchase { used_by } => {
            is_first(rules, outcome, buyer, purchase_id) || !buyer.first_purchase_used(used_by)
        }
        EarnOn::EveryPurchase | EarnOn::Referral => true,
    }
}

/// Makes of rewards that were granted for a purchase afterwards what refunds and disputes before that make of them.
pub(super) fn settle_made_up(
    work: &mut dyn Work,
    purchase_id: &PurchaseId,
    program_id: &ProgramId,
    levels: &[u32],
) -> Result<(), Halt> {
    let purchase = load::<Purchase>(work, purchase_id)?;
    let (Some(recorded), Some(outcome)) = (purchase.recorded(), purchase.outcome_in(program_id))
    else {
        return Ok(());
    };
    let program = load::<Program>(work, program_id)?;
    let version = program.version(outcome.program_version);
    let buyer_id = ParticipantId::new(program_id, &recorded.buyer_user_id);
    let source =
        Source { id: &buyer_id, purchase_id: Some(purchase_id), program: &program, version };
    let was = Standing { terms: Terms::WHOLE, stands: true, rejected_from_level: None };
    let now = standing(&purchase, version, outcome, true);
    let is_made_up = |reward: &&RewardShare| levels.contains(&reward.level);
    each(outcome.rewards.iter().filter(is_made_up), |reward| {
        settle_reward(work, &source, (&was, reward), (&now, reward)).map(drop)
    })
}

fn standing(
    purchase: &Purchase,
    version: Option<&ProgramVersion>,
    outcome: &PurchaseOutcome,
    may_be_first: bool,
) -> Standing {
    let terms = under(purchase.terms(), version);
    let stands = may_be_first && counts(terms, outcome);
    Standing { terms, stands, rejected_from_level: outcome.rejected_from_level }
}

fn under(terms: Terms, version: Option<&ProgramVersion>) -> Terms {
    version.map_or(terms, |version| terms.under(&version.rules))
}

/// Whether a purchase earns on these terms, as far as that is its own.
fn counts(terms: Terms, outcome: &PurchaseOutcome) -> bool {
    terms.qualifies(terms.refunded_minor) && outcome.rejected_from_level != Some(0)
}

/// Makes of the rewards that a referral itself earned what they must be, after an input has changed from `before`.
pub(super) fn settle_referral(
    work: &mut dyn Work,
    referee_id: &ParticipantId,
    before: &Referral,
    after: &Referral,
) -> Result<(), Halt> {
    let program = load::<Program>(work, &referee_id.program_id)?;
    let version = program.version(after.program_version);
    let source = Source { id: referee_id, purchase_id: None, program: &program, version };
    let standing = |referral: &Referral| Standing {
        terms: Terms::WHOLE,
        stands: !referral.is_taken_back(),
        rejected_from_level: referral.rejected_from_level,
    };
    let (was, now) = (standing(before), standing(after));
    let mut rewards = Vec::with_capacity(after.rewards.len());
    for reward in &after.rewards {
        let reward_before = before.rewards.iter().find(|of| of.level == reward.level);
        let reward_before = reward_before.unwrap_or(reward);
        rewards.push(settle_reward(work, &source, (&was, reward_before), (&now, reward))?);
    }
    let rejected_from_level = after.rejected_from_level;
    if rewards == before.rewards && rejected_from_level == before.rejected_from_level {
        return Ok(());
    }
    let rewards = rewards.into_iter().map(Into::into).collect();
    let changed = ReferralRewardsChanged { rewards, rejected_from_level };
    let changed = ParticipantCommand::ChangeRewards(changed);
    tell::<Participant>(work, referee_id, changed).map(drop)
}

/// Makes of a reward what it must be, and returns what it is then.
fn settle_reward(
    work: &mut dyn Work,
    source: &Source<'_>,
    before: (&Standing, &RewardShare),
    after: (&Standing, &RewardShare),
) -> Result<RewardShare, Halt> {
    let (now, reward) = after;
    let version = source.version.ok_or(Halt::Broken("a reward by no version of a program"))?;
    let mut rules = version.rules.rewards.iter();
    let rule = rules.find(|rule| rule.level == reward.level);
    let rule = rule.ok_or(Halt::Broken("a reward by no rule of its version"))?;
    let earner_id = ParticipantId::new(&source.id.program_id, &reward.earner_user_id);
    let earner = load::<Participant>(work, &earner_id)?;
    if earner.is_erased() {
        return Ok(reward.clone());
    }
    let lots = reward.lots(&version.rules, work.now());
    let change = match rule.pay {
        Pay::Tiers(_) => tier_change(source, before, after, &earner)?,
        Pay::FlatMinor(_) | Pay::RateBps(_) | Pay::Count => {
            Some(amount_change(now, rule, reward, &earner, lots))
        }
    };
    let Some(change) = change else { return Ok(reward.clone()) };
    let named = RewardRef {
        earner_user_id: reward.earner_user_id.clone(),
        program_version: version.version,
        unit: version.rules.unit.clone(),
        rule: rule.rule.clone(),
        level: reward.level,
        source_user_id: source.id.user_id.clone(),
        purchase_id: source.purchase_id.cloned(),
        reward_sequence: reward.sequence,
    };
    let mut settled = reward.clone();
    if let RewardChange::Amount { change_minor, pending_change_minor, lots } = &change {
        settled.reversed_minor -= change_minor;
        settled.pending_minor += pending_change_minor;
        if change_minor > pending_change_minor {
            settled.lot = lots.next;
        }
    }
    let settle = ParticipantCommand::Settle(Box::new((named, change)));
    tell::<Participant>(work, &earner_id, settle)?;
    if matches!(rule.pay, Pay::Tiers(_)) {
        let points = load::<Participant>(work, &earner_id)?.tier_points();
        settled.reversed_minor += earner.tier_points() - points;
    }
    Ok(settled)
}

/// A reward of a fixed amount.
fn amount_change(
    now: &Standing,
    rule: &RewardRule,
    reward: &RewardShare,
    earner: &Participant,
    lots: RewardLots,
) -> RewardChange {
    let terms = now.terms;
    let granted = reward.amount_minor;
    let due = |taken| terms.reversed(&rule.pay, granted, taken);
    let mut reversed = if now.is_lost(reward.level) { granted } else { due(terms.refunded_minor) };
    if reversed < reward.reversed_minor {
        let level_minor = earner.level(rule.level).total_minor;
        let room = rule.cap_minor.map_or(i64::MAX, |cap| cap.saturating_sub(level_minor).max(0));
        reversed += (reward.reversed_minor - reversed - room).max(0);
    }
    let left = granted - reversed;
    // What a cap has no room to give back cannot be taken back once more.
    let at_risk = (due(terms.at_risk_minor) - reversed).clamp(0, left);
    let pending = if reward.waits() { left } else { at_risk };
    RewardChange::Amount {
        change_minor: reward.reversed_minor - reversed,
        pending_change_minor: pending - reward.pending_minor,
        lots,
    }
}

/// A reward of points by tier: whether its referral counts, is disputed or held. `None` if that is as it was.
fn tier_change(
    source: &Source<'_>,
    before: (&Standing, &RewardShare),
    after: (&Standing, &RewardShare),
    earner: &Participant,
) -> Result<Option<RewardChange>, Halt> {
    let (was, now) = (TierReferral::of(before.0, before.1), TierReferral::of(after.0, after.1));
    if was == now {
        return Ok(None);
    }
    let tiers = |version: &ProgramVersion| {
        let (_, tiers) = version.rules.tier_rule()?;
        Some((tiers.to_vec(), version.rules.earn_on))
    };
    let latest = source.program.version(earner.tier_version()).and_then(tiers);
    let tiers = latest.or_else(|| source.version.and_then(tiers));
    let (tiers, earn_on) = tiers.ok_or(Halt::Broken("points by no tiers"))?;
    Ok(Some(RewardChange::Tier {
        tiers,
        referrals: earner.tier_referrals().under(earn_on),
        recounts: now.counts != was.counts,
        disputed_change: i32::from(now.is_disputed) - i32::from(was.is_disputed),
        held_change_minor: now.held_minor - was.held_minor,
    }))
}

/// What a referral is to the points by tier of its referrer.
#[derive(PartialEq, Eq)]
struct TierReferral {
    counts: bool,
    is_disputed: bool,
    held_minor: i64,
}

impl TierReferral {
    fn of(standing: &Standing, reward: &RewardShare) -> Self {
        let counts = !standing.is_lost(reward.level);
        let waits = counts && reward.waits();
        let terms = standing.terms;
        Self {
            counts,
            is_disputed: counts && !waits && !terms.qualifies(terms.at_risk_minor),
            held_minor: if waits { reward.amount_minor } else { 0 },
        }
    }
}

/// The credit for the purchase itself goes back with the price. If a lot is over from which that was taken, the rules
/// in force name the present one: which version had made it is not known.
fn settle_credit(
    work: &mut dyn Work,
    source: &Source<'_>,
    currency_code: &str,
    (terms, outcome): (Terms, &PurchaseOutcome),
) -> Result<(), Halt> {
    let Source { id: buyer_id, purchase_id: Some(purchase_id), program, .. } = source else {
        return Ok(());
    };
    let credited = outcome.credited_minor;
    if credited == 0 || load::<Participant>(work, buyer_id)?.is_erased() {
        return Ok(());
    }
    let due = |taken| terms.credit_reversed(credited, taken);
    let reversed = due(terms.refunded_minor);
    let pending = due(terms.at_risk_minor) - reversed;
    let now = work.now();
    let settle = ParticipantCommand::SettleCredit(Box::new(CreditChange {
        user_id: buyer_id.user_id.clone(),
        purchase_id: (*purchase_id).clone(),
        change_minor: outcome.credit_reversed_minor - reversed,
        pending_change_minor: pending - outcome.credit_pending_minor,
        unit: currency_code.into(),
        out_minor: outcome.credit_out_minor(),
        taken: outcome.credit_lots.clone(),
        now,
        present: program.current().and_then(|version| version.rules.expire_time(now)),
    }));
    tell::<Participant>(work, buyer_id, settle).map(drop)
}

/// Whether a purchase earns in a program now, by its own state.
pub(super) fn earns(purchase: &Purchase, program: &Program, outcome: &PurchaseOutcome) -> bool {
    let version = program.version(outcome.program_version);
    !outcome.rewards.is_empty() && counts(under(purchase.terms(), version), outcome)
}

/// Whether rewards by these rules can be those of several purchases of one buyer.
pub(super) fn pays_repeatedly(rules: &ProgramRules) -> bool {
    rules.earn_on == EarnOn::EveryPurchase
}
