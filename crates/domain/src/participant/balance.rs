//! What changes the balance of a participant beside rewards and spending.

use cqrs_es::event_sink::EventSink;

use super::{
    Adjustment, BalanceAdjusted, BalanceExpired, BalanceForfeited, Participant, PurchaseCredited,
};
use crate::ledger::{Bucket, EntryKind, Overflow};
use crate::{PurchaseId, Refusal, Timestamp, UserId};

impl Participant {
    /// Forfeits every part of the balance that is above zero.
    pub(super) async fn write_forfeits(
        &mut self,
        user_id: &UserId,
        unit: &str,
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        for bucket in Bucket::ALL {
            if self.buckets.part(bucket) > 0 {
                let forfeited = self.forfeit(bucket, user_id, unit)?;
                sink.write(forfeited.into(), self).await;
            }
        }
        Ok(())
    }

    pub(super) fn credit(
        &self,
        user_id: UserId,
        purchase_id: PurchaseId,
        amount_minor: i64,
        unit: &str,
    ) -> Result<PurchaseCredited, Refusal> {
        let posting =
            self.buckets.post(EntryKind::PurchaseCredit, amount_minor, Bucket::Available, unit);
        let posting = posting.map_err(|Overflow| Refusal::BalanceLimitReached(user_id))?;
        Ok(PurchaseCredited { purchase_id, posting })
    }

    pub(super) fn adjust(&self, adjustment: Adjustment) -> Result<BalanceAdjusted, Refusal> {
        let Adjustment { user_id, adjustment_id, reason_code, amount_minor, unit } = adjustment;
        let kind = EntryKind::Adjustment;
        let posting = self.buckets.post(kind, amount_minor, Bucket::Available, &unit);
        let posting = posting.map_err(|Overflow| Refusal::BalanceLimitReached(user_id))?;
        Ok(BalanceAdjusted { adjustment_id, reason_code, posting })
    }

    pub(super) fn forfeit(
        &self,
        bucket: Bucket,
        user_id: &UserId,
        unit: &str,
    ) -> Result<BalanceForfeited, Refusal> {
        let amount = -self.buckets.part(bucket);
        let posting = self.buckets.post(EntryKind::Expiry, amount, bucket, unit);
        let posting = posting.map_err(|Overflow| Refusal::BalanceLimitReached(user_id.clone()))?;
        Ok(BalanceForfeited { posting })
    }

    /// One event for each lot whose time has come.
    pub(super) fn expire(
        &self,
        user_id: &UserId,
        unit: &str,
        now: Timestamp,
    ) -> Result<Vec<BalanceExpired>, Refusal> {
        let mut buckets = self.buckets;
        let expired = self.lots.due(now).map(|lot| {
            let (kind, to) = (EntryKind::Expiry, Bucket::Available);
            let posting = buckets.post(kind, -lot.amount_minor, to, unit)?;
            buckets = posting.after;
            Ok(BalanceExpired { posting: posting.in_lot(Some(lot.expire_time)) })
        });
        let expired: Result<_, Overflow> = expired.collect();
        expired.map_err(|Overflow| Refusal::BalanceLimitReached(user_id.clone()))
    }
}
