//! What has become of rewards since they were granted: it stands with the purchase or the referral that earned them.

use super::Context;
use super::errors::ApiError;
use super::pb;
use super::responses::money;
use crate::access::Principal;
use crate::engine::query::{QueryError, query};
use crate::store::{StoreError, in_time, notes};
use domain::rules::Pay;
use domain::{
    DecodeError, Halt, NoteSubject, Participant, ParticipantId, Program, Purchase, PurchaseId,
    RewardShare, Work, each, load,
};

/// How a reward stands.
#[derive(Default)]
struct State {
    reversed_minor: i64,
    pending_minor: i64,
    reasons: Vec<pb::RewardHoldReason>,
}

/// A reward, and where what becomes of it is recorded.
struct Named {
    earner: ParticipantId,
    level: u32,
    version: u32,
    /// Whose purchase or referral earned it.
    source: ParticipantId,
    purchase_id: Option<PurchaseId>,
}

impl Named {
    fn of(reward: &pb::Reward) -> Option<Self> {
        let participant =
            |user_id: &str| ParticipantId::parse(&format!("{}/{user_id}", reward.program_id));
        Some(Self {
            earner: participant(&reward.earner_user_id)?,
            level: u32::try_from(reward.level).ok()?,
            version: u32::try_from(reward.program_version).ok()?,
            source: participant(&reward.source_user_id)?,
            purchase_id: PurchaseId::parse(&reward.purchase_id).ok(),
        })
    }

    fn is(&self, share: &RewardShare) -> bool {
        share.level == self.level && share.earner_user_id == self.earner.user_id
    }

    /// How it stands at present; `None` if that is not known of it.
    fn state(&self, work: &mut dyn Work) -> Result<Option<State>, Halt> {
        let (share, is_at_risk) = if let Some(purchase_id) = &self.purchase_id {
            let purchase = load::<Purchase>(work, purchase_id)?;
            let outcome = purchase.outcome_in(&self.earner.program_id);
            let share = outcome.and_then(|outcome| outcome.reward_on(self.level)).cloned();
            (share, self.is_at_risk(work, &purchase)?)
        } else {
            let referee = load::<Participant>(work, &self.source)?;
            let rewards = referee.referral().map(|referral| referral.rewards.iter());
            (rewards.and_then(|mut rewards| rewards.find(|of| self.is(of))).cloned(), false)
        };
        let Some(share) = share.filter(|share| self.is(share)) else { return Ok(None) };
        // The account of somebody who was erased is closed: nothing in it waits any more.
        let is_closed = load::<Participant>(work, &self.earner)?.is_erased();
        let reasons = [
            (share.release_time.is_some(), pb::RewardHoldReason::HoldPeriod),
            (share.is_held, pb::RewardHoldReason::Operator),
            (is_at_risk, pb::RewardHoldReason::Dispute),
        ];
        let reasons = reasons.into_iter().filter(|(holds, _)| *holds && !is_closed);
        Ok(Some(State {
            reversed_minor: share.reversed_minor,
            pending_minor: if is_closed { 0 } else { share.pending_minor },
            reasons: reasons.map(|(_, reason)| reason).collect(),
        }))
    }

    /// Whether open disputes about its purchase would take it back, or a part of it.
    fn is_at_risk(&self, work: &mut dyn Work, purchase: &Purchase) -> Result<bool, Halt> {
        let terms = purchase.terms();
        if terms.at_risk_minor <= terms.refunded_minor {
            return Ok(false);
        }
        let program = load::<Program>(work, &self.earner.program_id)?;
        let rules = program.version(self.version).map(|version| &version.rules);
        let share = purchase.outcome_in(&self.earner.program_id);
        let share = share.and_then(|outcome| outcome.reward_on(self.level));
        let rule = rules.and_then(|rules| rules.rewards.iter().find(|of| of.level == self.level));
        let (Some(rules), Some(rule), Some(share)) = (rules, rule, share) else { return Ok(false) };
        let terms = terms.under(rules);
        Ok(match rule.pay {
            Pay::Tiers(_) => {
                terms.qualifies(terms.refunded_minor) && !terms.qualifies(terms.at_risk_minor)
            }
            Pay::FlatMinor(_) | Pay::RateBps(_) | Pay::Count => {
                terms.puts_at_risk(&rule.pay, share.amount_minor)
            }
        })
    }
}

/// Completes rewards with what has become of them.
pub(super) async fn complete<'a>(
    context: &Context,
    rewards: impl Iterator<Item = &'a mut pb::Reward>,
) -> Result<(), ApiError> {
    let named = rewards.filter_map(|reward| Some((Named::of(reward)?, reward)));
    let (named, rewards): (Vec<_>, Vec<_>) = named.unzip();
    if named.is_empty() {
        return Ok(());
    }
    let found = query(&context.database, &context.environment, |work| {
        let mut states = Vec::with_capacity(named.len());
        each(&named, |of| {
            states.push(of.state(work)?);
            Ok(())
        })?;
        Ok(states)
    });
    let states = match found.await {
        // Something that only a newer release knows stands with one of them.
        Err(QueryError::Store(StoreError::Unreadable {
            source: DecodeError::UnknownType(_),
            ..
        })) => return Ok(()),
        found => found?,
    };
    for (reward, state) in rewards.into_iter().zip(states) {
        let Some(State { reversed_minor, pending_minor, reasons }) = state else { continue };
        let unit = reward.amount.as_ref().map(|amount| amount.currency_code.clone());
        let unit = unit.unwrap_or_default();
        let present = |minor: i64| (minor != 0).then(|| money(&unit, minor));
        reward.reversed = present(reversed_minor);
        reward.pending = present(pending_minor);
        reward.hold_reasons = reasons.into_iter().map(Into::into).collect();
    }
    Ok(())
}

/// Adds to rewards what operators wrote about holding them, for callers who are operators.
pub(super) async fn add_notes<'a>(
    context: &Context,
    principal: &Principal,
    rewards: impl Iterator<Item = &'a mut pb::Reward>,
) -> Result<(), ApiError> {
    if !principal.is_operator() {
        return Ok(());
    }
    let rewards: Vec<_> = rewards.collect();
    let ids: Vec<&str> = rewards.iter().map(|reward| &*reward.reward_id).collect();
    let notes = notes::latest(context.database.pool(), NoteSubject::RewardHold, &ids);
    let mut notes = in_time(notes).await?;
    for reward in rewards {
        reward.hold_note = notes.remove(&reward.reward_id).unwrap_or_default();
    }
    Ok(())
}
