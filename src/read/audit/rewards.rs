//! Rewards and credits for purchases, each with what became of it.

use std::sync::Arc;

use super::Audit;
use crate::store::RecordedEvent;
use domain::{Posting, PurchaseCredited, RewardGranted, RewardMoved, RewardReversed};

/// What is left of a reward, in minor units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    granted: i64,
    left: i64,
    pending: i64,
}

impl Standing {
    fn of(granted: i64, pending: i64) -> Self {
        Self { granted, left: granted, pending }
    }

    /// Whether no more was reversed than granted, and no more is pending than is left.
    fn is_possible(&self) -> bool {
        (0..=self.granted).contains(&self.left) && (0..=self.left).contains(&self.pending)
    }
}

/// What became of the credit for a purchase.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Credit {
    deducted_minor: i64,
    pending_minor: i64,
}

impl Audit {
    /// Audits a reward: its level's total must follow and stay within its cap, and no purchase pays a level twice.
    pub(super) fn enter_reward(&mut self, event: &RecordedEvent, granted: &RewardGranted) {
        let (amount, level) = (granted.posting.amount, granted.level);
        let (level_total, computed) = (granted.level_total_minor(), granted.computed_minor());
        let account = self.account(event);
        let place = account.levels.iter().position(|known| known.0 == level);
        let place = place.unwrap_or_else(|| {
            account.levels.push((level, 0, 0));
            account.levels.len() - 1
        });
        let pending = granted.posting.pending_change();
        let reward = if granted.tier_referrals.is_some() {
            account.tier_minor += amount;
            account.tier_pending_minor += pending;
            None
        } else {
            let sequence = u32::try_from(event.sequence).unwrap_or(u32::MAX);
            Some(((account.number, sequence), Standing::of(amount, pending)))
        };
        let before = account.levels[place].1;
        account.levels[place].1 += amount;
        account.levels[place].2 += 1;
        let (_, total, count) = account.levels[place];
        self.rewards.extend(reward);
        self.unless((total, count) == (level_total, granted.level_count), event, || {
            format!(
                "level {level} is said to come to {level_total} by {} rewards, but comes to {total} by {count}",
                granted.level_count
            )
        });
        self.unless((0..=computed).contains(&amount), event, || {
            format!("{amount} granted of {computed} computed")
        });
        let rules = self.rules(event, Some(granted.program_version));
        let rule = rules.as_ref().and_then(|rules| {
            rules.rewards.iter().find(|rule| rule.rule == granted.rule && rule.level == level)
        });
        self.unless(rule.is_some(), event, || {
            format!("version {} has no rule '{}'", granted.program_version, granted.rule)
        });
        let cap = rule.and_then(|rule| rule.cap_minor);
        self.unless(cap.is_none_or(|cap| total <= cap), event, || {
            format!("level {level} comes to {total}, above its cap of {}", cap.unwrap_or_default())
        });
        let left = cap.map(|cap| cap - before);
        self.unless(granted.cap_remaining_minor == left, event, || {
            format!(
                "{:?} is said to be left under the cap, but {left:?} is",
                granted.cap_remaining_minor
            )
        });
        if let Some(purchase_id) = &granted.purchase_id {
            self.unless(self.rewarded.as_ref() == Some(purchase_id), event, || {
                format!("purchase {purchase_id} is not of the same command")
            });
            let paid = (event.stream.id.clone(), level);
            self.unless(!self.paid.contains(&paid), event, || {
                format!("purchase {purchase_id} pays level {level} twice")
            });
            self.paid.push(paid);
        }
    }

    /// Audits a reward that is taken back or given back: the level's total must follow, and stay within its cap.
    pub(super) fn enter_reversal(&mut self, event: &RecordedEvent, reversed: &RewardReversed) {
        let (amount, level) = (reversed.posting.amount, reversed.level);
        let sequence = Some(reversed.reward_sequence);
        self.enter_change(event, sequence, reversed.tier_pot.is_some(), &reversed.posting);
        let account = self.account(event);
        let known = account.levels.iter_mut().find(|known| known.0 == level);
        let total = known.map(|known| {
            known.1 += amount;
            known.1
        });
        self.unless(total == Some(reversed.level_total_minor()), event, || {
            format!(
                "level {level} is said to come to {}, but comes to {total:?}",
                reversed.level_total_minor()
            )
        });
        let rules = self.rules(event, Some(reversed.program_version));
        let cap = rules
            .as_ref()
            .and_then(|rules| rules.rewards.iter().find(|rule| rule.level == level)?.cap_minor);
        let is_within = cap.zip(total).is_none_or(|(cap, total)| amount <= 0 || total <= cap);
        self.unless(is_within, event, || {
            format!("what is given back brings level {level} to {total:?}, above its cap {cap:?}")
        });
    }

    /// Audits a part of a reward that waits from now on, or waits no longer.
    pub(super) fn enter_move(&mut self, event: &RecordedEvent, moved: &RewardMoved) {
        let is_by_tier = moved.tier_pot.is_some();
        self.enter_change(event, moved.reward_sequence, is_by_tier, &moved.posting);
    }

    /// No more of a reward is reversed than was granted, and no more of it pending than is left. Points by tier go by
    /// the formula and wait together, so that both is true of all of them.
    fn enter_change(
        &mut self,
        event: &RecordedEvent,
        sequence: Option<i64>,
        is_by_tier: bool,
        posting: &Posting,
    ) {
        let (change, pending_change) = (posting.balance_change(), posting.pending_change());
        let account = self.account(event);
        if is_by_tier {
            account.tier_minor += change;
            account.tier_pending_minor += pending_change;
            let (points, pending) = (account.tier_minor, account.tier_pending_minor);
            self.unless(points >= 0 && (0..=points).contains(&pending), event, || {
                format!("{pending} of {points} points by tier are pending")
            });
            return;
        }
        let sequence = sequence.and_then(|sequence| u32::try_from(sequence).ok());
        let number = account.number;
        let reward = sequence.and_then(|sequence| self.rewards.get_mut(&(number, sequence)));
        let standing = reward.map(|reward| {
            reward.left += change;
            reward.pending += pending_change;
            *reward
        });
        self.unless(standing.is_some_and(|standing| standing.is_possible()), event, || {
            format!("what becomes of reward {sequence:?} is {standing:?}")
        });
    }

    /// A purchase is credited once, in the command that records it. What is given back later was deducted before.
    pub(super) fn enter_credit(&mut self, event: &RecordedEvent, credited: &PurchaseCredited) {
        let posting = &credited.posting;
        let change = posting.balance_change();
        if change > 0 && self.recorded.as_ref() == Some(&credited.purchase_id) {
            let number = self.account(event).number;
            let is_first = !self.credited.contains(&number);
            self.credited.push(number);
            self.unless(is_first, event, || {
                format!("purchase {} is credited twice", credited.purchase_id)
            });
            return;
        }
        let number = self.account(event).number;
        let purchase_id: Arc<str> = credited.purchase_id.as_str().into();
        let credit = self.credits.entry((number, purchase_id)).or_default();
        credit.deducted_minor -= change;
        credit.pending_minor += posting.pending_change();
        let credit = *credit;
        self.unless(credit.deducted_minor >= 0 && credit.pending_minor >= 0, event, || {
            format!("purchase {} is credited in another command: {credit:?}", credited.purchase_id)
        });
    }
}
