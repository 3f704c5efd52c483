//! What of a payment waits for an event or an operator.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settle::RULES;
use crate::store::stripe::ParkedPayment;
use domain::currency::amount_text;
use stripe::event::Amount;
use stripe::payment::{AmountFault, DisputeState, Money, Outcome, Parked, Payment, issue_id};

/// How many ids are shown where there can be any number.
const MAX_SHOWN_IDS: usize = 10;

/// Why something of a payment waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// By what was told, and by what is recorded.
    Told(Parked),
    /// The id of an object is not one that can be recorded.
    UnusableId {
        /// The object.
        object_id: String,
    },
    /// Whoever is named as the buyer does not exist.
    UnknownBuyer {
        /// Who is named.
        user_id: String,
    },
    /// What is due was refused.
    Refused {
        /// Why, in words.
        refusal: String,
        /// The refunds and disputes that were refused for this reason; none if the purchase was.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        object_ids: Vec<String>,
    },
}

impl Reason {
    /// What names it, so that an operator can acknowledge it. What is still due is recorded all the same, as soon as it
    /// can be.
    #[must_use]
    pub fn issue_id(&self) -> String {
        match self {
            Self::Told(parked) => issue_id(parked),
            Self::UnusableId { .. } | Self::UnknownBuyer { .. } | Self::Refused { .. } => {
                issue_id(self)
            }
        }
    }
}

/// The most reasons that are kept of one payment: as many as one call acknowledges. Once these are acknowledged, the
/// others take their place.
const MAX_KEPT: usize = 100;

/// Reasons as they are kept, each once; `None` if there are none. Two sessions can say the same, for instance.
pub(super) fn kept(reasons: &[Reason]) -> Option<Value> {
    let mut different: Vec<&Reason> = Vec::new();
    for reason in reasons {
        if different.len() < MAX_KEPT && !different.contains(&reason) {
            different.push(reason);
        }
    }
    if different.is_empty() { None } else { serde_json::to_value(different).ok() }
}

/// The reasons that were kept. A later release may know more.
#[must_use]
pub fn reasons_of(kept: &Value) -> Vec<Reason> {
    let reasons = kept.as_array().map(Vec::as_slice).unwrap_or_default();
    reasons.iter().filter_map(|reason| Reason::deserialize(reason).ok()).collect()
}

/// What was paid, as far as it can be recorded.
#[must_use]
pub fn paid(payment: &ParkedPayment) -> Option<Money> {
    let told = Payment::deserialize(&payment.state).ok()?;
    told.desired(&RULES).paid
}

/// A reason, for operators.
#[must_use]
pub fn words(reason: &Reason) -> String {
    match reason {
        Reason::Told(parked) => words_of_told(parked),
        Reason::UnusableId { object_id } => format!("the id {object_id} cannot be recorded"),
        Reason::UnknownBuyer { user_id } => format!(
            "user {user_id} is named as the buyer and does not exist: register them with this id and attach the \
             payment, or attach it to somebody else"
        ),
        Reason::Refused { refusal, object_ids } if object_ids.is_empty() => refusal.clone(),
        Reason::Refused { refusal, object_ids } => format!("{}: {refusal}", some(object_ids)),
    }
}

/// Ids, or the first of them if they are many.
fn some(ids: &[String]) -> String {
    let shown = ids.get(..MAX_SHOWN_IDS).unwrap_or(ids).join(", ");
    match ids.len().saturating_sub(MAX_SHOWN_IDS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn words_of_told(parked: &Parked) -> String {
    let money = |of: &Money| amount_text(of.amount_minor, &of.currency_code);
    let told = |of: &Amount| format!("{} {} in Stripe's unit", of.amount, of.currency);
    match parked {
        Parked::NoBuyer => {
            "no event names a buyer: attach the payment to whoever bought; sessions should have \
                            client_reference_id"
                .into()
        }
        Parked::ErasedBuyer => {
            "whoever was named as the buyer was erased: attach the payment to somebody, or acknowledge this".into()
        }
        Parked::UnusableBuyer { named } => format!(
            "named as the buyer, and no user id: {}; attach the payment to whoever bought",
            named.join(", ")
        ),
        Parked::BuyersDiffer { buyer_user_id, others } => {
            format!("{buyer_user_id} is named first as the buyer; also named: {}", others.join(", "))
        }
        Parked::IntentMissing => "money has moved, and payment_intent.succeeded has not come: the endpoint may not receive it".into(),
        Parked::AmountsDiffer { counted, told: of_session } => {
            format!("{} count; a session says {}", told(counted), told(of_session))
        }
        Parked::ReceivedDiffers { counted, told: of_intent } => {
            format!(
                "{} count; the payment was also reported with {}",
                told(counted),
                told(of_intent)
            )
        }
        Parked::UnusableAmount { object_id, amount, fault } => {
            let why = match fault {
                AmountFault::UnknownCurrency => "is in no currency of ISO 4217".to_owned(),
                AmountFault::Unconvertible(fault) => fault.to_string(),
                AmountFault::OtherCurrency(code) => format!("is not in {code}"),
            };
            format!("{object_id}: {} {why}", told(amount))
        }
        Parked::UnclearDispute { dispute_id, status } => format!("{dispute_id} is {status}"),
        Parked::RecordedAmountDiffers { recorded, desired } => {
            format!("{} are recorded; {} were paid", money(recorded), money(desired))
        }
        Parked::RecordedBuyerDiffers { recorded_user_id, desired_user_id } => {
            format!(
                "recorded for {recorded_user_id}, and stays so; by what has come since, {desired_user_id} bought"
            )
        }
        Parked::RecordedCurrencyDiffers { object_id, amount, recorded_currency_code } => {
            format!("{object_id}: {} for a purchase in {recorded_currency_code}", money(amount))
        }
        Parked::RecordedRefundDiffers { refund_id, recorded_minor, desired_minor } => {
            format!(
                "{refund_id}: {recorded_minor} minor units are recorded, {desired_minor} were refunded"
            )
        }
        Parked::RecordedRefundCancelled { refund_id, refunded_minor } => {
            format!("{refund_id}: cancelled here, but {refunded_minor} minor units were refunded")
        }
        Parked::TotalCountsCancelled { charge_id, refund_ids, counted_minor } => {
            format!(
                "{} cancelled here, but by the total of {charge_id} {counted_minor} minor units more were \
                 refunded than are known otherwise; the total counts",
                some(refund_ids)
            )
        }
        Parked::BackExceedsPaid { back_minor, paid_minor } => {
            format!(
                "refunds and lost disputes come to {back_minor} minor units of {paid_minor} that were paid"
            )
        }
        Parked::DisputeExceedsPaid { dispute_id, disputed_minor, paid_minor } => {
            format!(
                "{dispute_id} is about {disputed_minor} minor units of {paid_minor} that were paid"
            )
        }
        Parked::RecordedDisputeDiffers { dispute_id, recorded_minor, desired_minor } => {
            format!(
                "{dispute_id}: {recorded_minor} minor units are recorded as lost, {desired_minor} were lost"
            )
        }
        Parked::DisputeChanged { dispute_id, state } => {
            let state = match state {
                DisputeState::Open => "open",
                DisputeState::Closed(Outcome::Won) => "won",
                DisputeState::Closed(Outcome::Lost) => "lost",
            };
            format!("{dispute_id} was recorded as closed, and is {state} now")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn a_reason_is_kept_once_and_so_many_are_kept() {
        let refused = |number: usize| Reason::Refused {
            refusal: format!("because of {number}"),
            object_ids: Vec::new(),
        };
        assert_eq!(kept(&[]), None);
        let twice = [refused(1), Reason::Told(Parked::NoBuyer), refused(1)];
        assert_eq!(reasons_of(&kept(&twice).unwrap()), twice[..2]);
        let many: Vec<Reason> = (0..MAX_KEPT + 5).map(refused).collect();
        assert_eq!(reasons_of(&kept(&many).unwrap()), many[..MAX_KEPT]);
    }
}
