//! What is due, given what is recorded.
//!
//! Refunds in the log are never changed, only cancelled, and a cancelled one stays so. A running total is therefore
//! recorded as refunds with ids of its own, `charge:<charge>:<number>`: one for what is unexplained; when less is
//! unexplained, the last ones are cancelled, and one for the rest follows. A total explains itself by refunds only as
//! far as they are recorded or can be: what cannot be recorded takes nobody's place.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::desired::{Desired, DesiredPurchase, DisputeState, Money, Outcome, Parked, RaisedTo};

/// What is recorded of a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Who bought.
    pub buyer_user_id: String,
    /// What was paid.
    pub paid: Money,
    /// All refunds, from whatever door, in the order in which they were recorded.
    pub refunds: Vec<RecordedRefund>,
    /// All disputes, from whatever door.
    pub disputes: Vec<RecordedDispute>,
}

impl Recorded {
    fn refund(&self, refund_id: &str) -> Option<&RecordedRefund> {
        self.refunds.iter().find(|known| known.refund_id == refund_id)
    }
}

/// A refund that is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRefund {
    /// Its id.
    pub refund_id: String,
    /// How much, in minor units of the purchase's currency.
    pub amount_minor: i64,
    /// Whether it did not happen after all.
    pub is_cancelled: bool,
}

/// A dispute that is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedDispute {
    /// Its id.
    pub dispute_id: String,
    /// How much, in minor units of the purchase's currency.
    pub amount_minor: i64,
    /// How it stands; `None` if it ended in a way that Stripe does not know, such as withdrawn.
    pub state: Option<DisputeState>,
}

/// Something to record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Step {
    /// The purchase.
    Record(DesiredPurchase),
    /// A refund that has happened, so that more than is left is no reason to refuse it.
    Refund {
        /// Its id.
        refund_id: String,
        /// How much, in minor units.
        amount_minor: i64,
    },
    /// A refund did not happen after all.
    CancelRefund {
        /// Its id.
        refund_id: String,
    },
    /// A dispute, or another amount of one that is open.
    OpenDispute {
        /// Its id.
        dispute_id: String,
        /// How much, in minor units; at most what was paid.
        amount_minor: i64,
    },
    /// A dispute was decided.
    CloseDispute {
        /// Its id.
        dispute_id: String,
        /// How.
        outcome: Outcome,
    },
}

/// What is due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What to record, in this order: what gives back first, so that nothing goes back twice in between.
    pub steps: Vec<Step>,
    /// What is parked: what the desired state parks, and what is recorded otherwise and cannot be changed. In a fixed
    /// order.
    pub parked: Vec<Parked>,
}

impl Desired {
    /// What is due, given what is recorded of the purchase, without what cannot be recorded: the purchase, refunds and
    /// disputes with these ids. Carried out on what was given, the next plan is empty.
    #[must_use]
    pub fn plan(&self, recorded: Option<&Recorded>, unrecordable: &BTreeSet<String>) -> Plan {
        let mut plan = Plan { steps: Vec::new(), parked: self.parked.clone() };
        let begun;
        let recorded = match (recorded, &self.purchase) {
            (Some(recorded), _) => {
                plan.parked.retain(|parked| !parked.is_about_lacking_purchase());
                plan.compare(self, recorded);
                recorded
            }
            (None, Some(purchase)) if !unrecordable.contains(&purchase.purchase_id) => {
                plan.steps.push(Step::Record(purchase.clone()));
                begun = Recorded {
                    buyer_user_id: purchase.buyer_user_id.clone(),
                    paid: purchase.paid.clone(),
                    refunds: Vec::new(),
                    disputes: Vec::new(),
                };
                &begun
            }
            (None, Some(_) | None) => return plan,
        };
        self.plan_cancellations(recorded, &mut plan);
        self.plan_totals(recorded, unrecordable, &mut plan);
        self.plan_refunds(recorded, unrecordable, &mut plan);
        self.plan_disputes(recorded, unrecordable, &mut plan);
        plan.park_excess(recorded);
        plan.parked.sort();
        plan
    }

    fn plan_cancellations(&self, recorded: &Recorded, plan: &mut Plan) {
        for refund in recorded.refunds.iter().filter(|refund| !refund.is_cancelled) {
            let refund_id = &refund.refund_id;
            let told = self.refunds.get(refund_id).filter(|_| !is_reserved(refund_id));
            if told.is_some_and(|desired| desired.is_cancelled) {
                plan.steps.push(Step::CancelRefund { refund_id: refund_id.clone() });
            }
        }
    }

    fn plan_refunds(&self, recorded: &Recorded, unrecordable: &BTreeSet<String>, plan: &mut Plan) {
        for (refund_id, refund) in &self.refunds {
            let counts = !refund.is_cancelled && refund.amount.amount_minor > 0;
            if !counts || !plan.is_in_currency(refund_id, &refund.amount, recorded) {
                continue;
            }
            let (refund_id, amount_minor) = (refund_id.clone(), refund.amount.amount_minor);
            // What is recorded under an id like those of totals is none that Stripe has named.
            match recorded.refund(&refund_id).filter(|_| !is_reserved(&refund_id)) {
                None if unrecordable.contains(&refund_id) => {}
                None => plan.steps.push(Step::Refund { refund_id, amount_minor }),
                Some(known) if known.amount_minor != amount_minor => {
                    let recorded_minor = known.amount_minor;
                    let differs = Parked::RecordedRefundDiffers {
                        refund_id,
                        recorded_minor,
                        desired_minor: amount_minor,
                    };
                    plan.parked.push(differs);
                }
                Some(known) if known.is_cancelled => {
                    let refunded_minor = amount_minor;
                    plan.parked.push(Parked::RecordedRefundCancelled { refund_id, refunded_minor });
                }
                Some(_) => {}
            }
        }
    }

    /// Refunds from another door whose ids Stripe has not named explain a running total as well, while they stand. If
    /// that door cancels one, the total counts: Stripe says that the money went back, and tells if it comes back.
    fn plan_totals(&self, recorded: &Recorded, unrecordable: &BTreeSet<String>, plan: &mut Plan) {
        let is_other = |refund_id: &str| {
            let is_total = self.raised_to.keys().any(|of| is_of_total(refund_id, of));
            !is_total && (is_reserved(refund_id) || !self.refunds.contains_key(refund_id))
        };
        let others = recorded.refunds.iter().filter(|refund| is_other(&refund.refund_id));
        let (cancelled, standing): (Vec<_>, Vec<_>) =
            others.partition(|refund| refund.is_cancelled);
        let mut others_minor = sum(standing.into_iter());
        let mut raises = Vec::new();
        for (charge_id, raised_to) in &self.raised_to {
            if !plan.is_in_currency(charge_id, &raised_to.total, recorded) {
                continue;
            }
            let by_id_minor = self.explained(raised_to, recorded, unrecordable);
            let unexplained_minor = raised_to.total.amount_minor.saturating_sub(by_id_minor).max(0);
            let by_others = others_minor.min(unexplained_minor);
            others_minor -= by_others;
            let wanted_minor = unexplained_minor - by_others;
            if wanted_minor > 0 && !cancelled.is_empty() {
                plan.parked.push(Parked::TotalCountsCancelled {
                    charge_id: charge_id.clone(),
                    refund_ids: cancelled.iter().map(|of| of.refund_id.clone()).collect(),
                    counted_minor: wanted_minor,
                });
            }
            let own = || recorded.refunds.iter().filter(|of| is_of_total(&of.refund_id, charge_id));
            let known = own().map(|of| &of.refund_id).chain(self.refunds.keys());
            let numbers = known.filter_map(|id| number_of_total(id, charge_id));
            let next = numbers.max().unwrap_or_default().saturating_add(1);
            let next_id = format!("{}{next}", total_prefix(charge_id));
            let can_raise = !unrecordable.contains(&next_id);
            let mut standing_minor = sum(own().filter(|refund| !refund.is_cancelled));
            for refund in own().rev().filter(|refund| !refund.is_cancelled) {
                let rest_minor = standing_minor - refund.amount_minor;
                // What would have to be raised again stands if it cannot be: rather too much than money that went
                // back and counts as if it had not.
                if standing_minor <= wanted_minor || (rest_minor < wanted_minor && !can_raise) {
                    break;
                }
                standing_minor = rest_minor;
                plan.steps.push(Step::CancelRefund { refund_id: refund.refund_id.clone() });
            }
            if standing_minor < wanted_minor && can_raise {
                let amount_minor = wanted_minor - standing_minor;
                raises.push(Step::Refund { refund_id: next_id, amount_minor });
            }
        }
        plan.steps.append(&mut raises);
    }

    /// What the known refunds explain of a total, in minor units. One that another door has recorded with less than
    /// Stripe tells explains no more than that.
    fn explained(
        &self,
        raised_to: &RaisedTo,
        recorded: &Recorded,
        unrecordable: &BTreeSet<String>,
    ) -> i64 {
        let mut explained_minor: i64 = 0;
        for refund_id in &raised_to.refund_ids {
            let Some(told) = self.refunds.get(refund_id) else { continue };
            if told.amount.currency_code != recorded.paid.currency_code {
                continue;
            }
            let told_minor = told.amount.amount_minor;
            let refund_minor = match recorded.refund(refund_id) {
                // The money came back after the total.
                _ if told.is_cancelled => told_minor,
                // It cannot be recorded under its id, which is one like those of totals.
                _ if is_reserved(refund_id) => 0,
                // Another door has cancelled it, and cannot make it again: the total stands for it.
                Some(known) if known.is_cancelled => 0,
                Some(known) => known.amount_minor.min(told_minor),
                None if unrecordable.contains(refund_id) => 0,
                None => told_minor,
            };
            explained_minor = explained_minor.saturating_add(refund_minor);
        }
        explained_minor
    }

    /// An open dispute follows Stripe's amount, whatever another door has said: it makes nothing but pending. A closed
    /// one is never changed.
    fn plan_disputes(&self, recorded: &Recorded, unrecordable: &BTreeSet<String>, plan: &mut Plan) {
        let disputes = self.disputes.iter().filter(|(id, _)| !unrecordable.contains(*id));
        for (dispute_id, dispute) in disputes {
            if !plan.is_in_currency(dispute_id, &dispute.amount, recorded) {
                continue;
            }
            let (disputed_minor, paid_minor) =
                (dispute.amount.amount_minor, recorded.paid.amount_minor);
            let amount_minor = disputed_minor.min(paid_minor);
            if disputed_minor > paid_minor {
                let dispute_id = dispute_id.clone();
                let exceeds = Parked::DisputeExceedsPaid { dispute_id, disputed_minor, paid_minor };
                plan.parked.push(exceeds);
            }
            let known = recorded.disputes.iter().find(|known| known.dispute_id == *dispute_id);
            let (is_open_due, is_closing) = match known.map(|known| (known.state, known)) {
                None => (true, true),
                Some((Some(DisputeState::Open), known)) => {
                    (known.amount_minor != amount_minor, true)
                }
                // Somebody has said how it ended, which Stripe has not.
                Some(_) if plan.end_unclear(dispute_id) => (false, false),
                Some((Some(DisputeState::Closed(before)), known)) => {
                    let dispute_id = dispute_id.clone();
                    if dispute.state != DisputeState::Closed(before) {
                        let state = dispute.state;
                        plan.parked.push(Parked::DisputeChanged { dispute_id, state });
                    } else if before == Outcome::Lost && known.amount_minor != amount_minor {
                        plan.parked.push(Parked::RecordedDisputeDiffers {
                            dispute_id,
                            recorded_minor: known.amount_minor,
                            desired_minor: amount_minor,
                        });
                    }
                    (false, false)
                }
                Some((None, _)) => {
                    // The rewards were given back, and the money is gone.
                    if dispute.state == DisputeState::Closed(Outcome::Lost) {
                        let (dispute_id, state) = (dispute_id.clone(), dispute.state);
                        plan.parked.push(Parked::DisputeChanged { dispute_id, state });
                    }
                    (false, false)
                }
            };
            if is_open_due && amount_minor > 0 {
                let dispute_id = dispute_id.clone();
                plan.steps.push(Step::OpenDispute { dispute_id, amount_minor });
            }
            match dispute.state {
                DisputeState::Closed(outcome) if is_closing && amount_minor > 0 => {
                    let dispute_id = dispute_id.clone();
                    plan.steps.push(Step::CloseDispute { dispute_id, outcome });
                }
                DisputeState::Closed(_) | DisputeState::Open => {}
            }
        }
    }
}

impl Step {
    /// What it records: the purchase, refund or dispute.
    #[must_use]
    pub fn object_id(&self) -> &str {
        match self {
            Self::Record(purchase) => &purchase.purchase_id,
            Self::Refund { refund_id, .. } | Self::CancelRefund { refund_id } => refund_id,
            Self::OpenDispute { dispute_id, .. } | Self::CloseDispute { dispute_id, .. } => {
                dispute_id
            }
        }
    }
}

impl Plan {
    /// Parks what a recorded purchase says otherwise: it is never changed.
    fn compare(&mut self, desired: &Desired, recorded: &Recorded) {
        match &desired.paid {
            Some(paid) if *paid != recorded.paid => {
                let (recorded, desired) = (recorded.paid.clone(), paid.clone());
                self.parked.push(Parked::RecordedAmountDiffers { recorded, desired });
            }
            Some(_) | None => {}
        }
        match &desired.purchase {
            // Whose purchase it is may be the one who was forgotten.
            Some(_) if desired.has_forgotten => {}
            Some(purchase) if purchase.buyer_user_id != recorded.buyer_user_id => {
                self.parked.push(Parked::RecordedBuyerDiffers {
                    recorded_user_id: recorded.buyer_user_id.clone(),
                    desired_user_id: purchase.buyer_user_id.clone(),
                });
            }
            Some(_) | None => {}
        }
    }

    /// Parks that more goes back than was paid, once everything is carried out.
    fn park_excess(&mut self, recorded: &Recorded) {
        let mut is_cancelled: BTreeSet<&str> = BTreeSet::new();
        let mut back_minor: i64 = 0;
        let mut disputed: BTreeMap<&str, i64> = BTreeMap::new();
        for of in &recorded.disputes {
            disputed.insert(&of.dispute_id, of.amount_minor);
            if of.state == Some(DisputeState::Closed(Outcome::Lost)) {
                back_minor = back_minor.saturating_add(of.amount_minor);
            }
        }
        for step in &self.steps {
            match step {
                Step::CancelRefund { refund_id } => {
                    is_cancelled.insert(refund_id);
                }
                Step::Refund { amount_minor, .. } => {
                    back_minor = back_minor.saturating_add(*amount_minor);
                }
                Step::OpenDispute { dispute_id, amount_minor } => {
                    disputed.insert(dispute_id, *amount_minor);
                }
                Step::CloseDispute { dispute_id, outcome: Outcome::Lost } => {
                    let lost_minor = disputed.get(&**dispute_id).copied().unwrap_or_default();
                    back_minor = back_minor.saturating_add(lost_minor);
                }
                Step::Record(_) | Step::CloseDispute { outcome: Outcome::Won, .. } => {}
            }
        }
        let stands = |of: &&RecordedRefund| {
            !of.is_cancelled && !is_cancelled.contains(of.refund_id.as_str())
        };
        back_minor = back_minor.saturating_add(sum(recorded.refunds.iter().filter(stands)));
        let paid_minor = recorded.paid.amount_minor;
        if back_minor > paid_minor {
            self.parked.push(Parked::BackExceedsPaid { back_minor, paid_minor });
        }
    }

    /// Takes back that it is unclear how a dispute stands. Returns whether it was.
    fn end_unclear(&mut self, dispute_id: &str) -> bool {
        let waiting = self.parked.len();
        self.parked.retain(|parked| {
            !matches!(parked, Parked::UnclearDispute { dispute_id: of, .. } if of == dispute_id)
        });
        self.parked.len() < waiting
    }

    /// Whether money is in the currency of what is recorded; parks it if not.
    fn is_in_currency(&mut self, object_id: &str, money: &Money, recorded: &Recorded) -> bool {
        let is_in_currency = money.currency_code == recorded.paid.currency_code;
        if !is_in_currency {
            self.parked.push(Parked::RecordedCurrencyDiffers {
                object_id: object_id.into(),
                amount: money.clone(),
                recorded_currency_code: recorded.paid.currency_code.clone(),
            });
        }
        is_in_currency
    }
}

/// Whether an id of a refund is one of those that stand for running totals, which nobody else gives.
#[must_use]
pub fn is_reserved(refund_id: &str) -> bool {
    refund_id.starts_with(TOTAL)
}

/// What the ids of all refunds begin with that stand for running totals.
const TOTAL: &str = "charge:";

fn total_prefix(charge_id: &str) -> String {
    format!("{TOTAL}{charge_id}:")
}

/// Whether a refund is one that stands for the running total of a charge.
fn is_of_total(refund_id: &str, charge_id: &str) -> bool {
    refund_id.strip_prefix(&total_prefix(charge_id)).is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// The number of a refund that stands for the running total of a charge.
fn number_of_total(refund_id: &str, charge_id: &str) -> Option<u64> {
    refund_id.strip_prefix(&total_prefix(charge_id))?.parse().ok()
}

fn sum<'a>(refunds: impl Iterator<Item = &'a RecordedRefund>) -> i64 {
    refunds.fold(0, |sum: i64, refund| sum.saturating_add(refund.amount_minor))
}
