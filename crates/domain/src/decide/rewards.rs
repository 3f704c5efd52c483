//! Granting the rewards that a program's rules pay up the line.

use crate::participant::Grant;
use crate::reward::{Quote, SoFar, Unpaid, WithheldReason, quote};
use crate::rules::{Pay, ProgramRules, RewardRule};
use crate::{
    Halt, Participant, ParticipantCommand, ParticipantId, ProgramVersion, PurchaseId, Referral,
    ReferralReward, ReferralStatus, RewardWithheld, StreamKey, Timestamp, Work, load, tell,
};

/// The purchase that rewards are granted for.
pub(super) struct PurchaseOccasion<'a> {
    pub(super) purchase_id: &'a PurchaseId,
    pub(super) amount_minor: i64,
    /// When the purchase happened, if the caller said so.
    pub(super) dated: Option<Timestamp>,
}

/// What rewards are granted for: a purchase by the source, or the referral of the source.
pub(super) struct Occasion<'a> {
    pub(super) version: &'a ProgramVersion,
    pub(super) source: &'a ParticipantId,
    pub(super) purchase: Option<PurchaseOccasion<'a>>,
}

impl Occasion<'_> {
    /// What was paid; 0 if the occasion is no purchase.
    fn amount_minor(&self) -> i64 {
        self.purchase.as_ref().map_or(0, |purchase| purchase.amount_minor)
    }
}

/// The result of an occasion.
#[derive(Default)]
pub(super) struct Granted {
    /// How many rewards were granted.
    pub(super) count: usize,
    /// Whether no rule has an earner.
    pub(super) is_for_nobody: bool,
    /// The rewards that a referral itself earned.
    pub(super) of_referral: Vec<ReferralReward>,
    /// The rewards that were withheld, if that is to be recorded on the purchase.
    pub(super) withheld: Vec<RewardWithheld>,
}

/// A reward that an earner does not get.
struct Withheld {
    reason: WithheldReason,
    /// What the rule comes to, if that was computed.
    computed_minor: Option<i64>,
}

impl From<Unpaid> for Withheld {
    fn from(Unpaid { reason, computed_minor }: Unpaid) -> Self {
        Self { reason, computed_minor: Some(computed_minor) }
    }
}

/// Grants every reward of an occasion that counts. Levels are independent of each other: an earner
/// who gets nothing is skipped, and nothing moves up.
pub(super) fn grant(work: &mut dyn Work, occasion: &Occasion<'_>) -> Result<Granted, Halt> {
    let earners = earners(work, occasion)?;
    grant_to(work, occasion, earners, occasion.amount_minor())
}

/// Grants the rewards of these earners. `unshared_minor` is the part of the purchase that nobody has received yet.
pub(super) fn grant_to(
    work: &mut dyn Work,
    occasion: &Occasion<'_>,
    earners: Vec<Earner<'_>>,
    mut unshared_minor: i64,
) -> Result<Granted, Halt> {
    let mut granted = Granted { is_for_nobody: earners.is_empty(), ..Granted::default() };
    for Earner { rule, id: earner_id, cut_off } in earners {
        let quoted = match cut_off {
            Some(reason) => Err(Withheld { reason, computed_minor: None }),
            None => quote_for(work, occasion, rule, &earner_id, unshared_minor)?,
        };
        match quoted {
            Ok(quote) => {
                if matches!(rule.pay, Pay::RateBps(_)) {
                    unshared_minor -= quote.amount_minor;
                }
                let rules = &occasion.version.rules;
                let release_time = rules.release_time(work.now());
                let is_available = release_time.is_none();
                let expire_time = if is_available { rules.expire_time(work.now()) } else { None };
                let grant = Grant {
                    earner_user_id: earner_id.user_id.clone(),
                    program_version: occasion.version.version,
                    unit: rules.unit.clone(),
                    rule: rule.clone(),
                    quote,
                    source_user_id: occasion.source.user_id.clone(),
                    purchase_id: occasion.purchase.as_ref().map(|of| of.purchase_id.clone()),
                    basis_minor: occasion.purchase.as_ref().map(|of| of.amount_minor),
                    release_time,
                    expire_time,
                };
                if occasion.purchase.is_none() {
                    let before = work.last_sequence(&StreamKey::of::<Participant>(&earner_id));
                    granted.of_referral.push(grant.for_referral(before.saturating_add(1)));
                }
                tell::<Participant>(work, &earner_id, ParticipantCommand::Grant(Box::new(grant)))?;
                granted.count += 1;
            }
            // What concerns the earner is told to the earner, and so is what concerns a referral without a
            // purchase.
            Err(withheld) if withheld.reason.is_of_earner() || occasion.purchase.is_none() => {
                let withheld = withhold_from_earner(occasion, rule, &withheld);
                tell::<Participant>(work, &earner_id, ParticipantCommand::Withhold(withheld))?;
            }
            Err(Withheld { reason, .. }) => {
                let earner = Some((rule, &earner_id));
                granted.withheld.push(withhold(occasion, earner, reason, None, true));
            }
        }
    }
    Ok(granted)
}

fn quote_for(
    work: &mut dyn Work,
    occasion: &Occasion<'_>,
    rule: &RewardRule,
    earner_id: &ParticipantId,
    unshared_minor: i64,
) -> Result<Result<Quote, Withheld>, Halt> {
    let earner = load::<Participant>(work, earner_id)?;
    let dated = occasion.purchase.as_ref().and_then(|purchase| purchase.dated);
    let mut bar = earner.bar(dated);
    let mut so_far =
        SoFar { level_minor: earner.level(rule.level).total_minor, ..SoFar::default() };
    if matches!(rule.pay, Pay::Tiers(_)) {
        so_far.tier_minor = earner.tier_points();
        so_far.tier_referrals = earner.tier_referrals().under(occasion.version.rules.earn_on);
        if let Some(referral) = load::<Participant>(work, occasion.source)?.referral() {
            // Such a referral never counts for tiers, also after the reactivation.
            if referral.made_while_inactive {
                bar = bar.or(Some(WithheldReason::EarnerInactive));
            }
            // The purchase converts a pending referral after its rewards are granted.
            let converts =
                occasion.purchase.is_some() && referral.status == ReferralStatus::Pending;
            let is_not_counted_yet = converts || referral.made_while_inactive;
            so_far.tier_referrals =
                so_far.tier_referrals.saturating_add(u32::from(is_not_counted_yet));
        }
    }
    let quoted = quote(rule, so_far, occasion.amount_minor(), unshared_minor);
    Ok(match bar {
        None => quoted.map_err(Withheld::from),
        Some(reason) => {
            let computed_minor =
                quoted.map_or_else(|unpaid| unpaid.computed_minor, |quote| quote.computed_minor);
            Err(Withheld { reason, computed_minor: Some(computed_minor) })
        }
    })
}

/// Withholds the rewards of an occasion that does not count: one record for each would-be earner, at least
/// one in all.
pub(super) fn withhold_all(
    work: &mut dyn Work,
    occasion: &Occasion<'_>,
    reason: WithheldReason,
    limit_minor: Option<i64>,
) -> Result<Vec<RewardWithheld>, Halt> {
    let withheld: Vec<_> = earners(work, occasion)?
        .into_iter()
        .map(|Earner { rule, id, .. }| {
            withhold(occasion, Some((rule, &id)), reason, limit_minor, false)
        })
        .collect();
    let names_nobody =
        matches!(reason, WithheldReason::RewardsReferralsOnly | WithheldReason::NotReferred);
    if withheld.is_empty() || names_nobody {
        return Ok(vec![withhold(occasion, None, reason, limit_minor, false)]);
    }
    Ok(withheld)
}

/// A participant whom a rule would pay.
pub(super) struct Earner<'a> {
    rule: &'a RewardRule,
    id: ParticipantId,
    /// Why the earner gets nothing: a referral between the source and the earner does not count or is more
    /// recent than the purchase.
    cut_off: Option<WithheldReason>,
}

impl Earner<'_> {
    /// How far up the line the earner is.
    pub(super) fn level(&self) -> u32 {
        self.rule.level
    }
}

/// The participants on these levels to whom all referrals count.
pub(super) fn earners_on<'a>(
    work: &mut dyn Work,
    occasion: &Occasion<'a>,
    levels: &[u32],
) -> Result<Vec<Earner<'a>>, Halt> {
    let mut earners = earners(work, occasion)?;
    earners.retain(|earner| earner.cut_off.is_none() && levels.contains(&earner.level()));
    Ok(earners)
}

/// Why nothing is earned through a referral; by a purchase, with its time if the caller said it.
pub(super) fn cut_off(
    rules: &ProgramRules,
    referral: &Referral,
    dated: Option<Timestamp>,
) -> Option<WithheldReason> {
    if dated.is_some_and(|dated| dated.is_purchase_before(referral.counts_since(rules))) {
        return Some(WithheldReason::BeforeReferral);
    }
    match referral.status {
        ReferralStatus::Held => Some(WithheldReason::ReferralHeld),
        ReferralStatus::Rejected => Some(WithheldReason::ReferralNotCounted),
        ReferralStatus::Pending | ReferralStatus::Converted => None,
    }
}

/// Each rule with the participant on its level, if there is one.
fn earners<'a>(work: &mut dyn Work, occasion: &Occasion<'a>) -> Result<Vec<Earner<'a>>, Halt> {
    let mut earners = Vec::new();
    let mut at = occasion.source.clone();
    let mut level = 0;
    let mut cut_off = None;
    let dated = occasion.purchase.as_ref().and_then(|purchase| purchase.dated);
    for rule in &occasion.version.rules.rewards {
        while level < rule.level {
            let Some(referral) = load::<Participant>(work, &at)?.referral().cloned() else {
                return Ok(earners);
            };
            // Whether the source's own referral counts is decided for the occasion as a whole.
            if level > 0 && cut_off.is_none() {
                cut_off = self::cut_off(&occasion.version.rules, &referral, dated);
            }
            at.user_id = referral.referrer_user_id;
            level += 1;
        }
        earners.push(Earner { rule, id: at.clone(), cut_off });
    }
    Ok(earners)
}

/// A record for the purchase that a reward is not granted.
fn withhold(
    occasion: &Occasion<'_>,
    earner: Option<(&RewardRule, &ParticipantId)>,
    reason: WithheldReason,
    limit_minor: Option<i64>,
    qualified: bool,
) -> RewardWithheld {
    RewardWithheld {
        program_id: Some(occasion.source.program_id.clone()),
        program_version: occasion.version.version,
        earner_user_id: earner.map(|(_, id)| id.user_id.clone()),
        level: earner.map_or(0, |(rule, _)| rule.level),
        rule: earner.map(|(rule, _)| rule.rule.clone()),
        reason,
        qualified,
        source_user_id: None,
        purchase_id: None,
        computed_minor: None,
        unit: None,
        limit_minor,
    }
}

/// A record for the earner that a reward is not granted.
fn withhold_from_earner(
    occasion: &Occasion<'_>,
    rule: &RewardRule,
    withheld: &Withheld,
) -> RewardWithheld {
    let reason = withheld.reason;
    RewardWithheld {
        program_id: None,
        program_version: occasion.version.version,
        earner_user_id: None,
        level: rule.level,
        rule: Some(rule.rule.clone()),
        reason,
        qualified: true,
        source_user_id: Some(occasion.source.user_id.clone()),
        purchase_id: occasion.purchase.as_ref().map(|purchase| purchase.purchase_id.clone()),
        computed_minor: withheld.computed_minor,
        unit: withheld.computed_minor.map(|_| occasion.version.rules.unit.clone()),
        limit_minor: rule.cap_minor.filter(|_| reason == WithheldReason::CapReached),
    }
}
