//! What the events say that are read here, in one enum.
//!
//! | event | fact |
//! |---|---|
//! | `checkout.session.completed`, `checkout.session.async_payment_succeeded` | [`Fact::Session`] |
//! | `payment_intent.succeeded` | [`Fact::IntentSucceeded`] |
//! | `invoice_payment.paid` | [`Fact::InvoicePaymentPaid`] |
//! | `invoice.paid` | [`Fact::InvoicePaid`] |
//! | `refund.created`, `refund.updated`, `refund.failed` | [`Fact::Refund`] |
//! | `charge.refunded` | [`Fact::ChargeRefunded`] |
//! | `charge.dispute.created`, `charge.dispute.updated`, `charge.dispute.closed` | [`Fact::Dispute`] |
//! | any other | [`Fact::Unknown`] |
//!
//! A fact holds the fields that are used, as Stripe wrote them: amounts in Stripe's units, currencies in lower case.
//! Events and facts serialise, so that a caller can keep those that wait for their payment.

mod parse;

use serde::{Deserialize, Serialize};

pub use parse::{Malformed, Unread, identify, parse};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its id, `evt_...`. A repeated delivery has the same one.
    pub event_id: String,
    /// Its type, such as `invoice.paid`.
    pub event_type: String,
    /// The API version in which its object is written; absent if Stripe does not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub api_version: Option<String>,
    /// When it happened, in seconds since 1970; 0 for an unknown event that does not say so in seconds.
    pub created_seconds: i64,
    /// Whether it is about real money.
    pub is_live: bool,
    /// The connected account of a platform that it is about; absent if it is about the endpoint's own account.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account_id: Option<String>,
    /// What it says.
    pub fact: Fact,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    /// A buyer went through Checkout; whether they have paid, it says itself.
    Session(Session),
    /// A payment succeeded.
    IntentSucceeded(Intent),
    /// A payment was made towards an invoice.
    InvoicePaymentPaid(InvoicePayment),
    /// An invoice is paid, by whatever payments.
    InvoicePaid(Invoice),
    /// A refund, and how it stands.
    Refund(Refund),
    /// A charge was refunded, and what that comes to by now.
    ChargeRefunded(ChargeRefunded),
    /// A dispute, and how it stands.
    Dispute(Dispute),
    /// Of a type that says nothing here.
    Unknown,
}

/// An amount as Stripe writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Amount {
    /// In the unit of Stripe's table (`currency.rs`); not negative.
    pub amount: i64,
    /// A code in lower case.
    pub currency: String,
}

/// A session of Checkout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// `cs_...`.
    pub session_id: String,
    /// What it is for.
    pub mode: SessionMode,
    /// Whether the buyer has paid. A bank debit is unpaid when the session completes; the payment follows in days.
    pub is_paid: bool,
    /// The payment; absent in other modes, and if nothing was to pay.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payment_intent: Option<String>,
    /// The first invoice of a subscription, or that of the payment if one was made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub invoice: Option<String>,
    /// Who buys, as the merchant named them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_reference_id: Option<String>,
    /// Who buys, by `metadata.user_id`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata_user_id: Option<String>,
    /// The total, with discounts and taxes; absent if Stripe does not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub total: Option<Amount>,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionMode {
    /// One payment.
    Payment,
    /// A subscription, whose invoices are paid.
    Subscription,
    /// To keep a card; and whatever modes there will be. No payment.
    Other,
}

/// A payment intent that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// `pi_...`.
    pub intent_id: String,
    /// `amount_received`: what was collected.
    pub received: Amount,
    /// Who buys, by `metadata.user_id`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata_user_id: Option<String>,
    /// The charge that succeeded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub latest_charge: Option<String>,
}

/// A payment towards an invoice. An invoice can be paid in parts, and a payment can pay several invoices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoicePayment {
    /// `in_...`.
    pub invoice: String,
    /// The payment; absent if the invoice was paid outside of Stripe, or by a charge without a payment intent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payment_intent: Option<String>,
    /// What of the payment went to this invoice; absent if Stripe does not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paid: Option<Amount>,
}

/// An invoice that is paid. Since `2025-03-31.basil` it does not name its payments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// `in_...`.
    pub invoice_id: String,
    /// Who subscribes, by `parent.subscription_details.metadata.user_id`: the subscription's metadata.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subscription_user_id: Option<String>,
}

/// A refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// `re_...`.
    pub refund_id: String,
    /// The payment; absent for a charge without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payment_intent: Option<String>,
    /// The charge.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub charge: Option<String>,
    /// How much; never changes.
    pub amount: Amount,
    /// When it was made, in seconds since 1970.
    pub made_seconds: i64,
    /// Whether it did not happen after all: the event is `refund.failed`, or the status `failed` or `canceled`.
    pub is_cancelled: bool,
}

/// A charge some of which was refunded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeRefunded {
    /// `ch_...` or `py_...`.
    pub charge_id: String,
    /// The payment; absent for a charge without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payment_intent: Option<String>,
    /// `amount_refunded`: all refunds up to this event that have not failed.
    pub refunded: Amount,
}

/// A dispute about a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// `dp_...` or `du_...`.
    pub dispute_id: String,
    /// The payment; absent for a charge without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payment_intent: Option<String>,
    /// The charge.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub charge: Option<String>,
    /// How much of the charge is disputed.
    pub amount: Amount,
    /// How it stands.
    pub status: DisputeStatus,
    /// Whether the event says that it was opened, and not how it has changed since.
    #[serde(default)]
    pub is_opening: bool,
}

/// How a dispute stands. The order decides between events of one second: what is decided is the later one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    /// `needs_response`, `under_review`, `warning_needs_response` or `warning_under_review`.
    Open,
    /// A status that does not say where the money is, such as `prevented`.
    Unclear(String),
    /// `won`, or `warning_closed`: an inquiry that did not become a dispute.
    Won,
    /// `lost`.
    Lost,
}

/// An object of Stripe by which facts are found. A caller stores a fact under all its keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "of", content = "id", rename_all = "snake_case")]
pub enum Key {
    /// A payment intent: the payment itself.
    Intent(String),
    /// A session of Checkout.
    Session(String),
    /// An invoice.
    Invoice(String),
    /// A charge.
    Charge(String),
}

impl Fact {
    /// The payment that the fact names itself. A fact that names none belongs to each payment with one of its keys.
    #[must_use]
    pub fn intent(&self) -> Option<&str> {
        match self {
            Self::Session(session) => session.payment_intent.as_deref(),
            Self::IntentSucceeded(intent) => Some(&intent.intent_id),
            Self::InvoicePaymentPaid(paid) => paid.payment_intent.as_deref(),
            Self::Refund(refund) => refund.payment_intent.as_deref(),
            Self::ChargeRefunded(charge) => charge.payment_intent.as_deref(),
            Self::Dispute(dispute) => dispute.payment_intent.as_deref(),
            Self::InvoicePaid(_) | Self::Unknown => None,
        }
    }

    /// All objects that the fact names; none for an unknown one, which needs no keeping.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let (mut session, mut invoice, mut charge) = (None, None, None);
        match self {
            Self::Session(of) => {
                session = Some(&of.session_id);
                invoice = of.invoice.as_ref();
            }
            Self::IntentSucceeded(of) => charge = of.latest_charge.as_ref(),
            Self::InvoicePaymentPaid(of) => invoice = Some(&of.invoice),
            Self::InvoicePaid(of) => invoice = Some(&of.invoice_id),
            Self::Refund(of) => charge = of.charge.as_ref(),
            Self::ChargeRefunded(of) => charge = Some(&of.charge_id),
            Self::Dispute(of) => charge = of.charge.as_ref(),
            Self::Unknown => {}
        }
        let keys = [
            self.intent().map(|id| Key::Intent(id.into())),
            session.cloned().map(Key::Session),
            invoice.cloned().map(Key::Invoice),
            charge.cloned().map(Key::Charge),
        ];
        keys.into_iter().flatten().collect()
    }
}

impl Event {
    /// Whether the endpoint's version is from before `2025-05-28.basil`, the first with `invoice_payment.paid`.
    /// Renewals then stay without a buyer, and the endpoint should be made anew.
    #[must_use]
    pub fn is_too_old_for_renewals(&self) -> bool {
        self.api_version.as_deref().is_some_and(|version| version < "2025-05-28")
    }
}
