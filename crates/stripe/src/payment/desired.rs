//! The state in which a payment's purchase, refunds and disputes should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{OfDispute, OfRefund, Payment, Told};
use crate::currency::{CurrencyFault, minor_units};
use crate::event::{Amount, DisputeStatus};

/// What only the caller knows.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// How many decimals ISO 4217 gives a currency, by its code in capitals; `None` if it is not money.
    pub iso_digits: &'a dyn Fn(&str) -> Option<u32>,
    /// Whether a text can be the id of a user.
    pub is_user_id: &'a dyn Fn(&str) -> bool,
}

/// An amount in minor units of ISO 4217.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Money {
    /// In minor units.
    pub amount_minor: i64,
    /// A code in capitals.
    pub currency_code: String,
}

/// The state in which everything should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// The purchase; absent while it lacks an amount or a buyer.
    pub purchase: Option<DesiredPurchase>,
    /// What was paid, whoever bought; absent while nothing tells of it.
    pub paid: Option<Money>,
    /// Refunds by their ids. Kept here while there is no purchase.
    pub refunds: BTreeMap<String, DesiredRefund>,
    /// By charge, up to where refunds were said to add up.
    pub raised_to: BTreeMap<String, RaisedTo>,
    /// Disputes by their ids. Kept here while there is no purchase.
    pub disputes: BTreeMap<String, DesiredDispute>,
    /// Whether somebody was named who was forgotten since, and who may be the buyer.
    pub has_forgotten: bool,
    /// What waits for an event or an operator, in a fixed order.
    pub parked: Vec<Parked>,
}

/// A purchase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredPurchase {
    /// The payment intent's id.
    pub purchase_id: String,
    /// Who bought.
    pub buyer_user_id: String,
    /// What was paid.
    pub paid: Money,
    /// The earliest event that told of the money, in seconds since 1970. It can be earlier than what the purchase was
    /// recorded with, if that event came late.
    pub time_seconds: i64,
    /// Whether the amount is what the intent received, not yet only a session's total.
    pub is_settled: bool,
}

/// A refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredRefund {
    /// How much went back.
    pub amount: Money,
    /// Whether it did not happen after all.
    pub is_cancelled: bool,
}

/// A running total of the refunds of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedTo {
    /// What all refunds of the charge added up to.
    pub total: Money,
    /// When, in seconds since 1970.
    pub at_seconds: i64,
    /// The known refunds that were in the total: those made by then and not yet failed. Each explains as much of it as
    /// is recorded of that refund, or is going to be.
    pub refund_ids: BTreeSet<String>,
}

/// A dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredDispute {
    /// How much is disputed.
    pub amount: Money,
    /// How it stands.
    pub state: DisputeState,
}

/// How a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeState {
    /// Not decided.
    Open,
    /// Decided.
    Closed(Outcome),
}

/// How a dispute ended, as the merchant sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The money stays; or it was an inquiry that came to nothing.
    Won,
    /// The money is gone.
    Lost,
}

/// Why an amount cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmountFault {
    /// The currency is not one of ISO 4217.
    UnknownCurrency,
    /// It has no counterpart in minor units.
    Unconvertible(CurrencyFault),
    /// It is not in the currency of the purchase, whose code this is.
    OtherCurrency(String),
}

/// What waits for an event or an operator, and is not recorded until then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Parked {
    /// The payment is known, but nobody says who bought. An event or an operator can.
    NoBuyer,
    /// Whoever was named was erased, and nobody else is named.
    ErasedBuyer,
    /// Somebody is named, but by texts that are no user ids.
    UnusableBuyer {
        /// The texts.
        named: Vec<String>,
    },
    /// Several people are named; the purchase is of the first.
    BuyersDiffer {
        /// Whose purchase it is.
        buyer_user_id: String,
        /// Who else is named.
        others: Vec<String>,
    },
    /// Something is told of the payment, such as an invoice that was paid by it or a refund, and the payment has not been
    /// reported itself. It usually follows at once; else the endpoint does not receive `payment_intent.succeeded`.
    IntentMissing,
    /// A session has another total than what counts. The difference is not recorded.
    AmountsDiffer {
        /// What counts: what was received or, until that is known, the first total.
        counted: Amount,
        /// What the session says.
        told: Amount,
    },
    /// The intent was reported with another amount as well. The one reported first counts.
    ReceivedDiffers {
        /// What counts.
        counted: Amount,
        /// What was reported as well.
        told: Amount,
    },
    /// The amount of the purchase, a refund, a running total or a dispute cannot be recorded.
    UnusableAmount {
        /// The payment intent, refund, charge or dispute.
        object_id: String,
        /// The amount.
        amount: Amount,
        /// Why.
        fault: AmountFault,
    },
    /// A dispute is in a status that does not say where the money is. It stays open.
    UnclearDispute {
        /// The dispute.
        dispute_id: String,
        /// The status.
        status: String,
    },
    /// The purchase was recorded with another amount.
    RecordedAmountDiffers {
        /// What is recorded.
        recorded: Money,
        /// What should be.
        desired: Money,
    },
    /// The purchase was recorded for another buyer.
    RecordedBuyerDiffers {
        /// Whose purchase it is by the record.
        recorded_user_id: String,
        /// Whose it should be.
        desired_user_id: String,
    },
    /// The purchase was recorded in another currency than a refund, a running total or a dispute.
    RecordedCurrencyDiffers {
        /// The refund, charge or dispute.
        object_id: String,
        /// Its amount.
        amount: Money,
        /// The currency of what is recorded.
        recorded_currency_code: String,
    },
    /// A refund was recorded with another amount, by another door.
    RecordedRefundDiffers {
        /// The refund.
        refund_id: String,
        /// What is recorded, in minor units.
        recorded_minor: i64,
        /// What should be.
        desired_minor: i64,
    },
    /// A refund was cancelled by another door, and Stripe says that it happened. It cannot be made again.
    RecordedRefundCancelled {
        /// The refund.
        refund_id: String,
        /// How much went back, in minor units.
        refunded_minor: i64,
    },
    /// Refunds were cancelled by another door, and the running total of a charge, which they may have explained, says
    /// that the money went back. The total counts.
    TotalCountsCancelled {
        /// The charge.
        charge_id: String,
        /// The refunds.
        refund_ids: Vec<String>,
        /// What of the total counts besides the refunds that stand, in minor units.
        counted_minor: i64,
    },
    /// Refunds that stand and lost disputes come to more than was paid. What was paid counts.
    BackExceedsPaid {
        /// What they come to, in minor units.
        back_minor: i64,
        /// What was paid, in minor units.
        paid_minor: i64,
    },
    /// More is disputed than was paid. What was paid counts.
    DisputeExceedsPaid {
        /// The dispute.
        dispute_id: String,
        /// How much is disputed, in minor units.
        disputed_minor: i64,
        /// What was paid, in minor units.
        paid_minor: i64,
    },
    /// A lost dispute is recorded with another amount. A closed one cannot be changed.
    RecordedDisputeDiffers {
        /// The dispute.
        dispute_id: String,
        /// What is recorded, in minor units.
        recorded_minor: i64,
        /// What should be.
        desired_minor: i64,
    },
    /// A dispute that is recorded as closed is open again, or has another outcome; or it was lost after it had been
    /// withdrawn by another door. A closed one cannot be changed.
    DisputeChanged {
        /// The dispute.
        dispute_id: String,
        /// How it should stand.
        state: DisputeState,
    },
}

/// How many bytes of the hash of an issue name it.
const ISSUE_ID_BYTES: usize = 16;

/// What names something that waits, so that an operator can acknowledge it. The id is made of all that it says: what is
/// acknowledged is what was seen.
#[must_use]
pub fn issue_id(issue: &impl Serialize) -> String {
    // What waits is kept as JSON, which it can always be written as.
    let content = serde_json::to_vec(issue).unwrap_or_default();
    let mut id = String::with_capacity(2 * ISSUE_ID_BYTES);
    for byte in Sha256::digest(content).iter().take(ISSUE_ID_BYTES) {
        // Writing into a text never fails.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

impl Parked {
    /// Whether it says why there is no purchase: no longer worth a word once one is recorded.
    pub(super) fn is_about_lacking_purchase(&self) -> bool {
        match self {
            Self::NoBuyer
            | Self::ErasedBuyer
            | Self::UnusableBuyer { .. }
            | Self::IntentMissing => true,
            Self::BuyersDiffer { .. }
            | Self::AmountsDiffer { .. }
            | Self::ReceivedDiffers { .. }
            | Self::UnusableAmount { .. }
            | Self::UnclearDispute { .. }
            | Self::RecordedAmountDiffers { .. }
            | Self::RecordedBuyerDiffers { .. }
            | Self::RecordedCurrencyDiffers { .. }
            | Self::RecordedRefundDiffers { .. }
            | Self::RecordedRefundCancelled { .. }
            | Self::TotalCountsCancelled { .. }
            | Self::BackExceedsPaid { .. }
            | Self::DisputeExceedsPaid { .. }
            | Self::RecordedDisputeDiffers { .. }
            | Self::DisputeChanged { .. } => false,
        }
    }
}

impl Rules<'_> {
    fn money(&self, amount: &Amount) -> Result<Money, AmountFault> {
        let currency_code = amount.currency.to_ascii_uppercase();
        let digits = (self.iso_digits)(&currency_code).ok_or(AmountFault::UnknownCurrency)?;
        let amount_minor = minor_units(amount.amount, &amount.currency, digits);
        let amount_minor = amount_minor.map_err(AmountFault::Unconvertible)?;
        Ok(Money { amount_minor, currency_code })
    }

    /// As [`Self::money`], of something that must be in the currency of the purchase, if that is known.
    fn money_in(&self, amount: &Amount, counted: Option<&Amount>) -> Result<Money, AmountFault> {
        match counted {
            Some(counted) if counted.currency != amount.currency => {
                Err(AmountFault::OtherCurrency(counted.currency.to_ascii_uppercase()))
            }
            Some(_) | None => self.money(amount),
        }
    }
}

impl Payment {
    /// The state in which everything should be, by all that was said.
    #[must_use]
    pub fn desired(&self, rules: &Rules) -> Desired {
        let mut desired = Desired { has_forgotten: self.has_forgotten, ..Desired::default() };
        let counted = self.counted();
        self.want_purchase(rules, counted.as_ref(), &mut desired);
        let counted = counted.map(|told| told.value);
        for (refund_id, refund) in &self.refunds {
            let Some(Told { value: amount, .. }) = &refund.made else { continue };
            let is_cancelled = refund.cancelled_at_seconds.is_some();
            match rules.money_in(amount, counted.as_ref()) {
                Ok(amount) => {
                    let refund = DesiredRefund { amount, is_cancelled };
                    desired.refunds.insert(refund_id.clone(), refund);
                }
                Err(fault) => desired.park_amount(refund_id, amount, fault),
            }
        }
        for (charge_id, told) in &self.charges {
            let Some(told) = told else { continue };
            match rules.money_in(&told.value, counted.as_ref()) {
                Ok(total) => {
                    let at_seconds = told.at_seconds;
                    let in_total = self.refunds_in_total(charge_id, at_seconds);
                    let refund_ids =
                        in_total.filter(|id| desired.refunds.contains_key(*id)).cloned().collect();
                    let raised_to = RaisedTo { total, at_seconds, refund_ids };
                    desired.raised_to.insert(charge_id.clone(), raised_to);
                }
                Err(fault) => desired.park_amount(charge_id, &told.value, fault),
            }
        }
        for (dispute_id, told) in &self.disputes {
            let Some(Told { value: OfDispute { status, amount, .. }, .. }) = told else { continue };
            let state = match status {
                DisputeStatus::Open => DisputeState::Open,
                DisputeStatus::Won => DisputeState::Closed(Outcome::Won),
                DisputeStatus::Lost => DisputeState::Closed(Outcome::Lost),
                DisputeStatus::Unclear(status) => {
                    let (dispute_id, status) = (dispute_id.clone(), status.clone());
                    desired.parked.push(Parked::UnclearDispute { dispute_id, status });
                    DisputeState::Open
                }
            };
            match rules.money_in(amount, counted.as_ref()) {
                Ok(amount) => {
                    let dispute = DesiredDispute { amount, state };
                    desired.disputes.insert(dispute_id.clone(), dispute);
                }
                Err(fault) => desired.park_amount(dispute_id, amount, fault),
            }
        }
        desired
    }

    /// What counts as paid: what was received; until that is known, the first total of a paid session.
    fn counted(&self) -> Option<Told<Amount>> {
        self.received.clone().or_else(|| self.paid_sessions().min().cloned())
    }

    fn paid_sessions(&self) -> impl Iterator<Item = &Told<Amount>> {
        self.sessions.values().filter_map(|session| session.paid.as_ref())
    }

    fn want_purchase(&self, rules: &Rules, counted: Option<&Told<Amount>>, desired: &mut Desired) {
        let Some(Told { value: counted, at_seconds }) = counted else {
            let has_moved = self.invoices.values().any(|invoice| invoice.is_paid)
                || self.charges.values().any(Option::is_some)
                || !self.refunds.is_empty()
                || !self.disputes.is_empty();
            if has_moved {
                desired.parked.push(Parked::IntentMissing);
            }
            return;
        };
        let told = self.paid_sessions().map(|told| &told.value).filter(|told| *told != counted);
        for told in told {
            let (counted, told) = (counted.clone(), told.clone());
            desired.parked.push(Parked::AmountsDiffer { counted, told });
        }
        for told in self.received_amounts.iter().filter(|told| *told != counted) {
            let (counted, told) = (counted.clone(), told.clone());
            desired.parked.push(Parked::ReceivedDiffers { counted, told });
        }
        let buyer = self.buyer(rules, desired);
        let paid = rules.money(counted).map_err(|fault| {
            desired.park_amount(&self.intent_id, counted, fault);
        });
        desired.paid = paid.ok();
        let Some((buyer_user_id, paid)) = buyer.zip(desired.paid.clone()) else { return };
        let times = self.paid_sessions().map(|told| told.at_seconds);
        desired.purchase = Some(DesiredPurchase {
            purchase_id: self.intent_id.clone(),
            buyer_user_id,
            paid,
            time_seconds: times.fold(*at_seconds, i64::min),
            is_settled: self.received.is_some(),
        });
    }

    /// All who are named and can be users, whoever attached them or told of them, in the order in which that counts.
    #[must_use]
    pub fn named(&self, rules: &Rules) -> Vec<&str> {
        let all = self.all_named().into_iter().map(String::as_str);
        all.filter(|name| (rules.is_user_id)(name)).collect()
    }

    fn all_named(&self) -> Vec<&String> {
        let mut named: Vec<&String> = Vec::new();
        for name in self.attached_user_id.iter().chain(self.named_in_turn()) {
            if !named.contains(&name) {
                named.push(name);
            }
        }
        named
    }

    /// Who bought; parks that nobody is named, or several people. Whom an operator has attached is nobody's guess.
    fn buyer(&self, rules: &Rules, desired: &mut Desired) -> Option<String> {
        let is_user_id = |name: &&String| (rules.is_user_id)(name);
        if let Some(attached) = self.attached_user_id.as_ref().filter(is_user_id) {
            return Some(attached.clone());
        }
        let (usable, unusable): (Vec<_>, Vec<_>) =
            self.all_named().into_iter().partition(is_user_id);
        let owned = |names: &[&String]| names.iter().map(|name| (*name).clone()).collect();
        match usable.split_first() {
            Some((buyer, [])) => Some((*buyer).clone()),
            Some((buyer, others)) => {
                let (buyer_user_id, others) = ((*buyer).clone(), owned(others));
                desired.parked.push(Parked::BuyersDiffer { buyer_user_id, others });
                Some((*buyer).clone())
            }
            None if unusable.is_empty() && self.has_forgotten => {
                desired.parked.push(Parked::ErasedBuyer);
                None
            }
            None if unusable.is_empty() => {
                desired.parked.push(Parked::NoBuyer);
                None
            }
            None => {
                desired.parked.push(Parked::UnusableBuyer { named: owned(&unusable) });
                None
            }
        }
    }

    /// Who was named, in the order in which that counts.
    fn named_in_turn(&self) -> impl Iterator<Item = &String> {
        let mut references: Vec<_> =
            self.sessions.values().filter_map(|of| of.reference.as_ref()).collect();
        let mut metadata: Vec<_> =
            self.sessions.values().filter_map(|of| of.metadata_user_id.as_ref()).collect();
        let mut invoices: Vec<_> =
            self.invoices.values().filter_map(|of| of.subscription_user_id.as_ref()).collect();
        references.sort();
        metadata.sort();
        invoices.sort();
        let told = references.into_iter().chain(metadata).chain(invoices);
        // Who was forgotten left an empty text.
        told.chain(&self.intent_user_id).map(|told| &told.value).filter(|name| !name.is_empty())
    }

    /// The known refunds of a charge that count in its total at a moment: those made by then and not yet cancelled. Of
    /// one second, everything counts, since a refund and the event of its total share it.
    fn refunds_in_total(&self, charge_id: &str, at_seconds: i64) -> impl Iterator<Item = &String> {
        let counts = move |refund: &OfRefund| {
            refund.charge.as_deref().is_none_or(|of| of == charge_id)
                && refund.made.as_ref().is_some_and(|made| made.at_seconds <= at_seconds)
                && refund.cancelled_at_seconds.is_none_or(|cancelled| cancelled >= at_seconds)
        };
        self.refunds.iter().filter(move |(_, refund)| counts(refund)).map(|(id, _)| id)
    }
}

impl Desired {
    fn park_amount(&mut self, object_id: &str, amount: &Amount, fault: AmountFault) {
        let (object_id, amount) = (object_id.into(), amount.clone());
        self.parked.push(Parked::UnusableAmount { object_id, amount, fault });
    }
}
