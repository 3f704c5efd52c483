//! Payloads as Stripe documents them, for tests and for trying out an endpoint. All values are made up.
//!
//! Each function of an object gives it with the fields that Stripe's reference shows; the caller changes what it wants.
//! [`event`] puts an object into its envelope, and [`crate::signature::sign`] signs the body.

use serde_json::{Value, json};

/// The API version in which the samples are written, and in which an endpoint should be made.
pub const API_VERSION: &str = "2026-08-26.dahlia";

/// An event about `object`.
#[must_use]
pub fn event(event_id: &str, event_type: &str, created_seconds: i64, object: &Value) -> Value {
    json!({
        "id": event_id,
        "object": "event",
        "api_version": API_VERSION,
        "created": created_seconds,
        "data": { "object": object },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "type": event_type,
    })
}

/// A session of Checkout in payment mode that is paid, with `client_reference_id`.
#[must_use]
pub fn session(session_id: &str, intent_id: &str, buyer_user_id: &str, amount: i64) -> Value {
    json!({
        "id": session_id,
        "object": "checkout.session",
        "adaptive_pricing": { "enabled": false },
        "amount_subtotal": amount,
        "amount_total": amount,
        "automatic_tax": { "enabled": false, "liability": null, "provider": null, "status": null },
        "cancel_url": "https://shop.example.com/cancelled",
        "client_reference_id": buyer_user_id,
        "created": 1_764_000_000,
        "currency": "usd",
        "customer": null,
        "customer_details": { "email": "buyer@example.com", "name": null, "tax_exempt": "none" },
        "expires_at": 1_764_086_400,
        "invoice": null,
        "livemode": false,
        "metadata": {},
        "mode": "payment",
        "payment_intent": intent_id,
        "payment_method_types": ["card"],
        "payment_status": "paid",
        "status": "complete",
        "subscription": null,
        "success_url": "https://shop.example.com/thanks",
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        "ui_mode": "hosted_page",
        "url": null,
    })
}

/// A payment intent that succeeded, without a buyer in its metadata.
#[must_use]
pub fn intent(intent_id: &str, charge_id: &str, amount_received: i64) -> Value {
    json!({
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount_received,
        "amount_capturable": 0,
        "amount_details": { "tip": {} },
        "amount_received": amount_received,
        "application": null,
        "automatic_payment_methods": { "enabled": true },
        "canceled_at": null,
        "capture_method": "automatic_async",
        "client_secret": null,
        "confirmation_method": "automatic",
        "created": 1_764_000_000,
        "currency": "usd",
        "customer": null,
        "description": null,
        "latest_charge": charge_id,
        "livemode": false,
        "metadata": {},
        "payment_method_types": ["card"],
        "status": "succeeded",
    })
}

/// A payment towards an invoice.
#[must_use]
pub fn invoice_payment(invoice_id: &str, intent_id: &str, amount_paid: i64) -> Value {
    json!({
        "id": format!("inpay_{invoice_id}"),
        "object": "invoice_payment",
        "amount_paid": amount_paid,
        "amount_requested": amount_paid,
        "created": 1_764_000_000,
        "currency": "usd",
        "invoice": invoice_id,
        "is_default": true,
        "livemode": false,
        "payment": { "payment_intent": intent_id, "type": "payment_intent" },
        "status": "paid",
        "status_transitions": { "canceled_at": null, "paid_at": 1_764_000_000 },
    })
}

/// An invoice of a subscription whose metadata name the buyer.
#[must_use]
pub fn invoice(invoice_id: &str, buyer_user_id: &str, amount_paid: i64) -> Value {
    json!({
        "id": invoice_id,
        "object": "invoice",
        "amount_due": amount_paid,
        "amount_overpaid": 0,
        "amount_paid": amount_paid,
        "amount_remaining": 0,
        "attempt_count": 1,
        "attempted": true,
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "created": 1_764_000_000,
        "currency": "usd",
        "customer": "cus_sample",
        "livemode": false,
        "metadata": {},
        "parent": {
            "quote_details": null,
            "subscription_details": {
                "metadata": { "user_id": buyer_user_id },
                "subscription": "sub_sample",
            },
            "type": "subscription_details",
        },
        "status": "paid",
        "total": amount_paid,
    })
}

/// A refund that succeeded.
#[must_use]
pub fn refund(refund_id: &str, intent_id: &str, charge_id: &str, amount: i64) -> Value {
    json!({
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": "txn_sample",
        "charge": charge_id,
        "created": 1_764_000_000,
        "currency": "usd",
        "destination_details": { "card": { "type": "refund" }, "type": "card" },
        "metadata": {},
        "payment_intent": intent_id,
        "reason": null,
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": "succeeded",
        "transfer_reversal": null,
    })
}

/// A charge of which `amount_refunded` has been refunded by now.
#[must_use]
pub fn charge(charge_id: &str, intent_id: &str, amount: i64, amount_refunded: i64) -> Value {
    json!({
        "id": charge_id,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": amount_refunded,
        "balance_transaction": "txn_sample",
        "captured": true,
        "created": 1_764_000_000,
        "currency": "usd",
        "customer": null,
        "disputed": false,
        "livemode": false,
        "metadata": {},
        "paid": true,
        "payment_intent": intent_id,
        "refunded": amount_refunded == amount,
        "status": "succeeded",
    })
}

/// A dispute in the given status.
#[must_use]
pub fn dispute(
    dispute_id: &str,
    intent_id: &str,
    charge_id: &str,
    amount: i64,
    status: &str,
) -> Value {
    json!({
        "id": dispute_id,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge_id,
        "created": 1_764_000_000,
        "currency": "usd",
        "enhanced_eligibility_types": [],
        "evidence_details": { "due_by": 1_765_000_000, "has_evidence": false, "submission_count": 0 },
        "is_charge_refundable": false,
        "livemode": false,
        "metadata": {},
        "payment_intent": intent_id,
        "reason": "general",
        "status": status,
    })
}
