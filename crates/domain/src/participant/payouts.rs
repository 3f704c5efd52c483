//! What payouts do with a participant's money.

use super::{
    Participant, ParticipantEvent, PayoutPaid, PayoutReleased, PayoutReserved, PayoutReturned,
};
use crate::ledger::{Bucket, Buckets, EntryKind, Overflow, Posting};
use crate::{LotPart, PayoutId, Refusal, UserId};

/// What a payout does with a participant's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayoutStep {
    /// It is set aside.
    Reserve,
    /// It was paid.
    Pay,
    /// It was not paid.
    Release,
    /// It was paid, and came back.
    Return,
}

/// A step of a payout.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct PayoutMove {
    pub user_id: UserId,
    pub payout_id: PayoutId,
    pub step: PayoutStep,
    /// The amounts, above zero, with the lots that they are taken from or go to.
    pub parts: Vec<LotPart>,
    pub unit: String,
}

impl Participant {
    /// One event for each part that moves.
    pub(super) fn move_for_payout(&self, of: PayoutMove) -> Result<Vec<ParticipantEvent>, Refusal> {
        let PayoutMove { user_id, payout_id, step, parts, unit } = of;
        let mut buckets = *self.buckets();
        let events = parts.into_iter().map(|part| {
            let posting = step.posting(&buckets, part.amount_minor, &unit)?;
            let posting = posting.in_lot(part.expire_time);
            buckets = posting.after;
            Ok(step.event(payout_id.clone(), posting))
        });
        events
            .collect::<Result<_, Overflow>>()
            .map_err(|Overflow| Refusal::BalanceLimitReached(user_id))
    }
}

impl PayoutStep {
    fn posting(
        self,
        buckets: &Buckets,
        amount_minor: i64,
        unit: &str,
    ) -> Result<Posting, Overflow> {
        let kind = EntryKind::Payout;
        let (available, reserved) = (Bucket::Available, Bucket::Reserved);
        match self {
            Self::Reserve => buckets.transfer(amount_minor, available, reserved, unit),
            Self::Pay => buckets.post(kind, amount_minor.saturating_neg(), reserved, unit),
            Self::Release => buckets.transfer(amount_minor, reserved, available, unit),
            Self::Return => buckets.post(kind, amount_minor, available, unit),
        }
    }

    fn event(self, payout_id: PayoutId, posting: Posting) -> ParticipantEvent {
        match self {
            Self::Reserve => PayoutReserved { payout_id, posting }.into(),
            Self::Pay => PayoutPaid { payout_id, posting }.into(),
            Self::Release => PayoutReleased { payout_id, posting }.into(),
            Self::Return => PayoutReturned { payout_id, posting }.into(),
        }
    }
}
