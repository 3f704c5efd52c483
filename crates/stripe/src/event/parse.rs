//! Reading the body of a webhook. A malformed one is an error that names the field, never a panic.

use serde_json::{Map, Value};

use super::{
    Amount, ChargeRefunded, Dispute, DisputeStatus, Event, Fact, Intent, Invoice, InvoicePayment,
    Refund, Session, SessionMode,
};

/// The maximum length of an id. Stripe promises at most this many characters.
const MAX_ID_CHARS: usize = 255;
/// The maximum length of a currency code; ISO 4217 codes have three letters, others are not money here.
const MAX_CURRENCY_CHARS: usize = 12;

/// The last second of the year 9999, the latest time that can be recorded.
const MAX_SECONDS: i64 = 253_402_300_799;

/// Why a body is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The body is not JSON.
    #[error("the body is not JSON")]
    NotJson,
    /// A field is missing or has another form than Stripe documents.
    #[error("{field}: must be {expected}")]
    Field {
        /// The path of the field, such as `data.object.payment_intent`.
        field: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// Reads the object of an event of the type named.
type Read = fn(&Object, &str) -> Result<Fact, Malformed>;

/// Reads an event. Of an unknown type, only id and type must be there, since Stripe may write those in another form (as
/// it does with its thin events).
///
/// # Errors
/// [`Malformed`], with the field.
pub fn parse(body: &[u8]) -> Result<Event, Malformed> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Malformed::NotJson)?;
    let Value::Object(members) = &value else { return Err(malformed("body", "an object")) };
    let envelope = Object { members, path: "" };
    let event_type = envelope.id("type")?;
    let read: Option<Read> = match event_type.as_str() {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => Some(session),
        "payment_intent.succeeded" => Some(intent),
        "invoice_payment.paid" => Some(invoice_payment),
        "invoice.paid" => Some(invoice),
        "refund.created" | "refund.updated" | "refund.failed" => Some(refund),
        "charge.refunded" => Some(charge_refunded),
        "charge.dispute.created" | "charge.dispute.updated" | "charge.dispute.closed" => {
            Some(dispute)
        }
        _ => None,
    };
    let fact = match read {
        None => Fact::Unknown,
        Some(read) => {
            let data = envelope.object("data", "data")?;
            read(&data.object("object", "data.object")?, &event_type)?
        }
    };
    let (created_seconds, is_live) = if fact == Fact::Unknown {
        let created = envelope.get("created").and_then(Value::as_i64).unwrap_or_default();
        (created, envelope.get("livemode").and_then(Value::as_bool).unwrap_or_default())
    } else {
        (envelope.seconds("created")?, envelope.boolean("livemode")?)
    };
    Ok(Event {
        event_id: envelope.id("id")?,
        event_type,
        api_version: envelope.optional_id("api_version")?,
        created_seconds,
        is_live,
        account_id: envelope.optional_id("account")?,
        fact,
    })
}

/// A body that is no event that can be read, by what it says of itself: enough to find it by, and to erase it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its id.
    pub event_id: String,
    /// Its type; empty if it has none.
    pub event_type: String,
    /// All whom it names as a buyer, in places where events do.
    pub named: Vec<String>,
}

/// What a malformed body says of itself; `None` if it has no id.
#[must_use]
pub fn identify(body: &[u8]) -> Option<Unread> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let text = |path: &str| {
        let text = value.pointer(path).and_then(Value::as_str);
        text.filter(|text| is_plain(text) && text.len() <= MAX_ID_CHARS).map(ToOwned::to_owned)
    };
    let places = [
        "/data/object/client_reference_id",
        "/data/object/metadata/user_id",
        "/data/object/parent/subscription_details/metadata/user_id",
    ];
    Some(Unread {
        event_id: text("/id")?,
        event_type: text("/type").unwrap_or_default(),
        named: places.into_iter().filter_map(text).collect(),
    })
}

fn session(object: &Object, event_type: &str) -> Result<Fact, Malformed> {
    let mode = match object.id("mode")?.as_str() {
        "payment" => SessionMode::Payment,
        "subscription" => SessionMode::Subscription,
        _ => SessionMode::Other,
    };
    let status = object.id("payment_status")?;
    // The event itself says that the payment succeeded.
    let is_paid = status == "paid" || event_type == "checkout.session.async_payment_succeeded";
    Ok(Fact::Session(Session {
        session_id: object.id("id")?,
        mode,
        is_paid,
        payment_intent: object.reference("payment_intent")?,
        invoice: object.reference("invoice")?,
        client_reference_id: object.name("client_reference_id")?,
        metadata_user_id: object.user_id("data.object.metadata")?,
        total: object.optional_amount("amount_total")?,
    }))
}

fn intent(object: &Object, _event_type: &str) -> Result<Fact, Malformed> {
    Ok(Fact::IntentSucceeded(Intent {
        intent_id: object.id("id")?,
        received: object.amount("amount_received")?,
        metadata_user_id: object.user_id("data.object.metadata")?,
        latest_charge: object.reference("latest_charge")?,
    }))
}

fn invoice_payment(object: &Object, _event_type: &str) -> Result<Fact, Malformed> {
    let payment = object.object("payment", "data.object.payment")?;
    let invoice = object.reference("invoice")?;
    Ok(Fact::InvoicePaymentPaid(InvoicePayment {
        invoice: invoice.ok_or_else(|| object.fault("invoice", "an id"))?,
        payment_intent: payment.reference("payment_intent")?,
        paid: object.optional_amount("amount_paid")?,
    }))
}

fn invoice(object: &Object, _event_type: &str) -> Result<Fact, Malformed> {
    let parent = object.optional_object("parent", "data.object.parent")?;
    let path = "data.object.parent.subscription_details";
    let details = match parent {
        Some(parent) => parent.optional_object("subscription_details", path)?,
        None => None,
    };
    let path = "data.object.parent.subscription_details.metadata";
    let subscription_user_id = match details {
        Some(details) => details.user_id(path)?,
        None => None,
    };
    Ok(Fact::InvoicePaid(Invoice { invoice_id: object.id("id")?, subscription_user_id }))
}

fn refund(object: &Object, event_type: &str) -> Result<Fact, Malformed> {
    let status = object.optional_id("status")?;
    let is_cancelled = matches!(status.as_deref(), Some("failed" | "canceled"));
    Ok(Fact::Refund(Refund {
        refund_id: object.id("id")?,
        payment_intent: object.reference("payment_intent")?,
        charge: object.reference("charge")?,
        amount: object.amount("amount")?,
        made_seconds: object.seconds("created")?,
        is_cancelled: is_cancelled || event_type == "refund.failed",
    }))
}

fn charge_refunded(object: &Object, _event_type: &str) -> Result<Fact, Malformed> {
    Ok(Fact::ChargeRefunded(ChargeRefunded {
        charge_id: object.id("id")?,
        payment_intent: object.reference("payment_intent")?,
        refunded: object.amount("amount_refunded")?,
    }))
}

fn dispute(object: &Object, event_type: &str) -> Result<Fact, Malformed> {
    let status = object.id("status")?;
    let status = match status.as_str() {
        "needs_response" | "under_review" | "warning_needs_response" | "warning_under_review" => {
            DisputeStatus::Open
        }
        "won" | "warning_closed" => DisputeStatus::Won,
        "lost" => DisputeStatus::Lost,
        _ => DisputeStatus::Unclear(status),
    };
    Ok(Fact::Dispute(Dispute {
        dispute_id: object.id("id")?,
        payment_intent: object.reference("payment_intent")?,
        charge: object.reference("charge")?,
        amount: object.amount("amount")?,
        status,
        is_opening: event_type == "charge.dispute.created",
    }))
}

fn malformed(field: impl Into<String>, expected: &'static str) -> Malformed {
    Malformed::Field { field: field.into(), expected }
}

/// Whether a text can be kept: Postgres takes no NUL in JSON, and no id has any other control character.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// An object of the payload, with its path.
struct Object<'a> {
    members: &'a Map<String, Value>,
    path: &'static str,
}

impl<'a> Object<'a> {
    /// The value of a member; `null` is absent.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    fn fault(&self, name: &str, expected: &'static str) -> Malformed {
        let separator = if self.path.is_empty() { "" } else { "." };
        malformed(format!("{}{separator}{name}", self.path), expected)
    }

    fn optional_object(&self, name: &str, path: &'static str) -> Result<Option<Self>, Malformed> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Object { members, path })),
            Some(_) => Err(self.fault(name, "an object")),
        }
    }

    fn object(&self, name: &str, path: &'static str) -> Result<Self, Malformed> {
        self.optional_object(name, path)?.ok_or_else(|| self.fault(name, "an object"))
    }

    fn optional_id(&self, name: &str) -> Result<Option<String>, Malformed> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if is_plain(text) && text.len() <= MAX_ID_CHARS => {
                Ok(Some(text.clone()))
            }
            Some(_) => Err(self.fault(name, "a text of at most 255 characters")),
        }
    }

    fn id(&self, name: &str) -> Result<String, Malformed> {
        let id = self.optional_id(name)?;
        id.ok_or_else(|| self.fault(name, "a text of at most 255 characters"))
    }

    /// The id of another object, which Stripe may have expanded in its place.
    fn reference(&self, name: &str) -> Result<Option<String>, Malformed> {
        match self.get(name) {
            Some(Value::Object(members)) => match members.get("id") {
                Some(Value::String(id)) if is_plain(id) && id.len() <= MAX_ID_CHARS => {
                    Ok(Some(id.clone()))
                }
                _ => Err(self.fault(name, "an id or an object with one")),
            },
            _ => self.optional_id(name),
        }
    }

    /// Who buys, in words of the merchant. A text that nobody can be called by names nobody.
    fn name(&self, name: &str) -> Result<Option<String>, Malformed> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| is_plain(text))),
            Some(_) => Err(self.fault(name, "a text")),
        }
    }

    /// The member `user_id` of the metadata.
    fn user_id(&self, path: &'static str) -> Result<Option<String>, Malformed> {
        match self.optional_object("metadata", path)? {
            Some(metadata) => metadata.name("user_id"),
            None => Ok(None),
        }
    }

    fn integer(&self, name: &str) -> Result<Option<i64>, Malformed> {
        let expected = "an integer that is not negative";
        match self.get(name).map(Value::as_i64) {
            None => Ok(None),
            Some(Some(number)) if number >= 0 => Ok(Some(number)),
            Some(_) => Err(self.fault(name, expected)),
        }
    }

    /// A time. Zero is what a field that was never set has, and would sort before every other event.
    fn seconds(&self, name: &str) -> Result<i64, Malformed> {
        let seconds = self.get(name).and_then(Value::as_i64);
        let seconds = seconds.filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
        seconds.ok_or_else(|| self.fault(name, "a time in whole seconds since 1970, above 0"))
    }

    fn boolean(&self, name: &str) -> Result<bool, Malformed> {
        let value = self.get(name).and_then(Value::as_bool);
        value.ok_or_else(|| self.fault(name, "true or false"))
    }

    fn currency(&self) -> Result<Option<String>, Malformed> {
        let is_code = |text: &String| {
            text.len() <= MAX_CURRENCY_CHARS && text.bytes().all(|of| of.is_ascii_alphanumeric())
        };
        match self.optional_id("currency")? {
            None => Ok(None),
            Some(code) if is_code(&code) => Ok(Some(code.to_ascii_lowercase())),
            Some(_) => Err(self.fault("currency", "a currency code")),
        }
    }

    /// An amount in the object's currency. If either is absent, so is the amount.
    fn optional_amount(&self, name: &str) -> Result<Option<Amount>, Malformed> {
        let (amount, currency) = (self.integer(name)?, self.currency()?);
        Ok(amount.zip(currency).map(|(amount, currency)| Amount { amount, currency }))
    }

    fn amount(&self, name: &str) -> Result<Amount, Malformed> {
        let amount = self.integer(name)?;
        let amount = amount.ok_or_else(|| self.fault(name, "an integer that is not negative"))?;
        let currency = self.currency()?;
        let currency = currency.ok_or_else(|| self.fault("currency", "a currency code"))?;
        Ok(Amount { amount, currency })
    }
}
