//! What becomes of the rewards of a purchase after refunds, disputes, holds and rejected referrals.
//!
//! The stream of a purchase holds these inputs. What each reward must look like is a function of them, so that the order
//! in which they came does not matter. A command changes an input; then the purchase is *settled*: what differs from
//! what each reward must look like is posted on the earners' streams.
//!
//! Only what is given back depends on more: on the room that caps have left, and on whether another purchase has become
//! the buyer's first.

use crate::decide::conversions;
use crate::purchase::terms::Terms;
use crate::rules::{EarnOn, Pay, ProgramRules, RewardRule};
use crate::{
    FirstUse, Halt, Participant, ParticipantCommand, ParticipantId, Program, ProgramVersion,
    Purchase, PurchaseCommand, PurchaseId, PurchaseOutcome, RewardChange, RewardRef, RewardShare,
    Work, each, load, tell,
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
    each(after.outcomes(), |outcome| settle(work, purchase_id, &before, &after, outcome))
}

/// A purchase in one program, as it is to be.
struct Case<'a> {
    purchase_id: &'a PurchaseId,
    buyer_id: ParticipantId,
    currency_code: &'a str,
    outcome: &'a PurchaseOutcome,
    /// The version of the rules by which its rewards were granted; `None` if it has none.
    version: Option<&'a ProgramVersion>,
    terms: Terms,
    /// Whether it is a purchase that earns. One that was the buyer's first does not if another has become that.
    stands: bool,
    /// The same before the input changed.
    stood: bool,
    /// The terms before the input changed.
    terms_before: Terms,
    outcome_before: &'a PurchaseOutcome,
}

fn settle(
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
    let outcome_before = before.outcome_in(program_id);
    let outcome_before = outcome_before.unwrap_or(outcome);
    let program = load::<Program>(work, program_id)?;
    let version = program.version(outcome.program_version);
    let buyer_id = ParticipantId::new(program_id, &recorded.buyer_user_id);
    let buyer = load::<Participant>(work, &buyer_id)?;
    let (terms, terms_before) = (under(after.terms(), version), under(before.terms(), version));
    let is_first = buyer.is_first(purchase_id);
    let is_free = match (outcome.first_use, version.map(|version| version.rules.earn_on)) {
        (FirstUse::None, _) | (_, None | Some(EarnOn::EveryPurchase | EarnOn::Referral)) => true,
        (_, Some(EarnOn::FirstPurchase { used_by })) => {
            is_first || !buyer.first_purchase_used(used_by)
        }
    };
    let case = Case {
        purchase_id,
        buyer_id,
        currency_code: &recorded.currency_code,
        outcome,
        version,
        terms,
        stands: is_free && counts(terms, outcome),
        stood: counts(terms_before, outcome_before)
            && (outcome.first_use == FirstUse::None || is_first),
        terms_before,
        outcome_before,
    };
    conversions::follow(
        work,
        &conversions::Standing {
            purchase_id,
            buyer_id: &case.buyer_id,
            outcome,
            program: &program,
            stood: case.stood,
            stands: case.stands,
        },
    )?;
    each(&outcome.rewards, |reward| settle_reward(work, &case, reward))?;
    settle_credit(work, &case)
}

fn under(terms: Terms, version: Option<&ProgramVersion>) -> Terms {
    version.map_or(terms, |version| terms.under(&version.rules))
}

/// Whether a purchase earns on these terms, as far as that is its own.
fn counts(terms: Terms, outcome: &PurchaseOutcome) -> bool {
    terms.qualifies(terms.refunded_minor) && outcome.rejected_from_level != Some(0)
}

fn settle_reward(work: &mut dyn Work, case: &Case<'_>, reward: &RewardShare) -> Result<(), Halt> {
    let (version, rule) = rule_of(case, reward)?;
    let earner_id = ParticipantId::new(&case.outcome.program_id, &reward.earner_user_id);
    let earner = load::<Participant>(work, &earner_id)?;
    if earner.is_erased() {
        return Ok(());
    }
    let change = match rule.pay {
        Pay::Tiers(_) => tier_change(work, case, version, reward, &earner, &earner_id)?,
        Pay::FlatMinor(_) | Pay::RateBps(_) | Pay::Count => {
            Some(amount_change(case, rule, reward, &earner))
        }
    };
    let Some(change) = change else { return Ok(()) };
    let reward = RewardRef {
        earner_user_id: reward.earner_user_id.clone(),
        program_version: version.version,
        unit: version.rules.unit.clone(),
        rule: rule.rule.clone(),
        level: reward.level,
        source_user_id: case.buyer_id.user_id.clone(),
        purchase_id: Some(case.purchase_id.clone()),
        reward_sequence: reward.sequence,
    };
    let settle = ParticipantCommand::Settle(Box::new((reward, change)));
    tell::<Participant>(work, &earner_id, settle).map(drop)
}

fn rule_of<'a>(
    case: &Case<'a>,
    reward: &RewardShare,
) -> Result<(&'a ProgramVersion, &'a RewardRule), Halt> {
    let version = case.version.ok_or(Halt::Broken("a reward by no version of a program"))?;
    let mut rules = version.rules.rewards.iter();
    let rule = rules.find(|rule| rule.level == reward.level);
    rule.map(|rule| (version, rule)).ok_or(Halt::Broken("a reward by no rule of its version"))
}

/// Whether nothing is left of a reward, whatever it amounts to.
fn is_lost(stands: bool, outcome: &PurchaseOutcome, level: u32) -> bool {
    !stands || outcome.rejected_from_level.is_some_and(|from| from <= level)
}

/// A reward of a fixed amount.
fn amount_change(
    case: &Case<'_>,
    rule: &RewardRule,
    reward: &RewardShare,
    earner: &Participant,
) -> RewardChange {
    let Case { terms, outcome, .. } = case;
    let granted = reward.amount_minor;
    let due = |taken| terms.reversed(&rule.pay, granted, taken);
    let mut reversed = if is_lost(case.stands, outcome, reward.level) {
        granted
    } else {
        due(terms.refunded_minor)
    };
    if reversed < reward.reversed_minor {
        let level_minor = earner.level(rule.level).total_minor;
        let room = rule.cap_minor.map_or(i64::MAX, |cap| cap.saturating_sub(level_minor).max(0));
        reversed += (reward.reversed_minor - reversed - room).max(0);
    }
    let left = granted - reversed;
    let pending = if reward.waits() {
        left
    } else {
        (due(terms.at_risk_minor) - due(terms.refunded_minor)).clamp(0, left)
    };
    RewardChange::Amount {
        change_minor: reward.reversed_minor - reversed,
        pending_change_minor: pending - reward.pending_minor,
    }
}

/// A reward of points by tier: whether its referral counts, is disputed or held. `None` if that is as it was.
fn tier_change(
    work: &mut dyn Work,
    case: &Case<'_>,
    version: &ProgramVersion,
    reward: &RewardShare,
    earner: &Participant,
    earner_id: &ParticipantId,
) -> Result<Option<RewardChange>, Halt> {
    let after = TierReferral::of(case.terms, case.stands, case.outcome, reward.level);
    let before = TierReferral::of(case.terms_before, case.stood, case.outcome_before, reward.level);
    if after == before {
        return Ok(None);
    }
    let program = load::<Program>(work, &earner_id.program_id)?;
    let tiers = |version: &ProgramVersion| match version.rules.tier_rule() {
        Some((_, tiers)) => Some((tiers.to_vec(), version.rules.earn_on)),
        None => None,
    };
    let latest = program.version(earner.tier_version()).and_then(tiers);
    let (tiers, earn_on) =
        latest.or_else(|| tiers(version)).ok_or(Halt::Broken("points by no tiers"))?;
    Ok(Some(RewardChange::Tier {
        tiers,
        referrals: earner.tier_referrals().under(earn_on),
        recounts: after.counts != before.counts,
        disputed_change: i32::from(after.is_disputed) - i32::from(before.is_disputed),
        held_change_minor: after.held_minor - before.held_minor,
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
    fn of(terms: Terms, stands: bool, outcome: &PurchaseOutcome, level: u32) -> Self {
        let counts = !is_lost(stands, outcome, level);
        let reward = outcome.reward_on(level);
        let waits = counts && reward.is_some_and(RewardShare::waits);
        let held_minor = if waits { reward.map_or(0, |reward| reward.amount_minor) } else { 0 };
        let is_disputed = counts && !waits && !terms.qualifies(terms.at_risk_minor);
        Self { counts, is_disputed, held_minor }
    }
}

/// The credit for the purchase itself goes back with the price.
fn settle_credit(work: &mut dyn Work, case: &Case<'_>) -> Result<(), Halt> {
    let Case { purchase_id, buyer_id, outcome, terms, .. } = case;
    let credited = outcome.credited_minor;
    if credited == 0 || load::<Participant>(work, buyer_id)?.is_erased() {
        return Ok(());
    }
    let due = |taken| terms.credit_reversed(credited, taken);
    let reversed = due(terms.refunded_minor);
    let pending = due(terms.at_risk_minor) - reversed;
    let settle = ParticipantCommand::SettleCredit {
        user_id: buyer_id.user_id.clone(),
        purchase_id: (*purchase_id).clone(),
        change_minor: outcome.credit_reversed_minor - reversed,
        pending_change_minor: pending - outcome.credit_pending_minor,
        unit: case.currency_code.into(),
    };
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
