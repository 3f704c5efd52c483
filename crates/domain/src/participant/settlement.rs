//! What becomes of a reward after it was granted: it is taken back, given back, waits, or waits no longer.

use super::{Participant, RewardMoved, RewardReversed, TierChanged, TierPot};
use crate::ledger::{Bucket, EntryKind, Overflow, Posting};
use crate::lots::{LotPart, Lots, RewardLots};
use crate::rules::{Tier, points_at, tier_index_at};
use crate::{ParticipantEvent, PurchaseCredited, PurchaseId, Refusal, Timestamp, UserId};

/// Which reward it is.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of RewardReversed")]
pub struct RewardRef {
    pub earner_user_id: UserId,
    pub program_version: u32,
    pub unit: String,
    pub rule: String,
    pub level: u32,
    pub source_user_id: UserId,
    pub purchase_id: Option<PurchaseId>,
    pub reward_sequence: i64,
}

/// What is to become of a reward.
#[derive(Clone, Debug)]
pub enum RewardChange {
    /// Another amount of it stands, or another part of it waits.
    Amount {
        /// By how much what stands changes, in minor units.
        change_minor: i64,
        /// By how much what waits changes, in minor units.
        pending_change_minor: i64,
        /// The lots of the reward.
        lots: RewardLots,
    },
    /// It is one of the referrals that tiers go by.
    Tier {
        /// The tiers by which the earner's points stand.
        tiers: Vec<Tier>,
        /// How many referrals they go by now.
        referrals: u32,
        /// Whether the number of referrals has changed, so that the points follow it.
        recounts: bool,
        /// By how much the number changes that open disputes would undo.
        disputed_change: i32,
        /// By how much the rewards change that are held, in minor units.
        held_change_minor: i64,
    },
}

/// What is to become of the credit for a purchase.
#[derive(Clone, Debug)]
pub struct CreditChange {
    /// Whose credit.
    pub user_id: UserId,
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// By how much what stands changes, in minor units.
    pub change_minor: i64,
    /// By how much what waits changes, in minor units.
    pub pending_change_minor: i64,
    /// The program's unit.
    pub unit: String,
    /// What is not available of it before, in minor units.
    pub out_minor: i64,
    /// What of that was taken from lots.
    pub taken: Lots,
    /// The time of the change.
    pub now: Timestamp,
    /// The lot to which goes what was taken from a lot that is over.
    pub present: Option<Timestamp>,
}

/// The points by tier that wait: those that would be taken back if every open dispute were lost, and those held.
pub(super) fn pending_points(tiers: &[Tier], referrals: u32, pot: TierPot, points: i64) -> i64 {
    let undone = points_at(tiers, referrals.saturating_sub(pot.disputed));
    let at_risk = points_at(tiers, referrals).saturating_sub(undone);
    at_risk.saturating_add(pot.held_minor).clamp(0, points.max(0))
}

/// The tier that so many referrals reach, if it is another one.
fn tier_change(participant: &Participant, tiers: &[Tier], referrals: u32) -> Option<TierChanged> {
    let to_tier = &tiers.get(tier_index_at(tiers, referrals)?)?.name;
    let from_tier = participant.tier().or(tiers.first().map(|tier| tier.name.as_str()))?;
    (from_tier != to_tier)
        .then(|| TierChanged { from_tier: from_tier.into(), to_tier: to_tier.clone() })
}

impl Participant {
    /// The events by which a reward becomes what it is to be; none if it is that already.
    pub(super) fn settle(
        &self,
        reward: &RewardRef,
        change: &RewardChange,
    ) -> Result<Vec<ParticipantEvent>, Refusal> {
        match change {
            RewardChange::Amount { change_minor, pending_change_minor, lots } => {
                self.change_amount(reward, (*change_minor, *pending_change_minor), None, *lots)
            }
            RewardChange::Tier {
                tiers,
                referrals,
                recounts,
                disputed_change,
                held_change_minor,
            } => {
                let before = self.tier_pot();
                let pot = TierPot {
                    disputed: before.disputed.saturating_add_signed(*disputed_change),
                    held_minor: before.held_minor.saturating_add(*held_change_minor).max(0),
                };
                let points = self.tier_points();
                let after = if *recounts { points_at(tiers, *referrals) } else { points };
                let pending = pending_points(tiers, *referrals, pot, after);
                let change = after.saturating_sub(points);
                let pending_change = pending.saturating_sub(self.tier_pending_minor());
                let mut events = self.change_amount(
                    reward,
                    (change, pending_change),
                    Some(pot),
                    RewardLots::default(),
                )?;
                if events.is_empty() && pot != before {
                    let posting = self.note(reward)?;
                    events.push(moved(reward, Some(pot), posting).into());
                }
                if *recounts {
                    let tier_changed = tier_change(self, tiers, *referrals);
                    events.extend(tier_changed.map(ParticipantEvent::from));
                }
                Ok(events)
            }
        }
    }

    fn change_amount(
        &self,
        reward: &RewardRef,
        (change_minor, pending_change_minor): (i64, i64),
        tier_pot: Option<TierPot>,
        lots: RewardLots,
    ) -> Result<Vec<ParticipantEvent>, Refusal> {
        let postings = self.buckets().settle(
            EntryKind::Reversal,
            change_minor,
            pending_change_minor,
            &reward.unit,
            lots,
        );
        let postings = postings.map_err(|Overflow| limit(&reward.earner_user_id))?;
        let mut total_minor = self.level(reward.level).total_minor;
        let mut events = Vec::with_capacity(postings.len());
        for posting in postings {
            total_minor = total_minor
                .checked_add(posting.balance_change())
                .ok_or_else(|| limit(&reward.earner_user_id))?;
            events.push(match posting.from {
                Some(_) => moved(reward, tier_pot, posting).into(),
                None => reversed(reward, tier_pot, total_minor, posting).into(),
            });
        }
        Ok(events)
    }

    /// A transfer of nothing.
    fn note(&self, reward: &RewardRef) -> Result<Posting, Refusal> {
        let (from, to) = (Bucket::Available, Bucket::Pending);
        let posting = self.buckets().transfer(0, from, to, &reward.unit);
        posting.map_err(|Overflow| limit(&reward.earner_user_id))
    }

    /// The events by which the credit for a purchase becomes what it is to be: one for each lot that is concerned. What
    /// was credited does not expire, so that lots are only taken from where it was spent.
    pub(super) fn settle_credit(
        &self,
        change: &CreditChange,
    ) -> Result<Vec<PurchaseCredited>, Refusal> {
        let limit = |Overflow| limit(&change.user_id);
        let whole = self.buckets().settle(
            EntryKind::PurchaseCredit,
            change.change_minor,
            change.pending_change_minor,
            &change.unit,
            RewardLots::default(),
        );
        let (mut buckets, mut own_lots) = (*self.buckets(), self.lots().clone());
        let (mut taken, mut out_minor) = (change.taken.clone(), change.out_minor);
        let mut events = Vec::new();
        for posting in whole.map_err(limit)? {
            let (amount, available) = (posting.amount.saturating_abs(), buckets.available);
            let parts = match posting.available_change() {
                ..0 => own_lots.taken_back(amount, available),
                0 => vec![LotPart { amount_minor: amount, expire_time: None }],
                1.. => {
                    let lasting = out_minor - taken.total_minor();
                    let parts = taken.given_back(amount, available, lasting);
                    LotPart::back(&parts, change.now, change.present)
                }
            };
            for part in parts {
                let posting = buckets.part_of(&posting, part).map_err(limit)?;
                own_lots.post(&posting);
                buckets = posting.after;
                out_minor -= posting.available_change();
                taken.note(&posting, out_minor);
                events.push(PurchaseCredited { purchase_id: change.purchase_id.clone(), posting });
            }
        }
        Ok(events)
    }
    /// Takes over what was taken back of a reward, or given back.
    pub(super) fn reverse_reward(&mut self, event: &RewardReversed) {
        let total_minor = event.level_total_minor();
        if let Some(known) = self.levels.iter_mut().find(|of| of.level == event.level) {
            known.total_minor = total_minor;
        }
        if event.tier_pot.is_some() {
            self.tier_points = self.tier_points.saturating_add(event.posting.amount);
        }
        self.move_reward(event.tier_pot, &event.posting);
    }

    /// Takes over what waits of rewards.
    pub(super) fn move_reward(&mut self, tier_pot: Option<TierPot>, posting: &Posting) {
        if let Some(tier_pot) = tier_pot {
            self.tier_pot = tier_pot;
            let change = posting.pending_change();
            self.tier_pending_minor = self.tier_pending_minor.saturating_add(change);
        }
        self.post(posting);
    }
}

fn limit(user_id: &UserId) -> Refusal {
    Refusal::BalanceLimitReached(user_id.clone())
}

fn reversed(
    reward: &RewardRef,
    tier_pot: Option<TierPot>,
    total_minor: i64,
    posting: Posting,
) -> RewardReversed {
    RewardReversed {
        program_version: reward.program_version,
        rule: reward.rule.clone(),
        level: reward.level,
        source_user_id: reward.source_user_id.clone(),
        purchase_id: reward.purchase_id.clone(),
        reward_sequence: reward.reward_sequence,
        level_total_minor: Some(total_minor).filter(|of| *of != posting.after.net_earned()),
        tier_pot,
        posting,
    }
}

fn moved(reward: &RewardRef, tier_pot: Option<TierPot>, posting: Posting) -> RewardMoved {
    RewardMoved {
        program_version: reward.program_version,
        rule: reward.rule.clone(),
        level: reward.level,
        source_user_id: reward.source_user_id.clone(),
        purchase_id: reward.purchase_id.clone(),
        reward_sequence: Some(reward.reward_sequence),
        tier_pot,
        posting,
    }
}
