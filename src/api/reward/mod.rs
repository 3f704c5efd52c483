//! `RewardService`: balances, earnings, tiers and rewards of participants.

mod adjustments;
mod holds;
mod participant;
mod reads;
mod seen_tiers;
mod series;
mod statement;
mod streams;
mod watch;

use std::sync::Arc;

use crate::api::errors::{ApiError, internal};
use crate::api::permissions::{Callers, InPrograms, Rule, Subject, row};
use crate::api::responses::{bucket, count, entry_kind, money, reward, time};
use crate::api::{Context, pb};
use crate::engine::query::query;
use crate::read::{Entry, Page, Standing};
use crate::store::RecordedEvent;
use domain::decide::existing_program;
use domain::rules::ProgramRules;
use domain::{Program, ProgramId, Timestamp, load};

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::{Operators, SignedIn};
    use Subject::{None, User, UserOrEverybody};
    &[
        row("RewardService", "GetBalances", SignedIn, User("user_id")),
        row("RewardService", "ListBalanceEntries", SignedIn, User("user_id")),
        row("RewardService", "GetStatement", SignedIn, User("user_id")),
        row("RewardService", "ListExpirations", SignedIn, User("user_id")),
        row("RewardService", "GetTier", SignedIn, User("user_id")),
        row("RewardService", "MarkTierSeen", SignedIn, User("user_id")),
        row("RewardService", "GetEarnings", SignedIn, User("user_id")),
        row("RewardService", "GetEarningsSeries", SignedIn, User("user_id")),
        row("RewardService", "ListRewards", SignedIn, User("user_id")),
        row("RewardService", "ListWithheldRewards", SignedIn, User("user_id")),
        row("RewardService", "WatchEarnings", SignedIn, User("user_id")),
        row("RewardService", "WatchBalances", SignedIn, User("user_id")),
        row("RewardService", "WatchTier", SignedIn, User("user_id")),
        row("RewardService", "WatchParticipant", SignedIn, User("user_id")),
        Rule {
            in_programs: InPrograms::Judged,
            ..row("RewardService", "HoldReward", Operators, None)
        },
        Rule {
            in_programs: InPrograms::Judged,
            ..row("RewardService", "ReleaseReward", Operators, None)
        },
        row("RewardService", "AdjustBalance", Operators, User("user_id")),
        row("RewardService", "ListApprovals", Operators, UserOrEverybody("user_id", Operators)),
        Rule {
            in_programs: InPrograms::Judged,
            ..row("RewardService", "Approve", Operators, None)
        },
        Rule {
            in_programs: InPrograms::Judged,
            ..row("RewardService", "Decline", Operators, None)
        },
    ]
};

pub(super) struct Handlers(pub(super) Context);

impl Handlers {
    /// The rules of a program that are in force now, or were in force at a moment.
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
    let reward_of = |entry: &Entry| Some(reward(&entry.event, entry.reward.as_ref()?));
    page.entries.iter().filter_map(reward_of).collect()
}

/// The entries that a command posted.
pub(super) fn entries(events: &[RecordedEvent]) -> Result<Vec<pb::BalanceEntry>, ApiError> {
    let mut entries = Vec::new();
    for event in events {
        entries.extend(Entry::read(event.clone())?.as_ref().map(entry));
    }
    Ok(entries)
}

/// An entry of any kind: money that moved.
pub(super) fn entry(entry: &Entry) -> pb::BalanceEntry {
    let Entry {
        event,
        posting,
        purchase_id,
        adjustment,
        redemption_id,
        payout_id,
        reward: granted,
    } = entry;
    let (adjustment_id, reason_code) = adjustment.clone().unwrap_or_default();
    pb::BalanceEntry {
        entry_id: event.entry_id(),
        kind: entry_kind(posting.kind).into(),
        amount: Some(money(&posting.unit, posting.amount)),
        balance: Some(money(&posting.unit, posting.after.balance())),
        reward: granted.as_ref().map(|granted| reward(event, granted)),
        purchase_id: purchase_id.clone().unwrap_or_default(),
        create_time: Some(time(event.recorded_at)),
        adjustment_id,
        reason_code,
        payout_id: payout_id.clone().unwrap_or_default(),
        bucket: bucket(posting.to).into(),
        from_bucket: posting.from.map(bucket).unwrap_or_default().into(),
        expire_time: posting.expire_time_us.map(time),
        redemption_id: redemption_id.clone().unwrap_or_default(),
        note: String::new(),
    }
}

/// A participant's tier, and what the next one requires.
fn tier(standing: &Standing, rules: &ProgramRules) -> pb::GetTierResponse {
    let tier_referrals = standing.tier_referrals.under(rules.earn_on);
    let tiers = rules.tier_standing(standing.tier.as_deref(), tier_referrals);
    let next = tiers.and_then(|tiers| tiers.next);
    pb::GetTierResponse {
        tier: tiers.map(|tiers| tiers.tier.into()).unwrap_or_default(),
        referral_count: count(standing.referral_count),
        tier_referral_count: tiers.map(|_| count(tier_referrals)).unwrap_or_default(),
        points: standing.earned_minor,
        next_tier: next.map(|(tier, _)| tier.into()).unwrap_or_default(),
        referrals_to_next_tier: next.map(|(_, referrals)| count(referrals)).unwrap_or_default(),
        position: 0,
        unseen_tier: String::new(),
    }
}

/// Every level that the rules pay, and every level that ever paid.
fn paid_levels(standing: &Standing, rules: &ProgramRules) -> Vec<u32> {
    let mut levels: Vec<u32> = rules.rewards.iter().map(|rule| rule.level).collect();
    levels.extend(standing.levels.iter().map(|total| total.level));
    levels.sort_unstable();
    levels.dedup();
    levels
}

fn by_level(standing: &Standing, rules: &ProgramRules) -> Vec<pb::LevelEarnings> {
    paid_levels(standing, rules)
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
