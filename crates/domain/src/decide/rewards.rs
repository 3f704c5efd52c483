//! Granting the rewards that a program's rules pay up the line.

use crate::participant::Grant;
use crate::reward::{WithheldReason, quote};
use crate::rules::{Pay, RewardRule};
use crate::{
    Halt, Participant, ParticipantCommand, ParticipantId, ProgramVersion, PurchaseId,
    ReferralStatus, RewardWithheld, Timestamp, Work, load, tell,
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

/// The result of an occasion.
#[derive(Default)]
pub(super) struct Granted {
    /// How many rewards were granted.
    pub(super) count: usize,
    /// The rewards that were withheld, with who would have earned them.
    pub(super) withheld: Vec<(Option<ParticipantId>, RewardWithheld)>,
}

/// Grants every reward of an occasion that counts. Levels are independent of each other: an earner
/// who gets nothing is skipped, and nothing moves up.
pub(super) fn grant(work: &mut dyn Work, occasion: &Occasion<'_>) -> Result<Granted, Halt> {
    let rules = &occasion.version.rules;
    let mut granted = Granted::default();
    let mut unshared_minor = occasion.purchase.as_ref().map_or(0, |purchase| purchase.amount_minor);
    for Earner { rule, id: earner_id, cut_off } in earners(work, occasion)? {
        let earner = load::<Participant>(work, &earner_id)?;
        let quoted = match cut_off {
            Some(reason) => Err(reason),
            None => quote_for(occasion, rule, &earner, unshared_minor),
        };
        match quoted {
            Ok(quote) => {
                if matches!(rule.pay, Pay::RateBps(_)) {
                    unshared_minor -= quote.amount_minor;
                }
                let grant = Grant {
                    earner_user_id: earner_id.user_id.clone(),
                    program_version: occasion.version.version,
                    unit: rules.unit.clone(),
                    rule: rule.clone(),
                    quote,
                    source_user_id: occasion.source.user_id.clone(),
                    purchase_id: occasion.purchase.as_ref().map(|of| of.purchase_id.clone()),
                    basis_minor: occasion.purchase.as_ref().map(|of| of.amount_minor),
                };
                tell::<Participant>(work, &earner_id, ParticipantCommand::Grant(Box::new(grant)))?;
                granted.count += 1;
            }
            Err(reason) => {
                let limit = rule.cap_minor.filter(|_| reason == WithheldReason::CapReached);
                let withheld = withhold(occasion, Some((rule, &earner_id)), reason, limit, true);
                granted.withheld.push((Some(earner_id), withheld));
            }
        }
    }
    Ok(granted)
}

fn quote_for(
    occasion: &Occasion<'_>,
    rule: &RewardRule,
    earner: &Participant,
    unshared_minor: i64,
) -> Result<crate::reward::Quote, WithheldReason> {
    if !earner.is_active() {
        return Err(WithheldReason::EarnerInactive);
    }
    let dated = occasion.purchase.as_ref().and_then(|purchase| purchase.dated);
    if dated.is_some_and(|dated| earner.reactivate_time().is_some_and(|since| dated < since)) {
        return Err(WithheldReason::BeforeReactivation);
    }
    let basis_minor = occasion.purchase.as_ref().map_or(0, |purchase| purchase.amount_minor);
    quote(rule, earner.level(rule.level), basis_minor, unshared_minor)
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
struct Earner<'a> {
    rule: &'a RewardRule,
    id: ParticipantId,
    /// Why the earner gets nothing: a referral between the source and the earner does not count or is more
    /// recent than the purchase.
    cut_off: Option<WithheldReason>,
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
                cut_off = match referral.status {
                    ReferralStatus::Held | ReferralStatus::Rejected => {
                        Some(WithheldReason::ReferralNotCounted)
                    }
                    _ if dated.is_some_and(|dated| dated < referral.referral_time) => {
                        Some(WithheldReason::BeforeReferral)
                    }
                    _ => None,
                };
            }
            at.user_id = referral.referrer_user_id;
            level += 1;
        }
        earners.push(Earner { rule, id: at.clone(), cut_off });
    }
    Ok(earners)
}

/// Records that a reward is not granted.
fn withhold(
    occasion: &Occasion<'_>,
    earner: Option<(&RewardRule, &ParticipantId)>,
    reason: WithheldReason,
    limit_minor: Option<i64>,
    qualified: bool,
) -> RewardWithheld {
    RewardWithheld {
        program_id: occasion.source.program_id.clone(),
        program_version: occasion.version.version,
        earner_user_id: earner.map(|(_, id)| id.user_id.clone()),
        level: earner.map_or(0, |(rule, _)| rule.level),
        rule: earner.map(|(rule, _)| rule.rule.clone()),
        reason,
        qualified,
        source_user_id: match occasion.purchase {
            Some(_) => None,
            None => Some(occasion.source.user_id.clone()),
        },
        limit_minor,
    }
}
