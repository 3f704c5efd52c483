//! What a participant pays in the store of the program, and gets back.

use serde::{Deserialize, Serialize};

use super::{BalanceSpent, Participant, SpendingReturned};
use crate::ledger::{Bucket, EntryKind, Overflow};
use crate::{ItemId, LotPart, ParticipantId, RedemptionId, Refusal, UserId};

/// What an item costs, to be taken from what is available.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Spend {
    pub id: ParticipantId,
    pub redemption_id: RedemptionId,
    pub item_id: ItemId,
    pub cost_minor: i64,
    pub unit: String,
}

/// What was paid for an item, to be given back to these lots.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct Return {
    pub user_id: UserId,
    pub redemption_id: RedemptionId,
    pub item_id: ItemId,
    pub parts: Vec<LotPart>,
    pub unit: String,
}

/// How many pieces of an item a participant has redeemed and not given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RedeemedItem {
    item_id: ItemId,
    count: u32,
}

impl Participant {
    /// How many pieces of an item the participant has redeemed and not given back.
    #[must_use]
    pub fn redeemed(&self, item_id: &ItemId) -> u32 {
        self.redeemed.iter().find(|of| of.item_id == *item_id).map_or(0, |of| of.count)
    }

    /// Takes over how many there are. Only items of which there are some are kept, and a program has a bounded number.
    pub(super) fn set_redeemed(&mut self, item_id: &ItemId, count: u32) {
        self.redeemed.retain(|of| of.item_id != *item_id);
        if count > 0 {
            self.redeemed.push(RedeemedItem { item_id: item_id.clone(), count });
        }
    }

    /// The parts in which an amount is spent. What is available never falls below zero for it.
    fn parts_of(&self, id: ParticipantId, cost_minor: i64) -> Result<Vec<LotPart>, Refusal> {
        let available_minor = self.buckets().available;
        if available_minor < cost_minor {
            return Err(Refusal::InsufficientBalance { id, available_minor, cost_minor });
        }
        Ok(self.lots().parts_of(cost_minor))
    }

    /// One event for each part that is taken.
    pub(super) fn spend(&self, spend: Spend) -> Result<Vec<BalanceSpent>, Refusal> {
        let Spend { id, redemption_id, item_id, cost_minor, unit } = spend;
        let item_count = self.redeemed(&item_id).saturating_add(1);
        let limit = Refusal::BalanceLimitReached(id.user_id.clone());
        let mut buckets = *self.buckets();
        let events = self.parts_of(id, cost_minor)?.into_iter().map(|part| {
            let amount = part.amount_minor.saturating_neg();
            let posting = buckets.post(EntryKind::Redemption, amount, Bucket::Available, &unit)?;
            buckets = posting.after;
            let posting = posting.in_lot(part.expire_time);
            let (redemption_id, item_id) = (redemption_id.clone(), item_id.clone());
            Ok(BalanceSpent { redemption_id, item_id, item_count, posting })
        });
        events.collect::<Result<_, Overflow>>().map_err(|Overflow| limit)
    }

    /// One event for each part that is given back.
    pub(super) fn give_back(&self, back: Return) -> Result<Vec<SpendingReturned>, Refusal> {
        let Return { user_id, redemption_id, item_id, parts, unit } = back;
        let item_count = self.redeemed(&item_id).saturating_sub(1);
        let mut buckets = *self.buckets();
        let events = parts.into_iter().map(|part| {
            let (kind, to) = (EntryKind::Redemption, Bucket::Available);
            let posting = buckets.post(kind, part.amount_minor, to, &unit)?;
            buckets = posting.after;
            let posting = posting.in_lot(part.expire_time);
            let (redemption_id, item_id) = (redemption_id.clone(), item_id.clone());
            Ok(SpendingReturned { redemption_id, item_id, item_count, posting })
        });
        let limit = |Overflow| Refusal::BalanceLimitReached(user_id);
        events.collect::<Result<_, Overflow>>().map_err(limit)
    }
}
