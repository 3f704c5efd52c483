//! `RewardService`: what participants have, have earned, and earn.

mod reads;
mod streams;
mod watch;

use std::sync::Arc;

use crate::api::errors::{ApiError, internal};
use crate::api::responses::{count, money, reward, time};
use crate::api::{Context, pb};
use crate::engine::query::query;
use crate::read::{Page, Standing};
use domain::decide::existing_program;
use domain::rules::ProgramRules;
use domain::{ParticipantEvent, Program, ProgramId, Timestamp, load};

pub(super) struct Handlers(pub(super) Context);

impl Handlers {
    /// The rules of a program that are in force now, or were at a moment.
    async fn rules(
        &self,
        program_id: &ProgramId,
        moment: Option<Timestamp>,
    ) -> Result<Arc<ProgramRules>, ApiError> {
        let rules = query(&self.0.database, &self.0.environment, |work| {
            existing_program(work, program_id)?;
            let program = load::<Program>(work, program_id)?;
            let version = match moment {
                Some(moment) => program.in_force_at(moment),
                None => program.current(),
            };
            Ok(version.map(|version| version.rules.clone()))
        })
        .await?;
        rules.ok_or_else(|| internal().into())
    }
}

fn rewards(page: &Page) -> Vec<pb::Reward> {
    let reward = |(event, at): &(ParticipantEvent, Timestamp)| match event {
        ParticipantEvent::RewardGranted(granted) => Some(reward(granted, *at)),
        _ => None,
    };
    page.entries.iter().filter_map(reward).collect()
}

fn entry(event: &ParticipantEvent, recorded_at: Timestamp) -> Option<pb::BalanceEntry> {
    let create_time = Some(time(recorded_at));
    match event {
        ParticipantEvent::RewardGranted(granted) => Some(pb::BalanceEntry {
            amount: Some(money(&granted.currency_code, granted.amount_minor)),
            balance: Some(money(&granted.currency_code, granted.balance_minor)),
            reward: Some(reward(granted, recorded_at)),
            purchase_id: granted.purchase_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            create_time,
        }),
        ParticipantEvent::PurchaseCredited(credited) => Some(pb::BalanceEntry {
            amount: Some(money(&credited.currency_code, credited.amount_minor)),
            balance: Some(money(&credited.currency_code, credited.balance_minor)),
            reward: None,
            purchase_id: credited.purchase_id.to_string(),
            create_time,
        }),
        _ => None,
    }
}

/// The tier of somebody, and what the next one takes. Tiers go by the referrals that were rewarded.
fn tier(standing: &Standing, rules: &ProgramRules) -> pb::GetTierResponse {
    let rewarded = rules.tier_rule().map(|(rule, _)| standing.level(rule.level).count);
    let tiers = rules.tier_standing(standing.tier.as_deref(), rewarded.unwrap_or_default());
    let next = tiers.and_then(|tiers| tiers.next);
    pb::GetTierResponse {
        tier: tiers.map(|tiers| tiers.tier.into()).unwrap_or_default(),
        referral_count: count(rewarded.unwrap_or(standing.referral_count)),
        points: standing.earned_minor,
        next_tier: next.map(|(tier, _)| tier.into()).unwrap_or_default(),
        referrals_to_next_tier: next.map(|(_, referrals)| count(referrals)).unwrap_or_default(),
        position: 0,
    }
}

/// Every level that the rules pay, and every one that ever paid.
fn by_level(standing: &Standing, rules: &ProgramRules) -> Vec<pb::LevelEarnings> {
    let mut levels: Vec<u32> = rules.rewards.iter().map(|rule| rule.level).collect();
    levels.extend(standing.levels.iter().map(|total| total.level));
    levels.sort_unstable();
    levels.dedup();
    levels
        .into_iter()
        .map(|level| {
            let total = standing.level(level);
            let rule = rules.rewards.iter().find(|rule| rule.level == level);
            let cap = rule.and_then(|rule| rule.cap_minor);
            pb::LevelEarnings {
                level: count(level),
                total: Some(money(&rules.unit, total.total_minor)),
                count: count(total.count),
                cap: cap.map(|cap| money(&rules.unit, cap)),
                remaining: cap.map(|cap| money(&rules.unit, (cap - total.total_minor).max(0))),
            }
        })
        .collect()
}
