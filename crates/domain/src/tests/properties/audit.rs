//! The log, evaluated event by event without the aggregates.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::rules::{EarnOn, ProgramRules, RewardRule};
use crate::tests::memory_work::Memory;
use crate::{
    Participant, ParticipantEvent, ParticipantId, PayoutPaid, PayoutReturned, Program,
    ProgramEvent, Purchase, PurchaseEvent, PurchaseId, PurchaseRecorded, ReferralStatus, Stream,
    Timestamp, UserId,
};

#[derive(Debug, Default)]
pub struct Ledger {
    pub levels: BTreeMap<u32, (i64, u32)>,
    pub rewards: i64,
    pub balance: i64,
    pub uses: u32,
    pub conversions: u32,
    pub referral: Option<(UserId, Timestamp)>,
    pub status: Option<ReferralStatus>,
    pub inactive: bool,
    pub reactivated: Option<Timestamp>,
}

#[derive(Default)]
pub struct Audit {
    pub versions: Vec<Arc<ProgramRules>>,
    pub ledgers: HashMap<UserId, Ledger>,
    pub purchases: HashMap<PurchaseId, PurchaseRecorded>,
    pub shared: HashMap<PurchaseId, i64>,
    /// The purchases that earned a reward.
    pub earning: HashSet<PurchaseId>,
    /// The purchases of each buyer that earned as their first.
    pub first_purchases: HashMap<UserId, HashSet<PurchaseId>>,
}

impl Audit {
    /// Reads the log and calls `look` before each event of a participant is applied.
    pub fn of(memory: &Memory, mut look: impl FnMut(&Self, &UserId, &ParticipantEvent)) -> Self {
        let mut audit = Self::default();
        for logged in memory.log() {
            let event = &logged.event;
            match Program::event_ref(event) {
                Some(ProgramEvent::ProgramPublished(published)) => {
                    audit.versions.push(published.rules.clone());
                }
                None => {}
            }
            if let Some(PurchaseEvent::PurchaseRecorded(purchase)) = Purchase::event_ref(event) {
                let purchase_id = PurchaseId::parse(&logged.key.id).unwrap();
                audit.purchases.insert(purchase_id, purchase.clone());
            }
            if let Some(event) = Participant::event_ref(event) {
                let id = ParticipantId::parse(&logged.key.id).unwrap();
                look(&audit, &id.user_id, event);
                audit.enter(id.user_id, event);
            }
        }
        audit
    }

    pub fn version(&self, version: u32) -> &ProgramRules {
        &self.versions[version as usize - 1]
    }

    pub fn rule(&self, version: u32, level: u32) -> &RewardRule {
        let rules = &self.version(version).rewards;
        rules.iter().find(|rule| rule.level == level).unwrap()
    }

    /// The referrals that lead from `from` to the earner on `level`.
    pub fn line(&self, from: &UserId, level: u32) -> Vec<(UserId, Timestamp)> {
        let mut line = Vec::new();
        let mut at = from.clone();
        for _ in 0..level {
            let (referrer, time) = self.ledgers[&at].referral.clone().unwrap();
            at = referrer.clone();
            line.push((referrer, time));
        }
        line
    }

    fn enter(&mut self, user_id: UserId, event: &ParticipantEvent) {
        let ledger = self.ledgers.entry(user_id).or_default();
        match event {
            ParticipantEvent::ReferralApplied(applied) => {
                ledger.referral =
                    Some((applied.referrer_user_id.clone(), applied.referral_time_us));
                ledger.status = Some(applied.status);
            }
            ParticipantEvent::ReferralStandingChanged(changed) => {
                ledger.status = Some(changed.status);
            }
            ParticipantEvent::ReferralMade(made) => {
                ledger.uses += u32::from(made.status != ReferralStatus::Rejected);
            }
            ParticipantEvent::ReferralUpdated(updated) => {
                ledger.uses -= u32::from(updated.status == ReferralStatus::Rejected);
                ledger.uses += u32::from(updated.previous_status == ReferralStatus::Rejected);
            }
            ParticipantEvent::ReferralConverted(_) => {
                ledger.conversions += 1;
                ledger.status = Some(ReferralStatus::Converted);
            }
            ParticipantEvent::PurchaseCredited(credited) => {
                ledger.balance += credited.posting.amount;
            }
            ParticipantEvent::RewardGranted(granted) => {
                let level = ledger.levels.entry(granted.level).or_default();
                *level = (level.0 + granted.posting.amount, level.1 + 1);
                ledger.rewards += granted.posting.amount;
                ledger.balance += granted.posting.amount;
                if let Some(purchase_id) = &granted.purchase_id {
                    self.earning.insert(purchase_id.clone());
                    if granted.rate_bps.is_some() {
                        *self.shared.entry(purchase_id.clone()).or_default() +=
                            granted.posting.amount;
                    }
                    let earn_on = self.versions[granted.program_version as usize - 1].earn_on;
                    if matches!(earn_on, EarnOn::FirstPurchase { .. }) {
                        let firsts =
                            self.first_purchases.entry(granted.source_user_id.clone()).or_default();
                        firsts.insert(purchase_id.clone());
                    }
                }
            }
            ParticipantEvent::BalanceAdjusted(adjusted) => {
                ledger.balance += adjusted.posting.amount;
            }
            ParticipantEvent::BalanceExpired(expired) => {
                ledger.balance += expired.posting.amount;
            }
            ParticipantEvent::BalanceForfeited(forfeited) => {
                ledger.balance += forfeited.posting.amount;
            }
            ParticipantEvent::PayoutPaid(PayoutPaid { posting, .. })
            | ParticipantEvent::PayoutReturned(PayoutReturned { posting, .. }) => {
                ledger.balance += posting.amount;
            }
            ParticipantEvent::BalanceSpent(spent) => ledger.balance += spent.posting.amount,
            ParticipantEvent::SpendingReturned(back) => ledger.balance += back.posting.amount,
            ParticipantEvent::ParticipantDeactivated(_)
            | ParticipantEvent::ParticipantErased(_) => {
                ledger.inactive = true;
            }
            ParticipantEvent::ParticipantReactivated(reactivated) => {
                ledger.inactive = false;
                ledger.reactivated = Some(reactivated.reactivate_time_us);
            }
            ParticipantEvent::ParticipantEnrolled(_)
            | ParticipantEvent::FirstPurchaseUsed(_)
            | ParticipantEvent::FirstPurchaseFreed(_)
            | ParticipantEvent::PurchaseReinstated(_)
            | ParticipantEvent::ReferralUnconverted(_)
            | ParticipantEvent::ReferralRewardsChanged(_)
            | ParticipantEvent::RewardReversed(_)
            | ParticipantEvent::RewardMoved(_)
            | ParticipantEvent::RewardWithheld(_)
            | ParticipantEvent::RefereeAddressChanged(_)
            | ParticipantEvent::TierChanged(_)
            | ParticipantEvent::PayoutReserved(_)
            | ParticipantEvent::PayoutReleased(_) => {}
        }
    }
}
