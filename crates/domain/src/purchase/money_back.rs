//! What went back of the price of a purchase: refunds and disputes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::terms::Terms;
use super::{
    DisputeClosed, DisputeId, DisputeOpened, DisputeOutcome, DisputeUpdated, PurchaseRefunded,
    RefundCancelled, RefundId,
};

/// The maximum number of refunds of one purchase, cancelled ones included. What stands for running totals counts apart, up
/// to as many: else it would take the places of the refunds that it is made of.
pub const MAX_REFUNDS: usize = 100;
/// The maximum number of disputes about one purchase, closed ones included.
pub const MAX_DISPUTES: usize = 100;

/// A refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refund {
    /// Its id.
    pub refund_id: RefundId,
    /// The part of the price, in minor units.
    pub amount_minor: i64,
    /// Whether it did not happen after all.
    pub is_cancelled: bool,
}

/// How a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DisputeState {
    /// Not decided yet.
    Open,
    /// Decided.
    Closed(DisputeOutcome),
}

/// A dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dispute {
    /// Its id.
    pub dispute_id: DisputeId,
    /// The part of the price, in minor units.
    pub amount_minor: i64,
    /// How it stands.
    pub state: DisputeState,
}

/// The refunds of a purchase and the disputes about it, in the order in which they were recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MoneyBack {
    refunds: Vec<Refund>,
    disputes: Vec<Dispute>,
}

impl RefundId {
    /// Whether it stands for what a provider's running total says, `charge:CHARGE:NUMBER`: such a refund is cancelled
    /// as soon as the refunds themselves are known. Of a payment of Stripe, nobody but the server gives such ids.
    #[must_use]
    pub fn is_of_total(&self) -> bool {
        self.as_str().starts_with("charge:")
    }

    /// The number of a refund that stands for a running total.
    fn number_of_total(&self) -> Option<u64> {
        self.as_str().rsplit_once(':').and_then(|(_, number)| number.parse().ok())
    }
}

impl MoneyBack {
    /// All refunds.
    #[must_use]
    pub fn refunds(&self) -> &[Refund] {
        &self.refunds
    }

    /// All disputes.
    #[must_use]
    pub fn disputes(&self) -> &[Dispute] {
        &self.disputes
    }

    /// The refund with that id.
    #[must_use]
    pub fn find_refund(&self, refund_id: &RefundId) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.refund_id == *refund_id)
    }

    /// The dispute with that id.
    #[must_use]
    pub fn find_dispute(&self, dispute_id: &DisputeId) -> Option<&Dispute> {
        self.disputes.iter().find(|dispute| dispute.dispute_id == *dispute_id)
    }

    /// What a price comes to. Reports can add up to more than was paid; what counts is at most the price.
    pub(super) fn terms(&self, paid_minor: i64) -> Terms {
        let lost = DisputeState::Closed(DisputeOutcome::Lost);
        let refunds = self.refunds.iter().filter(|refund| !refund.is_cancelled);
        let refunds = refunds.map(|refund| refund.amount_minor);
        let in_state = |state| {
            let disputes = self.disputes.iter().filter(move |dispute| dispute.state == state);
            disputes.map(|dispute| dispute.amount_minor)
        };
        let refunded = refunds.chain(in_state(lost)).fold(0, i64::saturating_add);
        let at_risk = in_state(DisputeState::Open).fold(refunded, i64::saturating_add);
        Terms {
            paid_minor,
            refunded_minor: refunded.min(paid_minor),
            at_risk_minor: at_risk.min(paid_minor),
            minimum_minor: 0,
        }
    }

    /// Whether there can be one more refund with an id like this one.
    #[must_use]
    pub fn has_room_for(&self, refund_id: &RefundId) -> bool {
        let is_alike = |of: &&Refund| of.refund_id.is_of_total() == refund_id.is_of_total();
        self.refunds.iter().filter(is_alike).count() < MAX_REFUNDS
    }

    /// What becomes of the refunds that stand for running totals when a refund of so much is named that may be one of
    /// those which a total has told of: those to cancel, and those to record for the rest of a total.
    #[must_use]
    pub fn named_of_totals(&self, amount_minor: i64) -> (Vec<RefundId>, Vec<(RefundId, i64)>) {
        let mut totals: BTreeMap<&str, Vec<&Refund>> = BTreeMap::new();
        for refund in self.refunds.iter().filter(|refund| refund.refund_id.is_of_total()) {
            let (total, _) = refund.refund_id.as_str().rsplit_once(':').unwrap_or_default();
            totals.entry(total).or_default().push(refund);
        }
        let (mut cancelled, mut rests) = (Vec::new(), Vec::new());
        let mut named_minor = amount_minor;
        for (total, refunds) in totals {
            let standing = || refunds.iter().filter(|refund| !refund.is_cancelled);
            let mut left_minor = standing().map(|of| of.amount_minor).fold(0, i64::saturating_add);
            let of_this = named_minor.min(left_minor);
            named_minor -= of_this;
            let rest_minor = left_minor - of_this;
            let numbers = refunds.iter().filter_map(|of| of.refund_id.number_of_total());
            let next = numbers.max().unwrap_or_default().saturating_add(1);
            let next_id = RefundId::parse(&format!("{total}:{next}")).ok();
            let next_id = next_id.filter(|next_id| self.has_room_for(next_id));
            for refund in standing().rev() {
                let without_minor = left_minor - refund.amount_minor;
                // What would have to be recorded again stands if it cannot be.
                let is_too_much = without_minor < rest_minor && next_id.is_none();
                if left_minor <= rest_minor || is_too_much {
                    break;
                }
                left_minor = without_minor;
                cancelled.push(refund.refund_id.clone());
            }
            if let Some(next_id) = next_id.filter(|_| left_minor < rest_minor) {
                rests.push((next_id, rest_minor - left_minor));
            }
        }
        (cancelled, rests)
    }

    /// What went back without the refunds that stand for a running total: of these, nobody has told an id.
    #[must_use]
    pub fn refunded_by_id(&self, paid_minor: i64) -> i64 {
        let by_id = self.refunds.iter().filter(|refund| !refund.refund_id.is_of_total());
        let by_id = Self { refunds: by_id.cloned().collect(), disputes: self.disputes.clone() };
        by_id.terms(paid_minor).refunded_minor
    }

    pub(super) fn refund(&mut self, refunded: PurchaseRefunded) {
        let PurchaseRefunded { refund_id, amount_minor, currency_code: _ } = refunded;
        self.refunds.push(Refund { refund_id, amount_minor, is_cancelled: false });
    }

    pub(super) fn cancel(&mut self, RefundCancelled { refund_id }: &RefundCancelled) {
        let refund = self.refunds.iter_mut().find(|refund| refund.refund_id == *refund_id);
        if let Some(refund) = refund {
            refund.is_cancelled = true;
        }
    }

    pub(super) fn open(&mut self, DisputeOpened { dispute_id, amount_minor }: DisputeOpened) {
        self.disputes.push(Dispute { dispute_id, amount_minor, state: DisputeState::Open });
    }

    pub(super) fn update(&mut self, updated: &DisputeUpdated) {
        if let Some(dispute) = self.dispute(&updated.dispute_id) {
            dispute.amount_minor = updated.amount_minor;
        }
    }

    pub(super) fn close(&mut self, closed: &DisputeClosed) {
        if let Some(dispute) = self.dispute(&closed.dispute_id) {
            dispute.state = DisputeState::Closed(closed.outcome);
        }
    }

    fn dispute(&mut self, dispute_id: &DisputeId) -> Option<&mut Dispute> {
        self.disputes.iter_mut().find(|dispute| dispute.dispute_id == *dispute_id)
    }
}
