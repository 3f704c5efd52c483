//! Payments by Stripe: sessions of Checkout, and payments of which something waits.

use super::Handlers;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason, PaymentIssueKind};
use crate::api::reads::{Named, must_exist};
use crate::api::responses::{money, time};
use crate::api::tokens::consistency_token;
use crate::api::writes::{command_fields, request_key};
use crate::engine::Failure;
use crate::hang;
use crate::payments::{
    CheckoutSession, NewSession, PaymentError, ProviderError, Reason, Settled, paid, reasons_of,
    to_the_end, words,
};
use crate::store::in_time;
use crate::store::stripe::{self as store, ParkedPayment};
use domain::currency::decimals;
use domain::{PurchaseId, UserId};
use stripe::currency::stripe_amount;
use stripe::payment::Parked;
use url::Url;

/// The longest address of a page, in bytes.
const MAX_URL_BYTES: usize = 2_000;

/// The most issues that are acknowledged by one call.
const MAX_ISSUES: usize = 100;
/// The longest id of an issue, in bytes.
const MAX_ISSUE_ID_BYTES: usize = 64;
/// The longest id of an object at Stripe, in bytes.
const MAX_PAYMENT_ID_BYTES: usize = 255;

impl From<PaymentError> for ApiError {
    fn from(error: PaymentError) -> Self {
        match error {
            PaymentError::Store(error) => error.into(),
            PaymentError::Query(error) => error.into(),
            PaymentError::Failed(failure) => failure.into(),
            PaymentError::Contended | PaymentError::Busy => Failure::Conflict.into(),
        }
    }
}

impl From<ProviderError> for ApiError {
    fn from(error: ProviderError) -> Self {
        let message = error.to_string();
        Self(match &error {
            ProviderError::NoKey => status(ErrorReason::ProviderNotConfigured, message, &[]),
            ProviderError::Unavailable(_) => status(ErrorReason::ProviderUnavailable, message, &[]),
            ProviderError::Refused { status: answered, code, .. } => status(
                ErrorReason::ProviderRefused,
                message,
                &[("status", answered), ("code", code)],
            ),
            ProviderError::Reused => status(ErrorReason::RequestIdReused, message, &[]),
        })
    }
}

impl Handlers {
    pub(in crate::api) async fn create_checkout_session(
        &self,
        call: Call<pb::CreateCheckoutSessionRequest>,
    ) -> Result<pb::CreateCheckoutSessionResponse, ApiError> {
        let request = &call.message;
        let mut fields = command_fields(request);
        let buyer = fields.id("buyer_user_id", &request.buyer_user_id, UserId::parse);
        let amount = fields.money("amount", request.amount.as_ref());
        let amount = amount.and_then(|amount| payable(&mut fields, amount));
        let success_url = page_url(&mut fields, "success_url", &request.success_url);
        let cancel_url = page_url(&mut fields, "cancel_url", &request.cancel_url);
        let required = buyer.zip(amount).zip(success_url.zip(cancel_url));
        let ((buyer, (amount, currency_code)), (success_url, cancel_url)) =
            fields.finish(required)?;
        if !self.0.payments.can_call() {
            return Err(ProviderError::NoKey.into());
        }
        must_exist(&self.0, Named::User(&buyer)).await?;
        let idempotency_key = match request_key(&self.0, &call, &call.principal.scope()) {
            Some(request) => request.key.to_string(),
            None => self.0.environment.fresh_id(),
        };
        let new = NewSession {
            buyer: &buyer,
            amount,
            currency_code: &currency_code,
            success_url,
            cancel_url,
            idempotency_key: &idempotency_key,
        };
        let session = self.0.payments.open_session(&call.principal.scope(), &new).await;
        let CheckoutSession { session_id, url } = session.map_err(|error| {
            let request_id = &request.request_id;
            ApiError::from(error).with_fact(ErrorReason::RequestIdReused, "request_id", request_id)
        })?;
        Ok(pb::CreateCheckoutSessionResponse { session_id, url })
    }

    pub(in crate::api) async fn list_unmatched_payments(
        &self,
        call: Call<pb::ListUnmatchedPaymentsRequest>,
    ) -> Result<pb::ListUnmatchedPaymentsResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let before = page.before(&mut fields, &request.page_token);
        let before = fields.finish(before)?;
        let pool = self.0.database.pool();
        let found = in_time(store::parked(pool, before, page.rows())).await?;
        let (payments, next_page_token) = page.answer(found, |payment| payment.number, message);
        Ok(pb::ListUnmatchedPaymentsResponse { payments, next_page_token })
    }

    pub(in crate::api) async fn attach_payment(
        &self,
        call: Call<pb::AttachPaymentRequest>,
    ) -> Result<pb::AttachPaymentResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let payment_id = payment_id(&mut fields, &request.payment_id);
        let issue_ids = &request.acknowledged_issue_ids;
        let buyer = match &*request.buyer_user_id {
            "" if !issue_ids.is_empty() => Some(None),
            "" => {
                let message = "is required, or acknowledged_issue_ids: say who bought, or acknowledge issues by the \
                               issue_id that ListUnmatchedPayments shows";
                fields.fault("buyer_user_id", ErrorReason::FieldRequired, message);
                None
            }
            buyer => fields.id("buyer_user_id", buyer, UserId::parse).map(Some),
        };
        if issue_ids.len() > MAX_ISSUES || issue_ids.iter().any(|id| id.len() > MAX_ISSUE_ID_BYTES)
        {
            let message = "takes at most 100 ids as ListUnmatchedPayments shows them";
            fields.fault("acknowledged_issue_ids", ErrorReason::InvalidId, message);
        }
        let (id, buyer) = fields.finish(payment_id.zip(buyer))?;
        if let Some(buyer) = &buyer {
            must_exist(&self.0, Named::User(buyer)).await?;
        }
        let payments = &self.0.payments;
        let not_found = || {
            let message = format!("nothing was told about payment '{id}'");
            status(ErrorReason::PaymentNotFound, message, &[("payment_id", &id)])
        };
        let (actor, door) = (call.principal.actor(), call.door());
        // What is due already is recorded first, so that nobody's purchase gets another buyer.
        let settled = payments.settle(id, &actor, &door).await?.ok_or_else(not_found)?;
        self.refuse_other(id, buyer.as_ref(), &settled)?;
        let of_before = settled.position;
        // What does not wait in this form is not remembered.
        let shown: Vec<String> = settled.parked.iter().map(Reason::issue_id).collect();
        let seen: Vec<String> = issue_ids.iter().filter(|id| shown.contains(id)).cloned().collect();
        let (own, id_of, named) = (payments.clone(), id.to_owned(), buyer.clone());
        let attaching = async move {
            if !own.attach(&id_of, named.as_ref(), &seen).await? {
                return Ok(None);
            }
            hang::point("payments.settling");
            own.settle(&id_of, &actor, &door).await
        };
        let settled = to_the_end(attaching).await?.ok_or_else(not_found)?;
        self.refuse_other(id, buyer.as_ref(), &settled)?;
        let parked = in_time(store::find_parked(self.0.database.pool(), id)).await?;
        // Both times something can have been recorded: the first time, what waited for a user who exists by now.
        let position = settled.position.max(of_before);
        let token = position.map(|position| consistency_token(&self.0, position));
        Ok(pb::AttachPaymentResponse {
            recorded: settled.recorded_user_id.is_some(),
            payment: parked.map(message),
            consistency_token: token.unwrap_or_default(),
        })
    }

    #[allow(clippy::unused_self, clippy::result_large_err, reason = "reads like the others")]
    fn refuse_other(
        &self,
        id: &str,
        buyer: Option<&UserId>,
        settled: &Settled,
    ) -> Result<(), ApiError> {
        match &settled.recorded_user_id {
            Some(recorded) if buyer.is_some_and(|buyer| buyer != recorded) => {
                let message = format!("payment '{id}' is recorded as a purchase of '{recorded}'");
                let facts: [(&str, &dyn std::fmt::Display); 2] =
                    [("payment_id", &id), ("buyer_user_id", recorded)];
                Err(status(ErrorReason::PaymentRecorded, message, &facts).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Records what is due of a payment of Stripe whose purchase was changed by a call: what Stripe told before can
    /// mean something else now. Nothing is due of other purchases, which are spared the look. Returns the token with
    /// which a read sees that as well as the call itself, whose token is given.
    pub(super) async fn settle_payment(
        &self,
        purchase_id: &PurchaseId,
        token: String,
    ) -> Result<String, ApiError> {
        if !purchase_id.is_of_stripe() {
            return Ok(token);
        }
        let (payments, id) = (self.0.payments.clone(), purchase_id.to_string());
        let settling = async move {
            hang::point("payments.settling");
            payments.settle_as_told(&id).await
        };
        let settled = to_the_end(settling).await?;
        let position = settled.and_then(|settled| settled.position);
        Ok(position.map_or(token, |position| consistency_token(&self.0, position)))
    }
}

/// The id of a payment at Stripe, also one that no purchase can have.
fn payment_id<'a>(fields: &mut Fields, text: &'a str) -> Option<&'a str> {
    let text = fields.required("payment_id", text)?;
    if text.len() > MAX_PAYMENT_ID_BYTES {
        let message = format!("must have at most {MAX_PAYMENT_ID_BYTES} bytes");
        fields.fault("payment_id", ErrorReason::InvalidId, message);
        return None;
    }
    Some(text)
}

/// The amount in Stripe's unit, with its currency.
fn payable(fields: &mut Fields, (minor, code): (i64, String)) -> Option<(i64, String)> {
    let amount = decimals(&code).and_then(|digits| stripe_amount(minor, &code, digits).ok());
    if amount.is_none() {
        let message = "is no whole number of the units in which it can be paid";
        fields.fault("amount.minor_units", ErrorReason::AmountNotPayable, message);
    }
    amount.map(|amount| (amount, code))
}

/// The address of a page that a buyer is sent to.
fn page_url<'a>(fields: &mut Fields, field: &str, text: &'a str) -> Option<&'a str> {
    let text = fields.required(field, text)?;
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty()
    });
    if url.is_none() || text.len() > MAX_URL_BYTES {
        let message = "must be the whole address of a page, as in https://shop.example.com/thanks";
        fields.fault(field, ErrorReason::InvalidUrl, message);
        return None;
    }
    Some(text)
}

fn message(payment: ParkedPayment) -> pb::UnmatchedPayment {
    let issues = reasons_of(&payment.parked);
    let amount = paid(&payment);
    pb::UnmatchedPayment {
        payment_id: payment.payment_id,
        amount: amount.map(|paid| money(&paid.currency_code, paid.amount_minor)),
        buyer_user_id: payment.user_id.unwrap_or_default(),
        issues: issues.iter().map(issue).collect(),
        create_time: Some(time(payment.first_at)),
        update_time: Some(time(payment.changed_at)),
        recorded: payment.is_recorded,
    }
}

fn issue(reason: &Reason) -> pb::PaymentIssue {
    pb::PaymentIssue {
        kind: kind(reason).into(),
        detail: words(reason),
        issue_id: reason.issue_id(),
    }
}

fn kind(reason: &Reason) -> PaymentIssueKind {
    match reason {
        Reason::UnknownBuyer { .. } => PaymentIssueKind::UnknownBuyer,
        Reason::Refused { .. } | Reason::UnusableId { .. } => PaymentIssueKind::Refused,
        Reason::Told(parked) => match parked {
            Parked::NoBuyer => PaymentIssueKind::NoBuyer,
            Parked::ErasedBuyer => PaymentIssueKind::ErasedBuyer,
            Parked::UnusableBuyer { .. } => PaymentIssueKind::UnusableBuyer,
            Parked::BuyersDiffer { .. } => PaymentIssueKind::BuyersDiffer,
            Parked::IntentMissing => PaymentIssueKind::IntentMissing,
            Parked::AmountsDiffer { .. } | Parked::ReceivedDiffers { .. } => {
                PaymentIssueKind::AmountsDiffer
            }
            Parked::UnusableAmount { .. } => PaymentIssueKind::UnusableAmount,
            Parked::UnclearDispute { .. } => PaymentIssueKind::UnclearDispute,
            Parked::RecordedAmountDiffers { .. }
            | Parked::RecordedBuyerDiffers { .. }
            | Parked::RecordedCurrencyDiffers { .. }
            | Parked::RecordedRefundDiffers { .. }
            | Parked::RecordedRefundCancelled { .. }
            | Parked::TotalCountsCancelled { .. }
            | Parked::RecordedDisputeDiffers { .. }
            | Parked::DisputeChanged { .. } => PaymentIssueKind::RecordedDiffers,
            Parked::BackExceedsPaid { .. } | Parked::DisputeExceedsPaid { .. } => {
                PaymentIssueKind::ExceedsPurchase
            }
        },
    }
}
