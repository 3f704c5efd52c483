//! What went back of the price of a purchase, and what that takes from what the purchase had earned. Written from the
//! rule book, like the rest of the oracle.

use domain::rules::{Pay, ProgramRules};
use domain::{DisputeOutcome, PurchaseEvent};

/// How a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dispute {
    Open,
    /// What was disputed went back.
    Lost,
    /// Nothing went back.
    Over,
}

/// The refunds of a purchase and the disputes about it, each with its id and its amount.
#[derive(Debug, Default)]
pub(super) struct MoneyBack {
    /// Without those that were cancelled, of which the amount is `None`.
    refunds: Vec<(Box<str>, Option<i64>)>,
    disputes: Vec<(Box<str>, i64, Dispute)>,
}

impl MoneyBack {
    /// Takes in a refund, a dispute, or what became of one; whether that can happen.
    pub(super) fn enter(&mut self, fact: &PurchaseEvent) -> bool {
        match fact {
            PurchaseEvent::PurchaseRefunded(of) => {
                let id = of.refund_id.as_str();
                let is_new = !self.refunds.iter().any(|(known, _)| **known == *id);
                self.refunds.push((id.into(), Some(of.amount_minor)));
                is_new
            }
            PurchaseEvent::RefundCancelled(of) => {
                let id = of.refund_id.as_str();
                let known = self.refunds.iter_mut().find(|(known, _)| **known == *id);
                known.is_some_and(|(_, amount)| amount.take().is_some())
            }
            PurchaseEvent::DisputeOpened(of) => {
                let is_new = self.dispute(of.dispute_id.as_str()).is_none();
                let id = of.dispute_id.as_str().into();
                self.disputes.push((id, of.amount_minor, Dispute::Open));
                is_new
            }
            PurchaseEvent::DisputeUpdated(of) => {
                let known = self.dispute(of.dispute_id.as_str());
                known.is_some_and(|(_, amount, state)| {
                    *amount = of.amount_minor;
                    *state == Dispute::Open
                })
            }
            PurchaseEvent::DisputeClosed(of) => {
                let known = self.dispute(of.dispute_id.as_str());
                known.is_some_and(|(_, _, state)| {
                    let was_open = *state == Dispute::Open;
                    *state = match of.outcome {
                        DisputeOutcome::Lost => Dispute::Lost,
                        DisputeOutcome::Won | DisputeOutcome::Withdrawn => Dispute::Over,
                    };
                    was_open
                })
            }
            PurchaseEvent::PurchaseRecorded(_)
            | PurchaseEvent::RewardWithheld(_)
            | PurchaseEvent::PurchaseMadeUp(_)
            | PurchaseEvent::PurchaseRewardHeld(_)
            | PurchaseEvent::PurchaseRewardReleased(_)
            | PurchaseEvent::HoldPeriodEnded(_)
            | PurchaseEvent::PurchaseReferralRejected(_) => false,
        }
    }

    fn dispute(&mut self, id: &str) -> Option<&mut (Box<str>, i64, Dispute)> {
        self.disputes.iter_mut().find(|(known, _, _)| **known == *id)
    }

    /// What the price comes to.
    pub(super) fn price(&self, paid_minor: i64) -> Price {
        let refunded = self.refunds.iter().filter_map(|(_, amount)| *amount);
        let in_state = |state: Dispute| {
            let disputes = self.disputes.iter().filter(move |(_, _, of)| *of == state);
            disputes.map(|(_, amount, _)| i128::from(*amount))
        };
        let gone = refunded.map(i128::from).sum::<i128>() + in_state(Dispute::Lost).sum::<i128>();
        let at_risk = gone + in_state(Dispute::Open).sum::<i128>();
        let paid = i128::from(paid_minor);
        Price { paid, gone: gone.min(paid), at_risk: at_risk.min(paid), minimum: 0 }
    }
}

/// A price after refunds and disputes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Price {
    pub(super) paid: i128,
    /// What went back.
    pub(super) gone: i128,
    /// What went back or may, if open disputes are lost.
    pub(super) at_risk: i128,
    /// What must be left, besides anything at all.
    pub(super) minimum: i128,
}

impl Price {
    /// That of nothing that can go back.
    pub(super) const OF_A_REFERRAL: Self = Self { paid: 1, gone: 0, at_risk: 0, minimum: 0 };

    /// The same by the rules that had judged the purchase.
    pub(super) fn by(self, rules: Option<&ProgramRules>) -> Self {
        let demands = rules.filter(|rules| rules.reverse_below_minimum);
        let minimum = demands.map_or(0, |rules| i128::from(rules.minimum_purchase_minor));
        Self { minimum, ..self }
    }

    /// Whether the purchase still earns when that much of it is gone.
    pub(super) fn earns_without(&self, gone: i128) -> bool {
        self.paid > gone && self.paid - gone >= self.minimum
    }

    /// What goes back of a reward when that much of the price is gone.
    pub(super) fn takes(&self, pay: &Pay, granted_minor: i64, gone: i128) -> i128 {
        let granted = i128::from(granted_minor);
        if gone == 0 {
            return 0;
        }
        if !self.earns_without(gone) {
            return granted;
        }
        match pay {
            Pay::RateBps(_) => (2 * granted * gone + self.paid).div_euclid(2 * self.paid),
            Pay::FlatMinor(_) | Pay::Tiers(_) | Pay::Count => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rule_book_come_out() {
        let price = |minimum| Price { paid: 100_130, gone: 0, at_risk: 0, minimum };
        let share = Pay::RateBps(500);
        assert_eq!(price(0).takes(&share, 5_007, 33_377), 1_669);
        assert_eq!(price(0).takes(&share, 5_007, 66_754), 3_338);
        assert_eq!(price(0).takes(&share, 5_007, 100_130), 5_007);
        assert_eq!(price(0).takes(&Pay::FlatMinor(700), 700, 100_129), 0);
        assert_eq!(price(0).takes(&Pay::FlatMinor(700), 700, 100_130), 700);
        assert_eq!(price(50_000).takes(&share, 5_007, 50_131), 5_007, "below the minimum");
    }
}
